// store_figures(): what an engine's view adds up to, and that lists are cut where they are told.
#include "kyro/storage/figures.h"

#include <catch2/catch.hpp>
#include <string>

#include "kyro/storage/engine.h"
#include "test/support/test_util.h"

namespace kyro::test {

TEST_CASE("Figures add up runs, deltas and segments, and list the newest first") {
  const TempDir dir;
  Options options{.data_dir = dir.file("store")};
  options.wal_segment_bytes = 4096;
  options.reserve_bytes = 0;
  options.merge_fan_in = 100;
  auto opened = Engine::open(options);
  REQUIRE(opened.ok());
  Engine& engine = **opened;
  StoreFigures empty = store_figures(engine.view(), {.model_points = 8});
  CHECK(empty.keys == 0);
  CHECK(empty.runs.empty());
  CHECK(empty.model.run_id == 0);
  CHECK(empty.model.points.empty());
  CHECK(empty.segment_count == 1);

  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t key = 0; key < 50 * (round + 1); ++key) {
      REQUIRE(engine.put(key * 10, std::string(40, 'v')).ok());
    }
    REQUIRE(engine.snapshot().ok());
  }
  REQUIRE(engine.put(5, "in memory").ok());
  const View view = engine.view();
  const StoreFigures all = store_figures(view, {.model_points = 8});
  CHECK(all.keys == 50 + 100 + 150 + 1);
  CHECK(all.delta_keys == 1);
  CHECK(all.delta_bytes > 0);
  CHECK(all.run_count == 3);
  REQUIRE(all.runs.size() == 3);
  CHECK(all.runs.front().meta.records == 150);
  CHECK(all.runs.front().meta.end_offset == 300);
  CHECK(all.runs.back().meta.first_offset == 0);
  uint64_t data_bytes = 0;
  for (const RunFigures& run : all.runs) {
    data_bytes += run.data_bytes;
    CHECK(run.depth >= 1);
    CHECK(run.leaves >= 1);
    CHECK(run.made_secs > 1'700'000'000);
  }
  CHECK(all.data_bytes == data_bytes);
  CHECK(all.indexed_keys == 300);
  CHECK(all.model.run_id == all.runs.front().meta.id);
  CHECK(all.model.points.size() == 8);
  CHECK(all.model.points.back().rank > 75);  // keys, not pages
  CHECK(all.model.points.back().rank <= 150);
  CHECK(all.segment_count == view.segments.size());
  REQUIRE(all.segments.size() > 1);
  CHECK(all.segments.front().first_offset == view.segments.back().first_offset);

  const StoreFigures few = store_figures(view, {.runs = 1, .segments = 1});
  CHECK(few.runs.size() == 1);
  CHECK(few.segments.size() == 1);
  CHECK(few.run_count == 3);
  CHECK(few.data_bytes == all.data_bytes);
  CHECK(few.segment_count == all.segment_count);
  CHECK(few.model.points.empty());
}

}  // namespace kyro::test
