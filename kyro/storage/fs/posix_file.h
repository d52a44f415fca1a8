// Files of a POSIX host (Linux calls where they matter: fallocate, fdatasync, sync_file_range).
//
// Thread rule: stateless but for file descriptors; every call may come from any thread.
// Ownership: a PosixFile closes its descriptor; a mapping lives on after its file is closed.
#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "kyro/storage/fs/file.h"
#include "kyro/storage/fs/mapping_guard.h"

namespace kyro {

// How often a file could not be opened because descriptors had run out: for who can give some back.
[[nodiscard]] inline std::atomic<uint64_t>& descriptor_shortages() {
  static std::atomic<uint64_t> count{0};
  return count;
}

namespace posix_detail {

inline Status error(std::string_view call, const std::string& path, int number) {
  Code code = Code::kIoError;
  if (number == ENOENT) code = Code::kNotFound;
  if (number == EEXIST) code = Code::kExists;
  if (number == ENOSPC || number == EDQUOT || number == EFBIG) code = Code::kNoSpace;
  if (number == EMFILE || number == ENFILE || number == ENOMEM) code = Code::kBusy;
  if (number == EMFILE || number == ENFILE) {
    descriptor_shortages().fetch_add(1, std::memory_order_relaxed);
  }
  const char* text = strerrordesc_np(number);
  std::string message(call);
  message.append(" ").append(path).append(": ").append(text != nullptr ? text : "unknown error");
  if (number == EFBIG) message += " (a limit of this process, ulimit -f, or of the file system)";
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
    // Of file systems that cannot, and of filters of system calls that will not.
    const bool is_unsupported =
        errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL || errno == EPERM;
    if (is_unsupported) return Status();
    return error("allocate", path_, errno);
  }

  Result<uint64_t> size() override {
    struct stat info {};
    if (fstat(fd_.get(), &info) != 0) return error("stat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  uint64_t modified_secs() override {
    struct stat info {};
    if (fstat(fd_.get(), &info) != 0 || info.st_mtime < 0) return 0;
    return static_cast<uint64_t>(info.st_mtime);
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

  [[nodiscard]] bool overwrites_in_place() override {
    struct statfs info {};
    if (fstatfs(fd_.get(), &info) != 0) return false;
    const auto type = static_cast<uint32_t>(info.f_type);
    return type == EXT4_SUPER_MAGIC || type == XFS_SUPER_MAGIC;
  }

  [[nodiscard]] bool share_blocks(File& from, uint64_t bytes) override {
    const int source = static_cast<PosixFile&>(from).fd_.get();
    if (retry([&] { return ioctl(fd_.get(), FICLONE, source); }) != 0) return false;
    return truncate(bytes).ok();
  }

  void drop_cache() override {
    posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);  // a hint
  }

 private:
  Descriptor fd_;
  std::string path_;
};

}  // namespace posix_detail
}  // namespace kyro
