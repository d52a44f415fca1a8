// The parts of the benches that numbers depend on: histogram and zipfian ranks.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <vector>

#include "bench/datasets.h"
#include "bench/zipf.h"
#include "kyro/base/latency_histogram.h"

namespace kyro::bench {
namespace {

TEST_CASE("quantiles of a histogram are within 0.8 % of the sorted values") {
  Random random(7);
  LatencyHistogram left;
  LatencyHistogram right;
  std::vector<uint64_t> values(50'000);
  for (uint64_t& value : values) {
    value = random.next() >> random.below(64);  // every magnitude, the largest included
    (random.below(2) == 0 ? left : right).record(value);
  }
  std::sort(values.begin(), values.end());
  left.merge(right);
  REQUIRE(left.count() == values.size());
  CHECK(left.max() == values.back());
  for (const double q : {0.001, 0.25, 0.5, 0.95, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(values.size())));
    const auto exact = static_cast<double>(values[rank - 1]);
    const auto got = static_cast<double>(left.quantile(q));
    INFO("q=" << q << " exact=" << exact << " got=" << got);
    CHECK(got >= exact);
    CHECK(got <= exact * 1.008);
  }
}

TEST_CASE("small values are counted exactly and an empty histogram says 0") {
  LatencyHistogram histogram;
  CHECK(histogram.quantile(0.5) == 0);
  for (uint64_t value = 1; value <= 200; ++value) histogram.record(value);
  CHECK(histogram.quantile(0.0) == 1);
  CHECK(histogram.quantile(0.5) == 100);
  CHECK(histogram.quantile(1.0) == 200);
}

TEST_CASE("zipfian ranks come as often as the power law says") {
  for (const double theta : {0.5, 0.99, 1.0, 1.3}) {
    constexpr uint64_t kRanks = 1000;
    constexpr size_t kDraws = 400'000;
    double sum = 0;
    for (uint64_t k = 1; k <= kRanks; ++k) sum += std::pow(static_cast<double>(k), -theta);
    std::vector<size_t> drawn(kRanks);
    Random random(11);
    const Zipf zipf(kRanks, theta);
    for (size_t i = 0; i < kDraws; ++i) ++drawn.at(zipf.rank(random));
    for (const uint64_t rank : {0u, 1u, 2u, 9u, 99u, 999u}) {
      const double expected = kDraws * std::pow(static_cast<double>(rank + 1), -theta) / sum;
      INFO("theta=" << theta << " rank=" << rank << " drawn=" << drawn[rank]);
      CHECK(std::abs(static_cast<double>(drawn[rank]) - expected) < 6 * std::sqrt(expected) + 1);
    }
  }
}

TEST_CASE("one rank is drawn always, and scattered ranks stay in range") {
  Random random(13);
  const Zipf one(1, 0.99);
  for (int i = 0; i < 100; ++i) REQUIRE(one.rank(random) == 0);
  for (uint64_t rank = 0; rank < 1000; ++rank) REQUIRE(Zipf::scatter(rank, 37) < 37);
}

}  // namespace
}  // namespace kyro::bench
