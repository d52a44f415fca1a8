// Taking hold of a data directory that no engine runs on.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kyro/storage/fs/fs.h"
#include "kyro/storage/manifest.h"

namespace kyro {

struct OfflineStore {
  std::unique_ptr<Directory> dir;  // locked for reading
  std::string manifest_text;       // not decoded: it may be damaged
};

// Locks `dir` and reads its manifest; writes nothing. kNotFound where there is no store,
// kCorruption where there is one without a manifest, kBusy where an engine has it.
[[nodiscard]] inline Result<OfflineStore> open_offline(FileSystem& fs, const std::string& dir) {
  auto opened = fs.open_dir(dir, DirMode::kExisting);
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
