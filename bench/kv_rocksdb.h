// RocksDB in the engine benchmark, set up for point reads from memory: a block cache that holds
// everything, bloom filters of 10 bits, hash search within blocks, no compression, checksums on.
// It verifies a block when it enters the cache; the cached block is trusted from then on.
#pragma once

#if defined(KYRO_BENCH_ROCKSDB)

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/kv_lsm.h"

namespace kyro::bench {

struct RocksApi {
  static constexpr const char* kName = "rocksdb";
  using DB = rocksdb::DB;
  using Iterator = rocksdb::Iterator;
  using Options = rocksdb::Options;
  using ReadOptions = rocksdb::ReadOptions;
  using Slice = rocksdb::Slice;
  using Status = rocksdb::Status;
  using WriteBatch = rocksdb::WriteBatch;
  using WriteOptions = rocksdb::WriteOptions;
};

class RocksKv final : public LsmKv<RocksApi> {
 public:
  void open(const std::string& dir, Durability durability, uint64_t buffer_bytes) override {
    open_with(options(), dir, durability, buffer_bytes);
  }
  // A table file written beside the database and taken in as it is.
  bool bulk_load(const std::string& dir, std::span<const uint64_t> keys,
                 size_t value_bytes) override {
    open(dir, Durability::kNever, kDefaultBufferBytes);
    const std::string path = dir + "/bulk.sst";
    rocksdb::SstFileWriter file({}, options());
    check(file.Open(path));
    std::string value(value_bytes, '\0');
    for (const uint64_t key : keys) {
      fill_value(key, &value);
      check(file.Put(slice(ByteKey(key)), value));
    }
    check(file.Finish());
    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    check(db_->IngestExternalFile({path}, ingest));
    close();
    return true;
  }
  void close() override {
    check(db_->Close());
    db_.reset();
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

  bool sync() override {
    check(db_->SyncWAL());
    return true;
  }
  void flush() override { check(db_->Flush({})); }
  void wait_for_background() override {
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
  [[nodiscard]] rocksdb::Options options() const {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(cache_bytes_);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
    table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    rocksdb::Options options;
    options.compression = rocksdb::kNoCompression;
    options.bottommost_compression = rocksdb::kDisableCompressionOption;
    options.max_background_jobs = 2;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    return options;
  }
  uint64_t number(const char* property) {
    uint64_t value = 0;
    db_->GetIntProperty(property, &value);
    return value;
  }
};

}  // namespace kyro::bench

#endif  // KYRO_BENCH_ROCKSDB
