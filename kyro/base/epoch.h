// Epoch-based reclamation: readers without locks, memory freed once nobody can see it.
//
// A reader holds an EpochPin while it uses shared objects. A writer unlinks an object (so that no
// new reader finds it) and retires it; it is deleted when no pin is left that was taken before
// that.
//
//   EpochPin pin;                          // reader
//   const View* view = current.load(std::memory_order_acquire);
//   …                                      // *view stays valid until the pin ends
//
//   const View* old = current.exchange(fresh, std::memory_order_acq_rel);   // writer
//   epoch_retire(std::unique_ptr<const View>(old));
//
// Why it is right. The clock is a counter. Retiring an object takes the stamp E and moves the clock
// to E + 1. Pinning reads the clock (r) and publishes r in the thread's own cache line before the
// reader loads any shared pointer. Retiring runs a barrier after the unlinking and before the clock
// moves; collecting runs one before it looks at the pins. The barrier is asymmetric: the kernel
// (membarrier) makes every running thread of the process execute a full fence, so readers need
// none. An object is deleted when every published pin is greater than its stamp. Suppose a reader
// did load the old pointer, and B is the point in its program where the retiring barrier fell:
//  1. then it loaded it before B, else it had seen the unlinking;
//  2. so r was read and published before B too: r <= E, since the clock moved after the barrier;
//  3. and the collector, later still, sees r, which is not greater than E, and keeps the object; or
//     it sees a later value of that reader, which was stored with release and is loaded with
//     acquire: everything the reader did under the pin happened before the deletion. (If the later
//     value is a new pin, 1-3 hold for that pin by itself.)
// A thread's first pin links its record into the list before B, so 3 covers that link too. Where
// the kernel has no membarrier, every pin fences (F_r) after its publication and the barrier is a
// fence (F_w): F_r precedes F_w in the single order of fences, else the reader had seen the
// unlinking, and F_r takes the place of B.
//
// Invariants: a thread publishes 0 exactly while it holds no pin. Stamps grow in the order of the
// retired list. Deleters run outside the lock and may retire or pin.
//
// Thread rule: everything from any thread, any number of threads, also from thread_local
// destructors. A pin ends on the thread that took it, and pins nest (inner ones cost a counter). A
// pin held long keeps garbage alive, nothing worse: hold it for a call or a round, never across a
// wait for a client.
//
// Ownership: retired objects belong to the domain. A thread's record is reused by later threads and
// never freed, so their number is the largest number of threads that ever lived at once.
#pragma once

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <vector>

#include "kyro/base/fence.h"
#include "kyro/base/mutex.h"
#include "kyro/base/status.h"

namespace kyro {
namespace epoch_detail {

// A thread's record: a cache line that only its owner writes.
struct alignas(64) Participant {
  std::atomic<uint64_t> pinned{0};  // the clock at the outermost pin, 0 while there is none
  uint32_t nesting = 0;             // owner only: pins beside the one that was published
  std::atomic<bool> taken{true};    // by a living thread
  Participant* next = nullptr;      // never changes once linked
};

inline constinit std::atomic<uint64_t> clock{1};
inline constinit std::atomic<Participant*> participants{nullptr};
inline constinit thread_local Participant* own = nullptr;

inline bool register_membarrier() {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
// A pin taken before this is initialised fences, which is never wrong.
inline const bool kHasMembarrier = register_membarrier();

inline void publish(Participant& self, uint64_t value) {
  self.pinned.store(value, std::memory_order_release);
  if (kHasMembarrier) {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // for the compiler only
  } else {
    full_fence();
  }
}

inline void writer_fence() {
  full_fence();
  if (!kHasMembarrier) return;
  // A process forked off has to say again that it will use it.
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0) return;
  KYRO_CHECK(register_membarrier());
  KYRO_CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
}

inline void give_back(void* record) {
  auto* const participant = static_cast<Participant*>(record);
  KYRO_CHECK(participant->pinned.load(std::memory_order_relaxed) ==
             0);  // a pin outlived its thread
  own = nullptr;
  participant->taken.store(false, std::memory_order_release);
}

// Cleaned up after all thread_local objects, so their destructors may still pin.
inline pthread_key_t exit_key() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    KYRO_CHECK(pthread_key_create(&made, &give_back) == 0);
    return made;
  }();
  return key;
}

[[gnu::noinline, gnu::cold]] inline Participant* join() {
  Participant* record = participants.load(std::memory_order_acquire);
  for (; record != nullptr; record = record->next) {
    bool taken = false;
    if (record->taken.compare_exchange_strong(taken, true, std::memory_order_acquire,
                                              std::memory_order_relaxed)) {
      break;
    }
  }
  if (record == nullptr) {
    record = new Participant;
    Participant* head = participants.load(std::memory_order_relaxed);
    do {
      record->next = head;
    } while (!participants.compare_exchange_weak(head, record, std::memory_order_acq_rel,
                                                 std::memory_order_relaxed));
  }
  KYRO_CHECK(pthread_setspecific(exit_key(), record) == 0);
  own = record;
  return record;
}

// The smallest published pin, or UINT64_MAX if there is none.
inline uint64_t oldest_pin() {
  writer_fence();
  uint64_t oldest = UINT64_MAX;
  const Participant* record = participants.load(std::memory_order_acquire);
  for (; record != nullptr; record = record->next) {
    const uint64_t pinned = record->pinned.load(std::memory_order_acquire);
    if (pinned != 0 && pinned < oldest) oldest = pinned;
  }
  return oldest;
}

class Retired {
 public:
  static Retired& get() {
    static Retired* const retired = new Retired;  // threads may outlive main
    return *retired;
  }

  void push(void (*deleter)(void*), void* object) {
    const MutexLock lock(mutex_);
    writer_fence();
    list_.push_back({clock.fetch_add(1, std::memory_order_seq_cst), deleter, object});
  }

  // Deletes what no pin can see; returns how many objects that were.
  size_t collect() KYRO_EXCLUDES(mutex_) {
    std::vector<Entry> free;
    {
      const MutexLock lock(mutex_);
      if (list_.empty()) return 0;
      const uint64_t oldest = oldest_pin();
      auto end = list_.begin();
      while (end != list_.end() && end->stamp < oldest) ++end;
      free.assign(list_.begin(), end);
      list_.erase(list_.begin(), end);
    }
    if (free.empty()) return 0;
    for (const Entry& entry : free) entry.deleter(entry.object);
    return free.size();
  }

  [[nodiscard]] size_t waiting() {
    const MutexLock lock(mutex_);
    return list_.size();
  }

 private:
  struct Entry {
    uint64_t stamp;
    void (*deleter)(void*);
    void* object;
  };

  Mutex mutex_;
  std::vector<Entry> list_ KYRO_GUARDED_BY(mutex_);  // stamps ascend
};

}  // namespace epoch_detail

// While one lives, nothing that its thread can find in shared memory is deleted.
class [[nodiscard]] EpochPin {
 public:
  EpochPin() : self_(epoch_detail::own != nullptr ? epoch_detail::own : epoch_detail::join()) {
    if (self_->pinned.load(std::memory_order_relaxed) == 0) [[likely]] {
      epoch_detail::publish(*self_, epoch_detail::clock.load(std::memory_order_relaxed));
    } else {
      ++self_->nesting;
    }
  }
  EpochPin(const EpochPin&) = delete;
  EpochPin& operator=(const EpochPin&) = delete;
  ~EpochPin() {
    if (self_->nesting == 0) [[likely]] {
      self_->pinned.store(0, std::memory_order_release);
    } else {
      --self_->nesting;
    }
  }

 private:
  epoch_detail::Participant* self_;
};

// True if the calling thread holds a pin. For tests.
[[nodiscard]] inline bool epoch_is_pinned() {
  return epoch_detail::own != nullptr &&
         epoch_detail::own->pinned.load(std::memory_order_relaxed) != 0;
}

// Deletes every retired object that no pin can see, on the calling thread. Returns their number.
// Call it now and then: after the last retirement nobody else does.
inline size_t epoch_collect() {
  return epoch_detail::Retired::get().collect();
}

// Takes over `object`, which no new reader can find any more, and calls deleter(object) once no pin
// can see it: at the earliest within this call, on any thread that retires or collects.
inline void epoch_retire(void (*deleter)(void*), void* object) {
  epoch_detail::Retired::get().push(deleter, object);
  epoch_collect();
}

template <class T>
inline void epoch_retire(std::unique_ptr<T> object) {
  if (object == nullptr) return;
  const void* raw = object.release();
  epoch_retire([](void* p) { delete static_cast<T*>(p); }, const_cast<void*>(raw));
}

// Objects that are retired and not yet deleted, for metrics and tests.
[[nodiscard]] inline size_t epoch_waiting() {
  return epoch_detail::Retired::get().waiting();
}

}  // namespace kyro
