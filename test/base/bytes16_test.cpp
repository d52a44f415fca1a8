#include "kyro/base/bytes16.h"

#include <array>
#include <catch2/catch.hpp>
#include <random>

#include "test/support/test_util.h"

#if KYRO_HAS_BYTES16

namespace kyro {
namespace {

using Sixteen = std::array<uint8_t, 16>;

Sixteen bytes_of(Bytes16 block) {
  Sixteen bytes;
  block.store(bytes.data());
  return bytes;
}

TEST_CASE("each operation on sixteen bytes does to every byte what its name says") {
  const uint64_t seed = test::test_seed(16);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    Sixteen a;
    Sixteen b;
    for (uint8_t& byte : a) byte = static_cast<uint8_t>(random());
    for (uint8_t& byte : b) byte = static_cast<uint8_t>(random() % 3 == 0 ? random() : a[0]);
    const Bytes16 x = Bytes16::load(a.data());
    const Bytes16 y = Bytes16::load(b.data());
    size_t first = 16;
    for (size_t i = 16; i-- > 0;) {
      REQUIRE(bytes_of(x | y)[i] == (a[i] | b[i]));
      REQUIRE(bytes_of(x & y)[i] == (a[i] & b[i]));
      REQUIRE(bytes_of(x ^ y)[i] == (a[i] ^ b[i]));
      REQUIRE(bytes_of(x.equals(y))[i] == (a[i] == b[i] ? 0xFF : 0));
      REQUIRE(bytes_of(x.at_most(y))[i] == (a[i] <= b[i] ? 0xFF : 0));
      REQUIRE(bytes_of(x.minus(y))[i] == (a[i] > b[i] ? a[i] - b[i] : 0));
      REQUIRE(bytes_of(x.high_halves())[i] == a[i] >> 4);
      if (a[i] == b[i]) first = i;
    }
    REQUIRE(x.equals(y).first() == first);
    REQUIRE(x.equals(y).any() == (first < 16));
    REQUIRE((x ^ x).is_zero());
    REQUIRE((x ^ y).is_zero() == (a == b));
  }
}

TEST_CASE("one byte above 0x7F in any place is not ASCII") {
  for (size_t place = 0; place < 16; ++place) {
    Sixteen bytes{};
    REQUIRE(Bytes16::load(bytes.data()).is_ascii());
    bytes[place] = 0x80;
    REQUIRE_FALSE(Bytes16::load(bytes.data()).is_ascii());
  }
}

}  // namespace
}  // namespace kyro

#endif
