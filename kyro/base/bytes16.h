// Sixteen bytes at once: the few vector operations that text needs, by SSE on x86-64 and NEON on
// aarch64, so that an algorithm over them is written once.
//
// KYRO_HAS_BYTES16 says whether there are any. Most operations are part of every x86-64. Those that
// are marked KYRO_SSSE3 need SSSE3: a function that uses them is marked so too, and is called only
// where kHasSsse3 is true (on aarch64 it always is).
//
// Thread rule: pure functions over values.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <tmmintrin.h>
#define KYRO_HAS_BYTES16 1
#define KYRO_SSSE3 __attribute__((target("ssse3")))
#elif defined(__aarch64__)
#include <arm_neon.h>
#define KYRO_HAS_BYTES16 1
#define KYRO_SSSE3
#else
#define KYRO_HAS_BYTES16 0
#endif

#if KYRO_HAS_BYTES16

namespace kyro {

#if defined(__x86_64__)

inline const bool kHasSsse3 = __builtin_cpu_supports("ssse3") != 0;

struct Bytes16 {
  __m128i lanes;

  [[nodiscard]] static Bytes16 load(const void* from) {
    return {_mm_loadu_si128(static_cast<const __m128i*>(from))};
  }
  void store(void* to) const { _mm_storeu_si128(static_cast<__m128i*>(to), lanes); }
  [[nodiscard]] static Bytes16 all(uint8_t byte) {
    return {_mm_set1_epi8(static_cast<char>(byte))};
  }

  [[nodiscard]] Bytes16 operator|(Bytes16 b) const { return {_mm_or_si128(lanes, b.lanes)}; }
  [[nodiscard]] Bytes16 operator&(Bytes16 b) const { return {_mm_and_si128(lanes, b.lanes)}; }
  [[nodiscard]] Bytes16 operator^(Bytes16 b) const { return {_mm_xor_si128(lanes, b.lanes)}; }
  // 0xFF where the bytes are equal, else 0.
  [[nodiscard]] Bytes16 equals(Bytes16 b) const { return {_mm_cmpeq_epi8(lanes, b.lanes)}; }
  // 0xFF where a byte is at most that of `b`.
  [[nodiscard]] Bytes16 at_most(Bytes16 b) const {
    return {_mm_cmpeq_epi8(_mm_min_epu8(lanes, b.lanes), lanes)};
  }
  // The difference, 0 where it would be negative.
  [[nodiscard]] Bytes16 minus(Bytes16 b) const { return {_mm_subs_epu8(lanes, b.lanes)}; }
  [[nodiscard]] Bytes16 high_halves() const {
    return {_mm_and_si128(_mm_srli_epi16(lanes, 4), _mm_set1_epi8(0x0F))};
  }
  [[nodiscard]] bool is_ascii() const { return _mm_movemask_epi8(lanes) == 0; }
  // Of bytes that are 0 or 0xFF: whether one is not 0, and the index of the first (16: none).
  [[nodiscard]] bool any() const { return _mm_movemask_epi8(lanes) != 0; }
  [[nodiscard]] size_t first() const {
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(lanes)) | 0x10000u;
    return static_cast<size_t>(__builtin_ctz(mask));
  }
  [[nodiscard]] bool is_zero() const {
    return _mm_movemask_epi8(_mm_cmpeq_epi8(lanes, _mm_setzero_si128())) == 0xFFFF;
  }
};

// table[i] for each byte i < 16.
[[nodiscard]] KYRO_SSSE3 inline Bytes16 look_up(Bytes16 table, Bytes16 indices) {
  return {_mm_shuffle_epi8(table.lanes, indices.lanes)};
}
// The bytes that stand kBack before those of `now`, the first of them from the end of `before`.
template <int kBack>
[[nodiscard]] KYRO_SSSE3 inline Bytes16 look_back(Bytes16 before, Bytes16 now) {
  return {_mm_alignr_epi8(now.lanes, before.lanes, 16 - kBack)};
}

#else

inline constexpr bool kHasSsse3 = true;

struct Bytes16 {
  uint8x16_t lanes;

  [[nodiscard]] static Bytes16 load(const void* from) {
    return {vld1q_u8(static_cast<const uint8_t*>(from))};
  }
  void store(void* to) const { vst1q_u8(static_cast<uint8_t*>(to), lanes); }
  [[nodiscard]] static Bytes16 all(uint8_t byte) { return {vdupq_n_u8(byte)}; }

  [[nodiscard]] Bytes16 operator|(Bytes16 b) const { return {vorrq_u8(lanes, b.lanes)}; }
  [[nodiscard]] Bytes16 operator&(Bytes16 b) const { return {vandq_u8(lanes, b.lanes)}; }
  [[nodiscard]] Bytes16 operator^(Bytes16 b) const { return {veorq_u8(lanes, b.lanes)}; }
  // 0xFF where the bytes are equal, else 0.
  [[nodiscard]] Bytes16 equals(Bytes16 b) const { return {vceqq_u8(lanes, b.lanes)}; }
  // 0xFF where a byte is at most that of `b`.
  [[nodiscard]] Bytes16 at_most(Bytes16 b) const { return {vcleq_u8(lanes, b.lanes)}; }
  // The difference, 0 where it would be negative.
  [[nodiscard]] Bytes16 minus(Bytes16 b) const { return {vqsubq_u8(lanes, b.lanes)}; }
  [[nodiscard]] Bytes16 high_halves() const { return {vshrq_n_u8(lanes, 4)}; }
  [[nodiscard]] bool is_ascii() const { return vmaxvq_u8(lanes) < 0x80; }
  // Of bytes that are 0 or 0xFF: whether one is not 0, and the index of the first (16: none).
  [[nodiscard]] bool any() const { return vmaxvq_u8(lanes) != 0; }
  [[nodiscard]] size_t first() const {
    const uint8x8_t halves = vshrn_n_u16(vreinterpretq_u16_u8(lanes), 4);
    const uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(halves), 0);
    return mask == 0 ? 16 : static_cast<size_t>(__builtin_ctzll(mask)) / 4;
  }
  [[nodiscard]] bool is_zero() const { return vmaxvq_u8(lanes) == 0; }
};

// table[i] for each byte i < 16.
[[nodiscard]] inline Bytes16 look_up(Bytes16 table, Bytes16 indices) {
  return {vqtbl1q_u8(table.lanes, indices.lanes)};
}
// The bytes that stand kBack before those of `now`, the first of them from the end of `before`.
template <int kBack>
[[nodiscard]] inline Bytes16 look_back(Bytes16 before, Bytes16 now) {
  return {vextq_u8(before.lanes, now.lanes, 16 - kBack)};
}

#endif

}  // namespace kyro

#endif
