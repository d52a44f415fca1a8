// The role of the one thread that commits: whoever holds it owns the log's end, the active delta
// and the group that is being gathered.
//
// It is a lock that clang's analysis knows, taken by try_acquire() from any thread; only one
// thread, the committer's own, may sleep until it is free.
#pragma once

#include <atomic>
#include <thread>

#include "kyro/base/thread_annotations.h"

namespace kyro {

class KYRO_CAPABILITY("role") WriterRole {
 public:
  WriterRole() = default;
  WriterRole(const WriterRole&) = delete;
  WriterRole& operator=(const WriterRole&) = delete;

  // Tries once and, while somebody else holds it, `retries` times more, yielding in between.
  // Sequentially consistent, as release() is.
  [[nodiscard]] bool try_acquire(int retries)
      KYRO_TRY_ACQUIRE(true) KYRO_NO_THREAD_SAFETY_ANALYSIS {
    while (is_held_.exchange(true, std::memory_order_seq_cst)) {
      if (retries-- == 0) return false;
      std::this_thread::yield();
    }
    return true;
  }

  // Sleeps until it has the role. One thread only.
  void acquire() KYRO_ACQUIRE() KYRO_NO_THREAD_SAFETY_ANALYSIS {
    while (is_held_.exchange(true, std::memory_order_seq_cst)) is_held_.wait(true);
  }

  void release() KYRO_RELEASE() {
    is_held_.store(false, std::memory_order_seq_cst);
    is_held_.notify_one();
  }

  // For watchers.
  [[nodiscard]] bool is_held() const { return is_held_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> is_held_{false};
};

}  // namespace kyro
