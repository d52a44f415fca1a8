// A small hash table from key to a word, emptied in O(1): what a commit group has done so far.
//
// Open addressing, at most half full; a slot belongs to the current use of the table if it carries
// its generation. Memory is kept from use to use, so the committer allocates nothing in the long
// run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kyro {

class KeyTable {
 public:
  KeyTable() : slots_(64) {}

  // The word of `key`, or null.
  [[nodiscard]] const uint64_t* find(uint64_t key) const {
    const Slot& slot = slots_[locate(key)];
    return slot.generation == generation_ ? &slot.word : nullptr;
  }

  void put(uint64_t key, uint64_t word) {
    Slot* slot = &slots_[locate(key)];
    if (slot->generation != generation_) {
      if ((count_ + 1) * 2 > slots_.size()) {
        grow();
        slot = &slots_[locate(key)];
      }
      ++count_;
    }
    *slot = {key, word, generation_};
  }

  void clear() {
    ++generation_;
    count_ = 0;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint64_t word = 0;
    uint64_t generation = 0;
  };

  // The slot of `key`, or the free one where it belongs.
  [[nodiscard]] size_t locate(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t hash = key * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      if (slots_[i].generation != generation_ || slots_[i].key == key) return i;
    }
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.generation == generation_) slots_[locate(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  uint64_t generation_ = 1;
  size_t count_ = 0;
};

}  // namespace kyro
