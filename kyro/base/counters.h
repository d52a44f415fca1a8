// Counters, histograms and gauges for metrics, where counting writes no shared cache line.
//
// Cells are sharded by thread slot (thread_slot.h). A chunk holds, for every slot, a row of
// kRowCells u64 cells; a counter owns one column, a histogram neighbouring columns. So one thread's
// cells lie packed together, rows never share a line, and the owner of a slot counts with a plain
// load and store; only threads on the overflow slot pay for a locked add.
//
//   chunk: row of slot 0 | row of slot 1 | … | row of slot 63      (512 KiB of address space)
//   row:   kRowCells × u64                                         (8 KiB, a memory page or two)
//
// Chunks are anonymous memory: a row costs memory only once its thread counts. A new chunk is
// mapped when the columns run out, so a thousand counters cost 8 KiB per counting thread.
//
// Invariants: a value never decreases; counts of finished threads stay, since rows outlive threads.
// Two reads of two counters are not one moment. Sums wrap at 2^64.
//
// Thread rule: add, observe, value, snapshot from anywhere; construct and destroy while nobody
// counts on that object. -DKYRO_NO_METRICS empties HotCounter::add and HotHistogram::observe, for
// pure measurements of the request path; Counter and Histogram always count.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kyro/base/mutex.h"
#include "kyro/base/status.h"
#include "kyro/base/thread_slot.h"

namespace kyro {
namespace counters_detail {

using Cell = std::atomic<uint64_t>;
static_assert(sizeof(Cell) == 8 && Cell::is_always_lock_free);

inline constexpr size_t kRowCells = 1024;
inline constexpr size_t kChunkBytes = kRowCells * kThreadSlots * sizeof(Cell);

// Hands out columns. Never destroyed: counters with static storage may die last.
class Columns {
 public:
  static Columns& get() {
    static Columns* const columns = new Columns;
    return *columns;
  }

  // The cell in row 0 of the first of `count` neighbouring columns, all zero.
  Cell* claim(size_t count) {
    KYRO_CHECK(count > 0 && count <= kRowCells);
    const MutexLock lock(mutex_);
    for (Chunk& chunk : chunks_) {
      if (Cell* found = claim_in(chunk, count)) return found;
    }
    void* mapped =
        mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    KYRO_CHECK(mapped != MAP_FAILED);
    // Zero pages are valid cells: Cell is a lock-free atomic of implicit lifetime size 8.
    chunks_.push_back(Chunk{static_cast<Cell*>(mapped), std::vector<bool>(kRowCells), 0});
    return claim_in(chunks_.back(), count);
  }

  void give_back(Cell* first, size_t count) {
    const MutexLock lock(mutex_);
    for (Chunk& chunk : chunks_) {
      if (first < chunk.cells || first >= chunk.cells + kRowCells) continue;
      const auto column = static_cast<size_t>(first - chunk.cells);
      chunk.taken_below = std::min(chunk.taken_below, column);
      for (size_t i = column; i < column + count; ++i) chunk.taken[i] = false;
      for (size_t slot = 0; slot < thread_slots_used(); ++slot) {
        Cell* row = chunk.cells + slot * kRowCells;
        for (size_t i = column; i < column + count; ++i) {
          // Writing a zero over a zero would fault a page in for nothing.
          if (row[i].load(std::memory_order_relaxed) != 0) row[i].store(0);
        }
      }
      return;
    }
    KYRO_CHECK(false);  // a column of no chunk
  }

 private:
  struct Chunk {
    Cell* cells;
    std::vector<bool> taken;
    size_t taken_below = 0;  // all columns before this one are taken
  };

  static Cell* claim_in(Chunk& chunk, size_t count) {
    while (chunk.taken_below < kRowCells && chunk.taken[chunk.taken_below]) ++chunk.taken_below;
    for (size_t from = chunk.taken_below; from + count <= kRowCells;) {
      size_t free = 0;
      while (free < count && !chunk.taken[from + free]) ++free;
      if (free < count) {
        from += free + 1;
        continue;
      }
      for (size_t i = from; i < from + count; ++i) chunk.taken[i] = true;
      return chunk.cells + from;
    }
    return nullptr;
  }

  Mutex mutex_;
  std::vector<Chunk> chunks_ KYRO_GUARDED_BY(mutex_);
};

// The first count of a thread, or one of a thread that shares its slot.
[[gnu::noinline, gnu::cold]] inline uint64_t add_slowly(Cell* column, uint64_t n) {
  Cell& cell = column[thread_slot() * kRowCells];
  if (!thread_slot_is_exclusive()) return cell.fetch_add(n, std::memory_order_relaxed) + n;
  cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  return cell.load(std::memory_order_relaxed);
}

// Adds to a column in the row of the calling thread; returns what is there now.
inline uint64_t add_to(Cell* column, uint64_t n) {
  const uint32_t slot = thread_slot_if_claimed();
  if (slot >= kOverflowSlot) [[unlikely]]
    return add_slowly(column, n);
  Cell& cell = column[slot * kRowCells];
  const uint64_t sum = cell.load(std::memory_order_relaxed) + n;
  cell.store(sum, std::memory_order_relaxed);
  return sum;
}

inline uint64_t sum_of(const Cell* column) {
  uint64_t sum = 0;
  const uint32_t slots = thread_slots_used();
  for (uint32_t slot = 0; slot < slots; ++slot) {
    sum += column[slot * kRowCells].load(std::memory_order_relaxed);
  }
  return sum;
}

}  // namespace counters_detail

// A number that only grows.
class Counter {
 public:
  Counter() : column_(counters_detail::Columns::get().claim(1)) {}
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;
  ~Counter() { counters_detail::Columns::get().give_back(column_, 1); }

  // Returns what the calling thread, or those on its slot, have counted so far.
  uint64_t add(uint64_t n = 1) { return counters_detail::add_to(column_, n); }
  [[nodiscard]] uint64_t value() const { return counters_detail::sum_of(column_); }

 private:
  counters_detail::Cell* column_;
};

// What a Histogram had counted: cumulative[i] values were <= bounds[i]; `count` is all of them.
struct HistogramSnapshot {
  std::vector<uint64_t> bounds;
  std::vector<uint64_t> cumulative;
  uint64_t count = 0;
  uint64_t sum = 0;

  // Those of another histogram with the same bounds too. One without bounds has counted nothing.
  void add(const HistogramSnapshot& other) {
    if (bounds.empty()) bounds = other.bounds;
    cumulative.resize(bounds.size());
    for (size_t i = 0; i < other.cumulative.size(); ++i) cumulative[i] += other.cumulative[i];
    count += other.count;
    sum += other.sum;
  }
};

// Bounds for durations in nanoseconds: 1, 2.5, 5 per decade from 1 µs to 10 s.
inline constexpr auto kLatencyBoundsNanos = std::to_array<uint64_t>(
    {1'000,         2'500,         5'000,         10'000,        25'000,      50'000,
     100'000,       250'000,       500'000,       1'000'000,     2'500'000,   5'000'000,
     10'000'000,    25'000'000,    50'000'000,    100'000'000,   250'000'000, 500'000'000,
     1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000});

// Counts values into buckets. A value belongs to the first bucket whose bound it does not exceed;
// after the last bound lies one more, unbounded bucket.
class Histogram {
 public:
  static constexpr size_t kBoundsMax = 200;

  // `bounds` ascending, at least one, at most kBoundsMax; copied.
  explicit Histogram(std::span<const uint64_t> bounds)
      : bounds_(bounds.begin(), bounds.end()),
        columns_(counters_detail::Columns::get().claim(bounds.size() + 2)) {
    KYRO_CHECK(!bounds_.empty() && bounds_.size() <= kBoundsMax);
    KYRO_CHECK(std::adjacent_find(bounds_.begin(), bounds_.end(), std::greater_equal<>()) ==
               bounds_.end());
    for (size_t width = 0; width < first_.size(); ++width) {
      const uint64_t smallest = width == 0 ? 0 : uint64_t{1} << (width - 1);
      const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), smallest);
      first_[width] = static_cast<uint8_t>(at - bounds_.begin());
    }
  }
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;
  ~Histogram() { counters_detail::Columns::get().give_back(columns_, bounds_.size() + 2); }

  // `count` times the same value.
  void observe(uint64_t value, uint64_t count = 1) {
    counters_detail::add_to(columns_ + 1 + bucket_of(value), count);
    counters_detail::add_to(columns_, value * count);
  }

  [[nodiscard]] HistogramSnapshot snapshot() const {
    HistogramSnapshot out;
    out.bounds = bounds_;
    out.sum = counters_detail::sum_of(columns_);
    for (size_t bucket = 0; bucket <= bounds_.size(); ++bucket) {
      out.count += counters_detail::sum_of(columns_ + 1 + bucket);
      if (bucket < bounds_.size()) out.cumulative.push_back(out.count);
    }
    return out;
  }

 private:
  // Starts at the first bound that a value of this bit width can have reached: with a few bounds
  // per octave a few steps, however many bounds there are.
  [[nodiscard]] size_t bucket_of(uint64_t value) const {
    size_t bucket = first_[static_cast<size_t>(std::bit_width(value))];
    while (bucket < bounds_.size() && bounds_[bucket] < value) ++bucket;
    return bucket;
  }

  std::vector<uint64_t> bounds_;
  std::array<uint8_t, 65> first_{};
  counters_detail::Cell* columns_;  // sum, then one column per bucket
};

// Counters of the request path: the same, but gone with -DKYRO_NO_METRICS.
class HotCounter : public Counter {
 public:
  uint64_t add([[maybe_unused]] uint64_t n = 1) {
#ifdef KYRO_NO_METRICS
    return 0;
#else
    return Counter::add(n);
#endif
  }
};

class HotHistogram : public Histogram {
 public:
  using Histogram::Histogram;
  void observe([[maybe_unused]] uint64_t value, [[maybe_unused]] uint64_t count = 1) {
#ifndef KYRO_NO_METRICS
    Histogram::observe(value, count);
#endif
  }
};

// True where hot counters count: spares the clock reads that feed them.
#ifdef KYRO_NO_METRICS
inline constexpr bool kHotMetrics = false;
#else
inline constexpr bool kHotMetrics = true;
#endif

// A number that goes up and down, set by whoever knows it. Not sharded: for rare writes.
class Gauge {
 public:
  void set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(uint64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  void sub(uint64_t n) { value_.fetch_sub(n, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace kyro
