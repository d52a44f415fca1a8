// Status and Result (result.h), and KYRO_CHECK, which is for our own bugs only: bytes that came
// from a disk, a socket or a user become a Status.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/result.h"

namespace kyro {

[[noreturn]] inline void check_failed(const char* expression, const char* file, int line) {
  char text[512];
  const int size = std::snprintf(text, sizeof text, "kyrodb: check failed: %s (%s:%d)\n",
                                 expression, file, line);
  // A reader of stderr that stands still must not keep a broken process alive.
  constexpr int kWaitMs = 1000;
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (size > 0 && ::poll(&room, 1, kWaitMs) > 0) {
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, text, std::min(static_cast<size_t>(size), sizeof text - 1));
  }
  std::abort();
}

}  // namespace kyro

// Always on: an invariant of this program, never a property of outside bytes.
#define KYRO_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::kyro::check_failed(#condition, __FILE__, __LINE__))
