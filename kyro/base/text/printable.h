// Foreign text as it may be shown to a person: nothing in it moves a cursor, colours a line, begins
// another line or turns the direction of writing.
//
// Control characters (ASCII, DEL, those of U+0080 to U+009F), line and paragraph separators and the
// characters that set a direction become \uXXXX, bytes that are no UTF-8 \xXX. The rest stays.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "kyro/base/text/utf8.h"

namespace kyro {

inline void append_printable(std::string& out, std::string_view text) {
  const auto is_unsafe = [](uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
  };
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = utf8_sequence_bytes(text.substr(at));
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
    char escaped[8];
    // Only sequences of up to three bytes stand for what is unsafe.
    uint32_t code_point = byte(0);
    if (bytes == 2) code_point = (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    if (bytes == 3) {
      code_point = (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    }
    if (bytes == 0) {
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte(0));
      out += escaped;
    } else if (bytes < 4 && is_unsafe(code_point)) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", code_point);
      out += escaped;
    } else {
      out.append(text, at, bytes);
    }
    at += bytes != 0 ? bytes : 1;
  }
}

[[nodiscard]] inline std::string printable(std::string_view text) {
  std::string out;
  append_printable(out, text);
  return out;
}

}  // namespace kyro
