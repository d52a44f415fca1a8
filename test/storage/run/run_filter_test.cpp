// The filter of a run: never a key that is there, few that are not, and damage costs no answer.
#include "kyro/storage/run/run_filter.h"

#include <catch2/catch.hpp>
#include <random>

#include "kyro/storage/read/lookup.h"
#include "test/support/run_util.h"

namespace kyro::test {
namespace {

// A run of n records with values of about so many bytes, and random keys.
Versions random_keys(std::mt19937_64& random, size_t n, size_t value_bytes, bool is_exact) {
  Versions out;
  while (out.size() < n) {
    const size_t bytes = is_exact ? value_bytes : random() % (2 * value_bytes + 1);
    out[random()] = {true, std::string(bytes, 'v'), out.size(), 0};
  }
  return out;
}

}  // namespace

TEST_CASE("the filter lets every key pass, and one in a hundred of those that are not there") {
  const uint64_t seed = test_seed(5);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Store store;
  for (const size_t value_bytes : {size_t{0}, size_t{8}, size_t{64}, size_t{300}, size_t{1000}}) {
    const Versions versions = random_keys(random, 20'000, value_bytes, true);
    const auto run = store.write(versions, 0, versions.size());
    const RunFilter& filter = run->pages().filter();
    const auto page_of = [&](uint64_t key) {
      return run->index().find<RmiMatch::kCeiling>(key).position;
    };
    for (const auto& [key, version] : versions) REQUIRE(filter.may_hold(page_of(key), key));
    size_t passed = 0;
    size_t asked = 0;
    for (int i = 0; i < 100'000; ++i) {
      const uint64_t key = random();
      if (versions.contains(key) || key > run->meta().key_max) continue;
      ++asked;
      if (filter.may_hold(page_of(key), key)) ++passed;
    }
    INFO(passed << " of " << asked << ", values of " << value_bytes);
    CHECK(static_cast<double>(passed) < 0.012 * static_cast<double>(asked));
    const uint64_t per_page = (versions.size() + run->body().pages - 1) / run->body().pages;
    CHECK(run->filter_bytes() <= run->body().pages * (4 + per_page * 10 / 8 + 2));
  }
}

TEST_CASE("lookups answer alike while the filter is asked and while it is not") {
  const uint64_t seed = test_seed(6);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Store store;
  const Versions versions = random_keys(random, 3000, 60, false);
  const auto run = store.write(versions, 0, versions.size());
  const auto check_all = [&](bool with_absent) {
    for (const auto& [key, version] : versions) {
      const Lookup found = find_in_run(run, key);
      REQUIRE(found.source() == Source::kRun);
      REQUIRE(found.value() == version.value);
      if (with_absent) REQUIRE(find_in_run(run, key + 1).source() == Source::kNone);
    }
  };
  check_all(true);
  for (int round = 0; round < 4; ++round) check_all(false);  // hits use the credit up
  check_all(true);
}

TEST_CASE("a damaged filter costs no answer, is found by verify and made anew") {
  const uint64_t seed = test_seed(7);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Store store;
  const Versions versions = random_keys(random, 150, 60, false);
  const auto good_run = store.write(versions, 0, versions.size());
  const RunMeta meta = good_run->meta();
  const std::string path = "data/" + run_index_name(meta.id);
  const std::string good = store.fs.contents(path);
  const size_t end = good.size() - sizeof(IndexSeal);
  for (size_t at = end - sizeof(FilterTail) - good_run->filter_bytes(); at < end; ++at) {
    INFO("byte " << at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (random() % 8)));
    store.fs.put_file(path, bad);
    bool rebuilt = false;
    const auto run = Run::open(*store.dir, meta, {}, &rebuilt);
    REQUIRE(run.ok());
    REQUIRE(rebuilt == (at >= end - sizeof(FilterTail)));
    if (!rebuilt) REQUIRE(verify_index(**run).code() == Code::kCorruption);
    for (const auto& [key, version] : versions) {
      const Lookup found = find_in_run(*run, key);
      REQUIRE(found.source() == Source::kRun);
      REQUIRE(find_in_run(*run, key - 1).source() == Source::kNone);
    }
    if (!rebuilt) REQUIRE((*run)->rebuild_index(*store.dir, {}).ok());
    REQUIRE(store.fs.contents(path) == good);
  }
}

}  // namespace kyro::test
