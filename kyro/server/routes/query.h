// Parameters of a query string.
//
// Names and values are taken as sent, without percent-decoding: every value the API knows is plain
// ASCII. Empty parts ("?&&key=1&") are skipped; one that is given twice is
// refused. What a route does not take is refused by strict.h.
//
// Thread rule: pure functions over views.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/limits.h"
#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"

namespace kyro {

// The value of parameter `name`; nothing if it is absent; kInvalid if it is there twice.
[[nodiscard]] inline Result<std::optional<std::string_view>> find_param(std::string_view query,
                                                                        std::string_view name) {
  std::optional<std::string_view> found;
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view part = query.substr(0, end);
    query = end == query.npos ? std::string_view() : query.substr(end + 1);
    const size_t equals = part.find('=');
    if (part.substr(0, equals) != name) continue;
    if (found) {
      return Status(Code::kInvalid,
                    "parameter \"" + std::string(name) + "\" is given more than once");
    }
    found = equals == part.npos ? std::string_view() : part.substr(equals + 1);
  }
  return found;
}

// An unsigned decimal parameter; nothing if it is absent; kInvalid if it is anything else.
[[nodiscard]] inline Result<std::optional<uint64_t>> find_number(std::string_view query,
                                                                 std::string_view name) {
  auto text = find_param(query, name);
  KYRO_TRY(text);
  if (!text->has_value()) return std::optional<uint64_t>();
  const auto number = parse_u64(**text);
  if (!number) {
    return Status(Code::kInvalid, "parameter \"" + std::string(name) +
                                      "\" must be a decimal number from 0 to 2^64-1");
  }
  return number;
}

// Parameter "limit"; nothing if it is absent.
[[nodiscard]] inline Result<std::optional<uint64_t>> find_limit(std::string_view query) {
  auto limit = find_number(query, "limit");
  if (limit.ok() && *limit == uint64_t{0}) {
    return Status(Code::kInvalid, "parameter \"limit\" must be at least 1");
  }
  return limit;
}

// How long a client wants a record to live: for so many seconds, or until a moment of Unix time;
// for ever without both.
struct Lifetime {
  std::optional<uint64_t> ttl_secs;
  std::optional<uint64_t> expires_secs;
};

// The lifetime that parameter "ttl" (or "ttl_secs", as JSON has it) or "expires" asks for.
[[nodiscard]] inline Result<Lifetime> find_lifetime(std::string_view query) {
  const auto expires = find_number(query, "expires");
  KYRO_TRY(expires);
  std::optional<std::string_view> found;
  for (const std::string_view name : {"ttl", "ttl_secs"}) {
    auto text = find_param(query, name);
    KYRO_TRY(text);
    if (found && text->has_value()) {
      return Status(Code::kInvalid, "parameters \"ttl\" and \"ttl_secs\" are the same thing");
    }
    if (text->has_value()) found = *text;
  }
  if (*expires && (**expires == 0 || **expires > kExpirySecsMax)) {
    return Status(Code::kInvalid,
                  "parameter \"expires\" must be a moment of Unix time in whole seconds");
  }
  if (!found) return Lifetime{{}, *expires};
  if (*expires) {
    return Status(Code::kInvalid, "parameters \"ttl\" and \"expires\" exclude each other");
  }
  const auto seconds = parse_u64(*found);
  if (!seconds || *seconds == 0 || *seconds > kTtlSecsMax) {
    return Status(
        Code::kInvalid,
        "parameter \"ttl\" must be a positive whole number of seconds, at most 1000 years");
  }
  return Lifetime{seconds, {}};
}

// Whether answers shall carry keys as strings: keys=string.
[[nodiscard]] inline Result<bool> find_string_keys(std::string_view query) {
  auto text = find_param(query, "keys");
  KYRO_TRY(text);
  if (!text->has_value() || **text == "number") return false;
  if (**text == "string") return true;
  return Status(Code::kInvalid, "parameter \"keys\" must be string or number");
}

// A parameter that is "1" or "0" (also "true" or "false"); false if it is absent.
[[nodiscard]] inline Result<bool> find_switch(std::string_view query, std::string_view name) {
  auto text = find_param(query, name);
  KYRO_TRY(text);
  if (!text->has_value() || **text == "0" || **text == "false") return false;
  if (**text == "1" || **text == "true") return true;
  return Status(Code::kInvalid, "parameter \"" + std::string(name) + "\" must be 0 or 1");
}

}  // namespace kyro
