// The writes over HTTP that are not yet where nothing can overtake them.
//
// A write that depends on the current version may come back from the committer and be submitted
// again, after what its connection has sent since. So nobody submits a write of a key while an
// earlier one of the same connection is open that way: it asks here before it starts whether it
// has to wait for the earlier requests of its connection (then on_request() is called again). An
// open write of another connection costs it a wait that was not needed. A batch counts as if it
// wrote every key, so that asking costs the same whatever its size.
//
// Thread rule: any reactor; each lock is held for one look. Ownership: outlives the writes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "kyro/base/mutex.h"
#include "kyro/net/http/handler.h"

namespace kyro {

class OpenWrites {
 public:
  [[nodiscard]] bool must_wait(Exchange& exchange, uint64_t key) {
    return exchange.has_pending_before() && (batches_ > 0 || is_open(key)) &&
           exchange.wait_for_earlier();
  }
  [[nodiscard]] bool batch_must_wait(Exchange& exchange) {
    return exchange.has_pending_before() && (batches_ > 0 || writes_ > 0) &&
           exchange.wait_for_earlier();
  }

  void add(uint64_t key) {
    ++writes_;
    Shard& shard = shard_of(key);
    const MutexLock lock(shard.mutex);
    ++shard.writes[key];
  }
  void remove(uint64_t key) {
    --writes_;
    Shard& shard = shard_of(key);
    const MutexLock lock(shard.mutex);
    const auto found = shard.writes.find(key);
    if (--found->second == 0) shard.writes.erase(found);
  }
  void add_batch() { ++batches_; }
  void remove_batch() { --batches_; }

 private:
  static constexpr size_t kShards = 64;
  struct alignas(64) Shard {
    Mutex mutex;
    std::unordered_map<uint64_t, uint32_t> writes KYRO_GUARDED_BY(mutex);  // of each key
  };

  [[nodiscard]] Shard& shard_of(uint64_t key) { return shards_[(key * 0x9E3779B97F4A7C15u) >> 58]; }
  [[nodiscard]] bool is_open(uint64_t key) {
    Shard& shard = shard_of(key);
    const MutexLock lock(shard.mutex);
    return shard.writes.contains(key);
  }

  std::array<Shard, kShards> shards_;
  std::atomic<uint64_t> writes_{0};
  std::atomic<uint64_t> batches_{0};
};

}  // namespace kyro
