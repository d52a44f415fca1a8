#include "kyro/net/client/http_client.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "test/support/http/http_test_util.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

TEST_CASE("endpoints are read from URLs or refused") {
  const auto host_of = [](std::string_view url) {
    const Result<HttpEndpoint> endpoint = parse_endpoint(url);
    INFO(url);
    REQUIRE(endpoint.ok());
    return endpoint.value().host;
  };
  const auto port_of = [](std::string_view url) {
    return parse_endpoint(url).value().address.peer().port;
  };
  CHECK(host_of("http://127.0.0.1:3030") == "127.0.0.1:3030");
  CHECK(host_of("http://127.0.0.1:3030/") == "127.0.0.1:3030");
  CHECK(host_of("127.0.0.1:3030") == "127.0.0.1:3030");
  CHECK(host_of("HTTP://localhost") == "localhost");
  CHECK(host_of("http://[::1]:81") == "[::1]:81");
  CHECK(host_of("unix:/tmp/x") == "localhost");
  CHECK(host_of("unix:///tmp/x") == "localhost");
  CHECK(port_of("http://127.0.0.1:3030") == 3030);
  CHECK(port_of("http://[::1]:81") == 81);
  CHECK(port_of("http://[::1]") == 80);
  CHECK(port_of("http://localhost/") == 80);
  for (const char* url : {"", "http://", "https://127.0.0.1", "ftp://127.0.0.1", "http://:80",
                          "http://127.0.0.1:", "http://127.0.0.1:0", "http://127.0.0.1:65536",
                          "http://127.0.0.1:x", "http://127.0.0.1:99999999999999", "http://a.b:1",
                          "http://127.0.0.1/path", "unix:", "http://127.0.0.1:80:80"}) {
    INFO(url);
    CHECK_FALSE(parse_endpoint(url).ok());
  }
}

TEST_CASE("loopback hosts are recognised with and without brackets and ports") {
  for (const char* host :
       {"localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:3030"}) {
    INFO(host);
    CHECK(is_loopback_authority(host));
  }
  for (const char* host : {"", "example.org", "127.0.0.1.example.org", "10.0.0.1", "[::2]", "[::1",
                           "localhost.example.org:80", "128.0.0.1", "0.0.0.0", "1270.0.0.1"}) {
    INFO(host);
    CHECK_FALSE(is_loopback_authority(host));
  }
}

TEST_CASE("a server that is not there is unreachable, which no other failure is") {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SocketAddress address = parse_ip_address("127.0.0.1", 0).value();
  REQUIRE(bind(fd, address.get(), address.size) == 0);  // bound, not listening: refuses
  REQUIRE(getsockname(fd, address.get(), &address.size) == 0);
  const std::string url = "127.0.0.1:" + std::to_string(address.peer().port);
  HttpClient client(parse_endpoint(url).value());
  HttpResponse response;
  const Status status = client.request("GET", "/", "", &response);
  CHECK_FALSE(status.ok());
  CHECK(client.unreachable());
  CHECK(status.message() == "cannot connect to " + url + ": Connection refused");
  close(fd);

  TempDir dir;
  HttpClient local(parse_endpoint("unix:" + dir.file("none")).value());
  CHECK_FALSE(local.request("GET", "/", "", &response).ok());
  CHECK(local.unreachable());

  TestServer server;
  HttpClient other(server.endpoint());
  CHECK_FALSE(other.request("GET", "/abort", "", &response).ok());
  CHECK_FALSE(other.unreachable());
}

TEST_CASE("an answer that does not come is a time-out") {
  TestServer server;
  HttpClient client(server.endpoint(), 30);
  HttpResponse response;
  const Status status = client.request("GET", "/defer?x", "", &response);
  CHECK(status.message() == "timed out");
  CHECK_FALSE(client.unreachable());
  CHECK_FALSE(client.connected());
}

TEST_CASE("a kept connection that the server has closed is opened anew") {
  HttpServerConfig config;
  config.idle_timeout_ms = 10;
  TestServer server(config);
  HttpClient client(server.endpoint());
  HttpResponse response;
  REQUIRE(client.request("GET", "/now", "", &response).ok());
  while (server.server->connections() != 0) std::this_thread::yield();
  REQUIRE(client.request("GET", "/now", "", &response).ok());
  CHECK(response.body == "now");
  while (server.server->connections() != 0) std::this_thread::yield();
  REQUIRE(client.request("PUT", "/echo", "x", &response).ok());
  CHECK(response.body == "PUT:x");
  while (server.server->connections() != 0) std::this_thread::yield();
  CHECK_FALSE(client.request("POST", "/echo", "x", &response).ok());  // may not be repeated
}

// A server of one answer, for what ours would never send.
HttpResponse answer_of(const std::string& bytes, bool* ok, const char* method = "GET") {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SocketAddress address = parse_ip_address("127.0.0.1", 0).value();
  REQUIRE(bind(listener, address.get(), address.size) == 0);
  REQUIRE(listen(listener, 1) == 0);
  REQUIRE(getsockname(listener, address.get(), &address.size) == 0);
  std::thread peer([&] {
    const int fd = accept(listener, nullptr, nullptr);
    char request[4096];
    static_cast<void>(recv(fd, request, sizeof request, 0));
    static_cast<void>(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL));
    close(fd);
  });
  HttpClient client(parse_endpoint("127.0.0.1:" + std::to_string(address.peer().port)).value(),
                    20000);
  HttpResponse response;
  *ok = client.request(method, "/", "", &response).ok();
  peer.join();
  close(listener);
  return response;
}

TEST_CASE("answers are framed by length, chunks or the close, and refused when they are broken") {
  bool ok = false;
  CHECK(answer_of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", &ok).body == "hi");
  CHECK(ok);
  CHECK(answer_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", &ok)
            .body == "hi");
  CHECK(ok);
  CHECK(answer_of("HTTP/1.0 200 OK\r\n\r\nto the end", &ok).body == "to the end");
  CHECK(ok);
  CHECK(answer_of("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", &ok).status ==
        204);
  CHECK(ok);
  CHECK(answer_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", &ok, "HEAD").body.empty());
  CHECK(ok);
  for (const char* broken :
       {"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "nonsense\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "HTTP/1.1 200 OK\r\n"}) {
    INFO(broken);
    static_cast<void>(answer_of(broken, &ok));
    CHECK_FALSE(ok);
  }
}

}  // namespace
}  // namespace kyro::test
