// Whether the server does what it is there for, as its service manager and its log are told.
//
// Thread rule: one thread. Ownership: none; server, engine and manager outlive it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kyro/base/log/log.h"
#include "kyro/net/server/http_server.h"
#include "kyro/server/notify.h"
#include "kyro/storage/engine.h"
#include "kyro/storage/fs/posix_file.h"

namespace kyro {

// Sees every second that no thread of the engine is stuck, says in the log when that begins and
// ends, and feeds the manager's watchdog as long as all is well and every reactor turns. A server
// of which that is not true is for the manager to end. Where storage has found no descriptor left,
// idle connections give theirs up.
class LifeSigns {
 public:
  LifeSigns(HttpServer& server, Engine& engine, ServiceManager& manager)
      : server_(server), engine_(engine), manager_(manager) {}

  [[nodiscard]] uint64_t interval_ns() const {
    constexpr uint64_t kSecondNs = 1'000'000'000;
    const uint64_t watchdog_ns = manager_.watchdog_interval_ns();
    return watchdog_ns == 0 ? kSecondNs : std::min(watchdog_ns, kSecondNs);
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
    give_descriptors_back();
    if (manager_.watchdog_interval_ns() == 0 || is_stalled_ || !server_.has_turned()) return;
    manager_.tell("WATCHDOG=1");
  }

 private:
  void give_descriptors_back() {
    const uint64_t shortages = descriptor_shortages().load(std::memory_order_relaxed);
    if (shortages == std::exchange(shortages_seen_, shortages)) return;
    server_.shed_idle();
    log_event(LogLevel::kWarn, "descriptors_short", {{"advice", "raise the limit (ulimit -n)"}});
  }

  HttpServer& server_;
  Engine& engine_;
  ServiceManager& manager_;
  uint64_t shortages_seen_ = 0;
  bool is_stalled_ = false;
};

}  // namespace kyro
