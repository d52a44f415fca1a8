// Latencies in buckets whose width grows with the value, as in HdrHistogram: quantiles within 0.8
// %, constant memory, recording in a few instructions.
//
// A value below 128 has a bucket of its own; above, each power of two is cut into 128 buckets.
// Units are the caller's (nanoseconds, mostly). Thread rule: one thread per histogram,
// merged afterwards.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kyro {

class LatencyHistogram {
 public:
  LatencyHistogram() : counts_(kBuckets) {}

  void record(uint64_t value) {
    ++counts_[bucket_of(value)];
    ++count_;
    max_ = std::max(max_, value);
  }

  void merge(const LatencyHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
  }

  // The smallest recorded value (to the precision) that a share `q` of all values do not exceed;
  // 0 if nothing was recorded.
  [[nodiscard]] uint64_t quantile(double q) const {
    const double wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_));
    const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(wanted));
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen >= rank) return std::min(highest_in(i), max_);
    }
    return max_;
  }

  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] uint64_t max() const { return max_; }

 private:
  static constexpr unsigned kSubBits = 7;
  static constexpr uint64_t kSub = uint64_t{1} << kSubBits;
  static constexpr size_t kBuckets = (64 - kSubBits + 1) * kSub;

  // The top kSubBits + 1 bits of the value, and how far they were moved.
  static size_t bucket_of(uint64_t value) {
    if (value < kSub) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
    return shift * kSub + (value >> shift);
  }
  static uint64_t highest_in(size_t bucket) {
    if (bucket < 2 * kSub) return bucket;
    const size_t shift = bucket / kSub - 1;
    return (((bucket - shift * kSub) + 1) << shift) - 1;
  }

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace kyro
