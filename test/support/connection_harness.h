// Connections of the server without a server: bytes in, in pieces of one's choice, and all that
// they answer out, on one thread and without waiting. For tests and for the fuzz target.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/server/connection.h"

namespace kyro::test {

// Answers by the first letter of the path, in every way there is.
class EveryWayHandler final : public Handler {
 public:
  void on_headers(Exchange& exchange) override {
    exchange.set_max_body_bytes(64);
    if (exchange.request().path.starts_with("/e")) exchange.respond_error(401, "no", "No.");
  }
  void on_request(Exchange& exchange) override {
    const std::string_view path = exchange.request().path;
    const char kind = path.size() > 1 ? path[1] : '-';
    if (kind == 'w' && exchange.has_pending_before() && exchange.wait_for_earlier()) return;
    if (kind == 'd') {
      auto* task = new Later(std::string(exchange.request().body));
      exchange.defer(task);
      return task->post();
    }
    if (kind == 's') {
      return exchange.respond_stream(200, "text/plain", std::make_unique<Lines>());
    }
    exchange.respond(200, "text/plain", exchange.request().body);
  }

 private:
  class Later final : public Task {
   public:
    explicit Later(std::string body) : body_(std::move(body)) {}
    void run(Exchange* exchange) override {
      if (exchange != nullptr) exchange->respond(200, "text/plain", body_);
      delete this;
    }

   private:
    std::string body_;
  };
  class Lines final : public BodyStream {
   public:
    Next produce(std::string& out, size_t) override {
      out.append("line\n");
      return ++count_ < 3 ? Next::kMore : Next::kEnd;
    }

   private:
    int count_ = 0;
  };
};

// A reactor whose rounds are turned by hand.
class HandTurned {
 public:
  // A connection and the client's end of it.
  struct Wire {
    Connection* connection;
    int client;
  };

  explicit HandTurned(Handler& handler, const HttpServerConfig& config = {})
      : shared_(config, handler), parts_(shared_) {
    KYRO_CHECK(parts_.context.loop.open().ok());
  }
  ~HandTurned() {
    for (const Wire& wire : wires_) {
      wire.connection->close_now();
      wire.connection->leave_lists();
      delete wire.connection;
      close(wire.client);
    }
    KYRO_CHECK(parts_.context.tasks_outstanding == 0 && parts_.context.out.empty());
  }

  Wire connect(bool is_unix = true) {
    int pair[2];
    KYRO_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    // Room for one output step, where the system allows it.
    const int room = 1 << 20;
    KYRO_CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
    KYRO_CHECK(shared_.admit({}, is_unix) == ServerShared::Admission::kAdmitted);
    wires_.push_back({new Connection(parts_, pair[0], {}, is_unix), pair[1]});
    wires_.back().connection->start();
    return wires_.back();
  }

  [[nodiscard]] uint64_t inflight_bytes() const { return shared_.inflight_bytes; }
  [[nodiscard]] uint64_t output_bytes() const { return shared_.output_bytes; }
  void drain() {
    parts_.context.draining = true;
    for (const Wire& wire : wires_) wire.connection->drain();
  }

  // As HttpServer does when there may be something new for them.
  void wake_streams() {
    const std::vector<Connection*> streaming = parts_.streaming;
    for (Connection* one : streaming) one->wake_streams();
  }

  void round() {
    parts_.context.loop.wait(0);
    parts_.context.loop.dispatch_events();
    parts_.context.loop.run_posted();
    parts_.context.handler.on_round_gathered(0);
    parts_.context.loop.run_posted();
    for (std::vector<Connection*>* list : {&parts_.asking, &parts_.ready}) {
      const std::vector<Connection*> working = std::move(*list);
      list->clear();
      for (Connection* one : working) {
        list == &parts_.asking ? one->clear_asking() : one->clear_ready();
        one->drive();
      }
    }
    Connection::feed_starved(parts_);
    parts_.context.loop.expire_timers();
  }

 private:
  ServerShared shared_;
  ReactorParts parts_;
  std::vector<Wire> wires_;
};

// What has arrived at `fd` by now.
inline std::string take_arrived(int fd) {
  std::string bytes;
  char piece[4096];
  ssize_t n = 0;
  while ((n = recv(fd, piece, sizeof piece, 0)) > 0) bytes.append(piece, static_cast<size_t>(n));
  return bytes;
}

// Everything a connection answers to `bytes`, which come in pieces that end at `cuts` (rising; the
// last is the whole), until it closes.
inline std::string serve_pieces(std::string_view bytes, const std::vector<size_t>& cuts) {
  static EveryWayHandler handler;
  HandTurned reactor(handler);
  const HandTurned::Wire wire = reactor.connect();
  std::string answers;
  const auto round = [&] {
    reactor.round();
    answers += take_arrived(wire.client);
  };
  size_t from = 0;
  for (const size_t cut : cuts) {
    const std::string_view piece = bytes.substr(from, cut - from);
    from = cut;
    if (!piece.empty()) {
      static_cast<void>(send(wire.client, piece.data(), piece.size(), MSG_NOSIGNAL));
    }
    for (int i = 0; i < 4; ++i) round();
  }
  shutdown(wire.client, SHUT_WR);
  for (int i = 0; i < 5000 && !wire.connection->closed(); ++i) round();
  KYRO_CHECK(wire.connection->closed());
  return answers;
}

}  // namespace kyro::test
