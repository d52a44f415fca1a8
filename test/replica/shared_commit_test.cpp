// Whole stores that write to one log: what each of them holds, answers and never does.
#include "kyro/storage/write/committer_shared.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "test/support/cluster/replica_store.h"

namespace kyro::test {
namespace {

uint64_t number_at(Engine& engine, uint64_t key) {
  std::string text;
  REQUIRE(engine.get(key, &text).ok());
  return std::stoull(text);
}

uint64_t shifted_unix_secs() {
  return fake_now_secs.load() + 5000;
}

}  // namespace

TEST_CASE("two stores that write to one log hold the same records under the same offsets") {
  const auto policy = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kInterval);
  FakeLog log;
  ReplicaStore a(log, policy);
  ReplicaStore b(log, policy);
  a.open();
  b.open();
  CHECK(a->database_id() == b->database_id());
  for (uint64_t i = 0; i < 300; ++i) {
    Engine& one = i % 3 == 0 ? *b : *a;
    REQUIRE(one.put(i % 70, std::string(i, 'v')).ok());
    if (i % 5 == 0) REQUIRE(one.remove(i % 70).ok());
  }
  check_same(a, log);
  check_same(b, log);
  CHECK(contents_of(*a).size() > 50);
  CHECK(a.log->conflicts() + b.log->conflicts() > 0);
}

TEST_CASE("counters by compare-and-swap on two stores lose nothing and count nothing twice") {
  const uint64_t seed = test_seed(17);
  INFO("seed " << seed);
  const bool has_faults = GENERATE(false, true);
  FakeLog log;
  ReplicaStore stores[2] = {ReplicaStore(log), ReplicaStore(log)};
  std::mt19937_64 random[2] = {std::mt19937_64(seed), std::mt19937_64(seed + 1)};
  for (size_t i = 0; i < 2; ++i) {
    stores[i].times.timeout_ms = has_faults ? 0 : 60'000;
    stores[i].open();
    if (!has_faults) continue;
    stores[i].path.fault = [&random = random[i], &path = stores[i].path] {
      if (random() % 16 == 0) path.deliver_late();
      const auto fault = static_cast<LogFault>(random() % 24);
      return fault <= LogFault::kLate ? fault : LogFault::kNone;
    };
  }
  constexpr uint64_t kCounters = 4;
  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> unknown{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 100; ++i) {
        const Status status = increment(*stores[t % 2], (t + i) % kCounters);
        ++(status.ok() ? done : unknown);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (ReplicaStore& store : stores) {
    store.path.fault = [] { return LogFault::kNone; };
    store.path.deliver_late();
  }
  for (ReplicaStore& store : stores) check_same(store, log);
  uint64_t sum = 0;
  for (uint64_t key = 0; key < kCounters; ++key) sum += number_at(*stores[0], key);
  CHECK(sum >= done);
  CHECK(sum <= done + unknown);
  CHECK(has_faults == (unknown > 0));
}

TEST_CASE("a store that lags refuses nothing by what it has not seen") {
  FakeLog log;
  ReplicaStore a(log);
  ReplicaStore b(log);
  a.open();
  b.open();
  const auto offset = a->put(7, "of the other");
  REQUIRE(offset.ok());
  SECTION("a condition on the newest version holds") {
    CHECK(b->put_if(Condition::version(7, *offset), "new").ok());
    CHECK(a->put_if(Condition::absent(7), "").status().code() == Code::kPreconditionFailed);
  }
  SECTION("a key that was written elsewhere is found to be removed") {
    CHECK(b->remove(7).ok());
    CHECK(a->remove(7).status().code() == Code::kNotFound);
  }
  SECTION("a key that was removed elsewhere is not found, and may be created") {
    REQUIRE(a->remove(7).ok());
    CHECK(b->put_if(Condition::absent(7), "new").ok());
  }
  check_same(a, log);
  check_same(b, log);
}

TEST_CASE("a write that the log takes no entry for is refused, and the store goes on") {
  FakeLog log;
  ReplicaStore a(log);
  a.open();
  must_put(*a, 1, "there");
  a.script({LogFault::kTooLarge});
  CHECK(a->put(2, "large").status().code() == Code::kTooLarge);
  CHECK_FALSE(a.health.is_stopped());
  must_put(*a, 3, "next");
  check_same(a, log);
}

TEST_CASE("a yes or no that nobody can confirm is not said") {
  FakeLog log;
  ReplicaStore a(log);
  a.times.timeout_ms = 0;
  a.open();
  must_put(*a, 1, "there");
  a.path.fault = [] { return LogFault::kLostRequest; };
  CHECK(a->remove(2).status().code() == Code::kLogUnreachable);
  CHECK(a->put_if(Condition::absent(1), "").status().code() == Code::kLogUnreachable);
  const auto put = a->put(3, "");
  CHECK(put.status().code() == Code::kLogUnreachable);
  CHECK_THAT(
      std::string(put.status().message()),
      Catch::Matchers::Contains("(no answer)") && Catch::Matchers::Contains("may have happened"));
  CHECK(a->next_offset() == 1);
  std::string value;
  CHECK(a->get(1, &value).ok());  // reads go on
}

TEST_CASE("a write that was given up is applied once, or not at all") {
  const auto fault = GENERATE(LogFault::kLostRequest, LogFault::kLostAnswer, LogFault::kLate);
  FakeLog log;
  ReplicaStore a(log);
  a.times.timeout_ms = 0;
  a.open();
  must_put(*a, 1, "first");
  a.script({fault});
  CHECK(a->put(2, "given up").status().code() == Code::kLogUnreachable);
  const bool arrives_before = GENERATE(false, true);
  if (arrives_before) a.path.deliver_late();
  must_put(*a, 3, "next");
  a.path.deliver_late();
  must_put(*a, 4, "last");
  check_same(a, log);
  const bool got_there =
      fault == LogFault::kLostAnswer || (fault == LogFault::kLate && arrives_before);
  CHECK(contents_of(*a).count(2) == (got_there ? 1 : 0));
  CHECK(a->next_offset() == (got_there ? 4 : 3));
}

TEST_CASE("a batch of one store is one entry, and others have all of it or nothing") {
  FakeLog log;
  ReplicaStore a(log);
  ReplicaStore b(log);
  a.open();
  b.open();
  std::vector<Mutation> batch;
  const std::string value(3000, 'b');
  for (uint64_t key = 0; key < 100; ++key) batch.push_back(Mutation::put(key, value));
  REQUIRE(a->write(batch).ok());
  CHECK(log.created() == 1);
  check_same(b, log);
  CHECK(contents_of(*b).size() == 100);
}

TEST_CASE("what the log would not accept as one entry is too large, with a shared log only") {
  FakeLog log;
  ReplicaStore a(log);
  a.open();
  const std::string half(kSharedValuesBytesMax / 2, 'v');
  const std::string whole(kSharedValuesBytesMax, 'v');
  const std::string more(kSharedValuesBytesMax + 1, 'v');
  const std::vector<Mutation> fits = {Mutation::put(1, half), Mutation::put(2, half)};
  const std::vector<Mutation> too_large = {Mutation::put(1, whole), Mutation::put(2, "v")};
  CHECK(a->write(fits).ok());
  CHECK(a->put(3, whole).ok());
  CHECK(a->put(4, more).status().code() == Code::kTooLarge);
  CHECK(a->write(too_large).status().code() == Code::kTooLarge);
  const std::vector<Mutation> many(50'000, Mutation::put(5, ""));
  CHECK(a->write(many).status().code() == Code::kTooLarge);
  check_same(a, log);

  FaultFs fs;
  const auto alone = must_open(small_options(fs));
  CHECK(alone->write(too_large).ok());
  CHECK(alone->write(many).ok());
}

TEST_CASE("a full disk after the log has a group: it may still happen, and does, before the next") {
  const QuietLog quiet;
  FakeLog log;
  ReplicaStore a(log, FsyncPolicy::kAlways);
  a.open();
  must_put(*a, 1, "first");
  a.fs.inject({FsCall::kWrite, Code::kNoSpace, 0, ~uint64_t{0}, "wal-"});
  const auto put = a->put(2, "in the log only");
  CHECK(put.status().code() == Code::kLogUnreachable);
  CHECK(log.created() == 2);
  CHECK(a->next_offset() == 1);
  CHECK(a->put(3, "cannot be").status().code() == Code::kNoSpace);  // the other one goes first
  a.fs.heal();
  const auto next = a->put(3, "next");
  REQUIRE(next.ok());
  CHECK(*next == 2);
  check_same(a, log);
  CHECK(contents_of(*a).at(2) == Stored{"in the log only", 1});
}

TEST_CASE("on a full disk deletes go on beside others' deletes, and wait for what others put") {
  const QuietLog quiet;
  FakeLog log;
  ReplicaStore a(log);
  ReplicaStore b(log);
  Options options;  // which keep room for deletes
  options.data_dir = kDir;
  options.fs = &a.fs;
  a.options = options;
  a.fs.set_volume(16 * kMiB);
  a.open();
  b.open();
  const std::string value(100'000, 'v');
  uint64_t keys = 0;
  while (keys < 200 && a->put(keys, value).ok()) ++keys;
  REQUIRE(keys > 10);
  REQUIRE(keys < 200);
  for (uint64_t key = 0; key < 4; key += 2) {
    CHECK(b->remove(key).ok());
    const Status removed = a->remove(key + 1).status();
    INFO(removed.to_string());
    CHECK(removed.ok());
  }
  CHECK(a->next_offset() == keys + 4);
  REQUIRE(b->put(1000, std::string(kSharedValuesBytesMax, 'L')).ok());
  const Status waits = a->remove(4).status();
  CHECK(waits.code() == Code::kNoSpace);
  CHECK_THAT(std::string(waits.message()),
             Catch::Matchers::Contains("another store's write comes first"));
  a.fs.set_volume(64 * kMiB);
  CHECK(a->remove(4).ok());
  check_same(a, log);
  check_same(b, log);
}

TEST_CASE("a broken disk after the log has a group: the others have it, and a new start has it") {
  const QuietLog quiet;
  FakeLog log;
  ReplicaStore a(log, FsyncPolicy::kAlways);
  ReplicaStore b(log);
  a.open();
  b.open();
  must_put(*a, 1, "first");
  const auto call = GENERATE(FsCall::kWrite, FsCall::kSync);
  a.fs.inject({call, Code::kIoError, 0, ~uint64_t{0}, "wal-"});
  CHECK(a->put(2, "in the log").status().code() == Code::kLogUnreachable);
  CHECK(a->put(3, "never").status().code() == Code::kReadOnly);
  CHECK(log.created() == 2);
  a.engine.reset();
  a.fs.restart(Loss::kEverything, 1);
  a.open();
  check_same(a, log);
  check_same(b, log);
  CHECK(contents_of(*a).at(2) == Stored{"in the log", 1});
}

TEST_CASE("lifetimes are Unix time in the log, whatever a store's own clock has become") {
  FakeLog log;
  ReplicaStore a(log);
  ReplicaStore b(log);
  use_fake_clock(&a.options);
  use_fake_clock(&b.options);
  a.open();
  must_put(*a, 1, "so that its clock is kept");
  a.engine.reset();
  a.options.clock_secs = shifted_unix_secs;  // somebody has put the system's clock forward
  a.open();
  b.open();
  const uint64_t unix_secs = fake_now_secs.load() + 5000 + 60;  // in a minute by a's clock
  REQUIRE(a->put(2, "a minute", unix_secs).ok());
  b.catch_up();
  const auto expiry = [](Engine& engine, uint64_t key) {
    const EpochPin pin;
    Lookup found;
    REQUIRE(engine.lookup(key, &found).ok());
    return found.expiry_secs();
  };
  CHECK(expiry(*a, 2) == fake_now_secs.load() + 60);  // its own time has not moved
  CHECK(expiry(*b, 2) == unix_secs);
  REQUIRE(b->put(3, "of the other", unix_secs).ok());
  a.catch_up();
  CHECK(expiry(*a, 3) == fake_now_secs.load() + 60);
}

TEST_CASE("with a shared log a thread that must not sleep never commits, and a wait is no stall") {
  FakeLog log;
  ReplicaStore a(log, FsyncPolicy::kNever);
  std::atomic<bool> is_held{true};
  std::atomic<bool> is_asked{false};
  std::atomic<bool> was_here{false};
  const auto here = std::this_thread::get_id();
  a.path.before_create = [&] {
    was_here = std::this_thread::get_id() == here;
    is_asked = true;
    is_asked.notify_all();
    is_held.wait(true);
  };
  a.open();
  AsyncWrite write({{1, "value"}});
  a->enqueue(&write);
  a->commit_enqueued();
  is_asked.wait(false);
  uint64_t now_ns = monotonic_ns();
  for (int looks = 0; looks < 100; ++looks) {
    const Stalls stalls = a->stalls(now_ns += 5'000'000'000);
    CHECK(find_stall(stalls) == nullptr);
  }
  is_held = false;
  is_held.notify_all();
  CHECK(write.wait().ok());
  CHECK_FALSE(was_here);
}

TEST_CASE("a group of the shared log is taken once, and only where the store ends") {
  FakeLog log;
  ReplicaStore a(log);
  ReplicaStore b(log);
  a.open();
  b.open();
  for (uint64_t key = 0; key < 3; ++key) must_put(*a, key, "value");
  std::vector<SharedGroup> groups;
  const auto entries = log.entries();
  for (const auto& [offset, bytes] : entries) {
    groups.push_back(*decode_entry(bytes, offset, a->database_id()));
  }
  CHECK(b->take(groups[1]).code() == Code::kCorruption);
  CHECK(b->take(groups[0]).ok());
  CHECK(b->take(groups[0]).ok());
  CHECK(b->next_offset() == 1);
  CHECK(b->take(groups[1]).ok());
  CHECK(b->take(groups[2]).ok());
  CHECK(contents_of(*b) == contents_of(*a));
}

}  // namespace kyro::test
