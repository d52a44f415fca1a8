// The status page in a real browser: test/page/checks.py, which needs Debian's chromium and
// python3.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {

TEST_CASE("In Chromium the page shows what the server has, and runs nothing of it", "[e2e]") {
  constexpr int kNoBrowser = 77;
  const std::string cities = "../shared/data/cities.ndjson.gz";
  const std::string pictures =
      (std::filesystem::path(server_binary()).parent_path() / "screenshots").string();
  const TempDir dir;
  std::string records = "test/data/places.ndjson";
  if (std::filesystem::exists(cities)) {
    records = dir.file("cities.ndjson");
    REQUIRE(run_program({"/bin/bash", "-c", "zcat " + cities + " >" + records}).exit_code == 0);
  }
  // A browser beside compilers and other tests takes its time.
  Process checks({"/bin/bash", "-c",
                  "command -v python3 >/dev/null || exit 77; python3 -B test/page/checks.py " +
                      server_binary() + " " + pictures + " " + records});
  const Outcome outcome = checks.wait(std::chrono::minutes(6));
  if (outcome.exit_code == kNoBrowser) {
    WARN("skipped: chromium or python3 is not installed");
    return;
  }
  std::printf("page_test: %s", outcome.out.c_str());
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
}

}  // namespace kyro::test
