// ByteSink: where a streaming writer puts its bytes, append-only; VectorSink: one in memory.
//
// Lets the index builder write a file without knowing of files. Thread rule and ownership: the
// implementation's; a sink is used by one writer at a time.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "kyro/base/status.h"

namespace kyro {

class ByteSink {
 public:
  ByteSink() = default;
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;
  virtual ~ByteSink() = default;

  // Appends all `n` bytes or fails; after a failure the content is undefined and the writer stops.
  virtual Status append(const void* data, size_t n) = 0;
};

// Keeps everything, at an address that suits every type, as RmiIndex::open() wants it.
class VectorSink final : public ByteSink {
 public:
  Status append(const void* data, size_t n) override {
    const auto* from = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), from, from + n);
    return Status();
  }
  // Valid until the next append().
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  // Hands them over, to be changed for example.
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace kyro
