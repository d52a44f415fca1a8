#include "kyro/base/text/utf8.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>

#include "test/support/test_util.h"

namespace kyro {
namespace {

TEST_CASE("every code point but the surrogates is valid and has its own length") {
  std::string bytes;
  for (uint32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point >= 0xD800 && code_point < 0xE000) continue;
    bytes.clear();
    append_utf8(bytes, code_point);
    const size_t length = code_point < 0x80      ? 1
                          : code_point < 0x800   ? 2
                          : code_point < 0x10000 ? 3
                                                 : 4;
    if (bytes.size() != length || utf8_sequence_bytes(bytes) != length || !is_valid_utf8(bytes)) {
      FAIL("code point " << code_point);
    }
  }
}

// Decodes generously, and says whether the bytes are the shortest form of a permitted code point:
// an independent way to the same answer.
bool is_valid_by_decoding(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 0 || lead >= 0xF8 || i + length > bytes.size()) return false;
    uint32_t code_point = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (size_t k = 1; k < length; ++k) {
      const auto tail = static_cast<unsigned char>(bytes[i + k]);
      if (tail < 0x80 || tail > 0xBF) return false;
      code_point = code_point << 6 | (tail & 0x3Fu);
    }
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) return false;
    std::string shortest;
    append_utf8(shortest, code_point);
    if (shortest.size() != length) return false;
    i += length;
  }
  return true;
}

TEST_CASE("all pairs, and triples and quadruples of telling bytes, are judged as by decoding") {
  constexpr unsigned char kTelling[] = {0x00, 0x22, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0,
                                        0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0,
                                        0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFC, 0xFE, 0xFF};
  size_t wrong = 0;
  const auto check = [&](std::string_view bytes) {
    wrong += is_valid_utf8(bytes) != is_valid_by_decoding(bytes) ? 1u : 0u;
  };
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) check(std::string{static_cast<char>(a), static_cast<char>(b)});
  }
  std::string bytes(4, ' ');
  for (const unsigned char a : kTelling) {
    for (const unsigned char b : kTelling) {
      for (const unsigned char c : kTelling) {
        for (const unsigned char d : kTelling) {
          bytes = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c),
                   static_cast<char>(d)};
          check(bytes);
          check(std::string_view(bytes).substr(0, 3));
        }
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a bad byte is found at every position of a long text") {
  const std::string ascii(67, 'a');
  for (size_t i = 0; i < ascii.size(); ++i) {
    std::string text = ascii;
    text[i] = '\x80';
    CHECK_FALSE(is_valid_utf8(text));
    text = ascii.substr(0, i) + "\xF0\x9F\x8E\x89" + ascii.substr(i);
    CHECK(is_valid_utf8(text));
    CHECK_FALSE(is_valid_utf8(std::string_view(text).substr(0, i + 3)));
  }
  CHECK(is_valid_utf8(""));
  CHECK(is_valid_utf8(ascii));
}

TEST_CASE("validation reads nothing outside the text") {
  for (const std::string_view text : {"", "a", "1234567", "12345678", "123456789abcdef",
                                      "\xE2\x82\xAC", "12345678\xE2\x82", "\xF0\x9F\x8E", "\xC3"}) {
    for (const auto guard :
         {test::GuardedBytes::Guard::kBehind, test::GuardedBytes::Guard::kBefore}) {
      const test::GuardedBytes guarded(text, guard);
      CHECK(is_valid_utf8(guarded.view()) == is_valid_by_decoding(text));
    }
  }
}

// Texts of `size` bytes of whole sequences of all lengths, now and then spoilt in one place.
std::string some_text(std::mt19937_64& random, size_t size) {
  std::string text;
  while (text.size() < size) {
    constexpr uint32_t kBelow[] = {0x80, 0x80, 0x80, 0x800, 0xD800, 0x110000};
    const uint32_t code_point = static_cast<uint32_t>(random() % kBelow[random() % 6]);
    if (code_point >= 0xD800 && code_point < 0xE000) continue;
    append_utf8(text, code_point);
  }
  if (random() % 2 == 0) text[random() % text.size()] = static_cast<char>(random());
  if (random() % 4 == 0) text.resize(text.size() - random() % 3);
  return text;
}

TEST_CASE("a long text is judged as by decoding, whole and in slices of any size") {
  const uint64_t seed = test::test_seed(8);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    const std::string text = some_text(random, 4 + random() % 300);
    const bool is_valid = is_valid_by_decoding(text);
    REQUIRE(is_valid_utf8(text) == is_valid);
    REQUIRE(utf8_detail::is_valid_portable(text) == is_valid);
    Utf8Check check;
    const size_t slice = 1 + random() % 100;
    size_t slices = 1;
    while (!check.advance(text, slice)) ++slices;
    REQUIRE(check.is_valid() == is_valid);
    REQUIRE(slices <= text.size() / slice + 1);
  }
}

TEST_CASE("pairs, triples and quadruples of telling bytes are judged alike across blocks") {
  constexpr unsigned char kTelling[] = {0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1,
                                        0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF};
  size_t wrong = 0;
  std::string text(96, 'a');
  const auto check = [&](std::string_view bytes) {
    for (const size_t at : {0u, 13u, 15u, 62u, 63u, 79u}) {
      std::string whole = text;
      whole.replace(at, bytes.size(), bytes);
      wrong += is_valid_utf8(whole) != is_valid_by_decoding(bytes) ? 1u : 0u;
    }
    const std::string at_end = text + std::string(bytes);
    wrong += is_valid_utf8(at_end) != is_valid_by_decoding(bytes) ? 1u : 0u;
  };
  for (const unsigned char a : kTelling) {
    for (const unsigned char b : kTelling) {
      for (const unsigned char c : kTelling) {
        for (const unsigned char d : kTelling) {
          const char bytes[] = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c),
                                static_cast<char>(d)};
          check({bytes, 4});
        }
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a verdict on a long text reads nothing outside of it") {
  std::mt19937_64 random(9);
  for (size_t size = 60; size < 200; ++size) {
    const std::string text = some_text(random, size);
    for (const auto guard :
         {test::GuardedBytes::Guard::kBehind, test::GuardedBytes::Guard::kBefore}) {
      const test::GuardedBytes guarded(text, guard);
      CHECK(is_valid_utf8(guarded.view()) == is_valid_by_decoding(text));
    }
  }
}

}  // namespace
}  // namespace kyro
