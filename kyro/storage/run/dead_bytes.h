// How much of the runs nobody can read any more: versions that newer ones replaced, and tombstones.
//
// An estimate on the high side: every record is taken to replace one of each older run whose key
// range overlaps its own, and records of a run to be of its average size. So it is exact where all
// writes are overwrites of like size, too high for keys that are new, and 0 when there is one run.
// What has expired is in it from the scrub on that reads it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

#include "kyro/storage/run/run.h"

namespace kyro {

[[nodiscard]] inline uint64_t estimate_dead_bytes(
    std::span<const std::shared_ptr<Run>> newest_first) {
  uint64_t dead_bytes = 0;
  for (size_t i = 0; i < newest_first.size(); ++i) {
    const RunMeta& run = newest_first[i]->meta();
    uint64_t newer_records = 0;
    for (size_t j = 0; j < i; ++j) {
      const RunMeta& newer = newest_first[j]->meta();
      if (newer.key_min <= run.key_max && run.key_min <= newer.key_max) {
        newer_records += newer.records;
      }
    }
    const double replaced = static_cast<double>(std::min(newer_records, run.records)) /
                            static_cast<double>(run.records);
    const uint64_t bytes = static_cast<uint64_t>(replaced * static_cast<double>(run.record_bytes)) +
                           run.tombstones * kRecordHeaderBytes + newest_first[i]->expired_bytes();
    dead_bytes += std::min(bytes, run.record_bytes);
  }
  return dead_bytes;
}

}  // namespace kyro
