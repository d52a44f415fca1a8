// Who comes is served where others hold much for long and do not move.
#include <fcntl.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "kyro/base/limits.h"
#include "test/support/http/http2_wire.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

constexpr std::chrono::seconds kPatience{30};
const Args kSmallBounds = {"--max-inflight-bytes",
                           "1M",
                           "--max-value-bytes",
                           "1M",
                           "--max-batch-bytes",
                           "1M",
                           "--threads",
                           "2",
                           "--fsync",
                           "never"};
constexpr char kShedMetric[] = "kyrodb_http_rejected_total{reason=\"shed\"}";

// Its window takes next to nothing of the answer.
const std::string kDeafHttp2 = std::string(h2::kPreface) + h2::settings(h2::setting(4, 100)) +
                               h2::headers(1, h2::request_fields("GET", "/v1/scan"));
const std::string kGetBig = "GET /v1/scan HTTP/1.1\r\nHost: localhost\r\n\r\n";

// Takes what has come; true when the server has closed it.
bool is_gone(const HttpClient& client) {
  char bytes[16384];
  ssize_t n = 0;
  while ((n = recv(client.fd(), bytes, sizeof bytes, MSG_DONTWAIT)) > 0) continue;
  return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

// Says what a client of HTTP/2 says first, with a request.
void greet(Client& client) {
  client.must_send(std::string(h2::kPreface) + h2::settings() + h2::request(1));
}

// Whether a newcomer is served over HTTP/2, and what it is told if not.
bool is_served(const std::string& got) {
  for (const h2::Frame& frame : h2::frames_of(got)) {
    if (frame.type == h2::kHeaders) return true;
    if (frame.type != h2::kGoaway) continue;
    CHECK(frame.number_at(0) == 0);
    CHECK(frame.number_at(4) == h2::kNoError);
  }
  return false;
}

std::string hear(Client& client) {
  std::string got;
  char bytes[16384];
  timeval limit{20, 0};
  setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  fcntl(client.fd(), F_SETFL, fcntl(client.fd(), F_GETFL) & ~O_NONBLOCK);
  // Until it is clear: an answer, or the end.
  for (ssize_t n = 0; (n = recv(client.fd(), bytes, sizeof bytes, 0)) > 0;) {
    got.append(bytes, static_cast<size_t>(n));
    if (is_served(got)) break;
  }
  return got;
}

}  // namespace

TEST_CASE(
    "A place goes from who has held most for longest to who comes, over both versions of HTTP",
    "[e2e]") {
  const bool is_http2 = GENERATE(false, true);
  INFO((is_http2 ? "HTTP/2" : "HTTP/1"));
  Served s({"--max-connections", "4", "--threads", "2", "--fsync", "never"});
  REQUIRE(s.client.call("PUT", "/v1/kv/1", std::string(8 * kMiB, 'v')).status == 201);
  Client idle(s.server), deaf(s.server), parked(s.server);
  deaf.must_send(kDeafHttp2);
  REQUIRE(!deaf.read_until("\"key\":1").empty());  // it waits from now on, idle from later on
  parked.must_send("GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\n\r\n");
  REQUIRE(parked.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 "));
  REQUIRE(idle.get("/health").status == 200);
  // At first nobody has held anything for long; in the end the one goes that does not read.
  std::unique_ptr<Client> fresh;
  REQUIRE(becomes(
      [&] {
        CHECK(s.client.get("/health").status == 200);
        fresh = std::make_unique<Client>(s.server);
        if (is_http2) {
          greet(*fresh);
          return is_served(hear(*fresh));
        }
        const HttpResponse got = fresh->get("/health");
        if (got.status != 200) check_error(got, 503, "overloaded");
        return got.status == 200;
      },
      kPatience));
  CHECK(s.client.metric(kShedMetric) == "1");
  CHECK(is_gone(deaf));
  CHECK_FALSE(is_gone(idle));
  CHECK_FALSE(is_gone(parked));
}

TEST_CASE("Who does not read makes room for who does", "[e2e]") {
  const bool is_http2 = GENERATE(false, true);
  INFO((is_http2 ? "HTTP/2" : "HTTP/1"));
  TempDir dir;
  const std::string path = dir.file("socket");  // of which the kernel takes little
  Args flags = kSmallBounds;
  flags.insert(flags.end(), {"--unix-socket", path});
  Served s(flags);
  REQUIRE(s.client.call("PUT", "/v1/kv/1", std::string(900'000, 'v')).status == 201);
  REQUIRE(s.client.call("PUT", "/v1/kv/2", std::string(200'000, 'w')).status == 201);
  std::vector<std::unique_ptr<Client>> deaf;
  for (int i = 0; i < (is_http2 ? 80 : 40); ++i) {
    deaf.push_back(std::make_unique<Client>(unix_endpoint(path)));
    deaf.back()->must_send(is_http2 ? kDeafHttp2 : kGetBig);
  }
  // Within seconds, not the thirty that a client may take to read, others get their large answers.
  const auto has_shed = [&] {
    const std::string count = s.client.metric(kShedMetric);
    return !count.empty() && count != "0";  // the page itself may be refused for a while
  };
  REQUIRE(becomes(has_shed, kPatience));
  REQUIRE(becomes(
      [&] {
        Client fresh(s.server);
        const HttpResponse got = fresh.get("/v1/lookup?key=2");
        if (got.status != 200) check_error(got, 503, "overloaded");
        return got.status == 200 && got.body.size() > 200'000;
      },
      kPatience));
}

TEST_CASE("Who stops in the middle of a body makes room for who does not", "[e2e]") {
  Served s(kSmallBounds);
  std::vector<std::unique_ptr<Client>> stopped;
  for (int i = 0; i < 4; ++i) {
    stopped.push_back(std::make_unique<Client>(s.server));
    stopped.back()->must_send(
        "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n" +
        std::string(400'000, 'b'));
  }
  const std::string body(500'000, 'v');
  REQUIRE(becomes(
      [&] {
        const HttpResponse got = Client(s.server).call("PUT", "/v1/kv/2", body);
        if (got.status != 201 && got.status != 204) check_error(got, 503, "overloaded");
        return s.client.metric(kShedMetric) != "0" && got.status < 300;
      },
      kPatience));
}
