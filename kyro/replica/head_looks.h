// Looks where a shared log ends, for those who must not be answered by less than all of it.
//
// A look that begins after somebody has asked sees all that was acknowledged before: it is
// linearizable. Looks follow each other, and whoever asks meanwhile is served by the next one, all
// together. Without an answer it looks again, for as long as somebody waits.
//
// Thread rule: start() and stop() by the owner, ask() from any thread; the listener is called on
// the thread of its own. Ownership: nothing of what it is given, and all of that outlives its life
// between start() and stop(). The store of entries is its alone.
#pragma once

#include <cstdint>

#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"
#include "kyro/replica/entry_store.h"
#include "kyro/replica/verdict.h"
#include "kyro/storage/engine.h"

namespace kyro {

class HeadListener {
 public:
  // A look begins: who waits for one? A number for all of them, 0 for nobody.
  virtual uint64_t begin_look() = 0;
  // It has found where the log ended: that is what they wait for from now on.
  virtual void end_look(uint64_t ticket, uint64_t head) = 0;
  // The store has come so far.
  virtual void on_offset(uint64_t next_offset) = 0;

 protected:
  ~HeadListener() = default;
};

class HeadLooks {
 public:
  HeadLooks(Engine& engine, EntryStore& store, HeadListener& listener)
      : engine_(engine), store_(store), listener_(listener) {}
  HeadLooks(const HeadLooks&) = delete;
  HeadLooks& operator=(const HeadLooks&) = delete;
  ~HeadLooks() { stop(); }

  // kBusy where the system gives no thread.
  [[nodiscard]] Status start() {
    return thread_.start([this] { run(); });
  }
  // Ends the thread, after the look that is under way.
  void stop() {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
      woken_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

  // The listener has somebody new.
  void ask() {
    const MutexLock lock(mutex_);
    if (!is_asked_) woken_.notify_all();
    is_asked_ = true;
  }

 private:
  static constexpr uint64_t kPauseNs = 100'000'000;  // without an answer

  void run() {
    name_this_thread("kyro-head");
    while (wait()) {
      const uint64_t ticket = listener_.begin_look();
      if (ticket == 0 || look(ticket)) continue;
      const MutexLock lock(mutex_);
      if (!stopping_) woken_.wait_for(mutex_, kPauseNs);
      is_asked_ = true;
    }
  }
  // False when it is over.
  bool wait() {
    const MutexLock lock(mutex_);
    while (!is_asked_ && !stopping_) woken_.wait(mutex_);
    is_asked_ = false;
    return !stopping_;
  }
  bool look(uint64_t ticket) {
    constexpr uint64_t kNoEntry = ~uint64_t{0};
    const auto found = store_.look(kNoEntry);
    LogHead head;
    // What is wrong with the log says the follower.
    if (!found.ok() || !check_head(found->head, engine_.database_id(), &head).ok()) return false;
    listener_.end_look(ticket, head.end);
    listener_.on_offset(engine_.next_offset());  // most of the time it is there already
    return true;
  }

  Engine& engine_;
  EntryStore& store_;
  HeadListener& listener_;
  Thread thread_;
  Mutex mutex_;
  CondVar woken_;
  bool is_asked_ KYRO_GUARDED_BY(mutex_) = false;
  bool stopping_ KYRO_GUARDED_BY(mutex_) = false;
};

}  // namespace kyro
