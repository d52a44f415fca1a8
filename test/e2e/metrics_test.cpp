// The metrics page of the real server: complete from the start, right after some work, and in the
// form that Prometheus' own checker accepts.
#include <catch2/catch.hpp>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "test/support/server_process.h"

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
                                         "wal_filled_bytes_total",
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
                                         "filter_bytes",
                                         "rmi_epsilon_max",
                                         "rmi_rebuilds_total",
                                         "read_only",
                                         "ready",
                                         "disk_free_bytes",
                                         "disk_size_bytes",
                                         "waiting_reads",
                                         "backup_streams",
                                         "backup_failures_total",
                                         "corruptions_total",
                                         "scrubbed_bytes_total",
                                         "dead_bytes",
                                         "http_connections",
                                         "sse_subscribers",
                                         "sse_lagged_total",
                                         "http_requests_total{route=\"put\",code=\"200\"}"};

constexpr std::string_view kHistograms[] = {
    "append_latency_seconds",      "wal_fsync_duration_seconds",   "snapshot_latency_seconds",
    "compaction_duration_seconds", "rmi_rebuild_duration_seconds", "rmi_probe_len"};

constexpr std::string_view kRejections[] = {
    "bad_request",   "header_timeout",     "body_timeout",     "body_too_large", "uri_too_long",
    "expectation",   "headers_too_large",  "not_implemented",  "version",        "inflight_bytes",
    "connections",   "connections_per_ip", "file_descriptors", "shed",           "write_timeout",
    "unauthorized",  "forbidden",          "rate_data",        "rate_admin",     "stale_reader",
    "waiting_reads", "offset_waits",       "protocol_error",   "streams",        "flood"};

constexpr std::string_view kProcess[] = {
    "process_cpu_seconds_total",    "process_start_time_seconds", "process_resident_memory_bytes",
    "process_virtual_memory_bytes", "process_open_fds",           "process_max_fds"};

std::string series(std::string_view name) {
  return "kyrodb_" + std::string(name);
}

std::string rejections(std::string_view reason) {
  return "kyrodb_http_rejected_total{reason=\"" + std::string(reason) + "\"}";
}

size_t occurrences(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
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
  for (const std::string_view reason : kRejections) {
    INFO(reason);
    CHECK(client.metric(rejections(reason)) == "0");
  }
  CHECK(occurrences(page.body, "\nkyrodb_http_rejected_total{") == std::size(kRejections));
  CHECK(!client.metric("kyrodb_http_request_duration_seconds_count{route=\"get_fast\"}").empty());
  for (const std::string_view name : kProcess) {
    INFO(name);
    CHECK(client.metric(name).find_first_of("123456789") != std::string::npos);
  }
  CHECK(page.body.find("\nkyrodb_build_info{version=\"") != std::string::npos);
  CHECK(client.metric("kyrodb_ready") == "1");
  CHECK(client.metric("kyrodb_disk_free_bytes") != "0");
  CHECK(std::stoull(client.metric("kyrodb_disk_size_bytes")) >
        std::stoull(client.metric("kyrodb_disk_free_bytes")));
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
  CHECK(client.metric("kyrodb_filter_bytes") != "0");
  CHECK(client.metric("kyrodb_rmi_index_leaves") != "0");
  CHECK(client.metric("kyrodb_http_requests_total{route=\"kv\",code=\"201\"}") == "10");
  CHECK(client.metric("kyrodb_http_requests_total{route=\"kv\",code=\"404\"}") == "1");
  CHECK(client.metric("kyrodb_http_rejected_total{reason=\"version\"}") == "1");
  CHECK(client.metric("kyrodb_http_connections") == "1");
  CHECK(client.get("/metrics").body.find("987654321") == std::string::npos);
}

TEST_CASE("The shape of an index is on the page, and its two variables tune it", "[e2e]") {
  std::string lines;
  const std::string value(1000, 'v');     // three share a page, which is what the index leads to
  for (uint64_t i = 1; i <= 5000; ++i) {  // dense, then ever sparser
    lines += "{\"op\":\"put\",\"key\":" + std::to_string(i * i * i / 1000) + ",\"value\":\"" +
             value + "\"}\n";
  }
  struct Shape {
    uint64_t leaves = 0;
    uint64_t epsilon = 0;
  };
  const auto shape_under = [&](const Args& environment) {
    const TempDir dir;
    const ServerProcess server(dir.file("data"), {}, "127.0.0.1", environment);
    Client client(server);
    REQUIRE(client.call("POST", "/v1/batch", lines).status == 200);
    REQUIRE(client.metric("kyrodb_rmi_epsilon_max") == "0");  // no run yet
    REQUIRE(client.call("POST", "/v1/rmi/build").status == 200);
    return Shape{parse_u64(client.metric("kyrodb_rmi_index_leaves")).value_or(0),
                 parse_u64(client.metric("kyrodb_rmi_epsilon_max")).value_or(0)};
  };
  const Shape plain = shape_under({});
  CHECK(plain.leaves > 0);
  CHECK(plain.epsilon > 0);
  CHECK(plain.epsilon <= 12);
  const Shape fine = shape_under({"KYRODB_RMI_TARGET_LEAF=4"});
  CHECK(fine.leaves > 4 * plain.leaves);
  const Shape loose = shape_under({"KYRODB_RMI_EPS_MULT=64"});
  CHECK(loose.epsilon > 12);
  CHECK(loose.epsilon <= 12 * 64);
}

TEST_CASE("A second build of the index counts as a second rebuild", "[e2e]") {
  Served s;
  for (uint64_t key = 1; key <= 2; ++key) {
    REQUIRE(s.client.call("PUT", kv_path(key), "v").status == 201);
    REQUIRE(s.client.call("POST", "/v1/rmi/build").status == 200);
    CHECK(s.client.metric("kyrodb_rmi_rebuilds_total") == std::to_string(key));
    CHECK(s.client.metric("kyrodb_rmi_rebuild_duration_seconds_count") == std::to_string(key));
  }
  REQUIRE(s.client.call("PUT", kv_path(3), "v").status == 201);
  REQUIRE(s.client.call("POST", "/v1/compact").status == 200);
  CHECK(s.client.metric("kyrodb_rmi_rebuilds_total") == "2");
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
