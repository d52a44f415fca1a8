// A store several times as large as the memory that its server may use, pages of files included: a
// cgroup holds the server to it, and the kernel kills what does not keep within.
#include <sys/vfs.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"
#include "test/support/memory_cgroup.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

constexpr uint64_t kLimitBytes = 32u << 20;
constexpr uint64_t kRecords = 128u << 10;
constexpr uint64_t kStoreBytesLeast = 4 * kLimitBytes;
constexpr size_t kValueBytes = 1024;
constexpr uint64_t kBatchRecords = 1024;

// Records are put in an order that has nothing to do with that of their keys, so that every run
// covers the whole range. Both factors are odd, so each is the other's way back.
uint64_t key_at(uint64_t rank) {
  return 17 + rank * 1'000'003;
}
uint64_t offset_at(uint64_t rank) {
  return rank * 0x9E3779B1u % kRecords;
}
uint64_t rank_at(uint64_t offset) {
  static const uint64_t inverse = [] {
    uint64_t x = 1;
    for (int i = 0; i < 6; ++i) x *= 2 - uint64_t{0x9E3779B1u} * x;
    return x;
  }();
  return offset * inverse % kRecords;
}

// Letters from a pool, from a place that the key says, and the key.
std::string value_of(uint64_t key) {
  static const std::string pool = [] {
    std::mt19937_64 random(1);
    std::string letters(kValueBytes + 8192, '\0');
    for (char& letter : letters) letter = static_cast<char>('a' + random() % 26);
    return letters;
  }();
  const std::string name = std::to_string(key);
  return pool.substr(key % 8191, kValueBytes - name.size()) + name;
}

// The batch of records that begins at an offset.
std::string batch_at(uint64_t offset) {
  std::string lines;
  for (const uint64_t end = offset + kBatchRecords; offset < end; ++offset) {
    const uint64_t key = key_at(rank_at(offset));
    lines +=
        R"({"op":"put","key":)" + std::to_string(key) + R"(,"value":")" + value_of(key) + "\"}\n";
  }
  return lines;
}

// A server within a memory limit, on a socket of its own.
class LimitedServer {
 public:
  explicit LimitedServer(const std::string& delta_max_bytes) : delta_max_bytes_(delta_max_bytes) {}
  void start() {
    const std::string socket = dir_.file("socket");
    const Args flags{
        "--unix-socket",       socket, "--fsync", "never", "--delta-max-bytes", delta_max_bytes_,
        "--wal-segment-bytes", "8MiB"};
    process_.emplace(cgroup_.within(ServerProcess::command(data_dir(), flags)));
    const bool is_serving = process_->wait_for_err(" serving address=");
    INFO(process_->err());
    REQUIRE(is_serving);
  }
  int stop(int signal) {
    process_->signal(signal);
    return process_->wait().exit_code;
  }
  [[nodiscard]] bool can_run() const {
    struct statfs about;
    REQUIRE(statfs(dir_.path().c_str(), &about) == 0);
    constexpr long kTmpfs = 0x01021994;
    if (kSanitized || !cgroup_.is_there() || about.f_type == kTmpfs) {
      WARN("skipped: " << (kSanitized           ? "a sanitizer needs more memory than the limit"
                           : cgroup_.is_there() ? "the temporary directory is in memory"
                                                : "no memory cgroup can be made here"));
      return false;
    }
    return true;
  }
  [[nodiscard]] std::string data_dir() const { return dir_.file("data"); }
  [[nodiscard]] HttpEndpoint endpoint() const { return unix_endpoint(dir_.file("socket")); }
  [[nodiscard]] MemoryCgroup& cgroup() { return cgroup_; }
  [[nodiscard]] Process& process() { return *process_; }
  [[nodiscard]] uint64_t run_bytes() const {
    uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(data_dir())) {
      if (entry.path().filename().string().starts_with("run-")) bytes += entry.file_size();
    }
    return bytes;
  }
  // What the process has read from the disk, through maps too.
  [[nodiscard]] uint64_t bytes_from_disk() const {
    std::ifstream io("/proc/" + std::to_string(process_->pid()) + "/io");
    for (std::string line; std::getline(io, line);) {
      if (line.starts_with("read_bytes: ")) return std::strtoull(line.c_str() + 12, nullptr, 10);
    }
    FAIL("no read_bytes");
    return 0;
  }

 private:
  TempDir dir_;
  MemoryCgroup cgroup_{kLimitBytes};  // outlives the process
  std::string delta_max_bytes_;
  std::optional<Process> process_;
};

void check_reads(Client& client, std::mt19937_64& random) {
  for (int i = 0; i < 400; ++i) {
    const uint64_t key = key_at(random() % kRecords);
    REQUIRE(client.get("/v1/get_fast/" + std::to_string(key)).body == value_of(key));
    REQUIRE(client.get("/v1/get_fast/" + std::to_string(key + 1)).status == 404);
  }
  std::string keys, expected;
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t key = key_at(random() % kRecords);
    append_u64(keys, key);
    append_u32(expected, kValueBytes);
    expected += value_of(key);
  }
  const HeaderList binary = {{"Content-Type", "application/octet-stream"}};
  REQUIRE(client.call("POST", "/v1/mget", keys, binary).body == expected);
}

// The records from one on, about as many as said, in order, each with its value and offset.
void check_scan(Client& client, uint64_t rank, uint64_t count) {
  const uint64_t end = rank + count;
  for (uint64_t from = key_at(rank); rank < end;) {
    const std::string body = client.get("/v1/scan?limit=10000&start=" + std::to_string(from)).body;
    std::string expected = "{\"items\":[";
    const uint64_t first = rank;
    while (rank < kRecords && expected.size() + kValueBytes < body.size()) {
      const uint64_t key = key_at(rank);
      expected += (rank == first ? "{\"key\":" : ",{\"key\":") + std::to_string(key) +
                  ",\"value\":\"" + value_of(key) +
                  "\",\"offset\":" + std::to_string(offset_at(rank)) + "}";
      ++rank;
    }
    REQUIRE(rank > first);
    REQUIRE(body.starts_with(expected));
    REQUIRE(contains(body, rank < kRecords ? "\"complete\":false" : "\"complete\":true"));
    from = key_at(rank - 1) + 1;
  }
}

}  // namespace

TEST_CASE("A store four times the memory of its server is loaded, read, compacted and reopened",
          "[e2e]") {
  LimitedServer server("3MiB");
  if (!server.can_run()) return;
  const uint64_t seed = test_seed(1);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  server.start();
  {
    Client client(server.endpoint());
    for (uint64_t offset = 0; offset < kRecords; offset += kBatchRecords) {
      REQUIRE(client.call("POST", "/v1/batch", batch_at(offset)).status == 200);
    }
    check_reads(client, random);
    check_scan(client, kRecords / 2, kRecords / 8);
  }
  const uint64_t anonymous_bytes = server.cgroup().anonymous_bytes();
  REQUIRE(server.stop(SIGKILL) == 128 + SIGKILL);
  CHECK(server.run_bytes() > kStoreBytesLeast - kLimitBytes);

  server.start();
  const uint64_t start_bytes = server.bytes_from_disk();
  {
    Client client(server.endpoint());
    CHECK(client.get("/ready").status == 200);
    check_reads(client, random);
    const HttpResponse compacted = client.call("POST", "/v1/compact");
    INFO(compacted.body);
    CHECK(compacted.status == 200);
    CHECK(contains(compacted.body, "\"keys_retained\":" + std::to_string(kRecords)));
    check_reads(client, random);
    check_scan(client, 0, kRecords);
    CHECK(client.metric("kyrodb_runs") == "1");
  }
  CHECK(server.run_bytes() > kStoreBytesLeast);
  CHECK(start_bytes < kLimitBytes / 2);
  CHECK(server.stop(SIGTERM) == 0);
  CHECK(server.cgroup().kills() == 0);
  CHECK(server.cgroup().peak_bytes() <= kLimitBytes);
  CHECK(server.cgroup().peak_bytes() > kLimitBytes / 10 * 9);  // it was needed
  const auto mib = [](uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  std::printf("%s of runs under a limit of %s: anonymous after the load %s, read by the start %s\n",
              mib(server.run_bytes()).c_str(), mib(kLimitBytes).c_str(),
              mib(anonymous_bytes).c_str(), mib(start_bytes).c_str());
}

// So the limit is one, and what holds the test above within it is the bound of the deltas.
TEST_CASE("A server whose deltas may outgrow its memory is killed by the load", "[e2e]") {
  LimitedServer server("1GiB");
  if (!server.can_run()) return;
  server.start();
  HttpClient client(server.endpoint());
  HttpResponse response;
  Status status;
  for (uint64_t offset = 0; offset < kRecords && status.ok(); offset += kBatchRecords) {
    status = client.request("POST", "/v1/batch", batch_at(offset), &response);
  }
  CHECK(!status.ok());
  CHECK(server.process().wait().exit_code == 128 + SIGKILL);
  CHECK(server.cgroup().kills() == 1);
}
