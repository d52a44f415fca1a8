// Group commit: one thread turns concurrent writes into one log write, one sync, one answer each.
//
// Order of things for a group: decide conditions → number and encode records → make sure that delta
// and segment have room → wait, if flushes fall behind → one write → (policy always) one fdatasync
// → insert into the delta → move `visible` → done() of every request, in order → one wake-up
// for all callers that sleep. While a sync is in flight the next group gathers. Where the store
// shares its log with others, that log comes before its own (committer_shared.h).
//
// Invariants:
//   - nothing can fail between durable and visible: room was made before the log write;
//   - a request is answered only after the group it was decided in has its outcome;
//   - offsets are given to groups that are written; a group that fails for space gives its back.
//
// Failures: no space → the group fails with kNoSpace, writing goes on. Anything else → the latch:
// this group and all later ones fail with kReadOnly (see group_log.h).
//
// Thread rule: submit() and commit() from any thread; the rest under the writer's role, which one
// thread holds at a time: the committer's own, or a caller of commit() or commit_enqueued() that
// finds nobody at work and is spared two context switches. The latter must not sleep: what would
// need a sync, or a wait for the flusher, it leaves to the committer's own thread. One exception: a
// log write that fails is cut back by whoever made it, with a sync, before anything else.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kyro/base/fence.h"
#include "kyro/base/thread.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/write/admission.h"
#include "kyro/storage/write/agreement.h"
#include "kyro/storage/write/backpressure.h"
#include "kyro/storage/write/blocking_write.h"
#include "kyro/storage/write/commit_group.h"
#include "kyro/storage/write/flush_scheduler.h"
#include "kyro/storage/write/group_log.h"
#include "kyro/storage/write/key_listener.h"
#include "kyro/storage/write/request_queue.h"
#include "kyro/storage/write/writer_role.h"

namespace kyro {

class Committer {
 public:
  Committer(EngineState& state, std::unique_ptr<WalWriter> wal, std::shared_ptr<Delta> active,
            FlushScheduler& scheduler)
      : state_(state),
        scheduler_(scheduler),
        admission_(state, scheduler),
        agreement_(state),
        log_(state, std::move(wal), scheduler),
        active_(std::move(active)) {}
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;
  ~Committer() { stop(); }

  // kBusy where the system gives no thread.
  [[nodiscard]] Status start() {
    return thread_.start([this] { run(); });
  }
  // Commits what was submitted before, seals the log, ends the thread. Nothing may be submitted
  // any more.
  void stop();

  void submit(WriteRequest* request) { queue_.push(request); }
  // The same for a thread that hands over several and must not sleep: nobody is woken for them
  // before it calls commit_enqueued(), which commits them itself where that takes neither a sync
  // nor a wait, and else wakes the committer's thread.
  void enqueue(WriteRequest* request) { queue_.push_silently(request); }
  void commit_enqueued();
  // The same for a caller that sleeps until it is done. It may do the work itself, writing, syncing
  // and waiting for room on its own thread, for others' requests as well.
  void commit(BlockingWrite* request);

  // Called after each group has become visible, on whichever thread committed it. Set once; the
  // context outlives stop().
  void set_listener(void (*listener)(void*), void* context) {
    listener_context_.store(context, std::memory_order_release);
    listener_.store(listener, std::memory_order_release);
  }

  // Tells it of every key that is written from now on. Set once.
  void set_key_listener(KeyListener* listener) {
    key_listener_.store(listener, std::memory_order_release);
  }

  // For a watcher (kyro/base/heartbeat.h): somebody commits or should, and does not just wait for
  // the flusher or the shared log; and what changes with every group.
  [[nodiscard]] bool has_work() const {
    return (role_.is_held() || !queue_.empty() || has_left_over()) &&
           !waits_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t progress() const { return steps_.load(std::memory_order_relaxed); }

 private:
  // So often commit() asks for the role again before it leaves the request to its holder.
  static constexpr int kRoleRetries = 4;
  // A delta of deletes may grow to so many times its size while flushing finds no room.
  static constexpr uint64_t kOverfullDeltas = 4;
  // What a thread that must not sleep takes into one group, and of one request, at most.
  static constexpr uint64_t kQuickBytesMax = 256 * kKiB;
  static constexpr size_t kQuickMutationsMax = 1024;
  // A small delta is flushed for the sake of room so often at most.
  static constexpr uint64_t kPressPauseNs = 250'000'000;

  // Whether the holder of the role may sleep, in a sync or for the flusher's sake.
  enum class Pace : uint8_t { kMayWait, kMustNotWait };

  void run();
  // Commits what is queued; what has to wait and must not, is left over.
  void work(Pace pace) KYRO_REQUIRES(role_);
  [[nodiscard]] bool is_quick(const WriteRequest& request) const KYRO_REQUIRES(role_);
  // Whether the committer's thread, which sleeps, has to learn that a sync will be due.
  [[nodiscard]] bool must_wake_to_sync() KYRO_REQUIRES(role_);
  [[nodiscard]] bool has_left_over() const {
    return left_over_.load(std::memory_order_relaxed) != nullptr;
  }
  // Adds a request to the group, committing the group before it where it does not fit.
  void add(WriteRequest* request) KYRO_REQUIRES(role_);
  void fail(WriteRequest* request, const Status& status) KYRO_REQUIRES(role_);
  // Makes sure that the delta and the segment can take a request's records beside the group's.
  Status make_room(const CommitGroup::Cost& cost, bool is_delete) KYRO_REQUIRES(role_);
  // Whether there is room beside what is kept; waits for it.
  Status admit(const Admission::Wish& wish) KYRO_REQUIRES(role_);
  // Waits a little while something may give room back; false when all that can be done is done.
  bool wait_for_reclaim() KYRO_REQUIRES(role_);
  // Has what is new flushed and looked at; false if nothing is.
  bool press(const Backlog& backlog) KYRO_REQUIRES(role_);
  // A new segment; for deletes also from the reserve, or once they have made room.
  Status rotate(bool is_delete) KYRO_REQUIRES(role_);
  // Whether the request's conditions hold; if not, the outcome is set.
  [[nodiscard]] bool decide(WriteRequest* request) KYRO_REQUIRES(role_);
  void commit_group(Pace pace = Pace::kMayWait) KYRO_REQUIRES(role_);
  // Waits, a little before each group, while flushes or merges fall behind, or where it should take
  // `cost_ns` in any case.
  Status slow_down(Pace pace, uint64_t cost_ns) KYRO_REQUIRES(role_);
  // Writes the group to the store's own log and shows it to readers. Not ok: nothing of it is here.
  Status write_group() KYRO_REQUIRES(role_);
  void publish_group() KYRO_REQUIRES(role_);
  void tell_of_commit(uint32_t records, uint64_t log_bytes) KYRO_REQUIRES(role_);
  void wake_writers() KYRO_REQUIRES(role_) {
    for (WaitingWriters& waiting : waiting_writers_) waiting.wake();
  }
  void tell_of_keys() KYRO_REQUIRES(role_);
  void freeze_for(WriteRequest* request) KYRO_REQUIRES(role_);
  void count_step() KYRO_REQUIRES(role_) {
    steps_.store(steps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // Closes the active delta, its records synced first, and begins a new one. REQUIRES: no group
  // under way.
  Status freeze() KYRO_REQUIRES(role_);

  // ---- with a log that is shared: committer_shared.h ----

  // Makes the group the next one in that log, or what is left of it after others' groups.
  Status agree() KYRO_REQUIRES(role_);
  // Decides and numbers those who were in the group anew. REQUIRES: no group under way.
  void regroup(const std::vector<WriteRequest*>& members) KYRO_REQUIRES(role_);
  // Applies another store's group, the next one. REQUIRES: no group under way.
  Status apply(const SharedGroup& theirs) KYRO_REQUIRES(role_);
  void take(WriteRequest* request) KYRO_REQUIRES(role_);

  EngineState& state_;
  FlushScheduler& scheduler_;
  // A group would need a sync or the network, so no thread that must not sleep can commit it.
  const bool must_leave_to_committer_ =
      state_.options.fsync == FsyncPolicy::kAlways || state_.options.shared_log != nullptr;
  const uint64_t group_bytes_max_ =
      state_.options.shared_log != nullptr ? kSharedGroupBytesMax : CommitGroup::kBytesMax;
  RequestQueue queue_;
  std::atomic<WriteRequest*> left_over_{nullptr};  // older than what is queued; under the role
  Thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> groups_taken_{0};          // from the queue; moved under the role
  std::array<WaitingWriters, 2> waiting_writers_;  // entered in turn, as groups are taken
  std::atomic<uint64_t> steps_{0};                 // moved under the role
  std::atomic<bool> waits_{false};                 // for the flusher, or the shared log
  std::atomic<void (*)(void*)> listener_{nullptr};
  std::atomic<void*> listener_context_{nullptr};
  std::atomic<KeyListener*> key_listener_{nullptr};

  WriterRole role_;
  Admission admission_ KYRO_GUARDED_BY(role_);
  Agreement agreement_ KYRO_GUARDED_BY(role_);
  GroupLog log_ KYRO_GUARDED_BY(role_);
  std::shared_ptr<Delta> active_ KYRO_GUARDED_BY(role_);
  CommitGroup group_ KYRO_GUARDED_BY(role_);
  WritePacer pacer_ KYRO_GUARDED_BY(role_);
  uint64_t now_secs_ KYRO_GUARDED_BY(role_) = 0;
  // The committer's thread sleeps no longer than until a sync is due.
  bool wakes_to_sync_ KYRO_GUARDED_BY(role_) = false;
  // When a delta was frozen for the sake of room; the last turn in which all was looked at.
  uint64_t pressed_ns_ KYRO_GUARDED_BY(role_) = 0;
  uint64_t looked_turn_ KYRO_GUARDED_BY(role_) = ~uint64_t{0};
};

// ---- the role ----

inline void Committer::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  queue_.wake();
  thread_.join();
}

inline void Committer::commit(BlockingWrite* request) {
  request->enter(
      &waiting_writers_[groups_taken_.load(std::memory_order_relaxed) % waiting_writers_.size()]);
  queue_.push_silently(request);
  // Either the role is had here, or its holder sees the request when it looks once more: push,
  // exchange, store and look have one order, since all are sequentially consistent. A holder that
  // does not sync will soon be done.
  const bool syncs = state_.options.fsync == FsyncPolicy::kAlways;
  if (role_.try_acquire(syncs ? 0 : kRoleRetries)) {
    work(Pace::kMayWait);
    const bool must_wake = must_wake_to_sync();
    role_.release();
    if (must_wake || !queue_.empty()) queue_.wake();
  }
  request->wait();
}

inline void Committer::commit_enqueued() {
  // The second turn is for those who could not have the role in the first.
  for (int turns = 2; turns > 0 && !queue_.empty(); --turns) {
    if (must_leave_to_committer_) return queue_.wake_if_asleep();
    // As in commit(): whoever holds it will see what is queued.
    if (!role_.try_acquire(0)) return;
    work(Pace::kMustNotWait);
    const bool must_wake = must_wake_to_sync() || has_left_over();
    role_.release();
    if (must_wake || (turns == 1 && !queue_.empty())) queue_.wake();
  }
}

inline bool Committer::must_wake_to_sync() {
  if (wakes_to_sync_ || log_.nanoseconds_to_sync() == 0) return false;
  wakes_to_sync_ = true;
  return true;
}

inline void Committer::run() {
  name_this_thread("kyro-commit");
  for (;;) {
    const bool stopping = stopping_.load(std::memory_order_acquire);
    role_.acquire();
    work(Pace::kMayWait);
    const uint64_t timeout_ns = log_.nanoseconds_to_sync();
    wakes_to_sync_ = timeout_ns > 0;
    if (stopping) log_.seal();
    role_.release();
    if (stopping) return;
    if (!stopping_.load(std::memory_order_acquire)) queue_.wait(timeout_ns);
  }
}

inline void Committer::work(Pace pace) {
  const bool may_wait = pace == Pace::kMayWait;
  if (!may_wait && has_left_over()) return;  // that is older than what is queued
  const bool may_begin = may_wait || !pacer_.is_behind(monotonic_ns());
  const uint32_t taken = groups_taken_.load(std::memory_order_relaxed);
  groups_taken_.store(taken + 1, std::memory_order_relaxed);  // before the queue is
  WriteRequest* const queued = queue_.take_all();
  now_secs_ = state_.clock.now_secs();  // not before what the submitters saw
  for (WriteRequest* request : {left_over_.load(std::memory_order_relaxed), queued}) {
    while (request != nullptr && may_begin && (may_wait || is_quick(*request))) {
      WriteRequest* next = request->next_queued;
      add(request);
      request = next;
    }
    left_over_.store(request, std::memory_order_relaxed);
  }
  commit_group(pace);
  if (may_wait) static_cast<void>(log_.sync_if_due());  // a failure has set the latch
  count_step();
}

// Mirrors what add() may wait for.
inline bool Committer::is_quick(const WriteRequest& request) const {
  if (state_.latch.is_set()) return true;  // refused
  if (request.control != WriteRequest::Control::kNone ||
      std::max(request.mutations.size(), request.conditions.size()) > kQuickMutationsMax) {
    return false;
  }
  const CommitGroup::Cost cost = CommitGroup::cost_of(request);
  const uint64_t log_bytes = group_.log_bytes() + cost.log_bytes;
  return log_bytes <= kQuickBytesMax && admission_.has_ample_room(cost.log_bytes) &&
         !log_.wants_rotation(log_bytes) &&
         active_->bytes() + group_.delta_bytes() + cost.delta_bytes <=
             state_.space.delta_bytes_max();
}

// ---- a request on its way into the group ----

inline void Committer::add(WriteRequest* request) {
  request->status = Status();  // of an earlier try
  request->is_stale = false;
  if (state_.latch.is_set()) return fail(request, state_.latch.status());
  if (request->control == WriteRequest::Control::kFreeze) return freeze_for(request);
  if (request->control == WriteRequest::Control::kTake) return take(request);
  const CommitGroup::Cost cost = CommitGroup::cost_of(*request);
  const Admission::Wish wish = Admission::wish_of(*request, cost.log_bytes);
  if (Status admitted = admit(wish); !admitted.ok()) {
    request->is_stale =
        !request->room_is_judged && (request->may_come_back || !request->conditions.empty());
    return fail(request, admitted);
  }
  if (!group_.empty() && group_.log_bytes() + cost.log_bytes > group_bytes_max_) {
    commit_group();
  }
  if (Status made = make_room(cost, CommitGroup::only_deletes(*request)); !made.ok()) {
    return fail(request, made);
  }
  if (!decide(request)) return group_.add(request);
  group_.add_records(request, log_.next_offset());
  if (group_.has_lifetimes()) state_.has_lifetimes.store(true, std::memory_order_relaxed);
}

inline void Committer::fail(WriteRequest* request, const Status& status) {
  request->status = status;
  group_.add(request);
}

inline Status Committer::make_room(const CommitGroup::Cost& cost, bool is_delete) {
  const bool delta_is_full =
      active_->bytes() + group_.delta_bytes() + cost.delta_bytes > state_.space.delta_bytes_max() &&
      !(active_->empty() && group_.records() == 0);  // one larger request gets its own delta
  if (delta_is_full) {
    commit_group();
    if (state_.latch.is_set()) return state_.latch.status();
    if (!active_->empty()) {
      // Deletes go on in the delta that there is while flushes find no room.
      const Status frozen = freeze();
      const bool may_go_on = frozen.code() == Code::kNoSpace && is_delete &&
                             active_->bytes() < kOverfullDeltas * state_.space.delta_bytes_max();
      if (!may_go_on) KYRO_TRY(frozen);
    }
  }
  log_.set_segment_bytes(state_.space.segment_bytes_max(), !state_.space.is_short());
  if (log_.wants_rotation(group_.log_bytes() + cost.log_bytes)) {
    commit_group();
    if (state_.latch.is_set()) return state_.latch.status();
    if (log_.wants_rotation(cost.log_bytes)) return rotate(is_delete);
  }
  return Status();
}

inline bool Committer::decide(WriteRequest* request) {
  if (request->conditions.empty()) return true;
  const EpochPin pin;
  return group_.decide(request, *state_.view.load(std::memory_order_acquire), now_secs_);
}

// ---- the group ----

inline void Committer::commit_group(Pace pace) {
  if (group_.empty()) return;
  Status status = group_.records() > 0 ? slow_down(pace, agreement_.pace_ns(group_)) : Status();
  if (agreement_.is_needed() && status.ok()) [[unlikely]] {
    status = agree();
  }
  const uint32_t records = group_.records();
  const uint64_t log_bytes = group_.log_bytes();
  if (status.ok() && records > 0) status = agreement_.outcome(write_group());
  const std::vector<WriteRequest*> again = group_.finish(status, state_.stats);
  count_step();
  wake_writers();
  for (WriteRequest* request : again) add(request);
  if (!again.empty()) commit_group(pace);
  if (status.ok() && records > 0) tell_of_commit(records, log_bytes);
}

inline void Committer::tell_of_commit(uint32_t records, uint64_t log_bytes) {
  scheduler_.on_commit(records, log_bytes);
  if (auto* listener = listener_.load(std::memory_order_acquire)) {
    listener(listener_context_.load(std::memory_order_acquire));
  }
}

inline Status Committer::slow_down(Pace pace, uint64_t cost_ns) {
  const Backlog backlog = scheduler_.backlog();
  cost_ns = std::max(cost_ns, slowdown_ns(backlog, active_->bytes(), group_.delta_bytes(),
                                          state_.space.delta_bytes_max()));
  if (cost_ns == 0) return pacer_.forgive(), Status();
  const uint64_t began_ns = monotonic_ns();
  const uint64_t wait_ns = pacer_.add(cost_ns, began_ns);
  if (wait_ns == 0 || pace == Pace::kMustNotWait) return Status();  // later, see is_behind()
  // What was written before does not wait longer for its sync than it may.
  const uint64_t to_sync_ns = log_.nanoseconds_to_sync();
  if (to_sync_ns > 0 && to_sync_ns < wait_ns) KYRO_TRY(log_.sync());
  waits_.store(true, std::memory_order_relaxed);
  scheduler_.wait_for_turn(backlog.turn, wait_ns);
  waits_.store(false, std::memory_order_relaxed);
  count_step();
  const uint64_t waited_ns = monotonic_ns() - began_ns;
  state_.stats.write_slowdown_ns.add(waited_ns);
  if (waited_ns < wait_ns) pacer_.forgive();
  return Status();
}

inline Status Committer::write_group() {
  const uint64_t began_ns = monotonic_ns();
  KYRO_TRY(log_.append(group_));
  publish_group();
  state_.stats.append_latency_ns.observe(monotonic_ns() - began_ns);
  return Status();
}

inline void Committer::publish_group() {
  Delta& delta = *active_;
  if (group_.records() > 1) {  // so that their cache misses overlap
    group_.for_each_record(
        [&](const RecordHeader& header, std::string_view) { delta.prefetch(header.key); });
  }
  group_.for_each_record(
      [&](const RecordHeader& header, std::string_view record) { delta.insert(header, record); });
  state_.visible.store(log_.next_offset(), std::memory_order_release);
  state_.stats.appends.add(group_.records() - group_.deletes());
  state_.stats.deletes.add(group_.deletes());
  tell_of_keys();
}

inline void Committer::tell_of_keys() {
  KeyListener* const listener = key_listener_.load(std::memory_order_acquire);
  if (listener == nullptr) return;
  full_fence();  // after the group has been shown
  if (!listener->is_listening()) return;
  group_.for_each_record(
      [&](const RecordHeader& header, std::string_view) { listener->on_write(header.key); });
}

// ---- deltas ----

inline void Committer::freeze_for(WriteRequest* request) {
  commit_group();
  if (request->status.ok()) request->status = active_->empty() ? log_.sync() : freeze();
  request->offset = log_.next_offset();
  request->done();
}

inline Status Committer::freeze() {
  KYRO_TRY(log_.sync());
  const uint64_t began_ns = monotonic_ns();
  waits_.store(true, std::memory_order_relaxed);
  const Status room = scheduler_.wait_for_room(kFrozenDeltasMax);
  waits_.store(false, std::memory_order_relaxed);
  count_step();
  KYRO_TRY(room);
  state_.stats.write_slowdown_ns.add(monotonic_ns() - began_ns);
  // Writers go on as they did, for all we know. Half of it, in case that they do not.
  auto fresh = std::make_shared<Delta>(log_.next_offset(), active_->keys() / 2);
  state_.publish([&](View& view) {
    view.frozen.insert(view.frozen.begin(), std::move(view.active));
    view.active = fresh;
  });
  active_ = std::move(fresh);
  scheduler_.on_frozen();
  return Status();
}

}  // namespace kyro

#include "kyro/storage/write/committer_disk.h"    // bodies of what a full disk asks for
#include "kyro/storage/write/committer_shared.h"  // and a shared log
