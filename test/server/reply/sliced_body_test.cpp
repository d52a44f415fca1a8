// Long answers whose token is withdrawn while they are sent, and what comes before their heads.
#include "kyro/server/reply/sliced_body.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "kyro/server/routes/mget.h"
#include "kyro/server/routes/scan.h"
#include "kyro/server/routes/stream.h"
#include "test/support/connection_harness.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

class RoutesHandler final : public Handler {
 public:
  RoutesHandler(Engine& engine, AccessControl& access)
      : engine_(engine), rules_{moments_, pieces, access} {}
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    const EpochPin pin;
    const std::string_view path = x.request().path;
    if (path == "/scan") return respond_scan(engine_, x, rules_);
    if (path == "/replay") return respond_replay(engine_, x, rules_);
    if (path == "/subscribe") return respond_subscribe(engine_, x, stats, rules_);
    if (path == "/mget") return respond_mget(engine_, x, MgetForm::kJson, mget_limits_, rules_);
    x.respond(404, {}, {});
  }

  SubscribeStats stats;
  SharedPieces pieces;

 private:
  Engine& engine_;
  Counter revoked_;
  HeldMoments moments_{revoked_};
  MgetLimits mget_limits_;
  const StreamRules rules_;
};

struct SlicedRig {
  explicit SlicedRig(size_t values, size_t value_bytes) {
    access.set_tokens({"old", ""});
    Options options = small_options(fs);
    options.delta_max_bytes = 64 * kMiB;
    options.wal_segment_bytes = 64 * kMiB;
    engine = must_open(options);
    const std::string value(value_bytes, 'v');
    for (size_t key = 0; key < values;) {
      std::vector<Mutation> batch;
      for (; key < values && batch.size() * value_bytes < kMiB; ++key) {
        batch.push_back(Mutation::put(key, value));
      }
      REQUIRE(engine->write(batch).ok());
    }
    handler = std::make_unique<RoutesHandler>(*engine, access);
    reactor = std::make_unique<HandTurned>(*handler);
  }
  int ask(const std::string& target, std::string_view body = {}) const {
    const int fd = reactor->connect().client;
    std::string request = (body.empty() ? "GET " : "POST ") + target +
                          " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer old\r\n"
                          "Accept: application/x-ndjson\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n";
    request += body;
    REQUIRE(::send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
    return fd;
  }
  void turn(int rounds) const {
    for (int i = 0; i < rounds; ++i) reactor->round();
  }
  // Everything that comes until nothing does for a while, or the connection closes.
  [[nodiscard]] std::string drain(int fd) const {
    std::string all;
    for (int silent = 0; silent < 100; ++silent) {
      const std::string more = take_arrived(fd);
      if (!more.empty()) silent = 0;
      all += more;
      reactor->round();
    }
    return all;
  }

  const QuietLog quiet;
  const EpochPin pin;
  FaultFs fs;
  AccessControl access{AccessControl::Rules{}};
  std::unique_ptr<Engine> engine;
  std::unique_ptr<RoutesHandler> handler;
  std::unique_ptr<HandTurned> reactor;
};

TEST_CASE(
    "a scan, a replay and a subscription end early and say so when their token is withdrawn") {
  const std::string path = GENERATE("/scan", "/replay", "/subscribe?from=0");
  const size_t value_bytes = GENERATE(size_t{100}, size_t{30'000});
  INFO(path << " " << value_bytes);
  const size_t values = 20 * kMiB / value_bytes / (value_bytes < 1000 ? 10 : 1);
  SlicedRig rig(values, value_bytes);
  const int fd = rig.ask(path);
  rig.turn(10);  // the beginning is sent, and the client does not read
  rig.access.set_tokens({"new", ""});
  const std::string answer = rig.drain(fd);
  CHECK(answer.starts_with("HTTP/1.1 200"));
  REQUIRE(answer.size() > 1000);
  CHECK(answer.size() < values * value_bytes / 2);
  CHECK(answer.ends_with("\r\n0\r\n\r\n"));  // properly, not in the middle
  const std::string_view end = std::string_view(answer).substr(answer.size() - 200);
  const std::string_view sign = path == "/scan"     ? "{\"complete\":false,\"next\":"
                                : path == "/replay" ? "{\"error\":\"unauthorized\""
                                                    : "event: end\ndata: {\"reason\":\"the token";
  CHECK(end.find(sign) != end.npos);
}

TEST_CASE("an answer goes on when its token has got another role, and one without tokens does") {
  SlicedRig rig(3, 10);
  const int fd = rig.ask("/subscribe?from=0");
  rig.turn(5);
  rig.access.set_tokens({"new", "old"});
  must_put(*rig.engine, 7, "then");
  rig.turn(2);
  CHECK(rig.drain(fd).find("event: end") == std::string::npos);
}

TEST_CASE("a multi-get whose token is withdrawn breaks off") {
  SlicedRig rig(20, 1 * kMiB);
  const int fd = rig.ask("/mget", R"({"keys":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]})");
  rig.turn(10);
  rig.access.set_tokens({"new", ""});
  const std::string answer = rig.drain(fd);
  CHECK(answer.starts_with("HTTP/1.1 200"));
  CHECK(answer.size() < 10 * kMiB);
  CHECK_FALSE(answer.ends_with("0\r\n\r\n"));
}

TEST_CASE("the head goes out with the first piece, however much is looked at before it") {
  SlicedRig rig(0, 0);
  must_put(*rig.engine, 1, std::string(8 * kMiB, 'v'));  // only its end shows that it is text
  for (const std::string path : {"/scan", "/replay", "/subscribe?from=0"}) {
    const int fd = rig.ask(path);
    rig.turn(3);
    INFO(path);
    CHECK(take_arrived(fd).empty());
    const std::string answer = rig.drain(fd);
    CHECK(answer.starts_with("HTTP/1.1 200"));
    CHECK(answer.size() > 8 * kMiB);
  }
}

TEST_CASE("a large record is encoded once for all subscribers that keep up") {
  SlicedRig rig(0, 0);
  constexpr int kSubscribers = 20;
  std::vector<int> fds;
  for (int i = 0; i < kSubscribers; ++i) fds.push_back(rig.ask("/subscribe"));
  rig.turn(5);
  const std::string value(4 * kMiB, '"');  // each byte is two
  must_put(*rig.engine, 1, value);
  std::vector<std::string> got(fds.size());
  for (int round = 0; round < 600; ++round) {
    // Nobody wakes them here: their heartbeats are not awaited.
    for (size_t i = 0; i < fds.size(); ++i) got[i] += take_arrived(fds[i]);
    rig.reactor->wake_streams();
    rig.reactor->round();
  }
  for (const std::string& one : got) {
    CHECK(one.size() > 2 * value.size());
    CHECK(one.find("\"}\n\n") != one.npos);
  }
  const uint64_t encoded = rig.handler->pieces.encoded.value();
  CHECK(encoded <= 2 * (2 * value.size() / SharedPieces::kPieceBytesMax + 16));
  CHECK(rig.handler->pieces.found.value() > 10 * encoded);
}

}  // namespace
}  // namespace kyro::test
