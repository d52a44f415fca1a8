// The slots that a server has: all of them, or some. What they are is in slots.h, and so are the
// bodies; kyro/kyro.h includes this into other people's programs, so it is short.
//
// Thread rule: a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/result.h"

namespace kyro {

inline constexpr uint64_t kSlotCount = 16384;

class SlotSet {
 public:
  // All there are.
  SlotSet() = default;

  // "0-5460,8000".
  [[nodiscard]] static Result<SlotSet> parse(std::string_view text);

  // It was given: a key may be outside.
  [[nodiscard]] bool is_partial() const { return is_partial_; }
  [[nodiscard]] bool has(uint64_t slot) const {
    return !is_partial_ || (bits_[slot / 64] >> slot % 64 & 1) != 0;
  }
  // kWrongShard for a key outside.
  [[nodiscard]] Status check(uint64_t key) const;
  // As parse() takes it; empty for all.
  [[nodiscard]] std::string to_text() const;

 private:
  bool is_partial_ = false;
  uint64_t bits_[kSlotCount / 64] = {};
};

}  // namespace kyro
