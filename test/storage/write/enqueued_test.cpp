// Writes that a thread which must not sleep hands over: who commits them, in which order, and what
// that thread never waits for.
#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kyro/storage/write/committer.h"
#include "test/support/engine_harness.h"
#include "test/support/gate_fs.h"

namespace kyro::test {
namespace {

// A put that knows which thread it was done on.
class TracedPut final : public WriteRequest {
 public:
  TracedPut(uint64_t key, size_t value_bytes) : value_(value_bytes, 'v') {
    put_ = Mutation::put(key, value_);
    mutations = {&put_, 1};
  }
  void done() override {
    const std::lock_guard lock(mutex_);
    done_on_ = std::this_thread::get_id();
    changed_.notify_all();
  }
  // Whether it was done on the calling thread; waits until it is done.
  bool was_done_here() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_on_ != std::thread::id(); });
    return done_on_ == std::this_thread::get_id();
  }

 private:
  const std::string value_;
  Mutation put_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread::id done_on_;
};

using TracedPuts = std::vector<std::unique_ptr<TracedPut>>;

void enqueue_puts(Engine& engine, uint64_t first_key, size_t count, size_t value_bytes,
                  TracedPuts* puts) {
  for (uint64_t key = first_key; key < first_key + count; ++key) {
    puts->push_back(std::make_unique<TracedPut>(key, value_bytes));
    engine.enqueue(puts->back().get());
  }
}

// Sees the committer's thread, which has just been started, at work and then asleep. Returns the
// next offset.
uint64_t let_committer_sleep(Engine& engine) {
  TracedPut first(0, 1);
  engine.submit(&first);
  while (!first.was_done_here()) {
    TracedPuts puts;
    enqueue_puts(engine, 0, 1, 1, &puts);
    engine.commit_enqueued();
    if (puts[0]->was_done_here()) break;
  }
  return engine.next_offset();
}

Options never_syncing(FileSystem& fs) {
  Options options = small_options(fs);
  options.fsync = FsyncPolicy::kNever;
  options.wal_segment_bytes = 4 * kMiB;
  options.delta_max_bytes = 4 * kMiB;
  return options;
}

}  // namespace

TEST_CASE("without a sync what was enqueued is committed by its thread, in one group") {
  FaultFs fs;
  Options options = never_syncing(fs);
  options.fsync = GENERATE(FsyncPolicy::kNever, FsyncPolicy::kInterval);
  options.fsync_interval_ms = 3600 * 1000;
  const auto engine = must_open(options);
  const uint64_t first = let_committer_sleep(*engine);
  TracedPuts puts;
  enqueue_puts(*engine, 1, 50, 100, &puts);
  CHECK(engine->next_offset() == first);  // nobody was woken
  const uint64_t groups_before = engine->stats().append_latency_ns.snapshot().count;
  engine->commit_enqueued();
  CHECK(engine->next_offset() == first + 50);
  CHECK(engine->stats().append_latency_ns.snapshot().count == groups_before + 1);
  for (uint64_t i = 0; i < puts.size(); ++i) {
    CHECK(puts[i]->was_done_here());
    CHECK(puts[i]->status.ok());
    CHECK(puts[i]->offset == first + i);
  }
}

TEST_CASE("with a sync for each group what was enqueued is committed by the committer's thread") {
  FaultFs fs;
  Options options = never_syncing(fs);
  options.fsync = FsyncPolicy::kAlways;
  const auto engine = must_open(options);
  TracedPuts puts;
  enqueue_puts(*engine, 1, 20, 100, &puts);
  engine->commit_enqueued();
  for (const auto& put : puts) {
    CHECK_FALSE(put->was_done_here());
    CHECK(put->status.ok());
  }
}

TEST_CASE("a large write is left to the committer's thread, and later ones stay after it") {
  FaultFs fs;
  const auto engine = must_open(never_syncing(fs));
  const uint64_t first = let_committer_sleep(*engine);
  TracedPuts puts;
  enqueue_puts(*engine, 1, 3, 100, &puts);
  enqueue_puts(*engine, 4, 1, 300 * kKiB, &puts);
  enqueue_puts(*engine, 5, 3, 100, &puts);
  engine->commit_enqueued();
  for (uint64_t i = 0; i < puts.size(); ++i) {
    CHECK(puts[i]->was_done_here() == (i < 3));
    CHECK(puts[i]->status.ok());
    CHECK(puts[i]->offset == first + i);
  }
}

TEST_CASE("who enqueues waits neither for a new segment nor for a flush") {
  const QuietLog quiet;
  FaultFs fs;
  const bool fills_segment = GENERATE(true, false);
  INFO((fills_segment ? "segment" : "delta") << " is full");
  GateFs gate(fs, fills_segment ? ".log.tmp" : ".data");
  Options options = never_syncing(gate);
  (fills_segment ? options.wal_segment_bytes : options.delta_max_bytes) = 64 * kKiB;
  const auto engine = must_open(options);
  const uint64_t first = let_committer_sleep(*engine);
  gate.close_gate();
  TracedPuts puts;
  for (uint64_t i = 0; i < 40; ++i) {
    enqueue_puts(*engine, 1 + i * 10, 10, 1000, &puts);
    engine->commit_enqueued();  // returns, though the committer cannot go on
  }
  gate.wait_for_visitor();
  gate.open_gate();
  size_t done_here = 0;
  for (uint64_t i = 0; i < puts.size(); ++i) {
    if (puts[i]->was_done_here()) ++done_here;
    CHECK(puts[i]->status.ok());
    CHECK(puts[i]->offset == first + i);
  }
  CHECK(done_here >= 10);
  CHECK(done_here < puts.size());
}

TEST_CASE(
    "enqueued and blocking writes of many threads are all committed, each thread's in order") {
  FaultFs fs;
  Options options = small_options(fs);
  options.fsync = GENERATE(FsyncPolicy::kNever, FsyncPolicy::kInterval, FsyncPolicy::kAlways);
  options.fsync_interval_ms = 1;
  const auto engine = must_open(options);
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kRounds = 100;
  std::vector<std::thread> threads;
  std::vector<int> failures(kThreads);
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kRounds; ++i) {
        TracedPuts puts;
        enqueue_puts(*engine, t * 1000 + i * 3, 2, 200, &puts);
        engine->commit_enqueued();
        if (!engine->put(t * 1000 + i * 3 + 2, "blocking").ok()) ++failures[t];
        static_cast<void>(puts[0]->was_done_here());
        static_cast<void>(puts[1]->was_done_here());
        if (!puts[0]->status.ok() || puts[0]->offset >= puts[1]->offset) ++failures[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == std::vector<int>(kThreads));
  CHECK(engine->next_offset() == kThreads * kRounds * 3);
}

}  // namespace kyro::test
