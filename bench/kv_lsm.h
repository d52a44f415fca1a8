// What LevelDB and RocksDB share in the engine benchmark: RocksDB began as LevelDB and kept its
// names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "bench/kv.h"

namespace kyro::bench {

// `Api` has the types of one of them under the names they both use, and kName.
template <class Api>
class LsmKv : public Kv {
 public:
  [[nodiscard]] const char* name() const override { return Api::kName; }

  void close() override { db_.reset(); }

  void put(uint64_t key, std::string_view value) override {
    check(db_->Put(write_, slice(ByteKey(key)), {value.data(), value.size()}));
  }
  void put_batch(std::span<const uint64_t> keys, std::span<const std::string> values) override {
    typename Api::WriteBatch batch;
    for (size_t i = 0; i < keys.size(); ++i) {
      if constexpr (requires { check(batch.Put(Slice(), Slice())); }) {
        check(batch.Put(slice(ByteKey(keys[i])), values[i]));
      } else {
        batch.Put(slice(ByteKey(keys[i])), values[i]);
      }
    }
    check(db_->Write(write_, &batch));
  }

  bool get(uint64_t key, std::string* value) override {
    const Status status = db_->Get(read_, slice(ByteKey(key)), value);
    if (status.IsNotFound()) return false;
    check(status);
    return true;
  }

  size_t scan(uint64_t first, size_t limit, std::string* to) override {
    const std::unique_ptr<typename Api::Iterator> at(db_->NewIterator(read_));
    size_t found = 0;
    for (at->Seek(slice(ByteKey(first))); at->Valid(); at->Next()) {
      to->append(at->value().data(), at->value().size());
      if (++found == limit) break;
    }
    check(at->status());
    return found;
  }

 protected:
  using Slice = typename Api::Slice;
  using Status = typename Api::Status;

  // Fills in what both sets of options have.
  void open_with(typename Api::Options options, const std::string& dir, Durability durability,
                 uint64_t buffer_bytes) {
    options.create_if_missing = true;
    options.write_buffer_size = buffer_bytes;
    typename Api::DB* db = nullptr;
    check(Api::DB::Open(options, dir, &db));
    db_.reset(db);
    write_.sync = durability == Durability::kAlways;
    read_.verify_checksums = true;
  }

  static Slice slice(const ByteKey& key) { return {key.bytes, sizeof key.bytes}; }
  static void check(const Status& status) {
    if (!status.ok()) give_up(Api::kName, status.ToString());
  }

  std::unique_ptr<typename Api::DB> db_;
  typename Api::ReadOptions read_;
  typename Api::WriteOptions write_;
};

}  // namespace kyro::bench
