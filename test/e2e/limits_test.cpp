// How the server defends itself: rates, tokens that only read, the mode of its socket, what it says
// of requests.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kyro/base/limits.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

TEST_CASE("Requests over the rate of their address are 429 and say when to try again", "[e2e]") {
  TempDir dir;
  const std::string path = dir.file("socket");
  ServerProcess server(dir.file("data"), {"--rate-data", "1:3", "--rate-admin", "1:2",
                                          "--unix-socket", path, "--request-log"});
  Client client(server);
  CHECK(client.call("PUT", "/v1/kv/1", "v").status == 201);
  CHECK(client.get("/v1/get_fast/1").status == 200);
  CHECK(client.get("/nothing").status == 404);  // counts: it is no probe
  // A second has tokens for one more at most, however slow this machine is: a few tries will do.
  HttpResponse refused;
  for (int i = 0; i < 100 && refused.status != 429; ++i) {
    refused = client.call("PUT", "/v1/kv/2", "v");
  }
  check_error(refused, 429, "too_many_requests");
  CHECK(refused.header("retry-after") == "1");
  CHECK(refused.keep_alive);
  // Probes and the Unix socket are free, admin routes have a bucket of their own.
  for (const char* probe : {"/health", "/ready", "/metrics"}) {
    for (int i = 0; i < 10; ++i) CHECK(client.get(probe).status == 200);
  }
  Client local(unix_endpoint(path));
  for (int i = 0; i < 10; ++i) CHECK(local.get("/v1/get_fast/1").status == 200);
  CHECK(client.call("POST", "/v1/snapshot").status == 200);
  HttpResponse admin;
  for (int i = 0; i < 100 && admin.status != 429; ++i) admin = client.call("POST", "/v1/warmup");
  check_error(admin, 429, "too_many_requests");
  // A body that is refused unread: small ones keep the connection, large ones end it readably.
  for (int i = 0; i < 100 && refused.keep_alive; ++i) {
    refused = client.call("PUT", "/v1/kv/2", std::string(200'000, 'x'));
  }
  CHECK(refused.status == 429);
  CHECK(local.metric("kyrodb_http_rejected_total{reason=\"rate_data\"}") != "0");
  CHECK(local.metric("kyrodb_http_rejected_total{reason=\"rate_admin\"}") != "0");
  CHECK(local.metric("kyrodb_http_requests_total{route=\"kv\",code=\"429\"}") != "0");
}

TEST_CASE("Bodies that are more together than --max-inflight-bytes are 503", "[e2e]") {
  Served s({"--max-value-bytes", "100K", "--max-inflight-bytes", "100K", "--threads", "1"});
  const std::string body(100'000, 'v');
  const std::string head = " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
  // Together beyond the bound; one that has met it is read on all the same.
  Client slow(s.server), favoured(s.server);
  slow.must_send("PUT /v1/kv/1" + head + body.substr(0, 60'000));
  favoured.must_send("PUT /v1/kv/3" + head + body.substr(0, 90'000));
  // The first ones may come before the server has read so much of those.
  HttpResponse refused;
  for (int i = 0; i < 20 && refused.status != 503; ++i) {
    refused = Client(s.server).call("PUT", "/v1/kv/2", body);
  }
  check_error(refused, 503, "overloaded");
  CHECK(s.client.metric("kyrodb_http_rejected_total{reason=\"inflight_bytes\"}") == "1");
  favoured.must_send(body.substr(90'000));
  CHECK(favoured.next().status == 201);
  slow.must_send(body.substr(60'000));
  CHECK(slow.next().status == 201);
}

TEST_CASE("A client that does not take its answers is dropped after --write-timeout-ms", "[e2e]") {
  Served s({"--write-timeout-ms", "50"});
  REQUIRE(s.client.call("PUT", "/v1/kv/1", std::string(8 * kMiB, 'v')).status == 201);
  Client deaf(s.server);
  std::string requests;
  for (int i = 0; i < 8; ++i) requests += "GET /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
  deaf.must_send(requests);
  // Less than the default, which is 30 seconds.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const std::string series = "kyrodb_http_rejected_total{reason=\"write_timeout\"}";
  while (s.client.metric(series) == "0" && std::chrono::steady_clock::now() < give_up) {
  }
  CHECK(s.client.metric(series) == "1");
}

TEST_CASE("Without rates nothing is refused for its number", "[e2e]") {
  Served s;
  for (int i = 0; i < 300; ++i) REQUIRE(s.client.get("/v1/get_fast/1").status == 404);
  CHECK(s.client.metric("kyrodb_http_rejected_total{reason=\"rate_data\"}") == "0");
  CHECK(s.client.metric("kyrodb_http_rejected_total{reason=\"rate_admin\"}") == "0");
}

TEST_CASE("The read token reads, and everything else with it is 403", "[e2e]") {
  TempDir dir;
  write_file(dir.file("full"), "full\n");
  write_file(dir.file("read"), "reader\n");
  ServerProcess server(dir.file("data"),
                       {"--auth-token-file", dir.file("full"), "--read-token-file",
                        dir.file("read"), "--protect-metrics"});
  CHECK(server.process().err().find("access=\"bearer token, and one to read\"") !=
        std::string::npos);
  Client client(server);
  CHECK(client.call("PUT", "/v1/kv/1", "v", bearer("full")).status == 201);
  const HeaderList reader = bearer("reader");
  for (const char* target : {"/v1/kv/1", "/v1/get_fast/1", "/v1/lookup?key=1", "/v1/offset",
                             "/v1/replay", "/build_info", "/metrics", "/health"}) {
    INFO(target);
    CHECK(client.get(target, reader).status == 200);
    CHECK(client.call("HEAD", target, {}, reader).status == 200);
    CHECK(client.call("OPTIONS", target, {}, reader).status == 204);
  }
  CHECK(client.get("/v1/kv/x", reader).status == 400);
  CHECK(client.get("/v1/put", reader).status == 405);
  CHECK(client.get("/nothing", reader).status == 404);
  const std::pair<const char*, const char*> forbidden[] = {
      {"PUT", "/v1/kv/1"},        {"DELETE", "/v1/kv/1"},  {"POST", "/v1/put"},
      {"POST", "/v1/snapshot"},   {"POST", "/v1/compact"}, {"POST", "/v1/rmi/build"},
      {"POST", "/v1/warmup"},     {"GET", "/v1/snapshot"}, {"PUT", "/nothing"},
      {"PATCH", "/v1/get_fast/1"}};
  for (const auto& [method, target] : forbidden) {
    INFO(method << " " << target);
    check_error(client.call(method, target, "x", reader), 403, "forbidden");
  }
  CHECK(client.get("/v1/kv/1", reader).body == "v");
  CHECK(client.get("/v1/kv/1", bearer("read")).status == 401);
  CHECK(client.get("/metrics").status == 401);
  // Read again on SIGHUP; a bad file keeps both tokens as they were.
  write_file(dir.file("full"), "rotated");
  write_file(dir.file("read"), "");
  server.process().signal(SIGHUP);
  REQUIRE(server.process().wait_for_err("is empty"));
  CHECK(client.get("/v1/kv/1", reader).status == 200);
  CHECK(client.get("/v1/kv/1", bearer("full")).status == 200);
  write_file(dir.file("read"), "rotated");
  server.process().signal(SIGHUP);
  REQUIRE(server.process().wait_for_err("must differ"));
  CHECK(client.get("/v1/kv/1", reader).status == 200);
  write_file(dir.file("read"), "reader-2");
  server.process().signal(SIGHUP);
  REQUIRE(server.process().wait_for_err("outcome=ok"));
  CHECK(client.get("/v1/kv/1", reader).status == 401);
  CHECK(client.get("/v1/kv/1", bearer("reader-2")).status == 200);
  CHECK(client.call("PUT", "/v1/kv/1", "w", bearer("reader-2")).status == 403);
  CHECK(client.call("PUT", "/v1/kv/1", "w", bearer("rotated")).status == 204);
}

TEST_CASE("A read token alone, or one that is the other, refuses to start", "[e2e]") {
  TempDir dir;
  write_file(dir.file("token"), "t\n");
  const auto start = [&](const Args& flags) {
    const Outcome outcome = run_program(ServerProcess::command(dir.file("data"), flags));
    CHECK(!std::filesystem::exists(dir.file("data")));
    return outcome;
  };
  const Outcome alone = start({"--read-token-file", dir.file("token")});
  CHECK(alone.exit_code == 2);
  CHECK(alone.err.find("--read-token-file needs") != std::string::npos);
  const Outcome same = start({"--read-token-file", dir.file("token"), "--auth-token", "t"});
  CHECK(same.exit_code == 1);
  CHECK(same.err.find("must differ") != std::string::npos);
  const Outcome missing = start({"--read-token-file", dir.file("none"), "--auth-token", "t"});
  CHECK(missing.exit_code == 1);
  CHECK(missing.err.find("--read-token-file") != std::string::npos);
}

TEST_CASE("Clients that do not read a large value take it from nobody, in a delta and in a run",
          "[e2e]") {
  Served served({"--threads", "1", "--max-inflight-bytes", "16MiB", "--fsync", "never"});
  const std::string value(10 << 20, 'v');
  REQUIRE(served.client.call("PUT", "/v1/kv/1", value).status == 201);
  REQUIRE(served.client.call("PUT", "/v1/kv/2", "small").status == 201);
  for (const bool is_in_run : {false, true}) {
    if (is_in_run) REQUIRE(served.client.call("POST", "/v1/snapshot").status == 200);
    std::vector<std::unique_ptr<Client>> slow;
    for (int i = 0; i < 40; ++i) {
      slow.push_back(std::make_unique<Client>(served.server));
      slow.back()->must_send("GET /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for (int i = 0; i < 20; ++i) {
      const HttpResponse whole = served.client.get("/v1/kv/1");
      REQUIRE((whole.body == value));
    }
    CHECK(served.client.get("/v1/kv/2").body == "small");
    for (const auto& client : slow) REQUIRE((client->next().body == value));
  }
  CHECK(served.client.metric("kyrodb_http_rejected_total{reason=\"inflight_bytes\"}") == "0");
}

TEST_CASE("The Unix socket has the mode that was asked for, 0600 by default", "[e2e]") {
  TempDir dir;
  const std::string path = dir.file("socket");
  for (const auto& [flag, mode] :
       {std::pair{"", 0600u}, std::pair{"--unix-socket-mode=0660", 0660u},
        std::pair{"--unix-socket-mode=666", 0666u}}) {
    Args flags{"--unix-socket", path};
    if (*flag != '\0') flags.emplace_back(flag);
    ServerProcess server(dir.file("data"), flags);
    struct stat made {};
    REQUIRE(lstat(path.c_str(), &made) == 0);
    CHECK((made.st_mode & 0777u) == mode);
    CHECK(Client(unix_endpoint(path)).get("/health").status == 200);
    CHECK(server.stop().exit_code == 0);
  }
}

TEST_CASE("The request log names route, status, bytes and peer, and no key or value", "[e2e]") {
  TempDir dir;
  const std::string path = dir.file("socket");
  ServerProcess server(dir.file("data"), {"--request-log", "--unix-socket", path});
  Client client(server);
  CHECK(client.call("PUT", "/v1/kv/918273645", "sesame").status == 201);
  CHECK(client.call("HEAD", "/v1/get_fast/918273645").status == 200);
  CHECK(Client(unix_endpoint(path)).get("/v1/get_fast/918273645").body == "sesame");
  CHECK(client.get("/v1/lookup?key=918273645x").status == 400);
  Client refused(server);
  refused.must_send("HEAD / HTTP/1.1\r\n\r\n");  // without a Host
  const std::string head = refused.read_until("\r\n\r\n");
  CHECK(head.starts_with("HTTP/1.1 400 "));
  CHECK(head.ends_with("\r\n\r\n"));  // and no body after it
  CHECK(Client(server).raw("nonsense\r\n\r\n").status == 400);
  const Outcome outcome = server.stop();
  CHECK(outcome.exit_code == 0);
  const auto has = [&](std::string_view text) {
    INFO(text << " in\n" << outcome.err);
    CHECK(outcome.err.find(text) != std::string::npos);
  };
  has(" info request method=PUT route=kv status=201 bytes=0 micros=");
  has(" request method=HEAD route=get_fast status=200 bytes=6 micros=");
  has(" request method=GET route=get_fast status=200 bytes=6 micros=");
  has(" request method=GET route=lookup status=400 bytes=");
  has(" request method=HEAD route=none status=400 bytes=");
  has(" request method=other route=none status=400 bytes=");
  has(" peer=127.0.0.1:");
  has(" peer=unix\n");
  CHECK(outcome.err.find("918273645") == std::string::npos);
  CHECK(outcome.err.find("sesame") == std::string::npos);
}

TEST_CASE("The request log is JSON where the log is, and silent where it is not asked for",
          "[e2e]") {
  TempDir dir;
  const std::string path = dir.file("socket");
  for (const bool is_asked : {true, false}) {
    Args flags{"--log-format", "json", "--unix-socket", path};
    if (is_asked) flags.emplace_back("--request-log");
    Process process(ServerProcess::command(dir.file("data"), flags));
    REQUIRE(process.wait_for_err("\"event\":\"serving\""));
    CHECK(Client(unix_endpoint(path)).get("/health").status == 200);
    process.signal(SIGTERM);
    const Outcome outcome = process.wait();
    CHECK(outcome.exit_code == 0);
    const bool is_there = outcome.err.find(
                              "\"event\":\"request\",\"method\":\"GET\",\"route\":\"health\","
                              "\"status\":200,\"bytes\":15,\"micros\":") != std::string::npos;
    CHECK(is_there == is_asked);
  }
}

TEST_CASE("The banner says where it listens, how durable and how protected it is", "[e2e]") {
  TempDir dir;
  const std::string path = dir.file("socket");
  ServerProcess server(dir.file("data"),
                       {"--unix-socket", path, "--fsync", "interval:20", "--no-auth"}, "0.0.0.0");
  const std::string err = server.process().err();
  INFO(err);
  for (const std::string& part :
       {"serving address=0.0.0.0:" + std::to_string(server.port()), "unix_socket=" + path,
        "data=" + dir.file("data"), std::string("fsync=interval:20"),
        std::string("access=\"everyone who can connect (--no-auth)\"")}) {
    INFO(part);
    CHECK(err.find(part) != std::string::npos);
  }
  server.start_with({"--auth-token", "t"});
  CHECK(server.process().err().find("access=\"bearer token\"") != std::string::npos);
  CHECK(server.stop().exit_code == 0);
}

TEST_CASE("On an IPv6 address it serves, and the banner has it in brackets", "[e2e]") {
  const SocketAddress loopback = parse_ip_address("::1", 0).value();
  const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool is_there = probe >= 0 && bind(probe, loopback.get(), loopback.size) == 0;
  if (probe >= 0) close(probe);
  if (!is_there) {
    WARN("no IPv6 here");
    return;
  }
  for (const char* host : {"::1", "[::1]"}) {
    TempDir dir;
    ServerProcess server(dir.file("data"), {}, host);
    const std::string address = "[::1]:" + std::to_string(server.port());
    INFO(server.process().err());
    CHECK(server.process().err().find("serving address=" + address + " ") != std::string::npos);
    Client client(parse_endpoint("http://" + address).value());
    CHECK(client.call("PUT", "/v1/kv/6", "six").status == 201);
    CHECK(client.get("/v1/kv/6").body == "six");
    CHECK(server.stop().exit_code == 0);
  }
}
