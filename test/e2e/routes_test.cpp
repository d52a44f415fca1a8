// Every route over a real socket: what it answers to good requests, and to wrong ones.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "kyro/base/coding.h"
#include "kyro/json/json_reader.h"
#include "kyro/server/route_table.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

constexpr std::string_view kMaxKey = "18446744073709551615";

// A path that the route answers to, with the parameters it needs.
std::string target_of(const RouteInfo& info) {
  std::string target(info.path);
  if (info.takes_key) target += "7";
  if (info.route == Route::kLookup || info.route == Route::kLookupRaw) target += "?key=7";
  return target;
}

}  // namespace

TEST_CASE("A put is answered with its offset, and every way to read finds it", "[e2e]") {
  Served s;
  const HttpResponse put = s.client.call("POST", "/v1/put", put_body("7", "seven"));
  CHECK(put.status == 200);
  CHECK(put.body == "{\"offset\":0}");
  CHECK(put.header("etag") == "\"0\"");
  CHECK(put.header("content-type") == "application/json");
  CHECK(put.header("content-length") == "12");
  CHECK(put.header("date").size() == 29);
  CHECK(s.client.call("POST", "/v1/put", put_body("\"8\"", "eight")).body == "{\"offset\":1}");

  const HttpResponse lookup = s.client.get("/v1/lookup?key=7");
  CHECK(lookup.status == 200);
  CHECK(lookup.body == "{\"key\":7,\"value\":\"seven\",\"offset\":0}");
  CHECK(is_json(lookup));
  for (const char* keys : {"keys=", "keys=text", "keys=string&keys=string"}) {
    CHECK(s.client.get("/v1/lookup?key=8&" + std::string(keys)).status == 400);
    CHECK(s.client.get("/v1/scan?" + std::string(keys)).status == 400);
    CHECK(s.client.get("/v1/floor/8?" + std::string(keys)).status == 400);
  }
  CHECK(s.client.get("/v1/lookup?key=8&keys=string").body ==
        "{\"key\":\"8\",\"value\":\"eight\",\"offset\":1}");

  const HttpResponse raw = s.client.get("/v1/lookup_raw?key=7");
  CHECK(raw.status == 204);
  CHECK(raw.header("content-length").empty());

  const HttpResponse offset = s.client.get("/v1/lookup_fast/8");
  CHECK(offset.status == 200);
  CHECK(offset.header("content-type") == "application/octet-stream");
  REQUIRE(offset.body.size() == 8);
  CHECK(load_u64(offset.body.data()) == 1);

  for (const std::string_view target : {"/v1/get_fast/7", "/v1/kv/7"}) {
    const HttpResponse value = s.client.get(target);
    CHECK(value.status == 200);
    CHECK(value.body == "seven");
    CHECK(value.header("content-type") == "application/octet-stream");
  }
  CHECK(s.client.get("/v1/kv/7").header("etag") == "\"0\"");
  CHECK(s.client.get("/v1/offset").body.starts_with("{\"offset\":2,\"database\":\""));
}

TEST_CASE("An absent key is 404 on every route that reads one", "[e2e]") {
  Served s;
  for (const std::string_view target : {"/v1/lookup?key=7", "/v1/lookup_raw?key=7",
                                        "/v1/lookup_fast/7", "/v1/get_fast/7", "/v1/kv/7"}) {
    INFO(target);
    check_error(s.client.get(target), 404, "not_found");
  }
  check_error(s.client.call("DELETE", "/v1/kv/7"), 404, "not_found");
  CHECK(s.client.next_offset() == 0);
}

TEST_CASE("PUT creates with 201 and replaces with 204, DELETE removes once", "[e2e]") {
  Served s;
  const auto check = [&](std::string_view method, std::string_view body, int status,
                         std::string_view tag) {
    const HttpResponse response = s.client.call(method, "/v1/kv/5", body);
    INFO(method << " " << body);
    CHECK(response.status == status);
    CHECK(response.header("etag") == tag);
    if (status < 300) CHECK(response.body.empty());
  };
  check("PUT", "a", 201, "\"0\"");
  check("PUT", "b", 204, "\"1\"");
  check("DELETE", "", 204, "\"2\"");
  check("DELETE", "", 404, "");
  check("PUT", "c", 201, "\"3\"");
  REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  check("PUT", "d", 204, "\"4\"");  // what is replaced lies in a run now
  check("DELETE", "", 204, "\"5\"");
  REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  check("DELETE", "", 404, "");
  CHECK(s.client.get("/v1/kv/5").status == 404);
  CHECK(s.client.next_offset() == 6);
}

TEST_CASE("The keys 0 and 2^64-1 and the empty value are ordinary", "[e2e]") {
  Served s;
  for (const std::string_view key : {std::string_view("0"), kMaxKey}) {
    INFO(key);
    const std::string path = "/v1/kv/" + std::string(key);
    CHECK(s.client.call("PUT", path, "").status == 201);
    CHECK(s.client.get(path).body.empty());
    CHECK(s.client.get(path).header("content-length") == "0");
    CHECK(s.client.call("POST", "/v1/put", put_body(key, "x")).status == 200);
    CHECK(s.client.get("/v1/lookup?key=" + std::string(key))
              .body.starts_with(put_body(key, "x").substr(0, key.size() + 17)));
  }
  for (const std::string_view admin : {"/v1/snapshot", "/v1/compact", "/v1/rmi/build"}) {
    REQUIRE(s.client.call("POST", admin).status == 200);
    CHECK(s.client.get("/v1/get_fast/0").body == "x");
    CHECK(s.client.get("/v1/get_fast/" + std::string(kMaxKey)).body == "x");
    CHECK(s.client.get("/v1/get_fast/1").status == 404);
    CHECK(s.client.get("/v1/get_fast/18446744073709551614").status == 404);
  }
}

TEST_CASE("Bytes that are not UTF-8 go in and come out unchanged", "[e2e]") {
  Served s;
  const std::string bytes("\xff\x00\x80quote\"\n", 10);
  REQUIRE(s.client.call("PUT", "/v1/kv/1", bytes).status == 201);
  CHECK(s.client.get("/v1/kv/1").body == bytes);
  CHECK(s.client.get("/v1/lookup?key=1").body ==
        "{\"key\":1,\"value_base64\":\"/wCAcXVvdGUiCg==\",\"offset\":0}");
  REQUIRE(s.client.call("POST", "/v1/put", "{\"key\":2,\"value_base64\":\"/wCAcXVvdGUiCg==\"}")
              .status == 200);
  CHECK(s.client.get("/v1/get_fast/2").body == bytes);
  // Escapes are decoded, and encoded again where JSON needs it.
  REQUIRE(s.client.call("POST", "/v1/put", R"({"key":3,"value":"\u00e9\ud83d\ude00\"\u0000"})")
              .status == 200);
  CHECK(s.client.get("/v1/kv/3").body == std::string("\xc3\xa9\xf0\x9f\x98\x80\"\0", 8));
  CHECK(s.client.get("/v1/lookup?key=3").body ==
        "{\"key\":3,\"value\":\"\xc3\xa9\xf0\x9f\x98\x80\\\"\\u0000\",\"offset\":2}");
}

TEST_CASE("If-None-Match takes lists, weak tags and the star, and answers 304 with the tag",
          "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "a").status == 201);
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "b").status == 204);
  for (const char* field : {"\"1\"", "W/\"1\"", "*", "\"9\", \"1\"", "\"9\",W/\"1\" , \"a,b\""}) {
    INFO(field);
    for (const std::string_view method : {"GET", "HEAD"}) {
      const HttpResponse r = s.client.call(method, "/v1/kv/1", "", {{"If-None-Match", field}});
      CHECK(r.status == 304);
      CHECK(r.header("etag") == "\"1\"");
      CHECK(!r.header("date").empty());
      CHECK(r.body.empty());
    }
  }
  for (const char* field : {"\"0\"", "W/\"0\"", "\"11\", \"2\"", "\"\""}) {
    INFO(field);
    CHECK(s.client.get("/v1/kv/1", {{"If-None-Match", field}}).status == 200);
  }
  for (const char* field : {"1", "\"1", "\"1\" \"2\"", "w/\"1\"", "*, \"1\""}) {
    INFO(field);
    CHECK(s.client.get("/v1/kv/1", {{"If-None-Match", field}}).status == 400);
  }
  CHECK(s.client.get("/v1/kv/2", {{"If-None-Match", "*"}}).status == 404);
}

TEST_CASE("HEAD, OPTIONS and wrong methods behave alike on every route", "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/7", "seven").status == 201);
  for (const RouteInfo& info : kHttpRoutes) {
    const std::string target = target_of(info);
    INFO(target);
    const HttpResponse options = s.client.call("OPTIONS", target);
    CHECK(options.status == 204);
    CHECK(options.header("allow") == info.allow);
    if (info.allow.starts_with("GET")) {
      const HttpResponse head = s.client.call("HEAD", target);
      const bool is_off = info.route == Route::kBackups;  // without --backup-dir
      CHECK(head.status == (info.route == Route::kLookupRaw ? 204 : is_off ? 403 : 200));
      CHECK(head.body.empty());
      const bool has_fixed_length = info.route != Route::kSubscribe &&
                                    info.route != Route::kReplay && info.route != Route::kMetrics &&
                                    info.route != Route::kStatus && info.route != Route::kLookupRaw;
      if (has_fixed_length) {
        const HttpResponse get = s.client.get(target);
        CHECK(head.header("content-length") == get.header("content-length"));
        CHECK(head.header("content-type") == get.header("content-type"));
        CHECK(head.header("etag") == get.header("etag"));
      }
    }
    for (const std::string_view method : {"GET", "POST", "PUT", "DELETE", "PATCH", "BREW"}) {
      if (info.allow.find(method) != info.allow.npos) continue;
      INFO(method);
      const HttpResponse refused = s.client.call(method, target, "{}");
      check_error(refused, 405, "method_not_allowed");
      CHECK(refused.header("allow") == info.allow);
    }
  }
  CHECK(s.client.call("OPTIONS", "*").status == 204);
  CHECK(s.client.next_offset() == 1);
}

TEST_CASE("Routes that do not exist are 404, those that will come too", "[e2e]") {
  Served s;
  for (const std::string_view target : {"/v1", "/v1/", "/v1/kv", "/v2/kv/1", "/V1/kv/1", "/v1/put/",
                                        "/v1/lookup/", "/healthz", "/v1//kv/1", "/%761/kv/1"}) {
    INFO(target);
    check_error(s.client.get(target), 404, "not_found");
  }
}

TEST_CASE("A value of 16 MiB is stored, one byte more is refused with a readable 413", "[e2e]") {
  Served s;
  std::string value(16u << 20, 'v');
  for (size_t i = 0; i < value.size(); i += 4093) value[i] = static_cast<char>(i >> 12);
  REQUIRE(s.client.call("PUT", "/v1/kv/1", value).status == 201);
  CHECK(s.client.get("/v1/get_fast/1").body == value);
  const std::string too_large = value + "x";
  const HttpResponse refused = s.client.call("PUT", "/v1/kv/2", too_large);
  check_error(refused, 413, "too_large");
  CHECK(refused.header("connection") == "close");
  const std::string text(too_large.size(), 't');
  check_error(s.client.call("POST", "/v1/put", put_body("2", text)), 413, "too_large");
  CHECK(s.client.call("POST", "/v1/put", put_body("3", text.substr(1))).status == 200);
  CHECK(s.client.get("/v1/kv/2").status == 404);
  REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  CHECK(s.client.get("/v1/kv/1").body == value);
  CHECK(s.client.next_offset() == 2);
}

TEST_CASE("The largest value is a flag, and a body is refused before it is sent", "[e2e]") {
  Served s({"--max-value-bytes", "1KiB"});
  CHECK(s.client.call("PUT", "/v1/kv/1", std::string(1024, 'x')).status == 201);
  check_error(s.client.call("PUT", "/v1/kv/1", std::string(1025, 'x')), 413, "too_large");
  Client waiting(s.server);
  waiting.must_send(
      "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n"
      "Expect: 100-continue\r\n\r\n");
  CHECK(waiting.read_until("\r\n").starts_with("HTTP/1.1 413 "));
  Client polite(s.server);
  polite.must_send(
      "PUT /v1/kv/2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
      "Expect: 100-continue\r\n\r\n");
  CHECK(polite.read_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(polite.raw("abc").status == 201);
}

TEST_CASE("Snapshot, compact, index build and warm-up answer when they are done", "[e2e]") {
  Served s;
  for (uint64_t key = 1; key <= 20; ++key) {
    REQUIRE(s.client.call("PUT", kv_path(key % 10), std::to_string(key)).status < 300);
  }
  REQUIRE(s.client.call("DELETE", "/v1/kv/3").status == 204);
  CHECK(s.client.call("POST", "/v1/snapshot").body == "{\"snapshot\":\"ok\",\"next_offset\":21}");
  CHECK(s.client.metric("kyrodb_delta_keys") == "0");
  REQUIRE(s.client.call("PUT", "/v1/kv/100", "more").status == 201);
  const HttpResponse compact = s.client.call("POST", "/v1/compact");
  CHECK(compact.status == 200);
  CHECK(is_json(compact));
  CHECK(compact.body.starts_with("{\"compact\":\"ok\",\"stats\":{\"before_bytes\":"));
  for (const char* field : {"\"after_bytes\":", "\"segments_removed\":", "\"segments_active\":1"}) {
    CHECK(compact.body.find(field) != std::string::npos);
  }
  CHECK(compact.body.ends_with("\"keys_retained\":10}}"));
  CHECK(s.client.metric("kyrodb_runs") == "1");
  CHECK(s.client.metric("kyrodb_keys") == "10");
  CHECK(s.client.call("POST", "/v1/rmi/build").body == "{\"ok\":true,\"count\":10}");
  CHECK(s.client.call("POST", "/v1/warmup", "{}").body == "{\"status\":\"ok\"}");
  for (uint64_t key = 0; key < 10; ++key) {
    const HttpResponse value = s.client.get(kv_path(key));
    CHECK(value.status == (key == 3 ? 404 : 200));
    if (key != 3) CHECK(value.body == std::to_string(key == 0 ? 20 : key + 10));
  }
}

TEST_CASE("Health, readiness and build info are JSON", "[e2e]") {
  Served s;
  CHECK(s.client.get("/health").body == "{\"status\":\"ok\"}");
  CHECK(s.client.get("/ready").body == "{\"status\":\"ready\"}");
  const HttpResponse info = s.client.get("/build_info");
  CHECK(is_json(info));
  for (const char* field :
       {"\"version\":\"", "\"commit\":\"", "\"compiler\":\"", "\"features\":["}) {
    CHECK(info.body.find(field) != std::string::npos);
  }
}

TEST_CASE("Pipelined writes and reads are answered in order, a read sees the write before it",
          "[e2e]") {
  Served s;
  std::string requests;
  for (int i = 0; i < 200; ++i) {
    const std::string value = std::to_string(i);
    requests += "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(value.size()) + "\r\n\r\n" + value +
                "GET /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
  }
  s.client.must_send(requests);
  for (int i = 0; i < 200; ++i) {
    CHECK(s.client.next().status == (i == 0 ? 201 : 204));
    CHECK(s.client.next().body == std::to_string(i));
  }
}

TEST_CASE("Pipelined writes to a key take effect in their order while flushes go on", "[e2e]") {
  Served s({"--delta-max-bytes", "64KiB", "--wal-segment-bytes", "64KiB", "--reserve-bytes", "0"});
  // Another connection keeps the committer and the flusher busy.
  std::atomic<bool> is_over{false};
  std::thread noise([&] {
    HttpClient client(s.server.endpoint());
    std::string burst;
    for (uint64_t key = 1000; key < 1050; ++key) {
      burst += "PUT " + kv_path(key) +
               " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n" +
               std::string(2000, 'n');
    }
    HttpResponse response;
    while (!is_over.load() && client.send_raw(burst).ok()) {
      for (int i = 0; i < 50; ++i) {
        if (!client.receive(&response).ok()) return;
      }
    }
  });
  const std::string last = put_body("1", "last");
  std::string burst;
  burst =
      "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nfirst"
      "DELETE /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "POST /v1/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
      std::to_string(last.size()) + "\r\n\r\n" + last +
      "GET /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
  bool is_ordered = true;
  for (int round = 0; round < 100 && is_ordered; ++round) {
    INFO("round " << round);
    s.client.must_send(burst);
    CHECK(s.client.next().status == (round == 0 ? 201 : 204));
    CHECK(s.client.next().status == 204);
    CHECK(s.client.next().status == 200);
    const HttpResponse read = s.client.next();
    is_ordered = read.status == 200 && read.body == "last";
    INFO(read.status << " " << read.body);
    CHECK(is_ordered);
  }
  is_over.store(true);
  noise.join();
}

TEST_CASE("HTTP/1.0 works with and without keep-alive", "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "one").status == 201);
  Client kept(s.server);
  for (int i = 0; i < 2; ++i) {
    const HttpResponse r = kept.raw("GET /v1/kv/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(r.status == 200);
    CHECK(r.body == "one");
  }
  kept.must_send("GET /v1/kv/1 HTTP/1.0\r\n\r\n");
  CHECK(kept.next().body == "one");
  CHECK(!kept.connected());
}

TEST_CASE("Limits of the contract that must be accepted are", "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "one").status == 201);
  HeaderList headers;
  for (int i = 0; i < 60; ++i) headers.emplace_back("X-" + std::to_string(i), std::string(96, 'h'));
  CHECK(s.client.get("/v1/kv/1", headers).status == 200);
  const std::string filler(7900, 'f');
  CHECK(s.client.get("/health?&&x=" + filler + "&&key=1&").status == 200);
  CHECK(
      s.client.raw("GET http://127.0.0.1:1/v1/kv/1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n").status ==
      200);
  const HttpResponse chunked = s.client.raw(
      "PUT /v1/kv/2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;name=\"va;lue\"\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n");
  CHECK(chunked.status == 201);
  CHECK(s.client.get("/v1/kv/2").body == "abcde");
  const std::string form = put_body("3", "curl -d");
  CHECK(s.client
            .call("POST", "/v1/put", form, {{"Content-Type", "application/x-www-form-urlencoded"}})
            .status == 200);
  CHECK(
      s.client.call("POST", "/v1/put", form, {{"Content-Type", "application/json; charset=utf-8"}})
          .status == 200);
}
