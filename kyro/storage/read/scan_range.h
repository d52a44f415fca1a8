// What an ordered read goes over.
#pragma once

#include <cstdint>

#include "kyro/base/direction.h"

namespace kyro {

// Keys in [first, last]; none if first > last.
struct ScanRange {
  uint64_t first = 0;
  uint64_t last = ~uint64_t{0};
  Direction direction = Direction::kUp;
};

}  // namespace kyro
