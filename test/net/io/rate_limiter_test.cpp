#include "kyro/net/io/rate_limiter.h"

#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "test/support/test_util.h"

namespace kyro {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kStart = 1000 * kSecond;

PeerAddress v4(uint32_t address) {
  PeerAddress peer;
  peer.bytes[10] = peer.bytes[11] = 0xFF;
  for (size_t i = 0; i < 4; ++i) peer.bytes[12 + i] = static_cast<uint8_t>(address >> (24 - 8 * i));
  return peer;
}

PeerAddress v6(uint64_t prefix, uint64_t host) {
  PeerAddress peer;
  for (size_t i = 0; i < 8; ++i) {
    peer.bytes[i] = static_cast<uint8_t>(prefix >> (56 - 8 * i));
    peer.bytes[8 + i] = static_cast<uint8_t>(host >> (56 - 8 * i));
  }
  return peer;
}

// How many of `tries` are admitted at one moment.
int admitted(RateLimiter& limiter, const PeerAddress& peer, uint64_t now, int tries) {
  int count = 0;
  for (int i = 0; i < tries; ++i) count += limiter.take(peer, now) == 0 ? 1 : 0;
  return count;
}

TEST_CASE("a limiter without a rate is off and owns no table") {
  CHECK_FALSE(RateLimiter(RateLimit{}).is_on());
  CHECK(RateLimiter(RateLimit{1, 1}).is_on());
}

TEST_CASE("a burst is admitted at once, then the rate, and pauses refill to the burst") {
  RateLimiter limiter({10, 5});
  const PeerAddress peer = v4(0x7F000001);
  CHECK(admitted(limiter, peer, kStart, 100) == 5);
  CHECK(admitted(limiter, peer, kStart + kSecond / 10 - 1, 100) == 0);
  CHECK(admitted(limiter, peer, kStart + kSecond / 10, 100) == 1);
  CHECK(admitted(limiter, peer, kStart + kSecond * 3 / 10, 100) == 2);
  CHECK(admitted(limiter, peer, kStart + 100 * kSecond, 100) == 5);
}

TEST_CASE("a rate that does not divide a second is not exceeded") {
  constexpr uint32_t kRate = 700'000;  // 1428.57 ns each
  constexpr uint32_t kBurst = 100;
  RateLimiter limiter({kRate, kBurst});
  const PeerAddress peer = v4(1);
  uint64_t taken = 0;
  for (uint64_t at = 0; at < kSecond; at += 200) taken += limiter.take(peer, kStart + at) == 0;
  CHECK(taken <= kRate + kBurst);
  CHECK(taken >= kRate - kRate / 100);
}

TEST_CASE("a refusal says after how many whole seconds to try again") {
  RateLimiter slow({1, 3});
  const PeerAddress peer = v4(1);
  CHECK(admitted(slow, peer, kStart, 3) == 3);
  CHECK(slow.take(peer, kStart) == 1);
  CHECK(slow.take(peer, kStart + kSecond - 1) == 1);
  CHECK(slow.take(peer, kStart + kSecond) == 0);
  RateLimiter fast({1000, 1});
  CHECK(fast.take(peer, kStart) == 0);
  CHECK(fast.take(peer, kStart) == 1);  // never "try again in 0 seconds"
}

TEST_CASE("addresses have buckets of their own, an IPv6 client one for its whole /64") {
  RateLimiter limiter({1, 2}, 1);
  CHECK(admitted(limiter, v4(1), kStart, 5) == 2);
  CHECK(admitted(limiter, v4(2), kStart, 5) == 2);
  CHECK(admitted(limiter, v6(0x20010DB800000000, 1), kStart, 5) == 2);
  CHECK(admitted(limiter, v6(0x20010DB800000000, 0xFFFFFFFFFFFFFFFF), kStart, 5) == 0);
  CHECK(admitted(limiter, v6(0x20010DB800000001, 1), kStart, 5) == 2);
}

TEST_CASE("a flood of other addresses does not give a bucket back, and few suffer from it") {
  RateLimiter limiter({1, 2}, 2);
  const PeerAddress abuser = v4(0x0A000001);
  CHECK(admitted(limiter, abuser, kStart, 10) == 2);
  for (uint32_t i = 0; i < 200'000; ++i) {
    static_cast<void>(limiter.take(v4(0x0B000000 + i), kStart));
  }
  CHECK(admitted(limiter, abuser, kStart, 10) == 0);
  // A thousand addresses over their rate; of others, next to none shares all of its buckets.
  RateLimiter busy({1, 2}, 3);
  for (uint32_t i = 0; i < 1000; ++i) admitted(busy, v4(0x0B000000 + i), kStart, 5);
  int refused = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    refused += busy.take(v4(0x0C000000 + i), kStart) != 0 ? 1 : 0;
  }
  CHECK(refused <= 5);
}

TEST_CASE("no address is ever admitted more often than an exact bucket would") {
  const uint64_t seed = test::test_seed(31);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  RateLimiter limiter({100, 7}, seed);
  constexpr uint64_t kInterval = kSecond / 100;
  constexpr size_t kPeers = 3000;  // enough to share many buckets
  std::vector<uint64_t> full_at(kPeers, 0);
  uint64_t now = kStart;
  uint64_t exact = 0;
  uint64_t taken = 0;
  for (int i = 0; i < 200'000; ++i) {
    now += random() % (kInterval / 1000);
    const size_t peer = random() % (i % 2 == 0 ? kPeers : 10);
    const uint64_t after = std::max(full_at[peer], now) + kInterval;
    const bool may = after <= now + 7 * kInterval;
    const bool did = limiter.take(v4(static_cast<uint32_t>(peer)), now) == 0;
    REQUIRE((may || !did));
    exact += may ? 1u : 0u;
    taken += did ? 1u : 0u;
    if (did) full_at[peer] = after;
  }
  CHECK(taken >= exact - exact / 20);
}

TEST_CASE("threads that take at once get about as many tokens as there are") {
  RateLimiter limiter({1, 1000}, 4);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] { taken += admitted(limiter, v4(9), kStart, 1000); });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(taken >= 1000);
  CHECK(taken <= 1003);
}

}  // namespace
}  // namespace kyro
