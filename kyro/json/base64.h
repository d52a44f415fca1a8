// Base64, standard alphabet, padded (RFC 4648 section 4), strict on the way in.
//
// Decoding refuses white space, missing padding, other alphabets, and padding bits that are not
// zero: every byte string has exactly one accepted spelling.
//
// Thread rule: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kyro {
namespace base64_detail {

inline constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

inline constexpr uint8_t kNoDigit = 0xFF;

inline constexpr std::array<uint8_t, 256> kDigits = [] {
  std::array<uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<uint8_t>(i);
  }
  return digits;
}();

}  // namespace base64_detail

inline void append_base64(std::string& out, std::string_view bytes) {
  const auto at = [&](size_t i) {
    return i < bytes.size() ? uint32_t{static_cast<unsigned char>(bytes[i])} : 0u;
  };
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const uint32_t word = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    const size_t left = bytes.size() - i;
    out += base64_detail::kAlphabet[word >> 18];
    out += base64_detail::kAlphabet[(word >> 12) & 63u];
    out += left > 1 ? base64_detail::kAlphabet[(word >> 6) & 63u] : '=';
    out += left > 2 ? base64_detail::kAlphabet[word & 63u] : '=';
  }
}

// Replaces *out by the decoded bytes; false (and *out unspecified) if `text` is not strict base64.
[[nodiscard]] inline bool decode_base64(std::string_view text, std::string* out) {
  out->clear();
  if (text.size() % 4 != 0) return false;
  if (text.empty()) return true;
  size_t padding = 0;
  while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;
  out->reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    const size_t digits = i + 4 == text.size() ? 4 - padding : 4;
    uint32_t word = 0;
    for (size_t d = 0; d < 4; ++d) {
      uint8_t digit = 0;
      if (d < digits) digit = base64_detail::kDigits[static_cast<unsigned char>(text[i + d])];
      if (digit == base64_detail::kNoDigit) return false;
      word = word << 6 | digit;
    }
    // Bits that carry no byte must be zero.
    if ((digits == 2 && (word & 0xFFFFu) != 0) || (digits == 3 && (word & 0xFFu) != 0))
      return false;
    *out += static_cast<char>(word >> 16);
    if (digits > 2) *out += static_cast<char>((word >> 8) & 0xFFu);
    if (digits > 3) *out += static_cast<char>(word & 0xFFu);
  }
  return true;
}

}  // namespace kyro
