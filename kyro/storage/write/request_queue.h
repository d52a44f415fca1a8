// Many submitters, one committer: a lock-free queue, and a place to sleep.
//
// Invariant: requests come out in the order of their push. A push costs one compare-and-swap, and a
// wake-up only if the committer sleeps: it says so before it looks at the queue for the last time,
// and a pusher looks for that after its push (both sequentially consistent), so none is missed.
//
// Thread rule: push(), wake() and empty() from any thread; take_all() by one thread at a time,
// wait() by the one that sleeps here.
#pragma once

#include <atomic>
#include <cstdint>

#include "kyro/base/mpsc_queue.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/write/write_request.h"

namespace kyro {

class RequestQueue {
 public:
  void push(WriteRequest* request) {
    queue_.push(request);
    wake_if_asleep();
  }

  // Without a wake-up: the pusher sees to it that somebody looks.
  void push_silently(WriteRequest* request) { queue_.push(request); }
  // What push() would have woken.
  void wake_if_asleep() {
    if (sleeping_.load(std::memory_order_seq_cst)) wake();
  }

  [[nodiscard]] bool empty() const { return queue_.empty(); }

  // Everything pushed so far, oldest first, linked by next_queued; null if there is nothing.
  [[nodiscard]] WriteRequest* take_all() { return queue_.take_all(); }

  void wake() {
    const MutexLock lock(mutex_);
    woken_ = true;
    condition_.notify_one();
  }

  // Sleeps until something is pushed, wake() is called, or `timeout_ns` has passed (0: no timeout);
  // with a timeout maybe for less.
  void wait(uint64_t timeout_ns) {
    const MutexLock lock(mutex_);
    sleeping_.store(true, std::memory_order_seq_cst);
    if (queue_.empty() && !woken_ && timeout_ns > 0) condition_.wait_for(mutex_, timeout_ns);
    while (queue_.empty() && !woken_ && timeout_ns == 0) condition_.wait(mutex_);
    sleeping_.store(false, std::memory_order_relaxed);
    woken_ = false;
  }

 private:
  MpscQueue<WriteRequest> queue_;
  std::atomic<bool> sleeping_{false};
  Mutex mutex_;
  CondVar condition_;
  bool woken_ KYRO_GUARDED_BY(mutex_) = false;
};

}  // namespace kyro
