// Who may still write on a disk that is full, or nearly.
//
// What makes room may use half of what is kept, the other half is for the rewriting of runs; where
// all that can be done is done it goes on, since it may be what is needed for more. Deletes are
// never refused here. Whoever finds no room waits for what rewritten runs give back, so long at
// most, and not at all for a while after that was in vain.
//
// Thread rule: one thread at a time, the holder of the writer's role.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kyro/base/clock.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/write/commit_group.h"
#include "kyro/storage/write/flush_scheduler.h"

namespace kyro {

class Admission {
 public:
  // Who asks for how much log.
  struct Wish {
    bool is_delete = false;
    bool is_relief = false;  // makes room
    uint64_t bytes = 0;
  };

  Admission(EngineState& state, FlushScheduler& scheduler) : state_(state), scheduler_(scheduler) {}

  [[nodiscard]] static Wish wish_of(const WriteRequest& request, uint64_t bytes) {
    const bool is_delete = CommitGroup::only_deletes(request);
    return {is_delete, is_delete || request.makes_room, bytes};
  }

  // Asks the volume for its room now and then, and tells the scheduler where that is short.
  void look(uint64_t bytes) {
    written_since_sample_ += bytes;
    if (is_sample_due(0) || state_.space.is_short()) refresh();
    if (state_.space.is_short() && monotonic_ns() - told_short_ns_ >= kTellShortNs) {
      scheduler_.on_disk_short();
      told_short_ns_ = monotonic_ns();
    }
  }
  void refresh() {
    state_.space.refresh(state_.dir);
    written_since_sample_ = 0;
  }

  [[nodiscard]] bool has_room(const Wish& wish) const {
    const uint64_t kept = state_.space.kept_bytes();
    if (wish.is_relief) return state_.space.admits(wish.bytes, kept / 2);
    return state_.space.admits(wish.bytes, kept) && !state_.reserve.is_released();
  }
  // Whether that is plain, and without asking anybody.
  [[nodiscard]] bool has_ample_room(uint64_t bytes) const {
    return !state_.space.is_short() && !is_sample_due(bytes) && has_room({.bytes = bytes});
  }

  [[nodiscard]] bool may_wait(const Wish& wish, uint64_t now_ns) const {
    const uint64_t fruitless_ns = fruitless_ns_[wish.is_relief ? 1 : 0];
    return fruitless_ns == 0 || now_ns - fruitless_ns >= kFruitlessPauseNs;
  }
  [[nodiscard]] static bool is_late(const Wish& wish, uint64_t waited_ns) {
    return waited_ns >= (wish.is_relief ? kReliefWaitNs : kPutWaitNs);
  }
  void note_fruitless(const Wish& wish, uint64_t now_ns) {
    fruitless_ns_[wish.is_relief ? 1 : 0] = now_ns;
  }

  // What becomes of a write that does not wait any more.
  [[nodiscard]] Status verdict(const Wish& wish) const {
    const uint64_t kept = state_.space.kept_bytes();
    if (has_room(wish) || wish.is_delete ||
        (wish.is_relief && state_.space.admits(wish.bytes, kept / 4))) {
      return Status();
    }
    state_.space.note_refused(wish.bytes);
    return Status(Code::kNoSpace,
                  "the disk is full: " + std::to_string(state_.space.free_bytes()) +
                      " bytes are free, " + std::to_string(kept) +
                      " are kept so that it can be emptied; only deletes are possible");
  }

  // What makes room waits longer than a put, so that it does not outrun the rewriting of runs.
  static constexpr uint64_t kReliefWaitNs = 10'000'000'000;

 private:
  static constexpr uint64_t kTellShortNs = 20'000'000;
  static constexpr uint64_t kPutWaitNs = 1'000'000'000;
  static constexpr uint64_t kFruitlessPauseNs = 5'000'000'000;

  [[nodiscard]] bool is_sample_due(uint64_t bytes) const {
    return written_since_sample_ + bytes >= state_.space.sample_bytes();
  }

  EngineState& state_;
  FlushScheduler& scheduler_;
  uint64_t written_since_sample_ = 0;          // bytes, since the volume was asked
  uint64_t told_short_ns_ = 0;                 // when the scheduler was told
  std::array<uint64_t, 2> fruitless_ns_ = {};  // when a wait was in vain; the second: of relief
};

}  // namespace kyro
