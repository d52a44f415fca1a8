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
inline std::vector<SegmentRef> trim_log(const EngineState& state, Manifest* manifest) {
  const Options& options = state.options;
  std::vector<SegmentRef>& segments = manifest->segments;
  uint64_t bytes = 0;
  for (const SegmentRef& segment : segments) bytes += segment.bytes;
  size_t flushed = 0;
  uint64_t flushed_bytes = 0;
  while (flushed + 1 < segments.size() &&
         segments[flushed + 1].previous_end <= manifest->flushed_offset) {
    flushed_bytes += segments[flushed++].bytes;
  }
  size_t cut = 0;
  for (; cut < flushed; ++cut) {
    const bool is_many = segments.size() - cut > options.wal_segments_max;
    const bool is_large = (options.wal_bytes_max > 0 && bytes > options.wal_bytes_max) ||
                          flushed_bytes > state.space.retained_log_bytes_max();
    if (!is_many && !is_large) break;
    bytes -= segments[cut].bytes;
    flushed_bytes -= segments[cut].bytes;
  }
  const auto end = segments.begin() + static_cast<std::ptrdiff_t>(cut);
  std::vector<SegmentRef> removed(segments.begin(), end);
  segments.erase(segments.begin(), end);
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

}  // namespace run_change_detail

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
    run_change_detail::remove_run_files(state, id);
    return run;
  }
  (*run)->prepare_for_reads();
  return run;
}

namespace run_change_detail {

[[nodiscard]] inline Status lacks_room(const char* what, uint64_t needed_bytes,
                                       uint64_t free_bytes) {
  return Status(Code::kNoSpace, std::string(what) + " needs " + std::to_string(needed_bytes) +
                                    " bytes of free space, " + std::to_string(free_bytes) +
                                    " are there");
}

}  // namespace run_change_detail

// Asks instead of trying: a merge must not take the last bytes from the log. Where writes fail for
// space, a merge that gives room back may use the reserve as well. REQUIRES: end_loan() of the
// reserve when the merge is over.
inline Status borrow_room(EngineState& state, uint64_t needed_bytes, bool gives_room_back) {
  auto free_bytes = state.dir.free_bytes();
  KYRO_TRY(free_bytes);
  const uint64_t lacking_bytes = needed_bytes - std::min(needed_bytes, *free_bytes);
  const bool is_full = state.disk_is_full.load(std::memory_order_relaxed) || state.space.is_full();
  const bool may_lend = lacking_bytes == 0 || (is_full && gives_room_back);
  if (may_lend && state.reserve.lend(state.dir, lacking_bytes)) return Status();
  return run_change_detail::lacks_room("merging", needed_bytes, *free_bytes);
}

namespace run_change_detail {

// Of a merge whose inputs take `at_most`. Where that does not fit, what is left of them may, as
// after deletes on a full disk. Where the volume does not tell its room the attempt will.
inline Status check_room(EngineState& state, const MergeInput& input, uint64_t at_most,
                         const Cancel& cancel) {
  auto free_bytes = state.dir.free_bytes();
  if (!free_bytes.ok() && free_bytes.status().code() != Code::kBusy) return Status();
  KYRO_TRY(free_bytes);
  if (*free_bytes >= at_most) return Status();
  auto size = measure_merge(input, cancel);
  KYRO_TRY(size);
  return borrow_room(state, size->needed_bytes(), size->needed_bytes() < at_most);
}

// The same for a flush, which has the reserve if it comes to that.
inline Status check_flush_room(EngineState& state, const MergeInput& input, const Cancel& cancel) {
  auto free_bytes = state.dir.free_bytes();
  if (!free_bytes.ok() || *free_bytes >= 2 * input.delta->bytes()) return Status();
  auto size = measure_merge(input, cancel);
  KYRO_TRY(size);
  if (*free_bytes >= size->needed_bytes()) return Status();
  return lacks_room("flushing", size->needed_bytes(), *free_bytes);
}

}  // namespace run_change_detail

// Turns the oldest frozen delta into a run, durably. REQUIRES: there is one, and its records are
// synced in the log.
inline Status flush_oldest(EngineState& state, const Cancel& cancel) {
  using namespace run_change_detail;
  // Newer versions stand for older ones from here on, whatever a crash takes.
  const uint64_t covering_bound = std::min(state.visible.load(std::memory_order_acquire),
                                           state.durable.load(std::memory_order_acquire));
  const View view = state.copy_view();
  const std::shared_ptr<Delta>& delta = view.frozen.back();
  MergeInput input;
  input.delta = delta;
  input.older = view.runs;
  input.is_exact = state.space.is_short();
  input.covering_deltas.assign(view.frozen.begin(), view.frozen.end() - 1);
  input.covering_deltas.push_back(view.active);
  input.covering_bound = covering_bound;
  input.first_offset = delta->first_offset();
  input.end_offset = delta->end_offset();
  input.now_secs = state.clock.now_secs();
  KYRO_TRY(check_flush_room(state, input, cancel));
  auto run = make_run(state, input, cancel);
  KYRO_TRY(run);

  std::vector<SegmentRef> removed;
  {
    const MutexLock lock(state.manifest_mutex);
    Manifest next = state.manifest;
    if (*run != nullptr) next.runs.insert(next.runs.begin(), (*run)->meta());
    next.flushed_offset = input.end_offset;
    removed = trim_log(state, &next);
    if (Status committed = state.commit_manifest(std::move(next)); !committed.ok()) {
      if (*run != nullptr && !state.latch.is_set()) remove_run_files(state, (*run)->meta().id);
      return committed;
    }
    const std::vector<SegmentRef>& segments = state.manifest.segments;
    state.publish([&](View& fresh) {
      fresh.frozen.pop_back();
      if (*run != nullptr) fresh.runs.insert(fresh.runs.begin(), *run);
      fresh.contained_offset = input.end_offset;
      fresh.seen_offset = std::max(fresh.seen_offset, covering_bound);
      fresh.segments = segments;
    });
  }
  for (const SegmentRef& segment : removed) remove_file(state, segment_name(segment.first_offset));
  const uint64_t written = *run != nullptr ? (*run)->data_bytes() + (*run)->index_bytes() : 0;
  state.stats.run_written_bytes.add(written);
  log_event(LogLevel::kInfo, "flushed",
            {{"records", *run != nullptr ? (*run)->meta().records : 0}, {"bytes", written}});
  return Status();
}

// How a merge is made.
struct MergeManner {
  bool is_thorough = false;  // looks for what newer runs have replaced, and at each tombstone
  bool is_rebuild = false;   // is made for the sake of its index, and counts as such
};

// Merges the runs [choice.begin, choice.end) of `view` into one file.
inline Status prepare_merge(EngineState& state, const View& view, MergeChoice choice,
                            MergeManner manner, const Cancel& cancel, RunChange* change) {
  const uint64_t began_ns = monotonic_ns();
  MergeInput input;
  for (size_t i = choice.begin; i < choice.end; ++i) {
    const std::shared_ptr<Run>& run = view.runs[i];
    if (run->is_quarantined()) {
      return Status(Code::kCorruption, run->name() + ": a damaged run is not merged");
    }
    input.runs.push_back(run);
    change->replaced.push_back(run->meta().id);
  }
  const auto first = view.runs.begin() + static_cast<std::ptrdiff_t>(choice.begin);
  if (manner.is_thorough) input.covering_runs.assign(view.runs.begin(), first);
  input.is_exact = manner.is_thorough;
  input.older.assign(view.runs.begin() + static_cast<std::ptrdiff_t>(choice.end), view.runs.end());
  input.first_offset = input.runs.back()->meta().first_offset;
  input.end_offset = input.runs.front()->meta().end_offset;
  input.now_secs = state.clock.now_secs();
  const uint64_t at_most = needed_bytes_of(view.runs, choice);
  KYRO_TRY(run_change_detail::check_room(state, input, at_most, cancel));
  auto run = make_run(state, input, cancel);
  KYRO_TRY(run);
  change->result = std::move(*run);
  if (change->result != nullptr) {
    state.stats.compaction_written_bytes.add(change->result->data_bytes() +
                                             change->result->index_bytes());
    if (manner.is_rebuild) state.stats.count_rebuild(monotonic_ns() - began_ns);
  }
  return Status();
}

// Gives up log that only replay reads, as far as the retention allows it now.
inline Status drop_retained_log(EngineState& state) {
  using namespace run_change_detail;
  std::vector<SegmentRef> removed;
  {
    const MutexLock lock(state.manifest_mutex);
    Manifest next = state.manifest;
    removed = trim_log(state, &next);
    if (removed.empty()) return Status();
    KYRO_TRY(state.commit_manifest(std::move(next)));
    const std::vector<SegmentRef>& segments = state.manifest.segments;
    state.publish([&](View& fresh) { fresh.segments = segments; });
  }
  for (const SegmentRef& segment : removed) remove_file(state, segment_name(segment.first_offset));
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
    removed = trim_log(state, &next);
    const bool must_commit = !keeps_files || !removed.empty();
    Status committed = must_commit ? state.commit_manifest(std::move(next)) : Status();
    if (!committed.ok()) {
      if (change.result != nullptr && !keeps_files && !state.latch.is_set()) {
        remove_run_files(state, change.result->meta().id);
      }
      return committed;
    }
    const std::vector<SegmentRef>& segments = state.manifest.segments;
    state.publish([&](View& fresh) {
      const auto begin = fresh.runs.begin() + at;
      fresh.runs.erase(begin, begin + count);
      if (change.result != nullptr) fresh.runs.insert(fresh.runs.begin() + at, change.result);
      fresh.segments = segments;
    });
  }
  if (!keeps_files) {
    for (const uint64_t id : change.replaced) remove_run_files(state, id);
  }
  for (const SegmentRef& segment : removed) remove_file(state, segment_name(segment.first_offset));
  return Status();
}

}  // namespace kyro
