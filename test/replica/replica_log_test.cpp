#include "kyro/replica/replica_log.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "test/support/cluster/fake_log.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Taken = Result<std::optional<SharedGroup>>;

// One store's end of the log, without the store.
struct LogEnd {
  explicit LogEnd(FakeLog& log, uint64_t timeout_ms = 60'000) : path(log) {
    end = std::make_unique<ReplicaLog>(path, health,
                                       ReplicaLog::Times{.timeout_ms = timeout_ms, .pause_ms = 0});
  }
  // The database id that a new store gets.
  std::string begin() {
    const auto id = end->database("");
    REQUIRE(id.ok());
    return *id;
  }
  Taken append(uint64_t offset, const std::string& value) {
    const Mutation mutation = Mutation::put(offset, value);
    body.resize(static_cast<size_t>(mutation.record_bytes()));
    encode_record(mutation, offset, body.data());
    return end->append(offset, 1, body);
  }
  // Answers with a script of faults, and then with none.
  void script(std::vector<LogFault> faults) {
    path.fault = [faults = std::move(faults), at = size_t{0}]() mutable {
      return at < faults.size() ? faults[at++] : LogFault::kNone;
    };
  }

  FakeLogPath path;
  LogHealth health;
  std::unique_ptr<ReplicaLog> end;
  std::string body;
};

bool is_ours(const Taken& taken) {
  return taken.ok() && !*taken;
}
std::string value_of(const Taken& taken) {
  REQUIRE(taken.ok());
  REQUIRE(taken->has_value());
  RecordView record;
  REQUIRE(decode_record((*taken)->body, &record) == RecordCheck::kOk);
  return std::string(record.value);
}

}  // namespace

TEST_CASE("new stores that begin a log at the same time get one database id") {
  FakeLog log;
  LogEnd a(log);
  LogEnd b(log);
  a.script({LogFault::kNone, LogFault::kLostAnswer});
  const std::string id = a.begin();
  CHECK(b.begin() == id);
  CHECK(log.head() == "0 0 00000000 " + id);
}

TEST_CASE("of two appends at one offset one gets in, and the other learns what lies there") {
  FakeLog log;
  LogEnd a(log);
  LogEnd b(log);
  a.begin();
  b.begin();
  CHECK(is_ours(a.append(0, "a0")));
  const Taken theirs = b.append(0, "b0");
  CHECK(value_of(theirs) == "a0");
  REQUIRE(b.end->follow(**theirs).ok());
  CHECK(is_ours(b.append(1, "b1")));
  CHECK(value_of(a.append(1, "a1")) == "b1");
  CHECK(log.entries().size() == 2);
}

TEST_CASE("an append without an answer is sent again and gets in once") {
  const auto fault =
      GENERATE(LogFault::kLostRequest, LogFault::kLostAnswer, LogFault::kTwice, LogFault::kLate);
  FakeLog log;
  LogEnd a(log);
  a.begin();
  REQUIRE(is_ours(a.append(0, "first")));
  a.script({fault, fault, fault});
  CHECK(is_ours(a.append(1, "second")));
  a.path.deliver_late();
  a.path.fault = [] { return LogFault::kNone; };
  CHECK(is_ours(a.append(2, "third")));
  CHECK(log.created() == 3);
}

TEST_CASE("refused for room or size is certain, but not after a try without an answer") {
  const auto [fault, code] = GENERATE(table<LogFault, Code>(
      {{LogFault::kNoSpace, Code::kNoSpace}, {LogFault::kTooLarge, Code::kTooLarge}}));
  FakeLog log;
  LogEnd a(log, 0);
  a.begin();
  REQUIRE(is_ours(a.append(0, "first")));
  a.script({fault});
  CHECK(a.append(1, "second").status().code() == code);
  CHECK(a.health.is_up());
  CHECK_FALSE(a.health.is_stopped());
  CHECK(is_ours(a.append(1, "second")));

  LogEnd b(log);
  b.begin();
  b.script({LogFault::kNone, LogFault::kLate, fault, LogFault::kLostAnswer});
  CHECK(is_ours(b.append(2, "third")));  // not refused: insisted on
}

TEST_CASE("what was given up is found by the next append, or loses its place to it") {
  FakeLog log;
  LogEnd a(log, 0);
  a.begin();
  REQUIRE(is_ours(a.append(0, "first")));
  const auto give_up = [&](uint64_t offset, LogFault fault) {
    a.script({fault});
    CHECK(a.append(offset, "given up").status().code() == Code::kLogUnreachable);
    CHECK_FALSE(a.health.is_up());
  };
  give_up(1, LogFault::kLostAnswer);
  const Taken found = a.append(1, "next");
  CHECK(value_of(found) == "given up");
  CHECK(a.health.is_up());
  REQUIRE(a.end->follow(**found).ok());

  give_up(2, LogFault::kLate);
  CHECK(is_ours(a.append(2, "next")));
  a.path.deliver_late();
  CHECK(is_ours(a.append(3, "last")));

  give_up(4, LogFault::kLate);
  a.path.deliver_late();
  CHECK(value_of(a.append(4, "next")) == "given up");
}

TEST_CASE("a store that lags does not write where the log was trimmed") {
  const QuietLog quiet;
  FakeLog log;
  LogEnd a(log);
  LogEnd b(log);
  a.begin();
  b.begin();
  REQUIRE(is_ours(a.append(0, "a0")));
  REQUIRE(is_ours(a.append(1, "a1")));
  log.trim(1);
  CHECK(b.append(0, "b0").status().code() == Code::kLogUnreachable);
  CHECK(b.health.reason_word() == "log_trimmed");
  CHECK(b.append(0, "b0").status().code() == Code::kLogUnreachable);  // and for good
  CHECK(log.entries().size() == 1);
}

TEST_CASE("asking where the log ends says yes, or hands on what lies there") {
  FakeLog log;
  LogEnd a(log);
  LogEnd b(log);
  a.begin();
  b.begin();
  CHECK(is_ours(b.end->confirm(0)));
  REQUIRE(is_ours(a.append(0, "a0")));
  CHECK(value_of(b.end->confirm(0)) == "a0");
  CHECK(is_ours(a.end->confirm(1)));
}

TEST_CASE("a log that does not continue what a store has is left for good") {
  const QuietLog quiet;
  FakeLog log;
  LogEnd a(log);
  const std::string id = a.begin();
  REQUIRE(is_ours(a.append(0, "a0")));
  REQUIRE(is_ours(a.append(1, "a1")));
  std::string word;
  SECTION("it has lost what this store has") {
    log.set_head("1 0 00000000 " + id);
    log.erase_from(1);
    word = "log_behind";
  }
  SECTION("it went another way since") {
    FakeLog other;
    LogEnd b(other);
    other.create_head("0 0 00000000 " + id);
    b.begin();
    REQUIRE(is_ours(b.append(0, "b0")));
    REQUIRE(is_ours(b.append(1, "b1")));
    SECTION("and ends at the same offset") {}
    SECTION("and goes on") {
      REQUIRE(is_ours(b.append(2, "b2")));
      log.set_entry(2, other.entries()[2]);
    }
    log.set_head(other.head());
    word = "log_broken";
  }
  SECTION("it is another database's") {
    log.set_head("2 0 00000000 " + std::string(32, 'f'));
    word = "log_foreign";
  }
  SECTION("it is not there any more") {
    log.set_head(std::nullopt);
    word = "log_missing";
  }
  SECTION("its head is damaged") {
    log.set_head("2 0 0000000 " + id);
    word = "log_broken";
  }
  SECTION("an entry is damaged") {
    log.set_head("3 0 00000000 " + id);
    log.set_entry(2, "KYRO-ENT");
    word = "log_broken";
  }
  const uint64_t created = log.created();
  Taken taken = a.append(2, "a2");
  // What lies there may be a good entry; then it is refused when it is to be applied.
  if (taken.ok() && *taken) {
    CHECK(a.end->follow(**taken).code() == Code::kLogUnreachable);
    taken = a.append(2, "a2");
  }
  CHECK(taken.status().code() == Code::kLogUnreachable);
  CHECK(a.health.reason_word() == word);
  CHECK(a.end->confirm(2).status().code() == Code::kLogUnreachable);
  CHECK(log.created() == created);
}

}  // namespace kyro::test
