// Makes a changed index file carry valid checksums again: a file that lies. Without it, the
// checksums would stand between a test or fuzzer and the validation behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "kyro/base/coding.h"
#include "kyro/base/crc32c.h"
#include "kyro/index/rmi.h"

namespace kyro::test {

// Recomputes all checksums, taking the sections' places from `sane`, the trailer before the change.
inline void reseal_rmi_file(std::span<std::byte> file, const RmiTrailer& sane) {
  std::byte* header = file.data();
  std::byte* trailer = file.data() + file.size() - sizeof(RmiTrailer);
  for (uint64_t block = 0; block < sane.block_count; ++block) {
    const uint64_t begin = block * kRmiBlockSlots;
    const uint64_t end = std::min(begin + kRmiBlockSlots, sane.slot_count);
    store_u32(file.data() + sane.block_crcs_offset + block * 4,
              crc32c(file.data() + sane.slots_offset + begin * sizeof(IndexEntry),
                     (end - begin) * sizeof(IndexEntry)));
  }
  store_u32(trailer + offsetof(RmiTrailer, model_crc),
            crc32c(file.data() + sane.words_offset,
                   file.size() - sizeof(RmiTrailer) - sane.words_offset));
  store_u32(header + offsetof(RmiHeader, crc), crc32c(header, offsetof(RmiHeader, crc)));
  store_u32(trailer + offsetof(RmiTrailer, crc),
            crc32c(trailer, offsetof(RmiTrailer, crc), crc32c(header, sizeof(RmiHeader))));
}

inline RmiTrailer trailer_of(std::span<const std::byte> file) {
  return load<RmiTrailer>(file.data() + file.size() - sizeof(RmiTrailer));
}

// Every kind of lookup around `key`; the answers do not matter, reading outside or not ending does.
// Returns something that depends on all answers, so that none is optimised away.
inline uint64_t look_everywhere(const RmiIndex& index, uint64_t key) {
  uint64_t sum = index.find(key).position + index.probe_length(key);
  RmiIndex::Cursor forward = index.lower_bound(key);
  for (int step = 0; step < 8 && forward.valid(); ++step, forward.next()) sum += forward.key();
  RmiIndex::Cursor backward = index.floor(key);
  for (int step = 0; step < 8 && backward.valid(); ++step, backward.prev()) sum += backward.key();
  return sum;
}

}  // namespace kyro::test
