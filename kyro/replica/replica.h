// A server's part in a shared log, whole: its ways to etcd, the end of the log that its committer
// writes to, the thread that applies what others have written, and one that looks where the log
// ends when somebody asks.
//
//   Replica replica(config);
//   options.shared_log = replica.shared_log();      // then the engine is opened with these options
//   replica.start(engine, listener);
//   … replica.hurry(); … replica.stop();            // then the engine is closed
//
// Order: the log comes before the engine, which takes its database id from there if it is new, and
// outlives it, since its committer may still write while it closes. The follower lives between
// start() and stop(), within the engine's life. From hurry() on nothing is tried a second time, so
// that closing takes no longer than one question to each member.
//
// Of committer, follower and whoever asks none must hold up another, so each has connections of its
// own.
//
// Thread rule: start(), hurry() and stop() by the owner; what is const from any thread. Ownership:
// owns everything but the engine, which outlives the follower's life, from start() to stop(); what
// is const but state() and its like is not asked after that.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kyro/replica/etcd_store.h"
#include "kyro/replica/follower.h"
#include "kyro/replica/head_looks.h"
#include "kyro/replica/log_health.h"
#include "kyro/replica/log_trimmer.h"
#include "kyro/replica/log_url.h"
#include "kyro/replica/replica_log.h"
#include "kyro/storage/engine.h"

namespace kyro {

class Replica {
 public:
  struct Config {
    LogUrl url;
    std::string user = {};  // empty: none
    std::string password = {};
    uint64_t timeout_ms = 5000;  // of an append with all its tries
    LogTrimmer::Limits limits = {};
  };

  explicit Replica(const Config& config)
      : name_(config.url.name),
        limits_(config.limits),
        committers_way_(options_of(config)),
        followers_way_(options_of(config)),
        looks_way_(options_of(config)),
        trimmers_way_(options_of(config)),
        log_(committers_way_, health_, {.timeout_ms = config.timeout_ms}) {}
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  ~Replica() { stop(); }

  // For Options::shared_log.
  [[nodiscard]] SharedLog* shared_log() { return &log_; }

  // `listener` is told what ask_for_head() finds. kBusy where the system gives no threads.
  [[nodiscard]] Status start(Engine& engine, HeadListener& listener) {
    looks_ = std::make_unique<HeadLooks>(engine, looks_way_, listener);
    KYRO_TRY(looks_->start());
    owned_ = std::make_unique<LogFollower>(engine, followers_way_, health_, LogFollower::Times{});
    follower_.store(owned_.get(), std::memory_order_release);
    KYRO_TRY(owned_->start());
    trimmer_ = std::make_unique<LogTrimmer>(engine, trimmers_way_, health_, log_.space(), limits_);
    return trimmer_->start();
  }
  // The end is near: whoever waits for the log hears soon that it does not answer.
  void hurry() { log_.stop(); }
  // Ends the threads, and what they ask of the engine.
  void stop() {
    hurry();
    if (looks_ != nullptr) looks_->stop();
    if (owned_ != nullptr) owned_->stop();
    if (trimmer_ != nullptr) trimmer_->stop();
  }

  // Has somebody look where the log ends, and the listener told. REQUIRES: it was started.
  void ask_for_head() const { looks_->ask(); }

  // While it is kCatchingUp it has not had, since it was started, all that was in the log then;
  // kUnreachable: the log does not answer, so nobody knows; kStopped: for good, by health().
  enum class State : uint8_t { kCatchingUp, kFollowing, kUnreachable, kStopped };
  [[nodiscard]] State state() const {
    if (health_.is_stopped()) return State::kStopped;
    if (!health_.is_up()) return State::kUnreachable;
    const LogFollower* const follower = this->follower();
    const bool has_all = follower != nullptr && follower->has_caught_up();
    return has_all ? State::kFollowing : State::kCatchingUp;
  }
  // In one word; of a stop the reason's.
  [[nodiscard]] std::string_view state_word() const {
    switch (state()) {
      case State::kCatchingUp:
        return "catching_up";
      case State::kFollowing:
        return "following";
      case State::kUnreachable:
        return "unreachable";
      case State::kStopped:
        break;
    }
    return health_.reason_word();
  }
  [[nodiscard]] const LogHealth& health() const { return health_; }
  [[nodiscard]] const ReplicaLog& log() const { return log_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // The member that was asked last for what others write, or will be next.
  [[nodiscard]] const std::string& endpoint() const { return followers_way_.endpoint(); }
  // Where the log ended when it was last looked at, and what of it is not here. All 0 before
  // start().
  [[nodiscard]] uint64_t head_offset() const {
    return follower() != nullptr ? follower()->head_offset() : 0;
  }
  [[nodiscard]] uint64_t lag_records() const {
    return follower() != nullptr ? follower()->lag_records() : 0;
  }
  [[nodiscard]] uint64_t lag_ns() const { return follower() != nullptr ? follower()->lag_ns() : 0; }

 private:
  // One question to one member; an append asks again until its own time is up.
  static constexpr uint64_t kCallMsMax = 2000;

  [[nodiscard]] const LogFollower* follower() const {
    return follower_.load(std::memory_order_acquire);
  }
  static EtcdOptions options_of(const Config& config) {
    EtcdOptions options;
    options.endpoints = config.url.members;
    options.name = config.url.name;
    options.user = config.user;
    options.password = config.password;
    options.timeout_ms = static_cast<uint32_t>(std::min(config.timeout_ms, kCallMsMax));
    return options;
  }

  const std::string name_;
  const LogTrimmer::Limits limits_;
  LogHealth health_;
  EtcdStore committers_way_;
  EtcdStore followers_way_;
  EtcdStore looks_way_;
  EtcdStore trimmers_way_;
  ReplicaLog log_;
  std::unique_ptr<HeadLooks> looks_;
  std::unique_ptr<LogFollower> owned_;
  std::atomic<const LogFollower*> follower_{nullptr};  // the same, for other threads
  std::unique_ptr<LogTrimmer> trimmer_;
};

}  // namespace kyro
