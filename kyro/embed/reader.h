// Reading as of one moment: many keys, or all in order. No later write, delete or expiry shows.
//
//   kyro::Iterator records = db.iterate({.first = 10, .last = 99});
//   while (const kyro::Entry* entry = records.next()) …
//   if (!records.status().ok()) …                           // it ended at damage, not at the end
//
// Values are not copied: they lie in memory or in a mapped file, verified when they were read, and
// stay valid as long as the Reader or Iterator. It keeps its place on the disk and in memory from
// being given back, so it should not be left open for days.
//
// Thread rule: one thread at a time; any number of them side by side. Ownership: to be destroyed
// before its Store.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kyro/base/result.h"
#include "kyro/embed/hidden.h"
#include "kyro/storage/read/scan_range.h"

namespace kyro {

// A record where it lies.
struct Entry {
  uint64_t key = 0;
  uint64_t offset = 0;       // its version
  uint64_t expiry_secs = 0;  // Unix time, 0: never
  std::string_view value;
  bool is_found = false;  // else there is no such key, and the rest says nothing
};

struct IteratorState;
KYRO_API void destroy(IteratorState* state) noexcept;
struct ReaderState;
KYRO_API void destroy(ReaderState* state) noexcept;

class KYRO_API Iterator {
 public:
  // The next record; null after the last one, and after damage.
  [[nodiscard]] const Entry* next() { return next_ != end_ ? next_++ : next_slice(); }
  // Whether it could read so far; kCorruption.
  [[nodiscard]] Status status() const;

 private:
  friend class Store;
  friend class Reader;
  explicit Iterator(IteratorState* state) : state_(state) {}
  const Entry* next_slice();

  Hidden<IteratorState> state_;
  const Entry* next_ = nullptr;  // of the slice that was read ahead
  const Entry* end_ = nullptr;
};

class KYRO_API Reader {
 public:
  // Errors: kNotFound, kCorruption.
  Status get(uint64_t key, Entry* entry) const;

  // Fills entries[i] for keys[i]; there are as many. Their cache misses overlap, which is faster
  // than one after the other. kCorruption at the first damaged record.
  Status get(std::span<const uint64_t> keys, std::span<Entry> entries) const;

  // The records of the range, ascending or descending. The iterator may outlive the reader.
  [[nodiscard]] Iterator iterate(const ScanRange& range = {}) const;

 private:
  friend class Store;
  explicit Reader(ReaderState* state) : state_(state) {}

  Hidden<ReaderState> state_;
};

}  // namespace kyro
