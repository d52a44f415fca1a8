// Requests that come in one piece: each is judged by itself, by what holds when its turn comes, and
// they are answered in order.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "kyro/server/api.h"
#include "test/support/connection_harness.h"
#include "test/support/server_process.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

// An Api over an empty store, on a reactor turned by hand.
struct HandServed {
  explicit HandServed(AccessControl::Rules rules, Api::Rates rates = {})
      : access(rules), api(access, {}, rates, 1) {
    REQUIRE(engine.ok());
    api.set_engine(engine->get());
    api.on_round_begin(0);
  }
  ~HandServed() { api.on_round_end(0); }

  // The statuses of the answers to what comes in one piece on a connection of its own.
  std::vector<int> statuses_of(const std::string& bytes, bool is_unix) {
    const HandTurned::Wire wire = reactor.connect(is_unix);
    REQUIRE(::send(wire.client, bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
    reactor.round();
    const std::string answers = take_arrived(wire.client);
    std::vector<int> statuses;
    for (size_t at = 0; (at = answers.find("HTTP/1.1 ", at)) != answers.npos; ++at) {
      statuses.push_back(std::stoi(answers.substr(at + 9, 3)));
    }
    return statuses;
  }

  const TempDir dir;
  Result<std::unique_ptr<Engine>> engine = Engine::open({.data_dir = dir.file("store")});
  AccessControl access;
  Api api;
  HandTurned reactor{api};
};

TEST_CASE("a request that has passed is judged again when it comes another way") {
  HandServed served({.guard_against_pages = true});
  const std::string rebound = "GET /v1/kv/1 HTTP/1.1\r\nHost: evil.com\r\n\r\n";
  const std::string local = "GET /v1/kv/2 HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::vector<int> found(2, 404);
  for (int time = 0; time < 2; ++time) {
    CHECK(served.statuses_of(rebound + rebound, true) == found);
    CHECK(served.statuses_of(rebound + rebound, false) == std::vector<int>(2, 403));
    CHECK(served.statuses_of(local + local, false) == found);
    CHECK(served.statuses_of(local + local, true) == found);
  }
}

TEST_CASE("a request that has passed is judged again when the tokens have changed") {
  HandServed served({});
  const std::string bare = get("/v1/kv/1");
  const std::string with_token =
      "GET /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n";
  const std::vector<int> found(2, 404), refused(2, 401);
  CHECK(served.statuses_of(bare + bare, false) == found);
  served.access.set_tokens({"t", ""});
  CHECK(served.statuses_of(bare + bare, false) == refused);
  CHECK(served.statuses_of(with_token + with_token, false) == found);
  served.access.set_tokens({"other", ""});
  CHECK(served.statuses_of(with_token + with_token, false) == refused);
  served.access.set_tokens({"", ""});
  CHECK(served.statuses_of(bare + bare, false) == found);
}

TEST_CASE("under a rate every request is counted, also one that repeats another") {
  HandServed served({}, {.data = {1, 2}, .admin = {}});
  const std::string four = get("/v1/kv/1") + get("/v1/kv/2") + get("/v1/kv/3") + get("/v1/kv/4");
  CHECK(served.statuses_of(four, false) == std::vector<int>{404, 404, 429, 429});
}

TEST_CASE("what repeats a good key is judged by its own key and path") {
  HandServed served({});
  const std::string good = get("/v1/get_fast/1");
  for (const char* path : {"/v1/get_fast/01", "/v1/get_fast/", "/v1/get_fast/18446744073709551616",
                           "/v1/get_fast/1x", "/v1/get_fast/x1"}) {
    CHECK(served.statuses_of(good + good + get(path) + good, false) ==
          std::vector<int>{404, 404, 400, 404});
  }
  CHECK(served.statuses_of(get("/v1/get_fast/x1") + get("/v1/get_fast/x2"), false) ==
        std::vector<int>{400, 400});
  CHECK(served.statuses_of(get("/v1/get_fast/x?1") + get("/v1/get_fast/x?2"), false) ==
        std::vector<int>{400, 400});
  CHECK(served.statuses_of(get("/none/1") + get("/none/2"), false) == std::vector<int>{404, 404});
  const std::string put = "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
  CHECK(served.statuses_of(put + put, false) == std::vector<int>{411, 411});
}

TEST_CASE("pipelined reads of runs, of the delta and of nothing are answered in order", "[e2e]") {
  Served s;
  constexpr int kKeys = 300;
  for (int key = 0; key < kKeys; key += 2) {
    REQUIRE(s.client.call("PUT", kv_path(static_cast<uint64_t>(key)), std::to_string(key)).status ==
            201);
    if (key == kKeys / 2) REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  }
  std::string requests;
  for (int key = 0; key < kKeys; ++key) requests += get("/v1/get_fast/" + std::to_string(key));
  s.client.must_send(requests);
  for (int key = 0; key < kKeys; ++key) {
    const HttpResponse answer = s.client.next();
    INFO(key << ": " << answer.body);
    CHECK(answer.status == (key % 2 == 0 ? 200 : 404));
    if (key % 2 == 0) CHECK(answer.body == std::to_string(key));
  }
}

}  // namespace
}  // namespace kyro::test
