// What the engine asks of a log that several stores write to: the one interface between them.
//
// Such a log is a row of groups of records, each at its first offset. A store that has applied all
// groups below an offset N may append one at N; if another store was faster it gets that one's
// group instead, applies it, decides its own requests anew and tries behind it. So every store
// holds the same records under the same offsets, and whoever is ahead is only ahead.
//
// In the log an expiry is Unix time; a store's own records carry its store's time
// (lifetime_clock.h).
//
// Errors of all calls: kLogUnreachable (for an append: nobody knows whether the group got there, or
// will), kNoSpace (the log is full) and kTooLarge (it takes no entries of that size): the group is
// not there and will not be.
//
// Thread rule: database() by the opening thread; the rest one thread at a time, the holder of the
// writer's role. The calls but pace_ns() may take as long as a network does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/crc32c.h"
#include "kyro/base/limits.h"
#include "kyro/base/status.h"
#include "kyro/storage/record.h"

namespace kyro {

// What one group gathers at most, and what the records of one request may take: by what the log
// accepts as an entry.
inline constexpr uint64_t kSharedGroupBytesMax = 256 * kKiB;
inline constexpr uint64_t kSharedValuesBytesMax = 1 * kMiB;
inline constexpr uint64_t kSharedRequestBytesMax = 1 * kMiB + 256 * kKiB;

// A group as it lies in the log.
struct SharedGroup {
  uint64_t first_offset = 0;
  uint32_t records = 0;
  uint64_t position = 0;  // how many bytes the log has had before it, and with it
  uint64_t end_position = 0;
  uint32_t previous_crc = 0;  // of the group before it: the chain
  uint32_t crc = 0;
  std::string_view body;  // valid records, numbered from first_offset without a hole

  [[nodiscard]] uint64_t end_offset() const { return first_offset + records; }
};

class SharedLog {
 public:
  virtual ~SharedLog() = default;

  // The id of the database: the opening store's `own`, of which nothing is asked; or, where that is
  // empty since the store is new, the log's, which is begun where there is none.
  [[nodiscard]] virtual Result<std::string> database(const std::string& own) = 0;

  // Appends the records of `body`. Nothing: they are in the log. Else what lies at `first_offset`
  // already, valid until the next call.
  [[nodiscard]] virtual Result<std::optional<SharedGroup>> append(uint64_t first_offset,
                                                                  uint32_t records,
                                                                  std::string_view body) = 0;

  // Asks whether the log ends at `end`, as of now. Else what lies there, as in append().
  [[nodiscard]] virtual Result<std::optional<SharedGroup>> confirm(uint64_t end) = 0;

  // The time that an append of so many bytes should take for the sake of the log's own room; 0: as
  // little as it can.
  [[nodiscard]] virtual uint64_t pace_ns(uint64_t bytes) const = 0;

  // A group is about to be applied; the error if it does not follow what was applied before.
  [[nodiscard]] virtual Status follow(const SharedGroup& group) = 0;
};

// Gives every expiry in `body`, which holds valid records, the value expiry(secs).
template <class Expiry>
void move_expiries(std::string* body, Expiry expiry) {
  for (size_t at = 0; at < body->size();) {
    char* const record = body->data() + at;
    auto header = load<RecordHeader>(record);
    if (header.expiry_secs() != 0) {
      header.meta = make_meta(header.type(), expiry(header.expiry_secs()));
      header.crc = record_crc(header, crc32c({record + kRecordHeaderBytes, header.value_bytes}));
      store(record, header);
    }
    at += static_cast<size_t>(header.record_bytes());
  }
}

}  // namespace kyro
