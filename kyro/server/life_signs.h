// Whether the server does what it is there for, as its service manager and its log are told.
//
// Thread rule: one thread. Ownership: none; server, engine and manager outlive it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "kyro/base/log/log.h"
#include "kyro/net/server/http_server.h"
#include "kyro/replica/replica.h"
#include "kyro/server/notify.h"
#include "kyro/storage/engine.h"
#include "kyro/storage/fs/posix_file.h"

namespace kyro {

// Tells the manager once that the server is ready, which a replica is when it has caught up. Sees
// every second that no thread of the engine is stuck, and how a replica stands to its log, says in
// the log when that changes, and feeds the manager's watchdog as long as all is well and every
// reactor turns. A server
// of which that is not true is for the manager to end. Where storage has found no descriptor left,
// connections give theirs up that have held most for longest.
class LifeSigns {
 public:
  // `replica` is null where no log is shared; `addresses` is where the server listens.
  LifeSigns(HttpServer& server, Engine& engine, const Replica* replica, ServiceManager& manager,
            std::string addresses)
      : server_(server),
        engine_(engine),
        replica_(replica),
        manager_(manager),
        addresses_(std::move(addresses)) {
    look_at_log();
  }

  [[nodiscard]] uint64_t interval_ns() const {
    constexpr uint64_t kSecondNs = 1'000'000'000;
    if (!is_told_ready_) return kCatchUpNs;
    const uint64_t watchdog_ns = manager_.watchdog_interval_ns();
    return watchdog_ns == 0 ? kSecondNs : std::min(watchdog_ns, kSecondNs);
  }

  // After tell_reloading().
  void tell_reloaded() {
    if (is_told_ready_) manager_.tell("READY=1");
  }

  void look() {
    const Stalls stalls = engine_.stalls();
    const Stall* stall = find_stall(stalls);
    if (stall != nullptr && !is_stalled_) {
      log_event(LogLevel::kError, "stalled",
                {{"role", stall->role}, {"seconds", stall->stalled_ns / 1'000'000'000}});
    } else if (stall == nullptr && is_stalled_) {
      log_event(LogLevel::kInfo, "stall_over");
    }
    is_stalled_ = stall != nullptr;
    look_at_log();
    give_descriptors_back();
    if (manager_.watchdog_interval_ns() == 0 || is_stalled_ || !server_.has_turned()) return;
    manager_.tell("WATCHDOG=1");
  }

 private:
  static constexpr uint64_t kCatchUpNs = 100'000'000;  // between looks, meanwhile

  void look_at_log() {
    using State = Replica::State;
    const State state = replica_ != nullptr ? replica_->state() : State::kFollowing;
    if (replica_ != nullptr && seen_ != state && state != State::kStopped) {  // that says itself
      log_event(state == State::kUnreachable ? LogLevel::kWarn : LogLevel::kInfo, "shared_log",
                {{"state", replica_->state_word()},
                 {"lag", replica_->lag_records()},
                 {"endpoint", replica_->endpoint()}});
    }
    seen_ = state;
    if (is_told_ready_) return;
    if (state == State::kCatchingUp) {  // the manager waits so many more microseconds
      return manager_.tell("EXTEND_TIMEOUT_USEC=10000000\nSTATUS=catching up with the shared log");
    }
    is_told_ready_ = true;
    manager_.tell("READY=1\nSTATUS=serving " + addresses_);
  }
  void give_descriptors_back() {
    const uint64_t shortages = descriptor_shortages().load(std::memory_order_relaxed);
    if (shortages == std::exchange(shortages_seen_, shortages)) return;
    server_.shed_for_storage();
    log_event(LogLevel::kWarn, "descriptors_short", {{"advice", "raise the limit (ulimit -n)"}});
  }

  HttpServer& server_;
  Engine& engine_;
  const Replica* const replica_;
  ServiceManager& manager_;
  const std::string addresses_;
  std::optional<Replica::State> seen_;
  bool is_told_ready_ = false;
  uint64_t shortages_seen_ = 0;
  bool is_stalled_ = false;
};

}  // namespace kyro
