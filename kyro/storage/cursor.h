// Walking records in key order: over one delta, over one run, and over many of them merged.
//
// A cursor stands on a record or at the end. The merged cursor yields each key once, with its
// newest version that the bound allows; tombstones and expired records included, since only the
// caller knows whether they still matter.
//
// Thread rule: one thread per cursor. Ownership: a cursor borrows its delta or run; the caller
// keeps them alive (a pin, a view, a reference).
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/delta.h"
#include "kyro/storage/run.h"

namespace kyro {

class RecordCursor {
 public:
  RecordCursor() = default;
  RecordCursor(const RecordCursor&) = delete;
  RecordCursor& operator=(const RecordCursor&) = delete;
  virtual ~RecordCursor() = default;
  // Moves to the first key >= `key`.
  virtual void seek(uint64_t key) = 0;
  virtual void next() = 0;
  [[nodiscard]] virtual bool valid() const = 0;
  // Of the current record; its checksum has been verified.
  [[nodiscard]] virtual const RecordView& record() const = 0;
  // Not ok when the walk ended at damage rather than at the end.
  [[nodiscard]] virtual const Status& status() const = 0;
  // The run that damage was found in, if any.
  [[nodiscard]] virtual const Run* run() const { return nullptr; }
};

// The bytes of a record as they lie in memory, header first.
[[nodiscard]] inline std::string_view record_bytes_of(const RecordView& record) {
  return {record.value.data() - kRecordHeaderBytes, record.value.size() + kRecordHeaderBytes};
}

class DeltaCursor final : public RecordCursor {
 public:
  // Sees versions below `bound`.
  DeltaCursor(const Delta& delta, uint64_t bound) : at_(delta), bound_(bound) {}
  void seek(uint64_t key) override {
    at_.seek(key);
    settle();
  }
  void next() override {
    at_.next();
    settle();
  }
  [[nodiscard]] bool valid() const override { return at_.valid(); }
  [[nodiscard]] const RecordView& record() const override { return record_; }
  [[nodiscard]] const Status& status() const override { return status_; }

 private:
  // Skips keys that have no version below the bound.
  void settle() {
    for (; at_.valid(); at_.next()) {
      if (const char* record = at_.record(bound_)) {
        record_ = Delta::view(record);
        return;
      }
    }
  }

  Delta::Iterator at_;
  const uint64_t bound_;
  RecordView record_;
  Status status_;
};

class RunCursor final : public RecordCursor {
 public:
  explicit RunCursor(const Run& run) : run_(run), position_(run.end_position()) {}
  void seek(uint64_t key) override {
    if (key <= run_.meta().key_min) {  // a walk over all of it does not depend on the index
      position_ = run_.first_position();
      return settle();
    }
    const RmiIndex::Cursor at = run_.index().lower_bound(key);
    position_ = run_.end_position();
    if (at.corrupt()) {
      run_.note_index_damage();
      return fail();
    }
    if (at.valid()) position_ = at.position();
    settle();
    if (valid() && record_.header.key < key) fail();
  }
  void next() override {
    position_ += record_.header.record_bytes();
    settle();
  }
  [[nodiscard]] bool valid() const override { return position_ < run_.end_position(); }
  [[nodiscard]] const RecordView& record() const override { return record_; }
  [[nodiscard]] const Status& status() const override { return status_; }
  [[nodiscard]] const Run* run() const override { return &run_; }

 private:
  void settle() {
    if (valid() && !run_.record_at(position_, &record_)) fail();
  }
  void fail() {
    status_ = Status(Code::kCorruption, run_.name() + " at " + std::to_string(position_) +
                                            ": the record or its index entry is damaged");
    position_ = run_.end_position();
  }

  const Run& run_;
  uint64_t position_;
  RecordView record_;
  Status status_;
};

// Merges cursors that are given newest first. A binary heap on (key, age): O(log sources) a step.
class MergedCursor final : public RecordCursor {
 public:
  explicit MergedCursor(std::vector<std::unique_ptr<RecordCursor>> newest_first)
      : sources_(std::move(newest_first)) {}

  void seek(uint64_t key) override {
    heap_.clear();
    for (size_t i = 0; i < sources_.size(); ++i) {
      sources_[i]->seek(key);
      push(i);
    }
  }
  // Steps every source that stands on the current key.
  void next() override {
    const uint64_t key = record().header.key;
    while (valid() && record().header.key == key) {
      const size_t source = pop();
      sources_[source]->next();
      push(source);
    }
  }
  // Damage in any source ends the walk: what is behind it could be wrong.
  [[nodiscard]] bool valid() const override { return damaged_ == nullptr && !heap_.empty(); }
  [[nodiscard]] const RecordView& record() const override {
    return sources_[heap_.front()]->record();
  }
  [[nodiscard]] const Status& status() const override {
    static const Status kOk;
    return damaged_ == nullptr ? kOk : damaged_->status();
  }
  [[nodiscard]] const Run* run() const override {
    return damaged_ == nullptr ? nullptr : damaged_->run();
  }

 private:
  [[nodiscard]] bool comes_after(size_t a, size_t b) const {
    const uint64_t key_a = sources_[a]->record().header.key;
    const uint64_t key_b = sources_[b]->record().header.key;
    return key_a != key_b ? key_a > key_b : a > b;
  }
  void push(size_t source) {
    if (!sources_[source]->status().ok()) damaged_ = sources_[source].get();
    if (!sources_[source]->valid()) return;
    heap_.push_back(source);
    std::push_heap(heap_.begin(), heap_.end(),
                   [this](size_t a, size_t b) { return comes_after(a, b); });
  }
  size_t pop() {
    std::pop_heap(heap_.begin(), heap_.end(),
                  [this](size_t a, size_t b) { return comes_after(a, b); });
    const size_t source = heap_.back();
    heap_.pop_back();
    return source;
  }

  std::vector<std::unique_ptr<RecordCursor>> sources_;
  std::vector<size_t> heap_;  // indices of valid sources; the front has the smallest (key, age)
  const RecordCursor* damaged_ = nullptr;
};

}  // namespace kyro
