// What the engine benchmark does with an engine: the operations of each row.
//
// Streams of keys are drawn beforehand, so that a zipfian draw (slower than some lookups) is not
// measured. Every value read is checked against its key; a wrong one ends the benchmark.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/datasets.h"
#include "bench/kv.h"
#include "bench/zipf.h"

namespace kyro::bench {

inline constexpr double kZipfTheta = 0.99;

struct Workspace {
  std::span<const uint64_t> keys;  // of the base, ascending
  size_t value_bytes = 64;
};

using Stream = std::vector<uint64_t>;

// `count` keys of the base: uniform, or zipfian with the popular ones scattered over the key space.
inline Stream draw_keys(const Workspace& space, size_t count, bool zipfian, uint64_t seed) {
  Random random(seed);
  const Zipf zipf(space.keys.size(), kZipfTheta);
  const size_t n = space.keys.size();
  Stream out(count);
  for (uint64_t& key : out) {
    key = space.keys[zipfian ? Zipf::scatter(zipf.rank(random), n) : random.below(n)];
  }
  return out;
}

inline void require_value(const Kv& kv, uint64_t key, const std::string& value, size_t bytes) {
  if (!is_value_of(key, value, bytes)) give_up(kv.name(), "a wrong value for a key");
}

// Reads keys of the stream; all of them are there.
class GetOp {
 public:
  GetOp(Kv& kv, const Workspace& space, const Stream& stream)
      : kv_(kv), stream_(stream), bytes_(space.value_bytes) {}
  void operator()(uint64_t i) {
    const uint64_t key = stream_[i % stream_.size()];
    if (!kv_.get(key, &value_)) give_up(kv_.name(), "a key is missing");
    require_value(kv_, key, value_, bytes_);
  }

 private:
  Kv& kv_;
  const Stream& stream_;
  const size_t bytes_;
  std::string value_;
};

// Reads keys that are not there (as good as random ones; the chance of a hit is nil).
class MissOp {
 public:
  explicit MissOp(Kv& kv) : kv_(kv) {}
  void operator()(uint64_t i) {
    if (kv_.get(mix(~i), &value_)) give_up(kv_.name(), "a key that nobody put");
  }

 private:
  Kv& kv_;
  std::string value_;
};

class MultiGetOp {
 public:
  MultiGetOp(Kv& kv, const Workspace& space, const Stream& stream, size_t batch)
      : kv_(kv), stream_(stream), bytes_(space.value_bytes), values_(batch) {}
  void operator()(uint64_t i) {
    const size_t batches = stream_.size() / values_.size();
    const auto keys = std::span(stream_).subspan(i % batches * values_.size(), values_.size());
    if (kv_.multi_get(keys, values_) != keys.size()) give_up(kv_.name(), "a key is missing");
    for (size_t k = 0; k < keys.size(); ++k) require_value(kv_, keys[k], values_[k], bytes_);
  }

 private:
  Kv& kv_;
  const Stream& stream_;
  const size_t bytes_;
  std::vector<std::string> values_;
};

class ScanOp {
 public:
  ScanOp(Kv& kv, const Workspace& space, const Stream& stream, size_t limit)
      : kv_(kv), stream_(stream), bytes_(space.value_bytes), limit_(limit) {}
  void operator()(uint64_t i) {
    const uint64_t key = stream_[i % stream_.size()];
    values_.clear();
    const size_t found = kv_.scan(key, limit_, &values_);
    if (found == 0 || values_.size() != found * bytes_ ||
        !is_value_of(key, std::string_view(values_).substr(0, bytes_), bytes_)) {
      give_up(kv_.name(), "a scan did not start where it was to");
    }
  }

 private:
  Kv& kv_;
  const Stream& stream_;
  const size_t bytes_;
  const size_t limit_;
  std::string values_;
};

// Overwrites keys of the stream, each thread from another place on.
class PutOp {
 public:
  PutOp(Kv& kv, const Workspace& space, const Stream& stream, size_t thread)
      : kv_(kv), stream_(stream), from_(thread * 7919), value_(space.value_bytes, '\0') {}
  void operator()(uint64_t i) {
    const uint64_t key = stream_[(from_ + i) % stream_.size()];
    fill_value(key, &value_);
    kv_.put(key, value_);
  }

 private:
  Kv& kv_;
  const Stream& stream_;
  const size_t from_;
  std::string value_;
};

class PutBatchOp {
 public:
  PutBatchOp(Kv& kv, const Workspace& space, const Stream& stream, size_t batch)
      : kv_(kv), stream_(stream), values_(batch, std::string(space.value_bytes, '\0')) {}
  void operator()(uint64_t i) {
    const size_t batches = stream_.size() / values_.size();
    const auto keys = std::span(stream_).subspan(i % batches * values_.size(), values_.size());
    for (size_t k = 0; k < keys.size(); ++k) fill_value(keys[k], &values_[k]);
    kv_.put_batch(keys, values_);
  }

 private:
  Kv& kv_;
  const Stream& stream_;
  std::vector<std::string> values_;
};

// The workloads of YCSB (B. F. Cooper et al., 2010):
//   A  half reads, half updates        D  95 % reads of what was inserted lately, 5 % inserts
//   B  95 % reads, 5 % updates         E  95 % scans of 1 to 100 records, 5 % inserts
//   C  reads                           F  half reads, half read-modify-writes
class YcsbOp {
 public:
  // Keys that the threads of one workload have inserted.
  struct Inserted {
    std::mutex mutex;
    std::vector<uint64_t> keys;
    std::atomic<size_t> count{0};
  };

  YcsbOp(Kv& kv, const Workspace& space, const Stream& stream, char workload, bool zipfian,
         size_t worker, Inserted& inserted)
      : kv_(kv),
        stream_(stream),
        bytes_(space.value_bytes),
        workload_(workload),
        zipfian_(zipfian),
        from_(worker * 7919),
        random_(1000 + worker),
        recent_(space.keys.size(), kZipfTheta),
        inserted_(inserted),
        value_(space.value_bytes, '\0') {}

  void operator()(uint64_t i) {
    const uint64_t key = stream_[(from_ + i) % stream_.size()];
    const uint64_t dice = random_.below(100);
    switch (workload_) {
      case 'a':
        return dice < 50 ? read(key) : update(key);
      case 'b':
        return dice < 95 ? read(key) : update(key);
      case 'd':
        return dice < 95 ? read(recent(key)) : insert();
      case 'e':
        return dice < 95 ? scan(key) : insert();
      case 'f':
        read(key);
        if (dice >= 50) update(key);
        return;
      default:
        return read(key);
    }
  }

 private:
  void read(uint64_t key) {
    if (!kv_.get(key, &value_)) give_up(kv_.name(), "a key is missing");
    require_value(kv_, key, value_, bytes_);
  }
  void update(uint64_t key) {
    value_.resize(bytes_);
    fill_value(key, &value_);
    kv_.put(key, value_);
  }
  void insert() {
    const uint64_t key = random_.next();
    update(key);
    const std::lock_guard lock(inserted_.mutex);
    inserted_.keys.push_back(key);
    inserted_.count.store(inserted_.keys.size(), std::memory_order_release);
  }
  void scan(uint64_t key) {
    value_.clear();
    if (kv_.scan(key, 1 + random_.below(100), &value_) == 0) give_up(kv_.name(), "an empty scan");
    value_.resize(bytes_);
  }
  // The newest insertions are the likeliest; after them comes the base.
  uint64_t recent(uint64_t base_key) {
    const size_t count = inserted_.count.load(std::memory_order_acquire);
    const uint64_t age = zipfian_ ? recent_.rank(random_) : random_.below(count + stream_.size());
    if (age >= count) return base_key;
    const std::lock_guard lock(inserted_.mutex);
    return inserted_.keys[count - 1 - age];
  }

  Kv& kv_;
  const Stream& stream_;
  const size_t bytes_;
  const char workload_;
  const bool zipfian_;
  const size_t from_;
  Random random_;
  const Zipf recent_;
  Inserted& inserted_;
  std::string value_;
};

}  // namespace kyro::bench
