// What a lookup in an index asks for and answers.
//
// Thread rule: values and pure functions.
#pragma once

#include <cstdint>

#include "kyro/index/rmi_file.h"

namespace kyro {

// `yes` or `no` without a branch: even odds make compilers take a conditional move.
[[nodiscard]] inline const IndexEntry* rmi_select(bool condition, const IndexEntry* yes,
                                                  const IndexEntry* no) {
  asm("" : "+r"(yes));
  const IndexEntry* chosen = condition ? yes : no;
  asm("" : "+r"(chosen));
  return chosen;
}

enum class FindCode : uint64_t { kMiss = 0, kHit = 1, kCorrupt = 2 };

struct FindResult {
  uint64_t position;  // of the record, if code is kHit; else 0
  FindCode code;
};

// Which entry answers a lookup: that of exactly the key, or the smallest that is not below it, as
// where the entries are the last keys of pages.
enum class RmiMatch : uint8_t { kExact, kCeiling };

}  // namespace kyro
