// `kyrodb load`: a data directory out of files, what is wrong in them, and the nightly swap.
#include <signal.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

std::string write_input(const TempDir& dir, const std::string& name, const std::string& bytes) {
  std::ofstream(dir.file(name), std::ios::binary) << bytes;
  return dir.file(name);
}

std::string binary_record(uint64_t key, const std::string& value) {
  std::string out;
  for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(key >> shift);
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value.size() >> shift);
  return out + value;
}

}  // namespace

TEST_CASE("Load takes NDJSON, CSV and binary in any order, and the last record of a key counts",
          "[e2e]") {
  TempDir dir;
  const std::string lines =
      write_input(dir, "a.ndjson",
                  "{\"key\":9,\"value\":\"nine\"}\n{\"key\":2,\"value_base64\":\"/wA=\"}\n"
                  "{\"key\":7,\"value\":\"gone\"}\n\n{\"op\":\"delete\",\"key\":7}\n");
  const std::string csv = write_input(dir, "b.csv", "key,value\n9,\"a, \"\"b\"\"\"\n1,one\n");
  const std::string binary =
      write_input(dir, "c.bin",
                  binary_record(18446744073709551615u, "last") + binary_record(1, "") +
                      binary_record(0, std::string(9000, 'z')));
  const std::string data = dir.file("data");
  const Outcome loaded = run_kyrodb({"load", data, lines, csv, binary});
  INFO(loaded.out << loaded.err);
  REQUIRE(loaded.exit_code == 0);
  CHECK(contains(loaded.out, "9 records, 5 keys, offsets below 9, in "));
  require_verified(data);
  CHECK(run_kyrodb({"dump", data}).out ==
        "{\"key\":0,\"value\":\"" + std::string(9000, 'z') + "\",\"offset\":8}\n" +
            "{\"key\":1,\"value\":\"\",\"offset\":7}\n"
            "{\"key\":2,\"value_base64\":\"/wA=\",\"offset\":1}\n"
            "{\"key\":9,\"value\":\"a, \\\"b\\\"\",\"offset\":4}\n"
            "{\"key\":18446744073709551615,\"value\":\"last\",\"offset\":6}\n");
  ServerProcess server(data);
  Client client(server);
  CHECK(client.next_offset() == 9);
  CHECK(client.call("GET", "/v1/replay?start=0").status == 410);
  CHECK(client.call("PUT", kv_path(3), "three").status == 201);
  CHECK(server.stop().exit_code == 0);
}

TEST_CASE("A record that is wrong ends a load, is named, and nothing is left", "[e2e]") {
  TempDir dir;
  struct Case {
    const char* name;
    std::string bytes;
    const char* said;
  };
  const Case cases[] = {
      {"a.ndjson", "{\"key\":1,\"value\":\"v\"}\n\n{\"key\":2}\n", "a.ndjson line 3: "},
      {"b.csv", "key,value\n1,one\nx,two\n", "b.csv line 3: "},
      {"c.bin", binary_record(1, "one") + "\1\2\3", "c.bin at byte 15: "},
      {"d.bin", binary_record(1, "one") + std::string(12, '\xFF'), "d.bin at byte 15: "},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const std::string data = dir.file("data");
    const Outcome failed = run_kyrodb({"load", data, write_input(dir, c.name, c.bytes)});
    INFO(failed.err);
    CHECK(failed.exit_code == 1);
    CHECK(contains(failed.err, c.said));
    CHECK_FALSE(std::filesystem::exists(data));
  }
  CHECK(contains(run_kyrodb({"load", dir.file("data"), dir.file("missing")}).err,
                 "missing: No such"));
  CHECK(run_kyrodb({"load", dir.path(), dir.file("a.ndjson")}).exit_code == 1);  // not empty
  CHECK(run_kyrodb({"load", dir.file("data")}).exit_code == 2);
}

TEST_CASE("A load through temporary files is the same store, with the lifetime that was asked for",
          "[e2e]") {
  TempDir dir;
  std::string bytes;
  for (uint64_t i = 0; i < 50'000; ++i) {
    bytes += binary_record(i * 7919 % 50'021, "value " + std::to_string(i));
  }
  const std::string input = write_input(dir, "input.bin", bytes);
  const std::string data = dir.file("data");
  const Outcome loaded =
      run_kyrodb({"load", data, "--memory", "1MiB", "--ttl", "3600", "--format=binary", input});
  INFO(loaded.err);
  REQUIRE(loaded.exit_code == 0);
  for (const auto& entry : std::filesystem::directory_iterator(data)) {
    CHECK_FALSE(entry.path().string().ends_with(".tmp"));
  }
  ServerProcess server(data);
  Client client(server);
  for (uint64_t i = 0; i < 50'000; i += 997) {
    const HttpResponse found = client.call("GET", kv_path(i * 7919 % 50'021));
    CHECK(found.status == 200);
    CHECK(found.body == "value " + std::to_string(i));
  }
  CHECK(contains(client.call("GET", "/v1/scan?limit=1").body, "\"expires\":"));
  CHECK(server.stop().exit_code == 0);
}

TEST_CASE("A nightly file is loaded beside a store that serves, and takes its place", "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  const std::string next = dir.file("data.next");
  REQUIRE(run_kyrodb({"load", data, write_input(dir, "1.csv", "key,value\n1,old\n")}).exit_code ==
          0);
  {
    ServerProcess server(data);
    const std::string input = write_input(dir, "2.csv", "key,value\n1,new\n2,two\n");
    REQUIRE(run_kyrodb({"load", next, input}).exit_code == 0);
    CHECK(Client(server).call("GET", kv_path(1)).body == "old");
    CHECK(server.stop().exit_code == 0);
  }
  std::filesystem::rename(data, dir.file("data.old"));
  std::filesystem::rename(next, data);
  ServerProcess server(data);
  CHECK(Client(server).call("GET", kv_path(1)).body == "new");
  CHECK(server.stop().exit_code == 0);
}

}  // namespace kyro::test
