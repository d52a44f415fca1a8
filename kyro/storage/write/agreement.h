// What stands between a group and the store's own log where stores share a log: the question
// whether the group is the next one for all of them.
//
// A group is asked about if it has records, or if one of its members would be told "no": a store
// that lags must not refuse by what it has not seen yet. Expiries are Unix time in the shared log
// and store time here; they change at this place and nowhere else.
//
// A store without a shared log pays one branch a group for this, and has no thread for it.
//
// Thread rule: one thread at a time, the holder of the writer's role. ask() may take as long as a
// network does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/storage/engine_state.h"
#include "kyro/storage/shared_log.h"
#include "kyro/storage/write/commit_group.h"

namespace kyro {

class Agreement {
 public:
  explicit Agreement(EngineState& state) : state_(state), log_(state.options.shared_log) {}

  [[nodiscard]] bool is_needed() const { return log_ != nullptr; }
  [[nodiscard]] static bool is_needed_for(const CommitGroup& group) {
    return group.records() > 0 || group.has_decided();
  }

  // Nothing: the group's records are in the shared log, and it ended where the group was decided.
  // Else what lies there instead, valid until the next question.
  [[nodiscard]] Result<std::optional<SharedGroup>> ask(const CommitGroup& group,
                                                       uint64_t first_offset) {
    if (group.records() == 0) return log_->confirm(first_offset);
    std::string_view body = group.body();
    if (group.has_lifetimes() && state_.clock.shift_secs() != 0) {
      moved_ = body;
      move_expiries(&moved_, [&](uint64_t secs) { return limited(state_.clock.to_unix(secs)); });
      body = moved_;
    }
    return log_->append(first_offset, group.records(), body);
  }

  // The time that a group should take for the sake of the shared log's room.
  [[nodiscard]] uint64_t pace_ns(const CommitGroup& group) const {
    return log_ == nullptr ? 0 : log_->pace_ns(group.log_bytes());
  }

  // Whether a group of the shared log continues what was applied.
  [[nodiscard]] Status check(const SharedGroup& theirs) { return log_->follow(theirs); }

  // Makes an empty group of it, in store time.
  void load(const SharedGroup& theirs, CommitGroup* group) {
    std::string_view body = theirs.body;
    if (state_.clock.shift_secs() != 0) {
      moved_ = body;
      move_expiries(&moved_, [&](uint64_t secs) { return limited(state_.clock.from_unix(secs)); });
      body = moved_;
    }
    group->adopt(body);
  }

  // What the members of a group hear of its way into the store's own log, by which time the shared
  // log has it: the others apply it, and so does this store before anything else it writes.
  [[nodiscard]] Status outcome(Status written) const {
    if (written.ok() || log_ == nullptr) return written;
    return Status(
        Code::kLogUnreachable,
        "the write is in the shared log, but not on this node yet: " + written.to_string());
  }

 private:
  static uint64_t limited(uint64_t expiry_secs) { return std::min(expiry_secs, kExpirySecsMax); }

  EngineState& state_;
  SharedLog* const log_;
  std::string moved_;  // records with their expiries changed
};

}  // namespace kyro
