// Bodies of several connections on one reactor, beyond the bound for all of them together.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "test/support/connection_harness.h"

namespace kyro::test {
namespace {

// Answers when told to, with the length of the body.
class PatientHandler final : public Handler {
 public:
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    held.push_back(new Held(x.request().body.size()));
    x.defer(held.back());
  }
  void on_rejected(RejectReason) override { ++refused; }
  void answer_all() {
    for (Task* task : std::exchange(held, {})) task->post();
  }
  std::vector<Task*> held;
  int refused = 0;

 private:
  class Held final : public Task {
   public:
    explicit Held(size_t body_bytes) : body_bytes_(body_bytes) {}
    void run(Exchange* x) override {
      if (x != nullptr) x->respond(200, "text/plain", std::to_string(body_bytes_));
      delete this;
    }

   private:
    size_t body_bytes_;
  };
};

TEST_CASE("bodies over the in-flight bound are read one by one, each until it is answered") {
  constexpr size_t kBodyBytes = 3 << 20;
  HttpServerConfig config;
  config.inflight_bytes_max = 2 * kBodyBytes;
  config.inflight_wait_ms = uint64_t{1} << 40;
  PatientHandler handler;
  HandTurned reactor(handler, config);
  struct Upload {
    HandTurned::Wire wire;
    std::string bytes;
    std::string answer = {};
  };
  std::vector<Upload> uploads;
  for (int i = 0; i < 5; ++i) {
    uploads.push_back({reactor.connect(), "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: " +
                                              std::to_string(kBodyBytes) + "\r\n\r\n" +
                                              std::string(kBodyBytes, 'b')});
  }
  uint64_t inflight_max = 0;
  const auto turn = [&] {
    for (Upload& upload : uploads) {
      const size_t piece = std::min<size_t>(upload.bytes.size(), 64 * 1024);
      const ssize_t n = ::send(upload.wire.client, upload.bytes.data(), piece, MSG_NOSIGNAL);
      if (n > 0) upload.bytes.erase(0, static_cast<size_t>(n));
      upload.answer += take_arrived(upload.wire.client);
    }
    reactor.round();
    inflight_max = std::max(inflight_max, reactor.inflight_bytes());
  };
  for (int i = 0; i < 300; ++i) turn();
  CHECK(handler.held.size() == 1);
  for (size_t done = 1; done < 5;) {
    handler.answer_all();
    for (int i = 0; i < 300 && handler.held.empty(); ++i) turn();
    REQUIRE(!handler.held.empty());
    done += handler.held.size();
  }
  handler.answer_all();
  for (int i = 0; i < 10; ++i) turn();
  for (const Upload& upload : uploads) {
    CHECK(upload.answer.ends_with("\r\n\r\n" + std::to_string(kBodyBytes)));
  }
  CHECK(handler.refused == 0);
  CHECK(inflight_max > config.inflight_bytes_max);
  CHECK(inflight_max < config.inflight_bytes_max + kBodyBytes + 5 * ReactorContext::kInputBytes);
  CHECK(reactor.inflight_bytes() == 0);
}

TEST_CASE("a small body is admitted beyond the in-flight bound, also when it comes late") {
  HttpServerConfig config;
  config.inflight_bytes_max = 100'000;
  config.inflight_wait_ms = uint64_t{1} << 40;
  PatientHandler handler;
  HandTurned reactor(handler, config);
  const auto say = [&](const HandTurned::Wire& wire, const std::string& bytes) {
    REQUIRE(::send(wire.client, bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
    for (int i = 0; i < 10; ++i) reactor.round();
  };
  const std::string large = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n";
  for (int i = 0; i < 2; ++i) {  // over the bound: one is read on, one waits
    say(reactor.connect(), large + std::string(150'000, 'b'));
  }
  REQUIRE(reactor.inflight_bytes() > config.inflight_bytes_max);
  const HandTurned::Wire small = reactor.connect();
  say(small, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
  say(small, "0123456789");
  REQUIRE(handler.held.size() == 1);
  handler.answer_all();
  for (int i = 0; i < 3; ++i) reactor.round();
  CHECK(take_arrived(small.client).starts_with("HTTP/1.1 200"));
}

TEST_CASE("storage keeps descriptors whatever the limit is") {
  CHECK(connections_within(1 << 20, 10'000) == 10'000);
  CHECK(connections_within(10'000, 10'000) == 8'976);
  CHECK(connections_within(256, 10'000) == 128);
  CHECK(connections_within(256, 100) == 100);
  CHECK(connections_within(0, 100) == 1);
}

TEST_CASE("when a body that was read beyond the in-flight bound dies, the next one is read on") {
  HttpServerConfig config;
  config.inflight_bytes_max = 100'000;
  config.inflight_wait_ms = uint64_t{1} << 40;
  PatientHandler handler;
  HandTurned reactor(handler, config);
  const auto say = [&](const HandTurned::Wire& wire, const std::string& bytes) {
    REQUIRE(::send(wire.client, bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
    for (int i = 0; i < 10; ++i) reactor.round();
  };
  const auto begin = [&] {
    const HandTurned::Wire wire = reactor.connect();
    say(wire,
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + std::string(80'000, 'b'));
    return wire;
  };
  const HandTurned::Wire first = begin();
  const HandTurned::Wire favoured = begin();
  CHECK(reactor.inflight_bytes() > 160'000);
  say(first, std::string(5'000, 'b'));
  const HandTurned::Wire last = begin();
  const uint64_t inflight = reactor.inflight_bytes();
  say(last, std::string(10'000, 'b'));
  CHECK(reactor.inflight_bytes() == inflight);
  favoured.connection->close_now();
  say(first, std::string(5'000, 'b'));
  CHECK(handler.held.size() == 1);
  handler.answer_all();
  for (int i = 0; i < 10; ++i) reactor.round();
  CHECK(take_arrived(first.client).ends_with("90000"));
  CHECK(handler.held.size() == 1);
  handler.answer_all();
  for (int i = 0; i < 10; ++i) reactor.round();
  CHECK(take_arrived(last.client).ends_with("90000"));
}

}  // namespace
}  // namespace kyro::test
