// ByteSink: where a streaming writer puts its bytes, append-only.
//
// Lets the index builder write a file without knowing of files. Thread rule and ownership: the
// implementation's; a sink is used by one writer at a time.
#pragma once

#include <cstddef>

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

}  // namespace kyro
