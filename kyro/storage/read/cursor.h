// Walking records in key order, up or down: over one delta, and over deltas and runs merged. (Over
// one run: run_cursor.h.)
//
// A cursor stands on a record or at the end. The merged cursor yields each key once, with its
// newest version that the bound allows; tombstones and expired records included, since only the
// caller knows whether they still matter.
//
// A delta may hold keys without a version below the bound, written since, and others with any
// number of newer versions before the one that counts. A cursor over it stands on such a key with a
// record of no type, again for every few versions it has passed, so that no single step is long;
// the merged cursor passes them on. Deltas that are merged into runs have none.
//
// Thread rule: one thread per cursor. Ownership: a cursor holds its delta or run by reference
// count; records are valid while the cursor is.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/direction.h"
#include "kyro/storage/delta/delta.h"
#include "kyro/storage/run/run.h"

namespace kyro {

class RecordCursor {
 public:
  RecordCursor() = default;
  RecordCursor(const RecordCursor&) = delete;
  RecordCursor& operator=(const RecordCursor&) = delete;
  virtual ~RecordCursor() = default;
  // Moves to the first key >= `key`; downwards to the last key <= `key`.
  virtual void seek(uint64_t key) = 0;
  // To the next larger key; downwards to the next smaller one. REQUIRES: valid().
  virtual void next() = 0;
  [[nodiscard]] bool valid() const { return valid_; }
  // The current record; its checksum has been verified.
  [[nodiscard]] const RecordView& record() const { return record_; }
  // Not ok when the walk ended at damage rather than at the end.
  [[nodiscard]] const Status& status() const { return status_; }
  // The run that damage was found in, if any.
  [[nodiscard]] const Run* damaged_run() const { return damaged_run_; }

 protected:
  RecordView record_;
  Status status_;
  const Run* damaged_run_ = nullptr;
  bool valid_ = false;
};

// A key of a delta that the cursor may not see (yet), because its versions are newer than the
// bound.
[[nodiscard]] inline bool is_unseen(const RecordView& record) {
  return record.header.meta == 0;
}

// The bytes of a record as they lie in memory, header first.
[[nodiscard]] inline std::string_view encoded_record(const RecordView& record) {
  return {record.value.data() - kRecordHeaderBytes, record.value.size() + kRecordHeaderBytes};
}

class DeltaCursor final : public RecordCursor {
 public:
  // Sees versions below `bound`.
  DeltaCursor(std::shared_ptr<const Delta> delta, uint64_t bound,
              Direction direction = Direction::kUp)
      : delta_(std::move(delta)), at_(*delta_), bound_(bound), direction_(direction) {}
  void seek(uint64_t key) override {
    direction_ == Direction::kUp ? at_.seek(key) : at_.seek_floor(key);
    load_record();
  }
  void next() override {
    if (is_decided_) direction_ == Direction::kUp ? at_.next() : at_.seek_below(at_.key());
    load_record();
  }

 private:
  // Passing a few versions costs what looking at a small record does.
  static constexpr size_t kVersionsPerStep = 4;

  void load_record() {
    valid_ = at_.valid();
    if (!valid_) return;
    const char* record = nullptr;
    is_decided_ = at_.find(bound_, kVersionsPerStep, &record);
    if (record != nullptr) {
      record_ = RecordRef(record).view();
    } else {
      record_ = RecordView{};
      record_.header.key = at_.key();
    }
  }

  const std::shared_ptr<const Delta> delta_;
  Delta::Iterator at_;
  const uint64_t bound_;
  const Direction direction_;
  bool is_decided_ = true;  // the record is the key's, not one of no type on the way to it
};

// Merges cursors of one direction that are given newest first. A binary heap on (key, age): one
// sift for each source that stands on the key.
class MergedCursor final : public RecordCursor {
 public:
  explicit MergedCursor(std::vector<std::unique_ptr<RecordCursor>> newest_first,
                        Direction direction = Direction::kUp)
      : sources_(std::move(newest_first)), flip_(direction == Direction::kUp ? 0 : ~uint64_t{0}) {
    heap_.reserve(sources_.size());
  }

  void seek(uint64_t key) override {
    heap_.clear();
    for (size_t i = 0; i < sources_.size(); ++i) {
      RecordCursor& source = *sources_[i];
      source.seek(key);
      if (source.valid()) heap_.push_back({source.record().header.key ^ flip_, i});
      if (!source.status().ok()) stop_at_damage_of(source);
    }
    for (size_t i = heap_.size() / 2; i-- > 0;) sift_down(i);
    load_front();
  }

  // Steps every source that stands on the current key; only one that has nothing to say about it
  // by itself, since the others may.
  void next() override {
    const uint64_t rank = heap_.front().rank;
    if (is_unseen(record_)) {
      step_front();
    } else {
      do {
        step_front();
      } while (!heap_.empty() && heap_.front().rank == rank);
    }
    load_front();
  }

 private:
  struct Entry {
    uint64_t rank;  // the key, complemented for a walk downwards
    size_t source;  // its age
  };

  [[nodiscard]] static bool comes_before(const Entry& a, const Entry& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.source < b.source;
  }

  void step_front() {
    RecordCursor& source = *sources_[heap_.front().source];
    source.next();
    if (source.valid()) {
      heap_.front().rank = source.record().header.key ^ flip_;
    } else {
      if (!source.status().ok()) stop_at_damage_of(source);
      heap_.front() = heap_.back();
      heap_.pop_back();
    }
    sift_down(0);
  }

  void sift_down(size_t at) {
    for (size_t child = 2 * at + 1; child < heap_.size(); child = 2 * at + 1) {
      if (child + 1 < heap_.size() && comes_before(heap_[child + 1], heap_[child])) ++child;
      if (!comes_before(heap_[child], heap_[at])) return;
      std::swap(heap_[child], heap_[at]);
      at = child;
    }
  }

  // Damage in any source ends the walk: what comes after it could be wrong.
  void stop_at_damage_of(const RecordCursor& source) {
    status_ = source.status();
    damaged_run_ = source.damaged_run();
  }
  void load_front() {
    valid_ = status_.ok() && !heap_.empty();
    if (valid_) record_ = sources_[heap_.front().source]->record();
  }

  const std::vector<std::unique_ptr<RecordCursor>> sources_;
  const uint64_t flip_;
  std::vector<Entry> heap_;  // of the valid sources; the front comes first
};

}  // namespace kyro
