// The newest writes, in memory: found like in a hash table, walked in key order like in a list.
//
//   hash table   key -> node; open addressing, at most half full, replaced by one twice as large
//   skip list    the same nodes in key order (W. Pugh, 1990)
//   versions     of a key, newest first, each an encoded record (record.h) in the arena
//
// Invariants:
//   - insert-only: a node or version, once published, never changes but for its next pointers;
//   - offsets are inserted in ascending order, so a chain of versions descends in offset;
//   - a reader passes the offset bound it may see; versions at or above it do not exist for it.
//
// Cost: a point read is one cache miss for an absent key, three for a present one, none for a key
// outside the range of those that are here; an insert into sorted input is O(1), because the search
// starts from the last place, and one above all others needs no search. A replay, which nobody
// reads meanwhile, only collects: list and table are made at its end, from sorted keys.
//
// Thread rule: one writer (the committer, or recovery before it); readers take no lock, and hold
// the delta alive by an epoch pin or a reference.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/arena.h"
#include "kyro/base/random.h"
#include "kyro/storage/record.h"

namespace kyro {

class Delta {
 public:
  // Holds records with offsets from `first_offset` on, about so many keys.
  explicit Delta(uint64_t first_offset, uint64_t keys_expected = 0)
      : seed_(random_u64()),
        random_(seed_ | 1),
        first_offset_(first_offset),
        end_offset_(first_offset) {
    head_ = new_node(0, kMaxHeight);
    finger_.fill(head_);
    last_.fill(head_);
    make_table(capacity_for(keys_expected));
  }
  Delta(const Delta&) = delete;
  Delta& operator=(const Delta&) = delete;

  // Adds an encoded record whose offset is above every one inserted before.
  void insert(const RecordHeader& header, std::string_view record);

  // The same for a delta that nobody reads before finish_replay(), several times as fast.
  void replay(const RecordHeader& header, std::string_view record);

  // Makes what replay() has collected visible to find() and iterators.
  void finish_replay();

  // The newest version of `key` with an offset below `bound`: the start of its record bytes, or
  // null.
  [[nodiscard]] const char* find(uint64_t key, uint64_t bound) const {
    if (!is_in_range(key)) return nullptr;
    const Node* node = lookup(key);
    return node == nullptr ? nullptr : newest_below(node, bound);
  }

  // Fetches what find() reads first.
  void prefetch(uint64_t key) const {
    const Table* table = table_.load(std::memory_order_acquire);
    __builtin_prefetch(&table->slots[hash(key) & table->mask]);
  }

  // Walks keys in order.
  class Iterator;

  // How much a record of `record_bytes` may add to bytes().
  [[nodiscard]] static uint64_t cost_bytes(uint64_t record_bytes) {
    return record_bytes + sizeof(Version) + sizeof(Node) + 2 * sizeof(Node*) + 4 * sizeof(Slot);
  }

  // During a replay: what they may come to.
  [[nodiscard]] uint64_t bytes() const {
    return arena_.bytes_held() + table_bytes_.load(std::memory_order_relaxed) +
           replayed_.size() * (sizeof(Replayed) + cost_bytes(0));
  }
  [[nodiscard]] uint64_t keys() const { return keys_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool empty() const { return keys() == 0; }
  [[nodiscard]] uint64_t first_offset() const { return first_offset_; }
  // One above the newest offset inserted (first_offset() when empty).
  [[nodiscard]] uint64_t end_offset() const { return end_offset_.load(std::memory_order_acquire); }

 private:
  static constexpr size_t kMaxHeight = 12;
  static constexpr size_t kTableSlotsMin = 256;

  struct Version {
    Version* older;
    // record bytes follow
    [[nodiscard]] const char* record() const { return reinterpret_cast<const char*>(this + 1); }
    [[nodiscard]] uint64_t offset() const {
      return load_u64(record() + offsetof(RecordHeader, offset));
    }
  };
  struct Replayed {
    uint64_t key;
    Version* version;
  };
  struct Node {
    uint64_t key;
    std::atomic<Version*> newest;
    std::atomic<Node*> next[1];  // as many as the node is high
  };
  struct Slot {
    std::atomic<uint64_t> key;
    std::atomic<Node*> node;  // null: the slot is free
  };
  struct Table {
    explicit Table(size_t capacity) : mask(capacity - 1), slots(new Slot[capacity]()) {}
    size_t mask;
    std::unique_ptr<Slot[]> slots;
  };

  static const char* newest_below(const Node* node, uint64_t bound);

  // Multiply and fold with a seed nobody outside knows: keys chosen to collide do not.
  [[nodiscard]] size_t hash(uint64_t key) const;

  [[nodiscard]] Node* lookup(uint64_t key) const;

  static void place(Table& table, size_t hashed, uint64_t key, Node* node);

  void add_to_table(uint64_t key, Node* node);

  [[nodiscard]] static size_t capacity_for(uint64_t keys) {
    return std::max(kTableSlotsMin, std::bit_ceil(static_cast<size_t>(keys) * 2 + 2));
  }
  // Readers may be in an older table for as long as the delta lives; together they are no larger
  // than the newest.
  void grow_table() { make_table((tables_.back()->mask + 1) * 2); }
  void make_table(size_t capacity);

  // Whether `key` is between the first and the last one here. Of a key whose version a reader may
  // see this is known before the version is.
  [[nodiscard]] bool is_in_range(uint64_t key) const {
    return key >= key_min_.load(std::memory_order_relaxed) &&
           key <= key_max_.load(std::memory_order_relaxed);
  }
  void widen_range(uint64_t key) {
    if (key < key_min_.load(std::memory_order_relaxed)) {
      key_min_.store(key, std::memory_order_relaxed);
    }
    if (key > key_max_.load(std::memory_order_relaxed)) {
      key_max_.store(key, std::memory_order_relaxed);
    }
  }

  Version* new_version(std::string_view record);

  Node* new_node(uint64_t key, size_t height);

  // A quarter of the nodes of each level reach the next (xorshift64*, G. Marsaglia).
  size_t random_height();

  // Inserts an empty node for a key that is not there, visible to readers once it has a version:
  // newest_below() of it finds nothing until then.
  Node* link_node(uint64_t key);

  // The same for a key above all others.
  Node* append_node(uint64_t key);

  // The last node with a key below `key`, or the head.
  [[nodiscard]] const Node* last_below(uint64_t key) const;

  Arena arena_;
  const uint64_t seed_;
  uint64_t random_;
  const uint64_t first_offset_;
  std::atomic<uint64_t> end_offset_;
  Node* head_ = nullptr;
  std::array<Node*, kMaxHeight> finger_{};  // predecessors of the last insert, itself included
  std::array<Node*, kMaxHeight> last_{};    // of each level
  std::atomic<Table*> table_{nullptr};
  std::vector<std::unique_ptr<Table>> tables_;
  std::atomic<uint64_t> table_bytes_{0};
  std::atomic<uint64_t> keys_{0};
  std::atomic<uint64_t> key_min_{~uint64_t{0}};  // none is in the range of an empty one but this
  std::atomic<uint64_t> key_max_{0};
  std::vector<Replayed> replayed_;  // between replay() and finish_replay()
};

// Walks keys in order. Sees at least every key inserted before the call that moves it.
class Delta::Iterator {
 public:
  explicit Iterator(const Delta& delta) : delta_(&delta) {}
  [[nodiscard]] bool valid() const { return node_ != nullptr; }
  [[nodiscard]] uint64_t key() const { return node_->key; }
  // As Delta::find for the current key; null if every version is at or above `bound`.
  [[nodiscard]] const char* record(uint64_t bound) const { return newest_below(node_, bound); }
  // The same, but looks at no more than `versions` of them, and goes on there when asked again.
  // True once it is decided what *record is.
  [[nodiscard]] bool find(uint64_t bound, size_t versions, const char** record) {
    *record = nullptr;
    if (at_ == nullptr) at_ = node_->newest.load(std::memory_order_acquire);
    for (; at_ != nullptr && at_->offset() >= bound; at_ = at_->older) {
      if (versions-- == 0) return false;
    }
    if (at_ != nullptr) *record = at_->record();
    return true;
  }
  void seek_first() { stand_on(delta_->head_->next[0].load(std::memory_order_acquire)); }
  // The first key >= `key`.
  void seek(uint64_t key) {
    stand_on(delta_->last_below(key)->next[0].load(std::memory_order_acquire));
    // A smaller key may have been linked in since the search passed that place.
    while (node_ != nullptr && node_->key < key) next();
  }
  // The last key < `key`.
  void seek_below(uint64_t key) {
    const Node* below = delta_->last_below(key);
    stand_on(below == delta_->head_ ? nullptr : below);
  }
  // The last key <= `key`.
  void seek_floor(uint64_t key) {
    seek(key);
    if (node_ == nullptr || node_->key != key) seek_below(key);
  }
  void next() { stand_on(node_->next[0].load(std::memory_order_acquire)); }

 private:
  void stand_on(const Node* node) {
    node_ = node;
    at_ = nullptr;
  }

  const Delta* delta_;
  const Node* node_ = nullptr;
  const Version* at_ = nullptr;  // where find() goes on
};

// ---- writing ----

inline void Delta::insert(const RecordHeader& header, std::string_view record) {
  const bool is_last = header.key > key_max_.load(std::memory_order_relaxed) && !empty();
  Node* node = is_last ? nullptr : lookup(header.key);
  const bool is_new = node == nullptr;
  if (is_new) node = is_last ? append_node(header.key) : link_node(header.key);
  widen_range(header.key);
  Version* version = new_version(record);
  version->older = node->newest.load(std::memory_order_relaxed);
  node->newest.store(version, std::memory_order_release);
  if (is_new) add_to_table(header.key, node);
  end_offset_.store(header.offset + 1, std::memory_order_release);
}

inline void Delta::replay(const RecordHeader& header, std::string_view record) {
  if (!empty()) return insert(header, record);
  replayed_.push_back({header.key, new_version(record)});
  end_offset_.store(header.offset + 1, std::memory_order_release);
}

inline void Delta::finish_replay() {
  if (replayed_.empty()) return;
  std::sort(replayed_.begin(), replayed_.end(), [](const Replayed& a, const Replayed& b) {
    return a.key != b.key ? a.key < b.key : a.version->offset() < b.version->offset();
  });
  Node* node = nullptr;
  uint64_t count = 0;
  for (const Replayed& replayed : replayed_) {
    if (node == nullptr || node->key != replayed.key) {
      node = append_node(replayed.key);
      ++count;
    } else {  // only then is the version touched, which costs a cache miss
      replayed.version->older = node->newest.load(std::memory_order_relaxed);
    }
    node->newest.store(replayed.version, std::memory_order_relaxed);
  }
  widen_range(replayed_.front().key);
  widen_range(replayed_.back().key);
  std::vector<Replayed>().swap(replayed_);
  keys_.store(count, std::memory_order_relaxed);
  tables_.clear();
  table_bytes_.store(0, std::memory_order_relaxed);
  make_table(capacity_for(count));
}

// ---- finding ----

inline const char* Delta::newest_below(const Node* node, uint64_t bound) {
  const Version* version = node->newest.load(std::memory_order_acquire);
  for (; version != nullptr; version = version->older) {
    if (version->offset() < bound) return version->record();
  }
  return nullptr;
}

inline size_t Delta::hash(uint64_t key) const {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(key ^ seed_) * 0x9E3779B97F4A7C15u;
  return static_cast<size_t>(static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product));
}

inline Delta::Node* Delta::lookup(uint64_t key) const {
  const Table* table = table_.load(std::memory_order_acquire);
  for (size_t i = hash(key) & table->mask;; i = (i + 1) & table->mask) {
    Node* node = table->slots[i].node.load(std::memory_order_acquire);
    if (node == nullptr) return nullptr;
    if (table->slots[i].key.load(std::memory_order_relaxed) == key) return node;
  }
}

inline void Delta::place(Table& table, size_t hashed, uint64_t key, Node* node) {
  size_t i = hashed & table.mask;
  while (table.slots[i].node.load(std::memory_order_relaxed) != nullptr) i = (i + 1) & table.mask;
  table.slots[i].key.store(key, std::memory_order_relaxed);
  table.slots[i].node.store(node, std::memory_order_release);
}

inline void Delta::add_to_table(uint64_t key, Node* node) {
  const uint64_t count = keys_.load(std::memory_order_relaxed) + 1;
  keys_.store(count, std::memory_order_relaxed);
  if (count * 2 > tables_.back()->mask) {
    grow_table();  // the new table is filled from the list, the new node included
  } else {
    place(*tables_.back(), hash(key), key, node);
  }
}

inline void Delta::make_table(size_t capacity) {
  auto table = std::make_unique<Table>(capacity);
  for (Node* node = head_->next[0].load(std::memory_order_relaxed); node != nullptr;
       node = node->next[0].load(std::memory_order_relaxed)) {
    place(*table, hash(node->key), node->key, node);
  }
  table_bytes_.fetch_add(capacity * sizeof(Slot), std::memory_order_relaxed);
  table_.store(table.get(), std::memory_order_release);
  tables_.push_back(std::move(table));
}

inline Delta::Version* Delta::new_version(std::string_view record) {
  char* memory = arena_.allocate(sizeof(Version) + record.size());
  std::memcpy(memory + sizeof(Version), record.data(), record.size());
  return new (memory) Version{nullptr};
}

inline Delta::Node* Delta::new_node(uint64_t key, size_t height) {
  char* memory = arena_.allocate(sizeof(Node) + (height - 1) * sizeof(std::atomic<Node*>));
  auto* node = new (memory) Node{key, {nullptr}, {nullptr}};
  for (size_t i = 1; i < height; ++i) new (&node->next[i]) std::atomic<Node*>(nullptr);
  return node;
}

inline size_t Delta::random_height() {
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  const uint64_t bits = (random_ * 0x2545F4914F6CDD1Du) >> 32;
  const auto height = static_cast<size_t>(std::countr_one(bits | (~uint64_t{0} << 32))) / 2 + 1;
  return height < kMaxHeight ? height : kMaxHeight;
}

inline Delta::Node* Delta::link_node(uint64_t key) {
  const bool ascending = finger_[0] != head_ && key > finger_[0]->key;
  std::array<Node*, kMaxHeight> previous;
  Node* at = head_;
  for (size_t level = kMaxHeight; level-- > 0;) {
    Node* finger = finger_[level];
    if (ascending && finger != head_ && (at == head_ || finger->key > at->key)) at = finger;
    Node* next = at->next[level].load(std::memory_order_relaxed);
    while (next != nullptr && next->key < key) {
      at = next;
      next = at->next[level].load(std::memory_order_relaxed);
    }
    previous[level] = at;
  }
  const size_t height = random_height();
  Node* node = new_node(key, height);
  for (size_t level = 0; level < height; ++level) {
    node->next[level].store(previous[level]->next[level].load(std::memory_order_relaxed),
                            std::memory_order_relaxed);
    previous[level]->next[level].store(node, std::memory_order_release);
    if (previous[level] == last_[level]) last_[level] = node;
    previous[level] = node;
  }
  finger_ = previous;
  return node;
}

inline Delta::Node* Delta::append_node(uint64_t key) {
  const size_t height = random_height();
  Node* node = new_node(key, height);
  for (size_t level = 0; level < height; ++level) {
    last_[level]->next[level].store(node, std::memory_order_release);
    last_[level] = node;
  }
  finger_ = last_;
  return node;
}

inline const Delta::Node* Delta::last_below(uint64_t key) const {
  const Node* at = head_;
  for (size_t level = kMaxHeight; level-- > 0;) {
    const Node* next = at->next[level].load(std::memory_order_acquire);
    while (next != nullptr && next->key < key) {
      at = next;
      next = at->next[level].load(std::memory_order_acquire);
    }
  }
  return at;
}

}  // namespace kyro
