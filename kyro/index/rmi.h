// RmiIndex: the immutable learned index over one run, looked up where it lies (mapping or memory).
//
// A root model cuts the key range into equal buckets; the high word of (key - min) × scale names
// the bucket, the low word is the exact fraction inside it. A bucket is a leaf (fraction × width =
// the predicted slot) or an inner node that divides the fraction again: one multiplication and one
// load per level, no floating point. Outliers far from all other keys have models of their own
// beside the root, so that they do not stretch its range. A key never lies left of its predicted
// cache line and at most epsilon_max() slots right of its beginning, by construction; gaps between
// keys repeat the entry to their right, so "the first slot whose key is not smaller" answers every
// kind of lookup. File layout: rmi_file.h. How it is built: rmi_builder.h.
//
// The unit of placement is the cache line: four slots. Keys fill their predicted line from its
// front and spill into the next, so four lookups of five read one line.
//
// Cost: independent lookups overlap their cache misses as far as the processor's window of
// instructions reaches (some 250), so what decides their rate is the number of instructions, about
// 45 where the root's bucket is a leaf. Hence the layout of the model words, the branch-free search
// in a line, and the one flag for "every block has been checked".
//
// Invariants: whatever the bytes are, lookups read only inside the span and end; a block of slots
// is checked (CRC, order, positions) before the first entry of it is believed, and what fails is
// reported as corrupt, never as a miss.
//
// Thread rule: immutable after open(); any number of threads. The bitmap of checked blocks is
// written once per block. Ownership: the caller owns the bytes and keeps them mapped and unchanged.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kyro/base/status.h"
#include "kyro/index/rmi_blocks.h"
#include "kyro/index/rmi_file.h"
#include "kyro/index/rmi_find.h"

namespace kyro {

class RmiIndex {
 public:
  // Where a key is expected. Only predict() makes one, only the same index resolves it.
  struct Prediction {
    uint64_t slot_times_4;  // as a model word holds slots; one of the special values below
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

  // The entry of `key`.
  template <RmiMatch kMatch = RmiMatch::kExact>
  [[nodiscard]] FindResult find(uint64_t key) const;

  // find() in two halves, for callers that overlap the misses of several lookups or indexes.
  [[nodiscard]] Prediction predict(uint64_t key) const;
  void prefetch(Prediction prediction) const {
    if (prediction.slot_times_4 >= kFirstSpecial) return;
    const IndexEntry* line = line_of(prediction);
    __builtin_prefetch(line);
    __builtin_prefetch(line + 4);
  }
  template <RmiMatch kMatch = RmiMatch::kExact>
  [[nodiscard]] FindResult resolve(uint64_t key, Prediction prediction) const;

  // out[i] = find(keys[i]) for all i < n, with the cache misses of up to kBatch keys overlapped.
  template <RmiMatch kMatch = RmiMatch::kExact>
  void find_batch(const uint64_t* keys, size_t n, FindResult* out) const;
  static constexpr size_t kBatch = 16;

  // First entry with a key >= `key`, or the end.
  [[nodiscard]] Cursor lower_bound(uint64_t key) const;
  // Last entry with a key <= `key`, or the end.
  [[nodiscard]] Cursor floor(uint64_t key) const;
  [[nodiscard]] Cursor first() const { return lower_bound(min_key()); }
  [[nodiscard]] Cursor last() const { return floor(~uint64_t{0}); }

  // Slots a lookup of `key` examines one after another (1 = predicted exactly), 0 if it examines
  // none. For sampling; costs as much as a lookup.
  [[nodiscard]] uint64_t probe_length(uint64_t key) const;

  // Reads and checks every block of slots, so that no lookup has to; kCorruption if one is damaged.
  [[nodiscard]] Status check_slots() const {
    return blocks_.check_all() ? Status() : Status(Code::kCorruption, "index file: damaged slots");
  }

  // Whether that has happened already, all at once or lookup by lookup. For tests.
  [[nodiscard]] bool slots_are_checked() const { return blocks_.all_ready(); }

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
  friend class RmiSampler;
  friend class RmiSurveyor;

  // Predictions that are not a slot.
  static constexpr uint64_t kFirstSpecial = ~uint64_t{0} - 1;
  static constexpr uint64_t kSearchSlots = kFirstSpecial;  // a search leaf: binary search
  static constexpr uint64_t kOutside = kFirstSpecial + 1;  // below the minimum, above the maximum
  static constexpr uint64_t kNoSlot = ~uint64_t{0};

  // Where a descent stands: a model word and the fraction of 2^64 inside its bucket.
  struct Place {
    uint64_t word;
    uint64_t fraction;
    [[nodiscard]] RmiWordType type() const { return rmi_word_type(word); }
  };

  explicit RmiIndex(const RmiLayout& layout);

  [[nodiscard]] Place root_place(uint64_t key) const {
    const RmiProduct root = rmi_multiply(key - root_low_, root_scale_);
    return {words_[root.high], root.low};
  }
  [[nodiscard]] Place child_of(Place inner) const {
    const RmiProduct step = rmi_multiply(inner.fraction, rmi_word_width(inner.word));
    // The word holds four times the child's index, and 1.
    const char* first = reinterpret_cast<const char*>(words_) + 2 * (inner.word & kRmiBaseMask) - 2;
    return {reinterpret_cast<const uint64_t*>(first)[step.high], step.low};
  }
  [[nodiscard, gnu::noinline]] Place zoom_into(Place place, uint64_t key) const {
    const RmiZoom& zoom = layout_.zooms[rmi_word_base(place.word)];
    // A mapping that has lost the page since it was validated shows zeros, which lead backwards.
    if (rmi_word_type(zoom.inner) != RmiWordType::kInner) return {0, 0};
    const uint64_t distance = key < zoom.low_key ? 0 : std::min(key - zoom.low_key, zoom.span);
    const RmiProduct step = rmi_multiply(distance, zoom.scale);
    return {words_[rmi_word_base(zoom.inner) + step.high], step.low};
  }
  [[nodiscard]] Place descend(Place place, uint64_t key) const;
  [[nodiscard]] Place place_of(uint64_t key) const;
  // What a leaf says: four times the slot, as the word holds it.
  [[nodiscard]] static Prediction slot_in_leaf(Place leaf) {
    return {(leaf.word & kRmiBaseMask) +
            4 * rmi_multiply(leaf.fraction, rmi_word_width(leaf.word)).high};
  }
  // The first slot of the predicted cache line.
  [[nodiscard]] const IndexEntry* line_of(Prediction prediction) const {
    return reinterpret_cast<const IndexEntry*>(reinterpret_cast<const char*>(slots_) +
                                               4 * (prediction.slot_times_4 & ~uint64_t{15}));
  }

  [[nodiscard, gnu::noinline]] Prediction predict_slowly(uint64_t key) const {
    if (key < min_key() || key > max_key()) return {kOutside};
    const Place place = place_of(key);
    if (place.type() == RmiWordType::kLeaf) return slot_in_leaf(place);
    return {kSearchSlots};
  }
  template <RmiMatch kMatch>
  [[nodiscard]] static bool matches(const IndexEntry& entry, uint64_t key) {
    return kMatch == RmiMatch::kExact ? entry.key == key : entry.key >= key;
  }
  // Any prediction, blocks checked as they are met.
  template <RmiMatch kMatch>
  [[nodiscard, gnu::noinline]] FindResult resolve_slowly(uint64_t key,
                                                         Prediction prediction) const {
    if (entries() == 0 || key > max_key()) return {0, FindCode::kMiss};
    if (key < min_key()) {
      if (kMatch == RmiMatch::kExact) return {0, FindCode::kMiss};
      key = min_key();
      prediction = predict(key);
    }
    const uint64_t slot = lower_slot(key, prediction);
    if (slot == kNoSlot) return {0, FindCode::kCorrupt};
    if (!matches<kMatch>(slots_[slot], key)) return {0, FindCode::kMiss};
    return {slots_[slot].position, FindCode::kHit};
  }
  template <RmiMatch kMatch>
  [[nodiscard]] FindResult find_in_line(uint64_t key, Prediction prediction) const;
  [[nodiscard]] uint64_t scan(uint64_t key, const IndexEntry* line) const;
  [[nodiscard]] static const IndexEntry* scan_two_lines(uint64_t key, const IndexEntry* s);
  [[nodiscard]] uint64_t search_slot(uint64_t key) const;
  [[nodiscard]] uint64_t lower_slot(uint64_t key, Prediction prediction) const;

  // What a lookup needs, together. With no entries they describe one bucket of foreign slots that
  // only the key 2^64-1 could reach.
  uint64_t root_low_;
  uint64_t root_span_;
  uint64_t root_scale_;
  const uint64_t* words_;
  const IndexEntry* slots_;
  RmiBlocks blocks_;
  RmiLayout layout_;
};

// ---- open ----

namespace rmi_detail {
inline constexpr uint64_t kNoWords[1] = {};
inline constexpr IndexEntry kNoSlots[8] = {};
}  // namespace rmi_detail

inline RmiIndex::RmiIndex(const RmiLayout& layout)
    : root_low_(layout.trailer.root_low),
      root_span_(layout.trailer.root_span),
      root_scale_(layout.trailer.root_scale),
      words_(layout.words),
      slots_(layout.slots),
      blocks_(layout),
      layout_(layout) {
  if (layout.trailer.entry_count > 0) return;
  root_low_ = ~uint64_t{0};
  root_span_ = 0;
  words_ = rmi_detail::kNoWords;
  slots_ = rmi_detail::kNoSlots;
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

// Ends at a leaf or a search leaf. Validation made every reference go forward and bounded the
// depth. Few instructions matter here: they share the processor's window with the misses of the
// lookups around this one.
inline RmiIndex::Place RmiIndex::descend(Place place, uint64_t key) const {
  while (place.type() != RmiWordType::kLeaf) {
    if (place.type() == RmiWordType::kInner) [[likely]] {
      place = child_of(place);
    } else if (place.type() == RmiWordType::kZoom) {
      place = zoom_into(place, key);
    } else {
      break;
    }
  }
  return place;
}

// Of any key inside the range of the keys, outliers too.
inline RmiIndex::Place RmiIndex::place_of(uint64_t key) const {
  if (key - root_low_ <= root_span_) return descend(root_place(key), key);
  return descend({words_[layout_.trailer.root_fanout + (key < root_low_ ? 0u : 1u)], 0}, key);
}

inline RmiIndex::Prediction RmiIndex::predict(uint64_t key) const {
  if (key - root_low_ > root_span_) [[unlikely]]
    return predict_slowly(key);
  Place place = root_place(key);
  if (place.type() != RmiWordType::kLeaf) {
    place = descend(place, key);
    if (place.type() != RmiWordType::kLeaf) [[unlikely]]
      return predict_slowly(key);
  }
  return slot_in_leaf(place);
}

// The first slot >= `key` of the two cache lines from `s` on, or one that is smaller if there is
// none. No branch depends on the lines, and few instructions do: those that wait for a missing line
// hold the scheduler's entries, and so limit how many lookups are under way at once. The second
// line is fetched beside the first.
inline const IndexEntry* RmiIndex::scan_two_lines(uint64_t key, const IndexEntry* s) {
  __builtin_prefetch(s + 4);
  s = rmi_select(s[3].key < key, s + 4, s);
  s = rmi_select(s[1].key < key, s + 2, s);
  s = rmi_select(s[0].key < key, s + 1, s);
  return s;
}

// The first slot from `line` on whose key is >= `key`; kNoSlot if the bound is exceeded, which only
// damage can cause.
inline uint64_t RmiIndex::scan(uint64_t key, const IndexEntry* line) const {
  const IndexEntry* end = line + rmi_scan_slots(layout_.trailer.displacement_max);
  for (; line < end; line += 8) {
    const IndexEntry* s = scan_two_lines(key, line);
    if (s->key >= key) return static_cast<uint64_t>(s - slots_);
  }
  return kNoSlot;
}

// REQUIRES: every block is ready, the prediction is a slot.
template <RmiMatch kMatch>
FindResult RmiIndex::find_in_line(uint64_t key, Prediction prediction) const {
  const IndexEntry* s = scan_two_lines(key, line_of(prediction));
  // A branch, so that a hit's position is read without waiting for the comparison.
  if (matches<kMatch>(*s, key)) [[likely]]
    return {s->position, FindCode::kHit};
  if (s->key > key) return {0, FindCode::kMiss};
  return resolve_slowly<kMatch>(key, prediction);
}

template <RmiMatch kMatch>
FindResult RmiIndex::find(uint64_t key) const {
  if (key - root_low_ <= root_span_) [[likely]] {
    Place place = root_place(key);
    if (place.type() != RmiWordType::kLeaf) place = descend(place, key);
    if (place.type() == RmiWordType::kLeaf && blocks_.all_ready()) [[likely]] {
      return find_in_line<kMatch>(key, slot_in_leaf(place));
    }
  }
  return resolve_slowly<kMatch>(key, predict_slowly(key));
}

template <RmiMatch kMatch>
FindResult RmiIndex::resolve(uint64_t key, Prediction prediction) const {
  if (prediction.slot_times_4 < kFirstSpecial && blocks_.all_ready()) [[likely]] {
    return find_in_line<kMatch>(key, prediction);
  }
  return resolve_slowly<kMatch>(key, prediction);
}

// Binary search in a search leaf, the place where no line fits: log2 of a bounded width, each probe
// in a checked block.
inline uint64_t RmiIndex::search_slot(uint64_t key) const {
  const Place leaf = place_of(key);
  uint64_t from = rmi_word_base(leaf.word);
  uint64_t count = rmi_word_width(leaf.word);
  while (count > 0) {
    const uint64_t middle = from + count / 2;
    if (!blocks_.is_good(middle)) return kNoSlot;
    if (slots_[middle].key < key) {
      from = middle + 1;
      count -= count / 2 + 1;
    } else {
      count /= 2;
    }
  }
  return blocks_.is_good(from) ? from : kNoSlot;
}

// The slot of the first entry >= key, in a checked block; kNoSlot for damage. Requires a key inside
// the range, so such an entry exists.
inline uint64_t RmiIndex::lower_slot(uint64_t key, Prediction prediction) const {
  if (prediction.slot_times_4 == kSearchSlots) return search_slot(key);
  if (!blocks_.is_good(prediction.slot_times_4 / 4)) return kNoSlot;
  return scan(key, line_of(prediction));
}

// A pipeline: the model word of one key, the slots of the key kBatch after it, and the answer of
// the key kBatch after that one are worked on in turn, so that memory never waits for the
// processor.
template <RmiMatch kMatch>
void RmiIndex::find_batch(const uint64_t* keys, size_t n, FindResult* out) const {
  Prediction predictions[kBatch];
  for (size_t step = 0; step < n + 2 * kBatch; ++step) {
    if (step >= 2 * kBatch) {
      const size_t i = step - 2 * kBatch;
      out[i] = resolve<kMatch>(keys[i], predictions[i % kBatch]);
    }
    if (step >= kBatch && step - kBatch < n) {
      const size_t i = step - kBatch;
      predictions[i % kBatch] = predict(keys[i]);
      prefetch(predictions[i % kBatch]);
    }
    if (step < n) {
      const uint64_t distance = std::min(keys[step] - root_low_, root_span_);
      __builtin_prefetch(words_ + rmi_multiply(distance, root_scale_).high);
    }
  }
}

// ---- ordered lookups ----

inline RmiIndex::Cursor RmiIndex::lower_bound(uint64_t key) const {
  if (entries() == 0 || key > max_key()) return Cursor(this, Cursor::State::kEnd, 0);
  key = std::max(key, min_key());
  const uint64_t slot = lower_slot(key, predict(key));
  if (slot >= layout_.trailer.slots_used || slots_[slot].key < key) {
    return Cursor(this, Cursor::State::kCorrupt, 0);
  }
  return Cursor(this, Cursor::State::kEntry, slot);
}

inline RmiIndex::Cursor RmiIndex::floor(uint64_t key) const {
  if (entries() == 0 || key < min_key()) return Cursor(this, Cursor::State::kEnd, 0);
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
    if (!index_->blocks_.is_good(slot)) break;
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
    if (!index_->blocks_.is_good(slot)) break;
    if (index_->slots_[slot].key != here) {
      slot_ = slot;
      if (index_->slots_[slot].key > here) state_ = State::kCorrupt;
      return;
    }
  }
  state_ = here == index_->min_key() ? State::kEnd : State::kCorrupt;
}

inline uint64_t RmiIndex::probe_length(uint64_t key) const {
  const Prediction prediction = predict(key);
  if (prediction.slot_times_4 == kSearchSlots) {
    return static_cast<uint64_t>(std::bit_width(rmi_word_width(place_of(key).word)));
  }
  if (prediction.slot_times_4 >= kFirstSpecial) return 0;
  const uint64_t slot = lower_slot(key, prediction);
  if (slot == kNoSlot) return 0;
  const uint64_t predicted = prediction.slot_times_4 / 4;
  return slot < predicted ? 1 : slot - predicted + 1;
}

// ---- checks ----

inline Status RmiIndex::verify() const {
  const auto damaged = [](const char* what, uint64_t slot) {
    return Status(Code::kCorruption,
                  std::string("index file: ") + what + " at slot " + std::to_string(slot));
  };
  const RmiTrailer& t = layout_.trailer;
  uint64_t found = 0;
  for (uint64_t slot = 0; slot < t.slot_count; ++slot) {
    if (slot % kRmiBlockSlots == 0 && !blocks_.block_is_sound(slot / kRmiBlockSlots)) {
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
