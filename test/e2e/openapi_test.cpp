// scripts/api/openapi.json against the table of routes and the live server: every route and method
// is described, every answer is one that is described, and nearly every answer described occurs.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/text/slots.h"
#include "kyro/server/route_table.h"
#include "test/support/json_tree.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

const JsonTree& api() {
  static const JsonTree document = [] {
    std::ifstream in("scripts/api/openapi.json");
    REQUIRE(in.good());
    return JsonTree::parse(std::string(std::istreambuf_iterator<char>(in), {}));
  }();
  return document;
}

// The described paths, by name.
const std::map<std::string, JsonTree>& paths() {
  return api().at("paths").fields;
}

std::string spec_path(const RouteInfo& info) {
  return std::string(info.path) + (info.takes_key ? "{key}" : "");
}

// The methods of a path's description, in capitals.
std::set<std::string> described_methods(const JsonTree& path) {
  std::set<std::string> methods;
  for (const auto& [name, unused] : path.fields) {
    if (name == "parameters") continue;
    std::string method = name;
    for (char& c : method) c = static_cast<char>(c - 'a' + 'A');
    methods.insert(method);
  }
  return methods;
}

// The methods of an Allow field, without OPTIONS.
std::set<std::string> allowed_methods(std::string_view allow) {
  std::set<std::string> methods;
  while (!allow.empty()) {
    const std::string_view word = allow.substr(0, allow.find(", "));
    if (word != "OPTIONS") methods.emplace(word);
    allow.remove_prefix(std::min(allow.size(), word.size() + 2));
  }
  return methods;
}

const JsonTree& operation(const std::string& path, std::string method) {
  for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
  INFO(method << " " << path);
  return api().at("paths").at(path).at(method);
}

// A path with a key in the place of {key}.
std::string with_key(std::string path) {
  const size_t at = path.find("{key}");
  return at == path.npos ? path : path.replace(at, 5, "7");
}

// An answer's body must have the fields that its description demands, and no others.
void check_body(const JsonTree& schema_or_reference, const std::string& body) {
  const JsonTree& schema = schema_or_reference.resolved(api());
  const JsonTree answer = JsonTree::parse(body);
  const JsonTree* required = schema.find("required");
  if (required == nullptr) return;
  for (const JsonTree& name : required->elements) {
    INFO(name.text);
    CHECK(answer.find(name.text) != nullptr);
  }
  for (const auto& [name, unused] : answer.fields) {
    INFO(name);
    CHECK(schema.at("properties").find(name) != nullptr);
  }
}

void check_described(const std::string& path, const std::string& method,
                     const HttpResponse& answer) {
  INFO(method << " " << path << ": " << answer.status << " " << answer.body);
  const JsonTree* described =
      operation(path, method).at("responses").find(std::to_string(answer.status));
  REQUIRE(described != nullptr);
  const JsonTree& response = described->resolved(api());
  const JsonTree* headers = response.find("headers");
  if (!answer.header("kyro-expires").empty()) {
    REQUIRE(headers != nullptr);
    CHECK(headers->find("Kyro-Expires") != nullptr);
  }
  if (headers != nullptr) {
    for (const auto& [name, unused] : headers->fields) {
      INFO(name);
      CHECK((name == "Kyro-Expires" || !answer.header(name).empty()));
    }
  }
  const JsonTree* content = response.find("content");
  if (method == "HEAD") return;
  if (content == nullptr) {
    CHECK(answer.body.empty());
    return;
  }
  const std::string type(answer.header("content-type"));
  INFO(type);
  const JsonTree* form = content->find(type);
  REQUIRE(form != nullptr);
  if (type == "application/json") check_body(form->at("schema"), answer.body);
}

constexpr const char* kOctets = "application/octet-stream";

struct Probe {
  std::string method;
  std::string path;    // as described
  std::string target;  // as asked for
  std::string body;
  int status;
  HeaderList headers = {};
};

std::string batch_of(int lines) {
  std::string body;
  for (int i = 0; i < lines; ++i) body += "{\"op\":\"delete\",\"key\":4}\n";
  return body;
}

// In this order, on an empty store whose server has small limits. Keys 1 and 2 exist from
// the first lines on.
const std::vector<Probe>& probes() {
  static const std::vector<Probe> kProbes = {
      {"PUT", "/v1/kv/{key}", "/v1/kv/1", "one", 201},
      {"PUT", "/v1/kv/{key}", "/v1/kv/1", "one", 204},
      {"PUT", "/v1/kv/{key}", "/v1/kv/x", "one", 400},
      {"PUT", "/v1/kv/{key}", "/v1/kv/1", std::string(2000, 'x'), 413},
      {"GET", "/v1/kv/{key}", "/v1/kv/1", "", 200},
      {"GET", "/v1/kv/{key}", "/v1/kv/1", "", 304, {{"If-None-Match", "*"}}},
      {"GET", "/v1/kv/{key}", "/v1/kv/1", "", 412, {{"If-Match", "\"999\""}}},
      {"GET", "/v1/kv/{key}", "/v1/kv/01", "", 400},
      {"GET", "/v1/kv/{key}", "/v1/kv/404", "", 404},
      {"DELETE", "/v1/kv/{key}", "/v1/kv/", "", 400},
      {"DELETE", "/v1/kv/{key}", "/v1/kv/404", "", 404},
      {"DELETE", "/v1/kv/{key}", "/v1/kv/1", "", 204},
      {"POST", "/v1/put", "/v1/put", R"({"key":2,"value":"two"})", 200},
      {"POST", "/v1/put", "/v1/put", "{", 400},
      {"POST", "/v1/put", "/v1/put", "{}", 415, {{"Content-Type", "text/html"}}},
      {"POST", "/v1/put", "/v1/put", put_body("1", std::string(2000, 'x')), 413},
      {"POST", "/v1/put", "/v1/put", R"({"key":"1","value_base64":"/w=="})", 200},
      {"POST", "/v1/put", "/v1/put", R"({"key":2,"value":"2"})", 412, {{"If-None-Match", "*"}}},
      {"GET", "/v1/get_fast/{key}", "/v1/get_fast/2", "", 200},
      {"GET", "/v1/get_fast/{key}", "/v1/get_fast/-2", "", 400},
      {"GET", "/v1/get_fast/{key}", "/v1/get_fast/3", "", 404},
      {"GET", "/v1/lookup_fast/{key}", "/v1/lookup_fast/2", "", 200},
      {"GET", "/v1/lookup_fast/{key}", "/v1/lookup_fast/2a", "", 400},
      {"GET", "/v1/lookup_fast/{key}", "/v1/lookup_fast/3", "", 404},
      {"GET", "/v1/lookup", "/v1/lookup?key=1", "", 200},
      {"GET", "/v1/lookup", "/v1/lookup?key=2&keys=string", "", 200},
      {"GET", "/v1/lookup", "/v1/lookup?key=1", "", 304, {{"If-None-Match", "*"}}},
      {"GET", "/v1/lookup", "/v1/lookup?key=1", "", 412, {{"If-Match", "\"999\""}}},
      {"GET", "/v1/lookup", "/v1/lookup", "", 400},
      {"GET", "/v1/lookup", "/v1/lookup?key=3", "", 404},
      {"GET", "/v1/lookup_raw", "/v1/lookup_raw?key=2", "", 204},
      {"GET", "/v1/lookup_raw", "/v1/lookup_raw?key=", "", 400},
      {"GET", "/v1/lookup_raw", "/v1/lookup_raw?key=3", "", 404},
      {"PUT", "/v1/kv/{key}", "/v1/kv/1", "one", 412, {{"If-None-Match", "*"}}},
      {"PUT", "/v1/kv/{key}", "/v1/kv/1", "one", 415, {{"Content-Encoding", "gzip"}}},
      {"DELETE", "/v1/kv/{key}", "/v1/kv/1", "", 412, {{"If-Match", "\"999\""}}},
      {"POST", "/v1/batch", "/v1/batch", R"({"op":"put","key":5,"value":"five"})", 200},
      {"POST", "/v1/batch", "/v1/batch", "{", 400},
      {"POST", "/v1/batch", "/v1/batch",
       R"({"op":"put",)" + put_body("1", std::string(2000, 'x')).substr(1), 413},
      {"POST", "/v1/batch", "/v1/batch", batch_of(50), 413},
      {"POST", "/v1/batch", "/v1/batch", R"({"op":"delete","key":4,"if_match":"*"})", 412},
      {"POST", "/v1/batch", "/v1/batch", "x", 415, {{"Content-Type", "text/html"}}},
      {"POST", "/v1/mget", "/v1/mget", R"({"keys":[1,"2",3]})", 200},
      {"POST", "/v1/mget", "/v1/mget", std::string(16, 'k'), 200, {{"Content-Type", kOctets}}},
      {"POST", "/v1/mget", "/v1/mget", "{}", 400},
      {"POST", "/v1/mget", "/v1/mget", R"({"keys":[1,2,3,4,5]})", 413},
      {"POST", "/v1/mget", "/v1/mget", "x", 415, {{"Content-Type", "text/html"}}},
      {"GET", "/v1/scan", "/v1/scan?start=0&end=100&limit=1", "", 200},
      {"GET", "/v1/scan", "/v1/scan", "", 200, {{"Accept", "application/x-ndjson"}}},
      {"GET", "/v1/scan", "/v1/scan?limit=0", "", 400},
      {"GET", "/v1/count", "/v1/count?start=1", "", 200},
      {"GET", "/v1/count", "/v1/count?start=x", "", 400},
      {"DELETE", "/v1/scan", "/v1/scan?start=700", "", 200},
      {"DELETE", "/v1/scan", "/v1/scan?start=7&limit=0", "", 400},
      {"GET", "/v1/floor/{key}", "/v1/floor/2", "", 200},
      {"GET", "/v1/floor/{key}", "/v1/floor/two", "", 400},
      {"GET", "/v1/floor/{key}", "/v1/floor/0", "", 404},
      {"GET", "/v1/ceil/{key}", "/v1/ceil/2", "", 200},
      {"GET", "/v1/ceil/{key}", "/v1/ceil/", "", 400},
      {"GET", "/v1/ceil/{key}", "/v1/ceil/18446744073709551615", "", 404},
      {"PUT", "/v1/kv/{key}", "/v1/kv/9?ttl=1000", "nine", 201},
      {"PUT", "/v1/kv/{key}", "/v1/kv/9?ttl=0", "nine", 400},
      {"GET", "/v1/kv/{key}", "/v1/kv/9", "", 200},
      {"GET", "/v1/kv/{key}", "/v1/kv/9", "", 304, {{"If-None-Match", "*"}}},
      {"GET", "/v1/get_fast/{key}", "/v1/get_fast/9", "", 200},
      {"GET", "/v1/lookup_fast/{key}", "/v1/lookup_fast/9", "", 200},
      {"GET", "/v1/lookup", "/v1/lookup?key=9", "", 200},
      {"GET", "/v1/lookup", "/v1/lookup?key=9", "", 304, {{"If-None-Match", "*"}}},
      {"GET", "/v1/lookup_raw", "/v1/lookup_raw?key=9", "", 204},
      {"GET", "/v1/floor/{key}", "/v1/floor/9", "", 200},
      {"GET", "/v1/ceil/{key}", "/v1/ceil/9", "", 200},
      {"GET", "/v1/offset", "/v1/offset", "", 200},
      {"GET", "/v1/offset", "/v1/offset?min_offset=x", "", 400},
      {"GET", "/v1/replay", "/v1/replay", "", 200},
      {"GET", "/v1/replay", "/v1/replay?limit=0", "", 400},
      {"GET", "/v1/replay", "/v1/replay?start=1000", "", 410},
      {"GET", "/v1/subscribe", "/v1/subscribe?from=x", "", 400},
      {"GET", "/v1/subscribe", "/v1/subscribe?from=1000", "", 410},
      {"POST", "/v1/snapshot", "/v1/snapshot", "", 200},
      {"POST", "/v1/compact", "/v1/compact", "", 200},
      {"POST", "/v1/rmi/build", "/v1/rmi/build", "", 200},
      {"POST", "/v1/warmup", "/v1/warmup", "", 200},
      {"POST", "/v1/backup", "/v1/backup?name=b", "", 200},
      {"POST", "/v1/backup", "/v1/backup?name=b", "", 409},
      {"POST", "/v1/backup", "/v1/backup?name=.", "", 400},
      {"GET", "/v1/backup", "/v1/backup", "", 200},
      {"GET", "/v1/backup", "/v1/backup?name=b", "", 400},
      {"GET", "/v1/backups", "/v1/backups", "", 200},
      {"GET", "/v1/backups", "/v1/backups?name=b", "", 400},
      {"DELETE", "/v1/backups", "/v1/backups?name=b", "", 204},
      {"DELETE", "/v1/backups", "/v1/backups?name=b", "", 404},
      {"DELETE", "/v1/backups", "/v1/backups?name=.", "", 400},
      {"GET", "/health", "/health", "", 200},
      {"GET", "/ready", "/ready", "", 200},
      {"GET", "/metrics", "/metrics", "", 200},
      {"GET", "/build_info", "/build_info", "", 200},
      {"GET", "/v1/status", "/v1/status?history=3&sample=3", "", 200},
      {"GET", "/v1/status", "/v1/status?sample=many", "", 400},
      {"GET", "/", "/", "", 200},
      {"GET", "/", "/", "", 200, {{"Accept", "text/html"}}},
  };
  return kProbes;
}

using Seen = std::set<std::pair<std::string, int>>;

void note(Seen& seen, const std::string& path, const std::string& method, int status) {
  seen.emplace(method + " " + path, status);
}

// Every operation that may answer `status` does, within a few attempts, to a client without
// credentials.
void check_everywhere(Client& client, Seen& seen, int status, const HeaderList& headers,
                      int attempts) {
  for (const auto& [path, described] : paths()) {
    for (const std::string& method : described_methods(described)) {
      if (operation(path, method).at("responses").find(std::to_string(status)) == nullptr) continue;
      HttpResponse answer;
      for (int i = 0; i < attempts && answer.status != status; ++i) {
        answer =
            client.call(method, with_key(path) + "?name=n", method == "PUT" ? "v" : "", headers);
      }
      INFO(method << " " << path);
      CHECK(answer.status == status);
      check_described(path, method, answer);
      note(seen, path, method, status);
    }
  }
}

// What asks a server that has another slot for key 7.
void check_wrong_shard(Client& client, Seen& seen) {
  const std::string line = R"({"op":"delete","key":7})";
  const std::vector<Probe> probes = {
      {"GET", "/v1/kv/{key}", "/v1/kv/7", "", 421},
      {"PUT", "/v1/kv/{key}", "/v1/kv/7", "x", 421},
      {"DELETE", "/v1/kv/{key}", "/v1/kv/7", "", 421},
      {"GET", "/v1/get_fast/{key}", "/v1/get_fast/7", "", 421},
      {"GET", "/v1/lookup_fast/{key}", "/v1/lookup_fast/7", "", 421},
      {"GET", "/v1/lookup", "/v1/lookup?key=7", "", 421},
      {"GET", "/v1/lookup_raw", "/v1/lookup_raw?key=7", "", 421},
      {"GET", "/v1/subscribe", "/v1/subscribe?key=7", "", 421},
      {"POST", "/v1/mget", "/v1/mget", R"({"keys":[7]})", 421},
      {"POST", "/v1/put", "/v1/put", put_body("7", "x"), 421},
      {"POST", "/v1/batch", "/v1/batch", line, 421},
  };
  for (const Probe& probe : probes) {
    for (const char* method : {probe.method.c_str(), "HEAD"}) {
      if (method == std::string("HEAD") && probe.method != "GET") continue;
      INFO(method << " " << probe.target);
      const HttpResponse answer = client.call(method, probe.target, probe.body);
      CHECK(answer.status == probe.status);
      check_described(probe.path, method, answer);
      note(seen, probe.path, method, answer.status);
    }
  }
}

}  // namespace

TEST_CASE("Every route and method is described, and nothing else") {
  std::set<std::string> routes;
  for (const RouteInfo& info : kHttpRoutes) {
    INFO(info.path);
    routes.insert(spec_path(info));
    const JsonTree& path = api().at("paths").at(spec_path(info));
    CHECK(described_methods(path) == allowed_methods(info.allow));
    const JsonTree* parameters = path.find("parameters");
    CHECK((parameters != nullptr) == info.takes_key);
    for (const auto& [method, operation] : path.fields) {
      if (method == "parameters") continue;
      const JsonTree& responses = operation.at("responses");
      CHECK((operation.find("security") != nullptr) == info.is_probe);
      CHECK((responses.find("503") != nullptr) == (info.needs_engine || info.path == "/ready"));
    }
  }
  for (const auto& [path, unused] : paths()) {
    INFO(path);
    CHECK(routes.contains(path));
  }
}

TEST_CASE("The live server answers the methods that are described, and 405 to the rest", "[e2e]") {
  Served served;
  for (const auto& [path, described] : paths()) {
    const std::set<std::string> methods = described_methods(described);
    const HttpResponse options = served.client.call("OPTIONS", with_key(path));
    INFO(path << " " << options.status);
    CHECK(options.status == 204);
    CHECK(allowed_methods(options.header("allow")) == methods);
    for (const char* method : {"GET", "HEAD", "PUT", "POST", "DELETE"}) {
      if (methods.contains(method)) continue;
      CHECK(served.client.call(method, with_key(path)).status == 405);
    }
  }
}

TEST_CASE("Every answer is one that is described, and those described occur", "[e2e]") {
  Seen seen;
  {
    TempDir dir;
    std::filesystem::create_directory(dir.file("backups"));
    ServerProcess server(dir.file("data"), {"--max-value-bytes", "1000", "--protect-metrics",
                                            "--backup-dir", dir.file("backups"),
                                            "--max-batch-bytes", "1000", "--max-mget-keys", "4"});
    Client client(server);
    for (const Probe& probe : probes()) {
      INFO(probe.method << " " << probe.target);
      const HttpResponse answer =
          client.call(probe.method, probe.target, probe.body, probe.headers);
      CHECK(answer.status == probe.status);
      check_described(probe.path, probe.method, answer);
      note(seen, probe.path, probe.method, answer.status);
      if (probe.method != "GET") continue;
      if (probe.target.ends_with('9')) CHECK(!answer.header("kyro-expires").empty());
      const HttpResponse head = client.call("HEAD", probe.target, probe.body, probe.headers);
      CHECK(head.status == probe.status);
      check_described(probe.path, "HEAD", head);
      note(seen, probe.path, "HEAD", head.status);
    }
    for (const auto& [path, described] : paths()) {
      for (const std::string& method : described_methods(described)) {
        if (operation(path, method).at("responses").find("411") == nullptr) continue;
        const HttpResponse answer =
            client.raw(method + " " + with_key(path) + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
        CHECK(answer.status == 411);
        note(seen, path, method, answer.status);
      }
    }
    check_everywhere(client, seen, 403, {{"Origin", "http://example.org"}}, 1);
    // A stream has begun, not ended.
    client.must_send("GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 "));
    note(seen, "/v1/subscribe", "GET", 200);
    Client another(server);
    CHECK(another.call("HEAD", "/v1/subscribe").status == 200);
    note(seen, "/v1/subscribe", "HEAD", 200);
  }
  {
    Served protected_one({"--auth-token", "t", "--protect-metrics"});
    check_everywhere(protected_one.client, seen, 401, {}, 1);
  }
  {
    Served sharded({"--slots", std::to_string(slot_of(0))});
    check_wrong_shard(sharded.client, seen);
  }
  {
    Served limited({"--rate-data", "1:1", "--rate-admin", "1:1"});
    check_everywhere(limited.client, seen, 429, {}, 100);
  }
  // What takes a broken disk, a full one or a server that is not ready has tests of its own.
  const std::set<std::string> elsewhere = {"500", "503", "507"};
  size_t described_count = 0;
  std::vector<std::string> missing;
  for (const auto& [path, described] : paths()) {
    for (const std::string& method : described_methods(described)) {
      for (const auto& [status, unused] : operation(path, method).at("responses").fields) {
        if (elsewhere.contains(status)) continue;
        ++described_count;
        if (seen.contains({method + " " + path, std::stoi(status)})) continue;
        missing.push_back(method + " " + path + " " + status);
      }
    }
  }
  std::printf("openapi.json: %zu of %zu pairs of operation and status seen\n",
              described_count - missing.size(), described_count);
  for (const std::string& pair : missing) FAIL_CHECK(pair << " is described and was not seen");
}

}  // namespace kyro::test
