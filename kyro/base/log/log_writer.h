// Where log lines go: to stderr, by a thread that may have to wait for its reader, so that nobody
// else does.
//
// add() appends to a buffer of bounded size and never waits for the reader. What the buffer has no
// room for is dropped and counted; a line says how many once the reader goes on. Events and lines
// of the request log have bounds of their own, so that requests cannot crowd events out.
//
// The thread writes whole lines, of which a pipe takes PIPE_BUF bytes at once or none, and only
// where poll() says that there is room: the descriptor's O_NONBLOCK is shared with whoever else
// writes there, and is not ours to set. At the end what is left has kFlushMs to go out.
//
// Thread rule: add() from any thread; made before those start, destroyed after they ended.
// Ownership: owns its thread. One that is stuck in a write (another process filled the pipe between
// poll() and write()) is left behind at the end with what it needs.
#pragma once

#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/clock.h"
#include "kyro/base/log/log_line.h"
#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"

namespace kyro {

// Lines that were never written, since the start.
inline std::atomic<uint64_t>& log_lines_dropped() {
  static std::atomic<uint64_t> count{0};
  return count;
}

namespace log_detail {

// Waits up to `timeout_ms` for room and writes one piece of `lines` (of whole lines, if it can):
// its size, 0 if there was no room in time, or -1 if the reader is gone.
[[nodiscard]] inline ssize_t write_some(int fd, std::string_view lines, int timeout_ms,
                                        size_t piece_bytes_max = PIPE_BUF) {
  pollfd room{fd, POLLOUT, 0};
  if (::poll(&room, 1, timeout_ms) <= 0) return 0;
  size_t size = std::min(lines.size(), piece_bytes_max);
  if (const size_t end = lines.substr(0, size).rfind('\n'); end != lines.npos) size = end + 1;
  const ssize_t written = ::write(fd, lines.data(), size);
  if (written < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return written <= 0 ? -1 : written;
}

inline uint64_t count_lines(std::string_view lines) {
  return static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
}

}  // namespace log_detail

class LogWriter {
 public:
  enum class Kind : uint8_t { kEvents, kRequests };
  static constexpr size_t kRequestBytesMax = 4u << 20;
  static constexpr size_t kEventBytesMax = 5u << 20;  // of both together
  static constexpr int kFlushMs = 1000;

  explicit LogWriter(int fd = STDERR_FILENO) : state_(std::make_shared<State>()) {
    state_->fd = fd;
    started_ = thread_.start([state = state_] { run(*state); });
    if (started_.ok()) installed().store(this, std::memory_order_release);
  }
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
  ~LogWriter() {
    LogWriter* self = this;
    installed().compare_exchange_strong(self, nullptr);
    if (!thread_.joinable()) return;
    state_->end(uint64_t{kFlushMs} * 1'000'000) ? thread_.join() : thread_.detach();
  }

  // The one that was made last and still is; null if there is none.
  [[nodiscard]] static std::atomic<LogWriter*>& installed() {
    static std::atomic<LogWriter*> writer{nullptr};
    return writer;
  }

  // kBusy where the system gave no thread: then lines go out as if there were no writer.
  [[nodiscard]] const Status& status() const { return started_; }

  // Takes `count` whole lines, or drops them.
  void add(Kind kind, std::string_view lines, uint64_t count) {
    const size_t bytes_max = kind == Kind::kRequests ? kRequestBytesMax : kEventBytesMax;
    {
      const MutexLock lock(state_->mutex);
      if (state_->pending.size() + state_->writing_bytes + lines.size() <= bytes_max) {
        state_->pending += lines;
      } else {
        state_->dropped[static_cast<size_t>(kind)] += count;
        log_lines_dropped().fetch_add(count, std::memory_order_relaxed);
      }
    }
    state_->changed.notify_one();
  }

 private:
  struct State {
    int fd = -1;
    Mutex mutex;
    CondVar changed;
    std::string pending KYRO_GUARDED_BY(mutex);       // what nobody writes yet
    size_t writing_bytes KYRO_GUARDED_BY(mutex) = 0;  // what the thread has in hand
    uint64_t dropped[2] KYRO_GUARDED_BY(mutex) = {};  // by kind, that no line has told of
    bool is_ending KYRO_GUARDED_BY(mutex) = false;
    bool has_ended KYRO_GUARDED_BY(mutex) = false;
    uint64_t give_up_ns KYRO_GUARDED_BY(mutex) = 0;  // once it is ending

    [[nodiscard]] bool has_work() const KYRO_REQUIRES(mutex) {
      return !pending.empty() || dropped[0] + dropped[1] != 0;
    }
    [[nodiscard]] bool must_give_up() {
      const MutexLock lock(mutex);
      return is_ending && monotonic_ns() >= give_up_ns;
    }
    // Gives the thread `flush_ns` for what is left; whether it has ended in twice that.
    [[nodiscard]] bool end(uint64_t flush_ns) {
      const MutexLock lock(mutex);
      is_ending = true;
      const uint64_t began_ns = monotonic_ns();
      give_up_ns = began_ns + flush_ns;
      changed.notify_all();
      for (uint64_t waited_ns = 0; !has_ended && waited_ns < 2 * flush_ns;
           waited_ns = monotonic_ns() - began_ns) {
        changed.wait_for(mutex, 2 * flush_ns - waited_ns);
      }
      return has_ended;
    }
    // The next lines to write, waiting for them; false at the end.
    [[nodiscard]] bool take(std::string* lines) {
      const MutexLock lock(mutex);
      writing_bytes = 0;
      while (!is_ending && !has_work()) changed.wait(mutex);
      if (!has_work()) return false;
      lines->swap(pending);
      writing_bytes = lines->size();
      const uint64_t events = std::exchange(dropped[0], 0);
      const uint64_t requests = std::exchange(dropped[1], 0);
      // What was dropped came after what is pending.
      if (events != 0) {
        append_log_line(*lines, LogLevel::kWarn, "log_lines_dropped", {{"count", events}});
      }
      if (requests != 0) {
        append_log_line(*lines, LogLevel::kWarn, "requests_not_logged", {{"count", requests}});
      }
      return true;
    }
    void set_ended() {
      const MutexLock lock(mutex);
      has_ended = true;
      changed.notify_all();
    }
  };

  static void run(State& state) {
    name_this_thread("kyro-log");
    for (std::string lines; state.take(&lines) && write_all(state, lines);) lines.clear();
    state.set_ended();
  }

  // False if the time at the end was up. What has no reader any more is counted as dropped.
  static bool write_all(State& state, std::string_view lines) {
    constexpr int kPollMs = 100;
    constexpr size_t kFilePieceBytes = 256 * 1024;
    struct stat info {};
    const bool is_file = ::fstat(state.fd, &info) == 0 && S_ISREG(info.st_mode);
    const size_t piece_bytes = is_file ? kFilePieceBytes : PIPE_BUF;
    bool goes_on = true;
    while (!lines.empty() && goes_on) {
      const ssize_t written = log_detail::write_some(state.fd, lines, kPollMs, piece_bytes);
      if (written < 0) break;
      lines.remove_prefix(static_cast<size_t>(written));
      goes_on = written > 0 || !state.must_give_up();
    }
    log_lines_dropped().fetch_add(log_detail::count_lines(lines), std::memory_order_relaxed);
    return goes_on;
  }

  const std::shared_ptr<State> state_;
  Thread thread_;
  Status started_;
};

}  // namespace kyro
