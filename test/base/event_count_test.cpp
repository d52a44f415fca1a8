#include "kyro/base/event_count.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

namespace kyro::test {
TEST_CASE("a change after the ticket was drawn ends a wait before it has begun") {
  EventCount changes;
  const uint32_t ticket = changes.ticket();
  changes.wake_all();
  changes.wait(ticket);
  CHECK(changes.ticket() != ticket);
}

TEST_CASE("one call wakes all that sleep, whenever they fell asleep") {
  constexpr uint32_t kRounds = 50;
  EventCount changes;
  std::atomic<uint32_t> round{0};
  std::atomic<uint32_t> arrived{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (uint32_t next = 1; next <= kRounds; ++next) {
        ++arrived;
        for (;;) {
          const uint32_t ticket = changes.ticket();
          if (round >= next) break;
          changes.wait(ticket);
        }
      }
    });
  }
  for (uint32_t i = 1; i <= kRounds; ++i) {
    while (arrived < 8 * i) std::this_thread::yield();
    round = i;
    changes.wake_all();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(arrived == 8 * kRounds);
}

TEST_CASE("each of two that take turns is woken by the other") {
  EventCount changes;
  std::atomic<uint32_t> turn{0};
  constexpr uint32_t kTurns = 2000;
  const auto take_turns = [&](uint32_t own) {
    for (uint32_t at = own; at < kTurns; at += 2) {
      for (;;) {
        const uint32_t ticket = changes.ticket();
        if (turn == at) break;
        changes.wait(ticket);
      }
      turn = at + 1;
      changes.wake_all();
    }
  };
  std::thread other([&] { take_turns(1); });
  take_turns(0);
  other.join();
  CHECK(turn == kTurns);
}

}  // namespace kyro::test
