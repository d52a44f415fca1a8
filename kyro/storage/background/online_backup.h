// The backup of a running engine: what is copied when, and under which locks (how: store_copy.h; of
// a directory that nobody uses: offline/backup.h).
//
// It holds all that was acknowledged before it was asked for, and exactly a prefix of the log.
//
// Thread rule: one thread, not the committer's.
#pragma once

#include <string>
#include <utility>

#include "kyro/base/cancel.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/background/store_copy.h"
#include "kyro/storage/engine_state.h"

namespace kyro {

// Rotations and commits of runs wait while files are linked, not while they are copied. Errors:
// kExists, kNoSpace, kBusy (shutting down), kIoError.
inline Result<CopyStats> backup_live(EngineState& state, const std::string& to,
                                     const Cancel& cancel) {
  KYRO_TRY(state.check_directory());
  auto directory = state.fs.open_dir(to, DirMode::kOwnName);
  if (directory.status().code() == Code::kNotFound) {
    return Status(Code::kIoError, std::string(directory.status().message()));
  }
  KYRO_TRY(directory);
  StoreCopy copy(state.dir, std::move(*directory), Sharing::kLinked, cancel);
  KYRO_TRY(copy.begin());
  uint64_t end = 0;
  {
    // Files go only after a commit, and a new segment holds no acknowledged record before one.
    const MutexLock lock(state.manifest_mutex);
    end = state.visible.load(std::memory_order_acquire);
    Manifest manifest = state.manifest;
    manifest.clock = state.clock.anchor();
    KYRO_TRY(copy.gather(manifest));
  }
  return copy.finish(end);
}

}  // namespace kyro
