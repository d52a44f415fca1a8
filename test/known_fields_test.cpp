// The memory of field sections: what is kept and what never is. (That answers do not depend on it
// is tested with every case of http_parser_test.cpp.)
#include <catch2/catch.hpp>
#include <string>

#include "kyro/net/http_parser.h"

namespace kyro {
namespace {

const std::string kLine = "GET /v1/get_fast/1 HTTP/1.1\r\n";
const std::string kPlain = "Accept: a\r\nHost: h:1\r\nConnection: close\r\n\r\n";

HttpRequest parse(const std::string& bytes, KnownFields* known) {
  HttpParser parser(HttpLimits{}, known);
  HttpRequest request;
  INFO(bytes);
  REQUIRE(parser.parse(bytes, &request) == HttpParser::Outcome::kComplete);
  CHECK(parser.head_bytes() == bytes.size());
  return request;
}

TEST_CASE("the fields of a plain request are kept, and mean the same the next time") {
  KnownFields known;
  for (const std::string& line : {kLine, kLine, std::string("HEAD /x?y HTTP/1.1\r\n")}) {
    const std::string bytes = line + kPlain;
    const HttpRequest request = parse(bytes, &known);
    CHECK(known.block == kPlain);
    CHECK(known.block.substr(known.host_from, known.host_size) == "h:1");
    CHECK(request.host == "h:1");
    CHECK(request.header("accept") == "a");
    CHECK_FALSE(request.keep_alive);
  }
  // HTTP/1.0 means other things by the same fields.
  const std::string old = "GET / HTTP/1.0\r\nHost: h\r\nConnection: x\r\n\r\n";
  known.block = "Host: h\r\nConnection: x\r\n\r\n";
  known.close = false;
  CHECK_FALSE(parse(old, &known).keep_alive);
}

TEST_CASE("fields that speak of a body, carry a token or are long are not kept") {
  for (const std::string& fields :
       {std::string("Host: h\r\nContent-Length: 0\r\n\r\n"),
        std::string("Host: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
        std::string("Host: h\r\nExpect: 100-continue\r\n\r\n"),
        std::string("Host: h\r\nAuthorization: Bearer x\r\n\r\n"),
        "Host: h\r\nA: " + std::string(KnownFields::kBytesMax, 'a') + "\r\n\r\n"}) {
    KnownFields known;
    parse(kLine + fields, &known);
    CHECK(known.block.empty());
  }
  KnownFields known;
  parse("GET / HTTP/1.0\r\n\r\n", &known);
  CHECK(known.block.empty());
}

}  // namespace
}  // namespace kyro
