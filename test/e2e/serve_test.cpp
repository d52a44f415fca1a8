// How the server starts, whom it lets in, and how it ends.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <string_view>

#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// A start that must fail: one sentence on stderr that contains `text`, nothing on stdout.
void check_refused(const Outcome& outcome, int exit_code, std::string_view text) {
  INFO(outcome.err);
  CHECK(outcome.exit_code == exit_code);
  CHECK(outcome.err.find(text) != std::string::npos);
  CHECK(outcome.err.find("kyrodb: ") != std::string::npos);
  CHECK(outcome.out.empty());
}

Outcome start_only(const std::string& data_dir, const Args& flags = {},
                   const std::string& host = "127.0.0.1") {
  return run_program(ServerProcess::command(data_dir, flags, host));
}

}  // namespace

TEST_CASE("Without a token the server refuses a public address, unless told otherwise", "[e2e]") {
  TempDir dir;
  check_refused(start_only(dir.file("data"), {}, "0.0.0.0"), 2, "without a token");
  check_refused(start_only(dir.file("data"), {}, "::"), 2, "without a token");
  CHECK(!std::filesystem::exists(dir.file("data")));
  ServerProcess open(dir.file("open"), {"--no-auth"}, "0.0.0.0");
  Client client(open);
  CHECK(client.call("PUT", "/v1/kv/1", "v", {{"Origin", "https://example.com"}}).status == 201);
  write_file(dir.file("token"), "secret\n");
  ServerProcess guarded(dir.file("guarded"), {"--auth-token-file", dir.file("token")}, "0.0.0.0");
  CHECK(Client(guarded).get("/v1/kv/1").status == 401);
  CHECK(guarded.process().wait_for_err("token_in_clear"));
}

TEST_CASE("With a token everything but the probes needs it", "[e2e]") {
  TempDir dir;
  write_file(dir.file("token"), "s3cret \r\n\n");
  ServerProcess server(dir.file("data"), {"--auth-token-file", dir.file("token")});
  Client client(server);
  for (const char* probe : {"/health", "/ready", "/metrics"}) {
    CHECK(client.get(probe).status == 200);
  }
  const char* guarded[] = {"/build_info", "/v1/offset",  "/v1/kv/1",
                           "/v1/kv/x",    "/v1/nothing", "/v1/put"};
  for (const char* target : guarded) {
    INFO(target);
    const HttpResponse refused = client.get(target);
    CHECK(refused.status == 401);
    CHECK(refused.header("www-authenticate").starts_with("Bearer"));
    CHECK(refused.body.starts_with("{\"error\":\"unauthorized\""));
  }
  for (const char* field : {"s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crett",
                            "Bearer S3cret", "Basic s3cret", "Bearer s3cret s3cret"}) {
    INFO(field);
    CHECK(client.call("PUT", "/v1/kv/1", "v", {{"Authorization", field}}).status == 401);
  }
  CHECK(client.call("PUT", "/v1/kv/1", "v", bearer("s3cret")).status == 201);
  CHECK(client.get("/v1/kv/1", {{"authorization", "bearer s3cret"}}).body == "v");
  CHECK(client.get("/v1/kv/x", bearer("s3cret")).status == 400);
  CHECK(client.get("/v1/put", bearer("s3cret")).status == 405);
  // A page that knows the token may: the token is what protects.
  HeaderList from_page = bearer("s3cret");
  from_page.emplace_back("Origin", "https://example.com");
  CHECK(client.get("/v1/kv/1", from_page).status == 200);
  CHECK(client.metric("kyrodb_http_rejected_total{reason=\"unauthorized\"}") == "14");
  CHECK(server.process().err().find("s3cret") == std::string::npos);
}

TEST_CASE("The metrics can be protected too", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--auth-token", "t", "--protect-metrics"});
  Client client(server);
  CHECK(client.get("/metrics").status == 401);
  CHECK(client.get("/metrics", bearer("t")).status == 200);
  CHECK(client.get("/ready").status == 200);
}

TEST_CASE("SIGHUP reads the token file again, a bad one keeps the old token", "[e2e]") {
  TempDir dir;
  write_file(dir.file("token"), "old");
  ServerProcess server(dir.file("data"), {"--auth-token-file", dir.file("token")});
  Client client(server);
  CHECK(client.get("/v1/offset", bearer("old")).status == 200);
  write_file(dir.file("token"), " \n");
  server.process().signal(SIGHUP);
  REQUIRE(server.process().wait_for_err("is empty"));
  CHECK(client.get("/v1/offset", bearer("old")).status == 200);
  write_file(dir.file("token"), "new\n");
  server.process().signal(SIGHUP);
  REQUIRE(server.process().wait_for_err("outcome=ok"));
  CHECK(client.get("/v1/offset", bearer("old")).status == 401);
  CHECK(client.get("/v1/offset", bearer("new")).status == 200);
  std::filesystem::remove(dir.file("token"));
  server.process().signal(SIGHUP);
  REQUIRE(server.process().wait_for_err("No such file"));
  CHECK(client.get("/v1/offset", bearer("new")).status == 200);
  CHECK(server.stop().exit_code == 0);
}

TEST_CASE("After SIGHUP the streams of a token that is gone end, and those of others go on",
          "[e2e]") {
  TempDir dir;
  write_file(dir.file("full"), "full");
  write_file(dir.file("read"), "read");
  ServerProcess server(dir.file("data"), {"--auth-token-file", dir.file("full"),
                                          "--read-token-file", dir.file("read")});
  Client writer(server);
  Client kept(server);
  Client gone(server);
  kept.must_send(
      "GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer full\r\n\r\n");
  gone.must_send(
      "GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer read\r\n\r\n");
  kept.read_until(": subscribed");
  gone.read_until(": subscribed");
  write_file(dir.file("read"), "other");
  server.process().signal(SIGHUP);
  const std::string end = gone.read_until("0\r\n\r\n");
  CHECK(contains(end, "event: end\ndata: {\"reason\":\"the token is no longer valid\"}\n\n"));
  CHECK(writer.call("PUT", "/v1/kv/1", "live", bearer("full")).status == 201);
  CHECK_FALSE(contains(kept.read_until("live"), "event: end"));
}

TEST_CASE("A missing, empty or unusable token refuses to start", "[e2e]") {
  TempDir dir;
  write_file(dir.file("empty"), "\n");
  write_file(dir.file("spaces"), "two words\n");
  const std::string data = dir.file("data");
  check_refused(start_only(data, {"--auth-token-file", dir.file("none")}), 1, "--auth-token-file");
  check_refused(start_only(data, {"--auth-token-file", dir.file("empty")}), 1, "is empty");
  check_refused(start_only(data, {"--auth-token-file", dir.file("spaces")}), 1, "printable");
  check_refused(start_only(data, {"--auth-token", ""}), 2, "--auth-token must not be empty");
  check_refused(start_only(data, {"--auth-token", "a", "--auth-token-file", dir.file("spaces")}), 2,
                "must not be given together");
  CHECK(!std::filesystem::exists(data));
}

TEST_CASE("Without a token, what a web page can send is refused on loopback", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  Client client(server);
  for (const char* origin : {"https://example.com", "null", "http://127.0.0.1"}) {
    INFO(origin);
    const HttpResponse refused = client.call("PUT", "/v1/kv/1", "v", {{"Origin", origin}});
    CHECK(refused.status == 403);
    CHECK(refused.body.starts_with("{\"error\":\"forbidden\""));
  }
  const auto with_host = [&](const std::string& host) {
    return client.raw("GET /v1/offset HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status;
  };
  for (const char* host : {"example.com", "example.com:80", "192.168.1.1", "localhost.example.com",
                           "127.0.0.1.example.com", "[::2]:80", "0.0.0.0"}) {
    INFO(host);
    CHECK(with_host(host) == 403);
  }
  for (const char* host : {"localhost", "localhost:1", "LOCALHOST", "127.0.0.1", "127.9.8.7:65535",
                           "[::1]", "[::1]:3030"}) {
    INFO(host);
    CHECK(with_host(host) == 200);
  }
  CHECK(client.next_offset() == 0);
}

TEST_CASE("The Unix socket serves, is removed at the end, and never replaces a file", "[e2e]") {
  TempDir dir;
  const std::string path = dir.file("socket");
  {
    ServerProcess server(dir.file("data"), {"--unix-socket", path});
    Client client(unix_endpoint(path));
    CHECK(client.call("PUT", "/v1/kv/1", "v").status == 201);
    CHECK(Client(server).get("/v1/kv/1").body == "v");
    server.kill_hard();
    CHECK(std::filesystem::exists(path));  // left behind, and replaced by the next start
    server.start();
    CHECK(Client(unix_endpoint(path)).get("/v1/kv/1").body == "v");
    CHECK(server.stop().exit_code == 0);
    CHECK(!std::filesystem::exists(path));
  }
  write_file(path, "precious");
  check_refused(start_only(dir.file("data"), {"--unix-socket", path}), 1, path);
  CHECK(std::filesystem::file_size(path) == 8);
}

TEST_CASE("A second process on the same directory is refused with the pid of the first", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  const std::string pid = std::to_string(server.process().pid());
  check_refused(start_only(dir.file("data")), 1, "in use by process " + pid);
  const Outcome verify = run_kyrodb({"verify", dir.file("data")});
  CHECK(verify.exit_code == 1);
  CHECK(verify.err.find(pid) != std::string::npos);
  Client client(server);
  CHECK(client.call("PUT", "/v1/kv/1", "v").status == 201);
  server.kill_hard();
  server.start();
  CHECK(Client(server).get("/v1/kv/1").body == "v");
}

TEST_CASE("A port in use, or an address that is not ours, is one sentence and exit 1", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  const std::string port = std::to_string(server.port());
  const Outcome outcome = run_kyrodb({"serve", "127.0.0.1", port, "--data-dir", dir.file("other")});
  check_refused(outcome, 1, "in use");
  CHECK(outcome.err.find(port) != std::string::npos);
  CHECK(!std::filesystem::exists(dir.file("other")));
  check_refused(start_only(dir.file("other"), {"--no-auth"}, "203.0.113.1"), 1, "203.0.113.1");
  check_refused(start_only(dir.file("other"), {"--no-auth"}, "no-such-host"), 1, "no-such-host");
}

TEST_CASE("A data directory that cannot be one is refused by name", "[e2e]") {
  TempDir dir;
  write_file(dir.file("file"), "precious");
  check_refused(start_only(dir.file("file")), 1, dir.file("file"));
  check_refused(start_only(dir.file("file") + "/below"), 1, dir.file("file") + "/below");
  check_refused(start_only("/proc/kyrodb-data"), 1, "/proc/kyrodb-data");
  if (geteuid() != 0) {  // nothing is unwritable for root
    std::filesystem::create_directory(dir.file("closed"));
    chmod(dir.file("closed").c_str(), 0555);
    check_refused(start_only(dir.file("closed")), 1, dir.file("closed"));
  }
  // Of another program: a manifest that is not ours, runs without a manifest.
  std::filesystem::create_directory(dir.file("foreign"));
  write_file(dir.file("foreign/manifest.json"), "{\"name\":\"my app\"}");
  check_refused(start_only(dir.file("foreign")), 1, "manifest.json");
  std::filesystem::create_directory(dir.file("headless"));
  write_file(dir.file("headless/run-3.data"), "?");
  check_refused(start_only(dir.file("headless")), 1, "run-3.data");
  CHECK(std::filesystem::file_size(dir.file("headless/run-3.data")) == 1);
  CHECK(std::filesystem::file_size(dir.file("file")) == 8);
}

TEST_CASE("Files of others in the data directory are left alone", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  CHECK(server.stop().exit_code == 0);
  for (const char* name : {"notes.txt", "notes.tmp", "run-x.data", "wal-1.log"}) {
    write_file(dir.file("data/") + name, "precious");
  }
  server.start();
  CHECK(Client(server).call("POST", "/v1/compact").status == 200);
  CHECK(server.stop().exit_code == 0);
  for (const char* name : {"notes.txt", "notes.tmp", "run-x.data", "wal-1.log"}) {
    CHECK(std::filesystem::file_size(dir.file("data/") + name) == 8);
  }
  require_verified(dir.file("data"));
}

TEST_CASE("SIGTERM and SIGINT end it with 0, and what was acknowledged is there again", "[e2e]") {
  for (const int number : {SIGTERM, SIGINT}) {
    TempDir dir;
    ServerProcess server(dir.file("data"));
    Client client(server);
    for (uint64_t key = 0; key < 100; ++key) {
      REQUIRE(client.call("PUT", kv_path(key), std::to_string(key)).status == 201);
    }
    const std::string database = client.get("/v1/offset").body;
    const Outcome outcome = server.stop(number);
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.err.find(" stopped ") != std::string::npos);
    require_verified(dir.file("data"));
    server.start();
    Client again(server);
    CHECK(again.get("/v1/offset").body == database);
    for (uint64_t key = 0; key < 100; ++key) {
      CHECK(again.get(kv_path(key)).body == std::to_string(key));
    }
  }
}

TEST_CASE("A write that is under way when the server stops is finished", "[e2e]") {
  TempDir dir;
  // One reactor, so that what the idle connection sees holds for the other one, too.
  ServerProcess server(dir.file("data"), {"--threads", "1"});
  Client slow(server), idle(server);
  CHECK(idle.get("/health").status == 200);
  slow.must_send(
      "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n"
      "Expect: 100-continue\r\n\r\n");
  slow.read_until("100 Continue\r\n\r\n");
  server.process().signal(SIGTERM);
  REQUIRE(server.process().wait_for_err("stopping"));
  CHECK(idle.wait_for_close());  // the drain has begun
  const HttpResponse response = slow.raw("valued");
  CHECK(response.status == 201);
  CHECK(response.header("connection") == "close");
  CHECK(server.process().wait().exit_code == 0);
  server.start();
  CHECK(Client(server).get("/v1/kv/1").body == "valued");
}

TEST_CASE("A client that never finishes its request cannot hold the end beyond --drain-secs",
          "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--drain-secs", "1"});
  Client stuck(server);
  stuck.must_send(
      "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n"
      "Expect: 100-continue\r\n\r\n");
  stuck.read_until("100 Continue\r\n\r\n");
  const Outcome outcome = server.stop();
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.err.find("drained=no") != std::string::npos);
  require_verified(dir.file("data"));
  server.start();
  CHECK(Client(server).get("/v1/kv/1").status == 404);
}

TEST_CASE("Settings come from the environment, and a flag beats them", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--max-value-bytes", "10"}, "127.0.0.1",
                       {"KYRODB_MAX_VALUE_BYTES=5", "KYRODB_AUTH_TOKEN=t", "KYRODB_FSYNC=never"});
  Client client(server);
  CHECK(client.call("PUT", "/v1/kv/1", "1234567890", bearer("t")).status == 201);
  CHECK(client.call("PUT", "/v1/kv/1", "12345678901", bearer("t")).status == 413);
  CHECK(client.get("/v1/kv/1").status == 401);
  CHECK(server.process().err().find("fsync=never") != std::string::npos);
  const Outcome wrong = run_kyrodb({"serve"}, {"KYRODB_THREADS=many"});
  check_refused(wrong, 2, "KYRODB_THREADS");
}
