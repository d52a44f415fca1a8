// Builds an index file from sorted entries: build_rmi().
//
// The input is read front to back through a span (the engine maps a spooled file), never copied.
// Slots leave through the sink as they are placed; private memory holds one block of slots and the
// model words. Layout of the output: rmi_file.h.
//
// Every bucket is tried as a leaf: dense (as many slots as keys), then with gaps. A try places each
// key at the first slot of its predicted cache line (four slots) or the next free one, and fails if
// a key would land more than the bound right of it, or leave a longer run of gaps than the bound.
// Keys may spill beyond the slots they are predicted in, because the next bucket begins where this
// one's keys end. What fits no leaf becomes an inner node whose fan-out is chosen by testing 4 to
// 1024 keys per child: the one with the least cost, where words and keys that still fit no leaf
// cost. Keys that fill only a small part of their bucket (outliers elsewhere stretched it) get a
// zoom: a model over just their range. Below kRmiDepthMax levels a dense leaf with binary search
// ends the matter.
//
// Outliers, a few keys far from all others, are left out of the root's range if that makes the
// rest cheaper, and get models of their own: see choose_root_range().
//
// Thread rule: a build is one thread's. Ownership: borrows the input and the sink for the call.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kyro/base/byte_sink.h"
#include "kyro/base/crc32c.h"
#include "kyro/base/status.h"
#include "kyro/index/rmi_file.h"
#include "kyro/index/rmi_model.h"
#include "kyro/index/rmi_options.h"
#include "kyro/index/rmi_slot_writer.h"

namespace kyro {

namespace rmi_builder_detail {

class Builder {
 public:
  Builder(std::span<const IndexEntry> input, const RmiOptions& options, ByteSink& sink)
      : input_(input),
        target_leaf_(options.target_leaf),
        displacement_bound_(static_cast<uint64_t>(kDisplacement * options.eps_mult)),
        small_displacement_bound_(static_cast<uint64_t>(kSmallDisplacement * options.eps_mult)),
        sink_(sink),
        slots_(sink) {}

  Result<RmiBuildStats> run();

 private:
  static constexpr double kDisplacement = 14;         // with the line's own slots: four lines
  static constexpr double kSmallDisplacement = 11;    // in small leaves: three
  static constexpr uint64_t kDenseDisplacement = 7;   // what a leaf without gaps may cost
  static constexpr uint64_t kGapRun = 32;             // longest run of gaps at either end or inside
  static constexpr uint64_t kSampleCount = 128;       // keys whose buckets a fan-out is tested with
  static constexpr uint64_t kZoomBelow = 1ull << 61;  // fraction of its bucket that keys must fill
  static constexpr uint64_t kFanoutMin = 4;  // and up to four times that, if the keys are many
  static constexpr uint64_t kFanoutMax = 1ull << 23;
  // What is tried in turn. Small leaves are many where keys are not smooth, and there the model
  // takes its share of the bytes as well.
  static constexpr std::array<uint64_t, 3> kLeafFill = {74, 70, 66};  // percent
  static constexpr std::array<uint64_t, 3> kSmallLeafFill = {84, 76, 70};
  static constexpr uint64_t kSmallLeaf = 192;
  static constexpr uint64_t kCostUnit = 1024;
  static constexpr uint64_t kWordCost = 2 * 8 * kCostUnit;  // twice its bytes: it costs cache too
  static constexpr uint64_t kMisfitCost = 10 * kCostUnit;   // a level more, and words of its own
  static constexpr uint64_t kOutlierCost = 4 * kMisfitCost;
  static constexpr int kOutliersShift = 7;  // at most a 128th of the keys at either end
  static constexpr uint64_t kNoFit = ~uint64_t{0};

  // The first slot of a predicted slot's cache line.
  [[nodiscard]] static uint64_t home_of(uint64_t slot) { return slot & ~uint64_t{3}; }
  [[nodiscard]] bool fits(const Fraction& f, size_t from, size_t to, uint64_t width,
                          uint64_t bound) const;
  [[nodiscard]] uint64_t fitting_width(const Fraction& f, size_t from, size_t to) const;
  [[nodiscard]] uint64_t cost_of(const NodeModel& model, size_t from, size_t to) const;
  [[nodiscard]] size_t bucket_begin(const NodeModel& model, size_t from, size_t at) const;
  [[nodiscard]] size_t bucket_end(const NodeModel& model, size_t at, size_t to) const;
  [[nodiscard]] NodeModel choose_model(const Fraction& f, size_t from, size_t to, bool zoom) const;

  Status build_children(const NodeModel& model, uint64_t base, size_t from, size_t to,
                        uint32_t depth);
  Status build_bucket(const Fraction& f, uint64_t index, size_t from, size_t to, uint32_t depth);
  Status build_node(const Fraction& f, uint64_t index, size_t from, size_t to, bool zoom,
                    uint32_t depth);
  Status build_outliers(uint64_t index, size_t from, size_t to);
  [[nodiscard]] NodeModel root_model(size_t from, size_t to) const;
  [[nodiscard]] uint64_t root_cost(size_t from, size_t to) const;
  void choose_root_range(size_t* from, size_t* to) const;
  [[nodiscard]] Status check_order(size_t from, size_t to) const;
  Status place_leaf(const Fraction& f, uint64_t index, size_t from, size_t to, uint64_t width);
  Status place_search_leaf(uint64_t index, size_t from, size_t to);
  Status emit(uint64_t slot, size_t at);
  Status finish(const NodeModel& root);
  Status write_header();

  std::span<const IndexEntry> input_;
  uint64_t target_leaf_;
  uint64_t displacement_bound_;
  uint64_t small_displacement_bound_;
  ByteSink& sink_;
  SlotWriter slots_;
  std::vector<uint64_t> words_;
  std::vector<RmiZoom> zooms_;
  uint64_t next_slot_ = 0;  // where the next bucket's slots begin
  RmiHeader header_{};
  RmiTrailer trailer_{};
};

// ---- leaves ----

inline bool Builder::fits(const Fraction& f, size_t from, size_t to, uint64_t width,
                          uint64_t bound) const {
  const uint64_t start = next_slot_;
  uint64_t next = start;
  for (size_t i = from; i < to; ++i) {
    const uint64_t home = home_of(start + rmi_multiply(f.of(input_[i].key), width).high);
    if (home >= next) {
      if (home - next > kGapRun) return false;
      next = home;
    } else if (next - home > bound) {
      return false;
    }
    ++next;
  }
  return next >= start + width || start + width - next <= kGapRun;
}

// The smallest tried number of slots that holds the keys within the bounds, or kNoFit.
inline uint64_t Builder::fitting_width(const Fraction& f, size_t from, size_t to) const {
  const uint64_t count = to - from;
  if (count > kRmiWidthMax / 2) return kNoFit;
  if (fits(f, from, to, count, kDenseDisplacement)) return count;
  const bool small = count < kSmallLeaf;
  const uint64_t bound = small ? small_displacement_bound_ : displacement_bound_;
  for (const uint64_t fill : small ? kSmallLeafFill : kLeafFill) {
    const uint64_t width = (count * 100 + fill - 1) / fill;
    if (fits(f, from, to, width, bound)) return width;
  }
  return kNoFit;
}

// The gaps before `slot` repeat the entry that comes into it.
inline Status Builder::emit(uint64_t slot, size_t at) {
  const uint64_t gaps = slot - slots_.written();
  trailer_.gap_run_max = std::max(trailer_.gap_run_max, static_cast<uint32_t>(gaps));
  trailer_.position_max = std::max(trailer_.position_max, input_[at].position);
  return slots_.fill_to(slot + 1, input_[at]);
}

inline Status Builder::place_leaf(const Fraction& f, uint64_t index, size_t from, size_t to,
                                  uint64_t width) {
  words_[index] = make_rmi_word(RmiWordType::kLeaf, next_slot_, width);
  const uint64_t start = next_slot_;
  uint64_t next = start;
  uint64_t displacement = 0;
  for (size_t i = from; i < to; ++i) {
    const uint64_t home = home_of(start + rmi_multiply(f.of(input_[i].key), width).high);
    next = std::max(next, home);
    displacement = std::max(displacement, next - home);
    KYRO_TRY(emit(next, i));
    ++next;
  }
  trailer_.displacement_max =
      std::max(trailer_.displacement_max, static_cast<uint32_t>(displacement));
  ++trailer_.leaf_count;
  next_slot_ = std::max(next, start + width);
  return Status();
}

inline Status Builder::place_search_leaf(uint64_t index, size_t from, size_t to) {
  if (to - from > kRmiWidthMax) return Status(Code::kUnsupported, "index: keys defeat the model");
  words_[index] = make_rmi_word(RmiWordType::kSearch, next_slot_, to - from);
  for (size_t i = from; i < to; ++i) KYRO_TRY(emit(next_slot_ + (i - from), i));
  ++trailer_.leaf_count;
  next_slot_ += to - from;
  return Status();
}

// ---- nodes ----

// First and one past the last key of the bucket that holds input_[at], by galloping from it.
inline size_t Builder::bucket_begin(const NodeModel& model, size_t from, size_t at) const {
  const uint64_t child = model.child_of(input_[at].key);
  size_t step = 1;
  size_t high = at;
  while (high - from >= step && model.child_of(input_[high - step].key) == child) {
    high -= step;
    step *= 2;
  }
  size_t low = high - from >= step ? high - step + 1 : from;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (model.child_of(input_[middle].key) == child) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

inline size_t Builder::bucket_end(const NodeModel& model, size_t at, size_t to) const {
  const uint64_t child = model.child_of(input_[at].key);
  size_t step = 1;
  size_t low = at + 1;
  while (to - low >= step && model.child_of(input_[low + step - 1].key) == child) {
    low += step;
    step *= 2;
  }
  size_t high = to - low >= step ? low + step - 1 : to;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (model.child_of(input_[middle].key) == child) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// What a key costs under `model`, in 1024ths of a byte: its share of the node's words, and a fine
// if its bucket fits no leaf. Judged by evenly spaced keys, each speaking
// for its bucket, so that the time does not grow with the range.
inline uint64_t Builder::cost_of(const NodeModel& model, size_t from, size_t to) const {
  const size_t count = to - from;
  const size_t samples = std::min<size_t>(count, kSampleCount);
  uint64_t sum = 0;
  uint64_t judged = 0;
  size_t judged_to = from;  // keys before this belong to the bucket judged last
  for (size_t i = 0; i < samples; ++i) {
    const size_t at = from + i * count / samples;
    if (at >= judged_to) {
      const size_t begin = bucket_begin(model, from, at);
      judged_to = bucket_end(model, at, to);
      const uint64_t width = fitting_width(model.child_fraction(), begin, judged_to);
      judged = width == kNoFit ? kMisfitCost : 0;
    }
    sum += judged;
  }
  return sum / samples + model.fanout * kWordCost / count;
}

inline NodeModel Builder::choose_model(const Fraction& f, size_t from, size_t to, bool zoom) const {
  const uint64_t count = to - from;
  NodeModel best{};
  uint64_t best_cost = ~uint64_t{0};
  // Every level must divide the range well, or hostile keys would make long chains of nodes.
  const uint64_t fanout_min = zoom ? 1 : std::clamp(count / 8, kFanoutMin, 4 * kFanoutMin);
  uint64_t tried = 0;
  for (const uint64_t per_child : {1024u, 256u, 64u, 32u, 16u, 8u, 4u}) {
    const uint64_t fanout = std::clamp((count + per_child - 1) / per_child, fanout_min, kFanoutMax);
    if (fanout == tried) continue;
    tried = fanout;
    const NodeModel model = zoom ? range_model(input_[from].key, input_[to - 1].key, fanout)
                                 : NodeModel{f, fanout, true};
    const uint64_t cost = cost_of(model, from, to);
    if (cost < best_cost) {
      best_cost = cost;
      best = model;
    }
  }
  return best;
}

inline Status Builder::build_children(const NodeModel& model, uint64_t base, size_t from, size_t to,
                                      uint32_t depth) {
  ++trailer_.node_count;
  trailer_.depth = std::max(trailer_.depth, depth);
  const Fraction fraction = model.child_fraction();
  size_t at = from;
  for (uint64_t child = 0; child < model.fanout; ++child) {
    const size_t begin = at;
    while (at < to && model.child_of(input_[at].key) == child) ++at;
    KYRO_TRY(build_bucket(fraction, base + child, begin, at, depth));
  }
  if (at != to) return Status(Code::kInvalid, "index: keys are not strictly ascending");
  return Status();
}

inline Status Builder::build_bucket(const Fraction& f, uint64_t index, size_t from, size_t to,
                                    uint32_t depth) {
  if (depth == 0) KYRO_TRY(check_order(from, to));
  if (from == to) {
    words_[index] = make_rmi_word(RmiWordType::kLeaf, next_slot_, 0);
    return Status();
  }
  const uint64_t width = fitting_width(f, from, to);
  if (width != kNoFit) return place_leaf(f, index, from, to, width);
  if (depth == kRmiDepthMax) return place_search_leaf(index, from, to);
  const bool zoom = f.of(input_[to - 1].key) - f.of(input_[from].key) < kZoomBelow;
  return build_node(f, index, from, to, zoom, depth + 1);
}

inline Status Builder::build_node(const Fraction& f, uint64_t index, size_t from, size_t to,
                                  bool zoom, uint32_t depth) {
  const NodeModel model = choose_model(f, from, to, zoom);
  const uint64_t base = words_.size();
  const uint64_t inner = make_rmi_word(RmiWordType::kInner, base, model.fanout);
  words_.resize(base + model.fanout);
  if (zoom) {
    words_[index] = make_rmi_word(RmiWordType::kZoom, zooms_.size(), 0);
    zooms_.push_back({model.fraction.low_key, input_[to - 1].key - model.fraction.low_key,
                      model.fraction.multiplier, inner});
  } else {
    words_[index] = inner;
  }
  return build_children(model, base, from, to, depth);
}

// ---- the root ----

inline Status Builder::check_order(size_t from, size_t to) const {
  for (size_t i = std::max<size_t>(from, 1); i < to; ++i) {
    if (input_[i - 1].key >= input_[i].key) {
      return Status(Code::kInvalid, "index: keys are not strictly ascending");
    }
  }
  return Status();
}

inline NodeModel Builder::root_model(size_t from, size_t to) const {
  const uint64_t fanout =
      std::min((to - from + target_leaf_ - 1) / target_leaf_, uint64_t{1} << 32);
  return range_model(input_[from].key, input_[to - 1].key, fanout);
}

// As cost_of, for all keys, if those of [from, to) are the root's and the others outliers.
inline uint64_t Builder::root_cost(size_t from, size_t to) const {
  const size_t outliers = input_.size() - (to - from);
  return cost_of(root_model(from, to), from, to) + outliers * kOutlierCost / input_.size();
}

// A few keys far from all others stretch the root's range until its buckets are too coarse for the
// rest. Which keys at either end are better left out of it is tried: none, those beyond the widest
// gap of the outermost, and fixed shares.
inline void Builder::choose_root_range(size_t* from, size_t* to) const {
  const size_t n = input_.size();
  const size_t outermost = n >> kOutliersShift;
  uint64_t best = root_cost(*from, *to);
  for (const bool above : {true, false}) {
    size_t after_gap = 0;
    uint64_t widest = 0;
    for (size_t i = 1; i <= outermost; ++i) {
      const size_t at = above ? n - i : i;
      const uint64_t gap = input_[at].key - input_[at - 1].key;
      if (gap > widest) {
        widest = gap;
        after_gap = i;
      }
    }
    for (const size_t left_out : {after_gap, n >> 13, n >> 10, outermost}) {
      const size_t new_from = above ? *from : left_out;
      const size_t new_to = above ? n - left_out : *to;
      if (left_out == 0 || input_[new_from].key > input_[new_to - 1].key) continue;
      const uint64_t cost = root_cost(new_from, new_to);
      if (cost >= best) continue;
      best = cost;
      *from = new_from;
      *to = new_to;
    }
  }
}

inline Status Builder::build_outliers(uint64_t index, size_t from, size_t to) {
  words_[index] = make_rmi_word(RmiWordType::kLeaf, next_slot_, 0);
  if (from == to) return Status();
  KYRO_TRY(check_order(from, to));
  return build_node({0, 0}, index, from, to, true, 1);
}

// ---- the file ----

inline Status Builder::write_header() {
  header_.magic = kRmiHeaderMagic;
  header_.version = kRmiVersion;
  header_.header_bytes = sizeof(RmiHeader);
  header_.entry_count = input_.size();
  header_.min_key = input_.empty() ? ~uint64_t{0} : input_.front().key;
  header_.max_key = input_.empty() ? 0 : input_.back().key;
  header_.crc = crc32c(&header_, offsetof(RmiHeader, crc));
  return sink_.append(&header_, sizeof header_);
}

inline Status Builder::finish(const NodeModel& root) {
  RmiTrailer& t = trailer_;
  t.slots_used = slots_.written();
  if (!input_.empty()) {
    const uint64_t end = std::max(next_slot_, t.slots_used);
    KYRO_TRY(slots_.fill_to(end + rmi_scan_slots(t.displacement_max), input_.back()));
  }
  KYRO_TRY(slots_.flush());
  std::vector<uint32_t>& crcs = slots_.crcs();
  t.block_count = crcs.size();
  if (crcs.size() % 2 != 0) crcs.push_back(0);
  t.entry_count = header_.entry_count;
  t.min_key = header_.min_key;
  t.max_key = header_.max_key;
  t.slot_count = slots_.written();
  t.word_count = words_.size();
  t.zoom_count = zooms_.size();
  t.slots_offset = sizeof(RmiHeader);
  t.words_offset = t.slots_offset + t.slot_count * sizeof(IndexEntry);
  t.zooms_offset = t.words_offset + t.word_count * 8;
  t.block_crcs_offset = t.zooms_offset + t.zoom_count * sizeof(RmiZoom);
  t.root_scale = root.fraction.multiplier;
  t.root_fanout = root.fanout;
  t.version = kRmiVersion;
  t.magic = kRmiTrailerMagic;
  t.model_crc = crc32c(words_.data(), words_.size() * 8);
  t.model_crc = crc32c(zooms_.data(), zooms_.size() * sizeof(RmiZoom), t.model_crc);
  t.model_crc = crc32c(crcs.data(), crcs.size() * 4, t.model_crc);
  t.crc = crc32c(&t, offsetof(RmiTrailer, crc), crc32c(&header_, sizeof header_));
  KYRO_TRY(sink_.append(words_.data(), words_.size() * 8));
  KYRO_TRY(sink_.append(zooms_.data(), zooms_.size() * sizeof(RmiZoom)));
  KYRO_TRY(sink_.append(crcs.data(), crcs.size() * 4));
  return sink_.append(&t, sizeof t);
}

inline Result<RmiBuildStats> Builder::run() {
  KYRO_TRY(write_header());
  NodeModel root{{0, 0}, 0, false};
  if (!input_.empty()) {
    size_t from = 0;
    size_t to = input_.size();
    if (input_.front().key > input_.back().key) return check_order(0, to);
    choose_root_range(&from, &to);
    root = root_model(from, to);
    words_.resize(root.fanout + 2);
    KYRO_TRY(build_outliers(root.fanout, 0, from));
    KYRO_TRY(build_children(root, 0, from, to, 0));
    KYRO_TRY(build_outliers(root.fanout + 1, to, input_.size()));
    trailer_.root_low = input_[from].key;
    trailer_.root_span = input_[to - 1].key - input_[from].key;
  }
  KYRO_TRY(finish(root));
  RmiBuildStats stats;
  stats.entries = trailer_.entry_count;
  stats.slots = trailer_.slot_count;
  stats.leaves = trailer_.leaf_count;
  stats.nodes = trailer_.node_count;
  stats.model_bytes = words_.size() * 8 + zooms_.size() * sizeof(RmiZoom);
  stats.file_bytes =
      trailer_.block_crcs_offset + rmi_block_crcs_bytes(trailer_.block_count) + sizeof(RmiTrailer);
  stats.depth = trailer_.depth + 1;
  stats.epsilon_max = trailer_.displacement_max;
  return stats;
}

}  // namespace rmi_builder_detail

// Writes the index of `entries` (keys strictly ascending, positions opaque) to `sink`. Memory: one
// block of slots and the model; time: a few linear passes over the entries.
// Errors: kInvalid for options out of range or keys out of order, and whatever the sink reports.
[[nodiscard]] inline Result<RmiBuildStats> build_rmi(std::span<const IndexEntry> entries,
                                                     const RmiOptions& options, ByteSink& sink) {
  KYRO_TRY(options.validate());
  if (entries.size() > kRmiSlotCountMax / 4) return Status(Code::kTooLarge, "index: too many keys");
  return rmi_builder_detail::Builder(entries, options, sink).run();
}

}  // namespace kyro
