// A token bucket per client address in a fixed amount of memory, without locks and without keys.
//
// A bucket is one number, the moment at which it is full again (the "theoretical arrival time" of
// the generic cell rate algorithm, ITU-T I.371): taking a token moves it `interval` later, and it
// may lie at most `burst` intervals ahead. A moment that has passed is a full bucket, so nothing
// ever has to be cleaned up, and nothing is evicted.
//
// An address has one bucket in each of kRows rows, chosen by a hash with a secret seed (a count-min
// sketch: Cormode and Muthukrishnan, 2005). It is admitted if any of its buckets has a token, and
// an admitted request is charged to all of them: to one that is empty, up to the brim. So
//   - an address never gets more than its rate, however many others there are: flooding the table
//     with addresses cannot reset a bucket, it can only make buckets emptier;
//   - an address suffers for others only where each of its kRows buckets is shared with one of
//     them that is over its rate.
// Reactors that take from one bucket in the same instant may admit one request too many each.
//
// IPv6 clients are told apart by their /64, since a client has all of it.
//
// Thread rule: take() from any thread. Ownership: owns its table; without a rate there is none.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

#include "kyro/base/random.h"
#include "kyro/net/io/peer.h"

namespace kyro {

// `per_second` requests, and `burst` at once after a pause. per_second 0: no limit.
struct RateLimit {
  static constexpr uint64_t kMax = 1'000'000;  // of both
  uint32_t per_second = 0;
  uint32_t burst = 0;
};

class RateLimiter {
 public:
  static constexpr size_t kRows = 3;
  static constexpr size_t kRowBuckets = 16 * 1024;  // 384 KiB in all

  explicit RateLimiter(RateLimit limit, uint64_t seed = random_u64()) : seed_(seed) {
    if (limit.per_second == 0) return;
    interval_ns_ = (kSecondNs + limit.per_second - 1) / limit.per_second;  // never over the rate
    ahead_max_ns_ = interval_ns_ * std::max(limit.burst, 1u);
    table_ = std::make_unique<Table>();
  }

  [[nodiscard]] bool is_on() const { return table_ != nullptr; }

  // Takes a token: 0. Or there is none: the seconds (at least 1) until there may be one.
  [[nodiscard]] uint64_t take(const PeerAddress& peer, uint64_t now_ns) {
    const uint64_t hash = hash_of(peer);
    uint64_t wait_ns = UINT64_MAX;
    for (size_t row = 0; row < kRows; ++row) {
      const uint64_t full_at = bucket(row, hash).load(std::memory_order_relaxed);
      const uint64_t after = std::max(full_at, now_ns) + interval_ns_;
      wait_ns = std::min(wait_ns, after - std::min(after, now_ns + ahead_max_ns_));
    }
    if (wait_ns != 0) return (wait_ns + kSecondNs - 1) / kSecondNs;
    for (size_t row = 0; row < kRows; ++row) charge(bucket(row, hash), now_ns);
    return 0;
  }

 private:
  static constexpr uint64_t kSecondNs = 1'000'000'000;
  using Table = std::array<std::array<std::atomic<uint64_t>, kRowBuckets>, kRows>;
  static_assert((kRowBuckets & (kRowBuckets - 1)) == 0 && kRows * 20 <= 64);

  void charge(std::atomic<uint64_t>& bucket, uint64_t now_ns) const {
    uint64_t full_at = bucket.load(std::memory_order_relaxed);
    uint64_t after = 0;
    do {
      const uint64_t brim = now_ns + ahead_max_ns_;
      after = std::max(full_at, std::min(std::max(full_at, now_ns) + interval_ns_, brim));
    } while (!bucket.compare_exchange_weak(full_at, after, std::memory_order_relaxed));
  }

  [[nodiscard]] std::atomic<uint64_t>& bucket(size_t row, uint64_t hash) const {
    return (*table_)[row][(hash >> (row * 20)) & (kRowBuckets - 1)];
  }

  // Two rounds of multiplying and folding, each keyed: what collides cannot be told from outside.
  [[nodiscard]] uint64_t hash_of(const PeerAddress& peer) const {
    uint64_t key = 0;
    std::memcpy(&key, peer.bytes.data() + (peer.is_v4() ? 8 : 0), sizeof key);
    return fold(fold(key ^ seed_, 0x9E3779B97F4A7C15u ^ seed_), 0xD6E8FEB86659FD93u + (seed_ << 1));
  }
  [[nodiscard]] static uint64_t fold(uint64_t a, uint64_t b) {
    const Wide product = Wide{a} * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  __extension__ using Wide = unsigned __int128;

  const uint64_t seed_;
  uint64_t interval_ns_ = 0;
  uint64_t ahead_max_ns_ = 0;
  std::unique_ptr<Table> table_;
};

}  // namespace kyro
