// Writes a run: its data file from records in key order, then its index from the keys.
//
// One pass over the records. Keys and positions are spooled to a temporary file that the index
// builder maps, so private memory stays at two write buffers and the model's nodes, whatever the
// size. Data first, then index, both synced, then the directory: only then may a manifest name it.
//
// Thread rule: one thread per writer. Ownership: the writer owns its open files; what a failed or
// abandoned writer leaves behind is named by no manifest, and abandon() or recovery removes it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/byte_sink.h"
#include "kyro/index/rmi_builder.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/run/run_format.h"

namespace kyro {

// Appends to a file through a buffer of bounded size.
class FileSink final : public ByteSink {
 public:
  // A file that will be synced is carried to the disk piece by piece while it grows; one that is
  // removed again should never get there.
  enum class Use : uint8_t { kKept, kTemporary };

  FileSink(std::unique_ptr<File> file, Use use) : file_(std::move(file)), use_(use) {}
  Status append(const void* data, size_t n) override {
    buffer_.append(static_cast<const char*>(data), n);
    return buffer_.size() < kBufferBytes ? Status() : flush();
  }
  Status flush() {
    KYRO_TRY(file_->write_at(position_, buffer_));
    position_ += buffer_.size();
    buffer_.clear();
    if (use_ == Use::kTemporary || position_ - carried_ < kWriteBackBytes) return Status();
    KYRO_TRY(file_->write_back(carried_, position_));
    carried_ = position_;
    return Status();
  }
  // Bytes appended so far, buffered ones included.
  [[nodiscard]] uint64_t size() const { return position_ + buffer_.size(); }
  [[nodiscard]] File& file() { return *file_; }

 private:
  static constexpr size_t kBufferBytes = 256 << 10;
  static constexpr uint64_t kWriteBackBytes = 4 << 20;
  std::unique_ptr<File> file_;
  const Use use_;
  std::string buffer_;
  uint64_t position_ = 0;
  uint64_t carried_ = 0;  // on its way to the disk
};

// Builds `run-<id>.rmi` from the spooled keys in `spool_name` and removes the spool. The index
// replaces an older one atomically: it gets its name when it is whole and synced.
inline Status build_run_index(Directory& dir, const RunMeta& meta, const std::string& spool_name,
                              const RmiOptions& options) {
  const std::string name = run_index_name(meta.id);
  {
    auto spool = dir.open(spool_name, OpenMode::kRead);
    KYRO_TRY(spool);
    auto mapping = (*spool)->map();
    KYRO_TRY(mapping);
    const auto bytes = (*mapping)->bytes();
    const std::span<const IndexEntry> entries(reinterpret_cast<const IndexEntry*>(bytes.data()),
                                              bytes.size() / sizeof(IndexEntry));
    auto file = dir.open(name + ".tmp", OpenMode::kCreate);
    KYRO_TRY(file);
    FileSink sink(std::move(*file), FileSink::Use::kKept);
    KYRO_TRY(build_rmi(entries, options, sink));
    const IndexSeal seal = make_index_seal(meta);
    KYRO_TRY(sink.append(&seal, sizeof seal));
    KYRO_TRY(sink.flush());
    KYRO_TRY(sink.file().sync());
  }
  KYRO_TRY(dir.rename(name + ".tmp", name));
  return dir.remove(spool_name);
}

class RunWriter {
 public:
  RunWriter(Directory& dir, uint64_t id, RmiOptions options) : dir_(dir), options_(options) {
    meta_.id = id;
  }
  RunWriter(const RunWriter&) = delete;
  RunWriter& operator=(const RunWriter&) = delete;

  Status start() {
    auto data = dir_.open(run_data_name(meta_.id), OpenMode::kCreate);
    KYRO_TRY(data);
    data_ = std::make_unique<FileSink>(std::move(*data), FileSink::Use::kKept);
    auto spool = dir_.open(run_spool_name(meta_.id), OpenMode::kCreate);
    KYRO_TRY(spool);
    spool_ = std::make_unique<FileSink>(std::move(*spool), FileSink::Use::kTemporary);
    const RunHeader header = make_run_header(meta_.id);
    return data_->append(&header, sizeof header);
  }

  // Adds an encoded record; keys must ascend strictly.
  Status append(const RecordHeader& header, std::string_view record_bytes) {
    KYRO_CHECK(meta_.records == 0 || header.key > meta_.key_max);
    if (meta_.records == 0) meta_.key_min = header.key;
    meta_.key_max = header.key;
    ++meta_.records;
    if (header.type() == RecordType::kTombstone) ++meta_.tombstones;
    if (header.expiry_secs() != 0) ++meta_.expiring;
    const IndexEntry entry{header.key, data_->size()};
    KYRO_TRY(spool_->append(&entry, sizeof entry));
    meta_.record_bytes += record_bytes.size();
    meta_.record_crc = crc32c(record_bytes, meta_.record_crc);
    return data_->append(record_bytes.data(), record_bytes.size());
  }

  // Completes and syncs both files. The run stands for the log in [first_offset, end_offset).
  Result<RunMeta> finish(uint64_t first_offset, uint64_t end_offset) {
    meta_.first_offset = first_offset;
    meta_.end_offset = end_offset;
    const RunFooter footer = make_run_footer(meta_);
    KYRO_TRY(data_->append(&footer, sizeof footer));
    KYRO_TRY(data_->flush());
    KYRO_TRY(data_->file().sync());
    KYRO_TRY(spool_->flush());
    data_.reset();
    spool_.reset();
    KYRO_TRY(build_run_index(dir_, meta_, run_spool_name(meta_.id), options_));
    KYRO_TRY(dir_.sync());
    return meta_;
  }

  // Removes what an unfinished writer has made; failures leave files that recovery removes.
  void abandon() {
    data_.reset();
    spool_.reset();
    const std::string index = run_index_name(meta_.id);
    for (const std::string& name :
         {run_data_name(meta_.id), run_spool_name(meta_.id), index, index + ".tmp"}) {
      static_cast<void>(dir_.remove(name));
    }
  }

  [[nodiscard]] uint64_t records() const { return meta_.records; }

 private:
  Directory& dir_;
  const RmiOptions options_;
  RunMeta meta_;
  std::unique_ptr<FileSink> data_;
  std::unique_ptr<FileSink> spool_;
};

}  // namespace kyro
