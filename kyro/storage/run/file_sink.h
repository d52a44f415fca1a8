// A file that grows at its end, written through a buffer of bounded size.
//
// Thread rule: one thread per sink. Ownership: the sink owns its file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kyro/base/byte_sink.h"
#include "kyro/storage/fs/file.h"

namespace kyro {

// Appends to a file through a buffer of bounded size.
class FileSink final : public ByteSink {
 public:
  // A file that will be synced is carried to the disk piece by piece while it grows; one that is
  // removed again should never get there.
  enum class Use : uint8_t { kKept, kTemporary };

  FileSink(std::unique_ptr<File> file, Use use) : file_(std::move(file)), use_(use) {}
  Status append(const void* data, size_t n) override {
    buffer_.append(static_cast<const char*>(data), n);
    return buffer_.size() < kBufferBytes ? Status() : flush();
  }
  Status flush() {
    KYRO_TRY(file_->write_at(position_, buffer_));
    position_ += buffer_.size();
    buffer_.clear();
    if (use_ == Use::kTemporary || position_ - carried_ < kWriteBackBytes) return Status();
    KYRO_TRY(file_->write_back(carried_, position_));
    carried_ = position_;
    return Status();
  }
  // Bytes appended so far, buffered ones included.
  [[nodiscard]] uint64_t size() const { return position_ + buffer_.size(); }
  [[nodiscard]] File& file() { return *file_; }

 private:
  static constexpr size_t kBufferBytes = 256 << 10;
  static constexpr uint64_t kWriteBackBytes = 4 << 20;
  std::unique_ptr<File> file_;
  const Use use_;
  std::string buffer_;
  uint64_t position_ = 0;
  uint64_t carried_ = 0;  // on its way to the disk
};

}  // namespace kyro
