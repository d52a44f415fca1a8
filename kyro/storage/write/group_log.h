// The log as the committer writes it: groups go in, and what fails ends here.
//
// Failures: no space → the log's tail is cut back to the last good group, and writing may be tried
// again; deletes may use the disk's reserve. Anything else, and a tail that cannot be cut back →
// the engine is latched, since nobody knows any more what the log holds.
//
// Thread rule: one thread at a time, the holder of the writer's role.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "kyro/base/clock.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/log/wal_writer.h"
#include "kyro/storage/write/commit_group.h"
#include "kyro/storage/write/flush_scheduler.h"

namespace kyro {

class GroupLog {
 public:
  GroupLog(EngineState& state, std::unique_ptr<WalWriter> wal, FlushScheduler& scheduler)
      : state_(state), wal_(std::move(wal)), scheduler_(scheduler) {}

  // Writes a group that has records and, under `always`, syncs it. Not ok: nothing of it is there.
  Status append(CommitGroup& group);
  // Syncs whatever is unsynced.
  Status sync();
  // Under `interval`: syncs when the time has come.
  Status sync_if_due();
  // How long until then; 0 if there is nothing to sync.
  [[nodiscard]] uint64_t nanoseconds_to_sync() const;
  // Makes room for `bytes` of records more: begins a new segment, listed in the manifest, where the
  // last one is full. REQUIRES: no group under way.
  [[nodiscard]] bool wants_rotation(uint64_t bytes) const {
    return wal_->wants_rotation(bytes) ||
           (state_.spare_segment.is_ready() && wal_->may_be_left_early());
  }
  Status rotate();
  // How large segments become from here on, and whether their blocks are set aside beforehand.
  void set_segment_bytes(uint64_t bytes, bool is_preallocated) {
    wal_->set_segment_bytes(bytes, is_preallocated);
    if (!is_preallocated) state_.spare_segment.give_up();
  }
  // Ends the log in good order.
  void seal();

  // The offset that the next record gets.
  [[nodiscard]] uint64_t next_offset() const { return wal_->next_offset(); }

 private:
  Status sync_log();  // whether latched or not
  // Whether the directory is still this engine's own, asked now and then.
  Status check_place();
  Status recover_tail(const Status& cause);
  // After each synced group: sees to it that the next segment is filled when it is needed.
  void look_ahead(uint64_t group_bytes);
  [[nodiscard]] bool is_synced() const { return wal_->durable_offset() == wal_->next_offset(); }
  [[nodiscard]] uint64_t interval_ns() const {
    return state_.options.fsync_interval_ms * 1'000'000u;
  }

  EngineState& state_;
  const std::unique_ptr<WalWriter> wal_;
  FlushScheduler& scheduler_;
  uint64_t last_sync_ns_ = 0;
  // Of the newest segment, since it was begun or taken over.
  uint64_t groups_ = 0;
  uint64_t groups_bytes_ = 0;
  bool has_asked_ = false;                // for the segment after it
  uint64_t checked_ns_ = monotonic_ns();  // as an engine is opened
};

inline Status GroupLog::check_place() {
  const uint64_t now_ns = monotonic_ns();
  if (now_ns - checked_ns_ < state_.options.directory_check_ms * 1'000'000) return Status();
  checked_ns_ = now_ns;
  return state_.check_directory().ok() ? Status() : state_.latch.status();
}

inline Status GroupLog::append(CommitGroup& group) {
  KYRO_TRY(check_place());
  Status status = wal_->append(group.bytes(), group.records());
  if (!status.ok()) {
    status = recover_tail(status);
    // A full disk can be emptied: deletes may use the reserve.
    if (status.code() != Code::kNoSpace || !group.has_only_deletes() ||
        !state_.reserve.release(state_.dir)) {
      return status;
    }
    scheduler_.on_disk_full();
    status = wal_->append(group.bytes(), group.records());
    if (!status.ok()) return recover_tail(status);
  }
  if (state_.disk_is_full.load(std::memory_order_relaxed)) {
    state_.disk_is_full.store(false, std::memory_order_relaxed);
  }
  state_.stats.wal_written_bytes.add(group.log_bytes());
  state_.wal_position.store(wal_->position(), std::memory_order_relaxed);
  if (wal_->policy() != FsyncPolicy::kAlways) return Status();
  KYRO_TRY(sync());
  look_ahead(group.log_bytes());
  return Status();
}

inline void GroupLog::look_ahead(uint64_t group_bytes) {
  // Zeros cost as many bytes again; below this size of a group the journal would cost more.
  constexpr uint64_t kGroupBytesMax = 32 * kKiB;
  // Allowed to be filled for each group: all of a segment, while half of one is written.
  constexpr uint64_t kAllowedBytesMin = 16 * kKiB;
  ++groups_;
  groups_bytes_ += group_bytes;
  const bool is_due = wal_->is_filled() ? wal_->position() >= wal_->segment_bytes() / 2
                                        : groups_ >= state_.options.wal_fill_after;
  if (!is_due || state_.options.wal_fill_after == 0) return;
  if (!std::exchange(has_asked_, true)) {
    const DiskSpace& space = state_.space;
    const bool has_room = space.admits(wal_->segment_bytes(), space.kept_bytes() * 3 / 2);
    if (has_room && groups_bytes_ / groups_ <= kGroupBytesMax) {
      state_.spare_segment.prepare(wal_->segment_bytes());
    }
  }
  state_.spare_segment.allow(std::max(3 * group_bytes, kAllowedBytesMin));
}

inline Status GroupLog::sync() {
  if (state_.latch.is_set()) return state_.latch.status();
  return sync_log();
}

inline Status GroupLog::sync_log() {
  if (is_synced()) return Status();
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

inline Status GroupLog::sync_if_due() {
  if (wal_->policy() != FsyncPolicy::kInterval || is_synced()) return Status();
  if (monotonic_ns() - last_sync_ns_ < interval_ns()) return Status();
  return state_.latch.forbids_sync() ? state_.latch.status() : sync_log();
}

inline uint64_t GroupLog::nanoseconds_to_sync() const {
  if (wal_->policy() != FsyncPolicy::kInterval || is_synced() || state_.latch.forbids_sync())
    return 0;
  const uint64_t since_ns = monotonic_ns() - last_sync_ns_;
  return since_ns < interval_ns() ? interval_ns() - since_ns : 1;
}

inline Status GroupLog::rotate() {
  const Status status = wal_->start_segment(
      wal_->next_offset(),
      [&](SegmentRef segment) {
        state_.durable.store(wal_->durable_offset(), std::memory_order_release);
        return state_.add_segment(segment, wal_->position());
      },
      state_.spare_segment.take(wal_->segment_bytes()));
  if (!status.ok()) return recover_tail(status);
  groups_ = groups_bytes_ = 0;
  has_asked_ = false;
  state_.wal_position.store(wal_->position(), std::memory_order_relaxed);
  return Status();
}

inline void GroupLog::seal() {
  if (state_.latch.is_set()) {
    if (!state_.latch.forbids_sync()) static_cast<void>(sync_log());
    return;
  }
  if (Status sealed = wal_->seal(); !sealed.ok()) state_.latch.set(sealed);
  state_.durable.store(wal_->durable_offset(), std::memory_order_release);
}

// After a failed log write: back to the last good group if that is possible, else the latch.
inline Status GroupLog::recover_tail(const Status& cause) {
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

}  // namespace kyro
