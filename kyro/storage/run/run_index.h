// The file of a run's index, `run-<id>.rmi`: how it is made, and whether one may be read.
//
// Thread rule: one thread per index that is made.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kyro/index/rmi_builder.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/run/file_sink.h"
#include "kyro/storage/run/run_filter.h"
#include "kyro/storage/run/run_format.h"

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

// Gathers what a run's index is made of in temporary files, and makes it of them.
class RunIndexWriter {
 public:
  // With a filter it is for a run of pages.
  RunIndexWriter(Directory& dir, uint64_t id, bool has_filter)
      : dir_(dir), id_(id), has_filter_(has_filter) {}
  RunIndexWriter(const RunIndexWriter&) = delete;
  RunIndexWriter& operator=(const RunIndexWriter&) = delete;

  Status start() {
    KYRO_TRY(open(run_spool_name(id_), FileSink::Use::kTemporary, &entries_));
    if (!has_filter_) return Status();
    KYRO_TRY(open(run_filter_spool_name(id_), FileSink::Use::kTemporary, &blocks_));
    filter_.emplace(*blocks_, id_);
    return Status();
  }

  // A key of the page that add() comes to next.
  void add_key(uint64_t key) { filter_->add(key); }
  Status add(const IndexEntry& entry) {
    if (has_filter_) KYRO_TRY(filter_->end_page());
    return entries_->append(&entry, sizeof entry);
  }

  // Makes `run-<id>.rmi`, synced, in place of an older one, atomically. The directory is not synced
  // yet. REQUIRES: an entry.
  Status build(const RunMeta& meta, const RmiOptions& options) {
    std::unique_ptr<FileSink> index;
    KYRO_TRY(open(name() + ".tmp", FileSink::Use::kKept, &index));
    KYRO_TRY(write_model(options, *index));
    if (has_filter_) KYRO_TRY(write_filter(*index));
    const IndexSeal seal = make_index_seal(meta);
    KYRO_TRY(index->append(&seal, sizeof seal));
    KYRO_TRY(index->flush());
    KYRO_TRY(index->file().sync());
    KYRO_TRY(dir_.rename(name() + ".tmp", name()));
    KYRO_TRY(dir_.remove(run_spool_name(id_)));
    return has_filter_ ? dir_.remove(run_filter_spool_name(id_)) : Status();
  }

  // Removes what an unfinished one has made; failures leave files that recovery removes.
  void abandon() {
    entries_.reset();
    blocks_.reset();
    for (const std::string& made :
         {run_spool_name(id_), run_filter_spool_name(id_), name() + ".tmp"}) {
      static_cast<void>(dir_.remove(made));
    }
  }

 private:
  [[nodiscard]] std::string name() const { return run_index_name(id_); }

  Status open(const std::string& name, FileSink::Use use, std::unique_ptr<FileSink>* out) {
    auto file = dir_.open(name, OpenMode::kCreate);
    KYRO_TRY(file);
    *out = std::make_unique<FileSink>(std::move(*file), use);
    return Status();
  }

  Status write_model(const RmiOptions& options, FileSink& index) {
    KYRO_TRY(entries_->flush());
    auto mapping = entries_->file().map();
    KYRO_TRY(mapping);
    const auto bytes = (*mapping)->bytes();
    return build_rmi({reinterpret_cast<const IndexEntry*>(bytes.data()),
                      bytes.size() / sizeof(IndexEntry)},
                     options, index)
        .status();
  }

  Status write_filter(FileSink& index) {
    constexpr size_t kChunkBytes = 256 << 10;
    KYRO_TRY(filter_->finish());
    KYRO_TRY(blocks_->flush());
    auto mapping = blocks_->file().map();
    KYRO_TRY(mapping);
    for (auto left = (*mapping)->bytes(); !left.empty();) {
      const auto chunk = left.first(std::min(kChunkBytes, left.size()));
      KYRO_TRY(index.append(chunk.data(), chunk.size()));
      left = left.subspan(chunk.size());
    }
    const FilterTail tail = make_filter_tail(id_, filter_->block_bytes());
    return index.append(&tail, sizeof tail);
  }

  Directory& dir_;
  const uint64_t id_;
  const bool has_filter_;
  std::unique_ptr<FileSink> entries_;
  std::unique_ptr<FileSink> blocks_;
  std::optional<FilterWriter> filter_;
};

// The parts of an index file.
struct RunIndexParts {
  std::span<const std::byte> model;
  RunFilter filter;
  uint64_t filter_bytes = 0;
};

// kCorruption if `bytes` are not those of the index of this run.
[[nodiscard]] inline Result<RunIndexParts> split_run_index(std::span<const std::byte> bytes,
                                                           const RunMeta& meta,
                                                           const RunBody& body) {
  const Status foreign(Code::kCorruption, run_index_name(meta.id) + ": not the index of this run");
  const IndexSeal seal = make_index_seal(meta);
  if (bytes.size() < sizeof seal ||
      std::memcmp(bytes.last(sizeof seal).data(), &seal, sizeof seal) != 0) {
    return foreign;
  }
  bytes = bytes.first(bytes.size() - sizeof seal);
  if (!body.is_paged()) return RunIndexParts{bytes, {}, 0};
  if (bytes.size() < sizeof(FilterTail)) return foreign;
  const auto tail = load<FilterTail>(bytes.last(sizeof(FilterTail)).data());
  bytes = bytes.first(bytes.size() - sizeof(FilterTail));
  if (tail.crc != make_filter_tail(meta.id, tail.block_bytes).crc ||
      tail.block_bytes <= kFilterCrcBytes || tail.block_bytes > kFilterBlockBytesMax ||
      body.pages > bytes.size() / tail.block_bytes) {
    return Status(Code::kCorruption, run_index_name(meta.id) + ": its filter is damaged");
  }
  const uint64_t filter_bytes = body.pages * tail.block_bytes;
  const auto blocks = bytes.last(filter_bytes);
  return RunIndexParts{bytes.first(bytes.size() - filter_bytes),
                       RunFilter(reinterpret_cast<const char*>(blocks.data()), tail.block_bytes),
                       filter_bytes};
}

}  // namespace kyro
