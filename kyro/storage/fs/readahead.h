// Reads a mapped file ahead of whoever walks it, up or down.
//
// Maps are advised random, so that a lookup reads one page and not its neighbours. A walk would
// wait for each page by itself: over data that is not in memory that is one disk access for 4 KiB.
// A short walk is left alone; one that goes on has the next window fetched when it is in the middle
// of the last one, so that it needs not wait where the disk keeps up.
//
// Thread rule: one thread. Ownership: none; the mapping is the caller's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kyro/base/direction.h"
#include "kyro/storage/fs/file.h"

namespace kyro {

class Readahead {
 public:
  static constexpr uint64_t kShortWalkBytes = 32 * 1024;
  static constexpr uint64_t kWindowBytes = 256 * 1024;

  explicit Readahead(Direction direction = Direction::kUp)
      : flip_(direction == Direction::kUp ? 0 : ~uint64_t{0}) {}

  // The walk is at `position`; the first one is where it begins.
  void come_to(Mapping& mapping, uint64_t position) {
    const uint64_t at = position ^ flip_;
    if (at - begin_ >= due_) [[unlikely]]
      go_on(mapping, at);
  }

 private:
  // Positions of a walk down are complemented, so both ways go up.
  void go_on(Mapping& mapping, uint64_t at) {
    if (due_ == 0) {
      begin_ = at;
      due_ = kShortWalkBytes;
      return;
    }
    const uint64_t fetched = std::max(at, fetched_end_);
    const uint64_t left = ~fetched;  // a walk down ends at 0, a walk up long before this
    const bool is_last = left < kWindowBytes;
    fetched_end_ = is_last ? ~uint64_t{0} : fetched + kWindowBytes;
    due_ = is_last ? ~uint64_t{0} : fetched_end_ - kWindowBytes / 2 - begin_;
    if (flip_ == 0) return mapping.fetch(fetched, fetched_end_);
    mapping.fetch(is_last ? 0 : left + 1 - kWindowBytes, left + 1);
  }

  uint64_t flip_;
  uint64_t begin_ = 0;
  uint64_t due_ = 0;  // bytes from the beginning at which to fetch; 0 before it
  uint64_t fetched_end_ = 0;
};

}  // namespace kyro
