// The metrics page of the real server: complete from the start, right after some work, and in the
// form that Prometheus' own checker accepts.
#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "test/e2e_util.h"

using namespace kyro;
using namespace kyro::test;

namespace {

constexpr std::string_view kSingles[] = {"appends_total",
                                         "deletes_total",
                                         "reads_total{source=\"delta\"}",
                                         "reads_total{source=\"run\"}",
                                         "reads_total{source=\"none\"}",
                                         "rmi_reads_total",
                                         "btree_reads_total",
                                         "read_misses_total",
                                         "wal_bytes",
                                         "wal_segments",
                                         "wal_written_bytes_total",
                                         "write_slowdown_seconds_total",
                                         "wal_crc_errors_total",
                                         "recovery_truncated_bytes_total",
                                         "snapshots_total",
                                         "compactions_total",
                                         "compaction_written_bytes_total",
                                         "runs",
                                         "keys",
                                         "delta_bytes",
                                         "delta_keys",
                                         "next_offset",
                                         "rmi_index_leaves",
                                         "rmi_index_size_bytes",
                                         "rmi_epsilon_max",
                                         "rmi_rebuilds_total",
                                         "read_only",
                                         "ready",
                                         "disk_free_bytes",
                                         "corruptions_total",
                                         "scrubbed_bytes_total",
                                         "dead_bytes",
                                         "http_connections",
                                         "sse_subscribers",
                                         "sse_lagged_total",
                                         "http_rejected_total{reason=\"bad_request\"}",
                                         "http_requests_total{route=\"put\",code=\"200\"}"};

constexpr std::string_view kHistograms[] = {
    "append_latency_seconds", "wal_fsync_duration_seconds", "snapshot_latency_seconds",
    "compaction_duration_seconds", "rmi_rebuild_duration_seconds"};

constexpr std::string_view kProcess[] = {
    "process_cpu_seconds_total",    "process_start_time_seconds", "process_resident_memory_bytes",
    "process_virtual_memory_bytes", "process_open_fds",           "process_max_fds"};

std::string series(std::string_view name) {
  return "kyrodb_" + std::string(name);
}

}  // namespace

TEST_CASE("Every series exists from the start", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  Client client(server);
  const HttpResponse page = client.get("/metrics");
  CHECK(page.status == 200);
  CHECK(page.header("content-type") == "text/plain; version=0.0.4; charset=utf-8");
  for (const std::string_view name : kSingles) {
    INFO(name);
    CHECK(!client.metric(series(name)).empty());
  }
  for (const std::string_view name : kHistograms) {
    INFO(name);
    CHECK(client.metric(series(name) + "_count") == "0");
    CHECK(client.metric(series(name) + "_bucket{le=\"+Inf\"}") == "0");
  }
  CHECK(!client.metric("kyrodb_http_request_duration_seconds_count{route=\"get_fast\"}").empty());
  for (const std::string_view name : kProcess) {
    INFO(name);
    CHECK(client.metric(name).find_first_of("123456789") != std::string::npos);
  }
  CHECK(page.body.find("\nkyrodb_build_info{version=\"") != std::string::npos);
  CHECK(client.metric("kyrodb_ready") == "1");
  CHECK(client.metric("kyrodb_disk_free_bytes") != "0");
}

TEST_CASE("The counters move with the work, and no key is in a label", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  Client client(server);
  constexpr uint64_t kKey = 987654321987;
  for (uint64_t i = 0; i < 10; ++i) {
    REQUIRE(client.call("PUT", kv_path(kKey + i), "v").status == 201);
  }
  for (int i = 0; i < 3; ++i) REQUIRE(client.get(kv_path(kKey)).status == 200);
  REQUIRE(client.get(kv_path(1)).status == 404);
  REQUIRE(client.call("DELETE", kv_path(kKey)).status == 204);
  CHECK(client.metric("kyrodb_delta_keys") == "10");
  REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
  CHECK(client.metric("kyrodb_snapshots_total") == "1");
  CHECK(client.metric("kyrodb_snapshot_latency_seconds_count") == "1");
  for (int i = 0; i < 4; ++i) REQUIRE(client.get(kv_path(kKey + 1)).status == 200);
  REQUIRE(client.call("POST", "/v1/compact").status == 200);
  REQUIRE(client.raw("GET / HTTP/9.9\r\n\r\n").status == 505);

  CHECK(client.metric("kyrodb_appends_total") == "10");
  CHECK(client.metric("kyrodb_deletes_total") == "1");
  CHECK(client.metric("kyrodb_btree_reads_total") == "3");
  CHECK(client.metric("kyrodb_rmi_reads_total") == "4");
  CHECK(client.metric("kyrodb_reads_total{source=\"run\"}") == "4");
  CHECK(client.metric("kyrodb_read_misses_total") == "1");
  CHECK(client.metric("kyrodb_compactions_total") == "1");
  CHECK(client.metric("kyrodb_keys") == "9");
  CHECK(client.metric("kyrodb_runs") == "1");
  CHECK(client.metric("kyrodb_delta_keys") == "0");
  CHECK(client.metric("kyrodb_next_offset") == "11");
  CHECK(client.metric("kyrodb_append_latency_seconds_count") == "11");
  CHECK(client.metric("kyrodb_wal_fsync_duration_seconds_count") != "0");
  CHECK(client.metric("kyrodb_compaction_duration_seconds_count") == "1");
  CHECK(client.metric("kyrodb_wal_written_bytes_total") != "0");
  CHECK(client.metric("kyrodb_rmi_index_size_bytes") != "0");
  CHECK(client.metric("kyrodb_rmi_index_leaves") != "0");
  CHECK(client.metric("kyrodb_http_requests_total{route=\"kv\",code=\"201\"}") == "10");
  CHECK(client.metric("kyrodb_http_requests_total{route=\"kv\",code=\"404\"}") == "1");
  CHECK(client.metric("kyrodb_http_rejected_total{reason=\"version\"}") == "1");
  CHECK(client.metric("kyrodb_http_connections") == "1");
  CHECK(client.get("/metrics").body.find("987654321") == std::string::npos);
}

TEST_CASE("promtool has nothing to say about the metrics", "[e2e]") {
  const std::string promtool = "/usr/bin/promtool";
  if (access(promtool.c_str(), X_OK) != 0) {
    WARN("skipped: promtool (Debian: prometheus) is not installed");
    return;
  }
  TempDir dir;
  ServerProcess server(dir.file("data"));
  Client client(server);
  REQUIRE(client.call("PUT", "/v1/kv/1", "v").status == 201);
  REQUIRE(client.call("POST", "/v1/compact").status == 200);
  const Outcome outcome = run_program({promtool, "check", "metrics"}, client.get("/metrics").body);
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.empty());
}
