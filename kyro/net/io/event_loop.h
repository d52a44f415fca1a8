// One thread's epoll with a wake-up for other threads and deadlines.
//
// post() and wake() may be called from any thread. The eventfd is written only when the loop may be
// asleep and nobody has woken it yet: the waiter says that it is about to sleep, then looks at the
// queue again; a producer queues first, then looks whether the waiter sleeps (both sequentially
// consistent, so one of the two sees the other). The eventfd is edge-triggered: it is never read.
//
// Thread rule: everything but post() and wake() on the loop's own thread.
// Ownership: owns its two descriptors; targets and nodes belong to their makers.
#pragma once

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "kyro/base/clock.h"
#include "kyro/base/status.h"
#include "kyro/base/wake_up.h"
#include "kyro/net/io/socket_calls.h"
#include "kyro/net/io/task_queue.h"
#include "kyro/net/io/timer_wheel.h"

namespace kyro {

// Something with a descriptor in the loop.
class EventTarget {
 public:
  virtual void on_events(uint32_t events) = 0;

 protected:
  ~EventTarget() = default;
};

class EventLoop {
 public:
  static constexpr size_t kEventsMax = 256;  // of one round

  EventLoop() : now_ns_(monotonic_ns()), wheel_(now_ns_ / 1000000) {}
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop() {
    if (epoll_fd_ >= 0) ::close(epoll_fd_);
  }

  [[nodiscard]] Status open() {
    epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    const int wake_fd = wake_up_.emplace().fd();
    if (epoll_fd_ < 0 || wake_fd < 0 || !add(wake_fd, EPOLLIN | EPOLLET, nullptr)) {
      return Status(Code::kIoError, std::string("cannot set up epoll: ") + std::strerror(errno));
    }
    return Status();
  }

  [[nodiscard]] bool add(int fd, uint32_t events, EventTarget* target) {
    return control(EPOLL_CTL_ADD, fd, events, target);
  }
  [[nodiscard]] bool modify(int fd, uint32_t events, EventTarget* target) {
    return control(EPOLL_CTL_MOD, fd, events, target);
  }
  void remove(int fd) { static_cast<void>(control(EPOLL_CTL_DEL, fd, 0, nullptr)); }

  // Any thread: runs `node` in the next round. The loop's own thread need not be woken for it: it
  // looks at the queue before it sleeps.
  void post(QueueNode* node) {
    if (queue_.push(node) && waiting_here != this) wake();
  }
  // Any thread: makes the wait return, now or the next time.
  void wake() {
    woken_.store(true, std::memory_order_seq_cst);
    if (asleep_.exchange(false, std::memory_order_seq_cst)) wake_up_->wake();
  }

  // Waits for events, posted nodes, wake(), the next deadline or at most timeout_ms. Then the time
  // is now_ns(), and dispatch_events(), run_posted() and expire_timers() are to be called.
  void wait(uint64_t timeout_ms) {
    waiting_here = this;
    const uint64_t now = now_ms();
    const uint64_t next = wheel_.next_ms();
    uint64_t sleep_ms = next <= now ? 0 : next - now;
    if (timeout_ms < sleep_ms) sleep_ms = timeout_ms;
    if (sleep_ms != 0) {
      asleep_.store(true, std::memory_order_seq_cst);
      if (woken_.load(std::memory_order_seq_cst) || !queue_.empty()) sleep_ms = 0;
    }
    const int limit_ms = sleep_ms > 60000 ? 60000 : static_cast<int>(sleep_ms);
    const int n =
        wait_for_events(epoll_fd_, events_.data(), static_cast<int>(kEventsMax), limit_ms);
    asleep_.store(false, std::memory_order_relaxed);
    woken_.store(false, std::memory_order_seq_cst);
    KYRO_CHECK(n >= 0 || errno == EINTR);
    ready_ = n < 0 ? 0 : static_cast<size_t>(n);
    now_ns_ = monotonic_ns();
  }

  // Delivers the events of the last wait.
  void dispatch_events() {
    for (size_t i = 0; i < ready_; ++i) {
      auto* target = static_cast<EventTarget*>(events_[i].data.ptr);
      if (target != nullptr) target->on_events(events_[i].events);
    }
  }
  // Runs what was posted.
  void run_posted() {
    if (queue_.empty()) return;
    for (QueueNode* node = queue_.take_all(); node != nullptr;) {
      QueueNode* next = node->next_queued;  // a node may be gone once it has run
      node->run_queued();
      node = next;
    }
  }
  // Fires the deadlines that are over.
  void expire_timers() { wheel_.expire(now_ms()); }

  // The time of the last wait or refresh.
  [[nodiscard]] uint64_t now_ns() const { return now_ns_; }
  [[nodiscard]] uint64_t now_ms() const { return now_ns_ / 1000000; }
  uint64_t refresh_now() { return now_ns_ = monotonic_ns(); }

  [[nodiscard]] TimerWheel& wheel() { return wheel_; }

 private:
  bool control(int operation, int fd, uint32_t events, EventTarget* target) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = target;
    return epoll_ctl(epoll_fd_, operation, fd, &event) == 0;
  }

  static inline constinit thread_local const EventLoop* waiting_here = nullptr;

  int epoll_fd_ = -1;
  std::optional<WakeUp> wake_up_;  // from open() on
  size_t ready_ = 0;
  uint64_t now_ns_;
  TimerWheel wheel_;
  std::array<epoll_event, kEventsMax> events_;
  // Written by other threads: apart from what the loop reads all the time.
  alignas(64) TaskQueue queue_;
  alignas(64) std::atomic<bool> asleep_{false};
  std::atomic<bool> woken_{false};
};

}  // namespace kyro
