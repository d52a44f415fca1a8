// Point reads: where the newest version of a key lies, and how long it may be used.
//
// A Lookup is two words and points into the view it was found in: it is valid as long as that view
// is pinned or held. Whoever needs the value for longer, as an answer to a slow client does, asks
// for its holder and copies nothing: a reference to the delta or run in which the value lies.
//
// Thread rule: any thread. Ownership: a Lookup owns nothing; its holder shares a member of the
// view.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/storage/view.h"

namespace kyro {

// Where a lookup ended.
enum class Source : uint8_t {
  kNone,  // no version of the key, not even a tombstone
  kDelta,
  kRun,
  kDamaged,  // the place in a run where it should be
};

// What a lookup found. Two registers, so that it never passes through memory (see RecordRef).
class Lookup {
 public:
  Lookup() = default;
  Lookup(RecordRef record, const std::shared_ptr<Delta>& delta)
      : record_(record), holder_(reinterpret_cast<uintptr_t>(&delta) | kInDelta) {}
  // A null record: the place in this run where it should be is damaged.
  Lookup(RecordRef record, const std::shared_ptr<Run>& run)
      : record_(record), holder_(reinterpret_cast<uintptr_t>(&run)) {}

  [[nodiscard]] Source source() const {
    if (record_.is_null()) return holder_ == 0 ? Source::kNone : Source::kDamaged;
    return is_in_delta() ? Source::kDelta : Source::kRun;
  }
  // Whether there is a version, be it a tombstone or expired.
  [[nodiscard]] bool has_record() const { return !record_.is_null(); }

  // REQUIRES of all below: has_record(), and the view is pinned or held.
  [[nodiscard]] std::string_view value() const { return record_.value(); }
  [[nodiscard]] uint64_t offset() const { return record_.offset(); }
  [[nodiscard]] uint64_t expiry_secs() const { return record_.expiry_secs(); }
  [[nodiscard]] uint64_t meta() const { return record_.meta(); }
  [[nodiscard]] RecordRef record() const { return record_; }
  // Keeps value() valid for as long as the caller has it.
  [[nodiscard]] std::shared_ptr<const void> holder() const {
    if (is_in_delta()) return *reinterpret_cast<const std::shared_ptr<Delta>*>(holder_ - kInDelta);
    return run();
  }
  // The run of the record, or of the damage. REQUIRES: source() is kRun or kDamaged.
  [[nodiscard]] const std::shared_ptr<Run>& run() const {
    return *reinterpret_cast<const std::shared_ptr<Run>*>(holder_);
  }

 private:
  static constexpr uintptr_t kInDelta = 1;
  static_assert(alignof(std::shared_ptr<Delta>) > kInDelta);

  [[nodiscard]] bool is_in_delta() const { return (holder_ & kInDelta) != 0; }

  RecordRef record_;
  uintptr_t holder_ = 0;  // the view's pointer to the delta or run; its lowest bit says which
};
static_assert(sizeof(Lookup) == 2 * sizeof(void*));

// Apart from the lookups, which should stay small.
[[nodiscard, gnu::noinline, gnu::cold]] inline Status damaged_record(const Run& run) {
  return Status(Code::kCorruption, run.name() + ": the record or its index entry is damaged");
}

// What a run has said about a key.
[[nodiscard]] inline Lookup lookup_of(const std::shared_ptr<Run>& run, RunFound found) {
  if (found.code == FindCode::kMiss) return {};
  return {found.record, run};
}

// The version of `key` in one run.
[[nodiscard]] inline Lookup find_in_run(const std::shared_ptr<Run>& run, uint64_t key) {
  return lookup_of(run, run->find(key));
}

// The newest version of `key` in those runs from `next` on that may hold it. They predict and fetch
// first, so that their cache misses overlap; then they answer, the newest first.
[[nodiscard, gnu::noinline]] inline Lookup find_in_several(const View& view, View::RunIterator next,
                                                           uint64_t key) {
  constexpr size_t kAtOnce = 16;
  RmiIndex::Prediction predictions[kAtOnce];
  const std::shared_ptr<Run>* candidates[kAtOnce];
  while (next != view.runs.end()) {
    size_t count = 0;
    for (; next != view.runs.end() && count < kAtOnce; next = view.candidate(next + 1, key)) {
      predictions[count] = (*next)->predict(key);
      candidates[count++] = &*next;
    }
    for (size_t i = 0; i < count; ++i) {
      const std::shared_ptr<Run>& run = *candidates[i];
      const Lookup found = lookup_of(run, run->resolve(key, predictions[i]));
      if (found.source() != Source::kNone) return found;
    }
  }
  return {};
}

// The newest version of `key` in the runs. The way through a single one is kept short: the fewer
// instructions a lookup has, the more its misses overlap with those of the next.
[[nodiscard]] inline Lookup find_in_runs(const View& view, uint64_t key) {
  const auto first = view.candidate(view.runs.begin(), key);
  if (first == view.runs.end()) return {};
  if (view.candidate(first + 1, key) != view.runs.end()) return find_in_several(view, first, key);
  return find_in_run(*first, key);
}

// The newest version of `key` below `bound` in the deltas.
[[nodiscard, gnu::noinline]] inline Lookup find_in_deltas(const View& view, uint64_t key,
                                                          uint64_t bound) {
  if (const char* record = view.active->find(key, bound)) return {RecordRef(record), view.active};
  for (const auto& delta : view.frozen) {
    if (const char* record = delta->find(key, bound)) return {RecordRef(record), delta};
  }
  return {};
}

// The newest version of `key` below `bound` anywhere in the view.
[[nodiscard]] inline Lookup find_in_view(const View& view, uint64_t key, uint64_t bound) {
  if (!view.active->empty() || !view.frozen.empty()) {
    if (const Lookup found = find_in_deltas(view, key, bound); found.has_record()) return found;
  }
  return find_in_runs(view, key);
}

}  // namespace kyro
