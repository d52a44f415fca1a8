#include "kyro/net/http2/session.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/http/http2_cases.h"
#include "test/support/http/http2_check.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

namespace h2 = test::h2;
using h2::Frame;

// Answers every request that has come whole, but for those of /v1/subscribe, which stay open.
class Answering final : public Http2Events {
 public:
  void on_head(Http2Stream& stream, const Http2Head& head, bool ends) override {
    seen += std::to_string(stream.id) + " " + std::string(head.method()) + " " +
            std::string(head.path()) + " " + std::string(head.host()) + "\n";
    head.for_each_field([this](std::string_view name, std::string_view value) {
      seen.append(name).append(": ").append(value).append("\r\n");
    });
    if (head.is_too_large()) return answer(stream, 431);
    if (ends && head.path() != "/v1/subscribe") answer(stream, 200);
  }
  void on_body(Http2Stream& stream, std::string_view piece, bool ends) override {
    seen += std::to_string(stream.id) + " body " + std::to_string(piece.size()) + "\n";
    if (returns_windows) session->return_window(stream, static_cast<uint32_t>(piece.size()), *out);
    if (ends) answer(stream, 200);
  }
  void on_reset(Http2Stream& stream) override { seen += std::to_string(stream.id) + " reset\n"; }
  void on_window() override {}
  void on_pong() override {}
  void on_refusal(const Http2Refusal&) override {}

  void answer(Http2Stream& stream, int status) {
    session->send_fields(stream, false, *out, [&](HpackEncoder& encoder, std::string& block) {
      encoder.append(block, ":status", std::to_string(status), HpackEncoder::Repeats::kYes);
      encoder.append(block, "content-type", "text/plain", HpackEncoder::Repeats::kYes);
    });
    const std::string_view body = "fine";
    const size_t n = std::min(session->sendable(stream), body.size());
    session->send_data(stream, body.substr(0, n), true, *out);
  }

  Http2Session* session = nullptr;
  std::string* out = nullptr;
  bool returns_windows = true;
  std::string seen;
};

struct Talk {
  Talk() { events.session = &session, events.out = &out; }
  // Gives what is there, as a socket would: what was not taken comes again with the next.
  void receive(std::string_view bytes) {
    left.append(bytes);
    const test::GuardedBytes guarded(left);
    left.erase(0, session.receive(guarded.view(), now_ms, out));
  }
  void greet() { receive(std::string(h2::kPreface) + h2::settings()); }

  Answering events;
  Http2StreamPool pool;
  Http2Session session{events, pool};
  std::string out;
  std::string left;
  uint64_t now_ms = 1'000'000;
};

TEST_CASE("what RFC 9113 wants is what the session says") {
  for (const h2::Case& test_case : h2::all_cases()) {
    INFO(test_case.name);
    Talk connection;
    connection.greet();
    connection.receive(test_case.bytes + h2::ping(h2::kLastPing));
    h2::check_answers(h2::frames_of(connection.out), test_case.expected);
  }
}

TEST_CASE("however a connection's bytes are split, the session sees and says the same") {
  const uint64_t seed = test::test_seed(9113);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (const h2::Case& test_case : h2::all_cases()) {
    INFO(test_case.name);
    const std::string bytes = std::string(h2::kPreface) + h2::settings() + test_case.bytes;
    Talk whole;
    whole.receive(bytes);
    const size_t step = bytes.size() > 4000 ? 997 : 1;
    Talk split;
    for (size_t at = 0; at < bytes.size(); at += step) {
      split.receive(std::string_view(bytes).substr(at, step));
    }
    REQUIRE(split.out == whole.out);
    REQUIRE(split.events.seen == whole.events.seen);
    Talk random_split;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = 1 + random() % std::min<size_t>(bytes.size(), 5000);
      random_split.receive(std::string_view(bytes).substr(at, n));
      at += n;
    }
    REQUIRE(random_split.out == whole.out);
  }
}

TEST_CASE("a connection that does not begin with the preface and SETTINGS ends") {
  for (const std::string& bytes :
       {std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string(h2::kPreface) + h2::ping(), std::string(h2::kPreface) + h2::request(1),
        std::string(h2::kPreface) + h2::settings({}, h2::kAck),
        std::string(h2::kPreface) + h2::frame(0xAA, 0, 0, "")}) {
    Talk connection;
    connection.receive(bytes);
    CHECK(connection.session.failed());
    CHECK(connection.session.error() == Http2Error::kProtocolError);
    CHECK_FALSE(connection.session.is_open());
  }
  Talk whole;
  whole.receive(h2::kPreface);
  CHECK_FALSE(whole.session.failed());
  CHECK_FALSE(whole.session.is_open());
  whole.receive(h2::settings());
  CHECK(whole.session.is_open());
  const auto frames = h2::frames_of(whole.out);
  REQUIRE(frames.size() == 3);
  CHECK(frames[0].type == h2::kSettings);
  CHECK(frames[1].type == h2::kWindowUpdate);
  CHECK(frames[2].flags == h2::kAck);
}

TEST_CASE("a request's fields arrive as they were sent") {
  Talk connection;
  connection.greet();
  connection.receive(h2::headers(1, h2::with(h2::request_fields("GET", "/v1/kv/1?a=b"),
                                             {{"x-one", "1"}, {"x-two", "two words"}})));
  CHECK(connection.events.seen == "1 GET /v1/kv/1?a=b localhost\nx-one: 1\r\nx-two: two words\r\n");
}

TEST_CASE("a header block that comes again means the same, until the table has changed") {
  using std::string_literals::operator""s;
  const std::string fields = "\x82\x86\x41\x09localhost"s;  // :authority becomes an entry
  const std::string path =
      "\x04\x07/health\x0F\x0D\x01"
      "0"s;  // not indexed, content-length too
  const auto head = [](uint32_t stream, const std::string& block) {
    return h2::frame(h2::kHeaders, h2::kEndHeaders | h2::kEndStream, stream, block);
  };
  const std::string repeats = "\x82\x86\x04\x02/a\xBE"s;
  Talk connection;
  connection.greet();
  connection.receive(head(1, fields + path));
  for (uint32_t stream = 3; stream < 9; stream += 2) connection.receive(head(stream, repeats));
  CHECK(connection.events.seen ==
        "1 GET /health localhost\ncontent-length: 0\r\n3 GET /a localhost\n5 GET /a localhost\n"
        "7 GET /a localhost\n");
  // Another entry in front: the same bytes now say something that is no host.
  connection.events.seen.clear();
  connection.receive(head(9, "\x82\x86\x84\x40\x01x\x01y"s) + head(11, repeats));
  CHECK(connection.events.seen == "9 GET / \nx: y\r\n11 GET /a \nx: y\r\n");
  // What is malformed is so each time, and so is a request with the length of a body it has not.
  const std::string malformed = "\x82\x86"s;
  const std::string bodiless =
      "\x82\x86\x84\x0F\x0D\x01"
      "7"s;
  connection.out.clear();
  for (uint32_t stream = 13; stream < 21; stream += 2) {
    connection.receive(head(stream, stream < 17 ? malformed : bodiless));
  }
  int resets = 0;
  for (const Frame& frame : h2::frames_of(connection.out)) {
    resets += frame.type == h2::kRstStream && frame.number_at(0) == h2::kProtocolError ? 1 : 0;
  }
  CHECK(resets == 4);
}

TEST_CASE("a list of fields over its bound is answered with 431, one far over it ends all") {
  const std::string name(60, 'n');
  h2::Fields fields = h2::request_fields();
  for (int i = 0; i < 400; ++i) fields.emplace_back(name + std::to_string(i), "v");
  std::string block = h2::block(fields);
  Talk connection;
  connection.greet();
  std::string bytes;
  uint8_t type = h2::kHeaders;
  for (size_t at = 0; at < block.size(); at += 16000) {
    const bool is_last = at + 16000 >= block.size();
    bytes += h2::frame(
        type, (type == h2::kHeaders ? h2::kEndStream : 0) | (is_last ? h2::kEndHeaders : 0), 1,
        std::string_view(block).substr(at, 16000));
    type = h2::kContinuation;
  }
  connection.receive(bytes);
  CHECK(connection.events.seen.starts_with("1 GET /health"));
  CHECK(connection.events.seen.size() < Http2Head::kListBytesMax + 200);
  const auto frames = h2::frames_of(connection.out);
  CHECK(std::any_of(frames.begin(), frames.end(), [](const Frame& f) {
    return f.type == h2::kHeaders && f.payload.find("431") != f.payload.npos;
  }));

  // One entry of 4,000 bytes in the table, asked for again and again by one byte.
  Talk bomb;
  bomb.greet();
  std::string entry = h2::block(h2::request_fields());
  entry += std::string("\x40\x01x\x7f\xA1\x1e", 6) + std::string(127 + 0x21 + 30 * 128, 'v');
  entry += std::string(40, '\xBE');
  bomb.receive(h2::frame(h2::kHeaders, h2::kEndHeaders | h2::kEndStream, 1, entry));
  CHECK(bomb.session.failed());
  CHECK(bomb.session.error() == Http2Error::kEnhanceYourCalm);
}

TEST_CASE("frames that are no work are allowed now and then, not in floods") {
  using std::string_literals::operator""s;
  const std::map<std::string, std::string> floods = {
      {"PING", h2::ping()},
      {"acknowledged PING", h2::ping("12345678", h2::kAck)},
      {"SETTINGS", h2::settings()},
      {"acknowledged SETTINGS", h2::settings({}, h2::kAck)},
      {"PRIORITY", h2::priority(1, 0)},
      {"small windows", h2::window_update(0, 1)},
      {"small windows of a stream", h2::window_update(1, 1)},
      {"empty DATA", h2::data(1, "")},
      {"padded empty DATA", h2::data(1, "\x01\x00"s, h2::kPadded)},
      {"unknown frames", h2::frame(0xCC, 0, 0, "")},
      {"GOAWAY", h2::frame(h2::kGoaway, 0, 0, h2::be(0, 8))},
      {"RST_STREAM of what is closed", h2::rst_stream(3)},
  };
  for (const auto& [name, bytes] : floods) {
    INFO(name);
    Talk connection;
    connection.greet();
    connection.receive(h2::open_request(1) + h2::request(3));
    int taken = 0;
    for (; taken < 100'000 && !connection.session.failed(); ++taken) {
      connection.out.clear();
      connection.receive(bytes);
    }
    CHECK(connection.session.failed());
    CHECK(connection.session.error() == Http2Error::kEnhanceYourCalm);
    CHECK(taken > 400);
    CHECK(taken < 3000);
    // The same with a pause now and then goes on for ever.
    Talk slow;
    slow.greet();
    slow.receive(h2::open_request(1) + h2::request(3));
    for (int i = 0; i < 20'000; ++i) {
      if (i % 40 == 0) slow.now_ms += 1000;
      slow.receive(bytes);
    }
    CHECK_FALSE(slow.session.failed());
  }
}

TEST_CASE("streams that are opened and reset are too much soon, streams that end never are") {
  Talk rapid;
  rapid.greet();
  uint32_t stream = 1;
  for (; stream < 4000 && !rapid.session.failed(); stream += 2) {
    rapid.receive(h2::headers(stream, h2::request_fields("GET", "/v1/subscribe")) +
                  h2::rst_stream(stream));
  }
  CHECK(rapid.session.error() == Http2Error::kEnhanceYourCalm);
  CHECK(stream / 2 > 80);
  CHECK(stream / 2 < 200);
  Talk malformed;  // we reset them: the same work for us
  malformed.greet();
  for (stream = 1; stream < 4000 && !malformed.session.failed(); stream += 2) {
    malformed.receive(h2::headers(stream, {{":method", "GET"}}));
  }
  CHECK(malformed.session.error() == Http2Error::kEnhanceYourCalm);
  Talk useful;
  useful.greet();
  for (stream = 1; stream < 200'000; stream += 2) {
    useful.out.clear();
    useful.receive(h2::request(stream) + h2::ping());
  }
  CHECK_FALSE(useful.session.failed());
}

TEST_CASE("windows are given back as bodies are dealt with, and hold back who is not") {
  Talk eager;
  eager.greet();
  eager.receive(h2::open_request(1));
  for (int i = 0; i < 200; ++i) eager.receive(h2::data(1, std::string(16384, 'x')));
  CHECK_FALSE(eager.session.failed());
  uint64_t stream_bytes = 0;
  uint64_t connection_bytes = 0;
  for (const Frame& frame : h2::frames_of(eager.out)) {
    if (frame.type != h2::kWindowUpdate) continue;
    (frame.stream == 0 ? connection_bytes : stream_bytes) += frame.number_at(0);
  }
  CHECK(stream_bytes > 200 * 16384 - Http2Session::kStreamWindow);
  CHECK(connection_bytes > 200 * 16384 - Http2Session::kConnectionWindow);

  Talk reluctant;
  reluctant.events.returns_windows = false;
  reluctant.greet();
  reluctant.receive(h2::open_request(1) + h2::open_request(3));
  for (int i = 0; i < 16; ++i) reluctant.receive(h2::data(1, std::string(16384, 'x')));
  reluctant.receive(h2::data(3, "{}", h2::kEndStream));  // another stream is not held back
  CHECK(reluctant.events.seen.find("3 body 2") != std::string::npos);
  reluctant.receive(h2::data(1, "x"));
  CHECK(reluctant.events.seen.ends_with("1 reset\n"));
}

TEST_CASE("nothing is sent beyond the peer's windows") {
  Talk connection;
  connection.receive(std::string(h2::kPreface) + h2::settings(h2::setting(4, 10)));
  connection.receive(h2::headers(1, h2::request_fields("GET", "/v1/subscribe")));
  Http2Stream* const stream = connection.session.streams().find(1);
  REQUIRE(stream != nullptr);
  CHECK(connection.session.sendable(*stream) == 10);
  connection.receive(h2::window_update(1, 5));
  CHECK(connection.session.sendable(*stream) == 15);
  connection.session.send_data(*stream, std::string(15, 'x'), false, connection.out);
  CHECK(connection.session.sendable(*stream) == 0);
  connection.receive(h2::settings(h2::setting(4, 5)));
  CHECK(connection.session.sendable(*stream) == 0);
  connection.receive(h2::window_update(1, 100'000));
  CHECK(connection.session.sendable(*stream) == kFrameBytesMax);
  size_t sent = 15;
  while (const size_t n = connection.session.sendable(*stream)) {
    connection.session.send_data(*stream, std::string(n, 'x'), false, connection.out);
    sent += n;
  }
  CHECK(sent == kDefaultWindow);  // the connection's
  connection.receive(h2::window_update(0, 7));
  CHECK(connection.session.sendable(*stream) == 7);
}

TEST_CASE("a shutdown takes what was under way and nothing after it") {
  Talk connection;
  connection.greet();
  connection.receive(h2::open_request(1));
  connection.out.clear();
  connection.session.announce_shutdown(connection.out);
  connection.receive(h2::request(3));  // was under way
  connection.session.finish_shutdown(connection.out);
  connection.receive(h2::request(5) + h2::data(1, "{}", h2::kEndStream));
  std::vector<uint32_t> last_streams;
  bool answered[6] = {};
  for (const Frame& frame : h2::frames_of(connection.out)) {
    if (frame.type == h2::kGoaway) last_streams.push_back(frame.number_at(0));
    if (frame.type == h2::kHeaders) answered[frame.stream] = true;
  }
  CHECK(last_streams == std::vector<uint32_t>{0x7FFFFFFF, 3});
  CHECK(answered[1]);
  CHECK(answered[3]);
  CHECK_FALSE(answered[5]);
  CHECK_FALSE(connection.session.failed());
}

TEST_CASE("an answer before its request has ended tells the client to stop, without blame") {
  Talk connection;
  connection.greet();
  connection.receive(h2::open_request(1));
  connection.events.answer(*connection.session.streams().find(1), 413);
  connection.receive(h2::data(1, "late") + h2::ping(h2::kLastPing));
  const auto frames = h2::frames_of(connection.out);
  const auto reset = std::find_if(frames.begin(), frames.end(),
                                  [](const Frame& f) { return f.type == h2::kRstStream; });
  REQUIRE(reset != frames.end());
  CHECK(reset->number_at(0) == h2::kNoError);
  CHECK(frames.back().payload == "last one");
}

TEST_CASE("a connection that idles holds little memory") {
  CHECK(sizeof(Http2Session) < 1024);
  CHECK(sizeof(Http2Stream) <= 40);
}

}  // namespace
}  // namespace kyro
