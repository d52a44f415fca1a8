// What the threads of an engine share: the view, the visible offset, the manifest, the latch.
//
//   committer    owns the WAL and the active delta; moves `visible`; freezes deltas
//   flusher      commits manifests and publishes views for flushes and merges
//   merger       produces files only; the flusher installs them
//   readers      pin, load `visible`, load the view; nothing else
//
// Locks, in this order when both are held: manifest_mutex (held across the syncs of a commit),
// view_mutex (held for moments). Readers take neither.
//
// Ownership: the Engine owns the state and outlives every thread that uses it.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/epoch.h"
#include "kyro/base/log/log.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/disk_reserve.h"
#include "kyro/storage/disk_space.h"
#include "kyro/storage/engine_stats.h"
#include "kyro/storage/fs/fs.h"
#include "kyro/storage/lifetime_clock.h"
#include "kyro/storage/log/shared_segments.h"
#include "kyro/storage/log/spare_segment.h"
#include "kyro/storage/manifest.h"
#include "kyro/storage/options.h"
#include "kyro/storage/view.h"

namespace kyro {

// Set once, by the first failure after which writing on could lose or repeat something. Reads go
// on.
class ReadOnlyLatch {
 public:
  [[nodiscard]] bool is_set() const { return set_.load(std::memory_order_acquire); }
  void set(const Status& cause) {
    const MutexLock lock(mutex_);
    if (cause.code() != Code::kReadOnly) forbids_sync_.store(true, std::memory_order_release);
    if (set_.load(std::memory_order_relaxed)) return;
    reason_ = cause.to_string();
    set_.store(true, std::memory_order_release);
    log_event(LogLevel::kError, "read_only", {{"reason", reason_}});
  }
  // Where only the directory was lost to somebody else (kReadOnly), the log is in order, and what
  // was acknowledged and waits for its sync still gets it.
  [[nodiscard]] bool forbids_sync() const { return forbids_sync_.load(std::memory_order_acquire); }
  [[nodiscard]] std::string reason() const {
    const MutexLock lock(mutex_);
    return reason_;
  }
  [[nodiscard]] Status status() const {
    return Status(Code::kReadOnly, "the engine is read-only after a failure: " + reason());
  }

 private:
  mutable Mutex mutex_;
  std::atomic<bool> set_{false};
  std::atomic<bool> forbids_sync_{false};
  std::string reason_ KYRO_GUARDED_BY(mutex_);
};

// Nothing, or words for /ready.
using DiskWarnings = std::vector<std::string_view>;

struct EngineState {
  // `directory` is locked as this engine's own.
  EngineState(Options chosen, FileSystem& file_system, std::unique_ptr<Directory> directory)
      : options(std::move(chosen)),
        fs(file_system),
        owned_dir(std::move(directory)),
        dir(*owned_dir),
        clock({options.clock_secs, options.boot_clock_ns, options.boot_id}) {}
  EngineState(const EngineState&) = delete;
  EngineState& operator=(const EngineState&) = delete;
  ~EngineState() {
    delete view.load(std::memory_order_acquire);
    epoch_collect();
  }

  const Options options;
  FileSystem& fs;  // for backups; what is the engine's own goes through `dir`
  const std::unique_ptr<Directory> owned_dir;
  Directory& dir;
  LifetimeClock clock;
  std::atomic<bool> has_lifetimes{false};  // something in the store may expire
  EngineStats stats;
  ReadOnlyLatch latch;
  DiskSpace space{options};
  DiskReserve reserve;
  SpareSegment spare_segment{dir, stats.wal_filled_bytes};
  SharedSegments shared_segments;
  std::atomic<bool> disk_is_full{false};  // a write has failed for space, and none worked since
  [[nodiscard]] bool refuses_puts() const {
    return space.is_full() || reserve.is_released() || disk_is_full.load(std::memory_order_relaxed);
  }

  // Why an operator should look at the disk.
  [[nodiscard]] DiskWarnings disk_warnings() const {
    DiskWarnings warnings;
    if (refuses_puts()) warnings.push_back("disk_full");
    if (space.is_unknown()) warnings.push_back("disk_space_unknown");
    if (reserve.is_missing()) warnings.push_back("disk_reserve_missing");
    return warnings;
  }

  // Every record below `visible` has been acknowledged and is in the view; below `durable`, synced.
  std::atomic<uint64_t> visible{0};
  std::atomic<uint64_t> durable{0};
  std::atomic<const View*> view{nullptr};
  Mutex view_mutex;

  Mutex manifest_mutex;
  Manifest manifest KYRO_GUARDED_BY(manifest_mutex);  // as it is on disk
  std::string database_id;                            // the manifest's, fixed once recovered
  std::atomic<uint64_t> next_run{1};
  std::atomic<uint64_t> anchored_ns{0};  // when the clock's anchor was last put into it

  std::atomic<uint64_t> wal_position{0};  // bytes in the newest segment

  // Replaces the view by an edited copy; readers see the one or the other.
  template <class Edit>
  void publish(Edit edit) KYRO_EXCLUDES(view_mutex) {
    const MutexLock guard(view_mutex);
    const View* old = view.load(std::memory_order_relaxed);
    auto fresh = old != nullptr ? std::make_unique<View>(*old) : std::make_unique<View>();
    edit(*fresh);
    view.store(fresh.release(), std::memory_order_seq_cst);
    if (old != nullptr) epoch_retire(std::unique_ptr<const View>(old));
  }

  // A copy of the current view that keeps its members alive beyond a pin. Takes no lock.
  [[nodiscard]] View copy_view() const {
    const EpochPin pin;
    return *view.load(std::memory_order_acquire);
  }

  // Before anything is made in the directory: whether it is still this engine's own. If not, that
  // is the end of writing.
  Status check_directory() {
    const Status place = dir.check_place();
    if (!place.ok()) latch.set(place);
    return place;
  }

  // Makes `next` the manifest on disk. After kNoSpace or kBusy the old one
  // stands; after any other failure nobody knows which one does, and the engine is latched.
  Status commit_manifest(Manifest next) KYRO_REQUIRES(manifest_mutex) {
    KYRO_TRY(check_directory());
    next.generation = manifest.generation + 1;
    next.next_offset = std::max(manifest.next_offset, durable.load(std::memory_order_acquire));
    next.next_run = next_run.load(std::memory_order_relaxed);
    next.clock = clock.anchor();
    anchored_ns.store(next.clock->boot_ns, std::memory_order_relaxed);
    bool renamed = false;
    Status status = write_file_atomically(dir, kManifestName, encode_manifest(next), &renamed);
    if (status.ok()) {
      manifest = std::move(next);
    } else if (renamed || !is_temporary(status)) {
      latch.set(status);
    }
    return status;
  }

  // Puts a new anchor on disk where the last one is so old that lifetimes could suffer from a
  // restart. If that fails, the next commit of a manifest does it.
  void renew_anchor_if_due() {
    if (!has_lifetimes.load(std::memory_order_relaxed) || latch.is_set()) return;
    const uint64_t due_ns = anchored_ns.load(std::memory_order_relaxed) +
                            LifetimeClock::kAnchorAgeSecsMax * 1'000'000'000;
    if (clock.anchor().boot_ns < due_ns) return;
    const MutexLock guard(manifest_mutex);
    static_cast<void>(commit_manifest(manifest));
  }

  // Lists a new log segment; `sealed_bytes` is the size of the one before it.
  Status add_segment(const SegmentRef& segment, uint64_t sealed_bytes)
      KYRO_EXCLUDES(manifest_mutex) {
    const MutexLock guard(manifest_mutex);
    Manifest next = manifest;
    if (!next.segments.empty()) next.segments.back().bytes = sealed_bytes;
    next.segments.push_back(segment);
    KYRO_TRY(commit_manifest(std::move(next)));
    const std::vector<SegmentRef>& segments = manifest.segments;
    publish([&](View& fresh) { fresh.segments = segments; });
    return Status();
  }

  // Failures that pass by themselves and that left nothing half done.
  [[nodiscard]] static bool is_temporary(const Status& status) {
    return status.code() == Code::kNoSpace || status.code() == Code::kBusy;
  }
};

}  // namespace kyro
