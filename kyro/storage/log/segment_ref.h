// A log segment as the manifest and a view name it.
//
// Thread rule: a value.
#pragma once

#include <cstdint>

namespace kyro {

// A segment as the manifest lists it; previous_end is repeated from its header.
struct SegmentRef {
  uint64_t first_offset = 0;
  uint64_t nonce = 0;
  uint64_t previous_end = 0;  // smaller than first_offset where numbering jumped
  uint64_t bytes = 0;         // its size once sealed; not in the manifest
};

}  // namespace kyro
