// Finds a place in a log segment without reading it: a binary search over its bytes.
//
// From any position the next group is found by its nonce (group_search.h), and its header says
// which offset it starts with. A 64 MiB segment of small groups takes about ten looks at 16 KiB;
// nothing is kept in memory, and a log of before a restart is searched like one of today.
//
// What is found is a place to try: only a reader that finds a good group there (CRC) may go on from
// it. The chain before that place is not looked at, so damage there is not met by who skips it.
//
// Thread rule: one thread; the segment may be appended to meanwhile. Ownership: borrows the file.
#pragma once

#include <algorithm>
#include <memory>

#include "kyro/storage/fs/file.h"
#include "kyro/storage/log/group_search.h"
#include "kyro/storage/log/wal_format.h"

namespace kyro {

class SegmentSearch {
 public:
  static constexpr uint64_t kCloseBytes = 64 * 1024;  // so near is near enough
  static constexpr size_t kWindowBytes = 16 * 1024;   // looked at by one step

  // For the group of segment `header` that holds `offset`; groups end at or before byte `end`.
  SegmentSearch(File& file, const SegmentHeader& header, uint64_t offset, uint64_t end)
      : file_(file),
        nonce_(header.nonce),
        first_offset_(header.first_offset),
        wanted_(offset),
        end_(end),
        high_(end),
        window_(new char[kWindowBytes]) {
    aim();
  }

  // The position of a group that starts with `offset` or before, once done().
  [[nodiscard]] uint64_t position() const { return low_; }
  [[nodiscard]] bool done() const { return high_ <= low_ + kCloseBytes; }

  // One bounded look. REQUIRES !done(). Fails only if the file system does.
  Status step() {
    auto got = file_.read_at(at_, window_.get(), kWindowBytes);
    KYRO_TRY(got);
    uint64_t position = 0;
    for (GroupPlaces places({window_.get(), *got}, at_, nonce_); places.next(&position);) {
      if (position >= high_) break;
      auto first = group_at(position);
      KYRO_TRY(first);
      if (*first == kNoGroup) continue;
      if (*first <= wanted_) {
        low_ = position;
      } else {
        high_ = middle_;
      }
      aim();
      return Status();
    }
    at_ += kWindowBytes - (sizeof nonce_ - 1);
    if (*got < kWindowBytes || at_ - kNonceAt >= high_) {
      high_ = middle_;  // no group starts after the middle
      aim();
    }
    return Status();
  }

 private:
  static constexpr uint64_t kNonceAt = GroupPlaces::kNonceAt;
  static constexpr uint64_t kNoGroup = UINT64_MAX;

  void aim() {
    middle_ = low_ + (std::max(high_, low_) - low_) / 2;
    at_ = middle_ + kNonceAt;
  }

  // The first offset of the group whose header lies at `position`; kNoGroup if none does.
  Result<uint64_t> group_at(uint64_t position) {
    GroupHeader header{};
    auto got = file_.read_at(position, &header, sizeof header);
    KYRO_TRY(got);
    const bool is_group = *got == sizeof header && header.nonce == nonce_ && header.zero == 0 &&
                          header.first_offset >= first_offset_ &&
                          position + kGroupHeaderBytes + header.body_bytes <= end_;
    return is_group ? header.first_offset : kNoGroup;
  }

  File& file_;
  const uint64_t nonce_;
  const uint64_t first_offset_;
  const uint64_t wanted_;
  const uint64_t end_;
  uint64_t low_ = kSegmentHeaderBytes;  // a group starts here, with wanted_ or before
  uint64_t high_;                       // from here on every group starts after wanted_
  uint64_t middle_ = 0;                 // of the two
  uint64_t at_ = 0;                     // what step() looks at next: no nonce from middle_ to here
  std::unique_ptr<char[]> window_;
};

}  // namespace kyro
