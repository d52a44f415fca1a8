// Opening a data directory: from whatever a crash left to a state that can serve and be written to.
//
//   lock → manifest (missing, but data there: refuse; nothing there: a new store) → runs (an index
//   that is missing or damaged is rebuilt) → log segments from the flushed offset on, checked for
//   continuity → the torn tail of the last one is cut off → numbering jumps if acknowledged offsets
//   may be lost → leftovers that the manifest does not name are removed.
//
// Where stores share a log, what was acknowledged is in that log: what a tail has lost, and what
// came after a backup, comes back from there under the same offsets. So numbering never jumps. A
// new store gets that log's database id.
//
// A torn tail of the log is cut off. Damage (log/segment_end.h tells the two apart) refuses the
// opening, with file, position and what to do.
//
// A crash during recovery is recoverable: nothing is removed before the manifest was found valid,
// and the tail is cut in place, durably, before anything is appended. So it can also be given up,
// up to the point where all of the log has been replayed.
//
// Thread rule: the opening thread only; a flush during replay runs on it too.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/background/run_change.h"
#include "kyro/storage/engine_state.h"
#include "kyro/storage/log/segment_end.h"
#include "kyro/storage/log/wal_reader.h"
#include "kyro/storage/log/wal_writer.h"
#include "kyro/storage/shared_log.h"

namespace kyro {

// How far a replay has come, read by whoever reports readiness; and whether it should go on.
struct RecoveryProgress {
  std::atomic<uint64_t> records{0};
  std::atomic<uint64_t> segments{0};      // of the log that were replayed whole,
  std::atomic<uint64_t> segments_all{0};  // of so many; 0 before that is known
  // Asked between runs, and between groups of the log now and then; true ends opening with kBusy.
  Cancel cancel;
  bool was_cancelled = false;
};

class Recovery {
 public:
  Recovery(EngineState& state, RecoveryProgress& progress)
      : state_(state), manifest_(state.manifest), progress_(progress) {}

  // On ok the state has a view and a manifest; take_wal() and active() are for the committer.
  Status run() {
    if (state_.dir.is_open_to_others()) {
      log_event(LogLevel::kWarn, "data_open_to_others",
                {{"data", state_.dir.path()}, {"advice", "chmod 700 it: its files may be read"}});
    }
    KYRO_TRY(load_manifest());
    state_.database_id = manifest_.database_id;
    start_clock();
    KYRO_TRY(open_runs());
    active_ = std::make_shared<Delta>(manifest_.flushed_offset);
    state_.publish([&](View& view) {
      view.active = active_;
      view.contained_offset = manifest_.flushed_offset;
    });
    state_.space.refresh(state_.dir);
    wal_ = std::make_unique<WalWriter>(state_.dir, state_.options.fsync,
                                       state_.space.segment_bytes_max());
    KYRO_TRY(read_segment_headers());
    progress_.segments_all.store(headers_.size(), std::memory_order_relaxed);
    for (size_t i = 0; i < headers_.size(); ++i) {
      KYRO_TRY(check_cancelled());
      KYRO_TRY(replay_segment(i));
      progress_.segments.store(i + 1, std::memory_order_relaxed);
    }
    KYRO_TRY(check_cancelled());
    active_->finish_replay();
    // Everything is proved to be there; a full disk gets some room before anything is written.
    KYRO_TRY(remove_leftovers());
    KYRO_TRY(resume_log());
    state_.reserve.claim(state_.dir, state_.space.reserve_bytes());
    return Status();
  }

  [[nodiscard]] std::unique_ptr<WalWriter> take_wal() { return std::move(wal_); }
  [[nodiscard]] std::shared_ptr<Delta> active() const { return active_; }

 private:
  Status load_manifest() {
    auto text = read_small_file(state_.dir, kManifestName, kManifestBytesMax);
    if (text.ok()) {
      auto manifest = decode_manifest(*text);
      if (!manifest.ok()) return refuse(manifest.status());
      manifest_ = std::move(*manifest);
      state_.next_run.store(manifest_.next_run, std::memory_order_relaxed);
      return state_.options.shared_log == nullptr
                 ? Status()
                 : state_.options.shared_log->database(manifest_.database_id).status();
    }
    if (text.status().code() != Code::kNotFound) return text.status();
    auto names = state_.dir.list();
    KYRO_TRY(names);
    if (Status checked = check_no_data(*names); !checked.ok()) return refuse(checked);
    KYRO_TRY(check_strangers(*names));
    Manifest fresh;
    auto id = state_.options.shared_log == nullptr ? Result<std::string>(new_database_id())
                                                   : state_.options.shared_log->database("");
    KYRO_TRY(id);
    fresh.database_id = std::move(*id);
    KYRO_TRY(state_.dir.sync_own_name());  // a crash may have come after it was made
    const MutexLock guard(state_.manifest_mutex);
    KYRO_TRY(state_.commit_manifest(std::move(fresh)));
    // Where a mount is missing, this line is what tells an empty store from the one expected.
    log_event(LogLevel::kInfo, "created",
              {{"data", state_.dir.path()}, {"database", manifest_.database_id}});
    return Status();
  }

  // A directory that somebody else uses is not moved into.
  Status check_strangers(const std::vector<std::string>& names) const {
    for (const std::string& name : names) {
      const bool is_ours = name == kLockName || name == DiskReserve::kName ||
                           is_temporary_name(name) || is_stray_name(name);
      if (is_ours) continue;
      return Status(Code::kExists, state_.dir.path() +
                                       ": not empty and no KyroDB store (there is " + name +
                                       " in it); a new store needs a directory of its own");
    }
    return Status();
  }

  void start_clock() {
    state_.clock.start(manifest_.clock);
    const int64_t shift_secs = state_.clock.shift_secs();
    if (shift_secs == 0) return;
    log_event(LogLevel::kInfo, "clock_shift", {{"lifetimes_ahead_secs", shift_secs}});
  }

  Status refuse(const Status& cause) const {
    if (cause.code() != Code::kCorruption) return cause;
    return Status(Code::kCorruption, std::string(cause.message()) +
                                         "; refusing to open (inspect with: kyrodb verify " +
                                         state_.dir.path() + ")");
  }

  Status check_cancelled() {
    unchecked_bytes_ = 0;
    if (!progress_.cancel.is_requested()) return Status();
    progress_.was_cancelled = true;
    return Status(Code::kBusy, "stopped while opening");
  }

  Status open_runs() {
    std::vector<std::shared_ptr<Run>> runs;
    for (const RunMeta& meta : manifest_.runs) {
      KYRO_TRY(check_cancelled());
      const uint64_t began_ns = monotonic_ns();
      bool rebuilt = false;
      auto run =
          Run::open(state_.dir, meta, {state_.options.rmi, state_.options.huge_index}, &rebuilt);
      if (!run.ok()) return refuse(run.status());
      if (rebuilt) {
        state_.stats.count_rebuild(monotonic_ns() - began_ns);
        log_event(LogLevel::kWarn, "index_rebuilt", {{"run", meta.id}, {"outcome", "ok"}});
      }
      if (meta.expiring > 0) state_.has_lifetimes.store(true, std::memory_order_relaxed);
      runs.push_back(std::move(*run));
    }
    state_.publish([&](View& view) { view.runs = std::move(runs); });
    return Status();
  }

  // Looks at every listed segment, one after the other since there may be more of them than
  // descriptors, and checks that they follow each other.
  Status read_segment_headers() {
    for (SegmentRef& ref : manifest_.segments) {
      auto reader = SegmentReader::open(state_.dir, ref);
      if (!reader.ok()) return refuse(reader.status());
      auto size = (*reader)->file().size();
      KYRO_TRY(size);
      ref.bytes = *size;
      headers_.push_back((*reader)->header());
    }
    return Status();
  }

  // Puts the records of a segment that are not in runs into the delta. Sealed segments that are
  // wholly flushed are not read.
  Status replay_segment(size_t at) {
    const bool is_last = at + 1 == headers_.size();
    if (!is_last && headers_[at + 1].previous_end <= manifest_.flushed_offset) {
      return Status();
    }
    const SegmentHeader& header = headers_[at];  // a flush changes the manifest's list meanwhile
    auto opened = SegmentReader::open(
        state_.dir, SegmentRef{header.first_offset, header.nonce, header.previous_end});
    if (!opened.ok()) return refuse(opened.status());
    last_segment_ = std::move(*opened);
    SegmentReader& reader = *last_segment_;
    // What is replayed must be what the disk holds, not what the page cache still remembers.
    KYRO_TRY(reader.file().sync());
    reader.file().drop_cache();
    for (;;) {
      auto step = reader.next();
      KYRO_TRY(step);
      if (*step == SegmentReader::Step::kStop) break;
      KYRO_TRY(replay_group(reader));
    }
    const auto end = judge_segment_end(reader, is_last ? SegmentSequel::none(manifest_.next_offset)
                                                       : SegmentSequel::segment(headers_[at + 1]));
    KYRO_TRY(end);
    if (!end->damage.ok()) return refuse(end->damage);
    if (end->torn_bytes > 0) {
      state_.stats.recovery_truncated_bytes.add(end->torn_bytes);
      log_event(LogLevel::kWarn, "log_tail_cut",
                {{"segment", reader.name()},
                 {"position", reader.position()},
                 {"bytes", end->torn_bytes}});
    }
    return Status();
  }

  Status replay_group(const SegmentReader& reader) {
    const GroupHeader& group = reader.group();
    unchecked_bytes_ += kGroupHeaderBytes + group.body_bytes;
    if (unchecked_bytes_ >= kCheckedBytes) KYRO_TRY(check_cancelled());
    if (group.end_offset() <= manifest_.flushed_offset) return Status();
    if (active_->bytes() > state_.space.delta_bytes_max()) {
      active_->finish_replay();  // now it knows its size
      if (active_->bytes() > state_.space.delta_bytes_max()) KYRO_TRY(flush_active());
    }
    for_each_verified_record(reader.body(), [&](const RecordView& record, std::string_view bytes) {
      if (record.header.offset >= manifest_.flushed_offset) {
        if (record.header.expiry_secs() != 0) state_.has_lifetimes = true;
        active_->replay(record.header, bytes);
      }
    });
    progress_.records.fetch_add(group.records, std::memory_order_relaxed);
    return Status();
  }

  // The log is longer than a delta: what was replayed so far becomes a run now. It was synced
  // above.
  Status flush_active() {
    state_.visible.store(active_->end_offset(), std::memory_order_release);
    state_.durable.store(active_->end_offset(), std::memory_order_release);
    auto fresh = std::make_shared<Delta>(active_->end_offset());
    state_.publish([&](View& view) {
      view.frozen.insert(view.frozen.begin(), view.active);
      view.active = fresh;
    });
    active_ = std::move(fresh);
    // Without room it is served from memory and the log, until the flusher finds some.
    const Status flushed = flush_oldest(state_, {});
    return flushed.code() == Code::kNoSpace ? Status() : flushed;
  }

  // Makes the writer ready: in the last segment after its good groups, or in a new one. Numbering
  // jumps where the last process may have acknowledged more than the disk kept. What tells that
  // stays as it is until the segment after the jump is in the manifest.
  Status resume_log() {
    const bool must_jump = state_.options.shared_log == nullptr && last_segment_ != nullptr &&
                           may_go_on_elsewhere(*last_segment_);
    uint64_t next_offset = manifest_.next_offset;
    if (!headers_.empty()) {
      KYRO_TRY(wal_->resume(*last_segment_));
      next_offset = wal_->next_offset();
    }
    state_.durable.store(next_offset, std::memory_order_release);
    if (must_jump) next_offset += kOffsetJump;
    if (!must_jump && !headers_.empty()) {
      KYRO_TRY(wal_->open_for_append());
    } else {
      KYRO_TRY(wal_->start_segment(next_offset, [&](SegmentRef segment) {
        return state_.add_segment(segment, wal_->position());
      }));
      state_.durable.store(next_offset, std::memory_order_release);
    }
    if (active_->empty()) active_ = std::make_shared<Delta>(next_offset);
    state_.publish([&](View& view) {
      view.active = active_;
      view.segments = manifest_.segments;
    });
    state_.wal_position.store(wal_->position(), std::memory_order_relaxed);
    state_.visible.store(wal_->next_offset(), std::memory_order_release);
    return Status();
  }

  Status remove_leftovers() {
    auto names = state_.dir.list();
    KYRO_TRY(names);
    for (const std::string& name : *names) {
      // The reserve is claimed again when everything else has what it needs.
      const bool is_reserve = name == DiskReserve::kName;
      const bool is_leftover = is_reserve || is_temporary_name(name) ||
                               (is_data_name(name) && !is_named(manifest_, name));
      if (!is_leftover) continue;
      if (!is_reserve) log_event(LogLevel::kInfo, "leftover_removed", {{"file", name}});
      KYRO_TRY(state_.dir.remove(name));
    }
    return Status();
  }

  static constexpr uint64_t kCheckedBytes = 1 * kMiB;  // of log, between questions to `cancel`

  EngineState& state_;
  Manifest& manifest_;  // the state's: nobody else has it yet
  RecoveryProgress& progress_;
  uint64_t unchecked_bytes_ = 0;
  std::vector<SegmentHeader> headers_;           // of all listed segments, oldest first
  std::unique_ptr<SegmentReader> last_segment_;  // the one read last
  std::unique_ptr<WalWriter> wal_;
  std::shared_ptr<Delta> active_;
};

}  // namespace kyro
