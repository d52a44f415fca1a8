// A real Prometheus scrapes the server; the alert rules and the dashboard name only series that
// exist.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "kyro/server/routes/offset_waits.h"
#include "kyro/server/routes/waiting_reads.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

constexpr const char* kPromtool = "/usr/bin/promtool";
constexpr const char* kPrometheus = "/usr/bin/prometheus";

// The names in `text` that begin with kyrodb_ or process_, as a query would use them.
std::set<std::string> metric_names(std::string_view text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_0123456789";
  std::set<std::string> names;
  for (const std::string_view prefix : {"kyrodb_", "process_"}) {
    for (size_t at = 0; (at = text.find(prefix, at)) != text.npos; at += prefix.size()) {
      const size_t end = std::min(text.find_first_not_of(kLetters, at), text.size());
      names.emplace(text.substr(at, end - at));
    }
  }
  return names;
}

// The names of all series of a metrics page.
std::set<std::string> series_names(std::string_view page) {
  std::set<std::string> names;
  while (!page.empty()) {
    const std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    if (!line.starts_with('#')) names.emplace(line.substr(0, line.find_first_of("{ ")));
  }
  return names;
}

// Those that a replica has beside them: the rows of the README's table, which another test holds
// against the page.
std::set<std::string> replica_series() {
  std::set<std::string> names;
  for (const std::string& name : metric_names(read_file("scripts/deploy/README.md"))) {
    if (name.starts_with("kyrodb_log_")) names.insert(name);
  }
  names.erase("kyrodb_log_");  // their kind
  names.erase("kyrodb_log_lines_dropped_total");
  names.erase("kyrodb_log_append_seconds");
  names.insert("kyrodb_log_append_seconds_bucket");
  return names;
}

// Prometheus on a port that the kernel chooses, scraping one target four times a second.
class PrometheusProcess {
 public:
  PrometheusProcess(const TempDir& dir, const ServerProcess& server) {
    std::ofstream(dir.file("prometheus.yml"))
        << "global: {scrape_interval: 250ms, evaluation_interval: 250ms}\n"
        << "rule_files: ['" << std::filesystem::absolute("scripts/deploy/alerts.yml").string()
        << "']\nscrape_configs:\n  - job_name: kyrodb\n    static_configs:\n      - targets: "
        << "['127.0.0.1:" << server.port() << "']\n";
    process_.emplace(Args{kPrometheus, "--config.file=" + dir.file("prometheus.yml"),
                          "--storage.tsdb.path=" + dir.file("tsdb"),
                          "--web.listen-address=127.0.0.1:0", "--log.level=info"});
    const bool is_up = process_->wait_for_err("Server is ready to receive web requests");
    const std::string err = process_->err();
    INFO(err);
    REQUIRE(is_up);
    constexpr std::string_view kBefore = "msg=\"Listening on\" address=127.0.0.1:";
    const size_t at = err.find(kBefore);
    REQUIRE(at != err.npos);
    const size_t begin = at + kBefore.size();
    url_ = "http://127.0.0.1:" + err.substr(begin, err.find_first_of(" \n", begin) - begin);
  }
  [[nodiscard]] HttpEndpoint endpoint() const { return parse_endpoint(url_).value(); }

 private:
  std::optional<Process> process_;
  std::string url_;
};

}  // namespace

TEST_CASE("Every series that the alert rules and the dashboard use exists", "[e2e]") {
  Served served;
  REQUIRE(served.client.call("PUT", "/v1/kv/1", "v").status == 201);
  std::set<std::string> known = series_names(served.client.get("/metrics").body);
  known.merge(replica_series());
  REQUIRE(known.contains("kyrodb_ready"));
  for (const char* file : {"scripts/deploy/alerts.yml", "scripts/deploy/grafana.json"}) {
    const std::set<std::string> used = metric_names(read_file(file));
    CHECK(used.size() > 10);
    for (const std::string& name : used) {
      INFO(file << " uses " << name);
      CHECK(known.contains(name));
    }
  }
}

TEST_CASE("The dashboard or an alert looks at every series, but for those that add nothing to it",
          "[e2e]") {
  Served served;
  const std::set<std::string> used = metric_names(read_file("scripts/deploy/alerts.yml") +
                                                  read_file("scripts/deploy/grafana.json"));
  const std::set<std::string> left_out{
      "kyrodb_btree_reads_total", "kyrodb_rmi_reads_total",  // parts of kyrodb_reads_total
      "kyrodb_read_misses_total", "kyrodb_delta_keys",       // beside what is drawn in bytes
      "kyrodb_filter_bytes",      "kyrodb_rmi_epsilon_max",
      "kyrodb_rmi_index_leaves",  "kyrodb_next_offset"};
  std::set<std::string> all = series_names(served.client.get("/metrics").body);
  all.merge(replica_series());
  for (const std::string& name : all) {
    if (!name.starts_with("kyrodb_") || name.ends_with("_sum") || name.ends_with("_count"))
      continue;
    INFO(name);
    CHECK(used.contains(name) != left_out.contains(name));
  }
}

TEST_CASE("promtool accepts the alert rules, and the dashboard is JSON", "[e2e]") {
  const std::string dashboard = read_file("scripts/deploy/grafana.json");
  JsonReader reader(dashboard);
  CHECK(reader.skip_value());
  CHECK(reader.finish().ok());
  if (access(kPromtool, X_OK) != 0) {
    WARN("skipped: promtool (Debian: prometheus) is not installed");
    return;
  }
  const Outcome outcome = run_program({kPromtool, "check", "rules", "scripts/deploy/alerts.yml"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  const std::string alerts = read_file("scripts/deploy/alerts.yml");
  size_t rules = 0;
  for (size_t at = 0; (at = alerts.find("- alert: ", at)) != alerts.npos; ++at) ++rules;
  CHECK(outcome.out.find("SUCCESS: " + std::to_string(rules) + " rules") != outcome.out.npos);
}

TEST_CASE("Every alert fires when it should and not before, by promtool's unit tests", "[e2e]") {
  const std::string alerts = read_file("scripts/deploy/alerts.yml");
  const std::string tests = read_file("test/data/alerts_test.yml");
  constexpr std::string_view kName = "- alert: ";
  for (size_t at = 0; (at = alerts.find(kName, at)) != alerts.npos; ++at) {
    const size_t begin = at + kName.size();
    const std::string name = alerts.substr(begin, alerts.find('\n', begin) - begin);
    INFO(name);
    CHECK(contains(tests, "\n        alertname: " + name + "\n        exp_alerts:\n"));
  }
  // Nine tenths of what is allowed.
  CHECK(contains(alerts, "kyrodb_waiting_reads > " + std::to_string(WaitingReads::kMax / 10 * 9)));
  CHECK(contains(alerts, "of at most " + std::to_string(WaitingReads::kMax)));
  CHECK(contains(alerts, "kyrodb_offset_waits > " + std::to_string(OffsetWaits::kMax / 10 * 9)));
  if (access(kPromtool, X_OK) != 0) {
    WARN("skipped: promtool (Debian: prometheus) is not installed");
    return;
  }
  const Outcome outcome = run_program({kPromtool, "test", "rules", "test/data/alerts_test.yml"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(contains(outcome.out, "SUCCESS"));
}

TEST_CASE("A real Prometheus scrapes the server, and its queries and rules see it", "[e2e]") {
  if (access(kPrometheus, X_OK) != 0) {
    WARN("skipped: Prometheus (Debian: prometheus) is not installed");
    return;
  }
  Served served({"--request-log"});
  for (uint64_t i = 0; i < 7; ++i)
    REQUIRE(served.client.call("PUT", kv_path(i), "v").status == 201);
  const PrometheusProcess prometheus(served.dir, served.server);
  Client client(prometheus.endpoint());
  REQUIRE(served.server.process().wait_for_err("route=metrics"));
  // What was scraped is stored in a moment; nothing tells us when, so we ask until it is.
  const auto ask = [&](const std::string& query, const std::string& wanted) {
    std::string body;
    const auto deadline = std::chrono::steady_clock::now() + kProcessTimeout;
    do {
      body = client.get("/api/v1/query?query=" + query).body;
      std::this_thread::yield();
    } while (body.find(wanted) == body.npos && std::chrono::steady_clock::now() < deadline);
    INFO(query << ": " << body);
    CHECK(body.find(wanted) != body.npos);
  };
  ask("kyrodb_appends_total", ",\"7\"]");
  ask("up%7Bjob%3D%22kyrodb%22%7D", ",\"1\"]");
  ask("kyrodb_http_requests_total%7Broute%3D%22kv%22%2Ccode%3D%22201%22%7D", ",\"7\"]");
  ask("kyrodb_append_latency_seconds_count", ",\"7\"]");
  ask("process_start_time_seconds%7Bjob%3D%22kyrodb%22%7D%3E1500000000", "\"value\"");
  const std::string rules = client.get("/api/v1/rules").body;
  CHECK(rules.find("\"name\":\"KyrodbReadOnly\"") != rules.npos);
  CHECK(rules.find("\"health\":\"err\"") == rules.npos);
}

}  // namespace kyro::test
