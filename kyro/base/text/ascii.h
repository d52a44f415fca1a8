// Text as protocols compare and split it: ASCII only, whatever the locale.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kyro {

// ASCII case-insensitive equality, as field names and most tokens compare.
[[nodiscard]] inline bool iequals(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    // Letters differ from their other case in this bit, and so do a few pairs of other characters.
    constexpr unsigned kCase = 0x20;
    const unsigned x = static_cast<unsigned char>(a[i]), y = static_cast<unsigned char>(b[i]);
    if (x == y) continue;
    if ((x ^ y) != kCase || (x | kCase) < 'a' || (x | kCase) > 'z') return false;
  }
  return true;
}

// Whether `text` is `lower` in any case, by words instead of bytes. `lower` consists of a-z, and of
// "-" if `text` has no control characters: setting the bit in which letters differ from their other
// case then maps no other character onto one of these.
[[nodiscard]] inline bool equals_lower(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  const char* a = text.data();
  const char* b = lower.data();
  size_t left = text.size();
  const auto differs = [&a, &b]<class Word>(Word ones) {
    Word x, y;
    std::memcpy(&x, a, sizeof x);
    std::memcpy(&y, b, sizeof y);
    a += sizeof x;
    b += sizeof y;
    return static_cast<Word>(x | static_cast<Word>(ones * 0x20)) != y;
  };
  for (; left >= 8; left -= 8) {
    if (differs(uint64_t{0x0101010101010101u})) return false;
  }
  if ((left & 4) != 0 && differs(uint32_t{0x01010101u})) return false;
  if ((left & 2) != 0 && differs(uint16_t{0x0101u})) return false;
  return (left & 1) == 0 || !differs(uint8_t{1});
}

// Comparisons with a literal, whose length the compiler knows: a few instructions, no call.
template <size_t kSize>
[[nodiscard]] constexpr bool begins_with(std::string_view text, const char (&literal)[kSize]) {
  return text.size() >= kSize - 1 && __builtin_memcmp(text.data(), literal, kSize - 1) == 0;
}
template <size_t kSize>
[[nodiscard]] constexpr bool is_literal(std::string_view text, const char (&literal)[kSize]) {
  return text.size() == kSize - 1 && begins_with(text, literal);
}

// Without the blanks (space, tab) around it.
[[nodiscard]] inline std::string_view trim_blanks(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

// Calls visit with every element of a list, without the blanks around it.
template <class Visit>
inline void for_each_element(std::string_view list, Visit visit, char separator = ',') {
  while (true) {
    const size_t end = std::min(list.find(separator), list.size());
    visit(trim_blanks(list.substr(0, end)));
    if (end == list.size()) return;
    list.remove_prefix(end + 1);
  }
}

}  // namespace kyro
