// Emptying a full disk: one run is written anew without what newer runs have replaced or deleted,
// and without tombstones that hide nothing any more.
//
// A merge needs room for all that lives in its inputs; this needs room for what lives in one run,
// which merges keep small (DiskSpace::merge_bytes_max()). So deletes of any
// number give room back, run by run, on the room that is kept for it.
//
// Thread rule: the merger's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/storage/background/run_change.h"
#include "kyro/storage/engine_state.h"

namespace kyro {

class Reclaimer {
 public:
  explicit Reclaimer(EngineState& state) : state_(state) {}

  // Prepares the rewriting of a run that gives enough back, if there is one. Looks at runs whole,
  // but at each again only when a sixteenth of its records may have died since, or now and then
  // where records expire. REQUIRES: end_loan() of the reserve after it.
  Result<bool> prepare(const View& view, const Cancel& cancel, RunChange* change) {
    update_looks(view);
    for (const size_t at : candidates(view)) {
      const auto prepared = rewrite(view, at, cancel, change);
      KYRO_TRY(prepared);
      if (*prepared) return true;
    }
    return false;
  }

 private:
  static constexpr uint64_t kExpiryPauseNs = 2'000'000'000;
  static constexpr uint64_t kSavedBytesMin = 4096;

  // At a run that did not have enough to give.
  struct Look {
    uint64_t newer_records = 0;
    uint64_t began_ns = 0;
    uint64_t took_ns = 0;
  };

  // Forgets runs that are gone. Where newer ones became fewer, growth counts from there.
  void update_looks(const View& view) {
    std::map<uint64_t, Look> looks;
    for (size_t at = 0; at < view.runs.size(); ++at) {
      const auto found = looks_.find(view.runs[at]->meta().id);
      if (found == looks_.end()) continue;
      Look look = found->second;
      look.newer_records = std::min(look.newer_records, newer_records_over(view.runs, at));
      looks.insert({found->first, look});
    }
    looks_.swap(looks);
  }

  // Runs in which something may be dead, those first in which that may be most.
  [[nodiscard]] std::vector<size_t> candidates(const View& view) const {
    std::vector<std::pair<uint64_t, size_t>> found;
    for (size_t at = 0; at < view.runs.size(); ++at) {
      const uint64_t dead_bytes = dead_bytes_of(view.runs, at);
      if (!view.runs[at]->is_quarantined() && may_give(view, at, dead_bytes)) {
        found.emplace_back(dead_bytes, at);
      }
    }
    std::sort(found.rbegin(), found.rend());
    std::vector<size_t> order;
    for (const auto& [dead_bytes, at] : found) order.push_back(at);
    return order;
  }

  // Whether a look at a run may find more than the last one, for less than it costs.
  [[nodiscard]] bool may_give(const View& view, size_t at, uint64_t dead_bytes) const {
    const RunMeta& run = view.runs[at]->meta();
    const auto look = looks_.find(run.id);
    if (look == looks_.end()) return dead_bytes >= run.record_bytes / 16 || run.expiring > 0;
    const uint64_t pause_ns = std::max(kExpiryPauseNs, 50 * look->second.took_ns);
    if (run.expiring > 0 && monotonic_ns() - look->second.began_ns >= pause_ns) return true;
    const uint64_t grown = newer_records_over(view.runs, at) - look->second.newer_records;
    return grown > 0 && grown >= run.records / 16;
  }

  Result<bool> rewrite(const View& view, size_t at, const Cancel& cancel, RunChange* change) {
    const uint64_t began_ns = monotonic_ns();
    const std::shared_ptr<Run>& run = view.runs[at];
    const auto place = view.runs.begin() + static_cast<std::ptrdiff_t>(at);
    MergeInput input;
    input.runs = {run};
    input.covering_runs.assign(view.runs.begin(), place);
    input.older.assign(place + 1, view.runs.end());
    input.is_exact = true;
    input.first_offset = run->meta().first_offset;
    input.end_offset = run->meta().end_offset;
    input.now_secs = state_.clock.now_secs();
    const auto size = measure_merge(input, cancel);
    KYRO_TRY(size);
    const uint64_t takes = run->meta().record_bytes;
    const uint64_t worth = std::max(takes / 16, std::min(kSavedBytesMin, takes));
    const Look look{newer_records_over(view.runs, at), began_ns, monotonic_ns() - began_ns};
    if (size->record_bytes + worth > takes) {
      looks_[run->meta().id] = look;
      return false;
    }
    KYRO_TRY(borrow_room(state_, size->needed_bytes(), true));
    auto result = make_run(state_, input, cancel);
    KYRO_TRY(result);
    for (size_t i = 0; i < at; ++i) {  // their tombstones may hide less now
      if (view.runs[i]->meta().tombstones > 0) looks_.erase(view.runs[i]->meta().id);
    }
    if (*result != nullptr) looks_[(*result)->meta().id] = look;
    log_event(
        LogLevel::kInfo, "reclaimed",
        {{"run", run->meta().id}, {"before_bytes", takes}, {"after_bytes", size->record_bytes}});
    change->replaced = {run->meta().id};
    change->result = std::move(*result);
    if (change->result != nullptr) {
      state_.stats.compaction_written_bytes.add(change->result->data_bytes() +
                                                change->result->index_bytes());
    }
    return true;
  }

  EngineState& state_;
  std::map<uint64_t, Look> looks_;  // at runs in which there was not enough, by id
};

}  // namespace kyro
