// GET /v1/kv/K?wait_secs=S, and the call Wait: a read that answers when the key changes, or after a
// time, for clients that take no streams.
//
// With If-None-Match it waits for another version than those named (or for none: 404), without it
// for the key to be there. After S seconds it answers as it would have at once: 304, or 404. It
// ends before that when the server drains, and with 401 when its token is withdrawn.
//
// Waiting reads lie in a table by key. The committer wakes those of a key that it has written, once
// that is visible (key_listener.h); a sweep, every second, those whose time has come: their own, or
// that of the record they know. A read that was woken looks again, and waits on if nothing has
// changed for it.
//
// Invariant: a read is in the table or posted, never both; whoever takes it out posts it.
//
// Bounds: kMax reads, kSecondsMax each. One whose client has gone, or has shut down its side of the
// connection, is over at once, as one whose time is.
//
// Thread rule: any thread; a lock for each shard, held for one look. Ownership: a KeyWait is made
// with new and disposes of itself in run(); the table outlives engine and server.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/counters.h"
#include "kyro/base/epoch.h"
#include "kyro/base/fence.h"
#include "kyro/base/mutex.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/access.h"
#include "kyro/server/reply/record_body.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/tags.h"
#include "kyro/storage/engine.h"

namespace kyro {

struct WaitStats {
  Gauge waiting;
  Counter refused;
};

class WaitingReads final : public KeyListener {
 public:
  // The statistics outlive it.
  explicit WaitingReads(WaitStats& stats) : stats_(stats) {}

  static constexpr uint64_t kMax = 10'000;
  static constexpr uint64_t kSecondsMax = 300;

  // What waits: a task that is posted when there may be news for it.
  class Read : public WaitingTask {
   public:
    uint64_t key = 0;
    uint64_t wake_ns = 0;  // monotonic
    Permit permit;
  };

  // False if there are too many, or none may wait any more. The read has been deferred.
  [[nodiscard]] bool add(Read* read) {
    if (count_.fetch_add(1) >= kMax || is_ended_.load()) {
      count_.fetch_sub(1);
      return false;
    }
    stats_.waiting.add(1);
    Shard& shard = shard_of(read->key);
    {
      const MutexLock lock(shard.mutex);
      shard.reads.emplace(read->key, read);
    }
    full_fence();
    return true;
  }
  // Takes it out again, for the caller to post; false if somebody else has.
  [[nodiscard]] bool remove(Read* read) {
    Shard& shard = shard_of(read->key);
    const MutexLock lock(shard.mutex);
    const auto [begin, end] = shard.reads.equal_range(read->key);
    const auto found =
        std::find_if(begin, end, [read](const auto& entry) { return entry.second == read; });
    if (found == end) return false;
    shard.reads.erase(found);
    leave(1);
    return true;
  }

  [[nodiscard]] bool is_listening() const override { return count_.load() != 0; }
  void on_write(uint64_t key) override {
    Shard& shard = shard_of(key);
    std::vector<Read*> woken;
    {
      const MutexLock lock(shard.mutex);
      const auto [begin, end] = shard.reads.equal_range(key);
      for (auto at = begin; at != end; ++at) woken.push_back(at->second);
      shard.reads.erase(begin, end);
    }
    post(woken);
  }

  // Wakes those whose time has come, and those whose token is gone.
  void sweep(uint64_t now_ns = monotonic_ns()) {
    const EpochPin pin;
    wake_if(
        [now_ns](const Read& read) { return read.wake_ns <= now_ns || !read.permit.is_valid(); });
  }
  // Wakes all, and lets none wait any more.
  void end() {
    is_ended_.store(true);
    wake_if([](const Read&) { return true; });
  }
  [[nodiscard]] bool is_ended() const { return is_ended_.load(); }

  void count_refused() { stats_.refused.add(); }

 private:
  static constexpr size_t kShards = 64;
  struct alignas(64) Shard {
    Mutex mutex;
    std::unordered_multimap<uint64_t, Read*> reads KYRO_GUARDED_BY(mutex);  // by key
  };

  [[nodiscard]] Shard& shard_of(uint64_t key) { return shards_[(key * 0x9E3779B97F4A7C15u) >> 58]; }

  void leave(size_t reads) {
    count_.fetch_sub(reads);
    stats_.waiting.sub(reads);
  }
  void post(const std::vector<Read*>& reads) {
    leave(reads.size());
    for (Read* read : reads) read->post();
  }
  template <class Wanted>
  void wake_if(const Wanted& wanted) {
    if (!is_listening()) return;
    for (Shard& shard : shards_) {
      std::vector<Read*> woken;
      {
        const MutexLock lock(shard.mutex);
        std::erase_if(shard.reads, [&](const auto& entry) {
          if (!wanted(*entry.second)) return false;
          woken.push_back(entry.second);
          return true;
        });
      }
      post(woken);
    }
  }

  WaitStats& stats_;
  std::atomic<uint64_t> count_{0};  // in the table, or about to be
  std::atomic<bool> is_ended_{false};
  std::array<Shard, kShards> shards_;
};

class KeyWait final : public WaitingReads::Read {
 public:
  // REQUIRES: an EpochPin, as for every call on a reactor.
  static void start(Engine& engine, Exchange& x, uint64_t key, uint64_t wait_secs,
                    WaitingReads& waiting, const StreamRules& rules) {
    auto tags = read_key_tags(x.request());
    if (!tags.ok()) return x.respond_error(400, "bad_tag", tags.status().message());
    if (tags->match.is_present) {
      return x.respond_error(400, "invalid", "a read that waits takes If-None-Match only");
    }
    start(
        std::unique_ptr<KeyWait>(new KeyWait(engine, waiting, rules, std::move(tags->none_match))),
        x, key, wait_secs, rules);
  }

  // Of the version that the client knows, if it does.
  static void start_call(Engine& engine, Exchange& x, uint64_t key, std::optional<uint64_t> known,
                         uint64_t wait_secs, WaitingReads& waiting, const StreamRules& rules) {
    TagList tags;
    tags.is_present = known.has_value();
    if (known) tags.strong.push_back(*known);
    start(std::unique_ptr<KeyWait>(new KeyWait(engine, waiting, rules, std::move(tags))), x, key,
          wait_secs, rules);
  }

  void run(Exchange* x) override {
    std::unique_ptr<KeyWait> self(this);
    if (x == nullptr) return;
    if (!permit.is_valid()) {
      x->add_header("WWW-Authenticate", "Bearer realm=\"kyrodb\"");
      return respond_refusal(*x, 401, "unauthorized", kWithdrawn);
    }
    if (is_refused_) {
      waiting_.count_refused();
      return respond_refusal(*x, 503, "overloaded", "too many reads are waiting");
    }
    const bool is_last = monotonic_ns() >= end_ns_ || waiting_.is_ended();
    if (!answer(*x, is_last)) self.release()->wait(*x);
  }

  void on_abandoned() override {
    end_ns_ = 0;
    if (waiting_.remove(this)) post();
  }

 private:
  static constexpr uint64_t kSecondNs = 1'000'000'000;

  KeyWait(Engine& engine, WaitingReads& waiting, const StreamRules& rules, TagList known)
      : engine_(engine), waiting_(waiting), moments_(rules.moments), known_(std::move(known)) {}

  static void start(std::unique_ptr<KeyWait> self, Exchange& x, uint64_t key, uint64_t wait_secs,
                    const StreamRules& rules) {
    self->key = key;
    self->permit = rules.access.permit(x.request());
    self->end_ns_ = monotonic_ns() + wait_secs * kSecondNs;
    if (!self->answer(x, wait_secs == 0)) self.release()->wait(x);
  }

  // Looks at the key. Whether there is something to say: a failure, another version than those the
  // client knows, or that the one it knows is gone.
  bool has_news(Lookup* found, Status* status) {
    *status = engine_.lookup(key, found);
    if (status->ok()) return !known_.names(found->offset());
    return status->code() != Code::kNotFound || known_.is_present;
  }

  // False if there is nothing to say yet, unless it `must` be said now.
  bool answer(Exchange& x, bool must) {
    Lookup found;
    Status status;
    const bool is_news = has_news(&found, &status);
    wake_ns = end_ns_;
    if (status.ok() && found.expiry_secs() != 0) {
      const uint64_t now_secs = engine_.now_secs();
      const uint64_t left_secs =
          found.expiry_secs() > now_secs ? found.expiry_secs() - now_secs : 0;
      if (left_secs < kExpiryWatchedSecs) {
        wake_ns = std::min(wake_ns, monotonic_ns() + left_secs * kSecondNs);
      }
    }
    if (!is_news && !must) return false;
    if (!status.ok()) return respond_status(x, status), true;
    if (rpc::is_call(x)) return respond_call(x, found, is_news), true;
    if (found.expiry_secs() != 0) add_expires(x, found.expiry_secs(), engine_.now_secs());
    add_etag(x, found.offset());
    is_news ? respond_bytes(x, found, engine_, moments_) : x.respond(304, {}, {});
    return true;
  }

  void respond_call(Exchange& x, const Lookup& found, bool is_news) {
    if (is_news) return respond_get_message(x, found, false, engine_, moments_);
    rpc::ValueMessage unchanged = rpc::unchanged_response(found.offset());
    rpc::respond_message(x, unchanged.framed(rpc::kGetValue, 0));
  }

  // Waits, unless something has happened since it was looked.
  void wait(Exchange& x) {
    x.defer(this);
    if (!waiting_.add(this)) {
      is_refused_ = !waiting_.is_ended();
      return post();
    }
    Lookup found;  // run() comes later, on this thread
    Status status;
    const bool is_news = has_news(&found, &status);
    if (is_news && waiting_.remove(this)) post();
  }

  // What expires later than any read waits.
  static constexpr uint64_t kExpiryWatchedSecs = WaitingReads::kSecondsMax + 1;

  Engine& engine_;
  WaitingReads& waiting_;
  HeldMoments& moments_;
  const TagList known_;
  uint64_t end_ns_ = 0;  // monotonic
  bool is_refused_ = false;
};

}  // namespace kyro
