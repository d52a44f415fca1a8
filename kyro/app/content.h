// What the header fields of a request say of its body and of the form of the answer (RFC 9110 8.3,
// 8.4, 12.5.1, 14.5).
//
// Thread rule: pure functions over views.
#pragma once

#include <string_view>

#include "kyro/net/http_request.h"

namespace kyro {

namespace content_detail {

[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}
// Takes what stands before the next `separator` off the front of `rest`.
[[nodiscard]] inline std::string_view take_part(std::string_view* rest, char separator) {
  const size_t end = rest->find(separator);
  const std::string_view part = trimmed(rest->substr(0, end));
  *rest = end == rest->npos ? std::string_view() : rest->substr(end + 1);
  return part;
}
// Whether the parameters of an entry of Accept say q=0: "not acceptable".
[[nodiscard]] inline bool has_zero_weight(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::string_view one = take_part(&parameters, ';');
    if (one.size() < 3 || !iequals(one.substr(0, 2), "q=") || one[2] != '0') continue;
    return one.find_first_not_of("0.", 2) == one.npos;
  }
  return false;
}

}  // namespace content_detail

// The media type of the body without parameters; empty if there is none.
[[nodiscard]] inline std::string_view media_type(const HttpRequest& request) {
  std::string_view field = request.header("content-type").value_or("");
  return content_detail::take_part(&field, ';');
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
  if ((request.name_mask & header_name_bit("content-encoding")) == 0) return false;
  bool is_coded = false;
  request.for_each_header([&](std::string_view field, std::string_view value) {
    if (!iequals(field, "content-encoding")) return true;
    while (!value.empty() && !is_coded) {
      const std::string_view coding = content_detail::take_part(&value, ',');
      is_coded = !coding.empty() && !iequals(coding, "identity");
    }
    return !is_coded;
  });
  return is_coded;
}

// Whether the client takes lines, without weighing what else it takes.
[[nodiscard]] inline bool accepts_ndjson(const HttpRequest& request) {
  std::string_view field = request.header("accept").value_or("");
  while (!field.empty()) {
    std::string_view parameters = content_detail::take_part(&field, ',');
    if (!iequals(content_detail::take_part(&parameters, ';'), "application/x-ndjson")) continue;
    return !content_detail::has_zero_weight(parameters);
  }
  return false;
}

}  // namespace kyro
