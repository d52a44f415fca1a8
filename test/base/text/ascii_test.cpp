// Comparisons of ASCII text, held against their definitions character by character.
#include "kyro/base/text/ascii.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "test/support/test_util.h"

namespace kyro {
namespace {

TEST_CASE("words compare in any case by words as they do by bytes") {
  const uint64_t seed = test::test_seed(18);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const auto below = [&random](size_t bound) { return static_cast<size_t>(random() % bound); };
  const std::string letters = "abcdefghijklmnopqrstuvwxyz-";
  for (int round = 0; round < 20'000; ++round) {
    std::string lower(below(20), 'a');
    for (char& c : lower) c = letters[below(letters.size())];
    std::string text = lower;
    for (char& c : text) {
      if (c != '-' && below(2) == 0) c = static_cast<char>(c ^ 0x20);
    }
    REQUIRE(equals_lower(text, lower));
    if (text.empty()) continue;
    // Any one character that is printable, and what is shorter or longer.
    text[below(text.size())] = static_cast<char>(static_cast<int>(below(95)) + ' ');
    REQUIRE(equals_lower(text, lower) == iequals(text, lower));
    REQUIRE_FALSE(equals_lower(lower + "a", lower));
    REQUIRE_FALSE(equals_lower(lower, lower + "a"));
  }
}

TEST_CASE("text is compared with literals, whole and as a beginning") {
  CHECK(is_literal("GET", "GET"));
  CHECK_FALSE(is_literal("GETS", "GET"));
  CHECK_FALSE(is_literal("GE", "GET"));
  CHECK_FALSE(is_literal("get", "GET"));
  CHECK(begins_with("/v1/", "/v1/"));
  CHECK(begins_with("/v1/scan", "/v1/"));
  CHECK_FALSE(begins_with("/v1", "/v1/"));
  CHECK_FALSE(begins_with("", "/v1/"));
}

}  // namespace
}  // namespace kyro
