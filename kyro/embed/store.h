// A store in the process that opens it: what an embedding program calls.
//
//   auto db = kyro::Store::open({.data_dir = "data"});        // Result<Store>
//   db->put(123, "hello");                                    // durable on return
//   std::string value; db->get(123, &value);                  // ok, not_found, corruption, …
//
// Every write takes the next offset, a number that only grows; it is the version of its key. Errors
// are Status and Result (kyro/base/result.h), nothing throws.
//
// Thread rule: every function from any thread, also many at once; reads never wait for writes.
// Ownership: a Store owns its threads and files. Destroying it seals the log; nothing else may be
// under way then, and its readers and iterators are gone before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/result.h"
#include "kyro/embed/batch.h"
#include "kyro/embed/hidden.h"
#include "kyro/embed/reader.h"
#include "kyro/storage/options.h"

namespace kyro {

class Engine;
KYRO_API void destroy(Engine* engine) noexcept;

// A record that was copied out.
struct Record {
  uint64_t key = 0;
  uint64_t offset = 0;       // its version
  uint64_t expiry_secs = 0;  // Unix time, 0: never
  std::string value;
};

// Counted since it was opened, unless it says "now".
struct Statistics {
  uint64_t keys_estimate = 0;  // now; on the high side, exact after compact()
  uint64_t next_offset = 0;    // now
  uint64_t runs = 0;           // now
  uint64_t is_read_only = 0;   // now; 1 after a failed write, until it is opened again
  uint64_t disk_free_bytes = 0;
  uint64_t disk_size_bytes = 0;
  uint64_t appends = 0;  // puts
  uint64_t deletes = 0;
  uint64_t reads_from_delta = 0;  // found in memory
  uint64_t reads_from_runs = 0;   // found through a learned index
  uint64_t read_misses = 0;
  uint64_t fsyncs = 0;
  uint64_t snapshots = 0;
  uint64_t compactions = 0;
  uint64_t corruptions = 0;
  uint64_t log_written_bytes = 0;
  uint64_t run_written_bytes = 0;
  uint64_t compaction_written_bytes = 0;
};

class KYRO_API Store {
 public:
  // Opens or creates a store. Errors: kBusy (another process has it), kCorruption (refused, with
  // file and position), kUnsupported (a newer format), kIoError, kInvalid (options).
  [[nodiscard]] static Result<Store> open(Options options);

  // ---- writes: each returns its offset ----
  // `expiry_secs` is Unix time (0: never). Errors: kTooLarge, kNoSpace, kReadOnly, kInvalid.

  Result<uint64_t> put(uint64_t key, std::string_view value, uint64_t expiry_secs = 0);
  // The same if the key is not there, or is at this version, else kPreconditionFailed; of several
  // that race, one wins.
  Result<uint64_t> put_if_absent(uint64_t key, std::string_view value, uint64_t expiry_secs = 0);
  Result<uint64_t> put_if_version(uint64_t key, uint64_t offset, std::string_view value,
                                  uint64_t expiry_secs = 0);

  // kNotFound, and no offset is taken, if the key is not there.
  Result<uint64_t> remove(uint64_t key);
  Result<uint64_t> remove_if_version(uint64_t key, uint64_t offset);

  // All of a batch or none of it, with consecutive offsets, of which the last is returned.
  // kPreconditionFailed: a condition does not hold; kInvalid: there is no write in it.
  Result<uint64_t> write(const Batch& batch);

  // ---- reads ----
  // Errors: kNotFound; kCorruption, for a value whose checksum is wrong is never handed out.

  Status get(uint64_t key, std::string* value) const;
  // With its version and lifetime too.
  Status get(uint64_t key, Record* record) const;
  // Copies the value to `buffer`, where entry->value then lies. kTooLarge if it needs more than
  // `room` bytes: all but that is filled in, and nothing copied; entry->value has the size, and
  // must not be looked into.
  Status get(uint64_t key, char* buffer, size_t room, Entry* entry) const;

  // The key nearest to `key` that is not larger (floor) or not smaller (ceil).
  Status floor(uint64_t key, Record* record) const;
  Status ceil(uint64_t key, Record* record) const;

  // What reads as of now, however long it takes.
  [[nodiscard]] Reader reader() const;
  [[nodiscard]] Iterator iterate(const ScanRange& range = {}) const;

  // Calls visit(key, value, offset) for the records with keys in [first, last], ascending, as of
  // one moment, until it returns false.
  template <class Visit>
  Status scan(uint64_t first, uint64_t last, Visit visit) const {
    Iterator records = iterate({first, last});
    while (const Entry* entry = records.next()) {
      if (!visit(entry->key, entry->value, entry->offset)) return Status();
    }
    return records.status();
  }

  // ---- long work, done by threads of the store; these wait for its end ----

  // Puts the newest writes into a run with a learned index: opening then replays less of the log.
  Status snapshot();
  // Merges everything, and gives back the room of what was replaced, removed or has expired.
  Status compact();
  // Copies the store as of one moment into the new directory `to`, while writes go on. kExists.
  Status backup(const std::string& to);

  [[nodiscard]] Statistics statistics() const;
  // 32 hexadecimal digits that tell this store from every other.
  [[nodiscard]] const std::string& id() const;
  [[nodiscard]] const Options& options() const;

 private:
  explicit Store(Engine* engine) : engine_(engine) {}

  Hidden<Engine> engine_;
};

}  // namespace kyro
