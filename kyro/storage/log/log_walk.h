// Goes through the segments of a log, each with what the log goes on with after it.
//
// Two segments are open at a time, since the end of one is judged by the next.
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "kyro/storage/log/segment_end.h"

namespace kyro {

// Calls walk(SegmentReader&, const SegmentSequel&) for every segment, oldest first. `open(ref)`
// gives its reader, null for one that has to be left out. `durable_offset`: every record below it
// was synced.
template <class Open, class Walk>
Status walk_segments(std::span<const SegmentRef> segments, uint64_t durable_offset, Open open,
                     Walk walk) {
  std::unique_ptr<SegmentReader> segment;
  for (size_t i = 0; i < segments.size(); ++i) {
    Result<std::unique_ptr<SegmentReader>> next = open(segments[i]);
    KYRO_TRY(next);
    if (segment != nullptr) {
      const bool is_read = *next != nullptr && (*next)->has_header();
      KYRO_TRY(walk(*segment, is_read ? SegmentSequel::segment((*next)->header())
                                      : SegmentSequel::unread(segments[i])));
    }
    segment = std::move(*next);
  }
  return segment != nullptr ? walk(*segment, SegmentSequel::none(durable_offset)) : Status();
}

}  // namespace kyro
