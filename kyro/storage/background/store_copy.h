// Making a second store out of the files of a first one: backups, online and offline, and restores.
//
//   gather()   takes hold of the original's files (store_files.h) and gives those that never change
//              a second name in the new directory, where that can be
//   finish()   copies the others, then the last segment up to a group's end. The manifest comes
//              last.
//
// Invariants:
//   - a directory without a manifest is no store, so half a copy is never taken for one;
//   - files that share their bytes are never written again by anyone: the segment that is appended
//     to is always copied.
//
// Failures: nothing of a copy that failed stays, unless the process dies; then what is left has no
// manifest, and its name is taken (kExists) until somebody removes it.
//
// Thread rule: one thread; during gather() nobody may remove files of the original.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/storage/background/store_files.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/job.h"
#include "kyro/storage/manifest.h"

namespace kyro {

// Whether files that never change may be the same files in both directories. They are cheap, but
// what is done to the one (chown, shred) is done to the other.
enum class Sharing : uint8_t {
  kLinked,  // hard links where that can be
  kNone,    // copies, which share blocks where the file system can do that
};

class StoreCopy {
 public:
  // `to` is empty, or kExists will be the answer.
  StoreCopy(Directory& from, std::unique_ptr<Directory> to, Sharing sharing, Cancel cancel = {})
      : from_(from), to_(std::move(to)), sharing_(sharing), cancel_(std::move(cancel)) {}
  StoreCopy(const StoreCopy&) = delete;
  StoreCopy& operator=(const StoreCopy&) = delete;
  ~StoreCopy() {
    if (is_begun_ && !is_whole_) abandon();
  }

  // kExists if there is something in the new directory.
  Status begin() {
    auto names = to_->list();
    KYRO_TRY(names);
    std::erase_if(*names, is_stray_name);
    if (!names->empty()) {
      const bool is_store = std::find(names->begin(), names->end(), kManifestName) != names->end();
      return Status(Code::kExists, to_->path() + (is_store ? ": there is a store in it already"
                                                           : ": not empty, and not a store (an "
                                                             "unfinished copy?)"));
    }
    is_begun_ = true;
    return to_->sync_own_name();
  }

  // Takes hold of all that `manifest` names and that its state needs.
  Status gather(const Manifest& manifest) {
    return files_.gather(from_, manifest, [this](const std::string& name, uint64_t bytes) {
      return link(name, bytes);
    });
  }

  // Completes the copy with all records below `end`; without `end`, with all the log there is.
  // `database_id`, if given, replaces the original's.
  Result<CopyStats> finish(std::optional<uint64_t> end, const std::string& database_id = {}) {
    const auto next_offset = files_.read_tail(end, cancel_);
    KYRO_TRY(next_offset);
    stats_.next_offset = *next_offset;
    SegmentReader* const tail = files_.tail();
    KYRO_TRY(check_room());
    for (const std::string& name : linked_) KYRO_TRY(sync_file(name));
    for (StoreFiles::Held& held : files_.held()) {
      KYRO_TRY(copy_file(*held.file, held.name, held.bytes, {}));
    }
    if (tail != nullptr) {
      KYRO_TRY(copy_file(tail->file(), tail->name(), tail->position(), files_.end_mark()));
    }
    KYRO_TRY(to_->sync());
    if (!database_id.empty()) files_.manifest().database_id = database_id;
    bool renamed = false;
    KYRO_TRY(
        write_file_atomically(*to_, kManifestName, encode_manifest(files_.manifest()), &renamed));
    is_whole_ = true;
    stats_.files = made_.size() + 1;
    return stats_;
  }

 private:
  // Gives a file a second name; false where it has to be copied.
  Result<bool> link(const std::string& name, uint64_t bytes) {
    const Status linked = sharing_ == Sharing::kLinked
                              ? from_.link(name, *to_)
                              : Status(Code::kUnsupported, "copies are wanted");
    if (linked.code() == Code::kUnsupported) return false;
    KYRO_TRY(linked);
    made_.push_back(name);
    linked_.push_back(name);
    stats_.linked_bytes += bytes;
    return true;
  }

  // Asks instead of trying: a copy must not take the last bytes from the log of a live store.
  Status check_room() {
    uint64_t needed_bytes = kMiB;
    for (const StoreFiles::Held& held : files_.held()) needed_bytes += held.bytes;
    if (files_.tail() != nullptr) needed_bytes += files_.tail()->position();
    auto free_bytes = to_->free_bytes();
    KYRO_TRY(free_bytes);
    if (*free_bytes >= needed_bytes) return Status();
    return Status(Code::kNoSpace, "the copy needs " + std::to_string(needed_bytes) +
                                      " bytes of free space, " + std::to_string(*free_bytes) +
                                      " are there");
  }

  Status sync_file(const std::string& name) {
    KYRO_TRY(cancel_.check());
    auto file = to_->open(name, OpenMode::kRead);
    KYRO_TRY(file);
    return (*file)->sync();
  }

  Status copy_file(File& from, const std::string& name, uint64_t bytes, std::string_view end_mark) {
    made_.push_back(name);
    auto to = to_->open(name, OpenMode::kCreate);
    KYRO_TRY(to);
    if (!from.has_blocks() || !(*to)->share_blocks(from, bytes))
      KYRO_TRY(copy_bytes(from, **to, name, bytes));
    if (!end_mark.empty()) KYRO_TRY((*to)->write_at(bytes, end_mark));
    KYRO_TRY((*to)->sync());
    (*to)->drop_cache();  // nobody will read it soon
    stats_.copied_bytes += bytes + end_mark.size();
    return Status();
  }

  Status copy_bytes(File& from, File& to, const std::string& name, uint64_t bytes) {
    constexpr uint64_t kChunkBytes = 1 * kMiB;
    constexpr uint64_t kWriteBackBytes = 4 * kMiB;
    std::string chunk(std::min(bytes, kChunkBytes), '\0');
    uint64_t carried = 0;  // to the disk: so the sync, which cannot be given up, is short
    for (uint64_t at = 0; at < bytes; at += kChunkBytes) {
      KYRO_TRY(cancel_.check());
      const uint64_t wanted = std::min(kChunkBytes, bytes - at);
      auto got = from.read_at(at, chunk.data(), wanted);
      KYRO_TRY(got);
      if (*got != wanted) {
        return Status(Code::kCorruption, name + " at " + std::to_string(at + *got) +
                                             ": shorter than it was a moment ago");
      }
      KYRO_TRY(to.write_at(at, std::string_view(chunk.data(), wanted)));
      if (at + wanted - carried < kWriteBackBytes) continue;
      KYRO_TRY(to.write_back(carried, at + wanted));
      carried = at + wanted;
    }
    return Status();
  }

  // Removes what was made; a failure leaves files that no manifest names.
  void abandon() {
    made_.insert(made_.begin(), {kManifestName, std::string(kManifestName) + ".tmp"});
    for (const std::string& name : made_) static_cast<void>(to_->remove(name));
    static_cast<void>(to_->remove_itself());
  }

  Directory& from_;
  const std::unique_ptr<Directory> to_;
  const Sharing sharing_;
  const Cancel cancel_;
  StoreFiles files_;
  std::vector<std::string> made_;
  std::vector<std::string> linked_;
  CopyStats stats_;
  bool is_begun_ = false;
  bool is_whole_ = false;
};

}  // namespace kyro
