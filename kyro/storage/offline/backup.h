// Backups of directories that no process uses, and restores (how files are copied: store_copy.h).
//
// A backup is a store: verify, dump and restore take it, and so would serve, but then it is no
// backup any more. A restored store is a new database: its id is fresh, because numbering after the
// restored point is its own, and subscribers can tell that by the id. Unless it becomes a replica:
// what comes after that point it takes from the log that it shares.
#pragma once

#include <string>
#include <utility>

#include "kyro/storage/background/store_copy.h"
#include "kyro/storage/offline/offline.h"
#include "kyro/storage/offline/verify.h"

namespace kyro {

namespace backup_detail {

inline Result<CopyStats> copy_directory(FileSystem& fs, const std::string& from,
                                        const std::string& to, const std::string& database_id,
                                        Sharing sharing) {
  auto store = open_offline(fs, from);
  KYRO_TRY(store);
  auto manifest = decode_manifest(store->manifest_text);
  KYRO_TRY(manifest);
  if (database_id.empty()) KYRO_TRY(check_for_opening(*store->dir, *manifest));
  auto directory = fs.open_dir(to, DirMode::kCreate);
  KYRO_TRY(directory);
  StoreCopy copy(*store->dir, std::move(*directory), sharing);
  KYRO_TRY(copy.begin());
  KYRO_TRY(copy.gather(*manifest));
  return copy.finish({}, database_id);
}

}  // namespace backup_detail

// Of a directory that no process uses and that an engine would open. A torn tail of its log is left
// out. Errors: kBusy (in use), kNotFound (no store), kExists (something is at `to`), kCorruption,
// kNoSpace, kIoError.
inline Result<CopyStats> backup_directory(FileSystem& fs, const std::string& from,
                                          const std::string& to) {
  return backup_detail::copy_directory(fs, from, to, {}, Sharing::kLinked);
}

enum class Restored : uint8_t {
  kNewDatabase,
  kReplica,  // keeps the id
};

// Makes a store at `to` out of a backup that is sound from end to end, sharing nothing with it
// unless that is wished.
inline Result<CopyStats> restore_directory(FileSystem& fs, const std::string& backup,
                                           const std::string& to, Sharing sharing = Sharing::kNone,
                                           Restored as = Restored::kNewDatabase) {
  auto report = verify_directory(fs, backup);
  KYRO_TRY(report);
  if (!report->damage.empty()) {
    return Status(Code::kCorruption, backup + ": the backup is damaged: " + report->damage[0]);
  }
  const std::string id = as == Restored::kReplica ? std::string() : new_database_id();
  return backup_detail::copy_directory(fs, backup, to, id, sharing);
}

}  // namespace kyro
