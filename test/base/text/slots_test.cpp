#include "kyro/base/text/slots.h"

#include <catch2/catch.hpp>
#include <string>

namespace kyro {

TEST_CASE("The slot of a key is the CRC32C of its decimal digits modulo 16384") {
  for (const uint64_t key : {uint64_t{0}, uint64_t{7}, uint64_t{123456789}, ~uint64_t{0}}) {
    CHECK(slot_of(key) == crc32c(std::to_string(key)) % 16384);
  }
  CHECK(slot_of(123456789) == 0xE3069283u % 16384);  // the check value of CRC32C
}

TEST_CASE("Slots as text are ranges in order, however they were given") {
  const auto set = SlotSet::parse("9, 4-6,7,16383");
  REQUIRE(set.ok());
  CHECK(set->to_text() == "4-7,9,16383");
  CHECK(SlotSet::parse(set->to_text())->to_text() == set->to_text());
  size_t count = 0;
  for (uint64_t slot = 0; slot < kSlotCount; ++slot) count += set->has(slot) ? 1u : 0u;
  CHECK(count == 6);
  for (const char* bad :
       {"", ",", "1,", "-", "1-", "-1", "2-1", "16384", "1-16384", "a", "01", "1:2", "1-2-3"}) {
    INFO(bad);
    CHECK(SlotSet::parse(bad).status().code() == Code::kInvalid);
  }
}

TEST_CASE("A key outside of the slots is told with its slot, and without slots none is outside") {
  const uint64_t slot = slot_of(7);
  CHECK(SlotSet().check(7).ok());
  CHECK(SlotSet().to_text().empty());
  CHECK(SlotSet::parse(std::to_string(slot))->check(7).ok());
  const Status outside = SlotSet::parse(std::to_string(slot ^ 1))->check(7);
  CHECK(outside.code() == Code::kWrongShard);
  CHECK(outside.message().find("key 7 is in slot " + std::to_string(slot) + ",") !=
        std::string_view::npos);
}

}  // namespace kyro
