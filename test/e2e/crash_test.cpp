// SIGKILL under load: after every restart everything acknowledged is there, byte for byte and under
// the offset that was answered, and what was not yet acknowledged is there whole or not at all.
//
// KYRO_KILL_ROUNDS says how often (default 20); KYRO_TEST_SEED repeats a run's choices.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kyro/base/coding.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

constexpr size_t kWriters = 4;
constexpr uint64_t kKeysPerWriter = 300;

// What a key may hold. A value is recognised by its bytes, which no two writes share.
struct Version {
  std::optional<std::string> value;  // nothing: deleted, or never written
  std::optional<uint64_t> offset;    // of its write, where that was answered
};

// A write that was sent and not answered when the server died.
struct Pending {
  uint64_t key = 0;
  Version after;
};

// Counts what happens, so that the kill can wait for it.
class Events {
 public:
  void add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait_for(uint64_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kProcessTimeout, [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t count_ = 0;
};

// One connection that writes bursts of pipelined puts and deletes to keys of its own, and knows
// what each of them holds. No assertion is made on its thread: what went wrong is in `failure`.
class Writer {
 public:
  Writer(size_t number, uint64_t seed) : number_(number), random_(seed) {}

  void run(HttpEndpoint endpoint, Events& acknowledged) {
    HttpClient client(std::move(endpoint));
    while (failure.empty()) {
      make_burst();
      std::string bytes;
      for (const Pending& write : pending) append_request(bytes, write);
      if (!client.connected() && !client.connect().ok()) return;
      if (!client.send_raw(bytes).ok()) return;
      while (!pending.empty()) {
        HttpResponse response;
        if (!client.receive(&response).ok()) return;
        take_answer(response);
        acknowledged.add();
        if (!failure.empty()) return;
      }
    }
  }

  std::map<uint64_t, Version> known;
  std::vector<Pending> pending;  // in the order in which they were sent
  uint64_t next_offset = 0;      // after all that were answered
  std::string failure;

 private:
  // Distinct keys, so that at most one write of a key is open.
  void make_burst() {
    std::map<uint64_t, bool> taken;
    const size_t count = 1 + random_() % 24;
    while (pending.size() < count) {
      const uint64_t key = spread(random_() % kKeysPerWriter * kWriters + number_);
      if (!taken.emplace(key, true).second) continue;
      Pending write{key, {}};
      if (random_() % 8 != 0) write.after.value = make_value();
      pending.push_back(std::move(write));
    }
  }
  // Keys all over the range, both ends of it among them.
  static uint64_t spread(uint64_t i) {
    return i == kWriters ? ~uint64_t{0} : i * (~uint64_t{0} / (kKeysPerWriter * kWriters));
  }
  std::string make_value() {
    const uint64_t id = sequence_++;
    const size_t size = random_() % 64 == 0 ? 40000 + random_() % 90000 : random_() % 1200;
    std::string value = std::to_string(number_) + "." + std::to_string(id) + ".";
    value.resize(value.size() + size, static_cast<char>('a' + id % 26));
    return value;
  }
  static void append_request(std::string& out, const Pending& write) {
    const bool is_put = write.after.value.has_value();
    out += (is_put ? "PUT " : "DELETE ") + kv_path(write.key) + " HTTP/1.1\r\nHost: localhost\r\n";
    if (is_put) out += "Content-Length: " + std::to_string(write.after.value->size()) + "\r\n";
    out += "\r\n";
    if (is_put) out += *write.after.value;
  }
  void take_answer(const HttpResponse& response) {
    Pending write = std::move(pending.front());
    pending.erase(pending.begin());
    Version& current = known[write.key];
    const bool existed = current.value.has_value();
    const int expected = write.after.value ? (existed ? 204 : 201) : (existed ? 204 : 404);
    if (response.status != expected) {
      failure = "key " + std::to_string(write.key) + ": status " + std::to_string(response.status) +
                " instead of " + std::to_string(expected) + " " + response.body;
      return;
    }
    if (expected == 404) return;
    const std::string_view tag = response.header("etag");
    const auto offset = tag.size() > 2 ? parse_u64(tag.substr(1, tag.size() - 2)) : std::nullopt;
    if (!offset || (current.offset && *offset <= *current.offset)) {
      failure = "the offset of a key went back: " + std::string(tag);
      return;
    }
    write.after.offset = offset;
    next_offset = std::max(next_offset, *offset + 1);
    current = std::move(write.after);
  }

  const size_t number_;
  std::mt19937_64 random_;
  uint64_t sequence_ = 0;
};

// What the server says that a key holds.
Version read_version(Client& client) {
  Version version;
  const HttpResponse value = client.next();
  const HttpResponse offset = client.next();
  if (value.status == 200) {
    REQUIRE(offset.status == 200);
    REQUIRE(offset.body.size() == 8);
    version.value = value.body;
    version.offset = load_u64(offset.body.data());
  } else {
    REQUIRE(value.status == 404);
    REQUIRE(offset.status == 404);
  }
  return version;
}

// Reads every key of the writer and holds it against what was acknowledged. Of an open write both
// outcomes are right; the one that is found becomes known.
void check_writer(Client& client, Writer& writer) {
  std::map<uint64_t, Version*> expected;
  for (auto& [key, version] : writer.known) expected[key] = &version;
  for (const Pending& write : writer.pending) expected[write.key] = &writer.known[write.key];
  std::map<uint64_t, Version> found;
  std::string requests;
  for (const auto& [key, version] : expected) {
    for (const char* route : {"/v1/get_fast/", "/v1/lookup_fast/"}) {
      requests += "GET " + (route + std::to_string(key)) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    }
  }
  client.must_send(requests);
  for (const auto& [key, version] : expected) found[key] = read_version(client);

  for (const Pending& write : writer.pending) {
    Version& current = *expected[write.key];
    if (found[write.key].value == write.after.value && write.after.value != current.value) {
      current = {write.after.value, found[write.key].offset};
    }
  }
  for (const auto& [key, version] : expected) {
    INFO("key " << key);
    REQUIRE(found[key].value == version->value);
    if (version->value) REQUIRE(found[key].offset == version->offset);
  }
  writer.pending.clear();
}

// How the server of a round is set up, and what happens while it is written to.
struct Round {
  Args flags;
  const char* admin = nullptr;  // a route that is asked for again and again
};

Round round_of(uint64_t number) {
  const Args tiny{"--delta-max-bytes",  "64KiB", "--wal-segment-bytes", "32KiB",
                  "--wal-max-segments", "2",     "--reserve-bytes",     "0"};
  Round rounds[] = {{{}, nullptr},
                    {tiny, nullptr},
                    {{"--fsync", "interval:20"}, nullptr},
                    {tiny, "/v1/snapshot"},
                    {tiny, "/v1/compact"},
                    {{"--delta-max-bytes", "256KiB"}, "/v1/rmi/build"},
                    {{"--fsync", "never"}, "/v1/snapshot"}};
  Round round = rounds[number % std::size(rounds)];
  if (number % 14 >= 7) round.flags.insert(round.flags.end(), {"--threads", "2"});
  return round;
}

uint64_t rounds_wanted() {
  const char* text = std::getenv("KYRO_KILL_ROUNDS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 20;
}

// Asks for snapshots or compactions until the server is gone.
void administrate(HttpEndpoint endpoint, const char* target, Events& done) {
  HttpClient client(std::move(endpoint));
  for (;;) {
    HttpResponse response;
    if (!client.request("POST", target, "", &response).ok()) return;
    done.add();
  }
}

// Writes with every writer until so much is acknowledged, then kills the server.
void load_and_kill(ServerProcess& server, std::vector<Writer>& writers, const char* admin,
                   uint64_t acknowledged_max, uint64_t admin_max) {
  Events acknowledged, administered;
  std::vector<std::thread> threads;
  for (Writer& writer : writers) {
    threads.emplace_back([&] { writer.run(server.endpoint(), acknowledged); });
  }
  if (admin != nullptr) {
    threads.emplace_back([&] { administrate(server.endpoint(), admin, administered); });
  }
  const bool is_alive = acknowledged.wait_for(acknowledged_max) &&
                        (admin == nullptr || administered.wait_for(admin_max));
  server.process().signal(SIGKILL);
  for (std::thread& thread : threads) thread.join();
  CHECK(is_alive);
  CHECK(server.process().wait().exit_code == 128 + SIGKILL);
  for (const Writer& writer : writers) CHECK(writer.failure == "");
}

// Kills a start as soon as it listens: in the middle of its recovery, or before, or just behind.
void kill_a_start(const std::string& data_dir, const std::string& socket_path, const Args& flags) {
  std::filesystem::remove(socket_path);
  Args argv = ServerProcess::command(data_dir, flags);
  argv.insert(argv.end(), {"--unix-socket", socket_path});
  Process process(argv);
  HttpClient client(parse_endpoint("unix:" + socket_path).value());
  const auto deadline = std::chrono::steady_clock::now() + kProcessTimeout;
  while (!client.connect().ok() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  process.signal(SIGKILL);
  CHECK(process.wait().exit_code == 128 + SIGKILL);
}

}  // namespace

TEST_CASE("SIGKILL under load loses nothing that was acknowledged", "[e2e]") {
  const uint64_t seed = test_seed(7);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  TempDir dir;
  const std::string data_dir = dir.file("data");
  std::vector<Writer> writers;
  for (size_t i = 0; i < kWriters; ++i) writers.emplace_back(i, random());
  uint64_t next_offset = 0;
  const uint64_t rounds = rounds_wanted();
  for (uint64_t number = 0; number < rounds; ++number) {
    INFO("round " << number);
    const Round round = round_of(number);
    ServerProcess server(data_dir, round.flags);
    load_and_kill(server, writers, round.admin, 200 + random() % 800, 1 + random() % 4);
    require_verified(data_dir);
    if (number % 4 == 3) kill_a_start(data_dir, dir.file("socket"), round.flags);

    server.start();
    Client client(server);
    const uint64_t offset = client.next_offset();
    CHECK(offset >= next_offset);
    next_offset = offset;
    for (Writer& writer : writers) {
      CHECK(offset >= writer.next_offset);
      check_writer(client, writer);
    }
    // Every other round is ended politely, so that both ways lead into the next one.
    if (number % 2 == 0) CHECK(server.stop().exit_code == 0);
  }
  require_verified(data_dir);
}
