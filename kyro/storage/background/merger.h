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
#include "kyro/storage/background/flusher.h"
#include "kyro/storage/background/merge.h"
#include "kyro/storage/background/online_backup.h"
#include "kyro/storage/background/run_change.h"
#include "kyro/storage/background/scrub.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/job.h"

namespace kyro {

class Merger final : public MergeScheduler {
 public:
  Merger(EngineState& state, Flusher& flusher)
      : state_(state), flusher_(flusher), scrubber_(state) {}
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
  Status merge_range(const View& view, MergeChoice choice, const Cancel& cancel, bool is_rebuild);
  // One background merge, if one is worth while; whether there may be another.
  bool merge_some();
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
  Heartbeat heartbeat_;
  const Job background_;  // what nobody asked for
  Thread thread_;
  std::atomic<bool> stopping_{false};  // set under the mutex

  mutable Mutex mutex_;
  CondVar changed_;  // there may be work
  std::deque<QueuedJob> jobs_ KYRO_GUARDED_BY(mutex_);
  std::vector<uint64_t> rebuilds_ KYRO_GUARDED_BY(mutex_);  // ids of runs
  bool must_look_ KYRO_GUARDED_BY(mutex_) = false;          // for runs to merge, once more
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
        if (!merged && !must_look_ && jobs_.empty() && rebuilds_.empty() && !stopping_) idle();
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
  const MergeChoice choice = choose_merge(view.runs, state_.options.merge_fan_in);
  if (choice.empty()) return false;
  Status status;
  heartbeat_.add_work();
  run_yielding(kThreadOfWork,
               [&] { status = merge_range(view, choice, cancel_of(background_), false); });
  heartbeat_.end_work();
  if (!status.ok() && status.code() != Code::kBusy) {
    log_event(LogLevel::kWarn, "merge_failed", {{"reason", status.to_string()}});
  }
  if (status.ok()) return true;
  // Go on at once only where the damaged run is now left out; else at the next change.
  return choose_merge(view.runs, state_.options.merge_fan_in) != choice;
}

inline Status Merger::merge_range(const View& view, MergeChoice choice, const Cancel& cancel,
                                  bool is_rebuild) {
  RunChange change;
  Status status = prepare_merge(state_, view, choice, is_rebuild, cancel, &change);
  if (status.ok()) status = flusher_.install(change);
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
  const bool is_rebuild = job.kind == Job::Kind::kRebuildIndex;
  uint64_t segments_before = 0;
  measure(&stats->before_bytes, &segments_before);
  KYRO_TRY(wait_for_job([this](JobDone done) { flusher_.snapshot(std::move(done)); }).status);
  const View view = state_.copy_view();
  const bool is_one_clean_run = view.runs.size() == 1 && view.runs[0]->meta().tombstones == 0 &&
                                view.runs[0]->meta().expiring == 0;
  if (!view.runs.empty() && !is_one_clean_run) {
    KYRO_TRY(merge_range(view, {0, view.runs.size()}, cancel_of(job), is_rebuild));
  } else if (is_rebuild && is_one_clean_run) {
    RunChange change;
    KYRO_TRY(prepare_index_rebuild(state_, view, 0, &change));
    KYRO_TRY(flusher_.install(change));
  }
  measure(&stats->after_bytes, &stats->segments_active);
  stats->segments_removed = segments_before - std::min(segments_before, stats->segments_active);
  for (const auto& run : state_.copy_view().runs) stats->keys_retained += run->meta().records;
  return Status();
}

inline void Merger::measure(uint64_t* bytes, uint64_t* segments) {
  const View view = state_.copy_view();
  *segments = view.segments.size();
  *bytes = state_.wal_position.load(std::memory_order_relaxed);
  for (const SegmentRef& segment : view.segments) *bytes += segment.bytes;
  for (const auto& run : view.runs) *bytes += run->data_bytes() + run->index_bytes();
}

}  // namespace kyro
