// A connection of the server without a server: bytes in, in pieces of one's choice, and all that it
// answers out, on one thread and without waiting. For tests and for the fuzz target.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/connection.h"

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

// Everything a connection answers to `bytes`, which come in pieces that end at `cuts` (rising; the
// last is the whole), until it closes.
inline std::string serve_pieces(std::string_view bytes, const std::vector<size_t>& cuts) {
  static EveryWayHandler handler;
  static ServerShared shared(HttpServerConfig{}, handler);
  ReactorContext context(shared);
  KYRO_CHECK(context.loop.open().ok());
  context.current = ServerExchange::acquire(context);
  int pair[2];
  KYRO_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  KYRO_CHECK(shared.admit({}, true) == ServerShared::Admission::kAdmitted);
  auto* connection = new Connection(context, pair[0], {}, true);
  connection->start();
  std::string answers;
  const auto round = [&] {
    context.loop.wait(0);
    context.loop.dispatch_events();
    context.loop.run_posted();
    for (std::vector<Connection*>* list : {&context.answered, &context.ready}) {
      const std::vector<Connection*> working = std::move(*list);
      list->clear();
      for (Connection* one : working) {
        list == &context.answered ? one->clear_answered() : one->clear_ready();
        one->drive();
      }
    }
    char piece[4096];
    ssize_t n = 0;
    while ((n = recv(pair[1], piece, sizeof piece, 0)) > 0) {
      answers.append(piece, static_cast<size_t>(n));
    }
  };
  size_t from = 0;
  for (const size_t cut : cuts) {
    const std::string_view piece = bytes.substr(from, cut - from);
    from = cut;
    if (!piece.empty()) static_cast<void>(send(pair[1], piece.data(), piece.size(), MSG_NOSIGNAL));
    for (int i = 0; i < 4; ++i) round();
  }
  shutdown(pair[1], SHUT_WR);
  for (int i = 0; i < 5000 && !connection->closed(); ++i) round();
  KYRO_CHECK(connection->closed());
  KYRO_CHECK(context.tasks_outstanding == 0 && context.out.empty());
  connection->leave_lists();
  delete connection;
  close(pair[1]);
  return answers;
}

}  // namespace kyro::test
