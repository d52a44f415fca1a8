// Looking ahead into pipelined requests: which keys are taken, where it stops, and that answers do
// not depend on it.
#include "kyro/app/read_ahead.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "kyro/app/api.h"
#include "test/e2e_util.h"
#include "test/test_util.h"

namespace kyro::test {
namespace {

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

std::vector<uint64_t> keys_of(const std::string& bytes, size_t* looked_at,
                              const std::string& last = get("/v1/kv/9")) {
  PipelinedReads reads;
  find_pipelined_reads(last, bytes, &reads);
  *looked_at = reads.bytes;
  return {reads.found().begin(), reads.found().end()};
}

TEST_CASE("the keys of pipelined reads are found up to the first request of another kind") {
  const std::string reads =
      get("/v1/get_fast/1") + get("/v1/lookup_fast/18446744073709551615") + get("/v1/kv/0");
  size_t looked_at = 0;
  const std::vector<uint64_t> keys = {1, UINT64_MAX, 0};
  CHECK(keys_of(reads, &looked_at) == keys);
  CHECK(looked_at == reads.size());
  for (const std::string& other :
       {std::string("PUT /v1/kv/1 HTTP/1.1\r\n\r\n"), get("/v1/offset"), get("/v1/get_fast/"),
        get("/v1/get_fast/01"), get("/v1/get_fast/1?x=1"), get("/v1/get_fast/x"),
        std::string("GET /v1/get_fast/5"), std::string("GET "), std::string("\r\n"),
        std::string(1, '\0')}) {
    INFO(other);
    CHECK(keys_of(reads + other + reads, &looked_at) == keys);
    CHECK(looked_at == reads.size());
    CHECK(keys_of(other, &looked_at).empty());
    CHECK(looked_at == 0);
  }
  CHECK(keys_of(reads + "GET /v1/get_fast/5 HTTP/1.1\r\nHost: h\r\n", &looked_at) == keys);
  CHECK(looked_at == reads.size());
}

TEST_CASE("only what is like the request before it, which was let through, is looked at") {
  const std::string two = get("/v1/kv/1") + get("/v1/get_fast/2");
  size_t looked_at = 0;
  CHECK(keys_of(two, &looked_at, get("/v1/lookup_fast/3")).size() == 2);
  const std::string kFields = " HTTP/1.1\r\nHost: localhost\r\n";
  for (const std::string& last :
       {"GET /v1/kv/1" + kFields + "Authorization: Bearer other\r\n\r\n",
        "GET /v1/kv/1" + kFields + "Origin: http://localhost\r\n\r\n",
        std::string("GET /v1/kv/1 HTTP/1.1\r\nHost: evil.com\r\n\r\n"),
        std::string("GET /v1/kv/1 HTTP/1.0\r\nHost: localhost\r\n\r\n"), get("/v1/offset"),
        "PUT /v1/kv/1" + kFields + "Content-Length: 0\r\n\r\n", std::string()}) {
    INFO(last);
    CHECK(keys_of(two, &looked_at, last).empty());
    if (last.empty()) continue;
    CHECK(keys_of(last + two, &looked_at).empty());
    CHECK(looked_at == 0);
  }
}

TEST_CASE("under a rate nothing is looked at ahead, since it may be refused") {
  AccessControl access({});
  const TempDir dir;
  const auto engine = Engine::open({.data_dir = dir.file("store")});
  REQUIRE(engine.ok());
  Api limited(access, {}, {.data = {1, 1}, .admin = {}}, 1);
  Api free(access, {}, {}, 1);
  const std::string last = get("/v1/kv/1");
  const std::string bytes = get("/v1/kv/2") + get("/v1/kv/3") + get("/health");
  for (Api* api : {&limited, &free}) api->set_engine(engine->get());
  CHECK(limited.on_pipelined(last, bytes) == bytes.size());
  free.on_round_begin(0);
  CHECK(free.on_pipelined(last, bytes) == bytes.size() - get("/health").size());
  free.on_round_end(0);
}

TEST_CASE("looking ahead stops at a bound and reads nothing outside the bytes") {
  std::string many;
  for (size_t i = 0; i < 2 * PipelinedReads::kKeysMax; ++i) many += get("/v1/get_fast/7");
  size_t looked_at = 0;
  CHECK(keys_of(many, &looked_at).size() == PipelinedReads::kKeysMax);
  CHECK(looked_at == many.size() / 2);
  const std::string two = get("/v1/get_fast/1") + get("/v1/get_fast/2");
  for (size_t size = 0; size <= two.size(); ++size) {
    const GuardedBytes guarded(std::string_view(two).substr(0, size));
    PipelinedReads reads;
    find_pipelined_reads(get("/v1/kv/9"), guarded.view(), &reads);
    CHECK(reads.bytes <= size);
  }
}

TEST_CASE("pipelined reads of runs, of the delta and of nothing are answered in order", "[e2e]") {
  Served s;
  constexpr int kKeys = 300;
  for (int key = 0; key < kKeys; key += 2) {
    REQUIRE(s.client.call("PUT", kv_path(static_cast<uint64_t>(key)), std::to_string(key)).status ==
            201);
    if (key == kKeys / 2) REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  }
  std::string requests;
  for (int key = 0; key < kKeys; ++key) requests += get("/v1/get_fast/" + std::to_string(key));
  s.client.must_send(requests);
  for (int key = 0; key < kKeys; ++key) {
    const HttpResponse answer = s.client.next();
    INFO(key << ": " << answer.body);
    CHECK(answer.status == (key % 2 == 0 ? 200 : 404));
    if (key % 2 == 0) CHECK(answer.body == std::to_string(key));
  }
}

}  // namespace
}  // namespace kyro::test
