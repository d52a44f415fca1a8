// Slots: the parts that the keys are cut into where one machine is not enough for them.
//
// A key is in slot CRC32C(its decimal digits) mod 16384, which a proxy can compute from a path too
// (HAProxy: `crc32c,mod(16384)`). A shard has a set of slots; as text that is "0-5460,8000".
//
// Thread rule: pure functions and values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/crc32c.h"
#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/decimal.h"
#include "kyro/base/text/slot_set.h"

namespace kyro {

[[nodiscard]] inline uint64_t slot_of(uint64_t key) {
  char buffer[kDecimalDigitsMax];
  char* const end = buffer + sizeof buffer;
  const char* const begin = write_decimal_before(end, key);
  return crc32c(begin, static_cast<size_t>(end - begin)) % kSlotCount;
}

struct SlotRange {
  uint64_t first = 0;
  uint64_t last = 0;  // belongs to it
};

// "7" or "7-9", or with another sign between the two.
[[nodiscard]] inline Result<SlotRange> parse_slot_range(std::string_view text, char between = '-') {
  const size_t sign = text.find(between);
  const auto first = parse_u64(text.substr(0, sign));
  const auto last = sign == text.npos ? first : parse_u64(text.substr(sign + 1));
  if (first && last && *first <= *last && *last < kSlotCount) return SlotRange{*first, *last};
  return Status(Code::kInvalid, "slots are numbers from 0 to " + std::to_string(kSlotCount - 1) +
                                    " or ranges of them like 0" + between + "5460, not \"" +
                                    std::string(text) + "\"");
}

inline Result<SlotSet> SlotSet::parse(std::string_view text) {
  SlotSet set;
  set.is_partial_ = true;
  Status status;
  for_each_element(
      text,
      [&](std::string_view one) {
        const auto range = parse_slot_range(one);
        if (!range.ok()) {
          status = range.status();
          return;
        }
        for (uint64_t i = range->first; i <= range->last; ++i) {
          set.bits_[i / 64] |= uint64_t{1} << i % 64;
        }
      },
      ',');
  KYRO_TRY(status);
  return set;
}

inline Status SlotSet::check(uint64_t key) const {
  if (!is_partial_) [[likely]] {
    return Status();
  }
  const uint64_t slot = slot_of(key);
  if (has(slot)) return Status();
  return Status(Code::kWrongShard, "key " + std::to_string(key) + " is in slot " +
                                       std::to_string(slot) +
                                       ", which is not served here (--slots)");
}

inline std::string SlotSet::to_text() const {
  std::string text;
  for (uint64_t first = 0; is_partial_ && first < kSlotCount; ++first) {
    if (!has(first)) continue;
    uint64_t last = first;
    while (last + 1 < kSlotCount && has(last + 1)) ++last;
    text.append(text.empty() ? "" : ",").append(std::to_string(first));
    if (last != first) text.append("-").append(std::to_string(last));
    first = last;
  }
  return text;
}

}  // namespace kyro
