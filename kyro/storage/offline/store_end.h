// Where the numbering of a store that no process uses goes on.
//
// Thread rule: the directory is locked for reading meanwhile (offline.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kyro/storage/log/log_walk.h"
#include "kyro/storage/log/segment_end.h"
#include "kyro/storage/manifest.h"
#include "kyro/storage/offline/verify.h"

namespace kyro {

struct StoreEnd {
  uint64_t next_offset = 0;
  // Nobody has seen an offset at or above that: the store was stopped in good order.
  bool is_certain = true;
};

// Of a store that an engine would open; kCorruption if none would.
[[nodiscard]] inline Result<StoreEnd> find_store_end(Directory& dir, Manifest manifest) {
  KYRO_TRY(check_for_opening(dir, manifest));
  drop_flushed_segments(&manifest);
  StoreEnd end{manifest.next_offset};
  VerifyReport report;
  const auto open = [&](const SegmentRef& ref) { return SegmentReader::open(dir, ref); };
  const auto read = [&](SegmentReader& segment, const SegmentSequel& sequel) -> Status {
    Status status = verify_detail::verify_segment(segment, sequel, &report,
                                                  [](const GroupHeader&, std::string_view) {});
    end = {segment.next_offset(), !may_go_on_elsewhere(segment)};
    return status;
  };
  KYRO_TRY(walk_segments(manifest.segments, manifest.next_offset, open, read));
  return end;
}

}  // namespace kyro
