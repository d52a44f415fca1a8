// JSON out: strings and values appended to a buffer that the caller owns.
//
// Objects and arrays are a few characters, written by those who need them; what needs care is here.
//
// Thread rule: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/decimal.h"
#include "kyro/base/utf8.h"
#include "kyro/json/base64.h"

namespace kyro {

namespace json_detail {

// How a byte stands in a string.
struct Escape {
  std::array<char, 6> text{};
  uint8_t size = 0;
};

constexpr std::array<Escape, 256> make_escapes() {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<Escape, 256> escapes{};
  for (size_t c = 0; c < 256; ++c) escapes[c] = {{static_cast<char>(c)}, 1};
  for (size_t c = 0; c < 0x20; ++c) {
    escapes[c] = {{'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15u]}, 6};
  }
  constexpr std::string_view kBytes = "\"\\\b\f\n\r\t";
  constexpr std::string_view kNames = "\"\\bfnrt";
  for (size_t i = 0; i < kBytes.size(); ++i) {
    escapes[static_cast<unsigned char>(kBytes[i])] = {{'\\', kNames[i]}, 2};
  }
  return escapes;
}
inline constexpr std::array<Escape, 256> kEscapes = make_escapes();

}  // namespace json_detail

// Appends `text` quoted, with the escapes that RFC 8259 demands and no others. REQUIRES: valid
// UTF-8.
inline void append_json_string(std::string& out, std::string_view text) {
  // A piece at a time, since one append an escape is slow.
  std::array<char, 1024> piece;
  size_t size = 0;
  piece[size++] = '"';
  for (const char c : text) {
    const json_detail::Escape& escape = json_detail::kEscapes[static_cast<unsigned char>(c)];
    // Six bytes cost no more than one; what is too much is written over.
    std::memcpy(piece.data() + size, escape.text.data(), escape.text.size());
    size += escape.size;
    if (size <= piece.size() - 2 * escape.text.size()) continue;
    out.append(piece.data(), size);
    size = 0;
  }
  piece[size++] = '"';
  out.append(piece.data(), size);
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
