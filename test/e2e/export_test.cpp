// `kyrodbctl export`, scan, mget, floor, ceil, batch and conditions, against a real server; and
// streams that break, against one that plays foul.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <string_view>

#include "kyro/json/record_encoder.h"
#include "test/support/canned_server.h"
#include "test/support/ctl.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// One chunk of a chunked answer.
std::string chunk(const std::string& data) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", data.size());
  return size + data + "\r\n";
}

size_t line_count(std::string_view text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("What an export writes an import reads: any bytes, in every format", "[e2e]") {
  const uint64_t seed = test_seed(601);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  std::map<uint64_t, std::string> oracle{
      {0, ""}, {UINT64_MAX, "last"}, {7, "\r\n"}, {8, "\"x\""}, {9, "9"}};
  constexpr std::string_view kBytes("a,\"\r\n\0\\ \xff\xc3\xbc", 11);
  while (oracle.size() < 3000) {
    const uint64_t key = random() >> (random() % 60);
    if (oracle.contains(key)) continue;
    std::string& value = oracle[key];
    for (size_t n = random() % 40; n > 0; --n) value += kBytes[random() % kBytes.size()];
  }
  std::string lines;
  for (const auto& [key, value] : oracle) {
    lines += "{\"key\":" + std::to_string(key) + ",";
    append_json_value_field(lines, value);
    lines += "}\n";
  }
  const CtlSession from;
  REQUIRE(from.ctl({"import", "-"}, lines).exit_code == 0);
  const std::string exported = from.ctl({"export"}).out;
  CHECK(exported == lines);
  const Args formats[] = {{"all.ndjson"}, {"all.csv"}, {"all.csv", "--base64"}};
  for (const Args& format : formats) {
    const std::string file = from.dir.file(format[0]);
    Args words{"export", file};
    words.insert(words.end(), format.begin() + 1, format.end());
    const Outcome outcome = from.ctl(words);
    INFO(file << outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.starts_with("exported " + std::to_string(oracle.size()) + " records"));
    for (const auto& entry : std::filesystem::directory_iterator(from.dir.path())) {
      CHECK(entry.path().extension() != ".partial");
    }
    const CtlSession to;
    REQUIRE(to.ctl({"import", file}).exit_code == 0);
    CHECK(to.ctl({"export"}).out == lines);
  }
  // To standard output, and a part of it.
  const std::string csv = from.ctl({"export", "-", "--format", "csv", "--start=7", "--end=9"}).out;
  CHECK(csv == "key,value\r\n7,\"\r\n\"\r\n8,\"\"\"x\"\"\"\r\n");
  check_fails(from.ctl({"export", "--base64"}), 2, "--base64 is for CSV");
  check_fails(from.ctl({"export", from.dir.file("none/x.csv")}), 1, "No such file");
  CHECK(from.ctl({"export", "/dev/full"}).exit_code == 1);
}

TEST_CASE("An export of any size stays within its memory", "[e2e]") {
  if (kSanitized) {
    WARN("a sanitizer reserves more address space than the limit of this test");
    return;
  }
  const CtlSession s;
  Client client(s.server);
  for (uint64_t key = 0; key < 32; ++key) {
    REQUIRE(client.call("PUT", kv_path(key), std::string(1u << 20, 'x')).status == 201);
  }
  const std::string file = s.dir.file("out.csv");
  const Outcome out = run_program(
      {"/bin/sh", "-c",
       "ulimit -v 24000; exec " + client_binary() + " -e " + s.server.url() + " export " + file});
  INFO(out.err);
  CHECK(out.exit_code == 0);
  CHECK(std::filesystem::file_size(file) > 32u << 20);
}

TEST_CASE("An export replaces a file with its mode, behind a link too, and nothing beside it",
          "[e2e]") {
  const CtlSession s;
  REQUIRE(s.ctl({"put", "1", "one"}).exit_code == 0);
  const std::string file = s.dir.file("out.ndjson");
  const std::string link = s.dir.file("link");
  write_file(file, "old");
  write_file(file + ".partial", "mine");
  std::filesystem::permissions(file, std::filesystem::perms(0640));
  std::filesystem::create_symlink(file, link);
  REQUIRE(s.ctl({"export", link}).exit_code == 0);
  CHECK(read_file(file) == "{\"key\":1,\"value\":\"one\"}\n");
  CHECK(std::filesystem::status(file).permissions() == std::filesystem::perms(0640));
  CHECK(std::filesystem::is_symlink(link));
  CHECK(read_file(file + ".partial") == "mine");
}

TEST_CASE("With standard output closed the client fails and its connection gets no data", "[e2e]") {
  const CtlSession s;
  REQUIRE(s.ctl({"put", "500", "keep"}).exit_code == 0);
  Client client(s.server);
  const std::string hostile =
      "DELETE /v1/kv/500 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
  REQUIRE(client.call("PUT", kv_path(501), hostile).status == 201);
  const std::string ctl = client_binary() + " -e " + s.server.url();
  for (const char* words : {" get 501 >&-", " export - >&-"}) {
    INFO(words);
    CHECK(run_program({"/bin/sh", "-c", ctl + words}).exit_code == 1);
  }
  CHECK(client.get(kv_path(500)).body == "keep");
}

TEST_CASE("A broken stream is exit 1 and leaves no file that looks whole", "[e2e]") {
  TempDir dir;
  const std::string item = "{\"key\":1,\"value\":\"v\",\"offset\":0}\n";
  const std::string head =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
  struct Foul {
    std::string answer;
    std::string_view message;
  };
  const Foul cases[] = {
      {head + chunk(item), "after key 1: the answer ended too early"},
      {head + chunk(item) + "0\r\n\r\n", "after key 1: the answer has no trailer"},
      {CannedServer::answer("200 OK", item + "{\"key\":2,\"val"), "after key 1: "},
      {CannedServer::answer("200 OK", ""), "before the first key: the answer has no trailer"},
      {CannedServer::answer("500 Internal Server Error", "{\"message\":\"damaged\"}"), "damaged"},
  };
  for (const Foul& foul : cases) {
    CannedServer server({foul.answer});
    const Outcome outcome = run_ctl({"-e", server.url(), "export", dir.file("out.csv")});
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.err, foul.message));
    CHECK(std::filesystem::is_empty(dir.path()));
    CHECK(run_ctl({"-e", server.url(), "scan"}).exit_code == 1);
  }
  CannedServer whole({CannedServer::answer("200 OK", item + "{\"complete\":true}\n")});
  CHECK(run_ctl({"-e", whole.url(), "export"}).out == "{\"key\":1,\"value\":\"v\"}\n");
  CannedServer log({head + chunk("{\"offset\":41,\"op\":\"delete\",\"key\":1}\n")});
  const Outcome replay = run_ctl({"-e", log.url(), "replay"});
  CHECK(replay.exit_code == 1);
  CHECK(contains(replay.err, "go on with --start 42"));
}

TEST_CASE("Scan goes over whole ranges, in pages where there is a limit", "[e2e]") {
  const CtlSession s;
  std::string lines;
  for (uint64_t key = 0; key < 25000; ++key) {
    lines += "{\"key\":" + std::to_string(key * 2) + ",\"value\":\"v\"}\n";
  }
  REQUIRE(s.ctl({"import", "-"}, lines).exit_code == 0);
  CHECK(line_count(s.ctl({"scan"}).out) == 25000);
  const std::string pages = s.ctl({"scan", "--limit", "20001", "--start", "3"}).out;
  CHECK(line_count(pages) == 20001);
  CHECK(pages.starts_with("{\"key\":4,\"value\":\"v\",\"offset\":2}\n"));
  CHECK(contains(pages, "\n{\"key\":40004,\"value\":\"v\","));
  CHECK_FALSE(contains(pages, "complete"));
  const std::string down =
      s.ctl({"scan", "--reverse", "--limit", "15000", "--keys-only", "--end=40000"}).out;
  CHECK(line_count(down) == 15000);
  CHECK(down.starts_with("{\"key\":39998,\"offset\":19999}\n"));
  CHECK(down.ends_with("{\"key\":10000,\"offset\":5000}\n"));
  CHECK(s.ctl({"scan", "--start=10", "--end=10"}).out.empty());
  CHECK(line_count(s.ctl({"scan", "--limit=99999"}).out) == 25000);
}

TEST_CASE("Many keys, near keys, batches and conditions from the command line", "[e2e]") {
  const CtlSession s;
  REQUIRE(s.ctl({"batch", "-"},
                "{\"op\":\"put\",\"key\":10,\"value\":\"ten\"}\n"
                "{\"op\":\"put\",\"key\":20,\"value_base64\":\"/w==\"}\n")
              .out == "offset: 1\ncount: 2\n");
  check_fails(s.ctl({"batch", "-"}, "{\"op\":\"put\",\"key\":30,\"value\":\"x\"}\noops\n"), 1, "2");
  CHECK(s.ctl({"get", "30"}).exit_code == 3);
  check_fails(s.ctl({"batch", s.dir.file("none")}), 1, "No such file");

  const Outcome some = s.ctl({"mget", "10", "11", "20"});
  CHECK(some.exit_code == 3);
  CHECK(some.out ==
        "{\"key\":10,\"value\":\"ten\"}\n{\"key\":11,\"value\":null}\n"
        "{\"key\":20,\"value_base64\":\"/w==\"}\n");
  CHECK(s.ctl({"mget", "10", "20"}).exit_code == 0);
  std::string keys;
  for (int i = 0; i < 2500; ++i) keys += i % 2 == 0 ? "10\n" : "20\r\n";
  const Outcome many = s.ctl({"mget", "-"}, keys);
  CHECK(many.exit_code == 0);
  CHECK(line_count(many.out) == 2500);
  check_fails(s.ctl({"mget", "-"}, "10\nx\n"), 2, "KEY must be");
  CHECK(s.ctl({"mget", "-"}, "").exit_code == 0);

  CHECK(s.ctl({"--json", "floor", "19"}).out == "{\"key\":10,\"value\":\"ten\",\"offset\":0}\n");
  CHECK(s.ctl({"ceil", "10"}).out == "key: 10\nvalue: ten\noffset: 0\n");
  check_fails(s.ctl({"floor", "9"}), 3, "");
  check_fails(s.ctl({"ceil", "21"}), 3, "");

  check_fails(s.ctl({"put", "10", "x", "--if-none-match"}), 4, "");
  check_fails(s.ctl({"put", "10", "x", "--if-match", "5"}), 4, "");
  CHECK(s.ctl({"put", "10", "x", "--if-match", "0"}).out == "offset: 2\n");
  CHECK(s.ctl({"put", "10", "y", "--if-match=*", "--ttl", "1000"}).out == "offset: 3\n");
  check_fails(s.ctl({"delete", "10", "--if-match", "2"}), 4, "");
  CHECK(s.ctl({"delete", "10", "--if-match", "3"}).exit_code == 0);
  CHECK(s.ctl({"put", "10", "z", "--if-none-match"}).exit_code == 0);
}
