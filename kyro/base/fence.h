// A full barrier between memory accesses, also where ThreadSanitizer watches.
//
// Thread rule: any thread.
#pragma once

#include <atomic>

#if defined(__SANITIZE_THREAD__)
#define KYRO_HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KYRO_HAS_TSAN 1
#endif
#endif

namespace kyro {

// What this thread stored before is visible to all before it loads anything after. Two threads that
// each store, fence and load cannot both miss the other's store.
inline void full_fence() {
#ifdef KYRO_HAS_TSAN
  // It does not know fences. A locked instruction is one on the machine; on a variable of the
  // thread's own it adds no happens-before that would hide a race.
  thread_local std::atomic<int> own{0};
  own.fetch_add(0, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace kyro
