// Many producers, one consumer, no lock.
//
// An intrusive stack that the consumer takes whole and turns round, so order is first in, first
// out per producer and no ABA problem exists (nothing is ever popped singly). Node has a public
// member `Node* next_queued`, and is in at most one queue at a time.
//
// Thread rule: push() from any thread; take_all() from the consumer only. push() and empty() are
// sequentially consistent, so a consumer that announces its sleep before it looks at empty() for
// the last time misses nothing. Ownership: the queue owns nothing.
#pragma once

#include <atomic>

namespace kyro {

template <class Node>
class MpscQueue {
 public:
  // True if the queue was empty: the consumer may have to be woken.
  bool push(Node* node) {
    Node* head = head_.load(std::memory_order_relaxed);
    do {
      node->next_queued = head;
    } while (!head_.compare_exchange_weak(head, node, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return head == nullptr;
  }

  // All nodes, oldest first, linked by next_queued; null when there are none.
  [[nodiscard]] Node* take_all() {
    Node* node = head_.exchange(nullptr, std::memory_order_seq_cst);
    Node* first = nullptr;
    while (node != nullptr) {
      Node* next = node->next_queued;
      node->next_queued = first;
      first = node;
      node = next;
    }
    return first;
  }

  [[nodiscard]] bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

 private:
  std::atomic<Node*> head_{nullptr};
};

}  // namespace kyro
