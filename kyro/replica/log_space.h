// How much room a shared log takes, and how fast it may grow.
//
// The log's own bytes are a difference of positions (entry.h): of its end, as far as this store has
// seen it, and of its first entry, as the trimmer has last found it. Where others trim too, it is
// less than is said here, by what they take away between two looks.
//
// etcd has a quota for everything that it holds, history included, and stops taking writes there
// until somebody heals it by hand. So from three quarters of the quota on, writers are slowed
// so that what is left would last a minute: they get ever slower, and what trims and compacts has
// time for it.
//
// Thread rule: any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kyro/base/limits.h"
#include "kyro/replica/entry_store.h"

namespace kyro {

class LogSpace {
 public:
  static constexpr uint64_t kDefaultQuotaBytes = 2048 * kMiB;  // etcd's own

  // The log has been seen to reach so far, its first entry to begin there.
  void note_end(uint64_t position) {
    uint64_t known = end();
    while (known < position &&
           !end_.compare_exchange_weak(known, position, std::memory_order_relaxed)) {
    }
  }
  void note_first(uint64_t position) { first_.store(position, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t end() const { return end_.load(std::memory_order_relaxed); }
  // Of the entries that are there.
  [[nodiscard]] uint64_t log_bytes() const {
    const uint64_t end_position = end();
    return end_position - std::min(first_.load(std::memory_order_relaxed), end_position);
  }

  // What etcd says of itself; `quota_bytes` counts where it says none.
  void note_usage(const EntryStore::Usage& usage, uint64_t quota_bytes) {
    quota_.store(usage.quota_bytes != 0 ? usage.quota_bytes : quota_bytes,
                 std::memory_order_relaxed);
    used_.store(usage.used_bytes, std::memory_order_relaxed);
    file_.store(usage.file_bytes, std::memory_order_relaxed);
    is_full_.store(usage.is_full, std::memory_order_relaxed);
  }
  // What cannot be used for anything else, and what it occupies. 0 before it was asked.
  [[nodiscard]] uint64_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t file_bytes() const { return file_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t quota_bytes() const { return quota_.load(std::memory_order_relaxed); }
  // It has reached its quota, and takes nothing until somebody heals it.
  [[nodiscard]] bool is_full() const { return is_full_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool is_short() const {
    const uint64_t quota = quota_bytes();
    return used_bytes() >= quota - quota / 4 && quota > 0;
  }

  // The time that a group of so many bytes should take; 0: as little as it can.
  [[nodiscard]] uint64_t pace_ns(uint64_t bytes) const {
    if (!is_short()) return 0;
    const uint64_t quota = quota_bytes();
    const uint64_t left = quota - std::min(used_bytes(), quota);
    const double share = static_cast<double>(bytes) / static_cast<double>(std::max(left, kMiB));
    return static_cast<uint64_t>(std::min(share * kLeftLastsNs, kPaceNsMax));
  }

 private:
  static constexpr double kLeftLastsNs = 60e9;
  static constexpr double kPaceNsMax = 1e9;  // so that nobody's patience ends

  std::atomic<uint64_t> end_{0};
  std::atomic<uint64_t> first_{0};
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> file_{0};
  std::atomic<uint64_t> quota_{0};
  std::atomic<bool> is_full_{false};
};

}  // namespace kyro
