// The flusher: turns frozen deltas into runs, and is the only one to change which runs there are.
//
// Invariants:
//   - deltas are flushed in order, oldest first, and only when synced in the log (the committer
//     sees to that when it freezes);
//   - changes that the merger has prepared are carried out here, at normal priority, between two
//     flushes;
//   - files go only after the manifest that no longer names them is durable.
//
// Failures: no space → what waits for room is told so, the flush is tried again until it works;
// anything else → the latch.
//
// Thread rule: public functions from any thread; callbacks run on the flusher's thread and must be
// short.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "kyro/base/heartbeat.h"
#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"
#include "kyro/storage/background/run_change.h"
#include "kyro/storage/background/triggers.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/job.h"
#include "kyro/storage/write/committer.h"

namespace kyro {

// What the flusher tells the merger.
class MergeScheduler {
 public:
  virtual ~MergeScheduler() = default;
  // There may be something to merge, or room to do it.
  virtual void on_change() = 0;
  // A compaction is due.
  virtual void compact(Job::Kind kind) = 0;
  // Nothing waits for it.
  [[nodiscard]] virtual bool is_idle() const = 0;
  // It has not yet done all that can be done since on_change() was called last.
  [[nodiscard]] virtual bool is_looking() const = 0;
};

class Flusher final : public FlushScheduler {
 public:
  explicit Flusher(EngineState& state) : state_(state), triggers_(state.options) {}
  ~Flusher() override {
    request_stop();
    join();
  }

  [[nodiscard]] Status start(Committer& committer, MergeScheduler& merger);
  // Whoever waits here is told kBusy from now on; a flush under way is given up.
  void request_stop();
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  // Flushes everything written so far; `done` after the manifest that says so is durable.
  void snapshot(JobDone done);
  // Commits a change that the merger has prepared, and shows it to readers.
  Status install(const RunChange& change);
  // A compaction that was due may begin.
  void on_merger_idle();

  void on_frozen() override;
  Status wait_for_room(size_t frozen_max) override;
  [[nodiscard]] Backlog backlog() const override;
  void wait_for_turn(uint64_t turn, uint64_t timeout_ns) override;
  void on_disk_full() override;
  void on_disk_short() override;
  // The reserve has been given up: somebody has to take it back.
  void on_reserve_released();
  void on_commit(uint64_t records, uint64_t log_bytes) override;

  [[nodiscard]] const Heartbeat& heartbeat() const { return heartbeat_; }

 private:
  struct FreezeRequest final : WriteRequest {
    FreezeRequest(Flusher& owner, JobDone callback)
        : flusher(owner), callback_done(std::move(callback)) {}
    void done() override { flusher.on_freeze_done(this); }
    Flusher& flusher;
    JobDone callback_done;
    uint64_t began_ns = 0;
    uint64_t due_at = 0;  // done when so many deltas have been flushed
  };
  // A change that waits to be committed.
  struct Install {
    const RunChange& change;
    bool is_done = false;
    Status status = {};
  };

  void run();
  void on_freeze_done(FreezeRequest* request);
  // Each gives the mutex back while it works.
  void install_one() KYRO_REQUIRES(mutex_);
  void flush_one() KYRO_REQUIRES(mutex_);
  void finish_snapshot() KYRO_REQUIRES(mutex_);
  void fire_triggers() KYRO_REQUIRES(mutex_);
  void sleep() KYRO_REQUIRES(mutex_);
  // On a disk that is full, or nearly: looks at it again, and has what the delta knows to be dead
  // flushed, so that it can be left out of runs.
  void find_room() KYRO_REQUIRES(mutex_);
  // A line for the first failure and then one a minute.
  void note_failure(const Status& status) KYRO_REQUIRES(mutex_);
  // Wakes writers that wait for something to be done.
  void next_turn() KYRO_REQUIRES(mutex_);
  void note_runs();

  EngineState& state_;
  Triggers triggers_;
  Heartbeat heartbeat_;
  const Cancel cancel_{[this] {
    heartbeat_.step();
    return stopping_.load(std::memory_order_relaxed);
  }};
  Committer* committer_ = nullptr;
  MergeScheduler* merger_ = nullptr;
  Thread thread_;
  std::atomic<bool> stopping_{false};  // set under the mutex

  Mutex mutex_;
  CondVar changed_;    // there may be work
  CondVar room_;       // a delta has been flushed, or that does not work
  CondVar installed_;  // a change has been
  std::deque<std::unique_ptr<FreezeRequest>> snapshots_ KYRO_GUARDED_BY(mutex_);  // oldest first
  Install* install_ KYRO_GUARDED_BY(mutex_) = nullptr;
  Status stuck_ KYRO_GUARDED_BY(mutex_);          // why flushing does not work at the moment
  uint64_t flushes_ KYRO_GUARDED_BY(mutex_) = 0;  // deltas that have become runs
  bool triggers_due_ KYRO_GUARDED_BY(mutex_) = false;
  bool is_gone_ KYRO_GUARDED_BY(mutex_) = false;  // the thread will do nothing more

  // While room lacks, the flusher's thread's alone: when to look again; what it has had flushed for
  // that reason, and when; when a failure was logged.
  static constexpr uint64_t kRetryNsMin = 100'000'000;
  static constexpr uint64_t kRetryNsMax = 2'000'000'000;
  uint64_t retry_ns_ = kRetryNsMin;
  static constexpr uint64_t kPressPauseNs = 1'000'000'000;
  uint64_t pressed_offset_ = 0;
  uint64_t pressed_ns_ = 0;
  uint64_t failure_said_ns_ = 0;

  // Changed under the mutex, read without it; see Backlog.
  std::atomic<size_t> frozen_{0};  // deltas that wait
  std::atomic<bool> is_stuck_{false};
  std::atomic<uint64_t> turn_{0};  // flushes, attempts at them, and changes of the runs
  std::atomic<uint64_t> last_flush_ns_{0};
  std::atomic<uint64_t> flush_began_ns_{0};
  std::atomic<size_t> runs_to_merge_{0};
};

// ---- from other threads ----

inline Status Flusher::start(Committer& committer, MergeScheduler& merger) {
  committer_ = &committer;
  merger_ = &merger;
  frozen_ = state_.copy_view().frozen.size();  // what a recovery had no room to flush
  for (size_t i = 0; i < frozen_; ++i) heartbeat_.add_work();
  note_runs();
  return thread_.start([this] { run(); });
}

inline void Flusher::request_stop() {
  const MutexLock lock(mutex_);
  stopping_.store(true, std::memory_order_release);
  changed_.notify_all();
  room_.notify_all();
}

inline void Flusher::snapshot(JobDone done) {
  auto* freeze = new FreezeRequest(*this, std::move(done));
  freeze->control = WriteRequest::Control::kFreeze;
  freeze->began_ns = monotonic_ns();
  committer_->submit(freeze);
}

inline void Flusher::on_freeze_done(FreezeRequest* request) {
  {
    const MutexLock lock(mutex_);
    if (!is_gone_) {
      // Whoever asks deserves a fresh try, not the failure of an older one.
      if (EngineState::is_temporary(stuck_)) stuck_ = Status();
      request->due_at = flushes_ + frozen_;
      snapshots_.emplace_back(request);
      changed_.notify_all();
      return;
    }
  }
  request->callback_done({shutting_down()});
  delete request;
}

inline Status Flusher::install(const RunChange& change) {
  Install install{change};
  heartbeat_.add_work();
  {
    const MutexLock lock(mutex_);
    install_ = &install;
    changed_.notify_all();
    while (!install.is_done && !is_gone_) installed_.wait(mutex_);
    install_ = nullptr;
  }
  heartbeat_.end_work();
  return install.is_done ? install.status : shutting_down();
}

inline void Flusher::on_merger_idle() {
  const MutexLock lock(mutex_);
  triggers_due_ = true;
  changed_.notify_all();
}

inline void Flusher::on_frozen() {
  heartbeat_.add_work();
  const MutexLock lock(mutex_);
  frozen_.fetch_add(1, std::memory_order_relaxed);
  changed_.notify_all();
}

inline Backlog Flusher::backlog() const {
  Backlog backlog;
  backlog.frozen = frozen_.load(std::memory_order_relaxed);
  backlog.runs = runs_to_merge_.load(std::memory_order_relaxed);
  backlog.fan_in = state_.options.merge_fan_in;
  backlog.turn = turn_.load(std::memory_order_relaxed);
  backlog.may_give_room =
      (backlog.frozen > 0 && !is_stuck_.load(std::memory_order_relaxed)) || merger_->is_looking();
  backlog.flush_ns = last_flush_ns_.load(std::memory_order_relaxed);
  const uint64_t began_ns = flush_began_ns_.load(std::memory_order_relaxed);
  if (began_ns > 0) backlog.flush_ns = std::max(backlog.flush_ns, monotonic_ns() - began_ns);
  return backlog;
}

inline void Flusher::wait_for_turn(uint64_t turn, uint64_t timeout_ns) {
  const uint64_t began_ns = monotonic_ns();
  const MutexLock lock(mutex_);
  while (turn_.load(std::memory_order_relaxed) == turn && !stopping_) {
    const uint64_t waited_ns = monotonic_ns() - began_ns;
    if (waited_ns >= timeout_ns) return;
    room_.wait_for(mutex_, timeout_ns - waited_ns);
  }
}

inline Status Flusher::wait_for_room(size_t frozen_max) {
  const MutexLock lock(mutex_);
  while (frozen_ >= frozen_max && stuck_.ok() && !stopping_) room_.wait(mutex_);
  if (frozen_ < frozen_max) return Status();
  return !stuck_.ok() ? stuck_ : shutting_down();
}

inline void Flusher::on_disk_full() {
  state_.spare_segment.give_up();
  on_reserve_released();
  merger_->on_change();
}

inline void Flusher::on_disk_short() {
  if (drop_retained_log(state_).ok()) state_.space.refresh(state_.dir);
  on_disk_full();
}

inline void Flusher::on_reserve_released() {
  const MutexLock lock(mutex_);
  changed_.notify_all();
}

inline void Flusher::on_commit(uint64_t records, uint64_t log_bytes) {
  if (!triggers_.on_commit(records, log_bytes)) return;
  const MutexLock lock(mutex_);
  triggers_due_ = true;
  changed_.notify_all();
}

// ---- the flusher's thread ----

inline void Flusher::run() {
  name_this_thread("kyro-flush");
  std::deque<std::unique_ptr<FreezeRequest>> waiting;
  {
    const MutexLock lock(mutex_);
    for (;;) {
      if (install_ != nullptr && !install_->is_done) {
        install_one();
      } else if (stopping_.load(std::memory_order_relaxed)) {
        break;
      } else if (!snapshots_.empty() && (snapshots_.front()->due_at <= flushes_ || !stuck_.ok())) {
        finish_snapshot();
      } else if (frozen_ > 0 && stuck_.ok()) {
        flush_one();
      } else if (triggers_due_) {
        fire_triggers();
      } else {
        sleep();
      }
    }
    is_gone_ = true;
    waiting.swap(snapshots_);
    installed_.notify_all();
    room_.notify_all();
  }
  for (const auto& request : waiting) request->callback_done({shutting_down()});
}

inline void Flusher::install_one() {
  Install& install = *install_;
  Status status;
  {
    const MutexUnlock unlock(mutex_);
    status = install_run_change(state_, install.change);
    note_runs();
  }
  install.status = std::move(status);
  install.is_done = true;
  triggers_due_ = true;  // with fewer keys the limit of some is smaller
  installed_.notify_all();
  next_turn();
}

inline void Flusher::flush_one() {
  Status status;
  {
    const MutexUnlock unlock(mutex_);
    const uint64_t began_ns = monotonic_ns();
    flush_began_ns_.store(began_ns, std::memory_order_relaxed);
    status = flush_oldest(state_, cancel_);
    flush_began_ns_.store(0, std::memory_order_relaxed);
    heartbeat_.step();
    if (status.ok()) {
      last_flush_ns_.store(monotonic_ns() - began_ns, std::memory_order_relaxed);
      note_runs();
    }
  }
  stuck_ = status;
  is_stuck_.store(!status.ok(), std::memory_order_relaxed);
  if (status.ok()) {
    frozen_.fetch_sub(1, std::memory_order_relaxed);
    heartbeat_.end_work();
    ++flushes_;
    failure_said_ns_ = 0;
    triggers_.on_flushed();
    merger_->on_change();
  } else if (!stopping_.load(std::memory_order_relaxed)) {
    note_failure(status);
    // With the reserve's room it may work at once.
    if (status.code() == Code::kNoSpace && state_.reserve.release(state_.dir)) stuck_ = Status();
    if (!EngineState::is_temporary(status)) state_.latch.set(status);
  }
  next_turn();
}

// Answers the oldest snapshot: everything it asked for is flushed, or flushing does not work.
inline void Flusher::finish_snapshot() {
  const std::unique_ptr<FreezeRequest> request = std::move(snapshots_.front());
  snapshots_.pop_front();
  Status status = request->status;
  if (status.ok() && request->due_at > flushes_) status = stuck_;
  const MutexUnlock unlock(mutex_);
  if (status.ok()) {
    static_cast<void>(drop_retained_log(state_));  // its limit may have been lowered
    state_.stats.snapshots.add();
    state_.stats.snapshot_ns.observe(monotonic_ns() - request->began_ns);
  }
  request->callback_done({status});
}

inline void Flusher::fire_triggers() {
  using enum Triggers::Action;
  triggers_due_ = false;
  const MutexUnlock unlock(mutex_);
  const Triggers::Action action = triggers_.take(merger_->is_idle());  // so they do not pile up
  if (action == kSnapshot) snapshot([](const JobOutcome&) {});
  if (action == kCompact) merger_->compact(Job::Kind::kCompact);
  if (action == kRebuild) merger_->compact(Job::Kind::kRebuildIndex);
}

inline void Flusher::sleep() {
  constexpr uint64_t kTimersNs = 1'000'000'000;
  const bool lacks_room = state_.reserve.is_released() || state_.space.is_short();
  if ((!stuck_.ok() || lacks_room) && !state_.latch.is_set()) {
    changed_.wait_for(mutex_, retry_ns_);
    retry_ns_ = std::min(2 * retry_ns_, kRetryNsMax);
    find_room();
    if (EngineState::is_temporary(stuck_)) stuck_ = Status();
  } else if (triggers_.has_timers() || epoch_waiting() > 0) {
    changed_.wait_for(mutex_, kTimersNs);
    triggers_due_ = triggers_due_ || triggers_.has_timers();
    epoch_collect();  // what readers held when it was retired
  } else {
    changed_.wait(mutex_);
  }
}

inline void Flusher::find_room() {
  const MutexUnlock unlock(mutex_);
  epoch_collect();  // replaced runs that readers held take their room until then
  state_.space.refresh(state_.dir);
  if (state_.space.is_short()) state_.spare_segment.give_up();
  // While deltas wait to be flushed, the room is theirs.
  if (state_.reserve.is_released() && frozen_ == 0) {
    state_.reserve.claim(state_.dir, state_.space.reserve_bytes());
  }
  const bool is_full = state_.refuses_puts();
  const uint64_t visible = state_.visible.load(std::memory_order_acquire);
  if (!is_full) retry_ns_ = kRetryNsMin;
  const uint64_t now_ns = monotonic_ns();
  const bool may_press = now_ns - pressed_ns_ >= kPressPauseNs;  // not a run for each write
  if (is_full && frozen_ == 0 && visible != pressed_offset_ && may_press) {
    pressed_offset_ = visible;
    pressed_ns_ = now_ns;
    snapshot([](const JobOutcome&) {});
  }
  merger_->on_change();
}

inline void Flusher::note_failure(const Status& status) {
  constexpr uint64_t kSayAgainNs = 60'000'000'000;
  state_.stats.flush_failures.add();
  const uint64_t now_ns = monotonic_ns();
  if (failure_said_ns_ != 0 && now_ns - failure_said_ns_ < kSayAgainNs) return;
  failure_said_ns_ = now_ns;
  log_event(LogLevel::kWarn, "flush_failed", {{"reason", status.to_string()}});
}

inline void Flusher::next_turn() {
  turn_.fetch_add(1, std::memory_order_relaxed);
  room_.notify_all();
}

inline void Flusher::note_runs() {
  const View view = state_.copy_view();
  uint64_t keys = 0;
  for (const auto& run : view.runs) keys += run->meta().records;
  triggers_.set_keys(keys);
  const MergeChoice choice =
      choose_tier(view.runs, state_.options.merge_fan_in, state_.space.merge_bytes_max());
  const auto chosen = std::span(view.runs).subspan(choice.begin, choice.end - choice.begin);
  runs_to_merge_.store(merge_weight(chosen), std::memory_order_relaxed);
}

}  // namespace kyro
