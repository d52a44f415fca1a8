// Long work that an engine does on its background threads when it is asked to, and what comes of
// it.
//
// Thread rule: a JobDone is called once, on a background thread, and must be short;
// wait_for_job() from any other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/base/mutex.h"
#include "kyro/base/status.h"

namespace kyro {

struct Job {
  enum class Kind : uint8_t {
    kSnapshot,      // flush everything written so far into a run
    kCompact,       // flush, then merge everything into one run
    kRebuildIndex,  // the same, and the index of that run is new in any case
    kBackup,        // make a backup (background/online_backup.h) of everything acknowledged so far
    kWarm,          // bring every page of the runs and their indexes into memory
    kScrub,         // read every run again; quarantine those that are not what was written
    kStream,        // take hold of everything acknowledged so far (background/store_stream.h)
    kListBackups,   // those below a directory (background/backup_shelf.h)
    kRemoveBackup,  // the backup `name` there
  };

  Kind kind = Kind::kSnapshot;
  std::string to = {};    // of a backup: a directory that is not there yet
  Cancel cancel = {};     // asked beside the engine, which gives all work up when it ends
  std::string name = {};  // of a backup below `to`
};

struct CopyStats {
  uint64_t next_offset = 0;  // the copy holds everything below it
  uint64_t files = 0;
  uint64_t linked_bytes = 0;  // shared with the original
  uint64_t copied_bytes = 0;
};

struct CompactStats {
  uint64_t before_bytes = 0;  // runs, indexes and log
  uint64_t after_bytes = 0;
  uint64_t segments_removed = 0;
  uint64_t segments_active = 0;
  uint64_t keys_retained = 0;
};

class StoreStream;

// A backup as it lies there.
struct BackupInfo {
  std::string name;
  uint64_t files = 0;
  uint64_t bytes = 0;        // of them, shared ones too
  uint64_t next_offset = 0;  // it holds everything below
  uint64_t made_secs = 0;    // Unix time
  bool is_whole = false;     // else it has no manifest that can be read
};
inline constexpr size_t kListedBackupsMax = 1000;

struct JobOutcome {
  Status status;
  CompactStats compacted = {};
  CopyStats copied = {};
  std::shared_ptr<StoreStream> stream = {};
  std::vector<BackupInfo> backups = {};
};

using JobDone = std::function<void(const JobOutcome&)>;

[[nodiscard]] inline Status shutting_down() {
  return Status(Code::kBusy, "the engine is shutting down");
}

// Runs start(done) and sleeps until done(outcome) has been called, on whatever thread.
template <class Start>
[[nodiscard]] JobOutcome wait_for_job(Start start) {
  Mutex mutex;
  CondVar answered;
  std::optional<JobOutcome> outcome;
  start([&](const JobOutcome& result) {
    const MutexLock lock(mutex);
    outcome = result;
    answered.notify_one();
  });
  const MutexLock lock(mutex);
  while (!outcome.has_value()) answered.wait(mutex);
  return *outcome;
}

}  // namespace kyro
