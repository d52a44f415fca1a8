#include "kyro/net/io/event_loop.h"

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "test/support/test_util.h"

namespace kyro {
namespace {

struct Alarm final : TimerNode {
  void on_deadline() override {
    ++fired;
    if (again_ms != 0) wheel->arm(this, again_ms);
    again_ms = 0;
  }
  int fired = 0;
  uint64_t again_ms = 0;
  TimerWheel* wheel = nullptr;
};

TEST_CASE("a deadline never fires early and at most one tick late") {
  TimerWheel wheel(1000);
  for (uint64_t delay = 0; delay < 3 * TimerWheel::kTickMs * TimerWheel::kBuckets; delay += 97) {
    TimerWheel fresh(1000);
    Alarm alarm;
    fresh.arm(&alarm, 1000 + delay);
    uint64_t now = 1000;
    while (alarm.fired == 0) {
      REQUIRE(fresh.next_ms() != TimerNode::kNever);
      now = std::max(now + 1, fresh.next_ms());
      fresh.expire(now);
      REQUIRE(now <= 1000 + delay + 2 * TimerWheel::kTickMs);
    }
    CHECK(now >= 1000 + delay);
    CHECK(fresh.next_ms() == TimerNode::kNever);
  }
}

TEST_CASE("a deadline can be moved later, earlier, away, and be set again while it fires") {
  TimerWheel wheel(0);
  Alarm alarm;
  alarm.wheel = &wheel;
  wheel.arm(&alarm, 100);
  wheel.arm(&alarm, 500);
  wheel.expire(499);
  CHECK(alarm.fired == 0);
  wheel.arm(&alarm, 520);
  wheel.arm(&alarm, 505);
  wheel.expire(512);
  CHECK(alarm.fired == 1);
  wheel.arm(&alarm, 600);
  wheel.arm(&alarm, TimerNode::kNever);
  wheel.expire(10000);
  CHECK(alarm.fired == 1);
  wheel.arm(&alarm, 20000);
  wheel.cancel(&alarm);
  wheel.expire(30000);
  CHECK(alarm.fired == 1);
  alarm.again_ms = 30100;
  wheel.arm(&alarm, 30050);
  wheel.expire(30060);
  CHECK(alarm.fired == 2);
  wheel.expire(30200);
  CHECK(alarm.fired == 3);
}

TEST_CASE("random deadlines fire as a sorted list says") {
  const uint64_t seed = test::test_seed(11);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  TimerWheel wheel(5000);
  std::vector<std::unique_ptr<Alarm>> alarms;
  std::vector<uint64_t> due(200, TimerNode::kNever);
  std::vector<int> fired(200, 0);
  for (size_t i = 0; i < due.size(); ++i) alarms.push_back(std::make_unique<Alarm>());
  uint64_t now = 5000;
  for (int step = 0; step < 20000; ++step) {
    const size_t i = random() % due.size();
    switch (random() % 8) {
      case 0:
        wheel.cancel(alarms[i].get());
        due[i] = TimerNode::kNever;
        break;
      case 1:
        wheel.arm(alarms[i].get(), TimerNode::kNever);
        due[i] = TimerNode::kNever;
        break;
      default:
        due[i] = now + (random() % 4 == 0 ? random() % 30000 : random() % 300);
        wheel.arm(alarms[i].get(), due[i]);
        break;
    }
    if (step % 4 != 0) continue;
    now += random() % 40 == 0 ? random() % 20000 : random() % 30;
    wheel.expire(now);
    for (size_t k = 0; k < due.size(); ++k) {
      if (alarms[k]->fired != fired[k]) {
        REQUIRE(alarms[k]->fired == fired[k] + 1);
        REQUIRE(due[k] <= now);
        due[k] = TimerNode::kNever;
        fired[k] = alarms[k]->fired;
      } else if (due[k] != TimerNode::kNever) {
        REQUIRE(due[k] + TimerWheel::kTickMs > now);
        REQUIRE(wheel.next_ms() <= due[k] + TimerWheel::kTickMs);
      }
    }
  }
  for (const auto& alarm : alarms) wheel.cancel(alarm.get());
}

struct Numbered final : QueueNode {
  void run_queued() override { seen->push_back(this); }
  std::vector<Numbered*>* seen = nullptr;
  int producer = 0;
  int number = 0;
};

TEST_CASE("posted nodes wake a sleeping loop and run once, in order of each producer") {
  EventLoop loop;
  REQUIRE(loop.open().ok());
  constexpr int kProducers = 3;
  constexpr int kNodes = 3000;
  std::vector<Numbered*> seen;
  std::vector<std::vector<Numbered>> nodes(kProducers);
  for (int p = 0; p < kProducers; ++p) {
    nodes[static_cast<size_t>(p)] = std::vector<Numbered>(kNodes);
    for (int i = 0; i < kNodes; ++i) {
      Numbered& node = nodes[static_cast<size_t>(p)][static_cast<size_t>(i)];
      node.seen = &seen;
      node.producer = p;
      node.number = i;
    }
  }
  std::vector<std::thread> producers;
  for (auto& own : nodes) {
    producers.emplace_back([&own, &loop] {
      for (Numbered& node : own) loop.post(&node);
    });
  }
  while (seen.size() < kProducers * kNodes) {
    loop.wait(20000);
    loop.dispatch_events();
    loop.run_posted();
  }
  for (std::thread& producer : producers) producer.join();
  std::map<int, int> next;
  for (const Numbered* node : seen) REQUIRE(node->number == next[node->producer]++);
}

TEST_CASE("a wake between two waits is not lost") {
  EventLoop loop;
  REQUIRE(loop.open().ok());
  const uint64_t before = monotonic_ns();
  for (int i = 0; i < 100; ++i) {
    loop.wake();
    loop.wait(60000);
  }
  CHECK(monotonic_ns() - before < 50'000'000'000u);  // it would have slept a minute
}

TEST_CASE("the queue says when it was empty and gives nodes back oldest first") {
  TaskQueue queue;
  std::vector<Numbered*> seen;
  Numbered nodes[3];
  CHECK(queue.take_all() == nullptr);
  CHECK(queue.push(&nodes[0]));
  CHECK_FALSE(queue.push(&nodes[1]));
  CHECK_FALSE(queue.push(&nodes[2]));
  QueueNode* node = queue.take_all();
  for (Numbered& expected : nodes) {
    CHECK(node == &expected);
    node = node->next_queued;
  }
  CHECK(node == nullptr);
  CHECK(queue.empty());
  CHECK(queue.push(&nodes[0]));
}

}  // namespace
}  // namespace kyro
