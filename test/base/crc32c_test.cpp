#include "kyro/base/crc32c.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "test/support/test_util.h"

namespace kyro::test {

TEST_CASE("crc32c gives the values that RFC 3720 lists") {
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43u);
  std::string ascending(32, '\0');
  for (size_t i = 0; i < ascending.size(); ++i) ascending[i] = static_cast<char>(i);
  CHECK(crc32c(ascending) == 0x46DD794Eu);
  CHECK(crc32c(std::string(ascending.rbegin(), ascending.rend())) == 0x113FDB5Cu);
  CHECK(crc32c("123456789", 9) == 0xE3069283u);
  CHECK(crc32c("", 0) == 0);
}

TEST_CASE("crc32c in hardware, in tables and in pieces agree on every length and alignment") {
  const uint64_t seed = test_seed(1);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  std::string bytes(600, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  for (size_t begin = 0; begin < 16; ++begin) {
    for (size_t n = 0; n + begin <= bytes.size(); n += 1 + n / 40) {
      const auto* data = reinterpret_cast<const unsigned char*>(bytes.data()) + begin;
      const uint32_t whole = crc32c(data, n);
      REQUIRE(~crc32c_detail::extend_portable(~0u, data, n) == whole);
      if (crc32c_detail::kHasHardware) {
        REQUIRE(~crc32c_detail::extend_hardware(~0u, data, n) == whole);
      }
      const size_t cut = n == 0 ? 0 : random() % n;
      REQUIRE(crc32c(data + cut, n - cut, crc32c(data, cut)) == whole);
    }
  }
}

}  // namespace kyro::test
