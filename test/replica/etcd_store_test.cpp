// EtcdStore against a server that says what it is told to. Real etcd: test/e2e/etcd_test.cpp.
#include "kyro/replica/etcd_store.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "kyro/replica/log_health.h"
#include "kyro/replica/replica_log.h"
#include "test/support/canned_server.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

const std::string kNothingThere =
    CannedServer::answer("200 OK", R"({"succeeded":true,"responses":[{"response_range":{}},)"
                                   R"({"response_range":{}}]})");
const std::string kWasMade = CannedServer::answer(
    "200 OK", R"({"succeeded":true,"responses":[{"response_put":{}},{"response_put":{}}]})");

std::string refused_by_etcd(const std::string& status, const std::string& message, int code) {
  return CannedServer::answer(status, R"({"error":")" + message + R"(","message":")" + message +
                                          R"(","code":)" + std::to_string(code) + "}");
}
std::string token_answer(const std::string& token) {
  return CannedServer::answer("200 OK", R"({"header":{},"token":")" + token + "\"}");
}

// To a look at offset 0 of the log "test", where this lies.
std::string found_answer(const std::string& entry) {
  using etcd_detail::json_bytes;
  return CannedServer::answer(
      "200 OK", R"({"succeeded":true,"responses":[{"response_range":{"kvs":[{)" +
                    json_bytes("key", EtcdKeys("test").entry(0)) + "," +
                    json_bytes("value", entry) + R"(}],"count":"1"}},{"response_range":{}}]})");
}

EtcdOptions asking(const std::vector<std::string>& urls) {
  EtcdOptions options;
  for (const std::string& url : urls) options.endpoints.push_back(parse_endpoint(url).value());
  options.name = "test";
  options.timeout_ms = 10'000;
  return options;
}
EtcdOptions asking_as_user(const std::vector<std::string>& urls) {
  EtcdOptions options = asking(urls);
  options.user = "kyro";
  options.password = "pass\"word";
  return options;
}
std::string dead_url() {
  return "http://127.0.0.1:" + std::to_string(free_loopback_port());
}

std::string authorization_of(const std::string& head) {
  const size_t at = head.find("Authorization: ");
  if (at == head.npos) return {};
  return head.substr(at + 15, head.find('\r', at) - at - 15);
}

}  // namespace

TEST_CASE("an append is one transaction: no such key, and the head as it is known") {
  CannedServer server({kWasMade});
  EtcdStore store(asking({server.url()}));
  const auto made = store.create(3, "entry", "before", "after");
  INFO(made.status().to_string());
  REQUIRE(made.ok());
  CHECK_FALSE(*made);
  const std::string key = R"("key":"a3lyby90ZXN0L2xvZy8wMDAwMDAwMDAwMDAwMDAwMDAwMw==")";
  const std::string head = R"("key":"a3lyby90ZXN0L2hlYWQ=")";
  REQUIRE(server.bodies().size() == 1);
  CHECK(server.bodies()[0] ==
        R"({"compare":[{"target":"CREATE","result":"EQUAL","create_revision":"0",)" + key +
            R"(},{"target":"VALUE","result":"EQUAL",)" + head +
            R"(,"value":"YmVmb3Jl"}],"success":[{"request_put":{)" + key +
            R"(,"value":"ZW50cnk="}},{"request_put":{)" + head +
            R"(,"value":"YWZ0ZXI="}}],"failure":[{"request_range":{)" + key +
            R"(}},{"request_range":{)" + head + "}}]}");
  CHECK(server.heads()[0].starts_with("POST /v3/kv/txn HTTP/1.1\r\n"));
}

TEST_CASE("a page is never asked for without a limit") {
  CannedServer server({CannedServer::answer("200 OK", "{}")});
  EtcdStore store(asking({server.url()}));
  for (const uint32_t count : {0u, 7u, 100000u}) CHECK(store.read(3, count)->empty());
  const auto bodies = server.bodies();
  CHECK_THAT(bodies.at(0), Contains(R"("limit":"1")"));
  CHECK_THAT(bodies.at(1), Contains(R"("limit":"7")"));
  CHECK_THAT(bodies.at(2),
             Contains("\"limit\":\"" + std::to_string(EtcdStore::kReadCountMax) + "\""));
}

TEST_CASE("an etcd that cannot be connected to costs a call nothing, another one is asked") {
  CannedServer server({kNothingThere});
  EtcdStore store(asking({dead_url(), dead_url(), server.url()}));
  CHECK(store.look(0).ok());
  CHECK("http://" + store.endpoint() == server.url());
  CHECK(store.look(0).ok());
  CHECK(server.bodies().size() == 2);

  EtcdStore lost(asking({dead_url(), dead_url()}));
  const auto nothing = lost.look(0);
  CHECK(nothing.status().code() == Code::kLogUnreachable);
  CHECK_THAT(std::string(nothing.status().message()), Contains("cannot connect"));
}

TEST_CASE("a time that runs out is not followed by the same request, but by the next member") {
  const auto silent = GENERATE(as<std::string>(), "HTTP/1.1 200 OK\r\nContent-",
                               "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{");
  CannedServer server({kNothingThere, silent, kNothingThere});
  CannedServer other({kNothingThere});
  EtcdOptions options = asking({server.url(), other.url()});
  options.timeout_ms = 200;
  EtcdStore store(options);
  REQUIRE(store.look(0).ok());  // the connection is kept from here on
  const auto timed_out = store.look(1);
  CHECK(timed_out.status().code() == Code::kLogUnreachable);
  CHECK_THAT(std::string(timed_out.status().message()), Contains(": timed out"));
  CHECK("http://" + store.endpoint() == other.url());
  CHECK(other.bodies().empty());
  CHECK(store.look(2).ok());

  EtcdStore later(asking({server.url()}));
  REQUIRE(later.look(3).ok());
  CHECK(server.bodies().size() == 3);  // what timed out was sent once
}

TEST_CASE("a kept connection that was closed meanwhile is opened anew, a new one is not") {
  CannedServer server({kNothingThere, "", kNothingThere, "", kNothingThere});
  {
    EtcdStore store(asking({server.url()}));
    REQUIRE(store.look(0).ok());
    CHECK(store.look(1).ok());
  }
  const auto bodies = server.bodies();
  REQUIRE(bodies.size() == 3);
  CHECK(bodies[1] == bodies[2]);

  EtcdStore fresh(asking({server.url()}));
  CHECK(fresh.look(0).status().code() == Code::kLogUnreachable);
  CHECK(server.bodies().size() == 4);
  CHECK(fresh.look(0).ok());
}

TEST_CASE("a member that fails is told of, and the next one is asked from then on") {
  CannedServer failing({CannedServer::answer("500 Internal Server Error", "oops")});
  CannedServer leaderless(
      {refused_by_etcd("503 Service Unavailable", "etcdserver: no leader", 14)});
  CannedServer foreign({CannedServer::answer("200 OK", "<html>hello</html>")});
  CannedServer well({kNothingThere});
  EtcdStore store(asking({failing.url(), leaderless.url(), foreign.url(), well.url()}));
  for (const char* reason : {"HTTP status 500", "etcdserver: no leader", "makes no sense"}) {
    const auto failed = store.look(0);
    INFO(failed.status().to_string());
    CHECK(failed.status().code() == Code::kLogUnreachable);
    CHECK_THAT(std::string(failed.status().message()), Contains(reason));
  }
  CHECK(store.look(0).ok());
  CHECK(store.look(0).ok());
  CHECK(well.bodies().size() == 2);
}

TEST_CASE("an answer to something else is no answer") {
  const std::string of_another_key = R"({"responses":[{"response_range":{"kvs":[{"key":"YQ==",)"
                                     R"("value":"YQ=="}],"count":"1"}},{"response_range":{}}]})";
  CannedServer server({CannedServer::answer("200 OK", of_another_key)});
  EtcdStore store(asking({server.url()}));
  CHECK(store.look(0).status().code() == Code::kLogUnreachable);
  CHECK(store.create(0, "e", "b", "a").status().code() == Code::kLogUnreachable);
}

TEST_CASE("an entry that is answered with no room may have been made: it is looked for") {
  const std::string full =
      refused_by_etcd("429 Too Many Requests", "etcdserver: mvcc: database space exceeded", 8);
  CannedServer server({full, found_answer("e"), full, found_answer("of another"), full,
                       refused_by_etcd("503 Service Unavailable", "etcdserver: no leader", 14)});
  EtcdStore store(asking({server.url()}));
  const auto made = store.create(0, "e", "b", "a");
  REQUIRE(made.ok());
  CHECK_FALSE(*made);
  CHECK(store.create(0, "e", "b", "a").status().code() == Code::kNoSpace);
  CHECK(store.create(0, "e", "b", "a").status().code() == Code::kLogUnreachable);
}

TEST_CASE("a head that is answered with no room may have been made: it is looked for") {
  using etcd_detail::json_bytes;
  const std::string full =
      refused_by_etcd("429 Too Many Requests", "etcdserver: mvcc: database space exceeded", 8);
  const std::string there = CannedServer::answer(
      "200 OK",
      R"({"succeeded":true,"responses":[{"response_range":{}},{"response_range":{"kvs":[{)" +
          json_bytes("key", EtcdKeys("test").head()) + "," + json_bytes("value", "h") +
          R"(}],"count":"1"}}]})");
  CannedServer server({full, there, full, kNothingThere});
  EtcdStore store(asking({server.url()}));
  CHECK(store.create_head("h").ok());
  CHECK(store.create_head("h").code() == Code::kNoSpace);
}

TEST_CASE("no room and too large are final answers, of a member that is asked again") {
  CannedServer server(
      {refused_by_etcd("429 Too Many Requests", "etcdserver: mvcc: database space exceeded", 8),
       kNothingThere, refused_by_etcd("400 Bad Request", "etcdserver: request is too large", 3),
       kWasMade});
  EtcdStore store(asking({server.url(), dead_url()}));
  const Status no_space = store.create(0, "e", "b", "a").status();
  CHECK(no_space.code() == Code::kNoSpace);
  CHECK_THAT(std::string(no_space.message()), Contains("etcdctl alarm disarm"));
  const Status too_large = store.create(0, "e", "b", "a").status();
  CHECK(too_large.code() == Code::kTooLarge);
  CHECK_THAT(std::string(too_large.message()), Contains("--max-request-bytes"));
  CHECK(store.create(0, "e", "b", "a").ok());
}

TEST_CASE("an answer has a bound, and only of a page may less be asked for") {
  const std::string too_long = CannedServer::answer("200 OK", std::string(5000, ' ') + "{}");
  CannedServer server({too_long, CannedServer::answer("200 OK", "{}"), too_long});
  EtcdOptions options = asking({server.url()});
  options.answer_bytes_max = 4000;
  EtcdStore store(options);
  const auto large = store.read(0, 1);
  CHECK(large.status().code() == Code::kTooLarge);
  CHECK_THAT(std::string(large.status().message()), Contains("too large"));
  CHECK(store.read(0, 1).ok());
  CHECK(store.create(0, "e", "b", "a").status().code() == Code::kLogUnreachable);
}

TEST_CASE("the beginning of a log is erased as one range, and nothing beyond it") {
  CannedServer server({CannedServer::answer("200 OK", R"({"header":{},"deleted":"3"})")});
  EtcdStore store(asking({server.url()}));
  CHECK(store.erase(3).ok());
  std::string wanted = R"({"key":")";
  append_base64(wanted, "kyro/test/log/00000000000000000000");
  wanted += R"(","range_end":")";
  append_base64(wanted, "kyro/test/log/00000000000000000003");
  CHECK(server.bodies().at(0) == wanted + "\"}");
  CHECK(server.heads()[0].starts_with("POST /v3/kv/deleterange HTTP/1.1\r\n"));
}

TEST_CASE(
    "etcd says how much room it has taken, from 3.6 on also of how much, and that it is full") {
  CannedServer server(
      {CannedServer::answer("200 OK", R"({"header":{},"version":"3.4.23","dbSize":"20480",)"
                                      R"("leader":"1","dbSizeInUse":"16384"})"),
       CannedServer::answer("200 OK", R"({"dbSize":"9","dbSizeInUse":"8","dbSizeQuota":"7",)"
                                      R"("errors":["memberID:1 alarm:NOSPACE "]})"),
       CannedServer::answer("200 OK", "{}")});
  EtcdStore store(asking({server.url()}));
  const auto usage = store.usage();
  REQUIRE(usage.ok());
  CHECK(usage->file_bytes == 20480);
  CHECK(usage->used_bytes == 16384);
  CHECK(usage->quota_bytes == 0);
  CHECK_FALSE(usage->is_full);
  const auto full = store.usage();
  REQUIRE(full.ok());
  CHECK(full->quota_bytes == 7);
  CHECK(full->is_full);
  CHECK(store.usage().status().code() == Code::kLogUnreachable);
}

TEST_CASE("whoever waits for a write hears that its user was refused") {
  CannedServer server({refused_by_etcd(
      "400 Bad Request", "etcdserver: authentication failed, invalid user ID or password", 3)});
  EtcdStore store(asking_as_user({server.url()}));
  LogHealth health;
  ReplicaLog log(store, health, {.timeout_ms = 0, .pause_ms = 0});
  const auto refused = log.database("");
  CHECK(refused.status().code() == Code::kLogUnreachable);
  CHECK_THAT(std::string(refused.status().message()),
             Contains(R"(etcd refuses the user "kyro": etcdserver: authentication failed)"));
  CHECK(server.bodies().at(0) == R"({"name":"kyro","password":"pass\"word"})");
  CHECK(server.heads().at(0).starts_with("POST /v3/auth/authenticate HTTP/1.1\r\n"));

  CannedServer closed({refused_by_etcd("400 Bad Request", "etcdserver: user name is empty", 3)});
  EtcdStore nobody(asking({closed.url()}));
  CHECK_THAT(std::string(nobody.look(0).status().message()),
             Contains("refuses a request without a user"));
  CannedServer strict(
      {token_answer("t"), refused_by_etcd("403 Forbidden", "etcdserver: permission denied", 7)});
  EtcdStore stranger(asking_as_user({strict.url()}));
  CHECK_THAT(std::string(stranger.look(0).status().message()),
             Contains(R"(refuses the user "kyro": etcdserver: permission denied)"));
}

TEST_CASE("a token that has expired is renewed once, and a new one that is refused is not") {
  const std::string expired =
      refused_by_etcd("401 Unauthorized", "etcdserver: invalid auth token", 16);
  CannedServer server({token_answer("one"), kNothingThere, expired, token_answer("two"),
                       kNothingThere, expired, token_answer("three"), expired, token_answer("four"),
                       kNothingThere});
  EtcdStore store(asking_as_user({server.url()}));
  CHECK(store.look(0).ok());
  CHECK(store.look(1).ok());
  std::vector<std::string> tokens;
  for (const std::string& head : server.heads()) tokens.push_back(authorization_of(head));
  CHECK(tokens == std::vector<std::string>{"", "one", "one", "", "two"});
  CHECK(store.look(2).status().code() == Code::kLogUnreachable);
  CHECK(server.heads().size() == 8);
  CHECK(store.look(3).ok());
  CHECK(authorization_of(server.heads().back()) == "four");
}

}  // namespace kyro::test
