#include "kyro/net/server/http_server.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <thread>

#include "test/support/http/http_cases.h"
#include "test/support/http/http_test_util.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

TEST_CASE("draining finishes what has begun, closes what is idle and ends streams") {
  TestServer server;
  HttpClient idle(server.endpoint());
  CHECK(get(idle, "/now").status == 200);
  HttpClient deferred(server.endpoint());
  send(deferred, get_line("/defer?a") + get_line("/defer?b"));
  REQUIRE(server.handler.wait_for_tasks(2));
  HttpClient streamer(server.endpoint());
  send(streamer, get_line("/park"));
  REQUIRE(server.handler.wait_until([](TestHandler& h) { return h.parked > 0; }));
  HttpClient uploading(server.endpoint());
  const int heads = server.handler.headers_seen;
  send(uploading, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
  while (server.handler.headers_seen == heads) std::this_thread::yield();

  bool in_time = false;
  std::thread drainer([&] { in_time = server.server->drain(20000); });
  CHECK(read_all(idle).empty());
  const std::string stream = read_all(streamer);
  CHECK(stream.find("bye\n\r\n0\r\n\r\n") != std::string::npos);
  send(uploading, "cd");
  const HttpResponse uploaded = receive(uploading);
  CHECK(uploaded.body == "PUT:abcd");
  CHECK(uploaded.header("connection") == "close");
  HttpClient refused(server.endpoint());
  CHECK_FALSE(refused.connect().ok());
  CHECK(refused.unreachable());
  server.post_all();
  const HttpResponse first = receive(deferred);
  CHECK(first.body == "a");
  const HttpResponse second = receive(deferred);
  CHECK(second.body == "b");
  CHECK(second.header("connection") == "close");
  drainer.join();
  CHECK(in_time);
  CHECK(server.handler.drained == 1);
  CHECK(server.server->connections() == 0);
}

TEST_CASE("a subscriber that does not read does not delay a drain") {
  HttpServerConfig config;
  config.drain_grace_ms = 10;
  TestServer server(config);
  HttpClient subscriber(server.endpoint());
  send(subscriber, get_line("/park"));
  REQUIRE(server.handler.wait_until([](TestHandler& h) { return h.parked > 0; }));
  server.handler.feed(std::string(60'000'000, 'x'));
  server.server->wake_streams();
  REQUIRE(server.handler.wait_until([](TestHandler& h) { return h.parked > 1; }));
  CHECK(server.server->drain(10000));
  CHECK(server.handler.drained == 1);
}

TEST_CASE("a drain that takes too long ends by force") {
  TestServer server;
  HttpClient stuck(server.endpoint());
  const int heads = server.handler.headers_seen;
  send(stuck, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
  while (server.handler.headers_seen == heads) std::this_thread::yield();
  CHECK_FALSE(server.server->drain(30));
  CHECK(server.server->connections() == 0);
}

TEST_CASE("stop waits for deferred tasks and tells them that nobody listens") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, get_line("/defer?a"));
  REQUIRE(server.handler.wait_for_tasks(1));
  std::thread stopper([&] { server.server->stop(); });
  CHECK(client.wait_for_close());
  server.post_all();
  stopper.join();
  CHECK(server.handler.orphans == 1);
}

TEST_CASE("a Unix socket serves like TCP") {
  TempDir dir;
  HttpServerConfig config;
  config.unix_path = dir.file("socket");
  config.listen_tcp = false;
  config.unix_mode = 0600;
  TestServer server(config);
  CHECK(server.server->bound_port() == 0);
  struct stat made {};
  REQUIRE(lstat(config.unix_path.c_str(), &made) == 0);
  CHECK((made.st_mode & 0777) == 0600);
  HttpClient client(server.unix_endpoint());
  CHECK(get(client, "/peer").body == "unix");
  send(client, kGetNow + get_line("/big?500000") + get_line("/stream?1000") + kGetNow);
  CHECK(receive(client).body == "now");
  CHECK((receive(client).body == TestHandler::pattern(500000)));
  CHECK(receive(client).body.size() > 8000);
  CHECK(receive(client).body == "now");
  CHECK(server.server->drain(10000));
  CHECK(lstat(config.unix_path.c_str(), &made) != 0);
}

TEST_CASE("a stale socket is replaced, a live one and a file are not") {
  TempDir dir;
  HttpServerConfig config;
  config.listen_tcp = false;
  config.unix_path = dir.file("socket");
  const int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const SocketAddress address = unix_address(config.unix_path).value();
  REQUIRE(bind(stale, address.get(), address.size) == 0);
  close(stale);
  TestServer server(config);
  HttpClient client(server.unix_endpoint());
  CHECK(get(client, "/now").status == 200);

  TestHandler other;
  const auto second = HttpServer::start(config, other);
  CHECK_FALSE(second.ok());
  CHECK(second.status().message() == config.unix_path + ": address in use");
  CHECK(get(client, "/now").status == 200);

  config.unix_path = dir.file("file");
  close(open(config.unix_path.c_str(), O_CREAT | O_WRONLY, 0600));
  const auto third = HttpServer::start(config, other);
  CHECK_FALSE(third.ok());
  CHECK(third.status().message() == config.unix_path + ": exists and is not a socket");
  CHECK(access(config.unix_path.c_str(), F_OK) == 0);
}

TEST_CASE("addresses that cannot be listened on are named with the reason") {
  TestServer server;
  TestHandler handler;
  HttpServerConfig config;
  config.port = server.server->bound_port();
  const auto taken = HttpServer::start(config, handler);
  CHECK_FALSE(taken.ok());
  CHECK(taken.status().message() ==
        "127.0.0.1:" + std::to_string(config.port) + ": address in use");
  config.host = "203.0.113.1";
  CHECK_FALSE(HttpServer::start(config, handler).ok());
  config.host = "example.org";
  CHECK_FALSE(HttpServer::start(config, handler).ok());
  config.host = "localhost";
  config.port = 0;
  CHECK(HttpServer::start(config, handler).ok());
}

TEST_CASE("IPv6 serves where the machine has it") {
  HttpServerConfig config;
  config.host = "::1";
  TestHandler handler;
  auto started = HttpServer::start(config, handler);
  if (!started.ok()) {
    WARN("no IPv6 here: " << started.status().to_string());
    return;
  }
  const std::string url = "http://[::1]:" + std::to_string(started.value()->bound_port());
  HttpClient client(parse_endpoint(url).value());
  CHECK(get(client, "/peer").body == "loopback");
}

TEST_CASE("without descriptors connections are shed and the server recovers") {
  TestServer server;
  HttpClient kept(server.endpoint());
  CHECK(get(kept, "/now").status == 200);
  const int victim = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int next = dup(victim);
  REQUIRE(next >= 0);
  close(next);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(next);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  const SocketAddress address = server.endpoint().address;
  const int connected = connect(victim, address.get(), address.size);
  const bool shed = server.handler.wait_for_rejection(RejectReason::kFileDescriptors);
  std::string answer;
  char piece[1024];
  for (ssize_t n = 0; (n = recv(victim, piece, sizeof piece, 0)) > 0;) {
    answer.append(piece, static_cast<size_t>(n));
  }
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(connected == 0);
  CHECK(shed);
  CHECK(answer.starts_with("HTTP/1.1 503 "));
  CHECK(answer.find("\r\nRetry-After: 1\r\n") != answer.npos);
  close(victim);
  CHECK(get(kept, "/now").status == 200);
  HttpClient fresh(server.endpoint());
  CHECK(get(fresh, "/now").status == 200);
}

TEST_CASE("connections are dealt out evenly and many clients get their own answers") {
  HttpServerConfig config;
  config.threads = 2;
  TestServer server(config);
  server.handler.post_at_once = true;
  constexpr int kClients = 4;
  constexpr int kRounds = 200;
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int id = 0; id < kClients; ++id) {
    clients.emplace_back([&, id] {
      HttpClient client(server.endpoint());
      for (int round = 0; round < kRounds; ++round) {
        const std::string tag = std::to_string(id) + "-" + std::to_string(round);
        const bool sent =
            client
                .send_raw(get_line("/defer?" + tag) + "PUT /wait HTTP/1.1\r\nHost: a\r\n" +
                          "Content-Length: " + std::to_string(tag.size()) + "\r\n\r\n" + tag +
                          get_line("/stream?1") + get_line("/big?20000"))
                .ok();
        HttpResponse answers[4];
        for (HttpResponse& answer : answers) {
          if (!client.receive(&answer).ok()) ++wrong;
        }
        if (!sent || answers[0].body != tag || answers[1].body != "waited:" + tag ||
            answers[2].body != "line 0\n" || answers[3].body.size() != 20000) {
          ++wrong;
        }
        if (round % 50 == 49) client.close();
      }
    });
  }
  std::thread waker([&] {
    for (int i = 0; i < 1000; ++i) server.server->wake_streams();
  });
  for (std::thread& client : clients) client.join();
  waker.join();
  CHECK(wrong == 0);
}

TEST_CASE("mutated byte streams never take the server down") {
  const uint64_t seed = test_seed(42);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  HttpServerConfig config;
  config.linger_timeout_ms = 20;
  TestServer server(config);
  server.handler.post_at_once = true;
  const std::string base =
      kGetNow + "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" +
      get_line("/defer?x") +
      "POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
      get_line("/stream?3") + "PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" +
      kGetNow;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = base;
    for (uint64_t edit = 0; edit < 1 + random() % 3; ++edit) {
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random() % 256);
          break;
        case 1:
          bytes.insert(at, 1, "\r\n :0x"[random() % 6]);
          break;
        case 2:
          bytes.erase(at, 1 + random() % 8);
          break;
        default:
          bytes.resize(at + 1);
          break;
      }
    }
    HttpClient client(server.endpoint());
    size_t at = 0;
    while (at < bytes.size()) {
      const size_t n = std::min<size_t>(1 + random() % 200, bytes.size() - at);
      if (!client.send_raw(std::string_view(bytes).substr(at, n)).ok()) break;
      at += n;
    }
    if (!client.connected()) continue;
    client.shutdown_write();
    INFO(bytes);
    CHECK(read_all(client).substr(0, 9) == (bytes.empty() ? "" : "HTTP/1.1 "));
  }
  HttpClient client(server.endpoint());
  CHECK(get(client, "/now").body == "now");
}

}  // namespace
}  // namespace kyro::test
