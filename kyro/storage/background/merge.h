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
#include "kyro/storage/read/lookup.h"
#include "kyro/storage/read/run_cursor.h"
#include "kyro/storage/run/dead_bytes.h"
#include "kyro/storage/run/run.h"
#include "kyro/storage/run/run_writer.h"

namespace kyro {

struct MergeInput {
  std::vector<std::shared_ptr<Run>> runs;   // newest first, neighbours in age
  std::shared_ptr<Delta> delta;             // newer than the runs; may be null
  std::vector<std::shared_ptr<Run>> older;  // runs older than all inputs, for the tombstone rule
  // What has replaced records of the inputs: versions of it below `covering_bound` are visible and
  // durable, so what they cover is left out.
  std::vector<std::shared_ptr<Run>> covering_runs;
  std::vector<std::shared_ptr<Delta>> covering_deltas;
  uint64_t covering_bound = 0;
  // Looks the keys of tombstones up in `older`, in place of the key ranges alone.
  bool is_exact = false;
  uint64_t first_offset = 0;  // the part of the log that the result stands for
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

// Whether a newer version of `key` makes those of the inputs invisible.
[[nodiscard]] inline bool is_covered(const MergeInput& input, uint64_t key) {
  for (const auto& delta : input.covering_deltas) {
    if (delta->find(key, input.covering_bound) != nullptr) return true;
  }
  return std::any_of(input.covering_runs.begin(), input.covering_runs.end(), [&](const auto& run) {
    return run->may_hold(key) && find_in_run(run, key).has_record();
  });
}

// Whether an older run may hold a version of `key` that has to stay hidden. A damaged place may.
[[nodiscard]] inline bool is_shadowing(const MergeInput& input, uint64_t key) {
  return std::any_of(input.older.begin(), input.older.end(), [&](const auto& run) {
    return run->may_hold(key) &&
           (!input.is_exact || find_in_run(run, key).source() != Source::kNone);
  });
}

// Walks the records of the merged run in key order: keep(header, encoded record) for each.
template <class Keep>
Status for_each_kept(MergedCursor& cursor, const MergeInput& input, const Cancel& cancel,
                     const Keep& keep) {
  for (cursor.seek(0); cursor.valid(); cursor.next()) {
    KYRO_TRY(cancel.check());
    const RecordView& record = cursor.record();
    const RecordHeader& header = record.header;
    if (is_covered(input, header.key)) continue;
    if (record.is_live(input.now_secs)) {
      KYRO_TRY(keep(header, encoded_record(record)));
      continue;
    }
    if (!is_shadowing(input, header.key)) continue;
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
  for (const auto& run : input.runs) sources.push_back(open_cursor(run));
  return MergedCursor(std::move(sources));
}

// What would come out of a merge.
struct MergeSize {
  uint64_t records = 0;
  uint64_t record_bytes = 0;
  uint64_t large_bytes = 0;  // of them in large records
  // Room that merge_to_run() needs meanwhile.
  [[nodiscard]] uint64_t needed_bytes() const {
    return records == 0 ? 0 : run_bytes_max(records, record_bytes, large_bytes);
  }
};

// Counted by a walk over the sources that writes nothing.
inline Result<MergeSize> measure_merge(const MergeInput& input, const Cancel& cancel) {
  MergeSize size;
  MergedCursor cursor = open_merge_sources(input);
  KYRO_TRY(for_each_kept(cursor, input, cancel, [&](const RecordHeader&, std::string_view record) {
    ++size.records;
    size.record_bytes += record.size();
    if (PageFill::is_large(record.size())) size.large_bytes += record.size();
    return Status();
  }));
  return size;
}

// Writes the merged run `id`. On any failure nothing of it is left that matters.
inline Status merge_to_run(Directory& dir, uint64_t id, const RmiOptions& rmi,
                           const MergeInput& input, const Cancel& cancel, MergeOutput* output) {
  MergedCursor cursor = open_merge_sources(input);
  RunWriter writer(dir, id, rmi);
  const auto write = [&]() -> Status {
    KYRO_TRY(writer.write(
        [&](const auto& visit) { return for_each_kept(cursor, input, cancel, visit); }));
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

// Room that a merge of these may need at most.
[[nodiscard]] inline uint64_t needed_bytes_of(std::span<const std::shared_ptr<Run>> runs,
                                              const MergeChoice& choice) {
  MergeSize size;
  for (size_t i = choice.begin; i < choice.end; ++i) {
    size.records += runs[i]->meta().records;
    size.record_bytes += runs[i]->meta().record_bytes;
    size.large_bytes += runs[i]->body().large_bytes;  // not counted in version 1
  }
  return size.needed_bytes();
}

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

// How many of these runs one key may lie in, at most: of so many a lookup reads the index.
[[nodiscard]] inline size_t overlap_depth(std::span<const std::shared_ptr<Run>> runs) {
  std::vector<uint64_t> firsts;
  std::vector<uint64_t> lasts;
  for (const auto& run : runs) {
    firsts.push_back(run->meta().key_min);
    lasts.push_back(run->meta().key_max);
  }
  std::sort(firsts.begin(), firsts.end());
  std::sort(lasts.begin(), lasts.end());
  size_t ended = 0;
  size_t deepest = 0;
  for (size_t begun = 1; begun <= firsts.size(); ++begun) {
    while (lasts[ended] < firsts[begun - 1]) ++ended;
    deepest = std::max(deepest, begun - ended);
  }
  return deepest;
}

// How many runs a stretch counts as: each costs a lookup a probe where all have keys of the same
// range, but only a comparison where each has a range of its own, as keys that ascend with time
// leave them. Merging those can wait until there are four times as many, so they are rewritten half
// as often.
[[nodiscard]] inline size_t merge_weight(std::span<const std::shared_ptr<Run>> runs) {
  constexpr size_t kDisjointRuns = 4;
  return std::max(overlap_depth(runs), runs.size() / kDisjointRuns);
}

// Size-tiered: the newest stretch of neighbours that weighs at least `fan_in`, in which each run is
// at most as large as all newer ones of the stretch together. So a record is rewritten about once
// each time the data around it has doubled, and the number of runs grows with the logarithm of the
// data size.
//
// No merge may need more than `bytes_max`. A stretch that ends for that reason is merged whatever
// its number, once it needs half of that: then it has its final size, and there are at most twice
// as many runs of that size as there must be.
[[nodiscard]] inline MergeChoice choose_tier(std::span<const std::shared_ptr<Run>> newest_first,
                                             size_t fan_in, uint64_t bytes_max) {
  for (size_t begin = 0; begin < newest_first.size(); ++begin) {
    uint64_t bytes = newest_first[begin]->data_bytes();
    size_t end = begin + 1;
    if (newest_first[begin]->is_quarantined()) continue;
    bool is_capped = false;
    while (end < newest_first.size() && !newest_first[end]->is_quarantined() &&
           newest_first[end]->data_bytes() <= bytes) {
      is_capped = needed_bytes_of(newest_first, {begin, end + 1}) > bytes_max;
      if (is_capped) break;
      bytes += newest_first[end]->data_bytes();
      ++end;
    }
    if (merge_weight(newest_first.subspan(begin, end - begin)) >= fan_in) return {begin, end};
    const bool is_final = is_capped && end - begin > 1 &&
                          needed_bytes_of(newest_first, {begin, end}) >= bytes_max / 2;
    if (is_final) return {begin, end};
  }
  return {};
}

// What to merge next, if anything.
[[nodiscard]] inline MergeChoice choose_merge(std::span<const std::shared_ptr<Run>> newest_first,
                                              size_t fan_in, uint64_t bytes_max = ~uint64_t{0}) {
  MergeChoice choice = choose_tier(newest_first, fan_in, bytes_max);
  if (!choice.empty()) return choice;
  choice = choose_for_space(newest_first);
  return needed_bytes_of(newest_first, choice) <= bytes_max ? choice : MergeChoice{};
}

// The stretch that a compaction merges next, of the runs before `end`: as many of the oldest as
// may be merged, one at least.
[[nodiscard]] inline MergeChoice choose_to_compact(
    std::span<const std::shared_ptr<Run>> newest_first, size_t end, uint64_t bytes_max) {
  size_t begin = end - 1;
  while (begin > 0 && needed_bytes_of(newest_first, {begin - 1, end}) <= bytes_max) --begin;
  return {begin, end};
}

}  // namespace kyro
