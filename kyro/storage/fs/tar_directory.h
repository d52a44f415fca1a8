// A tar archive as a directory that can only be read: what works on a closed store works on its
// backup in one file, without unpacking it.
//
// Invariants: every file lies whole inside the archive, no two have one name, and the archive ends
// as archives do; else it is refused when it is opened. So a backup that was cut off on its way is
// never taken for a whole one.
//
// Memory: a name and two numbers for each file, of which there are at most kFilesMax.
//
// Thread rule and ownership: see Directory. Files and mappings keep the archive open.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/limits.h"
#include "kyro/storage/fs/fs.h"
#include "kyro/storage/fs/tar.h"

namespace kyro {
namespace tar_detail {

inline Status read_only(const std::string& path) {
  return Status(Code::kUnsupported, path + ": an archive is only read");
}

// A part of the mapping of the archive.
class PartMapping final : public Mapping {
 public:
  PartMapping(std::shared_ptr<Mapping> whole, uint64_t begin, uint64_t bytes)
      : whole_(std::move(whole)), begin_(begin), bytes_(bytes) {}
  [[nodiscard]] std::span<const std::byte> bytes() const override {
    return whole_->bytes().subspan(begin_, bytes_);
  }
  void advise(Access access) override { static_cast<void>(access); }
  void fetch(uint64_t begin, uint64_t end) override {
    whole_->fetch(begin_ + begin, begin_ + std::min(end, bytes_));
  }
  [[nodiscard]] bool has_lost_pages() const override { return whole_->has_lost_pages(); }

 private:
  const std::shared_ptr<Mapping> whole_;
  const uint64_t begin_;
  const uint64_t bytes_;
};

// A part of the archive.
class PartFile final : public File {
 public:
  PartFile(std::shared_ptr<File> whole, std::shared_ptr<Mapping> mapping, uint64_t begin,
           uint64_t bytes, std::string path)
      : whole_(std::move(whole)),
        mapping_(std::move(mapping)),
        begin_(begin),
        bytes_(bytes),
        path_(std::move(path)) {}

  Result<size_t> read_at(uint64_t position, void* to, size_t n) override {
    if (position >= bytes_) return size_t{0};
    return whole_->read_at(begin_ + position, to, std::min<uint64_t>(n, bytes_ - position));
  }
  Result<uint64_t> size() override { return bytes_; }
  uint64_t modified_secs() override { return whole_->modified_secs(); }
  Result<std::unique_ptr<Mapping>> map() override {
    return std::unique_ptr<Mapping>(std::make_unique<PartMapping>(mapping_, begin_, bytes_));
  }
  [[nodiscard]] bool has_blocks() const override { return false; }
  void drop_cache() override {}

  Status write_at(uint64_t, std::string_view) override { return read_only(path_); }
  Status sync() override { return read_only(path_); }
  Status truncate(uint64_t) override { return read_only(path_); }
  Status allocate(uint64_t) override { return read_only(path_); }

 private:
  const std::shared_ptr<File> whole_;
  const std::shared_ptr<Mapping> mapping_;
  const uint64_t begin_;
  const uint64_t bytes_;
  const std::string path_;
};

}  // namespace tar_detail

class TarDirectory final : public Directory {
 public:
  static constexpr size_t kFilesMax = 65'536;

  // kCorruption where it is no whole archive, kUnsupported where there is something in it that no
  // backup has.
  [[nodiscard]] static Result<std::unique_ptr<Directory>> open(std::unique_ptr<File> file,
                                                               const std::string& path) {
    std::unique_ptr<TarDirectory> archive(new TarDirectory(std::move(file), path));
    KYRO_TRY(archive->read_heads());
    return std::unique_ptr<Directory>(std::move(archive));
  }

  [[nodiscard]] const std::string& path() const override { return path_; }
  Result<std::unique_ptr<File>> open(const std::string& name, OpenMode mode) override {
    if (mode != OpenMode::kRead) return tar_detail::read_only(path_);
    const auto found = files_.find(name);
    if (found == files_.end()) {
      return Status(Code::kNotFound, path_ + ": there is no " + name + " in it");
    }
    const auto [begin, bytes] = found->second;
    return std::unique_ptr<File>(
        std::make_unique<tar_detail::PartFile>(file_, mapping_, begin, bytes, path_ + ": " + name));
  }
  Result<std::vector<std::string>> list() override {
    std::vector<std::string> names;
    for (const auto& [name, place] : files_) names.push_back(name);
    return names;
  }
  // Nobody writes to it.
  Status lock(LockKind kind) override {
    return kind == LockKind::kReader ? Status() : tar_detail::read_only(path_);
  }
  Status check_place() override { return Status(); }
  [[nodiscard]] Result<uint64_t> free_bytes() override { return uint64_t{0}; }
  [[nodiscard]] bool is_open_to_others() override { return false; }
  Status link(const std::string&, Directory&) override { return tar_detail::read_only(path_); }

  Status rename(const std::string&, const std::string&) override {
    return tar_detail::read_only(path_);
  }
  Status remove(const std::string&) override { return tar_detail::read_only(path_); }
  Status sync() override { return tar_detail::read_only(path_); }
  Status sync_own_name() override { return tar_detail::read_only(path_); }
  Status remove_itself() override { return tar_detail::read_only(path_); }

 private:
  TarDirectory(std::unique_ptr<File> file, std::string path)
      : path_(std::move(path)), file_(std::move(file)) {}

  [[nodiscard]] Status refuse(Code code, uint64_t at, std::string_view what) const {
    return Status(code, path_ + " at " + std::to_string(at) + ": " + std::string(what));
  }
  [[nodiscard]] Status cut_off(uint64_t at) const {
    return refuse(Code::kCorruption, at, "the archive is cut off");
  }

  Status read_heads() {
    auto size = file_->size();
    KYRO_TRY(size);
    auto mapping = file_->map();
    KYRO_TRY(mapping);
    mapping_ = std::move(*mapping);
    std::string head(kTarBlockBytes, '\0');
    for (uint64_t at = 0;;) {
      if (*size - at < kTarBlockBytes) return cut_off(at);
      auto got = file_->read_at(at, head.data(), head.size());
      KYRO_TRY(got);
      if (*got != head.size()) return cut_off(at);
      const auto entry = decode_tar_head(head);
      if (!entry.ok()) return refuse(entry.status().code(), at, entry.status().message());
      if (entry->kind == TarEntry::Kind::kEnd) return check_end(at, *size);
      at += kTarBlockBytes;
      if (entry->kind == TarEntry::Kind::kNothing) continue;
      if (files_.size() == kFilesMax) {
        return refuse(Code::kUnsupported, at, "more files than a backup has");
      }
      if (tar_padded(entry->bytes) > *size - at) return cut_off(*size);
      if (!files_.emplace(entry->name, std::pair(at, entry->bytes)).second) {
        return refuse(Code::kCorruption, at, entry->name + " is there twice");
      }
      at += tar_padded(entry->bytes);
    }
  }

  // Zeros, as many as a tool may have filled it up with.
  Status check_end(uint64_t at, uint64_t size) {
    constexpr uint64_t kFillBytesMax = 1 * kMiB;
    if (size - at < kTarEndBytes) return cut_off(size);
    if (size - at > kFillBytesMax) {
      return refuse(Code::kCorruption, at, "there is more after the end of the archive");
    }
    std::string rest(size - at, '\1');
    KYRO_TRY(file_->read_at(at, rest.data(), rest.size()));
    if (rest.find_first_not_of('\0') == rest.npos) return Status();
    return refuse(Code::kCorruption, at, "there is more after the end of the archive");
  }

  const std::string path_;
  const std::shared_ptr<File> file_;
  std::shared_ptr<Mapping> mapping_;
  std::map<std::string, std::pair<uint64_t, uint64_t>, std::less<>> files_;  // begin and bytes
};

}  // namespace kyro
