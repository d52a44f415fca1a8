// Who of one reactor, and of several, has held most for longest, by the lists alone.
#include "kyro/net/server/held_list.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include "kyro/net/server/shedding.h"

namespace kyro::test {
namespace {

constexpr uint64_t kGrain = HeldList::kGrainMs;

struct TestNode : HeldList::Node {
  HeldKind what = HeldKind::kPlace;
  uint64_t bytes = 0;
  uint64_t since_ms = 0;
  bool is_in = false;
};

TEST_CASE("who has held more, or for longer, comes first") {
  HeldList list;
  TestNode idle, reader, sender;
  CHECK(list.first(kHeldAnything, 0, 1000) == nullptr);
  CHECK(list.best(kHeldAnything, 0, 1000) == 0);
  list.put(idle, HeldKind::kPlace, 0, 0);
  list.put(reader, HeldKind::kAnswer, 64 * 1024, 1000);
  list.put(sender, HeldKind::kRequest, 1 << 20, 1900);
  CHECK(list.first(kHeldAnything, 0, 1001) == &idle);
  CHECK(list.first(kHeldAnything, 0, 1500) == &reader);
  CHECK(list.first(kHeldAnything, 0, 2100) == &sender);
  CHECK(list.first(kHeldAnything, 500, 2100) == &reader);
  CHECK(list.first(kHeldAnything, 1500, 2100) == &idle);
  CHECK(list.first(kHeldAnything, 2500, 2100) == nullptr);
  CHECK(list.first(held_bit(HeldKind::kAnswer), 0, 2100) == &reader);
  CHECK(list.first(held_bit(HeldKind::kRequest), 0, 1800) == nullptr);  // it is younger than that
  list.put(reader, HeldKind::kAnswer, 100, 1000);  // next to nothing is left: a place
  CHECK(list.first(held_bit(HeldKind::kAnswer), 0, 2100) == nullptr);
  list.remove(idle);
  list.remove(idle);
  list.remove(sender);
  CHECK(list.first(kHeldAnything, 0, 2100) == &reader);
  list.remove(reader);
  CHECK(list.best(kHeldAnything, 0, 2100) == 0);
}

TEST_CASE("a list of many that come, move and go always knows its first") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  HeldList list;
  std::deque<TestNode> nodes(200);
  uint64_t now_ms = 10'000;
  for (int step = 0; step < 20'000; ++step) {
    now_ms += below(3);
    TestNode& node = nodes[below(nodes.size())];
    if (node.is_in && below(3) == 0) {
      list.remove(node);
      node.is_in = false;
    } else {
      node.what = static_cast<HeldKind>(below(3));
      node.bytes = node.what == HeldKind::kPlace ? 0 : HeldList::kLeastBytes << below(4);
      // Mostly its client has moved just now; sometimes it was paid for less.
      node.since_ms = now_ms - (below(4) == 0 ? below(5000) : 0);
      list.put(node, node.what, node.bytes, node.since_ms);
      node.is_in = true;
    }
    if (step % 16 != 0) continue;
    // For each kind and size the oldest, within the grain, is what is compared.
    const auto kinds = static_cast<HeldKinds>(1 + below(kHeldAnything));
    const uint64_t least_ms = below(3) * 1000;
    uint64_t most = 0;
    for (const TestNode& each : nodes) {
      if (!each.is_in || (kinds & held_bit(each.what)) == 0) continue;
      const uint64_t age_ms = now_ms - each.since_ms;
      if (age_ms < least_ms) continue;
      most = std::max(most, std::max<uint64_t>(each.bytes, 1024) * (age_ms + 1));
    }
    const auto* first = static_cast<const TestNode*>(list.first(kinds, least_ms, now_ms));
    CHECK((list.best(kinds, least_ms, now_ms) == 0) == (first == nullptr));
    if (most != 0) REQUIRE(first != nullptr);
    if (first == nullptr) continue;
    CHECK((kinds & held_bit(first->what)) != 0);
    CHECK(now_ms - first->since_ms + kGrain >= least_ms);
    const uint64_t bytes = std::max<uint64_t>(first->bytes, 1024);
    CHECK(bytes * (now_ms - first->since_ms + 1 + kGrain) >= most);
  }
}

TEST_CASE("an order goes from list to list, always to the first of all, until enough have gone") {
  HeldList lists[3];
  Shedding shedding;
  for (const HeldList& list : lists) shedding.add(list);
  std::deque<TestNode> nodes(6);
  // Each lies in the list of its number modulo 3; who came first has waited longest.
  for (size_t i = 0; i < nodes.size(); ++i) {
    lists[i % 3].put(nodes[i], HeldKind::kPlace, 0, 1000 * (i + 1));
  }
  REQUIRE(shedding.begin({.wanted = 5, .least_ms = 2000}));
  CHECK_FALSE(shedding.begin({.wanted = 1}));  // one is under way
  std::vector<size_t> gone;
  constexpr uint64_t kNow = 7500;
  for (size_t at; (at = shedding.turn(kNow)) != Shedding::kNobody;) {
    HeldList::Node* const first = lists[at].first(kHeldAnything, 2000, kNow);
    REQUIRE(first != nullptr);
    gone.push_back(static_cast<size_t>(static_cast<TestNode*>(first) - &nodes[0]));
    lists[at].remove(*first);
    --shedding.order().wanted;
  }
  CHECK(gone == std::vector<size_t>{0, 1, 2, 3, 4});
  shedding.end();
  REQUIRE(shedding.begin({.wanted = 5, .least_ms = 2000}));
  CHECK(shedding.turn(kNow) == Shedding::kNobody);  // who is left has not waited so long
}

}  // namespace
}  // namespace kyro::test
