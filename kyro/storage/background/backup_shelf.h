// The backups below a directory: which there are, and taking one away.
//
// A backup is a directory of files of a store and nothing else, reached without a symbolic link. A
// store that was ever served has a LOCK; it is no backup (any more), is not listed and not removed,
// and neither is anything that has a file in it which is none of ours.
//
// A backup is removed beginning with its manifest, so one that is half removed is no store.
//
// Thread rule: one thread, that which makes the backups.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/base/text/backup_name.h"
#include "kyro/storage/fs/fs.h"
#include "kyro/storage/job.h"
#include "kyro/storage/manifest.h"

namespace kyro {
namespace shelf_detail {

// The backup's directory and what is in it; kNotFound if it is none.
inline Result<std::unique_ptr<Directory>> open_backup(FileSystem& fs, const std::string& shelf,
                                                      const std::string& name,
                                                      std::vector<std::string>* files) {
  const Status none(Code::kNotFound, "there is no backup of that name");
  auto dir = fs.open_dir(shelf + "/" + name, DirMode::kExistingName);
  if (dir.status().code() == Code::kExists || dir.status().code() == Code::kNotFound) return none;
  KYRO_TRY(dir);
  auto names = (*dir)->list();
  KYRO_TRY(names);
  for (const std::string& file : *names) {
    if (file != kManifestName && !is_data_name(file) && !is_temporary_name(file)) return none;
  }
  *files = std::move(*names);
  return dir;
}

inline Result<BackupInfo> describe(Directory& dir, const std::string& name,
                                   const std::vector<std::string>& files) {
  BackupInfo info{.name = name, .files = files.size()};
  for (const std::string& file_name : files) {
    auto file = dir.open(file_name, OpenMode::kRead);
    KYRO_TRY(file);
    auto bytes = (*file)->size();
    KYRO_TRY(bytes);
    info.bytes += *bytes;
    if (file_name != kManifestName) continue;
    info.made_secs = (*file)->modified_secs();
    const auto text = read_small_file(dir, kManifestName, kManifestBytesMax);
    KYRO_TRY(text);
    const auto manifest = decode_manifest(*text);
    if (manifest.ok()) info.next_offset = manifest->next_offset;
    info.is_whole = manifest.ok();
  }
  return info;
}

}  // namespace shelf_detail

// By name, at most kListedBackupsMax. Errors: kIoError, kBusy.
inline Result<std::vector<BackupInfo>> list_backups(FileSystem& fs, const std::string& shelf,
                                                    const Cancel& cancel) {
  std::vector<BackupInfo> out;
  auto dir = fs.open_dir(shelf, DirMode::kExisting);
  if (dir.status().code() == Code::kNotFound) return out;
  KYRO_TRY(dir);
  auto names = (*dir)->list();
  KYRO_TRY(names);
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names) {
    if (!is_backup_name(name)) continue;
    if (out.size() == kListedBackupsMax) break;
    KYRO_TRY(cancel.check());
    std::vector<std::string> files;
    const auto backup = shelf_detail::open_backup(fs, shelf, name, &files);
    if (backup.status().code() == Code::kNotFound) continue;
    KYRO_TRY(backup);
    const auto info = shelf_detail::describe(**backup, name, files);
    KYRO_TRY(info);
    out.push_back(*info);
  }
  return out;
}

// kNotFound where there is no backup of that name.
inline Status remove_backup(FileSystem& fs, const std::string& shelf, const std::string& name) {
  std::vector<std::string> files;
  auto dir = shelf_detail::open_backup(fs, shelf, name, &files);
  KYRO_TRY(dir);
  const auto manifest = std::find(files.begin(), files.end(), kManifestName);
  if (manifest != files.end()) {
    KYRO_TRY((*dir)->remove(kManifestName));
    KYRO_TRY((*dir)->sync());
    files.erase(manifest);
  }
  for (const std::string& file : files) KYRO_TRY((*dir)->remove(file));
  return (*dir)->remove_itself();
}

}  // namespace kyro
