// What a learned index looks like: its model, asked at keys at equal distances. It is the
// distribution of the keys as the model has learned it, and the leaves that stand for it.
//
// Reads model words only, never a slot, so it costs a descent a point however large the index is,
// and no page of slots. Outliers, which have models of their own beside the root, are left out:
// they would stretch the range until nothing could be seen.
//
// Thread rule: any thread, as RmiIndex. Ownership: the sample is a value.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kyro/index/rmi.h"

namespace kyro {

// What the model says of one key.
struct RmiPoint {
  uint64_t key;
  uint64_t rank;       // about how many keys are smaller
  uint64_t leaf_rank;  // the same of the first key of its leaf
  uint64_t leaf_keys;  // about how many keys the leaf stands for
  uint32_t depth;      // levels to the leaf: 1 where the root leads to it
};

class RmiSampler {
 public:
  // Up to `points` points, keys ascending; none of an empty index.
  [[nodiscard]] static std::vector<RmiPoint> sample(const RmiIndex& index, size_t points) {
    std::vector<RmiPoint> found;
    if (index.entries() == 0) return found;
    const uint64_t span = index.root_span_;
    for (size_t i = 0; i < points; ++i) {
      const uint64_t key = index.root_low_ + part_of(span, i, std::max<size_t>(points, 2) - 1);
      if (found.empty() || found.back().key != key) found.push_back(ask(index, key));
    }
    return found;
  }

 private:
  __extension__ using Wide = unsigned __int128;

  // whole × part / parts
  static uint64_t part_of(uint64_t whole, uint64_t part, uint64_t parts) {
    return static_cast<uint64_t>(static_cast<Wide>(whole) * part / parts);
  }

  static RmiPoint ask(const RmiIndex& index, uint64_t key) {
    RmiIndex::Place place = index.root_place(key);
    uint32_t depth = 1;
    // As RmiIndex::descend(), counting. Validation bounded the depth.
    for (; place.type() == RmiWordType::kInner || place.type() == RmiWordType::kZoom; ++depth) {
      place =
          place.type() == RmiWordType::kInner ? index.child_of(place) : index.zoom_into(place, key);
    }
    const uint64_t begin = rmi_word_base(place.word);
    const uint64_t width = rmi_word_width(place.word);
    const uint64_t slots = std::max<uint64_t>(index.layout_.trailer.slots_used, 1);
    // Slots repeat keys in gaps; what is between them is taken to be even.
    const auto keys = [&](uint64_t slot) {
      return part_of(index.entries(), std::min(slot, slots), slots);
    };
    return {key, keys(begin + rmi_multiply(place.fraction, width).high), keys(begin), keys(width),
            depth};
  }
};

}  // namespace kyro
