// The filter of a run: one small Bloom filter for each page, so that most lookups of absent keys
// end before the page is read, and those of old keys pass newer runs by.
//
// A lookup knows the page that may hold its key before it needs the filter (run.h), so the filter
// of a page holds just that page's keys: it is found by the page's number, is as full as planned,
// since pages of like records hold equally many, and is made while the page is. Against a filter
// over the whole run: no hashing to a block, fewer false hits at the same size, and no memory in
// proportion to the run while it is written.
//
// Blocks, in the index file, one for each page, all of one size:
//   0  u32  crc32c of the bits, continued from page_seed()
//   4       bits: of each key of the page, kProbes of them
// The size is chosen by the first pages: about kBitsPerKey for each key of a page. Pages that hold
// more keys than those have more false hits.
//
// Invariant: "not here" is believed only if the block's checksum is right, so damage costs time and
// never an answer. It is computed for this answer alone.
//
// Thread rule: RunFilter is a value over bytes that do not change; FilterWriter is one thread's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kyro/base/coding.h"
#include "kyro/base/crc32c.h"
#include "kyro/base/status.h"
#include "kyro/storage/run/file_sink.h"
#include "kyro/storage/run/page.h"

namespace kyro {

inline constexpr uint32_t kFilterBitsPerKey = 10;
inline constexpr uint32_t kFilterProbes = 7;
inline constexpr uint32_t kFilterCrcBytes = 4;
inline constexpr uint32_t kFilterBitBytesMin = 4;
inline constexpr uint32_t kFilterBlockBytesMax =
    kFilterCrcBytes + kPageEntriesMax * kFilterBitsPerKey / 8 + 4;

// All that a filter takes of a key.
[[nodiscard]] inline uint32_t filter_hash(uint64_t key) {
  key = (key ^ (key >> 32)) * 0xD6E8FEB86659FD93u;
  return static_cast<uint32_t>((key ^ (key >> 32)) * 0xD6E8FEB86659FD93u >> 32);
}

// Calls visit(bit) for the bits of a key, of `bits`.
template <class Visit>
void for_each_filter_bit(uint32_t hash, uint32_t bits, const Visit& visit) {
  for (uint32_t probe = 0; probe < kFilterProbes; ++probe, hash *= 0x9E3779B9u) {
    visit(static_cast<uint32_t>((uint64_t{hash} * bits) >> 32));
  }
}

class RunFilter {
 public:
  RunFilter() = default;  // there is none
  RunFilter(const char* blocks, uint32_t block_bytes)
      : blocks_(blocks), block_bytes_(block_bytes) {}

  void prefetch(uint64_t page) const {
    __builtin_prefetch(blocks_ + page * block_bytes_);
    __builtin_prefetch(blocks_ + (page + 1) * block_bytes_ - 1);
  }

  // False if the page has no such key, provided that its block is sound.
  [[nodiscard]] bool may_hold(uint64_t page, uint64_t key) const {
    const char* bits = blocks_ + page * block_bytes_ + kFilterCrcBytes;
    unsigned all = 1;
    for_each_filter_bit(filter_hash(key), bit_count(), [&](uint32_t bit) {
      all &= static_cast<unsigned>(static_cast<uint8_t>(bits[bit / 8])) >> (bit % 8);
    });
    return (all & 1) != 0;
  }
  [[nodiscard]] bool is_sound(uint64_t page, uint32_t seed) const {
    const char* block = blocks_ + page * block_bytes_;
    return load_u32(block) ==
           crc32c(block + kFilterCrcBytes, size_t{block_bytes_} - kFilterCrcBytes, seed);
  }

 private:
  [[nodiscard]] uint32_t bit_count() const { return (block_bytes_ - kFilterCrcBytes) * 8; }

  const char* blocks_ = nullptr;
  uint32_t block_bytes_ = 0;
};

// Makes the blocks of a run, page by page.
class FilterWriter {
 public:
  // Appends to `to`, which outlives it.
  FilterWriter(FileSink& to, uint64_t run_id) : to_(to), run_id_(run_id) {}

  void add(uint64_t key) { hashes_.push_back(filter_hash(key)); }
  // What was added since the last call are the keys of a page.
  Status end_page() {
    ends_.push_back(hashes_.size());
    return block_bytes_ == 0 && ends_.size() < kPagesJudged ? Status() : write_pages();
  }
  // REQUIRES: at least one page.
  Status finish() { return write_pages(); }
  [[nodiscard]] uint32_t block_bytes() const { return block_bytes_; }

 private:
  static constexpr size_t kPagesJudged = 256;

  Status write_pages() {
    if (block_bytes_ == 0) {
      const size_t per_page = (hashes_.size() + ends_.size() - 1) / ends_.size();
      const auto bit_bytes = static_cast<uint32_t>((per_page * kFilterBitsPerKey + 7) / 8);
      block_bytes_ = kFilterCrcBytes + std::max(bit_bytes, kFilterBitBytesMin);
    }
    size_t begin = 0;
    for (const size_t end : ends_) {
      KYRO_TRY(write_page(begin, end));
      begin = end;
    }
    hashes_.clear();
    ends_.clear();
    return Status();
  }

  Status write_page(size_t begin, size_t end) {
    block_.assign(block_bytes_, '\0');
    char* bits = block_.data() + kFilterCrcBytes;
    const uint32_t bit_count = (block_bytes_ - kFilterCrcBytes) * 8;
    for (size_t i = begin; i < end; ++i) {
      for_each_filter_bit(hashes_[i], bit_count, [&](uint32_t bit) {
        bits[bit / 8] = static_cast<char>(static_cast<uint8_t>(bits[bit / 8]) | 1u << (bit % 8));
      });
    }
    store_u32(block_.data(),
              crc32c(bits, block_.size() - kFilterCrcBytes, page_seed(run_id_, pages_++)));
    return to_.append(block_.data(), block_.size());
  }

  FileSink& to_;
  const uint64_t run_id_;
  uint32_t block_bytes_ = 0;      // not chosen yet
  uint64_t pages_ = 0;            // written
  std::vector<uint32_t> hashes_;  // of pages that are not
  std::vector<size_t> ends_;      // of the hashes of each of them
  std::string block_;
};

}  // namespace kyro
