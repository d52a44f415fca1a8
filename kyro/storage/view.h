// The set of places where records live, as one immutable object behind one pointer.
//
//   active delta   what the committer writes into now
//   frozen deltas  full, waiting to become runs, newest first
//   runs           newest first; their offset ranges are disjoint and descend
//
// A reader pins an epoch, loads the visible offset, then the view; it sees all records below
// max(visible, contained_offset, seen_offset): what a run holds was visible before it was flushed,
// and so was whatever a flush has left out for a newer version's sake.
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
  uint64_t contained_offset = 0;     // everything below it is in the runs, or replaced since
  uint64_t seen_offset = 0;          // everything below it was visible when this view was made
  std::vector<SegmentRef> segments;  // of the log, oldest first: what replay can read

  // What a reader that has loaded `visible` before this view may see: offsets below the result.
  [[nodiscard]] uint64_t bound(uint64_t visible) const {
    return std::max({visible, contained_offset, seen_offset});
  }

  // The first run from `at` on that may hold `key`.
  [[nodiscard]] RunIterator candidate(RunIterator at, uint64_t key) const {
    while (at != runs.end() && !(*at)->may_hold(key)) ++at;
    return at;
  }
};

// An estimate on the high side of how many keys there are, exact once compacted.
[[nodiscard]] inline uint64_t estimate_keys(const View& view) {
  uint64_t keys = view.active != nullptr ? view.active->keys() : 0;
  for (const auto& delta : view.frozen) keys += delta->keys();
  for (const auto& run : view.runs) keys += run->meta().records - run->meta().tombstones;
  return keys;
}

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

}  // namespace kyro
