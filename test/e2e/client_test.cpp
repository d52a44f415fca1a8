// What makes kyrodbctl convenient: variables, ttl, incr, the shell, and connecting by a program.
#include <time.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <string_view>

#include "kyro/client/commands.h"
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
  // As sh, it ends with the code of the last command.
  CHECK(s.ctl({"shell"}, "get 1\nget 9\n").exit_code == 3);
  CHECK(s.ctl({"shell"}, "get 9\nnonsense\n# a comment\n\nquit\n").exit_code == 2);
  CHECK(s.ctl({"shell"}, "get 9\nget 1").exit_code == 0);
  CHECK(s.ctl({"shell"}, "").exit_code == 0);
}

TEST_CASE("Samples of a metrics page become lines of JSON, whatever stands in them") {
  CHECK(ctl::metrics_json("# HELP a b\na 1\nb{c=\"d\",e=\"+Inf\"} 2.5e-05\n\n") ==
        "{\"name\":\"a\",\"labels\":{},\"value\":1}\n"
        "{\"name\":\"b\",\"labels\":{\"c\":\"d\",\"e\":\"+Inf\"},\"value\":2.5e-05}\n");
  CHECK(ctl::metrics_json("a{b=\"\\\"},c=\\\\\"} NaN") ==
        "{\"name\":\"a\",\"labels\":{\"b\":\"\\\"},c=\\\\\"},\"value\":\"NaN\"}\n");
  for (const char* odd : {"a", " ", "{", "a{ 1", "a{=\" 1", "a{b=\" 1", "a{b=\"\\ 1",
                          "a{,=\"\"=\" ", "a\"\x1b{\x80=\"\xff\"} 01", "a }{ 1"}) {
    const std::string line = ctl::metrics_json(odd);
    INFO(odd << " -> " << line);
    CHECK((line.empty() || is_json_line(line)));
  }
}

TEST_CASE("What a command prints under --json is JSON, a line each", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--backup-dir", dir.file("backups")});
  write_file(dir.file("in"), "{\"op\":\"put\",\"key\":5,\"value\":\"five\"}\n");
  const auto json_of = [&](std::string_view command, const Args& words) {
    Args all{"-e", server.url(), "--json", std::string(command)};
    all.insert(all.end(), words.begin(), words.end());
    return run_ctl(all, "lookup 1\n");
  };
  REQUIRE(json_of("put", {"1", "1"}).exit_code == 0);
  REQUIRE(json_of("put", {"2", "two"}).exit_code == 0);
  // The words of commands that need some; those of probe_test.cpp and those that print text.
  const std::map<std::string_view, Args> words{
      {"put", {"3", "three"}},
      {"get", {"1"}},
      {"delete", {"2"}},
      {"ttl", {"1"}},
      {"incr", {"1"}},
      {"lookup", {"1"}},
      {"floor", {"1"}},
      {"ceil", {"1"}},
      {"mget", {"1", "1"}},
      {"delete-range", {"--start", "100", "--yes"}},
      {"batch", {dir.file("in")}},
      {"import", {dir.file("in")}},
      {"backup", {"first"}},
      {"subscribe", {"--from", "0", "--limit", "1"}},
      {"watch", {"1", "--limit", "1"}},
  };
  for (const CliCommand& command : ctl_program().commands) {
    const std::string_view name = command.name;
    if (name == "top" || name == "latency" || name == "bench") continue;
    if (name == "completion" || name == "help") continue;
    const auto found = words.find(name);
    const Outcome outcome = json_of(name, found == words.end() ? Args{} : found->second);
    INFO(name << ": " << outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK_FALSE(outcome.out.empty());
    std::string_view rest = outcome.out;
    for (size_t end = 0; !rest.empty() && (end = rest.find('\n')) != rest.npos;) {
      REQUIRE(is_json_line(rest.substr(0, end + 1)));
      rest.remove_prefix(end + 1);
    }
    CHECK(rest.empty());
  }
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
  const std::string client = run_ctl({"help", "--man"}).out;
  for (const std::string& page : {server, client}) {
    for (const char* section : {"ENVIRONMENT", "FILES", "SIGNALS", "EXAMPLES", "EXIT STATUS"}) {
      INFO(section);
      CHECK(contains(page, std::string("\n.SH ") + section + "\n"));
    }
    CHECK(contains(page, " 1 \"2026-11-28\" "));
  }
}
