// A handler whose every move a test controls, and small helpers around the client.
#pragma once

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <charconv>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kyro/net/client/http_client.h"
#include "kyro/net/server/http_server.h"

namespace kyro::test {

// Paths:
//   /now          "now" at once               /echo      method, body
//   /defer?x      a task; the test posts it   /wait      after deferred ones, then "waited"
//   /early        401 from on_headers         /limit     at most 10 bytes of body
//   /big?n        n shared bytes              /stream?n  n lines
//   /park         waits for feed()            /abort     breaks off
//   /status?n     that status, no body        /silent    does not answer
//   /user         what on_headers has set     /etag      a header of its own
class TestHandler final : public Handler {
 public:
  class DeferredTask final : public Task {
   public:
    DeferredTask(TestHandler& handler, std::string body)
        : handler_(handler), body_(std::move(body)) {}
    void run(Exchange* exchange) override {
      if (exchange != nullptr) {
        exchange->respond(200, "text/plain", body_);
      } else {
        handler_.note([](TestHandler& h) { ++h.orphans; });
      }
      delete this;
    }

   private:
    TestHandler& handler_;
    std::string body_;
  };

  void on_headers(Exchange& x) override {
    ++headers_seen;
    const std::string_view path = x.request().path;
    x.set_route(path == "/now" ? 1 : 2);
    x.set_user(x.request().path.size());
    if (path == "/early") {
      x.add_header("WWW-Authenticate", "Bearer");
      x.respond_error(401, "unauthorized", "No.");
    }
    if (path == "/limit") x.set_max_body_bytes(10);
    if (path == "/large") x.set_max_body_bytes(1ull << 30);
  }

  void on_request(Exchange& x) override {
    const HttpRequest& request = x.request();
    const std::string_view path = request.path;
    ++requests_seen;
    if (path == "/now" || path == "/limit") return x.respond(200, "text/plain", "now");
    if (path == "/echo" || path == "/large") {
      return x.respond(200, "text/plain",
                       std::string(request.method_text) + ":" + std::string(request.body));
    }
    if (path == "/defer") {
      auto* task = new DeferredTask(*this, std::string(request.query) + std::string(request.body));
      x.defer(task);
      if (post_at_once) return task->post();
      return note([task](TestHandler& h) { h.tasks.push_back(task); });
    }
    if (path == "/wait") {
      if (x.has_pending_before() && x.wait_for_earlier()) {
        return note([](TestHandler& h) { ++h.waits; });
      }
      return x.respond(200, "text/plain", "waited:" + std::string(request.body));
    }
    if (path == "/big") {
      auto owner = std::make_shared<const std::string>(pattern(number(request.query)));
      const std::string_view view = *owner;
      return x.respond_shared(200, "application/octet-stream", view, std::move(owner));
    }
    if (path == "/stream" || path == "/park" || path == "/abort") return stream(x);
    if (path == "/status") {
      return x.respond(static_cast<int>(number(request.query)), "text/plain", "body");
    }
    if (path == "/silent") return;
    if (path == "/user") return x.respond(200, "text/plain", std::to_string(x.user()));
    if (path == "/etag") {
      x.add_header("ETag", "\"7\"");
      return x.respond(200, "text/plain", "tagged");
    }
    if (path == "/peer") {
      const PeerAddress& peer = request.peer;
      return x.respond(200, "text/plain",
                       request.is_unix      ? "unix"
                       : peer.is_loopback() ? "loopback"
                                            : "other");
    }
    x.respond_error(404, "not_found", "No such thing.");
  }

  void on_response(const Answered& answered) override {
    note([&](TestHandler& h) {
      h.responses[{answered.route, answered.status}] += static_cast<int>(answered.count);
    });
  }
  void on_rejected(RejectReason reason) override {
    note([&](TestHandler& h) { ++h.rejected[reason]; });
  }
  void on_round_begin(unsigned) override {}
  void on_round_end(unsigned) override { ++rounds; }

  // Changes or looks at what is under the lock, and wakes whoever waits.
  void note(const std::function<void(TestHandler&)>& change) {
    const std::lock_guard lock(mutex);
    change(*this);
    changed.notify_all();
  }
  // Waits for something to become true; a test that waits 20 s has failed.
  [[nodiscard]] bool wait_until(const std::function<bool(TestHandler&)>& condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), [&] { return condition(*this); });
  }
  [[nodiscard]] bool wait_for_tasks(size_t count) {
    return wait_until([&](TestHandler& h) { return h.tasks.size() >= count; });
  }
  [[nodiscard]] bool wait_for_rejection(RejectReason reason) {
    return wait_until([&](TestHandler& h) { return h.rejected[reason] > 0; });
  }
  // What every parked stream says next.
  void feed(std::string text) {
    note([&](TestHandler& h) { h.fed.push_back(std::move(text)); });
  }

  [[nodiscard]] static std::string pattern(size_t size) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
    return bytes;
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Task*> tasks;
  std::vector<std::string> fed;
  std::map<std::pair<uint16_t, int>, int> responses;
  std::map<RejectReason, int> rejected;
  int orphans = 0;
  int drained = 0;
  uint64_t heartbeat_ms = 60000;
  std::atomic<int> parked{0};
  std::atomic<int> headers_seen{0};
  std::atomic<int> requests_seen{0};
  std::atomic<int> waits{0};
  std::atomic<uint64_t> rounds{0};
  std::atomic<bool> post_at_once{false};

 private:
  class Lines final : public BodyStream {
   public:
    explicit Lines(size_t count) : count_(count) {}
    Next produce(std::string& out, size_t budget) override {
      const size_t before = out.size();
      while (at_ < count_ && out.size() - before < budget) {
        out.append("line ").append(std::to_string(at_++)).append("\n");
      }
      return at_ < count_ ? Next::kMore : Next::kEnd;
    }

   private:
    size_t count_;
    size_t at_ = 0;
  };
  class Fed final : public BodyStream {
   public:
    explicit Fed(TestHandler& handler) : handler_(handler) {}
    Next produce(std::string& out, size_t) override {
      const std::lock_guard lock(handler_.mutex);
      while (at_ < handler_.fed.size()) {
        const std::string& text = handler_.fed[at_++];
        if (text == "end") return Next::kEnd;
        out.append(text);
      }
      ++handler_.parked;
      if (handler_.heartbeat_ms < 1000) out.append(":beat\n");
      handler_.changed.notify_all();
      return Next::kWait;
    }
    uint64_t heartbeat_ms() const override { return handler_.heartbeat_ms; }
    bool on_drain(std::string& out) override {
      out.append("bye\n");
      handler_.note([](TestHandler& h) { ++h.drained; });
      return true;
    }

   private:
    TestHandler& handler_;
    size_t at_ = 0;
  };
  class Abort final : public BodyStream {
   public:
    Next produce(std::string& out, size_t) override {
      out.append("part");
      return std::exchange(first_, false) ? Next::kMore : Next::kAbort;
    }

   private:
    bool first_ = true;
  };

  void stream(Exchange& x) {
    std::unique_ptr<BodyStream> body;
    if (x.request().path == "/stream") {
      body = std::make_unique<Lines>(number(x.request().query));
    } else if (x.request().path == "/park") {
      body = std::make_unique<Fed>(*this);
    } else {
      body = std::make_unique<Abort>();
    }
    x.respond_stream(200, "text/plain", std::move(body));
  }
  [[nodiscard]] static size_t number(std::string_view text) {
    size_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }
};

// A running server with its handler, and clients for it.
class TestServer {
 public:
  explicit TestServer(HttpServerConfig config = {}) {
    Result<std::unique_ptr<HttpServer>> started = HttpServer::start(config, handler);
    INFO(started.status().to_string());
    REQUIRE(started.ok());
    server = std::move(started).value();
    unix_path_ = config.unix_path;
  }
  ~TestServer() {
    post_all();
    server.reset();
  }

  [[nodiscard]] HttpEndpoint endpoint() const {
    const std::string url = "http://127.0.0.1:" + std::to_string(server->bound_port());
    return parse_endpoint(url).value();
  }
  [[nodiscard]] HttpEndpoint unix_endpoint() const {
    return parse_endpoint("unix:" + unix_path_).value();
  }
  // Posts what was deferred so far, in order.
  void post_all() {
    std::vector<Task*> tasks;
    handler.note([&](TestHandler& h) { tasks.swap(h.tasks); });
    for (Task* task : tasks) task->post();
  }
  // Waits until the server has had a round since `before`.
  void wait_round(uint64_t before) const {
    for (int spins = 0; handler.rounds.load() == before && spins < 200000; ++spins) {
      std::this_thread::yield();
    }
  }

  TestHandler handler;
  std::unique_ptr<HttpServer> server;

 private:
  std::string unix_path_;
};

// Reads everything until the server closes.
inline std::string read_all(HttpClient& client) {
  std::string all;
  char piece[16384];
  timeval limit{20, 0};
  setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const int flags = fcntl(client.fd(), F_GETFL);
  fcntl(client.fd(), F_SETFL, flags & ~O_NONBLOCK);
  ssize_t n = 0;
  while ((n = recv(client.fd(), piece, sizeof piece, 0)) > 0) {
    all.append(piece, static_cast<size_t>(n));
  }
  CHECK(n == 0);  // neither a reset nor a time-out
  return all;
}

inline HttpResponse get(HttpClient& client, std::string_view target,
                        const HeaderList& headers = {}) {
  HttpResponse response;
  const Status status = client.request("GET", target, "", &response, headers);
  INFO(status.to_string());
  REQUIRE(status.ok());
  return response;
}

inline HttpResponse receive(HttpClient& client, bool to_head = false) {
  HttpResponse response;
  const Status status = client.receive(&response, to_head);
  INFO(status.to_string());
  REQUIRE(status.ok());
  return response;
}

inline void send(HttpClient& client, std::string_view bytes) {
  const Status status = client.send_raw(bytes);
  INFO(status.to_string());
  REQUIRE(status.ok());
}

inline const std::string kGetNow = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n";

inline std::string get_line(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
}

}  // namespace kyro::test
