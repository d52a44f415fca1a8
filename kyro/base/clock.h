// Clocks: a monotonic one for durations and deadlines, the time since boot, Unix time.
#pragma once

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace kyro {

[[nodiscard]] inline uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// Nanoseconds since some fixed moment; never goes back, stands still while the machine sleeps.
[[nodiscard]] inline uint64_t monotonic_ns() {
  return clock_ns(CLOCK_MONOTONIC);
}

// Nanoseconds since the machine booted, with the time that it slept; never goes back.
[[nodiscard]] inline uint64_t boot_ns() {
  return clock_ns(CLOCK_BOOTTIME);
}

// Unix time, which whoever sets the clock can move in both directions.
[[nodiscard]] inline uint64_t unix_ns() {
  return clock_ns(CLOCK_REALTIME);
}

// What tells this boot of the machine from others: 32 hex digits, or nothing where the system does
// not say.
[[nodiscard]] inline std::string boot_id() {
  std::string id;
  const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return id;
  char text[40];
  const ssize_t got = read(fd, text, sizeof text);
  close(fd);
  for (ssize_t i = 0; i < got; ++i) {
    const bool is_hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (is_hex) id += text[i];
  }
  if (id.size() != 32) id.clear();
  return id;
}

}  // namespace kyro
