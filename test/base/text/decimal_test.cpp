#include "kyro/base/text/decimal.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "test/support/test_util.h"

namespace kyro {
namespace {

TEST_CASE("plain decimal numbers up to 2^64-1 are parsed") {
  CHECK(parse_u64("0") == 0u);
  CHECK(parse_u64("1") == 1u);
  CHECK(parse_u64("9") == 9u);
  CHECK(parse_u64("10") == 10u);
  CHECK(parse_u64("9223372036854775808") == uint64_t{1} << 63);
  CHECK(parse_u64("9999999999999999999") == 9999999999999999999u);
  CHECK(parse_u64("10000000000000000000") == 10000000000000000000u);
  CHECK(parse_u64("18446744073709551609") == UINT64_MAX - 6);
  CHECK(parse_u64("18446744073709551614") == UINT64_MAX - 1);
  CHECK(parse_u64("18446744073709551615") == UINT64_MAX);
}

TEST_CASE("anything but the one plain spelling of a number is refused") {
  using namespace std::string_view_literals;
  for (const std::string_view text : {""sv,
                                      " "sv,
                                      "00"sv,
                                      "01"sv,
                                      "007"sv,
                                      "+1"sv,
                                      "-1"sv,
                                      "-0"sv,
                                      "1 "sv,
                                      " 1"sv,
                                      "1\n"sv,
                                      "1\0"sv,
                                      "\0"sv,
                                      "0x10"sv,
                                      "1e3"sv,
                                      "1.0"sv,
                                      "1,000"sv,
                                      "1_000"sv,
                                      "abc"sv,
                                      "1a"sv,
                                      "a1"sv,
                                      "/"sv,
                                      ":"sv,
                                      "1/"sv,
                                      "1:"sv,
                                      "%31"sv,
                                      "18446744073709551616"sv,
                                      "18446744073709551620"sv,
                                      "18446744073709551700"sv,
                                      "20000000000000000000"sv,
                                      "99999999999999999999"sv,
                                      "100000000000000000000"sv,
                                      "018446744073709551615"sv,
                                      "\xD9\xA1"sv,
                                      "\xEF\xBC\x91"sv,
                                      "0000000000000000000000000"sv,
                                      "999999999999999999999999999999999999999999999"sv}) {
    INFO("text \"" << text << "\"");
    CHECK_FALSE(parse_u64(text).has_value());
  }
}

TEST_CASE("parsing reads nothing outside the text") {
  for (const std::string_view text : {"18446744073709551615", "0", "1844674407370955161", "12x"}) {
    for (const auto guard :
         {test::GuardedBytes::Guard::kBehind, test::GuardedBytes::Guard::kBefore}) {
      const test::GuardedBytes guarded(text, guard);
      CHECK(parse_u64(guarded.view()) == parse_u64(text));
    }
  }
}

TEST_CASE("A byte that is no digit is found at every place of a number of every length") {
  const std::string digits = "12345678901234567890";
  for (size_t length = 1; length <= digits.size(); ++length) {
    const std::string good = digits.substr(0, length);
    REQUIRE(parse_u64(good).value() == std::stoull(good));
    for (size_t place = 0; place < length; ++place) {
      for (int byte = 0; byte < 256; ++byte) {
        if (byte >= '0' && byte <= '9') continue;
        std::string bad = good;
        bad[place] = static_cast<char>(byte);
        if (parse_u64(bad).has_value()) FAIL(length << " bytes, " << byte << " at " << place);
      }
    }
  }
}

TEST_CASE("what append_decimal writes is what std::to_string writes and parses back") {
  const uint64_t seed = test::test_seed(3);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  std::string out = "x";
  const auto check = [&](uint64_t value) {
    out.resize(1);
    append_decimal(out, value);
    REQUIRE(out == "x" + std::to_string(value));
    REQUIRE(parse_u64(std::string_view(out).substr(1)) == value);
  };
  for (int shift = 0; shift < 64; ++shift) {
    check(uint64_t{1} << shift);
    check((uint64_t{1} << shift) - 1);
  }
  check(UINT64_MAX);
  for (uint64_t power = 1; power < 10000000000000000000u; power *= 10) {
    check(power);
    check(power - 1);
  }
  for (int i = 0; i < 20000; ++i) check(random() >> (random() % 64));
}

TEST_CASE("digits of protocols may have zeros in front, and nothing else") {
  CHECK(parse_digits("0") == 0u);
  CHECK(parse_digits("000") == 0u);
  CHECK(parse_digits(std::string(100, '0') + "18446744073709551615") == UINT64_MAX);
  for (const char* bad : {"", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616"}) {
    INFO(bad);
    CHECK_FALSE(parse_digits(bad));
  }
}

}  // namespace
}  // namespace kyro
