// A write whose submitter sleeps until it is done, and the two places where they wait.
//
// Those of one group wait in one place and are woken with one system call. One call for each would
// wake an idle core anew for almost each of them, and let those woken first crowd out whoever wakes
// the rest. There are two places: for the group being written, and for the one that gathers
// meanwhile. Who enters just as a group is taken may share the place of the group before his; he is
// woken once in vain and sleeps on.
//
// Thread rule: a BlockingWrite belongs to its submitter until done(), see WriteRequest. A place is
// entered from any thread; note_sleeper() and wake() are the committer's.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "kyro/base/event_count.h"
#include "kyro/storage/write/write_request.h"

namespace kyro {

class WaitingWriters {
 public:
  template <class IsDone>
  void sleep_until(IsDone is_done) {
    for (;;) {
      const uint32_t ticket = outcomes_.ticket();
      if (is_done()) return;
      outcomes_.wait(ticket);
    }
  }

  // Somebody who sleeps here, or is about to, is done.
  void note_sleeper() { has_sleeper_done_ = true; }
  void wake() {
    if (std::exchange(has_sleeper_done_, false)) outcomes_.wake_all();
  }

 private:
  alignas(64) EventCount outcomes_;
  bool has_sleeper_done_ = false;
};

class BlockingWrite final : public WriteRequest {
 public:
  // Before each submission. `place` outlives the wake-up.
  void enter(WaitingWriters* place) {
    place_ = place;
    state_.store(State::kOpen, std::memory_order_relaxed);
  }

  void wait() {
    State state = State::kOpen;
    if (!state_.compare_exchange_strong(state, State::kAwaited, std::memory_order_acquire)) return;
    place_->sleep_until([this] { return state_.load(std::memory_order_acquire) == State::kDone; });
  }

  // A submitter that does not sleep needs no wake-up.
  void done() override {
    WaitingWriters* const place = place_;  // afterwards the request may be gone
    const State before = state_.exchange(State::kDone, std::memory_order_acq_rel);
    if (before == State::kAwaited) place->note_sleeper();
  }

 private:
  enum class State : uint8_t { kOpen, kAwaited, kDone };

  WaitingWriters* place_ = nullptr;
  std::atomic<State> state_{State::kOpen};
};

}  // namespace kyro
