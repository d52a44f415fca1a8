// min_offset and consistency=latest over real sockets, on a store that shares no log.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "kyro/base/clock.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

struct FreshRoute {
  std::string method;
  std::string target;  // with a query, or without
  std::string body = {};
  std::string expected;  // in the answer, once key 7 has "seven" at offset 0
  int status = 200;
};

const std::vector<FreshRoute>& fresh_routes() {
  static const std::vector<FreshRoute> kRoutes = {
      {"GET", "/v1/get_fast/7", "", "seven"},
      {"HEAD", "/v1/get_fast/7", "", ""},
      {"GET", "/v1/kv/7", "", "seven"},
      {"GET", "/v1/kv/7?wait_secs=0", "", "seven"},
      {"GET", "/v1/lookup_fast/7", "", std::string(8, '\0')},
      {"GET", "/v1/lookup?key=7", "", "seven"},
      {"GET", "/v1/lookup_raw?key=7", "", "", 204},
      {"GET", "/v1/floor/9", "", "seven"},
      {"GET", "/v1/ceil/1?keys=string", "", "\"key\":\"7\""},
      {"POST", "/v1/mget", R"({"keys":[7]})", "[\"seven\"]"},
      {"GET", "/v1/scan", "", "seven"},
      {"GET", "/v1/count?start=3", "", "{\"count\":1,\"as_of\":1}"},
      {"GET", "/v1/replay?start=0", "", "seven"},
      {"GET", "/v1/offset", "", "{\"offset\":1,"},
  };
  return kRoutes;
}

std::string with_parameter(const std::string& target, const std::string& parameter) {
  return target + (target.find('?') == target.npos ? "?" : "&") + parameter;
}

// Until so many reads wait; the server tells of it, but not by an event.
void wait_until_waiting(Client& client, const std::string& count) {
  for (const uint64_t end_ns = monotonic_ns() + 30'000'000'000; monotonic_ns() < end_ns;) {
    if (client.metric("kyrodb_offset_waits") == count) return;
  }
  FAIL("there are " << client.metric("kyrodb_offset_waits") << " reads that wait, not " << count);
}

void send_fresh(Client& client, const FreshRoute& route, const std::string& parameter) {
  std::string request = route.method + " " + with_parameter(route.target, parameter) +
                        " HTTP/1.1\r\nHost: localhost\r\n";
  if (route.method == "POST") {
    request +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(route.body.size()) +
        "\r\n";
  }
  client.must_send(request + "\r\n" + route.body);
}

}  // namespace

TEST_CASE("Every read waits for the offset that it wants, and is answered when that comes",
          "[e2e]") {
  Served s({"--log-timeout-ms", "600000"});
  std::vector<std::unique_ptr<Client>> readers;
  for (const FreshRoute& route : fresh_routes()) {
    readers.push_back(std::make_unique<Client>(s.server));
    send_fresh(*readers.back(), route, "min_offset=0");
  }
  Client subscriber(s.server);
  subscriber.must_send("GET /v1/subscribe?from=0&min_offset=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  wait_until_waiting(s.client, std::to_string(readers.size() + 1));
  CHECK(s.client.call("PUT", "/v1/kv/7", "seven").status == 201);
  for (size_t i = 0; i < readers.size(); ++i) {
    const FreshRoute& route = fresh_routes()[i];
    INFO(route.method << " " << route.target);
    const HttpResponse answer = readers[i]->next(route.method == "HEAD");
    CHECK(answer.status == route.status);
    CHECK_THAT(answer.body, Contains(route.expected));
  }
  CHECK_THAT(subscriber.read_until("seven"), Contains("200 OK"));
  CHECK(s.client.metric("kyrodb_offset_waits") == "0");
  // What is there already is not waited for.
  for (const FreshRoute& route : fresh_routes()) {
    for (const char* parameter : {"min_offset=0", "consistency=latest"}) {
      INFO(route.method << " " << route.target << " " << parameter);
      if (route.method == "HEAD") continue;
      const HttpResponse answer =
          s.client.call(route.method, with_parameter(route.target, parameter), route.body);
      CHECK(answer.status == route.status);
      CHECK_THAT(answer.body, Contains(route.expected));
    }
  }
}

TEST_CASE("A read of an offset that does not come is told so in time", "[e2e]") {
  Served s({"--log-timeout-ms", "100"});
  s.client.call("PUT", "/v1/kv/7", "seven");
  for (const std::string offset : {"1", "18446744073709551615"}) {
    for (const FreshRoute& route : fresh_routes()) {
      if (route.method == "HEAD") continue;
      INFO(route.method << " " << route.target << " " << offset);
      const HttpResponse answer = s.client.call(
          route.method, with_parameter(route.target, "min_offset=" + offset), route.body);
      CHECK(answer.status == 503);
      CHECK(answer.header("retry-after") == "1");
      CHECK_THAT(answer.body, Contains("\"error\":\"behind\""));
      CHECK_THAT(answer.body, Contains("the next offset here is 1"));
    }
  }
}

TEST_CASE("What a read says of freshness is refused where it makes no sense", "[e2e]") {
  Served s;
  for (const FreshRoute& route : fresh_routes()) {
    if (route.method == "HEAD") continue;
    for (const char* parameter :
         {"min_offset=", "min_offset=x", "min_offset=-1", "min_offset=18446744073709551616",
          "min_offset=1&min_offset=1", "consistency=", "consistency=eventual",
          "consistency=latest&consistency=latest", "min_offset=0&consistency=latest"}) {
      INFO(route.method << " " << route.target << " " << parameter);
      const HttpResponse answer =
          s.client.call(route.method, with_parameter(route.target, parameter), route.body);
      CHECK(answer.status == 400);
      CHECK_THAT(answer.body, Contains("\"error\":\"invalid\""));
    }
  }
  CHECK(s.client.call("PUT", "/v1/kv/7?min_offset=0", "x").status == 400);
  CHECK(s.client.call("DELETE", "/v1/kv/7?consistency=latest").status == 400);
  CHECK(s.client.call("POST", "/v1/snapshot?min_offset=0").status == 400);
}

TEST_CASE("A read that waits ends with its client, its token and its server", "[e2e]") {
  TempDir dir;
  write_file(dir.file("token"), "old");
  ServerProcess server(dir.file("data"), {"--log-timeout-ms", "600000", "--protect-metrics",
                                          "--auth-token-file", dir.file("token")});
  Client watcher(server);
  const auto waiting = [&](const std::string& token) {
    const std::string page = watcher.get("/metrics", bearer(token)).body;
    const size_t at = page.find("\nkyrodb_offset_waits ") + 21;
    return page.substr(at, page.find('\n', at) - at);
  };
  const auto wait_for = [&](const std::string& token, const std::string& count) {
    const uint64_t end_ns = monotonic_ns() + 30'000'000'000;
    while (waiting(token) != count) REQUIRE(monotonic_ns() < end_ns);
  };
  const std::string head =
      "GET /v1/kv/7?min_offset=5 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer old\r\n\r\n";
  auto gone = std::make_unique<Client>(server);
  gone->must_send(head);
  wait_for("old", "1");
  gone.reset();
  wait_for("old", "0");

  Client withdrawn(server);
  withdrawn.must_send(head);
  wait_for("old", "1");
  write_file(dir.file("token"), "new");
  server.process().signal(SIGHUP);
  REQUIRE(server.process().wait_for_err("token_reloaded"));
  for (int i = 0; i < 6; ++i) {
    watcher.call("PUT", kv_path(static_cast<uint64_t>(i)), "v", bearer("new"));
  }
  CHECK(withdrawn.next().status == 401);

  Client at_the_end(server);
  at_the_end.must_send(
      "GET /v1/kv/7?min_offset=99 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
      "new\r\n\r\n");
  wait_for("new", "1");
  CHECK(server.stop().exit_code == 0);
  CHECK(at_the_end.next().status == 503);
}

TEST_CASE("What is pipelined after a read that waits is answered after it", "[e2e]") {
  Served s({"--log-timeout-ms", "600000"});
  Client reader(s.server);
  std::string requests;
  for (const char* target : {"/v1/kv/1?min_offset=1", "/v1/kv/2", "/v1/kv/0?min_offset=0"}) {
    requests += "GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  }
  reader.must_send(requests);
  wait_until_waiting(s.client, "1");
  s.client.call("PUT", "/v1/kv/0", "zero");
  s.client.call("PUT", "/v1/kv/1", "one");
  CHECK(reader.next().body == "one");
  CHECK(reader.next().status == 404);
  CHECK(reader.next().body == "zero");
}

}  // namespace kyro::test
