// Many reads at once answer what single reads answer.
#include "kyro/storage/read/multi_get.h"

#include <catch2/catch.hpp>

#include "test/support/engine_harness.h"
#include "test/support/run_util.h"

namespace kyro::test {
namespace {

std::vector<uint64_t> random_keys(std::mt19937_64& random, size_t n) {
  std::vector<uint64_t> keys(n);
  for (uint64_t& key : keys) key = Layers::random_key(random);
  return keys;
}

}  // namespace

TEST_CASE("a multi-get finds the version that a single read finds, under every bound") {
  for (uint64_t round = 0; round < 60; ++round) {
    const uint64_t seed = test_seed(40) + round;
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const Layers layers(random, random() % 20, random() % 3);
    for (const size_t n :
         {size_t{0}, size_t{1}, size_t{2}, size_t{255}, size_t{256}, size_t{257}, size_t{1000}}) {
      const uint64_t bound = layers.random_bound(random);
      const Moment moment = layers.moment(bound, 0);
      const std::vector<uint64_t> keys = random_keys(random, n);
      size_t visited = 0;
      const Status status = MultiGet(moment).run(keys, [&](size_t i, const Lookup& found) {
        REQUIRE(i == visited++);
        const Lookup single = find_in_view(layers.view, keys[i], bound);
        REQUIRE(found.source() == single.source());
        if (!found.has_record()) return true;
        REQUIRE(found.holder() == single.holder());
        REQUIRE(found.value() == single.value());
        REQUIRE(found.offset() == single.offset());
        return true;
      });
      REQUIRE(status.ok());
      REQUIRE(visited == n);
    }
  }
}

TEST_CASE("a multi-get of the engine gives live values, counts them, and stops when told") {
  FaultFs fs;
  Options options = small_options(fs);
  use_fake_clock(&options);
  fake_now_secs = 1000;
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 300; ++key) {
    must_put(*engine, key, std::to_string(key));
    if (key == 100 || key == 200) REQUIRE(engine->snapshot().ok());
  }
  REQUIRE(engine->remove(7).ok());
  REQUIRE(engine->put(8, "old", 1000).ok());
  REQUIRE(engine->put(9, "young", 1001).ok());
  const std::vector<uint64_t> keys = {5, 7, 8, 9, 150, 299, 300, ~uint64_t{0}, 5};
  std::vector<std::string> got;
  const uint64_t misses_before = engine->stats().read_misses.value();
  REQUIRE(engine
              ->multi_get(keys,
                          [&](size_t, const Lookup* found) {
                            got.push_back(found == nullptr ? "-" : std::string(found->value()));
                            return true;
                          })
              .ok());
  CHECK(got == std::vector<std::string>{"5", "-", "-", "young", "150", "299", "-", "-", "5"});
  if constexpr (kHotMetrics) CHECK(engine->stats().read_misses.value() == misses_before + 4);
  size_t visited = 0;
  REQUIRE(engine
              ->multi_get(keys,
                          [&](size_t i, const Lookup*) {
                            visited = i + 1;
                            return i < 2;
                          })
              .ok());
  CHECK(visited == 3);
}

TEST_CASE("a multi-get that meets a damaged record says so, after the values before it") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 100; ++key) must_put(*engine, key, "value-" + std::to_string(key));
  REQUIRE(engine->snapshot().ok());
  engine.reset();
  const std::string path = files(fs, "run-", ".data").at(0);
  std::string bytes = fs.contents(path);
  const size_t at = bytes.find("value-50");
  REQUIRE(at != std::string::npos);
  bytes[at] = 'V';
  fs.put_file(path, bytes);
  engine = must_open(options);
  const uint64_t keys[] = {1, 49, 500, 50, 51};
  size_t visited = 0;
  const Status status = engine->multi_get(keys, [&](size_t i, const Lookup* found) {
    CHECK((found == nullptr) == (keys[i] == 500));
    visited = i + 1;
    return true;
  });
  CHECK(status.code() == Code::kCorruption);
  CHECK(visited == 3);
  CHECK(engine->stats().corruptions.value() == 1);
}

}  // namespace kyro::test
