// Writes a run: its data file from records in key order, then its index and filter.
//
// One pass over the records; a second one over the large ones, if there are any, since they lie
// after the pages and nothing else would keep them until then. The last keys of pages and the
// blocks of the filter are spooled to temporary files, so private memory stays at a few write
// buffers and the model's nodes, whatever the size. Data first, then index, both synced, then the
// directory: only then may a manifest name it.
//
// Thread rule: one thread per writer. Ownership: the writer owns its open files; what a failed or
// abandoned writer leaves behind is named by no manifest, and abandon() or recovery removes it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/storage/fs/directory.h"
#include "kyro/storage/run/file_sink.h"
#include "kyro/storage/run/run_format.h"
#include "kyro/storage/run/run_index.h"

namespace kyro {

// Room that a run takes at most while it is written, temporary files and index included: of so many
// records, with bytes in all, of them so many in large ones.
[[nodiscard]] constexpr uint64_t run_bytes_max(uint64_t records, uint64_t record_bytes,
                                               uint64_t large_bytes) {
  // A page is full when the next record does not fit.
  constexpr uint64_t kUsedBytes = kPageBytes - kPageHeaderBytes - (kPagedRecordBytesMax + 3);
  constexpr uint64_t kIndexBytesPerPage = 64 + 2 * kFilterCrcBytes;  // its entry, twice, with gaps
  constexpr uint64_t kIndexBytesPerRecord = 3;                       // its bits, twice
  constexpr uint64_t kFixedBytes = 64 * 1024;
  const uint64_t stub_bytes = large_bytes / kPagedRecordBytesMax * kPageStubBytes;
  const uint64_t pages = (record_bytes - large_bytes + 3 * records + stub_bytes) / kUsedBytes + 1;
  return pages * (kPageBytes + kIndexBytesPerPage) + records * kIndexBytesPerRecord + large_bytes +
         kFixedBytes;
}

class RunWriter {
 public:
  RunWriter(Directory& dir, uint64_t id, RmiOptions options)
      : dir_(dir), options_(options), index_(dir, id, true) {
    meta_.id = id;
  }
  RunWriter(const RunWriter&) = delete;
  RunWriter& operator=(const RunWriter&) = delete;

  // Writes the records that walk(visit) passes to visit(header, encoded record), keys strictly
  // ascending. Called once more if some are large, it has to pass the same ones again.
  template <class Walk>
  Status write(const Walk& walk) {
    KYRO_TRY(start());
    KYRO_TRY(walk([this](const RecordHeader& header, std::string_view record) {
      return append(header, record);
    }));
    if (!page_.is_empty()) KYRO_TRY(write_page());
    if (large_bytes_ == 0) return Status();
    uint64_t left = large_bytes_;
    KYRO_TRY(walk([&](const RecordHeader&, std::string_view record) {
      if (!PageFill::is_large(record.size())) return Status();
      if (record.size() > left) return changed();
      left -= record.size();
      return write_body(record);
    }));
    return left == 0 ? Status() : changed();
  }

  // Completes and syncs both files. The run stands for the log in [first_offset, end_offset).
  // REQUIRES: write() was ok, records() > 0.
  Result<RunMeta> finish(uint64_t first_offset, uint64_t end_offset) {
    meta_.first_offset = first_offset;
    meta_.end_offset = end_offset;
    const RunFooter footer = make_run_footer(meta_, RunBody::of_pages(pages_, large_bytes_));
    KYRO_TRY(data_->append(&footer, sizeof footer));
    KYRO_TRY(data_->flush());
    KYRO_TRY(data_->file().sync());
    data_.reset();
    KYRO_TRY(index_.build(meta_, options_));
    KYRO_TRY(dir_.sync());
    return meta_;
  }

  // Removes what an unfinished writer has made; failures leave files that recovery removes.
  void abandon() {
    data_.reset();
    index_.abandon();
    for (const std::string& name : {run_data_name(meta_.id), run_index_name(meta_.id)}) {
      static_cast<void>(dir_.remove(name));
    }
  }

  [[nodiscard]] uint64_t records() const { return meta_.records; }

 private:
  Status start() {
    auto data = dir_.open(run_data_name(meta_.id), OpenMode::kCreate);
    KYRO_TRY(data);
    data_ = std::make_unique<FileSink>(std::move(*data), FileSink::Use::kKept);
    KYRO_TRY(index_.start());
    const RunHeader header = make_run_header(meta_.id);
    KYRO_TRY(data_->append(&header, sizeof header));
    return write_body(std::string(kPageBytes - sizeof header, '\0'));
  }

  Status append(const RecordHeader& header, std::string_view record) {
    KYRO_CHECK(meta_.records == 0 || header.key > meta_.key_max);
    if (meta_.records == 0) meta_.key_min = header.key;
    meta_.key_max = header.key;
    ++meta_.records;
    if (header.type() == RecordType::kTombstone) ++meta_.tombstones;
    if (header.expiry_secs() != 0) ++meta_.expiring;
    meta_.record_bytes += record.size();
    if (!page_.add(header.key, record, large_bytes_)) {
      KYRO_TRY(write_page());
      KYRO_CHECK(page_.add(header.key, record, large_bytes_));
    }
    index_.add_key(header.key);
    if (PageFill::is_large(record.size())) large_bytes_ += record.size();
    return Status();
  }

  Status write_page() {
    KYRO_TRY(index_.add({page_.last_key(), pages_}));
    return write_body(page_.finish(page_seed(meta_.id, pages_++)));
  }

  Status write_body(std::string_view bytes) {
    meta_.record_crc = crc32c(bytes, meta_.record_crc);
    return data_->append(bytes.data(), bytes.size());
  }

  static Status changed() {
    return Status(Code::kIoError, "records changed while they were written to a run");
  }

  Directory& dir_;
  const RmiOptions options_;
  RunMeta meta_;
  PageBuilder page_;  // the one that is being filled
  uint64_t pages_ = 0;
  uint64_t large_bytes_ = 0;
  std::unique_ptr<FileSink> data_;
  RunIndexWriter index_;
};

}  // namespace kyro
