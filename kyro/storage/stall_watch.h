// Which of an engine's threads have work and do not come forward with it.
//
//   commit  writes that nobody takes, or a group that is not written, synced and shown
//   flush   a full delta, or a finished merge that is not installed
//   merge   a merge or whatever else it was asked to do: it runs at the lowest priority, and may
//           read and write a lot between two steps, so it is given ten times as long
//
// Waiting for another thread of these is not a stall: then that one is late. Nor is a failure that
// is answered or tried again, nor anything after the read-only latch, which ends all work.
//
// Somebody has to look every few seconds: only what lies between two looks with work and without a
// step is counted, ten seconds at most for one look, so that a process which was stopped as a whole
// is not taken for one that hangs.
//
// Thread rule: any thread. Ownership: none.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "kyro/base/heartbeat.h"
#include "kyro/storage/background/maintenance.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/write/committer.h"

namespace kyro {

// A role, and how long it has not come forward with its work.
struct Stall {
  const char* role = "";
  uint64_t stalled_ns = 0;
  bool is_too_long = false;
};
using Stalls = std::array<Stall, 3>;

class StallWatch {
 public:
  static constexpr uint64_t kMergeFactor = 10;

  [[nodiscard]] Stalls look(const EngineState& state, const Committer& committer,
                            const Maintenance& maintenance, uint64_t now_ns) {
    const uint64_t bound_ns = state.options.stall_ms * 1'000'000;
    const Heartbeat& flush = maintenance.flusher().heartbeat();
    const Heartbeat& merge = maintenance.merger().heartbeat();
    Stalls stalls = {{{"commit", commit_.look(committer.has_work(), committer.progress(), now_ns)},
                      {"flush", flush_.look(flush.has_work(), flush.progress(), now_ns)},
                      {"merge", merge_.look(merge.has_work(), merge.progress(), now_ns)}}};
    if (state.latch.is_set()) return stalls;
    for (Stall& stall : stalls) stall.is_too_long = stall.stalled_ns > bound_ns;
    stalls[2].is_too_long = stalls[2].stalled_ns > kMergeFactor * bound_ns;
    return stalls;
  }

 private:
  StallClock commit_;
  StallClock flush_;
  StallClock merge_;
};

// The first one that takes too long, or null.
[[nodiscard]] inline const Stall* find_stall(const Stalls& stalls) {
  const auto found = std::find_if(stalls.begin(), stalls.end(),
                                  [](const Stall& stall) { return stall.is_too_long; });
  return found == stalls.end() ? nullptr : &*found;
}

}  // namespace kyro
