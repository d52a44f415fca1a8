// The textbook recursive model index (Kraska et al. 2018): two layers of linear models in floating
// point over a dense sorted array, each second-layer model with its error bounds, and a binary
// search between them. A baseline for the benchmark, not product code.
//
// Thread rule: immutable after build(). Ownership: borrows the entries.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kyro/index/rmi_file.h"

namespace kyro::bench {

class ClassicRmi {
 public:
  static constexpr size_t kKeysPerLeaf = 256;

  void build(std::span<const IndexEntry> entries) {
    entries_ = entries;
    const size_t leaf_count = std::max<size_t>(1, entries.size() / kKeysPerLeaf);
    leaves_.assign(leaf_count, Leaf{});
    root_ = fit(0, entries.size());
    root_.slope *= static_cast<double>(leaf_count) / static_cast<double>(entries.size());
    root_.intercept *= static_cast<double>(leaf_count) / static_cast<double>(entries.size());
    size_t from = 0;
    for (size_t leaf = 0; leaf < leaf_count; ++leaf) {
      size_t to = from;
      while (to < entries.size() && leaf_of(entries[to].key) <= leaf) ++to;
      build_leaf(leaf, from, to);
      from = to;
    }
  }

  [[nodiscard]] const IndexEntry* find(uint64_t key) const {
    const Leaf& leaf = leaves_[leaf_of(key)];
    const double predicted = leaf.model.at(key);
    const size_t n = entries_.size();
    const size_t low = clamp_slot(predicted - leaf.error_left, n);
    const size_t high = std::min(n, clamp_slot(predicted + leaf.error_right, n) + 1);
    const auto at = std::lower_bound(
        entries_.begin() + static_cast<ptrdiff_t>(low),
        entries_.begin() + static_cast<ptrdiff_t>(high), key,
        [](const IndexEntry& entry, uint64_t wanted) { return entry.key < wanted; });
    return at != entries_.end() && at->key == key ? &*at : nullptr;
  }

  [[nodiscard]] size_t model_bytes() const { return leaves_.size() * sizeof(Leaf); }

 private:
  struct Line {
    double slope = 0;
    double intercept = 0;
    double origin = 0;  // keys are taken relative to it, for the precision of doubles
    [[nodiscard]] double at(uint64_t key) const {
      return (static_cast<double>(key) - origin) * slope + intercept;
    }
  };
  struct Leaf {
    Line model;
    float error_left = 0;
    float error_right = 0;
  };

  [[nodiscard]] static size_t clamp_slot(double slot, size_t n) {
    if (!(slot > 0)) return 0;
    return slot >= static_cast<double>(n) ? n : static_cast<size_t>(slot);
  }

  [[nodiscard]] size_t leaf_of(uint64_t key) const {
    return std::min(clamp_slot(root_.at(key), leaves_.size()), leaves_.size() - 1);
  }

  // Least squares of slot number over key.
  [[nodiscard]] Line fit(size_t from, size_t to) const {
    Line line;
    if (from == to) return line;
    line.origin = static_cast<double>(entries_[from].key);
    const auto count = static_cast<double>(to - from);
    double mean_x = 0;
    const double mean_y = static_cast<double>(from) + (count - 1) / 2;
    for (size_t i = from; i < to; ++i) {
      mean_x += (static_cast<double>(entries_[i].key) - line.origin) / count;
    }
    double xx = 0;
    double xy = 0;
    for (size_t i = from; i < to; ++i) {
      const double dx = static_cast<double>(entries_[i].key) - line.origin - mean_x;
      xx += dx * dx;
      xy += dx * (static_cast<double>(i) - mean_y);
    }
    line.slope = xx > 0 ? xy / xx : 0;
    line.intercept = mean_y - line.slope * mean_x;
    return line;
  }

  void build_leaf(size_t index, size_t from, size_t to) {
    Leaf& leaf = leaves_[index];
    leaf.model = fit(from, to);
    if (from == to) leaf.model.intercept = static_cast<double>(from);
    double left = 0;
    double right = 0;
    for (size_t i = from; i < to; ++i) {
      const double error = static_cast<double>(i) - leaf.model.at(entries_[i].key);
      left = std::max(left, -error);
      right = std::max(right, error);
    }
    leaf.error_left = static_cast<float>(left * 1.0001 + 2);
    leaf.error_right = static_cast<float>(right * 1.0001 + 2);
  }

  std::span<const IndexEntry> entries_;
  Line root_;
  std::vector<Leaf> leaves_;
};

}  // namespace kyro::bench
