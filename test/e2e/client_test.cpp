// What makes kyrodbctl convenient: variables, ttl, incr, the shell, and connecting by a program.
#include <time.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "kyro/client/values.h"
#include "test/support/ctl.h"

using namespace kyro;
using namespace kyro::test;

TEST_CASE("The words of a line stand between blanks or in quotes") {
  using Words = std::vector<std::string>;
  CHECK(ctl::shell_words("") == Words{});
  CHECK(ctl::shell_words(" \t ") == Words{});
  CHECK(ctl::shell_words("put 1  'two words'") == Words{"put", "1", "two words"});
  CHECK(ctl::shell_words("put 1 \"it's\"") == Words{"put", "1", "it's"});
  CHECK(ctl::shell_words("put 1 ''") == Words{"put", "1", ""});
  CHECK(ctl::shell_words("a'b c'd") == Words{"ab cd"});
}

TEST_CASE("Variables stand for the server and the token, and flags beat them", "[e2e]") {
  TempDir dir;
  write_file(dir.file("token"), "a-token-0123456789");
  ServerProcess server(dir.file("data"), {"--auth-token-file", dir.file("token")});
  const Args variables{"KYRODB_URL=" + server.url(), "KYRODB_TOKEN_FILE=" + dir.file("token")};
  CHECK(contains(run_program({client_binary(), "offset"}, "", variables).out, "offset: 0"));
  CHECK(run_program({client_binary(), "-e", "http://127.0.0.1:1", "offset"}, "", variables)
            .exit_code == 5);
  CHECK(run_program({client_binary(), "offset"}, "", {"KYRODB_URL=" + server.url()}).exit_code ==
        1);
}

TEST_CASE("ttl says what is left, and incr counts every one of those who race", "[e2e]") {
  const CtlSession s;
  Client client(s.server);
  check_fails(s.ctl({"ttl", "1"}), 3, "no such key");
  CHECK(s.ctl({"incr", "1"}).out == "value: 1\ntries: 1\n");
  CHECK(s.ctl({"incr", "1", "41"}).out == "value: 42\ntries: 1\n");
  CHECK(s.ctl({"incr", "1", "--json", "--", "-2"}).out == "{\"value\":40,\"tries\":1}\n");
  CHECK(s.ctl({"ttl", "1"}).out == "ttl: none\n");
  CHECK(s.ctl({"ttl", "1", "--json"}).out == "{\"ttl\":null}\n");
  const std::string moment = std::to_string(time(nullptr) + 1000);
  REQUIRE(client.call("PUT", "/v1/kv/2?expires=" + moment, "5").status == 201);
  CHECK(s.ctl({"incr", "2"}).exit_code == 0);
  CHECK(contains(client.get("/v1/lookup?key=2").body, "\"value\":\"6\""));
  CHECK(contains(client.get("/v1/lookup?key=2").body, "\"expires\":" + moment));
  CHECK(std::stoi(s.ctl({"ttl", "2"}).out.substr(5)) > 900);
  REQUIRE(client.call("PUT", "/v1/kv/3", "9223372036854775807").status == 201);
  check_fails(s.ctl({"incr", "3"}), 1, "not a whole number that can be added to");
  REQUIRE(client.call("PUT", "/v1/kv/4", "text").status == 201);
  check_fails(s.ctl({"incr", "4"}), 1, "not a whole number");
  check_fails(s.ctl({"incr", "1", "x"}), 2, "N must be a whole number");
  // A loop in the shell each, at once.
  const std::string loop = "for i in 1 2 3 4 5 6 7 8; do " + client_binary() + " -e " +
                           s.server.url() + " incr 9 >/dev/null || exit 1; done";
  Process a({"/bin/sh", "-c", loop}), b({"/bin/sh", "-c", loop}), c({"/bin/sh", "-c", loop});
  CHECK(a.wait().exit_code + b.wait().exit_code + c.wait().exit_code == 0);
  CHECK(client.get("/v1/kv/9").body == "24");
}

TEST_CASE("The shell runs a command a line, and goes on after one that fails", "[e2e]") {
  const CtlSession s;
  const Outcome outcome = s.ctl({"shell"},
                                "# a comment\n"
                                "put 1 'two words'\n"
                                "\n"
                                "get 9\n"
                                "nonsense\n"
                                "shell\n"
                                "lookup 1\n"
                                "quit\n"
                                "put 2 never\n");
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out == "offset: 0\nkey: 1\nvalue: two words\noffset: 0\n");
  CHECK(contains(outcome.err, "no such key"));
  CHECK(contains(outcome.err, "unknown command nonsense"));
  CHECK(contains(outcome.err, "this is one"));
  CHECK(s.ctl({"get", "2"}).exit_code == 3);
}

TEST_CASE("A program can be the connection", "[e2e]") {
  const CtlSession s;
  Client client(s.server);
  REQUIRE(client.call("PUT", "/v1/kv/1", "one").status == 201);
  const std::string port = std::to_string(s.server.port());
  write_file(s.dir.file("relay.py"),
             "import os, socket, sys, threading\n"
             "server = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
             "def answers():\n"
             "    while data := server.recv(65536): os.write(1, data)\n"
             "    os._exit(0)\n"
             "threading.Thread(target=answers, daemon=True).start()\n"
             "while data := os.read(0, 65536): server.sendall(data)\n");
  const std::string relay = "python3 " + s.dir.file("relay.py") + " " + port;
  CHECK(run_ctl({"--connect-command", relay, "get", "1"}).out == "one");
  CHECK(run_ctl({"--connect-command", relay, "mget", "1", "2"}).exit_code == 3);
  check_fails(run_ctl({"--connect-command", "false", "get", "1"}), 5,
              "the program that connects has ended without an answer");
  check_fails(run_ctl({"--connect-command", "/none/there", "get", "1"}), 5, "without an answer");
  for (const char* url : {"https://", "https://a b", "https://a'b", "https://-x", "https://x:0",
                          "https://x:99999", "https://x/path"}) {
    INFO(url);
    CHECK(run_ctl({"-e", url, "offset"}).exit_code == 2);
  }
}

TEST_CASE("Behind a TLS proxy the client checks name and certificate", "[e2e]") {
  for (const char* tool : {"/usr/sbin/haproxy", "/usr/bin/openssl"}) {
    if (access(tool, X_OK) != 0) {
      WARN(tool << " is not installed: what it would have checked was not checked");
      return;
    }
  }
  const CtlSession s;
  REQUIRE(s.ctl({"put", "1", "one"}).exit_code == 0);
  const std::string dir = s.dir.path();
  REQUIRE(run_program({"/bin/sh", "-c",
                       "cd " + dir +
                           " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
                           "-nodes -days 2 -subj /CN=localhost -addext "
                           "subjectAltName=DNS:localhost -keyout key -out cert 2>/dev/null && "
                           "cat cert key >both.pem"})
              .exit_code == 0);
  const std::string port = std::to_string(free_loopback_port());
  write_file(dir + "/haproxy.cfg",
             "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n"
             "  timeout server 60s\nfrontend tls\n  bind 127.0.0.1:" +
                 port + " ssl crt " + dir +
                 "/both.pem\n  default_backend db\nbackend db\n"
                 "  server db 127.0.0.1:" +
                 std::to_string(s.server.port()) + "\n");
  Process proxy({"/usr/sbin/haproxy", "-db", "-f", dir + "/haproxy.cfg"});
  const auto began = std::chrono::steady_clock::now();
  const auto get = [&](const std::string& url, const Args& environment) {
    return run_program({client_binary(), "-e", url, "get", "1"}, "", environment);
  };
  const Args trusted{"SSL_CERT_FILE=" + dir + "/cert"};
  const std::string url = "https://localhost:" + port;
  Outcome right = get(url, trusted);
  while (right.exit_code != 0 && std::chrono::steady_clock::now() - began < kProcessTimeout) {
    right = get(url, trusted);  // it may not listen yet
  }
  INFO(right.err);
  CHECK(right.out == "one");
  CHECK(right.err.empty());
  // One that nobody vouches for, and one for another name.
  const Outcome unknown = get(url, {"SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR=/nowhere"});
  CHECK(unknown.exit_code == 5);
  CHECK(unknown.out.empty());
  const Outcome other_name = get("https://127.0.0.1:" + port, trusted);
  CHECK(other_name.exit_code == 5);
  CHECK(other_name.out.empty());
  proxy.signal(SIGTERM);
  proxy.wait();
}

TEST_CASE("The man pages have examples, files, signals, variables and a date", "[e2e]") {
  const std::string server = run_kyrodb({"help", "--man"}).out;
  for (const char* section : {"ENVIRONMENT", "FILES", "SIGNALS", "EXAMPLES", "EXIT STATUS"}) {
    CHECK(contains(server, std::string("\n.SH ") + section + "\n"));
  }
  const std::string client = run_ctl({"help", "--man"}).out;
  for (const char* section : {"ENVIRONMENT", "EXAMPLES", "EXIT STATUS"}) {
    CHECK(contains(client, std::string("\n.SH ") + section + "\n"));
  }
  for (const std::string& page : {server, client}) CHECK(contains(page, " 1 \"2026-11-28\" "));
}
