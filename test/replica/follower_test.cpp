#include "kyro/replica/follower.h"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "kyro/storage/offline/backup.h"
#include "test/support/cluster/replica_store.h"

namespace kyro::test {
namespace {

using Step = LogFollower::Step;

// A store and what follows the log for it, over a way of its own.
struct FollowingStore {
  explicit FollowingStore(FakeLog& log) : store(log), path(log) { store.open(); }
  void follow() {
    follower = std::make_unique<LogFollower>(*store, path, store.health, LogFollower::Times{1, 1});
  }
  Step follow_to_end() {
    if (follower == nullptr) follow();
    Step step = Step::kApplied;
    while (step == Step::kApplied) step = follower->step();
    return step;
  }

  ReplicaStore store;
  FakeLogPath path;
  std::unique_ptr<LogFollower> follower;
};

// Sleeps until a store has seen an offset.
class SeenOffset {
 public:
  explicit SeenOffset(Engine& engine) : engine_(engine) {
    engine.set_commit_listener(
        [](void* self) {
          auto* const seen = static_cast<SeenOffset*>(self);
          const std::lock_guard lock(seen->mutex_);
          seen->changed_.notify_all();
        },
        this);
  }
  void wait(uint64_t offset) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return engine_.next_offset() >= offset; });
  }

 private:
  Engine& engine_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace

TEST_CASE("a follower applies a log of any length, in pages, and knows when it has all of it") {
  FakeLog log;
  ReplicaStore writer(log);
  writer.open();
  const uint64_t seed = test_seed(5);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < 2000; ++i) {
    must_put(*writer, random() % 300, std::string(random() % 200, 'v'));
  }
  FollowingStore b(log);
  b.follow();
  CHECK(b.follower->step() == Step::kApplied);
  CHECK(b.follower->head_offset() == 2000);
  CHECK(b.follower->lag_records() > 0);
  CHECK(b.follower->lag_ns() > 0);
  CHECK(b.follow_to_end() == Step::kAtEnd);
  CHECK(b.path.calls() < 100);  // not one for each entry
  CHECK(b.follower->lag_records() == 0);
  CHECK(b.follower->lag_ns() == 0);
  CHECK(contents_of(*b.store) == contents_of(*writer));
}

TEST_CASE("entries as large as they may be come in pages of a few") {
  FakeLog log;
  ReplicaStore writer(log);
  writer.open();
  FollowingStore b(log);
  for (uint64_t i = 0; i < 12; ++i) {
    for (uint64_t small = 0; small < 50; ++small) must_put(*writer, small, "small");
    must_put(*writer, 100 + i, std::string(kSharedValuesBytesMax, static_cast<char>('a' + i)));
  }
  CHECK(b.follow_to_end() == Step::kAtEnd);
  CHECK(contents_of(*b.store) == contents_of(*writer));
}

TEST_CASE("a thread follows while others write, and its own store writes too") {
  FakeLog log;
  FollowingStore a(log);
  FollowingStore b(log);
  SeenOffset seen_a(*a.store);
  SeenOffset seen_b(*b.store);
  for (FollowingStore* store : {&a, &b}) {
    store->follow();
    REQUIRE(store->follower->start().ok());
  }
  const auto write = [](FollowingStore& store, uint64_t first_key) {
    for (uint64_t key = first_key; key < first_key + 200; ++key) {
      if (!store.store->put(key, std::to_string(key)).ok()) return;
    }
  };
  std::thread other([&] { write(b, 1000); });
  write(a, 2000);
  other.join();
  seen_a.wait(400);
  seen_b.wait(400);
  a.follower->stop();
  b.follower->stop();
  uint64_t end = 0;
  const bool same_a = contents_of(*a.store) == contents_of(log, &end);
  const bool same_b = contents_of(*b.store) == contents_of(log, &end);
  CHECK(same_a);
  CHECK(same_b);
  CHECK(end == 400);
}

TEST_CASE("a page is bounded by bytes, whatever comes after small entries") {
  FakeLog log;
  ReplicaStore writer(log);
  writer.options.delta_max_bytes = 64 * kMiB;
  writer.options.wal_segment_bytes = 64 * kMiB;
  writer.open();
  for (uint64_t key = 0; key < 3000; ++key) must_put(*writer, key, "small");
  for (uint64_t key = 0; key < 20; ++key) {
    must_put(*writer, key, std::string(kSharedValuesBytesMax, 'L'));
  }
  FollowingStore b(log);
  b.store.engine.reset();
  b.store.options.delta_max_bytes = b.store.options.wal_segment_bytes = 64 * kMiB;
  b.store.open();
  CHECK(b.follow_to_end() == Step::kAtEnd);
  CHECK(b.path.calls() < 100);
  CHECK(contents_of(*b.store) == contents_of(*writer));
  b.path.reset_page_bytes_max();
  for (uint64_t key = 0; key < 20; ++key) {
    must_put(*writer, key, std::string(kSharedValuesBytesMax, 'M'));
  }
  CHECK(b.follow_to_end() == Step::kAtEnd);
  CHECK(b.path.page_bytes_max() <= 8 * kMiB);  // it has learnt what they weigh
}

TEST_CASE("a follower that has everything asks nobody until there is something") {
  FakeLog log;
  FollowingStore a(log);
  FollowingStore b(log);
  SeenOffset seen_b(*b.store);
  b.follower = std::make_unique<LogFollower>(*b.store, b.path, b.store.health,
                                             LogFollower::Times{3'600'000, 1});
  REQUIRE(b.follower->start().ok());
  uint64_t calls = 0;
  for (uint64_t key = 0; key < 50; ++key) {
    must_put(*a.store, key, "of the other");
    seen_b.wait(2 * key + 1);
    calls = b.path.calls();
    must_put(*b.store, key, "its own");
  }
  // Of its own writes it need not be told, and one question for one of the other's is enough.
  CHECK(calls <= 3 * 50);
  b.follower->stop();
  CHECK(b.store->next_offset() == 100);
}

TEST_CASE("a follower that nobody tells looks by itself") {
  FakeLog log;
  FollowingStore a(log);
  FollowingStore b(log);
  SeenOffset seen_b(*b.store);
  b.path.tells_nothing = true;
  b.follow();
  REQUIRE(b.follower->start().ok());
  for (uint64_t key = 0; key < 20; ++key) {
    must_put(*a.store, key, "value");
    seen_b.wait(key + 1);
  }
  b.follower->stop();
}

TEST_CASE("a write that this disk had no room for is applied all the same, by the follower") {
  const QuietLog quiet;
  FakeLog log;
  FollowingStore a(log);
  SeenOffset seen(*a.store);
  must_put(*a.store, 1, "first");
  a.follow();
  REQUIRE(a.follower->start().ok());
  a.store.fs.inject({FsCall::kWrite, Code::kNoSpace, 0, 1, "wal-"});
  CHECK(a.store->put(2, "in the log").status().code() == Code::kLogUnreachable);
  seen.wait(2);
  a.follower->stop();
}

TEST_CASE("a follower without an answer, or without room, tries again") {
  const QuietLog quiet;
  FakeLog log;
  ReplicaStore writer(log);
  writer.open();
  FollowingStore b(log);
  for (uint64_t key = 0; key < 100; ++key) must_put(*writer, key, "value");
  SECTION("no answer") {
    b.path.fault = [n = 0]() mutable {
      return ++n % 2 == 1 ? LogFault::kLostAnswer : LogFault::kNone;
    };
    CHECK(b.follow_to_end() == Step::kWaits);
    CHECK_FALSE(b.store.health.is_up());
    while (b.follow_to_end() == Step::kWaits) continue;
    CHECK(b.store.health.is_up());
  }
  SECTION("no room") {
    b.store.fs.inject({FsCall::kWrite, Code::kNoSpace, 3, ~uint64_t{0}, "wal-"});
    CHECK(b.follow_to_end() == Step::kWaits);
    CHECK(b.store.health.is_up());  // that is not the log's fault
    b.store.fs.heal();
    CHECK(b.follow_to_end() == Step::kAtEnd);
  }
  CHECK(contents_of(*b.store) == contents_of(*writer));
}

TEST_CASE("a follower stops at what it must not skip, for good, and says why") {
  const QuietLog quiet;
  FakeLog log;
  ReplicaStore writer(log);
  writer.open();
  const std::string id = writer->database_id();
  for (uint64_t key = 0; key < 10; ++key) must_put(*writer, key, "value");
  FollowingStore b(log);
  REQUIRE(b.follow_to_end() == Step::kAtEnd);
  const uint64_t here = b.store->next_offset();
  for (uint64_t key = 10; key < 20; ++key) must_put(*writer, key, "value");
  std::string word;
  uint64_t applied = here;
  SECTION("trimmed beyond it") {
    log.trim(12);
    word = "log_trimmed";
  }
  SECTION("a hole in the middle of a page") {
    const auto entries = log.entries();
    log.erase_from(14);
    for (uint64_t at = 15; at < 20; ++at) log.set_entry(at, entries.at(at));
    applied = 14;
    word = "log_trimmed";
  }
  SECTION("the log has lost what it has") {
    log.erase_from(5);
    log.set_head("5 0 00000000 " + id);
    word = "log_behind";
  }
  SECTION("a damaged entry") {
    std::string entry = log.entries().at(13);
    entry.back() = static_cast<char>(entry.back() ^ 1);
    log.set_entry(13, entry);
    applied = 13;
    word = "log_broken";
  }
  SECTION("an entry of another past") {
    LogHead head{13, 0, 12345, id};
    std::string body(static_cast<size_t>(Mutation::put(1, "x").record_bytes()), '\0');
    encode_record(Mutation::put(1, "x"), 13, body.data());
    log.set_entry(13, encode_entry(&head, 1, 1, body));
    applied = 13;
    word = "log_broken";
  }
  SECTION("another database") {
    log.set_head("20 0 00000000 " + std::string(32, 'f'));
    word = "log_foreign";
  }
  CHECK(b.follow_to_end() == Step::kStopped);
  CHECK(b.store.health.reason_word() == word);
  CHECK(b.store->next_offset() == applied);
  CHECK(contents_of(*b.store).size() == applied);  // reads go on
  CHECK(b.store->put(1, "never").status().code() == Code::kLogUnreachable);
  CHECK(b.follow_to_end() == Step::kStopped);
}

TEST_CASE("a backup of a replica becomes a replica, from the offset where it ends") {
  const bool has_flushed = GENERATE(false, true);
  const bool is_restored = GENERATE(false, true);
  FakeLog log;
  ReplicaStore writer(log);
  writer.open();
  for (uint64_t key = 0; key < 50; ++key) must_put(*writer, key, "before the backup");
  if (has_flushed) REQUIRE(writer->snapshot().ok());
  REQUIRE(writer->backup("backup").ok());
  for (uint64_t key = 25; key < 75; ++key) must_put(*writer, key, "after it");
  log.trim(50);  // a store that begins anew cannot do without the backup any more

  ReplicaStore second(log);
  second.options.fs = &writer.fs;
  second.options.data_dir = "backup";
  if (is_restored) {
    second.options.data_dir = "restored";
    REQUIRE(restore_directory(writer.fs, "backup", "restored", Sharing::kNone, Restored::kReplica)
                .ok());
  }
  for (const uint64_t here : {uint64_t{50}, uint64_t{100}}) {
    second.open();
    CHECK(second->next_offset() == here);
    FakeLogPath path(log);
    LogFollower follower(*second, path, second.health, {});
    Step step = Step::kApplied;
    while (step == Step::kApplied) step = follower.step();
    CHECK(step == Step::kAtEnd);
    CHECK(contents_of(*second) == contents_of(*writer));
    second.engine.reset();  // and what it has appended to its copy is sound
  }
  second.open();
  must_put(*second, 1000, "of the second");
  writer.catch_up();
  CHECK(contents_of(*second) == contents_of(*writer));

  const QuietLog quiet;
  ReplicaStore third(log);
  third.open();
  CHECK(third->put(1, "skips nothing").status().code() == Code::kLogUnreachable);
  CHECK(third.health.reason_word() == "log_trimmed");
}

TEST_CASE("a follower of a store that has become read-only ends, and does not blame the log") {
  const QuietLog quiet;
  FakeLog log;
  ReplicaStore writer(log);
  writer.open();
  FollowingStore b(log);
  must_put(*writer, 1, "value");
  b.store.fs.inject({FsCall::kWrite, Code::kIoError, 0, ~uint64_t{0}, "wal-"});
  CHECK(b.follow_to_end() == Step::kStopped);
  CHECK_FALSE(b.store.health.is_stopped());
}

}  // namespace kyro::test
