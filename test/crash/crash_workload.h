// The workload of the crash tests: seeded operations on an engine whose file system may lose its
// power at any call, the model of what they should have made, and what was acknowledged.
//
// Thread rule: one thread. A seed repeats the operations, but not how the engine's threads take
// turns.
#pragma once

#include <catch2/catch.hpp>
#include <random>

#include "test/support/engine_harness.h"

namespace kyro::test {

// A put with an expiry long gone leaves nothing to read; with one far ahead it is like any other.
inline constexpr uint64_t kLongGone = 1;
inline constexpr uint64_t kFarAhead = kExpirySecsMax;

// A key's new value, or its removal; several of one operation commit together.
struct Change {
  uint64_t key = 0;
  bool is_put = true;
  std::string value;
  uint64_t expiry_secs = 0;
};
struct Operation {
  std::vector<Change> changes;
  std::optional<Condition> condition;
};

// What the store holds after a number of operations, and which offset comes next.
struct WorkloadModel {
  Contents contents;
  uint64_t next_offset = 0;

  void apply(const Operation& operation) {
    if (operation.condition) {
      const auto found = contents.find(operation.condition->key);
      const bool is_there = found != contents.end();
      // Only whether it is there is asked for, so the offset does not matter.
      if (!operation.condition->judge(is_there ? std::optional<uint64_t>(0) : std::nullopt).ok()) {
        return;
      }
    }
    for (const Change& change : operation.changes) {
      if (change.is_put && change.expiry_secs != kLongGone) {
        contents[change.key] = {change.value, next_offset++};
      } else {
        contents.erase(change.key);
        ++next_offset;
      }
    }
  }
};

class PendingOperation final : public WriteRequest {
 public:
  PendingOperation(Engine& engine, const Operation& operation) : engine_(engine) {
    for (const Change& change : operation.changes) {
      list_.push_back(change.is_put ? Mutation::put(change.key, change.value, change.expiry_secs)
                                    : Mutation::remove(change.key));
    }
    mutations = list_;
    if (operation.condition) {
      condition_ = *operation.condition;
      conditions = {&condition_, 1};
    }
  }
  void start() {
    if (!conditions.empty()) {
      if (Status resolved = engine_.resolve_base(&condition_); !resolved.ok()) {
        status = resolved;
        is_stale = false;
        return done();
      }
    }
    engine_.submit(this);
  }
  void done() override {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
    changed_.notify_all();
  }
  // Waits for the outcome; one that a flush has overtaken starts anew.
  const Status& wait() {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return is_done_; });
        if (!is_stale) return status;
        is_done_ = false;
      }
      start();
    }
  }

 private:
  Engine& engine_;
  std::vector<Mutation> list_;
  Condition condition_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
};

// A run of a workload on a file system whose power goes at some moment.
class Workload {
 public:
  Workload(FsyncPolicy policy, uint64_t seed) : random_(seed), has_large_values_(seed % 2 == 0) {
    options_ = small_options(fs_);
    options_.fsync = policy;
    options_.fsync_interval_ms = 1;
    options_.merge_fan_in = 2;
    options_.wal_segments_max = 1 + random_() % 3;
    options_.wal_segment_bytes = 4096 << (random_() % 2);
    options_.reserve_bytes = random_() % 2 == 0 ? 0 : 16 * kKiB;
    options_.wal_bytes_max = random_() % 4 == 0 ? 10 * kKiB : 0;
    options_.wal_fill_after = random_() % 4;
    options_.scrub_interval_secs = 0;
  }

  void run(size_t steps) {
    for (size_t step = 0; step < steps && !fs_.power_is_cut(); ++step) {
      if (engine_ == nullptr) {
        auto opened = Engine::open(options_);
        if (!opened.ok()) {
          INFO(opened.status().to_string());
          REQUIRE(fs_.power_is_cut());
          return;
        }
        engine_ = std::move(*opened);
      }
      act();
    }
    close();
  }

  FaultFs& fs() { return fs_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] const std::vector<Operation>& operations() const { return operations_; }
  // How many operations were acknowledged, and how many of them must survive a power cut.
  [[nodiscard]] size_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] size_t durable() const {
    return options_.fsync == FsyncPolicy::kAlways ? acknowledged_ : durable_;
  }
  // How many operations a restart must find: a killed process has lost nothing, a dead disk what
  // was not synced.
  [[nodiscard]] size_t must_have(Loss loss) const {
    return loss == Loss::kNothing ? acknowledged() : durable();
  }
  // A backup that was asked for, and whether it was made.
  struct Backup {
    std::string dir;
    size_t acknowledged = 0;  // operations, before
    bool is_made = false;
  };
  [[nodiscard]] const Backup& backup() const { return backup_; }
  // Zeros written ahead of the log.
  [[nodiscard]] uint64_t filled_bytes() const { return filled_bytes_; }
  // Behind every offset a client has seen.
  [[nodiscard]] uint64_t offsets_seen() const { return offsets_seen_; }

 private:
  void close() {
    if (engine_ != nullptr) filled_bytes_ += engine_->stats().wal_filled_bytes.value();
    engine_.reset();
    if (!fs_.power_is_cut()) durable_ = acknowledged_;
  }

  void act() {
    const uint64_t dice = random_() % 100;
    if (dice < 86) return write();
    const size_t covered = acknowledged_;
    if (dice < 93) {
      if (engine_->snapshot().ok()) durable_ = covered;
    } else if (dice == 93 && backup_.dir.empty()) {
      backup_.dir = "backup";
      backup_.acknowledged = covered;
      const Status made = engine_->backup(backup_.dir);
      INFO(made.to_string());
      REQUIRE((made.ok() || fs_.power_is_cut()));
      backup_.is_made = made.ok();
    } else if (dice < 96) {
      if (engine_->compact().ok()) durable_ = covered;
    } else {
      close();
    }
  }

  void write() {
    std::vector<std::unique_ptr<PendingOperation>> flying;
    const size_t first = operations_.size();
    const size_t count = 1 + random_() % 3;
    for (size_t i = 0; i < count; ++i) operations_.push_back(random_operation());
    for (size_t i = 0; i < count; ++i) {
      flying.push_back(std::make_unique<PendingOperation>(*engine_, operations_[first + i]));
      flying.back()->start();
      // A stale write is submitted again, after what came after it: so nothing comes after it.
      if (!flying.back()->conditions.empty()) flying.back()->wait();
    }
    for (size_t i = 0; i < count; ++i) {
      const Status& status = flying[i]->wait();
      const bool is_ok = status.ok() || status.code() == Code::kNotFound ||
                         status.code() == Code::kPreconditionFailed;
      INFO(status.to_string());
      if (!is_ok) {
        REQUIRE(fs_.power_is_cut());
        continue;
      }
      // What is acknowledged is a prefix; a condition after it may still fail.
      if (acknowledged_ != first + i) {
        REQUIRE(!status.ok());
        continue;
      }
      ++acknowledged_;
      if (status.ok()) offsets_seen_ = std::max(offsets_seen_, flying[i]->offset + 1);
    }
  }

  Operation random_operation() {
    Operation operation;
    const uint64_t dice = random_() % 10;
    const size_t count = dice == 0 ? 2 + random_() % 5 : 1;
    for (size_t i = 0; i < count; ++i) {
      Change change;
      change.key = random_() % 24 * 0x0A00000000000001u;
      change.is_put = dice == 0 ? random_() % 3 != 0 : dice < 8;
      if (change.is_put) {
        const uint64_t padding = has_large_values_ && random_() % 3 == 0 ? 12'000 : 500;
        change.value = std::to_string(operations_.size()) + "." + std::to_string(i) + ":" +
                       std::string(random_() % padding, 'v');
        const uint64_t lifetime = random_() % 16;
        if (lifetime < 2) change.expiry_secs = lifetime == 0 ? kLongGone : kFarAhead;
      }
      operation.changes.push_back(std::move(change));
    }
    const uint64_t key = operation.changes[random_() % count].key;
    switch (dice < 8 ? random_() % 8 : 9) {
      case 0:
        operation.condition = Condition::absent(key);
        break;
      case 1:
        operation.condition = Condition::exists(key);
        break;
      case 9:  // a removal
        operation.condition = {.key = key, .must_be_found = true};
        break;
    }
    return operation;
  }

  FaultFs fs_;
  Options options_;
  std::mt19937_64 random_;
  const bool has_large_values_;  // so that deltas fill up, also while a log is replayed
  std::unique_ptr<Engine> engine_;
  std::vector<Operation> operations_;
  size_t acknowledged_ = 0;
  size_t durable_ = 0;
  uint64_t offsets_seen_ = 0;
  uint64_t filled_bytes_ = 0;
  Backup backup_;
};

}  // namespace kyro::test
