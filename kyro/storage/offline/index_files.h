// Learned indexes as files, opened to be looked at: those of a store that nobody serves, or one
// file, a run's or one that a program has written with build_rmi().
//
// Writes nothing. A directory is locked for reading meanwhile; a file by itself is not, since no
// index file ever changes: those of a running server may be looked at too.
//
// Thread rule: one thread. Ownership: an IndexFile keeps what its index points into.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kyro/index/rmi.h"
#include "kyro/storage/offline/offline.h"
#include "kyro/storage/run/run.h"

namespace kyro {

struct IndexFile {
  std::string name;
  std::optional<RunMeta> run;  // whose it is, where that is known
  uint64_t file_bytes = 0;
  std::shared_ptr<Run> owner;         // of the index; or
  std::unique_ptr<Mapping> mapping;   // a file by itself, and
  std::optional<RmiIndex> by_itself;  // its index

  [[nodiscard]] const RmiIndex& index() const { return owner ? owner->index() : *by_itself; }
  // A page of it could not be read, and zeros stood in.
  [[nodiscard]] bool has_lost_pages() const {
    return owner ? owner->index_lost_pages() : mapping->has_lost_pages();
  }
};

struct IndexFiles {
  OfflineStore store;  // whose lock is held; none of a file by itself
  std::vector<IndexFile> files;
};

namespace index_files_detail {

// What is the index in the bytes of a file: all of them, or what stands before the filter and the
// seal of a run (run_format.h).
[[nodiscard]] inline std::span<const std::byte> model_in(std::span<const std::byte> bytes) {
  const auto all = bytes;
  if (bytes.size() < sizeof(RmiHeader) + sizeof(IndexSeal)) return all;
  const auto seal = load<IndexSeal>(bytes.last(sizeof(IndexSeal)).data());
  if (std::memcmp(seal.magic, kIndexSealMagic, sizeof seal.magic) != 0 ||
      seal.crc != crc32c(&seal, offsetof(IndexSeal, crc))) {
    return all;
  }
  bytes = bytes.first(bytes.size() - sizeof seal);
  const auto tail = load<FilterTail>(bytes.last(sizeof(FilterTail)).data());
  if (tail.crc != make_filter_tail(seal.id, tail.block_bytes).crc) return bytes;  // no filter
  bytes = bytes.first(bytes.size() - sizeof tail);
  const uint64_t pages = load<RmiHeader>(bytes.data()).entry_count;
  if (tail.block_bytes == 0 || pages > bytes.size() / tail.block_bytes) return all;
  return bytes.first(bytes.size() - pages * tail.block_bytes);
}

inline Status named(const std::string& name, const Status& status) {
  const std::string_view what = status.message();
  if (status.ok() || what.find(name) != what.npos) return status;
  return Status(status.code(), name + ": " + std::string(what));
}

[[nodiscard]] inline Result<IndexFile> open_by_itself(std::unique_ptr<File> file,
                                                      const std::string& name) {
  IndexFile out;
  out.name = name;
  auto mapping = file->map();
  KYRO_TRY(mapping);
  out.mapping = std::move(*mapping);
  const auto bytes = out.mapping->bytes();
  out.file_bytes = bytes.size();
  const auto model = model_in(bytes);
  const uint64_t entries =
      model.size() < sizeof(RmiHeader) ? 0 : load<RmiHeader>(model.data()).entry_count;
  auto index = RmiIndex::open(model, entries, ~uint64_t{0});
  KYRO_TRY(index);
  out.by_itself.emplace(std::move(*index));
  return out;
}

[[nodiscard]] inline Result<IndexFile> open_of_run(Directory& dir, const RunMeta& meta) {
  IndexFile out;
  out.name = run_index_name(meta.id);
  out.run = meta;
  auto run = Run::open_data(dir, meta);
  KYRO_TRY(run);
  const Status opened = (*run)->open_index(dir, {});
  if (opened.code() == Code::kCorruption || opened.code() == Code::kNotFound) {
    const Status what = named(out.name, opened);
    return Status(what.code(),
                  std::string(what.message()) + "; a server makes it anew at its start");
  }
  KYRO_TRY(opened);
  out.owner = std::move(*run);
  out.file_bytes = out.owner->index_bytes();
  return out;
}

// The file at `path` if it is an index by its name or its first bytes; nothing if it is none.
[[nodiscard]] inline Result<std::unique_ptr<File>> open_if_index(FileSystem& fs,
                                                                 const std::string& path) {
  auto above = fs.open_dir(parent_dir(path), DirMode::kExisting);
  KYRO_TRY(above);
  auto file = (*above)->open(path.substr(path.rfind('/') + 1), OpenMode::kRead);
  KYRO_TRY(file);
  uint64_t magic = 0;
  const auto got = (*file)->read_at(0, &magic, sizeof magic);
  KYRO_TRY(got);
  if (magic != kRmiHeaderMagic && !path.ends_with(".rmi")) return std::unique_ptr<File>();
  return file;
}

}  // namespace index_files_detail

// The indexes of the store in the directory or tar archive at `path`, newest run first; or the one
// that the file there is. kCorruption names the file that is damaged.
[[nodiscard]] inline Result<IndexFiles> open_index_files(FileSystem& fs, const std::string& path) {
  using namespace index_files_detail;
  IndexFiles out;
  if (!fs.open_dir(path, DirMode::kExisting).ok()) {
    auto file = open_if_index(fs, path);
    KYRO_TRY(file);
    if (*file != nullptr) {
      auto opened = open_by_itself(std::move(*file), path);
      if (!opened.ok()) return named(path, opened.status());
      out.files.push_back(std::move(*opened));
      return out;
    }
  }
  auto store = open_offline(fs, path);
  KYRO_TRY(store);
  out.store = std::move(*store);
  const auto manifest = decode_manifest(out.store.manifest_text);
  KYRO_TRY(manifest);
  for (const RunMeta& meta : manifest->runs) {
    auto opened = open_of_run(*out.store.dir, meta);
    if (!opened.ok()) return named(run_index_name(meta.id), opened.status());
    out.files.push_back(std::move(*opened));
  }
  return out;
}

}  // namespace kyro
