// CRC32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4), incremental.
//
// crc32c(b, n, crc32c(a, m)) == crc32c(ab, m + n). The instruction is chosen at run time: SSE4.2 on
// x86-64, with PCLMULQDQ for longer inputs; the CRC extension on aarch64, else slicing-by-8 tables;
// tests hold them against each other. One thread moves about 8 bytes per 3 cycles with the
// instruction. The loops are unrolled for short inputs: the fewer instructions a lookup has, the
// more lookups overlap their misses.
//
// Thread rule: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kyro/base/coding.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

namespace kyro {
namespace crc32c_detail {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0x82F63B78u : 0u);
    tables[0][i] = crc;
  }
  for (size_t slice = 1; slice < 8; ++slice) {
    for (size_t i = 0; i < 256; ++i) {
      const uint32_t previous = tables[slice - 1][i];
      tables[slice][i] = (previous >> 8) ^ tables[0][previous & 0xFFu];
    }
  }
  return tables;
}

inline constexpr Tables kTables = make_tables();

// Works on the inverted register, as the two below do; crc32c() inverts before and after.
inline uint32_t extend_portable(uint32_t crc, const unsigned char* p, size_t n) {
  for (; n >= 8; p += 8, n -= 8) {
    const uint64_t word = load_u64(p) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xFFu];
  }
  for (; n > 0; ++p, --n) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 0xFFu];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) inline uint32_t extend_hardware(uint32_t crc,
                                                                  const unsigned char* p,
                                                                  size_t n) {
  uint64_t wide = crc;
  for (; n >= 32; p += 32, n -= 32) {
    wide = _mm_crc32_u64(wide, load_u64(p));
    wide = _mm_crc32_u64(wide, load_u64(p + 8));
    wide = _mm_crc32_u64(wide, load_u64(p + 16));
    wide = _mm_crc32_u64(wide, load_u64(p + 24));
  }
  for (; n >= 8; p += 8, n -= 8) wide = _mm_crc32_u64(wide, load_u64(p));
  crc = static_cast<uint32_t>(wide);
  if (n >= 4) {
    crc = _mm_crc32_u32(crc, load_u32(p));
    p += 4, n -= 4;
  }
  for (; n > 0; ++p, --n) crc = _mm_crc32_u8(crc, *p);
  return crc;
}
inline bool has_hardware() {
  return __builtin_cpu_supports("sse4.2") != 0;
}

// x^n mod P in the form that folding multiplies reflected bits with.
constexpr uint64_t fold_constant(unsigned n) {
  uint32_t power = 0x80000000u;  // reflected: 1
  for (unsigned i = 0; i < n; ++i) power = (power >> 1) ^ ((power & 1u) != 0 ? 0x82F63B78u : 0u);
  return uint64_t{power} << 1;
}

// From 64 bytes on: four lanes are folded with carry-less multiplications (V. Gopal et al., "Fast
// CRC Computation for Generic Polynomials Using PCLMULQDQ", 2009), the last 16 bytes go through the
// instruction. Faster by itself, and where the bytes are still on their way from memory it does not
// fill the scheduler of the one integer unit that has the instruction, so lookups overlap.
__attribute__((target("sse4.2,pclmul"))) inline __m128i fold(__m128i lane, __m128i by,
                                                             __m128i next) {
  return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(lane, by, 0x00),
                                           _mm_clmulepi64_si128(lane, by, 0x11)));
}
__attribute__((target("sse4.2,pclmul"))) inline uint32_t extend_folded(uint32_t crc,
                                                                       const unsigned char* p,
                                                                       size_t n) {
  static constexpr uint64_t kBy512[] = {fold_constant(512 + 32), fold_constant(512 - 32)};
  static constexpr uint64_t kBy128[] = {fold_constant(128 + 32), fold_constant(128 - 32)};
  const auto block = [](const void* at) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
  };
  __m128i a = _mm_xor_si128(block(p), _mm_cvtsi32_si128(static_cast<int>(crc)));
  __m128i b = block(p + 16);
  __m128i c = block(p + 32);
  __m128i d = block(p + 48);
  p += 64, n -= 64;
  for (const __m128i by = block(kBy512); n >= 64; p += 64, n -= 64) {
    a = fold(a, by, block(p));
    b = fold(b, by, block(p + 16));
    c = fold(c, by, block(p + 32));
    d = fold(d, by, block(p + 48));
  }
  const __m128i by = block(kBy128);
  d = fold(fold(fold(a, by, b), by, c), by, d);
  uint64_t wide = _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(d)));
  wide = _mm_crc32_u64(wide, static_cast<uint64_t>(_mm_extract_epi64(d, 1)));
  return extend_hardware(static_cast<uint32_t>(wide), p, n);
}
inline bool has_folding() {
  return has_hardware() && __builtin_cpu_supports("pclmul") != 0;
}
// `n` bytes, then kTail more elsewhere: one call where the lengths are a record's.
template <size_t kTail>
__attribute__((target("sse4.2,pclmul"))) inline uint32_t extend_both(const unsigned char* p,
                                                                     size_t n,
                                                                     const unsigned char* tail) {
  uint32_t crc = ~uint32_t{0};
  crc = n >= 64 ? extend_folded(crc, p, n) : extend_hardware(crc, p, n);
  return extend_hardware(crc, tail, kTail);
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) inline uint32_t extend_hardware(uint32_t crc,
                                                                const unsigned char* p, size_t n) {
  for (; n >= 32; p += 32, n -= 32) {
    crc = __crc32cd(crc, load_u64(p));
    crc = __crc32cd(crc, load_u64(p + 8));
    crc = __crc32cd(crc, load_u64(p + 16));
    crc = __crc32cd(crc, load_u64(p + 24));
  }
  for (; n >= 8; p += 8, n -= 8) crc = __crc32cd(crc, load_u64(p));
  if (n >= 4) {
    crc = __crc32cw(crc, load_u32(p));
    p += 4, n -= 4;
  }
  for (; n > 0; ++p, --n) crc = __crc32cb(crc, *p);
  return crc;
}
inline bool has_hardware() {
  return (getauxval(AT_HWCAP) & (1ul << 7)) != 0;
}  // HWCAP_CRC32
#else
inline uint32_t extend_hardware(uint32_t crc, const unsigned char* p, size_t n) {
  return extend_portable(crc, p, n);
}
inline bool has_hardware() {
  return false;
}
#endif

inline const bool kHasHardware = has_hardware();
#if defined(__x86_64__)
inline const bool kHasFolding = has_folding();
#endif

}  // namespace crc32c_detail

// CRC32C of `n` bytes at `data`, continuing from `crc` (0 to start).
[[nodiscard]] inline uint32_t crc32c(const void* data, size_t n, uint32_t crc = 0) {
  const auto* p = static_cast<const unsigned char*>(data);
#if defined(__x86_64__)
  if (n >= 64 && crc32c_detail::kHasFolding) return ~crc32c_detail::extend_folded(~crc, p, n);
#endif
  return ~(crc32c_detail::kHasHardware ? crc32c_detail::extend_hardware(~crc, p, n)
                                       : crc32c_detail::extend_portable(~crc, p, n));
}
[[nodiscard]] inline uint32_t crc32c(std::string_view bytes, uint32_t crc = 0) {
  return crc32c(bytes.data(), bytes.size(), crc);
}

// crc32c(tail, kTail, crc32c(data, n)).
template <size_t kTail>
[[nodiscard]] inline uint32_t crc32c_both(const void* data, size_t n, const void* tail) {
#if defined(__x86_64__)
  if (crc32c_detail::kHasFolding) [[likely]] {
    return ~crc32c_detail::extend_both<kTail>(static_cast<const unsigned char*>(data), n,
                                              static_cast<const unsigned char*>(tail));
  }
#endif
  return crc32c(tail, kTail, crc32c(data, n));
}

}  // namespace kyro
