// `kyrodbctl import`: what it takes, where it stops, what it tries again, what it shows.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/canned_server.h"
#include "test/support/ctl.h"

using namespace kyro;
using namespace kyro::test;

namespace {

std::string ndjson_line(uint64_t key, std::string_view value) {
  return "{\"key\":" + std::to_string(key) + ",\"value\":\"" + std::string(value) + "\"}\n";
}

std::string ndjson_lines(uint64_t from, uint64_t to) {
  std::string lines;
  for (uint64_t key = from; key < to; ++key) lines += ndjson_line(key, std::to_string(key * 3));
  return lines;
}

const std::string kStored = CannedServer::answer("200 OK", "{\"offset\":1,\"count\":1}");
std::string busy(const std::string& fields, const std::string& code = "busy") {
  return CannedServer::answer("503 Service Unavailable",
                              "{\"error\":\"" + code + "\",\"message\":\"not now\"}", fields);
}

}  // namespace

TEST_CASE("Import takes a file or a pipe, and says what it stored", "[e2e]") {
  const CtlSession s;
  std::string lines = ndjson_lines(0, 2500);
  lines.insert(lines.find('\n') + 1, " \r\n\n");                            // blank lines
  lines += "{\"key\":\"18446744073709551615\",\"value_base64\":\"/w==\"}";  // no final newline
  write_file(s.dir.file("in.ndjson"), lines);
  const Outcome from_file = s.ctl({"import", s.dir.file("in.ndjson")});
  CHECK(from_file.exit_code == 0);
  CHECK(from_file.out.empty());
  CHECK(from_file.err.starts_with("imported 2501 records in "));
  CHECK(s.ctl({"get", "2499"}).out == "7497");
  CHECK(s.ctl({"get", "18446744073709551615"}).out == "\xff");
  const Outcome from_pipe = s.ctl({"import", "-", "--json"}, lines);
  CHECK(from_pipe.exit_code == 0);
  CHECK(from_pipe.out.starts_with("{\"imported\":2501,\"seconds\":"));
  CHECK(is_json_line(from_pipe.out));
  CHECK(from_pipe.err.empty());
  CHECK(Client(s.server).next_offset() == 5002);
  check_fails(s.ctl({"import", s.dir.file("none.ndjson")}), 1, "none.ndjson: ");
  check_fails(s.ctl({"import", s.dir.path()}), 1, "Is a directory");
  check_fails(s.ctl({"import", "-", "--format", "xml"}), 2, "ndjson|csv");
  for (const char* nothing : {"", "\n\n", "key,value\n"}) {
    const Outcome outcome = s.ctl({"import", "-"}, nothing);
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.err.starts_with("imported 0 records"));
  }
}

TEST_CASE("Import takes CSV with quotes, line ends in values, base64 and a byte order mark",
          "[e2e]") {
  const CtlSession s;
  const std::string csv =
      "\xEF\xBB\xBFkey,value\r\n1,plain\r\n2,\"two\nlines, a \"\"quote\"\"\"\r\n\r\n3,\n4,\xff\n";
  write_file(s.dir.file("in.csv"), csv);
  const Outcome imported = s.ctl({"import", s.dir.file("in.csv")});
  INFO(imported.err);
  CHECK(imported.exit_code == 0);
  CHECK(imported.err.starts_with("imported 4 records"));
  CHECK(s.ctl({"get", "1"}).out == "plain");
  CHECK(s.ctl({"get", "2"}).out == "two\nlines, a \"quote\"");
  CHECK(s.ctl({"get", "3"}).out.empty());
  CHECK(s.ctl({"get", "4"}).out == "\xff");
  CHECK(s.ctl({"import", "-"}, "\"key\",\"value_base64\"\n5,/wA=\n").exit_code == 0);  // first byte
  CHECK(s.ctl({"get", "5"}).out == std::string("\xff\0", 2));
  CHECK(s.ctl({"import", "-", "--format=csv"}, "key,value\n6,{x\n").exit_code == 0);
  CHECK(s.ctl({"get", "6"}).out == "{x");

  struct Bad {
    std::string_view text;
    std::string_view message;
  };
  for (const Bad& bad : std::vector<Bad>{
           {"id,value\n1,x\n", "line 1 (record 1): the header must be key,value or"},
           {"key,value\n1,\"a\nb\"\nx,y\n", "line 4 (record 2): the key must be a decimal number"},
           {"key,value\n1,a\n2,b,c\n", "line 3 (record 2): the record has 3 fields"},
           {"key,value\n1,a\n2,\"b\n", "line 3 (record 2): a quote is not closed"},
           {"key,value_base64\n1,\n2,%\n", "line 3 (record 2): the value is not standard base64"},
       }) {
    const Outcome outcome = s.ctl({"import", "-", "--format", "csv"}, bad.text);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.err, bad.message));
  }
}

TEST_CASE("A bad record stops the import with its line, and --skip goes on from there", "[e2e]") {
  const CtlSession s;
  for (const char* bad :
       {"{\"key\":-1,\"value\":\"v\"}", "{\"key\":1}", "not json", "{\"op\":\"delete\"}",
        "{\"key\":1,\"value\":\"v\"} x", "{\"key\":1,\"value\":\"\xff\"}",
        "{\"op\":\"add\",\"key\":1,\"value\":\"v\"}",
        "{\"op\":\"delete\",\"key\":1,\"value\":\"\"}"}) {
    Client client(s.server);
    const uint64_t before = client.next_offset();
    const Outcome outcome =
        s.ctl({"import", "-"}, ndjson_line(1, "one") + "\n" + ndjson_line(2, "two") + bad + "\n" +
                                   ndjson_line(4, "four"));
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.err, "kyrodbctl: line 4 (record 3): "));
    CHECK(contains(outcome.err, "go on with --skip 2"));
    CHECK(contains(outcome.err, "imported 2 records"));
    CHECK(client.next_offset() == before + 2);
    CHECK(client.get("/v1/kv/4").status == 404);
  }
  const std::string mended = ndjson_line(1, "again") + "skipped\n" + ndjson_line(3, "three");
  const Outcome resumed = s.ctl({"import", "-", "--skip", "2"}, mended);
  CHECK(resumed.exit_code == 0);
  CHECK(resumed.err.starts_with("imported 1 records"));
  CHECK(s.ctl({"get", "1"}).out == "one");
  CHECK(s.ctl({"get", "3"}).out == "three");
  CHECK(s.ctl({"import", "-", "--skip", "9"}, mended).err.starts_with("imported 0 records"));
  check_fails(s.ctl({"import", "-", "--skip", "x"}), 2, "--skip");
  // Far into the input, where many batches have been stored.
  const Outcome late = s.ctl({"import", "-"}, ndjson_lines(0, 4321) + "oops\n");
  CHECK(contains(late.err, "line 4322 (record 4322): "));
  CHECK(contains(late.err, "imported 4321 records"));
}

TEST_CASE("A record that the server refuses is named, and what stands before it is stored",
          "[e2e]") {
  TempDir dir;
  const ServerProcess server(dir.file("data"), {"--max-value-bytes", "100"});
  Client client(server);
  const std::string lines =
      ndjson_lines(0, 1500) + ndjson_line(5000, std::string(101, 'v')) + ndjson_lines(1500, 1600);
  const Outcome refused = run_ctl({"-e", server.url(), "import", "-"}, lines);
  INFO(refused.err);
  CHECK(refused.exit_code == 1);
  CHECK(contains(refused.err, "line 1501 (record 1501): refused with 413"));
  CHECK(contains(refused.err, "go on with --skip 1500"));
  CHECK(contains(refused.err, "imported 1500 records"));
  CHECK(client.get("/v1/kv/1499").body == "4497");
  CHECK(client.get("/v1/kv/5000").status == 404);
}

TEST_CASE("What is left of a dumped lifetime is imported, and typos are refused", "[e2e]") {
  const CtlSession s;
  const std::string in_a_while = std::to_string(time(nullptr) + 1000);
  REQUIRE(s.ctl({"import", "-"},
                "{\"key\":1,\"value\":\"v\",\"offset\":9,\"expires\":" + in_a_while + "}\n")
              .exit_code == 0);
  const std::string left(Client(s.server).get("/v1/kv/1").header("kyro-expires"));
  CHECK(std::stoi(left) > 900);
  CHECK(std::stoi(left) <= 1000);
  check_fails(s.ctl({"import", "-"}, "{\"key\":1,\"value\":\"v\",\"ttl_sec\":9}\n"), 1,
              "the nearest is \"ttl_secs\"");
}

TEST_CASE("A log can be imported with its deletes", "[e2e]") {
  const CtlSession from;
  const CtlSession to;
  for (const char* key : {"1", "2", "3"}) REQUIRE(from.ctl({"put", key, key}).exit_code == 0);
  REQUIRE(from.ctl({"delete", "2"}).exit_code == 0);
  REQUIRE(from.ctl({"put", "1", "new"}).exit_code == 0);
  const Outcome imported = to.ctl({"import", "-"}, from.ctl({"replay"}).out);
  INFO(imported.err);
  CHECK(imported.exit_code == 0);
  CHECK(to.ctl({"get", "1"}).out == "new");
  CHECK(to.ctl({"get", "2"}).exit_code == 3);
  CHECK(to.ctl({"get", "3"}).out == "3");
}

TEST_CASE("A server that is busy is tried again, everything in its order, but not for ever",
          "[e2e]") {
  const std::string lines = ndjson_lines(0, 1500);  // two batches
  {
    CannedServer server(
        {busy("Retry-After: 0\r\n"), kStored, busy("Retry-After: 0\r\n"), kStored, kStored});
    const Outcome outcome = run_ctl({"-e", server.url(), "import", "-"}, lines);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(contains(outcome.err, "not now: trying again"));
    CHECK(contains(outcome.err, "imported 1500 records"));
    // Whatever became of a later batch, it is sent again after the one that was refused.
    const std::vector<std::string> bodies = server.bodies();
    REQUIRE(bodies.size() >= 4);
    CHECK(bodies[bodies.size() - 2].find("\"key\":0,") != std::string::npos);
    CHECK(bodies.back().find("\"key\":1499,") != std::string::npos);
  }
  {
    CannedServer server({busy("Retry-After: 0\r\n")});
    const Outcome outcome = run_ctl({"-e", server.url(), "import", "-"}, ndjson_lines(0, 10));
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.err, "line 1 (record 1): refused with 503: not now"));
    CHECK(server.bodies().size() == 31);
  }
  for (const std::string& final :
       {busy("Retry-After: 0\r\n", "read_only"), busy(""),
        CannedServer::answer("401 Unauthorized", "{\"error\":\"x\",\"message\":\"who?\"}"),
        CannedServer::answer("507 Insufficient Storage", "{}")}) {
    CannedServer server({final});
    const Outcome outcome = run_ctl({"-e", server.url(), "import", "-"}, ndjson_lines(0, 10));
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.err, "line 1 (record 1): refused with "));
    CHECK(server.bodies().size() == 1);
  }
}

TEST_CASE("A connection that breaks is opened anew, and what was on its way sent again", "[e2e]") {
  const std::string closing =
      CannedServer::answer("200 OK", "{\"offset\":1,\"count\":1}", "Connection: close\r\n");
  CannedServer server({"", closing, kStored});
  const Outcome outcome = run_ctl({"-e", server.url(), "import", "-"}, ndjson_lines(0, 3500));
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(contains(outcome.err, "imported 3500 records"));
  CannedServer gone({""});
  const Outcome failed = run_ctl({"-e", gone.url(), "import", "-"}, ndjson_lines(0, 10));
  CHECK(failed.exit_code == 1);
  CHECK(contains(failed.err, "line 1 (record 1): "));
  CHECK(gone.bodies().size() == 3);
}

TEST_CASE("A sum that is too large for the server goes in smaller pieces", "[e2e]") {
  TempDir dir;
  const ServerProcess server(dir.file("data"), {"--max-batch-bytes", "64KiB"});
  std::string lines;
  for (uint64_t key = 0; key < 600; ++key) lines += ndjson_line(key, std::string(1000, 'x'));
  const Outcome outcome = run_ctl({"-e", server.url(), "import", "-"}, lines);
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(contains(outcome.err, "imported 600 records"));
  CHECK(Client(server).get("/v1/kv/599").body.size() == 1000);
}

TEST_CASE("Progress with rate and time left is shown on a terminal only", "[e2e]") {
  const CtlSession s;
  write_file(s.dir.file("in.ndjson"), ndjson_lines(0, 5000));
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(terminal >= 0);
  REQUIRE(grantpt(terminal) == 0);
  REQUIRE(unlockpt(terminal) == 0);
  const std::string other_end = ptsname(terminal);
  const int kept = open(other_end.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  const std::string command =
      client_binary() + " -e " + s.server.url() + " import " + s.dir.file("in.ndjson");
  CHECK(run_program({"/bin/sh", "-c", "exec " + command + " 2>" + other_end}).exit_code == 0);
  std::string shown;
  char piece[4096];
  REQUIRE(fcntl(terminal, F_SETFL, O_NONBLOCK) == 0);
  for (ssize_t n = 0; (n = read(terminal, piece, sizeof piece)) > 0;) {
    shown.append(piece, static_cast<size_t>(n));
  }
  close(kept);
  close(terminal);
  INFO(shown);
  CHECK(contains(shown, " records, "));
  CHECK(contains(shown, "/s, "));
  CHECK(contains(shown, " s left"));
  CHECK(contains(shown, "imported 5000 records"));
  const Outcome piped = s.ctl({"import", s.dir.file("in.ndjson")});
  CHECK_FALSE(contains(piped.err, " left"));
}

TEST_CASE("An import of any size stays within its memory", "[e2e]") {
  if (kSanitized) {
    WARN("a sanitizer reserves more address space than the limit of this test");
    return;
  }
  const CtlSession s;
  std::string lines;
  for (uint64_t key = 0; key < 32; ++key) lines += ndjson_line(key, std::string(1u << 20, 'x'));
  write_file(s.dir.file("in.ndjson"), lines);
  const std::string limited = "ulimit -v 24000; exec " + client_binary() + " -e " + s.server.url();
  const Outcome in = run_program({"/bin/sh", "-c", limited + " import " + s.dir.file("in.ndjson")});
  INFO(in.err);
  CHECK(in.exit_code == 0);
}
