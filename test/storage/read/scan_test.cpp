// Ordered reads over deltas and runs, held against a map: both directions, any slices, one moment.
#include "kyro/storage/read/scan.h"

#include <catch2/catch.hpp>
#include <thread>

#include "test/support/engine_harness.h"
#include "test/support/run_util.h"

namespace kyro::test {
namespace {

using Item = std::pair<uint64_t, Version>;

Item item_of(const RecordView& record) {
  return {record.header.key,
          {true, std::string(record.value), record.header.offset, record.header.expiry_secs()}};
}

// What the model says a scan of `range` yields, in its order.
std::vector<Item> expected_items(const Versions& live, const ScanRange& range) {
  std::vector<Item> out;
  for (const auto& [key, version] : live) {
    if (key >= range.first && key <= range.last) out.emplace_back(key, version);
  }
  if (range.direction == Direction::kDown) std::reverse(out.begin(), out.end());
  return out;
}

// Drives a scan to its end with random slices and visitors that stop now and then.
std::vector<Item> drive(Scan& scan, std::mt19937_64& random) {
  std::vector<Item> out;
  for (;;) {
    uint64_t left = random() % 5;
    const uint64_t budget_bytes = random() % 3 == 0 ? 0 : random() % 2000;
    const auto state = scan.advance(budget_bytes, [&](const RecordView& record) {
      if (left-- == 0) return false;
      out.push_back(item_of(record));
      return true;
    });
    REQUIRE(state.ok());
    if (*state == Scan::State::kEnd) return out;
  }
}

ScanRange random_range(std::mt19937_64& random) {
  ScanRange range;
  if (random() % 4 != 0) range.first = Layers::random_key(random);
  if (random() % 4 != 0) range.last = Layers::random_key(random);
  range.direction = random() % 2 == 0 ? Direction::kUp : Direction::kDown;
  return range;
}

}  // namespace

TEST_CASE("a scan yields what a map holds, in both directions, under every bound, in any slices") {
  for (uint64_t round = 0; round < 60; ++round) {
    const uint64_t seed = test_seed(500) + round;
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const Layers layers(random, random() % 5, random() % 3);
    for (int i = 0; i < 20; ++i) {
      const uint64_t bound = layers.random_bound(random);
      const uint64_t now_secs = random() % 120;
      const ScanRange range = random_range(random);
      Scan scan(layers.moment(bound, now_secs), range);
      REQUIRE(drive(scan, random) == expected_items(layers.live(bound, now_secs), range));
    }
  }
}

TEST_CASE("a scan of nothing, of one key and of both ends of the key range is exact") {
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  const auto keys_of = [&](const ScanRange& range) {
    std::vector<uint64_t> keys;
    REQUIRE(engine
                ->scan(range,
                       [&](uint64_t key, std::string_view, uint64_t) {
                         keys.push_back(key);
                         return true;
                       })
                .ok());
    return keys;
  };
  constexpr uint64_t kMax = ~uint64_t{0};
  CHECK(keys_of({}).empty());
  must_put(*engine, 0, "zero");
  must_put(*engine, kMax, "max");
  must_put(*engine, 7, "seven");
  if (GENERATE(false, true)) REQUIRE(engine->snapshot().ok());
  using Keys = std::vector<uint64_t>;
  CHECK(keys_of({}) == Keys{0, 7, kMax});
  CHECK(keys_of({0, kMax, Direction::kDown}) == Keys{kMax, 7, 0});
  CHECK(keys_of({0, 0}) == Keys{0});
  CHECK(keys_of({0, 0, Direction::kDown}) == Keys{0});
  CHECK(keys_of({kMax, kMax}) == Keys{kMax});
  CHECK(keys_of({kMax, kMax, Direction::kDown}) == Keys{kMax});
  CHECK(keys_of({1, 6}).empty());
  CHECK(keys_of({1, 6, Direction::kDown}).empty());
  CHECK(keys_of({7, 0}).empty());
  CHECK(keys_of({1, kMax - 1, Direction::kDown}) == Keys{7});
}

TEST_CASE("floor and ceil find the nearest live key at every edge") {
  for (uint64_t round = 0; round < 10; ++round) {
    const uint64_t seed = test_seed(700) + round;
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    FaultFs fs;
    auto engine = must_open(small_options(fs));
    std::map<uint64_t, std::string> live;
    for (int i = 0; i < 400; ++i) {
      const uint64_t key = Layers::random_key(random);
      if (random() % 2 == 0) {
        must_put(*engine, key, live[key] = std::to_string(i));
      } else {
        const Mutation removal = Mutation::remove(key);
        REQUIRE(engine->write({&removal, 1}).ok());
        live.erase(key);
      }
      if (random() % 100 == 0) REQUIRE(engine->snapshot().ok());
    }
    std::vector<uint64_t> probes = {0, 1, ~uint64_t{0}, ~uint64_t{0} - 1};
    for (int i = 0; i < 50; ++i) probes.push_back(Layers::random_key(random));
    for (const uint64_t probe : probes) {
      uint64_t key = 0;
      std::string value;
      const auto above = live.lower_bound(probe);
      const Status up = engine->ceil(probe, &key, &value);
      REQUIRE(up.code() == (above == live.end() ? Code::kNotFound : Code::kOk));
      if (up.ok()) REQUIRE((key == above->first && value == above->second));
      const auto behind = live.upper_bound(probe);
      const Status down = engine->floor(probe, &key, &value);
      REQUIRE(down.code() == (behind == live.begin() ? Code::kNotFound : Code::kOk));
      if (down.ok()) REQUIRE(key == std::prev(behind)->first);
    }
  }
}

TEST_CASE("a scan is one moment while a writer moves pairs, flushes and merges") {
  constexpr uint64_t kPairs = 64;
  constexpr uint64_t kApart = uint64_t{1} << 40;
  FaultFs fs;
  Options options = small_options(fs);
  options.merge_fan_in = 2;
  auto engine = must_open(options);
  std::atomic<bool> has_failed{false};  // Catch2 takes assertions from one thread only
  const auto write_pair = [&](uint64_t pair, const std::string& value) {
    const Mutation both[] = {Mutation::put(pair, value), Mutation::put(pair + kApart, value)};
    if (!engine->write(both).ok()) has_failed = true;
  };
  for (uint64_t pair = 0; pair < kPairs; ++pair) write_pair(pair, "0");
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::mt19937_64 random(test_seed(3));
    for (uint64_t n = 1; !stop.load(); ++n) {
      write_pair(random() % kPairs, std::to_string(n));
      if (n % 512 == 0) static_cast<void>(engine->snapshot().ok());
    }
  });
  for (int round = 0; round < 60; ++round) {
    const auto scan =
        engine->open_scan({0, ~uint64_t{0}, round % 2 == 0 ? Direction::kUp : Direction::kDown});
    std::map<uint64_t, std::string> seen;
    for (bool more = true; more;) {
      const auto state = engine->advance(*scan, 500, [&](const RecordView& record) {
        seen[record.header.key] = record.value;
        return true;
      });
      if (!state.ok()) stop = true;
      REQUIRE(state.ok());
      more = *state != Scan::State::kEnd;
    }
    size_t torn = seen.size() == 2 * kPairs ? 0 : 1;
    for (uint64_t pair = 0; pair < kPairs; ++pair) torn += seen[pair] != seen[pair + kApart];
    if (torn != 0) stop = true;
    if (torn != 0) writer.join();
    CHECK_FALSE(has_failed.load());
    REQUIRE(torn == 0);
  }
  stop = true;
  writer.join();
}

TEST_CASE("newer versions of a hot key are passed in slices") {
  FaultFs fs;
  Options options = small_options(fs);
  options.delta_max_bytes = 64 * kMiB;
  auto engine = must_open(options);
  for (uint64_t key = 1; key <= 3; ++key) must_put(*engine, key, "old" + std::to_string(key));
  const std::unique_ptr<Scan> scans[] = {engine->open_scan({}),
                                         engine->open_scan({0, 9, Direction::kDown})};
  constexpr uint64_t kNewer = 5000;
  for (uint64_t i = 0; i < kNewer; ++i) must_put(*engine, 2, "new");
  must_put(*engine, 0, "new");
  for (const auto& scan : scans) {
    std::string seen;
    uint64_t slices = 0;
    for (bool more = true; more; ++slices) {
      const auto state = engine->advance(*scan, 1, [&](const RecordView& record) {
        seen += record.value;
        return true;
      });
      REQUIRE(state.ok());
      more = *state != Scan::State::kEnd;
    }
    CHECK(seen == (scan == scans[0] ? "old1old2old3" : "old3old2old1"));
    CHECK(slices > kNewer / 10);
  }
}

TEST_CASE("damage anywhere in a run ends a walk in either direction with an error, never a gap") {
  const QuietLog quiet;
  const uint64_t seed = test_seed(900);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Store store;
  Versions versions;
  for (uint64_t i = 0; i < 140; ++i) {
    versions[i * 3] = {true, std::string(i % 50 == 9 ? 1200 : i % 7, 'v'), i, 0};
  }
  const RunMeta meta = store.write(versions, 0, 140)->meta();
  const RunBody body = store.open(meta)->body();
  REQUIRE(body.pages > 1);
  const std::string path = "data/" + run_data_name(meta.id);
  const std::string good = store.fs.contents(path);
  for (size_t at = kPageBytes; at < body.end; ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (random() % 8)));
    store.fs.put_file(path, bad);
    bool rebuilt = false;
    const auto run = Run::open(*store.dir, meta, {}, &rebuilt);
    REQUIRE(run.ok());
    for (const Direction direction : {Direction::kUp, Direction::kDown}) {
      const auto cursor = open_cursor(*run, direction);
      size_t count = 0;
      for (cursor->seek(direction == Direction::kUp ? 0 : ~uint64_t{0}); cursor->valid();
           cursor->next()) {
        REQUIRE(versions.contains(cursor->record().header.key));
        ++count;
      }
      REQUIRE(count < versions.size());
      REQUIRE(cursor->status().code() == Code::kCorruption);
      REQUIRE(cursor->damaged_run() == run->get());
    }
  }
}

}  // namespace kyro::test
