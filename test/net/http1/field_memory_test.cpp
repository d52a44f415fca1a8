// The memory of the last field section: what is kept, what repeats it, and what never is kept.
// (That answers do not depend on it is tested with every case of parser_test.cpp, too.)
#include "kyro/net/http1/field_memory.h"

#include <catch2/catch.hpp>
#include <string>

#include "kyro/net/http1/parser.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

const std::string kLine = "GET /v1/kv/31 HTTP/1.1\r\n";
const std::string kFields = "Accept: a\r\nHost: h:1\r\nConnection: close\r\n\r\n";

void parse(const std::string& bytes, FieldMemory* known) {
  HttpParser parser(HttpLimits{}, known);
  HttpRequest request;
  Http1Frame frame;
  INFO(bytes);
  REQUIRE(parser.parse(bytes, &request, &frame) == HttpParser::Outcome::kComplete);
}

bool takes(const FieldMemory& known, const std::string& section) {
  const test::GuardedBytes guarded(section);
  const std::string_view view = guarded.view();
  HttpRequest request;
  FieldMemory::Meaning meaning;
  return known.take(view.data(), view.data() + view.size(), &request, &meaning) != 0;
}

TEST_CASE("a known section gives its fields, its host and what it says of the connection") {
  FieldMemory known;
  parse(kLine + kFields, &known);
  const std::string section = kFields + "GET /next";
  HttpRequest request;
  FieldMemory::Meaning meaning;
  CHECK(known.take(section.data(), section.data() + section.size(), &request, &meaning) ==
        kFields.size());
  CHECK(request.host == "h:1");
  CHECK(request.fields.size() == 3);
  CHECK(request.header("accept") == "a");
  CHECK(request.header("accept")->data() == section.data() + 8);
  CHECK(meaning.close);
  request.clear();
  request.host = "of-the-target";
  CHECK(known.take(section.data(), section.data() + section.size(), &request, &meaning) != 0);
  CHECK(request.host == "of-the-target");
}

TEST_CASE("what differs from the known section in a byte is not taken for it") {
  FieldMemory known;
  CHECK_FALSE(takes(known, kFields));
  parse(kLine + kFields, &known);
  CHECK(takes(known, kFields));
  for (size_t i = 0; i < kFields.size(); ++i) {
    std::string other = kFields;
    other[i] = static_cast<char>(other[i] ^ 1);
    CHECK_FALSE(takes(known, other));
    CHECK_FALSE(takes(known, kFields.substr(0, i)));
  }
}

TEST_CASE("sections about bodies, of HTTP/1.0, and long ones are not kept") {
  for (const std::string& fields :
       {std::string("Host: a\r\nContent-Length: 0\r\n\r\n"),
        std::string("Host: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        std::string("Host: a\r\nExpect: 100-continue\r\n\r\n"),
        "Host: a\r\nX: " + std::string(FieldMemory::kBytesMax, 'x') + "\r\n\r\n"}) {
    FieldMemory known;
    parse(kLine + fields, &known);
    CHECK_FALSE(takes(known, fields));
  }
  FieldMemory known;
  parse("GET / HTTP/1.0\r\n" + kFields, &known);
  CHECK_FALSE(takes(known, kFields));
  std::string many = "Host: a\r\n";
  for (size_t i = 0; i < FieldMemory::kFieldsMax; ++i) many += "X: y\r\n";
  parse(kLine + many + "\r\n", &known);
  CHECK_FALSE(takes(known, many + "\r\n"));
}

TEST_CASE("credentials are known only among the bytes that came with them") {
  for (const char* name : {"Authorization", "authorization", "Cookie"}) {
    const std::string fields = std::string(name) + ": secret\r\nHost: a\r\n\r\n";
    FieldMemory known;
    parse(kLine + fields, &known);  // nothing came after it
    CHECK_FALSE(takes(known, fields));
    parse(kLine + fields + kLine, &known);
    CHECK(takes(known, fields));
    known.forget_credentials();
    CHECK_FALSE(takes(known, fields));
  }
  FieldMemory known;
  parse(kLine + kFields, &known);
  known.forget_credentials();
  CHECK(takes(known, kFields));
}

}  // namespace
}  // namespace kyro
