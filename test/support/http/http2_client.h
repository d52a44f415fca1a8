// A client of HTTP/2 at a reactor whose rounds the test turns, and a handler with all that one can
// do.
#pragma once

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "test/support/connection_harness.h"
#include "test/support/http/http2_wire.h"

namespace kyro::test {

// What a client has got, by stream.
struct Http2Answer {
  std::string head;  // the header block, as it came
  std::string body;
  int heads = 0;
  bool ended = false;
  bool has_trailers = false;
  std::optional<uint32_t> reset;
};

// Answers by path, and writes down what it is told.
class PathHandler final : public Handler {
 public:
  void on_headers(Exchange& x) override {
    const std::string_view path = x.request().path;
    order.append(" h").append(path);
    if (path == "/small") x.set_max_body_bytes(10);
    if (path == "/early") return x.respond_error(401, "no", "No.");
    if (path == "/reader" || path == "/reluctant") {
      x.read_body(std::make_unique<Reader>(*this, path == "/reader"));
    }
  }
  void on_ahead(std::span<Exchange* const> exchanges) override {
    order += " [" + std::to_string(exchanges.size()) + "]";
  }
  void on_request(Exchange& x) override {
    const std::string_view path = x.request().path;
    order.append(" r").append(path);
    if (path == "/later" || path == "/twice") {
      for (int i = path == "/twice" ? 2 : 1; i > 0; --i) {
        tasks.push_back(new Later(*this, x.take_body()));
        x.defer(tasks.back());
      }
      if (path == "/twice") x.respond_stream(200, "text/plain", std::make_unique<Fed>(*this, x));
      if (deadline_ms != 0) x.set_deadline(deadline_ms);
    } else if (path == "/fed" || path == "/v1/subscribe") {
      x.respond_stream(200, "text/plain", std::make_unique<Fed>(*this, x));
      if (deadline_ms != 0) x.set_deadline(deadline_ms);
    } else if (path == "/shared") {
      auto owner = std::make_shared<const std::string>(body_bytes, 's');
      x.respond_shared(200, "text/plain", *owner, owner);
    } else if (path == "/copied") {
      x.respond(200, "text/plain", std::string(body_bytes, 'c'));
    } else if (path == "/call") {
      x.add_trailer("x-status", "0");
      x.respond(200, "text/plain", x.request().body);
    } else {
      x.respond(200, "text/plain", x.request().body);
    }
  }
  void on_rejected(RejectReason reason) override { ++rejected[reason]; }
  void on_response(const Answered& answered) override {
    CHECK(answered.version == HttpVersion::k2);
    answers += answered.count;
  }
  void on_deadline(Exchange& x) override { x.respond(504, "text/plain", "too late"); }
  // Runs what was deferred.
  void post_all() {
    for (Task* task : std::exchange(tasks, {})) task->post();
  }

  std::string order;
  std::vector<Task*> tasks;
  std::map<RejectReason, int> rejected;
  uint64_t answers = 0;
  uint64_t deadline_ms = 0;
  size_t body_bytes = 100'000;
  std::string fed;  // what is left for the next look of a fed stream; "." ends it
  int alive = 0;    // readers and streams
  int orphans = 0;
  bool revoked = false;
  size_t read_bytes = 0;

 private:
  class Later final : public Task {
   public:
    Later(PathHandler& handler, OwnedBody body) : handler_(handler), body_(std::move(body)) {}
    void run(Exchange* x) override {
      if (x == nullptr) {
        ++handler_.orphans;
      } else if (!x->responded()) {
        x->respond(200, "text/plain", {body_.body().data(), body_.body().size()});
      } else {
        handler_.fed += "t";
        x->wake();
      }
      delete this;
    }

   private:
    PathHandler& handler_;
    OwnedBody body_;
  };
  class Fed final : public BodyStream {
   public:
    Fed(PathHandler& handler, Exchange&) : handler_(handler) { ++handler_.alive; }
    ~Fed() override { --handler_.alive; }
    Next produce(std::string& out, size_t) override {
      out += std::exchange(handler_.fed, {});
      return out.ends_with('.') ? Next::kEnd : Next::kWait;
    }
    [[nodiscard]] bool on_drain(std::string& out) override {
      out += "bye";
      return true;
    }
    [[nodiscard]] bool is_revoked() const override { return handler_.revoked; }
    void on_end(Exchange& x) override { x.add_trailer("x-status", "0"); }

   private:
    PathHandler& handler_;
  };
  class Reader final : public BodyReader {
   public:
    Reader(PathHandler& handler, bool takes) : handler_(handler), takes_(takes) {
      ++handler_.alive;
    }
    ~Reader() override { --handler_.alive; }
    void on_piece(Exchange& x, std::string_view piece, bool ends) override {
      handler_.read_bytes += piece.size();
      if (takes_) x.body_taken(piece.size());
      if (ends) x.respond(200, "text/plain", "read");
    }

   private:
    PathHandler& handler_;
    bool takes_;
  };
};

// A client of one connection.
class Http2Client {
 public:
  Http2Client(HandTurned& reactor, std::string_view settings = {}, uint32_t window = 1 << 24)
      : reactor_(reactor) {
    wire_ = reactor.connect();
    say(std::string(h2::kPreface) + h2::settings(settings));
    if (window != 0) say(h2::window_update(0, window));
  }
  // Sends, turns the reactor, and takes what comes.
  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(wire_.client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
      if (n < 0 && errno != EAGAIN) return;
      turn();
    }
    turn(4);
  }
  void ask(uint32_t stream, std::string_view path) {
    say(h2::headers(stream, h2::request_fields("GET", path)));
  }
  void turn(int rounds = 1) {
    for (int i = 0; i < rounds; ++i) {
      reactor_.round();
      take(take_arrived(wire_.client));
    }
  }
  // Turns until it is so, at most 20 s.
  [[nodiscard]] bool turn_until(const std::function<bool()>& is_so) {
    const uint64_t until_ns = monotonic_ns() + 20'000'000'000u;
    while (!is_so() && monotonic_ns() < until_ns) turn();
    return is_so();
  }
  [[nodiscard]] bool closed() const { return wire_.connection->closed(); }
  Http2Answer& of(uint32_t stream) { return answers[stream]; }

  std::map<uint32_t, Http2Answer> answers;
  std::vector<h2::Frame> frames;  // all that came
  bool returns_windows = true;
  HandTurned::Wire wire_{};

 private:
  void take(std::string_view bytes) {
    left_.append(bytes);
    std::string back;
    for (h2::Frame& frame : h2::frames_of(left_)) {
      left_.erase(0, 9 + frame.payload.size());
      Http2Answer& answer = answers[frame.stream];
      if (frame.type == h2::kHeaders) {
        (answer.heads++ == 0 ? answer.head : answer.body) += frame.payload;
        answer.has_trailers |= answer.heads > 1;
      }
      if (frame.type == h2::kData) {
        answer.body += frame.payload;
        if (returns_windows && !frame.payload.empty()) {
          const auto size = static_cast<uint32_t>(frame.payload.size());
          back += h2::window_update(0, size);
          if ((frame.flags & h2::kEndStream) == 0) back += h2::window_update(frame.stream, size);
        }
      }
      const bool may_end = frame.type == h2::kHeaders || frame.type == h2::kData;
      answer.ended |= may_end && (frame.flags & h2::kEndStream) != 0;
      if (frame.type == h2::kRstStream) answer.reset = frame.number_at(0);
      frames.push_back(std::move(frame));
    }
    if (!back.empty()) {
      static_cast<void>(::send(wire_.client, back.data(), back.size(), MSG_NOSIGNAL));
    }
  }

  HandTurned& reactor_;
  std::string left_;
};

}  // namespace kyro::test
