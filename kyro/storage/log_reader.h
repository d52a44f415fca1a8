// Reads records out of the log from an offset on, for replay and subscriptions.
//
// It follows the segments that a view lists, holds one group in memory, and never passes the
// visible offset it is given, so it sees exactly the acknowledged records, in order, each once.
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
#include "kyro/storage/wal_reader.h"

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
  // `budget_bytes` of log have been looked at. *caught_up says that there is nothing more for now.
  template <class Visit>
  Status read(uint64_t end, size_t budget_bytes, bool* caught_up, Visit visit) {
    const uint64_t limit = std::min(end, state_.visible.load(std::memory_order_acquire));
    *caught_up = false;
    while (next_offset_ < limit) {
      KYRO_TRY(open_segment());
      if (next_offset_ >= limit) break;
      const uint64_t position_before = segment_->position();
      auto step = segment_->next();
      KYRO_TRY(step);
      if (*step == SegmentReader::Step::kStop) {
        return Status(Code::kCorruption, segment_->name() + " at " +
                                             std::to_string(segment_->position()) +
                                             ": acknowledged records are damaged");
      }
      visit_group(limit, visit);
      const uint64_t looked_at = segment_->position() - position_before;
      if (looked_at >= budget_bytes) return Status();
      budget_bytes -= static_cast<size_t>(looked_at);
    }
    *caught_up = true;
    return Status();
  }

 private:
  static bool is_in_gap(const std::vector<SegmentRef>& segments, uint64_t offset) {
    return std::any_of(segments.begin(), segments.end(), [&](const SegmentRef& segment) {
      return segment.previous_end <= offset && offset < segment.first_offset &&
             segment.first_offset != segments.front().first_offset;
    });
  }

  template <class Visit>
  void visit_group(uint64_t limit, Visit visit) {
    const GroupHeader& group = segment_->group();
    if (group.end_offset() <= next_offset_) return;
    const auto each = [&](const RecordView& record, std::string_view) {
      if (record.header.offset < next_offset_ || record.header.offset >= limit) return;
      visit(record);
      next_offset_ = record.header.offset + 1;
    };
    for_each_verified_record(segment_->body(), each);  // by next()
  }

  // Makes segment_ the one that holds next_offset_, moving over the end of one and over gaps.
  Status open_segment() {
    SegmentRef wanted;
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
    return Status();
  }

  [[nodiscard]] bool is_listed(const SegmentRef& wanted) const {
    const EpochPin pin;
    const auto& segments = state_.view.load(std::memory_order_acquire)->segments;
    return !segments.empty() && segments.front().first_offset <= wanted.first_offset;
  }

  EngineState& state_;
  std::unique_ptr<SegmentReader> segment_;
  uint64_t next_offset_ = 0;
};

}  // namespace kyro
