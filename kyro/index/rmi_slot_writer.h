// SlotWriter: the slots of an index on their way out, one block in memory.
//
// Thread rule: one thread's. Ownership: borrows the sink.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kyro/base/byte_sink.h"
#include "kyro/base/crc32c.h"
#include "kyro/index/rmi_file.h"

namespace kyro::rmi_builder_detail {

// Collects slots into blocks of 64 KiB; a full block gets its CRC and goes to the sink.
class SlotWriter {
 public:
  explicit SlotWriter(ByteSink& sink)
      : sink_(sink), block_(std::make_unique<IndexEntry[]>(kRmiBlockSlots)) {}

  // Repeats `entry` until `end` slots are written in all.
  Status fill_to(uint64_t end, const IndexEntry& entry) {
    while (written_ < end) {
      block_[used_++] = entry;
      ++written_;
      if (used_ == kRmiBlockSlots) KYRO_TRY(flush());
    }
    return Status();
  }
  Status flush() {
    if (used_ == 0) return Status();
    const size_t n = used_ * sizeof(IndexEntry);
    crcs_.push_back(crc32c(block_.get(), n));
    used_ = 0;
    return sink_.append(block_.get(), n);
  }
  [[nodiscard]] uint64_t written() const { return written_; }
  [[nodiscard]] std::vector<uint32_t>& crcs() { return crcs_; }

 private:
  ByteSink& sink_;
  std::unique_ptr<IndexEntry[]> block_;
  size_t used_ = 0;
  uint64_t written_ = 0;
  std::vector<uint32_t> crcs_;
};

}  // namespace kyro::rmi_builder_detail
