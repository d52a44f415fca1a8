// Many submitters, one committer: a lock-free stack that is taken whole, and a place to sleep.
//
// Invariant: requests come out in the order of their push. A push costs one compare-and-swap, and a
// wake-up only if the committer sleeps: it says so before it looks at the stack for the last time,
// and a pusher looks for that after its push (both sequentially consistent), so none is missed.
//
// Thread rule: push() and wake() from any thread; take() and wait() by the one consumer.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "kyro/storage/write_request.h"

namespace kyro {

class RequestQueue {
 public:
  void push(WriteRequest* request) {
    WriteRequest* head = head_.load(std::memory_order_relaxed);
    do {
      request->next_ = head;
    } while (!head_.compare_exchange_weak(head, request, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    if (sleeping_.load(std::memory_order_seq_cst)) wake();
  }

  // Everything pushed so far, oldest first, linked by next(); null if there is nothing.
  [[nodiscard]] WriteRequest* take() {
    WriteRequest* newest_first = head_.exchange(nullptr, std::memory_order_acquire);
    WriteRequest* oldest_first = nullptr;
    while (newest_first != nullptr) {
      WriteRequest* rest = newest_first->next_;
      newest_first->next_ = oldest_first;
      oldest_first = newest_first;
      newest_first = rest;
    }
    return oldest_first;
  }
  [[nodiscard]] static WriteRequest* next(const WriteRequest* request) { return request->next_; }

  void wake() {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    condition_.notify_one();
  }

  // Sleeps until something is pushed, wake() is called, or `timeout_ns` has passed (0: no timeout).
  void wait(uint64_t timeout_ns) {
    std::unique_lock lock(mutex_);
    sleeping_.store(true, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) == nullptr) {
      const auto ready = [this] { return woken_; };
      if (timeout_ns == 0) {
        condition_.wait(lock, ready);
      } else {
        condition_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), ready);
      }
    }
    sleeping_.store(false, std::memory_order_relaxed);
    woken_ = false;
  }

 private:
  std::atomic<WriteRequest*> head_{nullptr};
  std::atomic<bool> sleeping_{false};
  std::mutex mutex_;
  std::condition_variable condition_;
  bool woken_ = false;
};

}  // namespace kyro
