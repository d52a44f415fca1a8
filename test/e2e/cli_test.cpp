// The programs as people and scripts use them: words in, text and exit codes out.
#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "kyro/json/json_reader.h"
#include "test/support/ctl.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// Flips a bit of a file, `from_end` bytes before its end.
void damage_file(const std::string& path, std::uintmax_t at) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 1));
  REQUIRE(file.flush().good());
}

std::string only_file(const std::string& dir, std::string_view prefix, std::string_view suffix) {
  std::string found;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    CHECK(found.empty());
    found = name;
  }
  REQUIRE(!found.empty());
  return found;
}

}  // namespace

TEST_CASE("Version and help texts name what there is", "[e2e]") {
  check_says(run_kyrodb({"--version"}), "kyrodb ");
  check_says(run_ctl({"--version"}), "kyrodbctl ");
  for (const Args& words : {Args{"--help"}, Args{"help"}, Args{"-h"}}) {
    check_says(run_kyrodb(words), "Usage: kyrodb COMMAND");
  }
  for (const Args& words : {Args{"help", "serve"}, Args{"serve", "--help"}, Args{"serve", "-h"}}) {
    const Outcome help = run_kyrodb(words);
    for (const char* flag : {"--data-dir", "--fsync", "--unix-socket", "--auth-token-file",
                             "--delta-max-bytes", "--drain-secs", "--rmi-target-leaf"}) {
      check_says(help, flag);
    }
  }
  for (const Args& words : {Args{"help", "ctl"}, Args{"ctl", "--help"}}) {
    check_says(run_kyrodb(words), "Usage: kyrodbctl");
  }
  for (const Args& words : {Args{"help", "verify"}, Args{"verify", "--help"}}) {
    check_says(run_kyrodb(words), "Usage: kyrodb verify DIR");
  }
  const Outcome ctl = run_ctl({"--help"});
  for (const char* command :
       {"health", "ready",    "offset",  "put",       "get",     "delete",   "lookup",
        "import", "snapshot", "compact", "rmi-build", "metrics", "warmup",   "scan",
        "floor",  "ceil",     "mget",    "batch",     "replay",  "subscribe"}) {
    check_says(ctl, std::string("\n  ") + command + " ");
    check_says(run_ctl({"help", command}), std::string("Usage: kyrodbctl ") + command);
    check_says(run_ctl({command, "--help"}), std::string("Usage: kyrodbctl ") + command);
  }
}

TEST_CASE("Words that make no sense are exit 2 with a hint", "[e2e]") {
  check_fails(run_kyrodb({}), 2, "Usage");
  check_fails(run_kyrodb({"sevre"}), 2, "unknown command sevre");
  check_fails(run_kyrodb({"--wal-segment", "1M"}), 2, "--wal-segment-bytes, a flag of serve");
  check_fails(run_kyrodb({"help", "sevre"}), 2, "no help for sevre");
  check_fails(run_kyrodb({"serve", "--data-dri", "x"}), 2, "the nearest is --data-dir");
  check_fails(run_kyrodb({"serve", "--max-value-byte=1"}), 2, "the nearest is --max-value-bytes");
  check_fails(run_kyrodb({"serve", "--threads", "-1"}), 2, "--threads");
  check_fails(run_kyrodb({"serve", "--wal-segment-bytes", "64MB"}), 2, "unknown unit");
  check_fails(run_kyrodb({"serve", "--delta-max-bytes", "32KiB"}), 2, "from 64KiB to");
  check_fails(run_kyrodb({"serve", "--wal-max-segments", "0"}), 2, "--wal-max-segments");
  check_fails(run_kyrodb({"serve", "--fsync", "sometimes"}), 2, "--fsync");
  check_fails(run_kyrodb({"serve", "--fsync", "interval:0"}), 2, "milliseconds");
  check_fails(run_kyrodb({"serve", "127.0.0.1"}), 2, "together");
  check_fails(run_kyrodb({"serve", "127.0.0.1", "65536"}), 2, "PORT");
  check_fails(run_kyrodb({"serve", "127.0.0.1", "1", "2"}), 2, "usage: kyrodb serve");
  check_fails(run_kyrodb({"serve", "--port", "4000"}), 2,
              "unknown flag --port (see: kyrodb help serve)");
  check_fails(run_ctl({"set", "1", "v"}), 2, "the nearest is put");
  check_fails(run_kyrodb({"verify"}), 2, "usage: kyrodb verify DIR");
  check_fails(run_kyrodb({"verify", "a", "b"}), 2, "usage: kyrodb verify DIR");

  check_fails(run_ctl({}), 2, "no command");
  check_fails(run_ctl({"gte", "1"}), 2, "unknown command gte");
  check_fails(run_ctl({"get"}), 2, "get KEY");
  check_fails(run_ctl({"get", "1", "2"}), 2, "get KEY");
  check_fails(run_ctl({"put", "1"}), 2, "put KEY VALUE");
  check_fails(run_ctl({"put", "1", "v", "--ttl", "0"}), 2, "--ttl must be a whole number");
  check_fails(run_ctl({"put", "1", "v", "--if-match", "\"1\""}), 2, "--if-match must be");
  check_fails(run_ctl({"delete", "1", "--if-match=x"}), 2, "--if-match must be");
  check_fails(run_ctl({"get", "1", "--ttl", "5"}), 2, "unknown flag --ttl");
  check_fails(run_ctl({"scan", "--start", "-1"}), 2, "--start must be");
  check_fails(run_ctl({"scan", "--limit", "0"}), 2, "--limit must be");
  check_fails(run_ctl({"subscribe", "--from", "now"}), 2, "--from must be");
  check_fails(run_ctl({"completion", "fish"}), 2, "bash or zsh");
  check_fails(run_ctl({"offset", "1"}), 2, "offset");
  check_fails(run_ctl({"offset", "--jsno"}), 2, "--jsno");
  check_fails(run_ctl({"offset", "-e"}), 2, "--engine needs a value");
  check_fails(run_ctl({"-e", "ftp://localhost", "offset"}), 2, "only http://");
  check_fails(run_ctl({"-e", "http://localhost:port", "offset"}), 2, "port");
  for (const char* key : {"", "x", "-1", "+1", "01", "1.0", "18446744073709551616"}) {
    INFO(key);
    check_fails(run_ctl({"get", "--", key}), 2, "KEY must be a decimal number");
  }
}

TEST_CASE("Every command of the client does what its help says", "[e2e]") {
  const CtlSession s;
  CHECK(s.ctl({"health"}).out == "status: ok\n");
  CHECK(s.ctl({"ready"}).out == "status: ready\n");
  const Outcome alive = run_kyrodb({"health", s.server.url()});
  CHECK(alive.exit_code == 0);
  CHECK(alive.out + alive.err == "");
  CHECK(s.ctl({"put", "7", "seven"}).out == "offset: 0\n");
  CHECK(s.ctl({"put", "8", "eight", "--json"}).out == "{\"offset\":1}\n");
  CHECK(s.ctl({"get", "7"}).out == "seven");
  CHECK(s.ctl({"--json", "get", "7"}).out == s.ctl({"--json", "lookup", "7"}).out);
  CHECK(is_json_line(s.ctl({"--json", "get", "7"}).out));
  CHECK(s.ctl({"--json", "lookup", "8"}).out == "{\"key\":8,\"value\":\"eight\",\"offset\":1}\n");
  CHECK(s.ctl({"lookup", "8"}).out == "key: 8\nvalue: eight\noffset: 1\n");
  CHECK(s.ctl({"delete", "7"}).out == "offset: 2\n");
  check_fails(s.ctl({"delete", "7"}), 3, "no such key");
  check_fails(s.ctl({"get", "7"}), 3, "no such key");
  check_fails(s.ctl({"lookup", "7", "--json"}), 3, "no such key");
  const Outcome offset = s.ctl({"offset"});
  CHECK(offset.out.starts_with("offset: 3\ndatabase: "));
  CHECK(is_json_line(s.ctl({"offset", "--json"}).out));
  for (const char* command : {"snapshot", "compact", "rmi-build", "warmup"}) {
    INFO(command);
    const Outcome text = s.ctl({command});
    CHECK(text.exit_code == 0);
    CHECK(contains(text.out, ": "));
    const Outcome json = s.ctl({command, "--json"});
    CHECK(json.exit_code == 0);
    CHECK(is_json_line(json.out));
  }
  CHECK(contains(s.ctl({"compact"}).out, "stats.keys_retained: 1\n"));
  CHECK(contains(s.ctl({"metrics"}).out, "\nkyrodb_next_offset 3\n"));
  CHECK(s.ctl({"get", "8"}).out == "eight");
  // As `kyrodb ctl` too, and flags on either side of the command.
  CHECK(run_kyrodb({"ctl", "get", "8", "--engine=" + s.server.url()}).out == "eight");
  CHECK(run_ctl({"get", "-e", s.server.url() + "/", "8"}).out == "eight");
}

TEST_CASE("The client reads the log, past and live", "[e2e]") {
  CtlSession s;
  for (int key = 0; key < 5; ++key)
    REQUIRE(s.ctl({"put", std::to_string(key), "v"}).exit_code == 0);
  REQUIRE(s.ctl({"delete", "3"}).exit_code == 0);
  CHECK(s.ctl({"replay", "--start", "4"}).out ==
        "{\"offset\":4,\"op\":\"put\",\"key\":4,\"value\":\"v\"}\n"
        "{\"offset\":5,\"op\":\"delete\",\"key\":3}\n");
  CHECK(s.ctl({"replay", "--start=1", "--end=2"}).out ==
        "{\"offset\":1,\"op\":\"put\",\"key\":1,\"value\":\"v\"}\n");
  CHECK(s.ctl({"replay", "--limit", "1"}).out.starts_with("{\"offset\":0,"));
  check_fails(s.ctl({"replay", "--start", "100"}), 1, "");
  CHECK(s.ctl({"subscribe", "--from", "5", "--limit", "1"}).out ==
        "{\"offset\":5,\"op\":\"delete\",\"key\":3}\n");
  // Live: it sees what is written while it waits, then how the server ends.
  Process follower({client_binary(), "-e", s.server.url(), "subscribe", "--from", "6"});
  Client client(s.server);
  while (client.metric("kyrodb_sse_subscribers") != "1") std::this_thread::yield();
  REQUIRE(s.ctl({"put", "9", "live"}).exit_code == 0);
  CHECK(follower.wait_for_out("live"));
  CHECK(s.server.stop().exit_code == 0);
  const Outcome followed = follower.wait();
  CHECK(followed.exit_code == 1);
  CHECK(followed.out == "{\"offset\":6,\"op\":\"put\",\"key\":9,\"value\":\"live\"}\n");
  INFO(followed.err);
  CHECK(contains(followed.err, "the server is stopping; go on with --from 7"));
}

TEST_CASE("Values of any bytes go in from the command line or a pipe and come out raw", "[e2e]") {
  const CtlSession s;
  std::string bytes(300000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 256);
  CHECK(s.ctl({"put", "1", "-"}, bytes).out == "offset: 0\n");
  CHECK(s.ctl({"get", "1"}).out == bytes);
  CHECK(s.ctl({"put", "2", "-"}, "").exit_code == 0);
  const Outcome empty = s.ctl({"get", "2"});
  CHECK(empty.exit_code == 0);
  CHECK(empty.out.empty());
  CHECK(s.ctl({"put", "--", "3", "--json"}).exit_code == 0);
  CHECK(s.ctl({"get", "3"}).out == "--json");
  check_fails(s.ctl({"put", "4", "-"}, std::string((16u << 20) + 1, 'x')), 1, "");
  check_fails(s.ctl({"get", "4"}), 3, "no such key");
}

TEST_CASE("A server that is not there is exit 5, one that is not ready exit 1", "[e2e]") {
  TempDir dir;
  uint16_t port = 0;
  {
    ServerProcess server(dir.file("data"));
    port = server.port();
  }
  const std::string url = "http://127.0.0.1:" + std::to_string(port);
  write_file(dir.file("in.ndjson"), "{\"key\":1,\"value\":\"v\"}\n");
  check_fails(run_ctl({"-e", url, "health"}), 5, "cannot connect to 127.0.0.1:");
  check_fails(run_kyrodb({"health", url}), 1, "cannot connect to 127.0.0.1:");
  check_fails(run_kyrodb({"health", "https://localhost"}), 1, "only http://");
  check_fails(run_ctl({"-e", url, "scan"}), 5, "Connection refused");
  check_fails(run_ctl({"-e", url, "mget", "1"}), 5, "Connection refused");
  check_fails(run_ctl({"-e", url, "put", "1", "v"}), 5, "Connection refused");
  check_fails(run_ctl({"-e", "unix:" + dir.file("socket"), "get", "1"}), 5, "cannot connect");
  check_fails(run_ctl({"-e", url, "import", dir.file("in.ndjson")}), 5, "cannot connect");
}

TEST_CASE("The token comes from a file", "[e2e]") {
  TempDir dir;
  write_file(dir.file("token"), "secret\n");
  write_file(dir.file("wrong"), "guess\n");
  const ServerProcess server(dir.file("data"), {"--auth-token-file", dir.file("token")});
  const auto ctl = [&](Args words) {
    words.insert(words.begin(), {"-e", server.url()});
    return run_ctl(words);
  };
  check_fails(ctl({"put", "1", "v"}), 1, "bearer token");
  check_fails(ctl({"put", "1", "v", "--token-file", dir.file("wrong")}), 1, "bearer token");
  check_fails(ctl({"offset", "--token-file", dir.file("none")}), 2, dir.file("none"));
  CHECK(ctl({"--token-file", dir.file("token"), "put", "1", "v"}).exit_code == 0);
  CHECK(ctl({"get", "1", "--token-file=" + dir.file("token")}).out == "v");
  write_file(dir.file("in.ndjson"), "{\"key\":2,\"value\":\"w\"}\n");
  CHECK(ctl({"import", dir.file("in.ndjson")}).exit_code == 1);
  CHECK(ctl({"import", dir.file("in.ndjson"), "--token-file", dir.file("token")}).exit_code == 0);
  CHECK(ctl({"health"}).exit_code == 0);
}

TEST_CASE("Verify refuses a live directory, passes a sound one, and names what is damaged",
          "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  check_fails(run_kyrodb({"verify", data}), 1, "no KyroDB store there");
  {
    ServerProcess server(data);
    Client client(server);
    for (uint64_t key = 0; key < 100; ++key) {
      REQUIRE(client.call("PUT", kv_path(key), std::string(500, 'r')).status == 201);
    }
    check_fails(run_kyrodb({"verify", data}), 1, "in use by process");
    REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
    for (uint64_t key = 100; key < 110; ++key) {
      REQUIRE(client.call("PUT", kv_path(key), std::string(500, 'l')).status == 201);
    }
    CHECK(server.stop().exit_code == 0);
  }
  const Outcome clean = run_kyrodb({"verify", data});
  check_says(clean, "clean: 100 records in 1 runs, 110 records in 1 log segments");
  CHECK(is_json_line(run_kyrodb({"verify", "--json", data}).out));

  const auto check_damage = [&](const std::string& name, std::uintmax_t at, int exit_code) {
    INFO(name << " at " << at);
    damage_file(data + "/" + name, at);
    const Outcome damaged = run_kyrodb({"verify", data});
    INFO(damaged.out << damaged.err);
    CHECK(damaged.exit_code == exit_code);
    CHECK(contains(damaged.out, name));
    if (name != "manifest.json")
      CHECK(contains(damaged.out, name + (exit_code == 1 ? " at " : "")));
    const Outcome json = run_kyrodb({"verify", data, "--json"});
    CHECK(json.exit_code == exit_code);
    CHECK(is_json_line(json.out));
    CHECK(contains(json.out, name));
    damage_file(data + "/" + name, at);  // and back
  };
  const std::string run = only_file(data, "run-", ".data");
  const std::string index = only_file(data, "run-", ".rmi");
  const std::string segment = only_file(data, "wal-", ".log");
  const auto run_bytes = std::filesystem::file_size(data + "/" + run);
  check_damage(run, run_bytes / 2, 1);
  check_damage(run, run_bytes - 10, 1);
  check_damage(segment, 300, 1);
  check_damage(segment, 30000, 1);
  check_damage("manifest.json", 20, 1);
  check_damage(index, std::filesystem::file_size(data + "/" + index) / 2, 0);  // mends itself
  std::filesystem::rename(data + "/" + run, dir.file("elsewhere"));
  const Outcome missing = run_kyrodb({"verify", data});
  CHECK(missing.exit_code == 1);
  CHECK(contains(missing.out, run));
  std::filesystem::rename(dir.file("elsewhere"), data + "/" + run);
  CHECK(run_kyrodb({"verify", data}).exit_code == 0);
}

TEST_CASE(
    "A damaged log refuses to start and names file, position and tool; a damaged value is an "
    "error, not a miss",
    "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  ServerProcess server(data);
  {
    Client client(server);
    for (uint64_t key = 0; key < 100; ++key) {
      REQUIRE(client.call("PUT", kv_path(key), std::string(500, 'r')).status == 201);
    }
    CHECK(server.stop().exit_code == 0);
  }
  const std::string segment = data + "/" + only_file(data, "wal-", ".log");
  damage_file(segment, 30000);
  const Outcome refused = run_program(ServerProcess::command(data, {}));
  INFO(refused.err);
  CHECK(refused.exit_code == 1);
  CHECK(contains(refused.err, "wal-00000000000000000000.log at "));
  CHECK(contains(refused.err, "kyrodb verify " + data));
  damage_file(segment, 30000);
  server.start();
  REQUIRE(Client(server).call("POST", "/v1/snapshot").status == 200);
  CHECK(server.stop().exit_code == 0);

  const std::string run = data + "/" + only_file(data, "run-", ".data");
  damage_file(run, std::filesystem::file_size(run) / 2 / 4096 * 4096 - 10);  // a page's last record
  server.start();
  Client client(server);
  int damaged = 0;
  for (uint64_t key = 0; key < 100; ++key) {
    const HttpResponse response = client.get(kv_path(key));
    if (response.status == 200) {
      CHECK(response.body == std::string(500, 'r'));
      continue;
    }
    ++damaged;
    CHECK(response.status == 500);
    CHECK(response.body.starts_with("{\"error\":\"corruption\""));
    // Writing it anew mends it.
    CHECK(client.call("PUT", kv_path(key), "new").status == 204);
    CHECK(client.get(kv_path(key)).body == "new");
  }
  CHECK(damaged == 1);
  CHECK(client.metric("kyrodb_corruptions_total") != "0");
  CHECK(client.call("POST", "/v1/compact").status == 500);
  CHECK(client.get(kv_path(0)).status == 200);
}
