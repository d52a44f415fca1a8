// The address of who is connected, as one shape for all socket families.
//
// Thread rule: a value.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace kyro {

// An address of a peer: IPv6, or IPv4 mapped into it (::ffff:a.b.c.d); all zero for a Unix socket.
struct PeerAddress {
  std::array<uint8_t, 16> bytes{};
  uint16_t port = 0;

  [[nodiscard]] bool is_v4() const {
    static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    return std::memcmp(bytes.data(), kMapped, sizeof kMapped) == 0;
  }
  [[nodiscard]] bool is_loopback() const {
    if (is_v4()) return bytes[12] == 127;
    static constexpr uint8_t kLoopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return std::memcmp(bytes.data(), kLoopback, sizeof kLoopback) == 0;
  }
};

}  // namespace kyro
