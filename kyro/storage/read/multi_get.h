// Many point reads at once, with the cache misses of neighbours overlapped at every stage.
//
// Keys are taken in chunks. A chunk goes through the deltas, then through the runs from the newest
// to the oldest, each asked for the keys that are still open (RmiIndex::find_batch); an entry in
// the index settles a key, whatever the record says. Then the records are fetched ahead, verified
// and handed out in the order of the keys.
//
// Thread rule: any thread; the caller keeps the view alive. Memory: one chunk on the stack.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kyro/base/status.h"
#include "kyro/storage/view.h"

namespace kyro {

class MultiGet {
 public:
  static constexpr size_t kChunk = 256;

  explicit MultiGet(const Moment& moment) : moment_(moment) {}

  // Brings what a read of each of the keys will look at into the caches. At most kChunk keys.
  void fetch(std::span<const uint64_t> keys) {
    KYRO_CHECK(keys.size() <= kChunk);
    find(keys);
    for (size_t i = 0; i < keys.size(); ++i) prefetch(places_[i]);
  }

  // Calls visit(i, found) for the newest version of each keys[i], i ascending, until it returns
  // false; found.source() is kNone where there is none. kCorruption at the first damaged record.
  template <class Visit>
  Status run(std::span<const uint64_t> keys, Visit visit) {
    for (size_t begin = 0; begin < keys.size(); begin += kChunk) {
      const auto chunk = keys.subspan(begin, std::min(kChunk, keys.size() - begin));
      find(chunk);
      bool more = true;
      KYRO_TRY(deliver(chunk, begin, visit, &more));
      if (!more) break;
    }
    return Status();
  }

 private:
  // Where the newest version of a key is: in a delta, in a run, or nowhere.
  struct Place {
    const char* record;               // its first byte; null if there is none, or is damaged
    const std::shared_ptr<Run>* run;  // null: in a delta
    uint64_t position;                // in the run
  };
  // Records fetched together. Apart from the work on them: a fetch that needs a page walk does not
  // retire before that is done, so only a loop of little else has many of them under way.
  static constexpr size_t kFetched = 32;

  static void prefetch(const Place& place) {
    if (place.record == nullptr) return;
    __builtin_prefetch(place.record);
    __builtin_prefetch(place.record + 64);
  }

  void find(std::span<const uint64_t> keys) {
    open_count_ = keys.size();
    for (size_t i = 0; i < keys.size(); ++i) {
      places_[i] = Place{};
      open_[i] = static_cast<uint16_t>(i);
    }
    find_in_delta(*moment_.view->active, keys);
    for (const auto& delta : moment_.view->frozen) find_in_delta(*delta, keys);
    for (const auto& run : moment_.view->runs) {
      if (open_count_ == 0) break;
      find_in_run(run, keys);
    }
  }

  void find_in_delta(const Delta& delta, std::span<const uint64_t> keys) {
    if (delta.empty()) return;
    for (size_t i = 0; i < open_count_; ++i) delta.prefetch(keys[open_[i]]);
    keep_open([&](size_t i) {
      places_[i].record = delta.find(keys[i], moment_.bound);
      return places_[i].record == nullptr;
    });
  }

  void find_in_run(const std::shared_ptr<Run>& run, std::span<const uint64_t> keys) {
    size_t asked = 0;
    for (size_t i = 0; i < open_count_; ++i) {
      if (run->may_hold(keys[open_[i]])) asked_[asked++] = keys[open_[i]];
    }
    if (asked == 0) return;
    run->index().find_batch(asked_.data(), asked, results_.data());
    size_t next = 0;
    keep_open([&](size_t i) {
      if (!run->may_hold(keys[i])) return true;
      Place& place = places_[i];
      const Run::Find answer = run->position_of(results_[next++], &place.position);
      if (answer == Run::Find::kMiss) return true;
      place.run = &run;
      if (answer == Run::Find::kHit) place.record = run->address_of(place.position);
      return false;
    });
  }

  // Drops the open keys for which is_open(i) is false.
  template <class IsOpen>
  void keep_open(const IsOpen& is_open) {
    size_t kept = 0;
    for (size_t i = 0; i < open_count_; ++i) {
      const uint16_t which = open_[i];
      if (is_open(which)) open_[kept++] = which;
    }
    open_count_ = kept;
  }

  template <class Visit>
  Status deliver(std::span<const uint64_t> keys, size_t first, Visit& visit, bool* more) {
    for (size_t i = 0; i < keys.size() && *more; ++i) {
      if (i % kFetched == 0) {
        for (size_t j = i; j < std::min(i + kFetched, keys.size()); ++j) {
          prefetch(places_[j]);
        }
      }
      const Place& place = places_[i];
      Found found;
      if (place.run != nullptr) {
        const Run& run = **place.run;
        if (place.record != nullptr) found = {run.get_at(place.position, keys[i]), place.run};
        if (found.record.is_null()) return damaged_record(run);
      } else if (place.record != nullptr) {
        found.record = RecordRef(place.record);
      }
      *more = visit(first + i, found);
    }
    return Status();
  }

  const Moment& moment_;
  std::array<Place, kChunk> places_;
  std::array<uint16_t, kChunk> open_;  // indices of keys without a place yet, ascending
  size_t open_count_ = 0;
  std::array<uint64_t, kChunk> asked_;
  std::array<FindResult, kChunk> results_;
};

}  // namespace kyro
