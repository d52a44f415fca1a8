// A run as readers see it: the mapped data file and the learned index over it.
//
// A lookup asks the index for the page that may hold the key (a few megabytes for ten million keys,
// mostly in the caches), the page's directory for the record, and believes the record: one read
// from the disk where the page is not in memory. Runs of version 1 have no pages: their index leads
// to each record.
//
// Invariants:
//   - immutable: the files never change while this object lives, only their names may go;
//   - a record is returned only if its checksum is right and its key is the one asked for; whatever
//     else is found there is kCorrupt, never "not found" (page.h says when that is believed);
//   - every position from the index is checked against the data file before it is followed.
//
// Thread rule: any number of readers. Ownership: shared; a view, a merge or a slow response each
// hold a reference, and the mappings go with the last one.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/cancel.h"
#include "kyro/index/huge_bytes.h"
#include "kyro/index/rmi.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/fs/readahead.h"
#include "kyro/storage/run/run_format.h"
#include "kyro/storage/run/run_index.h"
#include "kyro/storage/run/run_pages.h"

namespace kyro {

class Run {
 public:
  // Opens a run that the manifest names. A missing or damaged index is rebuilt from the data first
  // (`*index_rebuilt` says so); damage to the data's ends is kCorruption. Does not read the
  // records.
  [[nodiscard]] static Result<std::shared_ptr<Run>> open(Directory& dir, const RunMeta& meta,
                                                         const RunOptions& options,
                                                         bool* index_rebuilt);

  // Opens only the data, for verify_records() and a walk by position.
  [[nodiscard]] static Result<std::shared_ptr<Run>> open_data(Directory& dir, const RunMeta& meta);

  // Maps and checks the index. kNotFound or kCorruption: it has to be rebuilt. kUnsupported: it is
  // of a newer format.
  Status open_index(Directory& dir, const RunOptions& options);

  // False if the key lies outside the run's range.
  [[nodiscard]] bool may_hold(uint64_t key) const { return key - key_min_ <= key_span_; }

  // The version of `key`, verified.
  [[nodiscard]] RunFound find(uint64_t key) const {
    if (body_.is_paged()) [[likely]]
      return find_in_page(key, index_->find<RmiMatch::kCeiling>(key));
    return follow(key, index_->find(key));
  }

  // The same in two halves, so that the misses of several runs overlap: where the index expects
  // `key`, already being fetched, and the answer.
  [[nodiscard]] RmiIndex::Prediction predict(uint64_t key) const {
    const RmiIndex::Prediction prediction = index_->predict(key);
    index_->prefetch(prediction);
    return prediction;
  }
  [[nodiscard]] RunFound resolve(uint64_t key, RmiIndex::Prediction prediction) const {
    if (body_.is_paged()) [[likely]]
      return find_in_page(key, index_->resolve<RmiMatch::kCeiling>(key, prediction));
    return follow(key, index_->resolve(key, prediction));
  }

  // out[i] = find(keys[i]) for all i < n, at most kBatch, with the cache misses of neighbours
  // overlapped; but a hit's record is only where it should be, and is_valid() has the last word.
  static constexpr size_t kBatch = 256;
  void find_batch(const uint64_t* keys, size_t n, RunFound* out) const;
  [[nodiscard]] bool is_valid(RecordRef place, uint64_t key) const {
    if (body_.is_paged()) [[likely]]
      return pages_.is_valid(place, key);
    return check_at(static_cast<uint64_t>(place.data() - begin_)) == RecordCheck::kOk &&
           place.key() == key;
  }

  // Decodes and verifies the record at a position of version 1, one of a walk; false where there is
  // no valid one.
  [[nodiscard]] bool record_at(uint64_t position, Readahead& ahead, RecordView* out) const {
    ahead.come_to(*data_, position);
    if (check_at(position) != RecordCheck::kOk) return false;
    *out = RecordRef(begin_ + position).view();
    return true;
  }

  // Pages, looked up or walked over.
  [[nodiscard]] const RunPages& pages() const { return pages_; }
  [[nodiscard]] PageView page_at(uint64_t number, Readahead& ahead) const {
    ahead.come_to(*data_, body_.page_begin(number));
    return pages_.page(number);
  }
  // Decodes and verifies the record of an entry; false where there is no valid one. `ahead` is that
  // of a walk over the large ones.
  [[nodiscard]] bool record_of(PageView page, size_t entry, Readahead& ahead,
                               RecordView* out) const;

  [[nodiscard]] const RunMeta& meta() const { return meta_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const RmiIndex& index() const { return *index_; }
  [[nodiscard]] const RunBody& body() const { return body_; }
  // Of the records of version 1.
  [[nodiscard]] uint64_t first_position() const { return kRunHeaderBytes; }
  [[nodiscard]] uint64_t end_position() const { return body_.end; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return data_->bytes(); }
  [[nodiscard]] uint64_t data_bytes() const { return data_->bytes().size(); }
  // With the filter.
  [[nodiscard]] uint64_t index_bytes() const { return index_bytes_.size(); }
  // When it was written, in Unix time, as the file system has it; 0 where nobody knows.
  [[nodiscard]] uint64_t made_secs() const { return made_secs_; }
  [[nodiscard]] uint64_t filter_bytes() const { return filter_bytes_; }
  // Touches every page of data and index, so that reads find them in memory.
  void warm(const Cancel& cancel) const;

  // Spares the first readers of a new run what its bytes need once: the checks of the index, and
  // the page faults where the pages are still in memory. Reads no data from the disk.
  void prepare_for_reads() const {
    if (!index_->check_slots().ok()) note_index_damage();
    if (index_file_ != nullptr) index_file_->advise(Access::kResident);
    data_->advise(Access::kResident);
  }

  // Set when a merge met a record it cannot read: the run is left alone, so that nothing is lost.
  [[nodiscard]] bool is_quarantined() const { return quarantined_.load(std::memory_order_relaxed); }
  void quarantine() const { quarantined_.store(true, std::memory_order_relaxed); }

  // Bytes of records whose time had passed when the run was last read whole; 0 before.
  [[nodiscard]] uint64_t expired_bytes() const {
    return expired_bytes_.load(std::memory_order_relaxed);
  }
  void note_expired(uint64_t bytes) const {
    expired_bytes_.store(bytes, std::memory_order_relaxed);
  }

  // A lookup met damage in the index, which can be made anew from the data.
  [[nodiscard]] bool index_is_damaged() const {
    return index_damaged_.load(std::memory_order_relaxed);
  }

  void note_index_damage() const { index_damaged_.store(true, std::memory_order_relaxed); }

  // The mapped index shows zeros where pages could not be read.
  [[nodiscard]] bool index_lost_pages() const {
    return index_file_ != nullptr && index_file_->has_lost_pages();
  }

  // Walks the data and writes the index anew, under its name, atomically.
  Status rebuild_index(Directory& dir, const RunOptions& options) const;

 private:
  // Of a record of version 1.
  [[nodiscard]] RecordCheck check_at(uint64_t position) const {
    if (position - kRunHeaderBytes >= body_.end - kRunHeaderBytes) [[unlikely]]
      return RecordCheck::kTruncated;
    return check_record(begin_ + position, body_.end - position);
  }
  [[nodiscard]] RunFound follow(uint64_t key, FindResult found) const;
  [[nodiscard]] RunFound find_in_page(uint64_t key, FindResult at) const {
    const RunFound found =
        at.code == FindCode::kHit ? pages_.find(at.position, key) : RunFound{{}, at.code};
    return found.code == FindCode::kHit ? found : not_found(found.code, at.code);
  }
  // That it is a miss, or damage.
  [[nodiscard]] RunFound not_found(FindCode code, FindCode index_code) const;
  Status gather_index(RunIndexWriter& index) const;

  // What a lookup needs, together. The smallest key, and the distance to the largest.
  uint64_t key_min_ = 0;
  uint64_t key_span_ = 0;
  std::unique_ptr<RmiIndex> index_;
  const char* begin_ = nullptr;  // of the mapped data
  RunBody body_;
  RunPages pages_;

  RunMeta meta_;
  std::string name_;
  uint64_t made_secs_ = 0;
  std::unique_ptr<Mapping> data_;
  std::unique_ptr<Mapping> index_file_;
  HugeBytes huge_index_;
  std::span<const std::byte> index_bytes_;
  uint64_t filter_bytes_ = 0;
  mutable std::atomic<bool> quarantined_{false};
  mutable std::atomic<bool> index_damaged_{false};
  mutable std::atomic<uint64_t> expired_bytes_{0};
};

inline Result<std::shared_ptr<Run>> Run::open(Directory& dir, const RunMeta& meta,
                                              const RunOptions& options, bool* index_rebuilt) {
  *index_rebuilt = false;
  auto run = open_data(dir, meta);
  KYRO_TRY(run);
  if (Status opened = (*run)->open_index(dir, options); !opened.ok()) {
    if (opened.code() != Code::kCorruption && opened.code() != Code::kNotFound) return opened;
    *index_rebuilt = true;
    KYRO_TRY((*run)->rebuild_index(dir, options));
    KYRO_TRY((*run)->open_index(dir, options));
  }
  return run;
}

inline Result<std::shared_ptr<Run>> Run::open_data(Directory& dir, const RunMeta& meta) {
  auto run = std::make_shared<Run>();
  run->meta_ = meta;
  run->name_ = run_data_name(meta.id);
  auto file = dir.open(run->name_, OpenMode::kRead);
  if (!file.ok() && file.status().code() == Code::kNotFound) {
    return Status(Code::kCorruption,
                  run->name_ + ": the manifest names this run, but it is missing");
  }
  KYRO_TRY(file);
  run->made_secs_ = (*file)->modified_secs();
  auto mapping = (*file)->map();
  KYRO_TRY(mapping);
  run->data_ = std::move(*mapping);
  run->data_->advise(Access::kRandom);
  const auto bytes = run->data_->bytes();
  const auto body =
      check_run_ends({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, meta, run->name_);
  KYRO_TRY(body);
  run->body_ = *body;
  run->begin_ = reinterpret_cast<const char*>(bytes.data());
  if (body->is_paged()) run->pages_.open(run->begin_, meta.id, *body);
  run->key_min_ = meta.key_min;
  run->key_span_ = meta.key_max - meta.key_min;
  return run;
}

inline Status Run::open_index(Directory& dir, const RunOptions& options) {
  auto file = dir.open(run_index_name(meta_.id), OpenMode::kRead);
  KYRO_TRY(file);
  auto mapping = (*file)->map();
  KYRO_TRY(mapping);
  index_file_ = std::move(*mapping);
  index_bytes_ = index_file_->bytes();
  KYRO_TRY(check_index_version(index_bytes_, meta_.id));
  if (options.huge_index) {
    auto huge = HugeBytes::copy_of(index_bytes_);
    KYRO_TRY(huge);
    huge_index_ = std::move(*huge);
    index_bytes_ = huge_index_.bytes();
    index_file_.reset();
  } else {
    index_file_->advise(Access::kRandom);
  }
  const auto parts = split_run_index(index_bytes_, meta_, body_);
  KYRO_TRY(parts);
  auto index = body_.is_paged() ? RmiIndex::open(parts->model, body_.pages, body_.pages)
                                : RmiIndex::open(parts->model, meta_.records, end_position());
  KYRO_TRY(index);
  pages_.set_filter(parts->filter);
  filter_bytes_ = parts->filter_bytes;
  index_ = std::make_unique<RmiIndex>(std::move(*index));
  return Status();
}

// ---- lookups ----

// An index that has lost pages since it was checked may say anything; what is found where it leads
// shows that, but for a miss.
[[gnu::noinline]] inline RunFound Run::not_found(FindCode code, FindCode index_code) const {
  if (index_code == FindCode::kCorrupt || index_lost_pages() || pages_.filter_is_damaged()) {
    note_index_damage();
  }
  return {{}, index_lost_pages() ? FindCode::kCorrupt : code};
}

inline RunFound Run::follow(uint64_t key, FindResult found) const {
  if (found.code != FindCode::kHit) [[unlikely]]
    return not_found(found.code, found.code);
  const RecordRef record(begin_ + found.position);
  if (check_at(found.position) != RecordCheck::kOk || record.key() != key) [[unlikely]]
    return {{}, FindCode::kCorrupt};
  return {record, FindCode::kHit};
}

inline void Run::find_batch(const uint64_t* keys, size_t n, RunFound* out) const {
  KYRO_CHECK(n <= kBatch);
  FindResult at[kBatch];
  if (body_.is_paged()) {
    index_->find_batch<RmiMatch::kCeiling>(keys, n, at);
    pages_.find_batch(keys, n, at, out);
  } else {
    index_->find_batch(keys, n, at);
    for (size_t i = 0; i < n; ++i) {
      out[i] = {{}, at[i].code};
      if (at[i].code != FindCode::kHit) continue;
      out[i].record = RecordRef(begin_ + at[i].position);
      // Where the index leads outside it is damage.
      if (at[i].position - kRunHeaderBytes >= body_.end - kRunHeaderBytes) {
        out[i] = {{}, FindCode::kCorrupt};
      }
    }
  }
  for (size_t i = 0; i < n; ++i) {
    if (out[i].code != FindCode::kHit) [[unlikely]]
      out[i] = not_found(out[i].code, at[i].code);
  }
}

inline bool Run::record_of(PageView page, size_t entry, Readahead& ahead, RecordView* out) const {
  const uint32_t place = page.place_of(entry);
  if (PageView::is_stub(place) && page.stub_at(place).place < body_.large_bytes) {
    ahead.come_to(*data_, body_.large_begin() + page.stub_at(place).place);
  }
  const RecordRef record = pages_.record_of(page, place);
  if (record.is_null()) return false;
  *out = record.view();
  return true;
}

// ---- what happens to all of it ----

inline void Run::warm(const Cancel& cancel) const {
  constexpr size_t kCheckedBytes = 64 * kPageBytes;
  for (Mapping* mapping : {data_.get(), index_file_.get()}) {
    if (mapping == nullptr) continue;  // an index in anonymous memory
    const std::span<const std::byte> bytes = mapping->bytes();
    Readahead ahead;
    for (size_t at = 0; at < bytes.size(); at += kPageBytes) {
      if (at % kCheckedBytes == 0 && cancel.is_requested()) break;
      ahead.come_to(*mapping, at);
      static_cast<void>(*static_cast<const volatile std::byte*>(&bytes[at]));
    }
  }
}

// All that the index is made of.
inline Status Run::gather_index(RunIndexWriter& index) const {
  const auto damaged = [&](uint64_t position) {
    return Status(Code::kCorruption, name_ + " at " + std::to_string(position) +
                                         ": a damaged record, so the index cannot be rebuilt");
  };
  Readahead ahead;
  Readahead ahead_large;
  RecordView record;
  for (uint64_t number = 0; number < body_.pages; ++number) {
    const PageView at = page_at(number, ahead);
    if (!pages_.is_sound(number)) return damaged(body_.page_begin(number));
    for (size_t entry = 0; entry < at.count(); ++entry) {
      if (!record_of(at, entry, ahead_large, &record)) return damaged(body_.page_begin(number));
      index.add_key(record.header.key);
    }
    KYRO_TRY(index.add({record.header.key, number}));
  }
  if (body_.is_paged()) return Status();
  uint64_t records = 0;
  for (uint64_t position = first_position(); position < end_position(); ++records) {
    if (!record_at(position, ahead, &record)) return damaged(position);
    KYRO_TRY(index.add({record.header.key, position}));
    position += record.header.record_bytes();
  }
  if (records == meta_.records) return Status();
  return Status(Code::kCorruption, name_ + ": the number of records is not what it says");
}

inline Status Run::rebuild_index(Directory& dir, const RunOptions& options) const {
  RunIndexWriter index(dir, meta_.id, body_.is_paged());
  const auto rebuild = [&]() -> Status {
    KYRO_TRY(index.start());
    KYRO_TRY(gather_index(index));
    KYRO_TRY(index.build(meta_, options.rmi));
    return dir.sync();
  };
  const Status status = rebuild();
  if (!status.ok()) index.abandon();  // what is half made must not fill the disk
  return status;
}

}  // namespace kyro
