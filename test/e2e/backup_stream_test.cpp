// Backups over the wire: whole, a prefix, and never half accepted.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "kyro/storage/fs/tar.h"
#include "test/support/ctl.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

std::string numbered_value(uint64_t key) {
  return "value " + std::to_string(key) + std::string(key * 131 % 900, 'v');
}

void put_numbered(Client& client, uint64_t begin, uint64_t end) {
  for (uint64_t key = begin; key < end; ++key) {
    REQUIRE(client.call("PUT", kv_path(key), numbered_value(key)).status == 201);
  }
}

// Restores and holds every record against what was written; how many there are.
uint64_t count_restored(const std::string& archive, const std::string& to) {
  require_verified(archive);
  const Outcome restored = run_kyrodb({"restore", archive, to});
  INFO(restored.out << restored.err);
  REQUIRE(restored.exit_code == 0);
  ServerProcess again(to);
  Client reader(again);
  uint64_t kept = 0;
  for (;; ++kept) {
    const HttpResponse answer = reader.get(kv_path(kept));
    if (answer.status != 200) break;
    REQUIRE(answer.body == numbered_value(kept));
  }
  CHECK(reader.get("/v1/count").body.starts_with("{\"count\":" + std::to_string(kept) + ","));
  CHECK(reader.next_offset() == kept + (uint64_t{1} << 32));
  CHECK(again.stop().exit_code == 0);
  return kept;
}

}  // namespace

TEST_CASE("A backup that is sent while writes and merges go on is a prefix with all of before",
          "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--fsync", "never", "--delta-max-bytes", "65536",
                                          "--wal-segment-bytes", "65536"});
  std::atomic<uint64_t> acknowledged{0};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    HttpClient own(server.endpoint());
    for (uint64_t key = 0; !stop.load(); ++key) {
      HttpResponse response;
      const bool stored = own.request("PUT", kv_path(key), numbered_value(key), &response).ok();
      if (!stored || response.status != 201) break;
      acknowledged.store(key + 1);
    }
  });
  std::thread merger([&] {
    HttpClient own(server.endpoint());
    HttpResponse response;
    while (!stop.load() && own.request("POST", "/v1/compact", {}, &response).ok()) {
    }
  });
  for (uint64_t n = 0; n < 5; ++n) {
    while (acknowledged.load() < 300 * (n + 1)) std::this_thread::yield();
    const uint64_t before = acknowledged.load();
    const std::string archive = dir.file("a" + std::to_string(n) + ".tar");
    const Outcome made = run_ctl({"-e", server.url(), "backup", "-o", archive});
    const uint64_t after = acknowledged.load() + 1;
    INFO(made.out << made.err);
    CHECK(made.exit_code == 0);
    CHECK(made.out.empty());
    CHECK((fs::status(archive).permissions() & fs::perms::mask) ==
          (fs::perms::owner_read | fs::perms::owner_write));
    const uint64_t kept = count_restored(archive, dir.file("r" + std::to_string(n)));
    CHECK(kept >= before);
    CHECK(kept <= after);
  }
  stop = true;
  writer.join();
  merger.join();
  CHECK(server.stop().exit_code == 0);
  for (const auto& entry : fs::directory_iterator(dir.path())) {
    CHECK(!contains(entry.path().string(), ".partial"));
  }
}

TEST_CASE("An archive that was cut off at any block is refused, and restores nothing", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  Client client(server);
  put_numbered(client, 0, 20);
  const HttpResponse sent = client.get("/v1/backup");
  REQUIRE(sent.status == 200);
  CHECK(sent.header("content-type") == "application/x-tar");
  CHECK(sent.header("kyro-backup-bytes") == std::to_string(sent.body.size()));
  CHECK(sent.header("kyro-next-offset") == "20");
  REQUIRE(sent.body.size() % kTarBlockBytes == 0);
  const std::string archive = dir.file("cut.tar");
  for (size_t bytes = 0; bytes < sent.body.size(); bytes += kTarBlockBytes) {
    write_file(archive, std::string_view(sent.body).substr(0, bytes));
    const Outcome looked = run_kyrodb({"verify", archive});
    INFO(bytes << looked.out << looked.err);
    CHECK(looked.exit_code == 1);
    CHECK(contains(looked.out, "cut off"));
    const Outcome restored = run_kyrodb({"restore", archive, dir.file("none")});
    CHECK(restored.exit_code == 1);
    CHECK(!fs::exists(dir.file("none")));
  }
  write_file(archive, sent.body);
  CHECK(count_restored(archive, dir.file("whole")) == 20);
  std::string damaged = sent.body;
  damaged[kTarBlockBytes + 200] ^= 1;
  write_file(archive, damaged);
  CHECK(run_kyrodb({"verify", archive}).exit_code == 1);
  CHECK(run_kyrodb({"restore", archive, dir.file("none")}).exit_code == 1);
  CHECK(!fs::exists(dir.file("none")));
}

TEST_CASE("curl over HTTP/1.1 and HTTP/2, and tar, take a backup like any file", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  Client client(server);
  put_numbered(client, 0, 500);
  REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
  put_numbered(client, 500, 510);
  for (const char* version : {"--http1.1", "--http2-prior-knowledge", "--http1.0"}) {
    const std::string archive = dir.file(std::string("a") + version + ".tar");
    const Outcome sent =
        run_program({"/usr/bin/curl", "-sSf", version, "-o", archive, server.url() + "/v1/backup"});
    INFO(version << sent.err);
    REQUIRE(sent.exit_code == 0);
    CHECK(count_restored(archive, dir.file(std::string("r") + version)) == 510);
    const std::string unpacked = dir.file(std::string("u") + version);
    fs::create_directory(unpacked);
    CHECK(run_program({"/usr/bin/tar", "-xf", archive, "-C", unpacked}).exit_code == 0);
    require_verified(unpacked);
    const std::string again = dir.file("again.tar");
    const Outcome packed =
        run_program({"/usr/bin/tar", "--format=ustar", "-cf", again, "-C", unpacked, "."});
    CHECK(packed.exit_code == 0);
    require_verified(again);
    CHECK(run_kyrodb({"dump", again}).out == run_kyrodb({"dump", unpacked}).out);
  }
}

TEST_CASE("The read token does not reach a backup, and a withdrawn one ends it", "[e2e]") {
  TempDir dir;
  write_file(dir.file("all"), "write-token-0123456789\n");
  write_file(dir.file("read"), "read-token-0123456789\n");
  Served s({"--auth-token-file", dir.file("all"), "--read-token-file", dir.file("read")});
  for (const auto& [method, target] :
       {std::pair("GET", "/v1/backup"), std::pair("HEAD", "/v1/backup"),
        std::pair("GET", "/v1/backups"), std::pair("DELETE", "/v1/backups?name=a")}) {
    INFO(method << " " << target);
    Client one(s.server);
    one.must_send(std::string(method) + " " + target +
                  " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer read-token-0123456789\r\n\r\n");
    CHECK(one.next(std::string_view(method) == "HEAD").status == 403);
    Client none(s.server);
    none.must_send(std::string(method) + " " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(none.next(std::string_view(method) == "HEAD").status == 401);
  }
  CHECK(s.client.get("/v1/backup", bearer("write-token-0123456789")).status == 200);
}

TEST_CASE("A client that does not read its backup is ended, and at most four are sent at once",
          "[e2e]") {
  Served s({"--write-timeout-ms", "1000"});
  const std::string value(1 << 20, 'x');
  for (uint64_t key = 0; key < 40; ++key) {
    REQUIRE(s.client.call("PUT", kv_path(key), value).status == 201);
  }
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 4; ++i) {
    idle.push_back(std::make_unique<Client>(s.server));
    idle.back()->must_send("GET /v1/backup HTTP/1.1\r\nHost: localhost\r\n\r\n");
    HttpResponse head;
    REQUIRE(idle.back()->receive_head(&head).ok());
    REQUIRE(head.status == 200);
  }
  CHECK(s.client.metric("kyrodb_backup_streams") == "4");
  check_error(s.client.get("/v1/backup"), 503, "busy");
  while (s.client.metric("kyrodb_backup_streams") != "0") std::this_thread::yield();
  std::string got;
  bool is_at_end = false;
  Status status;
  while (status.ok() && !is_at_end) status = idle[0]->receive_body(&got, &is_at_end);
  CHECK(!status.ok());
  CHECK(got.size() < 40 * value.size());
  CHECK(s.client.metric("kyrodb_backup_failures_total") == "4");
  CHECK(s.client.get("/v1/backup").status == 200);
  Client asks(s.server);
  asks.must_send("HEAD /v1/backup HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(asks.next(true).status == 200);
  while (s.client.metric("kyrodb_backup_streams") != "0") std::this_thread::yield();
  CHECK(s.client.metric("kyrodb_backup_failures_total") == "4");
}

TEST_CASE("Backups in the server's directory are listed and removed, and nothing else is",
          "[e2e]") {
  TempDir dir;
  fs::create_directories(dir.file("shelf/foreign"));
  write_file(dir.file("shelf/foreign/letter.txt"), "mine");
  write_file(dir.file("shelf/file"), "mine");
  ServerProcess server(dir.file("shelf/data"), {"--backup-dir", dir.file("shelf")});
  Client client(server);
  put_numbered(client, 0, 10);
  for (const char* name : {"b", "a"}) {
    REQUIRE(client.call("POST", std::string("/v1/backup?name=") + name).status == 200);
  }
  fs::create_directory_symlink(dir.file("shelf/a"), dir.file("shelf/link"));
  fs::create_directory(dir.file("shelf/half"));
  fs::copy_file(dir.file("shelf/a/wal-00000000000000000000.log"),
                dir.file("shelf/half/wal-00000000000000000000.log"));
  const std::string list = client.get("/v1/backups").body;
  INFO(list);
  CHECK(list.starts_with("{\"backups\":[{\"name\":\"a\",\"whole\":true,\"next_offset\":10,"));
  CHECK(contains(list, "{\"name\":\"b\",\"whole\":true,"));
  CHECK(contains(list, "{\"name\":\"half\",\"whole\":false,"));
  for (const char* other : {"foreign", "file", "link", "data"}) {
    CHECK(!contains(list, "\"name\":\"" + std::string(other) + "\""));
    check_error(client.call("DELETE", std::string("/v1/backups?name=") + other), 404, "not_found");
  }
  check_error(client.call("DELETE", "/v1/backups?name=nothing"), 404, "not_found");
  check_error(client.call("DELETE", "/v1/backups?name=../data"), 400, "bad_name");
  check_error(client.call("DELETE", "/v1/backups"), 400, "bad_name");

  const Outcome table = run_ctl({"-e", server.url(), "backups"});
  check_says(table, "half  INCOMPLETE");
  CHECK(run_ctl({"-e", server.url(), "--json", "backups"}).out == list + "\n");
  check_says(run_ctl({"-e", server.url(), "backups", "--remove", "half"}), "");
  check_says(run_ctl({"-e", server.url(), "backups", "--remove", "a"}), "");
  check_fails(run_ctl({"-e", server.url(), "backups", "--remove", "a"}), 3, "no backup");
  CHECK(!fs::exists(dir.file("shelf/a")));
  CHECK(!fs::exists(dir.file("shelf/half")));
  CHECK(fs::exists(dir.file("shelf/foreign/letter.txt")));
  CHECK(client.get(kv_path(3)).status == 200);
  require_verified(dir.file("shelf/b"));
  check_error(Served().client.get("/v1/backups"), 403, "forbidden");
}

TEST_CASE("kyrodbctl backup writes to a pipe, and leaves nothing where it fails", "[e2e]") {
  CtlSession s;
  Client client(s.server);
  put_numbered(client, 0, 30);
  const Outcome piped = s.ctl({"backup", "-o", "-"});
  CHECK(piped.exit_code == 0);
  CHECK(piped.err.empty());
  write_file(s.dir.file("piped.tar"), piped.out);
  CHECK(count_restored(s.dir.file("piped.tar"), s.dir.file("restored")) == 30);
  const Outcome json = s.ctl({"--json", "backup", "-o", s.dir.file("j.tar")});
  CHECK(is_json_line(json.out));
  check_fails(s.ctl({"backup"}), 2, "either NAME, or -o FILE");
  check_fails(s.ctl({"backup", "name", "-o", "x"}), 2, "either NAME, or -o FILE");
  check_fails(s.ctl({"backup", "-o", s.dir.file("no/such/place.tar")}), 1, "No such file");
  write_file(s.dir.file("old.tar"), "old");
  CHECK(s.server.stop().exit_code == 0);
  check_fails(s.ctl({"backup", "-o", s.dir.file("old.tar")}), 5, "cannot connect");
  CHECK(read_file(s.dir.file("old.tar")) == "old");
  for (const auto& entry : fs::directory_iterator(s.dir.path())) {
    CHECK(!contains(entry.path().string(), ".partial"));
  }
}

}  // namespace kyro::test
