// The room that runs take: what is dead is estimated and bounded, and merges look before they
// write.
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "kyro/storage/run/dead_bytes.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

uint64_t run_bytes(Engine& engine) {
  uint64_t bytes = 0;
  for (const auto& run : engine.view().runs) bytes += run->meta().record_bytes;
  return bytes;
}

uint64_t dead_bytes(Engine& engine) {
  return estimate_dead_bytes(engine.view().runs);
}

void put_range(Engine& engine, uint64_t begin, uint64_t end, size_t value_bytes) {
  for (uint64_t key = begin; key < end; ++key) must_put(engine, key, std::string(value_bytes, 'v'));
  REQUIRE(engine.snapshot().ok());
}

// Until the background has nothing left to merge.
void wait_for_merges(Engine& engine) {
  REQUIRE(engine.snapshot().ok());
  while (!choose_merge(engine.view().runs, engine.options().merge_fan_in).empty()) {
    std::this_thread::yield();
  }
}

}  // namespace

TEST_CASE("dead bytes are exact for overwrites, 0 for new keys beside the old ones and one run") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.merge_fan_in = 100;
  auto engine = must_open(options);
  put_range(*engine, 0, 200, 100);
  CHECK(dead_bytes(*engine) == 0);
  put_range(*engine, 1000, 1100, 100);
  CHECK(dead_bytes(*engine) == 0);
  put_range(*engine, 0, 50, 100);
  CHECK(dead_bytes(*engine) == 50 * 132);
  for (uint64_t key = 1000; key < 1010; ++key) REQUIRE(engine->remove(key).ok());
  REQUIRE(engine->snapshot().ok());
  CHECK(dead_bytes(*engine) == 50 * 132 + 10 * 132 + 10 * 32);
  REQUIRE(engine->compact().ok());
  CHECK(dead_bytes(*engine) == 0);
  CHECK(run_bytes(*engine) == 290 * 132);
}

TEST_CASE(
    "background merging keeps runs within three times what is live, whatever is overwritten") {
  const QuietLog quiet;
  const uint64_t seed = test_seed(5);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 6; ++round) {
    INFO("KYRO_TEST_SEED=" << seed << ", round " << round);
    FaultFs fs;
    Options options = small_options(fs);
    options.merge_fan_in = 2 + static_cast<uint32_t>(random() % 4);
    auto engine = must_open(options);
    const uint64_t keys = 200 + random() % 2000;
    const size_t value_bytes = random() % 300;
    const uint64_t deletes_of_10 = random() % 8;
    for (uint64_t i = 0; i < 6000; ++i) {
      const uint64_t key = round % 2 == 0 ? random() % keys : i % keys;
      if (random() % 10 < deletes_of_10) {
        static_cast<void>(engine->remove(key));
      } else {
        must_put(*engine, key, std::string(value_bytes, 'v'));
      }
      if (i % 1000 != 999) continue;
      wait_for_merges(*engine);
      uint64_t live_bytes = 0;
      for (const auto& [k, stored] : contents_of(*engine)) {
        live_bytes += kRecordHeaderBytes + stored.value.size();
      }
      INFO(run_bytes(*engine) << " bytes in " << engine->view().runs.size() << " runs, "
                              << live_bytes << " live, " << dead_bytes(*engine) << " dead");
      REQUIRE(run_bytes(*engine) <= 3 * live_bytes + 64);
    }
  }
}

TEST_CASE("after everything is deleted the background gives the room back") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  put_range(*engine, 0, 1000, 500);
  REQUIRE(engine->compact().ok());
  for (uint64_t key = 0; key < 1000; ++key) REQUIRE(engine->remove(key).ok());
  wait_for_merges(*engine);
  while (!engine->view().runs.empty()) std::this_thread::yield();
  CHECK(dead_bytes(*engine) == 0);
}

TEST_CASE("a compaction without room for its inputs says so beforehand, in numbers") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.merge_fan_in = 100;
  options.wal_segments_max = 1;
  auto engine = must_open(options);
  put_range(*engine, 0, 200, 500);
  put_range(*engine, 200, 400, 500);
  const uint64_t inputs = run_bytes(*engine);
  const size_t runs = engine->view().runs.size();
  REQUIRE(runs >= 2);
  const Contents before = contents_of(*engine);
  fs.set_capacity(fs.used_bytes() + inputs / 2);
  const Status status = engine->compact();
  CHECK(status.code() == Code::kNoSpace);
  CHECK_THAT(std::string(status.message()), Contains("merging needs ") &&
                                                Contains(" bytes of free space, ") &&
                                                Contains(" are there"));
  CHECK(!engine->latch().is_set());
  CHECK(engine->view().runs.size() == runs);
  CHECK(files(fs, "run-", ".data").size() == runs);
  CHECK(contents_of(*engine) == before);
  // The inputs and their keys once more are enough.
  uint64_t enough = 100 * kKiB + 400 * sizeof(IndexEntry);
  for (const auto& run : engine->view().runs) enough += run->data_bytes() + run->index_bytes();
  fs.set_capacity(fs.used_bytes() + enough);
  CHECK(engine->compact().ok());
  CHECK(contents_of(*engine) == before);
}

// Four versions of the same records in runs that have not been merged, on a disk with `room_bytes`
// left and a reserve that the merged run fits into.
std::unique_ptr<Engine> overwritten_store(FaultFs& fs, uint64_t room_bytes) {
  Options options = small_options(fs);
  options.reserve_bytes = 256 * kKiB;
  options.wal_segment_bytes = 4 * kKiB;
  options.wal_segments_max = 1;
  auto engine = must_open(options);
  fs.inject({FsCall::kFreeBytes, Code::kBusy, 0, ~uint64_t{0}, ""});  // no merge for now
  for (int round = 0; round < 4; ++round) put_range(*engine, 0, 100, 1000);
  fs.set_capacity(fs.used_bytes() + room_bytes);
  fs.heal();
  return engine;
}

TEST_CASE("a full disk that a small merge can empty is emptied by it, from the reserve") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = overwritten_store(fs, 0);
  const uint64_t before = run_bytes(*engine);
  uint64_t key = 1000;
  while (engine->put(key, "new").ok()) ++key;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  // A first merge, of some of them, may make room for a write already.
  while ((!engine->put(key, "new").ok() || run_bytes(*engine) >= before / 2) &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  CHECK(engine->put(key, "new").ok());
  CHECK(!engine->latch().is_set());
  CHECK(run_bytes(*engine) < before / 2);
  CHECK(fs.exists(path_of(DiskReserve::kName)));  // or else only deletes were possible
  const Contents contents = contents_of(*engine);
  CHECK(contents.size() == 100 + key - 1000 + 1);
  CHECK(contents.at(99).value == std::string(1000, 'v'));
}

TEST_CASE("while writes fit a merge does not take the reserve from them") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = overwritten_store(fs, 20 * kKiB);
  CHECK(engine->compact().code() == Code::kNoSpace);
  CHECK(fs.exists(path_of(DiskReserve::kName)));
  CHECK(engine->put(1, "still possible").ok());
}

TEST_CASE("the reserve is lent once, whole, and not taken back before the loan ends") {
  const QuietLog quiet;
  FaultFs fs;
  const auto dir = fs.open_now(kDir);
  const std::string path = path_of(DiskReserve::kName);
  DiskReserve reserve;
  CHECK(!reserve.lend(*dir, 1));  // there is none
  CHECK(reserve.lend(*dir, 0));
  reserve.claim(*dir, 1000);
  REQUIRE(fs.exists(path));
  CHECK(!reserve.lend(*dir, 1001));
  CHECK(fs.exists(path));
  CHECK(reserve.lend(*dir, 0));  // no need of it
  CHECK(fs.exists(path));
  CHECK(reserve.lend(*dir, 1000));
  CHECK(reserve.is_released());
  CHECK(!fs.exists(path));
  reserve.claim(*dir, 1000);
  CHECK(reserve.is_released());
  CHECK(!reserve.lend(*dir, 1));
  reserve.end_loan();
  reserve.claim(*dir, 1000);
  CHECK(!reserve.is_released());
  CHECK(fs.exists(path));
}

}  // namespace kyro::test
