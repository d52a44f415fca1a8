// A deletion of a range that is asked to stop, or whose client goes, ends between two slices.
#include "kyro/server/routes/delete_range.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "kyro/server/routes/count.h"
#include "test/support/connection_harness.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

constexpr uint64_t kKeys = 8 * RangeDelete::kKeysPerCommit;  // a round may see two of them through

class RangeHandler final : public Handler {
 public:
  RangeHandler(Engine& engine, AccessControl& access)
      : engine_(engine), rules_{moments_, pieces_, access} {}
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    const EpochPin pin;
    if (x.request().method == Method::kGet) return respond_count(engine_, x, rules_);
    RangeDelete::start(engine_, open_, x, rules_, draining);
  }
  void on_round_gathered(unsigned) override { engine_.commit_enqueued(); }
  [[nodiscard]] uint64_t held_run_bytes() { return moments_.run_bytes(); }

  std::atomic<bool> draining{false};

 private:
  Engine& engine_;
  Counter revoked_;
  HeldMoments moments_{revoked_};
  SharedPieces pieces_;
  OpenWrites open_;
  const StreamRules rules_;
};

struct RangeRig {
  RangeRig() {
    access.set_tokens({"old", ""});
    Options options = small_options(fs);
    options.delta_max_bytes = 64 * kMiB;
    engine = must_open(options);
    std::vector<Mutation> batch;
    for (uint64_t key = 0; key < kKeys; ++key) batch.push_back(Mutation::put(key, "value"));
    REQUIRE(engine->write(batch).ok());
    handler = std::make_unique<RangeHandler>(*engine, access);
    reactor = std::make_unique<HandTurned>(*handler);
  }
  [[nodiscard]] int ask(const std::string& request_line) const {
    const int fd = reactor->connect().client;
    const std::string request =
        request_line + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer old\r\n\r\n";
    REQUIRE(::send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
    return fd;
  }
  // Turns the reactor until `is_reached()`, for a minute at most.
  template <class Reached>
  void turn_until(const Reached& is_reached) const {
    const uint64_t began_ns = monotonic_ns();
    while (!is_reached()) {
      REQUIRE(monotonic_ns() - began_ns < 60'000'000'000);
      reactor->round();
    }
  }
  [[nodiscard]] std::string answer(int fd) const {
    std::string all;
    turn_until([&] {
      all += take_arrived(fd);
      return all.ends_with("}");
    });
    return all.substr(all.find("\r\n\r\n") + 4);
  }
  [[nodiscard]] uint64_t keys_left() const {
    uint64_t count = 0;
    REQUIRE(engine
                ->scan(0, ~uint64_t{0},
                       [&](uint64_t, std::string_view, uint64_t) {
                         ++count;
                         return true;
                       })
                .ok());
    return count;
  }
  [[nodiscard]] uint64_t deletes() const { return engine->stats().deletes.value(); }

  const QuietLog quiet;
  const EpochPin pin;
  FaultFs fs;
  AccessControl access{AccessControl::Rules{}};
  std::unique_ptr<Engine> engine;
  std::unique_ptr<RangeHandler> handler;
  std::unique_ptr<HandTurned> reactor;
};

constexpr uint64_t kLargeValues = 6;  // values, so that a count takes several rounds

void put_large_values(const RangeRig& rig) {
  for (uint64_t i = 0; i < kLargeValues; ++i) {
    must_put(*rig.engine, kKeys + i, std::string(4 * kMiB, 'v'));
  }
}

// What is there after a deletion that was stopped with `answer`.
void check_half_done(const RangeRig& rig, const std::string& answer) {
  const uint64_t deleted = kKeys - rig.keys_left();
  INFO(answer);
  CHECK(deleted % RangeDelete::kKeysPerCommit == 0);
  CHECK(deleted > 0);
  CHECK(deleted < kKeys);
  const std::string number = std::to_string(deleted);
  CHECK(answer == "{\"deleted\":" + number + ",\"complete\":false,\"next\":" + number + "}");
}

TEST_CASE("a deletion of a range removes it in groups, and says so when it is through") {
  RangeRig rig;
  CHECK(rig.answer(rig.ask("DELETE /?start=0")) ==
        "{\"deleted\":" + std::to_string(kKeys) + ",\"complete\":true}");
  CHECK(rig.keys_left() == 0);
  CHECK(rig.deletes() == kKeys);
}

TEST_CASE("a deletion of a range ends between two groups when the server drains") {
  RangeRig rig;
  const int fd = rig.ask("DELETE /?start=0");
  rig.turn_until([&] { return rig.deletes() > 0; });
  rig.handler->draining = true;
  check_half_done(rig, rig.answer(fd));
}

TEST_CASE("a deletion of a range ends between two groups when its token is withdrawn") {
  RangeRig rig;
  const int fd = rig.ask("DELETE /?start=0");
  rig.turn_until([&] { return rig.deletes() > 0; });
  rig.access.set_tokens({"new", ""});
  check_half_done(rig, rig.answer(fd));
}

TEST_CASE("a deletion of a range ends between two groups when its client ends its side") {
  RangeRig rig;
  const int fd = rig.ask("DELETE /?start=0");
  rig.turn_until([&] { return rig.deletes() > 0; });
  REQUIRE(shutdown(fd, SHUT_WR) == 0);
  check_half_done(rig, rig.answer(fd));
}

TEST_CASE("a failure between two groups says what has been done before it") {
  RangeRig rig;
  const int fd = rig.ask("DELETE /?start=0");
  rig.turn_until([&] { return rig.deletes() > 0; });
  rig.fs.inject({FsCall::kSync, Code::kIoError, 0, 1, "wal-"});
  const std::string answer = rig.answer(fd);
  const std::string number = std::to_string(kKeys - rig.keys_left());
  INFO(answer);
  CHECK(answer.starts_with("{\"error\":\"read_only\",\"message\":\""));
  CHECK(answer.ends_with("\"deleted\":" + number + ",\"complete\":false,\"next\":" + number + "}"));
}

TEST_CASE("a count is over when its client has gone or ends its side") {
  RangeRig rig;
  put_large_values(rig);
  REQUIRE(rig.engine->snapshot().ok());  // what is held of a run can be seen
  const bool is_gone = GENERATE(false, true);
  int whole_rounds = 0;
  const int first = rig.ask("GET /");
  for (std::string text; !text.ends_with("}"); ++whole_rounds) {
    REQUIRE(whole_rounds < 10'000);
    rig.reactor->round();
    text += take_arrived(first);
  }
  REQUIRE(whole_rounds > 4);
  const int fd = rig.ask("GET /");
  rig.reactor->round();
  REQUIRE(rig.handler->held_run_bytes() > 0);
  REQUIRE(shutdown(fd, is_gone ? SHUT_RDWR : SHUT_WR) == 0);
  rig.reactor->round();
  rig.reactor->round();
  CHECK(rig.handler->held_run_bytes() == 0);
  if (!is_gone) CHECK(rig.answer(fd).find(kHungUp) != std::string::npos);
}

TEST_CASE("a count whose token is withdrawn is refused") {
  RangeRig rig;
  put_large_values(rig);
  const std::string all = std::to_string(kKeys + kLargeValues);
  CHECK(rig.answer(rig.ask("GET /")) == "{\"count\":" + all + ",\"as_of\":" + all + "}");
  const int fd = rig.ask("GET /");
  rig.reactor->round();
  rig.access.set_tokens({"new", ""});
  CHECK(rig.answer(fd).starts_with("{\"error\":\"unauthorized\""));
}

}  // namespace
}  // namespace kyro::test
