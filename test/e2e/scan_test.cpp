// The ordered reads over a real socket: pages, lines, floor and ceil, every edge and every error.

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

constexpr std::string_view kLastKey = "18446744073709551615";
const HeaderList kLines = {{"Accept", "application/x-ndjson"}};

void put(Client& client, std::string_view key, std::string_view value) {
  REQUIRE(client.call("PUT", "/v1/kv/" + std::string(key), value).status / 100 == 2);
}

uint64_t resident_kib(pid_t pid, const std::string& field) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(field)) return std::stoull(line.substr(field.size() + 1));
  }
  FAIL("no " << field);
  return 0;
}

}  // namespace

TEST_CASE("A page that a larger limit than there is would not have ended says so", "[e2e]") {
  Served s({"--fsync", "never"});
  std::string lines;
  for (int key = 0; key < 10001; ++key) {
    lines += "{\"op\":\"put\",\"key\":" + std::to_string(key) + ",\"value\":\"\"}\n";
  }
  REQUIRE(s.client.call("POST", "/v1/batch", lines).status == 200);
  const auto scan = [&](const char* query) {
    return s.client.get(std::string("/v1/scan?keys_only=1&") + query).body;
  };
  CHECK(scan("limit=10001")
            .ends_with("\"complete\":false,\"next\":10000,\"limit\":10000,\"as_of\":10001}"));
  CHECK(scan("limit=10000").ends_with("\"complete\":false,\"next\":10000,\"as_of\":10001}"));
  CHECK(scan("limit=10001&start=1").ends_with("\"complete\":true,\"as_of\":10001}"));
}

TEST_CASE("Scan pages hold what lies in the range, up and down, and say how to go on", "[e2e]") {
  Served s;
  for (const std::string_view key : {"0", "3", "5", "9"}) put(s.client, key, "v");
  put(s.client, kLastKey, "max");
  REQUIRE(s.client.call("DELETE", "/v1/kv/5").status == 204);
  if (GENERATE(false, true)) REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  const auto page = [&](const std::string& query) {
    const HttpResponse response = s.client.get("/v1/scan?keys_only=1&" + query);
    INFO(query);
    CHECK(response.status == 200);
    CHECK(!response.header("content-length").empty());
    CHECK(is_json(response));
    return response.body;
  };
  const std::string zero = R"({"key":0,"offset":0})", three = R"({"key":3,"offset":1})",
                    nine = R"({"key":9,"offset":3})",
                    max = "{\"key\":" + std::string(kLastKey) + ",\"offset\":4}";
  const auto done = [](const std::string& items) {
    return "{\"items\":[" + items + "],\"complete\":true,\"as_of\":6}";
  };
  const auto more = [](const std::string& items, const std::string& next) {
    return "{\"items\":[" + items + "],\"complete\":false,\"next\":" + next + ",\"as_of\":6}";
  };
  CHECK(page("") == done(zero + "," + three + "," + nine + "," + max));
  CHECK(page("reverse=1") == done(max + "," + nine + "," + three + "," + zero));
  CHECK(page("start=0&end=9") == done(zero + "," + three));
  CHECK(page("start=4&end=9").ends_with("[],\"complete\":true,\"as_of\":6}"));
  CHECK(page("start=9&end=3") == done(""));
  CHECK(page("end=0") == done(""));
  CHECK(page("end=1&reverse=1") == done(zero));
  CHECK(page("start=" + std::string(kLastKey)) == done(max));
  CHECK(page("limit=4") == done(zero + "," + three + "," + nine + "," + max));
  CHECK(page("limit=2") == more(zero + "," + three, "9"));
  CHECK(page("limit=2&start=9") == done(nine + "," + max));
  CHECK(page("limit=3") == more(zero + "," + three + "," + nine, std::string(kLastKey)));
  CHECK(page("limit=1&reverse=1") == more(max, "10"));
  CHECK(page("limit=2&reverse=1&end=10") == more(nine + "," + three, "1"));
  CHECK(page("limit=2&reverse=1&end=1") == done(zero));
  CHECK(page("limit=2&keys=string") ==
        more(R"({"key":"0","offset":0},{"key":"3","offset":1})", "\"9\""));
  CHECK(page("limit=99999999") == page(""));
  CHECK(s.client.get("/v1/scan?strat=3").status == 400);
  CHECK(s.client.get("/v1/scan?start=3&end=4").body ==
        R"({"items":[{"key":3,"value":"v","offset":1}],"complete":true,"as_of":6})");

  const HttpResponse head = s.client.call("HEAD", "/v1/scan?keys_only=1&limit=1");
  CHECK(head.status == 200);
  CHECK(head.body.empty());
  CHECK(!head.header("content-length").empty());
  for (const std::string query : {"start=", "start=-1", "end=x", "limit=0", "limit=1&limit=1",
                                  "reverse=2", "keys_only=yes", "limit=18446744073709551616"}) {
    INFO(query);
    check_error(s.client.get("/v1/scan?" + query), 400, "invalid");
  }
  CHECK(s.client.call("POST", "/v1/scan", "").header("allow") == "GET, HEAD, DELETE, OPTIONS");
}

TEST_CASE("Scan lines are the whole range and a trailer, pages where a limit is given", "[e2e]") {
  Served s;
  for (int key = 1; key <= 250; ++key) put(s.client, std::to_string(key), "v");
  const HttpResponse all = s.client.get("/v1/scan?keys_only=1", kLines);
  CHECK(all.header("content-type") == "application/x-ndjson");
  CHECK(std::count(all.body.begin(), all.body.end(), '\n') == 251);
  CHECK(all.body.starts_with("{\"key\":1,\"offset\":0}\n"));
  CHECK(all.body.ends_with("{\"key\":250,\"offset\":249}\n{\"complete\":true,\"as_of\":250}\n"));
  CHECK(s.client.get("/v1/scan?keys_only=1&limit=1&reverse=1", kLines).body ==
        "{\"key\":250,\"offset\":249}\n{\"complete\":false,\"next\":250,\"as_of\":250}\n");
  CHECK(s.client.get("/v1/scan?start=500", kLines).body == "{\"complete\":true,\"as_of\":250}\n");
  // A page has a hundred items unless it is told otherwise.
  CHECK(s.client.get("/v1/scan").body.ends_with(",\"complete\":false,\"next\":101,\"as_of\":250}"));
  const HeaderList weighed = {{"Accept", "text/html, application/x-ndjson;q=0.5"}};
  CHECK(s.client.get("/v1/scan?start=500", weighed).body == "{\"complete\":true,\"as_of\":250}\n");
}

TEST_CASE("A page ends at 8 MiB, and a large export neither loses a key nor holds memory",
          "[e2e]") {
  Served s({"--fsync", "never"});
  constexpr int kKeys = 300;
  const std::string value(200'000, 'x');
  for (int key = 0; key < kKeys; ++key) put(s.client, std::to_string(key), value);
  REQUIRE(s.client.call("POST", "/v1/compact").status == 200);

  size_t keys = 0;
  size_t pages = 0;
  for (std::string next = "0"; !next.empty(); ++pages) {
    const std::string body = s.client.get("/v1/scan?limit=10000&start=" + next).body;
    CHECK(body.size() < 8 * 1024 * 1024 + value.size() + 200);
    for (size_t at = 0; (at = body.find("{\"key\":", at)) != body.npos; ++at) ++keys;
    const size_t mark = body.rfind("\"next\":");
    next = mark == body.npos ? "" : body.substr(mark + 7, body.find(',', mark) - mark - 7);
    CHECK(next.empty() == (body.find("\"complete\":true") != body.npos));
  }
  CHECK(keys == kKeys);
  CHECK(pages == kKeys * value.size() / (8 * 1024 * 1024) + 1);

  // 60 MB, read by nobody at first: the server may hold a slice of it.
  const uint64_t before_kib = resident_kib(s.server.process().pid(), "RssAnon:");
  Client slow(s.server);
  slow.must_send(
      "GET /v1/scan HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n");
  REQUIRE(s.client.get("/v1/offset").status == 200);
  const HttpResponse all = slow.next();
  CHECK(std::count(all.body.begin(), all.body.end(), '\n') == kKeys + 1);
  CHECK(contains(all.body, "\n{\"complete\":true,"));
  CHECK(resident_kib(s.server.process().pid(), "RssAnon:") < before_kib + 8 * 1024);
}

TEST_CASE("A stop lets an export that is being sent come to its end", "[e2e]") {
  Served s({"--fsync", "never"});
  constexpr int kKeys = 100;
  for (int key = 0; key < kKeys; ++key)
    put(s.client, std::to_string(key), std::string(100'000, 'x'));
  Client slow(s.server);
  slow.must_send(
      "GET /v1/scan HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n");
  const std::string begun = slow.read_until("\"value\"");
  s.server.process().signal(SIGTERM);
  REQUIRE(s.server.process().wait_for_err(" stopping "));
  std::string rest = begun;
  fcntl(slow.fd(), F_SETFL, 0);  // waits
  char piece[65536];
  for (ssize_t n; (n = recv(slow.fd(), piece, sizeof piece, 0)) > 0;) {
    rest.append(piece, static_cast<size_t>(n));
  }
  CHECK(rest.find("{\"complete\":true,") != rest.npos);
  CHECK(rest.ends_with("0\r\n\r\n"));
  CHECK(s.server.process().wait().exit_code == 0);
}

TEST_CASE("Floor and ceil find the nearest key, or say that there is none", "[e2e]") {
  Served s;
  check_error(s.client.get("/v1/floor/7"), 404, "not_found");
  put(s.client, "0", "zero");
  put(s.client, "10", "ten");
  put(s.client, "11", "gone");
  put(s.client, kLastKey, "max");
  REQUIRE(s.client.call("DELETE", "/v1/kv/11").status == 204);
  const std::string zero = R"({"key":0,"value":"zero","offset":0})";
  const std::string ten = R"({"key":10,"value":"ten","offset":1})";
  const std::string max = "{\"key\":" + std::string(kLastKey) + R"(,"value":"max","offset":3})";
  const std::pair<std::string, std::string> expected[] = {{"/v1/floor/0", zero},
                                                          {"/v1/floor/9", zero},
                                                          {"/v1/floor/10", ten},
                                                          {"/v1/floor/12", ten},
                                                          {"/v1/ceil/0", zero},
                                                          {"/v1/ceil/1", ten},
                                                          {"/v1/ceil/10", ten},
                                                          {"/v1/ceil/11", max},
                                                          {"/v1/ceil/18446744073709551615", max},
                                                          {"/v1/floor/18446744073709551615", max}};
  for (const auto& [target, body] : expected) {
    INFO(target);
    const HttpResponse response = s.client.get(target);
    CHECK(response.status == 200);
    CHECK(response.body == body);
    CHECK(response.header("etag") == "\"" + body.substr(body.rfind(':') + 1, 1) + "\"");
    CHECK(s.client.call("HEAD", target).header("content-length") == std::to_string(body.size()));
  }
  CHECK(s.client.get("/v1/floor/9?keys=string").body.starts_with("{\"key\":\"0\""));
  REQUIRE(s.client.call("DELETE", kv_path(0)).status == 204);
  check_error(s.client.get("/v1/floor/9"), 404, "not_found");
  for (const std::string target : {"/v1/floor/", "/v1/ceil/x", "/v1/ceil/-1", "/v1/floor/01"}) {
    check_error(s.client.get(target), 400, "bad_key");
  }
}

TEST_CASE("Nearest keys after tens of thousands of tombstones are found in slices", "[e2e]") {
  Served s({"--fsync", "never"});
  put(s.client, "1000000", "far");
  std::string pipelined;
  constexpr int kTombstones = 20'000;
  for (int key = 0; key < kTombstones; ++key) {
    pipelined += "PUT /v1/kv/" + std::to_string(key) +
                 " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nxDELETE /v1/kv/" +
                 std::to_string(key) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  }
  Status sent;
  std::thread sender([&] { sent = s.client.send_raw(pipelined); });
  for (int i = 0; i < kTombstones; ++i) {
    const int created = s.client.next().status;
    const int removed = s.client.next().status;
    if (created != 201 || removed != 204) FAIL_CHECK(created << " " << removed);
  }
  sender.join();
  CHECK(sent.ok());
  CHECK(s.client.get("/v1/ceil/0").body.starts_with("{\"key\":1000000,"));
  check_error(s.client.get("/v1/floor/999999"), 404, "not_found");
  CHECK(s.client.get("/v1/scan?keys_only=1").body.starts_with("{\"items\":[{\"key\":1000000,"));
}
