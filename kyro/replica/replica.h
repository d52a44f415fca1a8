// A server's part in a shared log, whole: its ways to etcd, the end of the log that its committer
// writes to, and the thread that applies what others have written.
//
//   Replica replica(config);
//   options.shared_log = replica.shared_log();      // then the engine is opened with these options
//   replica.start(engine);
//   … replica.hurry(); … replica.stop();            // then the engine is closed
//
// Order: the log comes before the engine, which takes its database id from there if it is new, and
// outlives it, since its committer may still write while it closes. The follower lives between
// start() and stop(), within the engine's life. From hurry() on nothing is tried a second time, so
// that closing takes no longer than one question to each member.
//
// A committer that waits for the log must not hold up the follower, nor the other way round, so
// each has connections of its own.
//
// Thread rule: start(), hurry() and stop() by the owner; what is const from any thread. Ownership:
// owns everything but the engine.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/replica/etcd_store.h"
#include "kyro/replica/follower.h"
#include "kyro/replica/log_health.h"
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
  };

  explicit Replica(const Config& config)
      : committers_way_(options_of(config)),
        followers_way_(options_of(config)),
        log_(committers_way_, health_, {.timeout_ms = config.timeout_ms}) {}
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  ~Replica() { stop(); }

  // For Options::shared_log.
  [[nodiscard]] SharedLog* shared_log() { return &log_; }

  // kBusy where the system gives no thread.
  [[nodiscard]] Status start(Engine& engine) {
    follower_.emplace(engine, followers_way_, health_, LogFollower::Times{});
    return follower_->start();
  }
  // The end is near: whoever waits for the log hears soon that it does not answer.
  void hurry() { log_.stop(); }
  // Ends the thread, and what it asks of the engine.
  void stop() {
    hurry();
    if (follower_) follower_->stop();
  }

  [[nodiscard]] const LogHealth& health() const { return health_; }

 private:
  // One question to one member; an append asks again until its own time is up.
  static constexpr uint64_t kCallMsMax = 2000;

  static EtcdOptions options_of(const Config& config) {
    EtcdOptions options;
    options.endpoints = config.url.members;
    options.name = config.url.name;
    options.user = config.user;
    options.password = config.password;
    options.timeout_ms = static_cast<uint32_t>(std::min(config.timeout_ms, kCallMsMax));
    return options;
  }

  LogHealth health_;
  EtcdStore committers_way_;
  EtcdStore followers_way_;
  ReplicaLog log_;
  std::optional<LogFollower> follower_;
};

}  // namespace kyro
