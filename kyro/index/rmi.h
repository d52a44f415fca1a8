// RmiIndex: the immutable learned index over one run, looked up where it lies (mapping or memory).
//
// A root model cuts the key range into equal buckets; the high word of (key - min) × scale names
// the bucket, the low word is the exact fraction inside it. A bucket is a leaf (fraction × width =
// the predicted slot) or an inner node that divides the fraction again: one multiplication and one
// load per level, no floating point. A key never lies left of its predicted cache line and at most
// epsilon_max() slots right of its beginning, by construction; gaps between keys repeat the entry
// to their right, so "the first slot whose key is not smaller" answers every kind of lookup. File
// layout: rmi_file.h. How it is built: rmi_builder.h.
//
// The unit of placement is the cache line: four slots. Keys fill their predicted line from its
// front and spill into the next, so four lookups of five read one line.
//
// Invariants: whatever the bytes are, lookups read only inside the span and end; a block of slots
// is checked (CRC, order, positions) before the first entry of it is believed, and what fails is
// reported as corrupt, never as a miss.
//
// Thread rule: immutable after open(); any number of threads. The bitmap of checked blocks is
// written once per block. Ownership: the caller owns the bytes and keeps them mapped and unchanged.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kyro/base/status.h"
#include "kyro/index/rmi_file.h"

namespace kyro {

enum class FindCode : uint64_t { kMiss = 0, kHit = 1, kCorrupt = 2 };

struct FindResult {
  uint64_t position;  // of the record, if code is kHit; else 0
  FindCode code;
};

class RmiIndex {
 public:
  // Where a key is expected. Only predict() makes one, only the same index resolves it.
  struct Prediction {
    uint64_t slot;
  };

  // Stands on an entry, on the end, or on damage. Valid while the index is.
  class Cursor {
   public:
    [[nodiscard]] bool valid() const { return state_ == State::kEntry; }
    [[nodiscard]] bool corrupt() const { return state_ == State::kCorrupt; }
    // Key and position of the entry it stands on. Requires valid().
    [[nodiscard]] uint64_t key() const { return index_->slots_[slot_].key; }
    [[nodiscard]] uint64_t position() const { return index_->slots_[slot_].position; }
    // To the next larger or smaller key; past the last one it is neither valid nor corrupt.
    // Requires valid().
    void next();
    void prev();

   private:
    friend class RmiIndex;
    enum class State : uint8_t { kEntry, kEnd, kCorrupt };
    Cursor(const RmiIndex* index, State state, uint64_t slot)
        : index_(index), slot_(slot), state_(state) {}
    const RmiIndex* index_;
    uint64_t slot_;
    State state_;
  };

  // `bytes`: the whole file at an address divisible by 8. `expected_entries` and `position_end`
  // (exclusive) are what the caller knows of the run the index belongs to. The slots are not read.
  // Errors: kCorruption, kUnsupported for a newer format.
  [[nodiscard]] static Result<RmiIndex> open(std::span<const std::byte> bytes,
                                             uint64_t expected_entries, uint64_t position_end);

  // The entry of exactly `key`.
  [[nodiscard]] FindResult find(uint64_t key) const { return resolve(key, predict(key)); }

  // find() in two halves, for callers that overlap the misses of several lookups or indexes.
  [[nodiscard]] Prediction predict(uint64_t key) const;
  void prefetch(Prediction prediction) const {
    if (prediction.slot >= kFirstSpecial) return;
    const IndexEntry* slot = slots_ + (prediction.slot & ~uint64_t{3});
    __builtin_prefetch(slot);
    __builtin_prefetch(slot + 4);
  }
  [[nodiscard]] FindResult resolve(uint64_t key, Prediction prediction) const;

  // out[i] = find(keys[i]) for all i < n, with the cache misses of up to kBatch keys overlapped.
  void find_batch(const uint64_t* keys, size_t n, FindResult* out) const;
  static constexpr size_t kBatch = 16;

  // First entry with a key >= `key`, or the end.
  [[nodiscard]] Cursor lower_bound(uint64_t key) const;
  // Last entry with a key <= `key`, or the end.
  [[nodiscard]] Cursor floor(uint64_t key) const;
  [[nodiscard]] Cursor first() const { return lower_bound(min_key_); }
  [[nodiscard]] Cursor last() const { return floor(~uint64_t{0}); }

  // Slots a lookup of `key` examines one after another (1 = predicted exactly), 0 if it examines
  // none. For sampling; costs as much as a lookup.
  [[nodiscard]] uint64_t probe_length(uint64_t key) const;

  // Reads everything: all blocks, their order, and that every entry is found where it lies.
  [[nodiscard]] Status verify() const;

  [[nodiscard]] uint64_t entries() const { return layout_.trailer.entry_count; }
  [[nodiscard]] uint64_t leaves() const { return layout_.trailer.leaf_count; }
  [[nodiscard]] uint64_t nodes() const { return layout_.trailer.node_count; }
  [[nodiscard]] uint64_t size_bytes() const { return layout_.file_bytes; }
  [[nodiscard]] uint64_t model_bytes() const {
    return layout_.trailer.word_count * 8 + layout_.trailer.zoom_count * sizeof(RmiZoom);
  }
  [[nodiscard]] uint32_t epsilon_max() const { return layout_.trailer.displacement_max; }
  [[nodiscard]] uint32_t depth() const { return layout_.trailer.depth + 1; }
  // Smallest and largest key. With no entries min_key() > max_key().
  [[nodiscard]] uint64_t min_key() const { return layout_.trailer.min_key; }
  [[nodiscard]] uint64_t max_key() const { return layout_.trailer.max_key; }

 private:
  // Predictions that are not a slot.
  static constexpr uint64_t kFirstSpecial = ~uint64_t{0} - 2;
  static constexpr uint64_t kSearchSlots = kFirstSpecial;  // a search leaf: binary search
  static constexpr uint64_t kTooDeep = kFirstSpecial + 1;  // a model that lies
  static constexpr uint64_t kOutside = kFirstSpecial + 2;  // below the minimum, above the maximum
  static constexpr uint64_t kNoSlot = ~uint64_t{0};

  struct Descent {
    uint64_t word;
    uint64_t fraction;
    bool ok;
  };

  explicit RmiIndex(const RmiLayout& layout);

  [[nodiscard]] Descent descend(uint64_t word, uint64_t fraction, uint64_t key) const;
  [[nodiscard]] uint64_t scan(uint64_t key, uint64_t slot) const;
  [[nodiscard]] static const IndexEntry* scan_two_lines(uint64_t key, const IndexEntry* s);

  [[nodiscard, gnu::noinline]] FindResult resolve_slowly(uint64_t key,
                                                         Prediction prediction) const {
    if (prediction.slot == kOutside) return {0, FindCode::kMiss};
    const uint64_t slot = lower_slot(key, prediction);
    if (slot == kNoSlot) return {0, FindCode::kCorrupt};
    const IndexEntry& entry = slots_[slot];
    if (entry.key != key) return {0, FindCode::kMiss};
    return {entry.position, FindCode::kHit};
  }

  [[nodiscard]] uint64_t search_slot(uint64_t key) const;
  [[nodiscard]] uint64_t lower_slot(uint64_t key, Prediction prediction) const;

  [[nodiscard]] bool block_is_ready(uint64_t slot) const {
    const uint64_t block = slot / kRmiBlockSlots;
    return ((ready_[block / 64].load(std::memory_order_relaxed) >> (block % 64)) & 1u) != 0;
  }
  // True if the blocks of `slot` and the one behind it may be believed.
  [[nodiscard]] bool slot_is_good(uint64_t slot) const {
    return block_is_ready(slot) || make_ready(slot / kRmiBlockSlots);
  }

  // Also checks the block behind, because a scan may run into it (never further: rmi_file.h bounds
  // the displacement). Two threads may both check; the bits only ever go from 0 to 1. Relaxed is
  // enough: nothing is published but the fact itself, the bytes were there all along.
  [[nodiscard, gnu::noinline, gnu::cold]] bool make_ready(uint64_t block) const {
    if (!check_block(block)) return false;
    if (block + 1 < layout_.trailer.block_count && !check_block(block + 1)) return false;
    ready_[block / 64].fetch_or(uint64_t{1} << (block % 64), std::memory_order_relaxed);
    return true;
  }

  [[nodiscard]] bool check_block(uint64_t block) const;
  [[nodiscard]] bool block_is_sound(uint64_t block) const;

  // What a lookup needs, together.
  const IndexEntry* slots_;
  const uint64_t* words_;
  uint64_t min_key_;
  uint64_t span_;  // max - min; with no entries a lookup ends before it is used
  uint64_t root_scale_;
  uint64_t scan_slots_;                                 // 0 with no entries
  std::unique_ptr<std::atomic<uint64_t>[]> ready_;      // bit b: blocks b and b + 1 are checked
  std::unique_ptr<std::atomic<uint64_t>[]> checked_;    // bit b: block b is checked
  std::unique_ptr<std::atomic<uint64_t>[]> condemned_;  // bit b: block b failed its check
  RmiLayout layout_;
};

// ---- open ----

inline RmiIndex::RmiIndex(const RmiLayout& layout)
    : slots_(layout.slots),
      words_(layout.words),
      min_key_(layout.trailer.min_key),
      span_(layout.trailer.max_key - layout.trailer.min_key),
      root_scale_(layout.trailer.root_scale),
      scan_slots_(
          layout.trailer.entry_count == 0 ? 0 : rmi_scan_slots(layout.trailer.displacement_max)),
      layout_(layout) {
  const size_t words = static_cast<size_t>(layout.trailer.block_count / 64 + 1);
  ready_ = std::make_unique<std::atomic<uint64_t>[]>(words);
  checked_ = std::make_unique<std::atomic<uint64_t>[]>(words);
  condemned_ = std::make_unique<std::atomic<uint64_t>[]>(words);
}

inline Result<RmiIndex> RmiIndex::open(std::span<const std::byte> bytes, uint64_t expected_entries,
                                       uint64_t position_end) {
  Result<RmiLayout> layout = open_rmi_file(bytes);
  KYRO_TRY(layout);
  const RmiTrailer& t = layout->trailer;
  if (t.entry_count != expected_entries) {
    return Status(Code::kCorruption, "index file: holds " + std::to_string(t.entry_count) +
                                         " entries, its run " + std::to_string(expected_entries));
  }
  if (t.entry_count > 0 && t.position_max >= position_end) {
    return Status(Code::kCorruption, "index file: positions beyond the end of its run");
  }
  return RmiIndex(*layout);
}

// ---- point lookups ----

// Below the root: rare on smooth data, so it stands apart from the straight path. Validation made
// every reference go forward; the depth bound keeps a lying chain short as well.
inline RmiIndex::Descent RmiIndex::descend(uint64_t word, uint64_t fraction, uint64_t key) const {
  for (uint32_t level = 0; level < kRmiDepthMax; ++level) {
    const RmiWordType type = rmi_word_type(word);
    if (type == RmiWordType::kInner) {
      const RmiProduct step = rmi_multiply(fraction, rmi_word_width(word));
      word = words_[rmi_word_base(word) + step.high];
      fraction = step.low;
    } else if (type == RmiWordType::kZoom) {
      const RmiZoom& zoom = layout_.zooms[rmi_word_base(word)];
      const uint64_t distance = key < zoom.low_key ? 0 : std::min(key - zoom.low_key, zoom.span);
      const RmiProduct step = rmi_multiply(distance, zoom.scale);
      word = words_[rmi_word_base(zoom.inner) + step.high];
      fraction = step.low;
    } else {
      return {word, fraction, true};
    }
  }
  return {word, fraction, (word & 1u) == (word >> 1 & 1u)};  // leaf or search
}

inline RmiIndex::Prediction RmiIndex::predict(uint64_t key) const {
  const uint64_t distance = key - min_key_;
  if (distance > span_ || scan_slots_ == 0) [[unlikely]]
    return {kOutside};
  const RmiProduct root = rmi_multiply(distance, root_scale_);
  uint64_t word = words_[root.high];
  uint64_t fraction = root.low;
  if (rmi_word_type(word) != RmiWordType::kLeaf) {
    const Descent below = descend(word, fraction, key);
    if (!below.ok) [[unlikely]]
      return {kTooDeep};
    if (rmi_word_type(below.word) == RmiWordType::kSearch) [[unlikely]]
      return {kSearchSlots};
    word = below.word;
    fraction = below.fraction;
  }
  return {rmi_word_base(word) + rmi_multiply(fraction, rmi_word_width(word)).high};
}

// The first slot >= `key` of the two cache lines from `s` on, or one that is smaller if there is
// none. No branch depends on the lines, and few instructions do: those that wait for a missing line
// hold the scheduler's entries, and so limit how many lookups are under way at once. The second
// line is fetched beside the first.
inline const IndexEntry* RmiIndex::scan_two_lines(uint64_t key, const IndexEntry* s) {
  __builtin_prefetch(s + 4);
  s += 4 * static_cast<ptrdiff_t>(s[3].key < key);
  s += 2 * static_cast<ptrdiff_t>(s[1].key < key);
  s += 1 * static_cast<ptrdiff_t>(s[0].key < key);
  return s;
}

// The first slot from the predicted cache line on whose key is >= `key`; kNoSlot if the bound is
// exceeded, which only damage can cause.
inline uint64_t RmiIndex::scan(uint64_t key, uint64_t slot) const {
  for (uint64_t at = slot & ~uint64_t{3}, end = at + scan_slots_; at < end; at += 8) {
    const IndexEntry* s = scan_two_lines(key, slots_ + at);
    if (s->key >= key) return static_cast<uint64_t>(s - slots_);
  }
  return kNoSlot;
}

inline FindResult RmiIndex::resolve(uint64_t key, Prediction prediction) const {
  if (prediction.slot >= kFirstSpecial || !block_is_ready(prediction.slot)) [[unlikely]] {
    return resolve_slowly(key, prediction);
  }
  const IndexEntry* s = scan_two_lines(key, slots_ + (prediction.slot & ~uint64_t{3}));
  if (s->key < key) [[unlikely]]
    return resolve_slowly(key, prediction);
  // A branch, so that a hit's position is read without waiting for the comparison.
  if (s->key == key) [[likely]]
    return {s->position, FindCode::kHit};
  return {0, FindCode::kMiss};
}

// Binary search in a search leaf, the place where no line fits: log2 of a bounded width, each probe
// in a checked block.
inline uint64_t RmiIndex::search_slot(uint64_t key) const {
  const RmiProduct root = rmi_multiply(key - min_key_, root_scale_);
  const Descent below = descend(words_[root.high], root.low, key);
  uint64_t from = rmi_word_base(below.word);
  uint64_t count = rmi_word_width(below.word);
  while (count > 0) {
    const uint64_t middle = from + count / 2;
    if (!slot_is_good(middle)) return kNoSlot;
    if (slots_[middle].key < key) {
      from = middle + 1;
      count -= count / 2 + 1;
    } else {
      count /= 2;
    }
  }
  return slot_is_good(from) ? from : kNoSlot;
}

// The slot of the first entry >= key, in a checked block; kNoSlot for damage. Requires a key inside
// the range, so such an entry exists.
inline uint64_t RmiIndex::lower_slot(uint64_t key, Prediction prediction) const {
  if (prediction.slot == kTooDeep) return kNoSlot;
  if (prediction.slot == kSearchSlots) return search_slot(key);
  if (!slot_is_good(prediction.slot)) return kNoSlot;
  return scan(key, prediction.slot);
}

// A pipeline: the model word of one key, the slots of the key kBatch behind it, and the answer of
// the key kBatch behind that one are worked on in turn, so that memory never waits for the
// processor.
inline void RmiIndex::find_batch(const uint64_t* keys, size_t n, FindResult* out) const {
  Prediction predictions[kBatch];
  for (size_t step = 0; step < n + 2 * kBatch; ++step) {
    if (step >= 2 * kBatch) {
      const size_t i = step - 2 * kBatch;
      out[i] = resolve(keys[i], predictions[i % kBatch]);
    }
    if (step >= kBatch && step - kBatch < n) {
      const size_t i = step - kBatch;
      predictions[i % kBatch] = predict(keys[i]);
      prefetch(predictions[i % kBatch]);
    }
    if (step < n) {
      const uint64_t distance = std::min(keys[step] - min_key_, span_);
      __builtin_prefetch(words_ + rmi_multiply(distance, root_scale_).high);
    }
  }
}

// ---- ordered lookups ----

inline RmiIndex::Cursor RmiIndex::lower_bound(uint64_t key) const {
  if (entries() == 0 || key > max_key()) return Cursor(this, Cursor::State::kEnd, 0);
  key = std::max(key, min_key_);
  const uint64_t slot = lower_slot(key, predict(key));
  if (slot >= layout_.trailer.slots_used || slots_[slot].key < key) {
    return Cursor(this, Cursor::State::kCorrupt, 0);
  }
  return Cursor(this, Cursor::State::kEntry, slot);
}

inline RmiIndex::Cursor RmiIndex::floor(uint64_t key) const {
  if (entries() == 0 || key < min_key_) return Cursor(this, Cursor::State::kEnd, 0);
  key = std::min(key, max_key());
  Cursor cursor = lower_bound(key);
  if (cursor.valid() && cursor.key() != key) {
    cursor.prev();
    // The smallest key is <= `key`, so running off the front means that the slots lie.
    if (!cursor.valid()) return Cursor(this, Cursor::State::kCorrupt, 0);
  }
  return cursor;
}

inline void RmiIndex::Cursor::next() {
  const uint64_t here = key();
  const uint64_t end =
      std::min(index_->layout_.trailer.slots_used, slot_ + index_->layout_.trailer.gap_run_max + 2);
  for (uint64_t slot = slot_ + 1; slot < end; ++slot) {
    if (!index_->slot_is_good(slot)) break;
    if (index_->slots_[slot].key != here) {
      slot_ = slot;
      if (index_->slots_[slot].key < here) state_ = State::kCorrupt;
      return;
    }
  }
  state_ = here == index_->max_key() ? State::kEnd : State::kCorrupt;
}

inline void RmiIndex::Cursor::prev() {
  const uint64_t here = key();
  const uint64_t steps = std::min(slot_, uint64_t{index_->layout_.trailer.gap_run_max} + 1);
  for (uint64_t step = 1; step <= steps; ++step) {
    const uint64_t slot = slot_ - step;
    if (!index_->slot_is_good(slot)) break;
    if (index_->slots_[slot].key != here) {
      slot_ = slot;
      if (index_->slots_[slot].key > here) state_ = State::kCorrupt;
      return;
    }
  }
  state_ = here == index_->min_key_ ? State::kEnd : State::kCorrupt;
}

inline uint64_t RmiIndex::probe_length(uint64_t key) const {
  const Prediction prediction = predict(key);
  if (prediction.slot >= kFirstSpecial) {
    return prediction.slot == kSearchSlots
               ? static_cast<uint64_t>(std::bit_width(
                     rmi_word_width(descend(words_[rmi_multiply(key - min_key_, root_scale_).high],
                                            rmi_multiply(key - min_key_, root_scale_).low, key)
                                        .word)))
               : 0;
  }
  const uint64_t slot = lower_slot(key, prediction);
  if (slot == kNoSlot) return 0;
  return slot < prediction.slot ? 1 : slot - prediction.slot + 1;
}

// ---- checks ----

inline bool RmiIndex::check_block(uint64_t block) const {
  const uint64_t bit = uint64_t{1} << (block % 64);
  if ((checked_[block / 64].load(std::memory_order_relaxed) & bit) != 0) return true;
  if ((condemned_[block / 64].load(std::memory_order_relaxed) & bit) != 0) return false;
  if (!block_is_sound(block)) {
    condemned_[block / 64].fetch_or(bit, std::memory_order_relaxed);
    return false;
  }
  checked_[block / 64].fetch_or(bit, std::memory_order_relaxed);
  return true;
}

// Beyond the checksum, what lookups rely on: order, one position per key, bounds.
inline bool RmiIndex::block_is_sound(uint64_t block) const {
  const RmiTrailer& t = layout_.trailer;
  const uint64_t begin = block * kRmiBlockSlots;
  const uint64_t end = std::min(begin + kRmiBlockSlots, t.slot_count);
  if (crc32c(slots_ + begin, (end - begin) * sizeof(IndexEntry)) != layout_.block_crcs[block]) {
    return false;
  }
  bool good = slots_[begin].key >= t.min_key && slots_[end - 1].key <= t.max_key &&
              slots_[begin].position <= t.position_max;
  for (uint64_t slot = begin + 1; slot < end; ++slot) {
    const IndexEntry& a = slots_[slot - 1];
    const IndexEntry& b = slots_[slot];
    good &= b.position <= t.position_max;
    good &= a.key < b.key || a == b;
  }
  return good;
}

inline Status RmiIndex::verify() const {
  const auto damaged = [](const char* what, uint64_t slot) {
    return Status(Code::kCorruption,
                  std::string("index file: ") + what + " at slot " + std::to_string(slot));
  };
  const RmiTrailer& t = layout_.trailer;
  uint64_t found = 0;
  for (uint64_t slot = 0; slot < t.slot_count; ++slot) {
    if (slot % kRmiBlockSlots == 0 && !block_is_sound(slot / kRmiBlockSlots)) {
      return damaged("a damaged block", slot);
    }
    if (slot > 0 && slots_[slot] == slots_[slot - 1]) continue;
    const IndexEntry entry = slots_[slot];
    if (slot > 0 && entry.key <= slots_[slot - 1].key) return damaged("keys out of order", slot);
    const FindResult result = find(entry.key);
    if (result.code != FindCode::kHit || result.position != entry.position) {
      return damaged("an entry that a lookup does not find", slot);
    }
    ++found;
  }
  if (found != t.entry_count)
    return damaged("a wrong number of entries before the end", t.slots_used);
  return Status();
}

}  // namespace kyro
