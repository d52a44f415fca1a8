// What a store takes of its volume, what it keeps free, and what it does where nobody can tell.
#include "kyro/storage/disk_space.h"

#include <catch2/catch.hpp>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Warnings = std::vector<std::string_view>;

// As `fs` tells it.
void ask(DiskSpace& space, FileSystem& fs) {
  auto dir = fs.open_dir(kDir, DirMode::kCreate);
  REQUIRE(dir.ok());
  space.refresh(**dir);
}

}  // namespace

TEST_CASE(
    "what is kept, deltas, log and runs are shares of a small volume, bounded on a large one") {
  const QuietLog quiet;
  for (const uint64_t total : {32 * kMiB, 200 * kMiB, 10 * kGiB, 1024 * kGiB}) {
    INFO(total);
    FaultFs fs;
    fs.set_volume(total);
    const Options options;
    DiskSpace space(options);
    ask(space, fs);
    CHECK(space.is_known());
    CHECK(space.kept_bytes() <= total / 8);
    CHECK(space.kept_bytes() >= std::min(total / 16, kGiB));
    CHECK(space.delta_bytes_max() == std::min(options.delta_max_bytes, total / 32));
    CHECK(space.segment_bytes_max() == std::min(options.wal_segment_bytes, total / 32));
    CHECK(space.reserve_bytes() == std::min(options.reserve_bytes, total / 8));
    CHECK(space.retained_log_bytes_max() == total / 8);
    // A run can be written anew on what is kept for that, or leaves a quarter free.
    CHECK(space.merge_bytes_max() == (total > 16 * kGiB ? total - total / 4 : total / 16));
    CHECK(!space.is_short());
    CHECK(space.admits(total - space.kept_bytes() - kMiB, space.kept_bytes()));
    CHECK(!space.admits(total - space.kept_bytes() + 1, space.kept_bytes()));
  }
}

TEST_CASE("a volume of unknown size keeps nothing, refuses nothing and bounds nothing") {
  FaultFs fs;
  const Options options;
  DiskSpace space(options);
  ask(space, fs);
  CHECK(!space.is_known());
  CHECK(!space.is_unknown());  // nobody failed to tell: such file systems are
  CHECK(space.kept_bytes() == 0);
  CHECK(space.admits(~uint64_t{0}, space.kept_bytes()));
  CHECK(space.delta_bytes_max() == options.delta_max_bytes);
  CHECK(space.merge_bytes_max() == ~uint64_t{0});
}

TEST_CASE("what was refused is told until there is room for it, even if little is free") {
  FaultFs fs;
  const Options options;
  DiskSpace space(options);
  fs.set_volume(8 * kMiB);
  ask(space, fs);
  CHECK(!space.is_full());
  const uint64_t above_kept = space.free_bytes() - space.kept_bytes();
  CHECK(space.admits(above_kept, space.kept_bytes()));
  CHECK(!space.admits(above_kept + 1, space.kept_bytes()));
  space.note_refused(above_kept + 1);
  space.note_refused(1);  // the largest counts
  CHECK(space.is_full());
  ask(space, fs);
  CHECK(space.is_full());
  fs.set_volume(9 * kMiB);
  ask(space, fs);
  CHECK(!space.is_full());
  fs.set_volume(8 * kMiB);
  ask(space, fs);
  CHECK(!space.is_full());  // forgotten, as it could have been stored
}

TEST_CASE("a file system that cannot say how much is free is warned of, and writes go on") {
  const QuietLog quiet;
  FaultFs fs;
  fs.set_volume(64 * kMiB);
  fs.inject({FsCall::kFreeBytes, Code::kIoError, 0, ~uint64_t{0}, ""});
  Options options = small_options(fs);
  options.reserve_bytes = 256 * kKiB;
  auto engine = must_open(options);
  CHECK(engine->disk_warnings() == Warnings{"disk_space_unknown", "disk_reserve_missing"});
  for (uint64_t key = 0; key < 2000; ++key) must_put(*engine, key, std::string(100, 'v'));
  REQUIRE(engine->snapshot().ok());
  REQUIRE(engine->compact().ok());
  CHECK(engine->disk_kept_bytes() == 0);
  CHECK(engine->view().runs.size() == 1);
  fs.heal();
  engine.reset();
  engine = must_open(options);
  CHECK(engine->disk_warnings().empty());
  CHECK(engine->disk_kept_bytes() > 0);
}

TEST_CASE("a file system that cannot set blocks aside is warned of, and writes go on") {
  const QuietLog quiet;
  FaultFs fs;
  fs.set_volume(64 * kMiB);
  fs.inject({FsCall::kAllocate, Code::kUnsupported, 0, ~uint64_t{0}, "RESERVE"});
  Options options = small_options(fs);
  options.reserve_bytes = 256 * kKiB;
  auto engine = must_open(options);
  CHECK(engine->disk_warnings() == Warnings{"disk_reserve_missing"});
  for (uint64_t key = 0; key < 2000; ++key) must_put(*engine, key, std::string(100, 'v'));
  CHECK(engine->snapshot().ok());
}

TEST_CASE("a full disk is warned of and its refusals are counted, until it has room again") {
  const QuietLog quiet;
  FaultFs fs;
  fs.set_volume(8 * kMiB);
  Options options = small_options(fs);
  options.reserve_bytes = 256 * kKiB;
  auto engine = must_open(options);
  CHECK(engine->disk_warnings().empty());
  // Room that a flush gives back ends the warning, even between two looks: once seen is enough.
  uint64_t refusals = 0;
  Warnings seen;
  for (uint64_t key = 0; key < 100'000; ++key) {
    const Status status = engine->put(key, std::string(1000, 'v')).status();
    if (status.ok()) continue;
    REQUIRE(status.code() == Code::kNoSpace);
    ++refusals;
    seen = engine->disk_warnings();
    if (!seen.empty()) break;
  }
  CHECK(seen == Warnings{"disk_full"});
  CHECK(engine->stats().refused_no_space.value() == refusals);
  CHECK(engine->stats().refused_read_only.value() == 0);
  fs.set_volume(16 * kMiB);
  while (!engine->put(1, "v").ok()) std::this_thread::yield();
  CHECK(!engine->has_disk_warning("disk_full"));
}

TEST_CASE("a snapshot applies a retention of the log that was lowered since it was written") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.wal_segments_max = 20;
  {
    auto engine = must_open(options);
    for (uint64_t key = 0; key < 1000; ++key) must_put(*engine, key, std::string(100, 'v'));
    REQUIRE(engine->snapshot().ok());
    CHECK(files(fs, "wal-", ".log").size() > 10);
  }
  options.wal_segments_max = 2;
  auto engine = must_open(options);
  REQUIRE(engine->snapshot().ok());
  CHECK(files(fs, "wal-", ".log").size() == 2);
  CHECK(engine->view().segments.size() == 2);
  CHECK(contents_of(*engine).size() == 1000);
}

}  // namespace kyro::test
