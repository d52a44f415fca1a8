// The file that the log's next segment will be: filled at the pace of the log, taken once, and gone
// whenever its room is wanted.
#include "kyro/storage/log/spare_segment.h"

#include <catch2/catch.hpp>
#include <thread>

#include "kyro/storage/engine.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

constexpr uint64_t kSpareBytes = 2 * SpareSegment::kPieceBytes + 100;
constexpr char kSparePath[] = "data/wal-next.tmp";

struct Spare {
  FaultFs fs;
  std::unique_ptr<Directory> dir = fs.open_now("data");
  Counter filled_bytes;
  SpareSegment segment{*dir, filled_bytes};

  void make_ready() {
    segment.prepare(kSpareBytes);
    segment.allow(kSpareBytes);
    while (!segment.is_ready()) std::this_thread::yield();
  }
};

Options filling_options(FileSystem& fs) {
  Options options = small_options(fs);
  options.wal_segment_bytes = 64 * kKiB;
  options.wal_fill_after = 4;
  return options;
}

// Puts until one more segment has been begun; how many that took.
uint64_t put_until_rotation(Engine& engine, const FaultFs& fs, uint64_t key) {
  const size_t before = files(fs, "wal-", ".log").size();
  uint64_t puts = 0;
  while (files(fs, "wal-", ".log").size() == before) must_put(engine, key + puts++, "value");
  return puts;
}

}  // namespace

TEST_CASE("a spare segment that is ready is all zeros, synced, and taken once") {
  Spare spare;
  CHECK(spare.segment.take(kSpareBytes) == nullptr);
  spare.make_ready();
  CHECK(spare.filled_bytes.value() == kSpareBytes);
  const auto file = spare.segment.take(kSpareBytes);
  REQUIRE(file != nullptr);
  CHECK(spare.segment.take(kSpareBytes) == nullptr);
  CHECK(spare.fs.contents(kSparePath) == std::string(kSpareBytes, '\0'));
  REQUIRE(spare.dir->sync().ok());
  spare.fs.restart(Loss::kEverything, 1);
  CHECK(spare.fs.contents(kSparePath) == std::string(kSpareBytes, '\0'));
}

TEST_CASE("a spare segment is filled no faster than it may be") {
  Spare spare;
  spare.segment.prepare(kSpareBytes);
  spare.segment.allow(SpareSegment::kPieceBytes);
  while (spare.filled_bytes.value() == 0) std::this_thread::yield();
  spare.segment.allow(SpareSegment::kPieceBytes - 1);
  spare.segment.give_up();
  CHECK(spare.filled_bytes.value() == SpareSegment::kPieceBytes);
}

TEST_CASE("a spare segment gives its room back at every stage, and there may be another") {
  Spare spare;
  spare.segment.give_up();
  spare.segment.prepare(kSpareBytes);
  spare.segment.give_up();
  CHECK(spare.fs.used_bytes() == 0);
  spare.make_ready();
  spare.segment.give_up();
  CHECK(spare.fs.used_bytes() == 0);
  CHECK(spare.segment.take(kSpareBytes) == nullptr);
  spare.make_ready();
  CHECK(spare.segment.take(kSpareBytes + 1) == nullptr);  // of another size: of no use
  CHECK(spare.fs.used_bytes() == 0);
  spare.make_ready();
  spare.segment.stop();
  CHECK(spare.fs.used_bytes() == 0);
  spare.segment.prepare(kSpareBytes);
  CHECK(!spare.fs.exists(kSparePath));
}

TEST_CASE("a spare segment that cannot be made whole leaves nothing behind") {
  for (const FsCall call : {FsCall::kOpen, FsCall::kAllocate, FsCall::kWrite, FsCall::kSync}) {
    Spare spare;
    spare.fs.inject({call, Code::kNoSpace, call == FsCall::kWrite ? 1u : 0u, 1, "wal-next"});
    spare.segment.prepare(kSpareBytes);
    spare.segment.allow(kSpareBytes);
    spare.segment.stop();
    CHECK(!spare.fs.exists(kSparePath));
    CHECK(!spare.segment.is_ready());
  }
}

TEST_CASE("under always the log soon goes on in a segment that was filled, and so do the next") {
  FaultFs fs;
  const Options options = filling_options(fs);
  auto engine = must_open(options);
  // Where the thread that fills is late, a segment is reserved once more.
  uint64_t puts = 0;
  for (int rotations = 0;
       rotations < 200 && engine->stats().wal_filled_bytes.value() < 2 * options.wal_segment_bytes;
       ++rotations) {
    puts += put_until_rotation(*engine, fs, puts);
  }
  CHECK(engine->stats().wal_filled_bytes.value() >= 2 * options.wal_segment_bytes);
  const Contents before = contents_of(*engine);
  engine.reset();
  CHECK(!fs.exists(kSparePath));
  engine = must_open(options);
  CHECK(contents_of(*engine) == before);
}

TEST_CASE("no segment is filled where no group waits for a sync, or nobody wants it") {
  for (const bool is_synced : {false, true}) {
    FaultFs fs;
    Options options = filling_options(fs);
    options.fsync = is_synced ? FsyncPolicy::kAlways : FsyncPolicy::kNever;
    if (is_synced) options.wal_fill_after = 0;
    const auto engine = must_open(options);
    const uint64_t puts = put_until_rotation(*engine, fs, 0);
    put_until_rotation(*engine, fs, puts);
    CHECK(engine->stats().wal_filled_bytes.value() == 0);
  }
}

TEST_CASE("a rotation that fails with a filled segment is tried again, and loses nothing") {
  struct Case {
    Fault fault;
    bool fails_a_put;
  };
  const Case kCases[] = {
      {{FsCall::kWrite, Code::kNoSpace, 0, 1, "wal-next"}, false},  // of zeros
      {{FsCall::kWrite, Code::kNoSpace, 1, 1, "wal-next"}, true},   // of the header
      {{FsCall::kRename, Code::kNoSpace, 0, 1, "wal-next"}, true},
  };
  for (const Case& c : kCases) {
    FaultFs fs;
    const auto engine = must_open(filling_options(fs));
    fs.inject(c.fault);
    uint64_t acknowledged = 0;
    uint64_t failed = 0;
    // The fault waits for the thread that fills.
    while (files(fs, "wal-", ".log").size() < 2 || (c.fails_a_put && failed == 0)) {
      const Code code = put_code(*engine, acknowledged + failed, "value");
      REQUIRE((code == Code::kOk || code == Code::kNoSpace));
      ++(code == Code::kOk ? acknowledged : failed);
    }
    CHECK(failed == (c.fails_a_put ? 1 : 0));
    CHECK(contents_of(*engine).size() == acknowledged);
  }
}

TEST_CASE("a crash leaves a spare segment that the next start removes") {
  FaultFs fs;
  const QuietLog quiet;
  { const auto engine = must_open(small_options(fs)); }
  fs.put_file(kSparePath, std::string(100, '\0'));
  const auto engine = must_open(small_options(fs));
  CHECK(!fs.exists(kSparePath));
}

}  // namespace kyro::test
