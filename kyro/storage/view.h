// The set of places where records live, as one immutable object behind one pointer.
//
//   active delta   what the committer writes into now
//   frozen deltas  full, waiting to become runs, newest first
//   runs           newest first; their offset ranges are disjoint and descend
//
// A reader pins an epoch, loads the visible offset, then the view; it sees all records below
// max(visible, contained_offset), because what a run holds was visible before it was flushed.
//
// Invariant: every record below the visible offset is in exactly one of the members, or superseded.
// Thread rule: immutable. Ownership: a view holds its members; a retired view is destroyed when no
// pin can see it, and a member goes with its last view (or whoever else holds a reference).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kyro/storage/delta.h"
#include "kyro/storage/run.h"
#include "kyro/storage/wal_writer.h"

namespace kyro {

struct View {
  std::shared_ptr<Delta> active;
  std::vector<std::shared_ptr<Delta>> frozen;
  std::vector<std::shared_ptr<Run>> runs;
  uint64_t contained_offset = 0;     // everything below it is in the runs
  std::vector<SegmentRef> segments;  // of the log, oldest first: what replay can read

  // What a reader that has loaded `visible` before this view may see: offsets below the result.
  [[nodiscard]] uint64_t bound(uint64_t visible) const {
    return std::max(visible, contained_offset);
  }
};

// What an ordered or long read sees: all of it is as of one offset and one second.
struct Moment {
  const View* view = nullptr;  // pinned, or held by `keeper`
  uint64_t bound = 0;          // offsets below it exist
  uint64_t now_secs = 0;
  std::shared_ptr<const View> keeper;

  // Makes it last beyond the pin.
  void hold() {
    if (keeper == nullptr) keeper = std::make_shared<const View>(*view);
    view = keeper.get();
  }
};

// Where a lookup ended.
enum class Source : uint8_t { kNone, kDelta, kRun };

struct Found {
  Source source = Source::kNone;  // kNone: no version of the key, not even a tombstone
  RecordView record;              // valid while the view is pinned (a run's: while it is held)
  std::shared_ptr<Run> const* run = nullptr;  // the holder of the value, if source is kRun
};

// Apart from the lookups, which should stay small.
[[nodiscard, gnu::noinline, gnu::cold]] inline Status damaged_record(const Run& run) {
  return Status(Code::kCorruption, run.name() + ": the record or its index entry is damaged");
}

// The newest version of `key` in the runs. All runs that may hold it predict and fetch first, so
// that their cache misses overlap; then they answer, the newest first.
inline Status find_in_runs(const View& view, uint64_t key, Found* found) {
  constexpr size_t kAtOnce = 16;
  RmiIndex::Prediction predictions[kAtOnce];
  const std::shared_ptr<Run>* candidates[kAtOnce];
  for (auto next = view.runs.begin(); next != view.runs.end();) {
    size_t count = 0;
    for (; next != view.runs.end() && count < kAtOnce; ++next) {
      if (!(*next)->meta().may_hold(key)) continue;
      predictions[count] = (*next)->predict(key);
      candidates[count++] = &*next;
    }
    for (size_t i = 0; i < count; ++i) {
      const Run& run = **candidates[i];
      const Run::Find answer = run.get(key, predictions[i], &found->record);
      if (answer == Run::Find::kMiss) continue;
      if (answer == Run::Find::kCorrupt) return damaged_record(run);
      found->source = Source::kRun;
      found->run = candidates[i];
      return Status();
    }
  }
  return Status();
}

// The newest version of `key` below `bound` in the frozen deltas and runs; kCorruption if the place
// where it should be is damaged.
inline Status find_in_base(const View& view, uint64_t key, uint64_t bound, Found* found) {
  for (const auto& delta : view.frozen) {
    if (const char* record = delta->find(key, bound)) {
      found->source = Source::kDelta;
      found->record = Delta::view(record);
      return Status();
    }
  }
  return find_in_runs(view, key, found);
}

// The newest version of `key` below `bound` anywhere in the view.
inline Status find_in_view(const View& view, uint64_t key, uint64_t bound, Found* found) {
  if (const char* record = view.active->find(key, bound)) {
    found->source = Source::kDelta;
    found->record = Delta::view(record);
    return Status();
  }
  return find_in_base(view, key, bound, found);
}

}  // namespace kyro
