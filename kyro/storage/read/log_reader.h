// Reads records out of the log from an offset on, for replay and subscriptions.
//
// It follows the segments that a view lists and never passes the visible offset it is given, so it
// sees exactly the acknowledged records, in order, each once. In the first segment it finds its
// place by searching (segment_search.h), not by reading up to it.
//
// It holds a small group in memory; a large one it reads where it lies (shared_segments.h), and
// checks in slices before the first of its records is handed out.
//
// Thread rule: one thread per reader; it takes no lock. Ownership: a segment that is trimmed while
// it is read stays readable until the reader moves on; then reading ends with kGone.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kyro/storage/engine_state.h"
#include "kyro/storage/log/segment_end.h"
#include "kyro/storage/log/segment_search.h"
#include "kyro/storage/log/shared_segments.h"
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
  // `budget_bytes` of log have been looked at, be it in the middle of a group, or until it returns
  // false (it may return nothing): that record has been visited, and stays valid until the next
  // call. *caught_up says that there is nothing more for now.
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
      bool goes_on = true;
      KYRO_TRY(visit_records(limit, &budget_bytes, visit, &goes_on));
      if (!goes_on) return Status();
    }
    *caught_up = true;
    if (rest_.empty()) {
      large_.reset();
      if (segment_ != nullptr) segment_->release_body();
    }
    return Status();
  }
  // kCorruption if what was visited last may not be what was written any more (pages of the log
  // could not be read).
  [[nodiscard]] Status check_visited() const {
    if (!large_ || !large_->map->has_lost_pages()) return Status();
    return Status(Code::kCorruption, segment_->name() + ": a part of it cannot be read");
  }

 private:
  // Groups above it are not read into memory.
  static constexpr uint32_t kSmallGroupBytes = 64 * 1024;
  // A checksum costs little beside what is counted elsewhere.
  static constexpr size_t kCheckedPerBudget = 8;

  // A large group where it lies.
  struct LargeGroup {
    std::shared_ptr<SegmentMap> map;
    GroupHeader header;
    uint64_t position;
    bool is_fresh;       // the map was made for it
    size_t checked = 0;  // bytes of the body
    uint32_t crc = 0;
    [[nodiscard]] std::string_view body() const {
      return map->bytes().substr(position + kGroupHeaderBytes, header.body_bytes);
    }
  };

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
    if (large_ && large_->position < segment_->position()) large_.reset();  // done with
    if (!large_) {
      auto header = segment_->peek_header();
      KYRO_TRY(header);
      if (header->has_value() && (*header)->body_bytes > kSmallGroupBytes) {
        static_cast<void>(map_large(**header, false));
      }
    }
    if (large_) return check_large(budget_bytes);
    auto step = segment_->next();
    KYRO_TRY(step);
    if (*step == SegmentReader::Step::kStop) return no_group();
    take_group(segment_->body(), budget_bytes);
    return Status();
  }

  // There is no valid group where one should be.
  Status no_group() {
    if (!has_skipped_) {
      state_.stats.wal_crc_errors.add();
      return Status(Code::kCorruption, segment_->name() + " at " +
                                           std::to_string(segment_->position()) +
                                           ": acknowledged records are damaged");
    }
    has_skipped_ = false;  // no group after all, or a damaged one: reading in order will tell
    segment_->restart();
    return Status();
  }

  // segment_->group() is whole; `body` is its records.
  void take_group(std::string_view body, size_t* budget_bytes) {
    has_skipped_ = false;
    const GroupHeader& group = segment_->group();
    if (group.end_offset() <= next_offset_) {  // a mark, or before the place that is wanted
      charge(budget_bytes, group.body_bytes);
      return;
    }
    rest_ = body;
    record_offset_ = group.first_offset;
  }

  // Makes large_ the group at the segment's position. Where it cannot be mapped it is read like any
  // other.
  bool map_large(const GroupHeader& header, bool fresh) {
    const uint64_t position = segment_->position();
    auto map = state_.shared_segments.map(segment_->file(), segment_->header().first_offset,
                                          position + kGroupHeaderBytes + header.body_bytes, fresh);
    if (!map.ok()) return false;
    const uint32_t crc = crc32c(reinterpret_cast<const char*>(&header) + sizeof header.crc,
                                kGroupHeaderBytes - sizeof header.crc);
    large_ = LargeGroup{std::move(*map), header, position, fresh, 0, crc};
    return true;
  }

  // Goes on with the checksum of the large group, or hands the group on once it is known.
  Status check_large(size_t* budget_bytes) {
    LargeGroup& large = *large_;
    if (!large.map->is_whole(large.position)) {
      const std::string_view body = large.body();
      const size_t n = std::min(body.size() - large.checked, *budget_bytes * kCheckedPerBudget);
      large.crc = crc32c(body.substr(large.checked, n), large.crc);
      large.checked += n;
      charge(budget_bytes, n / kCheckedPerBudget + 1);
      if (large.checked < body.size()) return Status();
      if (large.crc != large.header.crc) {
        const bool was_fresh = large.is_fresh;
        const GroupHeader header = large.header;
        large_.reset();
        if (!was_fresh && map_large(header, true)) return Status();
        return no_group();
      }
      large.map->note_whole(large.position);
    }
    segment_->pass(large.header);
    take_group(large.body(), budget_bytes);
    return Status();
  }

  // Goes on with the records of the group.
  template <class Visit>
  Status visit_records(uint64_t limit, size_t* budget_bytes, Visit& visit, bool* goes_on) {
    charge(budget_bytes, kGroupHeaderBytes);
    while (*goes_on && !rest_.empty() && *budget_bytes != 0 && next_offset_ < limit) {
      RecordView record;
      if (!take_record(&record)) {
        return Status(Code::kCorruption, segment_->name() + ": a record cannot be read any more");
      }
      charge(budget_bytes, record.header.record_bytes());
      if (record.header.offset < next_offset_) continue;
      next_offset_ = record.header.offset + 1;
      if constexpr (std::is_void_v<decltype(visit(record))>) {
        visit(record);
      } else {
        *goes_on = visit(record);
      }
    }
    return Status();
  }

  // Takes the first record off rest_. The group was whole, but what lies in a map may have been
  // lost since then: small records are checked again, large ones afterwards (check_visited()).
  [[nodiscard]] bool take_record(RecordView* record) {
    if (large_) {
      if (rest_.size() < kRecordHeaderBytes) return false;
      const auto header = load<RecordHeader>(rest_.data());
      if (header.offset != record_offset_ || header.record_bytes() > rest_.size()) return false;
      if (header.value_bytes <= kSmallGroupBytes &&
          check_record(rest_.data(), rest_.size()) != RecordCheck::kOk) {
        return false;
      }
    }
    *record = take_verified_record(&rest_);
    ++record_offset_;
    return true;
  }

  // Makes segment_ the one that holds next_offset_, moving over the end of one and over gaps.
  Status open_segment() {
    SegmentRef wanted;
    uint64_t before = 0;  // where the segment before it begins
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
      before = i > 0 ? segments[i - 1].first_offset : wanted.first_offset;
      is_newest = i + 1 == segments.size();
    }
    if (segment_ != nullptr && segment_->header().first_offset == wanted.first_offset) {
      return Status();
    }
    auto opened = SegmentReader::open(state_.shared_segments.file(state_.dir, wanted), wanted);
    if (!opened.ok() && !is_listed(wanted)) {
      return Status(Code::kGone, "that part of the log has just been trimmed");
    }
    KYRO_TRY(opened);
    if (segment_ != nullptr && segment_->header().first_offset == before) {
      KYRO_TRY(check_follows((*opened)->header()));
    }
    segment_ = std::move(*opened);
    search_.reset();
    large_.reset();
    rest_ = {};
    return next_offset_ > wanted.first_offset ? begin_search(is_newest) : Status();
  }

  // Reads what is left of segment_, marks, and judges its end by what the next one says of it.
  Status check_follows(const SegmentHeader& next) {
    for (;;) {
      auto step = segment_->next();
      KYRO_TRY(step);
      if (*step == SegmentReader::Step::kStop) break;
    }
    const auto end = judge_segment_end(*segment_, SegmentSequel::segment(next));
    KYRO_TRY(end);
    if (!end->damage.ok()) state_.stats.wal_crc_errors.add();
    return end->damage;
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
  std::optional<LargeGroup> large_;        // being checked or visited, if it is a large one
  std::string_view rest_;                  // of the body of the group that is visited
  uint64_t record_offset_ = 0;             // of the first record in rest_
  bool has_skipped_ = false;               // segment_ was skipped in, no good group seen since
  uint64_t next_offset_ = 0;
};

}  // namespace kyro
