// Text as protocols compare and split it: ASCII only, whatever the locale.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
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
