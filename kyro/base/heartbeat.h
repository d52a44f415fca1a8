// Signs of life of a thread that works for others, so that a watcher can tell "busy" from "stuck".
//
// Whoever gives it work says so, and the thread counts its steps; there is no clock in it, so that
// it may count in the middle of its work. The watcher looks every few seconds: work that was there
// at two looks with no step in between has not come forward for all that time.
//
// Thread rule: add_work() and end_work() from any thread, step() by one at a time, the rest by any.
#pragma once

#include <algorithm>
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

// What a watcher remembers of one thread. Any thread may look.
class StallClock {
 public:
  // What lies between two looks counts for so much at most: a watcher that was stopped itself, as
  // with the whole process, has seen nothing of the time in between.
  static constexpr uint64_t kBetweenLooksNsMax = 10'000'000'000;

  // How long the thread has had work without any progress, as far as was seen.
  [[nodiscard]] uint64_t look(bool has_work, uint64_t progress, uint64_t now_ns) {
    const MutexLock lock(mutex_);
    const uint64_t passed_ns = now_ns > looked_ns_ ? now_ns - looked_ns_ : 0;
    const bool is_stuck = has_work && had_work_ && progress == progress_;
    stalled_ns_ = is_stuck ? stalled_ns_ + std::min(passed_ns, kBetweenLooksNsMax) : 0;
    had_work_ = has_work;
    progress_ = progress;
    looked_ns_ = std::max(looked_ns_, now_ns);
    return stalled_ns_;
  }

 private:
  Mutex mutex_;
  bool had_work_ KYRO_GUARDED_BY(mutex_) = false;
  uint64_t progress_ KYRO_GUARDED_BY(mutex_) = 0;
  uint64_t looked_ns_ KYRO_GUARDED_BY(mutex_) = 0;
  uint64_t stalled_ns_ KYRO_GUARDED_BY(mutex_) = 0;
};

}  // namespace kyro
