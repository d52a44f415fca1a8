// What an embedding program may choose about an engine.
#pragma once

#include <cstdint>
#include <string>

#include "kyro/base/fsync_policy.h"
#include "kyro/base/limits.h"
#include "kyro/base/text/slot_set.h"
#include "kyro/index/rmi_options.h"

namespace kyro {

class FileSystem;  // storage/fs/fs.h
class SharedLog;   // storage/shared_log.h

struct Options {
  std::string data_dir = "./data";

  // When an acknowledged write is on the disk: at once; within the interval; when the system likes.
  FsyncPolicy fsync = FsyncPolicy::kAlways;
  uint64_t fsync_interval_ms = 100;

  // The delta is flushed at this size. At most three exist (one in use, two waiting to be flushed).
  uint64_t delta_max_bytes = kDefaultDeltaBytesMax;
  uint64_t snapshot_every_appends = 0;  // flush after so many records too (0: only by size)
  uint64_t auto_snapshot_secs = 0;      // and after so many seconds (0: never)

  uint64_t wal_segment_bytes = kDefaultWalSegmentBytes;
  uint64_t wal_segments_max =
      kDefaultWalSegmentsMax;  // kept for replay; never costs unflushed data
  // After so many synced groups in a segment that was only reserved, the next one is filled with
  // zeros in the background, as are those after it (log/spare_segment.h; 0: never).
  uint64_t wal_fill_after = 64;
  uint64_t wal_bytes_max = 0;  // flush and trim the log to about this size (0: no bound)

  uint64_t compact_interval_secs = 0;   // full compaction every so often (0: never)
  uint64_t compact_when_wal_bytes = 0;  // and after so many bytes of log (0: never)
  uint64_t rmi_rebuild_appends = 0;     // and after so many records (0: never)
  double rmi_rebuild_ratio = 0;         // and after so many records per key (of 1000 at least)

  // Every run is read again so often, in the background, to see that the disk still has it (0: no).
  uint64_t scrub_interval_secs = 7 * 86400;

  SlotSet slots = {};  // writes to keys outside are refused

  uint64_t max_value_bytes = kDefaultValueBytesMax;
  uint64_t max_batch_bytes = kDefaultBatchBytesMax;
  uint64_t reserve_bytes = kDefaultReserveBytes;  // given back when the disk is full (0: none)

  // So long the commit thread and the flusher may have work without coming forward with it before
  // Engine::stalls() says so; the merger ten times as long.
  uint64_t stall_ms = 60'000;
  // A write is acknowledged no longer than this after its directory was moved, removed or replaced;
  // whatever makes a file looks in any case.
  uint64_t directory_check_ms = 1000;

  // Neighbouring runs are merged when at least so many of like size stand side by side; four times
  // as many where each has a key range of its own.
  uint32_t merge_fan_in = 4;
  RmiOptions rmi = {};
  bool huge_index = false;  // hold indexes in anonymous huge pages instead of mapping them

  FileSystem* fs = nullptr;  // null: the operating system's; not owned
  // The log that this store shares with others (shared_log.h); null: it has its own alone. Not
  // owned.
  SharedLog* shared_log = nullptr;
  // Where the time for lifetimes comes from (lifetime_clock.h); null: the system. Unix time, the
  // time since boot, and what tells one boot from another.
  uint64_t (*clock_secs)() = nullptr;
  uint64_t (*boot_clock_ns)() = nullptr;
  std::string (*boot_id)() = nullptr;
};

}  // namespace kyro
