// A small number for every thread: the index of its private cells in sharded data.
//
// The first 63 threads that live at the same time own a slot each (0..62); a slot is claimed at its
// thread's first use, lowest free one first, and given back when the thread ends. Any further
// thread shares the last slot, kOverflowSlot, where data needs atomic read-modify-write.
//
// Invariant: at one time at most one thread owns an exclusive slot, and what its last owner wrote
// happens before what the next one reads (release on return, acquire on claim).
//
// Thread rule: call from any thread, also from thread_local destructors. Cost: one TLS load.
#pragma once

#include <pthread.h>

#include <atomic>
#include <bit>
#include <cstdint>

namespace kyro {

inline constexpr uint32_t kThreadSlots = 64;
inline constexpr uint32_t kOverflowSlot = kThreadSlots - 1;

namespace thread_slot_detail {

inline constexpr uint32_t kUnclaimed = kThreadSlots;

// Bit s is set while slot s is free. Trivially destructible: threads may outlive main.
inline constinit std::atomic<uint64_t> free_slots{(uint64_t{1} << kOverflowSlot) - 1};
inline constinit std::atomic<uint32_t> slots_used{0};  // slots 0..slots_used-1 were ever claimed
inline constinit thread_local uint32_t current = kUnclaimed;

inline void give_back(void* tagged) {
  const auto slot = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tagged) - 1);
  current = kOverflowSlot;  // other destructors of this thread may still count
  free_slots.fetch_or(uint64_t{1} << slot, std::memory_order_release);
}

// A pthread key and not a thread_local with a destructor: keys are cleaned up after all
// thread_local objects, so those may use the slot until their end.
inline pthread_key_t exit_key() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    // Without a key slots are never given back; then later threads share the overflow slot.
    if (pthread_key_create(&made, &give_back) != 0) free_slots.store(0, std::memory_order_relaxed);
    return made;
  }();
  return key;
}

inline void note_use(uint32_t slot) {
  uint32_t seen = slots_used.load(std::memory_order_relaxed);
  while (seen <= slot && !slots_used.compare_exchange_weak(seen, slot + 1)) {
  }
}

[[gnu::noinline, gnu::cold]] inline uint32_t claim() {
  const pthread_key_t key = exit_key();
  uint64_t free = free_slots.load(std::memory_order_relaxed);
  current = kOverflowSlot;
  while (free != 0) {
    const auto slot = static_cast<uint32_t>(std::countr_zero(free));
    if (!free_slots.compare_exchange_weak(free, free & (free - 1), std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
      continue;
    }
    // The key holds slot + 1, because a null value is not cleaned up.
    if (pthread_setspecific(key, reinterpret_cast<void*>(uintptr_t{slot} + 1)) != 0) {
      free_slots.fetch_or(uint64_t{1} << slot, std::memory_order_release);
      break;
    }
    current = slot;
    break;
  }
  note_use(current);
  return current;
}

}  // namespace thread_slot_detail

// The calling thread's slot, 0..kThreadSlots-1, the same one until the thread ends.
[[nodiscard]] inline uint32_t thread_slot() {
  const uint32_t slot = thread_slot_detail::current;
  if (slot == thread_slot_detail::kUnclaimed) [[unlikely]]
    return thread_slot_detail::claim();
  return slot;
}

// The same without claiming one: above kOverflowSlot if the thread has none yet.
[[nodiscard]] inline uint32_t thread_slot_if_claimed() {
  return thread_slot_detail::current;
}

// True if no other living thread has the calling thread's slot.
[[nodiscard]] inline bool thread_slot_is_exclusive() {
  return thread_slot() != kOverflowSlot;
}

// One more than the highest slot that was ever handed out: what a reader of all slots must visit.
// A slot claimed after the call is not covered, as data written after the call would not be either.
[[nodiscard]] inline uint32_t thread_slots_used() {
  return thread_slot_detail::slots_used.load(std::memory_order_seq_cst);
}

}  // namespace kyro
