// The file system as the storage engine sees it: the one seam between KyroDB and an operating
// system.
//
// Everything durable goes through these calls, so a test that replaces them can lose, tear and fail
// what it likes. EINTR, short reads and short writes end behind this interface. Paths are whole
// ("data/wal-….log"); there is no working directory.
//
// Durability contract, which the simulated file system enforces:
//   - bytes written are durable after File::sync of that file (data and size);
//   - a name created, renamed or removed is durable after FileSystem::sync_dir of its directory;
//   - rename replaces its target atomically; sync_dir makes the replacement durable;
//   - rewriting a sector does not harm bytes in it that were synced before (assumption on the
//   medium).
//
// Errors: kNotFound for a missing file, kExists for a name that is taken, kNoSpace for a full disk
// or quota, kBusy when the process is out of descriptors or memory for now, else kIoError; the
// message names the call and the path. Thread rule: a FileSystem and a File may be used by several
// threads.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kyro/base/status.h"

namespace kyro {

// How a mapping will be used; a hint only.
enum class Access : uint8_t {
  kRandom,
  kResident,  // what of it is in memory now will be read without a page fault
};

// A read-only view of a whole file, valid until destroyed, whatever happens to the file's name.
class Mapping {
 public:
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  virtual ~Mapping() = default;
  [[nodiscard]] virtual std::span<const std::byte> bytes() const = 0;
  virtual void advise(Access access) = 0;
  // Begins to read what of [begin, end) is not in memory, without waiting for it: a hint. The end
  // may lie behind that of the file.
  virtual void fetch(uint64_t begin, uint64_t end) = 0;
  // Pages of it could not be read (a bad sector, a truncation from outside) and show zeros instead.
  [[nodiscard]] virtual bool has_lost_pages() const { return false; }
};

class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;

  // Reads up to `n` bytes at `position`; fewer only where the file ends.
  [[nodiscard]] virtual Result<size_t> read_at(uint64_t position, void* to, size_t n) = 0;
  // Writes all of it; after a failure the bytes at [position, position + n) are unknown.
  virtual Status write_at(uint64_t position, std::string_view bytes) = 0;
  // Makes everything written so far durable. A failure is final: the kernel may have dropped pages.
  virtual Status sync() = 0;
  virtual Status truncate(uint64_t size) = 0;
  // Reserves blocks for [0, size) and makes the file at least that long, so that later writes and
  // syncs move no metadata. Where the file system cannot, the file keeps its length and this is ok.
  virtual Status allocate(uint64_t size) = 0;
  [[nodiscard]] virtual Result<uint64_t> size() = 0;
  // The first position >= `position` whose byte may differ from zero, or the size: skips blocks
  // that were reserved and never written. Where the file system cannot tell, `position` itself.
  [[nodiscard]] virtual Result<uint64_t> next_data(uint64_t position) { return position; }
  [[nodiscard]] virtual Result<std::unique_ptr<Mapping>> map() = 0;
  // Begins to carry what was written in [begin, end) to the disk, and waits until that is done for
  // as much in front of it: a long write shares the disk with others, and its sync() is short.
  // Makes nothing durable.
  virtual Status write_back(uint64_t begin, uint64_t end) {
    static_cast<void>(begin);
    static_cast<void>(end);
    return Status();
  }
  // Forgets cached clean pages, so that the next read asks the disk.
  virtual void drop_cache() = 0;
};

inline constexpr size_t kUncachedAlignment = 4096;

enum class OpenMode : uint8_t {
  kRead,          // must exist
  kReadUncached,  // the same, past the page cache; kUnsupported where that cannot be. Positions,
                  // sizes and memory must be divisible by kUncachedAlignment
  kReadWrite,     // must exist
  kCreate,        // read-write, emptied if it exists
};

// Held until destroyed (or the process dies).
class FileLock {
 public:
  FileLock() = default;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  virtual ~FileLock() = default;
};

class FileSystem {
 public:
  FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;
  virtual ~FileSystem() = default;

  [[nodiscard]] virtual Result<std::unique_ptr<File>> open(const std::string& path,
                                                           OpenMode mode) = 0;
  // Names in a directory, in no order, without "." and "..".
  [[nodiscard]] virtual Result<std::vector<std::string>> list(const std::string& dir) = 0;
  // Ok if it is there already; the parent must exist.
  virtual Status make_dir(const std::string& dir) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // A second name for the bytes of a file. kUnsupported where that cannot be (another file system,
  // too many names): then a copy has to do.
  virtual Status link(const std::string& from, const std::string& to) = 0;
  // A file or an empty directory.
  virtual Status remove(const std::string& path) = 0;
  virtual Status sync_dir(const std::string& dir) = 0;
  // kBusy with the holder's pid in the message when another process (or this one) holds it.
  [[nodiscard]] virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
  [[nodiscard]] virtual Result<uint64_t> free_bytes(const std::string& dir) = 0;
};

// The directory that holds the name of `path`, which a power cut must not take.
[[nodiscard]] inline std::string parent_dir(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Reads a whole small file (manifests, not data): kTooLarge beyond `bytes_max`.
[[nodiscard]] inline Result<std::string> read_small_file(FileSystem& fs, const std::string& path,
                                                         uint64_t bytes_max) {
  auto file = fs.open(path, OpenMode::kRead);
  KYRO_TRY(file);
  auto size = (*file)->size();
  KYRO_TRY(size);
  if (*size > bytes_max) return Status(Code::kTooLarge, path + ": larger than any such file");
  std::string bytes(*size, '\0');
  auto got = (*file)->read_at(0, bytes.data(), bytes.size());
  KYRO_TRY(got);
  bytes.resize(*got);
  return bytes;
}

// Creates `path` with `bytes` so that after ok it is durably there, whole, and before it is not
// there (or the old one is): temporary file, sync, rename, sync of the directory.
// `*renamed` tells a caller that must know whether a failure came before or after the replacement.
inline Status write_file_atomically(FileSystem& fs, const std::string& dir, const std::string& path,
                                    std::string_view bytes, bool* renamed) {
  *renamed = false;
  const std::string temporary = path + ".tmp";
  {
    auto file = fs.open(temporary, OpenMode::kCreate);
    KYRO_TRY(file);
    KYRO_TRY((*file)->write_at(0, bytes));
    KYRO_TRY((*file)->sync());
  }
  *renamed = true;  // from here on the replacement may have happened, even if a call fails
  KYRO_TRY(fs.rename(temporary, path));
  Status synced = fs.sync_dir(dir);
  // Out of descriptors: nothing has been synced and nothing lost, so this alone may be repeated.
  for (int attempt = 0; synced.code() == Code::kBusy && attempt < 100; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    synced = fs.sync_dir(dir);
  }
  return synced;
}

}  // namespace kyro
