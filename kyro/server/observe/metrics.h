// GET /metrics: every series exists from the start, no key ever appears in a label.
//
// Thread rule: any thread; it sums what others count. While the store recovers (engine null) its
// gauges read 0.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "kyro/cli/build_info.h"
#include "kyro/server/observe/exposition.h"
#include "kyro/server/observe/http_stats.h"
#include "kyro/server/observe/process_stats.h"
#include "kyro/server/observe/replica_stats.h"
#include "kyro/server/readiness.h"
#include "kyro/storage/engine.h"
#include "kyro/storage/run/dead_bytes.h"

namespace kyro {
namespace metrics_detail {

inline constexpr double kNanosPerSecond = 1e9;

inline void render_counters(MetricsText& text, const EngineStats& stats) {
  text.counter("kyrodb_appends_total", "Puts acknowledged.", stats.appends.value());
  text.counter("kyrodb_deletes_total", "Deletes acknowledged.", stats.deletes.value());
  const uint64_t from_delta = stats.reads_from_delta.value();
  const uint64_t from_runs = stats.reads_from_runs.value();
  text.family("kyrodb_reads_total", "counter", "Keys read, by where the answer came from.");
  text.sample("kyrodb_reads_total", "source=\"delta\"", from_delta);
  text.sample("kyrodb_reads_total", "source=\"run\"", from_runs);
  text.sample("kyrodb_reads_total", "source=\"none\"", stats.read_misses.value());
  text.counter("kyrodb_rmi_reads_total", "Keys answered by a run through its learned index.",
               from_runs);
  text.counter("kyrodb_btree_reads_total", "Keys answered by the delta.", from_delta);
  text.counter("kyrodb_read_misses_total", "Keys asked for that were not there.",
               stats.read_misses.value());
  text.histogram("kyrodb_append_latency_seconds", "Commit of a group: log write to visible.",
                 stats.append_latency_ns.snapshot(), kNanosPerSecond);
  text.histogram("kyrodb_wal_fsync_duration_seconds", "One sync of the log.",
                 stats.fsync_ns.snapshot(), kNanosPerSecond);
  text.family("kyrodb_write_slowdown_seconds_total", "counter",
              "Time that groups of writes waited for flushes or merges to keep up.");
  text.sample_seconds("kyrodb_write_slowdown_seconds_total", {},
                      static_cast<double>(stats.write_slowdown_ns.value()) / kNanosPerSecond);
  text.counter("kyrodb_wal_written_bytes_total", "Bytes appended to the log.",
               stats.wal_written_bytes.value());
  text.counter("kyrodb_wal_filled_bytes_total", "Zeros written ahead of the log.",
               stats.wal_filled_bytes.value());
  text.counter("kyrodb_wal_crc_errors_total", "Damaged places met in the log.",
               stats.wal_crc_errors.value());
  text.counter("kyrodb_recovery_truncated_bytes_total", "Bytes of torn log tails cut at start-up.",
               stats.recovery_truncated_bytes.value());
  text.family("kyrodb_writes_refused_total", "counter",
              "Writes turned away by the store, by reason.");
  text.sample("kyrodb_writes_refused_total", "reason=\"no_space\"", stats.refused_no_space.value());
  text.sample("kyrodb_writes_refused_total", "reason=\"read_only\"",
              stats.refused_read_only.value());
  text.counter("kyrodb_flush_failures_total", "Flushes that failed, each attempt.",
               stats.flush_failures.value());
  text.counter("kyrodb_merge_failures_total", "Background merges that failed, each attempt.",
               stats.merge_failures.value());
  text.counter("kyrodb_snapshots_total", "Snapshots taken on request or by trigger.",
               stats.snapshots.value());
  text.histogram("kyrodb_snapshot_latency_seconds", "A snapshot, from request to commit.",
                 stats.snapshot_ns.snapshot(), kNanosPerSecond);
  text.counter("kyrodb_compactions_total", "Full compactions finished.", stats.compactions.value());
  text.histogram("kyrodb_compaction_duration_seconds", "A full compaction.",
                 stats.compaction_ns.snapshot(), kNanosPerSecond);
  text.counter("kyrodb_flush_written_bytes_total", "Bytes of runs and indexes written by flushes.",
               stats.run_written_bytes.value());
  text.counter("kyrodb_compaction_written_bytes_total",
               "Bytes of runs and indexes written by merges.",
               stats.compaction_written_bytes.value());
  text.histogram("kyrodb_rmi_probe_len", "Slots looked at by a read of a run (one in 256).",
                 stats.probe_length.snapshot(), 1);
  text.counter("kyrodb_rmi_rebuilds_total", "Indexes made because asked for, due, or damaged.",
               stats.rmi_rebuilds.value());
  text.histogram("kyrodb_rmi_rebuild_duration_seconds", "One such rebuild, with its merge.",
                 stats.rmi_rebuild_ns.snapshot(), kNanosPerSecond);
  text.counter("kyrodb_corruptions_total", "Damaged records or index entries met.",
               stats.corruptions.value());
  text.counter("kyrodb_scrubbed_bytes_total", "Bytes of runs read again in the background.",
               stats.scrubbed_bytes.value());
}

inline void render_gauges(MetricsText& text, Engine* engine, bool is_ready) {
  View view;
  uint64_t wal_bytes = 0;
  if (engine != nullptr) {
    view = engine->view();
    wal_bytes = engine->wal_position();
  }
  uint64_t leaves = 0, index_bytes = 0, filter_bytes = 0, epsilon = 0, delta_bytes = 0,
           delta_keys = 0;
  for (const SegmentRef& segment : view.segments) wal_bytes += segment.bytes;
  for (const auto& run : view.runs) {
    leaves += run->index().leaves();
    index_bytes += run->index().size_bytes();
    filter_bytes += run->filter_bytes();
    epsilon = std::max<uint64_t>(epsilon, run->index().epsilon_max());
  }
  const auto add_delta = [&](const Delta& delta) {
    delta_bytes += delta.bytes();
    delta_keys += delta.keys();
  };
  if (view.active != nullptr) add_delta(*view.active);
  for (const auto& delta : view.frozen) add_delta(*delta);
  const bool is_read_only = engine != nullptr && engine->latch().is_set();
  const Stalls stalls = engine != nullptr ? engine->stalls() : Stalls{};

  text.gauge("kyrodb_wal_bytes", "Bytes of log segments on disk.", wal_bytes);
  text.gauge("kyrodb_wal_segments", "Log segments on disk.", view.segments.size());
  text.gauge("kyrodb_runs", "Runs on disk.", view.runs.size());
  text.gauge("kyrodb_keys",
             "Keys: an estimate, too high by at most the records outside the largest run and what "
             "was deleted or has expired since the last merge; exact right after a compaction.",
             estimate_keys(view));
  text.gauge("kyrodb_dead_bytes",
             "Bytes of runs that newer records may have replaced, and of tombstones: an estimate "
             "on the high side, 0 after a compaction.",
             estimate_dead_bytes(view.runs));
  text.gauge("kyrodb_delta_bytes", "Memory of writes not yet in runs.", delta_bytes);
  text.gauge("kyrodb_delta_keys", "Keys written and not yet in runs.", delta_keys);
  text.gauge("kyrodb_next_offset", "The offset the next write gets.",
             engine != nullptr ? engine->next_offset() : 0);
  text.gauge("kyrodb_rmi_index_leaves", "Leaves of the learned indexes.", leaves);
  text.gauge("kyrodb_rmi_index_size_bytes", "Bytes of the learned indexes.", index_bytes);
  text.gauge("kyrodb_filter_bytes", "Bytes of the filters that know absent keys.", filter_bytes);
  text.gauge("kyrodb_rmi_epsilon_max", "Slots between a key and its prediction at most.", epsilon);
  text.gauge("kyrodb_read_only", "1 after a failure that stopped writes.", is_read_only ? 1 : 0);
  text.gauge("kyrodb_ready", "1 while /ready says so.", is_ready ? 1 : 0);
  text.family("kyrodb_stalled_seconds", "gauge",
              "How long a thread has had work without coming forward with it.");
  for (const Stall& stall : stalls) {
    text.sample("kyrodb_stalled_seconds", std::string("role=\"").append(stall.role) + "\"",
                stall.stalled_ns / 1'000'000'000);
  }
  text.gauge("kyrodb_disk_free_bytes", "Free bytes on the disk of the data directory.",
             engine != nullptr ? engine->disk_free_bytes() : 0);
  text.gauge("kyrodb_disk_size_bytes", "Bytes of that disk, free or not; 0 where nobody can tell.",
             engine != nullptr ? engine->disk_size_bytes() : 0);
  text.gauge("kyrodb_disk_kept_bytes", "Of these, kept so that a full disk can be emptied.",
             engine != nullptr ? engine->disk_kept_bytes() : 0);
  text.family("kyrodb_disk_warning", "gauge", "1 for what /ready warns of, by reason.");
  for (const std::string_view warning :
       {"disk_full", "disk_space_unknown", "disk_reserve_missing"}) {
    const bool is_on = engine != nullptr && engine->has_disk_warning(warning);
    text.sample("kyrodb_disk_warning", std::string("reason=\"").append(warning) + "\"",
                is_on ? 1 : 0);
  }
}

inline void render_http(MetricsText& text, const HttpStats& stats, uint64_t connections) {
  text.family("kyrodb_http_requests_total", "counter", "Requests answered.");
  for (size_t route = 0; route < kRouteCount; ++route) {
    for (size_t code = 0; code < kStatusCodes.size(); ++code) {
      const uint64_t count = stats.requests(route, code);
      // A series per route from the start; the codes that never occur are left out.
      if (count == 0 && kStatusCodes[code] != 200) continue;
      text.sample("kyrodb_http_requests_total",
                  std::string("route=\"").append(kRoutes[route].name) + "\",code=\"" +
                      std::to_string(kStatusCodes[code]) + "\"",
                  count);
    }
  }
  text.family("kyrodb_grpc_failures_total", "counter",
              "Calls of gRPC that ended with another status than OK.");
  for (size_t route = static_cast<size_t>(Route::kCallUnknown); route < kRouteCount; ++route) {
    for (size_t code = 1; code < rpc::kGrpcCodeCount; ++code) {
      const auto status = static_cast<rpc::GrpcCode>(code);
      const uint64_t count = stats.calls.failures(static_cast<Route>(route), status);
      // Those that occur, and one from the start.
      if (count == 0 && status != rpc::GrpcCode::kInternal) continue;
      text.sample("kyrodb_grpc_failures_total",
                  std::string("route=\"")
                          .append(kRoutes[route].name)
                          .append("\",code=\"")
                          .append(rpc::grpc_code_name(status)) +
                      "\"",
                  count);
    }
  }
  text.family("kyrodb_http_request_duration_seconds", "histogram",
              "From the whole request read to the answer written.");
  for (size_t route = 0; route < kRouteCount; ++route) {
    text.histogram_samples("kyrodb_http_request_duration_seconds",
                           std::string("route=\"").append(kRoutes[route].name) + "\"",
                           stats.duration(route), kNanosPerSecond);
  }
  text.counter("kyrodb_http2_requests_total", "Requests answered over HTTP/2, of all routes.",
               stats.http2_requests());
  text.gauge("kyrodb_http_connections", "Open connections.", connections);
  text.family("kyrodb_http_rejected_total", "counter", "Requests and connections turned away.");
  stats.for_each_rejection([&](std::string_view reason, uint64_t count) {
    text.sample("kyrodb_http_rejected_total", std::string("reason=\"").append(reason) + "\"",
                count);
  });
  text.counter("kyrodb_log_lines_dropped_total",
               "Lines of the log that were dropped, since nobody read them.",
               log_lines_dropped().load(std::memory_order_relaxed));
  text.gauge("kyrodb_sse_subscribers", "Open subscriptions.", stats.subscribe.subscribers.value());
  text.gauge("kyrodb_backup_streams", "Backups that are being sent.",
             stats.backups.sending.value());
  text.counter("kyrodb_backup_failures_total", "Backups that were not made, or not sent whole.",
               stats.backups.failures.value());
  text.gauge("kyrodb_waiting_reads", "Reads that wait for their key to change.",
             stats.waits.waiting.value());
  text.gauge("kyrodb_offset_waits", "Reads that wait until this server has come to an offset.",
             stats.offset_waits.waiting.value());
  text.counter("kyrodb_sse_lagged_total", "Subscribers that fell behind the log and were closed.",
               stats.subscribe.lagged.value());
}

inline void render_process(MetricsText& text) {
  text.family("kyrodb_build_info", "gauge", "What this binary is.");
  text.sample("kyrodb_build_info",
              std::string("version=\"")
                      .append(kProductVersion)
                      .append("\",commit=\"")
                      .append(kProductCommit) +
                  "\"",
              1);
  const ProcessStats process = read_process_stats();
  text.family("process_cpu_seconds_total", "counter", "User and system time used.");
  text.sample_seconds("process_cpu_seconds_total", {}, process.cpu_seconds);
  text.family("process_start_time_seconds", "gauge", "When the process began, in Unix time.");
  text.sample_seconds("process_start_time_seconds", {}, process.start_time_seconds);
  text.gauge("process_resident_memory_bytes", "Resident memory.", process.resident_bytes);
  text.gauge("process_virtual_memory_bytes", "Virtual memory.", process.virtual_bytes);
  text.gauge("process_open_fds", "Open file descriptors.", process.open_fds);
  text.gauge("process_max_fds", "Largest number of open file descriptors.", process.max_fds);
}

}  // namespace metrics_detail

// The whole page. The counters of an engine that is not there yet (null) read 0; `replica` is null
// where no log is shared.
[[nodiscard]] inline std::string render_metrics(Engine* engine, const Replica* replica,
                                                const HttpStats& http, uint64_t connections,
                                                bool is_draining) {
  static const EngineStats kNothingYet;
  MetricsText text;
  metrics_detail::render_counters(text, engine != nullptr ? engine->stats() : kNothingYet);
  metrics_detail::render_gauges(text, engine, !is_draining && !why_not_ready(engine, replica));
  if (replica != nullptr) render_replica(text, *replica, engine);
  metrics_detail::render_http(text, http, connections);
  metrics_detail::render_process(text);
  return text.take();
}

}  // namespace kyro
