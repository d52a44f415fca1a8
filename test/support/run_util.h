// Runs made by hand on the simulated file system, and views of deltas and runs beside a model of
// what they hold.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kyro/storage/background/merge.h"
#include "kyro/storage/run/run_verify.h"
#include "kyro/storage/view.h"
#include "test/support/fault_fs.h"
#include "test/support/test_util.h"

namespace kyro::test {

struct Version {
  bool is_put = true;
  std::string value;
  uint64_t offset = 0;
  uint64_t expiry_secs = 0;
  friend bool operator==(const Version&, const Version&) = default;
};
using Versions = std::map<uint64_t, Version>;

// Encodes a version as the bytes of its record.
inline std::string encode_version(uint64_t key, const Version& version) {
  const Mutation mutation = version.is_put ? Mutation::put(key, version.value, version.expiry_secs)
                                           : Mutation::remove(key);
  std::string bytes(mutation.record_bytes(), '\0');
  encode_record(mutation, version.offset, bytes.data());
  return bytes;
}

// Mostly a short value; some are long, and a few lie outside their page.
inline std::string random_value(std::mt19937_64& random) {
  const uint64_t dice = random() % 32;
  const uint64_t bytes = random() % (dice == 0 ? 6000 : dice < 4 ? 1100 : 80);
  return std::string(bytes, static_cast<char>(random()));
}

class Store {
 public:
  std::shared_ptr<Run> write(const Versions& versions, uint64_t first, uint64_t end) {
    const uint64_t id = next_id_++;
    RunWriter writer(*dir, id, {});
    const Status written = writer.write([&](const auto& visit) {
      for (const auto& [key, version] : versions) {
        const std::string bytes = encode_version(key, version);
        KYRO_TRY(visit(load<RecordHeader>(bytes.data()), bytes));
      }
      return Status();
    });
    REQUIRE(written.ok());
    const auto meta = writer.finish(first, end);
    INFO(meta.status().to_string());
    REQUIRE(meta.ok());
    return open(*meta);
  }
  std::shared_ptr<Run> open(const RunMeta& meta) {
    bool rebuilt = false;
    auto run = Run::open(*dir, meta, {}, &rebuilt);
    INFO(run.status().to_string());
    REQUIRE(run.ok());
    REQUIRE(!rebuilt);
    REQUIRE(verify_records(**run).ok());
    REQUIRE(verify_index(**run).ok());
    return *run;
  }
  Status merge(const MergeInput& input, MergeOutput* output) {
    return merge_to_run(*dir, next_id_++, {}, input, {}, output);
  }

  FaultFs fs;
  std::unique_ptr<Directory> dir = fs.open_now("data");

 private:
  uint64_t next_id_ = 1;
};

// Several runs, frozen deltas and an active one with random versions of few keys, both ends of the
// range among them, and every version that was ever written.
class Layers {
 public:
  Layers(std::mt19937_64& random, size_t runs, size_t frozen) {
    for (size_t i = 0; i < runs; ++i) {
      Versions versions;
      const uint64_t first = next_offset_;
      for (uint64_t n = 1 + random() % 300; n > 0; --n) {
        auto [key, version] = write_one(random);
        versions[key] = std::move(version);
      }
      view.runs.insert(view.runs.begin(), store.write(versions, first, next_offset_));
    }
    view.contained_offset = next_offset_;
    for (size_t i = 0; i <= frozen; ++i) {
      auto delta = std::make_shared<Delta>(next_offset_);
      for (uint64_t n = random() % 200; n > 0; --n) {
        const auto [key, version] = write_one(random);
        const std::string bytes = encode_version(key, version);
        delta->insert(load<RecordHeader>(bytes.data()), bytes);
      }
      if (view.active != nullptr) view.frozen.insert(view.frozen.begin(), view.active);
      view.active = delta;
    }
  }

  [[nodiscard]] Moment moment(uint64_t bound, uint64_t now_secs) const {
    return {&view, bound, now_secs, nullptr};
  }
  [[nodiscard]] uint64_t random_bound(std::mt19937_64& random) const {
    return view.contained_offset + random() % (next_offset_ - view.contained_offset + 1);
  }
  // What a reader sees below `bound` at `now_secs`.
  [[nodiscard]] Versions live(uint64_t bound, uint64_t now_secs) const {
    Versions out;
    for (const auto& [key, versions] : history_) {
      auto newest = versions.lower_bound(bound);
      if (newest == versions.begin()) continue;
      const Version& version = std::prev(newest)->second;
      const bool expired = version.expiry_secs != 0 && version.expiry_secs <= now_secs;
      if (version.is_put && !expired) out[key] = version;
    }
    return out;
  }

  static uint64_t random_key(std::mt19937_64& random) {
    switch (random() % 3) {
      case 0:
        return random() % 60;
      case 1:
        return ~uint64_t{0} - random() % 60;
      default:
        return (random() % 60) << 58 | random() % 4;
    }
  }

  Store store;
  View view;

 private:
  std::pair<uint64_t, Version> write_one(std::mt19937_64& random) {
    Version version;
    version.is_put = random() % 3 != 0;
    if (version.is_put) version.value = random_value(random);
    if (version.is_put && random() % 4 == 0) version.expiry_secs = 1 + random() % 100;
    version.offset = next_offset_++;
    const uint64_t key = random_key(random);
    history_[key][version.offset] = version;
    return {key, version};
  }

  uint64_t next_offset_ = 0;
  std::map<uint64_t, std::map<uint64_t, Version>> history_;  // by key, then offset
};

}  // namespace kyro::test
