// Plain decimal u64: the one spelling of keys, offsets and counts in URLs, JSON and options.
//
// The grammar is "0" or [1-9][0-9]*, at most 2^64 - 1. No sign, no leading zeros, no white space:
// one number has one spelling, so texts can be compared and cached as bytes.
//
// (append_u64 of coding.h appends eight bytes; append_decimal here appends digits.)
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kyro {

inline constexpr size_t kDecimalDigitsMax = 20;  // of 2^64 - 1

// The number that `text` spells, all of it, or nothing.
[[nodiscard]] constexpr std::optional<uint64_t> parse_u64(std::string_view text) {
  if (text.empty() || text.size() > kDecimalDigitsMax) return std::nullopt;
  if (text[0] == '0' && text.size() > 1) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    // 19 digits cannot overflow; the twentieth may.
    if (value > (UINT64_MAX - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
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

}  // namespace kyro
