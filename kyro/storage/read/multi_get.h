// Many point reads at once, with the cache misses of neighbours overlapped at every stage.
//
// Keys are taken in chunks. A chunk goes through the deltas, then through the runs from the newest
// to the oldest, each asked for the keys that are still open (Run::find_batch). Then the records
// are fetched ahead, verified and handed out in the order of the keys.
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
#include "kyro/storage/read/lookup.h"

namespace kyro {

class MultiGet {
 public:
  static constexpr size_t kChunk = Run::kBatch;

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
  // Records fetched together. Apart from the work on them: a fetch that needs a page walk does not
  // retire before that is done, so only a loop of little else has many of them under way.
  static constexpr size_t kFetched = 32;

  static void prefetch(const Lookup& place) {
    if (!place.has_record()) return;
    __builtin_prefetch(place.record().data());
    __builtin_prefetch(place.record().data() + 64);
  }

  void find(std::span<const uint64_t> keys) {
    open_count_ = keys.size();
    for (size_t i = 0; i < keys.size(); ++i) {
      places_[i] = Lookup();
      open_[i] = static_cast<uint16_t>(i);
    }
    find_in_delta(moment_.view->active, keys);
    for (const auto& delta : moment_.view->frozen) find_in_delta(delta, keys);
    for (const auto& run : moment_.view->runs) {
      if (open_count_ == 0) break;
      find_in_run(run, keys);
    }
  }

  void find_in_delta(const std::shared_ptr<Delta>& delta, std::span<const uint64_t> keys) {
    if (delta->empty()) return;
    for (size_t i = 0; i < open_count_; ++i) delta->prefetch(keys[open_[i]]);
    keep_open([&](size_t i) {
      const char* record = delta->find(keys[i], moment_.bound);
      if (record == nullptr) return true;
      places_[i] = {RecordRef(record), delta};
      return false;
    });
  }

  void find_in_run(const std::shared_ptr<Run>& run, std::span<const uint64_t> keys) {
    size_t asked = 0;
    for (size_t i = 0; i < open_count_; ++i) {
      if (run->may_hold(keys[open_[i]])) asked_[asked++] = keys[open_[i]];
    }
    if (asked == 0) return;
    run->find_batch(asked_.data(), asked, results_.data());
    size_t next = 0;
    keep_open([&](size_t i) {
      if (!run->may_hold(keys[i])) return true;
      places_[i] = lookup_of(run, results_[next++]);
      return places_[i].source() == Source::kNone;
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
      const Lookup& place = places_[i];
      const Source source = place.source();
      if (source == Source::kDamaged) return damaged_record(*place.run());
      if (source == Source::kRun && !place.run()->is_valid(place.record(), keys[i])) {
        return damaged_record(*place.run());
      }
      *more = visit(first + i, place);
    }
    return Status();
  }

  const Moment& moment_;
  std::array<Lookup, kChunk> places_;  // a run's record is not verified yet
  std::array<uint16_t, kChunk> open_;  // indices of keys without a place yet, ascending
  size_t open_count_ = 0;
  std::array<uint64_t, kChunk> asked_;
  std::array<RunFound, kChunk> results_;
};

}  // namespace kyro
