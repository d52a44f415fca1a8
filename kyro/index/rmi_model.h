// The linear models of an index while it is built: which child a key belongs to, and where inside.
//
// Fractions in nested nodes: if x = distance × m mod 2^64 is the fraction in a bucket, the fraction
// in a child of a node of fan-out F is x × F mod 2^64 = distance × (m × F) mod 2^64; so one number
// per bucket describes its model, however deep it lies. RmiIndex follows the same arithmetic word
// by word.
//
// Thread rule: values and pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kyro/index/rmi_file.h"

namespace kyro::rmi_builder_detail {

// Where inside its bucket a key lies, as a fraction of 2^64.
struct Fraction {
  uint64_t low_key;
  uint64_t multiplier;
  [[nodiscard]] uint64_t of(uint64_t key) const { return (key - low_key) * multiplier; }
};

// How a node divides its keys among its children.
struct NodeModel {
  Fraction fraction;  // plain: of the node's bucket; else: low_key and scale
  uint64_t fanout;
  bool plain;  // divides its bucket; false: root and zoom, which have a range of their own

  [[nodiscard]] uint64_t child_of(uint64_t key) const {
    return plain ? rmi_multiply(fraction.of(key), fanout).high
                 : rmi_multiply(key - fraction.low_key, fraction.multiplier).high;
  }
  [[nodiscard]] Fraction child_fraction() const {
    return plain ? Fraction{fraction.low_key, fraction.multiplier * fanout} : fraction;
  }
};

// A model over exactly [low, high]: high × scale stays below fanout × 2^64. Requires fanout >= 1;
// with fewer distances than children the fan-out shrinks.
[[nodiscard]] inline NodeModel range_model(uint64_t low, uint64_t high, uint64_t fanout) {
  __extension__ using Wide = unsigned __int128;
  const uint64_t span = high - low;
  if (span == 0) return {{low, 0}, 1, false};
  fanout = std::min(fanout, span);
  const Wide room = (static_cast<Wide>(fanout) << 64) - 1;
  return {{low, static_cast<uint64_t>(room / span)}, fanout, false};
}

}  // namespace kyro::rmi_builder_detail
