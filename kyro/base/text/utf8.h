// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
//
// Well-formed sequences are those of the Unicode standard, table 3-7. Longer texts are judged 16
// bytes at a time (J. Keiser, D. Lemire: "Validating UTF-8 In Less Than One Instruction Per Byte",
// 2021), where the machine has what that needs; else ASCII goes eight bytes at a time.
//
// A text of any length can be judged in slices (Utf8Check), so that no single step is long.
//
// Thread rule: pure functions and values. Nothing outside the given bytes is read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/bytes16.h"
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

namespace utf8_detail {

[[nodiscard]] inline bool is_valid_portable(std::string_view bytes) {
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

#if KYRO_HAS_BYTES16

// What can be wrong with two bytes that follow each other; a bit that three looks agree on is an
// error. The looks: at the high and the low half of the first byte, at the high half of the second.
enum Wrong : uint8_t {
  kTooShort = 1 << 0,   // a lead byte, and then none that continues it
  kTooLong = 1 << 1,    // ASCII, and then a byte that continues
  kOverlong3 = 1 << 2,  // E0 and less than A0
  kTooLarge = 1 << 3,   // F4 and more than 8F, or F5 and above
  kSurrogate = 1 << 4,  // ED and A0 or more
  kOverlong2 = 1 << 5,  // C0 or C1
  kTooLarge8 = 1 << 6,  // F5 and above, then 80 to 8F
  kOverlong4 = 1 << 6,  // F0 and less than 90
  kTwoTails = 1 << 7,   // two that continue: right in the third and fourth place only
  kAnyFirst = kTooShort | kTooLong | kTwoTails,
};
inline constexpr uint8_t kByFirstHigh[16] = {kTooLong,
                                             kTooLong,
                                             kTooLong,
                                             kTooLong,
                                             kTooLong,
                                             kTooLong,
                                             kTooLong,
                                             kTooLong,
                                             kTwoTails,
                                             kTwoTails,
                                             kTwoTails,
                                             kTwoTails,
                                             kTooShort | kOverlong2,
                                             kTooShort,
                                             kTooShort | kOverlong3 | kSurrogate,
                                             kTooShort | kTooLarge | kTooLarge8 | kOverlong4};
inline constexpr uint8_t kByFirstLow[16] = {kAnyFirst | kOverlong3 | kOverlong2 | kOverlong4,
                                            kAnyFirst | kOverlong2,
                                            kAnyFirst,
                                            kAnyFirst,
                                            kAnyFirst | kTooLarge,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8 | kSurrogate,
                                            kAnyFirst | kTooLarge | kTooLarge8,
                                            kAnyFirst | kTooLarge | kTooLarge8};
inline constexpr uint8_t kBySecondHigh[16] = {
    kTooShort,
    kTooShort,
    kTooShort,
    kTooShort,
    kTooShort,
    kTooShort,
    kTooShort,
    kTooShort,
    kTooLong | kOverlong2 | kTwoTails | kOverlong3 | kTooLarge8 | kOverlong4,
    kTooLong | kOverlong2 | kTwoTails | kOverlong3 | kTooLarge,
    kTooLong | kOverlong2 | kTwoTails | kSurrogate | kTooLarge,
    kTooLong | kOverlong2 | kTwoTails | kSurrogate | kTooLarge,
    kTooShort,
    kTooShort,
    kTooShort,
    kTooShort};

// Not zero where `now`, which comes after `before`, is wrong; a sequence that `now` leaves open is
// wrong in the next block.
[[nodiscard]] KYRO_SSSE3 inline Bytes16 errors_in(Bytes16 before, Bytes16 now) {
  const Bytes16 back1 = look_back<1>(before, now);
  const Bytes16 pairs = look_up(Bytes16::load(kByFirstHigh), back1.high_halves()) &
                        look_up(Bytes16::load(kByFirstLow), back1 & Bytes16::all(0x0F)) &
                        look_up(Bytes16::load(kBySecondHigh), now.high_halves());
  // 0x80 where a byte has to be the third or the fourth of a sequence: kTwoTails is right there.
  const Bytes16 thirds = look_back<2>(before, now).minus(Bytes16::all(0xE0 - 0x80));
  const Bytes16 fourths = look_back<3>(before, now).minus(Bytes16::all(0xF0 - 0x80));
  return ((thirds | fourths) & Bytes16::all(0x80)) ^ pairs;
}

[[nodiscard]] KYRO_SSSE3 inline bool is_valid_by_blocks(const char* at, size_t n) {
  constexpr size_t kStep = 64;
  Bytes16 before = Bytes16::all(0);
  Bytes16 errors = before;
  for (; n >= kStep; at += kStep, n -= kStep) {
    const Bytes16 a = Bytes16::load(at);
    const Bytes16 b = Bytes16::load(at + 16);
    const Bytes16 c = Bytes16::load(at + 32);
    const Bytes16 d = Bytes16::load(at + 48);
    if ((a | b | c | d).is_ascii()) {
      errors = errors | errors_in(before, a);  // what came before may be open
    } else {
      errors = errors | errors_in(before, a) | errors_in(a, b) | errors_in(b, c) | errors_in(c, d);
      if (!errors.is_zero()) return false;
    }
    before = d;
  }
  // The rest, and zeros after it: a sequence that is open at the end is wrong there.
  char rest[kStep + 16] = {};
  std::memcpy(rest, at, n);
  for (size_t i = 0; i <= n; i += 16) {
    const Bytes16 now = Bytes16::load(rest + i);
    errors = errors | errors_in(before, now);
    before = now;
  }
  return errors.is_zero();
}

#endif

}  // namespace utf8_detail

[[nodiscard]] inline bool is_valid_utf8(std::string_view bytes) {
#if KYRO_HAS_BYTES16
  constexpr size_t kBlocksMin = 64;  // shorter texts are done before the tables are there
  if (bytes.size() >= kBlocksMin && kHasSsse3) {
    return utf8_detail::is_valid_by_blocks(bytes.data(), bytes.size());
  }
#endif
  return utf8_detail::is_valid_portable(bytes);
}

// Whether a text is valid, found out in slices.
class Utf8Check {
 public:
  // `position`: where an earlier one has stopped.
  explicit Utf8Check(size_t position = 0) : at_(position) {}

  // Looks at about `budget_bytes` more of `text`, which is the same in every call. True when the
  // verdict is there.
  bool advance(std::string_view text, size_t budget_bytes) {
    size_t end = std::min(text.size(), at_ + budget_bytes);
    // Not in the middle of a sequence: of a valid text each slice is valid, and the reverse.
    for (int tails = 0; tails < 3 && end < text.size(); ++tails) {
      if ((static_cast<unsigned char>(text[end]) & 0xC0u) != 0x80) break;
      ++end;
    }
    is_valid_ = is_valid_utf8(text.substr(at_, end - at_));
    at_ = end;
    return !is_valid_ || at_ == text.size();
  }
  [[nodiscard]] bool is_valid() const { return is_valid_; }
  [[nodiscard]] size_t position() const { return at_; }

 private:
  size_t at_ = 0;
  bool is_valid_ = true;
};

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
