// HTTP/2 of the program as people's tools speak it: curl on every route, nghttp, h2load.
#include <catch2/catch.hpp>
#include <cctype>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/server/route_table.h"
#include "test/support/grpc_clients.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

bool has_tool(const std::string& tool) {
  if (succeeds("command -v " + tool)) return true;
  WARN("skipped: " << tool << " is not installed");
  return false;
}

// One request by curl, and what two servers of the same state must answer alike.
struct Ask {
  Args flags;
  std::string target;
  enum class Compare : uint8_t { kAll, kNoBody } compare = Compare::kAll;
};

// What came: the status, the fields that mean something in both versions, the body.
struct Heard {
  std::string version;
  std::string status;
  std::multimap<std::string, std::string> fields;
  std::string body;
};

Heard ask(const ServerProcess& server, const std::string& version, const Ask& what) {
  const TempDir dir;
  Args argv = {"/usr/bin/curl", "-sS", "-m", "60", version, "-D", dir.file("head"), "-o",
               dir.file("body")};
  argv.insert(argv.end(), what.flags.begin(), what.flags.end());
  argv.push_back(server.url() + what.target);
  const Outcome outcome = run_program(argv);
  INFO(version << " " << what.target << " " << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  Heard heard;
  std::istringstream head(read_file(dir.file("head")));
  for (std::string line; std::getline(head, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.starts_with("HTTP/")) {  // the last one counts: one of 100 may come before it
      heard = {};
      std::istringstream(line) >> heard.version >> heard.status;
    }
    const size_t colon = line.find(": ");
    if (colon == line.npos) continue;
    std::string name = line.substr(0, colon);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const bool is_of_one_hop =
        name == "connection" || name == "transfer-encoding" || name == "keep-alive";
    if (!is_of_one_hop && name != "date") heard.fields.emplace(name, line.substr(colon + 2));
  }
  if (succeeds("test -f " + dir.file("body"))) heard.body = read_file(dir.file("body"));
  return heard;
}

Ask get(std::string target) {
  return {{}, std::move(target)};
}
Ask send(const char* method, std::string target, const char* body,
         const char* type = "application/json") {
  return {{"-X", method, "--data-binary", body, "-H", std::string("Content-Type: ") + type},
          std::move(target)};
}
// An answer that says what time it is, what the process does, or which database this is.
Ask volatile_body(Ask ask) {
  ask.compare = Ask::Compare::kNoBody;
  return ask;
}

// Every route in the ways there are, and the refusals that come before a route.
std::vector<Ask> all_asks(const std::string& large_file) {
  return {
      send("PUT", "/v1/kv/1", "one", "application/octet-stream"),
      send("PUT", "/v1/kv/2?ttl_secs=1000", "two", "application/octet-stream"),
      {{"-X", "PUT", "--data-binary", "x", "-H", "If-None-Match: *"}, "/v1/kv/1"},
      {{"-T", large_file}, "/v1/kv/9"},
      get("/v1/kv/9"),
      get("/v1/kv/1"),
      volatile_body({{"-I"}, "/v1/kv/1"}),  // which curl takes the head for
      {{"-H", "If-None-Match: \"0\""}, "/v1/kv/1"},
      {{"-X", "DELETE"}, "/v1/kv/404"},
      get("/v1/kv/404?wait_secs=0"),
      get("/v1/get_fast/1"),
      get("/v1/get_fast/404"),
      get("/v1/get_fast/one"),
      get("/v1/lookup_fast/1"),
      send("POST", "/v1/put", R"({"key":3,"value":"three"})"),
      send("POST", "/v1/put", R"({"key":3)"),
      send("POST", "/v1/batch", "{\"op\":\"put\",\"key\":4,\"value\":\"four\"}\n",
           "application/x-ndjson"),
      send("POST", "/v1/mget", R"({"keys":[1,3,404]})"),
      get("/v1/scan?limit=10"),
      get("/v1/count"),
      get("/v1/floor/100"),
      get("/v1/ceil/2"),
      get("/v1/lookup?key=3"),
      get("/v1/lookup_raw?key=3"),
      volatile_body(get("/v1/offset")),
      get("/v1/replay?start=0&end=2"),
      send("POST", "/v1/snapshot", ""),
      volatile_body(send("POST", "/v1/compact", "")),
      send("POST", "/v1/rmi/build", ""),
      send("POST", "/v1/warmup", ""),
      volatile_body({{"-I"}, "/v1/backup"}),
      volatile_body(get("/v1/backups")),
      get("/health"),
      volatile_body(get("/ready")),
      volatile_body(get("/metrics")),
      get("/build_info"),
      volatile_body(get("/v1/status")),
      volatile_body(get("/")),
      volatile_body({{"-H", "Accept: text/html"}, "/"}),
      {{"-X", "OPTIONS"}, "/v1/scan"},
      {{"-X", "DELETE"}, "/v1/scan?start=4&end=5"},
      {{"-X", "PATCH"}, "/v1/scan"},
      get("/none"),
      {{"-H", "Origin: http://elsewhere.example"}, "/v1/get_fast/1"},
      {{"-H", "Expect: tea"}, "/health"},
      {{"-H", "Range: bytes=0-1"}, "/v1/kv/1"},
  };
}

}  // namespace

TEST_CASE("curl hears the same over HTTP/2 as over HTTP/1.1, on every route", "[e2e]") {
  if (!has_tool("curl")) return;
  const TempDir dir;
  write_file(dir.file("large"), std::string(1'000'000, 'l'));
  // One server for each version, since asking changes what is there.
  const ServerProcess first(dir.file("first"));
  const ServerProcess second(dir.file("second"));
  std::set<Route> asked;
  for (const Ask& what : all_asks(dir.file("large"))) {
    INFO(what.target);
    std::string_view key;
    const std::string_view target = what.target;
    asked.insert(match_route(target.substr(0, target.find('?')), &key).route);
    const Heard one = ask(first, "--http1.1", what);
    const Heard two = ask(second, "--http2-prior-knowledge", what);
    CHECK(one.version == "HTTP/1.1");
    CHECK(two.version == "HTTP/2");
    CHECK(two.status == one.status);
    if (what.compare == Ask::Compare::kNoBody) continue;
    CHECK(two.body == one.body);
    CHECK(two.fields == one.fields);
  }
  // Endless, so that curl is stopped: it has got what was there.
  const auto events = [](const ServerProcess& server, const char* version) {
    return run_program({"/bin/bash", "-c",
                        std::string("curl -sSN -m 60 ") + version + " '" + server.url() +
                            "/v1/subscribe?from=0' | head -n 4"})
        .out;
  };
  CHECK(events(second, "--http2-prior-knowledge") == events(first, "--http1.1"));
  CHECK(contains(events(second, "--http2-prior-knowledge"), "\"key\":1"));
  asked.insert(Route::kSubscribe);
  asked.insert(Route::kKvWait);  // a GET of kv
  for (const RouteInfo& info : kHttpRoutes) {
    INFO(info.name);
    CHECK(asked.contains(info.route));
  }
}

TEST_CASE("nghttp asks for many things at once, with padding, priorities, trailers and a body",
          "[e2e]") {
  if (!has_tool("nghttp")) return;
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "hello").status == 201);
  const std::string url = s.server.url();
  const auto nghttp = [&](Args words) {
    words.insert(words.begin(), {"/usr/bin/nghttp", "-v", "-t", "60"});
    const Outcome outcome = run_program(words);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK_FALSE(contains(outcome.out, "recv GOAWAY"));
    CHECK_FALSE(contains(outcome.out, "recv RST_STREAM"));
    return outcome.out;
  };
  const auto count = [](const std::string& text, std::string_view what) {
    size_t found = 0;
    for (size_t at = 0; (at = text.find(what, at)) != text.npos; at += what.size()) ++found;
    return found;
  };
  // Fifty of one address, in a tree of priorities, as a browser of old would.
  std::string out = nghttp({"-n", "-m", "50", url + "/v1/kv/1", url + "/health"});
  CHECK(count(out, ":status: 200") == 100);
  out = nghttp({"-n", "-b", "200", "-H", "x-padded: yes", url + "/v1/kv/1"});
  CHECK(count(out, ":status: 200") == 1);
  // A body in frames with padding, after which trailers come; windows of 16 KiB on the way back.
  const TempDir dir;
  write_file(dir.file("body"), std::string(300'000, 'b'));
  out = nghttp({"-n", "-b", "100", "-H", ":method: PUT", "-d", dir.file("body"), "--trailer",
                "x-after: the body", url + "/v1/kv/2"});
  CHECK(count(out, ":status: 201") == 1);
  out = nghttp({"-n", "-w", "14", "-W", "14", url + "/v1/kv/2"});
  CHECK(count(out, ":status: 200") == 1);
  CHECK(s.client.get("/v1/kv/2").body == std::string(300'000, 'b'));
  out = nghttp(
      {"-n", "--expect-continue", "-H", ":method: PUT", "-d", dir.file("body"), url + "/v1/kv/3"});
  CHECK(count(out, ":status: 100") == 1);
  CHECK(count(out, ":status: 201") == 1);
  // A table of the header coder that is small, then large.
  out = nghttp({"-n", "-m", "20", "-c", "0", "-c", "1000000", url + "/v1/kv/1"});
  CHECK(count(out, ":status: 200") == 20);
}

TEST_CASE("h2load gets every answer, as requests of HTTP and as calls", "[e2e]") {
  if (!has_tool("h2load")) return;
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/7", std::string(64, 'v')).status == 201);
  const TempDir dir;
  write_file(dir.file("get"), std::string_view("\0\0\0\0\2\x08\7", 7));  // GetRequest{key: 7}
  const std::string url = s.server.url();
  for (const Args& words : {Args{url + "/v1/get_fast/7"},
                            Args{"-d", dir.file("get"), "-H", "content-type: application/grpc",
                                 "-H", "te: trailers", url + "/kyrodb.v1.KV/Get"}}) {
    for (const char* shape : {"1", "64"}) {
      Args argv = {"/usr/bin/h2load", "-n", "3000", "-c", "4", "-m", shape};
      argv.insert(argv.end(), words.begin(), words.end());
      const Outcome outcome = run_program(argv);
      INFO(outcome.out << outcome.err);
      CHECK(outcome.exit_code == 0);
      CHECK(contains(outcome.out, "3000 succeeded, 0 failed, 0 errored, 0 timeout"));
      CHECK(contains(outcome.out, "status codes: 3000 2xx"));
    }
  }
  CHECK(s.client.metric("kyrodb_http2_requests_total") == "12000");
  CHECK(s.client.metric("kyrodb_http_requests_total{route=\"grpc_get\",code=\"200\"}") == "6000");
}

}  // namespace kyro::test
