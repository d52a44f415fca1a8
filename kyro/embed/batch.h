// Several writes as one: all of them or none.
//
//   kyro::Batch batch;
//   batch.require_absent(7).put(7, "seven").remove(8);
//   db.write(batch);
//
// Thread rule: one thread at a time. Ownership: a batch has copies of what is put into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kyro/embed/hidden.h"

namespace kyro {

struct BatchState;
KYRO_API void destroy(BatchState* state) noexcept;

class KYRO_API Batch {
 public:
  Batch();

  // Of several writes of a key the last one counts. `expiry_secs` is Unix time, 0 for never.
  Batch& put(uint64_t key, std::string_view value, uint64_t expiry_secs = 0);
  // A key that is not there is no error in a batch.
  Batch& remove(uint64_t key);

  // Conditions, of whatever keys, on the state before the batch; an expired key is absent.
  Batch& require_exists(uint64_t key);
  Batch& require_absent(uint64_t key);
  Batch& require_version(uint64_t key, uint64_t offset);

  // Makes it empty, and keeps its memory for the next use.
  void clear();
  [[nodiscard]] size_t writes() const;

 private:
  friend class Store;
  Hidden<BatchState> state_;
};

}  // namespace kyro
