// What an engine's data looks like, for people: its runs, its log segments, its learned indexes.
// Metrics add such figures up (kyro/server/observe/metrics.h); here they stand one by one, and
// bounded, however large the store is.
//
// Cheap: what is in memory anyway, and for the sample some hundred model words of one index. No
// page of a run is read.
//
// Thread rule: any thread, on a view that it holds or has pinned. Ownership: values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kyro/index/rmi_sample.h"
#include "kyro/storage/log/segment_ref.h"
#include "kyro/storage/run/dead_bytes.h"
#include "kyro/storage/run/run.h"
#include "kyro/storage/view.h"

namespace kyro {

struct RunFigures {
  RunMeta meta;
  uint64_t data_bytes = 0;
  uint64_t index_bytes = 0;
  uint64_t leaves = 0;
  uint32_t depth = 0;
  uint32_t epsilon = 0;
  uint64_t made_secs = 0;  // Unix time; 0 where nobody knows
  bool is_quarantined = false;
};

// The model of the largest run.
struct ModelFigures {
  uint64_t run_id = 0;  // 0: there is no run
  std::vector<RmiPoint> points;
};

struct StoreFigures {
  uint64_t keys = 0;  // an estimate until compacted
  uint64_t delta_keys = 0;
  uint64_t delta_bytes = 0;
  uint64_t frozen_deltas = 0;

  uint64_t run_count = 0;
  uint64_t data_bytes = 0;
  uint64_t index_bytes = 0;
  uint64_t dead_bytes = 0;
  uint64_t indexed_keys = 0;
  uint64_t leaves = 0;
  uint32_t depth = 0;            // of the deepest index
  uint32_t epsilon = 0;          // the largest one
  std::vector<RunFigures> runs;  // newest first, so many as were asked for

  uint64_t segment_count = 0;
  uint64_t sealed_bytes = 0;         // of the log, without the segment that is being written
  std::vector<SegmentRef> segments;  // newest first, so many as were asked for

  ModelFigures model;
};

// How much of it is wanted.
struct FigureLimits {
  size_t runs = 64;
  size_t segments = 64;
  size_t model_points = 0;
};

[[nodiscard]] inline RunFigures run_figures(const Run& run) {
  return {.meta = run.meta(),
          .data_bytes = run.data_bytes(),
          .index_bytes = run.index_bytes(),
          .leaves = run.index().leaves(),
          .depth = run.index().depth(),
          .epsilon = run.index().epsilon_max(),
          .made_secs = run.made_secs(),
          .is_quarantined = run.is_quarantined()};
}

// What the model of a run says, in keys: an entry of its index stands for a page of them.
[[nodiscard]] inline ModelFigures model_figures(const Run& run, size_t points) {
  ModelFigures out{run.meta().id, RmiSampler::sample(run.index(), points)};
  const double keys_per_entry = static_cast<double>(run.meta().records) /
                                static_cast<double>(std::max<uint64_t>(run.index().entries(), 1));
  for (RmiPoint& point : out.points) {
    for (uint64_t* entries : {&point.rank, &point.leaf_rank, &point.leaf_keys}) {
      *entries = static_cast<uint64_t>(static_cast<double>(*entries) * keys_per_entry);
    }
  }
  return out;
}

[[nodiscard]] inline StoreFigures store_figures(const View& view, const FigureLimits& limits) {
  StoreFigures out;
  out.keys = estimate_keys(view);
  const auto add_delta = [&](const Delta& delta) {
    out.delta_keys += delta.keys();
    out.delta_bytes += delta.bytes();
  };
  if (view.active != nullptr) add_delta(*view.active);
  for (const auto& delta : view.frozen) add_delta(*delta);
  out.frozen_deltas = view.frozen.size();

  out.run_count = view.runs.size();
  out.dead_bytes = estimate_dead_bytes(view.runs);
  const Run* largest = nullptr;
  for (const auto& run : view.runs) {
    const RunFigures one = run_figures(*run);
    out.data_bytes += one.data_bytes;
    out.index_bytes += one.index_bytes;
    out.indexed_keys += one.meta.records;
    out.leaves += one.leaves;
    out.depth = std::max(out.depth, one.depth);
    out.epsilon = std::max(out.epsilon, one.epsilon);
    if (out.runs.size() < limits.runs) out.runs.push_back(one);
    if (largest == nullptr || one.meta.records > largest->meta().records) largest = run.get();
  }
  if (largest != nullptr && limits.model_points > 0) {
    out.model = model_figures(*largest, limits.model_points);
  }

  out.segment_count = view.segments.size();
  for (const SegmentRef& segment : view.segments) out.sealed_bytes += segment.bytes;
  const size_t listed = std::min(limits.segments, view.segments.size());
  out.segments.assign(view.segments.rbegin(),
                      view.segments.rbegin() + static_cast<std::ptrdiff_t>(listed));
  return out;
}

}  // namespace kyro
