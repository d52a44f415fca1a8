// Conditional writes over real sockets: what each field does, who wins a race, and that a counter
// made of compare-and-swap loses no increment, also across SIGKILL.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

HeaderList if_match(const std::string& tags) {
  return {{"If-Match", tags}};
}
HeaderList if_none_match(const std::string& tags) {
  return {{"If-None-Match", tags}};
}

// One client of the counter; no assertion is made on its thread.
struct Incrementer {
  uint64_t acknowledged = 0;
  uint64_t unanswered = 0;  // sent, and the server died
  std::string failure;

  // Increments until `target` increments are acknowledged or the connection breaks.
  void run(HttpEndpoint endpoint, uint64_t target, std::atomic<uint64_t>& total) {
    HttpClient client(std::move(endpoint));
    while (acknowledged < target && failure.empty()) {
      HttpResponse response;
      if (!client.request("GET", "/v1/kv/1", {}, &response).ok()) return;
      const bool is_there = response.status == 200;
      const uint64_t value = is_there ? parse_u64(response.body).value_or(0) : 0;
      const HeaderList condition =
          is_there ? if_match(std::string(response.header("etag"))) : if_none_match("*");
      if (!client.request("PUT", "/v1/kv/1", std::to_string(value + 1), &response, condition)
               .ok()) {
        ++unanswered;
        return;
      }
      if (response.status == 201 || response.status == 204) {
        ++acknowledged;
        ++total;
      } else if (response.status != 412) {
        failure = std::to_string(response.status) + " " + response.body;
      }
    }
  }
};

}  // namespace

TEST_CASE("If-Match and If-None-Match decide what a PUT and a DELETE do", "[e2e]") {
  Served s;
  const auto put = [&](const HeaderList& headers, std::string_view value = "v") {
    return s.client.call("PUT", "/v1/kv/1", value, headers).status;
  };
  const auto remove = [&](const HeaderList& headers) {
    return s.client.call("DELETE", "/v1/kv/1", {}, headers).status;
  };
  // Absent: what asks for a version fails, before the 404 of a DELETE.
  CHECK(put(if_match("*")) == 412);
  CHECK(put(if_match("\"0\"")) == 412);
  CHECK(remove(if_match("*")) == 412);
  CHECK(remove(if_match("\"0\"")) == 412);
  CHECK(remove(if_none_match("*")) == 404);
  CHECK(s.client.next_offset() == 0);
  CHECK(put(if_none_match("*")) == 201);
  // There, as version 0.
  CHECK(put(if_none_match("*")) == 412);
  CHECK(put(if_none_match("\"0\"")) == 412);
  CHECK(put(if_none_match("W/\"0\"")) == 412);
  CHECK(put(if_match("\"1\"")) == 412);
  CHECK(put(if_match("W/\"0\"")) == 412);
  CHECK(put(if_match("\"abc\"")) == 412);
  CHECK(put({{"If-Match", "\"0\""}, {"If-None-Match", "*"}}) == 412);
  CHECK(remove(if_match("\"1\"")) == 412);
  CHECK(remove(if_none_match("*")) == 412);
  CHECK(s.client.next_offset() == 1);
  CHECK(put(if_match("\"0\""), "a") == 204);
  CHECK(put(if_match("\"7\", \"1\""), "b") == 204);
  CHECK(put(if_match("*"), "c") == 204);
  CHECK(put(if_none_match("\"9\""), "d") == 204);
  CHECK(put({{"If-Match", "\"7\""}, {"If-Match", "\"4\""}}, "e") == 204);
  CHECK(s.client.get("/v1/kv/1").body == "e");
  for (const char* bad : {"5", "\"5", "", "\"5\" \"6\"", "W/5", "*, \"5\""}) {
    INFO(bad);
    check_error(s.client.call("PUT", "/v1/kv/1", "x", if_match(bad)), 400, "bad_tag");
    check_error(s.client.call("DELETE", "/v1/kv/1", {}, if_none_match(bad)), 400, "bad_tag");
  }
  check_error(s.client.call("PUT", "/v1/kv/1", "x", if_match("\"77\"")), 412,
              "precondition_failed");
  CHECK(remove(if_match("\"5\"")) == 204);
  CHECK(s.client.get("/v1/kv/1").status == 404);
  // The same versions count after a flush.
  CHECK(put(if_none_match("*")) == 201);
  CHECK(s.client.call("POST", "/v1/snapshot").status == 200);
  CHECK(put(if_none_match("*")) == 412);
  CHECK(put(if_match("\"6\"")) == 412);
  CHECK(put(if_match("\"7\"")) == 204);
  // POST /v1/put is a write of its key like any other.
  CHECK(s.client.call("POST", "/v1/put", put_body("1", "x"), if_match("\"7\"")).status == 412);
  CHECK(s.client.call("POST", "/v1/put", put_body("1", "x"), if_match("\"8\"")).status == 200);
  CHECK(s.client.next_offset() == 10);
}

TEST_CASE("If-Match and If-None-Match decide what a read answers", "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "v").status == 201);
  for (const char* target : {"/v1/kv/1", "/v1/lookup?key=1"}) {
    for (const char* method : {"GET", "HEAD"}) {
      INFO(method << " " << target);
      const auto status_of = [&](const HeaderList& headers) {
        return s.client.call(method, target, {}, headers).status;
      };
      CHECK(status_of(if_none_match("\"0\"")) == 304);
      CHECK(status_of(if_none_match("W/\"0\"")) == 304);
      CHECK(status_of(if_none_match("*")) == 304);
      CHECK(status_of(if_none_match("\"1\"")) == 200);
      CHECK(status_of(if_match("\"0\"")) == 200);
      CHECK(status_of(if_match("\"7\", \"0\"")) == 200);
      CHECK(status_of(if_match("*")) == 200);
      CHECK(status_of(if_match("\"1\"")) == 412);
      CHECK(status_of(if_match("W/\"0\"")) == 412);
      CHECK(status_of({{"If-Match", "\"1\""}, {"If-None-Match", "\"0\""}}) == 412);
      CHECK(status_of({{"If-Match", "\"0\""}, {"If-None-Match", "\"0\""}}) == 304);
      CHECK(status_of(if_match("0")) == 400);
      CHECK(status_of(if_none_match("0")) == 400);
    }
    const HttpResponse unchanged = s.client.get(target, if_none_match("\"0\""));
    CHECK(unchanged.header("etag") == "\"0\"");
    CHECK(unchanged.body.empty());
  }
  for (const char* target : {"/v1/kv/2", "/v1/lookup?key=2"}) {
    check_error(s.client.get(target, if_match("*")), 412, "precondition_failed");
    CHECK(s.client.get(target, if_none_match("*")).status == 404);
  }
}

TEST_CASE("Pipelined writes of one key keep their order whatever they ask for", "[e2e]") {
  Served s;
  std::string requests;
  const auto add = [&](const std::string& method, const std::string& fields,
                       const std::string& body = {}) {
    requests += method + " /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n" + fields;
    if (!body.empty()) requests += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    requests += "\r\n" + body;
  };
  constexpr int kRounds = 40;
  for (int round = 0; round < kRounds; ++round) {
    add("PUT", "If-None-Match: *\r\n", "a");
    add("PUT", "If-None-Match: *\r\n", "b");
    add("PUT", "If-Match: *\r\n", "c");
    add("GET", "");
    add("DELETE", "If-Match: *\r\n");
    add("DELETE", "");
  }
  s.client.must_send(requests);
  std::thread flusher([endpoint = s.server.endpoint()] {
    HttpClient client(endpoint);
    HttpResponse response;
    for (int i = 0; i < 5; ++i) {
      if (!client.request("POST", "/v1/snapshot", "", &response).ok()) return;
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    INFO("round " << round);
    for (const int status : {201, 412, 204}) CHECK(s.client.next().status == status);
    CHECK(s.client.next().body == "c");
    for (const int status : {204, 404}) CHECK(s.client.next().status == status);
  }
  flusher.join();
  CHECK(s.client.next_offset() == 3 * kRounds);
}

TEST_CASE("Of many that create one key exactly one does", "[e2e]") {
  Served s({"--threads", "2"});
  constexpr size_t kClients = 8;
  constexpr uint64_t kKeys = 20;
  std::vector<std::vector<int>> answers(kClients);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      HttpClient client(s.server.endpoint());
      for (uint64_t key = 0; key < kKeys; ++key) {
        HttpResponse response;
        const bool sent =
            client.request("PUT", kv_path(key), std::to_string(i), &response, if_none_match("*"))
                .ok();
        answers[i].push_back(sent ? response.status : 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint64_t key = 0; key < kKeys; ++key) {
    size_t created = 0;
    for (size_t i = 0; i < kClients; ++i) {
      if (answers[i][key] != 201) {
        CHECK(answers[i][key] == 412);
        continue;
      }
      ++created;
      CHECK(s.client.get(kv_path(key)).body == std::to_string(i));
    }
    CHECK(created == 1);
  }
  CHECK(s.client.next_offset() == kKeys);
}

TEST_CASE("A counter incremented by compare-and-swap loses nothing, also across SIGKILL", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--threads", "2", "--delta-max-bytes", "64KiB"});
  constexpr size_t kClients = 6;
  uint64_t acknowledged = 0;
  uint64_t unanswered = 0;
  constexpr int kRounds = 4;
  for (int round = 0; round < kRounds; ++round) {
    const bool is_last = round == kRounds - 1;
    std::atomic<uint64_t> total{0};
    std::vector<Incrementer> clients(kClients);
    std::vector<std::thread> threads;
    for (Incrementer& client : clients) {
      threads.emplace_back(
          [&] { client.run(server.endpoint(), is_last ? 30 : ~uint64_t{0}, total); });
    }
    if (!is_last) {
      Client admin(server);
      while (total < 60) CHECK(admin.call("POST", "/v1/snapshot").status == 200);
      server.process().signal(SIGKILL);
    }
    for (std::thread& thread : threads) thread.join();
    for (const Incrementer& client : clients) {
      CHECK(client.failure == "");
      acknowledged += client.acknowledged;
      unanswered += client.unanswered;
    }
    if (!is_last) {
      CHECK(server.process().wait().exit_code == 128 + SIGKILL);
      server.start();
    }
    Client client(server);
    const auto value = parse_u64(client.get("/v1/kv/1").body);
    REQUIRE(value.has_value());
    // What was not answered may have happened.
    CHECK(*value >= acknowledged);
    CHECK(*value <= acknowledged + unanswered);
  }
}
