// Loads: what comes out of records in any order, and what a failure or a crash leaves.
#include "kyro/storage/offline/loader.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

struct LoadInput {
  uint64_t key;
  std::string value;
  bool is_delete = false;
};

std::vector<LoadInput> random_input(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<LoadInput> input;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t key = random() % (count / 2) * 0x0100000000000001u;
    const size_t bytes = random() % 50 == 0 ? 3000 : random() % 100;
    input.push_back({key, std::to_string(i) + std::string(bytes, 'v'), random() % 10 == 0});
  }
  return input;
}

Result<LoadStats> load_into(FileSystem& fs, const std::vector<LoadInput>& input,
                            uint64_t memory_bytes) {
  auto loader = Loader::begin(fs, kDir, {.memory_bytes = memory_bytes});
  KYRO_TRY(loader);
  for (const LoadInput& record : input) {
    KYRO_TRY(record.is_delete ? (*loader)->remove(record.key)
                              : (*loader)->put(record.key, record.value));
  }
  return (*loader)->finish();
}

// The last record of each key, with the offset of its place in the input.
std::map<uint64_t, std::pair<std::string, uint64_t>> expected_of(
    const std::vector<LoadInput>& input) {
  std::map<uint64_t, std::pair<std::string, uint64_t>> out;
  for (uint64_t i = 0; i < input.size(); ++i) {
    if (input[i].is_delete) {
      out.erase(input[i].key);
    } else {
      out[input[i].key] = {input[i].value, i};
    }
  }
  return out;
}

void check_loaded(Engine& engine, const std::vector<LoadInput>& input) {
  const auto expected = expected_of(input);
  auto next = expected.begin();
  const Status scanned =
      engine.scan(0, ~uint64_t{0}, [&](uint64_t key, std::string_view value, uint64_t offset) {
        REQUIRE(next != expected.end());
        REQUIRE(key == next->first);
        REQUIRE(value == next->second.first);
        REQUIRE(offset == next->second.second);
        ++next;
        return true;
      });
  CHECK(scanned.ok());
  CHECK(next == expected.end());
  for (size_t i = 0; i < input.size(); i += 37) {
    std::string value;
    const bool is_there = expected.contains(input[i].key);
    REQUIRE(engine.get(input[i].key, &value).code() == (is_there ? Code::kOk : Code::kNotFound));
  }
}

}  // namespace

TEST_CASE("a load in any order is a store with the last value of each key") {
  const QuietLog quiet;
  FaultFs fs;
  const uint64_t memory_bytes = GENERATE(64 * kKiB, 256 * kKiB, 8 * kMiB);
  const bool is_sorted = GENERATE(false, true);
  INFO(memory_bytes << " bytes of memory" << (is_sorted ? ", sorted" : ""));
  std::vector<LoadInput> input = random_input(20'000, memory_bytes);
  if (is_sorted) {
    std::stable_sort(input.begin(), input.end(),
                     [](const LoadInput& a, const LoadInput& b) { return a.key < b.key; });
  }
  const auto stats = load_into(fs, input, memory_bytes);
  INFO(stats.status().to_string());
  REQUIRE(stats.ok());
  CHECK(stats->records == input.size());
  CHECK(stats->live_records == expected_of(input).size());
  for (const std::string& path : fs.paths()) {
    INFO(path);
    CHECK_FALSE(path.ends_with(".tmp"));
  }
  const auto engine = must_open(small_options(fs));
  CHECK(engine->next_offset() == input.size());
  CHECK(engine->log_range().oldest == input.size());
  check_loaded(*engine, input);
  CHECK(*engine->put(5, "after") == input.size());
}

TEST_CASE("a load of nothing, and one of deletes only, are empty stores") {
  const QuietLog quiet;
  FaultFs fs;
  const std::vector<LoadInput> input =
      GENERATE(std::vector<LoadInput>{}, std::vector<LoadInput>{{1, "", true}, {2, "", true}});
  REQUIRE(load_into(fs, input, kMiB).ok());
  const auto engine = must_open(small_options(fs));
  CHECK(engine->next_offset() == input.size());
  check_loaded(*engine, input);
}

TEST_CASE("lifetimes of a load count, and a value that memory cannot hold is refused") {
  const QuietLog quiet;
  FaultFs fs;
  {
    auto loader = Loader::begin(fs, kDir, {.memory_bytes = 64 * kKiB});
    REQUIRE(loader.ok());
    CHECK((*loader)->put(1, std::string(64 * kKiB, 'v')).code() == Code::kTooLarge);
    CHECK((*loader)->put(1, "soon gone", fake_now_secs + 10).ok());
    CHECK((*loader)->put(2, "stays").ok());
    REQUIRE((*loader)->finish().ok());
  }
  Options options = small_options(fs);
  use_fake_clock(&options);
  const auto engine = must_open(options);
  std::string value;
  CHECK(engine->get(1, &value).ok());
  fake_now_secs += 10;
  CHECK(engine->get(1, &value).code() == Code::kNotFound);
  CHECK(engine->get(2, &value).ok());
}

TEST_CASE("a load takes no directory that is in use or has something in it") {
  const QuietLog quiet;
  FaultFs fs;
  {
    const auto engine = must_open(small_options(fs));
    CHECK_FALSE(Loader::begin(fs, kDir, {}).ok());
  }
  const auto refused = Loader::begin(fs, kDir, {});
  CHECK(refused.status().code() == Code::kExists);
  const auto engine = must_open(small_options(fs));  // it has done no harm
}

TEST_CASE("a load that is given up leaves nothing") {
  const QuietLog quiet;
  FaultFs fs;
  {
    auto loader = Loader::begin(fs, kDir, {.memory_bytes = 64 * kKiB});
    REQUIRE(loader.ok());
    for (uint64_t key = 0; key < 5000; ++key) CHECK((*loader)->put(key, "value").ok());
  }
  CHECK(fs.paths().empty());
  CHECK(fs.open_dir(kDir, DirMode::kExisting).status().code() == Code::kNotFound);
}

TEST_CASE("after a power cut at any call of a load there is no store, or all of it") {
  const QuietLog quiet;
  const bool is_second = GENERATE(false, true);  // after one that was interrupted late
  const std::vector<LoadInput> input = random_input(2000, 7);
  FaultFs base;
  if (is_second) {
    base.cut_power_at(40, false);
    static_cast<void>(load_into(base, random_input(2000, 8), 64 * kKiB));
    REQUIRE(base.power_is_cut());
    base.restart(Loss::kNothing, 1);
  }
  uint64_t whole = 0;
  uint64_t points = 0;
  bool is_cut = true;
  for (uint64_t call = 1; is_cut; ++call) {
    for (const bool after : {false, true}) {
      for (const Loss loss : {Loss::kNothing, Loss::kEverything, Loss::kSectors512}) {
        INFO("call " << call << (after ? " after" : " before") << ", loss "
                     << static_cast<int>(loss));
        const auto fs = base.clone();
        fs->cut_power_at(call, after);
        const bool is_done = load_into(*fs, input, 64 * kKiB).ok();
        is_cut = fs->power_is_cut();
        fs->restart(loss, call);
        ++points;
        auto engine = Engine::open(small_options(*fs));
        if (!engine.ok()) {
          REQUIRE_FALSE(is_done);
          REQUIRE(engine.status().code() == Code::kExists);
          REQUIRE(load_into(*fs, input, 64 * kKiB).ok());  // the next one is not in its way
          engine = Engine::open(small_options(*fs));
          REQUIRE(engine.ok());
        } else if ((*engine)->next_offset() == 0) {  // made just now: there was no store
          REQUIRE_FALSE(is_done);
          continue;
        } else {
          ++whole;
        }
        REQUIRE((*engine)->next_offset() == input.size());
        check_loaded(**engine, input);
      }
    }
  }
  CHECK(whole > 0);
  CHECK(points > 200);
}

TEST_CASE("a load that fails at any call leaves no store behind") {
  const QuietLog quiet;
  const std::vector<LoadInput> input = random_input(2000, 9);
  bool has_failed = true;
  for (uint64_t call = 0; has_failed; ++call) {
    INFO("call " << call);
    FaultFs fs;
    fs.inject({.call = FsCall::kAny, .code = Code::kNoSpace, .skip = call, .times = 1, .path = ""});
    const auto stats = load_into(fs, input, 64 * kKiB);
    has_failed = !stats.ok();
    fs.heal();
    if (!has_failed) continue;
    REQUIRE(load_into(fs, input, 64 * kKiB).ok());
  }
  SUCCEED();
}

}  // namespace kyro::test
