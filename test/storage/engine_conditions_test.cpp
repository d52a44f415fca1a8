// Conditional writes and lifetimes at the engine: held against a map, raced for, and in groups that
// fail.
#include <catch2/catch.hpp>
#include <thread>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

Options clocked_options(FileSystem& fs) {
  fake_now_secs = 1'000'000;
  Options options = small_options(fs);
  use_fake_clock(&options);
  return options;
}

Code code_of(const Result<uint64_t>& result) {
  return result.status().code();
}

// An engine that flushes and merges all the time, and a map of what it has to hold.
class Pair {
 public:
  explicit Pair(uint64_t seed) : random(seed), options_(clocked_options(fs_)) {
    options_.merge_fan_in = 2;
    engine_ = must_open(options_);
  }

  void step() {
    const uint64_t dice = random() % 100;
    if (dice < 90) return write();
    if (dice < 94) {
      REQUIRE(engine_->snapshot().ok());
    } else if (dice < 95) {
      REQUIRE(engine_->compact().ok());
    } else if (dice < 99) {
      fake_now_secs += random() % 10;
    } else {
      engine_.reset();
      engine_ = must_open(options_);
    }
  }

  void check() {
    Contents live;
    for (const auto& [key, expected] : map_) {
      if (current(key)) live[key] = {expected.value, expected.offset};
    }
    REQUIRE(contents_of(*engine_) == live);
    REQUIRE(engine_->next_offset() == next_offset_);
  }

  std::mt19937_64 random;

 private:
  uint64_t random_key() { return random() % 24 * 0x0A00000000000001u; }

  // The live version of a key.
  std::optional<uint64_t> current(uint64_t key) const {
    const auto found = map_.find(key);
    if (found == map_.end()) return std::nullopt;
    const uint64_t expiry = found->second.expiry_secs;
    if (expiry != 0 && fake_now_secs >= expiry) return std::nullopt;
    return found->second.offset;
  }
  // Often the current version of the key, else one that may have been.
  uint64_t random_version(uint64_t key) {
    const auto now = current(key);
    return now && random() % 2 == 0 ? *now : random() % (next_offset_ + 1);
  }

  Condition random_condition(uint64_t key) {
    Condition condition{.key = key};
    condition.must_exist = random() % 4 == 0;
    condition.must_be_absent = random() % 4 == 0;
    if (random() % 4 == 0) condition.must_be = random_version(key);
    for (auto* list : {&one_of_, &none_of_}) {
      list->clear();
      for (uint64_t n = random() % 3; n > 0; --n) list->push_back(random_version(key));
    }
    if (random() % 4 == 0) condition.must_be_one_of = one_of_;
    if (random() % 4 == 0) condition.must_not_be = none_of_;
    return condition;
  }
  // Said once more in other words than the engine's.
  Code expected_code(const Condition& c, bool is_removal) const {
    const auto now = current(c.key);
    const auto count = [&](std::span<const uint64_t> list) {
      return now ? std::count(list.begin(), list.end(), *now) : 0;
    };
    if (c.must_exist && !now) return Code::kPreconditionFailed;
    if (c.must_be_absent && now) return Code::kPreconditionFailed;
    if (c.must_be && (!now || *now != *c.must_be)) return Code::kPreconditionFailed;
    if (c.must_be_one_of && count(*c.must_be_one_of) == 0) return Code::kPreconditionFailed;
    if (count(c.must_not_be) != 0) return Code::kPreconditionFailed;
    return is_removal && !now ? Code::kNotFound : Code::kOk;
  }

  void write() {
    const uint64_t dice = random() % 10;
    if (dice == 0) return write_batch();
    const uint64_t key = random_key();
    const Condition condition = random_condition(key);
    const bool is_removal = dice < 4;
    const Code expected = expected_code(condition, is_removal);
    const std::string value(random() % 900, static_cast<char>('a' + random() % 26));
    const uint64_t expiry = random() % 3 == 0 ? fake_now_secs + random() % 20 : 0;
    const auto offset =
        is_removal ? engine_->remove_if(condition) : engine_->put_if(condition, value, expiry);
    REQUIRE(code_of(offset) == expected);
    if (!offset.ok()) return;
    REQUIRE(*offset == next_offset_);
    note(key, is_removal, value, expiry);
  }

  void write_batch() {
    std::vector<std::string> values;
    std::vector<Mutation> mutations;
    std::vector<Condition> conditions;
    const size_t count = 1 + random() % 6;
    for (size_t i = 0; i < count; ++i) values.push_back(std::to_string(random()));
    Code expected = Code::kOk;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t key = random_key();
      mutations.push_back(random() % 4 == 0 ? Mutation::remove(key)
                                            : Mutation::put(key, values[i]));
      if (random() % 2 == 0) continue;
      const bool is_there = current(key).has_value();
      const bool holds = random() % 8 != 0;
      conditions.push_back(is_there == holds ? Condition::exists(key) : Condition::absent(key));
      if (!holds) expected = Code::kPreconditionFailed;
    }
    const auto offset = engine_->write(mutations, conditions);
    REQUIRE(code_of(offset) == expected);
    if (!offset.ok()) return;
    REQUIRE(*offset == next_offset_ + count - 1);
    for (const Mutation& m : mutations) {
      note(m.key, m.type == RecordType::kTombstone, std::string(m.value), 0);
    }
  }

  void note(uint64_t key, bool is_removal, const std::string& value, uint64_t expiry) {
    if (is_removal) {
      map_.erase(key);
    } else {
      map_[key] = {value, next_offset_, expiry};
    }
    ++next_offset_;
  }

  FaultFs fs_;
  Options options_;
  std::unique_ptr<Engine> engine_;
  std::map<uint64_t, Expected> map_;
  uint64_t next_offset_ = 0;
  std::vector<uint64_t> one_of_, none_of_;
};

}  // namespace

TEST_CASE("conditional writes and a map agree through flushes, merges and restarts") {
  const QuietLog quiet;
  for (uint64_t round = 0; round < 3; ++round) {
    const uint64_t seed = test_seed(40) + round;
    INFO("seed " << seed);
    Pair pair(seed);
    for (int i = 0; i < 1500; ++i) {
      INFO("step " << i);
      pair.step();
      if (i % 100 == 0) pair.check();
    }
    pair.check();
  }
}

TEST_CASE("counters incremented by compare-and-swap from many threads lose nothing") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kIncrements = 150;
  std::atomic<bool> stop{false};
  std::thread flusher([&] {
    for (int i = 0; !stop; ++i)
      static_cast<void>(i % 8 == 7 ? engine->compact() : engine->snapshot());
  });
  std::atomic<uint64_t> failures{0};
  const auto increment = [&](uint64_t key) {
    for (;;) {
      std::string value;
      uint64_t offset = 0;
      const bool is_there = engine->get(key, &value, &offset).ok();
      const auto next = std::to_string(is_there ? std::stoull(value) + 1 : 1);
      const auto written =
          engine->put_if(is_there ? Condition::version(key, offset) : Condition::absent(key), next);
      if (written.ok()) return true;
      if (code_of(written) != Code::kPreconditionFailed) return false;
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < kIncrements; ++i) failures += increment(i % 2) ? 0u : 1u;
    });
  }
  for (std::thread& thread : threads) thread.join();
  stop = true;
  flusher.join();
  CHECK(failures == 0);
  for (const uint64_t key : {0u, 1u}) {
    std::string value;
    REQUIRE(engine->get(key, &value).ok());
    CHECK(value == std::to_string(kThreads * kIncrements / 2));
  }
}

TEST_CASE("a base version that a flush has passed is handed back") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  AsyncWrite write({{1, "mine"}});
  write.add_condition(Condition::absent(1));
  REQUIRE(engine->resolve_base(&write.conditions[0]).ok());
  must_put(*engine, 1, "theirs");
  REQUIRE(engine->snapshot().ok());
  engine->submit(&write);
  REQUIRE(write.wait().ok());
  REQUIRE(write.is_stale);
  CHECK(engine->next_offset() == 1);  // and nothing was written

  // What is newer in memory needs no second look, whatever has been flushed.
  must_put(*engine, 1, "theirs again");
  AsyncWrite late({{1, "mine"}});
  late.add_condition(Condition::absent(1));
  engine->submit(&late);
  CHECK(late.wait().code() == Code::kPreconditionFailed);
  CHECK_FALSE(late.is_stale);
}

TEST_CASE("a condition is judged against what precedes it in its group, a batch's before itself") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  const std::vector<Mutation> twice = {Mutation::put(1, "a"), Mutation::put(1, "b")};
  const Condition absent = Condition::absent(1);
  const auto offset = engine->write(twice, {&absent, 1});
  REQUIRE(offset.ok());
  CHECK(*offset == 1);
  CHECK(code_of(engine->write(twice, {&absent, 1})) == Code::kPreconditionFailed);
  // A condition may be about a key that the batch does not write.
  const Condition elsewhere = Condition::exists(2);
  CHECK(code_of(engine->write(twice, {&elsewhere, 1})) == Code::kPreconditionFailed);
  CHECK(engine->next_offset() == 2);

  // Of removals in one group only the first finds something.
  std::vector<std::unique_ptr<AsyncWrite>> removals;
  for (int i = 0; i < 8; ++i) {
    removals.push_back(AsyncWrite::removal(1));
    removals.back()->add_condition({.key = 1, .must_be_found = true});
    REQUIRE(engine->resolve_base(&removals.back()->conditions[0]).ok());
  }
  for (auto& removal : removals) engine->submit(removal.get());
  REQUIRE(removals[0]->wait().ok());
  for (size_t i = 1; i < removals.size(); ++i) {
    CHECK(removals[i]->wait().code() == Code::kNotFound);
  }
}

// Submits others from the committer's own thread, so that they meet in the next group; the disk has
// no room for that one.
class Starter final : public WriteRequest {
 public:
  Starter(Engine& engine, FaultFs& fs, std::span<AsyncWrite> others)
      : engine_(engine), fs_(fs), others_(others) {
    mutations = {&mutation_, 1};
  }
  void done() override {
    fs_.inject({FsCall::kWrite, Code::kNoSpace, 0, 1, "wal-"});
    for (AsyncWrite& other : others_) engine_.submit(&other);
  }

 private:
  Engine& engine_;
  FaultFs& fs_;
  const std::span<AsyncWrite> others_;
  const Mutation mutation_ = Mutation::put(9, "first");
};

TEST_CASE("a condition that fails because of a write that finds no space fails for space too") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  AsyncWrite creators[] = {AsyncWrite({{1, "first"}}), AsyncWrite({{1, "second"}})};
  for (AsyncWrite& creator : creators) {
    creator.add_condition(Condition::absent(1));
    REQUIRE(engine->resolve_base(&creator.conditions[0]).ok());
  }
  Starter starter(*engine, fs, creators);
  engine->submit(&starter);
  CHECK(creators[0].wait().code() == Code::kNoSpace);
  CHECK(creators[1].wait().code() == Code::kNoSpace);
  CHECK(contents_of(*engine).size() == 1);
  CHECK(engine->next_offset() == 1);
  // Tried again it is decided anew.
  creators[1].start_anew();
  engine->submit(&creators[1]);
  CHECK(creators[1].wait().ok());
}

TEST_CASE("what has expired is absent everywhere from that second on") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = clocked_options(fs);
  auto engine = must_open(options);
  must_put(*engine, 2, "stays");
  REQUIRE(engine->put(1, "goes", fake_now_secs + 10).ok());
  const bool is_flushed = GENERATE(false, true);
  if (is_flushed) REQUIRE(engine->snapshot().ok());
  std::string value;

  fake_now_secs += 9;
  CHECK(engine->get(1, &value).ok());
  CHECK(code_of(engine->put_if(Condition::absent(1), "new")) == Code::kPreconditionFailed);
  {
    const EpochPin pin;
    Lookup found;
    REQUIRE(engine->lookup(1, &found).ok());
    CHECK(found.expiry_secs() == fake_now_secs + 1);
  }
  fake_now_secs += 1;
  CHECK(engine->get(1, &value).code() == Code::kNotFound);
  CHECK(contents_of(*engine).size() == 1);
  CHECK(code_of(engine->remove(1)) == Code::kNotFound);
  CHECK(code_of(engine->put_if(Condition::exists(1), "new")) == Code::kPreconditionFailed);
  CHECK(code_of(engine->put_if(Condition::version(1, 1), "new")) == Code::kPreconditionFailed);

  SECTION("a merge drops it") {
    const JobOutcome outcome = engine->run({Job::Kind::kCompact});
    REQUIRE(outcome.status.ok());
    CHECK(outcome.compacted.keys_retained == 1);
    REQUIRE(engine->view().runs.size() == 1);
    CHECK(engine->view().runs[0]->meta().records == 1);
  }
  SECTION("a creation may take its place, without a lifetime") {
    REQUIRE(engine->put_if(Condition::absent(1), "new").ok());
    fake_now_secs += 1'000'000;
    CHECK(engine->get(1, &value).ok());
    CHECK(value == "new");
  }
  SECTION("a restart does not bring it back") {
    engine.reset();
    engine = must_open(options);
    CHECK(engine->get(1, &value).code() == Code::kNotFound);
    CHECK(engine->get(2, &value).ok());
  }
}

TEST_CASE("a lifetime survives restarts, and a put without one clears it") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = clocked_options(fs);
  auto engine = must_open(options);
  REQUIRE(engine->put(1, "short", fake_now_secs + 10).ok());
  REQUIRE(engine->put(2, "short", fake_now_secs + 10).ok());
  REQUIRE(engine->put(3, "long", kExpirySecsMax).ok());
  must_put(*engine, 2, "for ever");
  engine.reset();
  engine = must_open(options);
  CHECK(values_only(contents_of(*engine)) ==
        std::map<uint64_t, std::string>{{1, "short"}, {2, "for ever"}, {3, "long"}});
  REQUIRE(engine->snapshot().ok());
  fake_now_secs += 10;
  CHECK(values_only(contents_of(*engine)) ==
        std::map<uint64_t, std::string>{{2, "for ever"}, {3, "long"}});
}

}  // namespace kyro::test
