// Lookups of the learned index against sorted vectors, over friendly and hostile key sets.
#include "kyro/index/rmi.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kyro/index/huge_bytes.h"
#include "kyro/index/rmi_builder.h"
#include "test/support/rmi_test_util.h"
#include "test/support/test_util.h"

using kyro::FindCode;
using kyro::FindResult;
using kyro::IndexEntry;
using kyro::RmiIndex;
using kyro::RmiOptions;
using kyro::test::BuiltIndex;
using kyro::test::entries_of;
using kyro::test::Keys;

namespace {

// Keys worth asking for: every key (or a sample), its neighbours, the ends, random ones.
std::vector<uint64_t> probes_of(const Keys& keys, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> probes = {0, 1, ~uint64_t{0}, ~uint64_t{0} - 1, uint64_t{1} << 63};
  const size_t stride = std::max<size_t>(1, keys.size() / 20000);
  for (size_t i = 0; i < keys.size(); i += 1 + random() % stride) {
    probes.insert(probes.end(), {keys[i], keys[i] - 1, keys[i] + 1});
    if (i + 1 < keys.size()) probes.push_back(keys[i] + (keys[i + 1] - keys[i]) / 2);
  }
  if (!keys.empty()) probes.insert(probes.end(), {keys.front(), keys.back(), keys.back() + 1});
  for (int i = 0; i < 1000; ++i) {
    probes.push_back(random());
    if (!keys.empty())
      probes.push_back(keys.front() + random() % (keys.back() - keys.front() + 1 == 0
                                                      ? 1
                                                      : keys.back() - keys.front() + 1));
  }
  return probes;
}

// Every lookup of every probe agrees with the sorted entries.
void check_lookups(const RmiIndex& index, const std::vector<IndexEntry>& entries,
                   const std::vector<uint64_t>& probes) {
  const auto less = [](const IndexEntry& entry, uint64_t key) { return entry.key < key; };
  size_t wrong = 0;
  for (const uint64_t key : probes) {
    const auto at = std::lower_bound(entries.begin(), entries.end(), key, less);
    const bool present = at != entries.end() && at->key == key;
    const FindResult found = index.find(key);
    bool good = found.code == (present ? FindCode::kHit : FindCode::kMiss) &&
                found.position == (present ? at->position : 0);
    const RmiIndex::Cursor above = index.lower_bound(key);
    good = good && !above.corrupt() && above.valid() == (at != entries.end()) &&
           (!above.valid() || (above.key() == at->key && above.position() == at->position));
    const auto below = present ? at : at == entries.begin() ? entries.end() : at - 1;
    const RmiIndex::Cursor floor = index.floor(key);
    good = good && !floor.corrupt() && floor.valid() == (below != entries.end()) &&
           (!floor.valid() || (floor.key() == below->key && floor.position() == below->position));
    if (present) good = good && index.probe_length(key) >= 1;
    good = good && index.probe_length(key) <= index.epsilon_max() + uint64_t{2};
    if (!good && wrong++ == 0) FAIL_CHECK("first wrong answer for key " << key);
  }
  CHECK(wrong == 0);
}

void check_batch(const RmiIndex& index, const std::vector<uint64_t>& probes) {
  std::vector<FindResult> results(probes.size());
  index.find_batch(probes.data(), probes.size(), results.data());
  size_t wrong = 0;
  for (size_t i = 0; i < probes.size(); ++i) {
    const FindResult single = index.find(probes[i]);
    wrong += single.code != results[i].code || single.position != results[i].position;
  }
  CHECK(wrong == 0);
}

void check_iteration(const RmiIndex& index, const std::vector<IndexEntry>& entries) {
  size_t at = 0;
  bool same = true;
  RmiIndex::Cursor cursor = index.first();
  for (; cursor.valid() && same; cursor.next(), ++at) {
    same = at < entries.size() && entries[at] == IndexEntry{cursor.key(), cursor.position()};
  }
  CHECK(same);
  CHECK(!cursor.corrupt());
  CHECK(at == entries.size());
  cursor = index.last();
  for (; cursor.valid() && same; cursor.prev(), --at) {
    same = at > 0 && entries[at - 1] == IndexEntry{cursor.key(), cursor.position()};
  }
  CHECK(same);
  CHECK(!cursor.corrupt());
  CHECK(at == 0);
}

void check_everything(const Keys& keys, const RmiOptions& options, uint64_t seed) {
  const std::vector<IndexEntry> entries = entries_of(keys);
  const BuiltIndex built(entries, options);
  const RmiIndex& index = built.index();
  CHECK(index.entries() == keys.size());
  CHECK(built.stats().entries == keys.size());
  CHECK(built.stats().file_bytes == index.size_bytes());
  CHECK(built.stats().model_bytes == index.model_bytes());
  CHECK(built.stats().depth == index.depth());
  const std::vector<uint64_t> probes = probes_of(keys, seed);
  check_lookups(index, entries, probes);
  check_batch(index, probes);
  check_iteration(index, entries);
  CHECK(index.verify().ok());
}

}  // namespace

TEST_CASE("every distribution answers as the sorted vector does") {
  const uint64_t seed = kyro::test::test_seed(20260101);
  INFO("seed " << seed);
  for (const size_t n : {size_t{10}, size_t{300}, size_t{5000}, size_t{60000}}) {
    for (const auto& [name, keys] : kyro::test::all_distributions(n, seed)) {
      INFO(name << " n=" << keys.size());
      check_everything(keys, RmiOptions{}, seed);
    }
  }
}

TEST_CASE("sets of none, one, two and extreme keys answer exactly") {
  const uint64_t top = ~uint64_t{0};
  const std::vector<Keys> sets = {{},
                                  {0},
                                  {top},
                                  {5},
                                  {0, top},
                                  {0, 1},
                                  {top - 1, top},
                                  {0, 1, top},
                                  {0, top - 1, top},
                                  {7, 8, 9},
                                  {1ull << 63},
                                  {1, 1ull << 63, top}};
  for (const Keys& keys : sets) {
    INFO("n=" << keys.size() << " first " << (keys.empty() ? 0 : keys[0]));
    check_everything(keys, RmiOptions{}, 1);
  }
}

TEST_CASE("an empty index misses everything and has no cursor") {
  const BuiltIndex built({}, RmiOptions{});
  const RmiIndex& index = built.index();
  CHECK(index.entries() == 0);
  for (const uint64_t key : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}}) {
    CHECK(index.find(key).code == FindCode::kMiss);
    CHECK(!index.lower_bound(key).valid());
    CHECK(!index.floor(key).valid());
    CHECK(index.probe_length(key) == 0);
  }
  CHECK(!index.first().valid());
  CHECK(!index.first().corrupt());
  CHECK(!index.last().valid());
  CHECK(index.verify().ok());
}

TEST_CASE("every small set over a small universe answers exactly at both ends of the key space") {
  // All 2^10 subsets, placed at 0, in the middle and against 2^64-1.
  const std::vector<uint64_t> offsets = {0, 1ull << 40, ~uint64_t{0} - 9};
  size_t wrong = 0;
  for (const uint64_t offset : offsets) {
    for (uint32_t subset = 0; subset < 1024; ++subset) {
      Keys keys;
      for (uint64_t bit = 0; bit < 10; ++bit) {
        if ((subset >> bit & 1) != 0) keys.push_back(offset + bit);
      }
      const BuiltIndex built(entries_of(keys), RmiOptions{.target_leaf = 4, .eps_mult = 1.0});
      for (uint64_t bit = 0; bit < 10; ++bit) {
        const bool present = (subset >> bit & 1) != 0;
        wrong += (built.index().find(offset + bit).code == FindCode::kHit) != present;
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("options move the bound and the root but never an answer") {
  const uint64_t seed = kyro::test::test_seed(77);
  INFO("seed " << seed);
  for (const auto& [name, keys] : kyro::test::all_distributions(20000, seed)) {
    for (const RmiOptions& options : {RmiOptions{4, 1.0}, RmiOptions{32, 2.0},
                                      RmiOptions{4096, 8.0}, RmiOptions{65536, 64.0}}) {
      INFO(name << " target_leaf=" << options.target_leaf << " eps_mult=" << options.eps_mult);
      check_everything(keys, options, seed);
    }
  }
}

TEST_CASE("options out of range are refused") {
  std::string out;
  kyro::test::StringSink sink(&out);
  for (const RmiOptions& bad :
       {RmiOptions{3, 1.0}, RmiOptions{65537, 1.0}, RmiOptions{256, 0.99}, RmiOptions{256, 65.0},
        RmiOptions{256, std::numeric_limits<double>::quiet_NaN()}}) {
    CHECK(kyro::build_rmi({}, bad, sink).status().code() == kyro::Code::kInvalid);
  }
}

TEST_CASE("keys out of order are refused wherever they stand") {
  const uint64_t seed = kyro::test::test_seed(5);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    Keys keys = kyro::test::uniform_keys(2 + random() % 3000, random());
    const size_t at = random() % (keys.size() - 1);
    switch (random() % 4) {
      case 0:
        keys[at + 1] = keys[at];
        break;
      case 1:
        std::swap(keys[at], keys[at + 1]);
        break;
      case 2:
        keys[at + 1] = 0;
        break;
      default:
        keys[at] = ~uint64_t{0};
        break;
    }
    std::string out;
    kyro::test::StringSink sink(&out);
    const auto result = kyro::build_rmi(entries_of(keys), RmiOptions{}, sink);
    CHECK(result.status().code() == kyro::Code::kInvalid);
  }
}

TEST_CASE("a sink that fails stops the build with its status") {
  const Keys keys = kyro::test::uniform_keys(20000, 3);
  for (const size_t room : {size_t{0}, size_t{100}, size_t{70000}, size_t{400000}}) {
    kyro::test::FullSink sink(room);
    CHECK(kyro::build_rmi(entries_of(keys), RmiOptions{}, sink).status().code() ==
          kyro::Code::kNoSpace);
  }
}

TEST_CASE("smooth keys cost little model and stay within the bound") {
  for (const auto& keys : {kyro::test::uniform_keys(200000, 9), kyro::test::dense_keys(200000)}) {
    const BuiltIndex built(entries_of(keys), RmiOptions{});
    CHECK(static_cast<double>(built.stats().model_bytes) / static_cast<double>(keys.size()) < 0.1);
    CHECK(static_cast<double>(built.stats().file_bytes) / static_cast<double>(keys.size()) < 22.0);
    CHECK(built.stats().epsilon_max <= 14);
    CHECK(built.stats().depth <= 3);
  }
}

TEST_CASE("outliers at either end do not deepen the model of the other keys") {
  const Keys regular = [] {
    Keys keys = kyro::test::uniform_keys(100000, 5);
    for (uint64_t& key : keys) key = (uint64_t{1} << 40) + (key >> 24);
    return kyro::test::sorted_unique(std::move(keys));
  }();
  const BuiltIndex plain(entries_of(regular), RmiOptions{});
  for (const bool above : {false, true}) {
    for (const bool below : {false, true}) {
      Keys keys = regular;
      for (uint64_t i = 1; i <= 20; ++i) {
        if (above) keys.push_back(~uint64_t{0} - i * i * i * 977);
        if (below) keys.push_back(i * i * 7);
      }
      keys = kyro::test::sorted_unique(std::move(keys));
      INFO("outliers below " << below << ", above " << above);
      const BuiltIndex built(entries_of(keys), RmiOptions{});
      const size_t few = 40 * sizeof(uint64_t) + 4 * sizeof(kyro::RmiZoom);
      CHECK(built.stats().model_bytes <= plain.stats().model_bytes + few);
      check_everything(keys, RmiOptions{}, 6);
    }
  }
}

TEST_CASE("hostile keys cost bounded model, slots and depth") {
  const uint64_t seed = kyro::test::test_seed(4242);
  INFO("seed " << seed);
  for (const auto& [name, keys] : kyro::test::all_distributions(100000, seed)) {
    if (keys.size() < 1000) continue;
    const BuiltIndex built(entries_of(keys), RmiOptions{});
    INFO(name << " model " << built.stats().model_bytes << " file " << built.stats().file_bytes);
    const auto n = static_cast<double>(keys.size());
    CHECK(static_cast<double>(built.stats().model_bytes) / n < 8.0);
    CHECK(static_cast<double>(built.stats().file_bytes) / n < 32.0);
    CHECK(built.stats().depth <= 20);
  }
}

TEST_CASE("positions are carried as they are") {
  std::vector<IndexEntry> entries;
  for (uint64_t i = 0; i < 5000; ++i) entries.push_back({i * 3, ~(i * 0x9E3779B97F4A7C15ull) - 1});
  const BuiltIndex built(entries, RmiOptions{});
  size_t wrong = 0;
  for (const IndexEntry& entry : entries) {
    wrong += built.index().find(entry.key).position != entry.position;
  }
  CHECK(wrong == 0);
}

TEST_CASE("threads share one index from the first touch on") {
  const Keys keys = kyro::test::uniform_keys(100000, 12);
  const BuiltIndex built(entries_of(keys), RmiOptions{});
  std::atomic<size_t> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < keys.size(); ++i) {
        const size_t at = (i * 7919 + t * 1000) % keys.size();
        const FindResult found = built.index().find(keys[at]);
        if (found.code != FindCode::kHit || found.position != at * 8) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("an index copied into huge pages answers as the original does") {
  const Keys keys = kyro::test::uniform_keys(200000, 21);
  const std::vector<IndexEntry> entries = entries_of(keys);
  const BuiltIndex built(entries, RmiOptions{});
  size_t chunks = 0;
  auto copy = kyro::HugeBytes::copy_of(built.bytes(), [&](size_t, size_t n) {
    ++chunks;
    CHECK(n <= kyro::HugeBytes::kChunkBytes);
  });
  REQUIRE(copy.ok());
  CHECK(chunks >= 1);
  auto index = RmiIndex::open(copy->bytes(), keys.size(), ~uint64_t{0});
  REQUIRE(index.ok());
  check_lookups(*index, entries, probes_of(keys, 21));
  const kyro::HugeBytes moved = std::move(*copy);
  CHECK(index->find(keys[5]).code == FindCode::kHit);
  CHECK(kyro::HugeBytes::copy_of({})->bytes().empty());
}
