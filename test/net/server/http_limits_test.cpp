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

TEST_CASE("slow heads, slow bodies and idle connections are closed at their deadline") {
  HttpServerConfig config;
  config.header_timeout_ms = 40;
  config.body_timeout_ms = 60;
  config.idle_timeout_ms = 80;
  config.linger_timeout_ms = 50;
  TestServer server(config);
  HttpClient head(server.endpoint());
  send(head, kGetNow + "GET / HT");
  CHECK(receive(head).body == "now");
  const std::string head_answer = read_all(head);
  CHECK(head_answer.substr(0, 12) == "HTTP/1.1 408");
  CHECK(head_answer.find("Connection: close") != std::string::npos);
  CHECK(server.handler.wait_for_rejection(RejectReason::kHeaderTimeout));

  for (const std::string lines : {"GET / HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n"}) {
    HttpClient client(server.endpoint());
    send(client, lines);
    CHECK(read_all(client).substr(0, 12) == "HTTP/1.1 408");
  }

  for (const std::string body : {"Content-Length: 9\r\n\r\nabc", "Content-Length: 9\r\n\r\n",
                                 "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"}) {
    HttpClient client(server.endpoint());
    send(client, "PUT /echo HTTP/1.1\r\nHost: a\r\n" + body);
    CHECK(read_all(client).substr(0, 12) == "HTTP/1.1 408");
  }
  CHECK(server.handler.wait_for_rejection(RejectReason::kBodyTimeout));

  HttpClient skipped(server.endpoint());
  send(skipped, "PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
  CHECK(receive(skipped).status == 401);
  CHECK(read_all(skipped).empty());

  HttpClient idle(server.endpoint());
  REQUIRE(idle.connect().ok());
  CHECK(read_all(idle).empty());
  HttpClient used(server.endpoint());
  CHECK(get(used, "/now").body == "now");
  CHECK(read_all(used).empty());
}

TEST_CASE("a deadline is absolute: trickling does not extend it") {
  HttpServerConfig config;
  config.header_timeout_ms = 50;
  TestServer server(config);
  HttpClient client(server.endpoint());
  send(client, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
  bool is_late = false;
  while (!is_late && (::send(client.fd(), "x", 1, MSG_NOSIGNAL) == 1 || errno == EAGAIN)) {
    server.handler.note(
        [&](TestHandler& h) { is_late = h.rejected[RejectReason::kHeaderTimeout] > 0; });
  }
  CHECK(receive(client).status == 408);
}

TEST_CASE("a client that does not read is dropped, with a stream too") {
  HttpServerConfig config;
  config.write_timeout_ms = 50;
  TestServer server(config);
  for (const char* target : {"/big?60000000", "/stream?20000000"}) {
    HttpClient client(server.endpoint());
    send(client, get_line(target));
    CHECK(server.handler.wait_for_rejection(RejectReason::kWriteTimeout));
    server.handler.note([](TestHandler& h) { h.rejected.clear(); });
    while (server.server->connections() != 0) std::this_thread::yield();
  }
}

TEST_CASE("a parked stream outlives the idle and write deadlines") {
  HttpServerConfig config;
  config.idle_timeout_ms = 20;
  config.write_timeout_ms = 20;
  TestServer server(config);
  server.handler.heartbeat_ms = 10;
  HttpClient client(server.endpoint());
  send(client, get_line("/park"));
  HttpResponse response;
  REQUIRE(client.receive_head(&response).ok());
  std::string beats;
  bool end = false;
  while (beats.size() < 100) REQUIRE(client.receive_body(&beats, &end).ok());
  CHECK_FALSE(end);
}

TEST_CASE("connections over the caps are told so and closed") {
  HttpServerConfig config;
  config.connections_max = 2;
  config.shed_after_ms = 1u << 30;  // who is here may stay
  TestServer server(config);
  HttpClient first(server.endpoint());
  HttpClient second(server.endpoint());
  CHECK(get(first, "/now").status == 200);
  CHECK(get(second, "/now").status == 200);
  HttpClient third(server.endpoint());
  REQUIRE(third.connect().ok());
  const std::string answer = read_all(third);
  CHECK(answer.substr(0, 12) == "HTTP/1.1 503");
  CHECK(answer.find("Connection: close\r\n") != std::string::npos);
  CHECK(server.handler.wait_for_rejection(RejectReason::kConnectionCap));
  second.close();
  while (server.server->connections() != 1) std::this_thread::yield();
  HttpClient fourth(server.endpoint());
  CHECK(get(fourth, "/now").status == 200);
}

TEST_CASE("connections of one address over its cap get 429") {
  HttpServerConfig config;
  config.connections_per_ip_max = 1;
  TempDir dir;
  config.unix_path = dir.file("socket");
  TestServer server(config);
  HttpClient first(server.endpoint());
  CHECK(get(first, "/now").status == 200);
  HttpClient second(server.endpoint());
  REQUIRE(second.connect().ok());
  const std::string answer = read_all(second);
  CHECK(answer.substr(0, 12) == "HTTP/1.1 429");
  CHECK(answer.find("Retry-After: ") != std::string::npos);
  CHECK(server.handler.wait_for_rejection(RejectReason::kPerIpCap));
  HttpClient local(server.unix_endpoint());  // has no address to count by
  CHECK(get(local, "/now").status == 200);
  first.close();
  while (server.server->connections() != 1) std::this_thread::yield();
  HttpClient third(server.endpoint());
  CHECK(get(third, "/now").status == 200);
}

TEST_CASE("bodies over the in-flight bound pause, then get 503") {
  HttpServerConfig config;
  config.inflight_bytes_max = 256 * 1024;
  config.inflight_wait_ms = 40;
  TestServer server(config);
  const std::string head = "PUT /large HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n";
  const std::string half(2000000, 'x');
  HttpClient first(server.endpoint());  // is read beyond the bound, but does not end
  send(first, head + half);
  while (server.server->inflight_bytes() < half.size()) std::this_thread::yield();
  HttpClient client(server.endpoint());
  send(client, head);
  std::thread sender([&] { static_cast<void>(client.send_raw(half)); });
  CHECK(server.handler.wait_for_rejection(RejectReason::kInflightBytes));
  sender.join();
  const HttpResponse refused = receive(client);
  CHECK(refused.status == 503);
  CHECK(refused.header("retry-after") == "1");
  first.close();
  while (server.server->inflight_bytes() != 0) std::this_thread::yield();
  HttpClient other(server.endpoint());
  HttpResponse response;
  REQUIRE(other.request("PUT", "/echo", std::string(100000, 'y'), &response).ok());
  CHECK(response.body.size() == 100004);
}

TEST_CASE("reading goes on when in-flight bytes are given back") {
  HttpServerConfig config;
  config.inflight_bytes_max = 400000;
  config.inflight_wait_ms = 20000;
  TestServer server(config);
  HttpClient holder(server.endpoint());
  send(holder, "PUT /defer HTTP/1.1\r\nHost: a\r\nContent-Length: 390000\r\n\r\n" +
                   std::string(390000, 'x'));
  REQUIRE(server.handler.wait_for_tasks(1));
  HttpClient client(server.endpoint());
  std::thread sender(
      [&] { static_cast<void>(client.send("PUT", "/echo", std::string(100000, 'y'))); });
  while (server.server->connections() != 2) std::this_thread::yield();
  server.post_all();
  CHECK(receive(holder).body.size() == 390000);
  sender.join();
  CHECK(receive(client).body.size() == 100004);
}

TEST_CASE("a client that has shut down its side gets what it asked for") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, kGetNow + get_line("/defer?late"));
  client.shutdown_write();
  REQUIRE(server.handler.wait_for_tasks(1));
  server.post_all();
  const std::string all = read_all(client);
  CHECK(all.find("now") != std::string::npos);
  CHECK(all.substr(all.size() - 4) == "late");

  HttpClient streamer(server.endpoint());
  send(streamer, get_line("/stream?1000"));
  streamer.shutdown_write();
  CHECK(read_all(streamer).find("line 999\n\r\n0\r\n\r\n") != std::string::npos);

  HttpClient partial(server.endpoint());
  send(partial, kGetNow + "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
  partial.shutdown_write();
  const std::string refused = read_all(partial);
  CHECK(refused.find("HTTP/1.1 400") != std::string::npos);
  CHECK(server.handler.requests_seen == 4);

  HttpClient nothing(server.endpoint());
  REQUIRE(nothing.connect().ok());
  nothing.shutdown_write();
  CHECK(read_all(nothing).empty());
}

TEST_CASE("resets at any time leave the server serving") {
  TestServer server;
  for (const std::string& bytes :
       {std::string("GET"), kGetNow,
        std::string("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
        get_line("/big?9000000"), get_line("/stream?1000000"), get_line("/park")}) {
    HttpClient client(server.endpoint());
    send(client, bytes);
    const linger reset{1, 0};
    setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client.close();
  }
  while (server.server->connections() != 0) std::this_thread::yield();
  HttpClient client(server.endpoint());
  CHECK(get(client, "/now").body == "now");
}

}  // namespace
}  // namespace kyro::test
