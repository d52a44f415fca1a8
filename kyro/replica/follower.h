// Applies what other stores have appended to a shared log, in the order of the log.
//
// It looks at the entry where its store ends, applies it, and goes on in pages until the log ends;
// then it waits until it is told that the log goes on. The store's own committer applies others'
// groups too where it meets them (committer_shared.h); whoever is second finds that a group was
// applied.
//
// No entry is missed while it waits. Whoever tells of heads (entry_store.h) has begun before the
// look that found the end, or says that it does not know, and then there is another look. So each
// head that is made after that look is told of. It is passed over only where the store is there
// already, or where the committer has an append of its own under way to that place: then it has
// the answer, and applies what it says. Should it fail to, with a full disk for example, the look
// that comes every now and then in any case finds it; nothing but that depends on the time.
//
// Invariants:
//   - nothing is skipped: an entry is applied only where the store ends;
//   - a page is bounded: about 4 MiB, by what the head says that there is or by the size of the
//     entries before it, and what the way to the log takes as one answer in any case;
//   - what stops a store (verdict.h) is judged only while the store still ends where it was looked
//     for: its own committer may have gone on meanwhile, and the log may have been trimmed there.
//
// A store without room for more tries again later; one that is read-only follows no longer.
//
// Thread rule: start() and stop() by the owner; step() by its thread, or by a caller that has not
// started it; the rest from any. Ownership: nothing of what it is given, and all of that outlives
// it. The store of entries is its alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"
#include "kyro/replica/entry.h"
#include "kyro/replica/entry_store.h"
#include "kyro/replica/log_health.h"
#include "kyro/replica/verdict.h"
#include "kyro/storage/engine.h"

namespace kyro {

class LogFollower {
 public:
  struct Times {
    uint64_t poll_ms = 1000;  // at the end of the log, for the case that nobody tells
    uint64_t pause_ms = 200;  // without an answer, or without room
  };
  enum class Step : uint8_t {
    kApplied,  // something; there may be more
    kAtEnd,    // everything is here
    kWaits,    // no answer, or no room
    kStopped,  // for good
  };

  LogFollower(Engine& engine, EntryStore& store, LogHealth& health, Times times)
      : engine_(engine), store_(store), health_(health), times_(times) {}
  LogFollower(const LogFollower&) = delete;
  LogFollower& operator=(const LogFollower&) = delete;
  ~LogFollower() { stop(); }

  // kBusy where the system gives no thread.
  [[nodiscard]] Status start() {
    return thread_.start([this] { run(); });
  }
  // Ends the thread, after the call to the log that is under way.
  void stop();

  // One page at most.
  Step step();

  // Where the log ended when it was last looked at.
  [[nodiscard]] uint64_t head_offset() const { return head_.load(std::memory_order_relaxed); }
  // How many records are in the log and not here, as far as is known.
  [[nodiscard]] uint64_t lag_records() const {
    const uint64_t here = engine_.next_offset();
    return std::max(head_offset(), here) - here;
  }
  // It has had, once, all that was in the log when it began to look.
  [[nodiscard]] bool has_caught_up() const {
    return has_caught_up_.load(std::memory_order_acquire);
  }
  // How long this store has not been seen to have all that was in the log a page ago; 0 while it
  // has.
  [[nodiscard]] uint64_t lag_ns(uint64_t now_ns = monotonic_ns()) const {
    const uint64_t since_ns = behind_since_ns_.load(std::memory_order_relaxed);
    return since_ns == 0 || now_ns < since_ns ? 0 : now_ns - since_ns;
  }

 private:
  static constexpr uint64_t kPageBytes = 4 * kMiB;  // about
  static constexpr uint32_t kPageEntriesMin = 4;
  static constexpr uint32_t kPageEntriesMax = 1024;

  void run();
  // At the end of the log: until there is reason to look again.
  void wait_for_news();
  // Applies the groups of a page that begins at *next, where the log holds so many bytes more;
  // *next is where it ends.
  Step take_page(uint64_t* next, uint64_t bytes_left);
  Step take(const SharedGroup& group);
  Step fail(const Status& status);
  void note_position(bool is_here);
  bool is_told_to_stop_after(uint64_t wait_ms);

  Engine& engine_;
  EntryStore& store_;
  LogHealth& health_;
  const Times times_;
  uint32_t page_entries_ = kPageEntriesMin;
  std::atomic<uint64_t> head_{0};
  std::atomic<uint64_t> behind_since_ns_{monotonic_ns()};  // 0: everything is here
  std::atomic<bool> has_caught_up_{false};

  Thread thread_;
  Mutex mutex_;
  CondVar woken_;
  bool stopping_ KYRO_GUARDED_BY(mutex_) = false;
};

inline void LogFollower::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    woken_.notify_all();
  }
  store_.wake();
  if (thread_.joinable()) thread_.join();
}

inline bool LogFollower::is_told_to_stop_after(uint64_t wait_ms) {
  const MutexLock lock(mutex_);
  if (!stopping_ && wait_ms > 0) woken_.wait_for(mutex_, wait_ms * 1'000'000);
  return stopping_;
}

inline void LogFollower::run() {
  name_this_thread("kyro-follow");
  for (;;) {
    const Step step = this->step();
    if (step == Step::kStopped) return;
    if (step == Step::kAtEnd) wait_for_news();
    if (is_told_to_stop_after(step == Step::kWaits ? times_.pause_ms : 0)) return;
  }
}

inline void LogFollower::wait_for_news() {
  const uint64_t deadline_ns = monotonic_ns() + times_.poll_ms * 1'000'000;
  for (uint64_t now_ns = 0; (now_ns = monotonic_ns()) < deadline_ns;) {
    const auto told = store_.wait((deadline_ns - now_ns + 999'999) / 1'000'000);
    if (!told) return;
    const auto head = decode_head(*told);
    if (!head.ok() || head->end > std::max(engine_.next_offset(), health_.append_end())) return;
  }
}

inline LogFollower::Step LogFollower::step() {
  if (health_.is_stopped()) return Step::kStopped;
  const uint64_t next = engine_.next_offset();
  auto found = store_.look(next);
  if (!found.ok()) return fail(found.status());
  LogHead head;
  auto group = judge(*found, next, engine_.database_id(), &head);
  if (!group.ok()) return engine_.next_offset() > next ? Step::kApplied : fail(group.status());
  static_cast<void>(health_.note(Status()));
  head_.store(head.end, std::memory_order_relaxed);
  note_position(!*group);
  if (!*group) return Step::kAtEnd;
  uint64_t end = (*group)->end_offset();
  Step taken = take(**group);
  if (taken == Step::kApplied && end < head.end) {
    taken = take_page(&end, head.position - std::min((*group)->end_position, head.position));
  }
  if (taken != Step::kApplied || end < head.end) return taken;
  note_position(true);
  return Step::kAtEnd;
}

inline LogFollower::Step LogFollower::take_page(uint64_t* next, uint64_t bytes_left) {
  auto page = store_.read(*next, bytes_left <= kPageBytes ? kPageEntriesMax : page_entries_);
  if (page.status().code() == Code::kTooLarge) {
    page_entries_ = kPageEntriesMin;
    page = store_.read(*next, page_entries_);
  }
  if (!page.ok()) return fail(page.status());
  uint64_t bytes = 0;
  for (const EntryStore::Entry& entry : *page) {
    // A hole: somebody trims. What that means says step().
    if (entry.offset != *next) return Step::kApplied;
    auto group = decode_entry(entry.bytes, *next, engine_.database_id());
    if (!group.ok()) return fail(group.status());
    if (const Step taken = take(*group); taken != Step::kApplied) return taken;
    *next = group->end_offset();
    bytes += entry.bytes.size();
  }
  if (bytes > 0) {
    const uint64_t fit = kPageBytes * page->size() / bytes;
    page_entries_ = static_cast<uint32_t>(
        std::clamp<uint64_t>(fit, kPageEntriesMin, std::min(kPageEntriesMax, page_entries_ * 2)));
  }
  return Step::kApplied;
}

inline LogFollower::Step LogFollower::take(const SharedGroup& group) {
  const Status taken = engine_.take(group);
  return taken.ok() ? Step::kApplied : fail(taken);
}

inline LogFollower::Step LogFollower::fail(const Status& status) {
  note_position(false);
  if (status.code() == Code::kReadOnly) return Step::kStopped;  // that has been said elsewhere
  static_cast<void>(health_.note(status));
  return health_.is_stopped() ? Step::kStopped : Step::kWaits;
}

inline void LogFollower::note_position(bool is_here) {
  if (is_here) {
    behind_since_ns_.store(0, std::memory_order_relaxed);
    has_caught_up_.store(true, std::memory_order_release);
  } else if (behind_since_ns_.load(std::memory_order_relaxed) == 0) {
    behind_since_ns_.store(monotonic_ns(), std::memory_order_relaxed);
  }
}

}  // namespace kyro
