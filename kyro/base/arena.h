// Memory that is handed out in pieces and given back all at once.
//
// Invariant: a piece never moves and lives as long as the arena; pieces are aligned to 8 bytes.
// Thread rule: one thread allocates; any thread may use the pieces; bytes_held() from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace kyro {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // `n` bytes, uninitialised, aligned to 8.
  [[nodiscard]] char* allocate(size_t n) {
    n = (n + 7) & ~size_t{7};
    if (n > left_) {
      // A large piece gets a block of its own, so that the rest of the current one is not lost.
      if (n > next_block_bytes_ / 4) return new_block(n);
      next_ = new_block(next_block_bytes_);
      left_ = next_block_bytes_;
      if (next_block_bytes_ < kBlockBytesMax) next_block_bytes_ *= 2;
    }
    char* piece = next_;
    next_ += n;
    left_ -= n;
    return piece;
  }

  // Bytes taken from the system.
  [[nodiscard]] uint64_t bytes_held() const { return held_bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kFirstBlockBytes = 16 << 10;
  static constexpr size_t kBlockBytesMax = 1 << 20;

  char* new_block(size_t block_bytes) {
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_bytes));
    held_bytes_.fetch_add(block_bytes, std::memory_order_relaxed);
    return blocks_.back().get();
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  std::atomic<uint64_t> held_bytes_{0};
  char* next_ = nullptr;
  size_t left_ = 0;
  size_t next_block_bytes_ = kFirstBlockBytes;  // doubles up to 1 MiB: an empty arena is small
};

}  // namespace kyro
