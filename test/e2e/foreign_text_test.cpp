// What the programs print of text that is not theirs, how they say errors under --json, and what
// signals do to a server that mean nothing to it.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <string_view>

#include "test/support/ctl.h"
#include "test/support/json_tree.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// No control character but the line ends.
bool is_plain(std::string_view text) {
  for (const char c : text) {
    if ((c >= 0 && c < 0x20 && c != '\n') || c == 0x7F) return false;
  }
  return text.find("\xC2\x9B") == text.npos;
}

const std::string kHostile = "v\x1b[2J\nkey: 5\r\xC2\x9B";

}  // namespace

TEST_CASE("A stored value or a word can neither forge a field nor drive the terminal", "[e2e]") {
  const CtlSession s;
  REQUIRE(s.ctl({"put", "1", "-"}, kHostile).exit_code == 0);
  for (const Args& words : {Args{"lookup", "1"}, Args{"floor", "9"}, Args{"ceil", "0"}}) {
    const Outcome outcome = s.ctl(words);
    INFO(outcome.out);
    CHECK(outcome.out == "key: 1\nvalue: v\\u001b[2J\\u000akey: 5\\u000d\\u009b\noffset: 0\n");
  }
  CHECK(s.ctl({"get", "1"}).out == kHostile);  // raw by contract
  CHECK(is_json_line(s.ctl({"lookup", "1", "--json"}).out));
  TempDir dir;
  for (const Outcome& outcome :
       {s.ctl({"--\x1b[2J"}), s.ctl({"\x1b[2J\n"}), s.ctl({"get", "\x1b[2J\n"}),
        s.ctl({"import", dir.file("\x1b[2J\n")}), s.ctl({"batch", dir.file("\x1b[2J\n")}),
        s.ctl({"batch", "-"}, "{\"op\":\"put\",\"key\":1,\"\\u001b[2J\\n\":1}\n"),
        s.ctl({"import", "-"}, "{\"op\":\"put\",\"key\":1,\"\\u001b[2J\\n\":1}\n"),
        run_kyrodb({"verify", dir.file("\x1b[2J\n")}), run_kyrodb({"serve", "--\x1b[2J"}),
        run_kyrodb({"backup", dir.file("\x1b"), dir.file("\x1b")}),
        run_kyrodb({"serve", "--auth-token-file", dir.file("\x1b[2J\n")})}) {
    INFO(outcome.err);
    CHECK(outcome.exit_code != 0);
    CHECK(is_plain(outcome.err));
    CHECK(is_plain(outcome.out));
  }
}

TEST_CASE("Under --json errors are JSON, one a line", "[e2e]") {
  const CtlSession s;
  const auto error_of = [&](const Args& words) {
    const Outcome outcome = s.ctl(words);
    INFO(outcome.err);
    CHECK(outcome.exit_code != 0);
    CHECK(outcome.out.empty());
    CHECK(is_json_line(outcome.err));
    return JsonTree::parse(outcome.err).at("error").text;
  };
  CHECK(error_of({"--json", "lookup", "7"}) == "not_found");
  CHECK(error_of({"get", "7", "--json"}) == "not_found");
  CHECK(error_of({"mget", "--json"}) == "usage");
  CHECK(error_of({"get", "\"x\\", "--json"}) == "usage");
  CHECK(error_of({"frobnicate", "--json"}) == "usage");
  CHECK(error_of({"batch", "/none", "--json"}) == "error");
  CHECK(error_of({"replay", "--start", "99", "--json"}) == "gone");
  const Outcome gone = run_ctl({"-e", "unix:/none/nosuch.sock", "offset", "--json"});
  CHECK(gone.exit_code == 5);
  CHECK(JsonTree::parse(gone.err).at("error").text == "unreachable");
  CHECK(contains(gone.err, "cannot connect to /none/nosuch.sock: No such file"));
  CHECK_FALSE(contains(gone.err, "localhost"));
}

TEST_CASE("Signals that mean nothing to a server are logged and change nothing", "[e2e]") {
  Served s;
  const int signals[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGIO, SIGPWR, SIGRTMIN, SIGRTMAX};
  const char* const names[] = {"USR1", "USR2", "ALRM", "VTALRM", "POLL", "PWR", "RT", "RT"};
  for (size_t i = 0; i < std::size(signals); ++i) {
    INFO(names[i]);
    s.server.process().signal(signals[i]);
    CHECK(s.server.process().wait_for_err(std::string("signal_ignored signal=") + names[i]));
  }
  s.server.process().signal(SIGPIPE);
  CHECK(s.client.call("PUT", "/v1/kv/1", "v").status == 201);
  CHECK(s.server.stop().exit_code == 0);
}

TEST_CASE("SIGHUP with anything but a file in the token's place keeps the token", "[e2e]") {
  TempDir dir;
  const std::string token = dir.file("token");
  write_file(token, "secret");
  ServerProcess server(dir.file("data"), {"--auth-token-file", token});
  Client client(server);
  const auto reload_with = [&](const char* kind, const char* told) {
    INFO(kind);
    server.process().signal(SIGHUP);
    CHECK(server.process().wait_for_err(told));
    CHECK(client.call("GET", "/v1/offset", "", {{"Authorization", "Bearer secret"}}).status == 200);
    std::filesystem::remove_all(token);
  };
  std::filesystem::remove(token);
  REQUIRE(mkfifo(token.c_str(), 0600) == 0);
  reload_with("a pipe", "token is not a regular file");
  std::filesystem::create_symlink("/dev/zero", token);
  reload_with("a device", "token is not a regular file");
  write_file(token, std::string(65537, 'x'));
  reload_with("a large file", "is larger than such a file may be");
  std::filesystem::create_directory(token);
  reload_with("a directory", "token is not a regular file");
  CHECK(server.stop().exit_code == 0);
}
