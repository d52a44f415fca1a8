// Deadlines for many objects at the price of a store: a hashed timer wheel with lazy re-arming.
//
// (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 6.) Moving a deadline
// later only stores it; the node is looked at when its old bucket comes round, and put into the
// bucket of its real deadline then. Only an earlier deadline relinks. A deadline beyond the span of
// the wheel waits in the last bucket. Nothing fires early; it fires at most one tick late.
//
// Thread rule: one thread. Ownership: nodes are intrusive and belong to the caller, which cancels
// them before they die.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "kyro/base/status.h"

namespace kyro {

class TimerWheel;

class TimerNode {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;

  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  // The deadline has passed. The node is disarmed; it may be armed again in here.
  virtual void on_deadline() = 0;
  [[nodiscard]] uint64_t deadline_ms() const { return deadline_ms_; }

 protected:
  ~TimerNode() = default;

 private:
  friend class TimerWheel;
  TimerNode* previous_ = nullptr;
  TimerNode* next_ = nullptr;
  uint64_t deadline_ms_ = kNever;
  uint64_t tick_ = 0;  // of the bucket it is linked into
  bool linked_ = false;
};

class TimerWheel {
 public:
  static constexpr uint64_t kTickMs = 8;
  static constexpr uint64_t kBuckets = 1024;  // a span of about 8 s

  explicit TimerWheel(uint64_t now_ms) : tick_(now_ms / kTickMs) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Sets (or moves) the deadline; kNever disarms.
  void arm(TimerNode* node, uint64_t deadline_ms) {
    node->deadline_ms_ = deadline_ms;
    if (deadline_ms == TimerNode::kNever) return;
    const uint64_t tick = bucket_tick(deadline_ms);
    if (node->linked_) {
      if (node->tick_ <= tick) return;
      unlink(node);
    }
    link(node, tick);
  }

  // Takes the node out: it may die.
  void cancel(TimerNode* node) {
    node->deadline_ms_ = TimerNode::kNever;
    if (node->linked_) unlink(node);
  }

  // Calls on_deadline() of every node whose deadline is not after now_ms.
  void expire(uint64_t now_ms) {
    const uint64_t now_tick = now_ms / kTickMs;
    if (now_tick <= tick_) return;
    if (earliest_ > now_tick) {
      tick_ = now_tick;
      return;
    }
    if (now_tick - tick_ > kBuckets) tick_ = now_tick - kBuckets;
    while (tick_ < now_tick) {
      ++tick_;
      // A node put back lands after tick_, at most one turn less one ahead: never in this bucket.
      while (TimerNode* node = heads_[tick_ % kBuckets]) {
        unlink(node);
        if (node->deadline_ms_ == TimerNode::kNever) continue;
        if (node->deadline_ms_ > now_ms) {
          link(node, bucket_tick(node->deadline_ms_));
        } else {
          node->deadline_ms_ = TimerNode::kNever;
          node->on_deadline();
        }
      }
    }
    find_earliest();
  }

  // When expire() should next be called (a lower bound); kNever if nothing is armed.
  [[nodiscard]] uint64_t next_ms() const {
    return earliest_ == TimerNode::kNever ? TimerNode::kNever : earliest_ * kTickMs;
  }

 private:
  [[nodiscard]] uint64_t bucket_tick(uint64_t deadline_ms) const {
    const uint64_t tick = deadline_ms / kTickMs + (deadline_ms % kTickMs != 0 ? 1 : 0);
    if (tick <= tick_) return tick_ + 1;
    return tick < tick_ + kBuckets ? tick : tick_ + kBuckets - 1;
  }

  void link(TimerNode* node, uint64_t tick) {
    TimerNode*& head = heads_[tick % kBuckets];
    node->tick_ = tick;
    node->linked_ = true;
    node->previous_ = nullptr;
    node->next_ = head;
    if (head != nullptr) head->previous_ = node;
    head = node;
    used_[tick % kBuckets / 64] |= uint64_t{1} << (tick % 64);
    if (tick < earliest_) earliest_ = tick;
  }

  void unlink(TimerNode* node) {
    TimerNode*& head = heads_[node->tick_ % kBuckets];
    if (node->previous_ != nullptr) {
      node->previous_->next_ = node->next_;
    } else {
      head = node->next_;
    }
    if (node->next_ != nullptr) node->next_->previous_ = node->previous_;
    node->previous_ = node->next_ = nullptr;
    node->linked_ = false;
    if (head == nullptr) {
      used_[node->tick_ % kBuckets / 64] &= ~(uint64_t{1} << (node->tick_ % 64));
    }
  }

  // The first used bucket after tick_.
  void find_earliest() {
    for (uint64_t step = 1; step <= kBuckets;) {
      const uint64_t slot = (tick_ + step) % kBuckets;
      const uint64_t bits = used_[slot / 64] >> (slot % 64);
      if (bits != 0) {
        earliest_ = tick_ + step + static_cast<uint64_t>(std::countr_zero(bits));
        return;
      }
      step += 64 - slot % 64;
    }
    earliest_ = TimerNode::kNever;
  }

  uint64_t tick_;                          // everything up to here has been looked at
  uint64_t earliest_ = TimerNode::kNever;  // no used bucket lies before this tick
  std::array<TimerNode*, kBuckets> heads_{};
  std::array<uint64_t, kBuckets / 64> used_{};  // a bit per bucket that is not empty
};

static_assert(TimerWheel::kBuckets % 64 == 0);

}  // namespace kyro
