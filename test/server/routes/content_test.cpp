// What the header fields of a request say of its body and of the form of the answer.
#include "kyro/server/routes/content.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "test/support/request_util.h"

namespace kyro::test {
namespace {

TEST_CASE("NDJSON is accepted where it stands in the list with a weight above zero") {
  const auto accepts = [](const std::string& field) {
    const std::string fields = "Accept: " + field + "\r\n";
    return accepts_ndjson(request_with(fields));
  };
  for (const char* field :
       {"application/x-ndjson", "text/html, Application/X-NDJSON ;q=0.5",
        "application/x-ndjson;q=1", "application/x-ndjson; charset=utf-8; q=0.001",
        "application/x-ndjson;q=1.000"}) {
    INFO(field);
    CHECK(accepts(field));
  }
  for (const char* field : {"application/x-ndjson;q=0", "application/x-ndjson ; Q=0.000",
                            "application/x-ndjson;charset=utf-8;q=0., text/html", "*/*",
                            "application/json", "application/x-ndjsonx", ""}) {
    INFO(field);
    CHECK_FALSE(accepts(field));
  }
}

TEST_CASE("A media type is what stands before the parameters, and fields of it must agree") {
  const std::string one = "Content-Type: application/json ; charset=utf-8\r\n";
  const std::string other = "content-type: text/plain\r\n";
  CHECK(media_type(request_with(one)) == "application/json");
  CHECK(media_type(request_with("Host: a\r\n")).empty());
  CHECK_FALSE(has_conflicting_types(request_with("Host: a\r\n")));
  const std::string twice = one + "Host: a\r\n" + one;
  CHECK_FALSE(has_conflicting_types(request_with(twice)));
  const std::string differing = one + one + other;
  CHECK(has_conflicting_types(request_with(differing)));
}

TEST_CASE("Only identity, in any number and case, is no coding of the body") {
  for (const char* fields : {"Host: a\r\n", "Content-Encoding: identity\r\n",
                             "Content-Encoding: Identity, , identity\r\nHost: a\r\n"}) {
    INFO(fields);
    CHECK_FALSE(has_content_coding(request_with(fields)));
  }
  for (const char* fields : {"content-encoding: gzip\r\n", "Content-Encoding: identity,br\r\n",
                             "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"}) {
    INFO(fields);
    CHECK(has_content_coding(request_with(fields)));
  }
}

}  // namespace
}  // namespace kyro::test
