// What the committer needs of whoever turns frozen deltas into runs.
//
// Thread rule: called by the holder of the writer's role, one at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kyro/base/status.h"
#include "kyro/storage/write/backpressure.h"

namespace kyro {

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
  // Room is short: gives up log that only replay reads, at once, and has the rest of what can be
  // given back looked for.
  virtual void on_disk_short() = 0;
  // Records have been committed; called for each group.
  virtual void on_commit(uint64_t records, uint64_t log_bytes) = 0;
};

}  // namespace kyro
