// Writers that outrun flushes and merges: how much they are slowed, what wakes them, what is never
// exceeded or refused.
#include <catch2/catch.hpp>
#include <thread>

#include "kyro/storage/write/backpressure.h"
#include "test/support/engine_harness.h"
#include "test/support/gate_fs.h"

namespace kyro::test {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kHourNs = uint64_t{3600} * 1000 * kMs;

// Stands for flusher and merger: says what it is told to, and holds whoever waits until released.
class ScriptedScheduler final : public FlushScheduler {
 public:
  void say(const Backlog& backlog) {
    const std::lock_guard lock(mutex_);
    backlog_ = backlog;
  }
  // Until a writer waits; for how long at most.
  uint64_t wait_for_writer() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ns_ > 0; });
    return waiting_ns_;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    ++backlog_.turn;
    changed_.notify_all();
  }
  [[nodiscard]] int waits() const {
    const std::lock_guard lock(mutex_);
    return waits_;
  }

  void on_frozen() override {}
  Status wait_for_room(size_t) override { return Status(); }
  Backlog backlog() const override {
    const std::lock_guard lock(mutex_);
    return backlog_;
  }
  void wait_for_turn(uint64_t turn, uint64_t timeout_ns) override {
    std::unique_lock lock(mutex_);
    ++waits_;
    waiting_ns_ = timeout_ns;
    changed_.notify_all();
    changed_.wait(lock, [&] { return backlog_.turn != turn; });
    waiting_ns_ = 0;
  }
  void on_disk_full() override {}
  void on_disk_short() override {}
  void on_commit(uint64_t, uint64_t) override {}

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Backlog backlog_;
  uint64_t waiting_ns_ = 0;
  int waits_ = 0;
};

std::unique_ptr<Directory> must_open_dir(FileSystem& fs) {
  auto dir = fs.open_dir(kDir, DirMode::kCreate);
  REQUIRE(dir.ok());
  return std::move(*dir);
}

// The parts of an engine, for tests that replace one of them.
struct Parts {
  explicit Parts(Options options, FileSystem& fs)
      : state(std::move(options), fs, must_open_dir(fs)) {
    RecoveryProgress progress;
    Recovery recovery(state, progress);
    REQUIRE(recovery.run().ok());
    wal = recovery.take_wal();
    active = recovery.active();
  }
  EngineState state;
  std::unique_ptr<WalWriter> wal;
  std::shared_ptr<Delta> active;
};

uint64_t memory_of(Engine& engine) {
  const View view = engine.view();
  uint64_t bytes = view.active->bytes();
  for (const auto& delta : view.frozen) bytes += delta->bytes();
  return bytes;
}

}  // namespace

TEST_CASE("writers are asked for nothing while no delta waits, then for more the fuller it gets") {
  struct Case {
    size_t frozen;
    uint64_t active_bytes;  // of 1000
    uint64_t bytes;
    size_t runs;
    uint64_t expected_ns;  // with a flush of a second
  };
  const uint64_t second = 1000 * kMs;
  const Case cases[] = {
      {0, 0, 1, 0, 0},
      {0, 999, 500, 0, 0},
      {1, 0, 10, 0, 0},
      {1, 500, 10, 0, 5 * kMs},
      {1, 1000, 10, 0, 10 * kMs},  // two deltas of three are full: the flusher's rate
      {2, 0, 10, 0, 10 * kMs},
      {2, 500, 10, 0, 15 * kMs},
      {2, 1000, 10, 0, 20 * kMs},
      {2, 5000, 10, 0, 20 * kMs},      // a delta of one large batch counts as full
      {2, 1000, 5000, 0, 2 * second},  // and such a batch waits for two flushes at most
      {0, 0, 10, 16, 0},               // four fan-ins of runs are nothing out of the ordinary
      {0, 0, 10, 17, 10 * kMs / 4},
      {0, 0, 10, 24, 20 * kMs},
      {2, 500, 10, 18, 15 * kMs},  // the worse of the two
      {2, 500, 10, 28, 30 * kMs},
  };
  for (const Case& c : cases) {
    INFO(c.frozen << " frozen, " << c.active_bytes << " active, " << c.bytes << " bytes, " << c.runs
                  << " runs");
    const Backlog backlog{.frozen = c.frozen, .flush_ns = second, .runs = c.runs, .fan_in = 4};
    CHECK(slowdown_ns(backlog, c.active_bytes, c.bytes, 1000) == c.expected_ns);
  }
}

TEST_CASE("a writer at the pace it is asked for never waits, a faster one for what it is ahead") {
  WritePacer slow;
  for (uint64_t now = kMs; now < 100 * kMs; now += kMs) CHECK(slow.add(kMs / 10, now) == 0);
  WritePacer fast;
  uint64_t now = kMs;
  uint64_t waited = 0;
  for (int i = 0; i < 10000; ++i) {
    const uint64_t wait = fast.add(kMs / 100, now);
    CHECK((wait == 0 || wait >= WritePacer::kWaitNsMin));
    waited += wait;
    now += wait;
  }
  CHECK(waited > 99 * kMs);
  CHECK(waited <= 100 * kMs);
  CHECK(fast.add(kHourNs, now) >= kHourNs);
  fast.forgive();
  CHECK(fast.add(kMs / 100, now) == 0);
}

TEST_CASE("while a group is slowed reads and submissions go on, and the next flush ends it") {
  const QuietLog quiet;
  FaultFs fs;
  Parts parts(small_options(fs), fs);
  ScriptedScheduler scheduler;
  Committer committer(parts.state, std::move(parts.wal), parts.active, scheduler);
  REQUIRE(committer.start().ok());
  AsyncWrite first({{1, "first"}});
  committer.submit(&first);
  first.wait();
  REQUIRE(scheduler.waits() == 0);

  scheduler.say({.frozen = 2, .flush_ns = 1000 * kHourNs});
  AsyncWrite second({{2, "second"}});
  committer.submit(&second);
  CHECK(scheduler.wait_for_writer() > kHourNs / 10);
  AsyncWrite third({{3, "third"}});
  committer.submit(&third);  // does not wait
  {
    const EpochPin pin;
    const View& view = *parts.state.view.load();
    const uint64_t bound = view.bound(parts.state.visible.load());
    CHECK(find_in_view(view, 1, bound).value() == "first");
    CHECK(find_in_view(view, 2, bound).source() == Source::kNone);
  }
  CHECK(parts.state.visible.load() == 1);
  parts.state.publish([](View&) {});  // what a flush needs is free, or this would not end
  { const MutexLock lock(parts.state.manifest_mutex); }
  scheduler.say({});
  scheduler.release();
  second.wait();
  third.wait();
  CHECK(second.status.ok());
  CHECK(third.status.ok());
  CHECK(scheduler.waits() == 1);
  CHECK(parts.state.stats.write_slowdown_ns.value() > 0);
  committer.stop();
}

TEST_CASE("a slowed writer under `interval` syncs first what was promised to be synced meanwhile") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.fsync = FsyncPolicy::kInterval;
  options.fsync_interval_ms = 3600 * 1000;
  Parts parts(options, fs);
  ScriptedScheduler scheduler;
  Committer committer(parts.state, std::move(parts.wal), parts.active, scheduler);
  const Mutation put = Mutation::put(1, "first");
  BlockingWrite first;
  first.mutations = {&put, 1};
  committer.commit(&first);
  scheduler.say({.frozen = 2, .flush_ns = 1000'000 * kHourNs});
  REQUIRE(committer.start().ok());
  AsyncWrite second({{2, "second"}});
  committer.submit(&second);
  CHECK(scheduler.wait_for_writer() > kHourNs);
  CHECK(parts.state.durable.load() == 1);
  scheduler.release();
  second.wait();
  committer.stop();
}

TEST_CASE("a flush that commits wakes who waits for it, whatever time is left") {
  const QuietLog quiet;
  FaultFs fs;
  GateFs gate(fs);
  Parts parts(small_options(gate), gate);
  Maintenance maintenance(parts.state);
  Committer committer(parts.state, std::move(parts.wal), parts.active, maintenance.flusher());
  REQUIRE(maintenance.start(committer).ok());
  REQUIRE(committer.start().ok());
  AsyncWrite write({{1, "one"}});
  committer.submit(&write);
  write.wait();
  CHECK(maintenance.flusher().backlog().frozen == 0);

  gate.close_gate();
  maintenance.start({Job::Kind::kSnapshot}, [](const JobOutcome&) {});
  gate.wait_for_visitor();
  const Backlog before = maintenance.flusher().backlog();
  CHECK(before.frozen == 1);
  CHECK(before.flush_ns > 0);
  std::thread writer([&] { maintenance.flusher().wait_for_turn(before.turn, kHourNs); });
  gate.open_gate();
  writer.join();  // or the test takes an hour
  CHECK(maintenance.flusher().backlog().frozen == 0);

  // Nor does a stop wait for the time to pass.
  const Backlog idle = maintenance.flusher().backlog();
  std::thread other([&] { maintenance.flusher().wait_for_turn(idle.turn, kHourNs); });
  maintenance.stop();
  other.join();
  committer.stop();
}

TEST_CASE(
    "a writer at full speed before a flush that hangs keeps to the bound, and loses nothing") {
  const QuietLog quiet;
  FaultFs fs;
  GateFs gate(fs);
  Options options = small_options(gate);
  options.wal_segments_max = 1;
  auto engine = must_open(options);
  gate.close_gate();
  constexpr uint64_t kWrites = 3000;
  std::atomic<uint64_t> written{0};
  std::atomic<uint64_t> refused{0};
  std::thread writer([&] {
    const std::string value(100, 'v');
    for (uint64_t key = 0; key < kWrites; ++key) {
      if (engine->put(key, value).ok()) {
        ++written;
      } else {
        ++refused;
      }
    }
  });
  const uint64_t largest = Delta::cost_bytes(kRecordHeaderBytes + 100);
  uint64_t memory_max = 0;
  for (bool is_full = false; !is_full;) {
    const View view = engine->view();
    is_full = view.frozen.size() == 2 && view.active->bytes() + largest > options.delta_max_bytes;
    memory_max = std::max(memory_max, memory_of(*engine));
    std::this_thread::yield();
  }
  CHECK(written < kWrites);
  CHECK(memory_max > 2 * options.delta_max_bytes);
  constexpr uint64_t kBlockBytes = 32 * kKiB;  // the last block of an arena may be ahead of its use
  CHECK(memory_max <= 3 * (options.delta_max_bytes + kBlockBytes));
  gate.open_gate();
  writer.join();
  CHECK(refused == 0);
  CHECK(contents_of(*engine).size() == kWrites);
  CHECK(engine->stats().write_slowdown_ns.value() > 0);
}

TEST_CASE("runs that wait for a merge are told to writers until it has been done") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.merge_fan_in = 3;
  Parts parts(options, fs);
  Maintenance maintenance(parts.state);
  Committer committer(parts.state, std::move(parts.wal), parts.active, maintenance.flusher());
  // No room for a merge: runs pile up.
  fs.inject({FsCall::kFreeBytes, Code::kBusy, 0, ~uint64_t{0}, ""});
  REQUIRE(maintenance.start(committer).ok());
  REQUIRE(committer.start().ok());
  const auto do_job = [&](const Job& job) {
    return wait_for_job([&](JobDone done) { maintenance.start(job, std::move(done)); }).status;
  };
  for (int run = 0; run < 20; ++run) {
    AsyncWrite write({{7, "value"}});
    committer.submit(&write);
    write.wait();
    REQUIRE(do_job({Job::Kind::kSnapshot}).ok());
  }
  const Backlog backlog = maintenance.flusher().backlog();
  CHECK(backlog.runs == 20);
  CHECK(backlog.fan_in == 3);
  CHECK(slowdown_ns(backlog, 0, 1000, options.delta_max_bytes) > 0);
  fs.heal();
  CHECK(do_job({Job::Kind::kCompact}).ok());
  CHECK(maintenance.flusher().backlog().runs == 0);
  maintenance.stop();
  committer.stop();
}

}  // namespace kyro::test
