// Random numbers from the operating system, for identities (nonces, database ids), not for speed.
#pragma once

#include <sys/random.h>

#include <cerrno>
#include <cstdint>

#include "kyro/base/status.h"

namespace kyro {

// 64 random bits, never 0. Blocks only in the first moments of a machine's life.
[[nodiscard]] inline uint64_t random_u64() {
  uint64_t value = 0;
  while (value == 0) {
    const ssize_t got = getrandom(&value, sizeof value, 0);
    if (got != static_cast<ssize_t>(sizeof value)) {
      KYRO_CHECK(got >= 0 || errno == EINTR);  // any other failure means a broken system
      value = 0;
    }
  }
  return value;
}

}  // namespace kyro
