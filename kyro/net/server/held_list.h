// What the connections of one reactor hold while they wait for their clients, in an order in which
// the one that has held most for longest is found at once, however many there are.
//
// Held is a place, or that and memory: bytes of an answer that is not taken, or of a request that
// is not whole. A connection that holds something stands in one of a few heaps, by what it holds
// and how much, in powers of two; on top of a heap is who has waited for longest. So looking for
// the first of all is looking at the tops, each weighed as bytes times milliseconds: exact in time,
// within a factor of two in bytes.
//
// When the first of each heap began to wait is published, so that reactors can be compared without
// asking them.
//
// Thread rule: the reactor's thread; best() from any. Ownership: nodes belong to the connections,
// which take them out before they die.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kyro {

enum class HeldKind : uint8_t { kPlace, kAnswer, kRequest };

// A set of those.
using HeldKinds = uint8_t;
inline constexpr HeldKinds kHeldAnything = 7;
[[nodiscard]] constexpr HeldKinds held_bit(HeldKind what) {
  return static_cast<HeldKinds>(1u << static_cast<unsigned>(what));
}

class HeldList {
 public:
  // Less memory than this is no more than a place.
  static constexpr uint64_t kLeastBytes = 4096;
  // Who is taken to wait since a little later stays where it is: moving costs a look at others.
  static constexpr uint64_t kGrainMs = 128;

  class Node {
   public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

   protected:
    ~Node() = default;

   private:
    friend class HeldList;
    uint64_t since_ms_ = 0;
    uint32_t at_ = 0;        // in its heap
    uint8_t heap_ = kHeaps;  // kHeaps: in none
  };

  HeldList() {
    for (auto& since_ms : oldest_) since_ms.store(kNobody, std::memory_order_relaxed);
  }
  HeldList(const HeldList&) = delete;
  HeldList& operator=(const HeldList&) = delete;
  ~HeldList() = default;

  // The node holds so much, and its client has not moved since then.
  void put(Node& node, HeldKind what, uint64_t bytes, uint64_t since_ms) {
    const uint8_t heap = heap_of(what, bytes);
    if (node.heap_ == heap && since_ms - node.since_ms_ < kGrainMs) return;
    if (node.heap_ != heap) {
      remove(node);
      node.heap_ = heap;
      node.at_ = static_cast<uint32_t>(heaps_[heap].size());
      heaps_[heap].push_back(&node);
    }
    node.since_ms_ = since_ms;
    settle(node);
  }
  // It holds nothing, or does not wait for its client.
  void remove(Node& node) {
    if (node.heap_ == kHeaps) return;
    std::vector<Node*>& heap = heaps_[node.heap_];
    Node& last = *heap.back();
    heap.pop_back();
    if (&last != &node) {
      heap[last.at_ = node.at_] = &last;
      settle(last);
    } else {
      publish(node.heap_);
    }
    node.heap_ = kHeaps;
  }

  // Of those that have waited for `least_ms` at least, and hold one of `kinds`: the weight of the
  // first. 0 if there is nobody. Any thread.
  [[nodiscard]] uint64_t best(HeldKinds kinds, uint64_t least_ms, uint64_t now_ms) const {
    return find(kinds, least_ms, now_ms).weight;
  }
  // That one, or null.
  [[nodiscard]] Node* first(HeldKinds kinds, uint64_t least_ms, uint64_t now_ms) const {
    const Found found = find(kinds, least_ms, now_ms);
    return found.weight == 0 ? nullptr : heaps_[found.heap].front();
  }

 private:
  static constexpr size_t kSizes = 14;  // up to 32 MiB and more
  static constexpr size_t kHeaps = 1 + 2 * kSizes;
  static constexpr uint64_t kPlaceBytes = 1024;  // what a connection costs that holds nothing else
  static constexpr uint64_t kNobody = UINT64_MAX;
  struct Found {
    size_t heap = kHeaps;
    uint64_t weight = 0;
  };

  [[nodiscard]] static uint8_t heap_of(HeldKind what, uint64_t bytes) {
    if (what == HeldKind::kPlace || bytes < kLeastBytes) return 0;
    const auto size = static_cast<size_t>(std::bit_width(bytes / kLeastBytes)) - 1;
    return static_cast<uint8_t>(1 + (what == HeldKind::kRequest ? kSizes : 0) +
                                std::min(size, kSizes - 1));
  }
  [[nodiscard]] static HeldKind kind_of(size_t heap) {
    if (heap == 0) return HeldKind::kPlace;
    return heap <= kSizes ? HeldKind::kAnswer : HeldKind::kRequest;
  }
  [[nodiscard]] static uint64_t bytes_of(size_t heap) {
    return heap == 0 ? kPlaceBytes : kLeastBytes << ((heap - 1) % kSizes);
  }

  [[nodiscard]] Found find(HeldKinds kinds, uint64_t least_ms, uint64_t now_ms) const {
    Found found;
    for (size_t heap = 0; heap < kHeaps; ++heap) {
      if ((kinds & held_bit(kind_of(heap))) == 0) continue;
      const uint64_t since_ms = oldest_[heap].load(std::memory_order_relaxed);
      if (since_ms > now_ms || now_ms - since_ms < least_ms) continue;
      const uint64_t weight = bytes_of(heap) * (now_ms - since_ms + 1);
      if (weight > found.weight) found = {heap, weight};
    }
    return found;
  }

  // Restores the order around a node that has a new time or place, and publishes.
  void settle(Node& node) {
    std::vector<Node*>& heap = heaps_[node.heap_];
    size_t at = node.at_;
    for (size_t up; at != 0 && heap[up = (at - 1) / 2]->since_ms_ > node.since_ms_; at = up) {
      (heap[at] = heap[up])->at_ = static_cast<uint32_t>(at);
    }
    for (size_t down; (down = 2 * at + 1) < heap.size(); at = down) {
      if (down + 1 < heap.size() && heap[down + 1]->since_ms_ < heap[down]->since_ms_) ++down;
      if (heap[down]->since_ms_ >= node.since_ms_) break;
      (heap[at] = heap[down])->at_ = static_cast<uint32_t>(at);
    }
    heap[at] = &node;
    node.at_ = static_cast<uint32_t>(at);
    publish(node.heap_);
  }
  void publish(size_t heap) {
    const uint64_t since_ms = heaps_[heap].empty() ? kNobody : heaps_[heap].front()->since_ms_;
    if (oldest_[heap].load(std::memory_order_relaxed) == since_ms) return;
    oldest_[heap].store(since_ms, std::memory_order_relaxed);
  }

  std::array<std::vector<Node*>, kHeaps> heaps_;
  alignas(64) std::array<std::atomic<uint64_t>, kHeaps> oldest_;
};

}  // namespace kyro
