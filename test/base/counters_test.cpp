#include "kyro/base/counters.h"

#include <array>
#include <barrier>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "kyro/base/thread_slot.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

// Runs body(i) on `count` threads that all live at the same time.
template <class Body>
void on_threads_together(size_t count, const Body& body) {
  std::barrier started(static_cast<std::ptrdiff_t>(count));
  std::barrier done(static_cast<std::ptrdiff_t>(count));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      started.arrive_and_wait();
      body(i);
      done.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("threads that live together have different slots and each keeps its own") {
  std::mutex mutex;
  std::set<uint32_t> slots;
  const uint32_t own = thread_slot();
  on_threads_together(20, [&](size_t) {
    const uint32_t slot = thread_slot();
    const bool exclusive = thread_slot_is_exclusive();
    const bool same = slot == thread_slot();
    const std::lock_guard lock(mutex);
    CHECK(exclusive);
    CHECK(same);
    CHECK(slot < kOverflowSlot);
    CHECK(slots.insert(slot).second);
  });
  CHECK(slots.size() == 20);
  CHECK(slots.count(own) == 0);
  CHECK(thread_slot() == own);
  CHECK(thread_slots_used() > *slots.rbegin());
}

TEST_CASE("threads beyond the exclusive slots share the overflow slot and say so") {
  std::mutex mutex;
  std::map<uint32_t, size_t> owners;
  on_threads_together(100, [&](size_t) {
    const uint32_t slot = thread_slot();
    const std::lock_guard lock(mutex);
    CHECK(thread_slot_is_exclusive() == (slot != kOverflowSlot));
    ++owners[slot];
  });
  CHECK(owners[kOverflowSlot] >= 100 - kOverflowSlot);
  for (const auto& [slot, count] : owners) {
    CHECK(slot < kThreadSlots);
    if (slot != kOverflowSlot) CHECK(count == 1);
  }
}

TEST_CASE("slots of finished threads are given to new ones") {
  static_cast<void>(thread_slot());
  for (int i = 0; i < 300; ++i) {
    bool exclusive = false;
    std::thread([&] { exclusive = thread_slot_is_exclusive(); }).join();
    REQUIRE(exclusive);
  }
}

TEST_CASE("a thread_local object may use the slot while its thread ends") {
  struct Last {
    uint32_t* seen = nullptr;
    ~Last() {
      if (seen != nullptr) *seen = thread_slot();
    }
  };
  uint32_t during = 99;
  uint32_t at_exit = 98;
  std::thread([&] {
    thread_local Last last;
    last.seen = &at_exit;
    during = thread_slot();
  }).join();
  CHECK(at_exit == during);
}

TEST_CASE("a counter is the sum of what all threads added, also after they ended") {
  Counter counter;
  Counter neighbour;
  constexpr uint64_t kRounds = 2000;
  // More threads than slots, so that the overflow slot has its share of the work.
  on_threads_together(90, [&](size_t i) {
    for (uint64_t round = 0; round < kRounds; ++round) counter.add(i + 1);
  });
  CHECK(counter.value() == kRounds * (90 * 91 / 2));
  CHECK(neighbour.value() == 0);
  for (int i = 0; i < 200; ++i) std::thread([&] { counter.add(); }).join();
  CHECK(counter.value() == kRounds * (90 * 91 / 2) + 200);
}

TEST_CASE("a counter read while it is counted never decreases and ends exact") {
  Counter counter;
  std::atomic<bool> stop{false};
  bool decreased = false;
  std::thread reader([&] {
    uint64_t last = 0;
    while (!stop.load()) {
      const uint64_t now = counter.value();
      if (now < last) decreased = true;
      last = now;
    }
  });
  on_threads_together(4, [&](size_t) {
    for (int i = 0; i < 20000; ++i) counter.add();
  });
  stop = true;
  reader.join();
  CHECK_FALSE(decreased);
  CHECK(counter.value() == 80000);
}

TEST_CASE("the columns of destroyed counters are reused and start at zero") {
  for (int round = 0; round < 50; ++round) {
    std::vector<std::unique_ptr<Counter>> counters;
    for (int i = 0; i < 200; ++i) {
      counters.push_back(std::make_unique<Counter>());
      REQUIRE(counters.back()->value() == 0);
      counters.back()->add(7);
    }
    Histogram histogram(kLatencyBoundsNanos);
    REQUIRE(histogram.snapshot().count == 0);
    REQUIRE(histogram.snapshot().sum == 0);
    histogram.observe(5);
    for (const auto& counter : counters) REQUIRE(counter->value() == 7);
  }
}

TEST_CASE("more counters than one chunk holds are all independent") {
  std::vector<std::unique_ptr<Counter>> counters;
  for (size_t i = 0; i < 3000; ++i) counters.push_back(std::make_unique<Counter>());
  for (size_t i = 0; i < counters.size(); ++i) counters[i]->add(i);
  for (size_t i = 0; i < counters.size(); ++i) REQUIRE(counters[i]->value() == i);
}

TEST_CASE("a histogram puts every value into the first bucket whose bound it does not exceed") {
  const std::array<uint64_t, 5> bounds{0, 1, 10, 1000, uint64_t{1} << 40};
  Histogram histogram(bounds);
  const std::array<uint64_t, 9> values{0, 1, 2, 10, 11, 1000, 1001, uint64_t{1} << 40, UINT64_MAX};
  for (const uint64_t value : values) histogram.observe(value);
  const HistogramSnapshot shot = histogram.snapshot();
  CHECK(shot.bounds == std::vector<uint64_t>(bounds.begin(), bounds.end()));
  CHECK(shot.cumulative == std::vector<uint64_t>{1, 2, 4, 6, 8});
  CHECK(shot.count == 9);
  uint64_t sum = 0;
  for (const uint64_t value : values) sum += value;
  CHECK(shot.sum == sum);
}

TEST_CASE("a histogram agrees with a linear search for random bounds and values") {
  const uint64_t seed = test::test_seed(17);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const auto skewed = [&] { return random() >> (random() % 64); };
  for (int round = 0; round < 100; ++round) {
    std::set<uint64_t> distinct;
    const size_t wanted = 1 + random() % Histogram::kBoundsMax;
    while (distinct.size() < wanted) distinct.insert(skewed());
    const std::vector<uint64_t> bounds(distinct.begin(), distinct.end());
    Histogram histogram(bounds);
    std::vector<uint64_t> expected(bounds.size());
    for (int i = 0; i < 300; ++i) {
      const uint64_t value = random() % 3 == 0 ? bounds[random() % bounds.size()] : skewed();
      histogram.observe(value);
      for (size_t b = 0; b < bounds.size(); ++b) expected[b] += value <= bounds[b] ? 1u : 0u;
    }
    const HistogramSnapshot shot = histogram.snapshot();
    REQUIRE(shot.cumulative == expected);
    REQUIRE(shot.count == 300);
  }
}

TEST_CASE("a histogram counts from more threads than there are slots") {
  HotHistogram histogram(kLatencyBoundsNanos);
  HotCounter counter;
  on_threads_together(80, [&](size_t i) {
    for (uint64_t n = 0; n < 200; ++n) histogram.observe(i * 1000 + n);
    counter.add(3);
  });
  const HistogramSnapshot shot = histogram.snapshot();
  CHECK(shot.count == (kHotMetrics ? 80u * 200u : 0u));
  CHECK(counter.value() == (kHotMetrics ? 240u : 0u));
  CHECK(std::is_sorted(shot.cumulative.begin(), shot.cumulative.end()));
  CHECK(shot.cumulative.size() == kLatencyBoundsNanos.size());
}

TEST_CASE("a gauge holds what was set and follows add and sub") {
  Gauge gauge;
  CHECK(gauge.value() == 0);
  gauge.set(10);
  gauge.add(5);
  gauge.sub(7);
  CHECK(gauge.value() == 8);
}

}  // namespace
}  // namespace kyro
