// Opening a data directory: from whatever a crash left to a state that can serve and be written to.
//
//   lock → manifest (missing, but data there: refuse; nothing there: a new store) → runs (an index
//   that is missing or damaged is rebuilt) → log segments from the flushed offset on, checked for
//   continuity → the torn tail of the last one is cut off → numbering jumps if acknowledged offsets
//   may be lost → leftovers that the manifest does not name are removed.
//
// Torn or damaged: behind the last good group of the last segment may lie a group that was being
// written. It is cut off, unless something proves that this place had been synced: a later group
// with a higher durable watermark (a seal is one), or the manifest's next_offset. Then, and in
// every other segment, it is damage, and opening is refused with file, position and what to do.
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
#include "kyro/storage/log/wal_reader.h"
#include "kyro/storage/log/wal_writer.h"
#include "kyro/storage/store_copy.h"

namespace kyro {

// How far a replay has come, read by whoever reports readiness; and whether it should go on.
struct RecoveryProgress {
  std::atomic<uint64_t> records{0};
  // Asked between runs, and between groups of the log now and then; true ends opening with kBusy.
  Cancel cancel;
  bool was_cancelled = false;
};

class Recovery {
 public:
  Recovery(EngineState& state, RecoveryProgress& progress) : state_(state), progress_(progress) {}

  // On ok the state has a view and a manifest; wal() and active() go to the committer.
  Status run() {
    if (state_.dir.is_open_to_others()) {
      log_event(LogLevel::kWarn, "data_open_to_others",
                {{"data", state_.dir.path()}, {"advice", "chmod 700 it: its files may be read"}});
    }
    KYRO_TRY(load_manifest());
    state_.database_id = state_.manifest.database_id;
    start_clock();
    KYRO_TRY(open_runs());
    active_ = std::make_shared<Delta>(state_.manifest.flushed_offset);
    state_.publish([&](View& view) {
      view.active = active_;
      view.contained_offset = state_.manifest.flushed_offset;
    });
    wal_ = std::make_unique<WalWriter>(state_.dir, state_.options.fsync,
                                       state_.options.wal_segment_bytes);
    KYRO_TRY(read_segment_headers());
    for (size_t i = 0; i < headers_.size(); ++i) {
      KYRO_TRY(check_cancelled());
      KYRO_TRY(replay_segment(i));
    }
    KYRO_TRY(check_cancelled());
    active_->finish_replay();
    // Everything is proved to be there; a full disk gets some room before anything is written.
    KYRO_TRY(remove_leftovers());
    KYRO_TRY(resume_log());
    state_.reserve.claim(state_.dir, state_.options.reserve_bytes);
    return Status();
  }

  [[nodiscard]] std::unique_ptr<WalWriter> take_wal() { return std::move(wal_); }
  [[nodiscard]] std::shared_ptr<Delta> active() const { return active_; }

 private:
  // Whether `name` is `prefix`, digits, `suffix`.
  static bool is_numbered(std::string_view name, std::string_view prefix, std::string_view suffix) {
    if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) ||
        !name.ends_with(suffix)) {
      return false;
    }
    name.remove_prefix(prefix.size());
    name.remove_suffix(suffix.size());
    return name.find_first_not_of("0123456789") == name.npos;
  }
  static bool is_segment_name(std::string_view name, std::string_view suffix) {
    return is_numbered(name, "wal-", suffix) && name.size() == 24 + suffix.size();
  }
  // Names that make a directory a store; LOCK, RESERVE and temporary files do not.
  static bool is_data_name(std::string_view name) {
    return is_segment_name(name, ".log") || is_numbered(name, "run-", ".data") ||
           is_numbered(name, "run-", ".rmi");
  }
  // Files that this engine makes on the way to others. Anything else belongs to somebody else.
  static bool is_temporary_name(std::string_view name) {
    return is_segment_name(name, ".log.tmp") || is_numbered(name, "run-", ".rmi.tmp") ||
           is_numbered(name, "run-", ".keys.tmp") || name == std::string(kManifestName) + ".tmp";
  }

  Status load_manifest() {
    auto text = read_small_file(state_.dir, kManifestName, kManifestBytesMax);
    if (text.ok()) {
      auto manifest = decode_manifest(*text);
      if (!manifest.ok()) return refuse(manifest.status());
      state_.manifest = std::move(*manifest);
      state_.next_run.store(state_.manifest.next_run, std::memory_order_relaxed);
      return Status();
    }
    if (text.status().code() != Code::kNotFound) return text.status();
    auto names = state_.dir.list();
    KYRO_TRY(names);
    for (const std::string& name : *names) {
      if (is_data_name(name)) {
        return refuse(Status(Code::kCorruption,
                             std::string(kManifestName) + ": missing, but " + name + " is there"));
      }
    }
    KYRO_TRY(check_strangers(*names));
    Manifest fresh;
    fresh.database_id = new_database_id();
    KYRO_TRY(state_.dir.sync_own_name());  // a crash may have come after it was made
    const MutexLock guard(state_.manifest_mutex);
    KYRO_TRY(state_.commit_manifest(std::move(fresh)));
    // Where a mount is missing, this line is what tells an empty store from the one expected.
    log_event(LogLevel::kInfo, "created",
              {{"data", state_.dir.path()}, {"database", state_.manifest.database_id}});
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
    state_.clock.start(state_.manifest.clock);
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
    for (const RunMeta& meta : state_.manifest.runs) {
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
    for (SegmentRef& ref : state_.manifest.segments) {
      auto reader = SegmentReader::open(state_.dir, ref.first_offset, ref.nonce);
      if (!reader.ok()) return refuse(reader.status());
      auto size = (*reader)->file().size();
      KYRO_TRY(size);
      ref.bytes = *size;
      if ((*reader)->header().previous_end != ref.previous_end) {
        return refuse(damage(**reader, 0, "it does not follow the segment before it"));
      }
      headers_.push_back((*reader)->header());
    }
    const auto& listed = state_.manifest.segments;
    if (!listed.empty() && listed.front().first_offset > state_.manifest.flushed_offset &&
        listed.front().previous_end > state_.manifest.flushed_offset) {
      return refuse(Status(Code::kCorruption, "the log begins at " +
                                                  std::to_string(listed.front().first_offset) +
                                                  ", behind what the runs hold"));
    }
    return Status();
  }

  Status damage(const SegmentReader& reader, uint64_t position, const char* what) {
    state_.stats.wal_crc_errors.add();
    return Status(Code::kCorruption,
                  reader.name() + " at " + std::to_string(position) + ": " + what);
  }

  // Puts the records of a segment that are not in runs into the delta. Sealed segments that are
  // wholly flushed are not read.
  Status replay_segment(size_t at) {
    const bool is_last = at + 1 == headers_.size();
    if (!is_last && headers_[at + 1].previous_end <= state_.manifest.flushed_offset) {
      return Status();
    }
    auto opened = SegmentReader::open(state_.dir, headers_[at].first_offset, headers_[at].nonce);
    if (!opened.ok()) return refuse(opened.status());
    last_segment_ = std::move(*opened);
    SegmentReader& reader = *last_segment_;
    // What is replayed must be what the disk holds, not what the page cache still remembers.
    KYRO_TRY(reader.file().sync());
    reader.file().drop_cache();
    // A segment without a group was made by a process that may have lost what it wrote there.
    last_kind_ = GroupKind::kOpened;
    last_policy_ = static_cast<FsyncPolicy>(reader.header().policy);
    for (;;) {
      auto step = reader.next();
      KYRO_TRY(step);
      if (*step == SegmentReader::Step::kStop) break;
      last_kind_ = reader.group().kind();
      last_policy_ = reader.group().policy();
      KYRO_TRY(replay_group(reader));
    }
    auto tail = reader.inspect_tail();
    KYRO_TRY(tail);
    if (!is_last) {
      const bool is_whole = is_end_mark(last_kind_) && tail->garbage_bytes == 0 &&
                            headers_[at + 1].previous_end == reader.next_offset() &&
                            headers_[at + 1].previous_crc == reader.chain_crc();
      if (!is_whole) return refuse(damage(reader, reader.position(), "a damaged group"));
      return Status();
    }
    if (tail->was_durable) return refuse(damage(reader, reader.position(), "a damaged group"));
    if (reader.next_offset() < state_.manifest.next_offset) {
      return refuse(damage(reader, reader.position(),
                           "the log ends here, but the manifest says that it went on"));
    }
    if (tail->garbage_bytes > 0) {
      state_.stats.recovery_truncated_bytes.add(tail->garbage_bytes);
      log_event(LogLevel::kWarn, "log_tail_cut",
                {{"segment", reader.name()},
                 {"position", reader.position()},
                 {"bytes", tail->garbage_bytes}});
    }
    return Status();
  }

  Status replay_group(const SegmentReader& reader) {
    const GroupHeader& group = reader.group();
    unchecked_bytes_ += kGroupHeaderBytes + group.body_bytes;
    if (unchecked_bytes_ >= kCheckedBytes) KYRO_TRY(check_cancelled());
    if (group.end_offset() <= state_.manifest.flushed_offset) return Status();
    if (active_->bytes() > state_.options.delta_max_bytes) {
      active_->finish_replay();  // now it knows its size
      if (active_->bytes() > state_.options.delta_max_bytes) KYRO_TRY(flush_active());
    }
    for_each_verified_record(reader.body(), [&](const RecordView& record, std::string_view bytes) {
      if (record.header.offset >= state_.manifest.flushed_offset) {
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
    return flush_oldest(state_, {});
  }

  // Makes the writer ready: in the last segment behind its good groups, or in a new one. Numbering
  // jumps where the last process may have acknowledged more than the disk kept. What tells that
  // stays as it is until the segment behind the jump is in the manifest.
  Status resume_log() {
    const bool must_jump =
        !headers_.empty() &&
        (last_kind_ == GroupKind::kAbandoned ||
         (last_kind_ != GroupKind::kSealed && last_policy_ != FsyncPolicy::kAlways));
    uint64_t next_offset = state_.manifest.next_offset;
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
      view.segments = state_.manifest.segments;
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
      const bool is_leftover =
          is_reserve || is_temporary_name(name) || (is_data_name(name) && !is_named(name));
      if (!is_leftover) continue;
      if (!is_reserve) log_event(LogLevel::kInfo, "leftover_removed", {{"file", name}});
      KYRO_TRY(state_.dir.remove(name));
    }
    return Status();
  }

  [[nodiscard]] bool is_named(const std::string& name) const {
    for (const RunMeta& run : state_.manifest.runs) {
      if (name == run_data_name(run.id) || name == run_index_name(run.id)) return true;
    }
    for (const SegmentRef& segment : state_.manifest.segments) {
      if (name == segment_name(segment.first_offset)) return true;
    }
    return false;
  }

  static constexpr uint64_t kCheckedBytes = 1 * kMiB;  // of log, between questions to `cancel`

  EngineState& state_;
  RecoveryProgress& progress_;
  uint64_t unchecked_bytes_ = 0;
  std::vector<SegmentHeader> headers_;           // of all listed segments, oldest first
  std::unique_ptr<SegmentReader> last_segment_;  // the one read last
  std::unique_ptr<WalWriter> wal_;
  std::shared_ptr<Delta> active_;
  GroupKind last_kind_ = GroupKind::kSealed;
  FsyncPolicy last_policy_ = FsyncPolicy::kAlways;
};

}  // namespace kyro
