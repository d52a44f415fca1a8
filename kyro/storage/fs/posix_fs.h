// The file system of a POSIX host: opens directories.
//
// Thread rule: stateless; any thread.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <memory>
#include <string>

#include "kyro/storage/fs/fs.h"
#include "kyro/storage/fs/posix_directory.h"

namespace kyro {

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<Directory>> open_dir(const std::string& path, DirMode mode) override {
    using namespace posix_detail;
    const bool is_own = mode == DirMode::kOwnName || mode == DirMode::kExistingName;
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (is_own ? O_NOFOLLOW : 0);
    const auto open = [&] { return retry([&] { return ::open(path.c_str(), flags); }); };
    int fd = open();
    const bool makes_it = mode == DirMode::kCreate || mode == DirMode::kOwnName;
    if (fd < 0 && errno == ENOENT && makes_it) {
      KYRO_TRY(make_dir(path, mode));
      fd = open();
      if (fd < 0 && errno == ENOENT) {
        return Status(Code::kIoError, path + ": a symbolic link to a place that is not there");
      }
    }
    if (fd < 0 && is_own && (errno == ENOTDIR || errno == ELOOP)) {
      return Status(Code::kExists, path + ": there is something that is no directory");
    }
    if (fd < 0) return error("open", path, errno);
    return std::unique_ptr<Directory>(
        std::make_unique<PosixDirectory>(fd, without_final_slashes(path), absolute(path)));
  }

 private:
  static std::string without_final_slashes(std::string path) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    return path;
  }

  static std::string absolute(const std::string& path) {
    char here[PATH_MAX];
    if (path.starts_with('/') || getcwd(here, sizeof here) == nullptr) return path;
    return std::string(here) + "/" + path;
  }

  // Makes a directory, under kCreate with those above it, each with a durable name.
  static Status make_dir(const std::string& path, DirMode mode) {
    using namespace posix_detail;
    const std::string above = parent_dir(path);
    int made = mkdir(path.c_str(), S_IRWXU);
    if (made != 0 && errno == ENOENT && mode == DirMode::kCreate && above != path) {
      KYRO_TRY(make_dir(above, mode));
      made = mkdir(path.c_str(), S_IRWXU);
    }
    if (made != 0) return errno == EEXIST ? Status() : error("mkdir", path, errno);
    return sync_parent(
        retry([&] { return ::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }), path);
  }
};

}  // namespace kyro
