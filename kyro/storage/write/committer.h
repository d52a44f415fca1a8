// Group commit: one thread turns concurrent writes into one log write, one sync, one answer each.
//
// Order of things for a group: decide conditions → number and encode records → make sure that delta
// and segment have room → wait, if flushes fall behind → one write → (policy always) one fdatasync
// → insert into the delta → move `visible` → done() of every request, in order → one wake-up
// for all callers that sleep. While a sync is in flight the next group gathers.
//
// Invariants:
//   - nothing can fail between durable and visible: room was made before the log write;
//   - a request is answered only after the group it was decided in has its outcome;
//   - offsets are given to groups that are written; a group that fails for space gives its back.
//
// Failures: no space → the group fails with kNoSpace, the log's tail is cut back, writing goes on.
// Anything else → the latch: this group and all later ones fail with kReadOnly.
//
// Thread rule: submit() and commit() from any thread; the rest under the committer's role, which
// one thread holds at a time: the committer's own, or a caller of commit() that finds nobody at
// work and is spared two context switches.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kyro/base/thread.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/log/wal_writer.h"
#include "kyro/storage/write/backpressure.h"
#include "kyro/storage/write/blocking_write.h"
#include "kyro/storage/write/key_table.h"
#include "kyro/storage/write/request_queue.h"

namespace kyro {

// What the committer needs of whoever flushes.
class FlushScheduler {
 public:
  virtual ~FlushScheduler() = default;
  // A delta has been frozen.
  virtual void on_frozen() = 0;
  // Blocks until fewer than `frozen_max` deltas wait; kNoSpace when flushing is stuck for space,
  // kReadOnly or kBusy when it will not happen any more.
  virtual Status wait_for_room(size_t frozen_max) = 0;
  // What waits for it; called for each group.
  [[nodiscard]] virtual Backlog backlog() const = 0;
  // Blocks until `timeout_ns` has passed or the backlog's turn is no longer `turn`. The caller
  // holds nothing that flushes, merges or readers need.
  virtual void wait_for_turn(uint64_t turn, uint64_t timeout_ns) = 0;
  // A write has failed for space, or the reserve was given up: a merge may make room, and somebody
  // has to take the reserve back.
  virtual void on_disk_full() = 0;
  // Records have been committed; called for each group.
  virtual void on_commit(uint64_t records, uint64_t log_bytes) = 0;
};

class Committer {
 public:
  Committer(EngineState& state, std::unique_ptr<WalWriter> wal, std::shared_ptr<Delta> active,
            FlushScheduler& scheduler)
      : state_(state), wal_(std::move(wal)), active_(std::move(active)), scheduler_(scheduler) {}
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;
  ~Committer() { stop(); }

  // kBusy where the system gives no thread.
  [[nodiscard]] Status start() {
    return thread_.start([this] { run(); });
  }

  // Commits what was submitted before, seals the log, ends the thread. Nothing may be submitted
  // any more.
  void stop() {
    if (!thread_.joinable()) return;
    stopping_.store(true, std::memory_order_release);
    queue_.wake();
    thread_.join();
  }

  void submit(WriteRequest* request) { queue_.push(request); }

  // The same for a caller that sleeps until it is done. It may do the work itself, writing, syncing
  // and waiting for room on its own thread, for others' requests as well.
  void commit(BlockingWrite* request) {
    request->enter(&rooms_[groups_taken_.load(std::memory_order_relaxed) % rooms_.size()]);
    queue_.push_silently(request);
    // Either the role is had here, or its holder sees the request when it looks once more: push,
    // exchange, store and look have one order, since all are sequentially consistent.
    bool has_role = try_role();
    // A holder that does not sync will soon be done.
    const int tries = state_.options.fsync == FsyncPolicy::kAlways ? 0 : kRoleTries;
    for (int i = 0; !has_role && i < tries; ++i) {
      std::this_thread::yield();
      has_role = try_role();
    }
    if (has_role) {
      work();
      const bool must_wake = nanoseconds_to_sync() > 0 && !wakes_to_sync_;
      wakes_to_sync_ = wakes_to_sync_ || must_wake;
      give_up_role();
      if (must_wake || !queue_.empty()) queue_.wake();
    }
    request->wait();
  }

  // Called after each group has become visible, on whichever thread committed it. Set once; the
  // context outlives stop().
  void set_listener(void (*listener)(void*), void* context) {
    listener_context_.store(context, std::memory_order_release);
    listener_.store(listener, std::memory_order_release);
  }

 private:
  // Bytes of records that one group gathers at most; one larger request is a group of its own.
  static constexpr uint64_t kGroupBytesMax = 1 * kMiB;
  // So often commit() asks for the role again before it leaves the request to its holder.
  static constexpr int kRoleTries = 4;

  void run() {
    name_this_thread("kyro-commit");
    for (;;) {
      const bool stopping = stopping_.load(std::memory_order_acquire);
      while (!try_role()) is_working_.wait(true);
      work();
      const uint64_t timeout_ns = nanoseconds_to_sync();
      wakes_to_sync_ = timeout_ns > 0;
      give_up_role();
      if (stopping) break;
      if (!stopping_.load(std::memory_order_acquire)) queue_.wait(timeout_ns);
    }
    if (state_.latch.is_set()) return;
    if (Status sealed = wal_->seal(); !sealed.ok()) state_.latch.set(sealed);
    state_.durable.store(wal_->durable_offset(), std::memory_order_release);
  }

  [[nodiscard]] bool try_role() { return !is_working_.exchange(true, std::memory_order_seq_cst); }
  void give_up_role() {
    is_working_.store(false, std::memory_order_seq_cst);
    is_working_.notify_one();  // only the committer's own thread waits for it
  }

  // Commits what is queued. REQUIRES the role.
  void work() {
    const uint32_t taken = groups_taken_.load(std::memory_order_relaxed);
    groups_taken_.store(taken + 1, std::memory_order_relaxed);  // before the queue is
    WriteRequest* request = queue_.take_all();
    now_secs_ = state_.clock.now_secs();  // not before what the submitters saw
    while (request != nullptr) {
      WriteRequest* next = request->next_queued;
      add(request);
      request = next;
    }
    commit_group();
    static_cast<void>(sync_if_due(false));  // a failure has set the latch
  }

  // Adds a request to the group, committing the group before it where it does not fit.
  void add(WriteRequest* request) {
    request->status = Status();  // of an earlier try
    request->is_stale = false;
    if (state_.latch.is_set()) return fail(request, state_.latch.status());
    if (request->control == WriteRequest::Control::kFreeze) return freeze_for(request);
    uint64_t bytes = 0;
    uint64_t delta_bytes = 0;
    for (const Mutation& mutation : request->mutations) {
      bytes += mutation.record_bytes();
      delta_bytes += Delta::cost_bytes(mutation.record_bytes());
    }
    if (state_.reserve.is_released() && !only_deletes(*request)) {
      return fail(request, Status(Code::kNoSpace, "the disk is full: only deletes are possible"));
    }
    if (!members_.empty() && group_.size() + bytes > kGroupBytesMax) commit_group();
    if (Status made = make_room(bytes, delta_bytes); !made.ok()) return fail(request, made);
    if (!decide(request)) {
      members_.push_back(request);  // answered with the group, but takes no offset
      return;
    }
    encode(request);
    members_.push_back(request);
    group_delta_bytes_ += delta_bytes;
  }

  static bool only_deletes(const WriteRequest& request) {
    return std::all_of(request.mutations.begin(), request.mutations.end(),
                       [](const Mutation& m) { return m.type == RecordType::kTombstone; });
  }

  void fail(WriteRequest* request, const Status& status) {
    request->status = status;
    members_.push_back(request);
  }

  // Makes sure that the delta and the segment can take `bytes` more of records.
  Status make_room(uint64_t bytes, uint64_t delta_bytes) {
    const uint64_t delta_max = state_.options.delta_max_bytes;
    const bool delta_is_full =
        active_->bytes() + group_delta_bytes_ + delta_bytes > delta_max &&
        !(active_->empty() && group_records_ == 0);  // one larger request gets its own delta
    if (delta_is_full) {
      commit_group();
      if (state_.latch.is_set()) return state_.latch.status();
      if (!active_->empty()) KYRO_TRY(freeze());
    }
    if (wal_->wants_rotation(group_.size() + bytes)) {
      commit_group();
      if (state_.latch.is_set()) return state_.latch.status();
      if (wal_->wants_rotation(bytes)) return rotate();
    }
    return Status();
  }

  // Whether all conditions hold; if not, the outcome is set.
  bool decide(WriteRequest* request) {
    const std::span<Condition> conditions = request->conditions;
    if (conditions.empty()) return true;
    const EpochPin pin;
    const View& view = *state_.view.load(std::memory_order_acquire);
    for (size_t i = 0; i < conditions.size(); ++i) {
      BaseVersion current = conditions[i].base;
      if (const auto newer = find_in_memory(view, conditions[i].key)) {
        current = {0, true, newer->offset, newer->meta};
      } else if (view.contained_offset > current.bound) {
        request->is_stale = true;
        return false;
      }
      const bool is_live = current.is_live(now_secs_);
      conditions[i].existed = is_live;
      request->status = conditions[i].judge(is_live ? std::optional(current.offset) : std::nullopt);
      request->failed_condition = i;
      if (!request->status.ok()) return false;
    }
    return true;
  }

  // The newest version of `key` in the group and the deltas.
  std::optional<RecordHeader> find_in_memory(const View& view, uint64_t key) const {
    constexpr uint64_t kAll = ~uint64_t{0};
    if (const uint64_t* at = pending_.find(key)) return load<RecordHeader>(group_.data() + *at);
    const char* record = active_->find(key, kAll);
    for (size_t i = 0; record == nullptr && i < view.frozen.size(); ++i) {
      record = view.frozen[i]->find(key, kAll);
    }
    if (record == nullptr) return std::nullopt;
    return load<RecordHeader>(record);
  }

  void encode(WriteRequest* request) {
    if (group_.empty()) group_.resize(kGroupHeaderBytes);
    for (const Mutation& mutation : request->mutations) {
      const uint64_t offset = wal_->next_offset() + group_records_;
      const size_t at = group_.size();
      group_.resize(at + static_cast<size_t>(mutation.record_bytes()));
      encode_record(mutation, offset, group_.data() + at);
      pending_.put(mutation.key, at);
      ++group_records_;
      if (mutation.expiry_secs != 0) state_.has_lifetimes.store(true, std::memory_order_relaxed);
      group_deletes_ += mutation.type == RecordType::kTombstone ? 1 : 0;
      request->offset = offset;
    }
  }

  void commit_group() {
    if (members_.empty()) return;
    Status status = group_records_ > 0 ? slow_down() : Status();
    const uint64_t began_ns = monotonic_ns();
    if (status.ok() && group_records_ > 0) status = write_group();
    if (status.ok() && group_records_ > 0) {
      publish_group();
      state_.stats.append_latency_ns.observe(monotonic_ns() - began_ns);
    }
    const uint64_t records = group_records_;
    const bool had_puts = group_deletes_ < group_records_;
    const uint64_t log_bytes = group_.size();
    std::vector<WriteRequest*> members;
    members.swap(members_);
    group_.clear();
    if (group_.capacity() > 4 * kGroupBytesMax) group_.shrink_to_fit();
    group_records_ = 0;
    group_deletes_ = 0;
    group_delta_bytes_ = 0;
    pending_.clear();
    // A full disk can be emptied: deletes that shared a group with puts are tried without them.
    std::vector<WriteRequest*> again;
    for (WriteRequest* request : members) {
      // What was decided in a group that failed never happened, a "no" included.
      if (!status.ok() && was_decided(*request)) {
        if (status.code() == Code::kNoSpace && had_puts && only_deletes(*request)) {
          again.push_back(request);
          continue;
        }
        request->status = status;
      }
      request->done();
    }
    for (WaitingRoom& room : rooms_) room.wake();
    members.clear();
    members_.swap(members);  // keeps the capacity
    for (WriteRequest* request : again) add(request);
    if (!again.empty()) commit_group();
    if (status.ok() && records > 0) {
      scheduler_.on_commit(records, log_bytes);
      if (auto* listener = listener_.load(std::memory_order_acquire)) {
        listener(listener_context_.load(std::memory_order_acquire));
      }
    }
  }

  // Waits, a little before each group, while flushes or merges fall behind.
  Status slow_down() {
    const Backlog backlog = scheduler_.backlog();
    const uint64_t cost_ns =
        slowdown_ns(backlog, active_->bytes(), group_delta_bytes_, state_.options.delta_max_bytes);
    if (cost_ns == 0) return pacer_.forgive(), Status();
    const uint64_t began_ns = monotonic_ns();
    const uint64_t wait_ns = pacer_.add(cost_ns, began_ns);
    if (wait_ns == 0) return Status();
    // What was written before does not wait longer for its sync than it may.
    const uint64_t to_sync_ns = nanoseconds_to_sync();
    if (to_sync_ns > 0 && to_sync_ns < wait_ns) KYRO_TRY(sync_if_due(true));
    scheduler_.wait_for_turn(backlog.turn, wait_ns);
    const uint64_t waited_ns = monotonic_ns() - began_ns;
    state_.stats.write_slowdown_ns.add(waited_ns);
    if (waited_ns < wait_ns) pacer_.forgive();
    return Status();
  }

  // Written, or turned down by a condition: not failed before, and not handed back.
  static bool was_decided(const WriteRequest& request) {
    if (request.is_stale) return false;
    const Code code = request.status.code();
    return code == Code::kOk || code == Code::kNotFound || code == Code::kPreconditionFailed;
  }

  // Writes and, under `always`, syncs the group.
  Status write_group() {
    Status status = wal_->append(&group_, group_records_);
    if (!status.ok()) {
      status = recover_tail(status);
      // A full disk can be emptied: deletes may use the reserve.
      if (status.code() != Code::kNoSpace || group_deletes_ != group_records_ ||
          !state_.reserve.release(state_.dir)) {
        return status;
      }
      scheduler_.on_disk_full();
      if (status = wal_->append(&group_, group_records_); !status.ok()) return recover_tail(status);
    }
    if (state_.disk_is_full.load(std::memory_order_relaxed)) {
      state_.disk_is_full.store(false, std::memory_order_relaxed);
    }
    state_.stats.wal_written_bytes.add(group_.size());
    state_.wal_position.store(wal_->position(), std::memory_order_relaxed);
    return wal_->policy() == FsyncPolicy::kAlways ? sync() : Status();
  }

  Status sync() {
    const uint64_t began_ns = monotonic_ns();
    if (Status status = wal_->sync(); !status.ok()) {
      state_.latch.set(status);
      return state_.latch.status();
    }
    last_sync_ns_ = monotonic_ns();
    state_.stats.fsync_ns.observe(last_sync_ns_ - began_ns);
    state_.durable.store(wal_->durable_offset(), std::memory_order_release);
    return Status();
  }

  void publish_group() {
    const std::string_view body = std::string_view(group_).substr(kGroupHeaderBytes);
    for (size_t at = 0; at < body.size();) {
      const auto record = load<RecordHeader>(body.data() + at);
      const auto bytes = static_cast<size_t>(record.record_bytes());
      active_->insert(record, body.substr(at, bytes));
      at += bytes;
    }
    state_.visible.store(wal_->next_offset(), std::memory_order_release);
    state_.stats.appends.add(group_records_ - group_deletes_);
    state_.stats.deletes.add(group_deletes_);
  }

  // Under `interval`: syncs when the time has come. `now`: syncs whatever is unsynced.
  Status sync_if_due(bool now) {
    if (state_.latch.is_set()) return state_.latch.status();
    if (wal_->durable_offset() == wal_->next_offset()) return Status();
    if (!now) {
      if (wal_->policy() != FsyncPolicy::kInterval) return Status();
      if (monotonic_ns() - last_sync_ns_ < interval_ns()) return Status();
    }
    return sync();
  }
  [[nodiscard]] uint64_t interval_ns() const {
    return state_.options.fsync_interval_ms * 1'000'000u;
  }
  [[nodiscard]] uint64_t nanoseconds_to_sync() const {
    if (wal_->policy() != FsyncPolicy::kInterval || state_.latch.is_set() ||
        wal_->durable_offset() == wal_->next_offset()) {
      return 0;
    }
    const uint64_t since_ns = monotonic_ns() - last_sync_ns_;
    return since_ns < interval_ns() ? interval_ns() - since_ns : 1;
  }

  void freeze_for(WriteRequest* request) {
    commit_group();
    if (request->status.ok()) request->status = active_->empty() ? sync_if_due(true) : freeze();
    request->offset = wal_->next_offset();
    request->done();
  }

  // Closes the active delta, its records synced first, and begins a new one. REQUIRES: no group
  // under way.
  Status freeze() {
    KYRO_TRY(sync_if_due(true));
    const uint64_t began_ns = monotonic_ns();
    KYRO_TRY(scheduler_.wait_for_room(kFrozenDeltasMax));
    state_.stats.write_slowdown_ns.add(monotonic_ns() - began_ns);
    auto fresh = std::make_shared<Delta>(wal_->next_offset());
    state_.publish([&](View& view) {
      view.frozen.insert(view.frozen.begin(), std::move(view.active));
      view.active = fresh;
    });
    active_ = std::move(fresh);
    scheduler_.on_frozen();
    return Status();
  }

  // Begins a new segment, listed in the manifest.
  Status rotate() {
    const Status status = wal_->start_segment(wal_->next_offset(), [&](SegmentRef segment) {
      state_.durable.store(wal_->durable_offset(), std::memory_order_release);
      return state_.add_segment(segment, wal_->position());
    });
    if (status.ok()) {
      state_.wal_position.store(wal_->position(), std::memory_order_relaxed);
      return status;
    }
    return recover_tail(status);
  }

  // After a failed log write: back to the last good group if that is possible, else the latch.
  Status recover_tail(const Status& cause) {
    if (state_.latch.is_set()) return state_.latch.status();
    if (EngineState::is_temporary(cause)) {
      const Status cut = wal_->cut_back();
      if (cut.ok() && cause.code() == Code::kNoSpace &&
          !state_.disk_is_full.exchange(true, std::memory_order_relaxed)) {
        scheduler_.on_disk_full();
      }
      if (cut.ok()) return cause;
      state_.latch.set(cut);
    } else {
      state_.latch.set(cause);
    }
    return state_.latch.status();
  }

  EngineState& state_;
  std::unique_ptr<WalWriter> wal_;
  std::shared_ptr<Delta> active_;
  FlushScheduler& scheduler_;
  RequestQueue queue_;
  Thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> is_working_{false};  // somebody has the role
  std::atomic<uint32_t> groups_taken_{0};
  std::array<WaitingRoom, 2> rooms_;  // entered in turn, as groups are taken from the queue
  bool wakes_to_sync_ = false;  // the committer's thread sleeps no longer than until a sync is due
  std::atomic<void (*)(void*)> listener_{nullptr};
  std::atomic<void*> listener_context_{nullptr};

  // The group being gathered.
  std::string group_;
  std::vector<WriteRequest*> members_;
  WritePacer pacer_;
  KeyTable pending_;  // key → where in the group its newest record lies
  uint32_t group_records_ = 0;
  uint32_t group_deletes_ = 0;
  uint64_t group_delta_bytes_ = 0;
  uint64_t now_secs_ = 0;
  uint64_t last_sync_ns_ = 0;
};

}  // namespace kyro
