// When to flush or compact without being asked: by records, by bytes of log, by time.
//
// Thread rule: on_commit() by the committer, the rest by the flusher. Sums are atomic; one that is
// reset while it grows loses a group at most, which only delays what it triggers.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kyro/base/clock.h"
#include "kyro/storage/options.h"

namespace kyro {

class Triggers {
 public:
  // kRebuild is a compaction, too, whose point is the index.
  enum class Action : uint8_t { kNone, kSnapshot, kCompact, kRebuild };
  using Clock = uint64_t (*)();  // as monotonic_ns()
  static constexpr uint64_t kRebuildKeysMin = 1000;

  explicit Triggers(const Options& options, Clock clock_ns = monotonic_ns)
      : options_(options),
        clock_ns_(clock_ns),
        last_flush_ns_(clock_ns()),
        last_compaction_ns_(last_flush_ns_) {}

  // Counts a commit; true if it made something due.
  bool on_commit(uint64_t records, uint64_t log_bytes) {
    bool due = passes(records_since_flush_, records, options_.snapshot_every_appends);
    due = passes(log_bytes_since_flush_, log_bytes, options_.wal_bytes_max) || due;
    due = passes(log_bytes_since_compaction_, log_bytes, options_.compact_when_wal_bytes) || due;
    return passes(records_since_compaction_, records, records_per_rebuild()) || due;
  }

  // What is due now; it counts as done from here on. A compaction flushes, too; what is due of
  // them stays due where they `may_compact` not.
  [[nodiscard]] Action take(bool may_compact) {
    const uint64_t now = clock_ns_();
    const bool must_rebuild = reached(records_since_compaction_, records_per_rebuild());
    if (may_compact &&
        (must_rebuild || elapsed(now, last_compaction_ns_, options_.compact_interval_secs) ||
         reached(log_bytes_since_compaction_, options_.compact_when_wal_bytes))) {
      last_compaction_ns_ = now;
      log_bytes_since_compaction_.store(0, std::memory_order_relaxed);
      records_since_compaction_.store(0, std::memory_order_relaxed);
      return must_rebuild ? Action::kRebuild : Action::kCompact;
    }
    if (elapsed(now, last_flush_ns_, options_.auto_snapshot_secs) ||
        reached(records_since_flush_, options_.snapshot_every_appends) ||
        reached(log_bytes_since_flush_, options_.wal_bytes_max)) {
      on_flushed();
      return Action::kSnapshot;
    }
    return Action::kNone;
  }

  void on_flushed() {
    last_flush_ns_ = clock_ns_();
    records_since_flush_.store(0, std::memory_order_relaxed);
    log_bytes_since_flush_.store(0, std::memory_order_relaxed);
  }

  // The number of records in runs, which the rebuild ratio is a ratio of.
  void set_keys(uint64_t keys) { keys_.store(keys, std::memory_order_relaxed); }

  [[nodiscard]] bool has_timers() const {
    return options_.auto_snapshot_secs > 0 || options_.compact_interval_secs > 0;
  }

 private:
  // Whether adding n carries the sum over the limit (0: none).
  static bool passes(std::atomic<uint64_t>& sum, uint64_t n, uint64_t limit) {
    const uint64_t now = sum.fetch_add(n, std::memory_order_relaxed) + n;
    return limit > 0 && now >= limit && now - n < limit;
  }
  static bool reached(const std::atomic<uint64_t>& sum, uint64_t limit) {
    return limit > 0 && sum.load(std::memory_order_relaxed) >= limit;
  }
  static bool elapsed(uint64_t now_ns, uint64_t since_ns, uint64_t secs) {
    return secs > 0 && now_ns - since_ns >= secs * 1'000'000'000u;
  }

  // The smaller of the two rebuild limits, as a number of records (0: none). Fewer keys than the
  // least count as that many: a store that begins would be rebuilt at every other write.
  [[nodiscard]] uint64_t records_per_rebuild() const {
    const uint64_t limit = options_.rmi_rebuild_appends;
    if (options_.rmi_rebuild_ratio <= 0) return limit;
    const uint64_t base = std::max(keys_.load(std::memory_order_relaxed), kRebuildKeysMin);
    const uint64_t by_ratio = std::max<uint64_t>(
        1, static_cast<uint64_t>(options_.rmi_rebuild_ratio * static_cast<double>(base)));
    return limit == 0 ? by_ratio : std::min(limit, by_ratio);
  }

  const Options& options_;
  const Clock clock_ns_;
  uint64_t last_flush_ns_;
  uint64_t last_compaction_ns_;
  std::atomic<uint64_t> keys_{0};
  std::atomic<uint64_t> records_since_flush_{0};
  std::atomic<uint64_t> log_bytes_since_flush_{0};
  std::atomic<uint64_t> records_since_compaction_{0};
  std::atomic<uint64_t> log_bytes_since_compaction_{0};
};

}  // namespace kyro
