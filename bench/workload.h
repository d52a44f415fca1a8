// What a run asks for: which keys exist, what their values are, and the sequence of operations.
//
// Key i of a data set of n is a fixed scrambling of i, so keys are spread over all 64 bits, popular
// ranks are no neighbours, and every program that knows n knows the keys. A value follows from its
// key alone: that is how every answer is checked.
//
// Thread rule: one thread. Ownership: values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "bench/datasets.h"
#include "bench/zipf.h"

namespace kyro::bench {

enum class Endpoint : uint8_t { kGetFast, kLookupFast, kLookup, kKv, kMget, kPut, kMixed };

enum class Op : uint8_t {
  kGetFast,
  kLookupFast,
  kLookup,
  kKv,
  kMget,   // `key` is the seed of its keys
  kPut,    // `key` gets its value
  kBatch,  // keys of the indexes from `key` on, `count` of them, get their values
};

struct Operation {
  Op op = Op::kGetFast;
  uint32_t count = 1;  // of keys
  uint64_t key = 0;
};

// A bijection of 64-bit numbers that leaves no pattern (the finaliser of SplitMix64).
[[nodiscard]] constexpr uint64_t scramble(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// The key of an index. Never the same for two.
[[nodiscard]] constexpr uint64_t key_of(uint64_t index) {
  return scramble(index + 0x9E3779B97F4A7C15u);
}

// Letters from A to P, so that a value is text for every protocol: four random bits in each.
inline void fill_value(uint64_t key, char* out, size_t bytes) {
  for (uint64_t word = 0; bytes != 0; ++word) {
    const uint64_t letters =
        (scramble(key + word * 0x9E3779B97F4A7C15u) & 0x0F0F0F0F0F0F0F0Fu) + 0x4141414141414141u;
    const size_t n = std::min(bytes, sizeof letters);
    std::memcpy(out, &letters, n);
    out += n;
    bytes -= n;
  }
}

inline void append_value(std::string& out, uint64_t key, size_t bytes) {
  const size_t at = out.size();
  out.resize(at + bytes);
  fill_value(key, out.data() + at, bytes);
}

// Whether `value` is what `key` was given.
[[nodiscard]] inline bool is_value_of(uint64_t key, std::string_view value, size_t bytes) {
  if (value.size() != bytes) return false;
  char expected[256];
  if (bytes <= sizeof expected) {
    fill_value(key, expected, bytes);
    return std::memcmp(expected, value.data(), bytes) == 0;
  }
  std::string longer;
  append_value(longer, key, bytes);
  return longer == value;
}

struct WorkloadOptions {
  uint64_t keys = 0;
  size_t value_bytes = 64;
  Endpoint endpoint = Endpoint::kGetFast;
  double zipf_theta = 0;  // 0: uniform
  uint32_t mget_keys = 32;
  double put_share = 0.05;  // of kMixed
};

// An endless, reproducible sequence of operations.
class Workload {
 public:
  Workload(const WorkloadOptions& options, uint64_t seed) : options_(options), random_(seed) {
    if (options.zipf_theta > 0) zipf_.emplace(options.keys, options.zipf_theta);
  }

  [[nodiscard]] Operation next() {
    switch (options_.endpoint) {
      case Endpoint::kGetFast:
        return {Op::kGetFast, 1, draw_key(random_)};
      case Endpoint::kLookupFast:
        return {Op::kLookupFast, 1, draw_key(random_)};
      case Endpoint::kLookup:
        return {Op::kLookup, 1, draw_key(random_)};
      case Endpoint::kKv:
        return {Op::kKv, 1, draw_key(random_)};
      case Endpoint::kMget:
        return {Op::kMget, options_.mget_keys, random_.next()};
      case Endpoint::kPut:
        return {Op::kPut, 1, draw_key(random_)};
      case Endpoint::kMixed:
        break;
    }
    const bool is_put = random_.real() <= options_.put_share;
    return {is_put ? Op::kPut : Op::kGetFast, 1, draw_key(random_)};
  }

  [[nodiscard]] uint64_t draw_key(Random& random) const {
    return key_of(zipf_ ? zipf_->rank(random) : random.below(options_.keys));
  }
  // Calls visit(key) for every key of a multi-get, in order.
  template <class Visit>
  void for_each_key(const Operation& mget, Visit visit) const {
    Random random(mget.key);
    for (uint32_t i = 0; i < mget.count; ++i) visit(draw_key(random));
  }
  [[nodiscard]] const WorkloadOptions& options() const { return options_; }

 private:
  WorkloadOptions options_;
  Random random_;
  std::optional<Zipf> zipf_;
};

}  // namespace kyro::bench
