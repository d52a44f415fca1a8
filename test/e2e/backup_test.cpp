// Backups over HTTP and on the command line, and what restoring them gives.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

void put_keys(Client& client, uint64_t begin, uint64_t end) {
  for (uint64_t key = begin; key < end; ++key) {
    REQUIRE(client.call("PUT", kv_path(key), "value " + std::to_string(key)).status == 201);
  }
}

}  // namespace

TEST_CASE("An online backup under load restores to a prefix that holds all acknowledged before",
          "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--backup-dir", dir.file("backups")});
  Client client(server);
  std::atomic<uint64_t> acknowledged{0};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    HttpClient own(server.endpoint());
    for (uint64_t key = 0; !stop.load(); ++key) {
      HttpResponse response;
      const bool stored =
          own.request("PUT", kv_path(key), "value " + std::to_string(key), &response).ok();
      if (!stored || response.status != 201) break;
      acknowledged.store(key + 1);
    }
  });
  while (acknowledged.load() < 50) std::this_thread::yield();
  const uint64_t before = acknowledged.load();
  const HttpResponse answer = client.call("POST", "/v1/backup?name=first.1");
  stop = true;
  writer.join();
  INFO(answer.body);
  REQUIRE(answer.status == 200);
  CHECK(answer.body.starts_with("{\"backup\":\"ok\",\"name\":\"first.1\",\"next_offset\":"));
  check_error(client.call("POST", "/v1/backup?name=first.1"), 409, "exists");
  const std::string id = client.get("/v1/offset").body;
  REQUIRE(client.call("POST", "/v1/compact").status == 200);  // its files go, the backup's do not
  CHECK(server.stop().exit_code == 0);

  const std::string backup = dir.file("backups") + "/first.1";
  require_verified(backup);
  const Outcome restored = run_kyrodb({"restore", backup, dir.file("restored")});
  INFO(restored.out << restored.err);
  REQUIRE(restored.exit_code == 0);
  ServerProcess again(dir.file("restored"));
  Client reader(again);
  uint64_t kept = 0;
  while (reader.get(kv_path(kept)).status == 200) ++kept;
  CHECK(kept >= before);
  CHECK(kept <= acknowledged.load() + 1);
  CHECK(reader.get(kv_path(kept / 2)).body == "value " + std::to_string(kept / 2));
  CHECK(reader.next_offset() == kept + (uint64_t{1} << 32));
  CHECK(reader.get("/v1/offset").body.substr(id.find("database")) !=
        id.substr(id.find("database")));
  check_error(reader.get("/v1/replay?start=" + std::to_string(kept + 5)), 410, "gone");
  CHECK(again.stop().exit_code == 0);
  require_verified(backup);
}

TEST_CASE("A backup on the server needs --backup-dir, a plain name and POST", "[e2e]") {
  {
    Served s;
    check_error(s.client.call("POST", "/v1/backup?name=a"), 403, "forbidden");
  }
  TempDir backups;
  Served s({"--backup-dir", backups.path()});
  put_keys(s.client, 0, 3);
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "a%2Fb", "a b", "\xC3\xA4"}) {
    INFO("name \"" << name << "\"");
    HttpResponse response;
    if (contains(name, " ")) continue;  // no request at all
    response = s.client.call("POST", std::string("/v1/backup?name=") + name);
    CHECK(response.status == 400);
  }
  check_error(s.client.call("POST", "/v1/backup"), 400, "bad_name");
  check_error(s.client.call("POST", "/v1/backup?name=" + std::string(129, 'n')), 400, "bad_name");
  CHECK(s.client.get("/v1/backup?name=a").status == 400);  // that would be another one
  CHECK(std::filesystem::is_empty(backups.path()));
  CHECK(s.client.call("POST", "/v1/backup?name=" + std::string(128, 'n')).status == 200);
  CHECK(s.client.call("POST", "/v1/backup?name=2026-01-31_Z.v1").status == 200);
}

TEST_CASE("The offline tools refuse a live directory and name the online way", "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  {
    ServerProcess server(data);
    Client client(server);
    put_keys(client, 0, 20);
    const Outcome refused = run_kyrodb({"backup", data, dir.file("copy")});
    CHECK(refused.exit_code == 1);
    CHECK(contains(refused.err, "in use by process " + std::to_string(server.process().pid())));
    CHECK(contains(refused.err, "POST /v1/backup?name="));
    CHECK(!std::filesystem::exists(dir.file("copy")));
    server.kill_hard();
  }
  const Outcome made = run_kyrodb({"backup", data, dir.file("copy")});
  INFO(made.out << made.err);
  CHECK(made.exit_code == 0);
  CHECK(contains(made.out, "offsets below 20"));
  const Outcome twice = run_kyrodb({"backup", data, dir.file("copy")});
  CHECK(twice.exit_code == 1);
  CHECK(contains(twice.err, "there is a store in it already"));
  CHECK(run_kyrodb({"restore", dir.file("copy"), data}).exit_code == 1);
  const Outcome restored = run_kyrodb({"restore", dir.file("copy"), dir.file("new")});
  CHECK(restored.exit_code == 0);
  CHECK(contains(restored.out, ": offsets below 20, the next one is 4294967316, "));
  require_verified(dir.file("new"));
  require_verified(data);
  {
    ServerProcess server(dir.file("new"));
    Client client(server);
    CHECK(client.next_offset() == 4294967316);
  }

  for (const char* tool : {"verify", "backup", "restore", "dump", "salvage"}) {
    for (const Args& words : {Args{"help", tool}, Args{tool, "--help"}}) {
      const Outcome help = run_kyrodb(words);
      CHECK(help.exit_code == 0);
      CHECK(help.out.starts_with(std::string("Usage: kyrodb ") + tool + " "));
    }
    CHECK(run_kyrodb({tool}).exit_code == 2);
    CHECK(run_kyrodb({tool, "a", "b", "c"}).exit_code == 2);
    CHECK(run_kyrodb({tool, "--nonsense"}).exit_code == 2);
  }
}

TEST_CASE("Dump prints live records and the log, salvage saves what a damaged store still has",
          "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  {
    ServerProcess server(data);
    Client client(server);
    put_keys(client, 0, 50);
    REQUIRE(client.call("PUT", kv_path(3), std::string("\xFF\0", 2)).status == 204);
    REQUIRE(client.call("DELETE", kv_path(4)).status == 204);
    REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
    CHECK(contains(run_kyrodb({"dump", data}).err, "a running server exports"));
    CHECK(server.stop().exit_code == 0);
  }
  const Outcome live = run_kyrodb({"dump", data});
  CHECK(live.exit_code == 0);
  CHECK(std::count(live.out.begin(), live.out.end(), '\n') == 49);
  CHECK(contains(live.out,
                 "{\"key\":2,\"value\":\"value 2\",\"offset\":2}\n"
                 "{\"key\":3,\"value_base64\":\"/wA=\",\"offset\":50}\n"
                 "{\"key\":5,"));
  const Outcome log = run_kyrodb({"dump", "--wal", data});
  CHECK(log.exit_code == 0);
  CHECK(std::count(log.out.begin(), log.out.end(), '\n') == 52);
  CHECK(log.out.ends_with("{\"offset\":51,\"op\":\"delete\",\"key\":4}\n"));

  std::filesystem::resize_file(data + "/run-1.data", 500);
  CHECK(run_kyrodb({"dump", data}).exit_code == 1);
  const Outcome saved = run_kyrodb({"salvage", data, dir.file("saved")});
  INFO(saved.out << saved.err);
  CHECK(saved.exit_code == 1);
  CHECK(contains(saved.out, "lost: run-1.data at "));
  CHECK(contains(saved.out, "INCOMPLETE: 49 live records saved"));  // the log still had them
  require_verified(dir.file("saved"));
  CHECK(run_kyrodb({"dump", dir.file("saved")}).out == live.out);
}

TEST_CASE("A server scrubs by itself, and a scrub that finds damage shows in log and metrics",
          "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  {
    ServerProcess server(data);
    Client client(server);
    put_keys(client, 0, 50);
    REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
    put_keys(client, 50, 60);
    CHECK(server.stop().exit_code == 0);
  }
  std::fstream run(data + "/run-1.data", std::ios::binary | std::ios::in | std::ios::out);
  run.seekp(2 * 4096 - 10);  // in the last record of the first page
  run.put('X');
  run.close();
  ServerProcess server(data, {"--scrub-interval-secs", "1"});
  Client client(server);
  CHECK(server.process().wait_for_err(" run_quarantined "));
  CHECK(client.metric("kyrodb_corruptions_total") == "1");
  CHECK(client.metric("kyrodb_scrubbed_bytes_total") != "0");
  CHECK(client.metric("kyrodb_dead_bytes") == "0");
  CHECK(client.get(kv_path(40)).status == 200);
  check_error(client.call("POST", "/v1/compact"), 500, "corruption");
}

}  // namespace kyro::test
