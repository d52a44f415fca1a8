// When maintenance starts by itself: the decisions with a clock of the test's own, then each flag's
// work as an engine does it.
#include "kyro/storage/background/triggers.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Action = Triggers::Action;

uint64_t fake_now_ns = 0;
uint64_t fake_clock_ns() {
  return fake_now_ns;
}

std::string name_of(Action action) {
  constexpr const char* kNames[] = {"none", "snapshot", "compact", "rebuild"};
  return kNames[static_cast<size_t>(action)];
}

// One flag, and what just does not and what just does make it due.
struct TriggerCase {
  const char* flag;
  void (*set)(Options&);
  uint64_t keys;
  uint64_t records, log_bytes, secs;  // the limit: one less of it is not enough
  Action action;
};

const TriggerCase kCases[] = {
    {"snapshot-every-n-appends", [](Options& o) { o.snapshot_every_appends = 7; }, 0, 7, 0, 0,
     Action::kSnapshot},
    {"auto-snapshot-secs", [](Options& o) { o.auto_snapshot_secs = 5; }, 0, 0, 0, 5,
     Action::kSnapshot},
    {"wal-max-bytes", [](Options& o) { o.wal_bytes_max = 900; }, 0, 0, 900, 0, Action::kSnapshot},
    {"compact-interval-secs", [](Options& o) { o.compact_interval_secs = 60; }, 0, 0, 0, 60,
     Action::kCompact},
    {"compact-when-wal-bytes", [](Options& o) { o.compact_when_wal_bytes = 800; }, 0, 0, 800, 0,
     Action::kCompact},
    {"rmi-rebuild-appends", [](Options& o) { o.rmi_rebuild_appends = 9; }, 0, 9, 0, 0,
     Action::kRebuild},
    {"rmi-rebuild-ratio", [](Options& o) { o.rmi_rebuild_ratio = 0.25; }, 4000, 1000, 0, 0,
     Action::kRebuild},
    {"rmi-rebuild-ratio, an empty store", [](Options& o) { o.rmi_rebuild_ratio = 100; }, 0, 100'000,
     0, 0, Action::kRebuild},
    {"rmi-rebuild-ratio, a small share", [](Options& o) { o.rmi_rebuild_ratio = 1e-6; }, 0, 1, 0, 0,
     Action::kRebuild},
    {"both rebuild limits",
     [](Options& o) {
       o.rmi_rebuild_appends = 30;
       o.rmi_rebuild_ratio = 0.01;
     },
     2000, 20, 0, 0, Action::kRebuild},
};

constexpr uint64_t kSecondNs = 1'000'000'000;

}  // namespace

TEST_CASE("Each trigger is due at its limit, once, and not before") {
  for (const TriggerCase& c : kCases) {
    INFO(c.flag);
    Options options;
    c.set(options);
    fake_now_ns = 12345;
    Triggers triggers(options, fake_clock_ns);
    triggers.set_keys(c.keys);
    CHECK(triggers.has_timers() == (c.secs > 0));
    for (int round = 0; round < 2; ++round) {
      INFO("round " << round);
      CHECK(name_of(triggers.take(true)) == "none");
      const bool by_commits = c.records > 0 || c.log_bytes > 0;
      if (by_commits) {
        CHECK(!triggers.on_commit(c.records - (c.records > 0), c.log_bytes - (c.log_bytes > 0)));
      } else {
        CHECK(!triggers.on_commit(1'000'000, 1'000'000));
        fake_now_ns += c.secs * kSecondNs - 1;
      }
      CHECK(name_of(triggers.take(true)) == "none");
      if (by_commits) {
        CHECK(triggers.on_commit(c.records > 0, c.log_bytes > 0));
      } else {
        fake_now_ns += 1;
      }
      CHECK(name_of(triggers.take(true)) == name_of(c.action));
      CHECK(name_of(triggers.take(true)) == "none");
    }
  }
}

TEST_CASE("Without a flag nothing is ever due") {
  const Options options;
  fake_now_ns = 0;
  Triggers triggers(options, fake_clock_ns);
  CHECK(!triggers.has_timers());
  CHECK(!triggers.on_commit(uint64_t{1} << 40, uint64_t{1} << 40));
  fake_now_ns = uint64_t{1} << 60;
  CHECK(name_of(triggers.take(true)) == "none");
}

TEST_CASE("A flush of any cause starts the limits of snapshots anew, not those of compactions") {
  Options options;
  options.snapshot_every_appends = 10;
  options.auto_snapshot_secs = 5;
  options.rmi_rebuild_appends = 10;
  fake_now_ns = 0;
  Triggers triggers(options, fake_clock_ns);
  triggers.on_commit(9, 0);
  fake_now_ns = 4 * kSecondNs;
  triggers.on_flushed();
  fake_now_ns = 8 * kSecondNs;
  CHECK(triggers.on_commit(1, 0));
  CHECK(name_of(triggers.take(true)) == "rebuild");
  CHECK(name_of(triggers.take(true)) == "none");
  fake_now_ns = 9 * kSecondNs;
  CHECK(name_of(triggers.take(true)) == "snapshot");
}

TEST_CASE("A compaction that may not start stays due, and snapshots go on") {
  Options options;
  options.snapshot_every_appends = 2;
  options.compact_when_wal_bytes = 100;
  fake_now_ns = 0;
  Triggers triggers(options, fake_clock_ns);
  CHECK(triggers.on_commit(2, 100));
  CHECK(name_of(triggers.take(false)) == "snapshot");
  CHECK(name_of(triggers.take(false)) == "none");
  CHECK(name_of(triggers.take(true)) == "compact");
  CHECK(name_of(triggers.take(true)) == "none");
}

// ---- the engine's work ----

namespace {

// Nothing tells of work in the background but what it counts, so that is asked until it is true.
bool wait_for(const std::function<bool()>& is_true) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!is_true()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

uint64_t snapshots(Engine& engine) {
  return engine.stats().snapshots.value();
}
uint64_t compactions(Engine& engine) {
  return engine.stats().compactions.value();
}
uint64_t rebuilds(Engine& engine) {
  return engine.stats().rmi_rebuilds.value();
}

Options quiet_options(FaultFs& fs) {
  Options options = small_options(fs);
  options.delta_max_bytes = 16 * kMiB;  // never full
  options.merge_fan_in = 1000;          // nothing merges by itself
  return options;
}

// Keys from `first` on, one commit each.
void put_many(Engine& engine, uint64_t first, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) must_put(engine, first + i, "some value");
}

}  // namespace

TEST_CASE("--snapshot-every-n-appends flushes after so many records") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  options.snapshot_every_appends = 20;
  auto engine = must_open(options);
  put_many(*engine, 0, 19);
  CHECK(snapshots(*engine) == 0);
  put_many(*engine, 19, 1);
  REQUIRE(wait_for([&] { return snapshots(*engine) == 1; }));
  CHECK(engine->view().runs.size() == 1);
  CHECK(engine->view().contained_offset == 20);
  CHECK(compactions(*engine) == 0);
  put_many(*engine, 20, 20);
  REQUIRE(wait_for([&] { return snapshots(*engine) == 2; }));
  CHECK(engine->view().runs.size() == 2);
}

TEST_CASE("--auto-snapshot-secs flushes what was written once the time has passed") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  options.auto_snapshot_secs = 1;
  auto engine = must_open(options);
  put_many(*engine, 0, 3);
  REQUIRE(wait_for([&] { return engine->view().contained_offset == 3; }));
  REQUIRE(wait_for([&] { return snapshots(*engine) > 0; }));
  CHECK(compactions(*engine) == 0);
}

TEST_CASE("--wal-max-bytes flushes, and the log is trimmed to about so much") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  options.wal_segments_max = 1000;  // only the bytes trim
  options.wal_bytes_max = 32 * kKiB;
  auto engine = must_open(options);
  const std::string value(1000, 'v');
  uint64_t written = 0;
  for (uint64_t flushed = 1; flushed <= 4; ++flushed) {
    while (snapshots(*engine) < flushed) must_put(*engine, written++, value);
    CHECK(written >= 30 * flushed);  // not sooner than the bytes say
  }
  REQUIRE(engine->snapshot().ok());  // what was written while the last one was under way
  uint64_t kept_bytes = 0;
  for (const auto& segment : engine->view().segments) kept_bytes += segment.bytes;
  CHECK(engine->view().segments.front().first_offset > 0);
  CHECK(kept_bytes <= options.wal_bytes_max + options.wal_segment_bytes);
  CHECK(contents_of(*engine).size() == written);
}

TEST_CASE("--compact-interval-secs merges all runs once the time has passed") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  {
    auto engine = must_open(options);
    for (uint64_t i = 0; i < 3; ++i) {
      put_many(*engine, 5 * i, 5);
      REQUIRE(engine->snapshot().ok());
    }
    REQUIRE(engine->view().runs.size() == 3);
  }
  options.compact_interval_secs = 1;
  auto engine = must_open(options);
  REQUIRE(wait_for([&] { return compactions(*engine) > 0; }));
  CHECK(engine->view().runs.size() == 1);
  CHECK(contents_of(*engine).size() == 15);
  CHECK(rebuilds(*engine) == 0);  // the point is not the index
}

TEST_CASE("--compact-when-wal-bytes merges all runs after so much log") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  options.compact_when_wal_bytes = 8 * kKiB;
  auto engine = must_open(options);
  const std::string value(1000, 'v');
  must_put(*engine, 1, value);
  REQUIRE(engine->snapshot().ok());
  CHECK(compactions(*engine) == 0);
  for (int i = 0; i < 8; ++i) must_put(*engine, 1, value);
  REQUIRE(wait_for([&] { return compactions(*engine) == 1; }));
  CHECK(engine->view().runs.size() == 1);
  CHECK(contents_of(*engine).size() == 1);
  CHECK(rebuilds(*engine) == 0);
}

TEST_CASE("--rmi-rebuild-appends brings everything under one new index, which is counted") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  options.rmi_rebuild_appends = 40;
  auto engine = must_open(options);
  put_many(*engine, 0, 30);
  REQUIRE(engine->snapshot().ok());
  CHECK(rebuilds(*engine) == 0);
  put_many(*engine, 30, 10);
  REQUIRE(wait_for([&] { return compactions(*engine) == 1; }));
  CHECK(rebuilds(*engine) == 1);
  CHECK(engine->stats().rmi_rebuild_ns.snapshot().count == 1);
  CHECK(engine->view().runs.size() == 1);
  CHECK(contents_of(*engine).size() == 40);
  put_many(*engine, 40, 40);
  REQUIRE(wait_for([&] { return compactions(*engine) == 2; }));
  CHECK(rebuilds(*engine) == 2);
}

TEST_CASE("--rmi-rebuild-ratio counts against the keys there are, and an empty store has 1,000") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  options.rmi_rebuild_ratio = 0.1;
  auto engine = must_open(options);
  put_many(*engine, 0, 99);
  REQUIRE(engine->snapshot().ok());  // the flusher has looked at all of it
  CHECK(compactions(*engine) == 0);
  put_many(*engine, 99, 1);
  REQUIRE(wait_for([&] { return compactions(*engine) == 1; }));
  CHECK(rebuilds(*engine) == 1);
  CHECK(engine->view().runs.size() == 1);

  // A store of 4,000 keys takes 400 from the first commit after it is opened.
  engine.reset();
  options.rmi_rebuild_ratio = 0;
  engine = must_open(options);
  std::vector<Mutation> batch;
  for (uint64_t key = 0; key < 4000; ++key) batch.push_back(Mutation::put(key, "v"));
  REQUIRE(engine->write(batch).ok());
  REQUIRE(engine->compact().ok());
  engine.reset();
  options.rmi_rebuild_ratio = 0.1;
  engine = must_open(options);
  put_many(*engine, 0, 399);
  CHECK(compactions(*engine) == 0);
  put_many(*engine, 0, 1);
  REQUIRE(wait_for([&] { return compactions(*engine) > 0; }));
  REQUIRE(engine->compact().ok());  // after all that waited
  CHECK(compactions(*engine) == 2);
}

TEST_CASE("Compactions that are due while one waits do not pile up") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = quiet_options(fs);
  auto engine = must_open(options);
  put_many(*engine, 0, 1);
  REQUIRE(engine->snapshot().ok());
  engine.reset();
  options.rmi_rebuild_appends = 1;
  engine = must_open(options);
  // The merger is kept at something else.
  static std::atomic<bool> is_busy, may_end;
  is_busy = may_end = false;
  std::thread warming([&] {
    const auto is_cancelled = [] {
      is_busy = true;
      while (!may_end) std::this_thread::yield();
      return true;
    };
    static_cast<void>(engine->run({Job::Kind::kWarm, {}, is_cancelled}));
  });
  const bool has_begun = wait_for([] { return is_busy.load(); });
  put_many(*engine, 1, 199);
  may_end = true;
  warming.join();
  REQUIRE(has_begun);
  REQUIRE(wait_for(
      [&] { return engine->view().contained_offset == 200 && engine->view().runs.size() == 1; }));
  REQUIRE(engine->compact().ok());    // after all that waited
  CHECK(compactions(*engine) <= 4u);  // one waited, one came when it began, at most one more
  CHECK(contents_of(*engine).size() == 200);
}

TEST_CASE("Every index built because it was asked for counts as rebuilt, a plain compaction not") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(quiet_options(fs));
  const auto build = [&] { REQUIRE(engine->run({Job::Kind::kRebuildIndex}).status.ok()); };
  build();
  CHECK(rebuilds(*engine) == 0);  // nothing there to index
  put_many(*engine, 0, 10);
  build();
  CHECK(rebuilds(*engine) == 1);  // one run, whose index is made anew
  put_many(*engine, 5, 10);
  build();
  CHECK(rebuilds(*engine) == 2);  // two runs, merged
  put_many(*engine, 8, 10);
  REQUIRE(engine->snapshot().ok());
  REQUIRE(engine->compact().ok());
  CHECK(rebuilds(*engine) == 2);
  CHECK(compactions(*engine) == 4);
  CHECK(engine->stats().rmi_rebuild_ns.snapshot().count == 2);
}

}  // namespace kyro::test
