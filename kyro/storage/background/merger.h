// The merger: does what takes long, at the lowest priority: merges, rebuilt indexes, backups,
// warming, scrubbing.
//
// Invariants:
//   - it makes files only; the flusher installs them (Flusher::install());
//   - it holds no lock that others wait for while it works;
//   - jobs are done in the order in which they were asked for, before anything it does by itself.
//
// Failures: damage met by a merge → that run is quarantined; no room for a merge → it is tried
// again at the next change.
//
// Thread rule: public functions from any thread; callbacks run on the merger's thread and must be
// short.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/heartbeat.h"
#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"
#include "kyro/storage/background/backup_shelf.h"
#include "kyro/storage/background/flusher.h"
#include "kyro/storage/background/merge.h"
#include "kyro/storage/background/online_backup.h"
#include "kyro/storage/background/reclaim.h"
#include "kyro/storage/background/run_change.h"
#include "kyro/storage/background/scrub.h"
#include "kyro/storage/background/store_stream.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/job.h"

namespace kyro {

class Merger final : public MergeScheduler {
 public:
  Merger(EngineState& state, Flusher& flusher)
      : state_(state), flusher_(flusher), scrubber_(state), reclaimer_(state) {}
  ~Merger() override {
    request_stop();
    join();
  }

  [[nodiscard]] Status start() {
    return thread_.start([this] { run(); });
  }
  // What waits is told kBusy from now on; what is under way is given up.
  void request_stop();
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  // Any job but a snapshot.
  void add(Job job, JobDone done);
  // Has the index of a damaged run made anew.
  void request_index_rebuild(uint64_t run_id);

  void on_change() override;
  void compact(Job::Kind kind) override {
    add({kind}, [](const JobOutcome&) {});
  }
  [[nodiscard]] bool is_idle() const override;
  [[nodiscard]] bool is_looking() const override {
    return is_looking_.load(std::memory_order_relaxed);
  }

  [[nodiscard]] const Heartbeat& heartbeat() const { return heartbeat_; }

 private:
  struct QueuedJob {
    Job job;
    JobDone done;
  };
  static constexpr char kThreadOfWork[] = "kyro-merge";

  void run();
  // Each gives the mutex back while it works.
  void run_job() KYRO_REQUIRES(mutex_);
  void run_rebuild() KYRO_REQUIRES(mutex_);
  // Nothing to merge: a piece of scrubbing, if it is time, or sleep.
  void idle() KYRO_REQUIRES(mutex_);

  // Each on a thread that yields.
  [[nodiscard]] JobOutcome execute(const Job& job);
  void rebuild_index_of(uint64_t run_id);
  Status compact_all(const Job& job, CompactStats* stats);
  Status compact_runs(const Job& job);
  Status merge_range(const View& view, MergeChoice choice, MergeManner manner, const Cancel& cancel,
                     RunChange* change);
  // One background merge, if one is worth while; whether there may be another.
  bool merge_some();
  // Gives back the room of what is dead in one run, if there is one with enough of it.
  bool reclaim_some(const View& view);
  // A line for the first failure and then one a minute.
  void note_failure(const Status& status);
  void measure(uint64_t* bytes, uint64_t* segments);

  // The engine's end or the job's own; every question is a sign of life.
  [[nodiscard]] Cancel cancel_of(const Job& job) {
    return [this, &job] {
      heartbeat_.step();
      return stopping_.load(std::memory_order_relaxed) || job.cancel.is_requested();
    };
  }

  EngineState& state_;
  Flusher& flusher_;
  Scrubber scrubber_;
  Reclaimer reclaimer_;
  uint64_t failure_said_ns_ = 0;
  Heartbeat heartbeat_;
  const Job background_;  // what nobody asked for
  Thread thread_;
  std::atomic<bool> stopping_{false};  // set under the mutex

  mutable Mutex mutex_;
  CondVar changed_;  // there may be work
  std::deque<QueuedJob> jobs_ KYRO_GUARDED_BY(mutex_);
  std::vector<uint64_t> rebuilds_ KYRO_GUARDED_BY(mutex_);  // ids of runs
  bool must_look_ KYRO_GUARDED_BY(mutex_) = false;          // for runs to merge, once more
  std::atomic<bool> is_looking_{false};                     // changed under the mutex
};

// ---- from other threads ----

inline void Merger::request_stop() {
  const MutexLock lock(mutex_);
  stopping_.store(true, std::memory_order_release);
  changed_.notify_all();
}

inline void Merger::add(Job job, JobDone done) {
  {
    const MutexLock lock(mutex_);
    if (!stopping_.load(std::memory_order_relaxed)) {
      heartbeat_.add_work();
      jobs_.push_back({std::move(job), std::move(done)});
      changed_.notify_all();
      return;
    }
  }
  done({shutting_down()});
}

inline void Merger::request_index_rebuild(uint64_t run_id) {
  const MutexLock lock(mutex_);
  if (std::find(rebuilds_.begin(), rebuilds_.end(), run_id) != rebuilds_.end()) return;
  heartbeat_.add_work();
  rebuilds_.push_back(run_id);
  changed_.notify_all();
}

inline void Merger::on_change() {
  const MutexLock lock(mutex_);
  must_look_ = true;
  is_looking_.store(true, std::memory_order_relaxed);
  changed_.notify_all();
}

inline bool Merger::is_idle() const {
  const MutexLock lock(mutex_);
  return jobs_.empty();
}

// ---- the merger's thread ----

inline void Merger::run() {
  name_this_thread("kyro-merger");
  std::deque<QueuedJob> waiting;
  {
    const MutexLock lock(mutex_);
    while (!stopping_.load(std::memory_order_relaxed)) {
      if (!jobs_.empty()) {
        run_job();
      } else if (!rebuilds_.empty()) {
        run_rebuild();
      } else {
        must_look_ = false;
        bool merged = false;
        {
          const MutexUnlock unlock(mutex_);
          merged = merge_some();
          state_.renew_anchor_if_due();
        }
        if (merged || must_look_) continue;
        is_looking_.store(false, std::memory_order_relaxed);
        if (jobs_.empty() && rebuilds_.empty() && !stopping_) idle();
      }
    }
    waiting.swap(jobs_);
  }
  for (const QueuedJob& queued : waiting) queued.done({shutting_down()});
}

inline void Merger::run_job() {
  const QueuedJob queued = std::move(jobs_.front());
  jobs_.pop_front();
  const MutexUnlock unlock(mutex_);
  flusher_.on_merger_idle();  // what had to wait for this one
  run_yielding(kThreadOfWork, [&] { queued.done(execute(queued.job)); });
  heartbeat_.end_work();
}

inline void Merger::run_rebuild() {
  const uint64_t run_id = rebuilds_.front();
  {
    const MutexUnlock unlock(mutex_);
    run_yielding(kThreadOfWork, [&] { rebuild_index_of(run_id); });
  }
  rebuilds_.erase(rebuilds_.begin());
  heartbeat_.end_work();
}

inline void Merger::idle() {
  constexpr uint64_t kWaitNsMax = LifetimeClock::kAnchorAgeSecsMax * 1'000'000'000;
  const uint64_t wait_ns = std::min(scrubber_.wait_ns().value_or(kWaitNsMax), kWaitNsMax);
  if (wait_ns > 0) {
    changed_.wait_for(mutex_, wait_ns);
  } else {
    const MutexUnlock unlock(mutex_);
    heartbeat_.add_work();
    run_yielding(kThreadOfWork, [this] { scrubber_.step(); });
    heartbeat_.end_work();
  }
}

// ---- what it does ----

inline JobOutcome Merger::execute(const Job& job) {
  const Cancel cancel = cancel_of(job);
  JobOutcome outcome;
  switch (job.kind) {
    case Job::Kind::kSnapshot:
      KYRO_CHECK(false);
      break;
    case Job::Kind::kCompact:
    case Job::Kind::kRebuildIndex: {
      const uint64_t began_ns = monotonic_ns();
      outcome.status = compact_all(job, &outcome.compacted);
      if (!outcome.status.ok()) break;
      state_.stats.compactions.add();
      state_.stats.compaction_ns.observe(monotonic_ns() - began_ns);
      break;
    }
    case Job::Kind::kBackup: {
      const auto copied = backup_live(state_, job.to, cancel);
      log_event(copied.ok() ? LogLevel::kInfo : LogLevel::kWarn, "backup",
                {{"to", job.to}, {"outcome", copied.ok() ? "ok" : copied.status().to_string()}});
      outcome.status = copied.status();
      if (copied.ok()) outcome.copied = *copied;
      break;
    }
    case Job::Kind::kStream: {
      auto stream = StoreStream::begin(state_, cancel);
      outcome.status = stream.status();
      if (stream.ok()) outcome.stream = std::move(*stream);
      break;
    }
    case Job::Kind::kListBackups: {
      auto backups = list_backups(state_.fs, job.to, cancel);
      outcome.status = backups.status();
      if (backups.ok()) outcome.backups = std::move(*backups);
      break;
    }
    case Job::Kind::kRemoveBackup:
      outcome.status = remove_backup(state_.fs, job.to, job.name);
      log_event(outcome.status.ok() ? LogLevel::kInfo : LogLevel::kWarn, "backup_removed",
                {{"name", job.name},
                 {"outcome", outcome.status.ok() ? "ok" : outcome.status.to_string()}});
      break;
    case Job::Kind::kWarm:
      for (const auto& run : state_.copy_view().runs) run->warm(cancel);
      break;
    case Job::Kind::kScrub: {
      Scrubber scrubber(state_);
      while (!cancel.is_requested() && scrubber.step()) {
      }
      break;
    }
  }
  return outcome;
}

inline bool Merger::merge_some() {
  if (state_.latch.is_set()) return false;
  const View view = state_.copy_view();
  const auto choose = [&] {
    return choose_merge(view.runs, state_.options.merge_fan_in, state_.space.merge_bytes_max());
  };
  const MergeChoice choice = choose();
  const bool is_short = state_.space.is_short();
  // Many small runs, as deletes on a full disk leave them, cost less together. Where all runs
  // together would be too large, what is dead in each is given back.
  const bool is_small = !choice.empty() && needed_bytes_of(view.runs, choice) <= kMiB;
  const bool must_reclaim =
      is_short ? !is_small : choice.empty() && !choose_for_space(view.runs).empty();
  if (must_reclaim && reclaim_some(view)) return true;
  if (choice.empty()) return false;
  Status status;
  heartbeat_.add_work();
  const auto merge = [&] {
    RunChange change;
    status = merge_range(view, choice, {.is_thorough = is_short}, cancel_of(background_), &change);
  };
  if (is_short) {
    merge();  // writers wait for it
  } else {
    run_yielding(kThreadOfWork, merge);
  }
  heartbeat_.end_work();
  if (!status.ok()) note_failure(status);
  if (status.ok()) return true;
  // Go on at once only where the damaged run is now left out; else at the next change.
  return choose() != choice;
}

inline bool Merger::reclaim_some(const View& view) {
  RunChange change;
  heartbeat_.add_work();
  const auto prepared = reclaimer_.prepare(view, cancel_of(background_), &change);
  Status status = prepared.status();
  const bool is_prepared = prepared.ok() && *prepared;
  if (is_prepared) status = flusher_.install(change);
  state_.reserve.end_loan();
  heartbeat_.end_work();
  if (!status.ok()) note_failure(status);
  if (!is_prepared || !status.ok()) return false;
  state_.space.refresh(state_.dir);
  flusher_.on_reserve_released();
  return true;
}

inline void Merger::note_failure(const Status& status) {
  constexpr uint64_t kSayAgainNs = 60'000'000'000;
  if (status.code() == Code::kBusy) return;
  state_.stats.merge_failures.add();
  const uint64_t now_ns = monotonic_ns();
  if (failure_said_ns_ != 0 && now_ns - failure_said_ns_ < kSayAgainNs) return;
  failure_said_ns_ = now_ns;
  log_event(LogLevel::kWarn, "merge_failed", {{"reason", status.to_string()}});
}

inline Status Merger::merge_range(const View& view, MergeChoice choice, MergeManner manner,
                                  const Cancel& cancel, RunChange* change) {
  Status status = prepare_merge(state_, view, choice, manner, cancel, change);
  if (status.ok()) status = flusher_.install(*change);
  state_.reserve.end_loan();
  if (state_.reserve.is_released()) flusher_.on_reserve_released();
  return status;
}

inline void Merger::rebuild_index_of(uint64_t run_id) {
  const View view = state_.copy_view();
  for (size_t i = 0; i < view.runs.size(); ++i) {
    if (view.runs[i]->meta().id != run_id) continue;
    RunChange change;
    Status status = prepare_index_rebuild(state_, view, i, &change);
    if (status.ok()) status = flusher_.install(change);
    log_event(status.ok() ? LogLevel::kInfo : LogLevel::kError, "index_rebuilt",
              {{"run", run_id}, {"outcome", status.ok() ? "ok" : status.to_string()}});
  }
}

inline Status Merger::compact_all(const Job& job, CompactStats* stats) {
  uint64_t segments_before = 0;
  measure(&stats->before_bytes, &segments_before);
  KYRO_TRY(wait_for_job([this](JobDone done) { flusher_.snapshot(std::move(done)); }).status);
  KYRO_TRY(compact_runs(job));
  measure(&stats->after_bytes, &stats->segments_active);
  stats->segments_removed = segments_before - std::min(segments_before, stats->segments_active);
  for (const auto& run : state_.copy_view().runs) stats->keys_retained += run->meta().records;
  return Status();
}

// All runs that there are become one, or on a small volume as many as there must be; the oldest
// first, so that tombstones find nothing any more that they would have to hide.
inline Status Merger::compact_runs(const Job& job) {
  const bool is_rebuild = job.kind == Job::Kind::kRebuildIndex;
  View view = state_.copy_view();
  const uint64_t end_offset = view.runs.empty() ? 0 : view.runs.front()->meta().end_offset;
  for (size_t done = 0;; view = state_.copy_view()) {
    const auto newest = std::find_if(view.runs.begin(), view.runs.end(), [&](const auto& run) {
      return run->meta().end_offset <= end_offset;
    });
    const std::span<const std::shared_ptr<Run>> runs(newest, view.runs.end());
    if (done >= runs.size()) return Status();
    MergeChoice choice =
        choose_to_compact(runs, runs.size() - done, state_.space.merge_bytes_max());
    const auto newer = static_cast<size_t>(newest - view.runs.begin());
    choice = {choice.begin + newer, choice.end + newer};
    RunChange change;
    const RunMeta& meta = view.runs[choice.begin]->meta();
    const bool is_clean = choice.end - choice.begin == 1 && meta.tombstones == 0 &&
                          meta.expiring == 0 && newer_records_over(view.runs, choice.begin) == 0;
    if (!is_clean) {
      const MergeManner manner{.is_thorough = true, .is_rebuild = is_rebuild};
      KYRO_TRY(merge_range(view, choice, manner, cancel_of(job), &change));
    } else if (is_rebuild) {
      KYRO_TRY(prepare_index_rebuild(state_, view, choice.begin, &change));
      KYRO_TRY(flusher_.install(change));
    }
    if (is_clean || change.result != nullptr) ++done;
  }
}

inline void Merger::measure(uint64_t* bytes, uint64_t* segments) {
  const View view = state_.copy_view();
  *segments = view.segments.size();
  *bytes = state_.wal_position.load(std::memory_order_relaxed);
  for (const SegmentRef& segment : view.segments) *bytes += segment.bytes;
  for (const auto& run : view.runs) *bytes += run->data_bytes() + run->index_bytes();
}

}  // namespace kyro
