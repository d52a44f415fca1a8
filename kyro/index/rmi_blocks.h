// RmiBlocks: which blocks of an index file's slots have been checked and may be believed.
//
// Opening a file does not read its slots; a block is checked (CRC, order, bounds) when the first
// lookup touches it. Three bitmaps say what is known of each block, and one flag says that nothing
// is left to check: with it a lookup pays a single test of a byte it has in its cache anyway.
//
// Invariant: bits and flag only ever go from 0 to 1. Relaxed order is enough: nothing is published
// but the fact itself, the bytes were there all along.
//
// Thread rule: any number of threads; two may check the same block. Ownership: points into the
// layout's bytes.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "kyro/base/crc32c.h"
#include "kyro/index/rmi_file.h"

namespace kyro {

class RmiBlocks {
 public:
  explicit RmiBlocks(const RmiLayout& layout)
      : layout_(layout),
        ready_(bitmap(layout)),
        checked_(bitmap(layout)),
        condemned_(bitmap(layout)) {
    all_ready_ = layout.trailer.block_count == 0 ? 1 : 0;
  }

  // Every block has been found good.
  [[nodiscard]] bool all_ready() const {
    return std::atomic_ref(all_ready_).load(std::memory_order_relaxed) != 0;
  }

  // True if the blocks of `slot` and the one after it may be believed. A scan may run into that
  // one, never further: rmi_file.h bounds the displacement.
  [[nodiscard]] bool is_good(uint64_t slot) const {
    const uint64_t block = slot / kRmiBlockSlots;
    return has(ready_, block) || make_ready(block);
  }

  // Checks whatever is unchecked; false if any block is damaged.
  [[nodiscard]] bool check_all() const {
    bool good = true;
    for (uint64_t block = 0; block < layout_.trailer.block_count; ++block) {
      good = (has(ready_, block) || make_ready(block)) && good;
    }
    return good;
  }

  // Reads one block, whatever is known of it: beyond the checksum, what lookups rely on.
  [[nodiscard]] bool block_is_sound(uint64_t block) const;

 private:
  using Bitmap = std::unique_ptr<std::atomic<uint64_t>[]>;

  [[nodiscard]] static Bitmap bitmap(const RmiLayout& layout) {
    const auto words = static_cast<size_t>(layout.trailer.block_count / 64 + 1);
    return std::make_unique<std::atomic<uint64_t>[]>(words);
  }
  [[nodiscard]] static bool has(const Bitmap& bits, uint64_t block) {
    return ((bits[block / 64].load(std::memory_order_relaxed) >> (block % 64)) & 1u) != 0;
  }
  // True if the bit was not set before.
  static bool set(const Bitmap& bits, uint64_t block) {
    const uint64_t bit = uint64_t{1} << (block % 64);
    return (bits[block / 64].fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }

  [[nodiscard, gnu::noinline, gnu::cold]] bool make_ready(uint64_t block) const {
    if (!check(block)) return false;
    if (block + 1 < layout_.trailer.block_count && !check(block + 1)) return false;
    if (set(ready_, block) &&
        std::atomic_ref(ready_count_).fetch_add(1, std::memory_order_relaxed) + 1 ==
            layout_.trailer.block_count) {
      std::atomic_ref(all_ready_).store(1, std::memory_order_relaxed);
    }
    return true;
  }

  [[nodiscard]] bool check(uint64_t block) const {
    if (has(checked_, block)) return true;
    if (has(condemned_, block)) return false;
    const bool sound = block_is_sound(block);
    set(sound ? checked_ : condemned_, block);
    return sound;
  }

  RmiLayout layout_;
  Bitmap ready_;      // bit b: blocks b and b + 1 are good
  Bitmap checked_;    // bit b: block b is good
  Bitmap condemned_;  // bit b: block b failed its check
  mutable uint64_t ready_count_ = 0;
  mutable uint8_t all_ready_ = 0;
};

inline bool RmiBlocks::block_is_sound(uint64_t block) const {
  const RmiTrailer& t = layout_.trailer;
  const uint64_t begin = block * kRmiBlockSlots;
  const uint64_t end = std::min(begin + kRmiBlockSlots, t.slot_count);
  const IndexEntry* slots = layout_.slots;
  if (crc32c(slots + begin, (end - begin) * sizeof(IndexEntry)) != layout_.block_crcs[block]) {
    return false;
  }
  bool good = slots[begin].key >= t.min_key && slots[end - 1].key <= t.max_key &&
              slots[begin].position <= t.position_max;
  for (uint64_t slot = begin + 1; slot < end; ++slot) {
    const IndexEntry& a = slots[slot - 1];
    const IndexEntry& b = slots[slot];
    good &= b.position <= t.position_max;
    good &= a.key < b.key || a == b;
  }
  return good;
}

}  // namespace kyro
