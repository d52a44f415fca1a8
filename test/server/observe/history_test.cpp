// History: what happened in each step of two seconds, and no more of them than are kept.
#include "kyro/server/observe/history.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "test/support/test_util.h"

namespace kyro::test {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

struct Watched {
  Watched() { REQUIRE(engine.ok()); }
  void answer(Route route, Method method, uint64_t count, uint64_t duration_ns, int status = 200) {
    http.count({.count = count,
                .duration_ns = duration_ns,
                .route = static_cast<uint16_t>(route),
                .status = static_cast<uint16_t>(status),
                .method = method});
  }
  void take(uint64_t connections = 0) { history->take(now_ns, http, **engine, connections); }
  std::vector<std::vector<uint64_t>> rows(size_t most = History::kRowsMax) const {
    std::vector<std::vector<uint64_t>> out;
    history->for_each_row(
        most, [&](std::span<const uint64_t> row) { out.emplace_back(row.begin(), row.end()); });
    return out;
  }

  const TempDir dir;
  Result<std::unique_ptr<Engine>> engine = Engine::open({.data_dir = dir.file("store")});
  HttpStats http;
  std::unique_ptr<History> history = std::make_unique<History>();
  uint64_t now_ns = 5 * kSecondNs;
};

}  // namespace

TEST_CASE("A step counts what was answered in it, by kind") {
  Watched at;
  at.answer(Route::kGetFast, Method::kGet, 1000, 20'000);
  at.take();
  CHECK(at.rows().empty());  // what came before is nobody's step

  at.answer(Route::kGetFast, Method::kGet, 98, 20'000);
  at.answer(Route::kKv, Method::kGet, 2, 400'000'000);
  at.answer(Route::kKv, Method::kPut, 5, 3'000'000, 201);
  at.answer(Route::kBatch, Method::kPost, 1, 3'000'000);
  at.answer(Route::kScan, Method::kGet, 1, 3'000'000, 500);
  at.answer(Route::kMetrics, Method::kGet, 4, 3'000'000);
  at.now_ns += kSecondNs;
  at.take();
  CHECK(at.rows().empty());  // it is not over
  at.now_ns += kSecondNs;
  at.take(3);
  REQUIRE(at.rows().size() == 1);
  const auto row = at.rows()[0];
  CHECK(row[History::kMillis] == 2000);
  CHECK(row[History::kReads] == 100);
  CHECK(row[History::kWrites] == 6);
  CHECK(row[History::kScans] == 1);
  CHECK(row[History::kOthers] == 4);
  CHECK(row[History::kFailures] == 1);
  CHECK(row[History::kConnections] == 3);
  // Within the bucket from 10 to 25 us; the slow two of a hundred are the last percent.
  CHECK(row[History::kReadP50] >= 10);
  CHECK(row[History::kReadP50] <= 25);
  CHECK(row[History::kReadP99] >= 250'000);
  CHECK(row[History::kReadP99] <= 1'000'000);
  CHECK(row[History::kSyncs] == 0);
  CHECK(row[History::kSyncP99] == 0);

  at.now_ns += 2 * kSecondNs;
  at.take();
  CHECK(at.rows()[1][History::kReads] == 0);
  CHECK(at.rows()[1][History::kReadP99] == 0);
}

TEST_CASE("A step has the syncs and bytes of the engine") {
  Watched at;
  at.take();
  REQUIRE((*at.engine)->put(1, "one").ok());
  REQUIRE((*at.engine)->snapshot().ok());
  at.now_ns += 2 * kSecondNs;
  at.take();
  const auto row = at.rows().at(0);
  CHECK(row[History::kSyncs] > 0);
  CHECK(row[History::kSyncP99] >= row[History::kSyncP50]);
  CHECK(row[History::kLogBytes] > 0);
  CHECK(row[History::kFlushBytes] > 0);
}

TEST_CASE("The oldest steps are forgotten, and rows are numbered from the start") {
  Watched at;
  constexpr size_t kSteps = 2 * History::kRowsMax;
  for (size_t i = 0; i <= kSteps; ++i) {
    at.answer(Route::kGetFast, Method::kGet, i, 20'000);
    at.take();
    at.now_ns += 2 * kSecondNs;
  }
  const auto rows = at.rows();
  REQUIRE(rows.size() == History::kRowsMax);
  CHECK(rows.back()[History::kReads] == kSteps);
  CHECK(rows.front()[History::kReads] == kSteps + 1 - History::kRowsMax);
  CHECK(at.rows(2).size() == 2);
  CHECK(at.rows(2).back() == rows.back());
  CHECK(at.history->for_each_row(0, [](std::span<const uint64_t>) {}) == kSteps);
}

TEST_CASE("The durations of a route are those of its reads and writes together") {
  Watched at;
  at.answer(Route::kKv, Method::kGet, 3, 20'000);
  at.answer(Route::kKv, Method::kDelete, 4, 20'000, 204);
  CHECK(at.http.duration(static_cast<size_t>(Route::kKv)).count == 7);
  CHECK(at.http.duration(RouteClass::kRead).count == 3);
  CHECK(at.http.duration(RouteClass::kWrite).count == 4);
}

}  // namespace kyro::test
