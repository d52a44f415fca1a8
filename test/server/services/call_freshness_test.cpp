// min-offset and consistency in the metadata of calls.
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "test/support/call_rig.h"

namespace kyro::test {
namespace {

FakeCall& begin_fresh_call(CallRig& rig, const std::string& method, std::string_view message,
                           const Fields& more) {
  FakeCall& call = rig.at.rounds->begin(kKvCalls + method, more);
  rig.at.rounds->finish_request(call, framed(message));
  return call;
}

void put_and_tell(CallRig& rig, uint64_t key, std::string_view value) {
  const uint64_t offset = rig.put(key, value);
  rig.at.api.offset_waits().on_offset(offset + 1);  // as the server's commits do
}

const Fields kFromZero{{"min-offset", "0"}};

}  // namespace

TEST_CASE("Every call that reads waits for the offset in its metadata") {
  CallRig rig;
  const std::vector<std::pair<std::string, std::string>> calls = {
      {"Get", numbers({{1, 7}})},
      {"MultiGet", numbers({{1, 7}})},
      {"Scan", ""},
      {"Wait", numbers({{1, 7}})},
      {"Count", ""},
      {"Nearest", numbers({{1, 9}})},
      {"Offset", ""},
  };
  std::vector<FakeCall*> waiting;
  for (const auto& [method, message] : calls) {
    waiting.push_back(&begin_fresh_call(rig, method, message, kFromZero));
  }
  FakeCall& subscriber = begin_fresh_call(rig, "Subscribe", std::string("\x08\x00", 2), kFromZero);
  for (size_t i = 0; i < calls.size(); ++i) {
    INFO(calls[i].first);
    CHECK_FALSE(waiting[i]->responded());
  }
  CHECK_FALSE(subscriber.responded());
  put_and_tell(rig, 7, "seven");
  for (size_t i = 0; i < calls.size(); ++i) {
    INFO(calls[i].first);
    rig.at.rounds->finish(*waiting[i]);
    CHECK(waiting[i]->grpc_status() == "0");
  }
  rig.at.rounds->wait([&] { return subscriber.stream != nullptr; });
  // What is there is answered at once, and what writes does not ask.
  CHECK(rig.ask("Get", numbers({{1, 7}}), kFromZero).grpc_status() == "0");
  CHECK(rig.ask("Get", numbers({{1, 7}}), {{"consistency", "latest"}}).grpc_status() == "0");
  CHECK(rig.ask("Delete", numbers({{1, 7}}), {{"min-offset", "99"}}).grpc_status() == "0");
}

TEST_CASE("So many reads may wait for an offset; one more is refused, and an end wakes all") {
  CallRig rig;
  std::vector<FakeCall*> waiting;
  for (uint64_t i = 0; i < OffsetWaits::kMax; ++i) {
    waiting.push_back(&begin_fresh_call(rig, "Get", numbers({{1, 7}}), kFromZero));
  }
  FakeCall& refused = begin_fresh_call(rig, "Get", numbers({{1, 7}}), kFromZero);
  rig.at.rounds->turn();
  CHECK(CallRig::failure_of(refused) == "14");
  CHECK(refused.grpc_message() == "too many reads are waiting");
  CHECK_FALSE(waiting.front()->responded());
  rig.at.api.set_draining();
  rig.at.rounds->turn();
  CHECK(CallRig::failure_of(*waiting.front()) == "14");
  CHECK(CallRig::failure_of(*waiting.back()) == "14");
}

TEST_CASE("A call whose offset does not come is UNAVAILABLE, and one that asks nonsense invalid") {
  CallRig rig;
  rig.put(7, "seven");
  rig.at.api.set_log_timeout_ms(0);
  FakeCall& late = begin_fresh_call(rig, "Get", numbers({{1, 7}}), {{"min-offset", "1"}});
  CHECK_FALSE(late.responded());
  rig.at.api.look_after_waiting_reads();
  rig.at.rounds->finish(late);
  CHECK(CallRig::failure_of(late) == "14");
  CHECK(late.grpc_message() == "this server has not come so far: the next offset here is 1");
  for (const Fields& fields : {Fields{{"min-offset", "x"}}, Fields{{"consistency", "eventual"}},
                               Fields{{"min-offset", "0"}, {"consistency", "latest"}}}) {
    CHECK(rig.failure("Get", numbers({{1, 7}}), fields) == "3");
  }
}

}  // namespace kyro::test
