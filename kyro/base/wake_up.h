// Wakes a thread that sleeps in poll(): a descriptor that is readable from wake() on, until
// clear(). A wake-up that comes before the sleep is not lost: the sleep ends at once.
//
// Thread rule: wake() from any thread, the rest by the one that sleeps. Ownership: owns its
// descriptor; without one (the system gives none) nobody is woken, and sleeps just end in time.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace kyro {

class WakeUp {
 public:
  WakeUp() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;
  ~WakeUp() {
    if (fd_ >= 0) close(fd_);
  }

  void wake() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);  // or it is set already
  }
  void clear() const {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(fd_, &count, sizeof count);
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace kyro
