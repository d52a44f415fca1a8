// Taking hold of a data directory that no engine runs on.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kyro/storage/fs/fs.h"
#include "kyro/storage/manifest.h"

namespace kyro {

struct OfflineStore {
  std::unique_ptr<FileLock> lock;
  std::string manifest_text;  // not decoded: it may be damaged
};

// Locks `dir` and reads its manifest. kNotFound where there is no store, kBusy where an engine has
// it.
[[nodiscard]] inline Result<OfflineStore> open_offline(FileSystem& fs, const std::string& dir) {
  const std::string manifest_path = dir + "/" + kManifestName;
  auto text = read_small_file(fs, manifest_path, kManifestBytesMax);
  if (!text.ok() && text.status().code() == Code::kNotFound) {
    return Status(Code::kNotFound,
                  dir + ": no KyroDB store there (" + kManifestName + " is missing)");
  }
  KYRO_TRY(text);
  auto lock = fs.lock(dir + "/LOCK");
  KYRO_TRY(lock);
  text = read_small_file(fs, manifest_path, kManifestBytesMax);  // nobody changes it any more
  KYRO_TRY(text);
  return OfflineStore{std::move(*lock), std::move(*text)};
}

}  // namespace kyro
