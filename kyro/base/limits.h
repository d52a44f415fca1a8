// The bounds of the formats and the defaults of the options, in one place.
//
// A bound that a user can move lives in Options with its default from here; a bound that a file
// format or the wire sets is a constant that nothing moves.
#pragma once

#include <cstdint>

namespace kyro {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

// Formats: lengths are u32 on disk, and a group must fit in one.
inline constexpr uint64_t kValueBytesCeiling = 1 * kGiB;
inline constexpr uint64_t kBatchBytesCeiling = 2 * kGiB;

inline constexpr uint64_t kDefaultValueBytesMax = 16 * kMiB;
inline constexpr uint64_t kDefaultBatchBytesMax = 16 * kMiB;
inline constexpr uint64_t kDefaultDeltaBytesMax = 64 * kMiB;
inline constexpr uint64_t kDefaultWalSegmentBytes = 64 * kMiB;
inline constexpr uint32_t kDefaultWalSegmentsMax = 8;
inline constexpr uint64_t kDefaultInflightBytesMax = 256 * kMiB;
inline constexpr uint64_t kDefaultMgetKeysMax = 100'000;
inline constexpr uint64_t kDefaultReserveBytes = 16 * kMiB;

// A thousand years: above it an expiry in any unit might not fit, and nobody means it.
inline constexpr uint64_t kTtlSecsMax = uint64_t{1000} * 366 * 86400;
// A record has so much room for the second in which it expires.
inline constexpr uint64_t kExpirySecsMax = (uint64_t{1} << 56) - 1;

// Offsets that a crash may have taken with it are skipped by one jump of this size.
inline constexpr uint64_t kOffsetJump = uint64_t{1} << 32;

}  // namespace kyro
