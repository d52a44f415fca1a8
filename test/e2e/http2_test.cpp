// HTTP/2 of the program, over TCP, with bytes of our own.
#include <poll.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/http/http2_cases.h"
#include "test/support/http/http2_check.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// A socket that says the preface and SETTINGS, and takes apart what comes.
class Wire {
 public:
  explicit Wire(const ServerProcess& server) : client_(server.endpoint()) {
    REQUIRE(client_.connect().ok());
    say(std::string(h2::kPreface) + h2::settings());
  }
  void say(std::string_view bytes) {
    if (client_.connected()) static_cast<void>(client_.send_raw(bytes));
  }
  // Asks with a PING, and reads until the answer or the end.
  void ping(std::string_view payload) {
    say(h2::ping(payload));
    const auto ends = [payload](const h2::Frame& frame) {
      return frame.type == h2::kGoaway || (frame.type == h2::kPing && frame.payload == payload);
    };
    while (!closed_ && std::none_of(frames.begin(), frames.end(), ends)) read();
  }

  std::vector<h2::Frame> frames;

 private:
  void read() {
    pollfd waiting{client_.fd(), POLLIN, 0};
    char piece[16384];
    REQUIRE(poll(&waiting, 1, 20000) == 1);
    const ssize_t n = recv(client_.fd(), piece, sizeof piece, 0);
    if (n <= 0) {
      closed_ = true;
      return;
    }
    got_.append(piece, static_cast<size_t>(n));
    for (h2::Frame& frame : h2::frames_of(got_)) {
      got_.erase(0, 9 + frame.payload.size());
      frames.push_back(std::move(frame));
    }
  }

  HttpClient client_;
  std::string got_;
  bool closed_ = false;
};

}  // namespace

TEST_CASE("Over TCP, too, HTTP/2 is spoken as RFC 9113 says", "[e2e]") {
  Served s;
  const auto cases = h2::all_cases();
  REQUIRE(cases.size() >= 250);
  for (const h2::Case& test_case : cases) {
    INFO(test_case.name);
    Wire wire(s.server);
    // What the late frames of a stream mean depends on whether it has been answered by then.
    size_t begin = 0;
    size_t end = 0;
    uint32_t steps = 0;
    for (const h2::Frame& frame : h2::frames_of(test_case.bytes)) {
      end += 9 + frame.payload.size();
      const bool is_request = frame.type == h2::kData ||
                              (frame.type == h2::kHeaders && (frame.flags & h2::kEndHeaders) != 0);
      if (!is_request || (frame.flags & h2::kEndStream) == 0) continue;
      wire.say(std::string_view(test_case.bytes).substr(begin, end - begin));
      wire.ping("step" + h2::be(steps++, 4));
      begin = end;
    }
    wire.say(std::string_view(test_case.bytes).substr(begin));
    wire.ping(h2::kLastPing);
    h2::check_answers(wire.frames, test_case.expected);
  }
  CHECK(s.client.get("/health").status == 200);
  CHECK(s.client.metric("kyrodb_http_rejected_total{reason=\"protocol_error\"}") != "0");
}

TEST_CASE("An idle HTTP/2 connection takes 2 KiB, a stream that waits for its body 512 bytes",
          "[e2e]") {
  if (kSanitized) {
    WARN("a sanitizer's memory is not ours: not measured");
    return;
  }
  constexpr size_t kConnections = 400;
  constexpr size_t kStreams = 100;
  Served s({"--threads", "1"});
  const auto anonymous_bytes = [&s] {
    std::ifstream status("/proc/" + std::to_string(s.server.process().pid()) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssAnon:")) return std::stod(line.substr(8)) * 1024;
    }
    return -1.0;
  };
  std::vector<std::unique_ptr<Wire>> wires;
  const auto open = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) {
      wires.push_back(std::make_unique<Wire>(s.server));
      wires.back()->say(h2::request(1));
      wires.back()->ping("answered");
    }
  };
  open(100);  // what is made once
  const double before = anonymous_bytes();
  open(kConnections);
  const double with_connections = anonymous_bytes();
  CHECK((with_connections - before) / kConnections <= 2048);
  std::string heads;
  for (uint32_t i = 0; i < kStreams; ++i) heads += h2::open_request(3 + 2 * i);
  for (size_t i = 0; i < 100; ++i) {
    wires[i]->say(heads);
    wires[i]->ping("havecome");
  }
  CHECK((anonymous_bytes() - with_connections) / (100 * kStreams) <= 512);
}
