// What the index tests share: key sets, an in-memory sink, an index over what was built.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/byte_sink.h"
#include "kyro/index/rmi.h"
#include "kyro/index/rmi_builder.h"

namespace kyro::test {

using Keys = std::vector<uint64_t>;  // strictly ascending

class StringSink : public ByteSink {
 public:
  explicit StringSink(std::string* out) : out_(out) {}
  Status append(const void* data, size_t n) override {
    out_->append(static_cast<const char*>(data), n);
    return Status();
  }

 private:
  std::string* out_;
};

// Has room for so many bytes.
class FullSink : public ByteSink {
 public:
  explicit FullSink(size_t room) : room_(room) {}
  Status append(const void*, size_t n) override {
    if (n > room_) return Status(Code::kNoSpace, "full");
    room_ -= n;
    return Status();
  }

 private:
  size_t room_;
};

// The i-th key has position 8 × i.
inline std::vector<IndexEntry> entries_of(const Keys& keys) {
  std::vector<IndexEntry> entries;
  entries.reserve(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) entries.push_back({keys[i], i * 8});
  return entries;
}

inline std::string build_bytes(std::span<const IndexEntry> entries, const RmiOptions& options,
                               RmiBuildStats* stats = nullptr) {
  std::string out;
  StringSink sink(&out);
  auto result = build_rmi(entries, options, sink);
  REQUIRE(result.ok());
  if (stats != nullptr) *stats = *result;
  return out;
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Builds and opens; the bytes lie at an aligned address and end where the heap block ends, so the
// address sanitizer sees a read after them.
class BuiltIndex {
 public:
  BuiltIndex(const std::vector<IndexEntry>& entries, const RmiOptions& options) {
    const std::string out = build_bytes(entries, options, &stats_);
    REQUIRE(out.size() % 8 == 0);
    size_ = out.size();
    bytes_ = std::make_unique<uint64_t[]>(size_ / 8);
    std::memcpy(bytes_.get(), out.data(), size_);
    auto opened = RmiIndex::open(bytes(), entries.size(), ~uint64_t{0});
    REQUIRE(opened.ok());
    index_ = std::make_unique<RmiIndex>(std::move(*opened));
  }
  [[nodiscard]] const RmiIndex& index() const { return *index_; }
  [[nodiscard]] const RmiBuildStats& stats() const { return stats_; }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(bytes_.get(), size_ / 8));
  }

 private:
  RmiBuildStats stats_;
  size_t size_ = 0;
  std::unique_ptr<uint64_t[]> bytes_;
  std::unique_ptr<RmiIndex> index_;
};

inline Keys sorted_unique(Keys keys) {
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

inline Keys uniform_keys(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys(n);
  for (uint64_t& key : keys) key = random();
  return sorted_unique(std::move(keys));
}

inline Keys dense_keys(size_t n, uint64_t from = 1000) {
  Keys keys(n);
  for (size_t i = 0; i < n; ++i) keys[i] = from + i;
  return keys;
}

// Exponentially distributed gaps whose scale wanders over many powers of two.
inline Keys cascade_keys(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys;
  uint64_t key = random() % 1000;
  int bits = 10;
  for (size_t i = 0; i < n; ++i) {
    if (random() % 16 == 0) bits = std::clamp(bits + static_cast<int>(random() % 9) - 4, 1, 44);
    const uint64_t gap = 1 + (random() & ((uint64_t{1} << bits) - 1));
    if (key > ~uint64_t{0} - gap) break;
    keys.push_back(key += gap);
  }
  return keys;
}

// Clusters at doubly exponentially growing distances: each level of a model peels off one.
inline Keys doubly_exponential_keys(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys;
  for (int cluster = 0; cluster < 6; ++cluster) {
    const uint64_t base = uint64_t{1} << (1 << cluster);
    for (size_t i = 0; i < n / 6; ++i) keys.push_back(base + random() % (2 * base));
  }
  return sorted_unique(std::move(keys));
}

// A dense cluster nested in a cluster nested in …: half the keys are always in a tiny part.
inline Keys nested_keys(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys;
  uint64_t low = 0;
  uint64_t span = ~uint64_t{0};
  for (size_t left = n; left > 4 && span > 1000; left /= 2) {
    for (size_t i = 0; i < left / 2; ++i) keys.push_back(low + random() % span);
    low += span / 3;
    span /= 1000;
  }
  return sorted_unique(std::move(keys));
}

// Pairs of neighbours at random places: the smallest local distance beside the largest.
inline Keys pair_keys(size_t n, uint64_t seed) {
  Keys keys = uniform_keys(n / 2, seed);
  for (size_t i = keys.size(); i-- > 0;) {
    if (keys[i] < ~uint64_t{0}) keys.push_back(keys[i] + 1);
  }
  return sorted_unique(std::move(keys));
}

// Random ids, far below a few outliers near 2^64.
inline Keys outlier_keys(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys;
  for (size_t i = 0; i < n; ++i) keys.push_back(random() >> 24);
  for (uint64_t i = 0; i < 21; ++i) keys.push_back(~uint64_t{0} - i * i * 977);
  return sorted_unique(std::move(keys));
}

inline Keys step_keys(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys;
  uint64_t key = 1;
  while (keys.size() < n) {
    const size_t run = 1 + random() % 700;
    for (size_t i = 0; i < run && keys.size() < n; ++i) keys.push_back(key++);
    key += random() >> 20;
  }
  return keys;
}

inline Keys power_keys(uint64_t around) {
  Keys keys;
  for (int bit = 0; bit < 64; ++bit) {
    for (uint64_t d = 0; d <= around; ++d) {
      keys.push_back((uint64_t{1} << bit) + d);
      keys.push_back((uint64_t{1} << bit) - d);
    }
  }
  return sorted_unique(std::move(keys));
}

inline Keys quadratic_keys(size_t n) {
  Keys keys;
  for (uint64_t i = 0; i < n; ++i) keys.push_back(i * i * i / 7 + i);
  return sorted_unique(std::move(keys));
}

inline Keys with_ends(Keys keys) {
  keys.push_back(0);
  keys.push_back(~uint64_t{0});
  return sorted_unique(std::move(keys));
}

inline std::vector<std::pair<const char*, Keys>> all_distributions(size_t n, uint64_t seed) {
  std::vector<std::pair<const char*, Keys>> all;
  all.emplace_back("uniform", uniform_keys(n, seed));
  all.emplace_back("dense", dense_keys(n));
  all.emplace_back("dense to the end", dense_keys(n, ~uint64_t{0} - n + 1));
  all.emplace_back("dense with both ends", with_ends(dense_keys(n)));
  all.emplace_back("cascade", cascade_keys(n, seed));
  all.emplace_back("doubly exponential", doubly_exponential_keys(n, seed));
  all.emplace_back("nested", nested_keys(n, seed));
  all.emplace_back("pairs", pair_keys(n, seed));
  all.emplace_back("outliers", outlier_keys(n, seed));
  all.emplace_back("steps", step_keys(n, seed));
  all.emplace_back("steps with both ends", with_ends(step_keys(n, seed)));
  all.emplace_back("powers of two", power_keys(0));
  all.emplace_back("around powers of two", power_keys(std::min<size_t>(n / 128 + 1, 40)));
  all.emplace_back("cubes", quadratic_keys(n));
  return all;
}

}  // namespace kyro::test
