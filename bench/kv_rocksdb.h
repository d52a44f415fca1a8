// RocksDB in the engine benchmark, set up for point reads from memory: a block cache that holds
// everything, bloom filters of 10 bits, hash search within blocks, no compression, checksums on.
// It verifies a block when it enters the cache; the cached block is trusted from then on.
#pragma once

#if defined(KYRO_BENCH_ROCKSDB)

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/kv.h"

namespace kyro::bench {

class RocksKv final : public Kv {
 public:
  [[nodiscard]] const char* name() const override { return "rocksdb"; }

  void open(const std::string& dir, Durability durability, uint64_t buffer_bytes) override {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(size_t{16} << 30);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
    table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kNoCompression;
    options.bottommost_compression = rocksdb::kDisableCompressionOption;
    options.write_buffer_size = buffer_bytes;
    options.max_background_jobs = 2;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* db = nullptr;
    check(rocksdb::DB::Open(options, dir, &db));
    db_.reset(db);
    write_.sync = durability == Durability::kAlways;
    read_.verify_checksums = true;
  }
  void close() override {
    check(db_->Close());
    db_.reset();
  }

  void put(uint64_t key, std::string_view value) override {
    check(db_->Put(write_, slice(ByteKey(key)), {value.data(), value.size()}));
  }
  void put_batch(std::span<const uint64_t> keys, std::span<const std::string> values) override {
    rocksdb::WriteBatch batch;
    for (size_t i = 0; i < keys.size(); ++i) check(batch.Put(slice(ByteKey(keys[i])), values[i]));
    check(db_->Write(write_, &batch));
  }

  bool get(uint64_t key, std::string* value) override {
    const rocksdb::Status status = db_->Get(read_, slice(ByteKey(key)), value);
    if (status.IsNotFound()) return false;
    check(status);
    return true;
  }
  size_t multi_get(std::span<const uint64_t> keys, std::span<std::string> values) override {
    thread_local std::vector<ByteKey> bytes;
    thread_local std::vector<rocksdb::Slice> slices;
    thread_local std::vector<rocksdb::PinnableSlice> found_values;
    thread_local std::vector<rocksdb::Status> statuses;
    bytes.clear();
    slices.clear();
    for (const uint64_t key : keys) bytes.emplace_back(key);
    for (const ByteKey& key : bytes) slices.push_back(slice(key));
    found_values.resize(keys.size());
    statuses.resize(keys.size());
    db_->MultiGet(read_, db_->DefaultColumnFamily(), keys.size(), slices.data(),
                  found_values.data(), statuses.data());
    size_t found = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (statuses[i].IsNotFound()) continue;
      check(statuses[i]);
      values[i].assign(found_values[i].data(), found_values[i].size());
      found_values[i].Reset();
      ++found;
    }
    return found;
  }

  size_t scan(uint64_t first, size_t limit, std::string* to) override {
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(read_));
    size_t found = 0;
    for (at->Seek(slice(ByteKey(first))); at->Valid(); at->Next()) {
      to->append(at->value().data(), at->value().size());
      if (++found == limit) break;
    }
    check(at->status());
    return found;
  }

  bool sync() override {
    check(db_->SyncWAL());
    return true;
  }
  void flush() override { check(db_->Flush({})); }
  void settle() override {
    while (number("rocksdb.num-running-compactions") + number("rocksdb.compaction-pending") > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  bool compact() override {
    rocksdb::CompactRangeOptions options;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    check(db_->CompactRange(options, nullptr, nullptr));
    return true;
  }

 private:
  uint64_t number(const char* property) {
    uint64_t value = 0;
    db_->GetIntProperty(property, &value);
    return value;
  }
  static rocksdb::Slice slice(const ByteKey& key) { return {key.bytes, sizeof key.bytes}; }
  static void check(const rocksdb::Status& status) {
    if (!status.ok()) give_up("rocksdb", status.ToString());
  }

  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ReadOptions read_;
  rocksdb::WriteOptions write_;
};

}  // namespace kyro::bench

#endif  // KYRO_BENCH_ROCKSDB
