// Takes away the beginning of a shared log: entries that this store has in its runs and that lie
// outside the newest `keep_bytes`. What is left is what a store that was away finds when it comes
// back.
//
// Where to cut is found by looking at a few entries, since each says how many bytes were before it
// (entry.h): nothing is read for the sake of being counted, and while the log is as small as it may
// be nobody is asked for anything.
//
// Invariants:
//   - nothing goes that is not durable in this store's runs;
//   - entries go from the log's beginning on, up to where one begins. So what is left has no hole,
//     whoever else trims, and whenever this or another trimmer ends in the middle of it;
//   - the head stays;
//   - what is erased at once has a bounded number of entries.
//
// A store whose delta is so large, or whose keep_bytes are so few, that its runs end before the cut
// is told to flush.
//
// It also asks now and then how much room etcd has (log_space.h).
//
// It has a thread of its own and its own way to the log: the follower's sleeps until there is
// something to apply, and must not wait for an erasure.
//
// Thread rule: start() and stop() by the owner; step() by its thread, or by a caller that has not
// started it; the rest from any. Ownership: nothing of what it is given, and all of that outlives
// it. The store of entries is its alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "kyro/base/log/log.h"
#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"
#include "kyro/replica/entry.h"
#include "kyro/replica/entry_store.h"
#include "kyro/replica/log_health.h"
#include "kyro/replica/log_space.h"
#include "kyro/replica/verdict.h"
#include "kyro/storage/engine.h"

namespace kyro {

class LogTrimmer {
 public:
  struct Limits {
    uint64_t keep_bytes = 256 * kMiB;
    uint64_t quota_bytes = LogSpace::kDefaultQuotaBytes;  // where etcd does not say
    uint64_t pause_ms = 1000;                             // between looks
  };
  enum class Step : uint8_t {
    kIdle,     // nothing to do for now
    kTrimmed,  // something; there is more
    kWaits,    // no answer
    kStopped,  // for good
  };

  LogTrimmer(Engine& engine, EntryStore& store, const LogHealth& health, LogSpace& space,
             Limits limits)
      : engine_(engine), store_(store), health_(health), space_(space), limits_(limits) {}
  LogTrimmer(const LogTrimmer&) = delete;
  LogTrimmer& operator=(const LogTrimmer&) = delete;
  ~LogTrimmer() { stop(); }

  // kBusy where the system gives no thread.
  [[nodiscard]] Status start() {
    return thread_.start([this] { run(); });
  }
  // Ends the thread, after the call to the log that is under way.
  void stop();

  // A look for where to cut, or one erasure.
  Step step();
  // Asks for the room that there is.
  Status look_at_usage();

  [[nodiscard]] uint64_t trimmed_bytes() const {
    return trimmed_bytes_.load(std::memory_order_relaxed);
  }

 private:
  // Where an entry begins.
  struct Mark {
    uint64_t offset = 0;
    uint64_t position = 0;
  };
  static constexpr uint64_t kEraseOffsetsMax = 4096;  // at once; an entry has one at least
  static constexpr int kProbesMax = 8;
  static constexpr uint64_t kEraseOffsetsPauseMs = 10;
  static constexpr uint64_t kUsageRounds = 5;

  void run();
  Step plan();
  Step erase();
  // Looks for the entry that is to become the first one.
  Status find_cut(const LogHead& head);
  // The first entry at or above an offset.
  [[nodiscard]] Result<std::optional<Mark>> mark_at(uint64_t offset);
  void flush_if_worth_it();
  // More than keep_bytes by so much is worth a trim.
  [[nodiscard]] uint64_t slack_bytes() const { return limits_.keep_bytes / 8; }
  bool is_told_to_stop_after(uint64_t wait_ms);

  Engine& engine_;
  EntryStore& store_;
  const LogHealth& health_;
  LogSpace& space_;
  const Limits limits_;
  bool has_looked_ = false;
  Mark first_;  // of the log, as was last found
  Mark cut_;    // where it is to begin
  std::atomic<uint64_t> trimmed_bytes_{0};
  // Shared with the flush, which may outlast this.
  const std::shared_ptr<std::atomic<bool>> is_flushing_ = std::make_shared<std::atomic<bool>>();

  Thread thread_;
  Mutex mutex_;
  CondVar woken_;
  bool stopping_ KYRO_GUARDED_BY(mutex_) = false;
};

inline void LogTrimmer::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    woken_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

inline bool LogTrimmer::is_told_to_stop_after(uint64_t wait_ms) {
  const MutexLock lock(mutex_);
  if (!stopping_) woken_.wait_for(mutex_, wait_ms * 1'000'000);
  return stopping_;
}

inline void LogTrimmer::run() {
  name_this_thread("kyro-trim");
  uint64_t rounds = 0;
  for (;;) {
    const Step step = this->step();
    if (step == Step::kStopped) return;
    if (step != Step::kTrimmed && (rounds++ % kUsageRounds == 0 || space_.is_short())) {
      static_cast<void>(look_at_usage());
    }
    const uint64_t wait_ms = step == Step::kTrimmed ? kEraseOffsetsPauseMs : limits_.pause_ms;
    if (is_told_to_stop_after(wait_ms)) return;
  }
}

inline LogTrimmer::Step LogTrimmer::step() {
  if (health_.is_stopped()) return Step::kStopped;
  if (first_.offset < cut_.offset) return erase();
  if (has_looked_ && space_.log_bytes() <= limits_.keep_bytes + slack_bytes()) return Step::kIdle;
  return plan();
}

inline LogTrimmer::Step LogTrimmer::plan() {
  const auto found = store_.look(0);
  if (!found.ok()) return Step::kWaits;
  LogHead head;
  // What is wrong with it the follower finds too, and says.
  if (!check_head(found->head, engine_.database_id(), &head).ok()) return Step::kWaits;
  const auto first = mark_at(0);
  if (!first.ok()) return Step::kWaits;
  has_looked_ = true;
  first_ = cut_ = *first ? **first : Mark{head.end, head.position};
  space_.note_end(head.position);
  space_.note_first(first_.position);
  if (space_.log_bytes() <= limits_.keep_bytes + slack_bytes()) return Step::kIdle;
  if (!find_cut(head).ok()) return Step::kWaits;
  return first_.offset < cut_.offset ? Step::kTrimmed : Step::kIdle;
}

inline Status LogTrimmer::find_cut(const LogHead& head) {
  const uint64_t target = head.position - limits_.keep_bytes;
  const uint64_t flushed = [&] {
    const EpochPin pin;
    return engine_.moment().view->contained_offset;
  }();
  Mark high{head.end, head.position};  // cut_ is below it, and right
  bool is_held_back = false;
  for (int probes = 0; probes < kProbesMax && target - cut_.position > slack_bytes() / 2;
       ++probes) {
    const double share = static_cast<double>(target - cut_.position) /
                         static_cast<double>(high.position - cut_.position);
    const double ahead = share * static_cast<double>(high.offset - cut_.offset);
    const uint64_t wanted = cut_.offset + static_cast<uint64_t>(ahead);
    const uint64_t guess = std::min(wanted, flushed);
    is_held_back = guess < wanted;
    if (guess <= cut_.offset) break;
    const auto mark = mark_at(guess);
    KYRO_TRY(mark);
    // None: the last entry began before it.
    const Mark found = *mark ? **mark : high;
    if (found.offset <= flushed && found.position <= target) {
      cut_ = found;
    } else {
      high = {guess, found.position};
    }
  }
  if (is_held_back) flush_if_worth_it();
  return Status();
}

inline Result<std::optional<LogTrimmer::Mark>> LogTrimmer::mark_at(uint64_t offset) {
  auto entries = store_.read(offset, 1);
  KYRO_TRY(entries);
  if (entries->empty()) return std::optional<Mark>();
  const EntryStore::Entry& entry = entries->front();
  auto group = decode_entry(entry.bytes, entry.offset, engine_.database_id());
  KYRO_TRY(group);
  return std::optional(Mark{group->first_offset, group->position});
}

inline LogTrimmer::Step LogTrimmer::erase() {
  const uint64_t below = std::min(cut_.offset, first_.offset + kEraseOffsetsMax);
  if (!store_.erase(below).ok()) return Step::kWaits;
  first_.offset = below;
  if (below < cut_.offset) return Step::kTrimmed;
  const uint64_t bytes = cut_.position - first_.position;
  first_ = cut_;
  space_.note_first(cut_.position);
  trimmed_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  log_event(LogLevel::kInfo, "log_trimmed", {{"below", below}, {"bytes", bytes}});
  return Step::kIdle;
}

inline void LogTrimmer::flush_if_worth_it() {
  const uint64_t delta_bytes = [&] {
    const EpochPin pin;
    return engine_.moment().view->active->bytes();
  }();
  if (delta_bytes < limits_.keep_bytes / 4 || is_flushing_->exchange(true)) return;
  engine_.start({Job::Kind::kSnapshot},
                [is_flushing = is_flushing_](const JobOutcome&) { *is_flushing = false; });
}

inline Status LogTrimmer::look_at_usage() {
  auto usage = store_.usage();
  KYRO_TRY(usage);
  space_.note_usage(*usage, limits_.quota_bytes);
  return Status();
}

}  // namespace kyro
