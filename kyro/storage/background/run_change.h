// Changes of the set of runs: each is prepared as files, then committed by one manifest, then shown
// to readers by one view, and only then the files that nobody names any more are removed.
//
// Thread rule: prepare_…() on the merger's thread, commits on the flusher's (recovery before both).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/background/merge.h"
#include "kyro/storage/engine_state.h"

namespace kyro {

// A merge or rebuild that waits to be committed.
struct RunChange {
  std::vector<uint64_t> replaced;  // ids of neighbours, newest first
  std::shared_ptr<Run> result;     // takes their place; null if nothing was left of them
};

// Has a run left alone in which damage was found: never merged, so that nothing is lost.
inline void quarantine_run(EngineState& state, const Run* run) {
  if (run == nullptr || run->is_quarantined()) return;
  run->quarantine();
  state.stats.corruptions.add();
  log_event(LogLevel::kError, "run_quarantined",
            {{"run", run->meta().id}, {"file", run->name()}, {"inspect", "kyrodb verify"}});
}

namespace run_change_detail {

// Takes the segments off the front of the list that are wholly in runs and beyond the retention.
inline std::vector<SegmentRef> trim_log(const Options& options, Manifest* manifest) {
  std::vector<SegmentRef>& segments = manifest->segments;
  uint64_t bytes = 0;
  for (const SegmentRef& segment : segments) bytes += segment.bytes;
  size_t cut = 0;
  while (cut + 1 < segments.size() && segments[cut + 1].previous_end <= manifest->flushed_offset) {
    const bool is_many = segments.size() - cut > options.wal_segments_max;
    const bool is_large = options.wal_bytes_max > 0 && bytes > options.wal_bytes_max;
    if (!is_many && !is_large) break;
    bytes -= segments[cut++].bytes;
  }
  std::vector<SegmentRef> removed(segments.begin(),
                                  segments.begin() + static_cast<std::ptrdiff_t>(cut));
  segments.erase(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(cut));
  return removed;
}

// A file that stays costs only room, and the next start removes it.
inline void remove_file(EngineState& state, const std::string& name) {
  if (Status removed = state.dir.remove(name); !removed.ok()) {
    log_event(LogLevel::kWarn, "remove_failed", {{"reason", removed.to_string()}});
  }
}
inline void remove_run_files(EngineState& state, uint64_t id) {
  remove_file(state, run_data_name(id));
  remove_file(state, run_index_name(id));
}

// Writes a merged run, opens it and readies it for readers; null if nothing is left.
inline Result<std::shared_ptr<Run>> make_run(EngineState& state, const MergeInput& input,
                                             const Cancel& cancel) {
  KYRO_TRY(state.check_directory());
  const uint64_t id = state.next_run.fetch_add(1, std::memory_order_relaxed);
  MergeOutput output;
  const Status merged = merge_to_run(state.dir, id, state.options.rmi, input, cancel, &output);
  if (!merged.ok()) {
    quarantine_run(state, output.damaged_run);
    return merged;
  }
  if (output.empty) return std::shared_ptr<Run>();
  bool rebuilt = false;
  auto run =
      Run::open(state.dir, output.meta, {state.options.rmi, state.options.huge_index}, &rebuilt);
  if (!run.ok()) {
    remove_run_files(state, id);
    return run;
  }
  (*run)->prepare_for_reads();
  return run;
}

// Asks for the free space instead of trying: a merge must not take the last bytes from the log.
// `at_most` is what the inputs
// take; where that does not fit, what is left of them may, as after deletes on a full disk. Where
// writes already fail for space, the reserve may be used as well: it is taken back from the room
// that the inputs give back. REQUIRES: end_loan() of the reserve when the merge is over.
inline Status check_room(EngineState& state, const MergeInput& input, uint64_t at_most,
                         const Cancel& cancel) {
  auto free_bytes = state.dir.free_bytes();
  KYRO_TRY(free_bytes);
  if (*free_bytes >= at_most) return Status();
  auto needed_bytes = merged_bytes(input, cancel);
  KYRO_TRY(needed_bytes);
  const uint64_t lacking_bytes = *needed_bytes - std::min(*needed_bytes, *free_bytes);
  const bool may_lend = lacking_bytes == 0 || (state.disk_is_full.load(std::memory_order_relaxed) &&
                                               *needed_bytes < at_most);
  if (may_lend && state.reserve.lend(state.dir, lacking_bytes)) return Status();
  return Status(Code::kNoSpace, "merging needs " + std::to_string(*needed_bytes) +
                                    " bytes of free space, " + std::to_string(*free_bytes) +
                                    " are there");
}

}  // namespace run_change_detail

// Turns the oldest frozen delta into a run, durably. REQUIRES: there is one, and its records are
// synced in the log.
inline Status flush_oldest(EngineState& state, const Cancel& cancel) {
  using namespace run_change_detail;
  const View view = state.copy_view();
  const std::shared_ptr<Delta>& delta = view.frozen.back();
  MergeInput input;
  input.delta = delta;
  input.older = view.runs;
  input.first_offset = delta->first_offset();
  input.end_offset = delta->end_offset();
  input.now_secs = state.clock.now_secs();
  auto run = make_run(state, input, cancel);
  KYRO_TRY(run);

  std::vector<SegmentRef> removed;
  {
    const MutexLock lock(state.manifest_mutex);
    Manifest next = state.manifest;
    if (*run != nullptr) next.runs.insert(next.runs.begin(), (*run)->meta());
    next.flushed_offset = input.end_offset;
    removed = trim_log(state.options, &next);
    if (Status committed = state.commit_manifest(std::move(next)); !committed.ok()) {
      if (*run != nullptr && !state.latch.is_set()) remove_run_files(state, (*run)->meta().id);
      return committed;
    }
    state.publish([&](View& fresh) {
      fresh.frozen.pop_back();
      if (*run != nullptr) fresh.runs.insert(fresh.runs.begin(), *run);
      fresh.contained_offset = state.manifest.flushed_offset;
      fresh.segments = state.manifest.segments;
    });
  }
  for (const SegmentRef& segment : removed) remove_file(state, segment_name(segment.first_offset));
  const uint64_t written = *run != nullptr ? (*run)->data_bytes() + (*run)->index_bytes() : 0;
  state.stats.run_written_bytes.add(written);
  log_event(LogLevel::kInfo, "flushed",
            {{"records", *run != nullptr ? (*run)->meta().records : 0}, {"bytes", written}});
  return Status();
}

// Merges the runs [choice.begin, choice.end) of `view` into one file; one that `is_rebuild`,
// made for the sake of its index, counts as such.
inline Status prepare_merge(EngineState& state, const View& view, MergeChoice choice,
                            bool is_rebuild, const Cancel& cancel, RunChange* change) {
  const uint64_t began_ns = monotonic_ns();
  MergeInput input;
  uint64_t needed_bytes = 0;
  for (size_t i = choice.begin; i < choice.end; ++i) {
    const std::shared_ptr<Run>& run = view.runs[i];
    if (run->is_quarantined()) {
      return Status(Code::kCorruption, run->name() + ": a damaged run is not merged");
    }
    input.runs.push_back(run);
    change->replaced.push_back(run->meta().id);
    needed_bytes += run->data_bytes() + run->index_bytes() +
                    run->meta().records * sizeof(IndexEntry);  // the key spool
  }
  input.older.assign(view.runs.begin() + static_cast<std::ptrdiff_t>(choice.end), view.runs.end());
  input.first_offset = input.runs.back()->meta().first_offset;
  input.end_offset = input.runs.front()->meta().end_offset;
  input.now_secs = state.clock.now_secs();
  KYRO_TRY(run_change_detail::check_room(state, input, needed_bytes, cancel));
  auto run = run_change_detail::make_run(state, input, cancel);
  KYRO_TRY(run);
  change->result = std::move(*run);
  if (change->result != nullptr) {
    state.stats.compaction_written_bytes.add(change->result->data_bytes() +
                                             change->result->index_bytes());
    if (is_rebuild) state.stats.count_rebuild(monotonic_ns() - began_ns);
  }
  return Status();
}

// Makes the index of view.runs[at] anew from its data.
inline Status prepare_index_rebuild(EngineState& state, const View& view, size_t at,
                                    RunChange* change) {
  KYRO_TRY(state.check_directory());
  const uint64_t began_ns = monotonic_ns();
  const Run& run = *view.runs[at];
  const RunOptions options{state.options.rmi, state.options.huge_index};
  KYRO_TRY(run.rebuild_index(state.dir, options));
  bool rebuilt = false;
  auto fresh = Run::open(state.dir, run.meta(), options, &rebuilt);
  KYRO_TRY(fresh);
  (*fresh)->prepare_for_reads();
  if (run.is_quarantined()) (*fresh)->quarantine();
  change->replaced.push_back(run.meta().id);
  change->result = std::move(*fresh);
  state.stats.count_rebuild(monotonic_ns() - began_ns);
  return Status();
}

// Commits a prepared change and shows it to readers.
inline Status install_run_change(EngineState& state, const RunChange& change) {
  using namespace run_change_detail;
  const bool keeps_files =
      change.result != nullptr && change.result->meta().id == change.replaced.front();
  std::vector<SegmentRef> removed;
  {
    const MutexLock lock(state.manifest_mutex);
    Manifest next = state.manifest;
    const auto count = static_cast<std::ptrdiff_t>(change.replaced.size());
    const auto first = std::find_if(next.runs.begin(), next.runs.end(), [&](const RunMeta& run) {
      return run.id == change.replaced.front();
    });
    KYRO_CHECK(next.runs.end() - first >= count);  // only the flusher changes the set of runs
    const auto at = first - next.runs.begin();
    next.runs.erase(first, first + count);
    if (change.result != nullptr) next.runs.insert(next.runs.begin() + at, change.result->meta());
    removed = trim_log(state.options, &next);
    const bool must_commit = !keeps_files || !removed.empty();
    Status committed = must_commit ? state.commit_manifest(std::move(next)) : Status();
    if (!committed.ok()) {
      if (change.result != nullptr && !keeps_files && !state.latch.is_set()) {
        remove_run_files(state, change.result->meta().id);
      }
      return committed;
    }
    state.publish([&](View& fresh) {
      const auto begin = fresh.runs.begin() + at;
      fresh.runs.erase(begin, begin + count);
      if (change.result != nullptr) fresh.runs.insert(fresh.runs.begin() + at, change.result);
      fresh.segments = state.manifest.segments;
    });
  }
  if (!keeps_files) {
    for (const uint64_t id : change.replaced) remove_run_files(state, id);
  }
  for (const SegmentRef& segment : removed) remove_file(state, segment_name(segment.first_offset));
  return Status();
}

}  // namespace kyro
