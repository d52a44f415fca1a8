// `kyrodbctl top`, `latency` and `bench`.
#include <atomic>
#include <catch2/catch.hpp>
#include <sstream>
#include <thread>

#include "kyro/client/top.h"
#include "test/support/ctl.h"

namespace kyro::test {
namespace {

uint64_t field_of(const std::string& json, const std::string& path) {
  const ctl::FlatJson flat(json);
  REQUIRE(flat.ok());
  REQUIRE(flat.has(path));
  return flat.number(path);
}

}  // namespace

TEST_CASE("top shows the routes of this second within 80 columns, and JSON a line a second",
          "[e2e]") {
  CtlSession s;
  std::atomic<bool> stop{false};
  std::thread load([&] {
    HttpClient own(s.server.endpoint());
    HttpResponse response;
    for (uint64_t key = 0; !stop.load(); ++key) {
      if (!own.request("PUT", kv_path(key), "v", &response).ok()) break;
      if (!own.request("GET", "/v1/get_fast/9", {}, &response).ok()) break;
    }
  });
  const Outcome table = s.ctl({"top", "--count", "2"});
  const Outcome json = s.ctl({"--json", "top", "--count", "1"});
  stop = true;
  load.join();
  INFO(table.out << table.err << json.out);
  CHECK(table.exit_code == 0);
  CHECK(table.err.empty());
  CHECK(contains(table.out, "route     a second  failed  p50"));
  CHECK(contains(table.out, "\nkv "));
  CHECK(contains(table.out, "\nget_fast "));
  CHECK(contains(table.out, " puts/s, "));
  std::istringstream lines(table.out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 80);
  CHECK(is_json_line(json.out));
  CHECK(field_of(json.out, "routes.kv.requests") > 0);
  CHECK(field_of(json.out, "routes.kv.failures") == 0);
  CHECK(field_of(json.out, "routes.get_fast.p50_us") > 0);
  CHECK(s.server.stop().exit_code == 0);
  check_fails(s.ctl({"top"}), 5, "cannot connect");
}

TEST_CASE("top computes rates and bounds from what came between two looks") {
  using ctl::MetricsPage;
  const std::string name = "kyrodb_http_request_duration_seconds_bucket{route=\"kv\",le=\"";
  const auto page = [&](int requests, int failed, int fast, int slow, int all) {
    return MetricsPage("# HELP x y\nkyrodb_http_requests_total{route=\"kv\",code=\"200\"} " +
                       std::to_string(requests) +
                       "\nkyrodb_http_requests_total{route=\"kv\",code=\"503\"} " +
                       std::to_string(failed) + "\nkyrodb_http_requests_total{route=\"put\"," +
                       "code=\"200\"} 9\n" + name + "0.001\"} " + std::to_string(fast) + "\n" +
                       name + "0.01\"} " + std::to_string(slow) + "\n" + name + "+Inf\"} " +
                       std::to_string(all) + "\nkyrodb_keys 12\nbroken\n");
  };
  const MetricsPage before = page(1000, 10, 500, 800, 1010);
  const MetricsPage now = page(1190, 20, 600, 999, 1210);
  const ctl::TopFrame frame(before, now, 2);
  CHECK(frame.json() ==
        "{\"keys\":12,\"syncs\":0,\"routes\":{\"kv\":{\"requests\":100,\"failures\":5,"
        "\"p50_us\":1000,\"p90_us\":10000,\"p99_us\":10000,\"p99.9_us\":null}}}\n");
  CHECK(contains(frame.text(), "kv     100       5       <= 1 ms  <= 10 ms  -"));
}

TEST_CASE("latency counts from when a request was due, also while the server is stopped", "[e2e]") {
  CtlSession s;
  const Outcome table = s.ctl({"latency", "--rate", "200", "--secs", "1"});
  check_says(table, "requests  200, 200 a second");
  CHECK(contains(table.out, "p99.9 "));
  // Held for half of the time: half of what was due has waited, a quarter of all at least 200 ms.
  Process probe({client_binary(), "-e", s.server.url(), "--json", "latency", "--rate", "1000",
                 "--secs", "2"});
  Client client(s.server);
  const std::string answered = "kyrodb_http_requests_total{route=\"get_fast\",code=\"404\"}";
  while (parse_u64(client.metric(answered)).value_or(0) < 250) std::this_thread::yield();
  s.server.process().signal(SIGSTOP);
  client.set_timeout_ms(1000);
  HttpResponse none;
  CHECK(!client.request("GET", "/health", {}, &none).ok());  // for a second
  s.server.process().signal(SIGCONT);
  const Outcome held = probe.wait();
  INFO(held.out << held.err);
  CHECK(held.exit_code == 0);
  CHECK(is_json_line(held.out));
  CHECK(field_of(held.out, "requests") == 2000);
  CHECK(field_of(held.out, "p90_us") > 200'000);
  CHECK(field_of(held.out, "max_us") > 900'000);
  CHECK(s.server.stop().exit_code == 0);
  check_fails(s.ctl({"latency", "--secs", "1"}), 5, "cannot connect");
  check_fails(s.ctl({"latency", "--rate", "0"}), 2, "--rate");
}

TEST_CASE("bench says that it is a first impression, and leaves nothing behind", "[e2e]") {
  CtlSession s;
  Client client(s.server);
  REQUIRE(client.call("PUT", kv_path(7), "mine").status == 201);
  const Outcome table = s.ctl({"bench", "--secs", "1", "--connections", "4"});
  INFO(table.out << table.err);
  CHECK(table.exit_code == 0);
  CHECK(contains(table.err, "For a first impression"));
  CHECK(contains(table.out, "a second"));
  CHECK(contains(table.out, "\nput "));
  CHECK(contains(table.out, "\nget "));
  const Outcome json = s.ctl({"--json", "bench", "--secs", "1", "--connections", "2"});
  CHECK(is_json_line(json.out));
  CHECK(field_of(json.out, "put.per_second") > 0);
  CHECK(field_of(json.out, "get.p99_us") >= field_of(json.out, "get.p50_us"));
  CHECK(client.get("/v1/count").body.starts_with("{\"count\":1,"));
  REQUIRE(client.call("PUT", kv_path(uint64_t{1} << 63), "mine too").status == 201);
  check_fails(s.ctl({"bench", "--secs", "1"}), 1, "there are keys already");
  CHECK(client.get(kv_path(uint64_t{1} << 63)).body == "mine too");
}

}  // namespace kyro::test
