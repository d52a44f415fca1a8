// Who waits for an offset: reads that may not be answered before the store has come so far, or
// before it has all that is in the shared log as of a moment after they came.
//
// The latter first wait for somebody to look where the log ends. One look serves all who waited
// when it began (replica/head_looks.h); then they wait for the offset that it has found.
//
// Invariants:
//   - a waiter is in the table or posted, never both; whoever takes it out posts it;
//   - a committer that has moved the next offset and finds lowest_ above it misses nobody: a waiter
//     enters, fences, and looks at the next offset; the committer moves it, fences, and looks here.
//
// Bounds: kMax waiters, which hold kBytesMax together, for the time that was set. All wait equally
// long, so those who came first are the first whose time is up.
//
// Thread rule: any thread; a mutex, held for moments, that a commit takes only if it ends a wait.
// Ownership: waiters own themselves; the table outlives engine and server.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/counters.h"
#include "kyro/base/fence.h"
#include "kyro/base/limits.h"
#include "kyro/base/mutex.h"
#include "kyro/net/http/handler.h"
#include "kyro/replica/head_looks.h"

namespace kyro {

struct OffsetWaitStats {
  Gauge waiting;
  Counter refused;
};

class OffsetWaits final : public HeadListener {
 public:
  static constexpr uint64_t kMax = 10'000;
  static constexpr uint64_t kBytesMax = 64 * kMiB;
  static constexpr uint64_t kNever = ~uint64_t{0};

  class Waiter : public WaitingTask {
   public:
    // What it waits for is a next offset of at least this; while it `asks` nobody knows yet.
    uint64_t next_offset = 0;
    bool asks = false;
    uint64_t held_bytes = 0;  // by it

   private:
    friend class OffsetWaits;
    bool is_in_ = false;  // under the table's mutex
    uint64_t deadline_ns_ = 0;
    uint64_t ticket_ = 0;
    std::list<Waiter*>::iterator in_order_;
    std::multimap<uint64_t, Waiter*>::iterator place_;
  };

  explicit OffsetWaits(OffsetWaitStats& stats) : stats_(stats) {}
  OffsetWaits(const OffsetWaits&) = delete;
  OffsetWaits& operator=(const OffsetWaits&) = delete;

  // Before anybody waits.
  void set_timeout_ms(uint64_t ms) { timeout_ns_ = ms * 1'000'000; }

  // False if there are too many, or none may wait any more. The waiter has been deferred. Who does
  // not ask looks at the store once more then, and if it is there, calls remove().
  [[nodiscard]] bool add(Waiter* waiter) {
    {
      const MutexLock lock(mutex_);
      if (is_ended_ || order_.size() >= kMax || held_bytes_ + waiter->held_bytes > kBytesMax) {
        stats_.refused.add();
        return false;
      }
      waiter->is_in_ = true;
      waiter->deadline_ns_ = monotonic_ns() + timeout_ns_;
      waiter->in_order_ = order_.insert(order_.end(), waiter);
      waiter->ticket_ = ++last_ticket_;
      waiter->place_ = waiter->asks ? asking_.emplace(waiter->ticket_, waiter)
                                    : by_offset_.emplace(waiter->next_offset, waiter);
      held_bytes_ += waiter->held_bytes;
      note_change();
    }
    stats_.waiting.add(1);
    full_fence();
    return true;
  }
  // Takes it out again, for the caller to post; false if somebody else has.
  [[nodiscard]] bool remove(Waiter* waiter) {
    const MutexLock lock(mutex_);
    if (!waiter->is_in_) return false;
    take_out(waiter);
    note_change();
    return true;
  }

  // The store has come to `next_offset`, and everybody can see that.
  void on_offset(uint64_t next_offset) override {
    full_fence();
    if (lowest_.load(std::memory_order_relaxed) > next_offset) return;
    std::vector<Waiter*> over;
    {
      const MutexLock lock(mutex_);
      while (!by_offset_.empty() && by_offset_.begin()->first <= next_offset) {
        over.push_back(by_offset_.begin()->second);
        take_out(over.back());
      }
      note_change();
    }
    post(over);
  }

  // Wakes those whose time is up.
  void sweep(uint64_t now_ns = monotonic_ns()) {
    if (first_deadline_ns() > now_ns) return;
    wake_while([now_ns](const Waiter& first) { return first.deadline_ns_ <= now_ns; });
  }
  // When that is to be called next; kNever: not before timeout_ns() from now.
  [[nodiscard]] uint64_t first_deadline_ns() const {
    return first_deadline_ns_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t timeout_ns() const { return timeout_ns_; }
  // Wakes all, and lets none wait any more.
  void end() {
    {
      const MutexLock lock(mutex_);
      is_ended_ = true;
    }
    wake_while([](const Waiter&) { return true; });
  }

  // ---- HeadListener ----

  uint64_t begin_look() override {
    const MutexLock lock(mutex_);
    return asking_.empty() ? 0 : last_ticket_;
  }
  void end_look(uint64_t ticket, uint64_t head) override {
    {
      const MutexLock lock(mutex_);
      while (!asking_.empty() && asking_.begin()->first <= ticket) {
        Waiter* const waiter = asking_.begin()->second;
        asking_.erase(asking_.begin());
        waiter->asks = false;
        waiter->next_offset = head;
        waiter->place_ = by_offset_.emplace(head, waiter);
      }
      note_change();
    }
    full_fence();
  }

 private:
  void take_out(Waiter* waiter) KYRO_REQUIRES(mutex_) {
    waiter->is_in_ = false;
    order_.erase(waiter->in_order_);
    (waiter->asks ? asking_ : by_offset_).erase(waiter->place_);
    held_bytes_ -= waiter->held_bytes;
    stats_.waiting.sub(1);
  }
  void note_change() KYRO_REQUIRES(mutex_) {
    lowest_.store(by_offset_.empty() ? kNever : by_offset_.begin()->first,
                  std::memory_order_relaxed);
    first_deadline_ns_.store(order_.empty() ? kNever : order_.front()->deadline_ns_,
                             std::memory_order_relaxed);
  }
  static void post(const std::vector<Waiter*>& waiters) {
    for (Waiter* waiter : waiters) waiter->post();
  }
  // Those who came first.
  template <class Wanted>
  void wake_while(const Wanted& wanted) {
    std::vector<Waiter*> woken;
    {
      const MutexLock lock(mutex_);
      while (!order_.empty() && wanted(*order_.front())) {
        woken.push_back(order_.front());
        take_out(woken.back());
      }
      note_change();
    }
    post(woken);
  }

  OffsetWaitStats& stats_;
  uint64_t timeout_ns_ = 5'000'000'000;
  std::atomic<uint64_t> lowest_{kNever};  // of by_offset_
  std::atomic<uint64_t> first_deadline_ns_{kNever};

  Mutex mutex_;
  std::list<Waiter*> order_ KYRO_GUARDED_BY(mutex_);  // all, as they came
  std::multimap<uint64_t, Waiter*> by_offset_ KYRO_GUARDED_BY(mutex_);
  std::multimap<uint64_t, Waiter*> asking_ KYRO_GUARDED_BY(mutex_);  // by ticket
  uint64_t last_ticket_ KYRO_GUARDED_BY(mutex_) = 0;
  uint64_t held_bytes_ KYRO_GUARDED_BY(mutex_) = 0;
  bool is_ended_ KYRO_GUARDED_BY(mutex_) = false;
};

}  // namespace kyro
