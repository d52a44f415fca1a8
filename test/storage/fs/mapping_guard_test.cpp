// Files that shrink under a mapping: the process lives, and nothing wrong is served.
#include <unistd.h>

#include <filesystem>
#include <string>

#include "kyro/storage/engine.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

std::string value_of(uint64_t key) {
  return "value " + std::to_string(key) + std::string(90, '.');
}

// A store with one run of `keys` keys, and the name of a file of it.
std::unique_ptr<Engine> store_with_run(const std::string& dir, uint64_t keys) {
  Options options;
  options.data_dir = dir;
  options.fsync = FsyncPolicy::kNever;
  options.reserve_bytes = 0;
  auto engine = Engine::open(options);
  REQUIRE(engine.ok());
  for (uint64_t key = 0; key < keys; ++key) {
    REQUIRE((*engine)->put(key * 3, value_of(key * 3)).ok());
  }
  REQUIRE((*engine)->compact().ok());
  return std::move(*engine);
}

std::string file_with(const std::string& dir, const std::string& ending) {
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.path().string().ends_with(ending)) return entry.path().string();
  }
  FAIL("no file " << ending);
  return {};
}

TEST_CASE("A data file truncated under a running engine gives corruption, not a crash") {
  TempDir dir;
  constexpr uint64_t kKeys = 2000;
  auto engine = store_with_run(dir.path(), kKeys);
  REQUIRE(truncate(file_with(dir.path(), ".data").c_str(), 8192) == 0);
  uint64_t good = 0;
  uint64_t damaged = 0;
  for (uint64_t key = 0; key < kKeys; ++key) {
    std::string value;
    const Status status = engine->get(key * 3, &value);
    if (status.ok()) {
      CHECK(value == value_of(key * 3));
      ++good;
    } else {
      CHECK(status.code() == Code::kCorruption);
      ++damaged;
    }
  }
  CHECK(good > 0);
  CHECK(damaged > kKeys / 2);
}

TEST_CASE("An index file truncated under a running engine never makes a key not found") {
  TempDir dir;
  constexpr uint64_t kKeys = 20000;
  auto engine = store_with_run(dir.path(), kKeys);
  REQUIRE(truncate(file_with(dir.path(), ".rmi").c_str(), 4096) == 0);
  for (uint64_t key = 0; key < kKeys; key += 7) {
    std::string value;
    const Status status = engine->get(key * 3, &value);
    INFO(key << " " << status.to_string());
    REQUIRE(status.code() != Code::kNotFound);
    if (status.ok()) REQUIRE(value == value_of(key * 3));
  }
}

}  // namespace
}  // namespace kyro::test
