// A place to sleep until something has changed: a number that counts the changes, and a futex on
// it.
//
// Who waits reads ticket(), looks whether what he waits for is true by now, and if not calls
// wait(ticket); who makes it true does so before wake_all(). No wake-up between
// ticket and sleep is missed: the number is another one then, and wait() returns. It may also
// return for no reason, so look again.
//
// Waking costs a system call even if nobody sleeps: callers that can know better ask first. All of
// a crowd are woken with one call, and with few interrupts of idle cores.
//
// Thread rule: everything from any thread.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace kyro {

class EventCount {
 public:
  [[nodiscard]] uint32_t ticket() const { return changes_.load(std::memory_order_seq_cst); }

  // Sleeps unless something has changed since ticket().
  void wait(uint32_t ticket) { futex(FUTEX_WAIT_PRIVATE, ticket); }
  void wake_all() {
    changes_.fetch_add(1, std::memory_order_seq_cst);
    futex(FUTEX_WAKE_PRIVATE, INT_MAX);
  }

 private:
  void futex(int operation, uint32_t value) {
    syscall(SYS_futex, &changes_, operation, value, nullptr, nullptr, 0);
  }

  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  std::atomic<uint32_t> changes_{0};
};

}  // namespace kyro
