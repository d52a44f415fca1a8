// Drops the files of a directory from the page cache, and counts what stayed.
//
// The kernel keeps pages that a process maps or that are not yet written, whatever it is told: sync
// first, and drop while no server has the files open.
//
// Thread rule: pure functions over the file system.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace kyro::bench {

struct CacheDrop {
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t bytes_left = 0;  // still in memory
  uint64_t failures = 0;    // files that could not be opened, advised on or looked at
};

// The bytes of a mapped file that are in memory, by pages.
[[nodiscard]] inline uint64_t resident_bytes(void* mapped, size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((bytes + page - 1) / page);
  if (mincore(mapped, bytes, pages.data()) != 0) return bytes;
  uint64_t resident = 0;
  for (const unsigned char state : pages) resident += (state & 1u) != 0 ? page : 0;
  return resident;
}

inline void drop_file(const std::string& path, CacheDrop* out) {
  ++out->files;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    ++out->failures;
    return;
  }
  const off_t size = lseek(fd, 0, SEEK_END);
  if (fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) ++out->failures;
  if (size > 0) {
    const auto bytes = static_cast<size_t>(size);
    out->bytes += bytes;
    void* const mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
      ++out->failures;
    } else {
      out->bytes_left += resident_bytes(mapped, bytes);
      munmap(mapped, bytes);
    }
  }
  ::close(fd);
}

[[nodiscard]] inline CacheDrop drop_page_cache(const std::string& directory) {
  CacheDrop out;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, error)) {
    if (entry.is_regular_file(error)) drop_file(entry.path().string(), &out);
  }
  if (error) ++out.failures;
  return out;
}

}  // namespace kyro::bench
