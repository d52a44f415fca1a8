// One connection beside others on its reactor, whose rounds the test turns.
#include "kyro/net/server/connection.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/connection_harness.h"

namespace kyro::test {
namespace {

// Answers /copied and /shared with kAnswerBytes, writes down who asked, and empties the client's
// end before each answer: a client that always reads faster than we send.
class NotingHandler final : public Handler {
 public:
  static constexpr size_t kAnswerBytes = 32 * 1024;

  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    received += take_arrived(greedy_client).size();
    const std::string_view path = x.request().path;
    order += path == "/other" ? 'o' : 'g';
    if (path == "/other") return x.respond(200, "text/plain", "other");
    auto owner = std::make_shared<const std::string>(kAnswerBytes, 'v');
    if (path == "/shared") return x.respond_shared(200, "text/plain", *owner, owner);
    x.respond(200, "text/plain", *owner);
  }

  int greedy_client = -1;
  size_t received = 0;
  std::string order;
};

void ask(int client, std::string_view path, int times) {
  std::string bytes;
  for (int i = 0; i < times; ++i) {
    bytes.append("GET ").append(path).append(" HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  REQUIRE(::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
}

TEST_CASE("of hundreds of large pipelined answers one step is sent, then others have their turn") {
  constexpr int kAsked = 300;
  for (const char* path : {"/copied", "/shared"}) {
    INFO(path);
    NotingHandler handler;
    HandTurned reactor(handler);
    const HandTurned::Wire greedy = reactor.connect();
    const HandTurned::Wire other = reactor.connect();
    handler.greedy_client = greedy.client;
    ask(greedy.client, path, kAsked);
    constexpr size_t kStepAnswers = RequestReader::kOutputStep / NotingHandler::kAnswerBytes;
    size_t turns = 0;
    for (size_t before = 0; handler.order.size() < kAsked + turns; ++turns) {
      ask(other.client, "/other", 1);
      REQUIRE(turns < 2 * kAsked);
      reactor.round();
      handler.received += take_arrived(greedy.client).size();
      const std::string in_round = handler.order.substr(before);
      before = handler.order.size();
      INFO("round " << turns << ": " << in_round);
      CHECK(in_round.size() <= 2 * kStepAnswers + 1);
      CHECK(in_round.find('o') != in_round.npos);
      CHECK(take_arrived(other.client).ends_with("other"));
    }
    for (int i = 0; i < kAsked; ++i) {
      reactor.round();
      handler.received += take_arrived(greedy.client).size();
    }
    CHECK(handler.received > kAsked * NotingHandler::kAnswerBytes);
  }
}

// Writes down what it is told of requests, in order: those announced in brackets.
class AheadHandler final : public Handler {
 public:
  void on_ahead(std::span<Exchange* const> exchanges) override {
    seen += '[';
    for (Exchange* const x : exchanges) {
      seen.append(x->request().path.substr(1)).append(",");
      x->set_user(x->request().path.size());
    }
    seen.back() = ']';
  }
  void on_headers(Exchange& x) override {
    const std::string_view path = x.request().path;
    seen.append(path.substr(1)).append(";");
    CHECK((x.user() == 0 || x.user() == path.size()));
    CHECK(x.request().header("x-own") == path);
    if (path == "/no") x.respond_error(401, "unauthorized", "No.");
  }
  void on_request(Exchange& x) override { x.respond(200, "text/plain", x.request().path); }
  std::string seen;
};

std::string get_text(const std::string& path, const std::string& fields = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: a\r\nX-Own: " + path + "\r\n" + fields + "\r\n";
}

TEST_CASE("requests of one read are announced together and decided each by itself") {
  const auto seen_of = [](const std::vector<std::string>& pieces) {
    AheadHandler handler;
    HandTurned reactor(handler);
    const HandTurned::Wire wire = reactor.connect();
    for (const std::string& bytes : pieces) {
      REQUIRE(::send(wire.client, bytes.data(), bytes.size(), 0) ==
              static_cast<ssize_t>(bytes.size()));
      reactor.round();
    }
    return handler.seen;
  };
  const std::string a = get_text("/a"), b = get_text("/bb"), no = get_text("/no");
  CHECK(seen_of({a}) == "a;");
  CHECK(seen_of({a + b + a}) == "[a,bb,a]a;bb;a;");
  CHECK(seen_of({a + no + b}) == "[a,no,bb]a;no;bb;");
  // Not what follows a body or the end of the connection; nothing that is not whole or not valid.
  const std::string close = get_text("/c", "Connection: close\r\n");
  CHECK(seen_of({a + close + b}) == "[a,c]a;c;");
  const std::string post = "POST /p HTTP/1.1\r\nHost: a\r\nX-Own: /p\r\nContent-Length: 2\r\n\r\n";
  CHECK(seen_of({a + post + "xy" + b + a}) == "[a,p]a;p;[bb,a]bb;a;");
  CHECK(seen_of({a + b + a.substr(0, 20), a.substr(20)}) == "[a,bb]a;bb;a;");
  CHECK(seen_of({a + b + "GET nowhere\r\n" + a}) == "[a,bb]a;bb;");
  // As many at once as there is room for, then the rest.
  std::string many;
  constexpr size_t kTogether = RequestsAhead::kMax + 1;
  for (size_t i = 0; i < 2 * kTogether + 1; ++i) many += a;
  const std::string seen = seen_of({many});
  CHECK(std::count(seen.begin(), seen.end(), '[') == 2);
  CHECK(std::count(seen.begin(), seen.end(), ';') == static_cast<int>(2 * kTogether + 1));
}

// Answers with the path, and writes down the lengths and counts it is told.
class CountingHandler final : public Handler {
 public:
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override { x.respond(200, "text/plain", x.request().path); }
  void on_response(const Answered& answered) override {
    told.append(std::to_string(answered.count)).append("x");
    told.append(std::to_string(answered.body_bytes)).append(" ");
  }
  std::string told;
};

TEST_CASE("pipelined answers that are alike are told together, others apart and in order") {
  CountingHandler handler;
  HandTurned reactor(handler);
  const HandTurned::Wire wire = reactor.connect();
  std::string bytes;
  for (const char* path : {"/a", "/b", "/c", "/long", "/d", "/long", "/long"}) {
    bytes.append("GET ").append(path).append(" HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  REQUIRE(::send(wire.client, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  reactor.round();
  CHECK(handler.told == "3x2 1x5 1x2 2x5 ");
}

// Answers with a stream whose one piece does not fit any buffer.
class LargePieceHandler final : public Handler {
 public:
  static constexpr size_t kPieceBytes = 64 << 20;

  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    x.respond_stream(200, "text/plain", std::make_unique<LargePiece>(revoked));
  }
  void on_rejected(RejectReason reason) override {
    write_timeouts += reason == RejectReason::kWriteTimeout ? 1 : 0;
  }

  int write_timeouts = 0;
  bool revoked = false;

 private:
  class LargePiece final : public BodyStream {
   public:
    explicit LargePiece(const bool& revoked) : revoked_(revoked) {}
    Next produce(std::string& out, size_t) override {
      if (is_given_) return Next::kEnd;
      is_given_ = true;
      out.append(kPieceBytes, 'p');
      return Next::kMore;
    }
    bool is_revoked() const override { return revoked_; }

   private:
    const bool& revoked_;
    bool is_given_ = false;
  };
};

// The client takes a KiB in each round: until it is cut off, or has all.
size_t read_by_the_kib(HandTurned& reactor, const HandTurned::Wire& wire) {
  size_t bytes = 0;
  char piece[1024];
  while (bytes < LargePieceHandler::kPieceBytes) {
    reactor.round();
    const ssize_t n = recv(wire.client, piece, sizeof piece, 0);
    if (n == 0) break;
    if (n > 0) bytes += static_cast<size_t>(n);
  }
  return bytes;
}

TEST_CASE("a stream is ended below the least rate, however regularly its reader takes some") {
  for (const uint64_t rate : {uint64_t{1}, uint64_t{1} << 40}) {
    INFO(rate << " bytes per ms");
    HttpServerConfig config;
    config.write_timeout_ms = rate == 1 ? 20'000 : 50;
    config.stream_bytes_per_ms_min = rate;
    LargePieceHandler handler;
    HandTurned reactor(handler, config);
    const HandTurned::Wire wire = reactor.connect();
    ask(wire.client, "/", 1);
    const bool has_all = read_by_the_kib(reactor, wire) >= LargePieceHandler::kPieceBytes;
    CHECK(has_all == (rate == 1));
    CHECK(handler.write_timeouts == (rate == 1 ? 0 : 1));
  }
}

TEST_CASE("a stream that is revoked is broken off though its reader takes nothing") {
  LargePieceHandler handler;
  HandTurned reactor(handler);
  const HandTurned::Wire wire = reactor.connect();
  ask(wire.client, "/", 1);
  reactor.round();
  CHECK_FALSE(wire.connection->closed());
  handler.revoked = true;
  wire.connection->on_deadline();
  CHECK(wire.connection->closed());
  CHECK(handler.write_timeouts == 0);
}

// Answers /endless and /finite with a stream that always has more.
class FloodHandler final : public Handler {
 public:
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    x.respond_stream(200, "text/plain", std::make_unique<Flood>(x.request().path == "/endless"));
  }

 private:
  class Flood final : public BodyStream {
   public:
    explicit Flood(bool is_endless) : is_endless_(is_endless) {}
    Next produce(std::string& out, size_t budget_bytes) override {
      out.append(budget_bytes, 'f');
      return Next::kMore;
    }
    bool on_drain(std::string& out) override {
      if (is_endless_) out.append("the end");
      return is_endless_;
    }

   private:
    const bool is_endless_;
  };
};

TEST_CASE("an endless stream whose reader takes nothing holds a drain up for the grace only") {
  for (const uint64_t grace_ms : {uint64_t{0}, uint64_t{1} << 40}) {
    HttpServerConfig config;
    config.drain_grace_ms = grace_ms;
    FloodHandler handler;
    HandTurned reactor(handler, config);
    const HandTurned::Wire endless = reactor.connect();
    const HandTurned::Wire reading = reactor.connect();
    const HandTurned::Wire finite = reactor.connect();
    ask(endless.client, "/endless", 1);
    ask(reading.client, "/endless", 1);
    ask(finite.client, "/finite", 1);
    for (int i = 0; i < 100; ++i) reactor.round();
    reactor.drain();
    CHECK_FALSE(endless.connection->closed());
    std::string taken;
    for (int i = 0; i < 100; ++i) {
      reading.connection->drive();
      taken += take_arrived(reading.client);
    }
    for (const HandTurned::Wire& wire : {endless, finite}) wire.connection->on_deadline();
    CHECK(taken.ends_with("the end\r\n0\r\n\r\n"));
    CHECK(reading.connection->closed());
    CHECK(endless.connection->closed() == (grace_ms == 0));
    CHECK_FALSE(finite.connection->closed());
  }
}

// Answers /2 with two MiB, /2/shared with such that are not copied, anything else with 60 KiB.
class MibHandler final : public Handler {
 public:
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    const std::string_view path = x.request().path;
    if (path == "/small") return x.respond(200, "text/plain", std::string(60 << 10, 's'));
    auto owner = std::make_shared<const std::string>(static_cast<size_t>(path[1] - '0') << 20, 'm');
    if (path.ends_with("/shared")) return x.respond_shared(200, "text/plain", *owner, owner);
    x.respond(200, "text/plain", *owner);
  }
  void on_rejected(RejectReason reason) override {
    refused += reason == RejectReason::kInflightBytes ? 1 : 0;
  }
  int refused = 0;
};

TEST_CASE("large answers that wait for slow readers have one bound") {
  HttpServerConfig config;
  config.inflight_bytes_max = 12 << 20;
  MibHandler handler;
  HandTurned reactor(handler, config);
  // Asks on a connection of its own; whether the answer is the one that was asked for. One that is
  // refused says when to try again, and the connection lives.
  HandTurned::Wire last{};
  const auto waits = [&](std::string_view path) {
    last = reactor.connect();
    ask(last.client, path, 1);
    for (int i = 0; i < 20; ++i) reactor.round();
    CHECK_FALSE(last.connection->closed());
    char begun[512];
    const ssize_t n = recv(last.client, begun, sizeof begun, MSG_PEEK);
    const std::string_view answer(begun, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (answer.starts_with("HTTP/1.1 200 ")) return true;
    CHECK(answer.starts_with("HTTP/1.1 503 "));
    CHECK(answer.find("\r\nRetry-After: 1\r\n") != answer.npos);
    CHECK(answer.find("\"overloaded\"") != answer.npos);
    return false;
  };
  CHECK(waits("/8"));
  const HandTurned::Wire first = last;
  CHECK(handler.refused == 0);
  CHECK_FALSE(waits("/8"));
  CHECK_FALSE(waits("/8"));
  CHECK(handler.refused == 2);
  CHECK(reactor.output_bytes() <= 8 << 20);
  CHECK(waits("/8/shared"));  // is not memory
  CHECK(reactor.output_bytes() <= 8 << 20);
  CHECK(waits("/3"));
  size_t taken = 0;
  for (int i = 0; i < 1000; ++i) {
    taken += take_arrived(last.client).size();
    reactor.round();
  }
  CHECK(taken > 3 << 20);
  first.connection->close_now();
  CHECK(reactor.output_bytes() == 0);
  CHECK(waits("/8"));
  CHECK(handler.refused == 2);
}

TEST_CASE("small answers wait for their readers whatever waits already") {
  HttpServerConfig config;
  config.inflight_bytes_max = 1;
  MibHandler handler;
  HandTurned reactor(handler, config);
  const HandTurned::Wire wire = reactor.connect();
  constexpr size_t kAsked = 40;
  for (size_t i = 0; i < kAsked; ++i) {
    ask(wire.client, "/small", 1);
    reactor.round();
  }
  CHECK(reactor.output_bytes() > config.inflight_bytes_max);
  size_t taken = 0;
  for (int i = 0; i < 1000; ++i) {
    taken += take_arrived(wire.client).size();
    reactor.round();
  }
  CHECK(taken > kAsked * (60 << 10));
  CHECK(handler.refused == 0);
  ask(wire.client, "/8", 1);
  for (int i = 0; i < 20; ++i) reactor.round();
  CHECK(take_arrived(wire.client).starts_with("HTTP/1.1 503 "));
  CHECK_FALSE(wire.connection->closed());
  CHECK(handler.refused == 1);
}

// Sent whole with one call, it would hold its reactor for as long as the client keeps up.
TEST_CASE("a value of any size is sent in steps") {
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  const int room = 1 << 20;
  REQUIRE(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
  const auto owner = std::make_shared<const std::string>(8 * OutputQueue::kStepBytes + 5, 'v');
  std::atomic<uint64_t> held{0};
  OutputQueue queue(held);
  queue.append("head");
  queue.append_shared(*owner, owner);
  std::string received;
  int calls = 0;
  for (OutputQueue::Sent sent = OutputQueue::Sent::kStep; sent != OutputQueue::Sent::kAll;) {
    sent = queue.send(pair[0]);
    REQUIRE(sent != OutputQueue::Sent::kError);
    const std::string step = take_arrived(pair[1]);
    CHECK(step.size() <= OutputQueue::kStepBytes);
    received += step;
    ++calls;
  }
  CHECK(calls >= 9);
  CHECK((received == "head" + *owner));
  close(pair[0]);
  close(pair[1]);
}

}  // namespace
}  // namespace kyro::test
