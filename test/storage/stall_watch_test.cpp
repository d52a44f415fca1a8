// A thread that hangs with work before it is told of after its bound, one that is busy or idle not.
#include "kyro/storage/stall_watch.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "test/support/engine_harness.h"
#include "test/support/gate_fs.h"

namespace kyro::test {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

// Assertions are the main thread's.
std::atomic<uint64_t> refused = 0;
void write(Engine& engine, uint64_t keys, size_t value_bytes) {
  const std::string value(value_bytes, 'v');
  for (uint64_t key = 0; key < keys; ++key) {
    if (!engine.put(key, value).ok()) ++refused;
  }
}

// Looks at an engine at times of its own.
class Watcher {
 public:
  explicit Watcher(Engine& engine) : engine_(engine) { static_cast<void>(stall_after(0)); }

  // Until nothing is being committed, when nobody writes any more or all wait for the flusher.
  void wait_for_committer() {
    do {
      std::this_thread::yield();
      static_cast<void>(engine_.stalls(++now_ns_));
    } while (engine_.stalls(++now_ns_)[0].stalled_ns != 0);
  }
  // The role that stalls after so many more seconds, looked at every ten; empty if none does.
  std::string stall_after(uint64_t secs) {
    for (;; secs -= 10) {
      const uint64_t passed = std::min<uint64_t>(secs, 10);
      now_ns_ += passed * kSecondNs;
      const Stalls stalls = engine_.stalls(now_ns_);
      if (secs > 10) continue;
      const Stall* stall = find_stall(stalls);
      return stall == nullptr ? "" : stall->role;
    }
  }
  // One look after all that time.
  std::string stall_at_once_after(uint64_t secs) {
    now_ns_ += secs * kSecondNs;
    const Stalls stalls = engine_.stalls(now_ns_);
    const Stall* stall = find_stall(stalls);
    return stall == nullptr ? "" : stall->role;
  }

 private:
  Engine& engine_;
  uint64_t now_ns_ = 1000 * kSecondNs;
};

}  // namespace

TEST_CASE("an engine without work never stalls, and one that is looked at seldom not at once") {
  const QuietLog quiet;
  FaultFs fs;
  GateFs gate(fs);
  auto engine = must_open(small_options(gate));
  must_put(*engine, 1, "one");
  Watcher watcher(*engine);
  watcher.wait_for_committer();
  CHECK(watcher.stall_after(100'000) == "");
  gate.close_gate();
  engine->start({Job::Kind::kSnapshot}, [](const JobOutcome&) {});
  gate.wait_for_visitor();
  watcher.wait_for_committer();
  CHECK(watcher.stall_at_once_after(100'000) == "");  // the process may have been stopped
  CHECK(watcher.stall_after(40) == "");
  CHECK(watcher.stall_after(20) == "flush");
  gate.open_gate();
}

TEST_CASE("a flush that hangs is told after a minute, and no more when it goes on") {
  const QuietLog quiet;
  FaultFs fs;
  GateFs gate(fs);
  Options options = small_options(gate);
  options.merge_fan_in = 100;  // no merge by itself
  auto engine = must_open(options);
  gate.close_gate();
  // Writers that wait for the flusher are not the ones that hang.
  std::thread writer([&] { write(*engine, 2000, 200); });
  gate.wait_for_visitor();
  const auto is_full = [&] {
    const View view = engine->view();
    const uint64_t more = Delta::cost_bytes(kRecordHeaderBytes + 200);
    return view.frozen.size() == 2 && view.active->bytes() + more > options.delta_max_bytes;
  };
  while (!is_full()) std::this_thread::yield();
  Watcher watcher(*engine);
  watcher.wait_for_committer();
  CHECK(watcher.stall_after(50) == "");
  CHECK(watcher.stall_after(20) == "flush");
  gate.open_gate();
  writer.join();
  CHECK(refused == 0);
  REQUIRE(engine->snapshot().ok());
  watcher.wait_for_committer();
  CHECK(watcher.stall_after(100'000) == "");
}

TEST_CASE("a commit that hangs is told after a minute, and no more when it goes on") {
  const QuietLog quiet;
  FaultFs fs;
  GateFs gate(fs, ".log.tmp");
  Options options = small_options(gate);
  options.wal_segment_bytes = 4 * kKiB;
  auto engine = must_open(options);
  gate.close_gate();
  std::thread writer([&] { write(*engine, 20, 1000); });
  gate.wait_for_visitor();
  Watcher watcher(*engine);
  CHECK(watcher.stall_after(50) == "");
  CHECK(watcher.stall_after(20) == "commit");
  gate.open_gate();
  writer.join();
  CHECK(refused == 0);
  watcher.wait_for_committer();
  CHECK(watcher.stall_after(100'000) == "");
}

TEST_CASE("a merge that hangs is told after ten minutes, and no more when it goes on") {
  const QuietLog quiet;
  FaultFs fs;
  GateFs gate(fs);
  Options options = small_options(gate);
  options.merge_fan_in = 100;
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 3; ++key) {
    must_put(*engine, key, "value");
    REQUIRE(engine->snapshot().ok());
  }
  gate.close_gate();
  std::atomic<bool> is_done = false;
  std::atomic<bool> is_ok = false;
  engine->start({Job::Kind::kCompact}, [&](const JobOutcome& outcome) {
    is_ok = outcome.status.ok();
    is_done = true;
  });
  gate.wait_for_visitor();
  Watcher watcher(*engine);
  watcher.wait_for_committer();
  CHECK(watcher.stall_after(590) == "");
  CHECK(watcher.stall_after(20) == "merge");
  gate.open_gate();
  while (!is_done) std::this_thread::yield();
  CHECK(is_ok);
  watcher.wait_for_committer();
  // The merger tells of the end of a job before it has no work any more.
  std::string stall = watcher.stall_after(100'000);
  for (int tries = 0; !stall.empty() && tries < 100'000; ++tries) {
    std::this_thread::yield();
    stall = watcher.stall_after(100'000);
  }
  CHECK(stall.empty());
}

TEST_CASE("an engine that is read-only after a failure has no work to stall with") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  must_put(*engine, 1, "one");
  fs.inject({FsCall::kSync, Code::kIoError, 0, 1, ""});
  CHECK_FALSE(engine->snapshot().ok());
  REQUIRE(engine->latch().is_set());
  Watcher watcher(*engine);
  CHECK(watcher.stall_after(100'000) == "");
}

}  // namespace kyro::test
