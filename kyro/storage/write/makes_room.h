// Whether puts make room on a disk that is short of it: they do where what they replace takes more
// than twice as much, once it is rewritten without it (background/reclaim.h).
//
// Thread rule: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kyro/storage/read/lookup.h"
#include "kyro/storage/record.h"
#include "kyro/storage/view.h"

namespace kyro {

// Looks no further than it has to: it reads little more than twice what is to be written, and does
// not ask of a large batch. `view` is pinned.
[[nodiscard]] inline bool makes_room(const View& view, uint64_t bound,
                                     std::span<const Mutation> mutations) {
  constexpr size_t kMutationsMax = 1024;
  if (mutations.size() > kMutationsMax) return false;
  uint64_t written_bytes = 0;
  for (const Mutation& mutation : mutations) written_bytes += mutation.record_bytes();
  uint64_t replaced_bytes = 0;
  for (const Mutation& mutation : mutations) {
    const Lookup found = find_in_view(view, mutation.key, bound);
    if (found.has_record()) replaced_bytes += kRecordHeaderBytes + found.value().size();
    if (replaced_bytes > 2 * written_bytes) return true;
  }
  return false;
}

}  // namespace kyro
