// A subscription over a server whose deadlines are shorter than its heartbeats are apart.
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "kyro/app/api_stream.h"
#include "kyro/net/http_client.h"
#include "kyro/net/http_server.h"
#include "test/engine_harness.h"

namespace kyro::test {
namespace {

class SubscribeHandler final : public Handler {
 public:
  SubscribeHandler(Engine& engine, uint64_t heartbeat_ms)
      : engine_(engine), heartbeat_ms_(heartbeat_ms) {}
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    auto reader = engine_.read_log(engine_.next_offset());
    KYRO_CHECK(reader.ok());
    x.respond_stream(
        200, "text/event-stream",
        std::make_unique<SubscribeStream>(engine_, std::move(*reader), stats, heartbeat_ms_));
  }
  void on_rejected(RejectReason) override { ++rejections; }

  SubscribeStats stats;
  std::atomic<int> rejections{0};

 private:
  Engine& engine_;
  const uint64_t heartbeat_ms_;
};

// Reads until `text` has come.
std::string read_until(HttpClient& client, std::string_view text) {
  std::string got;
  bool end = false;
  while (got.find(text) == got.npos) {
    const Status status = client.receive_body(&got, &end);
    INFO(got << status.to_string());
    REQUIRE((status.ok() && !end));
  }
  return got;
}

TEST_CASE("an idle subscriber gets heartbeats, and outlives every deadline") {
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  SubscribeHandler handler(*engine, 60);
  HttpServerConfig config;
  config.idle_timeout_ms = config.write_timeout_ms = config.header_timeout_ms = 20;
  auto server = HttpServer::start(config, handler);
  REQUIRE(server.ok());
  engine->set_commit_listener(
      [](void* context) { static_cast<HttpServer*>(context)->wake_streams(); }, server->get());
  const std::string url = "http://127.0.0.1:" + std::to_string((*server)->bound_port());
  HttpClient client(parse_endpoint(url).value());
  REQUIRE(client.send("GET", "/", "").ok());
  HttpResponse head;
  REQUIRE(client.receive_head(&head).ok());
  CHECK(read_until(client, "\n\n") == ": subscribed\n\n");
  std::string beats;
  for (int i = 0; i < 4; ++i) beats += read_until(client, "\n\n");
  CHECK(beats == ": heartbeat\n\n: heartbeat\n\n: heartbeat\n\n: heartbeat\n\n");
  must_put(*engine, 7, "live");
  CHECK(read_until(client, "live").find("\"key\":7") != std::string::npos);
  CHECK(handler.rejections == 0);
  CHECK(handler.stats.subscribers.value() == 1);
  (*server)->stop();
  engine.reset();  // before the server, which its commits wake
}

TEST_CASE("without being told otherwise a subscription says something every 15 seconds") {
  FaultFs fs;
  const auto engine = must_open(small_options(fs));
  auto reader = engine->read_log(engine->next_offset());
  REQUIRE(reader.ok());
  SubscribeStats stats;
  const SubscribeStream stream(*engine, std::move(*reader), stats);
  CHECK(stream.heartbeat_ms() == 15'000);
}

}  // namespace
}  // namespace kyro::test
