// JSON out: strings and numbers appended to a buffer that the caller owns. The one place that knows
// how a byte is escaped.
//
// Objects and arrays are a few characters, written by those who need them; what needs care is here.
// Text is copied a block at a time where no byte of the block needs an escape. A long text can be
// written in slices: escape_json() stops anywhere between two blocks.
//
// Thread rule: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "kyro/base/bytes16.h"
#include "kyro/base/coding.h"
#include "kyro/base/text/decimal.h"

namespace kyro {

namespace json_detail {

// How a byte stands in a string: up to six characters from the lowest byte on, and in the highest
// one how many they are.
constexpr std::array<uint64_t, 256> make_escapes() {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::string_view kBytes = "\"\\\b\f\n\r\t";
  constexpr std::string_view kNames = "\"\\bfnrt";
  std::array<uint64_t, 256> escapes{};
  const auto set = [&](size_t c, std::initializer_list<char> text) {
    escapes[c] = uint64_t{text.size()} << 56;
    unsigned shift = 0;
    for (const char one : text) {
      escapes[c] |= uint64_t{static_cast<unsigned char>(one)} << shift;
      shift += 8;
    }
  };
  for (size_t c = 0; c < 256; ++c) set(c, {static_cast<char>(c)});
  for (size_t c = 0; c < 0x20; ++c) set(c, {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15u]});
  for (size_t i = 0; i < kBytes.size(); ++i) {
    set(static_cast<unsigned char>(kBytes[i]), {'\\', kNames[i]});
  }
  return escapes;
}
inline constexpr std::array<uint64_t, 256> kEscapes = make_escapes();

inline constexpr size_t kBlockBytes = 32;

// Copies the block at `from` to `to`; true if none of its bytes needs an escape.
[[nodiscard]] inline bool copy_plain(const char* from, char* to) {
#if KYRO_HAS_BYTES16
  static_assert(kBlockBytes == 2 * sizeof(Bytes16));
  const auto escapes = [](Bytes16 half) {
    return half.at_most(Bytes16::all(0x1F)) | half.equals(Bytes16::all('"')) |
           half.equals(Bytes16::all('\\'));
  };
  const Bytes16 first = Bytes16::load(from);
  const Bytes16 second = Bytes16::load(from + sizeof(Bytes16));
  first.store(to);
  second.store(to + sizeof(Bytes16));
  return !(escapes(first) | escapes(second)).any();
#else
  // The usual trick: (x - 0x01…) sets the high bit of a byte that was zero, and a borrow can only
  // raise a false alarm.
  constexpr uint64_t kOnes = 0x0101010101010101u;
  uint64_t found = 0;
  for (size_t i = 0; i < kBlockBytes; i += sizeof(uint64_t)) {
    const uint64_t word = load_u64(from + i);
    const uint64_t quotes = word ^ (kOnes * '"');
    const uint64_t slashes = word ^ (kOnes * '\\');
    found |= ((word - kOnes * 0x20) & ~word) | ((quotes - kOnes) & ~quotes) |
             ((slashes - kOnes) & ~slashes);
    store_u64(to + i, word);
  }
  return (found & (kOnes * 0x80)) == 0;
#endif
}

// Writes the bytes of `text` one by one, and up to eight more.
[[nodiscard]] inline size_t escape_each(std::string_view text, char* to) {
  size_t made = 0;
  for (const char c : text) {
    const uint64_t escape = kEscapes[static_cast<unsigned char>(c)];
    store_u64(to + made, escape);  // costs no more than one byte; what is too much is written over
    made += escape >> 56;
  }
  return made;
}

}  // namespace json_detail

// How far escape_json() came.
struct Escaped {
  size_t taken;  // bytes of the text
  size_t made;   // bytes written
};

// Writes `text` to `to` with the escapes that RFC 8259 demands and no others, without quotes, up to
// its end or until fewer than kEscapeRoomBytes of `room` are left; REQUIRES: so many at least.
inline constexpr size_t kEscapeRoomBytes = 6 * json_detail::kBlockBytes + 8;
[[nodiscard]] inline Escaped escape_json(std::string_view text, char* to, size_t room) {
  constexpr size_t kBlockBytes = json_detail::kBlockBytes;
  size_t i = 0;
  size_t made = 0;
  while (i < text.size() && room - made >= kEscapeRoomBytes) {
    const std::string_view block = text.substr(i, kBlockBytes);
    i += block.size();
    if (block.size() == kBlockBytes && json_detail::copy_plain(block.data(), to + made)) {
      made += kBlockBytes;
    } else {  // where one byte needs an escape others may, and guessing which costs more
      made += json_detail::escape_each(block, to + made);
    }
  }
  return {i, made};
}

// Appends `text` with the escapes that RFC 8259 demands and no others, without quotes. REQUIRES:
// valid UTF-8.
inline void append_json_text(std::string& out, std::string_view text) {
  // A piece at a time, since one append an escape is slow.
  std::array<char, 2048> piece;
  while (!text.empty()) {
    const Escaped step = escape_json(text, piece.data(), piece.size());
    out.append(piece.data(), step.made);
    text.remove_prefix(step.taken);
  }
}

// The same in quotes.
inline void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_json_text(out, text);
  out += '"';
}

// Appends a key or offset as a number, or as a string for readers whose numbers are doubles.
inline void append_json_u64(std::string& out, uint64_t value, bool as_string = false) {
  if (as_string) out += '"';
  append_decimal(out, value);
  if (as_string) out += '"';
}

}  // namespace kyro
