// A server by a configuration file: several addresses, and what SIGHUP takes over.
#include <catch2/catch.hpp>
#include <string>

#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// The addresses that a server says it listens on.
std::string said_addresses(Process& process) {
  REQUIRE(process.wait_for_err(" version="));
  const std::string err = process.err();
  const size_t begin = err.find("serving address=") + 16;
  return err.substr(begin, err.find(' ', begin) - begin);
}

}  // namespace

TEST_CASE("A server listens on every address of its file, and says so", "[e2e]") {
  TempDir dir;
  write_file(dir.file("conf"),
             "listen = 127.0.0.1:0\nlisten = 127.0.0.2:0\ndata-dir = " + dir.file("data") + "\n");
  Process process({server_binary(), "serve", "--config", dir.file("conf")});
  const std::string addresses = said_addresses(process);
  const size_t comma = addresses.find(',');
  REQUIRE(comma != addresses.npos);
  CHECK(addresses.starts_with("127.0.0.1:"));
  CHECK(addresses.substr(comma + 1).starts_with("127.0.0.2:"));
  Client first(parse_endpoint(addresses.substr(0, comma)).value());
  Client second(parse_endpoint(addresses.substr(comma + 1)).value());
  REQUIRE(first.call("PUT", "/v1/kv/1", "one").status == 201);
  CHECK(second.get("/v1/kv/1").body == "one");
  process.signal(SIGTERM);
  CHECK(process.wait().exit_code == 0);
}

TEST_CASE("A second address beyond this machine needs a token too", "[e2e]") {
  TempDir dir;
  const Outcome refused = run_kyrodb({"serve", "--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0",
                                      "--data-dir", dir.file("data")});
  CHECK(refused.exit_code == 2);
  CHECK(contains(refused.err, "refusing to listen on 0.0.0.0 without a token"));
}

TEST_CASE("SIGHUP takes over tokens and what is logged, and names what has to wait", "[e2e]") {
  TempDir dir;
  const auto write_conf = [&](const std::string& more) {
    write_file(dir.file("conf"),
               "listen = 127.0.0.1:0\ndata-dir = " + dir.file("data") + "\n" + more);
  };
  write_file(dir.file("one"), "token-one-0123456789");
  write_file(dir.file("two"), "token-two-0123456789");
  write_conf("auth-token-file = " + dir.file("one") + "\nthreads = 1\n");
  Process process({server_binary(), "serve", "--config", dir.file("conf")});
  Client client(parse_endpoint(said_addresses(process)).value());
  CHECK(client.get("/v1/offset", bearer("token-one-0123456789")).status == 200);
  write_conf("auth-token-file = " + dir.file("two") + "\nthreads = 2\nlog-format = json\n");
  process.signal(SIGHUP);
  REQUIRE(process.wait_for_err("\"event\":\"token_reloaded\""));
  CHECK(contains(process.err(),
                 "\"event\":\"config_reloaded\",\"outcome\":\"ok\",\"taken\":"
                 "\"auth-token-file log-format\",\"needs_restart\":\"threads\""));
  CHECK(client.get("/v1/offset", bearer("token-one-0123456789")).status == 401);
  CHECK(client.get("/v1/offset", bearer("token-two-0123456789")).status == 200);
  // One that is wrong changes nothing.
  write_conf("auth-token-file = " + dir.file("one") + "\nthreds = 2\n");
  process.signal(SIGHUP);
  REQUIRE(process.wait_for_err("line 4: unknown flag"));
  CHECK(client.get("/v1/offset", bearer("token-two-0123456789")).status == 200);
  // Without a token it would be another server.
  write_conf("threads = 2\nlog-format = json\n");
  process.signal(SIGHUP);
  REQUIRE(process.wait_for_err("\"needs_restart\":\"threads auth-token-file\""));
  CHECK(client.get("/v1/offset").status == 401);
  process.signal(SIGTERM);
  CHECK(process.wait().exit_code == 0);
}

TEST_CASE("A variable that is misspelt is named in the log", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {}, "127.0.0.1",
                       {"KYRODB_MAX_VALU_BYTES=5", "KYRODB_PORT=tcp://1.2.3.4:5"});
  CHECK(contains(server.process().err(), "unknown_variables names=KYRODB_MAX_VALU_BYTES\n"));
}
