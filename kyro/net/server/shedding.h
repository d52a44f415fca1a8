// Making room: where places, descriptors or memory run out, those connections go that have held
// most for longest, whichever reactor they belong to.
//
// Only its own reactor may close a connection. So there is one order at a time, which goes to the
// reactor that has the first of all by what the lists publish; that one closes it, sees whose the
// next is, and hands the order on, until enough have gone or nobody is left who may. Neither
// choosing nor closing looks at more connections than the first of each heap.
//
// Thread rule: begin(), turn() and end() by any thread; between begin() and end() the order belongs
// to whoever began it, and then to the reactor whose turn it is. Ownership: borrows the lists.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kyro/net/server/held_list.h"

namespace kyro {

class Shedding {
 public:
  static constexpr size_t kMost = 8;  // that go by one order
  static constexpr size_t kNobody = SIZE_MAX;

  struct Order {
    size_t wanted = 0;
    HeldKinds kinds = kHeldAnything;
    uint64_t least_ms = 0;  // whose client has moved since then may stay
  };

  // Before any thread uses it; in the order of the reactors.
  void add(const HeldList& list) { lists_.push_back(&list); }

  // False while another order is under way.
  [[nodiscard]] bool begin(const Order& order) {
    if (is_under_way_.exchange(true, std::memory_order_acquire)) return false;
    order_ = order;
    return true;
  }
  [[nodiscard]] Order& order() { return order_; }
  // Which reactor has the first of all, or kNobody.
  [[nodiscard]] size_t turn(uint64_t now_ms) const {
    size_t at = kNobody;
    uint64_t best = 0;
    for (size_t i = 0; i < lists_.size() && order_.wanted != 0; ++i) {
      const uint64_t weight = lists_[i]->best(order_.kinds, order_.least_ms, now_ms);
      if (weight > best) at = i, best = weight;
    }
    return at;
  }
  void end() { is_under_way_.store(false, std::memory_order_release); }

 private:
  std::vector<const HeldList*> lists_;
  std::atomic<bool> is_under_way_{false};
  Order order_;  // while one is under way
};

}  // namespace kyro
