// What GET /ready says: {"status":"ready"}, or why not.
#pragma once

#include <optional>
#include <string>

#include "kyro/base/text/decimal.h"
#include "kyro/base/text/json_text.h"
#include "kyro/storage/engine.h"

namespace kyro {

// The body that says why an engine (null while its log is replayed) cannot serve; nothing if it
// can: {"status":"recovering"|"read_only"|"stalled", …}.
[[nodiscard]] inline std::optional<std::string> why_not_ready(Engine* engine, uint64_t replayed) {
  std::string body = "{\"status\":\"";
  if (engine == nullptr) {
    body += "recovering\",\"replayed\":";
    append_decimal(body, replayed);
  } else if (engine->latch().is_set()) {
    body += "read_only\",\"reason\":";
    append_json_string(body, engine->latch().reason());
  } else if (const Stalls stalls = engine->stalls(); const Stall* stall = find_stall(stalls)) {
    body.append("stalled\",\"role\":\"").append(stall->role).append("\",\"seconds\":");
    append_decimal(body, stall->stalled_ns / 1'000'000'000);
  } else {
    return std::nullopt;
  }
  body += '}';
  return body;
}

// The answer of /ready, with what an operator should know of the disk.
[[nodiscard]] inline std::string ready_body(const Engine& engine) {
  std::string body = "{\"status\":\"ready\"";
  const auto warnings = engine.disk_warnings();
  for (size_t i = 0; i < warnings.size(); ++i) {
    body.append(i == 0 ? ",\"warnings\":[\"" : ",\"").append(warnings[i]).append("\"");
  }
  return body.append(warnings.empty() ? "}" : "]}");
}

}  // namespace kyro
