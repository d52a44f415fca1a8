// LevelDB in the engine benchmark: a cache that holds everything, bloom filters of 10 bits, no
// compression, checksums on. Without a call that syncs the log, it has no policy `interval`; and no
// batched reads.
#pragma once

#if defined(KYRO_BENCH_LEVELDB)

#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

#include <memory>
#include <string>

#include "bench/kv_lsm.h"

namespace kyro::bench {

struct LevelApi {
  static constexpr const char* kName = "leveldb";
  using DB = leveldb::DB;
  using Iterator = leveldb::Iterator;
  using Options = leveldb::Options;
  using ReadOptions = leveldb::ReadOptions;
  using Slice = leveldb::Slice;
  using Status = leveldb::Status;
  using WriteBatch = leveldb::WriteBatch;
  using WriteOptions = leveldb::WriteOptions;
};

class LevelKv final : public LsmKv<LevelApi> {
 public:
  ~LevelKv() override { db_.reset(); }  // it uses the cache and the filter

  void open(const std::string& dir, Durability durability, uint64_t buffer_bytes) override {
    cache_.reset(leveldb::NewLRUCache(cache_bytes_));
    filter_.reset(leveldb::NewBloomFilterPolicy(10));
    leveldb::Options options;
    options.compression = leveldb::kNoCompression;
    options.max_open_files = 10'000;
    options.block_cache = cache_.get();
    options.filter_policy = filter_.get();
    open_with(options, dir, durability, buffer_bytes);
  }

  size_t multi_get(std::span<const uint64_t> keys, std::span<std::string> values) override {
    size_t found = 0;
    for (size_t i = 0; i < keys.size(); ++i) found += get(keys[i], &values[i]) ? 1u : 0u;
    return found;
  }

  bool sync() override { return false; }
  [[nodiscard]] bool has_interval() const override { return false; }
  bool compact() override {
    db_->CompactRange(nullptr, nullptr);
    return true;
  }

 private:
  std::unique_ptr<leveldb::Cache> cache_;
  std::unique_ptr<const leveldb::FilterPolicy> filter_;
};

}  // namespace kyro::bench

#endif  // KYRO_BENCH_LEVELDB
