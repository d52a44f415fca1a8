// JSON out: strings and values appended to a buffer that the caller owns.
//
// Objects and arrays are a few characters, written by those who need them; what needs care is here.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/base64.h"
#include "kyro/base/decimal.h"
#include "kyro/base/utf8.h"

namespace kyro {

// Appends `text` quoted, with the escapes that RFC 8259 demands and no others. REQUIRES: valid
// UTF-8.
inline void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  size_t clean = 0;  // text[clean, i) needs no escape
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, clean, i - clean);
    clean = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out += kHex[c >> 4];
        out += kHex[c & 15u];
    }
  }
  out.append(text, clean);
  out += '"';
}

// Appends a key or offset as a number, or as a string for readers whose numbers are doubles.
inline void append_json_u64(std::string& out, uint64_t value, bool as_string = false) {
  if (as_string) out += '"';
  append_decimal(out, value);
  if (as_string) out += '"';
}

// Appends `"value":"…"`, or `"value_base64":"…"` where the bytes are not UTF-8. No comma.
inline void append_json_value_field(std::string& out, std::string_view bytes) {
  if (is_valid_utf8(bytes)) {
    out += "\"value\":";
    append_json_string(out, bytes);
  } else {
    out += "\"value_base64\":\"";
    append_base64(out, bytes);
    out += '"';
  }
}

}  // namespace kyro
