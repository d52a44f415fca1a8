// A directory of a POSIX host: one descriptor, and calls relative to it.
//
// An owner holds two locks: that of the file LOCK in it, which every version of KyroDB respects,
// and that of the directory itself, which needs no file and stays with it whatever happens to LOCK.
// Readers share both, as far as they are there.
//
// Thread rule and ownership: see Directory.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/log/log.h"
#include "kyro/base/text/decimal.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/fs/posix_file.h"

namespace kyro {
namespace posix_detail {

// What a file or directory is, apart from its names.
struct Identity {
  dev_t device = 0;
  ino_t inode = 0;
  explicit Identity(const struct stat& info) : device(info.st_dev), inode(info.st_ino) {}
  Identity() = default;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// Says that the name of something in `parent` could not be made durable, which is no failure where
// that directory is not ours to open.
inline Status sync_parent(int fd, const std::string& path) {
  if (fd < 0 && (errno == EACCES || errno == EPERM)) {
    log_event(
        LogLevel::kWarn, "parent_not_synced",
        {{"dir", path}, {"reason", error("open the directory above", path, errno).message()}});
    return Status();
  }
  if (fd < 0) return error("open the directory above", path, errno);
  const Descriptor parent(fd);
  if (retry([&] { return fsync(parent.get()); }) == 0) return Status();
  if (errno == EINVAL || errno == EROFS) return Status();  // nothing that could be synced
  return error("fsync the directory above", path, errno);
}

class PosixDirectory final : public Directory {
 public:
  // `path` is absolute, so that it names the same whatever the working directory becomes.
  PosixDirectory(int fd, std::string shown_path, std::string path)
      : fd_(fd), shown_path_(std::move(shown_path)), path_(std::move(path)) {
    struct stat info {};
    if (fstat(fd, &info) == 0) identity_ = Identity(info);
  }

  [[nodiscard]] const std::string& path() const override { return shown_path_; }

  Result<std::unique_ptr<File>> open(const std::string& name, OpenMode mode) override {
    if (mode == OpenMode::kCreate) return create(name);
    const bool is_read = mode != OpenMode::kReadWrite;
    int flags = is_read ? O_RDONLY : O_RDWR;
    if (mode == OpenMode::kReadUncached) flags |= O_DIRECT;
    const int fd = open_at(name, flags);
    if (fd < 0 && errno == EINVAL && mode == OpenMode::kReadUncached) {
      return Status(Code::kUnsupported, "open " + name_of(name) + ": cannot be read uncached");
    }
    if (fd < 0) return open_error(name);
    auto file = std::make_unique<PosixFile>(fd, name_of(name));
    struct stat info {};
    if (fstat(fd, &info) != 0) return error("stat", name_of(name), errno);
    if (!S_ISREG(info.st_mode)) return not_a_file(name);
    return std::unique_ptr<File>(std::move(file));
  }

  Result<std::vector<std::string>> list() override {
    const int fd =
        retry([&] { return openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    DIR* stream = fd >= 0 ? fdopendir(fd) : nullptr;
    if (stream == nullptr) {
      const int failure = errno;
      if (fd >= 0) close(fd);
      return error("list", shown_path_, failure);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int failure = errno;
    closedir(stream);
    if (failure != 0) return error("list", shown_path_, failure);
    return names;
  }

  Status rename(const std::string& from, const std::string& to) override {
    KYRO_TRY(check_ownership());
    if (renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) == 0) return Status();
    return error("rename", name_of(from), errno);
  }

  Status link(const std::string& name, Directory& to) override {
    auto& target = static_cast<PosixDirectory&>(to);
    KYRO_TRY(target.check_ownership());
    if (linkat(fd_.get(), name.c_str(), target.fd_.get(), name.c_str(), 0) == 0) return Status();
    const bool needs_copy =
        errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP;
    if (needs_copy) return Status(Code::kUnsupported, "link " + name + ": not possible there");
    return error("link", name_of(name), errno);
  }

  Status remove(const std::string& name) override {
    KYRO_TRY(check_ownership());
    if (unlinkat(fd_.get(), name.c_str(), 0) == 0) return Status();
    return error("remove", name_of(name), errno);
  }

  Status sync() override {
    if (retry([&] { return fsync(fd_.get()); }) == 0) return Status();
    return error("fsync", shown_path_, errno);
  }

  Status sync_own_name() override {
    return sync_parent(
        retry([&] { return openat(fd_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }),
        shown_path_);
  }

  Status remove_itself() override {
    KYRO_TRY(check_place());
    if (rmdir(path_.c_str()) == 0) return Status();
    return error("remove", shown_path_, errno);
  }

  Status lock(LockKind kind) override;
  Status check_place() override;

  Result<uint64_t> free_bytes() override {
    struct statvfs info {};
    if (fstatvfs(fd_.get(), &info) != 0) return error("statvfs", shown_path_, errno);
    return static_cast<uint64_t>(info.f_bavail) * static_cast<uint64_t>(info.f_frsize);
  }
  Result<uint64_t> total_bytes() override {
    struct statvfs info {};
    if (fstatvfs(fd_.get(), &info) != 0) return error("statvfs", shown_path_, errno);
    return static_cast<uint64_t>(info.f_blocks) * static_cast<uint64_t>(info.f_frsize);
  }

  [[nodiscard]] bool is_open_to_others() override {
    struct stat info {};
    return fstat(fd_.get(), &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0;
  }

 private:
  [[nodiscard]] std::string name_of(const std::string& name) const {
    return shown_path_ + "/" + name;
  }

  // Never waits for the other end of a pipe, never follows a symbolic link.
  [[nodiscard]] int open_at(const std::string& name, int flags) const {
    return retry([&] {
      return openat(fd_.get(), name.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                    S_IRUSR | S_IWUSR);
    });
  }

  [[nodiscard]] Status not_a_file(const std::string& name) const {
    return Status(Code::kIoError, "open " + name_of(name) + ": not a regular file");
  }
  [[nodiscard]] Status open_error(const std::string& name) const {
    if (errno == ELOOP || errno == ENXIO || errno == EISDIR) return not_a_file(name);
    return error("open", name_of(name), errno);
  }

  // The name is removed and the file made anew: what is there may be linked or mapped by others.
  Result<std::unique_ptr<File>> create(const std::string& name) {
    KYRO_TRY(check_ownership());
    constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL;
    int fd = open_at(name, kFlags);
    if (fd < 0 && errno == EEXIST) {
      KYRO_TRY(remove(name));
      fd = open_at(name, kFlags);
    }
    if (fd < 0) return open_error(name);
    return std::unique_ptr<File>(std::make_unique<PosixFile>(fd, name_of(name)));
  }

  // Before anything that changes a name. A directory that nobody has locked as its own is the
  // business of whoever made it.
  Status check_ownership() { return is_owner_ ? check_place() : Status(); }

  Status lock_directory(int operation);
  Status lock_file(LockKind kind, int operation);
  Status in_use();
  void leave_pid();
  [[nodiscard]] Status displaced(const std::string& what) const;

  Descriptor fd_;
  const std::string shown_path_;
  const std::string path_;
  Identity identity_;
  bool is_owner_ = false;
  std::unique_ptr<PosixFile> lock_;  // LOCK; null if there is none
  Identity lock_identity_;
};

// An owner keeps out every other, a reader only owners. Where a kind of lock does not exist (some
// network file systems lock no directories) the other one has to do.
inline Status PosixDirectory::lock(LockKind kind) {
  const int operation = (kind == LockKind::kOwner ? LOCK_EX : LOCK_SH) | LOCK_NB;
  KYRO_TRY(lock_directory(operation));
  KYRO_TRY(lock_file(kind, operation));
  is_owner_ = kind == LockKind::kOwner;
  return Status();
}

inline Status PosixDirectory::lock_directory(int operation) {
  if (retry([&] { return flock(fd_.get(), operation); }) == 0) return Status();
  return errno == EWOULDBLOCK ? in_use() : Status();
}

inline Status PosixDirectory::lock_file(LockKind kind, int operation) {
  const bool is_reader = kind == LockKind::kReader;
  int fd = open_at(kLockName, is_reader ? O_RDONLY : O_RDWR | O_CREAT);
  const bool may_not_write = fd < 0 && !is_reader && (errno == EROFS || errno == EACCES);
  if (may_not_write) fd = open_at(kLockName, O_RDONLY);
  // Nothing to hold: the directory's own lock is proof enough, for a reader, and for an owner on a
  // disk so full that it takes no name more.
  if (fd < 0 && errno == ENOENT && is_reader) return Status();
  if (fd < 0 && (errno == ENOSPC || errno == EDQUOT)) return Status();
  if (fd < 0) return open_error(kLockName);
  auto file = std::make_unique<PosixFile>(fd, name_of(kLockName));
  if (retry([&] { return flock(fd, operation); }) != 0) {
    if (errno == EWOULDBLOCK) return in_use();
    return error("lock", name_of(kLockName), errno);
  }
  struct stat info {};
  if (fstatat(fd_.get(), kLockName, &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return error("stat", name_of(kLockName), errno);
  }
  lock_identity_ = Identity(info);
  if (fstat(fd, &info) != 0) return error("stat", name_of(kLockName), errno);
  if (!S_ISREG(info.st_mode)) return not_a_file(kLockName);
  if (Identity(info) != lock_identity_) return in_use();  // replaced at this moment
  lock_ = std::move(file);
  if (!is_reader && !may_not_write) leave_pid();
  return Status();
}

// The file holds the pid of its owner, so that whoever is refused can say who has it. That is a
// courtesy: a full disk does not stop a start.
inline void PosixDirectory::leave_pid() {
  std::string pid;
  append_decimal(pid, static_cast<uint64_t>(getpid()));
  pid += '\n';
  if (lock_->write_at(0, pid).ok()) {
    static_cast<void>(lock_->truncate(pid.size()));
  } else {
    static_cast<void>(lock_->truncate(0));  // better nobody's than a wrong one
  }
}

inline Status PosixDirectory::in_use() {
  std::string holder;
  if (const int fd = open_at(kLockName, O_RDONLY); fd >= 0) {
    PosixFile file(fd, name_of(kLockName));
    char pid[24];
    const auto got = file.read_at(0, pid, sizeof pid);
    holder.assign(pid, got.ok() ? *got : 0);
    // Only readers are there if a reader may join them, and they leave no pid.
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) holder.clear();
  }
  holder.erase(std::remove(holder.begin(), holder.end(), '\n'), holder.end());
  return Status(Code::kBusy, name_of(kLockName) + ": in use by " +
                                 (holder.empty() ? "another process" : "process " + holder));
}

inline Status PosixDirectory::displaced(const std::string& what) const {
  char now[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd_.get());
  const ssize_t size = readlink(link.c_str(), now, sizeof now);
  std::string message = "data directory " + path_ + ": " + what;
  if (size > 0)
    message += "; the one that was opened is " + std::string(now, static_cast<size_t>(size));
  return Status(Code::kReadOnly, message + "; nothing more is written");
}

inline Status PosixDirectory::check_place() {
  struct stat info {};
  if (stat(path_.c_str(), &info) == 0) {
    if (Identity(info) != identity_) return displaced("another directory is at its place");
  } else if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) {
    return displaced("it is not at its place any more");
  }  // any other failure says nothing about who is there
  if (lock_ == nullptr) return Status();
  if (fstatat(fd_.get(), kLockName, &info, AT_SYMLINK_NOFOLLOW) == 0) {
    if (Identity(info) != lock_identity_) return displaced("its LOCK has been replaced");
  } else if (errno == ENOENT) {
    return displaced("its LOCK has been removed");
  }
  return Status();
}

}  // namespace posix_detail
}  // namespace kyro
