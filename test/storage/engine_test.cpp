// The engine held against std::map, and what it does when the file system fails it.
#include "kyro/storage/engine.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

// Two engines with different options and a map, changed together.
class Trio {
 public:
  explicit Trio(uint64_t seed) : random(seed) {
    fake_now_secs = 1'000'000;
    tiny_ = small_options(tiny_fs_);
    tiny_.wal_segments_max = 100'000;
    tiny_.merge_fan_in = 2;
    normal_.data_dir = kDir;
    normal_.fs = &normal_fs_;
    normal_.reserve_bytes = 0;
    normal_.huge_index = true;
    normal_.wal_segment_bytes = 1 * kMiB;
    use_fake_clock(&tiny_);
    use_fake_clock(&normal_);
    reopen();
  }

  void step() {
    const uint64_t dice = random() % 1000;
    if (dice < 500) {
      put(random_key(), random_value(), 0);
    } else if (dice < 560) {
      put(random_key(), random_value(), fake_now_secs + 1 + random() % 50);
    } else if (dice < 750) {
      remove(random_key());
    } else if (dice < 800) {
      batch();
    } else if (dice < 930) {
      read(random_key());
    } else if (dice < 950) {
      fake_now_secs += random() % 20;
    } else if (dice < 965) {
      for (auto& engine : engines_) REQUIRE(engine->snapshot().ok());
    } else if (dice < 970) {
      compact();
    } else if (dice < 980) {
      scan();
    } else if (dice < 984) {
      reopen();
    }
  }

  void check_all() {
    std::map<uint64_t, Stored> live;
    for (const auto& [key, expected] : map_) {
      if (is_live(expected)) live[key] = {expected.value, expected.offset};
    }
    for (auto& engine : engines_) {
      REQUIRE(contents_of(*engine) == live);
      REQUIRE(engine->next_offset() == next_offset_);
      REQUIRE(verify_runs(*engine).ok());
      REQUIRE(read_whole_log(*engine, 0) == log_);
    }
  }

  void reopen() {
    for (auto& engine : engines_) engine.reset();
    engines_[0] = must_open(tiny_);
    engines_[1] = must_open(normal_);
  }

  std::mt19937_64 random;

 private:
  // A few hot keys, a dense range, a wide one with both ends.
  uint64_t random_key() {
    switch (random() % 4) {
      case 0:
        return random() % 8;
      case 1:
        return 1000 + random() % 300;
      case 2:
        return ~uint64_t{0} - random() % 8;
      default:
        return (random() % 200) << 55;
    }
  }
  std::string random_value() {
    const uint64_t dice = random() % 20;
    const size_t size = dice == 0 ? 0 : dice == 1 ? random() % 20000 : random() % 300;
    std::string value(size, '\0');
    for (char& c : value) c = static_cast<char>(random() & 0xFF);
    return value;
  }
  static bool is_live(const Expected& expected) {
    return expected.expiry_secs == 0 || fake_now_secs < expected.expiry_secs;
  }

  void put(uint64_t key, const std::string& value, uint64_t expiry_secs) {
    for (auto& engine : engines_) {
      const auto offset = engine->put(key, value, expiry_secs);
      REQUIRE(offset.ok());
      REQUIRE(*offset == next_offset_);
    }
    note_put(key, value, expiry_secs);
  }
  void note_put(uint64_t key, const std::string& value, uint64_t expiry_secs) {
    log_.push_back({next_offset_, key, true, value});
    map_[key] = {value, next_offset_++, expiry_secs};
  }
  void note_removal(uint64_t key) {
    log_.push_back({next_offset_++, key, false, ""});
    map_.erase(key);
  }

  void remove(uint64_t key) {
    const auto found = map_.find(key);
    const bool exists = found != map_.end() && is_live(found->second);
    for (auto& engine : engines_) {
      const auto offset = engine->remove(key);
      REQUIRE(offset.ok() == exists);
      if (!exists) REQUIRE(offset.status().code() == Code::kNotFound);
      if (exists) REQUIRE(*offset == next_offset_);
    }
    if (exists) note_removal(key);
  }

  void batch() {
    struct Line {
      uint64_t key;
      bool is_put;
      std::string value;
    };
    std::vector<Line> lines;
    for (size_t n = 1 + random() % 20; n > 0; --n) {
      lines.push_back({random_key(), random() % 4 != 0, random_value()});
    }
    std::vector<Mutation> mutations;
    for (const Line& line : lines) {
      mutations.push_back(line.is_put ? Mutation::put(line.key, line.value)
                                      : Mutation::remove(line.key));
    }
    for (auto& engine : engines_) {
      const auto offset = engine->write(mutations);
      REQUIRE(offset.ok());
      REQUIRE(*offset == next_offset_ + lines.size() - 1);
    }
    for (const Line& line : lines) {
      line.is_put ? note_put(line.key, line.value, 0) : note_removal(line.key);
    }
  }

  void read(uint64_t key) {
    const auto found = map_.find(key);
    const bool exists = found != map_.end() && is_live(found->second);
    for (auto& engine : engines_) {
      std::string value;
      uint64_t offset = 0;
      const Status status = engine->get(key, &value, &offset);
      REQUIRE(status.code() == (exists ? Code::kOk : Code::kNotFound));
      if (exists) REQUIRE((value == found->second.value && offset == found->second.offset));
    }
  }

  void compact() {
    size_t live = 0;
    for (const auto& entry : map_) live += is_live(entry.second) ? 1u : 0u;
    for (auto& engine : engines_) {
      const bool is_rebuild = random() % 2 == 0;
      const JobOutcome outcome =
          engine->run({is_rebuild ? Job::Kind::kRebuildIndex : Job::Kind::kCompact});
      REQUIRE(outcome.status.ok());
      REQUIRE(engine->view().runs.size() <= 1);
      REQUIRE(outcome.compacted.keys_retained == live);
    }
  }

  void scan() {
    uint64_t first = random_key();
    uint64_t last = random_key();
    if (first > last) std::swap(first, last);
    const size_t limit = 1 + random() % 40;
    std::vector<std::pair<uint64_t, uint64_t>> expected;
    for (auto at = map_.lower_bound(first); at != map_.end() && at->first <= last; ++at) {
      if (is_live(at->second) && expected.size() < limit) {
        expected.emplace_back(at->first, at->second.offset);
      }
    }
    for (auto& engine : engines_) {
      std::vector<std::pair<uint64_t, uint64_t>> found;
      REQUIRE(engine
                  ->scan(first, last,
                         [&](uint64_t key, std::string_view value, uint64_t offset) {
                           CHECK(value == map_[key].value);
                           found.emplace_back(key, offset);
                           return found.size() < limit;
                         })
                  .ok());
      REQUIRE(found == expected);
    }
  }

  FaultFs tiny_fs_;
  FaultFs normal_fs_;
  Options tiny_;
  Options normal_;
  std::unique_ptr<Engine> engines_[2];
  std::map<uint64_t, Expected> map_;
  std::vector<LogRecord> log_;
  uint64_t next_offset_ = 0;
};

}  // namespace

TEST_CASE("two engines and a map agree on every operation") {
  const QuietLog quiet;
  for (uint64_t round = 0; round < 3; ++round) {
    const uint64_t seed = test_seed(20) + round;
    INFO("seed " << seed);
    Trio trio(seed);
    for (int i = 0; i < 1500; ++i) {
      INFO("step " << i);
      trio.step();
      if (i % 300 == 0) trio.check_all();
    }
    trio.check_all();
    trio.reopen();
    trio.check_all();
  }
}

TEST_CASE("values and batches beyond the limits are refused and store nothing") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.max_value_bytes = 1000;
  options.max_batch_bytes = 1500;
  auto engine = must_open(options);
  CHECK(put_code(*engine, 1, std::string(1001, 'v')) == Code::kTooLarge);
  const std::string value(800, 'v');
  const std::vector<Mutation> batch = {Mutation::put(1, value), Mutation::put(2, value)};
  CHECK(engine->write(batch).status().code() == Code::kTooLarge);
  CHECK(engine->write({}).status().code() == Code::kInvalid);
  CHECK(engine->put(1, "v", kExpirySecsMax + 1).status().code() == Code::kInvalid);
  CHECK(engine->next_offset() == 0);
  CHECK(contents_of(*engine).empty());
  must_put(*engine, 1, std::string(1000, 'v'));
}

TEST_CASE("a batch larger than segment and delta is stored whole") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  Contents expected;
  {
    auto engine = must_open(options);
    must_put(*engine, 5, "before");
    std::vector<std::string> values;
    std::vector<Mutation> batch;
    for (uint64_t i = 0; i < 300; ++i) values.push_back(std::string(1000, static_cast<char>(i)));
    for (uint64_t i = 0; i < 300; ++i) batch.push_back(Mutation::put(i, values[i]));
    const auto offset = engine->write(batch);
    REQUIRE(offset.ok());
    CHECK(*offset == 300);
    must_put(*engine, 7, "behind");
    expected = contents_of(*engine);
    CHECK(expected.size() == 300);
    CHECK(expected.at(7).value == "behind");
  }
  auto engine = must_open(options);
  CHECK(contents_of(*engine) == expected);
  REQUIRE(engine->compact().ok());
  CHECK(contents_of(*engine) == expected);
}

TEST_CASE("the log keeps what is not flushed and as many segments as asked") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.wal_segment_bytes = 4 * kKiB;
  options.wal_segments_max = 2;
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 50; ++key) must_put(*engine, key, std::string(500, 'v'));
  CHECK(engine->view().segments.size() > 5);
  CHECK(engine->log_range().oldest == 0);
  REQUIRE(engine->snapshot().ok());
  CHECK(engine->view().segments.size() == 2);
  const LogRange range = engine->log_range();
  CHECK(range.oldest > 0);
  CHECK(range.next == 50);
  CHECK(engine->read_log(range.oldest - 1).status().code() == Code::kGone);
  CHECK(engine->read_log(51).status().code() == Code::kGone);
  CHECK(read_whole_log(*engine, range.oldest).size() == 50 - range.oldest);
  CHECK(read_whole_log(*engine, 50).empty());
  size_t files = 0;
  for (const std::string& path : fs.paths()) files += path.find("wal-") != path.npos ? 1u : 0u;
  CHECK(files == 2);
}

TEST_CASE("closing answers what is under way") {
  const QuietLog quiet;
  for (int round = 0; round < 100; ++round) {
    FaultFs fs;
    const Options options = small_options(fs);
    auto engine = must_open(options);
    std::atomic<int> answered{0};
    for (uint64_t key = 0; key < 20; ++key) must_put(*engine, key, std::string(300, 'v'));
    std::vector<std::unique_ptr<AsyncWrite>> writes;
    for (uint64_t i = 0; i < 20; ++i) {
      writes.push_back(std::make_unique<AsyncWrite>(
          std::vector<std::pair<uint64_t, std::string>>{{i, std::string(5000, 'w')}}));
      engine->submit(writes.back().get());
      const auto on_done = [&](const JobOutcome&) { ++answered; };
      if (i % 5 == 0) engine->start({Job::Kind::kSnapshot}, on_done);
      if (i % 10 == 0) engine->start({Job::Kind::kRebuildIndex}, on_done);
    }
    engine.reset();
    CHECK(answered == 6);
    engine = must_open(options);
    const auto found = values_only(contents_of(*engine));
    for (uint64_t i = 0; i < 20; ++i) {
      const Status& status = writes[i]->wait();
      if (status.ok()) REQUIRE(found.at(i) == std::string(5000, 'w'));
    }
  }
}

TEST_CASE("a reopened store has the same identity, and options out of range are refused") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  std::string id;
  { id = must_open(options)->database_id(); }
  CHECK(id.size() == 32);
  CHECK(must_open(options)->database_id() == id);
  options.wal_segment_bytes = 100;
  CHECK(Engine::open(options).status().code() == Code::kInvalid);
}

TEST_CASE("who reads a new run finds its index checked; a start-up reads nothing of it") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.merge_fan_in = 100;
  auto engine = must_open(options);
  const auto all_checked = [&] {
    const View view = engine->view();
    REQUIRE(!view.runs.empty());
    return std::all_of(view.runs.begin(), view.runs.end(),
                       [](const auto& run) { return run->index().slots_are_checked(); });
  };
  for (uint64_t key = 0; key < 100; ++key) must_put(*engine, key, "flushed");
  REQUIRE(engine->snapshot().ok());
  CHECK(all_checked());
  for (uint64_t key = 50; key < 200; ++key) must_put(*engine, key, "merged");
  REQUIRE(engine->compact().ok());
  CHECK(all_checked());
  REQUIRE(engine->run({Job::Kind::kRebuildIndex}).status.ok());
  CHECK(all_checked());
  engine.reset();
  engine = must_open(options);
  CHECK(!all_checked());
}

}  // namespace kyro::test
