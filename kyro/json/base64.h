// Base64, standard alphabet, padded (RFC 4648 section 4), strict on the way in.
//
// Decoding refuses white space, missing padding, other alphabets, and padding bits that are not
// zero: every byte string has exactly one accepted spelling. Both directions can be done in slices:
// whole groups of three bytes or four characters, and the end (encode_base64_groups(),
// decode_base64_groups()).
//
// Encoding takes 12 bytes at a time with SSSE3 (W. Muła: "Base64 encoding with SIMD instructions"),
// 48 with NEON; else, and in decoding, it goes by tables.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/bytes16.h"

namespace kyro {
namespace base64_detail {

inline constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Two characters for twelve bits.
inline constexpr std::array<std::array<char, 2>, 4096> kPairs = [] {
  std::array<std::array<char, 2>, 4096> pairs{};
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = {kAlphabet[i >> 6], kAlphabet[i & 63u]};
  return pairs;
}();

// What a character means in each of the four places; no bits of three bytes for one that has no
// meaning.
inline constexpr uint32_t kNoDigit = 0xFF000000u;
inline constexpr std::array<std::array<uint32_t, 256>, 4> kDigits = [] {
  std::array<std::array<uint32_t, 256>, 4> digits{};
  for (size_t place = 0; place < 4; ++place) {
    digits[place].fill(kNoDigit);
    for (size_t i = 0; i < kAlphabet.size(); ++i) {
      digits[place][static_cast<unsigned char>(kAlphabet[i])] = static_cast<uint32_t>(i)
                                                                << (18 - 6 * place);
    }
  }
  return digits;
}();

inline uint32_t byte_at(const char* at) {
  return static_cast<unsigned char>(*at);
}

inline void encode_portable(const char* from, size_t groups, char* to) {
  for (; groups > 0; --groups, from += 3, to += 4) {
    const uint32_t word = byte_at(from) << 16 | byte_at(from + 1) << 8 | byte_at(from + 2);
    std::memcpy(to, kPairs[word >> 12].data(), 2);
    std::memcpy(to + 2, kPairs[word & 0xFFFu].data(), 2);
  }
}

// Each takes groups from the front and returns how many; never reads after the last one.
#if defined(__x86_64__)
KYRO_SSSE3 inline size_t encode_blocks(const char* from, size_t groups, char* to) {
  const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
  const __m128i shifts =
      _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                    '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
  size_t done = 0;
  for (; done + 6 <= groups; done += 4) {  // 16 bytes are read, 12 are used
    const __m128i in = _mm_shuffle_epi8(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 3 * done)), spread);
    const __m128i high =
        _mm_mulhi_epu16(_mm_and_si128(in, _mm_set1_epi32(0x0FC0FC00)), _mm_set1_epi32(0x04000040));
    const __m128i low =
        _mm_mullo_epi16(_mm_and_si128(in, _mm_set1_epi32(0x003F03F0)), _mm_set1_epi32(0x01000010));
    const __m128i digits = _mm_or_si128(high, low);
    // 0: a to z, 1 to 10: 0 to 9, 11: +, 12: /, 13: A to Z
    const __m128i is_capital = _mm_cmpgt_epi8(_mm_set1_epi8(26), digits);
    const __m128i kind = _mm_or_si128(_mm_subs_epu8(digits, _mm_set1_epi8(51)),
                                      _mm_and_si128(is_capital, _mm_set1_epi8(13)));
    const __m128i text = _mm_add_epi8(_mm_shuffle_epi8(shifts, kind), digits);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 4 * done), text);
  }
  return done;
}
#elif defined(__aarch64__)
inline size_t encode_blocks(const char* from, size_t groups, char* to) {
  const auto* alphabet = reinterpret_cast<const uint8_t*>(kAlphabet.data());
  const uint8x16x4_t table = {{vld1q_u8(alphabet), vld1q_u8(alphabet + 16), vld1q_u8(alphabet + 32),
                               vld1q_u8(alphabet + 48)}};
  const uint8x16_t six = vdupq_n_u8(0x3F);
  size_t done = 0;
  for (; done + 16 <= groups; done += 16) {
    const uint8x16x3_t in = vld3q_u8(reinterpret_cast<const uint8_t*>(from + 3 * done));
    uint8x16x4_t out;
    out.val[0] = vshrq_n_u8(in.val[0], 2);
    out.val[1] = vandq_u8(vsliq_n_u8(vshrq_n_u8(in.val[1], 4), in.val[0], 4), six);
    out.val[2] = vandq_u8(vsliq_n_u8(vshrq_n_u8(in.val[2], 6), in.val[1], 2), six);
    out.val[3] = vandq_u8(in.val[2], six);
    for (auto& digits : out.val) digits = vqtbl4q_u8(table, digits);
    vst4q_u8(reinterpret_cast<uint8_t*>(to + 4 * done), out);
  }
  return done;
}
#endif

}  // namespace base64_detail

// Four characters for each of `groups` times three bytes at `from`, to `to`.
inline void encode_base64_groups(const char* from, size_t groups, char* to) {
  size_t done = 0;
#if KYRO_HAS_BYTES16
  if (kHasSsse3) done = base64_detail::encode_blocks(from, groups, to);
#endif
  base64_detail::encode_portable(from + 3 * done, groups - done, to + 4 * done);
}

// The last four characters of one or two bytes.
[[nodiscard]] inline std::array<char, 4> encode_base64_end(std::string_view bytes) {
  char group[3] = {};
  std::memcpy(group, bytes.data(), bytes.size());
  std::array<char, 4> text;
  base64_detail::encode_portable(group, 1, text.data());
  std::fill(text.begin() + static_cast<ptrdiff_t>(bytes.size()) + 1, text.end(), '=');
  return text;
}

inline void append_base64(std::string& out, std::string_view bytes) {
  const size_t groups = bytes.size() / 3;
  const size_t begin = out.size();
  out.resize(begin + 4 * groups);
  encode_base64_groups(bytes.data(), groups, out.data() + begin);
  const std::string_view rest = bytes.substr(3 * groups);
  if (!rest.empty()) out.append(encode_base64_end(rest).data(), 4);
}

// Three bytes for each of `groups` times four characters at `from`, to `to`, which may be `from`;
// false if they have others than those of the alphabet.
[[nodiscard]] inline bool decode_base64_groups(const char* from, size_t groups, char* to) {
  const auto& digits = base64_detail::kDigits;
  uint32_t all = 0;
  for (; groups > 0; --groups, from += 4, to += 3) {
    const uint32_t word =
        digits[0][base64_detail::byte_at(from)] | digits[1][base64_detail::byte_at(from + 1)] |
        digits[2][base64_detail::byte_at(from + 2)] | digits[3][base64_detail::byte_at(from + 3)];
    all |= word;
    to[0] = static_cast<char>(word >> 16);
    to[1] = static_cast<char>((word >> 8) & 0xFFu);
    to[2] = static_cast<char>(word & 0xFFu);
  }
  return (all & base64_detail::kNoDigit) == 0;
}

// The same for the last group, which may be padded; *size receives the number of bytes.
[[nodiscard]] inline bool decode_base64_end(const char* from, char* to, size_t* size) {
  const size_t padding = from[3] != '=' ? 0u : from[2] != '=' ? 1u : 2u;
  char group[4] = {from[0], from[1], 'A', 'A'};
  std::copy(from, from + 4 - padding, group);
  char bytes[3];
  if (!decode_base64_groups(group, 1, bytes)) return false;
  *size = 3 - padding;
  // Bits that carry no byte must be zero.
  if (std::any_of(bytes + *size, bytes + 3, [](char byte) { return byte != 0; })) return false;
  std::memcpy(to, bytes, *size);
  return true;
}

// Replaces *out by the decoded bytes; false (and *out unspecified) if `text` is not strict base64.
[[nodiscard]] inline bool decode_base64(std::string_view text, std::string* out) {
  out->clear();
  if (text.size() % 4 != 0) return false;
  if (text.empty()) return true;
  const size_t groups = text.size() / 4 - 1;
  out->resize(3 * groups + 3);
  size_t size = 0;
  if (!decode_base64_groups(text.data(), groups, out->data())) return false;
  if (!decode_base64_end(text.data() + 4 * groups, out->data() + 3 * groups, &size)) return false;
  out->resize(3 * groups + size);
  return true;
}

}  // namespace kyro
