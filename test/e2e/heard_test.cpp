// Nothing that a request says is ignored where it would change what happens: over the table of
// routes.
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/server/route_table.h"
#include "kyro/server/routes/strict.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

struct Ask {
  const RouteInfo* info;
  Method method;
  std::string target;
  std::string query;  // that it needs
  std::string body;
};

// Every route with every method that it answers, as a request that would be answered.
std::vector<Ask> all_requests() {
  std::vector<Ask> all;
  for (const RouteInfo& info : kHttpRoutes) {
    if (info.route == Route::kKvWait) continue;  // as kKv
    for (const Method method :
         {Method::kGet, Method::kHead, Method::kPost, Method::kPut, Method::kDelete}) {
      if (!allows(info, method)) continue;
      Ask ask{&info, method, std::string(info.path) + (info.takes_key ? "7" : ""), "", ""};
      if (info.route == Route::kLookup || info.route == Route::kLookupRaw) ask.query = "key=7";
      if (info.route == Route::kScan && method == Method::kDelete) ask.query = "start=1&end=9";
      if (method == Method::kPut) ask.body = "v";
      if (info.route == Route::kPut) ask.body = R"({"key":7,"value":"v"})";
      if (info.route == Route::kBatch) ask.body = R"({"op":"put","key":7,"value":"v"})";
      if (info.route == Route::kMget) ask.body = R"({"keys":[7]})";
      all.push_back(std::move(ask));
    }
  }
  return all;
}

// The pages that people look at, and probes, whose callers add what they like.
bool takes_anything(const RouteInfo& info) {
  return !info.needs_engine && info.route != Route::kStatus;
}

}  // namespace

TEST_CASE("Every route refuses parameters it does not take, or twice, and stores nothing",
          "[e2e]") {
  TempDir dir;
  std::filesystem::create_directory(dir.file("backups"));
  Served s({"--backup-dir", dir.file("backups")});
  size_t refused = 0;
  for (const Ask& ask : all_requests()) {
    const std::string method = method_name(ask.method);
    const std::string before = ask.target + "?" + ask.query + (ask.query.empty() ? "" : "&");
    const auto call = [&](const std::string& parameter, const HeaderList& headers = {}) {
      HttpResponse response;
      const bool to_head = ask.method == Method::kHead;
      s.client.must_send(
          method + " " + before + parameter + " HTTP/1.1\r\nHost: localhost\r\n" +
          (headers.empty() ? "" : headers[0].first + ": " + headers[0].second + "\r\n") +
          "Content-Length: " + std::to_string(ask.body.size()) + "\r\n\r\n" + ask.body);
      response = s.client.next(to_head);
      return response;
    };
    INFO(method << " " << before);
    if (takes_anything(*ask.info)) continue;
    for (const char* unknown : {"prefix=1", "dry_run=1", "Key=7", "%6Bey=7", "=", "x"}) {
      INFO(unknown);
      const HttpResponse got = call(unknown);
      CHECK(got.status == 400);
      if (ask.method != Method::kHead) {
        CHECK(got.body.find("unknown parameter") != std::string::npos);
      }
      ++refused;
    }
    for_each_element(
        parameters_of(ask.info->route, ask.method),
        [&](std::string_view name) {
          if (name.empty()) return;
          INFO(name);
          const std::string one = std::string(name) + "=1";
          CHECK(call(one + "&" + one).status == 400);
          ++refused;
        },
        ' ');
    for (const char* field : {"X-HTTP-Method-Override", "Kyro-Expires", "If-Unmodified-Since"}) {
      INFO(field);
      CHECK(call("", {{field, "5"}}).status == 400);
      ++refused;
    }
  }
  CHECK(refused > 200);
  CHECK(s.client.next_offset() == 0);
  CHECK(std::filesystem::is_empty(dir.file("backups")));
}

TEST_CASE("A body is refused where none is read, on every route", "[e2e]") {
  Served s;
  for (const Ask& ask : all_requests()) {
    if (!ask.body.empty() || takes_anything(*ask.info)) continue;
    INFO(method_name(ask.method) << " " << ask.target << "?" << ask.query);
    s.client.must_send(
        std::string(method_name(ask.method)) + " " + ask.target + "?" + ask.query +
        " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{\"async\":true}");
    CHECK(s.client.next(ask.method == Method::kHead).status == 400);
  }
  CHECK(s.client.call("POST", "/v1/snapshot", "{}").status == 200);
  CHECK(s.client.next_offset() == 0);
}

TEST_CASE("Every 503 of every route says when to come back", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {});
  Client client(server);
  REQUIRE(client.call("PUT", "/v1/kv/7", "v").status == 201);
  // Its directory is taken from it: read-only from the next snapshot on.
  std::filesystem::rename(dir.file("data"), dir.file("moved"));
  CHECK(client.call("POST", "/v1/snapshot").status == 503);
  size_t unavailable = 0;
  for (const Ask& ask : all_requests()) {
    if (ask.info->route == Route::kSubscribe) continue;  // endless
    INFO(method_name(ask.method) << " " << ask.target << "?" << ask.query);
    client.must_send(std::string(method_name(ask.method)) + " " + ask.target + "?" + ask.query +
                     " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                     std::to_string(ask.body.size()) + "\r\n\r\n" + ask.body);
    const HttpResponse got = client.next(ask.method == Method::kHead);
    const bool is_write = ask.method == Method::kPut || ask.method == Method::kDelete ||
                          ask.info->route == Route::kPut || ask.info->route == Route::kBatch;
    if (is_write && ask.info->route != Route::kBackups) CHECK(got.status == 503);
    if (ask.info->route == Route::kReady) CHECK(got.status == 503);
    CHECK((got.status == 503) == !got.header("retry-after").empty());
    unavailable += got.status == 503 ? 1 : 0;
  }
  CHECK(unavailable >= 8);
}
