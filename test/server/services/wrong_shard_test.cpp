// Calls of gRPC about keys that another shard has.
#include <catch2/catch.hpp>
#include <string>

#include "kyro/base/text/slots.h"
#include "test/support/call_rig.h"

namespace kyro::test {

TEST_CASE("Calls about a key of another shard fail with FAILED_PRECONDITION, and change nothing") {
  constexpr uint64_t kMine = 7;
  uint64_t other = 1;  // a field that is 0 is left out
  while (slot_of(other) == slot_of(kMine)) ++other;
  CallRig rig(SlotSet::parse(std::to_string(slot_of(kMine))).value());
  rig.put(kMine, "mine");
  const std::string refused = "9";  // FAILED_PRECONDITION
  CHECK(rig.failure("Put", rig.at.put(other, "x")) == refused);
  CHECK(rig.failure("Put", rig.at.put(other, std::string(100'000, 'x'))) == refused);
  CHECK(rig.failure("Put", with_condition(rig.at.put(other, "x"), 4, 1, 1)) == refused);
  CHECK(rig.failure("Delete", numbers({{1, other}})) == refused);
  CHECK(rig.failure("Get", numbers({{1, other}})) == refused);
  CHECK(rig.failure("Wait", numbers({{1, other}, {3, 300}})) == refused);
  CHECK(rig.failure("MultiGet", numbers({{1, kMine}, {1, other}})) == refused);
  CHECK(rig.failure("Write", operation(1, rig.at.put(kMine, "new")) +
                                 operation(2, numbers({{1, other}}))) == refused);
  CHECK(rig.failure("Subscribe", numbers({{2, other}})) == refused);
  const std::string message = rig.ask("Get", numbers({{1, other}})).grpc_message();
  CHECK(message.find("slot " + std::to_string(slot_of(other))) != message.npos);
  // Of a stream the one put is refused, the next is done.
  FakeCall& stream = rig.at.rounds->begin(kKvCalls + "PutStream");
  stream.send(framed(rig.at.put(other, "x")) + framed(rig.at.put(kMine, "new")), true);
  rig.at.rounds->finish(stream);
  const auto answers = messages_of(stream.body);
  REQUIRE(answers.size() == 2);
  CHECK(number_in(answers[0], 1) == 9);
  CHECK(number_in(answers[1], 1) == 0);
  CHECK(rig.get(kMine) == "new");
  CHECK(rig.at.engine->next_offset() == 2);
}

}  // namespace kyro::test
