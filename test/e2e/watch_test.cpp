// Watching one key or a range: filtered subscriptions, and reads that wait.
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/ctl.h"
#include "test/support/http/http2_wire.h"

using namespace kyro;
using namespace kyro::test;

namespace {

std::string wait_line(const std::string& target, const std::string& more = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n";
}
std::string known(uint64_t offset) {
  return "If-None-Match: \"" + std::to_string(offset) + "\"\r\n";
}

// Until so many reads wait.
void await_waiting(Client& client, const std::string& count) {
  const auto began = std::chrono::steady_clock::now();
  while (client.metric("kyrodb_waiting_reads") != count) {
    REQUIRE(std::chrono::steady_clock::now() - began < kProcessTimeout);
  }
}

void put(Client& client, uint64_t key, std::string_view value) {
  REQUIRE(client.call("PUT", kv_path(key), value).status / 100 == 2);
}

// A call of Wait that knows the version 0 of the key 1.
std::string wait_call(uint32_t stream, const h2::Fields& more = {}) {
  const h2::Fields fields =
      h2::with(h2::request_fields("POST", "/kyrodb.v1.KV/Wait"),
               h2::with({{"te", "trailers"}, {"content-type", "application/grpc"}}, more));
  const std::string message("\x08\x01\x10\x00\x18\xAC\x02", 7);  // 300 seconds
  return h2::headers(stream, fields, h2::kEndHeaders) +
         h2::data(stream, h2::be(message.size(), 5) + message, h2::kEndStream);
}

uint64_t resident_kib(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6));
  }
  FAIL("no VmRSS");
  return 0;
}

}  // namespace

TEST_CASE("A filtered subscription has the records of its keys and no others, past and live",
          "[e2e]") {
  Served s;
  for (uint64_t key = 0; key < 10; ++key) put(s.client, key, "past");
  const struct {
    std::string query;
    uint64_t first, last;
  } filters[] = {{"key=3", 3, 3},
                 {"start=3&end=6", 3, 5},
                 {"start=8", 8, ~uint64_t{0}},
                 {"end=2", 0, 1},
                 {"", 0, ~uint64_t{0}}};
  std::vector<std::unique_ptr<Client>> subscribers;
  for (const auto& filter : filters) {
    subscribers.push_back(std::make_unique<Client>(s.server));
    subscribers.back()->must_send(wait_line("/v1/subscribe?from=0&" + filter.query));
    static_cast<void>(subscribers.back()->read_until("\"past\"}\n\n"));
  }
  for (uint64_t key = 0; key < 10; ++key) put(s.client, key, "live");
  for (size_t i = 0; i < std::size(filters); ++i) {
    INFO(filters[i].query);
    const uint64_t last = std::min<uint64_t>(filters[i].last, 9);
    const std::string events =
        subscribers[i]->read_until("\"key\":" + std::to_string(last) + ",\"value\":\"live\"}\n\n");
    for (uint64_t key = 0; key < 10; ++key) {
      const bool is_wanted = filters[i].first <= key && key <= last;
      const std::string event = "id: " + std::to_string(10 + key) +
                                "\ndata: {\"offset\":" + std::to_string(10 + key) +
                                ",\"op\":\"put\",\"key\":" + std::to_string(key) + ",";
      CHECK(contains(events, event) == is_wanted);
    }
  }
  // One that comes back has the same ids, and misses nothing of its keys.
  Client resumed(s.server);
  resumed.must_send(wait_line("/v1/subscribe?from=0&key=3", "Last-Event-ID: 3\r\n"));
  const std::string rest = resumed.read_until("\"live\"}\n\n");
  CHECK(contains(rest, "id: 13\ndata: {\"offset\":13,"));
  CHECK(!contains(rest, "\"past\""));
  for (const char* query : {"key=x", "key=1&start=1", "key=1&end=3", "start=3&end=3",
                            "start=4&end=3", "end=0", "keys=1"}) {
    INFO(query);
    check_error(s.client.get(std::string("/v1/subscribe?") + query), 400, "invalid");
  }
}

TEST_CASE("A read that waits answers as soon as its key is written, and not for another", "[e2e]") {
  Served s;
  put(s.client, 1, "one");
  put(s.client, 2, "two");
  Client waiting(s.server);
  waiting.must_send(wait_line("/v1/kv/1?wait_secs=60", known(0)));
  await_waiting(s.client, "1");
  put(s.client, 2, "another");
  CHECK(s.client.metric("kyrodb_waiting_reads") == "1");
  put(s.client, 1, "changed");
  HttpResponse answer = waiting.next();
  CHECK(answer.status == 200);
  CHECK(answer.body == "changed");
  CHECK(offset_of(answer) == 3);
  CHECK(s.client.metric("kyrodb_waiting_reads") == "0");
  // What has changed already is answered at once.
  CHECK(waiting.get("/v1/kv/1?wait_secs=60", {{"If-None-Match", "\"0\""}}).body == "changed");
  CHECK(waiting.get("/v1/kv/9?wait_secs=60", {{"If-None-Match", "\"0\""}}).status == 404);
  // A deletion is a change, a batch and a deletion of a range too.
  const std::string big(100'000, 'x');
  const std::string batch = R"({"op":"put","key":5,"value":"b"})";
  waiting.must_send(wait_line("/v1/kv/1?wait_secs=60", known(3)));
  await_waiting(s.client, "1");
  CHECK(s.client.call("DELETE", "/v1/kv/1").status == 204);
  CHECK(waiting.next().status == 404);
  waiting.must_send(wait_line("/v1/kv/2?wait_secs=60", known(2)));
  await_waiting(s.client, "1");
  CHECK(s.client.call("DELETE", "/v1/scan?start=0").status == 200);
  CHECK(waiting.next().status == 404);
  // Without a version it waits for the key to be there; a deletion of nothing is no news.
  waiting.must_send(wait_line("/v1/kv/5?wait_secs=60"));
  await_waiting(s.client, "1");
  CHECK(s.client.call("POST", "/v1/batch", R"({"op":"delete","key":5})").status == 200);
  await_waiting(s.client, "1");
  CHECK(s.client.call("POST", "/v1/batch", batch).status == 200);
  CHECK(waiting.next().body == "b");
  CHECK(waiting.get("/v1/kv/5?wait_secs=60").body == "b");
  waiting.must_send(wait_line("/v1/kv/7?wait_secs=60"));
  await_waiting(s.client, "1");
  put(s.client, 7, big);
  CHECK(waiting.next().body == big);
}

TEST_CASE("A read that waits in vain answers as it would have at once", "[e2e]") {
  Served s;
  put(s.client, 1, "one");
  const HttpResponse same = s.client.get("/v1/kv/1?wait_secs=1", {{"If-None-Match", "\"0\""}});
  CHECK(same.status == 304);
  CHECK(same.header("etag") == "\"0\"");
  CHECK(s.client.get("/v1/kv/1?wait_secs=0", {{"If-None-Match", "\"0\""}}).status == 304);
  check_error(s.client.get("/v1/kv/2?wait_secs=1"), 404, "not_found");
  // What expires meanwhile is gone.
  CHECK(s.client.call("PUT", "/v1/kv/3?ttl=1", "brief").status == 201);
  CHECK(s.client.get("/v1/kv/3?wait_secs=60", {{"If-None-Match", "\"1\""}}).status == 404);
  for (const char* query :
       {"wait_secs=", "wait_secs=x", "wait_secs=301", "wait_secs=-1", "wait=1"}) {
    INFO(query);
    check_error(s.client.get(std::string("/v1/kv/1?") + query), 400, "invalid");
  }
  check_error(s.client.get("/v1/kv/1?wait_secs=1", {{"If-None-Match", "0"}}), 400, "bad_tag");
  check_error(s.client.get("/v1/kv/1?wait_secs=1", {{"If-Match", "\"0\""}}), 400, "invalid");
  check_error(s.client.call("PUT", "/v1/kv/1?wait_secs=1", "v"), 400, "invalid");
  check_error(s.client.call("DELETE", "/v1/kv/1?wait_secs=1"), 400, "invalid");
  CHECK(s.client.metric("kyrodb_http_requests_total{route=\"kv_wait\",code=\"304\"}") == "2");
}

TEST_CASE("A read that waits ends when the server stops", "[e2e]") {
  Served s;
  put(s.client, 1, "one");
  Client waiting(s.server);
  waiting.must_send(wait_line("/v1/kv/1?wait_secs=300", known(0)));
  await_waiting(s.client, "1");
  s.server.process().signal(SIGTERM);
  CHECK(waiting.next().status == 304);
  CHECK(s.server.process().wait().exit_code == 0);
}

TEST_CASE("A read that waits is over when its client has gone or will say no more", "[e2e]") {
  constexpr int kPipelined = 200;  // each waits for the one before it
  Served s;
  put(s.client, 1, "one");
  const std::string line = wait_line("/v1/kv/1?wait_secs=300", known(0));
  {
    Client alone(s.server), pipelining(s.server);
    alone.must_send(line);
    for (int i = 0; i < kPipelined; ++i) pipelining.must_send(line);
    await_waiting(s.client, "2");
  }
  await_waiting(s.client, "0");
  Client half(s.server);
  half.must_send(line);
  await_waiting(s.client, "1");
  REQUIRE(shutdown(half.fd(), SHUT_WR) == 0);
  CHECK(half.next().status == 304);
  await_waiting(s.client, "0");
}

TEST_CASE("A call that waits is over when it is cancelled, late, or its client has gone", "[e2e]") {
  Served s;
  put(s.client, 1, "one");
  {
    Client caller(s.server);
    REQUIRE(caller.connect().ok());
    caller.must_send(std::string(h2::kPreface) + h2::settings() + wait_call(1) + wait_call(3) +
                     wait_call(5, {{"grpc-timeout", "1S"}}));
    await_waiting(s.client, "3");
    await_waiting(s.client, "2");  // after the second
    caller.must_send(h2::rst_stream(1));
    await_waiting(s.client, "1");
  }
  await_waiting(s.client, "0");
}

TEST_CASE(
    "A read that waits ends when its token is withdrawn, and one with the other token does not",
    "[e2e]") {
  TempDir dir;
  write_file(dir.file("full"), "full-token-0123456789");
  write_file(dir.file("read"), "read-token-0123456789");
  Served s({"--auth-token-file", dir.file("full"), "--read-token-file", dir.file("read")});
  const HeaderList full = bearer("full-token-0123456789");
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "one", full).status == 201);
  Client with_full(s.server), with_read(s.server);
  with_full.must_send(wait_line("/v1/kv/1?wait_secs=300",
                                known(0) + "Authorization: Bearer full-token-0123456789\r\n"));
  with_read.must_send(wait_line("/v1/kv/1?wait_secs=300",
                                known(0) + "Authorization: Bearer read-token-0123456789\r\n"));
  await_waiting(s.client, "2");
  write_file(dir.file("read"), "new-read-token-0123456789");
  s.server.process().signal(SIGHUP);
  check_error(with_read.next(), 401, "unauthorized");
  CHECK(s.client.metric("kyrodb_waiting_reads") == "1");
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "two", full).status == 204);
  CHECK(with_full.next().body == "two");
}

TEST_CASE("A thousand reads wait for little memory, and are told together", "[e2e]") {
  Served s({"--fsync", "never"});
  put(s.client, 1, "one");
  constexpr size_t kReads = 1000;
  const uint64_t before_kib = resident_kib(s.server.process().pid());
  std::vector<std::unique_ptr<Client>> waiting;
  for (size_t i = 0; i < kReads; ++i) {
    waiting.push_back(std::make_unique<Client>(s.server));
    waiting.back()->must_send(wait_line("/v1/kv/1?wait_secs=300", known(0)));
  }
  await_waiting(s.client, std::to_string(kReads));
  const uint64_t grown_kib = resident_kib(s.server.process().pid()) - before_kib;
  WARN(grown_kib << " KiB for " << kReads << " waiting reads");
  if (!kSanitized) CHECK(grown_kib < 16 * kReads);
  put(s.client, 1, "two");
  for (auto& one : waiting) CHECK(one->next().body == "two");
  CHECK(s.client.metric("kyrodb_waiting_reads") == "0");
}

TEST_CASE("Ten thousand reads wait, one more is refused, and all are told together", "[e2e]") {
  Served s({"--fsync", "never"});
  put(s.client, 1, "one");
  constexpr size_t kReads = 10'000, kStreams = 125;
  std::vector<std::unique_ptr<HttpClient>> connections;
  for (size_t i = 0; i < kReads / kStreams; ++i) {
    connections.push_back(std::make_unique<HttpClient>(s.server.endpoint()));
    REQUIRE(connections.back()->connect().ok());
    std::string bytes = std::string(h2::kPreface) + h2::settings();
    for (uint32_t stream = 0; stream < kStreams; ++stream) {
      bytes +=
          h2::headers(2 * stream + 1, h2::with(h2::request_fields("GET", "/v1/kv/1?wait_secs=300"),
                                               {{"if-none-match", "\"0\""}}));
    }
    REQUIRE(connections.back()->send_raw(bytes).ok());
  }
  await_waiting(s.client, std::to_string(kReads));
  const HttpResponse refused = s.client.get("/v1/kv/1?wait_secs=300", {{"If-None-Match", "\"0\""}});
  CHECK(refused.status == 503);
  CHECK_FALSE(refused.header("retry-after").empty());
  CHECK(s.client.get("/v1/kv/1").body == "one");  // who does not wait is answered
  put(s.client, 1, "two");
  size_t told = 0;
  for (const auto& connection : connections) {
    std::string got;
    for (size_t here = 0; here < kStreams;) {
      pollfd ready{connection->fd(), POLLIN, 0};
      REQUIRE(poll(&ready, 1, 20000) == 1);
      char piece[16384];
      const ssize_t n = recv(connection->fd(), piece, sizeof piece, 0);
      REQUIRE(n > 0);
      got.append(piece, static_cast<size_t>(n));
      for (const h2::Frame& frame : h2::frames_of(got)) {
        got.erase(0, 9 + frame.payload.size());
        if (frame.type == h2::kData && frame.payload == "two") ++here;
      }
      if (here == kStreams) told += here;
    }
  }
  CHECK(told == kReads);
  CHECK(s.client.metric("kyrodb_waiting_reads") == "0");
}

TEST_CASE("kyrodbctl watches a key, and a subscription takes a filter", "[e2e]") {
  const CtlSession s;
  Client client(s.server);
  put(client, 7, "first");
  put(client, 8, "other");
  Process watch({client_binary(), "-e", s.server.url(), "watch", "7", "--limit", "3"});
  REQUIRE(watch.wait_for_out("{\"key\":7,\"value\":\"first\",\"offset\":0}\n"));
  put(client, 8, "other");
  put(client, 7, "second");
  REQUIRE(client.call("DELETE", "/v1/kv/7").status == 204);
  const Outcome outcome = watch.wait();
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out ==
        "{\"key\":7,\"value\":\"first\",\"offset\":0}\n"
        "{\"offset\":3,\"op\":\"put\",\"key\":7,\"value\":\"second\"}\n"
        "{\"offset\":4,\"op\":\"delete\",\"key\":7}\n");
  CHECK(s.ctl({"subscribe", "--from", "0", "--key", "7", "--limit", "2"}).out ==
        "{\"offset\":0,\"op\":\"put\",\"key\":7,\"value\":\"first\"}\n"
        "{\"offset\":3,\"op\":\"put\",\"key\":7,\"value\":\"second\"}\n");
  check_fails(s.ctl({"watch", "x"}), 2, "KEY must be a decimal number");
}
