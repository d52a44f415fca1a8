#include "kyro/storage/write/blocking_write.h"

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

// Threads that sleep in a room, each with a write of its own.
class Sleepers {
 public:
  Sleepers(WaitingWriters* room, size_t count) : writes_(count) {
    for (BlockingWrite& write : writes_) {
      write.enter(room);
      threads_.emplace_back([this, &write] {
        write.wait();
        ++awake_;
      });
    }
  }
  Sleepers(const Sleepers&) = delete;
  Sleepers& operator=(const Sleepers&) = delete;
  ~Sleepers() { join(); }

  void answer_all() {
    for (BlockingWrite& write : writes_) write.done();
  }
  void join() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  [[nodiscard]] size_t awake() const { return awake_; }

 private:
  std::deque<BlockingWrite> writes_;
  std::atomic<size_t> awake_{0};
  std::vector<std::thread> threads_;
};

// What a caller does: puts its own key in turn, and reads what it has put.
bool put_and_read(Engine& engine, uint64_t key, uint64_t rounds, size_t value_bytes,
                  std::vector<uint64_t>* offsets) {
  std::string value;
  for (uint64_t i = 0; i < rounds; ++i) {
    const std::string text = std::to_string(i) + std::string(value_bytes, 'v');
    const auto offset = engine.put(key, text);
    if (!offset.ok() || (!offsets->empty() && *offset <= offsets->back())) return false;
    offsets->push_back(*offset);
    if (!engine.get(key, &value).ok() || value != text) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("those who are done wake from one call, and others in their room sleep on") {
  std::array<WaitingWriters, 2> rooms;
  Sleepers first(&rooms[0], 8);
  Sleepers later(&rooms[0], 4);
  Sleepers next_group(&rooms[1], 4);
  first.answer_all();
  for (WaitingWriters& room : rooms) room.wake();
  first.join();
  CHECK(first.awake() == 8);
  CHECK(later.awake() == 0);
  CHECK(next_group.awake() == 0);
  later.answer_all();
  next_group.answer_all();
  for (WaitingWriters& room : rooms) room.wake();
  later.join();
  next_group.join();
  CHECK(later.awake() == 4);
  CHECK(next_group.awake() == 4);
}

TEST_CASE("a blocking write that is done before its submitter waits needs no wake-up") {
  WaitingWriters room;
  BlockingWrite write;
  for (int i = 0; i < 3; ++i) {  // and again, as one that came back stale
    write.enter(&room);
    write.done();
    write.wait();
  }
}

TEST_CASE("64 callers at once are all answered, with writes between them that nobody waits for") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.fsync = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kInterval, FsyncPolicy::kNever);
  options.fsync_interval_ms = 1;
  auto engine = must_open(options);
  constexpr uint64_t kCallers = 64;
  constexpr uint64_t kRounds = 20;
  std::vector<std::vector<uint64_t>> offsets(kCallers);
  std::atomic<uint64_t> failures{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kCallers; ++t) {
    threads.emplace_back([&, t] {
      if (!put_and_read(*engine, t, kRounds, t, &offsets[t])) ++failures;
    });
  }
  for (uint64_t i = 0; i < kRounds; ++i) {
    AsyncWrite queued({{kCallers, std::to_string(i)}});
    engine->submit(&queued);
    if (!queued.wait().ok()) ++failures;
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(failures == 0);
  std::set<uint64_t> all;
  for (const auto& of_caller : offsets) all.insert(of_caller.begin(), of_caller.end());
  CHECK(all.size() == kCallers * kRounds);
  CHECK(engine->next_offset() == (kCallers + 1) * kRounds);
  CHECK(contents_of(*engine).size() == kCallers + 1);
}

TEST_CASE("callers whose writes fill more than one group are answered group by group") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.delta_max_bytes = 16 * kMiB;
  options.wal_segment_bytes = 4 * kMiB;
  auto engine = must_open(options);
  constexpr uint64_t kCallers = 24;
  std::vector<std::vector<uint64_t>> offsets(kCallers);
  std::atomic<uint64_t> failures{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kCallers; ++t) {
    threads.emplace_back([&, t] {
      if (!put_and_read(*engine, t, 3, 150 * kKiB, &offsets[t])) ++failures;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(engine->next_offset() == kCallers * 3);
}

TEST_CASE("of many callers that race for an absent key one wins, and all hear of it") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  constexpr uint64_t kCallers = 32;
  constexpr uint64_t kKeys = 20;
  std::atomic<uint64_t> won{0};
  std::atomic<uint64_t> lost{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kCallers; ++t) {
    threads.emplace_back([&] {
      for (uint64_t key = 0; key < kKeys; ++key) {
        const Status status = engine->put_if(Condition::absent(key), "mine").status();
        if (status.ok()) ++won;
        if (status.code() == Code::kPreconditionFailed) ++lost;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(won == kKeys);
  CHECK(lost == kKeys * (kCallers - 1));
}

TEST_CASE("a sync that fails is heard by all who wait for it and by all after them") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  fs.inject({FsCall::kSync, Code::kIoError, 5, 1, "wal-"});
  constexpr uint64_t kCallers = 64;
  std::vector<uint64_t> acknowledged(kCallers);
  std::atomic<uint64_t> others{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kCallers; ++t) {
    threads.emplace_back([&, t] {
      Status status;
      while ((status = engine->put(t, std::to_string(acknowledged[t])).status()).ok()) {
        ++acknowledged[t];
      }
      if (status.code() != Code::kReadOnly) ++others;
      if (engine->put(t, "too late").status().code() != Code::kReadOnly) ++others;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(others == 0);
  // What was acknowledged is there, and nothing else.
  const Contents contents = contents_of(*engine);
  for (uint64_t t = 0; t < kCallers; ++t) {
    CHECK(contents.contains(t) == (acknowledged[t] > 0));
    if (acknowledged[t] == 0) continue;
    CHECK(contents.at(t).value == std::to_string(acknowledged[t] - 1));
  }
}

}  // namespace kyro::test
