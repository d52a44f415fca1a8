// Little-endian integers at unaligned addresses: the one way bytes become numbers and back.
//
// On little-endian machines (x86-64, aarch64) each call is one load or store. The caller guarantees
// the room; nothing here checks bounds.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

namespace kyro {

static_assert(std::endian::native == std::endian::little,
              "KyroDB maps little-endian files; a big-endian port needs byte swaps here");

// Reads a trivially copyable T that lies unaligned at `from`.
template <class T>
[[nodiscard]] inline T load(const void* from) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
inline void store(void* to, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(to, &value, sizeof(T));
}

[[nodiscard]] inline uint32_t load_u32(const void* from) {
  return load<uint32_t>(from);
}
[[nodiscard]] inline uint64_t load_u64(const void* from) {
  return load<uint64_t>(from);
}
inline void store_u32(void* to, uint32_t value) {
  store(to, value);
}
inline void store_u64(void* to, uint64_t value) {
  store(to, value);
}

inline void append_u32(std::string& out, uint32_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void append_u64(std::string& out, uint64_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace kyro
