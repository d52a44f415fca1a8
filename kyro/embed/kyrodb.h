// KyroDB for C, and for every language that can call C: a durable, ordered store of byte strings
// under 64-bit keys, in the process that opens it. Compiles as C11 and as C++.
//
//   kyrodb* db;
//   if (kyrodb_open("data", NULL, &db) != KYRODB_OK) { puts(kyrodb_error()); return 1; }
//   kyrodb_put(db, 123, "hello", 5, 0, NULL);           on the disk when it returns
//   kyrodb_close(db);
//
// Answers. A function that can fail returns one of kyrodb_code; KYRODB_OK is 0. What it writes
// through its out pointers holds only then, unless it says otherwise. An out pointer described as
// optional may be NULL, no other pointer may. kyrodb_error() has the reason in words.
// Versions. Each write takes the next offset, a number that only grows; it is the key's version.
// Lifetimes. `expiry_secs` is Unix time in seconds, 0 for never; an expired key is not there.
// Threads. A kyrodb may be used by any number of threads at once, and no read waits for a write. An
// options, batch, reader or iterator object belongs to one thread at a time.
// Ownership. Every create and open has its destroy or close, which take NULL too. Bytes that are
// passed in are copied or used up before the function returns. Readers and iterators are closed
// before their kyrodb.
// Processes. One process has a directory open at a time (else KYRODB_BUSY). Do not use a kyrodb
// in a child after fork(). Nothing throws; a process that has no memory left is ended by abort().
// The library has threads of its own and stays loaded after dlclose().
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define KYRODB_API __attribute__((visibility("default")))
#else
#define KYRODB_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kyrodb kyrodb;
typedef struct kyrodb_options kyrodb_options;
typedef struct kyrodb_batch kyrodb_batch;
typedef struct kyrodb_reader kyrodb_reader;
typedef struct kyrodb_iterator kyrodb_iterator;

typedef enum kyrodb_code {
  KYRODB_OK = 0,
  KYRODB_NOT_FOUND = 1,            // no such key; the end of an iteration
  KYRODB_INVALID = 2,              // an argument is wrong
  KYRODB_CORRUPTION = 3,           // bytes on the disk are not what was written
  KYRODB_IO_ERROR = 4,             // the operating system failed
  KYRODB_NO_SPACE = 5,             // the disk is full: heals when there is room again
  KYRODB_READ_ONLY = 6,            // after a failed write nothing is written until it is reopened
  KYRODB_PRECONDITION_FAILED = 7,  // a condition did not hold
  KYRODB_TOO_LARGE = 8,            // beyond a limit, or the caller's buffer
  KYRODB_EXISTS = 9,               // something of that name is there already
  KYRODB_GONE = 10,                // that part of the log is not there any more
  KYRODB_BUSY = 11,                // held by another process
  KYRODB_UNSUPPORTED = 12,         // a newer format
  KYRODB_LOG_UNREACHABLE = 13,     // of a log that several stores share; the library has none
  KYRODB_WRONG_SHARD = 14          // of a server that has a part of the keys; a store here has all
} kyrodb_code;

// A record that was read. `value` is where the function says, for as long as it says.
typedef struct kyrodb_record {
  uint64_t key;
  uint64_t offset;       // its version
  uint64_t expiry_secs;  // Unix time, 0: never
  const void* value;
  size_t value_bytes;
} kyrodb_record;

// ---- about the library ----

// Its version, such as "0.1.0". Static.
KYRODB_API const char* kyrodb_version(void);

// "not_found" for KYRODB_NOT_FOUND and so on; "unknown" for any other number. Static.
KYRODB_API const char* kyrodb_code_name(int code);

// Why the last call of this thread that failed did so, as "corruption: run-…: …". Belongs to the
// thread: valid until another call of it fails or it ends. "" if none has failed.
KYRODB_API const char* kyrodb_error(void);

// ---- opening ----

typedef enum kyrodb_fsync {
  KYRODB_FSYNC_ALWAYS = 0,    // a write is on the disk when it returns (the default)
  KYRODB_FSYNC_INTERVAL = 1,  // every fsync_interval_ms
  KYRODB_FSYNC_NEVER = 2      // when the operating system likes
} kyrodb_fsync;

// The defaults, which kyrodb_open(…, NULL, …) takes too.
KYRODB_API kyrodb_options* kyrodb_options_create(void);
KYRODB_API void kyrodb_options_destroy(kyrodb_options* options);

// Sets the option `name`: "fsync" to one of kyrodb_fsync, or a number of kyro/storage/options.h:
// "fsync_interval_ms", "delta_max_bytes", "snapshot_every_appends", "auto_snapshot_secs",
// "wal_segment_bytes", "wal_segments_max", "wal_bytes_max", "compact_interval_secs",
// "compact_when_wal_bytes", "scrub_interval_secs", "max_value_bytes", "max_batch_bytes",
// "reserve_bytes", "merge_fan_in". KYRODB_INVALID: no such name, or not such a number for it; a
// number that does not go with the others is refused by kyrodb_open().
KYRODB_API int kyrodb_options_set(kyrodb_options* options, const char* name, uint64_t value);

// Opens the store in `directory`, or makes one there. `options` is optional and copied.
// Fails with KYRODB_BUSY, KYRODB_CORRUPTION, KYRODB_UNSUPPORTED, KYRODB_IO_ERROR, KYRODB_INVALID.
KYRODB_API int kyrodb_open(const char* directory, const kyrodb_options* options, kyrodb** db);

// Seals the log and closes. No other call may be under way.
KYRODB_API void kyrodb_close(kyrodb* db);

// ---- writing ----
// All fail with KYRODB_TOO_LARGE, KYRODB_NO_SPACE, KYRODB_READ_ONLY, KYRODB_INVALID (an expiry too
// far). `offset` is optional and receives the new version. `value` may be NULL if it has no bytes.

KYRODB_API int kyrodb_put(kyrodb* db, uint64_t key, const void* value, size_t value_bytes,
                          uint64_t expiry_secs, uint64_t* offset);

// Puts if the key is not there, else KYRODB_PRECONDITION_FAILED; of several that race, one wins.
KYRODB_API int kyrodb_put_if_absent(kyrodb* db, uint64_t key, const void* value, size_t value_bytes,
                                    uint64_t expiry_secs, uint64_t* offset);

// Puts if the key's version is `version`, else KYRODB_PRECONDITION_FAILED: compare and swap.
KYRODB_API int kyrodb_put_if_version(kyrodb* db, uint64_t key, uint64_t version, const void* value,
                                     size_t value_bytes, uint64_t expiry_secs, uint64_t* offset);

// KYRODB_NOT_FOUND, and nothing is written, if the key is not there.
KYRODB_API int kyrodb_remove(kyrodb* db, uint64_t key, uint64_t* offset);

// KYRODB_PRECONDITION_FAILED if it is not there with that version.
KYRODB_API int kyrodb_remove_if_version(kyrodb* db, uint64_t key, uint64_t version,
                                        uint64_t* offset);

// ---- batches: several writes, all or none, if every condition holds ----

KYRODB_API kyrodb_batch* kyrodb_batch_create(void);
KYRODB_API void kyrodb_batch_destroy(kyrodb_batch* batch);

// Makes it empty, for the next use.
KYRODB_API void kyrodb_batch_clear(kyrodb_batch* batch);

// Copies the value. Of several writes of a key the last one counts.
KYRODB_API void kyrodb_batch_put(kyrodb_batch* batch, uint64_t key, const void* value,
                                 size_t value_bytes, uint64_t expiry_secs);

// A key that is not there is no error in a batch.
KYRODB_API void kyrodb_batch_remove(kyrodb_batch* batch, uint64_t key);

// Conditions, of whatever keys, on the state before the batch.
KYRODB_API void kyrodb_batch_require_exists(kyrodb_batch* batch, uint64_t key);
KYRODB_API void kyrodb_batch_require_absent(kyrodb_batch* batch, uint64_t key);
KYRODB_API void kyrodb_batch_require_version(kyrodb_batch* batch, uint64_t key, uint64_t version);

// Writes it, with consecutive offsets, of which `last_offset` (optional) receives the last.
// KYRODB_PRECONDITION_FAILED: a condition does not hold; KYRODB_INVALID: there is no write in it.
// The batch stays as it is.
KYRODB_API int kyrodb_write(kyrodb* db, const kyrodb_batch* batch, uint64_t* last_offset);

// ---- reading the newest ----
// All fail with KYRODB_NOT_FOUND where there is nothing and KYRODB_CORRUPTION where the record's
// checksum is wrong: a damaged value is never handed out.

// Copies the value into the caller's `buffer` of `room` bytes; record->value is that buffer.
// KYRODB_TOO_LARGE: it does not fit, nothing was copied and record->value is NULL; all else in
// `record` holds, value_bytes says what would have been enough. With no room `buffer` may be NULL.
KYRODB_API int kyrodb_get(kyrodb* db, uint64_t key, void* buffer, size_t room,
                          kyrodb_record* record);

// The nearest key that is not larger (floor) or not smaller (ceil); as kyrodb_get().
KYRODB_API int kyrodb_floor(kyrodb* db, uint64_t key, void* buffer, size_t room,
                            kyrodb_record* record);
KYRODB_API int kyrodb_ceil(kyrodb* db, uint64_t key, void* buffer, size_t room,
                           kyrodb_record* record);

// ---- reading as of one moment ----
// Nothing is copied: values lie in memory or in a mapped file. Whatever is written meanwhile does
// not show. What they read cannot be given back, so they should not be left open for days.

// Sees the store as it is now.
KYRODB_API kyrodb_reader* kyrodb_reader_open(kyrodb* db);
KYRODB_API void kyrodb_reader_close(kyrodb_reader* reader);

// record->value is never NULL, and valid until kyrodb_reader_close(). KYRODB_NOT_FOUND,
// KYRODB_CORRUPTION.
KYRODB_API int kyrodb_reader_get(kyrodb_reader* reader, uint64_t key, kyrodb_record* record);

// The same for `count` keys at once, into as many records: their memory accesses overlap, which is
// faster than one after the other. records[i].value is NULL where keys[i] is not there.
KYRODB_API int kyrodb_reader_get_many(kyrodb_reader* reader, const uint64_t* keys, size_t count,
                                      kyrodb_record* records);

// The records with keys in [first, last], ascending, or descending if `descending` is not 0; of the
// reader's moment, or of now. The iterator may outlive the reader.
KYRODB_API kyrodb_iterator* kyrodb_reader_iterate(kyrodb_reader* reader, uint64_t first,
                                                  uint64_t last, int descending);
KYRODB_API kyrodb_iterator* kyrodb_iterate(kyrodb* db, uint64_t first, uint64_t last,
                                           int descending);

// The next record; record->value is never NULL, and valid until kyrodb_iterator_close().
// KYRODB_NOT_FOUND after the last one. KYRODB_CORRUPTION: it has met damage, and stays there.
KYRODB_API int kyrodb_iterator_next(kyrodb_iterator* iterator, kyrodb_record* record);
KYRODB_API void kyrodb_iterator_close(kyrodb_iterator* iterator);

// ---- long work, done by the library's threads; these wait for its end ----

// Puts the newest writes into a run with a learned index, so that opening replays less of the log.
KYRODB_API int kyrodb_snapshot(kyrodb* db);

// Merges everything, and gives back the room of what was replaced, removed or has expired.
KYRODB_API int kyrodb_compact(kyrodb* db);

// Copies the store as of one moment into the new directory `directory`, while writes go on.
// KYRODB_EXISTS if it is there.
KYRODB_API int kyrodb_backup(kyrodb* db, const char* directory);

// ---- looking inside ----

// 32 hexadecimal digits that tell this store from every other; valid until kyrodb_close().
KYRODB_API const char* kyrodb_id(const kyrodb* db);

// The name of statistic i = 0, 1, 2, …, as in Statistics of kyro/embed/store.h; NULL after the
// last. Static.
KYRODB_API const char* kyrodb_statistic_name(size_t i);

// Its value now. KYRODB_INVALID: no such name.
KYRODB_API int kyrodb_statistic(kyrodb* db, const char* name, uint64_t* value);

#ifdef __cplusplus
}
#endif
