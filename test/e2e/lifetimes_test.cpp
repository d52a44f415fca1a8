// Lifetimes travel: the moment in which a record expires is in every answer and every file that has
// the record, and what is made out of them expires in the same second.
#include <time.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"
#include "test/support/ctl.h"

using namespace kyro;
using namespace kyro::test;

namespace {

std::string in_secs(int64_t secs) {
  return std::to_string(time(nullptr) + secs);
}

// {"key":K,…,"expires":N} for keys 1 to 3: small, large and none.
void put_three(Client& client, const std::string& moment) {
  REQUIRE(client.call("PUT", "/v1/kv/1?expires=" + moment, "one").status == 201);
  REQUIRE(client.call("PUT", "/v1/kv/2?expires=" + moment, std::string(200'000, 'x')).status ==
          201);
  REQUIRE(client.call("PUT", "/v1/kv/3", "for ever").status == 201);
}

}  // namespace

TEST_CASE("Every answer that has a record says when it expires", "[e2e]") {
  Served s;
  const std::string moment = in_secs(5000);
  const std::string tail = ",\"expires\":" + moment + "}";
  put_three(s.client, moment);
  if (GENERATE(false, true)) REQUIRE(s.client.call("POST", "/v1/snapshot").status == 200);
  CHECK(s.client.get("/v1/lookup?key=1").body ==
        "{\"key\":1,\"value\":\"one\",\"offset\":0" + tail);
  CHECK(s.client.get("/v1/lookup?key=2").body.ends_with("xxx\",\"offset\":1" + tail));
  CHECK(s.client.get("/v1/floor/1").body.ends_with("\"offset\":0" + tail));
  CHECK(s.client.get("/v1/ceil/2").body.ends_with("\"offset\":1" + tail));
  CHECK(s.client.get("/v1/lookup?key=3").body.ends_with("\"offset\":2}"));
  CHECK(s.client.get("/v1/scan?keys_only=1").body ==
        "{\"items\":[{\"key\":1,\"offset\":0" + tail + ",{\"key\":2,\"offset\":1" + tail +
            ",{\"key\":3,\"offset\":2}],\"complete\":true,\"as_of\":3}");
  const std::string lines = s.client.get("/v1/scan", {{"Accept", "application/x-ndjson"}}).body;
  CHECK(
      contains(lines, "\"offset\":1" + tail + "\n{\"key\":3,\"value\":\"for ever\",\"offset\":2}"));
  const std::string log = s.client.get("/v1/replay").body;
  CHECK(log.starts_with("{\"offset\":0,\"op\":\"put\",\"key\":1,\"value\":\"one\"" + tail + "\n"));
  CHECK(contains(log, "xxx\"" + tail + "\n{\"offset\":2,\"op\":\"put\",\"key\":3"));
  Client subscriber(s.server);
  subscriber.must_send("GET /v1/subscribe?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const std::string events = subscriber.read_until("id: 2\n");
  CHECK(contains(events, "\"value\":\"one\"" + tail + "\n\n"));
  CHECK(contains(events, "xxx\"" + tail + "\n\n"));

  const auto mget = [&](const char* target, std::string_view keys, const char* type) {
    return s.client.call("POST", target, keys, {{"Content-Type", type}}).body;
  };
  constexpr const char* kJson = "application/json";
  CHECK(mget("/v1/mget?expires=1", R"({"keys":[1,3,4]})", kJson) ==
        "{\"values\":[\"one\",\"for ever\",null],\"expires\":[" + moment + ",null,null]}");
  CHECK(mget("/v1/mget?expires=1", R"({"keys":[2,1]})", kJson)
            .ends_with("xxx\",\"one\"],\"expires\":[" + moment + "," + moment + "]}"));
  CHECK(mget("/v1/mget", R"({"keys":[1]})", kJson) == R"({"values":["one"]})");
  std::string keys, wanted;
  for (const uint64_t key : {uint64_t{1}, uint64_t{4}}) append_u64(keys, key);
  append_u32(wanted, 3);
  append_u64(wanted, std::stoull(moment));
  wanted += "one";
  append_u32(wanted, ~uint32_t{0});
  CHECK(mget("/v1/mget?expires=1", keys, "application/octet-stream") == wanted);
  check_error(s.client.call("POST", "/v1/mget?expires=2", R"({"keys":[1]})"), 400, "invalid");
}

TEST_CASE("A mget of many keys lists when they expire in as many pieces as it takes", "[e2e]") {
  Served s({"--fsync", "never"});
  const std::string moment = in_secs(5000);
  std::string lines, keys, expires;
  for (int key = 0; key < 20'000; ++key) {
    lines += "{\"op\":\"put\",\"key\":" + std::to_string(key) + ",\"value\":\"v\"" +
             (key % 2 == 0 ? ",\"expires\":" + moment : "") + "}\n";
    keys += (key == 0 ? "" : ",") + std::to_string(key);
    expires += (key == 0 ? "" : ",") + (key % 2 == 0 ? moment : std::string("null"));
  }
  REQUIRE(s.client.call("POST", "/v1/batch", lines).status == 200);
  const HttpResponse all = s.client.call("POST", "/v1/mget?expires=1", "{\"keys\":[" + keys + "]}");
  CHECK(all.header("transfer-encoding") == "chunked");
  CHECK(all.body.ends_with("\"v\"],\"expires\":[" + expires + "]}"));
}

TEST_CASE("A moment that has passed makes a key absent, whatever sets it", "[e2e]") {
  Served s;
  for (const char* key : {"1", "2", "3"}) {
    REQUIRE(s.client.call("PUT", std::string("/v1/kv/") + key, "old").status == 201);
  }
  CHECK(s.client.call("PUT", "/v1/kv/1?expires=1", "new").status == 204);
  CHECK(s.client.call("POST", "/v1/put", R"({"key":2,"value":"new","expires":1})").status == 200);
  CHECK(s.client.call("POST", "/v1/batch", R"({"op":"put","key":3,"value":"new","expires":1})")
            .status == 200);
  CHECK(s.client.get("/v1/scan").body == R"({"items":[],"complete":true,"as_of":6})");
  CHECK(s.client.next_offset() == 6);
}

TEST_CASE("A moment that is none is refused, and so is one beside a time to live", "[e2e]") {
  Served s;
  for (const char* query : {"expires=", "expires=0", "expires=-1", "expires=1.5", "expires=x",
                            "expires=72057594037927936", "expires=18446744073709551615",
                            "expires=9&expires=9", "expires=9&ttl=9", "ttl_secs=9&expires=9"}) {
    INFO(query);
    check_error(s.client.call("PUT", std::string("/v1/kv/1?") + query, "v"), 400, "invalid");
  }
  for (const char* field : {"0", "-1", "1.5", "\"9\"", "null", "72057594037927936"}) {
    INFO(field);
    const std::string body =
        std::string("{\"key\":1,\"value\":\"v\",\"expires\":").append(field).append("}");
    check_error(s.client.call("POST", "/v1/put", body), 400, "bad_json");
  }
  check_error(s.client.call("POST", "/v1/put", R"({"key":1,"value":"v","ttl":9,"expires":9})"), 400,
              "bad_json");
  check_error(s.client.call("POST", "/v1/batch", R"({"op":"delete","key":1,"expires":9})"), 400,
              "bad_json");
  CHECK(s.client.next_offset() == 0);
}

TEST_CASE("An exported and imported store lives as long as the original", "[e2e]") {
  const CtlSession from;
  Client client(from.server);
  put_three(client, in_secs(5000));
  const std::string wanted = client.get("/v1/scan?keys_only=1").body;
  const Args formats[] = {
      {"all.ndjson"}, {"all.csv", "--expires"}, {"b.csv", "--base64", "--expires"}};
  for (const Args& format : formats) {
    const std::string file = from.dir.file(format[0]);
    Args words{"export", file};
    words.insert(words.end(), format.begin() + 1, format.end());
    const Outcome exported = from.ctl(words);
    INFO(file << exported.err);
    CHECK(exported.exit_code == 0);
    CHECK(!contains(exported.err, "lifetime"));
    const CtlSession to;
    REQUIRE(to.ctl({"import", file}).exit_code == 0);
    CHECK(Client(to.server).get("/v1/scan?keys_only=1").body == wanted);
  }
  // The log too: what replay prints can be imported.
  const CtlSession to;
  REQUIRE(to.ctl({"import", "-"}, from.ctl({"replay"}).out).exit_code == 0);
  CHECK(Client(to.server).get("/v1/scan?keys_only=1").body == wanted);
}

TEST_CASE("A CSV without the column says that lifetimes are lost, and a bad column is named",
          "[e2e]") {
  const CtlSession s;
  Client client(s.server);
  put_three(client, in_secs(5000));
  const Outcome lost = s.ctl({"export", "--format", "csv"});
  CHECK(lost.exit_code == 0);
  CHECK(contains(lost.err, "2 of the records have a lifetime, which is lost: --expires keeps it"));
  check_fails(s.ctl({"export", "--expires"}), 2, "--expires is for CSV");
  const auto refused = [&](std::string_view csv, std::string_view why) {
    check_fails(s.ctl({"import", "-", "--format", "csv"}, csv), 1, why);
  };
  refused("key,value,expires\n1,v,0\n", "line 2 (record 1): expires must be a moment of Unix time");
  refused("key,value,expires\n1,v,soon\n", "expires must be a moment of Unix time");
  refused("key,value,expires\n1,v\n", "the record has 2 fields, the header 3");
  refused("key,value,ttl\n1,v,9\n", "may end with expires");
}

TEST_CASE("A dump says when records expire, of the data and of the log", "[e2e]") {
  Served s;
  const std::string moment = in_secs(5000);
  put_three(s.client, moment);
  REQUIRE(s.server.stop().exit_code == 0);
  const std::string tail = ",\"expires\":" + moment + "}\n";
  CHECK(run_kyrodb({"dump", s.server.data_dir()})
            .out.starts_with("{\"key\":1,\"value\":\"one\",\"offset\":0" + tail));
  CHECK(run_kyrodb({"dump", s.server.data_dir(), "--wal"})
            .out.starts_with("{\"offset\":0,\"op\":\"put\",\"key\":1,\"value\":\"one\"" + tail));
}
