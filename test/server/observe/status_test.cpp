// render_status(): what the page says of servers that are not simply well, and that its lists end.
#include "kyro/server/observe/status.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "test/support/engine_harness.h"
#include "test/support/json_tree.h"

namespace kyro::test {
namespace {

struct Reported {
  HttpStats http;
  RecoveryProgress progress;
  std::unique_ptr<History> history = std::make_unique<History>();

  JsonTree status(Engine* engine, bool is_draining = false) const {
    return JsonTree::parse(render_status({.engine = engine,
                                          .progress = progress,
                                          .http = http,
                                          .history = *history,
                                          .is_draining = is_draining},
                                         {.history_rows = 5, .sample_points = 5}));
  }
};

}  // namespace

TEST_CASE("Before there is a store the status says how far the log has been replayed") {
  Reported at;
  at.progress.records = 1234;
  at.progress.segments = 3;
  at.progress.segments_all = 7;
  const JsonTree status = at.status(nullptr);
  CHECK(status.at("state").text == "recovering");
  CHECK(status.at("recovery").at("records").text == "1234");
  CHECK(status.at("recovery").at("segments").text == "3");
  CHECK(status.at("recovery").at("segments_all").text == "7");
  CHECK(status.find("keys") == nullptr);
  CHECK(status.at("history").at("rows").elements.empty());
}

TEST_CASE("The status names why writes have stopped, and that the server is ending") {
  const QuietLog quiet;
  FaultFs fs;
  const auto engine = must_open(small_options(fs));
  const Reported at;
  CHECK(at.status(engine.get()).at("state").text == "ready");
  CHECK(at.status(engine.get()).at("why").text.empty());
  fs.inject({FsCall::kSync, Code::kIoError, 0, 1, "wal-"});
  CHECK_FALSE(engine->put(1, "one").ok());
  const JsonTree status = at.status(engine.get());
  CHECK(status.at("state").text == "read_only");
  CHECK(status.at("why").text.find("injected") != std::string::npos);
  CHECK(at.status(engine.get(), true).at("state").text == "draining");
}

TEST_CASE("The status lists 64 segments of the log, and says how many there are") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.wal_segment_bytes = 4 * kKiB;
  options.wal_segments_max = 1000;
  options.delta_max_bytes = 64 * kMiB;
  const auto engine = must_open(options);
  for (uint64_t key = 0; key < 300; ++key) {
    REQUIRE(engine->put(key, std::string(2000, 'v')).ok());
  }
  const View view = engine->view();
  REQUIRE(view.segments.size() > 64);
  const JsonTree status = Reported().status(engine.get());
  CHECK(status.at("segment_count").text == std::to_string(view.segments.size()));
  const auto& segments = status.at("segments").elements;
  REQUIRE(segments.size() == 64);
  CHECK(segments[0].at("first_offset").text == std::to_string(view.segments.back().first_offset));
  CHECK(segments[0].at("bytes").text == std::to_string(engine->wal_position()));
}

}  // namespace kyro::test
