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

TEST_CASE("one connection serves many requests") {
  TestServer server;
  HttpClient client(server.endpoint());
  for (int i = 0; i < 20; ++i) {
    const HttpResponse response = get(client, "/now");
    CHECK(response.status == 200);
    CHECK(response.body == "now");
    CHECK(response.header("content-length") == "3");
    CHECK(response.header("content-type") == "text/plain");
    CHECK(response.header("x-content-type-options") == "nosniff");
    CHECK(response.header("date").size() == 29);
    CHECK(response.header("connection").empty());
  }
  CHECK(server.server->connections() == 1);
  CHECK(server.handler.wait_until([](TestHandler& h) { return h.responses[{1, 200}] == 20; }));
  CHECK(get(client, "/nothing").status == 404);
  CHECK(get(client, "/user").body == "5");
  CHECK(get(client, "/etag").header("etag") == "\"7\"");
  CHECK(get(client, "/peer").body == "loopback");
}

TEST_CASE("pipelined requests split at any byte get the same answers in order") {
  TestServer server;
  const std::string requests =
      get_line("/echo?1") + "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" +
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;x\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n" +
      "\r\nHEAD /now HTTP/1.1\r\nHost: a\r\n\r\n" + get_line("/status?204") + kGetNow;
  for (size_t split = 0; split <= requests.size(); ++split) {
    INFO("split at " << split);
    HttpClient client(server.endpoint());
    const uint64_t rounds = server.handler.rounds.load();
    send(client, requests.substr(0, split));
    if (split > 0 && split < requests.size()) server.wait_round(rounds);
    send(client, requests.substr(split));
    CHECK(receive(client).body == "GET:");
    CHECK(receive(client).body == "PUT:hello");
    CHECK(receive(client).body == "POST:abcde");
    const HttpResponse head = receive(client, true);
    CHECK(head.header("content-length") == "3");
    CHECK(head.body.empty());
    CHECK(receive(client).status == 204);
    CHECK(receive(client).body == "now");
  }
}

TEST_CASE("a request that trickles in byte by byte is answered") {
  TestServer server;
  HttpClient client(server.endpoint());
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
  for (const char c : request) send(client, std::string_view(&c, 1));
  CHECK(receive(client).body == "POST:ab");
}

TEST_CASE("hundreds of pipelined requests are all answered") {
  TestServer server;
  HttpClient client(server.endpoint());
  std::string requests;
  for (int i = 0; i < 5000; ++i) requests += get_line("/echo?" + std::to_string(i));
  REQUIRE(client.connect().ok());
  std::thread sender([&] { static_cast<void>(client.send_raw(requests)); });
  for (int i = 0; i < 5000; ++i) REQUIRE(receive(client).body == "GET:");
  sender.join();
}

TEST_CASE("deferred answers leave in the order of their requests") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, get_line("/defer?a") + get_line("/defer?b") + kGetNow + get_line("/defer?c"));
  REQUIRE(server.handler.wait_for_tasks(3));
  std::vector<Task*> tasks;
  server.handler.note([&](TestHandler& h) { tasks.swap(h.tasks); });
  for (size_t i = tasks.size(); i-- > 0;) {
    std::thread([task = tasks[i]] { task->post(); }).join();
  }
  CHECK(receive(client).body == "a");
  CHECK(receive(client).body == "b");
  CHECK(receive(client).body == "now");
  CHECK(receive(client).body == "c");
}

TEST_CASE("more deferred requests than may be pending are all answered") {
  TestServer server;
  HttpClient client(server.endpoint());
  constexpr size_t kCount = 3 * RequestReader::kPendingMax;
  std::string requests;
  for (size_t i = 0; i < kCount; ++i) requests += get_line("/defer?" + std::to_string(i));
  send(client, requests);
  for (size_t done = 0; done < kCount; done += RequestReader::kPendingMax) {
    REQUIRE(server.handler.wait_for_tasks(RequestReader::kPendingMax));
    server.post_all();
  }
  for (size_t i = 0; i < kCount; ++i) CHECK(receive(client).body == std::to_string(i));
}

TEST_CASE("a request that waits for earlier ones is handled after their answers") {
  TestServer server;
  for (const std::string body :
       {"Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"}) {
    HttpClient client(server.endpoint());
    const int waits = server.handler.waits;
    send(client, get_line("/defer?a") + get_line("/defer?b") + "PUT /wait HTTP/1.1\r\nHost: a\r\n" +
                     body + kGetNow + get_line("/defer?c"));
    REQUIRE(server.handler.wait_for_tasks(2));
    CHECK(server.handler.wait_until([&](TestHandler& h) { return h.waits > waits; }));
    {
      const std::lock_guard lock(server.handler.mutex);
      CHECK(server.handler.tasks.size() == 2);  // what is after the waiting one waits, too
    }
    server.post_all();
    CHECK(receive(client).body == "a");
    CHECK(receive(client).body == "b");
    CHECK(receive(client).body == "waited:hi");
    CHECK(receive(client).body == "now");
    REQUIRE(server.handler.wait_for_tasks(1));
    server.post_all();
    CHECK(receive(client).body == "c");
  }
}

TEST_CASE("a task whose connection has died is told so") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, get_line("/defer?a") + get_line("/defer?b"));
  REQUIRE(server.handler.wait_for_tasks(2));
  const linger reset{1, 0};
  setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  client.close();
  while (server.server->connections() != 0) std::this_thread::yield();
  server.post_all();
  CHECK(server.handler.wait_until([](TestHandler& h) { return h.orphans == 2; }));
}

TEST_CASE("a handler that does not answer costs a 500 and nothing else") {
  TestServer server;
  HttpClient client(server.endpoint());
  CHECK(get(client, "/silent").status == 500);
  CHECK(get(client, "/now").status == 200);
}

TEST_CASE("HEAD, 204 and 304 have no body, and HEAD the length it would have") {
  TestServer server;
  HttpClient client(server.endpoint());
  HttpResponse response;
  for (const char* target : {"/now", "/big?100000", "/echo"}) {
    REQUIRE(client.request("HEAD", target, "", &response).ok());
    CHECK(response.status == 200);
    CHECK_FALSE(response.header("content-length").empty());
  }
  REQUIRE(client.request("HEAD", "/big?100000", "", &response).ok());
  CHECK(response.header("content-length") == "100000");
  REQUIRE(client.request("HEAD", "/stream?5", "", &response).ok());
  CHECK(response.header("transfer-encoding") == "chunked");
  CHECK(response.header("x-accel-buffering") == "no");
  CHECK(response.header("cache-control") == "no-store");
  for (const char* target : {"/status?204", "/status?304"}) {
    const HttpResponse empty = get(client, target);
    CHECK(empty.body.empty());
    CHECK(empty.header("content-length").empty());
  }
  CHECK(get(client, "/now").body == "now");
}

TEST_CASE("HTTP/1.0 closes, unless keep-alive is asked for") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(receive(client).header("connection") == "keep-alive");
  send(client, "GET /now HTTP/1.0\r\n\r\n");
  const std::string all = read_all(client);
  CHECK(all.find("\r\nConnection: close\r\n") != std::string::npos);
  CHECK(all.substr(all.size() - 3) == "now");
  HttpClient streamer(server.endpoint());
  send(streamer, "GET /stream?3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const std::string lines = read_all(streamer);
  CHECK(lines.find("chunked") == std::string::npos);
  CHECK(lines.substr(lines.find("\r\n\r\n") + 4) == "line 0\nline 1\nline 2\n");
}

TEST_CASE("Connection: close is honoured and nothing after it is answered") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, "GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + kGetNow);
  const std::string all = read_all(client);
  CHECK(all.find("Connection: close\r\n") != std::string::npos);
  CHECK(all.find("HTTP/1.1", 1) == std::string::npos);
  CHECK(server.handler.requests_seen == 1);
  HttpClient deferred(server.endpoint());
  send(deferred, "GET /defer?a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + kGetNow);
  REQUIRE(server.handler.wait_for_tasks(1));
  server.post_all();
  const std::string late = read_all(deferred);
  CHECK(late.substr(late.size() - 1) == "a");
  CHECK(server.handler.requests_seen == 2);
}

TEST_CASE("100-continue is sent only while the body is awaited") {
  TestServer server;
  HttpClient client(server.endpoint());
  const std::string head =
      "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  send(client, head);
  char first[25];
  REQUIRE(recv(client.fd(), first, 0, MSG_PEEK) <= 0);
  std::string interim;
  while (interim.size() < sizeof first) {
    const ssize_t n = recv(client.fd(), first, sizeof first - interim.size(), 0);
    if (n > 0) interim.append(first, static_cast<size_t>(n));
    if (n < 0) std::this_thread::yield();
    REQUIRE(n != 0);
  }
  CHECK(interim == "HTTP/1.1 100 Continue\r\n\r\n");
  send(client, "ok");
  CHECK(receive(client).body == "PUT:ok");
  send(client, head + "hi");  // already there: no interim answer is needed
  CHECK(receive(client).body == "PUT:hi");
  send(client, get_line("/defer?a") + head);  // after an answer that is still open
  REQUIRE(server.handler.wait_for_tasks(1));
  server.post_all();
  CHECK(receive(client).body == "a");
  send(client, "yo");
  CHECK(receive(client).body == "PUT:yo");
  send(client,
       "PUT /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(read_all(client).substr(0, 12) == "HTTP/1.1 401");
}

TEST_CASE("a refused request is answered with JSON and nothing after it is executed") {
  struct Refused {
    std::string bytes;
    int status;
    RejectReason reason;
  };
  const std::vector<Refused> cases = {
      {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, RejectReason::kBadRequest},
      {"GET / HTTP/1.1\r\n\r\n", 400, RejectReason::kBadRequest},
      {"GET / HTTP/2.0\r\n\r\n", 505, RejectReason::kVersion},
      {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501, RejectReason::kNotImplemented},
      {"GET /" + std::string(70000, 'a'), 414, RejectReason::kUriTooLong},
      {"GET / HTTP/1.1\r\nA: " + std::string(110000, 'a'), 431, RejectReason::kHeadersTooLarge},
      {"PUT / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, RejectReason::kExpectation},
      {"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       400, RejectReason::kBadRequest},
      {"PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx", 400,
       RejectReason::kBadRequest},
      {"PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400,
       RejectReason::kBadRequest},
      {"PUT /limit HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413,
       RejectReason::kBodyTooLarge},
      {"PUT /limit HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n",
       413, RejectReason::kBodyTooLarge},
  };
  TestServer server;
  for (const Refused& one : cases) {
    INFO(one.bytes.substr(0, 80));
    HttpClient client(server.endpoint());
    const int before = server.handler.requests_seen;
    send(client, kGetNow + one.bytes + kGetNow + kGetNow);
    CHECK(receive(client).body == "now");
    HttpResponse response;
    REQUIRE(client.receive(&response).ok());
    CHECK(response.status == one.status);
    CHECK(response.header("connection") == "close");
    CHECK(response.header("content-type") == "application/json");
    CHECK(response.body.substr(0, 10) == "{\"error\":\"");
    CHECK(server.handler.requests_seen == before + 1);
    CHECK(server.handler.wait_for_rejection(one.reason));
    server.handler.note([](TestHandler& h) { h.rejected.clear(); });
  }
}

TEST_CASE("every case of the grammar table has its status through a socket, too") {
  TestServer server;
  for (const HttpCase& one : all_http_cases()) {
    INFO(one.name);
    INFO(one.bytes);
    HttpClient client(server.endpoint());
    const int before = server.handler.requests_seen;
    if (one.status > 0) {
      send(client, one.bytes + kGetNow);
      CHECK(receive(client).status == one.status);
      CHECK(server.handler.requests_seen == before);
      continue;
    }
    if (!one.bytes.empty()) send(client, one.bytes);
    if (one.bytes.empty()) REQUIRE(client.connect().ok());
    client.shutdown_write();
    const std::string answer = read_all(client);
    const bool needs_body = one.bytes.find("ength: 5") != std::string::npos;
    if (one.status == 0 && !needs_body) CHECK(answer.substr(0, 9) == "HTTP/1.1 ");
    if (one.status == 0 && server.handler.requests_seen == before) {
      CHECK(answer.find(" 400 ") + 1 + answer.find(" 413 ") + 1 > 0);  // the body was missing
    }
    if (one.status < 0) CHECK(server.handler.requests_seen == before);
  }
}

TEST_CASE("a refusal is readable even if the client sends megabytes first") {
  TestServer server;
  const std::string body(8 << 20, 'x');
  for (const std::string head :
       {"PUT /limit HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n",
        "PUT /limit HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n",
        "PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n"}) {
    HttpClient client(server.endpoint());
    send(client, head);
    send(client, body);
    const HttpResponse response = receive(client);
    CHECK((response.status == 413 || response.status == 401));
    CHECK(response.header("connection") == "close");
  }
}

TEST_CASE("an answer before a short body keeps the connection") {
  TestServer server;
  HttpClient client(server.endpoint());
  const std::string head = "PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
  send(client, head + "hello" + kGetNow);
  CHECK(receive(client).header("www-authenticate") == "Bearer");
  CHECK(receive(client).body == "now");
  send(client, head + "he");
  CHECK(receive(client).status == 401);
  send(client, "llo" + kGetNow);
  CHECK(receive(client).body == "now");
  CHECK(server.handler.requests_seen == 2);
}

TEST_CASE("a large body arrives whole, by length and chunked") {
  TestServer server;
  const std::string body = TestHandler::pattern(5 << 20);
  HttpClient client(server.endpoint());
  HttpResponse response;
  REQUIRE(client.request("PUT", "/large", body, &response).ok());
  CHECK((response.body == "PUT:" + body));
  std::string chunked = "PUT /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < body.size(); at += 65536)
    chunked += "10000\r\n" + body.substr(at, 65536) + "\r\n";
  send(client, chunked + "0\r\n\r\n");
  CHECK((receive(client).body == "PUT:" + body));
  CHECK(get(client, "/now").body == "now");
  while (server.server->inflight_bytes() != 0) std::this_thread::yield();
}

TEST_CASE("large shared answers arrive whole between small ones, also to a slow reader") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, kGetNow + get_line("/big?16000000") + kGetNow + get_line("/big?20000") +
                   get_line("/defer?d") + get_line("/big?300000") + kGetNow);
  CHECK(receive(client).body == "now");
  CHECK((receive(client).body == TestHandler::pattern(16000000)));
  CHECK(receive(client).body == "now");
  CHECK((receive(client).body == TestHandler::pattern(20000)));
  REQUIRE(server.handler.wait_for_tasks(1));
  server.post_all();
  CHECK(receive(client).body == "d");
  CHECK((receive(client).body == TestHandler::pattern(300000)));
  CHECK(receive(client).body == "now");
}

TEST_CASE("a stream is chunked, bounded by the reader, and lets others through") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, get_line("/stream?200000") + kGetNow);
  HttpClient other(server.endpoint());
  CHECK(get(other, "/now").body == "now");  // while the stream waits for its reader
  HttpResponse response = receive(client);
  CHECK(response.header("transfer-encoding") == "chunked");
  CHECK(response.body.size() > 1000000);
  CHECK(response.body.substr(response.body.size() - 12) == "line 199999\n");
  CHECK(receive(client).body == "now");
  CHECK(get(client, "/stream?0").body.empty());
  CHECK(get(client, "/stream?1").body == "line 0\n");
}

TEST_CASE("a stream after deferred answers starts when they have left") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, get_line("/defer?a") + get_line("/stream?2") + get_line("/stream?1") + kGetNow);
  REQUIRE(server.handler.wait_for_tasks(1));
  server.post_all();
  CHECK(receive(client).body == "a");
  CHECK(receive(client).body == "line 0\nline 1\n");
  CHECK(receive(client).body == "line 0\n");
  CHECK(receive(client).body == "now");
}

TEST_CASE("a parked stream goes on when it is woken") {
  TestServer server;
  HttpClient client(server.endpoint());
  send(client, get_line("/park"));
  HttpResponse response;
  REQUIRE(client.receive_head(&response).ok());
  REQUIRE(server.handler.wait_until([](TestHandler& h) { return h.parked > 0; }));
  bool end = false;
  for (const char* text : {"one\n", "two\n"}) {
    server.handler.feed(text);
    server.server->wake_streams();
    std::string piece;
    REQUIRE(client.receive_body(&piece, &end).ok());
    CHECK(piece == text);
  }
  server.handler.feed("end");
  server.server->wake_streams();
  std::string rest;
  while (!end) REQUIRE(client.receive_body(&rest, &end).ok());
  CHECK(rest.empty());
  CHECK(get(client, "/now").body == "now");
}

TEST_CASE("a parked stream is asked again at its heartbeat") {
  TestServer server;
  server.handler.heartbeat_ms = 10;
  HttpClient client(server.endpoint());
  send(client, get_line("/park"));
  HttpResponse response;
  REQUIRE(client.receive_head(&response).ok());
  std::string beats;
  bool end = false;
  while (beats.size() < 30) REQUIRE(client.receive_body(&beats, &end).ok());
  CHECK(beats.substr(0, 12) == ":beat\n:beat\n");
}

TEST_CASE("a stream that aborts ends without the last chunk") {
  TestServer server;
  HttpClient client(server.endpoint());
  HttpResponse response;
  CHECK_FALSE(client.request("GET", "/abort", "", &response).ok());
  CHECK(response.status == 200);
}

}  // namespace
}  // namespace kyro::test
