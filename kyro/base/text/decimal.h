// Plain decimal u64: the one spelling of keys, offsets and counts in URLs, JSON and options.
//
// The grammar is "0" or [1-9][0-9]*, at most 2^64 - 1. No sign, no leading zeros, no white space:
// one number has one spelling, so texts can be compared and cached as bytes.
//
// (append_u64 of coding.h appends eight bytes; append_decimal here appends digits.)
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"

namespace kyro {

inline constexpr size_t kDecimalDigitsMax = 20;  // of 2^64 - 1

namespace decimal_detail {

// Eight characters at once, the first in the lowest byte (Langdale and Lemire, "Parsing Gigabytes
// of JSON per Second", 2019, section 3.1.2).
[[nodiscard]] constexpr bool are_digits(uint64_t characters) {
  constexpr uint64_t kHigh = 0xF0F0F0F0F0F0F0F0u;
  const uint64_t carried = (characters + 0x0606060606060606u) & kHigh;
  return ((characters & kHigh) | (carried >> 4)) == 0x3333333333333333u;
}
[[nodiscard]] constexpr uint64_t value_of_digits(uint64_t characters) {
  const uint64_t pairs = ((characters & 0x0F0F0F0F0F0F0F0Fu) * 2561) >> 8;
  const uint64_t fours = ((pairs & 0x00FF00FF00FF00FFu) * 6553601) >> 16;
  return ((fours & 0x0000FFFF0000FFFFu) * 42949672960001) >> 32;
}

}  // namespace decimal_detail

// The number that `text` begins with, into *value: how many digits it has, or 0 if there is none,
// it is not plain, or it is too large.
[[nodiscard]] inline size_t read_u64(std::string_view text, uint64_t* value) {
  const auto digit_at = [text](size_t i) { return static_cast<unsigned>(text[i] - '0'); };
  // 19 digits cannot overflow; the twentieth may.
  const size_t safe = std::min(text.size(), kDecimalDigitsMax - 1);
  uint64_t number = 0;
  size_t i = 0;
  for (; safe - i >= 8; i += 8) {
    const uint64_t digits = load_u64(text.data() + i);
    if (!decimal_detail::are_digits(digits)) break;
    number = number * 100'000'000u + decimal_detail::value_of_digits(digits);
  }
  for (; i < safe && digit_at(i) <= 9; ++i) number = number * 10 + digit_at(i);
  if (i == kDecimalDigitsMax - 1 && i < text.size() && digit_at(i) <= 9) {
    if (number > (UINT64_MAX - digit_at(i)) / 10) return 0;
    number = number * 10 + digit_at(i);
    if (++i < text.size() && digit_at(i) <= 9) return 0;
  }
  if (i > 1 && text[0] == '0') return 0;
  *value = number;
  return i;
}

// The number that `text` spells, all of it, or nothing.
[[nodiscard]] inline std::optional<uint64_t> parse_u64(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || read_u64(text, &value) != text.size()) return std::nullopt;
  return value;
}

// The same where a protocol allows zeros in front (1*DIGIT); nothing also if it is too large.
[[nodiscard]] inline std::optional<uint64_t> parse_digits(std::string_view text) {
  while (text.size() > 1 && text[0] == '0') text.remove_prefix(1);
  return parse_u64(text);
}

// Writes the digits of `value` so that they end at `end` (exclusive); returns where they begin.
// There must be room for kDecimalDigitsMax bytes before `end`.
[[nodiscard]] inline char* write_decimal_before(char* end, uint64_t value) {
  do {
    *--end = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return end;
}

inline void append_decimal(std::string& out, uint64_t value) {
  char digits[kDecimalDigitsMax];
  char* const end = digits + kDecimalDigitsMax;
  const char* begin = write_decimal_before(end, value);
  out.append(begin, static_cast<size_t>(end - begin));
}

// The number in a name like "run-17.data" or "wal-0017.log", between `prefix` and `suffix`; zeros
// may stand before it.
[[nodiscard]] inline std::optional<uint64_t> parse_numbered(std::string_view name,
                                                            std::string_view prefix,
                                                            std::string_view suffix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  while (name.size() > 1 && name[0] == '0') name.remove_prefix(1);
  return parse_u64(name);
}

}  // namespace kyro
