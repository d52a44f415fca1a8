// The structures of the index benchmark behind one interface: build, measure, free.
//
// Only whole passes are virtual; the lookups inside a pass are inlined. Each answers the position
// of a key, or kAbsent. Thread rule: one thread. Ownership: each owns what it builds.
#pragma once

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#if __has_include(<absl/container/btree_map.h>)
#include <absl/container/btree_map.h>
#include <absl/container/flat_hash_map.h>
#define KYRO_BENCH_HAS_ABSL 1
#else
#define KYRO_BENCH_HAS_ABSL 0
#endif

#include "bench/datasets.h"
#include "bench/rmi_classic.h"
#include "kyro/base/byte_sink.h"
#include "kyro/index/huge_bytes.h"
#include "kyro/index/rmi.h"
#include "kyro/index/rmi_builder.h"

namespace kyro::bench {

inline constexpr uint64_t kAbsent = ~uint64_t{0};
inline constexpr size_t kBatchKeys = 256;

enum class Kind { kIndependent, kDependent, kBatch };

struct Shape {
  uint32_t depth = 0;  // 0: not a learned index
  uint32_t epsilon_max = 0;
  double mean_probe = 0;
  size_t leaves = 0;
  size_t nodes = 0;
  double model_bytes_per_key = 0;
};

// Bytes that malloc has given out.
inline size_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

inline double seconds_now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// Where results go so that no lookup can be optimised away.
inline volatile uint64_t g_sink = 0;
// Always 0, but the compiler does not know: makes one lookup's key depend on the last one's answer.
inline volatile uint64_t g_zero = 0;

class Candidate {
 public:
  Candidate() = default;
  Candidate(const Candidate&) = delete;
  Candidate& operator=(const Candidate&) = delete;
  virtual ~Candidate() = default;
  [[nodiscard]] virtual const char* name() const = 0;
  virtual void build(const Keys& keys) = 0;
  virtual void clear() = 0;
  // Nanoseconds per lookup over `keys[0, n)`.
  virtual double pass(Kind kind, const uint64_t* keys, size_t n) = 0;
  [[nodiscard]] virtual bool has_batch() const { return false; }
  // Of a stream's lookups it gets one in so many: a structure that takes microseconds would take
  // most of the benchmark's time and needs no more for its median.
  [[nodiscard]] virtual size_t share() const { return 1; }
  // An upper bound of what it holds once built, to see which ones fit into memory together.
  [[nodiscard]] virtual size_t bytes_per_key_max() const = 0;
  // Bytes it holds, 0 = ask malloc.
  [[nodiscard]] virtual size_t own_bytes() const { return 0; }
  [[nodiscard]] virtual Shape shape(const std::vector<uint64_t>&) const { return {}; }
  [[nodiscard]] double build_s() const { return build_s_; }

 protected:
  double build_s_ = 0;
};

// The passes, over Derived::position_of(key) and Derived::batch(keys, n).
template <class Derived>
class Measured : public Candidate {
 public:
  double pass(Kind kind, const uint64_t* keys, size_t n) override {
    auto& self = static_cast<Derived&>(*this);
    uint64_t sum = 0;
    const double start = seconds_now();
    if (kind == Kind::kIndependent) {
      for (size_t i = 0; i < n; ++i) sum += self.position_of(keys[i]);
    } else if (kind == Kind::kDependent) {
      const uint64_t zero = g_zero;
      uint64_t last = 0;
      for (size_t i = 0; i < n; ++i) {
        last = self.position_of(keys[i] + (last & zero));
        sum += last;
      }
    } else {
      for (size_t i = 0; i < n; i += kBatchKeys) {
        sum += self.batch(keys + i, std::min(kBatchKeys, n - i));
      }
    }
    const double elapsed = seconds_now() - start;
    g_sink = g_sink + sum;
    return elapsed * 1e9 / static_cast<double>(n);
  }
  uint64_t batch(const uint64_t*, size_t) { return 0; }
};

inline std::vector<IndexEntry> entries_of(const Keys& keys) {
  std::vector<IndexEntry> entries(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) entries[i] = {keys[i], i * 64};
  return entries;
}

// Appends into reserved memory.
class MemorySink : public ByteSink {
 public:
  MemorySink(std::byte* to, size_t room) : to_(to), room_(room) {}
  Status append(const void* data, size_t n) override {
    if (n > room_ - size_) return Status(Code::kNoSpace);
    std::memcpy(to_ + size_, data, n);
    size_ += n;
    return Status();
  }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  std::byte* to_;
  size_t room_;
  size_t size_ = 0;
};

class RmiCandidate final : public Measured<RmiCandidate> {
 public:
  explicit RmiCandidate(bool huge) : huge_(huge) {}
  [[nodiscard]] const char* name() const override { return "rmi"; }
  void build(const Keys& keys) override {
    RmiOptions options;
    if (const char* text = std::getenv("KYRODB_RMI_TARGET_LEAF")) {
      options.target_leaf = static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
    }
    if (const char* text = std::getenv("KYRODB_RMI_EPS_MULT")) {
      options.eps_mult = std::strtod(text, nullptr);
    }
    const std::vector<IndexEntry> entries = entries_of(keys);
    const size_t room = keys.size() * 40 + (size_t{1} << 20);
    auto memory = HugeBytes::reserve(room);
    if (!memory.ok()) fail(memory.status());
    memory_ = std::move(*memory);
    if (!huge_) madvise(memory_.data(), room, MADV_NOHUGEPAGE);
    // Paid by whoever provides the memory, not by the build.
    for (size_t at = 0; at < keys.size() * 24; at += 4096) memory_.data()[at] = std::byte{1};
    MemorySink sink(memory_.data(), room);
    const double start = seconds_now();
    const auto stats = build_rmi(entries, options, sink);
    build_s_ = seconds_now() - start;
    if (!stats.ok()) fail(stats.status());
    auto index = RmiIndex::open({memory_.data(), sink.size()}, keys.size(), kAbsent);
    if (!index.ok()) fail(index.status());
    index_ = std::make_unique<RmiIndex>(std::move(*index));
    if (const Status status = index_->verify(); !status.ok()) fail(status);
  }
  void clear() override {
    index_.reset();
    memory_ = HugeBytes();
  }
  [[nodiscard]] uint64_t position_of(uint64_t key) const {
    const FindResult result = index_->find(key);
    return result.code == FindCode::kHit ? result.position : kAbsent;
  }
  [[nodiscard]] bool has_batch() const override { return true; }
  [[nodiscard]] size_t bytes_per_key_max() const override { return 24; }
  [[nodiscard]] uint64_t batch(const uint64_t* keys, size_t n) const {
    FindResult results[kBatchKeys];
    index_->find_batch(keys, n, results);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; ++i) sum += results[i].position;
    return sum;
  }
  [[nodiscard]] size_t own_bytes() const override { return index_->size_bytes(); }
  [[nodiscard]] Shape shape(const std::vector<uint64_t>& sample) const override {
    double sum = 0;
    const size_t n = std::min<size_t>(sample.size(), 200000);
    for (size_t i = 0; i < n; ++i) sum += static_cast<double>(index_->probe_length(sample[i]));
    return {index_->depth(),
            index_->epsilon_max(),
            sum / static_cast<double>(n),
            index_->leaves(),
            index_->nodes(),
            static_cast<double>(index_->model_bytes()) / static_cast<double>(index_->entries())};
  }

 private:
  [[noreturn]] static void fail(const Status& status) {
    std::fprintf(stderr, "rmi: %s\n", status.to_string().c_str());
    std::exit(1);
  }
  bool huge_;
  HugeBytes memory_;
  std::unique_ptr<RmiIndex> index_;
};

// std::map and the containers of absl; sorted ones are filled with a hint, the hash map reserves.
template <class Map>
class MapCandidate final : public Measured<MapCandidate<Map>> {
 public:
  MapCandidate(const char* name, size_t bytes_per_key_max, size_t share = 1)
      : name_(name), bytes_per_key_max_(bytes_per_key_max), share_(share) {}
  [[nodiscard]] const char* name() const override { return name_; }
  [[nodiscard]] size_t share() const override { return share_; }
  [[nodiscard]] size_t bytes_per_key_max() const override { return bytes_per_key_max_; }
  void build(const Keys& keys) override {
    const double start = seconds_now();
    if constexpr (requires { map_.reserve(keys.size()); }) {
      map_.reserve(keys.size());
      for (size_t i = 0; i < keys.size(); ++i) map_.emplace(keys[i], i * 64);
    } else {
      for (size_t i = 0; i < keys.size(); ++i) map_.emplace_hint(map_.end(), keys[i], i * 64);
    }
    this->build_s_ = seconds_now() - start;
  }
  void clear() override {
    map_ = Map();
    malloc_trim(0);
  }
  [[nodiscard]] uint64_t position_of(uint64_t key) const {
    const auto at = map_.find(key);
    return at == map_.end() ? kAbsent : at->second;
  }

 private:
  const char* name_;
  size_t bytes_per_key_max_;
  size_t share_;
  Map map_;
};

class BinaryCandidate final : public Measured<BinaryCandidate> {
 public:
  [[nodiscard]] const char* name() const override { return "binary"; }
  [[nodiscard]] size_t bytes_per_key_max() const override { return 16; }
  void build(const Keys& keys) override { entries_ = entries_of(keys); }
  void clear() override { entries_ = {}; }
  [[nodiscard]] uint64_t position_of(uint64_t key) const {
    const auto at = std::lower_bound(
        entries_.begin(), entries_.end(), key,
        [](const IndexEntry& entry, uint64_t wanted) { return entry.key < wanted; });
    return at != entries_.end() && at->key == key ? at->position : kAbsent;
  }

 private:
  std::vector<IndexEntry> entries_;
};

class ClassicCandidate final : public Measured<ClassicCandidate> {
 public:
  [[nodiscard]] const char* name() const override { return "rmi_classic"; }
  [[nodiscard]] size_t bytes_per_key_max() const override { return 18; }
  void build(const Keys& keys) override {
    entries_ = entries_of(keys);
    const double start = seconds_now();
    index_.build(entries_);
    build_s_ = seconds_now() - start;
  }
  void clear() override {
    index_ = ClassicRmi();
    entries_ = {};
  }
  [[nodiscard]] uint64_t position_of(uint64_t key) const {
    const IndexEntry* entry = index_.find(key);
    return entry == nullptr ? kAbsent : entry->position;
  }

 private:
  std::vector<IndexEntry> entries_;
  ClassicRmi index_;
};

inline std::vector<std::unique_ptr<Candidate>> make_candidates(bool huge) {
  std::vector<std::unique_ptr<Candidate>> all;
  all.push_back(std::make_unique<RmiCandidate>(huge));
#if KYRO_BENCH_HAS_ABSL
  using Btree = absl::btree_map<uint64_t, uint64_t>;
  using Hash = absl::flat_hash_map<uint64_t, uint64_t>;
  all.push_back(std::make_unique<MapCandidate<Btree>>("btree", 20));
  all.push_back(std::make_unique<MapCandidate<Hash>>("hash", 40));
#endif
  all.push_back(std::make_unique<MapCandidate<std::map<uint64_t, uint64_t>>>("map", 64, 4));
  all.push_back(std::make_unique<BinaryCandidate>());
  all.push_back(std::make_unique<ClassicCandidate>());
  return all;
}

}  // namespace kyro::bench
