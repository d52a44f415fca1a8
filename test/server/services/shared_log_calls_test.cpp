// What calls say of a log that is shared.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "kyro/replica/replica_log.h"
#include "test/support/call_rig.h"
#include "test/support/cluster/fake_log.h"

namespace kyro::test {
namespace {

// A store with its calls on a log that behaves as the test says.
struct CallsOnLog {
  CallsOnLog() : at(options()) {}
  Options options() {
    Options shared = large_options(fs);
    shared.shared_log = &log;
    return shared;
  }
  const FakeCall& ask(const std::string& method, std::string_view message) {
    return at.rounds->ask(kKvCalls + method, message);
  }

  const QuietLog quiet;
  FaultFs fs;
  FakeLog entries;
  FakeLogPath way{entries};
  LogHealth health;
  ReplicaLog log{way, health, {.timeout_ms = 0, .pause_ms = 0}};
  CallCase at;
};

}  // namespace

TEST_CASE("Calls that write say what the shared log has done to them") {
  CallsOnLog store;
  CHECK(store.ask("Put", store.at.put(1, "one")).grpc_status() == "0");
  store.way.fault = [] { return LogFault::kLostRequest; };
  const FakeCall& lost = store.ask("Put", store.at.put(2, "two"));
  CHECK(CallRig::failure_of(lost) == "14");
  CHECK(lost.grpc_message().find("a write may have happened, or still happen") !=
        std::string::npos);
  store.way.fault = [] { return LogFault::kNoSpace; };
  const FakeCall& full = store.ask("Delete", numbers({{1, 1}}));
  CHECK(CallRig::failure_of(full) == "8");
  CHECK(full.grpc_message().find("database space exceeded") != std::string::npos);
  store.way.fault = [] { return LogFault::kNone; };
  const FakeCall& large =
      store.ask("Put", store.at.put(3, std::string(kSharedValuesBytesMax + 1, 'x')));
  CHECK(CallRig::failure_of(large) == "8");
  CHECK(large.grpc_message().find("an entry of the shared log has room for") != std::string::npos);
  std::string batch;
  for (uint64_t key = 0; key < 3; ++key) {
    batch += operation(1, store.at.put(key, std::string(kSharedValuesBytesMax / 2, 'x')));
  }
  CHECK(CallRig::failure_of(store.ask("Write", batch)) == "8");
  CHECK(store.ask("Get", numbers({{1, 1}})).grpc_status() == "0");
  CHECK(store.ask("Put", store.at.put(4, "four")).grpc_status() == "0");
}

TEST_CASE("A subscription that is ahead of a replica waits for it, of any other store it is gone") {
  CallRig rig;
  CHECK(rig.failure("Subscribe", numbers({{1, 2}})) == "11");
  const Replica replica({.url = LogUrl::parse("http://127.0.0.1:1/n").value()});
  rig.at.api.set_replica(&replica);
  FakeCall& ahead = rig.at.rounds->begin(kKvCalls + "Subscribe");
  rig.at.rounds->finish_request(ahead, framed(numbers({{1, 2}})));
  for (uint64_t key = 0; key < 3; ++key) {
    CHECK(ahead.responded() == (key == 2));
    rig.at.api.offset_waits().on_offset(rig.put(key, "v") + 1);
    rig.at.rounds->turn();
  }
  rig.at.rounds->wait([&] { return !ahead.body.empty(); });
  const auto records = messages_of(ahead.body);
  REQUIRE(records.size() == 1);
  CHECK(number_in(records[0], 1) == 2);
}

}  // namespace kyro::test
