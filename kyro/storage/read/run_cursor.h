// Walking the records of one run in key order, up or down.
//
// Invariant: a walk is complete or ends with a status. In a run of pages, the directory of each
// says how many records it has, and its checksum that this is true; pages are numbered without
// gaps. In one of version 1 the records lie one after the other; downwards the index leads from
// each to the one before it, and their bytes must touch.
//
// Thread rule: one thread per cursor. Ownership: a cursor holds its run by reference count; records
// are valid while the cursor is.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kyro/base/direction.h"
#include "kyro/storage/read/cursor.h"
#include "kyro/storage/run/run.h"

namespace kyro {

// What cursors over runs share: the run, and how a walk ends at damage.
class RunCursor : public RecordCursor {
 protected:
  explicit RunCursor(std::shared_ptr<const Run> run) : run_(std::move(run)) {}

  // `what` is damaged at that position of the file.
  void end_at_damage(uint64_t position, const char* what) {
    status_ =
        Status(Code::kCorruption, run_->name() + " at " + std::to_string(position) + ": " + what);
    damaged_run_ = run_.get();
    valid_ = false;
  }

  const std::shared_ptr<const Run> run_;
};

// A cursor over a run of pages.
class PagedRunCursor final : public RunCursor {
 public:
  PagedRunCursor(std::shared_ptr<const Run> run, Direction direction)
      : RunCursor(std::move(run)), is_up_(direction == Direction::kUp) {}
  void seek(uint64_t key) override {
    ahead_ = ahead_large_ = Readahead(is_up_ ? Direction::kUp : Direction::kDown);
    const RunMeta& meta = run_->meta();
    if (is_up_ ? key > meta.key_max : key < meta.key_min) {
      valid_ = false;
    } else if (is_up_ && key <= meta.key_min) {  // a walk over all of it does not need the index
      enter(0);
    } else if (!is_up_ && key >= meta.key_max) {
      enter(run_->body().pages - 1);
    } else {
      seek_inside(key);
    }
  }
  void next() override {
    const uint64_t key = record_.header.key;
    step();
    const uint64_t now = record_.header.key;
    if (valid_ && (is_up_ ? now <= key : now >= key)) fail();
  }

 private:
  // REQUIRES: the run's smallest key is below `key` and its largest above.
  void seek_inside(uint64_t key) {
    const FindResult found = run_->index().find<RmiMatch::kCeiling>(key);
    if (found.code != FindCode::kHit || run_->index_lost_pages()) return fail_in_index();
    number_ = found.position;
    if (!load_page()) return;
    if (!lower_bound(key)) return;
    if (entry_ == page_->count()) return fail_in_index();
    if (load_record() && !is_up_ && record_.header.key != key) step();
  }

  // The first entry whose key is not below `key`, or count(). Only good records are asked: a
  // damaged key would lead past others.
  bool lower_bound(uint64_t key) {
    size_t from = 0;
    size_t to = page_->count();
    while (from < to) {
      entry_ = from + (to - from) / 2;
      const uint32_t place = page_->place_of(entry_);
      const bool is_good = PageView::is_stub(place) || (PageView::is_record(place) &&
                                                        page_->check_at(place) == RecordCheck::kOk);
      if (!is_good) return fail(), false;
      if (page_->key_of(entry_) < key) {
        from = entry_ + 1;
      } else {
        to = entry_;
      }
    }
    entry_ = from;
    return true;
  }

  void step() {
    if (is_up_ ? entry_ + 1 < page_->count() : entry_ > 0) {
      entry_ = is_up_ ? entry_ + 1 : entry_ - 1;
      load_record();
    } else if (is_up_ ? number_ + 1 < run_->body().pages : number_ > 0) {
      enter(is_up_ ? number_ + 1 : number_ - 1);
    } else {
      valid_ = false;
    }
  }

  // To the page's first record, downwards to its last.
  void enter(uint64_t number) {
    number_ = number;
    if (!load_page()) return;
    entry_ = is_up_ ? 0 : page_->count() - 1;
    load_record();
  }
  bool load_page() {
    page_ = run_->page_at(number_, ahead_);
    valid_ = run_->pages().is_sound(number_);
    if (!valid_) fail();
    return valid_;
  }
  bool load_record() {
    valid_ = run_->record_of(*page_, entry_, ahead_large_, &record_);
    if (!valid_) fail();
    return valid_;
  }
  void fail_in_index() {
    run_->note_index_damage();
    fail();
  }
  void fail() {
    end_at_damage(run_->body().page_begin(number_),
                  "the page, a record of it or its index entry is damaged");
  }

  const bool is_up_;
  uint64_t number_ = 0;  // of the page
  size_t entry_ = 0;     // of its entries
  std::optional<PageView> page_;
  Readahead ahead_;
  Readahead ahead_large_;
};

// A cursor over a run of version 1.
class DenseRunCursor final : public RunCursor {
 public:
  DenseRunCursor(std::shared_ptr<const Run> run, Direction direction)
      : RunCursor(std::move(run)), direction_(direction) {}
  void seek(uint64_t key) override {
    ahead_ = Readahead(direction_);
    direction_ == Direction::kUp ? seek_up(key) : seek_down(key);
  }
  void next() override {
    if (direction_ == Direction::kUp) {
      const uint64_t key = record_.header.key;
      position_ += record_.header.record_bytes();
      if (load_record() && record_.header.key <= key) fail();
    } else {
      step_down();
    }
  }

 private:
  void seek_up(uint64_t key) {
    if (key <= run_->meta().key_min) {  // a walk over all of it does not depend on the index
      position_ = run_->first_position();
    } else {
      const RmiIndex::Cursor at = run_->index().lower_bound(key);
      if (at.corrupt() || run_->index_lost_pages()) return fail_in_index();
      position_ = at.valid() ? at.position() : run_->end_position();
    }
    if (load_record() && record_.header.key < key) fail();
  }

  void seek_down(uint64_t key) {
    at_.emplace(run_->index().floor(key));
    if (!at_->valid()) {
      valid_ = false;
      if (at_->corrupt() || run_->index_lost_pages()) fail_in_index();
      return;
    }
    position_ = at_->position();
    if (load_record() && record_.header.key != at_->key()) fail();
  }

  void step_down() {
    const uint64_t end = position_;
    at_->prev();
    if (at_->corrupt()) return fail_in_index();
    if (!at_->valid()) {
      valid_ = false;
      if (end != run_->first_position()) fail_in_index();
      return;
    }
    position_ = at_->position();
    if (!load_record()) return;
    const bool touches = position_ + record_.header.record_bytes() == end;
    if (!touches || record_.header.key != at_->key()) fail();
  }

  bool load_record() {
    valid_ = position_ < run_->end_position();
    if (valid_ && !run_->record_at(position_, ahead_, &record_)) fail();
    return valid_;
  }
  void fail_in_index() {
    run_->note_index_damage();
    fail();
  }
  void fail() { end_at_damage(position_, "the record or its index entry is damaged"); }

  const Direction direction_;
  uint64_t position_ = 0;  // of the record
  Readahead ahead_;
  std::optional<RmiIndex::Cursor> at_;  // downwards: the same place in the index
};

[[nodiscard]] inline std::unique_ptr<RecordCursor> open_cursor(
    std::shared_ptr<const Run> run, Direction direction = Direction::kUp) {
  if (run->body().is_paged()) return std::make_unique<PagedRunCursor>(std::move(run), direction);
  return std::make_unique<DenseRunCursor>(std::move(run), direction);
}

}  // namespace kyro
