// A machine with two devices, its disk and its way to the log, whose power goes at every call to
// either: before the call has an effect, and after. Then it starts again, perhaps to lose its power
// once more, and must hold what the log says, each group once.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>

#include "kyro/replica/follower.h"
#include "kyro/replica/log_trimmer.h"
#include "test/support/cluster/replica_store.h"

namespace kyro::test {
namespace {

// Where the power goes.
struct CutPoint {
  bool is_of_log = false;  // counted are calls to the log, not those to the disk
  uint64_t call = 0;
  bool is_after = false;  // it has an effect, and no answer
};

class Machine {
 public:
  Machine(FakeLog& log, FsyncPolicy policy) : store(log, policy), second_way(log) {
    store.times.timeout_ms = 0;
    for (FakeLogPath* way : {&store.path, &second_way}) {
      way->fault = [this] { return on_log_call(); };
    }
  }

  void cut_at(const CutPoint& point) {
    log_calls_ = 0;
    cut_ = point;
    if (!point.is_of_log) store.fs.cut_power_at(point.call, point.is_after);
  }
  [[nodiscard]] bool is_off() const { return store.fs.power_is_cut(); }
  // False when the power went meanwhile.
  bool start() {
    auto opened = store.try_open();
    if (opened.ok()) store.engine = std::move(*opened);
    return opened.ok();
  }
  void restart(Loss loss, uint64_t seed) {
    store.engine.reset();
    cut_ = {};
    store.fs.restart(loss, seed);
  }

  // Applies what the log has, until there is nothing more or no power.
  void follow() {
    LogFollower follower(*store, second_way, store.health, {});
    while (follower.step() == LogFollower::Step::kApplied) continue;
  }
  void trim(uint64_t keep_bytes) {
    LogTrimmer trimmer(*store, second_way, store.health, store.log->space(),
                       {.keep_bytes = keep_bytes});
    while (trimmer.step() == LogTrimmer::Step::kTrimmed) continue;
  }

  ReplicaStore store;
  FakeLogPath second_way;  // the follower's, or the trimmer's

 private:
  LogFault on_log_call() {
    if (is_off()) return LogFault::kLostRequest;  // nothing leaves a machine without power
    if (++log_calls_ != cut_.call || !cut_.is_of_log) return LogFault::kNone;
    store.fs.cut_power();
    return cut_.is_after ? LogFault::kLostAnswer : LogFault::kLostRequest;
  }

  std::atomic<uint64_t> log_calls_{0};
  CutPoint cut_;
};

// What a machine does, and what was acknowledged: keys and their offsets.
struct Errand {
  FakeLog& log;
  Machine& machine;
  ReplicaStore& other;  // a store that nothing happens to
  std::map<uint64_t, uint64_t> acknowledged = {};

  void put(uint64_t key, const std::string& value) {
    const auto offset = machine.store->put(key, value);
    if (offset.ok()) acknowledged[key] = *offset;
  }
};
using Work = void (*)(Errand& errand);

// Writes, some of them where the other has written, flushed in the middle.
void write_beside_another(Errand& errand) {
  Engine& engine = *errand.machine.store.engine;
  for (uint64_t key = 0; key < 12; ++key) {
    if (key % 4 == 3) must_put(*errand.other, 100 + key, "of the other");
    errand.put(key, std::string(1200, 'v'));
  }
  const Mutation batch[] = {Mutation::put(20, "of a batch"), Mutation::put(21, "of a batch"),
                            Mutation::remove(100)};
  const auto offset = engine.write(batch);
  if (offset.ok()) errand.acknowledged[21] = *offset - 1;
  static_cast<void>(engine.snapshot());
  must_put(*errand.other, 103, "of the other");
  static_cast<void>(engine.put_if(Condition::absent(103), "never"));
  static_cast<void>(engine.remove(104));
  errand.put(22, "the last");
}

// Applies what another writes, in pages, and flushes it.
void follow_another(Errand& errand) {
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t key = 0; key < 15; ++key) {
      must_put(*errand.other, 10 * round + key, std::string(700, static_cast<char>('a' + round)));
    }
    must_put(*errand.other, 1000 + round, std::string(10'000, 'L'));
    errand.machine.follow();
    if (round == 1) static_cast<void>(errand.machine.store->snapshot());
  }
  errand.put(2000, "its own");
}

// Erases from the log what it has flushed, again and again.
void trim_after_itself(Errand& errand) {
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t key = 0; key < 10; ++key) {
      errand.put(100 * round + key, std::string(1000, 'v'));
      if (key == 5) must_put(*errand.other, 50 + round, "of the other");
    }
    errand.machine.trim(4 * kKiB);  // of that nothing is in a run yet
    static_cast<void>(errand.machine.store->snapshot());
    errand.machine.trim(4 * kKiB);
    errand.other.catch_up();
  }
}

// What the log has ever said.
Contents contents_of_history(FakeLog& log, uint64_t* end) {
  FakeLog whole;
  whole.set_head(log.head());
  for (const auto& [offset, entry] : log.history()) whole.set_entry(offset, entry);
  return contents_of(whole, end);
}

void check_errand(Errand& errand) {
  errand.machine.store.catch_up();
  errand.other.catch_up();
  uint64_t end = 0;
  const Contents expected = contents_of_history(errand.log, &end);
  for (ReplicaStore* store : {&errand.machine.store, &errand.other}) {
    REQUIRE((*store)->next_offset() == end);
    const bool is_same = contents_of(*store->engine) == expected;
    REQUIRE(is_same);
  }
  for (const auto& [key, offset] : errand.acknowledged) {
    INFO("key " << key);
    REQUIRE(expected.count(key) == 1);
    REQUIRE(expected.at(key).offset == offset);
  }
}

// One errand with a cut, and what comes after it. False if the errand was over before that.
bool survives(Work work, FsyncPolicy policy, const CutPoint& point, uint64_t seed) {
  FakeLog log;
  ReplicaStore other(log);
  other.open();
  Machine machine(log, policy);
  Errand errand{log, machine, other};
  machine.cut_at(point);
  if (machine.start()) work(errand);
  const bool was_cut = machine.is_off();
  machine.restart(kLosses[seed % std::size(kLosses)], seed);
  if (seed % 3 == 0) {  // once more, on the way back
    machine.cut_at({seed % 2 == 0, seed % 40 + 1, seed % 5 == 0});
    if (machine.start()) machine.follow();
    machine.restart(kLosses[(seed + 1) % std::size(kLosses)], seed + 1);
  }
  REQUIRE(machine.start());
  check_errand(errand);
  errand.put(5000, "goes on");
  machine.trim(2 * kKiB);
  check_errand(errand);
  return was_cut;
}

// Cuts at every call to one of the devices; how many there were.
uint64_t cut_everywhere(Work work, FsyncPolicy policy, CutPoint point, uint64_t seed) {
  for (point.call = 1;; ++point.call) {
    INFO((point.is_of_log ? "log" : "disk")
         << " call " << point.call << ", after it: " << point.is_after << ", policy "
         << static_cast<int>(policy) << ", seed " << seed);
    if (!survives(work, policy, point, seed + point.call)) return point.call - 1;
  }
}

uint64_t cut_everywhere(Work work, uint64_t seed) {
  uint64_t points = 0;
  for (const FsyncPolicy policy : {FsyncPolicy::kAlways, FsyncPolicy::kInterval}) {
    for (const bool is_of_log : {false, true}) {
      for (const bool is_after : {false, true}) {
        points += cut_everywhere(work, policy, {is_of_log, 0, is_after}, seed + points);
      }
    }
  }
  return points;
}

}  // namespace

TEST_CASE("a power cut at any call to log or disk of a writer loses and repeats nothing") {
  const QuietLog quiet;
  const uint64_t points = cut_everywhere(write_beside_another, test_seed(3));
  CHECK(points > 400);
}

TEST_CASE("a power cut at any call to log or disk of a follower loses and repeats nothing") {
  const QuietLog quiet;
  const uint64_t points = cut_everywhere(follow_another, test_seed(5));
  CHECK(points > 1000);
}

TEST_CASE("a power cut at any call to log or disk of who trims loses and repeats nothing") {
  const QuietLog quiet;
  const uint64_t points = cut_everywhere(trim_after_itself, test_seed(7));
  CHECK(points > 800);
}

}  // namespace kyro::test
