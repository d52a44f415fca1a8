// The moments that answers under way hold: a cap on how much of the past slow readers keep alive.
//
// A scan or mget that is streamed is as of one moment, and holds the deltas and runs of that moment
// until it ends. While its reader takes its time, deltas are flushed and runs are merged away, and
// stay in memory or on the disk for it alone. The moments that are held at one time may hold
// kDeltasMax different deltas together, and runs of kRunsFactor times what the newest of them holds
// plus kRunBytesSpare. Whoever makes it more takes it from the oldest, which are revoked: their
// answers break off. So readers are safe as long as nothing is written, and the newest always is.
//
// Invariant: a moment counts until it is released or revoked, once.
//
// Thread rule: any thread; a mutex, taken when a streamed answer begins and ends. Hold is one
// reactor's. Ownership: the table outlives the holds; it owns neither deltas nor runs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <vector>

#include "kyro/base/counters.h"
#include "kyro/base/limits.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/view.h"

namespace kyro {

class HeldMoments {
 public:
  static constexpr size_t kDeltasMax = 11;  // three may be in use, the others are of the past
  static constexpr uint64_t kRunsFactor = 3;
  static constexpr uint64_t kRunBytesSpare = kGiB;

  // One held moment, as long as it lives; begun by begin().
  class Hold {
   public:
    Hold() = default;
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() {
      if (table_ != nullptr) table_->end(*this);
    }
    // The answer has to break off.
    [[nodiscard]] bool is_revoked() const { return revoked_.load(std::memory_order_relaxed); }

   private:
    friend class HeldMoments;
    HeldMoments* table_ = nullptr;
    std::atomic<bool> revoked_{false};
    std::vector<uint64_t> deltas_;  // by first offset
    std::vector<uint64_t> runs_;    // by id
    std::list<Hold*>::iterator place_;
  };

  // Counts those that are revoked; the counter outlives it.
  explicit HeldMoments(Counter& revoked) : revoked_(revoked) {}
  HeldMoments(const HeldMoments&) = delete;
  HeldMoments& operator=(const HeldMoments&) = delete;

  // `view` is held from now on, for as long as `hold` lives.
  void begin(const View& view, Hold* hold) {
    hold->table_ = this;
    if (view.active != nullptr) hold->deltas_.push_back(view.active->first_offset());
    for (const auto& delta : view.frozen) hold->deltas_.push_back(delta->first_offset());
    const MutexLock lock(mutex_);
    for (const uint64_t delta : hold->deltas_) ++deltas_[delta];
    uint64_t run_bytes = 0;
    for (const auto& run : view.runs) {
      const RunMeta& meta = run->meta();
      hold->runs_.push_back(meta.id);
      HeldRun& held = runs_[meta.id];
      if (held.count++ == 0) run_bytes_ += held.bytes = meta.record_bytes;
      run_bytes += meta.record_bytes;
    }
    hold->place_ = holds_.insert(holds_.end(), hold);
    const uint64_t run_bytes_max = kRunsFactor * run_bytes + kRunBytesSpare;
    while (holds_.size() > 1 && (deltas_.size() > kDeltasMax || run_bytes_ > run_bytes_max)) {
      Hold& oldest = *holds_.front();
      forget(oldest);
      oldest.revoked_.store(true, std::memory_order_relaxed);
      revoked_.add();
    }
  }

  // Of all runs that are held.
  [[nodiscard]] uint64_t run_bytes() {
    const MutexLock lock(mutex_);
    return run_bytes_;
  }

 private:
  struct HeldRun {
    uint64_t count = 0;
    uint64_t bytes = 0;
  };

  void end(Hold& hold) {
    const MutexLock lock(mutex_);
    if (!hold.is_revoked()) forget(hold);
  }

  void forget(Hold& hold) KYRO_REQUIRES(mutex_) {
    holds_.erase(hold.place_);
    for (const uint64_t delta : hold.deltas_) {
      const auto found = deltas_.find(delta);
      if (--found->second == 0) deltas_.erase(found);
    }
    for (const uint64_t run : hold.runs_) {
      const auto found = runs_.find(run);
      if (--found->second.count != 0) continue;
      run_bytes_ -= found->second.bytes;
      runs_.erase(found);
    }
  }

  Counter& revoked_;
  Mutex mutex_;
  std::list<Hold*> holds_ KYRO_GUARDED_BY(mutex_);               // that count, the oldest first
  std::map<uint64_t, uint64_t> deltas_ KYRO_GUARDED_BY(mutex_);  // how many hold each
  std::map<uint64_t, HeldRun> runs_ KYRO_GUARDED_BY(mutex_);
  uint64_t run_bytes_ KYRO_GUARDED_BY(mutex_) = 0;  // of runs_
};

}  // namespace kyro
