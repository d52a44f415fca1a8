// Reads records out of the log from an offset on, for replay and subscriptions.
//
// It follows the segments that a view lists, holds one group in memory, and never passes the
// visible offset it is given, so it sees exactly the acknowledged records, in order, each once. In
// the first segment it finds its place by searching (segment_search.h), not by reading up to it.
//
// Thread rule: one thread per reader; it takes no lock. Ownership: a segment that is trimmed while
// it is read stays readable until the reader moves on; then reading ends with kGone.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/engine_state.h"
#include "kyro/storage/log/segment_search.h"
#include "kyro/storage/log/wal_reader.h"

namespace kyro {

// The offsets that can be asked for: [oldest, next].
struct LogRange {
  uint64_t oldest = 0;
  uint64_t next = 0;
};

class LogReader {
 public:
  // A reader whose first record is `from`. kGone when that is trimmed, beyond the end, or an offset
  // that was never given out.
  [[nodiscard]] static Result<std::unique_ptr<LogReader>> open(EngineState& state, uint64_t from) {
    const uint64_t visible = state.visible.load(std::memory_order_acquire);
    const EpochPin pin;
    const View* view = state.view.load(std::memory_order_acquire);
    const uint64_t next = view->bound(visible);
    const auto& segments = view->segments;
    if (segments.empty() || from < segments.front().first_offset || from > next ||
        is_in_gap(segments, from)) {
      return Status(Code::kGone, "that part of the log is not there");
    }
    auto reader = std::make_unique<LogReader>(state);
    reader->next_offset_ = from;
    return reader;
  }

  [[nodiscard]] static LogRange range(EngineState& state) {
    const uint64_t visible = state.visible.load(std::memory_order_acquire);
    const EpochPin pin;
    const View* view = state.view.load(std::memory_order_acquire);
    const uint64_t next = view->bound(visible);
    return {view->segments.empty() ? next : view->segments.front().first_offset, next};
  }

  explicit LogReader(EngineState& state) : state_(state) {}

  // The offset of the record that comes next (in a gap of the numbering: the gap's start).
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }

  // Calls visit(RecordView) for records below `end` and below the visible offset, until about
  // `budget_bytes` of log have been looked at, be it in the middle of a group. *caught_up says that
  // there is nothing more for now.
  template <class Visit>
  Status read(uint64_t end, size_t budget_bytes, bool* caught_up, Visit visit) {
    const uint64_t limit = std::min(end, state_.visible.load(std::memory_order_acquire));
    *caught_up = false;
    while (next_offset_ < limit) {
      if (budget_bytes == 0) return Status();
      KYRO_TRY(open_segment());
      if (next_offset_ >= limit) break;
      if (search_ != nullptr) {
        KYRO_TRY(search(&budget_bytes));
        continue;
      }
      if (rest_.empty()) KYRO_TRY(next_group(&budget_bytes));
      visit_records(limit, &budget_bytes, visit);
    }
    *caught_up = true;
    if (segment_ != nullptr && rest_.empty()) segment_->release_body();
    return Status();
  }

 private:
  static bool is_in_gap(const std::vector<SegmentRef>& segments, uint64_t offset) {
    return std::any_of(segments.begin(), segments.end(), [&](const SegmentRef& segment) {
      return segment.previous_end <= offset && offset < segment.first_offset &&
             segment.first_offset != segments.front().first_offset;
    });
  }

  static void charge(size_t* budget_bytes, uint64_t bytes) {
    *budget_bytes -= static_cast<size_t>(std::min<uint64_t>(*budget_bytes, bytes));
  }

  Status search(size_t* budget_bytes) {
    while (!search_->done() && *budget_bytes != 0) {
      KYRO_TRY(search_->step());
      charge(budget_bytes, SegmentSearch::kWindowBytes);
    }
    if (!search_->done()) return Status();
    has_skipped_ = true;
    const uint64_t position = search_->position();
    search_.reset();
    return segment_->skip_to(position);
  }

  Status next_group(size_t* budget_bytes) {
    auto step = segment_->next();
    KYRO_TRY(step);
    if (*step == SegmentReader::Step::kStop) {
      if (!has_skipped_) {
        return Status(Code::kCorruption, segment_->name() + " at " +
                                             std::to_string(segment_->position()) +
                                             ": acknowledged records are damaged");
      }
      has_skipped_ = false;  // no group after all, or a damaged one: reading in order will tell
      segment_->restart();
      return Status();
    }
    has_skipped_ = false;
    const GroupHeader& group = segment_->group();
    if (group.end_offset() <= next_offset_) {  // a mark, or before the place that is wanted
      charge(budget_bytes, group.body_bytes);
      return Status();
    }
    rest_ = segment_->body();
    return Status();
  }

  // Goes on with the records of the group that was read.
  template <class Visit>
  void visit_records(uint64_t limit, size_t* budget_bytes, Visit visit) {
    charge(budget_bytes, kGroupHeaderBytes);
    while (!rest_.empty() && *budget_bytes != 0 && next_offset_ < limit) {
      const RecordView record = take_verified_record(&rest_);  // by next()
      charge(budget_bytes, record.header.record_bytes());
      if (record.header.offset < next_offset_) continue;
      visit(record);
      next_offset_ = record.header.offset + 1;
    }
  }

  // Makes segment_ the one that holds next_offset_, moving over the end of one and over gaps.
  Status open_segment() {
    SegmentRef wanted;
    bool is_newest = false;
    {
      const EpochPin pin;
      const auto& segments = state_.view.load(std::memory_order_acquire)->segments;
      if (segments.empty() || next_offset_ < segments.front().first_offset) {
        return Status(Code::kGone, "that part of the log has been trimmed");
      }
      size_t i = segments.size() - 1;
      while (segments[i].first_offset > next_offset_) --i;
      const bool is_at_gap =
          i + 1 < segments.size() && next_offset_ >= segments[i + 1].previous_end;
      if (is_at_gap) next_offset_ = segments[++i].first_offset;
      wanted = segments[i];
      is_newest = i + 1 == segments.size();
    }
    if (segment_ != nullptr && segment_->header().first_offset == wanted.first_offset) {
      return Status();
    }
    auto opened = SegmentReader::open(state_.fs, state_.dir, wanted.first_offset, wanted.nonce);
    if (!opened.ok() && !is_listed(wanted)) {
      return Status(Code::kGone, "that part of the log has just been trimmed");
    }
    KYRO_TRY(opened);
    segment_ = std::move(*opened);
    search_.reset();
    rest_ = {};
    return next_offset_ > wanted.first_offset ? begin_search(is_newest) : Status();
  }

  // Behind the last group of the newest segment lie reserved blocks. If another segment has become
  // the newest meanwhile, the end is taken too early: then more is read, nothing is missed.
  Status begin_search(bool is_newest) {
    auto end = segment_->file().size();
    KYRO_TRY(end);
    if (is_newest) *end = std::min(*end, state_.wal_position.load(std::memory_order_acquire));
    search_ =
        std::make_unique<SegmentSearch>(segment_->file(), segment_->header(), next_offset_, *end);
    return Status();
  }

  [[nodiscard]] bool is_listed(const SegmentRef& wanted) const {
    const EpochPin pin;
    const auto& segments = state_.view.load(std::memory_order_acquire)->segments;
    return !segments.empty() && segments.front().first_offset <= wanted.first_offset;
  }

  EngineState& state_;
  std::unique_ptr<SegmentReader> segment_;
  std::unique_ptr<SegmentSearch> search_;  // null once the place in segment_ is found
  std::string_view rest_;                  // of the body of the group that was read
  bool has_skipped_ = false;               // segment_ was skipped in, no good group seen since
  uint64_t next_offset_ = 0;
};

}  // namespace kyro
