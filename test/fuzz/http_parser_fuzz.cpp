// Fuzz target: the request parser, the chunked decoder, and a whole connection over a socket pair.
// However the bytes are split, the outcome and the answers must be the same.
//
// The first two bytes of the input choose the splits, the rest is what a client sends.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/net/connection.h"

namespace {

using kyro::ChunkedDecoder;
using kyro::Connection;
using kyro::Exchange;
using kyro::HttpParser;
using kyro::HttpRequest;

void require(bool condition) {
  if (!condition) std::abort();
}

// Where to cut: one to sixteen pieces.
std::vector<size_t> make_cuts(uint32_t seed, size_t size) {
  std::vector<size_t> cuts;
  for (uint32_t left = seed % 16; left > 0 && size > 0; --left) {
    seed = seed * 1664525u + 1013904223u;
    cuts.push_back((seed >> 8) % size);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(size);
  return cuts;
}

std::string parse(std::string_view bytes, const std::vector<size_t>& cuts,
                  kyro::KnownFields* known = nullptr) {
  HttpParser parser(kyro::HttpLimits{}, known);
  HttpRequest request;
  for (const size_t cut : cuts) {
    // A copy that ends where the bytes end, so that a sanitizer sees a read behind them.
    const std::vector<char> exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    const std::string_view prefix(exact.data(), exact.size());
    switch (parser.parse(prefix, &request)) {
      case HttpParser::Outcome::kNeedMore:
        break;
      case HttpParser::Outcome::kError:
        return std::to_string(parser.error().status) + parser.error().message;
      case HttpParser::Outcome::kComplete:
        return std::string(request.path) + "|" + std::string(request.query) + "|" +
               std::string(request.host) + "|" + std::to_string(request.content_length) +
               (request.chunked ? "c" : "l") + (request.keep_alive ? "k" : "c") +
               std::to_string(parser.head_bytes());
    }
  }
  return "incomplete";
}

std::string decode(std::string_view bytes, const std::vector<size_t>& cuts) {
  ChunkedDecoder decoder;
  std::string out;
  size_t from = 0;
  for (const size_t cut : cuts) {
    const std::vector<char> exact(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    from = cut;
    std::string_view piece(exact.data(), exact.size());
    std::string_view data;
    ChunkedDecoder::Outcome outcome;
    while ((outcome = decoder.next(piece, data)) == ChunkedDecoder::Outcome::kData) {
      out.append(data);
    }
    if (outcome == ChunkedDecoder::Outcome::kDone) return out + "|done";
    if (outcome == ChunkedDecoder::Outcome::kError) return out + "|" + decoder.error().message;
  }
  return out + "|incomplete";
}

class Later final : public kyro::Task {
 public:
  explicit Later(std::string body) : body_(std::move(body)) {}
  void run(Exchange* exchange) override {
    if (exchange != nullptr) exchange->respond(200, "text/plain", body_);
    delete this;
  }

 private:
  std::string body_;
};

class Lines final : public kyro::BodyStream {
 public:
  Next produce(std::string& out, size_t) override {
    out.append("line\n");
    return ++count_ < 3 ? Next::kMore : Next::kEnd;
  }

 private:
  int count_ = 0;
};

// Answers by the first letter of the path, in every way there is.
class FuzzHandler final : public kyro::Handler {
 public:
  void on_headers(Exchange& exchange) override {
    exchange.set_max_body_bytes(64);
    if (exchange.request().path.substr(0, 2) == "/e") exchange.respond_error(401, "no", "No.");
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
};

// Everything a connection answers to the pieces, until it closes.
std::string serve(std::string_view bytes, const std::vector<size_t>& cuts) {
  static FuzzHandler handler;
  static kyro::ServerShared shared(kyro::HttpServerConfig{}, handler);
  kyro::ReactorContext context(shared);
  require(context.loop.open().ok());
  context.current = kyro::ServerExchange::acquire(context);
  int pair[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  require(shared.admit({}, true) == kyro::ServerShared::Admission::kAdmitted);
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
  require(connection->closed());
  require(context.tasks_outstanding == 0 && context.out.empty());
  connection->leave_lists();
  delete connection;
  close(pair[1]);
  return answers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint32_t seed = data[0] * 256u + data[1];
  const std::string bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::vector<size_t> cuts = make_cuts(seed, bytes.size());
  const std::vector<size_t> whole = {bytes.size()};
  const std::string seen = parse(bytes, whole);
  require(parse(bytes, cuts) == seen);
  static kyro::KnownFields known;  // of whatever came before, then of these bytes
  require(parse(bytes, whole, &known) == seen);
  require(parse(bytes, cuts, &known) == seen);
  require(decode(bytes, cuts) == decode(bytes, whole));
  if (bytes.size() > 16384) return 0;  // more than one send may not fit
  const std::string answers = serve(bytes, cuts);
  // Whether the body is awaited, and so 100-continue sent, depends on what has arrived.
  std::string lower = bytes;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (lower.find("expect") == std::string::npos) require(answers == serve(bytes, whole));
  return 0;
}
