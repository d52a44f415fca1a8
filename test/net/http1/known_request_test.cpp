// The memory of the last plain request: what is kept, what repeats it, and what never is kept.
// (That answers do not depend on it is tested with every case of http_parser_test.cpp, too.)
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "kyro/net/http1/parser.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

const std::string kVersion = " HTTP/1.1\r\n";
const std::string kFields = "Accept: a\r\nHost: h:1\r\nConnection: close\r\n\r\n";
constexpr uint64_t kNoted = 7;

std::string head_of(const std::string& line, const std::string& fields = kFields) {
  return line + kVersion + fields;
}

HttpRequest parse(const std::string& bytes, KnownRequest* known) {
  HttpParser parser(HttpLimits{}, known);
  HttpRequest request;
  INFO(bytes);
  REQUIRE(parser.parse(bytes, &request) == HttpParser::Outcome::kComplete);
  return request;
}

// Parses a request and notes something about it; true if that could be.
bool learn(const std::string& bytes, KnownRequest* known) {
  uint64_t* note = parse(bytes, known).note;
  if (note != nullptr) *note = kNoted;
  return note != nullptr;
}

bool is_repeated(const std::string& bytes, const KnownRequest& known) {
  const test::GuardedBytes guarded(bytes);
  KnownRequest::Repeat repeat;
  return known.is_repeated(guarded.view(), &repeat);
}

TEST_CASE("a request that repeats the last one but for its number means the same") {
  for (const std::string& before :
       {std::string("GET /v1/kv/"), std::string("HEAD /x-"), std::string("DELETE /a7b"),
        std::string("GET /v1/lookup?key="), std::string("GET /5?a=5&b="), std::string("GET /?"),
        std::string("GET http://other:80/v1/kv/"), std::string("OPTIONS /%41/")}) {
    KnownRequest known;
    REQUIRE(learn(head_of(before + "31"), &known));
    for (const uint64_t number : {uint64_t{0}, uint64_t{7}, uint64_t{99}, uint64_t{12345678},
                                  uint64_t{1234567890123456789}, UINT64_MAX}) {
      const std::string bytes = head_of(before + std::to_string(number));
      const HttpRequest plain = parse(bytes, nullptr);
      const HttpRequest request = parse(bytes, &known);
      REQUIRE(request.note != nullptr);
      CHECK(*request.note == kNoted);
      CHECK(request.number == number);
      CHECK(request.method == plain.method);
      CHECK(request.method_text == plain.method_text);
      CHECK(request.target == plain.target);
      CHECK(request.path == plain.path);
      CHECK(request.query == plain.query);
      CHECK(request.has_query == plain.has_query);
      CHECK(request.host == plain.host);
      CHECK(request.header_block == plain.header_block);
      CHECK(request.header("accept") == "a");
      CHECK_FALSE(request.keep_alive);
    }
  }
}

TEST_CASE("what differs in more than a plain number is parsed as if nothing were known") {
  const std::string known_line = "GET /v1/kv/31";
  for (const std::string& bytes :
       {head_of("GET /v1/kv/"), head_of("GET /v1/kv/01"), head_of("GET /v1/kv/00"),
        head_of("GET /v1/kv/1a"), head_of("GET /v1/kv/1/"), head_of("GET /v1/kv/1?"),
        head_of("GET /v1/kv/18446744073709551616"), head_of("GET /v1/kv/99999999999999999999"),
        head_of("GET /v1/kv/100000000000000000000"), head_of("GET /v1/kv/-1"),
        head_of("GET /v1/kv/%31"), head_of("HEAD /v1/kv/1"), head_of("GET /v1/kv//1"),
        "GET /v1/kv/1 HTTP/1.0\r\n" + kFields, head_of("GET /v1/kv/1", "Host: h:1\r\n\r\n"),
        head_of("GET /v1/kv/1", "X: y\r\n" + kFields)}) {
    INFO(bytes);
    KnownRequest known;
    REQUIRE(learn(head_of(known_line), &known));
    CHECK_FALSE(is_repeated(bytes, known));
    const HttpRequest request = parse(bytes, &known);
    CHECK((request.note == nullptr || *request.note == 0));
    CHECK(request.target == parse(bytes, nullptr).target);
  }
  // As long as something is missing nothing is repeated, and nothing outside is read.
  KnownRequest known;
  REQUIRE(learn(head_of(known_line), &known));
  const std::string whole = head_of("GET /v1/kv/12345678901234567890");
  for (size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(is_repeated(whole.substr(0, size), known));
  }
  CHECK(is_repeated(whole, known));
  CHECK(is_repeated(whole + "GET", known));
}

TEST_CASE("digits of an escape or an authority are no number") {
  KnownRequest known;
  CHECK_FALSE(learn(head_of("GET /a%41"), &known));
  CHECK_FALSE(is_repeated(head_of("GET /a%4"), known));
  CHECK_FALSE(learn(head_of("GET http://h:80"), &known));
  CHECK_FALSE(learn(head_of("OPTIONS *"), &known));
  CHECK_FALSE(learn(head_of("GET /"), &known));
  CHECK(learn(head_of("GET /a%411x1"), &known));
}

TEST_CASE("the fields of a plain request are known after another request line") {
  KnownRequest known;
  for (const std::string& line : {std::string("GET /v1/get_fast/1"), std::string("GET /a"),
                                  std::string("HEAD /x?y"), std::string("GET /longer/than/that")}) {
    const std::string bytes = head_of(line);
    const HttpRequest request = parse(bytes, &known);
    CHECK(request.host == "h:1");
    CHECK(request.header("accept") == "a");
    CHECK_FALSE(request.keep_alive);
  }
  // HTTP/1.0 means other things by the same fields.
  parse(head_of("GET /", "Host: h\r\nConnection: x\r\n\r\n"), &known);
  CHECK_FALSE(parse("GET / HTTP/1.0\r\nHost: h\r\nConnection: x\r\n\r\n", &known).keep_alive);
}

TEST_CASE("fields that speak of a body, or are long, are not kept") {
  for (const std::string& fields :
       {std::string("Host: h\r\nContent-Length: 0\r\n\r\n"),
        std::string("Host: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
        std::string("Host: h\r\nExpect: 100-continue\r\n\r\n"),
        "Host: h\r\nA: " + std::string(KnownRequest::kBytesMax, 'a') + "\r\n\r\n"}) {
    KnownRequest known;
    CHECK_FALSE(learn(head_of("GET /1", fields), &known));
    HeadParts parts;
    CHECK_FALSE(known.has_known_fields(fields, &parts));
  }
  KnownRequest known;
  CHECK_FALSE(learn("GET /1 HTTP/1.0\r\n\r\n", &known));
}

TEST_CASE("a line that another number would make too long is not kept") {
  const HttpLimits limits{.request_line_bytes_max = 40};
  for (const size_t size : {3u, 4u}) {
    KnownRequest known;
    HttpParser parser(limits, &known);
    HttpRequest request;
    const std::string line = "GET /" + std::string(size, 'a');
    REQUIRE(parser.parse(head_of(line + "1"), &request) == HttpParser::Outcome::kComplete);
    const bool fits = line.size() + kDecimalDigitsMax + 11 <= limits.request_line_bytes_max;
    CHECK((request.note != nullptr) == fits);
    HttpParser again(limits, &known);
    const std::string longest = head_of(line + std::to_string(UINT64_MAX));
    HttpParser without(limits);
    HttpRequest other;
    CHECK(again.parse(longest, &request) == without.parse(longest, &other));
  }
}

TEST_CASE("a token is forgotten after the bytes it came with, and kept for none alone") {
  const std::string fields = "Host: h\r\nAuthorization: Bearer x\r\n\r\n";
  const std::string one = head_of("GET /v1/kv/1", fields);
  KnownRequest known;
  CHECK_FALSE(learn(one, &known));
  REQUIRE(learn(one + one, &known));
  CHECK(is_repeated(one, known));
  known.forget_token();
  CHECK_FALSE(is_repeated(one, known));
  HeadParts parts;
  CHECK_FALSE(known.has_known_fields(fields, &parts));
  // What bears none stays.
  REQUIRE(learn(head_of("GET /v1/kv/1"), &known));
  known.forget_token();
  CHECK(is_repeated(head_of("GET /v1/kv/1"), known));
}

}  // namespace
}  // namespace kyro
