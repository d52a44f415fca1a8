// Files as the storage engine sees them: bytes at positions, syncs, mappings.
//
// EINTR, short reads and short writes end behind this interface. What is durable when: see fs.h.
//
// Thread rule: a File and a Mapping may be used by several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

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
  // may lie beyond that of the file.
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
  // When it was last written to, in Unix time; 0 where nobody knows.
  [[nodiscard]] virtual uint64_t modified_secs() { return 0; }
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
  // Whether what is written over written blocks goes where they are: not where the file system
  // copies on write, or has no disk.
  [[nodiscard]] virtual bool overwrites_in_place() { return false; }
  // Whether it is a file of its own, with blocks to share; else a part of one.
  [[nodiscard]] virtual bool has_blocks() const { return true; }
  // Makes this empty file one of the first `bytes` of `from`, sharing its blocks until either is
  // written to; false where that cannot be: then a copy has to do.
  [[nodiscard]] virtual bool share_blocks(File& from, uint64_t bytes) {
    static_cast<void>(from);
    static_cast<void>(bytes);
    return false;
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
  kCreate,        // read-write and new: what had the name before is removed, never emptied, so
                  // that whoever has it open or linked keeps it
};

}  // namespace kyro
