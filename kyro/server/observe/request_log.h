// The request log (--request-log): one line per answer, written by a thread of its own.
//
//   2026-01-01T00:00:00.000Z info request method=GET route=get_fast status=200 bytes=64 micros=12
//   peer=127.0.0.1:5000
//
// It names the route, never the path, so no key and no value is in it. A reactor formats its lines
// into a buffer of its own and hands them over once a round; the thread writes what has come with
// one call. Where stderr is slower than the requests, lines beyond kPendingBytesMax are dropped,
// never waited for; a line then says how many.
//
// Thread rule: add() and end_round() on reactors; the others on one thread, not while those run.
// Ownership: owns its thread; what was handed over is written before it ends.
#pragma once

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "kyro/base/log.h"
#include "kyro/base/thread.h"
#include "kyro/net/http/handler.h"
#include "kyro/net/io/address.h"
#include "kyro/server/route_table.h"

namespace kyro {

class RequestLog {
 public:
  static constexpr size_t kPendingBytesMax = 4u << 20;

  explicit RequestLog(int fd = STDERR_FILENO)
      : fd_(fd), started_(thread_.start([this] { run(); })) {}
  RequestLog(const RequestLog&) = delete;
  RequestLog& operator=(const RequestLog&) = delete;
  ~RequestLog() {
    {
      const std::lock_guard lock(mutex_);
      is_ending_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  // kBusy where the system gave no thread: then nobody writes what is added.
  [[nodiscard]] const Status& status() const { return started_; }

  void add(const Answered& answered) {
    const size_t route = answered.route < kRouteCount ? answered.route : 0;
    Round& round = this_round();
    for (uint64_t i = 0; i < answered.count; ++i) append_line(round.lines, answered, route);
    round.count += answered.count;
  }

  void end_round() {
    Round& round = this_round();
    if (round.count == 0) return;
    {
      const std::lock_guard lock(mutex_);
      if (pending_.size() + round.lines.size() <= kPendingBytesMax) {
        pending_ += round.lines;
      } else {
        dropped_ += round.count;
      }
    }
    changed_.notify_one();
    round.lines.clear();
    round.count = 0;
  }

 private:
  // The lines of the calling reactor that nobody has been told of.
  struct Round {
    std::string lines;
    uint64_t count = 0;
  };
  static void append_line(std::string& lines, const Answered& answered, size_t route) {
    append_log_line(lines, LogLevel::kInfo, "request",
                    {{"method", method_name(answered.method)},
                     {"route", kRoutes[route].name},
                     {"status", answered.status},
                     {"bytes", answered.body_bytes},
                     {"micros", answered.duration_ns / 1000},
                     {"peer", answered.is_unix ? "unix" : format_peer(*answered.peer)}});
  }
  static Round& this_round() {
    static thread_local Round round;
    return round;
  }

  void run() {
    std::string lines;
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return is_ending_ || dropped_ != 0 || !pending_.empty(); });
      if (pending_.empty() && dropped_ == 0) return;
      lines.swap(pending_);
      const uint64_t dropped = std::exchange(dropped_, 0);
      lock.unlock();
      if (dropped != 0) {
        append_log_line(lines, LogLevel::kWarn, "requests_not_logged", {{"count", dropped}});
      }
      const uint64_t lost = write_all(lines);
      lines.clear();
      lock.lock();
      dropped_ += lost;
      if (lost != 0 && is_ending_) return;
    }
  }

  // Whole lines, as many a call as a pipe takes at once, so that they do not mix with other events.
  // Returns the number of lines that could not be written.
  [[nodiscard]] uint64_t write_all(std::string_view lines) const {
    while (!lines.empty()) {
      size_t size = std::min<size_t>(lines.size(), PIPE_BUF);
      if (const size_t end = lines.substr(0, size).rfind('\n'); end != lines.npos) size = end + 1;
      const ssize_t n = ::write(fd_, lines.data(), size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {  // whoever gave us stderr made it non-blocking
        pollfd room{fd_, POLLOUT, 0};
        if (::poll(&room, 1, kWriteTimeoutMs) > 0) continue;
      }
      if (n <= 0) break;
      lines.remove_prefix(static_cast<size_t>(n));
    }
    return static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
  }

  static constexpr int kWriteTimeoutMs = 1000;

  const int fd_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string pending_;
  uint64_t dropped_ = 0;
  bool is_ending_ = false;
  Thread thread_;
  const Status started_;
};

}  // namespace kyro
