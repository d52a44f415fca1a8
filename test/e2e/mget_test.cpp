// Multi-get over a real socket, in both forms.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/coding.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

const HeaderList kBinary = {{"Content-Type", "application/octet-stream"}};

std::string encode_keys(const std::vector<uint64_t>& keys) {
  std::string out;
  for (const uint64_t key : keys) append_u64(out, key);
  return out;
}

std::string encoded(std::string_view value) {
  std::string out;
  append_u32(out, static_cast<uint32_t>(value.size()));
  return out.append(value);
}

const std::string kAbsent = "\xFF\xFF\xFF\xFF";

}  // namespace

TEST_CASE("A multi-get answers each key in its place, in JSON and in binary", "[e2e]") {
  Served s;
  constexpr uint64_t kMax = ~uint64_t{0};
  REQUIRE(s.client.call("PUT", kv_path(0), "zero \"quoted\"").status == 201);
  REQUIRE(s.client.call("PUT", kv_path(7), "\xFF\xFE").status == 201);
  REQUIRE(s.client.call("PUT", kv_path(8), "").status == 201);
  REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  REQUIRE(s.client.call("PUT", kv_path(kMax), "max").status == 201);
  REQUIRE(s.client.call("PUT", kv_path(9), "x").status == 201);
  REQUIRE(s.client.call("DELETE", kv_path(9)).status == 204);

  const HttpResponse json =
      s.client.call("POST", "/v1/mget", R"({"keys":[0,"7",8,9,18446744073709551615,0,5]})");
  CHECK(json.status == 200);
  CHECK(is_json(json));
  CHECK(json.body == R"({"values":["zero \"quoted\"",{"value_base64":"//4="},"",null,"max",)"
                     R"("zero \"quoted\"",null]})");

  const HttpResponse binary =
      s.client.call("POST", "/v1/mget", encode_keys({0, 7, 8, 9, kMax, 0, 5}), kBinary);
  CHECK(binary.status == 200);
  CHECK(binary.header("content-type") == "application/octet-stream");
  CHECK(binary.body == encoded("zero \"quoted\"") + encoded("\xFF\xFE") + encoded("") + kAbsent +
                           encoded("max") + encoded("zero \"quoted\"") + kAbsent);

  CHECK(s.client.call("POST", "/v1/mget", R"({"keys":[]})").body == R"({"values":[]})");
  const HttpResponse none = s.client.call("POST", "/v1/mget", "", kBinary);
  CHECK(none.status == 200);
  CHECK(none.body.empty());
}

TEST_CASE("A multi-get refuses what is no list of keys, too many keys and other types", "[e2e]") {
  Served s({"--max-mget-keys", "1000"});
  for (const std::string body :
       {"", "[]", "{}", R"({"keys":1})", R"({"keys":[1.5]})", R"({"keys":[-1]})",
        R"({"keys":["x"]})", R"({"keys":[null]})", R"({"keys":[1,]})", R"({"keys":[1],"keys":[2]})",
        R"({"keys":[18446744073709551616]})", R"({"keys":[1]} x)"}) {
    INFO(body);
    check_error(s.client.call("POST", "/v1/mget", body), 400, "bad_json");
  }
  check_error(s.client.call("POST", "/v1/mget", "1234567", kBinary), 400, "invalid");
  check_error(s.client.call("POST", "/v1/mget", "{}", {{"Content-Type", "text/plain"}}), 415,
              "unsupported_media_type");
  CHECK(s.client.call("GET", "/v1/mget").header("allow") == "POST, OPTIONS");

  const std::vector<uint64_t> most(1000, 1);
  CHECK(s.client.call("POST", "/v1/mget", encode_keys(most), kBinary).body.size() == 4000);
  const std::vector<uint64_t> too_many(1001, 1);
  CHECK(s.client.call("POST", "/v1/mget", encode_keys(too_many), kBinary).status == 413);
  Client fresh(s.server);
  std::string keys = "{\"keys\":[1";
  for (int i = 1; i < 1000; ++i) keys += ",1";
  CHECK(fresh.call("POST", "/v1/mget", keys + "]}").status == 200);
  check_error(fresh.call("POST", "/v1/mget", keys + ",1]}"), 413, "too_large");
}

TEST_CASE("A multi-get larger than a slice is streamed whole, also when pipelined", "[e2e]") {
  Served s({"--fsync", "never"});
  constexpr uint64_t kKeys = 64;
  std::string expected;
  std::vector<uint64_t> keys;
  for (uint64_t key = 0; key < kKeys; ++key) {
    const std::string value(20'000, static_cast<char>('a' + key % 26));
    REQUIRE(s.client.call("PUT", kv_path(key), value).status == 201);
    expected += encoded(value);
    keys.push_back(key);
  }
  REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  const std::string body = encode_keys(keys);
  const std::string request =
      "POST /v1/mget HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  s.client.must_send(request + request + "GET /v1/get_fast/1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (int i = 0; i < 2; ++i) {
    const HttpResponse response = s.client.next();
    CHECK(response.header("transfer-encoding") == "chunked");
    CHECK(response.body == expected);
  }
  CHECK(s.client.next().body == std::string(20'000, 'b'));
}

TEST_CASE("A multi-get after a write of its connection sees it", "[e2e]") {
  Served s;
  const std::string body = encode_keys({5});
  s.client.must_send(
      "PUT /v1/kv/5 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nnew"
      "POST /v1/mget HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
      "Content-Length: 8\r\n\r\n" +
      body);
  CHECK(s.client.next().status == 201);
  CHECK(s.client.next().body == encoded("new"));
}

TEST_CASE("Damage is a 500 in a first slice and breaks a streamed body off", "[e2e]") {
  Served s({"--fsync", "never"});
  for (uint64_t key = 0; key < 100; ++key) {
    const std::string value = "value " + std::to_string(key) + std::string(10'000, '.');
    REQUIRE(s.client.call("PUT", kv_path(key), value).status == 201);
  }
  REQUIRE(s.client.call("POST", "/v1/compact").status == 200);
  s.server.stop();
  for (const auto& entry : std::filesystem::directory_iterator(s.server.data_dir())) {
    if (entry.path().extension() != ".data") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const size_t at = bytes.find("value 90.");
    REQUIRE(at != bytes.npos);
    file.seekp(static_cast<std::streamoff>(at));
    file.put('V');
  }
  s.server.start();
  Client client(s.server);
  check_error(client.call("POST", "/v1/mget", R"({"keys":[1,90]})"), 500, "corruption");
  check_error(client.get("/v1/scan?start=85"), 500, "corruption");
  check_error(client.get("/v1/scan?start=85&end=93&reverse=1"), 500, "corruption");
  check_error(client.get("/v1/ceil/90"), 500, "corruption");
  CHECK(client.get("/v1/floor/89").status == 200);
  HttpResponse response;
  CHECK_FALSE(client.request("GET", "/v1/scan?start=0", {}, &response).ok());
  Client other(s.server);
  CHECK(other.get("/v1/scan?start=0&limit=50").status == 200);
}
