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

#include "kyro/storage/delta/delta.h"
#include "kyro/storage/log/segment_ref.h"
#include "kyro/storage/run/run.h"

namespace kyro {

struct View {
  using RunIterator = std::vector<std::shared_ptr<Run>>::const_iterator;

  std::shared_ptr<Delta> active;
  std::vector<std::shared_ptr<Delta>> frozen;
  std::vector<std::shared_ptr<Run>> runs;
  uint64_t contained_offset = 0;     // everything below it is in the runs
  std::vector<SegmentRef> segments;  // of the log, oldest first: what replay can read

  // What a reader that has loaded `visible` before this view may see: offsets below the result.
  [[nodiscard]] uint64_t bound(uint64_t visible) const {
    return std::max(visible, contained_offset);
  }

  // The first run from `at` on that may hold `key`.
  [[nodiscard]] RunIterator candidate(RunIterator at, uint64_t key) const {
    while (at != runs.end() && !(*at)->may_hold(key)) ++at;
    return at;
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
enum class Source : uint8_t {
  kNone,  // no version of the key, not even a tombstone
  kDelta,
  kRun,
  kDamaged,  // the place in a run where it should be
};

// What a lookup found. Two registers, so that it never passes through memory (see RecordRef).
struct Found {
  RecordRef record;                           // valid while the view is pinned (a run's: held)
  const std::shared_ptr<Run>* run = nullptr;  // the holder of the record, or of the damage

  [[nodiscard]] Source source() const {
    if (record.is_null()) return run == nullptr ? Source::kNone : Source::kDamaged;
    return run == nullptr ? Source::kDelta : Source::kRun;
  }
};

// Apart from the lookups, which should stay small.
[[nodiscard, gnu::noinline, gnu::cold]] inline Status damaged_record(const Run& run) {
  return Status(Code::kCorruption, run.name() + ": the record or its index entry is damaged");
}

// The newest version of `key` in those runs from `next` on that may hold it. They predict and fetch
// first, so that their cache misses overlap; then they answer, the newest first.
[[nodiscard, gnu::noinline]] inline Found find_in_several(const View& view, View::RunIterator next,
                                                          uint64_t key) {
  constexpr size_t kAtOnce = 16;
  RmiIndex::Prediction predictions[kAtOnce];
  const std::shared_ptr<Run>* candidates[kAtOnce];
  while (next != view.runs.end()) {
    size_t count = 0;
    for (; next != view.runs.end() && count < kAtOnce; next = view.candidate(next + 1, key)) {
      predictions[count] = (*next)->predict(key);
      candidates[count++] = &*next;
    }
    for (size_t i = 0; i < count; ++i) {
      const Run::Answer answer = (*candidates[i])->get(key, predictions[i]);
      if (answer.code != Run::Find::kMiss) return {answer.record, candidates[i]};
    }
  }
  return {};
}

// The newest version of `key` in the runs. The way through a single one is kept short: the fewer
// instructions a lookup has, the more its misses overlap with those of the next.
[[nodiscard]] inline Found find_in_runs(const View& view, uint64_t key) {
  const auto first = view.candidate(view.runs.begin(), key);
  if (first == view.runs.end()) return {};
  if (view.candidate(first + 1, key) != view.runs.end()) return find_in_several(view, first, key);
  const Run::Answer answer = (*first)->get(key);
  return {answer.record, answer.code == Run::Find::kMiss ? nullptr : &*first};
}

// The newest version of `key` below `bound` in the deltas.
[[nodiscard, gnu::noinline]] inline const char* find_in_deltas(const View& view, uint64_t key,
                                                               uint64_t bound) {
  if (const char* record = view.active->find(key, bound)) return record;
  for (const auto& delta : view.frozen) {
    if (const char* record = delta->find(key, bound)) return record;
  }
  return nullptr;
}

// The newest version of `key` below `bound` anywhere in the view.
[[nodiscard]] inline Found find_in_view(const View& view, uint64_t key, uint64_t bound) {
  if (!view.active->empty() || !view.frozen.empty()) {
    if (const char* record = find_in_deltas(view, key, bound)) return {RecordRef(record)};
  }
  return find_in_runs(view, key);
}

}  // namespace kyro
