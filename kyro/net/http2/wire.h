// Integers as HTTP/2 sends them: big-endian (RFC 9113 section 2.2).
//
// Thread rule: pure functions. The caller guarantees the room.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace kyro {

[[nodiscard]] inline uint32_t load_be(const char* from, unsigned bytes) {
  uint32_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

inline void store_be(char* to, uint32_t value, unsigned bytes) {
  for (unsigned i = bytes; i-- > 0; value >>= 8) to[i] = static_cast<char>(value & 0xFF);
}

// Four bytes at once: what the hot path reads and writes.
static_assert(std::endian::native == std::endian::little ||
              std::endian::native == std::endian::big);
[[nodiscard]] inline uint32_t load_be32(const char* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return std::endian::native == std::endian::little ? __builtin_bswap32(value) : value;
}
inline void store_be32(char* to, uint32_t value) {
  if (std::endian::native == std::endian::little) value = __builtin_bswap32(value);
  std::memcpy(to, &value, sizeof value);
}

inline void append_be(std::string& out, uint32_t value, unsigned bytes) {
  char buffer[sizeof value];
  store_be(buffer, value, bytes);
  out.append(buffer, bytes);
}

}  // namespace kyro
