// What the server does with descriptors and memory once they have been asked for.
#include <sys/resource.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// The numbers of a process's open descriptors.
std::vector<int> descriptors_of(pid_t pid) {
  std::vector<int> numbers;
  const std::string dir = "/proc/" + std::to_string(pid) + "/fd";
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    numbers.push_back(std::stoi(entry.path().filename()));
  }
  return numbers;
}

// Memory that is no file's, in MiB.
uint64_t anonymous_mib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) / 1024;
  }
  FAIL("no RssAnon");
  return 0;
}

}  // namespace

TEST_CASE("A subscriber costs the descriptor of its connection and no other", "[e2e]") {
  constexpr size_t kSubscribers = 20;
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "v").status == 201);
  const size_t before = descriptors_of(s.server.process().pid()).size();
  std::vector<std::unique_ptr<Client>> subscribers;
  for (size_t i = 0; i < kSubscribers; ++i) {
    subscribers.push_back(std::make_unique<Client>(s.server));
    subscribers.back()->must_send("GET /v1/subscribe?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    REQUIRE(subscribers.back()->read_until("\"key\":1").starts_with("HTTP/1.1 200 "));
  }
  const size_t after = descriptors_of(s.server.process().pid()).size();
  CHECK(after <= before + kSubscribers + 2);
  REQUIRE(s.client.call("PUT", "/v1/kv/2", "v").status == 201);
  for (const auto& one : subscribers) CHECK(!one->read_until("\"key\":2").empty());
}

TEST_CASE("Storage that finds no descriptor gets those of idle connections", "[e2e]") {
  Served s;
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "v").status == 201);
  std::vector<std::unique_ptr<Client>> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(std::make_unique<Client>(s.server));
    REQUIRE(crowd.back()->get("/health").status == 200);
  }
  // Of those that idle the oldest go: who asks is not reached where the crowd is large enough to
  // give what is needed.
  Client asking(s.server);
  REQUIRE(asking.get("/health").status == 200);
  const pid_t pid = s.server.process().pid();
  // No number is left below the limit.
  const std::vector<int> used = descriptors_of(pid);
  int free_number = 0;
  while (std::count(used.begin(), used.end(), free_number) != 0) ++free_number;
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = static_cast<rlim_t>(free_number);
  REQUIRE(prlimit(pid, RLIMIT_NOFILE, &limit, nullptr) == 0);
  // What is asked needs files: a log segment, a run, its index.
  int status = 0;
  REQUIRE(becomes(
      [&] {
        REQUIRE(asking.call("PUT", "/v1/kv/2", "w").status != 404);
        status = asking.call("POST", "/v1/snapshot").status;
        return status == 200;
      },
      std::chrono::seconds(30)));
  CHECK(asking.metric("kyrodb_http_rejected_total{reason=\"shed\"}") != "0");
  CHECK(s.server.process().err().find(" descriptors_short ") != std::string::npos);
  CHECK(asking.get("/v1/kv/1").body == "v");
}

TEST_CASE("Memory of a burst of large bodies is given back", "[e2e]") {
  if (kSanitized) {
    WARN("a sanitizer keeps what was freed: not measured");
    return;
  }
  Served s({"--delta-max-bytes", "16M", "--fsync", "never"});
  std::string batch;
  const std::string value(15'000, 'v');
  for (int key = 0; key < 1000; ++key) {
    batch += R"({"op":"put","key":)" + std::to_string(key) + R"(,"value":")" + value + "\"}\n";
  }
  std::vector<std::thread> clients;
  std::atomic<int> done{0};
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&] {
      HttpClient client(s.server.endpoint());
      for (int round = 0; round < 6; ++round) {
        HttpResponse answer;
        const HeaderList type = {{"Content-Type", "application/x-ndjson"}};
        if (client.request("POST", "/v1/batch", batch, &answer, type).ok()) {
          done += answer.status == 200;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  REQUIRE(done == 36);
  // What may stay: the delta that fills and the one that is flushed, and 64 MiB.
  const pid_t pid = s.server.process().pid();
  CHECK(becomes([&] { return anonymous_mib(pid) < 2 * 16 + 64; }, std::chrono::seconds(10)));
  CAPTURE(anonymous_mib(pid));
}
