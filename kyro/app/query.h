// Parameters of a query string, and the grammar of keys, offsets and tags in requests.
//
// Names and values are taken as sent, without percent-decoding: every value the API knows is plain
// ASCII. Empty parts ("?&&key=1&") are skipped, unknown parameters ignored, a known one given twice
// refused.
//
// Thread rule: pure functions over views.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/decimal.h"
#include "kyro/base/status.h"

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

// Whether an If-None-Match field (RFC 9110 13.1.2: a list of tags, weak ones too, or "*") names the
// version `offset`. Comparison is weak. Nothing if the field is malformed.
[[nodiscard]] inline std::optional<bool> none_match_names(std::string_view field, uint64_t offset) {
  if (field == "*") return true;
  std::string wanted;
  append_decimal(wanted, offset);
  bool named = false;
  bool any = false;
  while (!field.empty()) {
    if (field[0] == ' ' || field[0] == '\t' || field[0] == ',') {
      field.remove_prefix(1);
      continue;
    }
    if (field.starts_with("W/")) field.remove_prefix(2);
    if (field.empty() || field[0] != '"') return std::nullopt;
    const size_t close = field.find('"', 1);
    if (close == field.npos) return std::nullopt;
    named = named || field.substr(1, close - 1) == wanted;
    any = true;
    field.remove_prefix(close + 1);
    const size_t next = field.find_first_not_of(" \t");
    if (next != field.npos && field[next] != ',') return std::nullopt;
  }
  return any ? std::optional<bool>(named) : std::nullopt;
}

}  // namespace kyro
