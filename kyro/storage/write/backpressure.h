// How much slower writers go so that flushes and merges keep up.
//
// The room for new records is three deltas: one in use and at most two that wait to be flushed. Of
// the bytes of one delta, writers get flush_ns × (deltas filled − 1) each: nothing is asked while
// none waits, just the time of a flush when two deltas of the three are full, twice that when all
// are. So a writer that outruns the flusher settles at the flusher's rate, about two thirds full,
// instead of running until all is full and then standing still for a whole flush; the third that is
// left absorbs a flush that takes twice as long as the one before it. Runs that merges leave
// waiting ask for time in the same way. It is a clock, not a tax: who is slower by himself never
// waits.
//
// Thread rule: slowdown_ns() is pure; a WritePacer belongs to the holder of the committer's role.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace kyro {

// Deltas that may wait to be flushed; a writer that would freeze one more waits for room.
inline constexpr size_t kFrozenDeltasMax = 2;

// What flusher and merger have before them.
struct Backlog {
  size_t frozen = 0;           // deltas that wait to be flushed
  uint64_t flush_ns = 0;       // of the last flush, or of the one under way if it takes longer
  size_t runs = 0;             // what those that the next merge would take weigh (merge_weight())
  size_t fan_in = 4;           // of a merge
  uint64_t turn = 0;           // changes when some of it has been done
  bool may_give_room = false;  // something is under way that may, on a disk that is short of it
};

// The time that a group of `bytes` should take when the delta it goes into holds `active_bytes` of
// `delta_bytes_max`; all bytes as the delta counts them.
[[nodiscard]] inline uint64_t slowdown_ns(const Backlog& backlog, uint64_t active_bytes,
                                          uint64_t bytes, uint64_t delta_bytes_max) {
  const auto of_delta = [&](uint64_t n) {
    return static_cast<double>(std::min(n, delta_bytes_max)) / static_cast<double>(delta_bytes_max);
  };
  double flushes = 0;
  if (backlog.frozen > 0) {
    flushes = static_cast<double>(backlog.frozen - 1) + of_delta(active_bytes);
  }
  // Merges that keep up leave little more than a fan-in of runs; from the fourfold on, each further
  // fan-in asks for the time of one more flush.
  const size_t runs_free = 4 * backlog.fan_in;
  if (backlog.runs > runs_free) {
    flushes = std::max(flushes, static_cast<double>(backlog.runs - runs_free) /
                                    static_cast<double>(backlog.fan_in));
  }
  return static_cast<uint64_t>(flushes * of_delta(bytes) * static_cast<double>(backlog.flush_ns));
}

// Adds up what groups should take, and says when it is worth to wait for it.
class WritePacer {
 public:
  // Shorter waits would cost more than they delay.
  static constexpr uint64_t kWaitNsMin = 200'000;

  // Adds a group that should take `cost_ns`; returns how long to wait before it.
  [[nodiscard]] uint64_t add(uint64_t cost_ns, uint64_t now_ns) {
    due_ns_ = std::max(due_ns_, now_ns) + cost_ns;
    return due_ns_ - now_ns >= kWaitNsMin ? due_ns_ - now_ns : 0;
  }
  // Whether the groups before are to be waited for.
  [[nodiscard]] bool is_behind(uint64_t now_ns) const { return due_ns_ >= now_ns + kWaitNsMin; }
  // What is left to wait for is no longer asked for.
  void forgive() { due_ns_ = 0; }

 private:
  uint64_t due_ns_ = 0;
};

}  // namespace kyro
