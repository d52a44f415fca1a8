// A store's end of a shared log: the engine's SharedLog, over whatever holds the entries.
//
// An append goes to the key of its first offset, and changes something only where nothing lies
// there and the head is what this store takes it for. So a store that lags, or has missed that the
// log was trimmed, cannot write into a hole. Without an answer the same bytes are sent again, to
// the same key, until the time is up; bytes are never equal by chance (the nonce), so what lies
// there in the end tells whether it was this append that got there.
//
// When the time is up the group is given up here, not in the world: it may lie in the log, or
// arrive later. Nothing has to be remembered for that. The next append goes to the same offset, so
// it either finds that group and it is applied like anybody's, or takes its place, and the late
// one fails.
//
// Invariant: chain_ is the CRC and the position of the entry that ends at the offset that stands
// with them, once that is known; an entry that does not continue it is never applied.
//
// Thread rule: as SharedLog; stop() and what is const from any thread. The store (entry_store.h) is
// this object's alone while it lives, not owned.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/clock.h"
#include "kyro/base/counters.h"
#include "kyro/base/mutex.h"
#include "kyro/base/random.h"
#include "kyro/replica/entry.h"
#include "kyro/replica/entry_store.h"
#include "kyro/replica/log_health.h"
#include "kyro/replica/log_space.h"
#include "kyro/replica/verdict.h"
#include "kyro/storage/manifest.h"
#include "kyro/storage/shared_log.h"

namespace kyro {

class ReplicaLog final : public SharedLog {
 public:
  struct Times {
    uint64_t timeout_ms = 5000;  // an append, and a question, end after so long at the latest
    uint64_t pause_ms = 20;      // between tries
  };

  ReplicaLog(EntryStore& store, LogHealth& health, Times times)
      : store_(store), health_(health), times_(times) {}

  [[nodiscard]] Result<std::string> database(const std::string& own) override;
  [[nodiscard]] Result<std::optional<SharedGroup>> append(uint64_t first_offset, uint32_t records,
                                                          std::string_view body) override;
  [[nodiscard]] Result<std::optional<SharedGroup>> confirm(uint64_t end) override;
  [[nodiscard]] uint64_t pace_ns(uint64_t bytes) const override { return space_.pace_ns(bytes); }
  [[nodiscard]] Status follow(const SharedGroup& group) override;

  // From now on nothing is tried a second time.
  void stop() {
    const MutexLock lock(mutex_);
    stopping_ = true;
    woken_.notify_all();
  }

  // What the log takes.
  [[nodiscard]] LogSpace& space() { return space_; }
  [[nodiscard]] const LogSpace& space() const { return space_; }
  [[nodiscard]] uint64_t conflicts() const { return conflicts_.load(std::memory_order_relaxed); }
  // Whose the group is that was appended or applied last.
  enum class Writer : uint8_t { kNobody, kOwn, kOther };
  [[nodiscard]] Writer last_writer() const { return last_writer_.load(std::memory_order_relaxed); }
  // How long appends took, with all their tries, that got there.
  [[nodiscard]] HistogramSnapshot append_ns() const { return append_ns_.snapshot(); }

 private:
  struct Chain {
    uint64_t offset = 0;
    uint64_t position = 0;
    uint32_t crc = 0;
    bool operator==(const Chain&) const = default;
  };

  // Calls call() until it has an answer or the time is up.
  template <class Call>
  auto insist(Call call) -> decltype(call());
  // False when it is time to give up.
  bool pause(uint64_t deadline_ns);
  // What `found` is to a store that is at `offset`; adopts the chain where the log ends there.
  Result<std::optional<SharedGroup>> take(EntryStore::Found found, uint64_t offset);
  [[nodiscard]] bool knows_chain(uint64_t offset) const {
    return chain_ && chain_->offset == offset;
  }
  void adopt(const Chain& chain) {
    chain_ = chain;
    space_.note_end(chain.position);
  }
  static Status broken(uint64_t offset) {
    return Status(Code::kCorruption, "the shared log at " + std::to_string(offset) +
                                         " does not continue what this store has applied");
  }

  EntryStore& store_;
  LogHealth& health_;
  const Times times_;
  std::string database_;
  std::optional<Chain> chain_;
  EntryStore::Found theirs_;  // what a group that was handed on points into
  std::atomic<uint64_t> conflicts_{0};
  LogSpace space_;
  std::atomic<Writer> last_writer_{Writer::kNobody};
  Histogram append_ns_{kLatencyBoundsNanos};

  Mutex mutex_;
  CondVar woken_;
  bool stopping_ KYRO_GUARDED_BY(mutex_) = false;
};

inline bool ReplicaLog::pause(uint64_t deadline_ns) {
  const uint64_t now_ns = monotonic_ns();
  const MutexLock lock(mutex_);
  if (stopping_ || now_ns >= deadline_ns) return false;
  if (times_.pause_ms > 0) {
    woken_.wait_for(mutex_, std::min(times_.pause_ms * 1'000'000, deadline_ns - now_ns));
  }
  return !stopping_;
}

template <class Call>
auto ReplicaLog::insist(Call call) -> decltype(call()) {
  const uint64_t deadline_ns = monotonic_ns() + times_.timeout_ms * 1'000'000;
  bool may_have_happened = false;
  for (;;) {
    auto answer = call();
    const Code code = answer.status().code();
    // What is refused now may have got there by an earlier try.
    const bool is_refused = code == Code::kNoSpace || code == Code::kTooLarge;
    const bool is_unknown = code == Code::kLogUnreachable || (is_refused && may_have_happened);
    if (!is_unknown) return answer;
    may_have_happened = true;
    static_cast<void>(health_.note(Status(Code::kLogUnreachable)));
    if (!pause(deadline_ns)) {
      return Status(Code::kLogUnreachable, "the shared log does not answer (" +
                                               std::string(answer.status().message()) +
                                               "); a write may have happened, or still happen");
    }
  }
}

inline Result<std::string> ReplicaLog::database(const std::string& own) {
  database_ = own;
  if (!own.empty()) return own;  // whether the log is its own shows when something is taken from it
  const std::string head = encode_head({0, 0, 0, new_database_id()});
  for (;;) {
    auto found = insist([&] { return store_.look(0); });
    KYRO_TRY(found);
    if (found->head) {
      auto decoded = decode_head(*found->head);
      KYRO_TRY(decoded);
      database_ = decoded->database;
      return database_;
    }
    // Whoever else begins it at the same time: there will be one head, seen in the next turn.
    auto made = insist([&] { return store_.create_head(head); });
    KYRO_TRY(made);
  }
}

inline Result<std::optional<SharedGroup>> ReplicaLog::append(uint64_t first_offset,
                                                             uint32_t records,
                                                             std::string_view body) {
  KYRO_TRY(health_.check());
  if (!knows_chain(first_offset)) {  // after a start
    auto there = confirm(first_offset);
    if (!there.ok() || *there) return there;
  }
  LogHead head{first_offset, chain_->position, chain_->crc, database_};
  const std::string before = encode_head(head);
  const std::string entry = encode_entry(&head, records, random_u64(), body);
  const std::string after = encode_head(head);
  health_.note_append(head.end);
  const uint64_t began_ns = monotonic_ns();
  auto found = insist([&] { return store_.create(first_offset, entry, before, after); });
  if (!found.ok()) return health_.note(found.status());
  if (!*found || (*found)->entry == entry) {
    static_cast<void>(health_.note(Status()));
    adopt({head.end, head.position, head.crc});
    append_ns_.observe(monotonic_ns() - began_ns);
    last_writer_.store(Writer::kOwn, std::memory_order_relaxed);
    return std::optional<SharedGroup>();
  }
  conflicts_.fetch_add(1, std::memory_order_relaxed);
  auto theirs = take(std::move(**found), first_offset);
  // Refused, and yet nothing is there: then the head is not the one that this store has seen.
  if (theirs.ok() && !*theirs) return health_.note(broken(first_offset));
  return theirs;
}

inline Result<std::optional<SharedGroup>> ReplicaLog::confirm(uint64_t end) {
  KYRO_TRY(health_.check());
  auto found = insist([&] { return store_.look(end); });
  if (!found.ok()) return health_.note(found.status());
  return take(std::move(*found), end);
}

inline Result<std::optional<SharedGroup>> ReplicaLog::take(EntryStore::Found found,
                                                           uint64_t offset) {
  theirs_ = std::move(found);
  LogHead head;
  auto group = judge(theirs_, offset, database_, &head);
  if (group.ok() && !*group) {
    const Chain there{offset, head.position, head.crc};
    if (knows_chain(offset) && *chain_ != there) return health_.note(broken(offset));
    adopt(there);
  }
  if (Status noted = health_.note(group.status()); !noted.ok()) return noted;
  return group;
}

inline Status ReplicaLog::follow(const SharedGroup& group) {
  KYRO_TRY(health_.check());
  const Chain before{group.first_offset, group.position, group.previous_crc};
  if (knows_chain(group.first_offset) && *chain_ != before) {
    return health_.note(broken(group.first_offset));
  }
  adopt({group.end_offset(), group.end_position, group.crc});
  last_writer_.store(Writer::kOther, std::memory_order_relaxed);
  return Status();
}

}  // namespace kyro
