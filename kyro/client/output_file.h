// A file that a command writes, or standard output for "-".
//
// A file is written under the name FILE.PID.partial and renamed when it is whole and synced, so
// that a broken one is never taken for a good one.
//
// Thread rule: one thread. Ownership: closes the file, and removes it if finish() was not reached.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace kyro {
namespace ctl {

class OutputFile {
 public:
  // A new file is for whom `mode` says, as far as the umask agrees.
  explicit OutputFile(const std::string& path, mode_t mode = 0666) : path_(path) {
    struct stat info {};
    if (path == "-") {
      file_ = stdout;
    } else if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
      file_ = std::fopen(path.c_str(), "we");  // a device or a pipe
    } else {
      // A name of its own and a new file: what is there already is nobody's to overwrite. Through a
      // link the file it leads to is replaced, and whoever could not read it cannot afterwards.
      const bool exists = stat(path.c_str(), &info) == 0;
      if (char* real = exists ? realpath(path.c_str(), nullptr) : nullptr; real != nullptr) {
        path_ = real;
        std::free(real);
      }
      partial_ = path_ + "." + std::to_string(getpid()) + ".partial";
      const int fd = open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
      if (fd < 0) {
        partial_.clear();  // not ours to remove
        return;
      }
      if (exists) static_cast<void>(fchmod(fd, info.st_mode & 07777));
      file_ = fdopen(fd, "w");
    }
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile() {
    if (file_ != nullptr && file_ != stdout) std::fclose(file_);
    if (!partial_.empty()) unlink(partial_.c_str());
  }

  [[nodiscard]] bool write(std::string_view bytes) {
    return file_ != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size();
  }

  // Everything has arrived; false with errno if not.
  [[nodiscard]] bool finish() {
    if (file_ == nullptr || std::fflush(file_) != 0) return false;
    if (partial_.empty()) return true;
    if (fsync(fileno(file_)) != 0 || std::rename(partial_.c_str(), path_.c_str()) != 0)
      return false;
    partial_.clear();
    return sync_directory();
  }
  [[nodiscard]] bool is_open() const { return file_ != nullptr; }

 private:
  // So that the name is there after a power cut.
  [[nodiscard]] bool sync_directory() const {
    const size_t slash = path_.rfind('/');
    const std::string above = slash == path_.npos ? "." : path_.substr(0, slash + 1);
    const int fd = open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES;  // not ours to read
    const bool is_synced = fsync(fd) == 0 || errno == EINVAL || errno == EROFS;
    close(fd);
    return is_synced;
  }

  std::string path_;
  std::string partial_;  // to be renamed or removed
  FILE* file_ = nullptr;
};

}  // namespace ctl
}  // namespace kyro
