// The load generator against the built server: it loads, asks, checks, and notices what is wrong.
#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {
namespace {

// `http_bench …`, built beside the server, to its end.
Outcome run_bench(const ServerProcess& server, Args words) {
  const std::string binary = server_binary().substr(0, server_binary().rfind('/') + 1);
  Args argv{binary + "bench/http_bench",
            "--base",
            server.url(),
            "--load-n",
            "500",
            "--load-concurrency",
            "2",
            "--warmup-seconds",
            "0.01",
            "--read-seconds",
            "0.05",
            "--concurrency",
            "3"};
  argv.insert(argv.end(), words.begin(), words.end());
  return run_program(argv);
}

// What `make` would do, by its words after "bench/run_all.sh".
std::string size_of_bench(const Args& settings) {
  Args argv{"/usr/bin/make", "-n", "bench"};
  argv.insert(argv.end(), settings.begin(), settings.end());
  const Outcome outcome = run_program(argv);
  INFO(outcome.err);
  REQUIRE(outcome.exit_code == 0);
  const size_t at = outcome.out.find("bench/run_all.sh ");
  REQUIRE(at != outcome.out.npos);
  const std::string rest = outcome.out.substr(at + 17);
  return rest.substr(0, rest.find('\n'));
}

TEST_CASE("make bench takes minutes, and seconds or hours where that is asked for", "[e2e]") {
  CHECK(size_of_bench({}) == "usual");
  CHECK(size_of_bench({"SMOKE=1"}) == "smoke");
  CHECK(size_of_bench({"FULL=1"}) == "full");
}

TEST_CASE("the load generator loads a server and finds every answer right", "[e2e]") {
  Served s({"--fsync", "never"});
  const std::string csv = s.dir.file("out.csv");
  const Outcome loaded = run_bench(s.server, {"--out-csv", csv});
  INFO(loaded.out << loaded.err);
  REQUIRE(loaded.exit_code == 0);
  CHECK(loaded.out.find("loaded 500 keys") != loaded.out.npos);
  CHECK(loaded.out.find("RESULT bench=get_fast server=kyro conns=3 pipeline=1 rps=") !=
        loaded.out.npos);
  CHECK(s.client.metric("kyrodb_keys") == "500");
  for (const char* endpoint : {"get_fast", "lookup_fast", "lookup", "kv", "mget", "put", "mixed"}) {
    const Outcome asked = run_bench(
        s.server, {"--skip-load", "--endpoint", endpoint, "--pipeline", "4", "--out-csv", csv});
    INFO(endpoint << ": " << asked.out << asked.err);
    CHECK(asked.exit_code == 0);
    CHECK(asked.out.find("\n0 requests in") == asked.out.npos);
  }
  std::ifstream in(csv);
  int lines = 0;
  for (std::string line; std::getline(in, line);) ++lines;
  CHECK(lines == 9);  // a head and a row for each run
}

TEST_CASE("the load generator sends at the rate it is given and is not hurt by idle connections",
          "[e2e]") {
  Served s({"--fsync", "never"});
  const Outcome run =
      run_bench(s.server, {"--rate", "1000", "--read-seconds", "0.2", "--idle-connections", "20"});
  INFO(run.out << run.err);
  CHECK(run.exit_code == 0);
  // Requests due in the window, answered or not, and no others.
  CHECK(run.out.find("\n200 requests in 0.20 s") != run.out.npos);
}

TEST_CASE("the load generator fails when a value is not what its key was given", "[e2e]") {
  Served s({"--fsync", "never"});
  REQUIRE(run_bench(s.server, {"--load-only"}).exit_code == 0);
  const Outcome other = run_bench(s.server, {"--skip-load", "--val-bytes", "65"});
  CHECK(other.exit_code == 1);
  CHECK(other.out.find("wrong bytes for key") != other.out.npos);
  const Outcome more = run_bench(s.server, {"--skip-load", "--load-n", "5000"});
  CHECK(more.exit_code == 1);
  CHECK(more.out.find("not found") != more.out.npos);
  CHECK(run_bench(s.server, {"--endpoint", "nonsense"}).exit_code == 2);
}

}  // namespace
}  // namespace kyro::test
