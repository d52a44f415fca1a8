// Integers as HTTP/2 sends them: big-endian (RFC 9113 section 2.2).
//
// Thread rule: pure functions. The caller guarantees the room.
#pragma once

#include <cstdint>
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

inline void append_be(std::string& out, uint32_t value, unsigned bytes) {
  char buffer[sizeof value];
  store_be(buffer, value, bytes);
  out.append(buffer, bytes);
}

}  // namespace kyro
