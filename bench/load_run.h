// Runs a load against a server with one thread and one epoll, and measures it.
//
// Closed loop (rate 0): every connection sends `pipeline` requests in one write, and the next ones
// when all are answered; a latency is from that write to the answer. Open loop: request i is due at
// i / rate, whatever the server does, and its latency counts from then, also when it could only be
// sent later because every connection was busy: a stall of the server shows in every request that
// it delayed (no "coordinated omission").
//
// Answers within the measured window count (open loop: requests that were due in it, waited for).
// Thread rule: one thread. Ownership: owns its connections.
#pragma once

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/load_connection.h"
#include "kyro/base/clock.h"
#include "kyro/base/latency_histogram.h"

namespace kyro::bench {

// What a run asks, one after another.
class OperationSource {
 public:
  virtual ~OperationSource() = default;
  // False when there is nothing left.
  virtual bool next(Operation* operation) = 0;
};

struct RunOptions {
  SocketAddress address;
  uint32_t connections = 1;
  uint32_t pipeline = 1;
  double rate = 0;  // requests per second; 0: closed loop
  double warmup_seconds = 0;
  double seconds = 0;  // 0: until the source ends and everything is answered
  bool check = true;   // answers against their keys
};

struct RunResult {
  LatencyHistogram latency_ns;
  double seconds = 0;
  uint64_t requests = 0;
  uint64_t errors = 0;      // refused, missing or wrong: of the whole run, warm-up included
  std::string first_error;  // in words
  [[nodiscard]] double rps() const {
    return seconds > 0 ? static_cast<double>(requests) / seconds : 0;
  }
};

class LoadRun {
 public:
  // `make_protocol` makes that of each connection.
  LoadRun(const RunOptions& options, std::function<std::unique_ptr<Protocol>()> make_protocol,
          OperationSource& source)
      : options_(options),
        make_protocol_(std::move(make_protocol)),
        source_(source),
        buffer_(kBufferBytes) {}
  LoadRun(const LoadRun&) = delete;
  LoadRun& operator=(const LoadRun&) = delete;
  ~LoadRun() {
    if (epoll_fd_ >= 0) ::close(epoll_fd_);
    if (timer_fd_ >= 0) ::close(timer_fd_);
  }

  // Calls on_window(true) when the measured window begins and on_window(false) when it ends.
  template <class OnWindow>
  [[nodiscard]] Result<RunResult> run(OnWindow on_window) {
    KYRO_TRY(open());
    begin_ns_ = now_ns_ = monotonic_ns();
    window_begin_ns_ = begin_ns_ + nanos(options_.warmup_seconds);
    window_end_ns_ = options_.seconds > 0 ? window_begin_ns_ + nanos(options_.seconds) : UINT64_MAX;
    bool in_window = false;
    bool is_over = false;
    KYRO_TRY(start_requests());
    while (!is_over) {
      KYRO_TRY(round());
      if (!in_window && now_ns_ >= window_begin_ns_) on_window(in_window = true);
      is_over = is_open_loop() ? now_ns_ >= window_end_ns_ && (!has_backlog() || gave_up())
                               : now_ns_ >= window_end_ns_ || (ended_ && pending_ == 0);
    }
    on_window(false);
    if (is_open_loop()) count_unanswered();
    result_.seconds =
        static_cast<double>(std::min(now_ns_, window_end_ns_) - window_begin_ns_) * 1e-9;
    return std::move(result_);
  }

 private:
  static constexpr size_t kBufferBytes = 256 * 1024;
  static constexpr uint64_t kGraceNanos = 10'000'000'000;  // for late answers of an open loop

  [[nodiscard]] static uint64_t nanos(double seconds) {
    return static_cast<uint64_t>(seconds * 1e9);
  }
  [[nodiscard]] bool is_open_loop() const { return options_.rate > 0; }
  [[nodiscard]] uint64_t due_ns(uint64_t i) const {
    return begin_ns_ + nanos(static_cast<double>(i) / options_.rate);
  }
  [[nodiscard]] bool has_backlog() const {
    return pending_ != 0 || (!ended_ && due_ns(started_) < window_end_ns_);
  }
  [[nodiscard]] bool gave_up() const { return now_ns_ > window_end_ns_ + kGraceNanos; }

  Status open() {
    epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (epoll_fd_ < 0 || timer_fd_ < 0) return Status(Code::kIoError, "cannot set up epoll");
    watch(EPOLL_CTL_ADD, timer_fd_, EPOLLIN | EPOLLET, nullptr);
    for (uint32_t i = 0; i < options_.connections; ++i) {
      connections_.emplace_back(options_.pipeline, make_protocol_());
      KYRO_TRY(connections_.back().connect(options_.address));
    }
    for (LoadConnection& connection : connections_) {
      watch(EPOLL_CTL_ADD, connection.fd(), EPOLLIN, &connection);
      free_.push_back(&connection);
    }
    return Status();
  }

  Status start_requests() {
    if (is_open_loop()) return send_due();
    for (LoadConnection& connection : connections_) KYRO_TRY(refill(connection));
    return Status();
  }

  Status round() {
    constexpr int kLookUpMillis = 50;  // so that a silent server does not keep us past the end
    std::array<epoll_event, 256> events;
    const int n =
        epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), kLookUpMillis);
    now_ns_ = monotonic_ns();
    for (int i = 0; i < n; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      auto* connection = static_cast<LoadConnection*>(event.data.ptr);
      if (connection == nullptr) continue;  // the timer, which is armed anew below
      KYRO_TRY(on_event(*connection, event.events));
    }
    return is_open_loop() ? send_due() : Status();
  }

  Status on_event(LoadConnection& connection, uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
      KYRO_TRY(connection.flush());
      if (!connection.blocked()) watch(EPOLL_CTL_MOD, connection.fd(), EPOLLIN, &connection);
    }
    if ((events & ~uint32_t{EPOLLOUT}) == 0) return Status();
    const bool had_room = connection.has_room();
    bool is_first = true;
    KYRO_TRY(connection.receive(buffer_,
                                [&](const LoadConnection::Pending& pending, const Answer& answer) {
                                  if (std::exchange(is_first, false)) now_ns_ = monotonic_ns();
                                  on_answer(connection.protocol(), pending, answer);
                                }));
    if (!is_open_loop()) return connection.pending() == 0 ? refill(connection) : send(connection);
    if (!had_room && connection.has_room()) free_.push_back(&connection);
    return Status();
  }

  void on_answer(Protocol& protocol, const LoadConnection::Pending& pending, const Answer& answer) {
    --pending_;
    if (answer.kind != Answer::Kind::kOk) {
      const char* what = answer.kind == Answer::Kind::kMissing ? "not found: " : "refused: ";
      complain(what + std::string(answer.body));
    } else if (!protocol.is_right(pending.operation, answer.body) && options_.check) {
      complain("wrong bytes for key " + std::to_string(pending.operation.key));
    }
    const uint64_t counts_at = is_open_loop() ? pending.start_ns : now_ns_;
    if (counts_at < window_begin_ns_ || counts_at >= window_end_ns_) return;
    ++result_.requests;
    result_.latency_ns.record(now_ns_ > pending.start_ns ? now_ns_ - pending.start_ns : 0);
  }

  void complain(std::string what) {
    if (++result_.errors == 1) result_.first_error = std::move(what);
  }

  // The next requests of a connection that has none under way.
  Status refill(LoadConnection& connection) {
    Operation operation;
    while (connection.has_room() && !ended_) {
      if (!source_.next(&operation)) {
        ended_ = true;
        break;
      }
      add(connection, operation, now_ns_);
    }
    return send(connection);
  }

  // Open loop: sends what is due, if there is a connection with room, and waits for the next.
  Status send_due() {
    Operation operation;
    while (!free_.empty() && !ended_) {
      const uint64_t due = due_ns(started_);
      if (due >= window_end_ns_) return Status();
      if (due > now_ns_) {
        itimerspec at{};
        at.it_value.tv_sec = static_cast<time_t>(due / 1'000'000'000);
        at.it_value.tv_nsec = static_cast<long>(due % 1'000'000'000);
        timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &at, nullptr);
        return Status();
      }
      if (!source_.next(&operation)) {
        ended_ = true;
        return Status();
      }
      LoadConnection& connection = *free_.front();
      free_.pop_front();
      add(connection, operation, due);
      if (connection.has_room()) free_.push_back(&connection);
      KYRO_TRY(send(connection));
    }
    return Status();
  }

  void add(LoadConnection& connection, const Operation& operation, uint64_t start_ns) {
    connection.add(operation, start_ns);
    ++started_;
    ++pending_;
  }
  Status send(LoadConnection& connection) {
    KYRO_TRY(connection.flush());
    if (connection.blocked())
      watch(EPOLL_CTL_MOD, connection.fd(), EPOLLIN | EPOLLOUT, &connection);
    return Status();
  }

  // What is still open after the grace took at least as long as it has waited.
  void count_unanswered() {
    for (const LoadConnection& connection : connections_) {
      connection.for_each_pending([&](const LoadConnection::Pending& pending) {
        if (pending.start_ns < window_begin_ns_) return;
        complain("no answer in time");
        result_.latency_ns.record(now_ns_ - pending.start_ns);
      });
    }
    for (; !ended_ && due_ns(started_) < window_end_ns_; ++started_) {
      complain("could not be sent in time");
      result_.latency_ns.record(now_ns_ - due_ns(started_));
    }
  }

  void watch(int what, int fd, uint32_t events, LoadConnection* connection) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = connection;
    KYRO_CHECK(epoll_ctl(epoll_fd_, what, fd, &event) == 0);
  }

  const RunOptions options_;
  const std::function<std::unique_ptr<Protocol>()> make_protocol_;
  OperationSource& source_;
  std::deque<LoadConnection> connections_;
  std::deque<LoadConnection*> free_;  // open loop: those with room, longest unused first
  std::vector<char> buffer_;
  RunResult result_;
  uint64_t begin_ns_ = 0;
  uint64_t window_begin_ns_ = 0;
  uint64_t window_end_ns_ = 0;
  uint64_t now_ns_ = 0;
  uint64_t started_ = 0;
  uint64_t pending_ = 0;
  bool ended_ = false;  // the source has
  int epoll_fd_ = -1;
  int timer_fd_ = -1;
};

}  // namespace kyro::bench
