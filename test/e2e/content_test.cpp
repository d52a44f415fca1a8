// Bodies that are not what they seem, over real sockets: coded, in parts, of two types.
#include <catch2/catch.hpp>
#include <string>

#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

TEST_CASE("A body that is coded, a part, or of two types is refused", "[e2e]") {
  Served s;
  const struct {
    const char* method;
    const char* target;
    const char* body;
  } requests[] = {{"POST", "/v1/put", R"({"key":1,"value":"v"})"},
                  {"POST", "/v1/batch", R"({"op":"put","key":1,"value":"v"})"},
                  {"POST", "/v1/mget", R"({"keys":[1]})"},
                  {"PUT", "/v1/kv/1", "v"}};
  const HeaderList harmless = {{"Content-Encoding", "Identity"},
                               {"Content-Type", "application/json"},
                               {"Content-Type", "application/json"}};
  for (const auto& request : requests) {
    INFO(request.target);
    const auto call = [&](const HeaderList& headers) {
      return s.client.call(request.method, request.target, request.body, headers);
    };
    check_error(call({{"Content-Encoding", "gzip"}}), 415, "unsupported_media_type");
    CHECK(call({{"Content-Encoding", "identity, br"}}).status == 415);
    CHECK(call({{"Content-Encoding", "identity"}, {"Content-Encoding", "gzip"}}).status == 415);
    check_error(call({{"Content-Type", "application/json"}, {"Content-Type", "text/plain"}}), 400,
                "bad_request");
  }
  check_error(s.client.call("PUT", "/v1/kv/1", "v", {{"Content-Range", "bytes 0-0/2"}}), 400,
              "bad_request");
  CHECK(s.client.next_offset() == 0);
  CHECK(s.client.call("POST", "/v1/put", requests[0].body, harmless).status == 200);
  CHECK(s.client.next_offset() == 1);
  for (const char* weight : {"0", "0.0"}) {
    const HeaderList headers = {{"Accept", "application/x-ndjson;q=" + std::string(weight)}};
    CHECK(s.client.get("/v1/scan", headers).header("content-type") == "application/json");
  }
}
