#include "kyro/tools/log_init.h"

#include <catch2/catch.hpp>
#include <string>

#include "kyro/storage/offline/backup.h"
#include "test/support/cluster/replica_store.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

// A store of its own with some data, in runs and in the log, that was stopped.
struct LoneStore {
  explicit LoneStore(FsyncPolicy policy) : options(small_options(fs)) {
    options.fsync = policy;
    auto engine = must_open(options);
    for (uint64_t key = 0; key < 50; ++key) must_put(*engine, key, "before the log");
    REQUIRE(engine->snapshot().ok());
    for (uint64_t key = 40; key < 60; ++key) must_put(*engine, key, "in its own log");
    id = engine->database_id();
  }

  FaultFs fs;
  Options options;
  std::string id;
};

}  // namespace

TEST_CASE("a store that has data begins a log, goes on in it, and others begin as its backup") {
  const auto policy = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kInterval);
  LoneStore store(policy);
  FakeLog log;
  FakeLogPath way(log);
  const auto head = begin_log(way, store.fs, kDir);
  INFO(head.status().to_string());
  REQUIRE(head.ok());
  CHECK(head->end == 70);
  CHECK(log.head() == "70 0 00000000 " + store.id);

  REQUIRE(backup_directory(store.fs, kDir, "backup").ok());
  REQUIRE(restore_directory(store.fs, "backup", "second", Sharing::kNone, Restored::kReplica).ok());
  ReplicaStore first(log);
  ReplicaStore second(log);
  first.options.fs = second.options.fs = &store.fs;
  second.options.data_dir = "second";
  first.open();
  second.open();
  CHECK(first->database_id() == store.id);
  CHECK(second->database_id() == store.id);
  CHECK(*first->put(1, "by the first") == 70);
  CHECK(*second->put(2, "by the second") == 71);
  first.catch_up();
  CHECK(contents_of(*first) == contents_of(*second));
  CHECK(contents_of(*first).size() == 60);

  const QuietLog quiet;
  ReplicaStore third(log);  // which has nothing
  third.open();
  CHECK(third->put(1, "").status().code() == Code::kLogUnreachable);
  CHECK(third.health.reason_word() == "log_trimmed");
}

TEST_CASE("where there is a log already it stays as it is, and is told of") {
  LoneStore store(FsyncPolicy::kAlways);
  FakeLog log;
  FakeLogPath way(log);
  std::string told;
  SECTION("this store's") {
    REQUIRE(begin_log(way, store.fs, kDir).ok());
    told = "ends at offset 70 and is of database " + store.id + ", which is this store's";
  }
  SECTION("another's") {
    log.create_head("5 0 00000000 " + std::string(32, 'f'));
    told = "ends at offset 5 and is of database " + std::string(32, 'f');
  }
  SECTION("a damaged one") {
    log.create_head("5");
    told = "damaged";
  }
  SECTION("entries that were left over") {
    log.set_entry(9, "entry");
    told = "entries of a log without a head, from offset 9 on";
  }
  const auto before = log.head();
  const Status status = begin_log(way, store.fs, kDir).status();
  CHECK(status.code() == Code::kExists);
  CHECK_THAT(std::string(status.message()), Contains(told));
  CHECK(log.head() == before);
}

TEST_CASE("a head whose answer is lost is looked for") {
  LoneStore store(FsyncPolicy::kAlways);
  FakeLog log;
  FakeLogPath way(log);
  int calls = 0;
  const auto fault = GENERATE(LogFault::kLostAnswer, LogFault::kLostRequest);
  way.fault = [&] { return ++calls == 3 ? fault : LogFault::kNone; };
  const auto head = begin_log(way, store.fs, kDir);
  CHECK(head.ok() == (fault == LogFault::kLostAnswer));
  CHECK(log.head().has_value() == head.ok());
}

TEST_CASE("a store that is in use, or may have lost something, or is a backup begins no log") {
  const QuietLog quiet;
  LoneStore store(FsyncPolicy::kInterval);
  FakeLog log;
  FakeLogPath way(log);
  {
    const auto engine = must_open(store.options);
    CHECK(begin_log(way, store.fs, kDir).status().code() == Code::kBusy);
    must_put(*engine, 1, "newest");
    store.fs.cut_power();
  }
  store.fs.restart(Loss::kNothing, 1);
  CHECK(begin_log(way, store.fs, kDir).status().code() == Code::kUnsupported);
  REQUIRE(backup_directory(store.fs, kDir, "backup").ok());
  CHECK(begin_log(way, store.fs, "backup").status().code() == Code::kUnsupported);
  CHECK(begin_log(way, store.fs, "nowhere").status().code() == Code::kNotFound);
  CHECK_FALSE(log.head());
  must_open(store.options);  // and stopped
  CHECK(begin_log(way, store.fs, kDir).ok());
}

}  // namespace kyro::test
