// Ranges without their records: deleting and counting them, and the moment that an answer is of.
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include "test/support/ctl.h"
#include "test/support/json_tree.h"

using namespace kyro;
using namespace kyro::test;

namespace {

constexpr std::string_view kHighestKey = "18446744073709551615";

// Keys [0, count), each with the value "v", in one batch each thousand.
void put_keys(Client& client, uint64_t count) {
  for (uint64_t key = 0; key < count;) {
    std::string lines;
    for (const uint64_t end = std::min(key + 1000, count); key < end; ++key) {
      lines += "{\"op\":\"put\",\"key\":" + std::to_string(key) + ",\"value\":\"v\"}\n";
    }
    REQUIRE(client.call("POST", "/v1/batch", lines).status == 200);
  }
}

std::string delete_range(Client& client, const std::string& query) {
  const HttpResponse response = client.call("DELETE", "/v1/scan?" + query);
  INFO(query << ": " << response.body);
  CHECK(response.status == 200);
  CHECK(is_json(response));
  return response.body;
}

uint64_t number_of(const std::string& body, const char* field) {
  const JsonTree answer = JsonTree::parse(body);
  return std::stoull(answer.at(field).text);
}

}  // namespace

TEST_CASE("A deleted range is gone, in memory and in runs, and what lies beside it is not",
          "[e2e]") {
  Served s({"--fsync", "never"});
  put_keys(s.client, 10'000);
  const bool in_runs = GENERATE(false, true);
  if (in_runs) REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  REQUIRE(s.client.call("PUT", "/v1/kv/" + std::string(kHighestKey), "last").status == 201);
  REQUIRE(s.client.call("DELETE", "/v1/kv/200").status == 204);
  CHECK(delete_range(s.client, "start=100&end=9000") == R"({"deleted":8899,"complete":true})");
  CHECK(delete_range(s.client, "start=100&end=9000") == R"({"deleted":0,"complete":true})");
  CHECK(s.client.get("/v1/count").body ==
        R"({"count":1101,"as_of":)" + std::to_string(s.client.next_offset()) + "}");
  CHECK(s.client.get("/v1/kv/99").status == 200);
  CHECK(s.client.get("/v1/kv/100").status == 404);
  CHECK(s.client.get("/v1/kv/8999").status == 404);
  CHECK(s.client.get("/v1/kv/9000").status == 200);
  // Every key of the log has one deletion, and no more.
  CHECK(s.client.metric("kyrodb_deletes_total") == "8900");
  // A merge of everything makes the estimate exact.
  REQUIRE(s.client.call("POST", "/v1/compact").status == 200);
  CHECK(s.client.metric("kyrodb_keys") == "1101");
  // It holds after a restart too.
  REQUIRE(s.server.stop().exit_code == 0);
  s.server.start();
  Client again(s.server);
  CHECK(number_of(again.get("/v1/count").body, "count") == 1101);
  CHECK(delete_range(again, "start=0") == R"({"deleted":1101,"complete":true})");
  CHECK(again.get("/v1/scan").body.starts_with(R"({"items":[],"complete":true)"));
}

TEST_CASE("A deletion with a limit says where to go on, until nothing is left", "[e2e]") {
  Served s;
  put_keys(s.client, 10);
  CHECK(delete_range(s.client, "start=2&end=9&limit=3") ==
        R"({"deleted":3,"complete":false,"next":5})");
  CHECK(delete_range(s.client, "start=5&end=9&limit=1&keys=string") ==
        R"({"deleted":1,"complete":false,"next":"6"})");
  CHECK(delete_range(s.client, "start=6&end=9&limit=3") == R"({"deleted":3,"complete":true})");
  CHECK(delete_range(s.client, "start=6&end=9") == R"({"deleted":0,"complete":true})");
  CHECK(number_of(s.client.get("/v1/count").body, "count") == 3);
}

TEST_CASE("A deletion of a range takes no key twice, and no empty or backward range", "[e2e]") {
  Served s;
  put_keys(s.client, 3);
  const uint64_t before = s.client.next_offset();
  for (const char* query : {"start=2&end=2", "start=2&end=1", "start=0&end=0", "start=3"}) {
    CHECK(delete_range(s.client, query) == R"({"deleted":0,"complete":true})");
  }
  CHECK(s.client.next_offset() == before);
}

TEST_CASE("A deletion of a range that could be a mistake is refused", "[e2e]") {
  TempDir dir;
  write_file(dir.file("full"), "full-token-0123456789");
  write_file(dir.file("read"), "read-token-0123456789");
  Served s({"--auth-token-file", dir.file("full"), "--read-token-file", dir.file("read")});
  const auto ask = [&](const std::string& query, const HeaderList& more = {}) {
    HeaderList headers = bearer("full-token-0123456789");
    headers.insert(headers.end(), more.begin(), more.end());
    return s.client.call("DELETE", "/v1/scan" + query, {}, headers);
  };
  for (const char* query :
       {"", "?end=5", "?start=", "?start=x", "?start=0&limit=0", "?start=0&ende=5",
        "?start=0&reverse=1", "?start=0&keys_only=1", "?start=0&keys=x"}) {
    INFO(query);
    check_error(ask(query), 400, "invalid");
  }
  check_error(ask("?start=0", {{"If-Match", "*"}}), 400, "invalid");
  check_error(s.client.call("DELETE", "/v1/scan?start=0", {}, bearer("read-token-0123456789")), 403,
              "forbidden");
  CHECK(s.client.call("GET", "/v1/count", {}, bearer("read-token-0123456789")).status == 200);
  check_error(s.client.get("/v1/count"), 401, "unauthorized");
}

TEST_CASE("A deletion of a range keeps its place among the writes of its connection", "[e2e]") {
  Served s;
  put_keys(s.client, 5000);
  s.client.must_send(
      "PUT /v1/kv/7 HTTP/1.1\r\nHost: localhost\r\nIf-Match: *\r\nContent-Length: 1\r\n\r\na"
      "DELETE /v1/scan?start=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "PUT /v1/kv/4999 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nb"
      "GET /v1/scan HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(s.client.next().status == 204);
  CHECK(s.client.next().body == R"({"deleted":5000,"complete":true})");
  CHECK(s.client.next().status == 201);
  CHECK(contains(s.client.next().body, R"({"items":[{"key":4999,"value":"b",)"));
}

TEST_CASE("A count is what a scan of the same moment would find", "[e2e]") {
  const uint64_t seed = test_seed(77);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Served s({"--fsync", "never", "--delta-max-bytes", "64K"});
  std::map<uint64_t, bool> oracle;
  for (int round = 0; round < 20; ++round) {
    std::string lines;
    for (int i = 0; i < 200; ++i) {
      const uint64_t key = random() % 2000;
      const uint64_t kind = random() % 4;
      lines += kind == 0 ? "{\"op\":\"delete\",\"key\":" + std::to_string(key) + "}\n"
                         : "{\"op\":\"put\",\"key\":" + std::to_string(key) + ",\"value\":\"v\"" +
                               (kind == 1 ? ",\"expires\":1" : "") + "}\n";
      oracle[key] = kind > 1;
    }
    REQUIRE(s.client.call("POST", "/v1/batch", lines).status == 200);
    const uint64_t start = random() % 2000;
    const uint64_t end = start + random() % 1000;
    uint64_t wanted = 0;
    for (const auto& [key, is_live] : oracle) wanted += is_live && key >= start && key < end;
    const std::string range = "?start=" + std::to_string(start) + "&end=" + std::to_string(end);
    CHECK(number_of(s.client.get("/v1/count" + range).body, "count") == wanted);
  }
  for (const char* query : {"start=x", "end=", "limit=1", "start=1&start=1"}) {
    check_error(s.client.get(std::string("/v1/count?") + query), 400, "invalid");
  }
  CHECK(number_of(s.client.get("/v1/count?end=0").body, "count") == 0);
}

// What a consumer does that was told 410: it takes everything as of one moment, and the log from
// there on.
TEST_CASE("A scan and the log from its moment on are the whole, without gap or duplicate",
          "[e2e]") {
  Served s({"--fsync", "never", "--delta-max-bytes", "64K"});
  put_keys(s.client, 3000);
  std::thread writer([&] {
    HttpClient client(s.server.endpoint());
    HttpResponse response;
    for (int i = 0; i < 2000; ++i) {
      const std::string key = std::to_string(i * 7 % 3000);
      const bool is_delete = i % 3 == 0;
      static_cast<void>(client.request(is_delete ? "DELETE" : "PUT", "/v1/kv/" + key,
                                       is_delete ? "" : std::to_string(i), &response));
    }
  });
  std::map<std::string, std::string> copy;  // key → offset of its version
  const std::string all =
      s.client.get("/v1/scan?keys_only=1", {{"Accept", "application/x-ndjson"}}).body;
  writer.join();
  std::string as_of;
  for (size_t at = 0; at < all.size(); at = all.find('\n', at) + 1) {
    const JsonTree line = JsonTree::parse(all.substr(at, all.find('\n', at) - at));
    if (line.find("key") != nullptr) {
      copy[line.at("key").text] = line.at("offset").text;
      CHECK(as_of.empty());
    } else {
      as_of = line.at("as_of").text;
    }
  }
  REQUIRE(!as_of.empty());
  uint64_t expected = std::stoull(as_of);
  for (const auto& [key, offset] : copy) REQUIRE(std::stoull(offset) < expected);
  const std::string log = s.client.get("/v1/replay?start=" + as_of).body;
  for (size_t at = 0; at < log.size(); at = log.find('\n', at) + 1) {
    const JsonTree line = JsonTree::parse(log.substr(at, log.find('\n', at) - at));
    REQUIRE(std::stoull(line.at("offset").text) == expected++);
    if (line.at("op").text == "put") {
      copy[line.at("key").text] = line.at("offset").text;
    } else {
      copy.erase(line.at("key").text);
    }
  }
  CHECK(expected == s.client.next_offset());
  const JsonTree page = JsonTree::parse(s.client.get("/v1/scan?keys_only=1&limit=10000").body);
  std::map<std::string, std::string> wanted;
  for (const JsonTree& item : page.at("items").elements) {
    wanted[item.at("key").text] = item.at("offset").text;
  }
  CHECK(copy == wanted);
}

TEST_CASE("kyrodbctl counts and deletes ranges, and asks before it does", "[e2e]") {
  const CtlSession s;
  Client client(s.server);
  put_keys(client, 100);
  CHECK(contains(s.ctl({"count", "--start", "90"}).out, "count: 10\n"));
  CHECK(s.ctl({"count", "--json", "--end=5"}).out == R"({"count":5,"as_of":100})"
                                                     "\n");
  check_fails(s.ctl({"delete-range", "--yes"}), 2, "--start says where the range begins");
  check_fails(s.ctl({"delete-range", "--start", "0"}), 2, "give --yes");
  CHECK(s.ctl({"delete-range", "--start=0", "--end=10", "--yes"}).out ==
        "deleted: 10\ncomplete: true\n");
  CHECK(s.ctl({"delete-range", "--start=0", "--limit=5", "--yes", "--json"}).out ==
        "{\"deleted\":5,\"complete\":false,\"next\":15}\n");
  // On a terminal, which script(1) is.
  const std::string ask = client_binary() + " -e " + s.server.url() + " delete-range --start 50";
  const auto on_terminal = [&](const char* answer) {
    return run_program(
        {"/bin/sh", "-c",
         std::string("printf '") + answer + "\\n' | script -qec '" + ask + "' /dev/null"});
  };
  const Outcome no = on_terminal("n");
  CHECK(contains(no.out, "delete 50 keys, from 50 on? [y/N]"));
  CHECK(contains(no.out, "nothing was deleted"));
  CHECK(number_of(client.get("/v1/count").body, "count") == 85);
  CHECK(contains(on_terminal("y").out, "deleted: 50"));
  CHECK(number_of(client.get("/v1/count").body, "count") == 35);
}
