// The committer where its store shares a log with others: bodies of committer.h's functions.
//
// A group goes into the shared log first, under the offset that its first record has, and only then
// into the store's own. If another store was faster, that one's group is there:
//
//   ask ──► nothing there ─────────────────────► own log, delta, visible, answers
//     ▲           no answer ─► everybody in the group: kLogUnreachable
//     └── theirs: applied like a replayed group, own requests decided and numbered anew
//
// Invariants:
//   - a record is in the store's own log only if it is in the shared one, under the same offset;
//   - the store's own log has the shared one's groups in order, each whole and once;
//   - "no" is said only where the shared log was found to end at the offset it was decided at.
//
// On a full disk others' deletes are applied as own ones are, so deletes go on. A group of theirs
// that puts something needs room as any put does, and until it has some nothing is written here,
// for it is the next one: room that is kept for deletes is not spent on what makes none.
//
// Failures after the shared log has a group: nothing of it is in the store's own log, so its next
// offset is still the group's first. Its members hear that it may still happen; whatever is asked
// about next finds that group, and it is applied like anybody's. If the failure is final the latch
// is set, and the store takes nothing more; the others have the group.
//
// Thread rule: the writer's role, like all of the committer; for the watcher a wait for the shared
// log is a wait, not work.
#pragma once

#include <string>
#include <vector>

#include "kyro/storage/shared_log.h"
#include "kyro/storage/write/committer.h"

namespace kyro {

inline Status Committer::agree() {
  while (Agreement::is_needed_for(group_)) {
    waits_.store(true, std::memory_order_relaxed);
    auto theirs = agreement_.ask(group_, log_.next_offset());
    waits_.store(false, std::memory_order_relaxed);
    count_step();
    KYRO_TRY(theirs);
    if (!*theirs) return Status();
    const std::vector<WriteRequest*> members = group_.take_back();
    if (Status applied = apply(**theirs); !applied.ok()) {
      for (WriteRequest* member : members) group_.add(member);
      return applied;
    }
    regroup(members);
  }
  return Status();
}

inline void Committer::regroup(const std::vector<WriteRequest*>& members) {
  CommitGroup::Cost cost;
  bool only_deletes = true;
  for (const WriteRequest* member : members) {
    if (!CommitGroup::was_decided(*member)) continue;
    const CommitGroup::Cost own = CommitGroup::cost_of(*member);
    cost.log_bytes += own.log_bytes;
    cost.delta_bytes += own.delta_bytes;
    only_deletes = only_deletes && CommitGroup::only_deletes(*member);
  }
  const Status made = make_room(cost, only_deletes);
  now_secs_ = state_.clock.now_secs();
  for (WriteRequest* member : members) {
    if (!CommitGroup::was_decided(*member)) {
      group_.add(member);
      continue;
    }
    member->status = Status();
    if (!made.ok()) {
      fail(member, made);
    } else if (decide(member)) {
      group_.add_records(member, log_.next_offset());
    } else {
      group_.add(member);
    }
  }
}

inline Status Committer::apply(const SharedGroup& theirs) {
  KYRO_TRY(agreement_.check(theirs));
  const CommitGroup::Cost cost = CommitGroup::cost_of(theirs.body);
  const bool is_delete = CommitGroup::only_deletes(theirs.body);
  const Admission::Wish wish{is_delete, is_delete, cost.log_bytes};
  if (const Status admitted = admit(wish); !admitted.ok()) {
    return Status(admitted.code(), "another store's write comes first, and has no room here: " +
                                       std::string(admitted.message()));
  }
  KYRO_TRY(make_room(cost, is_delete));
  agreement_.load(theirs, &group_);
  if (group_.has_lifetimes()) state_.has_lifetimes.store(true, std::memory_order_relaxed);
  const uint32_t records = group_.records();
  const uint64_t log_bytes = group_.log_bytes();
  Status status = slow_down(Pace::kMayWait, 0);
  if (status.ok()) status = write_group();
  static_cast<void>(group_.finish(status, state_.stats));  // nobody waits for it
  if (status.ok()) tell_of_commit(records, log_bytes);
  return status;
}

inline void Committer::take(WriteRequest* request) {
  commit_group();
  const SharedGroup& theirs = *request->taken;
  if (theirs.first_offset == log_.next_offset()) {
    request->status = apply(theirs);
  } else if (theirs.end_offset() > log_.next_offset()) {
    request->status = Status(Code::kCorruption, "the group of the shared log at " +
                                                    std::to_string(theirs.first_offset) +
                                                    " does not begin where the store ends");
  }
  request->offset = log_.next_offset();
  request->done();
  wake_writers();
}

}  // namespace kyro
