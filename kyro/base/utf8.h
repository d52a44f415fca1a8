// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
//
// Well-formed sequences are those of the Unicode standard, table 3-7. ASCII goes eight bytes at a
// time.
//
// Thread rule: pure functions. Nothing outside the given bytes is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"

namespace kyro {

// Length in bytes (1..4) of the well-formed sequence that `bytes` begins with; 0 if there is none.
[[nodiscard]] inline size_t utf8_sequence_bytes(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const auto continues = [&](size_t i) { return (at(i) & 0xC0u) == 0x80; };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;  // a continuation byte, or overlong
  if (lead < 0xE0) return bytes.size() >= 2 && continues(1) ? 2 : 0;
  if (lead < 0xF0) {
    if (bytes.size() < 3 || !continues(1) || !continues(2)) return 0;
    if (lead == 0xE0 && at(1) < 0xA0) return 0;   // overlong
    if (lead == 0xED && at(1) >= 0xA0) return 0;  // a surrogate
    return 3;
  }
  if (lead > 0xF4 || bytes.size() < 4) return 0;
  if (!continues(1) || !continues(2) || !continues(3)) return 0;
  if (lead == 0xF0 && at(1) < 0x90) return 0;   // overlong
  if (lead == 0xF4 && at(1) >= 0x90) return 0;  // above U+10FFFF
  return 4;
}

[[nodiscard]] inline bool is_valid_utf8(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    while (i + 8 <= bytes.size() && (load_u64(bytes.data() + i) & 0x8080808080808080u) == 0) i += 8;
    if (i == bytes.size()) break;
    const size_t length = utf8_sequence_bytes(bytes.substr(i));
    if (length == 0) return false;
    i += length;
  }
  return true;
}

// Appends the UTF-8 form of a code point. REQUIRES: at most U+10FFFF and not a surrogate.
inline void append_utf8(std::string& out, uint32_t code_point) {
  const auto tail = [&](unsigned shift) {
    out += static_cast<char>(0x80u | ((code_point >> shift) & 0x3Fu));
  };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0u | (code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0u | (code_point >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0u | (code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace kyro
