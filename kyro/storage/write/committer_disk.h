// The committer on a disk that is full, or nearly: bodies of committer.h's functions.
//
// Who may still write says admission.h; here it is waited for, under the writer's role.
#pragma once

#include <cstdint>

#include "kyro/base/clock.h"
#include "kyro/storage/write/committer.h"

namespace kyro {

// Log that only replay reads goes first, and while rewritten runs give room back a write waits for
// that.
inline Status Committer::admit(const Admission::Wish& wish) {
  admission_.look(wish.bytes);
  if (admission_.has_room(wish)) return Status();
  const uint64_t began_ns = monotonic_ns();
  bool may_wait = admission_.may_wait(wish, began_ns);
  while (may_wait && !admission_.has_room(wish)) {
    const bool is_late = Admission::is_late(wish, monotonic_ns() - began_ns);
    may_wait = !is_late && wait_for_reclaim();
    if (state_.latch.is_set()) return state_.latch.status();
    if (is_late || (!may_wait && !wish.is_relief)) {
      admission_.note_fruitless(wish, monotonic_ns());
    }
  }
  return admission_.verdict(wish);
}

inline bool Committer::wait_for_reclaim() {
  constexpr uint64_t kLookAgainNs = 50'000'000;
  commit_group();
  Backlog backlog = scheduler_.backlog();
  if (state_.latch.is_set() || (!backlog.may_give_room && !press(backlog))) return false;
  waits_.store(true, std::memory_order_relaxed);
  scheduler_.wait_for_turn(backlog.turn, kLookAgainNs);
  waits_.store(false, std::memory_order_relaxed);
  count_step();
  admission_.refresh();
  return true;
}

inline bool Committer::press(const Backlog& backlog) {
  const uint64_t now_ns = monotonic_ns();
  // Not a run for each write.
  const bool is_worth = active_->bytes() >= state_.space.delta_bytes_max() / 16 ||
                        now_ns - pressed_ns_ >= kPressPauseNs;
  if (!active_->empty() && backlog.frozen == 0 && is_worth) {
    pressed_ns_ = now_ns;
    if (!freeze().ok()) return false;
  } else if (looked_turn_ == backlog.turn) {
    return false;
  }
  looked_turn_ = backlog.turn;
  scheduler_.on_disk_short();
  return true;
}

inline Status Committer::rotate(bool is_delete) {
  Status status = log_.rotate();
  if (status.code() != Code::kNoSpace || !is_delete) return status;
  if (state_.reserve.release(state_.dir)) {
    scheduler_.on_disk_full();
    status = log_.rotate();
  }
  const uint64_t began_ns = monotonic_ns();
  while (status.code() == Code::kNoSpace && monotonic_ns() - began_ns < Admission::kReliefWaitNs &&
         wait_for_reclaim()) {
    status = log_.rotate();
  }
  return status;
}

}  // namespace kyro
