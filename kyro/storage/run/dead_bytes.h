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

// Records of newer runs whose key range overlaps that of the run at `at`.
[[nodiscard]] inline uint64_t newer_records_over(std::span<const std::shared_ptr<Run>> newest_first,
                                                 size_t at) {
  const RunMeta& run = newest_first[at]->meta();
  uint64_t records = 0;
  for (size_t i = 0; i < at; ++i) {
    const RunMeta& newer = newest_first[i]->meta();
    if (newer.key_min <= run.key_max && run.key_min <= newer.key_max) records += newer.records;
  }
  return records;
}

// Of one run.
[[nodiscard]] inline uint64_t dead_bytes_of(std::span<const std::shared_ptr<Run>> newest_first,
                                            size_t at) {
  const RunMeta& run = newest_first[at]->meta();
  const uint64_t newer_records = newer_records_over(newest_first, at);
  const double replaced =
      static_cast<double>(std::min(newer_records, run.records)) / static_cast<double>(run.records);
  const uint64_t bytes = static_cast<uint64_t>(replaced * static_cast<double>(run.record_bytes)) +
                         run.tombstones * kRecordHeaderBytes + newest_first[at]->expired_bytes();
  return std::min(bytes, run.record_bytes);
}

[[nodiscard]] inline uint64_t estimate_dead_bytes(
    std::span<const std::shared_ptr<Run>> newest_first) {
  uint64_t dead_bytes = 0;
  for (size_t i = 0; i < newest_first.size(); ++i) dead_bytes += dead_bytes_of(newest_first, i);
  return dead_bytes;
}

}  // namespace kyro
