// The pages of a mapped run, looked up by number and key.
//
// What page.h and run_filter.h promise, put together: a record that is found is verified, and "not
// here" is proved. Which page may hold a key, the index knows (run.h).
//
// Thread rule: any number of readers once it is opened. Ownership: points into the caller's
// mappings.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kyro/index/rmi_find.h"
#include "kyro/storage/record.h"
#include "kyro/storage/run/page.h"
#include "kyro/storage/run/run_filter.h"
#include "kyro/storage/run/run_format.h"

namespace kyro {

// What a run says of a key: kHit and its record; kCorrupt: where it should be is damaged.
struct RunFound {
  RecordRef record;
  FindCode code = FindCode::kMiss;
};

class RunPages {
 public:
  // `file`: all of the run's data.
  void open(const char* file, uint64_t run_id, const RunBody& body) {
    begin_ = file + body.page_begin(0);
    run_id_ = run_id;
    large_begin_ = file + body.large_begin();
    large_bytes_ = body.large_bytes;
  }
  void set_filter(RunFilter filter) { filter_ = filter; }

  [[nodiscard]] PageView page(uint64_t number) const {
    return PageView(begin_ + number * kPageBytes);
  }
  [[nodiscard]] bool is_sound(uint64_t number) const {
    return page(number).is_sound(page_seed(run_id_, number));
  }

  // The record of `key` if it is in page `number`, verified.
  [[nodiscard]] RunFound find(uint64_t number, uint64_t key) const;

  // The same for n keys whose pages the index has given, with the cache misses of neighbours
  // overlapped. What the index says of a key without a page stays; a hit's record is only where it
  // should be, and is_valid() has the last word.
  void find_batch(const uint64_t* keys, size_t n, const FindResult* at, RunFound* out) const;
  [[nodiscard]] bool is_valid(RecordRef place, uint64_t key) const {
    return check(place) == RecordCheck::kOk && place.key() == key;
  }

  // The record of an entry of a page, verified; null where there is none.
  [[nodiscard]] RecordRef record_of(PageView page, uint32_t place) const {
    if (PageView::is_stub(place)) return large_at(page.stub_at(place));
    const bool is_good = PageView::is_record(place) && page.check_at(place) == RecordCheck::kOk;
    return is_good ? page.record_at(place) : RecordRef();
  }

  [[nodiscard]] const RunFilter& filter() const { return filter_; }
  // A block of the filter was not what was written.
  [[nodiscard]] bool filter_is_damaged() const {
    return filter_is_damaged_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr int kFilterCredit = 8;

  // The filter is asked while lookups miss: those that hit pay for it with a cache line more. A
  // miss gives credit, of which one hit in 256 takes a unit.
  [[nodiscard]] bool asks_filter() const {
    return filter_credit_.load(std::memory_order_relaxed) > 0;
  }
  void note_miss() const {
    if (filter_credit_.load(std::memory_order_relaxed) == kFilterCredit) return;
    filter_credit_.store(kFilterCredit, std::memory_order_relaxed);
  }
  void note_hit(uint8_t fingerprint) const {
    if (fingerprint != 0) [[likely]]
      return;
    const int credit = filter_credit_.load(std::memory_order_relaxed);
    if (credit > 0) filter_credit_.store(credit - 1, std::memory_order_relaxed);
  }

  // A record has to end with its page, a large one with the large ones.
  [[nodiscard]] RecordCheck check(RecordRef record) const {
    const auto place = static_cast<uint64_t>(record.data() - begin_);
    const auto large = static_cast<uint64_t>(record.data() - large_begin_);
    return check_record(record.data(), record.data() < large_begin_
                                           ? kPageBytes - place % kPageBytes
                                           : large_bytes_ - large);
  }
  [[nodiscard]] RecordRef large_at(PageView::Stub stub) const {
    if (stub.place >= large_bytes_) return {};
    const RecordRef record(large_begin_ + stub.place);
    return is_valid(record, stub.key) ? record : RecordRef();
  }

  // Where the first record with the key's fingerprint should be, already being fetched; null if no
  // such is in the page itself.
  [[nodiscard]] static RecordRef locate(PageView page, uint64_t key) {
    const size_t entry = page.first_match(page.fingerprint_of(key));
    const uint32_t place = entry < page.count() ? page.place_of(entry) : PageView::kStubFlag;
    if (!PageView::is_record(place)) [[unlikely]]
      return {};
    const RecordRef record = page.record_at(place);
    __builtin_prefetch(record.data());
    __builtin_prefetch(record.data() + 64);
    return record;
  }
  [[nodiscard]] bool is_filtered(uint64_t number, uint64_t key) const;
  [[nodiscard]] RunFound search(uint64_t number, uint64_t key) const;

  const char* begin_ = nullptr;  // of the first page
  RunFilter filter_;
  mutable std::atomic<int> filter_credit_{kFilterCredit};
  mutable std::atomic<bool> filter_is_damaged_{false};
  uint64_t run_id_ = 0;
  const char* large_begin_ = nullptr;
  uint64_t large_bytes_ = 0;
};

// The way to a record is kept short and without branches that go wrong: the fewer instructions a
// lookup has, the more its misses overlap with those of the next.
inline RunFound RunPages::find(uint64_t number, uint64_t key) const {
  if (asks_filter() && is_filtered(number, key)) return {};
  const PageView at = page(number);
  const uint8_t fingerprint = at.fingerprint_of(key);
  const size_t entry = at.first_match(fingerprint);
  if (entry < at.count()) [[likely]] {
    const uint32_t place = at.place_of(entry);
    if (PageView::is_record(place) && at.record_at(place).key() == key) [[likely]] {
      note_hit(fingerprint);
      if (at.check_at(place) == RecordCheck::kOk) [[likely]]
        return {at.record_at(place), FindCode::kHit};
      return {{}, FindCode::kCorrupt};
    }
  }
  return search(number, key);
}

// Whether the filter says "not here" and is to be believed.
[[gnu::noinline]] inline bool RunPages::is_filtered(uint64_t number, uint64_t key) const {
  if (filter_.may_hold(number, key)) return false;
  const bool is_sound = filter_.is_sound(number, page_seed(run_id_, number));
  if (is_sound) {
    note_miss();
  } else {
    filter_is_damaged_.store(true, std::memory_order_relaxed);
  }
  return is_sound;
}

// Looks at every record with the key's fingerprint, and says "not here" only if all that led there
// is proved right. A damaged record stands in the way of no other.
[[gnu::noinline]] inline RunFound RunPages::search(uint64_t number, uint64_t key) const {
  const PageView at = page(number);
  const uint8_t fingerprint = at.fingerprint_of(key);
  bool is_damaged = false;
  for (size_t first = 0; first < at.count(); first += 64) {
    for (uint64_t bits = at.matches(fingerprint, first); bits != 0; bits &= bits - 1) {
      const uint32_t place = at.place_of(first + static_cast<size_t>(std::countr_zero(bits)));
      if (PageView::is_stub(place) && at.stub_at(place).key != key) continue;
      const RecordRef record = record_of(at, place);
      if (!record.is_null() && record.key() == key) return {record, FindCode::kHit};
      is_damaged = is_damaged || record.is_null();
    }
  }
  if (is_damaged || !is_sound(number)) return {{}, FindCode::kCorrupt};
  note_miss();
  return {};
}

// Three steps, taken with one group of keys each in turn, so that what a step has begun to fetch
// has time to come: the filter, if it is worth while, and the directory; where it says the record
// is; whether that is so.
inline void RunPages::find_batch(const uint64_t* keys, size_t n, const FindResult* at,
                                 RunFound* out) const {
  constexpr size_t kGroup = 16;
  const bool asks = asks_filter();
  for (size_t step = 0; step < n + 2 * kGroup; step += kGroup) {
    for (size_t i = step; i < std::min(step + kGroup, n); ++i) {
      out[i] = {{}, at[i].code};
      if (at[i].code != FindCode::kHit) continue;
      __builtin_prefetch(page(at[i].position).data());
      if (asks) filter_.prefetch(at[i].position);
    }
    if (step < kGroup) continue;
    for (size_t i = step - kGroup; i < std::min(step, n); ++i) {
      if (out[i].code != FindCode::kHit) continue;
      if (asks && is_filtered(at[i].position, keys[i])) {
        out[i].code = FindCode::kMiss;
      } else {
        out[i].record = locate(page(at[i].position), keys[i]);
      }
    }
    for (size_t i = step - std::min(step, 2 * kGroup); i < std::min(step - kGroup, n); ++i) {
      if (out[i].code != FindCode::kHit) continue;
      if (!out[i].record.is_null() && out[i].record.key() == keys[i]) [[likely]] {
        note_hit(page(at[i].position).fingerprint_of(keys[i]));
      } else {
        out[i] = search(at[i].position, keys[i]);
      }
    }
  }
}

}  // namespace kyro
