// GET /v1/status: everything that is known of the server on one page of JSON. The page at / draws
// it, `kyrodbctl status` prints it.
//
// Cheap enough to be asked every second: no scan, no page of a run, lists cut off at 64 members, at
// most kSamplePointsMax model words and History::kRowsMax rows. Keys are strings, since a browser
// reads them; other numbers are numbers.
//
// Thread rule: any thread; what is counted meanwhile may differ from one field to the next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/clock.h"
#include "kyro/base/epoch.h"
#include "kyro/base/text/json_fields.h"
#include "kyro/base/text/printable.h"
#include "kyro/cli/build_info.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/observe/history.h"
#include "kyro/server/observe/process_stats.h"
#include "kyro/server/observe/replica_stats.h"
#include "kyro/server/readiness.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/routes/query.h"
#include "kyro/storage/engine.h"
#include "kyro/storage/figures.h"

namespace kyro {

inline constexpr size_t kSamplePointsMax = 512;
inline constexpr size_t kSamplePoints = 128;  // unless asked otherwise

// What the server knows besides its engine.
struct StatusSource {
  Engine* engine = nullptr;          // null while the log is replayed
  const Replica* replica = nullptr;  // null where no log is shared
  const RecoveryProgress& progress;
  const HttpStats& http;
  const History& history;
  uint64_t connections = 0;
  bool is_draining = false;
};

struct StatusWanted {
  size_t history_rows = 0;
  size_t sample_points = 0;
};

namespace status_detail {

// The state in one word, and what it is about.
inline void render_state(JsonFields& json, const StatusSource& from) {
  const auto say = [&](std::string_view state, std::string_view why) {
    json.field("state", state);
    json.field("why", why);
  };
  if (from.is_draining) return say("draining", "the server is being stopped");
  const auto why = why_not_ready(from.engine, from.replica);
  if (!why) return say("ready", why_no_writes(from.replica));
  say(why->state, why->why);
  if (from.engine == nullptr) {
    json.open("recovery", '{');
    json.field("records", from.progress.records.load(std::memory_order_relaxed));
    json.field("segments", from.progress.segments.load(std::memory_order_relaxed));
    json.field("segments_all", from.progress.segments_all.load(std::memory_order_relaxed));
    json.close('}');
  }
}

inline void render_process(JsonFields& json, const StatusSource& from) {
  const ProcessStats process = read_process_usage();
  const double now = static_cast<double>(unix_ns()) / 1e9;
  const double uptime = now - process.start_time_seconds;
  json.field("version", kProductVersion);
  json.field("commit", kProductCommit);
  json.field("uptime_secs", uptime > 0 ? static_cast<uint64_t>(uptime) : uint64_t{0});
  json.field("cpu_ms", static_cast<uint64_t>(process.cpu_seconds * 1000));
  json.field("resident_bytes", process.resident_bytes);
  json.field("connections", from.connections);
  json.field("subscribers", from.http.subscribe.subscribers.value());
}

inline void render_runs(JsonFields& json, const StoreFigures& figures, uint64_t now_secs) {
  json.field("run_count", figures.run_count);
  json.open("runs", '[');
  for (const RunFigures& run : figures.runs) {
    json.open('{');
    json.field("id", run.meta.id);
    json.field("records", run.meta.records);
    json.field("tombstones", run.meta.tombstones);
    json.exact_field("key_min", run.meta.key_min);
    json.exact_field("key_max", run.meta.key_max);
    json.field("first_offset", run.meta.first_offset);
    json.field("end_offset", run.meta.end_offset);
    json.field("data_bytes", run.data_bytes);
    json.field("index_bytes", run.index_bytes);
    json.field("leaves", run.leaves);
    json.field("depth", run.depth);
    json.field("epsilon", run.epsilon);
    if (run.made_secs != 0 && run.made_secs <= now_secs) {
      json.field("age_secs", now_secs - run.made_secs);
    }
    if (run.is_quarantined) json.field("quarantined", true);
    json.close('}');
  }
  json.close(']');
}

inline void render_log(JsonFields& json, const StoreFigures& figures, uint64_t newest_bytes) {
  json.field("segment_count", figures.segment_count);
  json.open("segments", '[');
  for (size_t i = 0; i < figures.segments.size(); ++i) {
    json.open('{');
    json.field("first_offset", figures.segments[i].first_offset);
    json.field("bytes", i == 0 ? newest_bytes : figures.segments[i].bytes);
    json.close('}');
  }
  json.close(']');
}

inline void render_index(JsonFields& json, const StoreFigures& figures, const EngineStats& stats) {
  json.open("index", '{');
  json.field("keys", figures.indexed_keys);
  json.field("bytes", figures.index_bytes);
  json.field("leaves", figures.leaves);
  json.field("depth", figures.depth);
  json.field("epsilon", figures.epsilon);
  const HistogramSnapshot probes = stats.probe_length.snapshot();
  json.open("probes", '[');  // [length at most, how many]; the last has no bound
  for (size_t i = 0; i <= probes.bounds.size(); ++i) {
    const uint64_t before = i == 0 ? 0 : probes.cumulative[i - 1];
    const bool is_last = i == probes.bounds.size();
    json.open('[');
    json.element(is_last ? 0 : probes.bounds[i]);
    json.element((is_last ? probes.count : probes.cumulative[i]) - before);
    json.close(']');
  }
  json.close(']');
  json.field("sample_run", figures.model.run_id);
  json.open("sample", '[');  // [key, rank, rank of its leaf's first key, keys of the leaf, depth]
  for (const RmiPoint& point : figures.model.points) {
    json.open('[');
    json.exact_element(point.key);
    for (const uint64_t number : {point.rank, point.leaf_rank, point.leaf_keys}) {
      json.element(number);
    }
    json.element(point.depth);
    json.close(']');
  }
  json.close(']');
  json.close('}');
}

inline void render_store(JsonFields& json, Engine& engine, size_t sample_points) {
  const EpochPin pin;  // the view is looked at, not copied: a long log has many segments
  const StoreFigures figures =
      store_figures(*engine.moment().view, {.model_points = sample_points});
  const uint64_t newest_bytes = engine.wal_position();
  json.field("data_dir", printable(engine.options().data_dir));
  json.field("database", engine.database_id());
  json.field("next_offset", engine.next_offset());
  json.field("keys", figures.keys);
  json.open("disk", '{');
  json.field("free_bytes", engine.disk_free_bytes());
  json.field("data_bytes", figures.data_bytes);
  json.field("index_bytes", figures.index_bytes);
  json.field("log_bytes", figures.sealed_bytes + newest_bytes);
  json.field("dead_bytes", figures.dead_bytes);
  json.close('}');
  json.open("delta", '{');
  json.field("keys", figures.delta_keys);
  json.field("bytes", figures.delta_bytes);
  json.field("bytes_max", engine.options().delta_max_bytes);
  json.field("frozen", figures.frozen_deltas);
  json.close('}');
  render_runs(json, figures, unix_ns() / 1'000'000'000);
  render_log(json, figures, newest_bytes);
  render_index(json, figures, engine.stats());
}

inline void render_history(JsonFields& json, const History& history, size_t rows) {
  json.open("history", '{');
  json.open("columns", '[');
  for (const std::string_view name : History::kColumnNames) json.element(name);
  json.close(']');
  json.open("rows", '[');
  const uint64_t end = history.for_each_row(rows, [&](std::span<const uint64_t> row) {
    json.open('[');
    for (const uint64_t value : row) json.element(value);
    json.close(']');
  });
  json.close(']');
  json.field("end", end);  // the number after that of the last row, counted from the start
  json.close('}');
}

}  // namespace status_detail

[[nodiscard]] inline std::string render_status(const StatusSource& from,
                                               const StatusWanted& wanted) {
  using namespace status_detail;
  std::string out;
  JsonFields json(out);
  json.open('{');
  render_state(json, from);
  render_process(json, from);
  if (from.replica != nullptr) render_shared_log(json, *from.replica, from.engine);
  if (from.engine != nullptr) render_store(json, *from.engine, wanted.sample_points);
  render_history(json, from.history, wanted.history_rows);
  json.close('}');
  return out;
}

// Answers; parameters "history" and "sample" say how much of those is wanted.
inline void respond_server_status(Exchange& x, const StatusSource& from) {
  const auto rows = find_number(x.request().query, "history");
  if (!rows.ok()) return respond_status(x, rows.status());
  const auto points = find_number(x.request().query, "sample");
  if (!points.ok()) return respond_status(x, points.status());
  x.add_header("Cache-Control", "no-store");
  x.respond(
      200, kJsonType,
      render_status(from, {rows->value_or(History::kRowsMax),
                           std::min<size_t>(points->value_or(kSamplePoints), kSamplePointsMax)}));
}

}  // namespace kyro
