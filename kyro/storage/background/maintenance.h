// The two background threads: the flusher, which turns frozen deltas into runs and is the only one
// to change which runs there are, and the merger, which makes merged files at the lowest priority.
//
// Invariants:
//   - deltas are flushed in order, oldest first, and only when synced in the log (the committer
//     sees to that when it freezes);
//   - the merger holds no lock that others wait for while it works: it prepares an Install, the
//     flusher carries it out at normal priority;
//   - files go only after the manifest that no longer names them is durable.
//
// Failures: no space → what waits for room is told so, the flush is tried again until it works;
// damage met by a merge → that run is quarantined; anything else → the latch.
//
// Thread rule: public functions from any thread; callbacks run on the flusher's or merger's thread
// and must be short. REQUIRES: stop() before the committer's, which answers what is still frozen.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kyro/base/thread.h"
#include "kyro/storage/background/merge.h"
#include "kyro/storage/background/run_change.h"
#include "kyro/storage/background/scrub.h"
#include "kyro/storage/background/triggers.h"
#include "kyro/storage/backup.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/outcome.h"
#include "kyro/storage/write/committer.h"

namespace kyro {

class Maintenance final : public FlushScheduler {
 public:
  explicit Maintenance(EngineState& state)
      : state_(state), triggers_(state.options), scrubber_(state) {}
  ~Maintenance() override { stop(); }

  // kBusy where the system gives no threads.
  [[nodiscard]] Status start(Committer& committer) {
    committer_ = &committer;
    note_runs();
    KYRO_TRY(flusher_.start([this] { run_flusher(); }));
    return merger_.start([this] { run_merger(); });
  }

  // Ends the threads; what waits is told kBusy. A merge under way is given up.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_.store(true, std::memory_order_release);
    }
    changed_.notify_all();
    room_.notify_all();
    if (merger_.joinable()) merger_.join();
    if (flusher_.joinable()) flusher_.join();
  }

  // Flushes everything written so far; `done` after the manifest that says so is durable.
  void snapshot(SnapshotDone done) {
    auto* freeze = new FreezeRequest(*this, std::move(done));
    freeze->control = WriteRequest::Control::kFreeze;
    freeze->began_ns = monotonic_ns();
    committer_->submit(freeze);
  }

  // Flushes, then merges everything into one run with one index. `rebuild_index` makes the index
  // anew even if there is nothing to merge.
  void compact(bool rebuild_index, CompactDone done) {
    add_job([this, rebuild_index, done = std::move(done)](const Status& status) {
      if (status.ok()) return run_compaction(rebuild_index, done);
      done(status, {});
    });
  }

  // Makes a backup at `to`, a directory that is not there yet.
  void backup(std::string to, BackupDone done) {
    add_job([this, to = std::move(to), done = std::move(done)](const Status& status) {
      if (!status.ok()) return done(status, {});
      const auto copied = backup_live(state_, to, stopping_);
      log_event(copied.ok() ? LogLevel::kInfo : LogLevel::kWarn, "backup",
                {{"to", to}, {"outcome", copied.ok() ? "ok" : copied.status().to_string()}});
      done(copied.status(), copied.ok() ? *copied : CopyStats{});
    });
  }

  // Brings every page of the runs and their indexes into memory, or until `is_cancelled`.
  void warm(bool (*is_cancelled)(), SnapshotDone done) {
    add_job([this, is_cancelled, done = std::move(done)](const Status& status) {
      const auto must_end = [&] { return stopping_ || (is_cancelled && is_cancelled()); };
      const View view = status.ok() ? state_.copy_view() : View();
      for (const auto& run : view.runs) run->warm(must_end);
      done(status);
    });
  }

  // Reads every run again now, as the background does from time to time.
  void scrub(SnapshotDone done) {
    add_job([this, done = std::move(done)](const Status& status) {
      Scrubber scrubber(state_);
      while (status.ok() && !stopping_.load(std::memory_order_relaxed) && scrubber.step()) {
      }
      done(status);
    });
  }

  // Has the index of a damaged run made anew by the merger.
  void request_index_rebuild(uint64_t run_id) {
    const std::lock_guard lock(mutex_);
    if (std::find(rebuilds_.begin(), rebuilds_.end(), run_id) != rebuilds_.end()) return;
    rebuilds_.push_back(run_id);
    changed_.notify_all();
  }

  // FlushScheduler, for the committer.
  void on_frozen() override {
    const std::lock_guard lock(mutex_);
    frozen_.fetch_add(1, std::memory_order_relaxed);
    changed_.notify_all();
  }
  [[nodiscard]] Backlog backlog() const override {
    Backlog backlog;
    backlog.frozen = frozen_.load(std::memory_order_relaxed);
    backlog.runs = runs_to_merge_.load(std::memory_order_relaxed);
    backlog.fan_in = state_.options.merge_fan_in;
    backlog.turn = turn_.load(std::memory_order_relaxed);
    backlog.flush_ns = last_flush_ns_.load(std::memory_order_relaxed);
    const uint64_t began_ns = flush_began_ns_.load(std::memory_order_relaxed);
    if (began_ns > 0) backlog.flush_ns = std::max(backlog.flush_ns, monotonic_ns() - began_ns);
    return backlog;
  }
  void wait_for_turn(uint64_t turn, uint64_t timeout_ns) override {
    std::unique_lock lock(mutex_);
    room_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [&] {
      return turn_.load(std::memory_order_relaxed) != turn ||
             stopping_.load(std::memory_order_relaxed);
    });
  }
  Status wait_for_room(size_t frozen_max) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] {
      return frozen_ < frozen_max || !stuck_.ok() || stopping_.load(std::memory_order_relaxed);
    });
    if (frozen_ < frozen_max) return Status();
    return !stuck_.ok() ? stuck_ : shutting_down();
  }
  void on_disk_full() override {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  void on_commit(uint64_t records, uint64_t log_bytes) override {
    if (!triggers_.on_commit(records, log_bytes)) return;
    const std::lock_guard lock(mutex_);
    triggers_due_ = true;
    changed_.notify_all();
  }

 private:
  struct FreezeRequest final : WriteRequest {
    FreezeRequest(Maintenance& owner, SnapshotDone callback)
        : maintenance(owner), callback_done(std::move(callback)) {}
    void done() override { maintenance.on_freeze_done(this); }
    Maintenance& maintenance;
    SnapshotDone callback_done;
    uint64_t began_ns = 0;
    uint64_t due_at = 0;  // done when so many deltas have been flushed
  };
  // Work for the merger; called with a failure when it will not be done.
  using Job = std::function<void(const Status&)>;

  static Status shutting_down() { return Status(Code::kBusy, "the engine is shutting down"); }

  void add_job(Job job) {
    {
      const std::lock_guard lock(mutex_);
      if (!stopping_.load(std::memory_order_relaxed)) {
        jobs_.push_back(std::move(job));
        changed_.notify_all();
        return;
      }
    }
    job(shutting_down());
  }

  void on_freeze_done(FreezeRequest* request) {
    {
      const std::lock_guard lock(mutex_);
      if (!flusher_is_gone_) {
        // Whoever asks deserves a fresh try, not the failure of an older one.
        if (EngineState::is_temporary(stuck_)) stuck_ = Status();
        request->due_at = flushes_ + frozen_;
        snapshots_.emplace_back(request);
        changed_.notify_all();
        return;
      }
    }
    request->callback_done(shutting_down());
    delete request;
  }

  // ---- flusher ----

  void run_flusher() {
    name_this_thread("kyro-flush");
    std::unique_lock lock(mutex_);
    for (;;) {
      if (install_ != nullptr && !install_->done) {
        lock.unlock();
        const Status status = install_run_change(state_, *install_);
        note_runs();
        lock.lock();
        install_->status = status;
        install_->done = true;
        triggers_due_ = true;  // perhaps: fewer keys, so a smaller limit
        changed_.notify_all();
        next_turn();
      } else if (stopping_.load(std::memory_order_relaxed)) {
        break;
      } else if (!snapshots_.empty() && (snapshots_.front()->due_at <= flushes_ || !stuck_.ok())) {
        finish_snapshot(lock);
      } else if (frozen_ > 0 && stuck_.ok()) {
        flush_one(lock);
      } else if (triggers_due_) {
        triggers_due_ = false;
        const Triggers::Action action = triggers_.take(jobs_.empty());  // so they do not pile up
        lock.unlock();
        fire(action);
        lock.lock();
      } else {
        sleep(lock);
      }
    }
    flusher_is_gone_ = true;
    const auto waiting = std::exchange(snapshots_, {});
    changed_.notify_all();
    room_.notify_all();
    lock.unlock();
    for (const auto& request : waiting) request->callback_done(shutting_down());
  }

  void sleep(std::unique_lock<std::mutex>& lock) {
    const bool is_retrying = !stuck_.ok() || state_.reserve.is_released();
    if (is_retrying && !state_.latch.is_set()) {
      changed_.wait_for(lock, std::chrono::milliseconds(250));
      // While deltas wait to be flushed, the room is theirs.
      if (state_.reserve.is_released() && frozen_ == 0) {
        lock.unlock();
        state_.reserve.claim(state_.dir, state_.options.reserve_bytes);
        lock.lock();
      }
      if (EngineState::is_temporary(stuck_)) stuck_ = Status();
    } else if (triggers_.has_timers() || epoch_waiting() > 0) {
      changed_.wait_for(lock, std::chrono::seconds(1));
      triggers_due_ = triggers_due_ || triggers_.has_timers();
      epoch_collect();  // what readers held when it was retired
    } else {
      changed_.wait(lock);
    }
  }

  void flush_one(std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    const uint64_t began_ns = monotonic_ns();
    flush_began_ns_.store(began_ns, std::memory_order_relaxed);
    const Status status = flush_oldest(state_, stopping_);
    flush_began_ns_.store(0, std::memory_order_relaxed);
    if (status.ok()) {
      last_flush_ns_.store(monotonic_ns() - began_ns, std::memory_order_relaxed);
      note_runs();
    }
    lock.lock();
    stuck_ = status;
    if (status.ok()) {
      frozen_.fetch_sub(1, std::memory_order_relaxed);
      ++flushes_;
      runs_changed_ = true;
      triggers_.on_flushed();
      changed_.notify_all();  // there may be something to merge
    } else if (!stopping_.load(std::memory_order_relaxed)) {
      log_event(LogLevel::kWarn, "flush_failed", {{"reason", status.to_string()}});
      // With the reserve's room it may work at once.
      if (status.code() == Code::kNoSpace && state_.reserve.release(state_.dir)) stuck_ = Status();
      if (!EngineState::is_temporary(status)) state_.latch.set(status);
    }
    next_turn();
  }

  // Wakes writers that wait for something to be done. REQUIRES mutex_.
  void next_turn() {
    turn_.fetch_add(1, std::memory_order_relaxed);
    room_.notify_all();
  }

  // Answers the oldest snapshot: everything it asked for is flushed, or flushing does not work.
  void finish_snapshot(std::unique_lock<std::mutex>& lock) {
    const std::unique_ptr<FreezeRequest> request = std::move(snapshots_.front());
    snapshots_.pop_front();
    Status status = request->status;
    if (status.ok() && request->due_at > flushes_) status = stuck_;
    lock.unlock();
    if (status.ok()) {
      state_.stats.snapshots.add();
      state_.stats.snapshot_ns.observe(monotonic_ns() - request->began_ns);
    }
    request->callback_done(status);
    lock.lock();
  }

  void fire(Triggers::Action action) {
    using enum Triggers::Action;
    const auto ignore = [](const auto&...) {};
    if (action == kSnapshot) snapshot(ignore);
    if (action == kCompact || action == kRebuild) compact(action == kRebuild, ignore);
  }

  void note_runs() {
    const View view = state_.copy_view();
    uint64_t keys = 0;
    for (const auto& run : view.runs) keys += run->meta().records;
    triggers_.set_keys(keys);
    const MergeChoice choice = choose_tier(view.runs, state_.options.merge_fan_in);
    runs_to_merge_.store(choice.end - choice.begin, std::memory_order_relaxed);
  }

  // ---- merger ----

  static constexpr char kMergeThread[] = "kyro-merge";

  void run_merger() {
    name_this_thread("kyro-merger");
    std::unique_lock lock(mutex_);
    while (!stopping_.load(std::memory_order_relaxed)) {
      if (!jobs_.empty()) {
        const Job job = std::move(jobs_.front());
        jobs_.erase(jobs_.begin());
        triggers_due_ = true;  // what had to wait for this one
        changed_.notify_all();
        lock.unlock();
        run_yielding(kMergeThread, [&] { job(Status()); });
        lock.lock();
        continue;
      }
      if (!rebuilds_.empty()) {
        const uint64_t id = rebuilds_.front();
        lock.unlock();
        run_yielding(kMergeThread, [&] { rebuild_one(id); });
        lock.lock();
        rebuilds_.erase(rebuilds_.begin());
        continue;
      }
      runs_changed_ = false;
      lock.unlock();
      const bool merged = merge_some();
      state_.renew_anchor_if_due();
      lock.lock();
      if (!merged && !runs_changed_ && jobs_.empty() && rebuilds_.empty() && !stopping_) idle(lock);
    }
    const std::vector<Job> waiting = std::exchange(jobs_, {});
    lock.unlock();
    for (const Job& job : waiting) job(shutting_down());
  }

  // Nothing to merge: a piece of scrubbing, if it is time, or sleep.
  void idle(std::unique_lock<std::mutex>& lock) {
    constexpr uint64_t kWaitNsMax = LifetimeClock::kAnchorAgeSecsMax * 1'000'000'000;
    const uint64_t wait_ns = std::min(scrubber_.wait_ns().value_or(kWaitNsMax), kWaitNsMax);
    if (wait_ns > 0) {
      changed_.wait_for(lock, std::chrono::nanoseconds(wait_ns));
    } else {
      lock.unlock();
      run_yielding(kMergeThread, [this] { scrubber_.step(); });
      lock.lock();
    }
  }

  // One background merge, if one is worth while.
  bool merge_some() {
    if (state_.latch.is_set()) return false;
    const View view = state_.copy_view();
    const MergeChoice choice = choose_merge(view.runs, state_.options.merge_fan_in);
    if (choice.empty()) return false;
    Status status;
    run_yielding(kMergeThread, [&] { status = merge_range(view, choice); });
    if (!status.ok() && status.code() != Code::kBusy) {
      log_event(LogLevel::kWarn, "merge_failed", {{"reason", status.to_string()}});
    }
    if (status.ok()) return true;
    // Go on at once only where the damaged run is now left out; else at the next change.
    return choose_merge(view.runs, state_.options.merge_fan_in) != choice;
  }

  Status merge_range(const View& view, MergeChoice choice, bool is_rebuild = false) {
    RunChange change;
    Status status = prepare_merge(state_, view, choice, is_rebuild, stopping_, &change);
    if (status.ok()) status = install(change);
    state_.reserve.end_loan();
    if (state_.reserve.is_released()) on_disk_full();  // somebody has to take it back
    return status;
  }

  // Hands a change to the flusher and waits for it.
  Status install(RunChange& change) {
    std::unique_lock lock(mutex_);
    install_ = &change;
    changed_.notify_all();
    changed_.wait(lock, [&] { return change.done || flusher_is_gone_; });
    if (!change.done) change.status = shutting_down();
    install_ = nullptr;
    return change.status;
  }

  void rebuild_one(uint64_t id) {
    const View view = state_.copy_view();
    for (size_t i = 0; i < view.runs.size(); ++i) {
      if (view.runs[i]->meta().id != id) continue;
      RunChange change;
      Status status = prepare_index_rebuild(state_, view, i, &change);
      if (status.ok()) status = install(change);
      log_event(status.ok() ? LogLevel::kInfo : LogLevel::kError, "index_rebuilt",
                {{"run", id}, {"outcome", status.ok() ? "ok" : status.to_string()}});
    }
  }

  void run_compaction(bool rebuild_index, const CompactDone& done) {
    const uint64_t began_ns = monotonic_ns();
    CompactStats stats;
    const Status status = compact_all(rebuild_index, &stats);
    if (status.ok()) {
      state_.stats.compactions.add();
      state_.stats.compaction_ns.observe(monotonic_ns() - began_ns);
    }
    done(status, stats);
  }

  Status compact_all(bool rebuild_index, CompactStats* stats) {
    uint64_t segments_before = 0;
    measure(&stats->before_bytes, &segments_before);
    KYRO_TRY(wait_for_status([this](SnapshotDone done) { snapshot(std::move(done)); }));
    const View view = state_.copy_view();
    const bool is_one_clean_run = view.runs.size() == 1 && view.runs[0]->meta().tombstones == 0 &&
                                  view.runs[0]->meta().expiring == 0;
    if (!view.runs.empty() && !is_one_clean_run) {
      KYRO_TRY(merge_range(view, {0, view.runs.size()}, rebuild_index));
    } else if (rebuild_index && is_one_clean_run) {
      RunChange change;
      KYRO_TRY(prepare_index_rebuild(state_, view, 0, &change));
      KYRO_TRY(install(change));
    }
    measure(&stats->after_bytes, &stats->segments_active);
    stats->segments_removed = segments_before - std::min(segments_before, stats->segments_active);
    for (const auto& run : state_.copy_view().runs) stats->keys_retained += run->meta().records;
    return Status();
  }

  void measure(uint64_t* bytes, uint64_t* segments) {
    const View view = state_.copy_view();
    *segments = view.segments.size();
    *bytes = state_.wal_position.load(std::memory_order_relaxed);
    for (const SegmentRef& segment : view.segments) *bytes += segment.bytes;
    for (const auto& run : view.runs) *bytes += run->data_bytes() + run->index_bytes();
  }

  EngineState& state_;
  Triggers triggers_;
  Scrubber scrubber_;  // the merger's
  Committer* committer_ = nullptr;
  Thread flusher_;
  Thread merger_;
  std::atomic<bool> stopping_{false};

  std::mutex mutex_;
  std::condition_variable changed_;  // there may be work
  std::condition_variable room_;     // a delta has been flushed, or that does not work
  std::atomic<size_t> frozen_{0};    // deltas that wait
  std::atomic<uint64_t> turn_{0};    // flushes, attempts at them, and changes of the runs
  uint64_t flushes_ = 0;             // deltas that have become runs
  Status stuck_;                     // why flushing does not work at the moment
  std::deque<std::unique_ptr<FreezeRequest>> snapshots_;  // oldest first
  std::vector<Job> jobs_;
  std::vector<uint64_t> rebuilds_;
  RunChange* install_ = nullptr;
  bool triggers_due_ = false;
  bool runs_changed_ = false;  // by a flush, since the merger looked
  bool flusher_is_gone_ = false;

  // Written by the flusher, read without the mutex; see Backlog.
  std::atomic<uint64_t> last_flush_ns_{0};
  std::atomic<uint64_t> flush_began_ns_{0};
  std::atomic<size_t> runs_to_merge_{0};
};

}  // namespace kyro
