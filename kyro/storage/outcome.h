// What long operations answer, and how a caller sleeps until they have.
//
// Thread rule: callbacks run on a background thread and must be short; wait_for_status() from any
// other.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "kyro/base/status.h"
#include "kyro/storage/store_copy.h"

namespace kyro {

struct CompactStats {
  uint64_t before_bytes = 0;  // runs, indexes and log
  uint64_t after_bytes = 0;
  uint64_t segments_removed = 0;
  uint64_t segments_active = 0;
  uint64_t keys_retained = 0;
};

using SnapshotDone = std::function<void(const Status&)>;
using BackupDone = std::function<void(const Status&, const CopyStats&)>;
using CompactDone = std::function<void(const Status&, const CompactStats&)>;

// Runs start(done) and sleeps until done(status) has been called, on whatever thread.
template <class Start>
Status wait_for_status(Start start) {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Status> outcome;
  start([&](const Status& status) {
    const std::lock_guard lock(mutex);
    outcome = status;
    answered.notify_one();
  });
  std::unique_lock lock(mutex);
  answered.wait(lock, [&] { return outcome.has_value(); });
  return *outcome;
}

}  // namespace kyro
