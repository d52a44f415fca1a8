#include "kyro/json/base64.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "test/support/test_util.h"

namespace kyro {
namespace {

using namespace std::string_view_literals;

std::string encoded(std::string_view bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}

TEST_CASE("the test vectors of RFC 4648 hold in both directions") {
  constexpr std::pair<std::string_view, std::string_view> kVectors[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\0"sv, "AA=="},
      {"\xFF\xFE\xFD"sv, "//79"},
      {"\xFB\xF0"sv, "+/A="},
  };
  for (const auto& [bytes, text] : kVectors) {
    CHECK(encoded(bytes) == text);
    std::string decoded = "old";
    CHECK(decode_base64(text, &decoded));
    CHECK(decoded == bytes);
  }
}

TEST_CASE("anything but standard padded base64 is refused") {
  for (const std::string_view text : {"Z"sv,
                                      "Zg"sv,
                                      "Zg="sv,
                                      "Zm8"sv,
                                      "Zg==="sv,
                                      "===="sv,
                                      "Z==="sv,
                                      "="sv,
                                      "=="sv,
                                      "Zg==Zg=="sv,
                                      "Zh=="sv,
                                      "Zm9="sv,
                                      "Zm9vZ"sv,
                                      " Zg=="sv,
                                      "Zg==\n"sv,
                                      "Zm 9v"sv,
                                      "Zm\n9"sv,
                                      "Zm-_"sv,
                                      "Zm9*"sv,
                                      "Z=g="sv,
                                      "=Zg="sv,
                                      "\0AAA"sv,
                                      "Zm9v\0\0\0\0"sv,
                                      "AA\x80="sv,
                                      "\xFF\xFF\xFF\xFF"sv,
                                      "Zm9v===="sv,
                                      "AAA=AAA="sv,
                                      "/w=+"sv,
                                      "AB=="sv,
                                      "AAB="sv,
                                      "A==="sv,
                                      "AA=A"sv}) {
    INFO("text \"" << text << "\"");
    std::string decoded;
    CHECK_FALSE(decode_base64(text, &decoded));
  }
}

TEST_CASE("random bytes of every length come back, and no other spelling decodes to them") {
  const uint64_t seed = test::test_seed(5);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (size_t length = 0; length < 200; ++length) {
    std::string bytes(length, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const std::string text = encoded(bytes);
    REQUIRE(text.size() == (length + 2) / 3 * 4);
    const test::GuardedBytes guarded(text);
    std::string decoded;
    REQUIRE(decode_base64(guarded.view(), &decoded));
    REQUIRE(decoded == bytes);
    if (text.empty()) continue;
    std::string changed = text;
    changed[random() % changed.size()] = static_cast<char>(random());
    if (changed != text && decode_base64(changed, &decoded)) REQUIRE(decoded != bytes);
  }
}

TEST_CASE("encoding by blocks and by tables agree, and read nothing outside of the bytes") {
  const uint64_t seed = test::test_seed(64);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (size_t groups = 0; groups < 120; ++groups) {
    std::string bytes(3 * groups, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    const test::GuardedBytes guarded(bytes);
    std::string by_blocks(4 * groups, '\0');
    std::string by_tables(4 * groups, '\0');
    encode_base64_groups(guarded.view().data(), groups, by_blocks.data());
    base64_detail::encode_portable(bytes.data(), groups, by_tables.data());
    REQUIRE(by_blocks == by_tables);
    // And back, in place.
    REQUIRE(decode_base64_groups(by_blocks.data(), groups, by_blocks.data()));
    REQUIRE(by_blocks.substr(0, bytes.size()) == bytes);
  }
}

}  // namespace
}  // namespace kyro
