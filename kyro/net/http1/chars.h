// Character classes of RFC 9110/3986 as one table, and the scan for the end of a line.
//
// find_control() is the inner loop of the parser: 16 bytes a step with SSE2 where there is any,
// else 8 with a word trick (the "has less than" test of Bit Twiddling Hacks); a test holds both
// against the byte loop. Neither reads outside [at, end).
//
// Thread rule: pure functions.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "kyro/base/coding.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace kyro::http_chars {

inline constexpr uint8_t kToken = 1;  // RFC 9110 §5.6.2 tchar
inline constexpr uint8_t kPath = 2;   // RFC 3986 pchar and "/", without "%"
inline constexpr uint8_t kHost = 4;   // RFC 3986 reg-name, without "%"
inline constexpr uint8_t kHex = 8;
inline constexpr uint8_t kControl = 16;    // may not stand in a head line: CTL other than HTAB
inline constexpr uint8_t kQuoted = 32;     // RFC 9110 §5.6.4 qdtext
inline constexpr uint8_t kQueryMark = 64;  // "?"

constexpr std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> classes{};
  const auto mark = [&classes](std::string_view set, uint8_t bits) {
    for (const char c : set) {
      auto& slot = classes[static_cast<unsigned char>(c)];
      slot = static_cast<uint8_t>(slot | bits);
    }
  };
  mark("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~",
       kToken | kPath | kHost);
  mark("!#$%&'*+^`|", kToken);
  mark("!$&'()*+,;=", kPath | kHost);
  mark(":@/", kPath);
  mark("?", kQueryMark);
  mark("0123456789abcdefABCDEF", kHex);
  for (size_t c = 0; c < 256; ++c) {
    if ((c < 0x20 && c != '\t') || c == 0x7F) {
      classes[c] = kControl;
    } else if (c != '"' && c != '\\') {
      classes[c] = static_cast<uint8_t>(classes[c] | kQuoted);
    }
  }
  return classes;
}

inline constexpr std::array<uint8_t, 256> kClasses = make_classes();

[[nodiscard]] inline bool is(char c, uint8_t bits) {
  return (kClasses[static_cast<unsigned char>(c)] & bits) != 0;
}

[[nodiscard]] inline int hex_value(char c) {
  return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;  // only for is(c, kHex)
}

[[nodiscard]] inline const char* find_control_bytewise(const char* at, const char* end) {
  while (at < end && !is(*at, kControl)) ++at;
  return at;
}

[[nodiscard]] inline const char* find_control_portable(const char* at, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  constexpr uint64_t kHigh = 0x8080808080808080u;
  for (; end - at >= 8; at += 8) {
    const uint64_t word = load_u64(at);
    // High bits of the bytes below 0x20 or equal to 0x7F. A borrow can only mark a byte above a
    // true hit too much, so an empty mask is exact and a full one is settled byte by byte.
    const uint64_t del = word ^ (kOnes * 0x7F);
    const uint64_t hit = (((word - kOnes * 0x20) & ~word) | ((del - kOnes) & ~del)) & kHigh;
    if (hit != 0) {
      const char* found = find_control_bytewise(at, at + 8);
      if (found != at + 8) return found;
    }
  }
  return find_control_bytewise(at, end);
}

// The first control character other than HTAB in [at, end), or end.
[[nodiscard]] inline const char* find_control(const char* at, const char* end) {
#if defined(__SSE2__)
  const __m128i last_control = _mm_set1_epi8(0x1F);
  const __m128i tab = _mm_set1_epi8('\t');
  const __m128i del = _mm_set1_epi8(0x7F);
  for (; end - at >= 16; at += 16) {
    __m128i bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
    const __m128i hit =
        _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low), _mm_cmpeq_epi8(bytes, del));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(hit));
    if (mask != 0) return at + std::countr_zero(mask);
  }
#endif
  return find_control_portable(at, end);
}

// The first byte of [at, end) that has none of `bits`, or end.
[[nodiscard]] inline const char* skip_bytewise(const char* at, const char* end, uint8_t bits) {
  while (at != end && is(*at, bits)) ++at;
  return at;
}

// The same, with a hint: up to `readable` (not before end) bytes may be read. Sixteen at once are
// looked at for what names, paths and hosts are made of: letters, "-" and, but for names, ".",
// digits and (in paths) "/". Whatever else there is stops that and is looked up.
template <uint8_t kBits>
[[nodiscard]] inline const char* skip(const char* at, const char* end,
                                      [[maybe_unused]] const char* readable) {
#if defined(__SSE2__)
  static_assert(kBits == kToken || kBits == kPath || kBits == kHost);
  const auto in_range = [](__m128i bytes, char first, int count) {
    const __m128i from_first = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    const __m128i last = _mm_set1_epi8(static_cast<char>(count - 1));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_first, last), from_first);
  };
  while (readable - at >= 16) {
    __m128i bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    __m128i good = in_range(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 26);
    if (kBits == kToken) {
      good = _mm_or_si128(good, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')));
    } else {
      good = _mm_or_si128(good, in_range(bytes, '-', '9' - '-' + 1));  // - . / and the digits
      if (kBits == kPath) good = _mm_or_si128(good, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('_')));
      if (kBits == kHost) good = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('/')), good);
    }
    const int count = std::countr_one(static_cast<uint32_t>(_mm_movemask_epi8(good)));
    at += count;
    if (count != 16) break;
  }
  if (at > end) return end;
#endif
  return skip_bytewise(at, end, kBits);
}

}  // namespace kyro::http_chars
