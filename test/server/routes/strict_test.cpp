#include "kyro/server/routes/strict.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "test/support/request_util.h"

namespace kyro {
namespace {

std::string refusal(Method method, Route route, std::string_view query,
                    std::string_view headers = "", uint64_t body_bytes = 0) {
  HttpRequest request = test::request_with(headers);
  request.method = method;
  request.query = query;
  request.has_query = !query.empty();
  request.content_length = body_bytes;
  return std::string(check_heard(request, route_info(route)).message());
}

TEST_CASE("a parameter that a route does not take is refused with the nearest that it takes") {
  const auto of_scan = [](std::string_view query) {
    return refusal(Method::kGet, Route::kScan, query);
  };
  CHECK(of_scan("start=1&end=2&limit=3&reverse=1&keys_only=1&keys=string") == "");
  CHECK(of_scan("&&limit=3&") == "");
  CHECK(of_scan("strat=1") == "unknown parameter \"strat\"; the nearest is \"start\"");
  CHECK(of_scan("limit=1&revers=1") == "unknown parameter \"revers\"; the nearest is \"reverse\"");
  CHECK(of_scan("prefix=1") ==
        "unknown parameter \"prefix\"; this request takes: start end limit "
        "reverse keys_only keys min_offset consistency");
  CHECK(of_scan("=1").starts_with("unknown parameter \"\""));
  CHECK(refusal(Method::kPut, Route::kKv, "ttl=1") == "");
  CHECK(refusal(Method::kPut, Route::kKv, "ttl_secs=1") == "");
  CHECK(refusal(Method::kPut, Route::kKv, "tll=1") ==
        "unknown parameter \"tll\"; the nearest is \"ttl\"");
  // A lifetime where none is set, and a condition that belongs into a header.
  CHECK(refusal(Method::kGet, Route::kKv, "ttl=1") ==
        "unknown parameter \"ttl\"; this request takes: wait_secs min_offset consistency");
  CHECK(refusal(Method::kDelete, Route::kKv, "if_match=1") ==
        "unknown parameter \"if_match\"; this request takes none");
  CHECK(refusal(Method::kDelete, Route::kKv, "=1").starts_with("unknown parameter \"\""));
  CHECK(refusal(Method::kOptions, Route::kKv, "ttl=1") == "");
  CHECK(refusal(Method::kGet, Route::kHealth, "x=1") == "");
  CHECK(refusal(Method::kGet, Route::kMetrics, "x=1") == "");
}

TEST_CASE("a condition is refused where it would not be judged") {
  for (const Route route : {Route::kKv, Route::kPut, Route::kLookup, Route::kBatch}) {
    CHECK(refusal(Method::kPost, route, "", "If-Match: \"1\"\r\n") == "");
  }
  for (const Route route : {Route::kGetFast, Route::kLookupFast, Route::kFloor, Route::kScan,
                            Route::kReplay, Route::kOffset}) {
    CHECK(
        refusal(Method::kGet, route, "", "if-match: \"1\"\r\n").starts_with("this route knows no"));
    CHECK(refusal(Method::kGet, route, "", "if-none-match: *\r\n") == "");
  }
  CHECK(refusal(Method::kPost, Route::kCompact, "", "If-None-Match: *\r\n") ==
        "this route knows no conditions; /v1/kv does");
  CHECK(refusal(Method::kPut, Route::kKv, "", "If-Unmodified-Since: x\r\n")
            .starts_with("versions have no date"));
}

TEST_CASE("a field is refused that names another method, or that only answers have") {
  for (const char* field : {"X-HTTP-Method-Override: DELETE", "x-http-method: PUT",
                            "X-Method-Override: DELETE", "Kyro-Expires: 5", "kyro-ttl: 5"}) {
    INFO(field);
    const std::string line = std::string(field) + "\r\n";
    CHECK(refusal(Method::kPost, Route::kPut, "", line).starts_with("no request has the field "));
    CHECK(
        refusal(Method::kGet, Route::kGetFast, "", line).starts_with("no request has the field "));
    CHECK(refusal(Method::kGet, Route::kHealth, "", line) == "");
  }
  for (const char* field : {"X-Forwarded-For: 1", "X-Request-Id: kyro-1", "Kyrodb: 1", "Keep: 1"}) {
    CHECK(refusal(Method::kPut, Route::kKv, "", std::string(field) + "\r\n") == "");
  }
}

TEST_CASE("a body is refused where none is read, and ignored where curl sends one") {
  CHECK(refusal(Method::kDelete, Route::kKv, "", "", 5) == "this request takes no body");
  CHECK(refusal(Method::kGet, Route::kScan, "", "", 5) == "this request takes no body");
  CHECK(refusal(Method::kPost, Route::kCompact, "", "", 5) == "");
  CHECK(refusal(Method::kPut, Route::kKv, "", "", 5) == "");
  CHECK(check_no_body("").ok());
  CHECK(check_no_body(" {} ").ok());
  CHECK(check_no_body("{\"async\":true}").message() == "this request takes no body");
}

}  // namespace
}  // namespace kyro
