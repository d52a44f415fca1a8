// A line of progress on a terminal, for commands that take long: how many records, how fast, how
// much is left. Where stderr is no terminal it prints nothing.
//
// Thread rule: one thread.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "kyro/base/clock.h"

namespace kyro {

class Progress {
 public:
  Progress() : is_shown_(isatty(STDERR_FILENO) != 0), began_ns_(monotonic_ns()) {}

  // At most five times a second, and at once the first time. `done` of `total` bytes, if the total
  // is known.
  void show(uint64_t records, uint64_t done_bytes = 0, std::optional<uint64_t> total_bytes = {}) {
    if (!is_due()) return;
    std::fprintf(stderr, "\r%s\033[K", line(records, seconds(), done_bytes, total_bytes).c_str());
  }

  // The same for bytes.
  void show_bytes(uint64_t done, uint64_t total) {
    if (!is_due()) return;
    const double mib = static_cast<double>(done) / 1048576;
    const double took = seconds();
    std::fprintf(stderr, "\r%.1f of %.1f MiB, %.0f MiB/s, %.0f %%\033[K", mib,
                 static_cast<double>(total) / 1048576, took > 0 ? mib / took : 0,
                 total == 0 ? 100 : 100 * static_cast<double>(done) / static_cast<double>(total));
  }

  // Takes the line from the terminal.
  void clear() const {
    if (is_shown_ && shown_ns_ != 0) std::fprintf(stderr, "\r\033[K");
  }

  [[nodiscard]] double seconds() const {
    return static_cast<double>(monotonic_ns() - began_ns_) / 1e9;
  }

  // "12000 records, 240000/s, 40 %, 3 s left".
  [[nodiscard]] static std::string line(uint64_t records, double seconds, uint64_t done_bytes,
                                        std::optional<uint64_t> total_bytes) {
    char text[160];
    const double rate = seconds > 0 ? static_cast<double>(records) / seconds : 0;
    std::snprintf(text, sizeof text, "%" PRIu64 " records, %.0f/s", records, rate);
    std::string out = text;
    if (!total_bytes || *total_bytes == 0 || done_bytes == 0) return out;
    const double share =
        std::min(1.0, static_cast<double>(done_bytes) / static_cast<double>(*total_bytes));
    std::snprintf(text, sizeof text, ", %.0f %%, %.0f s left", share * 100,
                  seconds * (1 - share) / share);
    return out + text;
  }

 private:
  bool is_due() {
    constexpr uint64_t kEveryNs = 200'000'000;
    const uint64_t now = monotonic_ns();
    if (!is_shown_ || (shown_ns_ != 0 && now - shown_ns_ < kEveryNs)) return false;
    shown_ns_ = now;
    return true;
  }

  const bool is_shown_;
  const uint64_t began_ns_;
  uint64_t shown_ns_ = 0;
};

}  // namespace kyro
