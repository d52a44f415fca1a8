// The clock by which lifetimes are measured. It starts as Unix time and then goes by the time since
// boot, so that no change of the system's clock shortens or lengthens a lifetime, and sleep counts.
//
//   store time   seconds; what records carry as their expiry. Never goes back.
//   shift        store time minus the system's Unix time: 0 until somebody steps the clock.
//   anchor       store time beside the two other clocks at one moment; the manifest keeps it.
//
// After a restart store time goes on from the anchor:
//   - in the same boot of the machine by the time since boot: exactly, whatever the clock shows;
//   - after a reboot, or on another machine, by the difference of Unix times, but never backwards.
//     So a clock that was put back meanwhile makes lifetimes longer by the time that the store was
//     down (and by the age of the anchor, kAnchorAgeSecsMax at most while something can expire), a
//     clock that is wrong ahead makes them shorter by its error;
//   - without an anchor (a store of an older format) it is Unix time once more.
//
// Thread rule: start() before other threads; the rest from any. No shared line is written but when
// the shift changes.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "kyro/base/clock.h"

namespace kyro {

// One moment on three clocks.
struct ClockAnchor {
  std::string boot_id;  // of the boot that boot_ns counts from; empty: unknown
  uint64_t boot_ns = 0;
  uint64_t store_ns = 0;
  uint64_t unix_ns = 0;
  friend bool operator==(const ClockAnchor&, const ClockAnchor&) = default;
};

// Where the time comes from; null: the system.
struct ClockSources {
  uint64_t (*unix_secs)() = nullptr;
  uint64_t (*boot_ns)() = nullptr;
  std::string (*boot_id)() = nullptr;
};

class LifetimeClock {
 public:
  // The anchor on disk is renewed at this age where something may expire.
  static constexpr uint64_t kAnchorAgeSecsMax = 600;

  explicit LifetimeClock(ClockSources sources,
                         const std::optional<ClockAnchor>& kept = std::nullopt)
      : sources_(sources),
        boot_id_(sources.boot_id != nullptr ? sources.boot_id() : kyro::boot_id()) {
    start(kept);
  }

  // Goes on from what a manifest kept, if it did.
  void start(const std::optional<ClockAnchor>& kept) {
    const uint64_t boot = read_boot_ns();
    const uint64_t now = read_unix_ns();
    uint64_t store = now;
    if (kept && !boot_id_.empty() && kept->boot_id == boot_id_ && boot >= kept->boot_ns) {
      store = kept->store_ns + (boot - kept->boot_ns);
    } else if (kept) {
      store = kept->store_ns + (now > kept->unix_ns ? now - kept->unix_ns : 0);
    }
    ahead_of_boot_ns_ = store - boot;
    static_cast<void>(shift_secs());
  }

  // Store time.
  [[nodiscard]] uint64_t now_secs() const { return now_ns() / kSecond; }

  // How far store time is ahead of Unix time. Within a second and a half it stays what it was: the
  // two clocks are not read at the same moment, and may be read in whole seconds.
  [[nodiscard]] int64_t shift_secs() const {
    const uint64_t unix_now = read_unix_ns();
    const auto ahead_ns = static_cast<int64_t>(now_ns() - unix_now);
    int64_t shift = shift_secs_.load(std::memory_order_relaxed);
    if (std::llabs(ahead_ns - shift * kSignedSecond) <= kSignedSecond * 3 / 2) return shift;
    const int64_t half = ahead_ns < 0 ? -kSignedSecond / 2 : kSignedSecond / 2;
    shift = (ahead_ns + half) / kSignedSecond;
    shift_secs_.store(shift, std::memory_order_relaxed);
    return shift;
  }

  // A moment of Unix time (0: never) on this clock, as the two stand to each other now; and back.
  // What lies before the beginning of either is its first second.
  [[nodiscard]] uint64_t from_unix(uint64_t unix_secs) const { return moved(unix_secs, 1); }
  [[nodiscard]] uint64_t to_unix(uint64_t store_secs) const { return moved(store_secs, -1); }

  [[nodiscard]] ClockAnchor anchor() const {
    const uint64_t boot = read_boot_ns();
    return {boot_id_, boot, boot + ahead_of_boot_ns_, read_unix_ns()};
  }

 private:
  static constexpr uint64_t kSecond = 1'000'000'000;
  static constexpr int64_t kSignedSecond = 1'000'000'000;

  [[nodiscard]] uint64_t read_boot_ns() const {
    return sources_.boot_ns != nullptr ? sources_.boot_ns() : boot_ns();
  }
  [[nodiscard]] uint64_t read_unix_ns() const {
    return sources_.unix_secs != nullptr ? sources_.unix_secs() * kSecond : unix_ns();
  }
  [[nodiscard]] uint64_t now_ns() const { return read_boot_ns() + ahead_of_boot_ns_; }

  [[nodiscard]] uint64_t moved(uint64_t secs, int64_t sign) const {
    if (secs == 0) return 0;
    const auto by = shift_secs() * sign;
    const auto distance = static_cast<uint64_t>(std::llabs(by));
    if (by >= 0) return secs + distance;
    return secs > distance ? secs - distance : 1;
  }

  const ClockSources sources_;
  const std::string boot_id_;
  uint64_t ahead_of_boot_ns_ = 0;  // of start(); wraps where the boot is newer than the store
  mutable std::atomic<int64_t> shift_secs_{0};
};

}  // namespace kyro
