// Refuses what a request says and its route would ignore, where that would change what happens: a
// parameter that is misspelt or belongs elsewhere, a condition on a route that knows none, a body
// where none is read, a field that names another method, or one of ours that only answers have. A
// write that was meant to be conditional must not go through without.
//
// Ignored by design, since the answer shows it: Range (the whole value comes), If-None-Match and
// If-Modified-Since on reads (the value comes again). The page at /, the probes, /metrics and
// /build_info take anything.
//
// Thread rule: pure functions over views.
#pragma once

#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/suggest.h"
#include "kyro/net/http/request.h"
#include "kyro/server/route_table.h"

namespace kyro {

// The names of the parameters that a request may have, with spaces between them.
[[nodiscard]] constexpr std::string_view parameters_of(Route route, Method method) {
  switch (route) {
    case Route::kKv:
      if (method == Method::kPut) return "ttl ttl_secs expires";
      return method == Method::kDelete ? "" : "wait_secs min_offset consistency";
    case Route::kScan:
      return method == Method::kDelete ? "start end limit keys"
                                       : "start end limit reverse keys_only keys min_offset "
                                         "consistency";
    case Route::kCount:
      return "start end min_offset consistency";
    case Route::kGetFast:
    case Route::kLookupFast:
    case Route::kOffset:
      return "min_offset consistency";
    case Route::kFloor:
    case Route::kCeil:
      return "keys min_offset consistency";
    case Route::kLookup:
      return "key keys min_offset consistency";
    case Route::kLookupRaw:
      return "key min_offset consistency";
    case Route::kReplay:
      return "start end limit min_offset consistency";
    case Route::kSubscribe:
      return "from key start end min_offset consistency";
    case Route::kMget:
      return "expires min_offset consistency";
    case Route::kBackup:
      return method == Method::kPost ? "name" : "";
    case Route::kBackups:
      return method == Method::kDelete ? "name" : "";
    case Route::kStatus:
      return "history sample";
    default:
      return "";
  }
}

// Refuses a parameter that is not among `known`: ignored, it would not do what it was meant to.
[[nodiscard]] inline Status check_parameters(std::string_view query, std::string_view known) {
  std::string_view unknown;
  bool has_unknown = false;
  for_each_element(
      query,
      [&](std::string_view part) {
        if (part.empty() || has_unknown) return;
        unknown = part.substr(0, part.find('='));
        has_unknown = true;
        for_each_element(
            known, [&](std::string_view name) { has_unknown &= name.empty() || name != unknown; },
            ' ');
      },
      '&');
  if (!has_unknown) return Status();
  std::string message = "unknown parameter \"" + std::string(unknown.substr(0, 64)) + "\"; ";
  if (known.empty()) return Status(Code::kInvalid, message + "this request takes none");
  Suggestion meant(unknown);
  for_each_element(
      known, [&](std::string_view name) { meant.offer(name); }, ' ');
  if (meant.found()) {
    message.append("the nearest is \"").append(meant.name()).append("\"");
  } else {
    message.append("this request takes: ").append(known);
  }
  return Status(Code::kInvalid, message);
}

// Which fields of a head ask for more than the request itself says.
struct Conditions {
  bool match = false;
  bool none_match = false;
  bool unmodified_since = false;
  std::string_view not_heard;  // one that no route knows, though it would change what happens

  [[nodiscard]] bool any() const {
    return match || none_match || unmodified_since || !not_heard.empty();
  }
};
// Another method than the one that is asked for, as some frameworks take it, or one of our own
// names: those are for answers.
[[nodiscard]] inline bool is_not_heard(const HeaderField& field) {
  constexpr std::string_view kOurs = "kyro-";
  return (field.name.size() > kOurs.size() && iequals(field.name.substr(0, kOurs.size()), kOurs)) ||
         field.is("x-http-method-override") || field.is("x-http-method") ||
         field.is("x-method-override");
}
[[nodiscard]] inline Conditions conditions_of(const HttpRequest& request) {
  Conditions conditions;
  for (const HeaderField& field : request.fields) {
    switch (field.name.size()) {
      case 8:
        conditions.match |= field.is("if-match");
        break;
      case 13:
        conditions.none_match |= field.is("if-none-match");
        break;
      case 19:
        conditions.unmodified_since |= field.is("if-unmodified-since");
        break;
      default:
        break;
    }
    const char first = field.name.empty() ? '\0' : field.name.front();
    const bool may_be = first == 'k' || first == 'K' || first == 'x' || first == 'X';
    if (may_be && is_not_heard(field)) conditions.not_heard = field.name;
  }
  return conditions;
}

// Refuses a condition that the route would not look at.
[[nodiscard]] inline Status check_conditions(Conditions has, Route route, Method method) {
  if (!has.not_heard.empty()) {
    return Status(Code::kInvalid, "no request has the field " +
                                      std::string(has.not_heard.substr(0, 64)) +
                                      "; what it asks for would not be done");
  }
  if (has.unmodified_since) {
    return Status(Code::kInvalid,
                  "versions have no date: If-Match is understood, "
                  "If-Unmodified-Since is not");
  }
  // A batch says itself that its conditions stand in its lines.
  if (route == Route::kKv || route == Route::kPut || route == Route::kLookup ||
      route == Route::kBatch) {
    return Status();
  }
  const bool is_read_only = method == Method::kGet || method == Method::kHead;
  if (has.match || (!is_read_only && has.none_match)) {
    return Status(Code::kInvalid, "this route knows no conditions; /v1/kv does");
  }
  return Status();
}

// What may be sent where no body is needed: nothing, or what clients send that must send something.
[[nodiscard]] inline Status check_no_body(std::string_view body) {
  if (body.empty() || trim_blanks(body) == "{}") return Status();
  return Status(Code::kInvalid, "this request takes no body");
}

// kInvalid with one sentence for a request to a route of data or administration that says what
// would not be heard.
[[nodiscard]] inline Status check_heard(const HttpRequest& request, const RouteInfo& info) {
  const bool takes_anything = !info.needs_engine && info.route != Route::kStatus;
  if (takes_anything || request.method == Method::kOptions) return Status();
  if (request.has_query) {
    KYRO_TRY(check_parameters(request.query, parameters_of(info.route, request.method)));
  }
  const bool may_have_body = request.method == Method::kPost || request.method == Method::kPut;
  if (!may_have_body && (request.announces_body())) {
    return Status(Code::kInvalid, "this request takes no body");
  }
  const Conditions conditions = conditions_of(request);
  return conditions.any() ? check_conditions(conditions, info.route, request.method) : Status();
}

}  // namespace kyro
