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

#include "bench/kv.h"

namespace kyro::bench {

class LevelKv final : public Kv {
 public:
  [[nodiscard]] const char* name() const override { return "leveldb"; }

  void open(const std::string& dir, Durability durability, uint64_t buffer_bytes) override {
    cache_.reset(leveldb::NewLRUCache(size_t{16} << 30));
    filter_.reset(leveldb::NewBloomFilterPolicy(10));
    leveldb::Options options;
    options.create_if_missing = true;
    options.compression = leveldb::kNoCompression;
    options.write_buffer_size = buffer_bytes;
    options.max_open_files = 10'000;
    options.block_cache = cache_.get();
    options.filter_policy = filter_.get();
    leveldb::DB* db = nullptr;
    check(leveldb::DB::Open(options, dir, &db));
    db_.reset(db);
    write_.sync = durability == Durability::kAlways;
    read_.verify_checksums = true;
  }
  void close() override { db_.reset(); }

  void put(uint64_t key, std::string_view value) override {
    check(db_->Put(write_, slice(ByteKey(key)), {value.data(), value.size()}));
  }
  void put_batch(std::span<const uint64_t> keys, std::span<const std::string> values) override {
    leveldb::WriteBatch batch;
    for (size_t i = 0; i < keys.size(); ++i) batch.Put(slice(ByteKey(keys[i])), values[i]);
    check(db_->Write(write_, &batch));
  }

  bool get(uint64_t key, std::string* value) override {
    const leveldb::Status status = db_->Get(read_, slice(ByteKey(key)), value);
    if (status.IsNotFound()) return false;
    check(status);
    return true;
  }
  size_t multi_get(std::span<const uint64_t> keys, std::span<std::string> values) override {
    size_t found = 0;
    for (size_t i = 0; i < keys.size(); ++i) found += get(keys[i], &values[i]) ? 1u : 0u;
    return found;
  }

  size_t scan(uint64_t first, size_t limit, std::string* to) override {
    const std::unique_ptr<leveldb::Iterator> at(db_->NewIterator(read_));
    size_t found = 0;
    for (at->Seek(slice(ByteKey(first))); at->Valid(); at->Next()) {
      to->append(at->value().data(), at->value().size());
      if (++found == limit) break;
    }
    check(at->status());
    return found;
  }

  bool sync() override { return false; }
  bool compact() override {
    db_->CompactRange(nullptr, nullptr);
    return true;
  }

 private:
  static leveldb::Slice slice(const ByteKey& key) { return {key.bytes, sizeof key.bytes}; }
  static void check(const leveldb::Status& status) {
    if (!status.ok()) give_up("leveldb", status.ToString());
  }

  std::unique_ptr<leveldb::Cache> cache_;
  std::unique_ptr<const leveldb::FilterPolicy> filter_;
  std::unique_ptr<leveldb::DB> db_;
  leveldb::ReadOptions read_;
  leveldb::WriteOptions write_;
};

}  // namespace kyro::bench

#endif  // KYRO_BENCH_LEVELDB
