// Turning many sources into one run, and choosing which runs to merge.
//
// A flush (one delta), a merge of neighbouring runs and a full compaction are the same operation:
// walk the sources merged, keep the newest version of each key, write a run. A tombstone is kept
// only while an older run could still hold its key; an expired record becomes a tombstone with the
// same offset, then the same rule applies.
//
// Thread rule: one thread per merge; readers go on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/storage/read/cursor.h"
#include "kyro/storage/run/dead_bytes.h"
#include "kyro/storage/run/run.h"
#include "kyro/storage/run/run_writer.h"

namespace kyro {

struct MergeInput {
  std::vector<std::shared_ptr<Run>> runs;   // newest first, neighbours in age
  std::shared_ptr<Delta> delta;             // newer than the runs; may be null
  std::vector<std::shared_ptr<Run>> older;  // runs older than all inputs, for the tombstone rule
  uint64_t first_offset = 0;                // the part of the log that the result stands for
  uint64_t end_offset = 0;
  uint64_t now_secs = 0;
};

struct MergeOutput {
  RunMeta meta;
  bool empty = true;                 // nothing was left: no files were made
  const Run* damaged_run = nullptr;  // set with a kCorruption: where the damage is
};

// Not inlined: with sanitizers g++ 12 takes the empty value for one that overflows `to`.
[[gnu::noinline]] inline void encode_tombstone(uint64_t key, uint64_t offset, char* to) {
  encode_record(Mutation::remove(key), offset, to);
}

// Walks the records of the merged run in key order: keep(header, encoded record) for each.
template <class Keep>
Status for_each_kept(MergedCursor& cursor, const MergeInput& input, const Cancel& cancel,
                     const Keep& keep) {
  for (cursor.seek(0); cursor.valid(); cursor.next()) {
    KYRO_TRY(cancel.check());
    const RecordView& record = cursor.record();
    const RecordHeader& header = record.header;
    if (record.is_live(input.now_secs)) {
      KYRO_TRY(keep(header, encoded_record(record)));
      continue;
    }
    const bool shadows = std::any_of(input.older.begin(), input.older.end(), [&](const auto& run) {
      return run->meta().may_hold(header.key);
    });
    if (!shadows) continue;
    char tombstone[kRecordHeaderBytes];
    encode_tombstone(header.key, header.offset, tombstone);
    KYRO_TRY(keep(load<RecordHeader>(tombstone), std::string_view(tombstone, sizeof tombstone)));
  }
  return cursor.status();
}

inline MergedCursor open_merge_sources(const MergeInput& input) {
  std::vector<std::unique_ptr<RecordCursor>> sources;
  if (input.delta != nullptr) {
    sources.push_back(std::make_unique<DeltaCursor>(input.delta, input.end_offset));
  }
  for (const auto& run : input.runs) sources.push_back(std::make_unique<RunCursor>(run));
  return MergedCursor(std::move(sources));
}

// Room that merge_to_run needs, counted by a walk over the sources that writes nothing.
inline Result<uint64_t> merged_bytes(const MergeInput& input, const Cancel& cancel) {
  // Of each record: an entry of the key spool and, at the usual fill, one and a half of the index.
  constexpr uint64_t kIndexBytesPerRecord = 48;
  constexpr uint64_t kFixedBytes = 64 * 1024;
  uint64_t bytes = kFixedBytes;
  MergedCursor cursor = open_merge_sources(input);
  KYRO_TRY(for_each_kept(cursor, input, cancel, [&](const RecordHeader&, std::string_view record) {
    bytes += record.size() + kIndexBytesPerRecord;
    return Status();
  }));
  return bytes;
}

// Writes the merged run `id`. On any failure nothing of it is left that matters.
inline Status merge_to_run(Directory& dir, uint64_t id, const RmiOptions& rmi,
                           const MergeInput& input, const Cancel& cancel, MergeOutput* output) {
  MergedCursor cursor = open_merge_sources(input);
  RunWriter writer(dir, id, rmi);
  const auto write = [&]() -> Status {
    KYRO_TRY(writer.start());
    const auto append = [&](const RecordHeader& header, std::string_view bytes) {
      return writer.append(header, bytes);
    };
    KYRO_TRY(for_each_kept(cursor, input, cancel, append));
    if (writer.records() == 0) return Status();
    auto meta = writer.finish(input.first_offset, input.end_offset);
    KYRO_TRY(meta);
    output->meta = *meta;
    output->empty = false;
    return Status();
  };
  const Status status = write();
  if (output->empty) writer.abandon();
  if (!cursor.status().ok()) output->damaged_run = cursor.damaged_run();
  return status;
}

// A choice of neighbouring runs: indices [begin, end) of a newest-first list; empty if none.
struct MergeChoice {
  size_t begin = 0;
  size_t end = 0;
  [[nodiscard]] bool empty() const { return begin == end; }
  friend bool operator==(const MergeChoice&, const MergeChoice&) = default;
};

// All runs, once two thirds of them may be dead. So runs take at most about three times the room of
// what is live in them, also after many deletes, or overwrites that the tiers have not met yet.
[[nodiscard]] inline MergeChoice choose_for_space(
    std::span<const std::shared_ptr<Run>> newest_first) {
  if (newest_first.size() < 2) return {};
  uint64_t bytes = 0;
  for (const auto& run : newest_first) {
    if (run->is_quarantined()) return {};
    bytes += run->meta().record_bytes;
  }
  if (estimate_dead_bytes(newest_first) < bytes / 3 * 2) return {};
  return {0, newest_first.size()};
}

// Size-tiered: the newest stretch of at least `fan_in` neighbours in which each run is at most as
// large as all newer ones of the stretch together. So a record is rewritten about once each time
// the data around it has doubled, and the number of runs grows with the logarithm of the data size.
[[nodiscard]] inline MergeChoice choose_tier(std::span<const std::shared_ptr<Run>> newest_first,
                                             size_t fan_in) {
  for (size_t begin = 0; begin < newest_first.size(); ++begin) {
    uint64_t bytes = newest_first[begin]->data_bytes();
    size_t end = begin + 1;
    if (newest_first[begin]->is_quarantined()) continue;
    while (end < newest_first.size() && !newest_first[end]->is_quarantined() &&
           newest_first[end]->data_bytes() <= bytes) {
      bytes += newest_first[end]->data_bytes();
      ++end;
    }
    if (end - begin >= fan_in) return {begin, end};
  }
  return {};
}

// What to merge next, if anything.
[[nodiscard]] inline MergeChoice choose_merge(std::span<const std::shared_ptr<Run>> newest_first,
                                              size_t fan_in) {
  const MergeChoice choice = choose_tier(newest_first, fan_in);
  return choice.empty() ? choose_for_space(newest_first) : choice;
}

}  // namespace kyro
