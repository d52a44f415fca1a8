// Signs of life of a thread that works for others, so that a watcher can tell "busy" from "stuck".
//
// Whoever gives it work says so, and the thread counts its steps; there is no clock in it, so that
// it may count in the middle of its work. The watcher looks now and then: work that was there at
// two looks with no step in between has not come forward for all that time.
//
// Thread rule: add_work() and end_work() from any thread, step() by one at a time, the rest by any.
#pragma once

#include <atomic>
#include <cstdint>

#include "kyro/base/mutex.h"

namespace kyro {

class Heartbeat {
 public:
  void add_work() { pending_.fetch_add(1, std::memory_order_relaxed); }
  // A piece of it is done, or will not be done.
  void end_work() {
    finished_.fetch_add(1, std::memory_order_relaxed);
    pending_.fetch_sub(1, std::memory_order_relaxed);
  }
  // The work under way has come forward.
  void step() {
    steps_.store(steps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  [[nodiscard]] bool has_work() const { return pending_.load(std::memory_order_relaxed) > 0; }
  // Changes whenever something has come forward.
  [[nodiscard]] uint64_t progress() const {
    return steps_.load(std::memory_order_relaxed) + finished_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t> pending_{0};
  std::atomic<uint64_t> finished_{0};
  std::atomic<uint64_t> steps_{0};
};

// What a watcher remembers of one thread.
class StallClock {
 public:
  // How long the thread has had work without any progress, as far as was seen. Any thread.
  [[nodiscard]] uint64_t look(bool has_work, uint64_t progress, uint64_t now_ns) {
    const MutexLock lock(mutex_);
    if (!has_work || progress != progress_ || since_ns_ == 0) {
      progress_ = progress;
      since_ns_ = has_work ? now_ns : 0;
    }
    return since_ns_ == 0 || now_ns < since_ns_ ? 0 : now_ns - since_ns_;
  }

 private:
  Mutex mutex_;
  uint64_t progress_ KYRO_GUARDED_BY(mutex_) = 0;
  uint64_t since_ns_ KYRO_GUARDED_BY(mutex_) = 0;  // work, and no progress; 0: no work
};

}  // namespace kyro
