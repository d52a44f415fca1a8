// Who goes where places or memory run out, over sockets and on several reactors.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/net/server/http_server.h"
#include "test/support/http/http2_wire.h"
#include "test/support/http/http_cases.h"
#include "test/support/http/http_test_util.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

using Clients = std::vector<std::unique_ptr<HttpClient>>;

// Whether the server has closed it, whatever it has said before.
bool is_gone(const HttpClient& client) {
  char bytes[4096];
  ssize_t n = 0;
  while ((n = recv(client.fd(), bytes, sizeof bytes, MSG_DONTWAIT)) > 0) continue;
  return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

// Lets so much time pass as the server counts it.
void pass(uint64_t ms) {
  const uint64_t until_ns = monotonic_ns() + ms * 1'000'000;
  while (monotonic_ns() < until_ns) std::this_thread::yield();
}

HttpClient& connect(TestServer& server, Clients& clients) {
  clients.push_back(std::make_unique<HttpClient>(server.endpoint()));
  CHECK(get(*clients.back(), "/now").status == 200);
  return *clients.back();
}

HttpServerConfig tight(uint32_t connections, unsigned threads) {
  HttpServerConfig config;
  config.threads = threads;
  config.connections_max = connections;
  config.shed_after_ms = HeldList::kGrainMs;
  return config;
}

// Above the grain, so that the order of two is certain.
constexpr uint64_t kApartMs = 2 * HeldList::kGrainMs;

TEST_CASE("a place goes from who has held it for longest, on whichever reactor") {
  TestServer server(tight(6, 3));
  Clients clients;
  for (int i = 0; i < 5; ++i) {
    connect(server, clients);
    pass(kApartMs);
  }
  // Parked streams wait for the server and keep their place, however old.
  HttpClient parked(server.endpoint());
  send(parked, get_line("/park"));
  HttpResponse head;
  REQUIRE(parked.receive_head(&head).ok());
  CHECK(get(*clients[1], "/now").status == 200);  // is the youngest now
  pass(kApartMs);
  std::vector<size_t> wanted;
  for (const size_t oldest : {size_t{0}, size_t{2}, size_t{3}, size_t{4}}) {
    connect(server, clients);
    wanted.push_back(oldest);
    std::vector<size_t> gone;
    for (size_t i = 0; i < clients.size(); ++i) {
      if (is_gone(*clients[i])) gone.push_back(i);
    }
    CHECK(gone == wanted);
    pass(kApartMs);
  }
  CHECK(server.server->connections() == 6);
  CHECK_FALSE(is_gone(parked));
  server.handler.note([](TestHandler& h) { CHECK(h.rejected[RejectReason::kShed] == 4); });
}

TEST_CASE("who keeps bytes from others goes before who only has a place") {
  TempDir dir;
  HttpServerConfig config = tight(3, 2);
  config.unix_path = dir.file("socket");  // of which the kernel takes little
  TestServer server(config);
  Clients clients;
  HttpClient& idle = connect(server, clients);
  pass(kApartMs);
  HttpClient deaf(server.unix_endpoint());
  send(deaf, get_line("/stream?200000"));
  HttpClient& sender = connect(server, clients);
  send(sender, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" +
                   std::string(400'000, 'b'));
  while (server.server->inflight_bytes() < 400'000) std::this_thread::yield();
  pass(2 * kApartMs);
  connect(server, clients);
  CHECK(is_gone(sender));
  CHECK_FALSE(is_gone(idle));
  pass(kApartMs);
  connect(server, clients);
  CHECK(is_gone(deaf));
  CHECK_FALSE(is_gone(idle));
}

TEST_CASE("without anybody who may go a newcomer is told at once, in its own words") {
  HttpServerConfig config = tight(1, 2);
  config.shed_after_ms = 1u << 30;
  TestServer server(config);
  Clients clients;
  connect(server, clients);
  HttpClient second(server.endpoint());
  send(second, std::string(h2::kPreface) + h2::settings() + h2::request(1));
  const auto frames = h2::frames_of(read_all(second));
  REQUIRE(frames.size() == 2);
  CHECK(frames[0].type == h2::kSettings);
  CHECK(frames[1].type == h2::kGoaway);
  CHECK(frames[1].number_at(0) == 0);  // not even the first stream was looked at
  CHECK(frames[1].number_at(4) == h2::kNoError);
  HttpClient third(server.endpoint());
  send(third, get_line("/now"));
  const std::string answer = read_all(third);
  CHECK(answer.starts_with("HTTP/1.1 503 "));
  CHECK(answer.find("\r\nRetry-After: 1\r\n") != answer.npos);
  CHECK(server.handler.wait_for_rejection(RejectReason::kConnectionCap));
  CHECK(get(*clients[0], "/now").status == 200);
}

TEST_CASE("a connection of HTTP/2 that idles is told good-bye before it goes") {
  TestServer server(tight(1, 1));
  HttpClient first(server.endpoint());
  send(first, std::string(h2::kPreface) + h2::settings());
  pollfd waiting{first.fd(), POLLIN, 0};
  REQUIRE(poll(&waiting, 1, 20'000) == 1);  // its settings: it speaks HTTP/2
  pass(kApartMs);
  HttpClient second(server.endpoint());
  CHECK(get(second, "/now").status == 200);
  const auto frames = h2::frames_of(read_all(first));
  REQUIRE(!frames.empty());
  CHECK(frames.back().type == h2::kGoaway);
}

TEST_CASE("who does not take what it asked for makes room for who does") {
  HttpServerConfig config = tight(100, 2);
  config.inflight_bytes_max = 1 << 20;
  TempDir dir;
  config.unix_path = dir.file("socket");  // of which the kernel takes little
  TestServer server(config);
  Clients deaf;  // a slice of 64 KiB waits for each of them
  for (int i = 0; i < 40; ++i) {
    deaf.push_back(std::make_unique<HttpClient>(server.unix_endpoint()));
    send(*deaf.back(), get_line("/stream?200000"));
  }
  HttpClient fresh(server.endpoint());
  CHECK(server.handler.wait_for_rejection(RejectReason::kShed));
  CHECK(get(fresh, "/now").status == 200);
}

}  // namespace
}  // namespace kyro::test
