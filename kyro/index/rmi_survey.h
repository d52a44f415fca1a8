// What a learned index is like, found out by asking it for every entry it has: how far off its
// predictions are, how many slots a lookup examines, how deep the leaves lie. The sample of
// rmi_sample.h says what the model believes, this says what is.
//
// Reads every slot once and does a lookup for each entry; memory is bounded whatever the size.
//
// Thread rule: any thread, as RmiIndex. Ownership: the survey is a value.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kyro/index/rmi.h"

namespace kyro {

// The entries in one of many equal parts of the key range.
struct RmiColumn {
  uint64_t entries = 0;
  uint64_t error_sum = 0;  // of the errors' amounts
  uint64_t error_max = 0;
};

struct RmiSurvey {
  // Bin kSignBins + 0 counts 0, after it 1, 2, 3 to 4, 5 to 8, and so on, before it -1, -2, -3.
  static constexpr size_t kSignBins = 3;  // a key lies in its line of four slots or after it
  static constexpr size_t kBins = 13;     // up to 2048, beyond which no format allows an error
  using Bins = std::array<uint64_t, kBins>;

  std::array<uint64_t, kSignBins + kBins> errors{};  // slots from the prediction to the entry
  Bins probes{};                                     // slots that a lookup examines
  std::array<uint64_t, kRmiDepthMax + 2> levels{};   // by the model words that lead to the leaf
  uint64_t searched = 0;  // entries in leaves of binary search, which predict nothing
  uint64_t in_line = 0;   // entries that lie in the cache line predicted
  uint64_t outliers = 0;  // entries outside of the root's range
  uint64_t searched_leaves = 0;
  uint64_t zooms = 0;
  uint64_t slots = 0;    // up to and with the last entry
  uint64_t low_key = 0;  // the root's range: of the columns
  uint64_t high_key = 0;
  std::vector<RmiColumn> columns;

  // The smallest and largest number that a bin counts.
  [[nodiscard]] static uint64_t bin_low(size_t bin) {
    return bin < 3 ? bin : (uint64_t{1} << (bin - 2)) + 1;
  }
  [[nodiscard]] static uint64_t bin_high(size_t bin) {
    return bin < 2 ? bin : uint64_t{1} << (bin - 1);
  }
  [[nodiscard]] static size_t bin_of(uint64_t number) {
    const auto bin = static_cast<size_t>(number < 2 ? number : 1 + std::bit_width(number - 1));
    return std::min(bin, kBins - 1);
  }
};

class RmiSurveyor {
 public:
  // REQUIRES: index.verify() is ok, columns >= 1.
  [[nodiscard]] static RmiSurvey survey(const RmiIndex& index, size_t columns) {
    RmiSurvey out;
    out.columns.resize(columns);
    const RmiTrailer& t = index.layout_.trailer;
    out.slots = t.slots_used;
    out.zooms = t.zoom_count;
    out.low_key = index.root_low_;
    out.high_key = index.root_low_ + index.root_span_;
    for (uint64_t i = 0; i < t.word_count; ++i) {
      if (rmi_word_type(index.words_[i]) == RmiWordType::kSearch) ++out.searched_leaves;
    }
    for (uint64_t slot = 0; slot < t.slots_used; ++slot) {
      const uint64_t key = index.slots_[slot].key;
      if (slot == 0 || key != index.slots_[slot - 1].key) add(index, key, &out);
    }
    return out;
  }

 private:
  static void add(const RmiIndex& index, uint64_t key, RmiSurvey* out) {
    ++out->probes[RmiSurvey::bin_of(index.probe_length(key))];
    ++out->levels[levels_of(index, key)];
    const RmiIndex::Prediction prediction = index.predict(key);
    uint64_t amount = 0;
    if (prediction.slot_times_4 >= RmiIndex::kFirstSpecial) {
      ++out->searched;
    } else {
      const uint64_t predicted = prediction.slot_times_4 / 4;
      const uint64_t found = index.lower_slot(key, prediction);
      amount = found < predicted ? predicted - found : found - predicted;
      const size_t zero = RmiSurvey::kSignBins;
      ++out->errors[found < predicted ? zero - std::min(amount, uint64_t{zero})
                                      : zero + RmiSurvey::bin_of(amount)];
      if (found / 4 == predicted / 4) ++out->in_line;
    }
    const uint64_t distance = key - index.root_low_;
    if (distance > index.root_span_) {
      ++out->outliers;
      return;
    }
    RmiColumn& column = out->columns[column_of(distance, index.root_span_, out->columns.size())];
    ++column.entries;
    column.error_sum += amount;
    column.error_max = std::max(column.error_max, amount);
  }

  static size_t column_of(uint64_t distance, uint64_t span, size_t columns) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<size_t>(static_cast<Wide>(distance) * columns /
                               (static_cast<Wide>(span) + 1));
  }

  // Model words on the way to the leaf, as RmiIndex::place_of() goes it.
  static size_t levels_of(const RmiIndex& index, uint64_t key) {
    const bool is_outlier = key - index.root_low_ > index.root_span_;
    const uint64_t outliers = index.layout_.trailer.root_fanout + (key < index.root_low_ ? 0u : 1u);
    RmiIndex::Place place =
        is_outlier ? RmiIndex::Place{index.words_[outliers], 0} : index.root_place(key);
    size_t levels = 1;
    for (; place.type() == RmiWordType::kInner || place.type() == RmiWordType::kZoom; ++levels) {
      place =
          place.type() == RmiWordType::kInner ? index.child_of(place) : index.zoom_into(place, key);
    }
    return levels;
  }
};

}  // namespace kyro
