// The log over a real socket: replay and subscribe.
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <thread>

#include "kyro/json/json_reader.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

TEST_CASE("Replay gives the log in ranges, and 410 where there is none", "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "a").status == 201);
  REQUIRE(s.client.call("DELETE", "/v1/kv/1").status == 204);
  REQUIRE(s.client.call("PUT", "/v1/kv/2", "\xfe").status == 201);
  const std::string first = "{\"offset\":0,\"op\":\"put\",\"key\":1,\"value\":\"a\"}\n";
  const std::string second = "{\"offset\":1,\"op\":\"delete\",\"key\":1}\n";
  const std::string third = "{\"offset\":2,\"op\":\"put\",\"key\":2,\"value_base64\":\"/g==\"}\n";
  const auto replay = [&](const char* query) {
    const HttpResponse r = s.client.get(std::string("/v1/replay") + query);
    INFO(query);
    CHECK(r.status == 200);
    CHECK(r.header("content-type") == "application/x-ndjson");
    return r.body;
  };
  CHECK(replay("") == first + second + third);
  CHECK(replay("?start=0&end=1") == first);
  CHECK(replay("?start=1") == second + third);
  CHECK(replay("?limit=2") == first + second);
  CHECK(replay("?start=1&limit=1") == second);
  CHECK(replay("?start=1&end=1").empty());
  CHECK(replay("?start=3").empty());
  CHECK(replay("?end=99") == first + second + third);
  const HttpResponse beyond = s.client.get("/v1/replay?start=4");
  check_error(beyond, 410, "gone");
  CHECK(beyond.body.find(",\"oldest\":0,\"next\":3}") != std::string::npos);
  for (const char* query : {"?start=", "?start=x", "?end=-1", "?limit=0", "?limit=1.5",
                            "?start=0&start=1", "?start=18446744073709551616"}) {
    INFO(query);
    CHECK(s.client.get(std::string("/v1/replay") + query).status == 400);
  }
}

TEST_CASE("What the log no longer holds is 410 with the range that it holds", "[e2e]") {
  Served s({"--wal-segment-bytes", "4KiB", "--wal-max-segments", "1"});
  for (uint64_t key = 0; key < 20; ++key) {
    REQUIRE(s.client.call("PUT", kv_path(key), std::string(1000, 'v')).status == 201);
  }
  REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  for (const char* target : {"/v1/replay?start=0", "/v1/subscribe?from=0"}) {
    const HttpResponse gone = s.client.get(target);
    check_error(gone, 410, "gone");
    CHECK(gone.body.find(",\"next\":20}") != std::string::npos);
    const size_t at = gone.body.find("\"oldest\":");
    REQUIRE(at != std::string::npos);
    const auto oldest =
        parse_u64(gone.body.substr(at + 9, gone.body.find(',', at) - at - 9)).value_or(0);
    CHECK(oldest > 0);
    CHECK(s.client.get("/v1/replay?start=" + std::to_string(oldest)).status == 200);
  }
}

TEST_CASE("A subscriber gets what was, then what happens, and an end when the server stops",
          "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "a").status == 201);
  const std::string first =
      "id: 0\ndata: {\"offset\":0,\"op\":\"put\",\"key\":1,\"value\":\"a\"}\n\n";
  const std::string second = "id: 1\ndata: {\"offset\":1,\"op\":\"delete\",\"key\":1}\n\n";
  const auto subscribe = [&](Client& client, const char* query, const HeaderList& headers) {
    REQUIRE(client.send("GET", std::string("/v1/subscribe") + query, "", headers).ok());
    const std::string head = client.read_until("\n\n");
    CHECK(head.starts_with("HTTP/1.1 200 "));
    CHECK(head.find("Content-Type: text/event-stream") != head.npos);
    CHECK(head.find("Cache-Control: no-store") != head.npos);
    return head;
  };
  Client all(s.server), live(s.server), resumed(s.server);
  std::string all_text = subscribe(all, "?from=0", {});
  if (all_text.find(first) == all_text.npos) all_text += all.read_until(first);
  const std::string live_head = subscribe(live, "", {});
  CHECK(live_head.find("id:") == live_head.npos);
  subscribe(resumed, "?from=0", {{"Last-Event-ID", "0"}});  // beats from
  CHECK(s.client.metric("kyrodb_sse_subscribers") == "3");
  REQUIRE(s.client.call("DELETE", "/v1/kv/1").status == 204);
  for (Client* client : {&all, &live, &resumed}) {
    const std::string event = client->read_until(second);
    CHECK(event.find("id: 0\n") == event.npos);
  }
  CHECK(s.client.get("/v1/subscribe?from=3").status == 410);
  CHECK(s.client.get("/v1/subscribe?from=x").status == 400);
  CHECK(s.client.get("/v1/subscribe", {{"Last-Event-ID", "x"}}).status == 400);
  CHECK(s.server.stop().exit_code == 0);
  for (Client* client : {&all, &live, &resumed}) {
    CHECK(client->read_until("\r\n0\r\n").find("event: end\n") != std::string::npos);
  }
}

TEST_CASE("Under load a subscriber gets every record once and in order, also when it comes back",
          "[e2e]") {
  Served s({"--fsync", "never", "--wal-segment-bytes", "64KiB", "--wal-max-segments", "1000"});
  constexpr uint64_t kWrites = 3000;
  std::thread writer([endpoint = s.server.endpoint()] {
    HttpClient client(endpoint);
    HttpResponse response;
    for (uint64_t sent = 0; sent < kWrites; sent += 100) {
      for (uint64_t i = sent; i < sent + 100; ++i) {
        static_cast<void>(client.send("PUT", kv_path(i), std::string(100, 'v')));
      }
      for (int i = 0; i < 100; ++i) static_cast<void>(client.receive(&response));
    }
  });
  // Reads events until the last write, or `count` of them; the first must be `next`.
  const auto follow = [&](uint64_t next, uint64_t count) {
    Client client(s.server);
    const HeaderList headers =
        next == 0 ? HeaderList{} : HeaderList{{"Last-Event-ID", std::to_string(next - 1)}};
    REQUIRE(client.send("GET", "/v1/subscribe?from=0", "", headers).ok());
    HttpResponse head;
    REQUIRE(client.receive_head(&head).ok());
    REQUIRE(head.status == 200);
    std::string text;
    bool end = false;
    for (const uint64_t last = std::min(kWrites, next + count); next < last;) {
      REQUIRE(client.receive_body(&text, &end).ok());
      REQUIRE(!end);
      for (size_t at = 0; (at = text.find("\n\n")) != text.npos; text.erase(0, at + 2)) {
        const std::string_view event = std::string_view(text).substr(0, at);
        if (event.starts_with(":")) continue;
        REQUIRE(event.starts_with("id: " + std::to_string(next++) + "\n"));
      }
    }
    return next;
  };
  uint64_t next = 0;
  while (next < kWrites) next = follow(next, 500);
  CHECK(next == kWrites);
  writer.join();
}

TEST_CASE("A subscriber that lags behind what the log keeps is told so and closed", "[e2e]") {
  Served s({"--fsync", "never", "--wal-segment-bytes", "64KiB", "--wal-max-segments", "1"});
  Client slow(s.server);
  REQUIRE(slow.send("GET", "/v1/subscribe?from=0", "").ok());
  slow.read_until(": subscribed");
  // More than the sockets' buffers hold.
  const std::string value(3'000'000, 'v');
  for (uint64_t key = 0; key < 8; ++key) {
    REQUIRE(s.client.call("PUT", kv_path(key), value).status == 201);
  }
  REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  std::string tail;
  char piece[65536];
  while (tail.find("\r\n0\r\n\r\n") == tail.npos) {
    pollfd waiting{slow.fd(), POLLIN, 0};
    REQUIRE(poll(&waiting, 1, 30000) == 1);
    const ssize_t n = recv(slow.fd(), piece, sizeof piece, 0);
    REQUIRE(n > 0);
    tail.append(piece, static_cast<size_t>(n));
    if (tail.size() > 1000) tail.erase(0, tail.size() - 1000);
  }
  INFO(tail);
  CHECK(tail.find("event: lagged\ndata: {\"oldest\":") != tail.npos);
  CHECK(s.client.metric("kyrodb_sse_lagged_total") == "1");
  CHECK(s.client.metric("kyrodb_sse_subscribers") == "0");
}
