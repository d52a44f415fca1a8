// RmiSampler: what the model says of keys at equal distances is about where they are.
#include "kyro/index/rmi_sample.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <random>
#include <set>

#include "test/support/rmi_test_util.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

// Keys in clumps of very different sizes over the whole range.
Keys clustered_keys(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::set<uint64_t> keys;
  for (int clump = 0; clump < 30; ++clump) {
    const uint64_t middle = random();
    const int count = 100 << (clump % 6);
    for (int i = 0; i < count; ++i) keys.insert(middle + (random() >> 16));
  }
  return {keys.begin(), keys.end()};
}

uint64_t rank_of(const Keys& keys, uint64_t key) {
  return static_cast<uint64_t>(std::lower_bound(keys.begin(), keys.end(), key) - keys.begin());
}

void check_sample(const Keys& keys, size_t points) {
  const BuiltIndex index(entries_of(keys), {});
  const auto sample = RmiSampler::sample(index.index(), points);
  REQUIRE(!sample.empty());
  CHECK(sample.size() <= points);
  for (size_t i = 0; i < sample.size(); ++i) {
    INFO("point " << i << " of " << sample.size() << ", key " << sample[i].key);
    CHECK(sample[i].depth >= 1);
    CHECK(sample[i].depth <= index.index().depth());
    CHECK(sample[i].leaf_rank <= sample[i].rank + 1);
    if (i > 0) {
      CHECK(sample[i].key > sample[i - 1].key);
      CHECK(sample[i].rank >= sample[i - 1].rank);
    }
    // Gaps stretch slots unevenly; on a picture of some hundred points that does not show.
    const auto truth = static_cast<double>(rank_of(keys, sample[i].key));
    const double bound = std::max(64.0, 0.08 * static_cast<double>(keys.size()));
    CHECK(std::abs(static_cast<double>(sample[i].rank) - truth) < bound);
  }
}

}  // namespace

TEST_CASE("A sample of the model follows the distribution of the keys") {
  Keys dense, squares;
  for (uint64_t i = 0; i < 20'000; ++i) {
    dense.push_back(1000 + i);
    squares.push_back(i * i * 1'000'003);
  }
  check_sample(dense, 128);
  check_sample(squares, 128);
  const uint64_t seed = test_seed(20261128);
  INFO("seed " << seed);
  check_sample(clustered_keys(seed), 256);
}

TEST_CASE("A sample of few keys has as many points as there are distances, none of no keys") {
  const BuiltIndex none({}, {});
  CHECK(RmiSampler::sample(none.index(), 10).empty());
  const BuiltIndex one(entries_of({7}), {});
  CHECK(RmiSampler::sample(one.index(), 10).size() == 1);
  const BuiltIndex three(entries_of({7, 8, 9}), {});
  CHECK(RmiSampler::sample(three.index(), 10).size() == 3);
  CHECK(RmiSampler::sample(three.index(), 1).size() == 1);
  CHECK(RmiSampler::sample(three.index(), 0).empty());
}

TEST_CASE("An outlier does not stretch what is sampled") {
  Keys keys;
  for (uint64_t i = 0; i < 20'000; ++i) keys.push_back(i * 3);
  keys.push_back(~uint64_t{0});
  const BuiltIndex index(entries_of(keys), {});
  const auto sample = RmiSampler::sample(index.index(), 64);
  CHECK(sample.size() == 64);
  CHECK(sample.back().key < 100'000);
}

}  // namespace kyro::test
