// The last ten minutes in steps of two seconds: what was asked for, how long it took, what was
// written. The status page draws it, so that whoever opens the page sees what led there.
//
// A row holds what happened in one step: numbers of requests, times in microseconds (estimated
// within the buckets of a histogram), bytes. The memory is fixed, some 50 KiB.
//
// Thread rule: one thread calls take(); any thread reads, without a lock. A row is written before
// it is counted, and the ring is longer than what is read of it, so nobody sees a row change unless
// they take as long as the rest of the ring lasts to read it; then it is a row of mixed moments.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kyro/base/counters.h"
#include "kyro/base/epoch.h"
#include "kyro/server/observe/http_stats.h"
#include "kyro/storage/engine.h"

namespace kyro {

class History {
 public:
  static constexpr uint64_t kStepNs = 2'000'000'000;
  static constexpr size_t kRowsMax = 300;

  // In the order of the columns of a row.
  enum Column : size_t {
    kMillis,  // how long the step was
    kReads,
    kWrites,
    kScans,
    kOthers,
    kFailures,  // of all of them, those answered with a 5xx
    kReadP50,
    kReadP99,
    kWriteP50,
    kWriteP99,
    kScanP50,
    kScanP99,
    kSyncs,
    kSyncP50,
    kSyncP99,
    kLogBytes,
    kFlushBytes,
    kMergeBytes,
    kDeltaBytes,  // at the end of the step
    kConnections,
    kColumns,
  };
  static constexpr std::array<std::string_view, kColumns> kColumnNames = {
      "ms",          "reads",       "writes",      "scans",        "others",
      "failures",    "read_p50_us", "read_p99_us", "write_p50_us", "write_p99_us",
      "scan_p50_us", "scan_p99_us", "syncs",       "sync_p50_us",  "sync_p99_us",
      "log_bytes",   "flush_bytes", "merge_bytes", "delta_bytes",  "connections"};

  // Ends a step, if it is time for that; the first call begins the first one.
  void take(uint64_t now_ns, const HttpStats& http, Engine& engine, uint64_t connections) {
    if (last_ns_ != 0 && now_ns - last_ns_ < kStepNs - kStepNs / 8) return;
    const Totals now = Totals::of(http, engine);
    if (last_ns_ != 0) add_row(now, now_ns, engine, connections);
    last_ = now;
    last_ns_ = now_ns;
  }

  // Calls visit(columns) for the last `rows_max` rows, oldest first; how many there ever were.
  template <class Visit>
  uint64_t for_each_row(size_t rows_max, Visit visit) const {
    const uint64_t end = count_.load(std::memory_order_acquire);
    const uint64_t rows = std::min<uint64_t>({end, rows_max, kRowsMax});
    std::array<uint64_t, kColumns> row{};
    for (uint64_t i = end - rows; i < end; ++i) {
      for (size_t column = 0; column < kColumns; ++column) {
        row[column] = rows_[i % kRing][column].load(std::memory_order_relaxed);
      }
      visit(std::span<const uint64_t, kColumns>(row));
    }
    return end;
  }

 private:
  static constexpr size_t kRing = kRowsMax + 20;

  // What was counted since the process began.
  struct Totals {
    std::array<HistogramSnapshot, kRouteClassCount> classes;
    HistogramSnapshot syncs;
    uint64_t failures = 0;
    uint64_t log_bytes = 0;
    uint64_t flush_bytes = 0;
    uint64_t merge_bytes = 0;

    static Totals of(const HttpStats& http, Engine& engine) {
      Totals totals;
      for (size_t i = 0; i < kRouteClassCount; ++i) {
        totals.classes[i] = http.duration(static_cast<RouteClass>(i));
      }
      for (size_t code = 0; code < kStatusCodes.size(); ++code) {
        if (kStatusCodes[code] < 500) continue;
        for (size_t route = 0; route < kRouteCount; ++route) {
          totals.failures += http.requests(route, code);
        }
      }
      const EngineStats& stats = engine.stats();
      totals.syncs = stats.fsync_ns.snapshot();
      totals.log_bytes = stats.wal_written_bytes.value();
      totals.flush_bytes = stats.run_written_bytes.value();
      totals.merge_bytes = stats.compaction_written_bytes.value();
      return totals;
    }
  };

  void add_row(const Totals& now, uint64_t now_ns, Engine& engine, uint64_t connections) {
    const uint64_t count = count_.load(std::memory_order_relaxed);
    const auto set = [&](Column column, uint64_t value) {
      rows_[count % kRing][column].store(value, std::memory_order_relaxed);
    };
    const auto set_class = [&](RouteClass which, Column requests) {
      const auto i = static_cast<size_t>(which);
      set(requests, now.classes[i].count - last_.classes[i].count);
    };
    const auto set_times = [&](const HistogramSnapshot& times, const HistogramSnapshot& before,
                               Column p50, Column p99) {
      set(p50, quantile(times, before, 50) / 1000);
      set(p99, quantile(times, before, 99) / 1000);
    };
    set(kMillis, (now_ns - last_ns_) / 1'000'000);
    set_class(RouteClass::kRead, kReads);
    set_class(RouteClass::kWrite, kWrites);
    set_class(RouteClass::kScan, kScans);
    set_class(RouteClass::kOther, kOthers);
    set(kFailures, now.failures - last_.failures);
    constexpr Column kTimes[][2] = {
        {kReadP50, kReadP99}, {kWriteP50, kWriteP99}, {kScanP50, kScanP99}};
    for (size_t i = 0; i < std::size(kTimes); ++i) {
      set_times(now.classes[i], last_.classes[i], kTimes[i][0], kTimes[i][1]);
    }
    set(kSyncs, now.syncs.count - last_.syncs.count);
    set_times(now.syncs, last_.syncs, kSyncP50, kSyncP99);
    set(kLogBytes, now.log_bytes - last_.log_bytes);
    set(kFlushBytes, now.flush_bytes - last_.flush_bytes);
    set(kMergeBytes, now.merge_bytes - last_.merge_bytes);
    set(kDeltaBytes, delta_bytes(engine));
    set(kConnections, connections);
    count_.store(count + 1, std::memory_order_release);
  }

  static uint64_t delta_bytes(Engine& engine) {
    const EpochPin pin;
    const View* const view = engine.moment().view;
    uint64_t bytes = view->active != nullptr ? view->active->bytes() : 0;
    for (const auto& delta : view->frozen) bytes += delta->bytes();
    return bytes;
  }

  // The value below which `percent` of what was counted between two moments lies: as far into its
  // bucket as into the bucket's values. Beyond the last bound, that; 0 where nothing was counted.
  static uint64_t quantile(const HistogramSnapshot& now, const HistogramSnapshot& before,
                           uint64_t percent) {
    const auto counted = [&](size_t bucket) {
      const uint64_t old = bucket < before.cumulative.size() ? before.cumulative[bucket] : 0;
      return now.cumulative[bucket] - old;
    };
    const double wanted =
        static_cast<double>(now.count - before.count) * static_cast<double>(percent) / 100;
    if (wanted <= 0) return 0;
    for (size_t bucket = 0; bucket < now.bounds.size(); ++bucket) {
      const auto upto = static_cast<double>(counted(bucket));
      if (upto < wanted) continue;
      const double below = bucket == 0 ? 0 : static_cast<double>(counted(bucket - 1));
      const double low = bucket == 0 ? 0 : static_cast<double>(now.bounds[bucket - 1]);
      const auto high = static_cast<double>(now.bounds[bucket]);
      return static_cast<uint64_t>(low + (high - low) * (wanted - below) / (upto - below));
    }
    return now.bounds.empty() ? 0 : now.bounds.back();
  }

  // Of whoever takes.
  Totals last_;
  uint64_t last_ns_ = 0;  // 0: nothing was taken yet

  std::array<std::array<std::atomic<uint64_t>, kColumns>, kRing> rows_{};
  std::atomic<uint64_t> count_{0};  // rows ever written
};

}  // namespace kyro
