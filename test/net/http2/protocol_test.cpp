// HTTP/2 over the sockets of a reactor whose rounds the test turns: requests and answers.
#include "kyro/net/http2/protocol.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/clock.h"
#include "test/support/http/http2_cases.h"
#include "test/support/http/http2_check.h"
#include "test/support/http/http2_client.h"

namespace kyro::test {
namespace {

using h2::Frame;

TEST_CASE("a connection's first bytes decide what it speaks, however they are cut") {
  PathHandler handler;
  HandTurned reactor(handler);
  const std::string hello =
      std::string(h2::kPreface) + h2::settings() + h2::headers(1, h2::request_fields());
  for (size_t cut = 1; cut < h2::kPreface.size() + 20; ++cut) {
    INFO(cut);
    const HandTurned::Wire wire = reactor.connect();
    std::string got;
    for (const std::string_view piece :
         {std::string_view(hello).substr(0, cut), std::string_view(hello).substr(cut)}) {
      REQUIRE(::send(wire.client, piece.data(), piece.size(), 0) ==
              static_cast<ssize_t>(piece.size()));
      for (int i = 0; i < 4; ++i) reactor.round();
      got += take_arrived(wire.client);
    }
    const auto frames = h2::frames_of(got);
    CHECK(std::any_of(frames.begin(), frames.end(),
                      [](const Frame& f) { return f.stream == 1 && f.type == h2::kHeaders; }));
  }
}

TEST_CASE("what only begins like the preface is HTTP/1") {
  class Echo final : public Handler {
   public:
    void on_headers(Exchange&) override {}
    void on_request(Exchange& x) override { x.respond(200, "text/plain", x.request().method_text); }
  };
  Echo handler;
  HandTurned reactor(handler);
  const auto serve = [&](std::string_view bytes, size_t step) {
    const HandTurned::Wire wire = reactor.connect();
    std::string got;
    for (size_t at = 0; at < bytes.size(); at += step) {
      const std::string_view piece = bytes.substr(at, step);
      static_cast<void>(::send(wire.client, piece.data(), piece.size(), MSG_NOSIGNAL));
      for (int i = 0; i < 3; ++i) reactor.round();
      got += take_arrived(wire.client);
    }
    return got;
  };
  for (const size_t step : {1u, 2u, 3u, 5u, 17u, 100u}) {
    INFO(step);
    CHECK(serve("PRI /a HTTP/1.1\r\nHost: a\r\n\r\n", step).ends_with("\r\n\r\nPRI"));
    CHECK(serve("P /a HTTP/1.1\r\nHost: a\r\n\r\n", step).ends_with("\r\n\r\nP"));
    CHECK(serve("PRI * HTTP/1.1\r\nHost: a\r\n\r\n", step).starts_with("HTTP/1.1 400 "));
    CHECK(serve("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", step).starts_with("HTTP/1.1 505 "));
    CHECK(serve("PRI * HTTP/2.0\r\n\r\n\r\n", step).starts_with("HTTP/1.1 505 "));
  }
}

TEST_CASE("what RFC 9113 wants is what a connection says") {
  PathHandler handler;
  for (const h2::Case& test_case : h2::all_cases()) {
    INFO(test_case.name);
    HandTurned reactor(handler);
    Http2Client client(reactor, {}, 0);
    client.returns_windows = false;
    std::string bytes = test_case.bytes;
    while (bytes.size() >= 9) {  // one frame after the other: each has its consequences
      const auto byte = [&bytes](size_t i) { return size_t{static_cast<unsigned char>(bytes[i])}; };
      const size_t payload = byte(0) << 16 | byte(1) << 8 | byte(2);
      client.say(bytes.substr(0, 9 + payload));
      bytes.erase(0, 9 + payload);
    }
    client.say(bytes + h2::ping(h2::kLastPing));
    client.turn(4);
    h2::check_answers(client.frames, test_case.expected);
    const bool must_end = test_case.expected.kind == h2::Expected::Kind::kGoaway;
    if (must_end) shutdown(client.wire_.client, SHUT_WR);
    client.turn(4);
    CHECK(client.closed() == must_end);
  }
}

TEST_CASE("requests of one read are announced together, then told in order") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.say(h2::headers(1, h2::request_fields("GET", "/a")) +
             h2::headers(3, h2::request_fields("POST", "/b"), h2::kEndHeaders) +
             h2::data(3, "body", h2::kEndStream) +
             h2::headers(5, h2::request_fields("POST", "/c"), h2::kEndHeaders) +
             h2::headers(7, h2::request_fields("GET", "/d")));
  CHECK(handler.order == " [3] h/a r/a h/b r/b h/c h/d r/d");
  client.say(h2::data(5, "late", h2::kEndStream));
  CHECK(handler.order.ends_with(" r/c"));
  CHECK(client.of(3).body == "body");
  CHECK(client.of(5).body == "late");
  CHECK(handler.answers == 4);
}

TEST_CASE("answers come as they are ready, not in the order of the requests") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.say(h2::headers(1, h2::request_fields("POST", "/later"), h2::kEndHeaders) +
             h2::data(1, "first", h2::kEndStream));
  client.ask(3, "/now");
  CHECK(client.of(3).ended);
  CHECK_FALSE(client.of(1).ended);
  handler.post_all();
  client.turn(3);
  CHECK(client.of(1).body == "first");
  CHECK(client.of(1).ended);
}

TEST_CASE("a task whose stream was cancelled runs without it") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.ask(1, "/later");
  client.say(h2::rst_stream(1));
  handler.post_all();
  client.turn(3);
  CHECK(handler.orphans == 1);
  CHECK(client.of(1).heads == 0);
  client.ask(3, "/later");
  client.wire_.connection->close_now();
  handler.post_all();
  reactor.round();
  CHECK(handler.orphans == 2);
}

TEST_CASE("one answer may wait for several tasks, which wake its stream") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.ask(1, "/twice");
  CHECK(client.of(1).heads == 1);
  CHECK(client.of(1).body.empty());
  handler.post_all();
  client.turn(3);
  CHECK(client.of(1).body == "tt");
  handler.fed = "end.";
  reactor.wake_streams();
  client.turn(3);
  CHECK(client.of(1).ended);
  CHECK(client.of(1).has_trailers);
  CHECK(client.of(1).body.starts_with("ttend."));
  CHECK(handler.alive == 0);
}

TEST_CASE("trailers end a body, and stand in the head where there is none") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.say(h2::headers(1, h2::request_fields("POST", "/call"), h2::kEndHeaders) +
             h2::data(1, "message", h2::kEndStream));
  CHECK(client.of(1).has_trailers);
  CHECK(client.of(1).body.starts_with("message"));
  CHECK(client.of(1).ended);
  client.ask(3, "/call");
  CHECK(client.of(3).heads == 1);
  CHECK(client.of(3).ended);
}

TEST_CASE("a body goes to its reader as it comes, as fast as the reader takes it") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  const std::string piece(16000, 'x');
  client.say(h2::headers(1, h2::request_fields("POST", "/reader"), h2::kEndHeaders));
  for (int i = 0; i < 100; ++i) client.say(h2::data(1, piece));
  client.say(h2::data(1, "", h2::kEndStream));
  CHECK(handler.read_bytes == 100 * piece.size());
  CHECK(client.of(1).body == "read");
  CHECK(handler.alive == 0);
  CHECK(reactor.inflight_bytes() == 0);
  // One that takes nothing is sent its window and no more.
  client.say(h2::headers(3, h2::request_fields("POST", "/reluctant"), h2::kEndHeaders));
  for (int i = 0; i < 20; ++i) client.say(h2::data(3, piece));
  CHECK(client.of(3).reset == h2::kFlowControlError);
  CHECK(handler.alive == 0);
  CHECK(reactor.inflight_bytes() == 0);
}

TEST_CASE("long answers take turns") {
  PathHandler handler;
  handler.body_bytes = 1'000'000;
  HandTurned reactor(handler);
  Http2Client client(reactor, h2::setting(4, 1 << 20));
  client.frames.clear();
  client.say(h2::headers(1, h2::request_fields("GET", "/shared")) +
             h2::headers(3, h2::request_fields("GET", "/copied")) +
             h2::headers(5, h2::request_fields("GET", "/now")));
  REQUIRE(client.turn_until([&] { return client.of(1).ended && client.of(3).ended; }));
  CHECK(client.of(1).body == std::string(handler.body_bytes, 's'));
  CHECK(client.of(3).body == std::string(handler.body_bytes, 'c'));
  CHECK(client.of(5).ended);
  size_t in_row = 0;
  uint32_t last = 0;
  size_t longest = 0;
  size_t taken = 0;
  for (const Frame& frame : client.frames) {
    if (frame.type != h2::kData || taken > 1'800'000) continue;
    taken += frame.payload.size();
    in_row = frame.stream == last ? in_row + frame.payload.size() : frame.payload.size();
    last = frame.stream;
    longest = std::max(longest, in_row);
  }
  CHECK(longest <= Http2Protocol::kPieceBytes);
}

}  // namespace
}  // namespace kyro::test
