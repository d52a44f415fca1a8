#include "kyro/replica/log_trimmer.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <thread>

#include "test/support/cluster/replica_store.h"

namespace kyro::test {
namespace {

using TrimStep = LogTrimmer::Step;

uint64_t flushed_of(Engine& engine) {
  const EpochPin pin;
  return engine.moment().view->contained_offset;
}

// A store whose deltas are flushed when somebody asks for it, and what trims the log for it.
struct TrimmingStore {
  TrimmingStore(FakeLog& log, uint64_t keep_bytes) : store(log), path(log) {
    store.options.delta_max_bytes = 4 * kMiB;
    store.open();
    trimmer = std::make_unique<LogTrimmer>(
        *store, path, store.health, store.log->space(),
        LogTrimmer::Limits{.keep_bytes = keep_bytes, .quota_bytes = 1 * kMiB, .pause_ms = 1});
  }
  TrimStep trim_to_end() const {
    TrimStep step = TrimStep::kTrimmed;
    while (step == TrimStep::kTrimmed) step = trimmer->step();
    return step;
  }

  ReplicaStore store;
  FakeLogPath path;
  std::unique_ptr<LogTrimmer> trimmer;
};

// The bytes of the entries that are there, which have no hole up to the head.
uint64_t log_bytes_in(FakeLog& log) {
  uint64_t bytes = 0;
  const auto head = decode_head(log.head().value_or(""));
  REQUIRE(head.ok());
  const auto entries = log.entries();
  uint64_t next = entries.empty() ? head->end : entries.begin()->first;
  for (const auto& [offset, entry] : entries) {
    const auto group = decode_entry(entry, offset, head->database);
    REQUIRE(group.ok());
    CHECK(offset == next);
    next = group->end_offset();
    bytes += entry.size();
  }
  CHECK(next == head->end);
  return bytes;
}
uint64_t begin_of(FakeLog& log) {
  const auto entries = log.entries();
  return entries.empty() ? ~uint64_t{0} : entries.begin()->first;
}

}  // namespace

TEST_CASE("what is in the runs and outside the newest bytes goes, and nothing else") {
  constexpr uint64_t kKeep = 64 * kKiB;
  FakeLog log;
  TrimmingStore a(log, kKeep);
  const uint64_t seed = test_seed(11);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < 600; ++i) {
    must_put(*a.store, i, std::string(i < 300 ? 700 : random() % 1500, 'v'));
  }
  REQUIRE(a.store->snapshot().ok());
  const auto head = log.head();
  CHECK(a.trim_to_end() == TrimStep::kIdle);
  const uint64_t bytes = log_bytes_in(log);
  CHECK(bytes >= kKeep);
  CHECK(bytes <= kKeep + kKeep / 8);
  CHECK(a.store.log->space().log_bytes() == bytes);
  CHECK(a.trimmer->trimmed_bytes() > 0);
  CHECK(log.head() == head);
  CHECK(a.path.calls() < 40);  // it has not read what it has taken away

  const uint64_t calls = a.path.calls();
  CHECK(a.trim_to_end() == TrimStep::kIdle);
  CHECK(a.path.calls() == calls);  // and while there is nothing to do nobody is asked
  must_put(*a.store, 1, "goes on");
  a.store.engine.reset();
  a.store.open();
  CHECK(contents_of(*a.store).size() == 600);
}

TEST_CASE("nothing goes that is not in the runs, and a flush is asked for") {
  const QuietLog quiet;
  constexpr uint64_t kKeep = 32 * kKiB;
  FakeLog log;
  TrimmingStore a(log, kKeep);
  for (uint64_t key = 0; key < 50; ++key) must_put(*a.store, key, std::string(500, 'v'));
  REQUIRE(a.store->snapshot().ok());
  const uint64_t flushed = flushed_of(*a.store);
  REQUIRE(flushed == 50);
  a.store.fs.inject({FsCall::kAny, Code::kNoSpace, 0, ~uint64_t{0}, "run-"});
  for (uint64_t key = 0; key < 200; ++key) must_put(*a.store, key, std::string(500, 'w'));
  CHECK(a.trim_to_end() == TrimStep::kIdle);
  CHECK(begin_of(log) <= flushed);
  CHECK(begin_of(log) > 0);
  CHECK(flushed_of(*a.store) == flushed);
  a.store.fs.heal();
  while (flushed_of(*a.store) == flushed) {
    a.trim_to_end();
    std::this_thread::yield();
  }
  a.trim_to_end();
  CHECK(begin_of(log) > flushed);
  CHECK(log_bytes_in(log) <= kKeep + kKeep / 8);
}

TEST_CASE("a small log is left alone, an empty one too") {
  FakeLog log;
  TrimmingStore a(log, 64 * kKiB);
  CHECK(a.trim_to_end() == TrimStep::kIdle);
  CHECK(a.store.log->space().log_bytes() == 0);
  for (uint64_t key = 0; key < 10; ++key) must_put(*a.store, key, "value");
  REQUIRE(a.store->snapshot().ok());
  CHECK(a.trim_to_end() == TrimStep::kIdle);
  CHECK(log.entries().size() == 10);
}

TEST_CASE("a store that was started anew knows how large the log is, by two questions") {
  FakeLog log;
  TrimmingStore a(log, 1 * kMiB);
  for (uint64_t key = 0; key < 100; ++key) must_put(*a.store, key, std::string(500, 'v'));
  TrimmingStore b(log, 1 * kMiB);
  CHECK(b.trim_to_end() == TrimStep::kIdle);
  CHECK(b.path.calls() == 2);
  CHECK(b.store.log->space().log_bytes() == log_bytes_in(log));
}

TEST_CASE("an entry of many records and a great many entries of one are cut where one begins") {
  constexpr uint64_t kKeep = 16 * kKiB;
  FakeLog log;
  TrimmingStore a(log, kKeep);
  std::vector<Mutation> batch;
  for (uint64_t key = 0; key < 2000; ++key) batch.push_back(Mutation::put(key, "of a batch"));
  for (int round = 0; round < 3; ++round) {
    REQUIRE(a.store->write(batch).ok());
    for (uint64_t key = 0; key < 500; ++key) must_put(*a.store, key, "alone");
  }
  REQUIRE(a.store->snapshot().ok());
  const uint64_t calls = a.path.calls();
  CHECK(a.trim_to_end() == TrimStep::kIdle);
  CHECK(a.path.calls() - calls < 20);
  CHECK(log_bytes_in(log) >= kKeep);
  CHECK(log_bytes_in(log) < 2 * kKeep);
}

TEST_CASE("two that trim at once, over a bad way, leave a log without a hole that both have") {
  constexpr uint64_t kKeep = 24 * kKiB;
  const uint64_t seed = test_seed(7);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  FakeLog log;
  TrimmingStore a(log, kKeep);
  TrimmingStore b(log, kKeep);
  for (TrimmingStore* store : {&a, &b}) {
    store->path.fault = [&random, &path = store->path] {
      if (random() % 8 == 0) path.deliver_late();
      const auto fault = static_cast<LogFault>(random() % 10);
      return fault <= LogFault::kLate ? fault : LogFault::kNone;
    };
  }
  for (uint64_t i = 0; i < 1500; ++i) {
    TrimmingStore& one = random() % 2 == 0 ? a : b;
    TrimmingStore& other = random() % 2 == 0 ? a : b;
    must_put(*one.store, i % 200, std::string(random() % 600, 'v'));
    if (i % 100 == 0) REQUIRE(other.store->snapshot().ok());
    static_cast<void>(other.trimmer->step());
    const uint64_t runs_end = std::max(flushed_of(*a.store), flushed_of(*b.store));
    if (begin_of(log) > runs_end) FAIL("at " << begin_of(log) << " of " << runs_end);
    if (i % 20 == 0) a.store.catch_up();
    if (i % 20 == 10) b.store.catch_up();
  }
  a.path.deliver_late();
  b.path.deliver_late();
  CHECK(begin_of(log) > 0);
  log_bytes_in(log);
  a.store.catch_up();
  b.store.catch_up();
  CHECK(contents_of(*a.store) == contents_of(*b.store));
}

TEST_CASE("a store that has left the log trims it no more, and of another's log nothing goes") {
  const QuietLog quiet;
  FakeLog log;
  TrimmingStore a(log, 4 * kKiB);
  for (uint64_t key = 0; key < 50; ++key) must_put(*a.store, key, std::string(500, 'v'));
  REQUIRE(a.store->snapshot().ok());
  log.set_head("50 99999 00000000 " + std::string(32, 'f'));
  CHECK(a.trim_to_end() == TrimStep::kWaits);
  CHECK(log.entries().size() == 50);
  CHECK(a.store->put(1, "").status().code() == Code::kLogUnreachable);
  CHECK(a.trim_to_end() == TrimStep::kStopped);
}

TEST_CASE(
    "from three quarters of the quota on, writers take their time, and what follows does not") {
  FakeLog log;
  TrimmingStore a(log, 64 * kMiB);
  ReplicaStore b(log);
  b.open();
  const LogSpace& space = a.store.log->space();
  const std::string value(1000, 'v');
  must_put(*a.store, 1, value);
  CHECK(space.pace_ns(kSharedGroupBytesMax) == 0);
  log.set_usage({.used_bytes = 700 * kKiB, .file_bytes = 900 * kKiB});
  REQUIRE(a.trimmer->look_at_usage().ok());
  CHECK_FALSE(space.is_short());
  must_put(*a.store, 2, value);
  CHECK(a.store->stats().write_slowdown_ns.value() == 0);
  log.set_usage({.used_bytes = 900 * kKiB, .file_bytes = 900 * kKiB, .is_full = true});
  REQUIRE(a.trimmer->look_at_usage().ok());
  CHECK(space.is_short());
  CHECK(space.is_full());
  CHECK(space.quota_bytes() == 1 * kMiB);
  must_put(*a.store, 3, value);
  CHECK(a.store->stats().write_slowdown_ns.value() > 0);
  b.catch_up();
  CHECK(b->stats().write_slowdown_ns.value() == 0);
  log.set_usage({.used_bytes = 900 * kKiB, .file_bytes = 1 * kMiB, .quota_bytes = 8 * kMiB});
  REQUIRE(a.trimmer->look_at_usage().ok());
  CHECK_FALSE(space.is_short());  // it says itself what it has
}

TEST_CASE("what is left of the quota lasts, and nobody waits for ever") {
  LogSpace space;
  const uint64_t quota = LogSpace::kDefaultQuotaBytes;
  uint64_t before = 0;
  for (const uint64_t percent : {uint64_t{80}, uint64_t{90}, uint64_t{99}}) {
    space.note_usage({.used_bytes = quota / 100 * percent}, quota);
    const uint64_t pace_ns = space.pace_ns(16 * kKiB);
    CHECK(pace_ns > before);
    before = pace_ns;
  }
  space.note_usage({.used_bytes = 2 * quota}, quota);
  CHECK(space.pace_ns(kSharedRequestBytesMax) == 1'000'000'000);
}

TEST_CASE("a thread trims while others write, and ends when it is told to") {
  constexpr uint64_t kKeep = 16 * kKiB;
  FakeLog log;
  TrimmingStore a(log, kKeep);
  REQUIRE(a.trimmer->start().ok());
  uint64_t key = 0;
  while (a.trimmer->trimmed_bytes() < 10 * kKeep) {
    must_put(*a.store, key++ % 100, std::string(500, 'v'));
  }
  a.trimmer->stop();
  log_bytes_in(log);
  CHECK(begin_of(log) <= flushed_of(*a.store));
}

}  // namespace kyro::test
