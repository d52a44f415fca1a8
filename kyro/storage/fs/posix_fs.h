// The file system of a POSIX host (Linux calls where they matter: fallocate, fdatasync, flock).
//
// Thread rule: stateless but for file descriptors; every call may come from any thread.
// Ownership: a PosixFile closes its descriptor; a mapping lives on after its file is closed.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/decimal.h"
#include "kyro/storage/fs/fs.h"
#include "kyro/storage/fs/mapping_guard.h"

namespace kyro {
namespace posix_detail {

inline Status error(std::string_view call, const std::string& path, int number) {
  Code code = Code::kIoError;
  if (number == ENOENT) code = Code::kNotFound;
  if (number == EEXIST) code = Code::kExists;
  if (number == ENOSPC || number == EDQUOT) code = Code::kNoSpace;
  if (number == EMFILE || number == ENFILE || number == ENOMEM) code = Code::kBusy;
  const char* text = strerrordesc_np(number);
  std::string message(call);
  message.append(" ").append(path).append(": ").append(text != nullptr ? text : "unknown error");
  return Status(code, std::move(message));
}

// Repeats a system call that a signal interrupted.
template <class Call>
auto retry(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

class PosixMapping final : public Mapping {
 public:
  PosixMapping(void* address, size_t size, MappingGuard::Slot* guard)
      : address_(address), size_(size), guard_(guard) {}
  ~PosixMapping() override {
    MappingGuard::release(guard_);
    if (size_ > 0) munmap(address_, size_);
  }
  [[nodiscard]] bool has_lost_pages() const override {
    return guard_ != nullptr && guard_->has_lost_pages.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::span<const std::byte> bytes() const override {
    return {static_cast<const std::byte*>(address_), size_};
  }
  void advise(Access access) override {
    if (size_ == 0) return;
    if (access == Access::kResident) return map_resident();
    madvise(address_, size_, MADV_RANDOM);  // a hint: its failure changes nothing
  }
  void fetch(uint64_t begin, uint64_t end) override {
    begin -= begin % kPageBytes;
    end = std::min<uint64_t>(end, size_);
    while (begin < end) {
      const size_t bytes = std::min<uint64_t>(end - begin, kChunkPages * kPageBytes);
      // To ask for what is there costs more than to see that it is.
      if (residence(begin, bytes) == Residence::kPart) {
        madvise(static_cast<char*>(address_) + begin, bytes, MADV_WILLNEED);
      }
      begin += bytes;
    }
  }

 private:
  static constexpr size_t kPageBytes = 4096;
  static constexpr size_t kChunkPages = 256;
  enum class Residence : uint8_t { kAll, kPart, kUnknown };

  // How much of at most kChunkPages pages is in memory.
  [[nodiscard]] Residence residence(uint64_t at, size_t bytes) const {
    unsigned char in_memory[kChunkPages];
    if (mincore(static_cast<char*>(address_) + at, bytes, in_memory) != 0) {
      return Residence::kUnknown;
    }
    const size_t pages = (bytes + kPageBytes - 1) / kPageBytes;
    const auto is_there = [](unsigned char page) { return (page & 1) != 0; };
    return std::all_of(in_memory, in_memory + pages, is_there) ? Residence::kAll : Residence::kPart;
  }
  // Page by page a reader would pay for it. Not more at once than a moment's work: a fault of
  // another thread may have to wait for it.
  void map_resident() {
    constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ; older systems refuse it
    for (size_t at = 0; at < size_; at += kChunkPages * kPageBytes) {
      char* chunk = static_cast<char*>(address_) + at;
      const size_t bytes = std::min(size_ - at, kChunkPages * kPageBytes);
      const Residence found = residence(at, bytes);
      if (found == Residence::kUnknown) return;
      if (found == Residence::kAll && madvise(chunk, bytes, kPopulateRead) != 0) return;
    }
  }

  void* address_;
  size_t size_;
  MappingGuard::Slot* guard_;  // null for an empty file
};

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  Result<size_t> read_at(uint64_t position, void* to, size_t n) override {
    auto* out = static_cast<char*>(to);
    size_t done = 0;
    while (done < n) {
      const ssize_t got = retry([&] {
        return pread(fd_.get(), out + done, n - done, static_cast<off_t>(position + done));
      });
      if (got < 0) return error("read", path_, errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  Status write_at(uint64_t position, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t put = retry([&] {
        return pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(position));
      });
      if (put < 0) return error("write", path_, errno);
      if (put == 0) return error("write", path_, EIO);
      position += static_cast<uint64_t>(put);
      bytes.remove_prefix(static_cast<size_t>(put));
    }
    return Status();
  }

  Status sync() override {
    if (retry([&] { return fdatasync(fd_.get()); }) != 0) return error("fdatasync", path_, errno);
    return Status();
  }

  Status truncate(uint64_t size) override {
    if (retry([&] { return ftruncate(fd_.get(), static_cast<off_t>(size)); }) != 0) {
      return error("truncate", path_, errno);
    }
    return Status();
  }

  Result<uint64_t> next_data(uint64_t position) override {
    const off_t at = lseek(fd_.get(), static_cast<off_t>(position), SEEK_DATA);
    if (at >= 0) return static_cast<uint64_t>(at);
    if (errno == ENXIO) return size();  // nothing but zeros up to the end
    if (errno == EINVAL || errno == EOPNOTSUPP) return position;
    return error("lseek", path_, errno);
  }

  Status allocate(uint64_t size) override {
    if (size == 0) return Status();
    if (retry([&] { return fallocate(fd_.get(), 0, 0, static_cast<off_t>(size)); }) == 0) {
      return Status();
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) return Status();
    return error("allocate", path_, errno);
  }

  Result<uint64_t> size() override {
    struct stat info {};
    if (fstat(fd_.get(), &info) != 0) return error("stat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  Result<std::unique_ptr<Mapping>> map() override {
    auto bytes = size();
    KYRO_TRY(bytes);
    void* address = nullptr;
    if (*bytes > 0) {
      address = mmap(nullptr, *bytes, PROT_READ, MAP_SHARED, fd_.get(), 0);
      if (address == MAP_FAILED) return error("mmap", path_, errno);
    }
    MappingGuard::Slot* guard = *bytes > 0 ? MappingGuard::guard(address, *bytes) : nullptr;
    auto mapping = std::make_unique<PosixMapping>(address, *bytes, guard);
    if (*bytes > 0 && guard == nullptr) return error("mmap", path_, ENOMEM);
    return std::unique_ptr<Mapping>(std::move(mapping));
  }

  Status write_back(uint64_t begin, uint64_t end) override {
    const auto carry = [this](uint64_t from, uint64_t to, unsigned flags) {
      return from == to || retry([&] {
                             return sync_file_range(fd_.get(), static_cast<off_t>(from),
                                                    static_cast<off_t>(to - from), flags);
                           }) == 0;
    };
    constexpr unsigned kAndWait =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (carry(begin, end, SYNC_FILE_RANGE_WRITE) &&
        carry(begin - std::min(begin, end - begin), begin, kAndWait)) {
      return Status();
    }
    // What failed here is not reported to fdatasync any more.
    if (errno == EIO || errno == ENOSPC || errno == EDQUOT) return error("write", path_, errno);
    return Status();
  }

  void drop_cache() override {
    posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);  // a hint
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class PosixLock final : public FileLock {
 public:
  PosixLock(int fd, const std::string& path) : file_(fd, path) {}
  [[nodiscard]] PosixFile& file() { return file_; }

 private:
  PosixFile file_;
};

}  // namespace posix_detail

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    const bool is_read = mode == OpenMode::kRead || mode == OpenMode::kReadUncached;
    int flags = O_CLOEXEC | (is_read ? O_RDONLY : O_RDWR);
    if (mode == OpenMode::kReadUncached) flags |= O_DIRECT;
    if (mode == OpenMode::kCreate) flags |= O_CREAT | O_TRUNC;
    const int fd = posix_detail::retry([&] { return ::open(path.c_str(), flags, 0644); });
    if (fd < 0 && errno == EINVAL && mode == OpenMode::kReadUncached) {
      return Status(Code::kUnsupported, "open " + path + ": cannot be read uncached");
    }
    if (fd < 0) return posix_detail::error("open", path, errno);
    return std::unique_ptr<File>(std::make_unique<posix_detail::PosixFile>(fd, path));
  }

  Result<std::vector<std::string>> list(const std::string& dir) override {
    DIR* stream = opendir(dir.c_str());
    if (stream == nullptr) return posix_detail::error("list", dir, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int failure = errno;
    closedir(stream);
    if (failure != 0) return posix_detail::error("list", dir, failure);
    return names;
  }

  Status make_dir(const std::string& dir) override {
    if (mkdir(dir.c_str(), 0755) == 0) return Status();
    struct stat info {};
    if (errno == EEXIST && stat(dir.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return Status();
    return posix_detail::error("mkdir", dir, errno == EEXIST ? ENOTDIR : errno);
  }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return posix_detail::error("rename", from, errno);
    return Status();
  }

  Status link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) == 0) return Status();
    const bool needs_copy =
        errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP;
    if (needs_copy) return Status(Code::kUnsupported, "link " + from + ": not possible there");
    return posix_detail::error("link", from, errno);
  }

  Status remove(const std::string& path) override {
    if (::remove(path.c_str()) != 0) return posix_detail::error("remove", path, errno);
    return Status();
  }

  Status sync_dir(const std::string& dir) override {
    const posix_detail::Descriptor fd(posix_detail::retry(
        [&] { return ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (fd.get() < 0) return posix_detail::error("open", dir, errno);
    if (posix_detail::retry([&] { return fsync(fd.get()); }) != 0) {
      return posix_detail::error("fsync", dir, errno);
    }
    return Status();
  }

  // The file holds the pid of its holder, so that whoever is refused can say who has it; not where
  // it cannot be written to, which is no hindrance to those who only read.
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    int fd = posix_detail::retry(
        [&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644); });
    const bool may_not_write = fd < 0 && (errno == EROFS || errno == EACCES);
    if (may_not_write) {
      fd = posix_detail::retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
      if (fd < 0 && errno == ENOENT) {
        return Status(Code::kIoError, "lock " + path +
                                          ": it is not there and the directory is read-only, so it "
                                          "cannot be taken");
      }
    }
    if (fd < 0) return posix_detail::error("open", path, errno);
    auto held = std::make_unique<posix_detail::PosixLock>(fd, path);
    if (posix_detail::retry([&] { return flock(fd, LOCK_EX | LOCK_NB); }) != 0) {
      if (errno != EWOULDBLOCK) return posix_detail::error("lock", path, errno);
      char pid[24] = {};
      const auto got = held->file().read_at(0, pid, sizeof pid);
      std::string holder(pid, got.ok() ? *got : 0);
      holder.erase(std::remove(holder.begin(), holder.end(), '\n'), holder.end());
      return Status(Code::kBusy, path + ": in use by process " + (holder.empty() ? "?" : holder));
    }
    if (may_not_write) return std::unique_ptr<FileLock>(std::move(held));
    std::string pid;
    append_decimal(pid, static_cast<uint64_t>(getpid()));
    pid += '\n';
    KYRO_TRY(held->file().truncate(0));
    KYRO_TRY(held->file().write_at(0, pid));
    return std::unique_ptr<FileLock>(std::move(held));
  }

  Result<uint64_t> free_bytes(const std::string& dir) override {
    struct statvfs info {};
    if (statvfs(dir.c_str(), &info) != 0) return posix_detail::error("statvfs", dir, errno);
    return static_cast<uint64_t>(info.f_bavail) * static_cast<uint64_t>(info.f_frsize);
  }
};

}  // namespace kyro
