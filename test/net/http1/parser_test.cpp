#include "kyro/net/http1/parser.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/http/http_cases.h"
#include "test/support/http/http_chunk_cases.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

using Outcome = HttpParser::Outcome;
using std::string_literals::operator""s;
using test::get_with;
using test::line_with_host;

// What a parse came to, in values that outlive the buffer.
struct Seen {
  int status = -1;  // -1 incomplete, 0 complete, else the error's status
  size_t head_bytes = 0;
  std::string text;

  bool operator==(const Seen& other) const {
    return status == other.status && head_bytes == other.head_bytes && text == other.text;
  }
};

std::string describe(const HttpRequest& request, const Http1Frame& frame) {
  std::string text;
  for (const std::string_view part :
       {request.method_text, request.target, request.path, request.query, request.host}) {
    text.append(part).append("|");
  }
  for (const HeaderField& field : request.fields) {
    text.append(field.name).append(":").append(field.value).append("|");
  }
  text.append(std::to_string(frame.version_minor)).append(request.has_query ? "?" : "-");
  text.append(request.has_open_length ? "chunked" : std::to_string(request.content_length));
  text.append(request.has_content_length ? "length" : "");
  text.append(frame.keep_alive ? "keep" : "close").append(frame.expect_continue ? "expect" : "");
  text.append(std::to_string(static_cast<int>(request.method)));
  return text;
}

// Feeds the prefixes that end at each of `ends` (rising, the last is the whole).
Seen parse_at(std::string_view bytes, const std::vector<size_t>& ends,
              const HttpLimits& limits = {}, FieldMemory* known = nullptr) {
  HttpParser parser(limits, known);
  HttpRequest request;
  Http1Frame frame;
  for (const size_t end : ends) {
    switch (parser.parse(bytes.substr(0, end), &request, &frame)) {
      case Outcome::kNeedMore:
        continue;
      case Outcome::kError:
        return Seen{parser.error().status, 0, parser.error().message};
      case Outcome::kComplete:
        return Seen{0, frame.head_bytes, describe(request, frame)};
    }
  }
  return Seen{};
}

// Parses in one piece, in two pieces at every byte, byte by byte, against guard pages on both
// sides, and with the memory of what the other cases and itself looked like; all must agree.
Seen parse_every_way(const std::string& bytes) {
  const Seen whole = parse_at(bytes, {bytes.size()});
  for (size_t split = 0; split < bytes.size(); ++split) {
    INFO("split at " << split);
    const Seen seen = parse_at(bytes, {split, bytes.size()});
    CHECK((seen == whole));
    if (!(seen == whole)) break;
  }
  std::vector<size_t> each;
  for (size_t end = 0; end <= bytes.size(); ++end) each.push_back(end);
  test::GuardedBytes behind(bytes, test::GuardedBytes::Guard::kBehind);
  test::GuardedBytes before(bytes, test::GuardedBytes::Guard::kBefore);
  CHECK((parse_at(behind.view(), each) == whole));
  CHECK((parse_at(before.view(), {bytes.size()}) == whole));
  static FieldMemory known;
  for (int time = 0; time < 2; ++time) {
    CHECK((parse_at(before.view(), {bytes.size()}, {}, &known) == whole));
    CHECK((parse_at(behind.view(), each, {}, &known) == whole));
  }
  // A prefix of its own, so that a read past what has arrived is seen.
  for (size_t end = 0; end < bytes.size(); end += 1 + bytes.size() / 40) {
    test::GuardedBytes prefix(std::string_view(bytes).substr(0, end));
    static_cast<void>(parse_at(prefix.view(), {end}));
  }
  return whole;
}

void run(const std::vector<test::HttpCase>& cases) {
  for (const test::HttpCase& one : cases) {
    INFO(one.name);
    INFO(one.bytes);
    const Seen seen = parse_every_way(one.bytes);
    INFO(seen.text);
    CHECK(seen.status == one.status);
    if (seen.status == 0) CHECK(seen.head_bytes == one.bytes.size());
  }
}

TEST_CASE("request lines are taken or refused as RFC 9112 section 3 says") {
  run(test::request_line_cases());
}

TEST_CASE("empty lines before a request are overlooked only if they are few and exact") {
  run(test::leading_line_cases());
}

TEST_CASE("line ends other than CRLF are refused wherever they stand") {
  run(test::line_end_cases());
}

TEST_CASE("targets are RFC 3986 or refused") {
  run(test::target_cases());
}

TEST_CASE("every byte is allowed in a target exactly if RFC 3986 lists it") {
  const std::string allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/?";
  for (int c = 0; c < 256; ++c) {
    if (c == ' ') continue;  // ends the target
    INFO("byte " << c);
    const auto byte = static_cast<char>(c);
    const bool good = allowed.find(byte) != std::string::npos;
    const std::string bytes = line_with_host(std::string("GET /a") + byte + "b HTTP/1.1");
    CHECK(parse_every_way(bytes).status == (good ? 0 : 400));
  }
}

TEST_CASE("every byte is allowed in a field name exactly if it is a token character") {
  const std::string allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";
  for (int c = 0; c < 256; ++c) {
    if (c == ':') continue;  // ends the name
    INFO("byte " << c);
    const auto byte = static_cast<char>(c);
    const bool good = allowed.find(byte) != std::string::npos;
    CHECK(parse_every_way(get_with(std::string("X") + byte + "Y: v\r\n")).status ==
          (good ? 0 : 400));
    CHECK(parse_every_way(get_with(std::string(1, byte) + ": v\r\n")).status == (good ? 0 : 400));
  }
}

TEST_CASE("every byte but control characters is allowed in a field value") {
  for (int c = 0; c < 256; ++c) {
    INFO("byte " << c);
    const bool good = (c >= 0x20 && c != 0x7F) || c == '\t';
    const std::string value = std::string("a") + static_cast<char>(c) + "b";
    CHECK(parse_every_way(get_with("X: " + value + "\r\n")).status == (good ? 0 : 400));
  }
}

TEST_CASE("header fields are taken or refused as RFC 9112 section 5 says") {
  run(test::field_cases());
}

TEST_CASE("the host must be one and valid") {
  run(test::host_cases());
}

TEST_CASE("content-length is one plain number or refused") {
  run(test::content_length_cases());
}

TEST_CASE("transfer-encoding is chunked alone or refused") {
  run(test::transfer_encoding_cases());
}

TEST_CASE("expectations other than 100-continue are refused") {
  run(test::expect_cases());
}

struct Parsed {
  HttpRequest request;
  Http1Frame frame;
};

Parsed accepted(const std::string& bytes) {
  HttpParser parser;
  Parsed parsed;
  REQUIRE(parser.parse(bytes, &parsed.request, &parsed.frame) == Outcome::kComplete);
  return parsed;
}

TEST_CASE("a parsed request says what was asked") {
  const std::string bytes =
      "PUT /v1/kv/7?ttl=3 HTTP/1.1\r\nHost: a:80\r\nX-A:  1 \r\nx-a: 2\r\nContent-Length: 3\r\n"
      "Expect: 100-continue\r\n\r\nabc";
  const auto [request, frame] = accepted(bytes);
  CHECK(request.method == Method::kPut);
  CHECK(request.method_text == "PUT");
  CHECK(request.target == "/v1/kv/7?ttl=3");
  CHECK(request.path == "/v1/kv/7");
  CHECK(request.has_query);
  CHECK(request.query == "ttl=3");
  CHECK(request.host == "a:80");
  CHECK(request.content_length == 3);
  CHECK(request.has_content_length);
  CHECK(frame.expect_continue);
  CHECK(frame.keep_alive);
  CHECK(request.header("x-a") == "1");
  CHECK(request.header("host") == "a:80");
  CHECK_FALSE(request.header("x-b").has_value());
  std::vector<std::string> values;
  for (const HeaderField& field : request.fields) {
    if (field.is("x-a")) values.emplace_back(field.value);
  }
  CHECK(values == std::vector<std::string>{"1", "2"});
}

TEST_CASE("an absolute target replaces the host and may lack a path") {
  const std::string absolute = line_with_host("GET http://b:1?q=2 HTTP/1.1");
  const HttpRequest request = accepted(absolute).request;
  CHECK(request.host == "b:1");
  CHECK(request.path == "/");
  CHECK(request.query == "q=2");
  const std::string options = line_with_host("OPTIONS http://b HTTP/1.1");
  CHECK(accepted(options).request.path == "*");
}

TEST_CASE("persistence follows version and connection options") {
  const auto keeps = [](const std::string& version, const std::string& fields) {
    const std::string bytes = "GET / HTTP/" + version + "\r\nHost: a\r\n" + fields + "\r\n";
    return accepted(bytes).frame.keep_alive;
  };
  CHECK(keeps("1.1", ""));
  CHECK_FALSE(keeps("1.1", "Connection: close\r\n"));
  CHECK_FALSE(keeps("1.1", "Connection: CLOSE\r\n"));
  CHECK_FALSE(keeps("1.1", "Connection: foo, close ,bar\r\n"));
  CHECK_FALSE(keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
  CHECK(keeps("1.1", "Connection: closed\r\n"));
  CHECK(keeps("1.1", "Connection:\r\n"));
  CHECK_FALSE(keeps("1.0", ""));
  CHECK(keeps("1.0", "Connection: keep-alive\r\n"));
  CHECK(keeps("1.0", "Connection: Keep-Alive, x\r\n"));
  CHECK_FALSE(keeps("1.0", "Connection: keep-alive, close\r\n"));
}

TEST_CASE("nothing after the head is looked at") {
  const std::string bytes = line_with_host("GET / HTTP/1.1");
  const std::string more = bytes + "\0\n\xFFgarbage"s;
  CHECK(parse_at(more, {more.size()}).head_bytes == bytes.size());
}

// Around a limit the outcome may not depend on the split either; checked with tiny limits.
TEST_CASE("limits hold at the same byte for every split") {
  HttpLimits limits;
  limits.request_line_bytes_max = 20;
  limits.header_bytes_max = 30;
  limits.fields_max = 3;
  const auto outcome = [&](const std::string& bytes) {
    const Seen whole = parse_at(bytes, {bytes.size()}, limits);
    for (size_t split = 0; split < bytes.size(); ++split) {
      INFO("split at " << split << " of " << bytes);
      CHECK((parse_at(bytes, {split, bytes.size()}, limits) == whole));
    }
    std::vector<size_t> each;
    for (size_t end = 0; end <= bytes.size(); ++end) each.push_back(end);
    CHECK((parse_at(bytes, each, limits) == whole));
    return whole.status;
  };
  for (size_t path = 1; path < 40; ++path) {
    const std::string line = "GET /" + std::string(path - 1, 'a') + " HTTP/1.1";
    CHECK(outcome(line + "\r\nHost: a\r\n\r\n") == (line.size() < 20 ? 0 : 414));
    CHECK(outcome(line + "\x01\r\nHost: a\r\n\r\n") == (line.size() < 20 ? 400 : 414));
  }
  for (size_t value = 0; value < 40; ++value) {
    const std::string block = "Host: a\r\nB: " + std::string(value, 'b') + "\r\n";
    CHECK(outcome("GET / HTTP/1.1\r\n" + block + "\r\n") == (block.size() < 30 ? 0 : 431));
  }
  CHECK(outcome("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\n\r\n") == 0);
  CHECK(outcome("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:\r\n\r\n") == 431);
}

TEST_CASE("what must be accepted and refused by size is, with the limits of the server") {
  const auto status = [](const std::string& bytes) {
    return parse_at(bytes, {bytes.size()}).status;
  };
  CHECK(status(line_with_host("GET /" + std::string(8000 - 14, 'a') + " HTTP/1.1")) == 0);
  CHECK(status("GET /" + std::string(64 * 1024, 'a')) == 414);
  std::string sixty = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 60; ++i) {
    sixty += "X-Field-" + std::to_string(i) + ": " + std::string(90, 'v') + "\r\n";
  }
  CHECK(status(sixty + "\r\n") == 0);
  std::string five_thousand = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 5000; ++i) five_thousand += "A:b\r\n";
  CHECK(status(five_thousand + "\r\n") == 431);
  CHECK(status("GET / HTTP/1.1\r\nHost: a\r\nA: " + std::string(100 * 1024, 'b')) == 431);
}

TEST_CASE("random mutations of a request give the same outcome for every split") {
  const uint64_t seed = test::test_seed(20260101);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const std::string base =
      "POST http://h:1/a%20b?c=d HTTP/1.1\r\nHost: h:1\r\nContent-Length: 12\r\nExpect: "
      "100-continue\r\nConnection: close\r\nAccept: */*\r\n\r\n";
  const std::string alphabet = "\r\n \t:,/?%#0aA\0\x7F\x80\""s;
  for (int round = 0; round < 400; ++round) {
    std::string bytes = base;
    const auto edits = 1 + random() % 3;
    for (uint64_t edit = 0; edit < edits; ++edit) {
      const size_t at = random() % bytes.size();
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 3) {
        case 0:
          bytes[at] = c;
          break;
        case 1:
          bytes.insert(at, 1, c);
          break;
        default:
          bytes.erase(at, 1);
          break;
      }
    }
    INFO(bytes);
    parse_every_way(bytes);
  }
}

TEST_CASE("the fast scans for control characters agree with the byte loop") {
  const uint64_t seed = test::test_seed(7);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (size_t size = 0; size < 70; ++size) {
    for (int round = 0; round < 200; ++round) {
      std::string bytes(size, 'a');
      for (char& c : bytes) c = static_cast<char>(0x20 + random() % 0x5F);
      if (size > 0 && round % 4 != 0) bytes[random() % size] = static_cast<char>(random() % 256);
      if (size > 0 && round % 4 > 1) bytes[random() % size] = round % 4 == 2 ? '\t' : '\x7F';
      test::GuardedBytes guarded(bytes);
      const char* const from = guarded.view().data();
      const char* const expected = http_chars::find_control_bytewise(from, from + size);
      REQUIRE(http_chars::find_control(from, from + size) == expected);
      REQUIRE(http_chars::find_control_portable(from, from + size) == expected);
    }
  }
}

struct Decoded {
  int status = -1;  // -1 incomplete, 0 done
  std::string data;
  size_t rest = 0;
  bool operator==(const Decoded& other) const {
    return status == other.status && data == other.data && rest == other.rest;
  }
};

Decoded decode(std::string_view bytes, const std::vector<size_t>& cuts) {
  ChunkedDecoder decoder;
  Decoded decoded;
  size_t from = 0;
  std::vector<size_t> ends = cuts;
  ends.push_back(bytes.size());
  for (const size_t end : ends) {
    std::string_view piece = bytes.substr(from, end - from);
    from = end;
    std::string_view data;
    while (true) {
      const ChunkedDecoder::Outcome outcome = decoder.next(piece, data);
      if (outcome == ChunkedDecoder::Outcome::kData) {
        decoded.data.append(data);
        continue;
      }
      if (outcome == ChunkedDecoder::Outcome::kNeedMore) break;
      decoded.status = outcome == ChunkedDecoder::Outcome::kDone ? 0 : int{decoder.error().status};
      decoded.rest =
          outcome == ChunkedDecoder::Outcome::kDone ? piece.size() + bytes.size() - end : 0;
      return decoded;
    }
  }
  return decoded;
}

Decoded decode_every_way(const std::string& bytes) {
  const Decoded whole = decode(bytes, {});
  std::vector<size_t> each;
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    each.push_back(cut);
    INFO("split at " << cut);
    CHECK((decode(bytes, {cut}) == whole));
  }
  test::GuardedBytes behind(bytes, test::GuardedBytes::Guard::kBehind);
  test::GuardedBytes before(bytes, test::GuardedBytes::Guard::kBefore);
  CHECK((decode(behind.view(), each) == whole));
  CHECK((decode(before.view(), {}) == whole));
  return whole;
}

TEST_CASE("chunked bodies are decoded or refused as RFC 9112 section 7.1 says") {
  for (const test::ChunkCase& one : test::chunk_cases()) {
    INFO(one.name);
    const bool large = one.bytes.size() > 1000;
    const Decoded decoded = large ? decode(one.bytes, {}) : decode_every_way(one.bytes);
    CHECK(decoded.status == one.status);
    CHECK(decoded.data == one.data);
    if (one.status == 0) {
      CHECK(decoded.rest == 0);
      CHECK(decode_every_way(one.bytes + "GET /").rest == 5);
    }
  }
}

TEST_CASE("extensions are bounded over all chunks together") {
  std::string bytes;
  for (int i = 0; i < 40; ++i) bytes += "1;" + std::string(1000, 'a') + "\r\nx\r\n";
  CHECK(decode(bytes + "0\r\n\r\n", {}).status == 400);
  std::string many;
  for (int i = 0; i < 40; ++i) many += "1;" + std::string(100, 'a') + "\r\nx\r\n";
  CHECK(decode(many + "0\r\n\r\n", {}).data == std::string(40, 'x'));
}

}  // namespace
}  // namespace kyro
