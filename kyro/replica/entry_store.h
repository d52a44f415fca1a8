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
// Thread rule: one thread at a time, but wake() from any. A call ends, with or without an answer,
// within seconds, but for wait().
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
  // What holds the entries, as a whole, with all that is not this log's.
  struct Usage {
    uint64_t used_bytes = 0;   // cannot be used for anything else
    uint64_t file_bytes = 0;   // what it occupies; never less for as long as nobody defragments
    uint64_t quota_bytes = 0;  // where it takes no more; 0: it does not say
    bool is_full = false;      // it has said so, and takes nothing until somebody heals it
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
  // The first entries at or above `from`, at most `count`, in order. kTooLarge: fewer, please.
  [[nodiscard]] virtual Result<std::vector<Entry>> read(uint64_t from, uint32_t count) = 0;
  // Removes the entries below an offset, all at once: so the caller sees to it that they are few.
  virtual Status erase(uint64_t below) = 0;
  [[nodiscard]] virtual Result<Usage> usage() = 0;

  // Sleeps until a head has been made that the last wait() has not told of: that head. Or until the
  // time is over, wake() was called since the last wait(), or it is not known whether one was made:
  // nothing. No head is missed by whoever looks again after every "nothing".
  [[nodiscard]] virtual std::optional<std::string> wait(uint64_t timeout_ms) = 0;
  virtual void wake() = 0;
};

}  // namespace kyro
