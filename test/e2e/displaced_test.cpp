// What an operator may do to a data directory under a running server, with the real binary: the
// store that is there afterwards stays whole, and no server serves another's values.
#include <sys/resource.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <map>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;
using Image = std::map<std::string, std::string>;

// All files below `dir` (LOCK says only who was last) with their bytes.
Image image_of(const std::string& dir) {
  Image out;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename();
    if (name != "LOCK") out[name] = read_file(entry.path());
  }
  return out;
}

void put(Client& client, uint64_t key, const std::string& value) {
  REQUIRE(client.call("PUT", kv_path(key), value).status < 300);
}

// A data directory "data", reached through the link "link", and what becomes of it.
struct Site {
  TempDir dir;
  std::string data = dir.file("data");
  std::string link = dir.file("link");
  std::string moved = dir.file("moved");
  std::string backups = dir.file("backups");

  Site() {
    fs::create_directory(data);
    fs::create_directory_symlink(data, link);
  }
};

struct Attack {
  const char* what;
  // Returns where the first server's directory is now; empty if it is gone.
  std::function<std::string(Site&)> act;
};

const std::vector<Attack>& attacks() {
  static const std::vector<Attack> all = {
      {"moved away",
       [](Site& site) {
         fs::rename(site.data, site.moved);
         fs::create_directory(site.data);
         return site.moved;
       }},
      {"the link switched",
       [](Site& site) {
         fs::create_directory(site.moved);
         fs::remove(site.link);
         fs::create_directory_symlink(site.moved, site.link);
         return site.data;
       }},
      {"removed",
       [](Site& site) {
         fs::remove_all(site.data);
         fs::create_directory(site.data);
         return std::string();
       }},
  };
  return all;
}

struct SoftLimit {
  SoftLimit(decltype(RLIMIT_FSIZE) which, rlim_t value) : which_(which) {
    getrlimit(which, &before_);
    const rlimit tight{value, before_.rlim_max};
    REQUIRE(setrlimit(which, &tight) == 0);
  }
  SoftLimit(const SoftLimit&) = delete;
  SoftLimit& operator=(const SoftLimit&) = delete;
  ~SoftLimit() { setrlimit(which_, &before_); }

 private:
  decltype(RLIMIT_FSIZE) which_;
  rlimit before_{};
};

}  // namespace

TEST_CASE("A server whose directory is replaced harms neither store, whatever it is told",
          "[e2e]") {
  // test/storage/displaced_test.cpp tries everything with everything.
  const auto [attack_index, request] = GENERATE(table<size_t, std::string>({
      {0, "/v1/snapshot"},
      {0, "/v1/compact"},
      {0, "/v1/backup?name=b"},
      {0, "rotation"},
      {0, "stop"},
      {1, "rotation"},
      {1, "stop"},
      {2, "/v1/snapshot"},
      {2, "stop"},
  }));
  const Attack& attack = attacks()[attack_index];
  INFO(attack.what << ", then " << request);
  Site site;
  const Args flags{"--backup-dir", site.backups, "--wal-segment-bytes", "65536"};
  ServerProcess first(site.link, flags);
  Client a(first);
  for (uint64_t key = 0; key < 3; ++key) put(a, key, "of the first");
  REQUIRE(a.call("POST", "/v1/snapshot").status == 200);
  for (uint64_t key = 0; key < 3; ++key) put(a, key, "of the first");
  const std::string mine = attack.act(site);
  ServerProcess second(site.link, {"--wal-segment-bytes", "65536"});
  Client b(second);
  for (uint64_t key = 0; key < 3; ++key) put(b, key, "of the second");
  REQUIRE(b.call("POST", "/v1/snapshot").status == 200);
  put(b, 99, "of the second");
  const Image before = image_of(site.link);

  if (request == "rotation") {
    int refused = 0;
    for (uint64_t key = 100; key < 110 && refused == 0; ++key) {
      refused = a.call("PUT", kv_path(key), std::string(30'000, 'r')).status;
      if (refused < 300) refused = 0;
    }
    CHECK(refused == 503);
  } else if (request != "stop") {
    const HttpResponse answer = a.call("POST", request);
    INFO(answer.body);
    CHECK(answer.status == 503);
    const std::string ready = a.get("/ready").body;
    CHECK_THAT(ready,
               Catch::Contains("data directory") && Catch::Contains("nothing more is written"));
    if (!mine.empty()) CHECK_THAT(ready, Catch::Contains(mine));
  }
  CHECK(a.get(kv_path(2)).body == "of the first");
  CHECK(b.get(kv_path(2)).body == "of the second");
  static_cast<void>(first.stop());
  CHECK(image_of(site.link) == before);
  CHECK(b.call("POST", "/v1/compact").status == 200);
  CHECK(second.stop().exit_code == 0);
  require_verified(site.link);
  second.start();
  CHECK(Client(second).get(kv_path(99)).body == "of the second");
  CHECK(second.stop().exit_code == 0);
  if (mine.empty()) return;
  require_verified(mine);
  ServerProcess found(mine);
  Client c(found);
  for (uint64_t key = 0; key < 3; ++key) CHECK(c.get(kv_path(key)).body == "of the first");
}

TEST_CASE("Without its LOCK a directory still has one server, which stops writing", "[e2e]") {
  TempDir dir;
  ServerProcess first(dir.file("data"));
  Client a(first);
  put(a, 1, "kept");
  REQUIRE(fs::remove(dir.file("data") + "/LOCK"));
  const Outcome refused = run_program(ServerProcess::command(dir.file("data"), {}));
  CHECK(refused.exit_code == 1);
  CHECK_THAT(refused.err, Catch::Contains("in use by"));
  const Outcome verified = run_kyrodb({"verify", dir.file("data")});
  CHECK(verified.exit_code == 1);
  CHECK_THAT(verified.err, Catch::Contains("in use by"));
  CHECK(a.call("POST", "/v1/snapshot").status == 503);
  CHECK_THAT(a.get("/ready").body, Catch::Contains("LOCK"));
  CHECK(a.get(kv_path(1)).body == "kept");
  static_cast<void>(first.stop());
  first.start();
  CHECK(Client(first).get(kv_path(1)).body == "kept");
}

TEST_CASE("All that is made is for its owner alone, whatever the umask; the rest is warned of",
          "[e2e]") {
  TempDir dir;
  const mode_t before = umask(0);
  {
    ServerProcess server(dir.file("a/b/data"), {"--backup-dir", dir.file("backups")});
    Client client(server);
    put(client, 1, "secret");
    CHECK(client.call("POST", "/v1/snapshot").status == 200);
    CHECK(client.call("POST", "/v1/backup?name=b").status == 200);
    CHECK(server.stop().exit_code == 0);
  }
  CHECK(run_kyrodb({"restore", dir.file("backups/b"), dir.file("c/restored")}).exit_code == 0);
  CHECK(run_kyrodb({"backup", dir.file("c/restored"), dir.file("copied")}).exit_code == 0);
  CHECK(run_kyrodb({"salvage", dir.file("copied"), dir.file("salvaged")}).exit_code == 0);
  umask(before);
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(dir.path())) {
    INFO(entry.path());
    const auto others =
        entry.status().permissions() & (fs::perms::group_all | fs::perms::others_all);
    CHECK(others == fs::perms::none);
    if (entry.is_regular_file()) ++files;
  }
  CHECK(files > 12);
  ServerProcess strict(dir.file("a/b/data"));
  CHECK_THAT(strict.stop().err, !Catch::Contains("data_open_to_others"));
  fs::permissions(dir.file("a/b/data"), fs::perms::group_read, fs::perm_options::add);
  ServerProcess loose(dir.file("a/b/data"));
  CHECK_THAT(loose.stop().err, Catch::Contains("data_open_to_others"));
}

TEST_CASE("A restored store shares no file with its backup unless that is wished", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--backup-dir", dir.file("backups")});
  Client client(server);
  put(client, 1, "x");
  REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
  REQUIRE(client.call("POST", "/v1/backup?name=b").status == 200);
  const bool is_linked = GENERATE(false, true);
  Args command{"restore", dir.file("backups/b"), dir.file("restored")};
  if (is_linked) command.emplace_back("--link");
  REQUIRE(run_kyrodb(command).exit_code == 0);
  size_t shared = 0;
  for (const auto& entry : fs::directory_iterator(dir.file("restored"))) {
    if (entry.hard_link_count() > 1) ++shared;
  }
  CHECK((shared > 0) == is_linked);
  require_verified(dir.file("restored"));
}

TEST_CASE("A backup follows no link out of its directory, and what is missing is no missing key",
          "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--backup-dir", dir.file("backups")});
  Client client(server);
  put(client, 1, "x");
  fs::create_directory(dir.file("outside"));
  fs::create_directory_symlink(dir.file("nowhere"), dir.file("backups/dangling"));
  fs::create_directory_symlink(dir.file("outside"), dir.file("backups/out"));
  check_error(client.call("POST", "/v1/backup?name=dangling"), 409, "exists");
  check_error(client.call("POST", "/v1/backup?name=out"), 409, "exists");
  CHECK(fs::is_empty(dir.file("outside")));
  CHECK(!fs::exists(dir.file("nowhere")));
  CHECK(client.metric("kyrodb_backup_failures_total") == "0");  // the names were taken
  fs::remove_all(dir.file("backups"));
  check_error(client.call("POST", "/v1/backup?name=late"), 500, "io_error");
  CHECK(client.metric("kyrodb_backup_failures_total") == "1");
}

TEST_CASE(
    "A new store is announced, with those of its keys that a start finds, and has its own place",
    "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("not/there/yet"));
  Client client(server);
  for (uint64_t key = 0; key < 3; ++key) put(client, key, "x");
  const std::string fresh = server.stop().err;
  CHECK_THAT(fresh, Catch::Contains(" created data=") && Catch::Contains(" keys=0 "));
  server.start();
  const std::string again = server.stop().err;
  CHECK_THAT(again, !Catch::Contains(" created ") && Catch::Contains(" keys=3 "));
  fs::create_directory(dir.file("foreign"));
  write_file(dir.file("foreign/report.txt"), "somebody else's");
  const Outcome refused = run_program(ServerProcess::command(dir.file("foreign"), {}));
  CHECK(refused.exit_code == 1);
  CHECK_THAT(refused.err, Catch::Contains("report.txt") && Catch::Contains("directory of its own"));
}

TEST_CASE("A file that may not grow is a full disk, and not the end of the server", "[e2e]") {
  TempDir dir;
  std::optional<ServerProcess> server;
  {
    const SoftLimit limit(RLIMIT_FSIZE, 256 * 1024);
    server.emplace(dir.file("data"), Args{"--reserve-bytes", "0"});
  }
  Client client(*server);
  put(client, 1, "fits");
  const HttpResponse refused = client.call("PUT", kv_path(2), std::string(600'000, 'x'));
  CHECK(refused.status == 507);
  CHECK_THAT(refused.body, Catch::Contains("ulimit -f"));
  CHECK(client.get(kv_path(1)).body == "fits");
  CHECK(client.call("PUT", kv_path(3), "fits too").status == 201);
  CHECK(server->stop().exit_code == 0);
  require_verified(dir.file("data"));
}

}  // namespace kyro::test
