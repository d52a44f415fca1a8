// The drills of scripts/deploy/cluster/README.md: what happens when a part of a cluster dies, fills
// up or forgets, and that what the manual says to do is enough. Servers and members of etcd are
// real; shards and their map are drilled in shards_test.cpp.
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kyro/replica/entry.h"
#include "test/support/cluster/etcd_cluster.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

// A server on a log, with the last words of its address.
std::unique_ptr<ServerProcess> serve(const std::string& dir, const std::string& log,
                                     const Args& more = {}) {
  Args flags{"--log", log, "--threads", "1"};
  flags.insert(flags.end(), more.begin(), more.end());
  return std::make_unique<ServerProcess>(dir, flags);
}

// Asks until the answer is as it shall be; the last one, whatever it is.
template <class IsDone>
HttpResponse ask_until(const ServerProcess& server, const std::string& target, IsDone is_done) {
  Client client(server);
  const auto until = steady_clock::now() + seconds(30);
  for (;;) {
    HttpResponse response = client.get(target);
    if (is_done(response) || steady_clock::now() > until) return response;
  }
}
HttpResponse wait_until_ready(const ServerProcess& server) {
  return ask_until(server, "/ready?writes=1",
                   [](const HttpResponse& ready) { return ready.status == 200; });
}
HttpResponse wait_for_reason(const ServerProcess& server, std::string_view reason) {
  return ask_until(server, "/ready", [&](const HttpResponse& ready) {
    return ready.status == 503 && contains(ready.body, reason);
  });
}

int put(const ServerProcess& server, uint64_t key, std::string_view value) {
  return Client(server).call("PUT", kv_path(key), value).status;
}
// While etcd elects a leader a write may take longer than it is waited for.
bool put_at_last(const ServerProcess& server, uint64_t key, std::string_view value) {
  const auto until = steady_clock::now() + seconds(60);
  while (steady_clock::now() < until) {
    if (put(server, key, value) / 100 == 2) return true;
  }
  return false;
}
std::string value_at(const ServerProcess& server, uint64_t key) {
  return Client(server).get(kv_path(key)).body;
}
// As of now, wherever it was written.
std::string latest_at(const ServerProcess& server, uint64_t key) {
  return Client(server).get(kv_path(key) + "?consistency=latest").body;
}

// A backup of a server that runs, as a replica in another directory.
void restore_replica(const ServerProcess& from, const TempDir& dir, const std::string& to) {
  REQUIRE(Client(from).call("POST", "/v1/backup?name=b").status == 200);
  std::filesystem::remove_all(to);
  const Outcome restored = run_kyrodb({"restore", "--replica", dir.file("backups/b"), to});
  INFO(restored.err);
  REQUIRE(restored.exit_code == 0);
}

// What an administrator does.
HttpResponse administer(const EtcdCluster& members, const std::string& path,
                        const std::string& body) {
  Client client(members.endpoint(0));
  HttpResponse response = client.call("POST", path, body);
  INFO(path << ": " << response.body);
  REQUIRE(response.status == 200);
  return response;
}

// The text of the first member of that name.
std::string field_of(const HttpResponse& response, const std::string& name) {
  const std::string label = "\"" + name + "\":\"";
  const size_t at = response.body.find(label);
  INFO(response.body);
  REQUIRE(at != std::string::npos);
  const std::string rest = response.body.substr(at + label.size());
  return rest.substr(0, rest.find('"'));
}

}  // namespace

TEST_CASE("Drill: a member of etcd dies, then a second one, and both come back", "[e2e]") {
  if (!has_etcd()) return;
  TempDir dir;
  EtcdCluster members(3);
  const auto server = serve(dir.file("a"), members.log_url("drill"));
  CHECK(wait_until_ready(*server).status == 200);
  CHECK(put(*server, 1, "three members") == 201);
  members.kill_hard(0);
  CHECK(put_at_last(*server, 1, "two members"));
  members.kill_hard(1);
  check_error(Client(*server).call("PUT", kv_path(1), "one member"), 503, "log_unreachable");
  CHECK(value_at(*server, 1) == "two members");
  const HttpResponse ready = Client(*server).get("/ready");
  CHECK(ready.status == 200);
  CHECK(contains(ready.body, "\"writes\":\"unavailable\""));
  CHECK(Client(*server).get("/ready?writes=1").status == 503);
  CHECK(Client(*server).metric("kyrodb_log_up") == "0");
  check_error(Client(*server).get(kv_path(1) + "?consistency=latest"), 503, "log_unreachable");
  members.start_again(1);
  CHECK(wait_until_ready(*server).status == 200);
  CHECK(put_at_last(*server, 2, "two members again"));
  members.start_again(0);
  CHECK(put_at_last(*server, 2, "three members again"));
  CHECK(Client(*server).metric("kyrodb_log_up") == "1");
}

TEST_CASE("Drill: a replica dies, nobody else notices, and it catches up", "[e2e]") {
  if (!has_etcd()) return;
  TempDir dir;
  EtcdCluster members(1);
  const auto a = serve(dir.file("a"), members.log_url("drill"));
  const auto b = serve(dir.file("b"), members.log_url("drill"));
  CHECK(put(*a, 1, "by a") == 201);
  CHECK(latest_at(*b, 1) == "by a");
  a->kill_hard();
  CHECK(put(*b, 1, "by b") == 204);
  a->start();
  CHECK(latest_at(*a, 1) == "by b");
  CHECK(wait_until_ready(*a).status == 200);
}

TEST_CASE("Drill: a replica was away for longer than the log goes back", "[e2e]") {
  if (!has_etcd()) return;
  TempDir dir;
  EtcdCluster members(1);
  const std::string log = members.log_url("drill");
  const auto a = serve(dir.file("a"), log,
                       {"--log-keep-bytes", "1MiB", "--delta-max-bytes", "256KiB", "--backup-dir",
                        dir.file("backups")});
  const auto b = serve(dir.file("b"), log);
  CHECK(put(*b, 1, "before") == 201);
  REQUIRE(b->stop().exit_code == 0);
  // Until what b would need is no longer in the log.
  const std::string value(10'000, 'v');
  EtcdStore entries(members.options("drill"));
  uint64_t key = 2;
  do {
    REQUIRE(key < 5000);
    REQUIRE(put(*a, key++, value) == 201);
  } while (entries.look(1)->entry.has_value());
  b->start();
  const HttpResponse ready = wait_for_reason(*b, "log_trimmed");
  INFO(ready.body);
  CHECK(contains(ready.body, "kyrodb restore --replica"));
  CHECK(value_at(*b, 1) == "before");  // reads go on
  check_error(Client(*b).call("PUT", kv_path(1), "x"), 503, "log_unreachable");
  REQUIRE(b->stop().exit_code == 0);
  restore_replica(*a, dir, dir.file("b"));
  b->start();
  CHECK(wait_until_ready(*b).status == 200);
  CHECK(latest_at(*b, 2) == value);
  CHECK(put(*b, 1, "after") == 204);
  CHECK(latest_at(*a, 1) == "after");
}

TEST_CASE("Drill: etcd has no room, and is given some", "[e2e]") {
  if (!has_etcd()) return;
  TempDir dir;
  EtcdCluster members(1, {"--quota-backend-bytes", "8388608"});
  const auto server = serve(
      dir.file("a"), members.log_url("drill"),
      {"--log-keep-bytes", "1MiB", "--delta-max-bytes", "64MiB", "--log-quota-bytes", "8MiB"});
  const std::string value(500'000, 'v');
  HttpResponse refused;
  uint64_t key = 0;
  while ((refused = Client(*server).call("PUT", kv_path(key), value)).status == 201) {
    REQUIRE(++key < 1000);
  }
  check_error(refused, 507, "no_space");
  CHECK(contains(refused.body, "alarm disarm"));
  CHECK(value_at(*server, 0) == value);
  // A flush lets entries go, compaction and defragmentation give back what they took.
  REQUIRE(Client(*server).call("POST", "/v1/snapshot").status == 200);
  EtcdStore entries(members.options("drill"));
  for (const auto until = steady_clock::now() + seconds(30); entries.look(0)->entry.has_value();) {
    REQUIRE(steady_clock::now() < until);
  }
  const std::string revision =
      field_of(administer(members, "/v3/kv/range", "{\"key\":\"AA==\"}"), "revision");
  administer(members, "/v3/kv/compaction", "{\"revision\":\"" + revision + "\",\"physical\":true}");
  administer(members, "/v3/maintenance/defragment", "{}");
  const std::string alarmed =
      field_of(administer(members, "/v3/maintenance/alarm", "{\"action\":\"GET\"}"), "memberID");
  administer(members, "/v3/maintenance/alarm",
             "{\"action\":\"DEACTIVATE\",\"alarm\":\"NOSPACE\",\"memberID\":\"" + alarmed + "\"}");
  CHECK(put(*server, key, value) == 201);
}

TEST_CASE("Drill: etcd was restored from an older snapshot", "[e2e]") {
  if (!has_etcd()) return;
  TempDir dir;
  EtcdCluster members(1);
  const auto server = serve(dir.file("a"), members.log_url("drill"));
  CHECK(put(*server, 1, "in the snapshot") == 201);
  members.kill_hard(0);
  members.keep_data(0);
  members.start_again(0);
  CHECK(wait_until_ready(*server).status == 200);
  CHECK(put_at_last(*server, 1, "after it"));
  members.kill_hard(0);
  members.bring_back_data(0);
  members.start_again(0);
  const HttpResponse ready = wait_for_reason(*server, "log_behind");
  INFO(ready.body);
  CHECK(contains(ready.body, "kyrodb log init"));
  CHECK(value_at(*server, 1) == "after it");
  check_error(Client(*server).call("PUT", kv_path(2), "x"), 503, "log_unreachable");
  // The replica has more than the log: it begins another one.
  REQUIRE(server->stop().exit_code == 0);
  const std::string log = members.log_url("drill2");
  const Outcome begun = run_kyrodb({"log", "init", log, dir.file("a")});
  INFO(begun.err);
  REQUIRE(begun.exit_code == 0);
  const auto again = serve(dir.file("a"), log, {"--backup-dir", dir.file("backups")});
  CHECK(wait_until_ready(*again).status == 200);
  CHECK(put(*again, 2, "goes on") == 201);
  restore_replica(*again, dir, dir.file("b"));
  const auto b = serve(dir.file("b"), log);
  CHECK(latest_at(*b, 1) == "after it");
  CHECK(latest_at(*b, 2) == "goes on");
}

TEST_CASE("Drill: a newer version has written to the log", "[e2e]") {
  if (!has_etcd()) return;
  TempDir dir;
  EtcdCluster members(1);
  const auto server = serve(dir.file("a"), members.log_url("drill"));
  CHECK(put(*server, 1, "before") == 201);
  EtcdStore entries(members.options("drill"));
  const auto found = entries.look(1);
  REQUIRE(found.ok());
  auto head = decode_head(found->head.value_or(""));
  REQUIRE(head.ok());
  const std::string before = encode_head(*head);
  std::string newer = encode_entry(&*head, 1, 1, "a body that nobody here knows");
  store(newer.data() + offsetof(EntryHeader, version), kEntryVersion + 1);
  const std::string_view body = std::string_view(newer).substr(sizeof(EntryHeader));
  head->crc = crc32c(body, crc32c(newer.data(), offsetof(EntryHeader, crc)));
  store(newer.data() + offsetof(EntryHeader, crc), head->crc);
  const auto made = entries.create(1, newer, before, encode_head(*head));
  REQUIRE(made.ok());
  REQUIRE_FALSE(made->has_value());
  const HttpResponse ready = wait_for_reason(*server, "log_newer");
  INFO(ready.body);
  CHECK(contains(ready.body, "upgrade this server"));
  CHECK(value_at(*server, 1) == "before");
}

}  // namespace kyro::test
