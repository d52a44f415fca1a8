// An ordered read: the live keys of a range, up or down, as of one moment, in slices.
//
//   Scan scan(moment, {.first = 10, .last = 99});
//   while (*scan.advance(kSliceBytes, visit) == Scan::State::kPaused) …   // others get their turn
//
// The moment (an offset bound, a set of deltas and runs, a time) is fixed when the scan is made:
// however long it takes, no later write, deletion or expiry shows, and each key appears once.
// Tombstones, expired records and older versions are skipped, but looked at, so a slice is measured
// in bytes looked at, not in keys found. Finding the start costs a lookup in each delta and run, so
// a page far into the data costs what the first one does.
//
// Thread rule: one thread at a time. Ownership: the scan holds its deltas and runs by reference
// count, so it may outlive the pin it was made under; what it visits is valid during the visit.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kyro/base/direction.h"
#include "kyro/base/status.h"
#include "kyro/storage/read/cursor.h"
#include "kyro/storage/read/run_cursor.h"
#include "kyro/storage/read/scan_range.h"
#include "kyro/storage/view.h"

namespace kyro {

class Scan {
 public:
  enum class State : uint8_t {
    kPaused,   // the slice is used up: call again
    kStopped,  // the visitor had enough; its last record comes first in the next slice
    kEnd,      // there is nothing more
  };

  Scan(const Moment& moment, const ScanRange& range)
      : range_(range),
        now_secs_(moment.now_secs),
        cursor_(open_sources(moment, range), range.direction) {}

  // Looks at records worth about `budget_bytes`, at least at one, and calls visit(record) for the
  // live ones until it returns false: that record counts as not visited. kCorruption: damage, and
  // nothing more will come.
  template <class Visit>
  [[nodiscard]] Result<State> advance(uint64_t budget_bytes, Visit visit) {
    if (range_.first > range_.last) return State::kEnd;
    if (!is_placed_) cursor_.seek(is_up() ? range_.first : range_.last);
    is_placed_ = true;
    for (uint64_t looked_at = 0; cursor_.valid(); cursor_.next()) {
      const RecordView& record = cursor_.record();
      const uint64_t key = record.header.key;
      if (is_up() ? key > range_.last : key < range_.first) return State::kEnd;
      if (looked_at >= budget_bytes && looked_at != 0) return State::kPaused;
      looked_at += record.header.record_bytes();
      if (record.is_live(now_secs_) && !visit(record)) return State::kStopped;
    }
    KYRO_TRY(cursor_.status());
    return State::kEnd;
  }

  // The run that damage was found in, if any.
  [[nodiscard]] const Run* damaged_run() const { return cursor_.damaged_run(); }

 private:
  [[nodiscard]] bool is_up() const { return range_.direction == Direction::kUp; }

  static std::vector<std::unique_ptr<RecordCursor>> open_sources(const Moment& moment,
                                                                 const ScanRange& range) {
    const View& view = *moment.view;
    std::vector<std::unique_ptr<RecordCursor>> sources;
    sources.reserve(1 + view.frozen.size() + view.runs.size());
    const auto add = [&](const std::shared_ptr<Delta>& delta) {
      if (delta->empty()) return;
      sources.push_back(std::make_unique<DeltaCursor>(delta, moment.bound, range.direction));
    };
    add(view.active);
    for (const auto& delta : view.frozen) add(delta);
    for (const auto& run : view.runs) {
      if (run->meta().key_max < range.first || run->meta().key_min > range.last) continue;
      sources.push_back(open_cursor(run, range.direction));
    }
    return sources;
  }

  const ScanRange range_;
  const uint64_t now_secs_;
  MergedCursor cursor_;
  bool is_placed_ = false;
};

}  // namespace kyro
