// Keys over several servers: what a server says to a key that is not its own, and HAProxy with the
// configuration of scripts/deploy/cluster in front of three.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/coding.h"
#include "kyro/base/text/slots.h"
#include "test/support/readme.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

constexpr std::array<const char*, 3> kSlotsOfShards{"0-5460", "5461-10922", "10923-16383"};

size_t shard_of(uint64_t key) {
  const uint64_t slot = slot_of(key);
  return slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2;
}
// The n-th key from 0 on that this shard has.
uint64_t key_in(size_t shard, int n = 0) {
  for (uint64_t key = 0;; ++key) {
    if (shard_of(key) == shard && n-- == 0) return key;
  }
}

void check_wrong_shard(const HttpResponse& answer, uint64_t key) {
  check_error(answer, 421, "wrong_shard");
  CHECK(contains(answer.body, "slot " + std::to_string(slot_of(key)) + ","));
}

// Three servers, each with a third of the slots, and a map that says where they are.
struct MappedShards {
  MappedShards() {
    std::string map = read_file("scripts/deploy/cluster/slots.map");
    for (size_t i = 0; i < kSlotsOfShards.size(); ++i) {
      shards.push_back(std::make_unique<ServerProcess>(
          dir.file("data" + std::to_string(i)),
          Args{"--slots", kSlotsOfShards[i], "--fsync", "never", "--threads", "1"}));
      map = replace_all(map, "http://127.0.0.1:303" + std::to_string(i + 1), shards[i]->url());
    }
    write_file(dir.file("map"), map);
  }
  // `kyrodbctl --shards MAP …`
  Outcome ctl(Args words, std::string_view input = {}) const {
    words.insert(words.begin(), {"--shards", dir.file("map")});
    return run_ctl(words, input);
  }

  TempDir dir;
  std::vector<std::unique_ptr<ServerProcess>> shards;
};

// The same behind HAProxy.
struct ShardedStore : MappedShards {
  ShardedStore() { start_proxy(); }
  ~ShardedStore() { stop_proxy(); }

  void start_proxy() {
    port = free_loopback_port();
    std::string text = read_file("scripts/deploy/cluster/haproxy_shards.cfg");
    for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
             {"log /dev/log local0", "log stdout format raw local0"},
             // No replicas: nobody is there.
             {"127.0.0.1:313", "127.0.0.1:1 #"},
             {"127.0.0.1:323", "127.0.0.1:1 #"},
             {"bind 127.0.0.1:3030", "bind 127.0.0.1:" + std::to_string(port)},
             {"/etc/haproxy/slots.map", dir.file("map")},
             {"127.0.0.1:3031", "127.0.0.1:" + std::to_string(shards[0]->port())},
             {"127.0.0.1:3032", "127.0.0.1:" + std::to_string(shards[1]->port())},
             {"127.0.0.1:3033", "127.0.0.1:" + std::to_string(shards[2]->port())}}) {
      INFO(from);
      REQUIRE(contains(text, from));
      text = replace_all(text, from, to);
    }
    write_file(dir.file("haproxy.cfg"), text);
    proxy.emplace(Args{"/usr/sbin/haproxy", "-db", "-f", dir.file("haproxy.cfg")});
    // It listens once a connection to it succeeds.
    HttpResponse answer;
    HttpClient probe(parse_endpoint("127.0.0.1:" + std::to_string(port)).value());
    const auto until = std::chrono::steady_clock::now() + kProcessTimeout;
    while (!probe.request("GET", "/", {}, &answer).ok()) {
      REQUIRE(std::chrono::steady_clock::now() < until);
    }
  }
  void stop_proxy() {
    proxy->signal(SIGTERM);
    proxy->wait();
    proxy.reset();
  }
  [[nodiscard]] HttpEndpoint endpoint() const {
    return parse_endpoint("127.0.0.1:" + std::to_string(port)).value();
  }

  uint16_t port = 0;
  std::optional<Process> proxy;
};

// What HAProxy itself answers.
void check_proxy_error(const HttpResponse& answer, int status, std::string_view code) {
  INFO(answer.body);
  CHECK(answer.status == status);
  CHECK(answer.header("content-type") == "application/json");
  CHECK(contains(answer.body, "{\"error\":\"" + std::string(code) + "\","));
}

bool has_haproxy() {
  if (access("/usr/sbin/haproxy", X_OK) == 0) return true;
  WARN("skipped: haproxy is not installed");
  return false;
}

}  // namespace

TEST_CASE("A server with slots answers 421 to the keys of others, on every route that has a key",
          "[e2e]") {
  Served s({"--slots", kSlotsOfShards[0], "--max-value-bytes", "1MiB"});
  Client& client = s.client;
  const uint64_t mine = key_in(0);
  const uint64_t other = key_in(1);
  const std::string mine_text = std::to_string(mine);
  const std::string other_text = std::to_string(other);
  REQUIRE(client.call("PUT", kv_path(mine), "mine").status == 201);

  for (const std::string path : {"/v1/kv/", "/v1/get_fast/", "/v1/lookup_fast/",
                                 "/v1/lookup?key=", "/v1/kv/", "/v1/subscribe?key="}) {
    INFO(path);
    check_wrong_shard(client.get(path + other_text), other);
  }
  check_wrong_shard(client.get("/v1/lookup_raw?key=" + other_text), other);
  check_wrong_shard(client.get(kv_path(other) + "?wait_secs=300"), other);
  check_wrong_shard(client.call("PUT", kv_path(other), "x"), other);
  check_wrong_shard(client.call("PUT", kv_path(other), std::string(500'000, 'x')), other);
  check_wrong_shard(client.call("PUT", kv_path(other), "x", {{"If-None-Match", "*"}}), other);
  check_wrong_shard(client.call("DELETE", kv_path(other)), other);
  check_wrong_shard(client.call("POST", "/v1/put", put_body(other_text, "x")), other);
  check_wrong_shard(client.call("POST", "/v1/put", put_body(other_text, std::string(500'000, 'x'))),
                    other);
  check_wrong_shard(
      client.call("POST", "/v1/mget", "{\"keys\":[" + mine_text + "," + other_text + "]}"), other);
  std::string keys;
  append_u64(keys, other);
  check_wrong_shard(
      client.call("POST", "/v1/mget", keys, {{"Content-Type", "application/octet-stream"}}), other);
  // A batch is refused as a whole, wherever the key stands in it.
  const std::string good = "{\"op\":\"put\",\"key\":" + mine_text + ",\"value\":\"new\"}\n";
  for (const char* bad : {"{\"op\":\"put\",\"value\":\"x\",\"key\":", "{\"op\":\"delete\",\"key\":",
                          "{\"op\":\"put\",\"value\":\"x\",\"if_none_match\":\"*\",\"key\":"}) {
    const HttpResponse refused = client.call("POST", "/v1/batch", good + bad + other_text + "}\n");
    check_wrong_shard(refused, other);
    CHECK(contains(refused.body, "line 2: "));
  }
  CHECK(client.next_offset() == 1);

  // What it has it serves, and ranges are about what is there.
  CHECK(client.get(kv_path(mine)).body == "mine");
  CHECK(client.call("OPTIONS", kv_path(other)).status == 204);
  CHECK(client.get("/v1/floor/" + std::to_string(std::max(mine, other))).status == 200);
  CHECK(client.get("/v1/ceil/" + mine_text).status == 200);
  CHECK(contains(client.get("/v1/count").body, "\"count\":1,"));
  CHECK(contains(client.get("/v1/scan").body, "\"mine\""));
  CHECK(contains(client.call("DELETE", "/v1/scan?start=0").body, "\"deleted\":1,"));
}

TEST_CASE("What a store has beyond its slots is in ranges, and a range removes it", "[e2e]") {
  Served s;
  const uint64_t other = key_in(2);
  REQUIRE(s.client.call("PUT", kv_path(other), "stray").status == 201);
  s.client.close();
  REQUIRE(s.server.stop().exit_code == 0);
  s.server.start_with({"--slots", kSlotsOfShards[0]});
  Client client(s.server);
  check_wrong_shard(client.get(kv_path(other)), other);
  CHECK(contains(client.get("/v1/scan").body, "\"stray\""));
  const std::string range = "/v1/scan?start=" + std::to_string(other);
  CHECK(contains(client.call("DELETE", range).body, "\"deleted\":1,"));
  CHECK(contains(client.get("/v1/count").body, "\"count\":0,"));
}

TEST_CASE("Slots that make no sense end a start with a sentence", "[e2e]") {
  TempDir dir;
  const Outcome outcome =
      run_kyrodb({"serve", "127.0.0.1", "0", "--data-dir", dir.file("data"), "--slots", "0-16384"});
  CHECK(outcome.exit_code == 2);
  CHECK(contains(outcome.err, "--slots slots are numbers from 0 to 16383 or ranges of them"));
}

TEST_CASE("Through HAProxy with the slot map 7000 keys are found, and a shard that is down is 503",
          "[e2e]") {
  if (!has_haproxy()) return;
  constexpr uint64_t kKeys = 7000;
  ShardedStore store;
  Client proxy(store.endpoint());
  for (uint64_t key = 0; key < kKeys; ++key) {
    REQUIRE(proxy.call("PUT", kv_path(key), "v" + std::to_string(key)).status == 201);
  }
  uint64_t wrong = 0;
  for (uint64_t key = 0; key < kKeys; ++key) {
    const HttpResponse answer = proxy.get("/v1/get_fast/" + std::to_string(key));
    wrong += answer.status == 200 && answer.body == "v" + std::to_string(key) ? 0u : 1u;
  }
  CHECK(wrong == 0);
  uint64_t stored = 0;
  for (const auto& shard : store.shards) stored += Client(*shard).next_offset();
  CHECK(stored == kKeys);
  CHECK(proxy.get("/v1/lookup?key=7").status == 200);
  CHECK(proxy.get("/v1/lookup_raw?key=7").status == 204);
  CHECK(proxy.get("/v1/kv/18446744073709551615").status == 404);
  check_error(proxy.get("/v1/kv/18446744073709551616"), 400, "bad_key");
  check_error(proxy.get("/v1/kv/07"), 400, "bad_key");
  check_error(proxy.get("/v1/kv/"), 400, "bad_key");
  for (const char* path : {"/v1/scan", "/v1/lookup", "/"}) {
    INFO(path);
    check_proxy_error(proxy.get(path), 501, "not_implemented");
  }

  store.shards[1]->kill_hard();
  size_t missing = 0;
  for (uint64_t key = 0; key < 60; ++key) {
    const HttpResponse answer = proxy.get(kv_path(key));
    INFO(key);
    CHECK(answer.status == (shard_of(key) == 1 ? 503 : 200));
    if (answer.status != 503) continue;
    check_proxy_error(answer, 503, "unavailable");
    ++missing;
  }
  CHECK(missing > 0);
}

TEST_CASE("Through HAProxy with a wrong slot map writes and reads are 421, and nothing is stored",
          "[e2e]") {
  if (!has_haproxy()) return;
  ShardedStore store;
  store.stop_proxy();
  const std::string map = read_file(store.dir.file("map"));
  write_file(store.dir.file("map"), replace_all(replace_all(map, "0:5460 shard1", "0:5460 shard2"),
                                                "5461:10922 shard2", "5461:10922 shard1"));
  store.start_proxy();
  Client proxy(store.endpoint());
  for (size_t shard = 0; shard < 3; ++shard) {
    for (int n = 0; n < 20; ++n) {
      const uint64_t key = key_in(shard, n);
      INFO(key);
      const HttpResponse put = proxy.call("PUT", kv_path(key), "v");
      const HttpResponse get = proxy.get(kv_path(key));
      if (shard == 2) {
        CHECK(put.status == 201);
        CHECK(get.status == 200);
      } else {
        check_wrong_shard(put, key);
        check_wrong_shard(get, key);
      }
    }
  }
  CHECK(Client(*store.shards[0]).next_offset() == 0);
  CHECK(Client(*store.shards[1]).next_offset() == 0);
}

TEST_CASE("Slots move from a shard to another as the manual says, and no key is lost", "[e2e]") {
  MappedShards s;
  constexpr uint64_t kKeys = 3000;
  std::string lines;
  for (uint64_t key = 0; key < kKeys; ++key) {
    lines += "{\"key\":" + std::to_string(key) + ",\"value\":\"v\"}\n";
  }
  REQUIRE(s.ctl({"import", "-"}, lines).exit_code == 0);
  // 4000 to 5460 go from the first to the second.
  const std::string old_map = read_file(s.dir.file("map"));
  ServerProcess& first = *s.shards[0];
  ServerProcess& second = *s.shards[1];
  const std::string before = second.url();
  REQUIRE(second.stop().exit_code == 0);
  second.start_with({"--slots", "4000-10922", "--fsync", "never", "--threads", "1"});
  const std::string new_map = replace_all(
      replace_all(replace_all(old_map, before, second.url()), "0:5460 shard1", "0:3999 shard1"),
      "5461:10922 shard2", "4000:10922 shard2");
  write_file(s.dir.file("map"), new_map);
  const Outcome exported = run_ctl({"-e", first.url(), "export", "-"});
  REQUIRE(exported.exit_code == 0);
  const Outcome imported = s.ctl({"import", "-"}, exported.out);
  INFO(imported.err);
  REQUIRE(imported.exit_code == 0);
  const std::string first_before = first.url();
  REQUIRE(first.stop().exit_code == 0);
  first.start_with({"--slots", "0-3999", "--fsync", "never", "--threads", "1"});
  write_file(s.dir.file("map"), replace_all(new_map, first_before, first.url()));
  CHECK(s.ctl({"export", "-"}).out == lines);
  // Who asks the first for a key that has gone is told so.
  uint64_t moved = 0;
  while (slot_of(moved) < 4000 || slot_of(moved) > 5460) ++moved;
  check_wrong_shard(Client(first).get(kv_path(moved)), moved);
  CHECK(Client(second).get(kv_path(moved)).body == "v");
}

TEST_CASE("The client with a slot map asks the shard that has a key, and merges what all say",
          "[e2e]") {
  const MappedShards s;
  CHECK(s.ctl({"scan"}).out.empty());
  CHECK(s.ctl({"floor", "7"}).exit_code == 3);
  std::string lines;
  std::string csv = "key,value\r\n";
  for (uint64_t key = 10; key < 5000; ++key) {
    const std::string text = std::to_string(key);
    lines += "{\"key\":" + text + ",\"value\":\"v" + text + "\"}\n";
    csv += text + ",v" + text + "\r\n";
  }
  const Outcome imported = s.ctl({"import", "-", "--json"}, lines);
  INFO(imported.err);
  CHECK(contains(imported.out, "{\"imported\":4990,"));
  CHECK(s.ctl({"export", "-"}).out == lines);
  CHECK(s.ctl({"export", "-", "--format", "csv"}).out == csv);
  CHECK(s.ctl({"count"}).out == "count: 4990\n");
  for (const auto& shard : s.shards) CHECK(Client(*shard).next_offset() > 1000);

  CHECK(s.ctl({"put", "7", "seven"}).exit_code == 0);
  CHECK(s.ctl({"put", "7", "x", "--if-none-match"}).exit_code == 4);
  CHECK(s.ctl({"get", "7"}).out == "seven");
  CHECK(contains(s.ctl({"lookup", "7"}).out, "value: seven"));
  CHECK(s.ctl({"incr", "8", "5"}).exit_code == 0);
  CHECK(s.ctl({"get", "8"}).out == "5");
  CHECK(contains(s.ctl({"ttl", "8"}).out, "none"));
  CHECK(contains(s.ctl({"watch", "8", "--limit", "1"}).out, "\"value\":\"5\""));
  CHECK(s.ctl({"delete", "8"}).exit_code == 0);
  CHECK(s.ctl({"get", "8"}).exit_code == 3);

  const Outcome values = s.ctl({"mget", "4999", "7", "8", "10", "11", "12"});
  CHECK(values.exit_code == 3);
  CHECK(values.out ==
        "{\"key\":4999,\"value\":\"v4999\"}\n{\"key\":7,\"value\":\"seven\"}\n"
        "{\"key\":8,\"value\":null}\n{\"key\":10,\"value\":\"v10\"}\n"
        "{\"key\":11,\"value\":\"v11\"}\n{\"key\":12,\"value\":\"v12\"}\n");

  // The nearest key of all, whichever shard has it.
  for (uint64_t key = 20; key < 26; ++key) {
    const std::string text = std::to_string(key);
    CHECK(s.ctl({"floor", text}).out.starts_with("key: " + text + "\n"));
    CHECK(s.ctl({"ceil", text}).out.starts_with("key: " + text + "\n"));
  }
  CHECK(s.ctl({"floor", "18446744073709551615"}).out.starts_with("key: 4999\n"));
  CHECK(s.ctl({"ceil", "8"}).out.starts_with("key: 10\n"));
  CHECK(s.ctl({"ceil", "5000"}).exit_code == 3);

  // A limit is of all together, in both directions.
  const auto keys_of = [&s](Args words) {
    std::vector<uint64_t> keys;
    words.insert(words.begin(), {"scan", "--keys-only"});
    std::istringstream out(s.ctl(words).out);
    for (std::string line; std::getline(out, line);) {
      keys.push_back(parse_u64(std::string_view(line).substr(7, line.find(',') - 7)).value());
    }
    return keys;
  };
  CHECK(keys_of({"--start", "100", "--limit", "4"}) == std::vector<uint64_t>{100, 101, 102, 103});
  CHECK(keys_of({"--reverse", "--limit", "3"}) == std::vector<uint64_t>{4999, 4998, 4997});
  CHECK(keys_of({"--start", "4997", "--end", "4999"}) == std::vector<uint64_t>{4997, 4998});
}

TEST_CASE(
    "What a shard has beyond its slots the client leaves out, and a shard that is down is told",
    "[e2e]") {
  MappedShards s;
  const uint64_t stray = key_in(0, 5);
  const uint64_t before = key_in(1, 0);
  const std::string stray_text = std::to_string(stray);
  REQUIRE(s.ctl({"put", std::to_string(before), "x"}).exit_code == 0);
  // A server that had all slots once.
  REQUIRE(s.shards[2]->stop().exit_code == 0);
  s.shards[2]->start_with({});
  REQUIRE(Client(*s.shards[2]).call("PUT", kv_path(stray), "stray").status == 201);
  const std::string map = read_file(s.dir.file("map"));
  const size_t port = map.find("#url shard3 ");
  const size_t end = map.find('\n', port);
  write_file(s.dir.file("map"),
             map.substr(0, port) + "#url shard3 " + s.shards[2]->url() + map.substr(end));
  CHECK_FALSE(contains(s.ctl({"scan"}).out, "stray"));
  CHECK(s.ctl({"get", stray_text}).exit_code == 3);
  CHECK(s.ctl({"ceil", "0"}).out.starts_with("key: " + std::to_string(before) + "\n"));
  CHECK(s.ctl({"floor", std::to_string(stray + before)})
            .out.starts_with("key: " + std::to_string(before) + "\n"));

  s.shards[0]->kill_hard();
  CHECK(s.ctl({"get", stray_text}).exit_code == 5);
  CHECK(s.ctl({"get", std::to_string(before)}).exit_code == 0);
  for (const char* command : {"scan", "count", "export"}) {
    INFO(command);
    CHECK(s.ctl({command}).exit_code == 5);
  }
  // An import says from where to go on, and everything before that is stored.
  const uint64_t later = key_in(1, 1);
  const Outcome imported = s.ctl({"import", "-"}, "{\"key\":" + std::to_string(later) +
                                                      ",\"value\":\"a\"}\n{\"key\":" + stray_text +
                                                      ",\"value\":\"b\"}\n");
  INFO(imported.err);
  CHECK(imported.exit_code == 5);
  CHECK(contains(imported.err, "go on with --skip 1"));
  CHECK(s.ctl({"get", std::to_string(later)}).out == "a");
}

TEST_CASE("A slot map goes with no other address, and not with what asks one server", "[e2e]") {
  TempDir dir;
  write_file(dir.file("map"), "#url a http://127.0.0.1:1\n0:16383 a\n");
  write_file(dir.file("half"), "#url a http://127.0.0.1:1\n0:9 a\n");
  const auto refused = [](const Args& words, std::string_view why) {
    const Outcome outcome = run_ctl(words);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 2);
    CHECK(contains(outcome.err, why));
  };
  refused({"--shards", dir.file("map"), "-e", "http://127.0.0.1:2", "get", "1"},
          "--shards and --engine exclude each other");
  refused({"--shards", dir.file("map"), "snapshot"}, "snapshot asks one server");
  refused({"--shards", dir.file("half"), "get", "1"}, "slot 10 has no shard");
  refused({"--shards", dir.file("none"), "get", "1"}, "No such file");
}

}  // namespace kyro::test
