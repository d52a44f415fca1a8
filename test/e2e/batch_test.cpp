// POST /v1/batch and lifetimes over real sockets.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "kyro/base/limits.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;
using Catch::Matchers::Contains;

namespace {

std::string put_line(uint64_t key, std::string_view value, std::string_view more = {}) {
  return "{\"op\":\"put\",\"key\":" + std::to_string(key) + ",\"value\":\"" + std::string(value) +
         "\"" + std::string(more) + "}\n";
}
std::string delete_line(uint64_t key, std::string_view more = {}) {
  return "{\"op\":\"delete\",\"key\":" + std::to_string(key) + std::string(more) + "}\n";
}

HttpResponse batch(Client& client, std::string_view body, const HeaderList& headers = {}) {
  return client.call("POST", "/v1/batch", body, headers);
}

}  // namespace

TEST_CASE("A batch takes an offset a line, and the last line of a key wins", "[e2e]") {
  Served s;
  const HttpResponse answer =
      batch(s.client, put_line(1, "a") + put_line(2, "b") + delete_line(99) + put_line(1, "c") +
                          delete_line(2));
  CHECK(answer.status == 200);
  CHECK(answer.body == "{\"offset\":4,\"count\":5}");
  CHECK(answer.header("etag") == "\"4\"");
  CHECK(s.client.get("/v1/lookup?key=1").body == "{\"key\":1,\"value\":\"c\",\"offset\":3}");
  CHECK(s.client.get("/v1/kv/2").status == 404);
  CHECK(s.client.next_offset() == 5);
  CHECK(s.client.get("/v1/replay?start=2").body ==
        "{\"offset\":2,\"op\":\"delete\",\"key\":99}\n"
        "{\"offset\":3,\"op\":\"put\",\"key\":1,\"value\":\"c\"}\n"
        "{\"offset\":4,\"op\":\"delete\",\"key\":2}\n");
  // Line ends, types, chunks.
  CHECK(batch(s.client, "{\"op\":\"put\",\"key\":3,\"value\":\"d\"}\r\n\r\n").status == 200);
  CHECK(batch(s.client, "{\"op\":\"put\",\"key\":\"4\",\"value_base64\":\"AP8=\"}").status == 200);
  CHECK(s.client.get("/v1/kv/4").body == std::string("\0\xFF", 2));
  for (const char* type : {"application/json", "application/x-ndjson; charset=utf-8",
                           "Application/X-NDJSON", "application/x-www-form-urlencoded"}) {
    CHECK(batch(s.client, put_line(5, "e"), {{"Content-Type", type}}).status == 200);
  }
  const std::string line = put_line(6, "chunked");
  s.client.must_send(
      "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
      "\r\n5\r\n" +
      line.substr(0, 5) + "\r\n" + "22\r\n" + line.substr(5, 0x22) + "\r\n0\r\n\r\n");
  CHECK(line.size() == 5 + 0x22);
  CHECK(s.client.next().status == 200);
  CHECK(s.client.get("/v1/kv/6").body == "chunked");
}

TEST_CASE("A batch that is refused stores nothing and says which line it was", "[e2e]") {
  Served s({"--max-value-bytes", "1000", "--max-batch-bytes", "64KiB"});
  const auto refused = [&](const std::string& body, int status, std::string_view code,
                           const std::string& message) {
    const HttpResponse answer = batch(s.client, body);
    check_error(answer, status, code);
    CHECK_THAT(answer.body, Contains(message));
  };
  refused("", 400, "invalid", "empty batch");
  refused("\n", 400, "bad_json", "line 1");
  refused(put_line(1, "a") + "\n" + put_line(2, "b"), 400, "bad_json", "line 2");
  refused(put_line(1, "a") + put_line(2, "b") + "{\"op\":\"merge\",\"key\":1}\n", 400, "bad_json",
          "line 3");
  refused(put_line(1, "a") + "{\"op\":\"put\",\"key\":1,\"value\":\"v\"", 400, "bad_json",
          "line 2");
  refused(put_line(1, "a") + put_line(2, std::string(1001, 'v')), 413, "too_large", "line 2");
  refused(put_line(1, "a", ",\"ttl_secs\":0"), 400, "bad_json", "line 1");
  refused(put_line(1, "a", ",\"if_match\":\"x\""), 400, "bad_json", "line 1");
  check_error(batch(s.client, put_line(1, "a"), {{"Content-Type", "text/plain"}}), 415,
              "unsupported_media_type");
  check_error(batch(s.client, put_line(1, "a"), {{"If-Match", "*"}}), 400, "invalid");
  CHECK(batch(s.client, put_line(1, std::string(1000, 'v'))).status == 200);
  std::string large;
  while (large.size() < 64 * kKiB) large += put_line(1, std::string(500, 'v'));
  check_error(batch(s.client, large), 413, "too_large");
  Client fresh(s.server);
  CHECK(fresh.next_offset() == 1);
  check_error(fresh.get("/v1/batch"), 405, "method_not_allowed");
  check_error(fresh.raw("POST /v1/batch HTTP/1.1\r\nHost: localhost\r\n\r\n"), 411,
              "length_required");
}

TEST_CASE("Conditions of lines are judged before the batch, and one that fails fails all",
          "[e2e]") {
  Served s;
  REQUIRE(batch(s.client, put_line(1, "a") + put_line(2, "b")).status == 200);
  if (GENERATE(false, true)) REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  const HttpResponse failed =
      batch(s.client, put_line(1, "x", ",\"if_match\":0") + put_line(3, "x") +
                          put_line(2, "x", ",\"if_none_match\":\"*\""));
  check_error(failed, 412, "precondition_failed");
  CHECK_THAT(failed.body, Contains("line 3: "));
  CHECK(s.client.get("/v1/kv/1").body == "a");
  CHECK(s.client.get("/v1/kv/3").status == 404);
  CHECK(s.client.next_offset() == 2);
  // The second line does not see what the first one does.
  CHECK(batch(s.client, put_line(1, "c", ",\"if_match\":\"0\"") +
                            delete_line(1, ",\"if_match\":0") +
                            put_line(4, "d", ",\"if_none_match\":\"*\"") +
                            put_line(2, "e", ",\"if_match\":\"*\""))
            .body == "{\"offset\":5,\"count\":4}");
  CHECK(s.client.get("/v1/kv/1").status == 404);
  CHECK(s.client.get("/v1/kv/2").body == "e");
  check_error(batch(s.client, delete_line(1, ",\"if_match\":\"*\"")), 412, "precondition_failed");
}

TEST_CASE("A batch of many slices keeps its place among what its connection sends", "[e2e]") {
  Served s;
  // Decoded in slices, with and without conditions, over 16 MiB limits' scale; values that have to
  // be decoded among them.
  constexpr uint64_t kLines = 20000;
  std::string body;
  for (uint64_t key = 0; key < kLines; ++key) {
    body += put_line(key, key % 2 == 0 ? "\\u0041" + std::string(60, 'v') : "plain",
                     key % 4 == 0 ? ",\"if_none_match\":\"*\"" : "");
  }
  const auto request = [](const std::string& head, const std::string& content) {
    return head +
           " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(content.size()) +
           "\r\n\r\n" + content;
  };
  s.client.must_send(request("PUT /v1/kv/50000", "before") + request("POST /v1/batch", body) +
                     request("PUT /v1/kv/7", "behind") +
                     request("POST /v1/batch", put_line(8, "B")) +
                     "GET /v1/kv/6 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(s.client.next().status == 201);
  const HttpResponse answer = s.client.next();
  CHECK(answer.body ==
        "{\"offset\":" + std::to_string(kLines) + ",\"count\":" + std::to_string(kLines) + "}");
  CHECK(s.client.next().status == 204);
  CHECK(s.client.next().body == "{\"offset\":" + std::to_string(kLines + 2) + ",\"count\":1}");
  CHECK(s.client.next().body == "A" + std::string(60, 'v'));
  CHECK(s.client.get("/v1/kv/7").body == "behind");
  CHECK(s.client.get("/v1/kv/8").body == "B");
  CHECK(s.client.get("/v1/kv/19999").body == "plain");
  check_error(batch(s.client, body), 412, "precondition_failed");
  CHECK(s.client.next_offset() == kLines + 3);
  // All of it is there after a crash, as one.
  s.server.kill_hard();
  s.server.start();
  Client again(s.server);
  CHECK(again.get("/v1/kv/19998").body == "A" + std::string(60, 'v'));
  CHECK(again.next_offset() == kLines + 3);
}

TEST_CASE("A record with a lifetime says how long it lives, then is gone everywhere", "[e2e]") {
  Served s;
  CHECK(s.client.call("PUT", "/v1/kv/1?ttl=315360000", "ten years").status == 201);
  const HttpResponse put =
      s.client.call("POST", "/v1/put", R"({"key":2,"value":"short","ttl_secs":1})");
  CHECK(put.status == 200);
  CHECK(batch(s.client, put_line(3, "line", ",\"ttl_secs\":100")).status == 200);
  CHECK(s.client.call("PUT", "/v1/kv/4", "for ever").status == 201);
  for (const char* target : {"/v1/kv/1", "/v1/get_fast/1", "/v1/lookup?key=1"}) {
    const auto left = parse_u64(s.client.get(target).header("kyro-expires"));
    REQUIRE(left.has_value());
    CHECK(*left <= 315360000);
    CHECK(*left > 315360000 - 600);
  }
  CHECK(!s.client.call("HEAD", "/v1/kv/3").header("kyro-expires").empty());
  CHECK(s.client.get("/v1/kv/4").header("kyro-expires").empty());
  CHECK(s.client.get("/v1/get_fast/4").header("kyro-expires").empty());

  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (s.client.get("/v1/kv/2").status == 200 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  for (const char* target : {"/v1/kv/2", "/v1/get_fast/2", "/v1/lookup_fast/2", "/v1/lookup?key=2",
                             "/v1/lookup_raw?key=2"}) {
    CHECK(s.client.get(target).status == 404);
  }
  CHECK(s.client.call("DELETE", "/v1/kv/2").status == 404);
  CHECK(s.client.call("PUT", "/v1/kv/2", "x", {{"If-Match", "*"}}).status == 412);
  CHECK_THAT(s.client.call("POST", "/v1/compact").body, Contains("\"keys_retained\":3"));
  CHECK(s.client.call("PUT", "/v1/kv/2", "new", {{"If-None-Match", "*"}}).status == 201);
  CHECK(s.client.get("/v1/kv/2").header("kyro-expires").empty());
  // A put without a lifetime clears it; one with it sets it anew, and a kill changes nothing.
  CHECK(s.client.call("PUT", "/v1/kv/3", "for ever").status == 204);
  CHECK(s.client.get("/v1/kv/3").header("kyro-expires").empty());
  s.server.kill_hard();
  s.server.start();
  Client again(s.server);
  CHECK(!again.get("/v1/kv/1").header("kyro-expires").empty());
  CHECK(again.get("/v1/kv/3").header("kyro-expires").empty());
  CHECK(again.get("/v1/kv/2").body == "new");
}

TEST_CASE("A lifetime that is no positive whole number of seconds is refused", "[e2e]") {
  Served s;
  for (const char* ttl : {"", "0", "-1", "1.5", "1e3", "+1", "01", "abc", "18446744073709551615",
                          "99999999999999999999", "1&ttl=2"}) {
    INFO(ttl);
    check_error(s.client.call("PUT", std::string("/v1/kv/1?ttl=") + ttl, "v"), 400, "invalid");
  }
  for (const char* ttl : {"0", "-1", "1.5", "1e3", "\"1\"", "null", "18446744073709551615"}) {
    INFO(ttl);
    const std::string fields = std::string("\"key\":1,\"value\":\"v\",\"ttl_secs\":") + ttl;
    check_error(s.client.call("POST", "/v1/put", "{" + fields + "}"), 400, "bad_json");
    check_error(batch(s.client, "{\"op\":\"put\"," + fields + "}"), 400, "bad_json");
  }
  CHECK(s.client.next_offset() == 0);
}
