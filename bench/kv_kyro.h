// KyroDB in the engine benchmark, embedded.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/kv.h"
#include "kyro/storage/engine.h"
#include "kyro/storage/fs/posix_fs.h"
#include "kyro/storage/offline/loader.h"

namespace kyro::bench {

class KyroKv final : public Kv {
 public:
  [[nodiscard]] const char* name() const override { return "kyro"; }

  void open(const std::string& dir, Durability durability, uint64_t buffer_bytes) override {
    Options options;
    options.data_dir = dir;
    options.fsync = durability == Durability::kAlways     ? FsyncPolicy::kAlways
                    : durability == Durability::kInterval ? FsyncPolicy::kInterval
                                                          : FsyncPolicy::kNever;
    options.delta_max_bytes = buffer_bytes;
    auto opened = Engine::open(options);
    check(opened.status());
    db_ = std::move(*opened);
  }
  void close() override { db_.reset(); }

  bool bulk_load(const std::string& dir, std::span<const uint64_t> keys,
                 size_t value_bytes) override {
    PosixFileSystem fs;
    auto loader = Loader::begin(fs, dir, {});
    check(loader.status());
    std::string value(value_bytes, '\0');
    for (const uint64_t key : keys) {
      fill_value(key, &value);
      check((*loader)->put(key, value));
    }
    check((*loader)->finish().status());
    return true;
  }

  void put(uint64_t key, std::string_view value) override { check(db_->put(key, value).status()); }

  void put_batch(std::span<const uint64_t> keys, std::span<const std::string> values) override {
    std::vector<Mutation> batch(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) batch[i] = Mutation::put(keys[i], values[i]);
    check(db_->write(batch).status());
  }

  bool get(uint64_t key, std::string* value) override {
    const Status status = db_->get(key, value);
    if (status.code() == Code::kNotFound) return false;
    check(status);
    return true;
  }

  size_t multi_get(std::span<const uint64_t> keys, std::span<std::string> values) override {
    size_t found = 0;
    check(db_->multi_get(keys, [&](size_t i, const Lookup* lookup) {
      if (lookup == nullptr) return true;
      values[i].assign(lookup->value());
      ++found;
      return true;
    }));
    return found;
  }

  size_t scan(uint64_t first, size_t limit, std::string* to) override {
    size_t found = 0;
    check(db_->scan(first, ~uint64_t{0}, [&](uint64_t, std::string_view value, uint64_t) {
      to->append(value);
      return ++found < limit;
    }));
    return found;
  }

  bool sync() override { return false; }  // under `interval` it has a clock of its own

  void flush() override { check(db_->snapshot()); }
  void wait_for_background() override {
    const uint32_t fan_in = db_->options().merge_fan_in;
    for (;;) {
      const View view = db_->view();
      if (view.frozen.empty() && choose_merge(view.runs, fan_in).empty()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  bool compact() override {
    check(db_->compact());
    return true;
  }

  [[nodiscard]] uint64_t bytes_written() override {
    const EngineStats& stats = db_->stats();
    return stats.wal_written_bytes.value() + stats.wal_filled_bytes.value() +
           stats.run_written_bytes.value() + stats.compaction_written_bytes.value();
  }
  [[nodiscard]] uint64_t record_bytes(size_t value_bytes) const override {
    return value_bytes + kRecordHeaderBytes;
  }

 private:
  static void check(const Status& status) {
    if (!status.ok()) give_up("kyro", status.to_string());
  }

  std::unique_ptr<Engine> db_;
};

}  // namespace kyro::bench
