// What the header fields of a request say of its body and of the form of the answer (RFC 9110 8.3,
// 8.4, 12.5.1, 14.5).
//
// Thread rule: pure functions over views.
#pragma once

#include <algorithm>
#include <string_view>

#include "kyro/base/text/ascii.h"
#include "kyro/net/http/request.h"

namespace kyro {

// The media type of the body without parameters; empty if there is none.
[[nodiscard]] inline std::string_view media_type(const HttpRequest& request) {
  const std::string_view field = request.header("content-type").value_or("");
  return trim_blanks(field.substr(0, field.find(';')));
}

// Content-Type stands several times and not always says the same: nobody knows which is meant.
[[nodiscard]] inline bool has_conflicting_types(const HttpRequest& request) {
  const auto first = request.header("content-type");
  bool differs = false;
  if (!first) return false;
  request.for_each_header([&](std::string_view field, std::string_view value) {
    differs = iequals(field, "content-type") && value != *first;
    return !differs;
  });
  return differs;
}

// The body is coded (gzip, …), which nobody here would decode.
[[nodiscard]] inline bool has_content_coding(const HttpRequest& request) {
  bool is_coded = false;
  request.for_each_header([&](std::string_view field, std::string_view value) {
    if (!iequals(field, "content-encoding")) return true;
    for_each_element(value, [&](std::string_view coding) {
      if (!coding.empty() && !iequals(coding, "identity")) is_coded = true;
    });
    return !is_coded;
  });
  return is_coded;
}

// Whether the parameters of an entry of Accept say q=0: "not acceptable".
[[nodiscard]] inline bool has_zero_weight(std::string_view parameters) {
  bool is_weighed = false;
  bool is_zero = false;
  const auto look = [&](std::string_view one) {
    if (is_weighed || !iequals(one.substr(0, 3), "q=0")) return;
    is_weighed = true;
    is_zero = one.find_first_not_of("0.", 2) == one.npos;
  };
  for_each_element(parameters, look, ';');
  return is_zero;
}

// Whether the client takes lines, without weighing what else it takes; the first entry that names
// them counts.
[[nodiscard]] inline bool accepts_ndjson(const HttpRequest& request) {
  bool is_named = false;
  bool accepts = false;
  for_each_element(request.header("accept").value_or(""), [&](std::string_view entry) {
    const size_t type_end = std::min(entry.find(';'), entry.size());
    const std::string_view type = trim_blanks(entry.substr(0, type_end));
    if (is_named || !iequals(type, "application/x-ndjson")) return;
    is_named = true;
    accepts = !has_zero_weight(entry.substr(type_end));
  });
  return accepts;
}

}  // namespace kyro
