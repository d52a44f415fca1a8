// What a store may take of its volume, so that it can always be emptied by deletes.
//
//   kept         room that no put may take: for the log of deletes, the flush of a delta, and the
//                rewriting of a run without what newer ones have replaced (reclaim.h)
//   deltas, log  on a small volume smaller than the options ask for, so that what is kept suffices
//   retention    of log that only replay reads: an eighth of the volume at most, nothing when short
//
// A put that makes what it replaces smaller, and a delete, may use what is kept.
//
// Where the file system does not say how large it is or how much is free, the options hold as they
// are and nothing is kept: then only a failing write tells that the disk is full.
//
// Thread rule: any thread. What is free is a moment old.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>

#include "kyro/base/limits.h"
#include "kyro/base/log/log.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/options.h"

namespace kyro {

class DiskSpace {
 public:
  explicit DiskSpace(const Options& options) : options_(options) {}

  // Asks the volume.
  void refresh(Directory& dir) {
    const MutexLock lock(mutex_);
    const auto total = dir.total_bytes();
    const auto free = dir.free_bytes();
    if (total.ok() && free.ok()) {
      total_.store(*total, std::memory_order_relaxed);
      free_.store(*free, std::memory_order_relaxed);
      is_unknown_.store(false, std::memory_order_relaxed);
      if (!is_full()) refused_bytes_.store(0, std::memory_order_relaxed);
      return;
    }
    total_.store(0, std::memory_order_relaxed);
    const Status& why = total.ok() ? free.status() : total.status();
    if (why.code() == Code::kUnsupported) return;
    if (is_unknown_.exchange(true, std::memory_order_relaxed)) return;
    log_event(LogLevel::kWarn, "disk_space_unknown", {{"reason", why.to_string()}});
  }
  [[nodiscard]] bool is_known() const { return total() > 0; }
  // The file system was asked and failed to tell.
  [[nodiscard]] bool is_unknown() const { return is_unknown_.load(std::memory_order_relaxed); }

  [[nodiscard]] uint64_t delta_bytes_max() const { return share(options_.delta_max_bytes, 32); }
  [[nodiscard]] uint64_t segment_bytes_max() const { return share(options_.wal_segment_bytes, 32); }
  [[nodiscard]] uint64_t reserve_bytes() const {
    return std::min(options_.reserve_bytes, is_known() ? total() / 8 : ~uint64_t{0});
  }
  // Of log segments that are wholly in runs and may be kept for replay.
  [[nodiscard]] uint64_t retained_log_bytes_max() const {
    if (!is_known()) return ~uint64_t{0};
    return is_short() ? 0 : total() / 8;
  }
  // Room that what comes out of a merge may need at most when it is written: a larger run could not
  // be rewritten once the disk is full. On a large volume, where so many runs would slow down
  // reads, a merge of more has to leave a quarter free.
  [[nodiscard]] uint64_t merge_bytes_max() const {
    if (!keeps_room()) return ~uint64_t{0};
    if (total() <= kSmallVolumeBytes) return rewritten_bytes_max();
    const uint64_t free = free_bytes();
    return std::max(rewritten_bytes_max(), free - std::min(free, total() / 4));
  }

  // Room that only what makes room may use.
  [[nodiscard]] uint64_t kept_bytes() const {
    if (!keeps_room()) return 0;
    return std::min(total() / 8, 2 * delta_bytes_max() + rewritten_bytes_max());
  }
  // Whether so many bytes more may be written while `kept` stay free.
  [[nodiscard]] bool admits(uint64_t bytes, uint64_t kept) const {
    return kept == 0 || free_.load(std::memory_order_relaxed) >= kept + bytes;
  }
  // Puts are refused, or soon will be: whatever can be given back should be.
  [[nodiscard]] bool is_short() const {
    return is_known() && free_.load(std::memory_order_relaxed) < kept_bytes() * 3 / 2;
  }
  // A put of so many bytes was refused: until there is room for it the disk is full, although a
  // smaller one might still find some.
  void note_refused(uint64_t bytes) {
    if (bytes <= refused_bytes_.load(std::memory_order_relaxed)) return;
    refused_bytes_.store(bytes, std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_full() const {
    return keeps_room() && !admits(refused_bytes_.load(std::memory_order_relaxed), kept_bytes());
  }
  [[nodiscard]] uint64_t free_bytes() const { return free_.load(std::memory_order_relaxed); }
  // So many bytes may be written before the volume is asked again.
  [[nodiscard]] uint64_t sample_bytes() const {
    return is_known() ? std::max<uint64_t>(kept_bytes() / 32, 4 * kKiB) : kMiB;
  }

 private:
  static constexpr uint64_t kShareBytesMin = 256 * kKiB;
  static constexpr uint64_t kSmallVolumeBytes = 16 * kGiB;

  [[nodiscard]] bool keeps_room() const { return is_known() && options_.reserve_bytes > 0; }
  [[nodiscard]] uint64_t total() const { return total_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t share(uint64_t wanted, uint64_t of_volume) const {
    if (!is_known()) return wanted;
    return std::min(wanted, std::max(total() / of_volume, kShareBytesMin));
  }
  [[nodiscard]] uint64_t rewritten_bytes_max() const { return std::min(total() / 16, kGiB); }

  const Options& options_;
  Mutex mutex_;  // of refresh()
  std::atomic<bool> is_unknown_{false};
  std::atomic<uint64_t> total_{0};  // of the volume; 0: unknown
  std::atomic<uint64_t> free_{0};
  std::atomic<uint64_t> refused_bytes_{0};  // the largest put that found no room
};

}  // namespace kyro
