// What is said of a body before it is read: whether its route takes it, and how much of it.
//
// Thread rule: on the exchange's reactor.
#pragma once

#include <cstdint>
#include <string_view>

#include "kyro/base/text/ascii.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/route_table.h"
#include "kyro/server/routes/content.h"
#include "kyro/server/routes/mget.h"

namespace kyro {

// What a request may carry that needs no body at all.
inline constexpr uint64_t kSmallBodyBytes = 64 * 1024;

struct BodyLimits {
  uint64_t value_bytes_max;
  uint64_t batch_bytes_max;
  uint64_t mget_keys_max;
};

// application/json, a form's type (what curl -d sends), or none; NDJSON where lines are meant.
[[nodiscard]] inline bool is_json_type(const HttpRequest& request, bool takes_lines) {
  const std::string_view name = media_type(request);
  return name.empty() || iequals(name, kJsonType) ||
         iequals(name, "application/x-www-form-urlencoded") ||
         (takes_lines && iequals(name, "application/x-ndjson"));
}
[[nodiscard]] inline MgetForm mget_form(const HttpRequest& request) {
  return iequals(media_type(request), kBytesType) ? MgetForm::kBinary : MgetForm::kJson;
}

// In on_headers: refuses the body that comes, or sets the most that it may have.
inline void check_body(Exchange& x, const RouteInfo& info, const BodyLimits& limits) {
  const HttpRequest& request = x.request();
  if (!request.has_content_length && !request.has_open_length) {
    return x.respond_error(411, "length_required",
                           "a body is needed: send Content-Length or chunks");
  }
  if (has_conflicting_types(request)) {
    return x.respond_error(400, "bad_request", "Content-Type fields contradict each other");
  }
  if (has_content_coding(request)) {
    return x.respond_error(415, "unsupported_media_type", "send the body without a coding");
  }
  if (info.body == Body::kRaw && request.header("content-range")) {
    return x.respond_error(400, "bad_request", "a value is replaced as a whole, not in parts");
  }
  const bool takes_lines = info.body == Body::kLines;
  const bool takes_keys = info.body == Body::kKeys;
  const bool is_binary = takes_keys && mget_form(request) == MgetForm::kBinary;
  if (info.body != Body::kRaw && !is_binary && !is_json_type(request, takes_lines)) {
    return x.respond_error(415, "unsupported_media_type",
                           takes_lines  ? "send application/x-ndjson"
                           : takes_keys ? "send application/json or application/octet-stream"
                                        : "send application/json");
  }
  if (takes_keys) {
    x.set_max_body_bytes(mget_body_bytes_max(mget_form(request), limits.mget_keys_max),
                         "--max-mget-keys");
  } else if (info.body == Body::kRaw) {
    x.set_max_body_bytes(limits.value_bytes_max, "--max-value-bytes");
  } else if (takes_lines) {
    x.set_max_body_bytes(limits.batch_bytes_max, "--max-batch-bytes");
  } else {
    // JSON may spell one byte of a value with six; what decodes to too much is refused later.
    x.set_max_body_bytes(limits.value_bytes_max * 6 + kSmallBodyBytes, "--max-value-bytes");
  }
}

}  // namespace kyro
