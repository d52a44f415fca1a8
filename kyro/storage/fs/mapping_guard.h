// What happens when a mapped file loses pages: a bad sector, or a truncation from outside, makes
// the next touch of the mapping raise SIGBUS. The handler puts a page of zeros there and remembers
// that this mapping has lost something; the touch goes on and finds bytes whose checksum is wrong.
//
// Invariant: an address inside a guarded mapping never ends the process. SIGBUS from anywhere else
// goes to whoever handled it before us (by default: the process ends).
//
// Thread rule: guard() and release() from any thread, under a mutex; the handler takes no lock, so
// it reads a fixed table of atomics. Ownership: a slot belongs to one mapping until released.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kyro/base/mutex.h"

namespace kyro {

// A mapping that is guarded, and whether it has lost pages.
struct GuardedRange {
  std::atomic<uintptr_t> begin{0};  // 0: free
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> has_lost_pages{false};
};

class MappingGuard {
 public:
  // More mappings than a store ever has: two for each run.
  static constexpr size_t kMappingsMax = 4096;

  using Slot = GuardedRange;

  // Guards [address, address + bytes); null if the table is full.
  [[nodiscard]] static Slot* guard(const void* address, size_t bytes) {
    static const bool installed = install();
    static_cast<void>(installed);
    const MutexLock lock(mutex());
    for (Slot& slot : slots()) {
      if (slot.begin.load(std::memory_order_relaxed) != 0) continue;
      const auto begin = reinterpret_cast<uintptr_t>(address);
      slot.has_lost_pages.store(false, std::memory_order_relaxed);
      slot.end.store(begin + bytes, std::memory_order_relaxed);
      slot.begin.store(begin, std::memory_order_release);
      return &slot;
    }
    return nullptr;
  }

  // Call before the mapping goes.
  static void release(Slot* slot) {
    if (slot == nullptr) return;
    const MutexLock lock(mutex());
    slot->end.store(0, std::memory_order_relaxed);
    slot->begin.store(0, std::memory_order_release);
  }

 private:
  using Slots = std::array<Slot, kMappingsMax>;

  static Mutex& mutex() {
    static Mutex instance;
    return instance;
  }
  static inline Slots table_;
  static inline struct sigaction previous_ {};
  static Slots& slots() { return table_; }

  static bool install() {
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &previous_) == 0;
  }

  // Async-signal-safe: atomics and system calls only.
  static void on_signal(int number, siginfo_t* info, void* context) {
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    const auto page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    for (Slot& slot : table_) {
      const uintptr_t begin = slot.begin.load(std::memory_order_acquire);
      if (begin == 0 || address < begin || address >= slot.end.load(std::memory_order_relaxed)) {
        continue;
      }
      slot.has_lost_pages.store(true, std::memory_order_release);
      void* page = reinterpret_cast<void*>(address & ~(page_bytes - 1));
      const void* mapped =
          mmap(page, page_bytes, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (mapped != MAP_FAILED) return;
    }
    if ((previous_.sa_flags & SA_SIGINFO) != 0)
      return previous_.sa_sigaction(number, info, context);
    signal(SIGBUS, SIG_DFL);  // the access is repeated, and ends the process as it always would
  }
};

}  // namespace kyro
