// The file system as the storage engine sees it: the one seam between KyroDB and an operating
// system.
//
// Everything durable goes through a Directory and its Files, so a test that replaces them can lose,
// tear and fail what it likes. A path is used once, to open a directory.
//
// Durability contract, which the simulated file system enforces:
//   - bytes written are durable after File::sync of that file (data and size);
//   - a name created, renamed or removed is durable after Directory::sync;
//   - rename replaces its target atomically; Directory::sync makes the replacement durable;
//   - rewriting a sector does not harm bytes in it that were synced before (assumption on the
//   medium).
//
// Errors: kNotFound for a missing file, kExists for a name that is taken, kNoSpace for a full disk
// or quota, kBusy when the process is out of descriptors or memory for now, else kIoError; the
// message names the call and the path.
//
// Thread rule: any thread.
#pragma once

#include <memory>
#include <string>

#include "kyro/base/status.h"
#include "kyro/storage/fs/directory.h"

namespace kyro {

enum class DirMode : uint8_t {
  kExisting,      // must be there
  kCreate,        // made if it is not there, and what is missing above it
  kOwnName,       // made if it is not there; the last part of the path must not be a symbolic link
  kExistingName,  // must be there; the same of its last part
};

class FileSystem {
 public:
  FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;
  virtual ~FileSystem() = default;

  // What is made has a durable name when this returns, as far as Directory::sync_own_name() can do
  // that.
  [[nodiscard]] virtual Result<std::unique_ptr<Directory>> open_dir(const std::string& path,
                                                                    DirMode mode) = 0;
};

// The directory that holds the name of `path`.
[[nodiscard]] inline std::string parent_dir(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace kyro
