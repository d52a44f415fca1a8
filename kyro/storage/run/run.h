// A run as readers see it: the mapped data file and the learned index over it.
//
// Invariants:
//   - immutable: the files never change while this object lives, only their names may go;
//   - a record is returned only if its checksum is right and its key is the one asked for; whatever
//     else is found there is kCorrupt, never "not found";
//   - every position from the index is checked against the data file before it is followed.
//
// Thread rule: any number of readers. Ownership: shared; a view, a merge or a slow response each
// hold a reference, and the mappings go with the last one.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/index/huge_bytes.h"
#include "kyro/index/rmi.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/fs/readahead.h"
#include "kyro/storage/run/run_format.h"
#include "kyro/storage/run/run_writer.h"

namespace kyro {

// kUnsupported for the bytes of an index of a newer format. (It could be made anew; but whoever
// wrote it may have left more that is newer, and goes on with it.)
[[nodiscard]] inline Status check_index_version(std::span<const std::byte> bytes, uint64_t id) {
  const Status status = check_rmi_version(bytes);
  if (status.ok()) return status;
  return Status(status.code(), run_index_name(id) + ": " + std::string(status.message()));
}
[[nodiscard]] inline Status check_index_version(Directory& dir, uint64_t id) {
  auto file = dir.open(run_index_name(id), OpenMode::kRead);
  if (file.status().code() == Code::kNotFound) return Status();
  KYRO_TRY(file);
  std::array<std::byte, sizeof(RmiHeader)> head{};
  auto got = (*file)->read_at(0, head.data(), head.size());
  KYRO_TRY(got);
  return check_index_version(std::span<const std::byte>(head).first(*got), id);
}

struct RunOptions {
  RmiOptions rmi;
  bool huge_index = false;  // copy the index into anonymous huge pages
};

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

  // Where the index expects `key`, already being fetched: the first half of a lookup, so that
  // the misses of several runs or keys overlap.
  [[nodiscard]] RmiIndex::Prediction predict(uint64_t key) const {
    const RmiIndex::Prediction prediction = index_->predict(key);
    index_->prefetch(prediction);
    return prediction;
  }

  // Whether a lookup in the index that is no hit means that the key is not there. An index that has
  // lost pages since it was checked may say anything; the data will show it, but for a miss.
  [[nodiscard]] bool is_miss(const FindResult& found) const {
    if (found.code == FindCode::kMiss && !index_lost_pages()) return true;
    note_index_damage();
    return false;
  }

  // The record of `key` at `position`, as an index lookup returned it; null where it is damaged.
  [[nodiscard]] RecordRef get_at(uint64_t position, uint64_t key) const {
    if (check_at(position) != RecordCheck::kOk) [[unlikely]]
      return {};
    const RecordRef record(begin_ + position);
    return record.key() == key ? record : RecordRef();
  }

  // The same in two steps, with time in between to fetch it: where it should lie (null if that is
  // outside), and whether it does.
  [[nodiscard]] RecordRef place_at(uint64_t position) const {
    if (position < first_position() || position >= end_position()) return {};
    return RecordRef(begin_ + position);
  }
  [[nodiscard]] bool is_valid(RecordRef place, uint64_t key) const {
    return !get_at(static_cast<uint64_t>(place.data() - begin_), key).is_null();
  }

  // Decodes and verifies the record at a byte position, one of a walk; false where there is no
  // valid one.
  [[nodiscard]] bool record_at(uint64_t position, Readahead& ahead, RecordView* out) const {
    ahead.come_to(*data_, position);
    if (check_at(position) != RecordCheck::kOk) return false;
    *out = RecordRef(begin_ + position).view();
    return true;
  }

  // A record that record_at() has decoded, as it lies there.
  [[nodiscard]] static std::string_view encoded(const RecordView& record) {
    return {record.value.data() - kRecordHeaderBytes, record.value.size() + kRecordHeaderBytes};
  }

  // Told of bytes that have been read since it was called last.
  using Progress = std::function<void(uint64_t bytes)>;

  // Reads every record: checksums, order, offsets, the whole-file checksum.
  Status verify_records(const Progress& progress = {}) const;
  // Reads the whole index and checks that it leads to every record. REQUIRES: verify_records() ok.
  Status verify_index() const;

  [[nodiscard]] const RunMeta& meta() const { return meta_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const RmiIndex& index() const { return *index_; }
  [[nodiscard]] uint64_t first_position() const { return kRunHeaderBytes; }
  [[nodiscard]] uint64_t end_position() const { return kRunHeaderBytes + meta_.record_bytes; }
  [[nodiscard]] uint64_t data_bytes() const { return data_->bytes().size(); }
  [[nodiscard]] uint64_t index_bytes() const { return index_bytes_.size(); }
  // When it was written, in Unix time, as the file system has it; 0 where nobody knows.
  [[nodiscard]] uint64_t made_secs() const { return made_secs_; }
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
  [[nodiscard]] RecordCheck check_at(uint64_t position) const {
    if (position - kRunHeaderBytes >= record_bytes_) [[unlikely]]
      return RecordCheck::kTruncated;
    return check_record(begin_ + position, kRunHeaderBytes + record_bytes_ - position);
  }

  // What a lookup needs, together. The smallest key, and the distance to the largest.
  uint64_t key_min_ = 0;
  uint64_t key_span_ = 0;
  std::unique_ptr<RmiIndex> index_;
  const char* begin_ = nullptr;  // of the mapped data
  uint64_t record_bytes_ = 0;    // of all records in it

  RunMeta meta_;
  std::string name_;
  uint64_t made_secs_ = 0;
  std::unique_ptr<Mapping> data_;
  std::unique_ptr<Mapping> index_file_;
  HugeBytes huge_index_;
  std::span<const std::byte> index_bytes_;
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
  KYRO_TRY(check_run_ends({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, meta,
                          run->name_));
  run->begin_ = reinterpret_cast<const char*>(bytes.data());
  run->record_bytes_ = meta.record_bytes;
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
  const IndexSeal seal = make_index_seal(meta_);
  if (index_bytes_.size() < sizeof seal ||
      std::memcmp(index_bytes_.last(sizeof seal).data(), &seal, sizeof seal) != 0) {
    return Status(Code::kCorruption, run_index_name(meta_.id) + ": not the index of this run");
  }
  index_bytes_ = index_bytes_.first(index_bytes_.size() - sizeof seal);
  if (options.huge_index) {
    auto huge = HugeBytes::copy_of(index_bytes_);
    KYRO_TRY(huge);
    huge_index_ = std::move(*huge);
    index_bytes_ = huge_index_.bytes();
    index_file_.reset();
  } else {
    index_file_->advise(Access::kRandom);
  }
  auto index = RmiIndex::open(index_bytes_, meta_.records, end_position());
  KYRO_TRY(index);
  index_ = std::make_unique<RmiIndex>(std::move(*index));
  return Status();
}

inline void Run::warm(const Cancel& cancel) const {
  constexpr size_t kPageBytes = 4096;
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

inline Status Run::rebuild_index(Directory& dir, const RunOptions& options) const {
  const std::string spool_name = run_spool_name(meta_.id);
  const auto rebuild = [&]() -> Status {
    auto file = dir.open(spool_name, OpenMode::kCreate);
    KYRO_TRY(file);
    FileSink spool(std::move(*file), FileSink::Use::kTemporary);
    uint64_t position = first_position();
    uint64_t records = 0;
    Readahead ahead;
    for (RecordView record; position < end_position(); ++records) {
      if (!record_at(position, ahead, &record)) {
        return Status(Code::kCorruption, name_ + " at " + std::to_string(position) +
                                             ": a damaged record, so the index cannot be rebuilt");
      }
      const IndexEntry entry{record.header.key, position};
      KYRO_TRY(spool.append(&entry, sizeof entry));
      position += record.header.record_bytes();
    }
    if (records != meta_.records) {
      return Status(Code::kCorruption, name_ + ": the number of records is not what it says");
    }
    KYRO_TRY(spool.flush());
    KYRO_TRY(build_run_index(dir, meta_, spool_name, options.rmi));
    return dir.sync();
  };
  const Status status = rebuild();
  if (!status.ok()) {  // what is half made must not fill the disk
    static_cast<void>(dir.remove(spool_name));
    static_cast<void>(dir.remove(run_index_name(meta_.id) + ".tmp"));
  }
  return status;
}

inline Status Run::verify_records(const Progress& progress) const {
  const auto damaged = [this](uint64_t position, const char* what) {
    return Status(Code::kCorruption, name_ + " at " + std::to_string(position) + ": " + what);
  };
  uint64_t position = first_position();
  uint64_t records = 0;
  uint64_t previous_key = 0;
  uint32_t crc = 0;
  constexpr uint64_t kReportBytes = 16 * kMiB;
  uint64_t reported = position;
  Readahead ahead;
  for (RecordView record; position < end_position(); ++records) {
    if (progress && position - reported >= kReportBytes) {
      progress(position - reported);
      reported = position;
    }
    if (!record_at(position, ahead, &record)) return damaged(position, "a damaged record");
    const uint64_t key = record.header.key;
    if (records > 0 && key <= previous_key) return damaged(position, "keys out of order");
    if (record.header.offset < meta_.first_offset || record.header.offset >= meta_.end_offset) {
      return damaged(position, "an offset outside the run's range");
    }
    crc = crc32c(encoded(record), crc);
    previous_key = key;
    position += record.header.record_bytes();
  }
  if (progress) progress(position - reported);
  if (records != meta_.records || crc != meta_.record_crc) {
    return damaged(position, "the records are not the ones the manifest speaks of");
  }
  return Status();
}

inline Status Run::verify_index() const {
  KYRO_TRY(index_->verify());
  uint64_t position = first_position();
  Readahead ahead;
  for (RecordView record; position < end_position(); position += record.header.record_bytes()) {
    if (!record_at(position, ahead, &record)) break;
    const FindResult found = index_->find(record.header.key);
    if (found.code != FindCode::kHit || found.position != position) {
      return Status(Code::kCorruption, run_index_name(meta_.id) +
                                           ": it does not lead to the record at " +
                                           std::to_string(position) + " of " + name_);
    }
  }
  return Status();
}

}  // namespace kyro
