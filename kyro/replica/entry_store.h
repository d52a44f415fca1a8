// Where the entries of a shared log lie: what is asked of etcd, or of the tests' stand-in for it.
//
// It is a small map from offsets to entries, and a head. What it must promise:
//   - create() is atomic, and one order of all calls exists that every caller sees;
//   - what create() has answered stays, whatever machines fail;
//   - look() and read() see everything that any create() has answered before they began.
// It need not deliver exactly once: a call without an answer may have happened, may happen later,
// and may happen twice. The comparison with the head makes all of that harmless.
//
// Errors: kLogUnreachable: no answer, or none that makes sense, or a refusal that somebody may take
// back (the message says which); kNoSpace, kTooLarge: refused, nothing happened.
//
// Thread rule: one thread at a time. A call ends, with or without an answer, within seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/status.h"

namespace kyro {

class EntryStore {
 public:
  // Both of the same moment.
  struct Found {
    std::optional<std::string> entry;  // what lies at the offset asked for
    std::optional<std::string> head;
  };
  struct Entry {
    uint64_t offset = 0;
    std::string bytes;
  };

  virtual ~EntryStore() = default;

  // Where the head is `before` and nothing lies at `offset`: puts `entry` there and makes the head
  // `after`, and answers nothing. Else changes nothing, and says what there is.
  [[nodiscard]] virtual Result<std::optional<Found>> create(uint64_t offset, std::string_view entry,
                                                            std::string_view before,
                                                            std::string_view after) = 0;
  [[nodiscard]] virtual Result<Found> look(uint64_t offset) = 0;
  // Makes the head where there is none; else does nothing.
  virtual Status create_head(std::string_view head) = 0;
  // The first entries at or above `from`, at most `count`, in order.
  [[nodiscard]] virtual Result<std::vector<Entry>> read(uint64_t from, uint32_t count) = 0;
};

}  // namespace kyro
