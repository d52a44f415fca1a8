// Many producers, one consumer: the lock-free queue through which other threads reach a reactor.
//
// An intrusive stack that the consumer takes whole and turns round, so order is first in, first
// out per producer and no ABA problem exists (nothing is ever popped singly).
//
// Thread rule: push() from any thread; take_all() from the consumer only.
// Ownership: the queue owns nothing; a node must live until it has been run.
#pragma once

#include <atomic>

namespace kyro {

// Something to be run once on the consumer's thread. A node is in at most one queue at a time.
class QueueNode {
 public:
  virtual ~QueueNode() = default;
  virtual void run_queued() = 0;
  QueueNode* next_queued = nullptr;
};

class TaskQueue {
 public:
  // True if the queue was empty: the consumer may have to be woken.
  [[nodiscard]] bool push(QueueNode* node) {
    QueueNode* head = head_.load(std::memory_order_relaxed);
    do {
      node->next_queued = head;
    } while (!head_.compare_exchange_weak(head, node, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return head == nullptr;
  }

  // All nodes, oldest first, linked by next_queued; null when there are none.
  [[nodiscard]] QueueNode* take_all() {
    QueueNode* node = head_.exchange(nullptr, std::memory_order_seq_cst);
    QueueNode* first = nullptr;
    while (node != nullptr) {
      QueueNode* next = node->next_queued;
      node->next_queued = first;
      first = node;
      node = next;
    }
    return first;
  }

  [[nodiscard]] bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

 private:
  std::atomic<QueueNode*> head_{nullptr};
};

}  // namespace kyro
