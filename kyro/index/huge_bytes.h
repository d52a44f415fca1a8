// HugeBytes: a copy of an index in anonymous memory that the kernel may back with huge pages.
//
// A lookup in a large index costs a TLB miss per touched 4 KiB page; 2 MiB pages remove most of
// them. File mappings rarely get huge pages, anonymous memory does when advised, at the price of
// private memory of the index's size.
//
// Thread rule: immutable once made. Ownership: owns its mapping; movable; what was opened over
// bytes() must go first.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "kyro/base/status.h"

namespace kyro {

class HugeBytes {
 public:
  static constexpr size_t kHugePageBytes = size_t{2} << 20;
  static constexpr size_t kChunkBytes = size_t{8} << 20;

  // Reserves `n` zero bytes, aligned to a huge page. Errors: kIoError when there is no memory.
  [[nodiscard]] static Result<HugeBytes> reserve(size_t n) {
    HugeBytes bytes;
    if (n == 0) return bytes;
    const size_t rounded = (n + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    const size_t total = rounded + kHugePageBytes;
    void* mapping = mmap(nullptr, total, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
      return Status(Code::kIoError, "no memory for an index in huge pages");
    const auto start = reinterpret_cast<uintptr_t>(mapping);
    const size_t lead = (kHugePageBytes - start % kHugePageBytes) % kHugePageBytes;
    bytes.mapping_ = mapping;
    bytes.mapping_bytes_ = total;
    bytes.data_ = static_cast<std::byte*>(mapping) + lead;
    bytes.size_ = n;
    // Without huge pages it is still a correct copy, so a refusal is no error.
    static_cast<void>(madvise(bytes.data_, rounded, MADV_HUGEPAGE));
    return bytes;
  }

  // A copy of `source`, made in chunks so that a mapped source is read in order. `on_chunk(from,
  // n)` is called after each chunk: a place to let go of the source's pages, or to yield.
  template <class OnChunk>
  [[nodiscard]] static Result<HugeBytes> copy_of(std::span<const std::byte> source,
                                                 OnChunk&& on_chunk) {
    Result<HugeBytes> bytes = reserve(source.size());
    KYRO_TRY(bytes);
    for (size_t done = 0; done < source.size(); done += kChunkBytes) {
      const size_t n = std::min(kChunkBytes, source.size() - done);
      std::memcpy(bytes->data_ + done, source.data() + done, n);
      on_chunk(done, n);
    }
    return bytes;
  }
  [[nodiscard]] static Result<HugeBytes> copy_of(std::span<const std::byte> source) {
    return copy_of(source, [](size_t, size_t) {});
  }

  HugeBytes() = default;
  HugeBytes(HugeBytes&& other) noexcept { swap(other); }
  HugeBytes& operator=(HugeBytes&& other) noexcept {
    swap(other);
    return *this;
  }
  ~HugeBytes() {
    if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
  }

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  [[nodiscard]] std::byte* data() { return data_; }

 private:
  void swap(HugeBytes& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(mapping_bytes_, other.mapping_bytes_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace kyro
