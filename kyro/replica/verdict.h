// What lies at an offset of the shared log, judged by a store that has applied everything below it.
//
//   an entry                          the next group to apply
//   none, and the head is there       the log ends here
//   none, and the head is above       trimmed: what comes next is gone (kGone)
//   none, and the head is below       the log has lost what this store has (kExists)
//   no head                           no log, or not any more (kNotFound)
//   another database's                kInvalid
//   an unknown version, damage        kUnsupported, kCorruption
//
// All of the errors are final: going on would skip something, or apply what never belonged here.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kyro/base/status.h"
#include "kyro/replica/entry.h"
#include "kyro/replica/entry_store.h"

namespace kyro {

// Whether a head belongs to this database; *head is it.
[[nodiscard]] inline Status check_head(const std::optional<std::string>& text,
                                       const std::string& database, LogHead* head) {
  if (!text) {
    return Status(Code::kNotFound, "the shared log is not there");
  }
  auto decoded = decode_head(*text);
  KYRO_TRY(decoded);
  *head = std::move(*decoded);
  if (head->database == database) return Status();
  return Status(Code::kInvalid,
                "the shared log is of database " + head->database + ", this store of " + database);
}

// The group at `offset`, which points into `found`; or nothing where the log ends, at *head.
[[nodiscard]] inline Result<std::optional<SharedGroup>> judge(const EntryStore::Found& found,
                                                              uint64_t offset,
                                                              const std::string& database,
                                                              LogHead* head) {
  KYRO_TRY(check_head(found.head, database, head));
  const auto positions = [&] {
    return " (this store's next offset is " + std::to_string(offset) + ", the log ends at " +
           std::to_string(head->end) + ")";
  };
  if (head->end < offset) {
    return Status(Code::kExists,
                  "the shared log has lost entries that this store has" + positions());
  }
  if (found.entry) {
    auto group = decode_entry(*found.entry, offset, database);
    KYRO_TRY(group);
    return std::optional(*group);
  }
  if (head->end == offset) return std::optional<SharedGroup>();
  return Status(Code::kGone, "the shared log was trimmed beyond this store" + positions());
}

}  // namespace kyro
