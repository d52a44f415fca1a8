// What HTTP/2 does about clients that are slow, silent or greedy, and how it ends.
#include "kyro/net/http2/protocol.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/clock.h"
#include "test/support/http/http2_client.h"

namespace kyro::test {
namespace {

using h2::Frame;

TEST_CASE("what is refused is told by its error, and counted by its reason") {
  PathHandler handler;
  HandTurned reactor(handler);
  const auto count = [&handler](RejectReason reason) { return handler.rejected[reason]; };
  const auto goaway_of = [](const Http2Client& client) {
    const auto found = std::find_if(client.frames.begin(), client.frames.end(),
                                    [](const Frame& f) { return f.type == h2::kGoaway; });
    return found == client.frames.end() ? h2::kNoError : found->number_at(4);
  };
  // A stream too many is refused, and the others live.
  Http2Client many(reactor);
  std::string heads;
  for (uint32_t i = 0; i <= Http2Session::kStreamsMax; ++i) heads += h2::open_request(2 * i + 1);
  many.say(heads);
  CHECK(many.of(2 * Http2Session::kStreamsMax + 1).reset == h2::kRefusedStream);
  CHECK(count(RejectReason::kStreams) == 1);
  CHECK(goaway_of(many) == h2::kNoError);
  // Floods end the connection.
  const std::string endless_head = h2::frame(h2::kHeaders, h2::kEndStream, 1, "");
  std::string bomb = "\x40\x01x\x7F\xA1\x1E" + std::string(127 + 0x21 + 30 * 128, 'v');
  bomb += std::string(40, '\xBE');
  std::string resets, pings, continuations, updates;
  for (uint32_t i = 0; i < 200; ++i) {
    resets += h2::headers(2 * i + 1, h2::request_fields("GET", "/fed")) + h2::rst_stream(2 * i + 1);
    continuations += h2::frame(h2::kContinuation, 0, 1, "");
  }
  for (int i = 0; i < 3000; ++i) pings += h2::ping(), updates += h2::window_update(0, 1);
  int floods = 0;
  for (const std::string& flood :
       {resets, pings, updates, endless_head + continuations,
        endless_head + h2::frame(h2::kContinuation, 0, 1, std::string(16000, 'x')) +
            h2::frame(h2::kContinuation, 0, 1, std::string(16000, 'x')) +
            h2::frame(h2::kContinuation, 0, 1, std::string(16000, 'x')) +
            h2::frame(h2::kContinuation, 0, 1, std::string(16000, 'x')),
        h2::frame(h2::kHeaders, h2::kEndHeaders, 1, bomb)}) {
    Http2Client client(reactor);
    client.say(flood);
    INFO(floods);
    CHECK(goaway_of(client) == h2::kEnhanceYourCalm);
    CHECK(count(RejectReason::kFlood) == ++floods);
  }
  // What the RFC calls an error is one, of the stream or of all.
  Http2Client wrong(reactor);
  wrong.say(h2::headers(1, {{":method", "GET"}}));
  CHECK(wrong.of(1).reset == h2::kProtocolError);
  wrong.say(h2::frame(h2::kData, 0, 0, "x"));
  CHECK(goaway_of(wrong) == h2::kProtocolError);
  CHECK(count(RejectReason::kProtocolError) == 2);
  CHECK(handler.alive == 0);
}

TEST_CASE("a window that stays shut holds up one stream for its time, and no other") {
  PathHandler handler;
  HttpServerConfig config;
  config.write_timeout_ms = 50;
  HandTurned reactor(handler, config);
  Http2Client client(reactor, h2::setting(4, 10));
  client.returns_windows = false;
  client.ask(1, "/copied");
  client.ask(3, "/now");
  CHECK(client.of(3).ended);
  CHECK(client.of(1).body == std::string(10, 'c'));
  REQUIRE(client.turn_until([&] { return client.of(1).reset.has_value(); }));
  CHECK(*client.of(1).reset == h2::kCancel);
  CHECK(handler.rejected[RejectReason::kWriteTimeout] == 1);
  client.ask(5, "/now");
  CHECK(client.of(5).ended);
  CHECK_FALSE(client.closed());
}

TEST_CASE("a stream that its handler revokes goes though its client does not read") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor, h2::setting(4, 0));
  handler.fed = "something";
  client.ask(1, "/fed");
  CHECK(handler.alive == 1);
  handler.revoked = true;
  REQUIRE(client.turn_until([&] { return client.of(1).reset.has_value(); }));
  CHECK(handler.alive == 0);
}

TEST_CASE("a body that does not come is refused in its time, and no other stream with it") {
  PathHandler handler;
  HttpServerConfig config;
  config.body_timeout_ms = 50;
  HandTurned reactor(handler, config);
  Http2Client client(reactor);
  client.say(h2::headers(1, h2::request_fields("POST", "/now"), h2::kEndHeaders) +
             h2::data(1, "half"));
  client.ask(3, "/fed");
  REQUIRE(client.turn_until([&] { return client.of(1).ended; }));
  CHECK(client.of(1).body.find("timeout") != std::string::npos);
  CHECK(client.of(1).reset == h2::kNoError);
  CHECK(handler.rejected[RejectReason::kBodyTimeout] == 1);
  CHECK_FALSE(client.of(3).reset.has_value());
}

TEST_CASE("a handshake, a frame or a head must not stay half done") {
  PathHandler handler;
  HttpServerConfig config;
  config.header_timeout_ms = 50;
  HandTurned reactor(handler, config);
  const std::string head = h2::headers(1, h2::request_fields());
  const std::string partial_block =
      h2::frame(h2::kHeaders, h2::kEndStream, 1, h2::block(h2::request_fields()));
  for (const std::string& bytes :
       {h2::settings() + head.substr(0, 20), std::string(), h2::settings() + partial_block}) {
    INFO(bytes.size());
    const HandTurned::Wire wire = reactor.connect();
    const std::string hello = std::string(h2::kPreface) + bytes;
    REQUIRE(::send(wire.client, hello.data(), hello.size(), 0) > 0);
    std::string got;
    const uint64_t until_ns = monotonic_ns() + 20'000'000'000u;
    while (got.find("in time") == got.npos && monotonic_ns() < until_ns) {
      reactor.round();
      got += take_arrived(wire.client);
    }
    CHECK(got.find("in time") != got.npos);
  }
  CHECK(handler.rejected[RejectReason::kHeaderTimeout] == 3);
}

TEST_CASE("too large a body is refused when it is announced, and when it was not") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.say(h2::headers(1,
                         h2::with(h2::request_fields("POST", "/small"), {{"content-length", "11"}}),
                         h2::kEndHeaders));
  CHECK(client.of(1).body.find("too_large") != std::string::npos);
  client.say(h2::headers(3, h2::request_fields("POST", "/small"), h2::kEndHeaders));
  client.say(h2::data(3, "12345678"));
  CHECK_FALSE(client.of(3).ended);
  client.say(h2::data(3, "90a"));
  CHECK(client.of(3).body.find("too_large") != std::string::npos);
  client.say(h2::headers(5, h2::request_fields("POST", "/early"), h2::kEndHeaders) +
             h2::data(5, "unheard"));
  CHECK(client.of(5).ended);
  CHECK(client.of(5).reset == h2::kNoError);
  client.ask(7, "/now");
  CHECK(client.of(7).ended);
  CHECK(handler.rejected[RejectReason::kBodyTooLarge] == 2);
}

TEST_CASE("a deadline answers what waits, and looks at a stream that is parked") {
  PathHandler handler;
  handler.deadline_ms = 30;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.ask(1, "/later");
  client.ask(3, "/fed");
  handler.fed = "at the deadline.";
  REQUIRE(client.turn_until([&] { return client.of(1).ended && client.of(3).ended; }));
  CHECK(client.of(1).body == "too late");
  CHECK(client.of(3).body.starts_with("at the deadline."));
  handler.post_all();
  client.turn(2);
  CHECK(handler.orphans == 1);
}

TEST_CASE("bodies beyond the in-flight bound wait in their windows, then are refused") {
  PathHandler handler;
  HttpServerConfig config;
  config.inflight_bytes_max = 300'000;
  config.inflight_wait_ms = 30;
  HandTurned reactor(handler, config);
  Http2Client client(reactor);
  const std::string piece(16000, 'b');
  uint64_t most = 0;
  for (uint32_t stream = 1; stream < 13; stream += 2) {
    client.say(h2::headers(stream, h2::request_fields("POST", "/now"), h2::kEndHeaders));
  }
  for (int i = 0; i < 16; ++i) {
    for (uint32_t stream = 1; stream < 13; stream += 2) {
      client.say(h2::data(stream, piece));
      most = std::max(most, reactor.inflight_bytes());
    }
  }
  const auto refused = [&] { return handler.rejected[RejectReason::kInflightBytes]; };
  REQUIRE(client.turn_until([&] { return refused() >= 5; }));
  CHECK(refused() == 5);  // the favoured one goes on
  CHECK(most <= 6 * Http2Session::kStreamWindow);
  int open = 0;
  for (uint32_t stream = 1; stream < 13; stream += 2) {
    if (client.of(stream).ended) continue;
    ++open;
    client.say(h2::data(stream, piece) + h2::data(stream, piece, h2::kEndStream));
    CHECK(client.of(stream).ended);
  }
  CHECK(open == 1);
  CHECK(reactor.inflight_bytes() == 0);
}

TEST_CASE("an answer that would wait while too much does is refused before its head") {
  PathHandler handler;
  handler.body_bytes = 60'000;
  HttpServerConfig config;
  config.inflight_bytes_max = 150'000;
  HandTurned reactor(handler, config);
  Http2Client client(reactor, h2::setting(4, 0));  // no stream of it may send
  client.returns_windows = false;
  const auto refused = [&] { return handler.rejected[RejectReason::kInflightBytes]; };
  client.ask(1, "/copied");
  client.ask(3, "/copied");
  CHECK(refused() == 0);
  CHECK(reactor.output_bytes() == 120'000);
  client.ask(5, "/copied");
  CHECK(refused() == 1);
  client.say(h2::window_update(5, 1000));
  CHECK(client.of(5).ended);
  CHECK(client.of(5).body.find("\"overloaded\"") != std::string::npos);
  // A connection that keeps little is refused nothing.
  Http2Client other(reactor, h2::setting(4, 0));
  other.ask(1, "/copied");
  CHECK(refused() == 1);
  client.say(h2::rst_stream(1) + h2::rst_stream(3));
  CHECK(reactor.output_bytes() == 60'000);
  client.ask(7, "/copied");
  CHECK(refused() == 1);
}

TEST_CASE("a drain says good-bye twice, answers what was under way, and ends") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.ask(1, "/fed");
  client.ask(3, "/later");
  reactor.drain();
  client.turn(2);
  CHECK(client.of(1).ended);
  CHECK(client.of(1).body.starts_with("bye"));
  std::vector<uint32_t> last;
  const auto goaways = [&] {
    last.clear();
    for (const Frame& frame : client.frames) {
      if (frame.type == h2::kGoaway) last.push_back(frame.number_at(0));
    }
    return last;
  };
  CHECK(goaways() == std::vector<uint32_t>{0x7FFFFFFF});
  client.ask(5, "/now");  // was under way before the client heard of it
  CHECK(client.of(5).ended);
  client.say(h2::ping("shutdown", h2::kAck));
  CHECK(goaways() == std::vector<uint32_t>{0x7FFFFFFF, 5});
  client.ask(7, "/now");
  CHECK(client.of(7).heads == 0);
  CHECK_FALSE(client.closed());
  handler.post_all();
  REQUIRE(client.turn_until([&] { return client.closed(); }));
  CHECK(client.of(3).ended);
}

TEST_CASE("a drain does not wait for a client that does not answer it") {
  PathHandler handler;
  HttpServerConfig config;
  config.drain_grace_ms = 30;
  HandTurned reactor(handler, config);
  Http2Client client(reactor);
  reactor.drain();
  REQUIRE(client.turn_until([&] { return client.closed(); }));
}

TEST_CASE("a connection without requests says good-bye when it has idled for long") {
  PathHandler handler;
  HttpServerConfig config;
  config.idle_timeout_ms = 30;
  HandTurned reactor(handler, config);
  Http2Client client(reactor);
  REQUIRE(client.turn_until([&] { return client.closed(); }));
  CHECK(std::any_of(client.frames.begin(), client.frames.end(),
                    [](const Frame& f) { return f.type == h2::kGoaway && f.number_at(4) == 0; }));
}

TEST_CASE("a client that closes its side still gets its answers") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  client.ask(1, "/later");
  client.say(h2::headers(3, h2::request_fields("POST", "/now"), h2::kEndHeaders));
  shutdown(client.wire_.client, SHUT_WR);
  client.turn(3);
  CHECK_FALSE(client.closed());
  CHECK(client.of(3).reset == h2::kCancel);
  handler.post_all();
  REQUIRE(client.turn_until([&] { return client.closed(); }));
  CHECK(client.of(1).ended);
}

TEST_CASE("a client that reads nothing is not read from, and is cut in time") {
  PathHandler handler;
  HttpServerConfig config;
  config.write_timeout_ms = 50;
  HandTurned reactor(handler, config);
  Http2Client client(reactor);
  const int tiny = 4096;
  setsockopt(client.wire_.client, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny);
  std::string bytes;
  for (uint32_t stream = 1; stream < 200; stream += 2) {
    bytes += h2::headers(stream, h2::request_fields("GET", "/copied")) +
             h2::window_update(stream, 1 << 20);
  }
  REQUIRE(::send(client.wire_.client, bytes.data(), bytes.size(), 0) ==
          static_cast<ssize_t>(bytes.size()));
  for (int i = 0; i < 100; ++i) reactor.round();  // the socket is full
  size_t sent = 0;
  std::string pings;
  for (int i = 0; i < 1000; ++i) pings += h2::ping();
  const uint64_t until_ns = monotonic_ns() + 20'000'000'000u;
  while (!client.closed() && monotonic_ns() < until_ns) {
    const ssize_t n = ::send(client.wire_.client, pings.data(), pings.size(), MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<size_t>(n);
    reactor.round();
  }
  CHECK(client.closed());
  CHECK(sent < 8u << 20);
  CHECK(handler.rejected[RejectReason::kWriteTimeout] == 1);
}

TEST_CASE("heads that HTTP/1 would refuse are refused in the same words") {
  PathHandler handler;
  HandTurned reactor(handler);
  Http2Client client(reactor);
  const auto status_of = [&](uint32_t stream, const h2::Fields& fields) {
    const std::string block = h2::block(fields);
    const size_t first = std::min<size_t>(block.size(), 16000);
    const bool is_whole = first == block.size();
    client.say(h2::frame(h2::kHeaders, h2::kEndStream | (is_whole ? h2::kEndHeaders : 0), stream,
                         block.substr(0, first)) +
               (is_whole
                    ? ""
                    : h2::frame(h2::kContinuation, h2::kEndHeaders, stream, block.substr(first))));
    return client.of(stream).body;
  };
  using h2::request_fields;
  using h2::with;
  const std::string too_long = "/" + std::string(16 * 1024, 'a');
  CHECK(status_of(1, request_fields("GET", "/a b")).find("bad_request") != std::string::npos);
  CHECK(status_of(3, request_fields("GET", too_long)).find("uri_too_long") != std::string::npos);
  CHECK(status_of(5, with(request_fields(), {{"expect", "tea"}})).find("expectation_failed") !=
        std::string::npos);
  CHECK(status_of(7, {{":method", "CONNECT"}, {":authority", "a:1"}}).find("not_implemented") !=
        std::string::npos);
  CHECK(
      status_of(9, {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a b"}})
          .find("bad_request") != std::string::npos);
  h2::Fields many = request_fields();
  for (int i = 0; i < 700; ++i) many.emplace_back("a", "");
  CHECK(status_of(11, many).find("headers_too_large") != std::string::npos);
  CHECK_FALSE(client.closed());
}

}  // namespace
}  // namespace kyro::test
