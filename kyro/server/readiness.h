// Whether the server can do what it is there for: what GET /ready and gRPC's health service say.
//
// A replica is ready where it may have to refuse writes since the shared log does not answer: a
// balancer must not take the last readers away. It is not while it catches up after its start, and
// not when it has left the log.
//
// Thread rule: any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/text/decimal.h"
#include "kyro/base/text/json_text.h"
#include "kyro/base/text/printable.h"
#include "kyro/replica/replica.h"
#include "kyro/storage/engine.h"

namespace kyro {

// Why it is not ready.
struct Unreadiness {
  std::string_view state;   // in one word
  std::string why = {};     // in a sentence
  std::string fields = {};  // more of that, for JSON: each ,"name":value
};

// `engine` is null while its log is replayed, of which `replayed` records are there; `replica`
// where no log is shared.
[[nodiscard]] inline std::optional<Unreadiness> why_not_ready(Engine* engine,
                                                              const Replica* replica,
                                                              uint64_t replayed = 0) {
  const auto field = [](const char* name, uint64_t value) {
    std::string out = ",\"" + std::string(name) + "\":";
    append_decimal(out, value);
    return out;
  };
  const auto reason = [](std::string_view text) {
    std::string out = ",\"reason\":";
    append_json_string(out, text);
    return out;
  };
  if (engine == nullptr) {
    return Unreadiness{"recovering", "the log is being replayed", field("replayed", replayed)};
  }
  if (engine->latch().is_set()) {
    const std::string why = printable(engine->latch().reason());
    return Unreadiness{"read_only", why, reason(why)};
  }
  const Stalls stalls = engine->stalls();
  if (const Stall* stall = find_stall(stalls)) {
    const uint64_t seconds = stall->stalled_ns / 1'000'000'000;
    return Unreadiness{
        "stalled",
        std::string(stall->role) + " has had work for " + std::to_string(seconds) +
            " s without coming forward with it",
        ",\"role\":\"" + std::string(stall->role) + "\"" + field("seconds", seconds)};
  }
  if (replica == nullptr) return std::nullopt;
  switch (replica->state()) {
    case Replica::State::kStopped: {
      const std::string why = printable(replica->health().reason());
      return Unreadiness{replica->health().reason_word(), why, reason(why)};
    }
    case Replica::State::kCatchingUp: {
      const uint64_t lag = replica->lag_records();
      return Unreadiness{"catching_up",
                         std::to_string(lag) + " records of the log are not here yet",
                         field("lag", lag)};
    }
    case Replica::State::kFollowing:
    case Replica::State::kUnreachable:
      break;
  }
  return std::nullopt;
}

// The answer of /ready then.
[[nodiscard]] inline std::string unready_body(const Unreadiness& why) {
  return "{\"status\":\"" + std::string(why.state) + "\"" + why.fields + "}";
}

// Why a replica that is ready refuses writes for now, in a sentence; empty if it does not.
[[nodiscard]] inline std::string_view why_no_writes(const Replica* replica) {
  if (replica == nullptr) return {};
  if (replica->state() == Replica::State::kUnreachable) {
    return "the shared log does not answer: writes are refused, reads go on";
  }
  if (replica->log().space().is_full()) {
    return "the shared log is full: writes are refused, reads go on";
  }
  return {};
}

// The answer of /ready, with what an operator should know of log and disk.
[[nodiscard]] inline std::string ready_body(const Engine& engine, const Replica* replica) {
  std::string body = "{\"status\":\"ready\"";
  if (!why_no_writes(replica).empty()) body += ",\"writes\":\"unavailable\"";
  const auto warnings = engine.disk_warnings();
  for (size_t i = 0; i < warnings.size(); ++i) {
    body.append(i == 0 ? ",\"warnings\":[\"" : ",\"").append(warnings[i]).append("\"");
  }
  return body.append(warnings.empty() ? "}" : "]}");
}

}  // namespace kyro
