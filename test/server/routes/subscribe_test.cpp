// Streams of the log on a server: deadlines shorter than heartbeats are apart, and what readers
// that wait or do not read cost everybody else.
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "kyro/net/client/http_client.h"
#include "kyro/net/server/http_server.h"
#include "kyro/server/routes/stream.h"
#include "test/support/connection_harness.h"
#include "test/support/engine_harness.h"

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
    x.respond_stream(200, "text/event-stream",
                     std::make_unique<SubscribeStream>(engine_, std::move(*reader), stats, pieces,
                                                       Permit(), heartbeat_ms_));
  }
  void on_rejected(RejectReason) override { ++rejections; }

  SubscribeStats stats;
  SharedPieces pieces;
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

// Counts what the stream behind it is asked for.
class CountedStream final : public BodyStream {
 public:
  struct Counts {
    int calls = 0;
    size_t bytes = 0;
  };
  CountedStream(std::unique_ptr<BodyStream> behind, Counts& counts)
      : behind_(std::move(behind)), counts_(counts) {}
  Next produce(std::string& out, size_t budget_bytes) override {
    const size_t before = out.size();
    const Next next = behind_->produce(out, budget_bytes);
    ++counts_.calls;
    counts_.bytes += out.size() - before;
    return next;
  }
  [[nodiscard]] uint64_t heartbeat_ms() const override { return behind_->heartbeat_ms(); }

 private:
  std::unique_ptr<BodyStream> behind_;
  Counts& counts_;
};

// /replay and /subscribe from the first record on; everything else is answered at once.
class StreamsHandler final : public Handler {
 public:
  explicit StreamsHandler(Engine& engine) : engine_(engine) {}
  void on_headers(Exchange&) override {}
  void on_request(Exchange& x) override {
    if (x.request().path == "/unrelated") return x.respond(200, "text/plain", "x");
    auto reader = engine_.read_log(0);
    KYRO_CHECK(reader.ok());
    std::unique_ptr<BodyStream> stream;
    if (x.request().path == "/subscribe") {
      stream = std::make_unique<SubscribeStream>(engine_, std::move(*reader), stats, pieces);
    } else {
      stream = std::make_unique<ReplayBody>(engine_, std::move(*reader), engine_.next_offset(),
                                            kNoLimit);
    }
    x.respond_stream(200, "text/plain", std::make_unique<CountedStream>(std::move(stream), counts));
  }

  static constexpr uint64_t kNoLimit = ~uint64_t{0};
  SubscribeStats stats;
  SharedPieces pieces;
  CountedStream::Counts counts;

 private:
  Engine& engine_;
};

void send_get(int fd, const std::string& path) {
  const std::string head = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  REQUIRE(::send(fd, head.data(), head.size(), 0) == static_cast<ssize_t>(head.size()));
}

// Turns the reactor until no stream is asked for more.
void settle_streams(HandTurned& reactor, const CountedStream::Counts& counts) {
  int before = -1;
  while (counts.calls != before) {
    before = counts.calls;
    for (int i = 0; i < 4; ++i) reactor.round();
  }
}

TEST_CASE(
    "streams whose readers wait or do not read cost other requests no work, and little room") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.delta_max_bytes = 64 * kMiB;
  options.wal_segment_bytes = 64 * kMiB;
  const auto engine = must_open(options);
  const bool is_blocked = GENERATE(false, true);
  const std::string path = GENERATE("/subscribe", "/replay");
  if (path == "/replay" && !is_blocked) return;  // it ends
  constexpr size_t kLogBytes = 32 * kMiB;
  const std::string value(is_blocked ? 256 * kKiB : 10, 'v');
  for (size_t i = 0; i < (is_blocked ? kLogBytes / value.size() : 3); ++i) {
    must_put(*engine, i, value);
  }
  StreamsHandler handler(*engine);
  HandTurned reactor(handler);
  constexpr int kReaders = 5;
  for (int i = 0; i < kReaders; ++i) send_get(reactor.connect().client, path);
  settle_streams(reactor, handler.counts);
  INFO(path << ", blocked " << is_blocked << ", " << handler.counts.bytes << " bytes");
  CHECK(handler.counts.calls >= kReaders);
  CHECK(handler.counts.bytes <= kReaders * kLogBytes / 8);  // read as far as the sockets take it

  const int calls = handler.counts.calls;
  const int unrelated = reactor.connect().client;
  for (int i = 0; i < 100; ++i) {
    send_get(unrelated, "/unrelated");
    reactor.round();
    REQUIRE(take_arrived(unrelated).ends_with("\r\n\r\nx"));
  }
  CHECK(handler.counts.calls == calls);
}

TEST_CASE("without being told otherwise a subscription says something every 15 seconds") {
  FaultFs fs;
  const auto engine = must_open(small_options(fs));
  auto reader = engine->read_log(engine->next_offset());
  REQUIRE(reader.ok());
  SubscribeStats stats;
  SharedPieces pieces;
  const SubscribeStream stream(*engine, std::move(*reader), stats, pieces);
  CHECK(stream.heartbeat_ms() == 15'000);
}

}  // namespace
}  // namespace kyro::test
