// Taking hold of a data directory that no engine runs on, or of a backup in one file.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kyro/storage/fs/fs.h"
#include "kyro/storage/fs/tar_directory.h"
#include "kyro/storage/manifest.h"

namespace kyro {

struct OfflineStore {
  std::unique_ptr<Directory> dir;  // locked for reading
  std::string manifest_text;       // not decoded: it may be damaged
};

// The directory at `path`, or what the tar archive there holds.
[[nodiscard]] inline Result<std::unique_ptr<Directory>> open_store_dir(FileSystem& fs,
                                                                       const std::string& path) {
  auto opened = fs.open_dir(path, DirMode::kExisting);
  if (opened.status().code() != Code::kIoError || path.ends_with('/')) return opened;
  auto above = fs.open_dir(parent_dir(path), DirMode::kExisting);
  if (!above.ok()) return opened;
  auto file = (*above)->open(path.substr(path.rfind('/') + 1), OpenMode::kRead);
  KYRO_TRY(file);
  return TarDirectory::open(std::move(*file), path);
}

// Locks `dir` and reads its manifest; writes nothing. kNotFound where there is no store,
// kCorruption where there is one without a manifest, kBusy where an engine has it.
[[nodiscard]] inline Result<OfflineStore> open_offline(FileSystem& fs, const std::string& dir) {
  auto opened = open_store_dir(fs, dir);
  auto text = opened.ok() ? read_small_file(**opened, kManifestName, kManifestBytesMax)
                          : Result<std::string>(opened.status());
  if (!text.ok() && text.status().code() == Code::kNotFound) {
    const auto names = opened.ok() ? (*opened)->list() : opened.status();
    if (names.ok()) KYRO_TRY(check_no_data(*names));
    return Status(Code::kNotFound,
                  dir + ": no KyroDB store there (" + kManifestName + " is missing)");
  }
  KYRO_TRY(text);
  KYRO_TRY((*opened)->lock(LockKind::kReader));
  // Nobody changes it any more.
  text = read_small_file(**opened, kManifestName, kManifestBytesMax);
  KYRO_TRY(text);
  return OfflineStore{std::move(*opened), std::move(*text)};
}

}  // namespace kyro
