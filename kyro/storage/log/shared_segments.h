// What all who read a log segment at the same time share: its descriptor, so that a subscriber
// costs no more of them than its connection, and its bytes as memory: a group of 16 MiB is read by
// a hundred subscribers from the page cache where it lies, and checked once, instead of being read
// into a buffer by each.
//
// A map shows the segment as it was when the map was made, at least; what has been appended since
// may show or not. So whoever finds a bad group in a map that was not made for it asks for a fresh
// one.
//
// Thread rule: everything from any thread. Ownership: readers share a file and a map; each goes
// with the last of them. The tables outlive them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "kyro/base/mutex.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/segment_ref.h"
#include "kyro/storage/log/wal_format.h"

namespace kyro {

class SegmentMap {
 public:
  explicit SegmentMap(std::unique_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}

  [[nodiscard]] std::string_view bytes() const {
    const auto bytes = mapping_->bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // What is read may not be what was written any more.
  [[nodiscard]] bool has_lost_pages() const { return mapping_->has_lost_pages(); }

  // The group at `position` has been found to be whole, by any reader.
  void note_whole(uint64_t position) {
    const MutexLock lock(mutex_);
    whole_[next_++ % whole_.size()] = position;
  }
  [[nodiscard]] bool is_whole(uint64_t position) const {
    const MutexLock lock(mutex_);
    return !has_lost_pages() && std::find(whole_.begin(), whole_.end(), position) != whole_.end();
  }

 private:
  const std::unique_ptr<Mapping> mapping_;
  mutable Mutex mutex_;
  std::array<uint64_t, 16> whole_ KYRO_GUARDED_BY(mutex_){};  // the last ones; no group is at 0
  size_t next_ KYRO_GUARDED_BY(mutex_) = 0;
};

class SharedSegments {
 public:
  // The file of a segment. Errors: those of the file system.
  [[nodiscard]] Result<std::shared_ptr<File>> file(Directory& dir, const SegmentRef& ref) {
    const MutexLock lock(mutex_);
    std::erase_if(files_, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<File>& known = files_[ref.first_offset];
    if (auto file = known.lock()) return file;
    auto opened = dir.open(segment_name(ref.first_offset), OpenMode::kRead);
    KYRO_TRY(opened);
    std::shared_ptr<File> file = std::move(*opened);
    known = file;
    return file;
  }

  // A map of the segment `file`, which begins with `first_offset`, up to byte `end` at least; with
  // `fresh` one that was made in this call. Errors: those of the file system.
  [[nodiscard]] Result<std::shared_ptr<SegmentMap>> map(File& file, uint64_t first_offset,
                                                        uint64_t end, bool fresh) {
    const MutexLock lock(mutex_);
    std::erase_if(maps_, [](const auto& entry) { return entry.second.expired(); });
    const auto found = maps_.find(first_offset);
    if (!fresh && found != maps_.end()) {
      auto map = found->second.lock();
      if (map != nullptr && map->bytes().size() >= end) return map;
    }
    auto mapping = file.map();
    KYRO_TRY(mapping);
    auto map = std::make_shared<SegmentMap>(std::move(*mapping));
    if (map->bytes().size() < end) {
      return Status(Code::kCorruption, "a log segment is shorter than what was read of it");
    }
    maps_[first_offset] = map;
    return map;
  }

 private:
  Mutex mutex_;
  std::map<uint64_t, std::weak_ptr<SegmentMap>> maps_
      KYRO_GUARDED_BY(mutex_);  // by first offset, as the files; few are alive
  std::map<uint64_t, std::weak_ptr<File>> files_ KYRO_GUARDED_BY(mutex_);
};

}  // namespace kyro
