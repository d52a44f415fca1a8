// Whoever moves, replaces or empties the directory under a running engine harms nobody else's
// store: the engine writes nothing more, and what it acknowledged is where its directory is now.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <set>
#include <string>

#include "kyro/storage/offline/verify.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

constexpr char kMoved[] = "moved";

using Image = std::map<std::string, std::string>;

// All files below `dir`, LOCK left out.
Image image_of(const FaultFs& fs, const std::string& dir) {
  Image out;
  for (const std::string& path : fs.paths()) {
    if (path.starts_with(dir + "/")) out[path.substr(dir.size() + 1)] = fs.contents(path);
  }
  return out;
}

void put_image(FaultFs& fs, const std::string& dir, const Image& image) {
  for (const auto& [name, bytes] : image) fs.put_file(dir + "/" + name, bytes);
}

Options engine_options(FaultFs& fs) {
  Options options = small_options(fs);
  options.wal_segment_bytes = 4 * kKiB;
  options.merge_fan_in = 2;
  options.reserve_bytes = 16 * kKiB;
  options.directory_check_ms = 3'600'000;  // so that what is asked finds it out
  return options;
}

// What another store's directory looks like: the same names, other values.
const Image& other_store() {
  static const Image image = [] {
    const QuietLog quiet;
    FaultFs fs;
    {
      auto engine = must_open(engine_options(fs));
      for (uint64_t key = 0; key < 300; ++key) must_put(*engine, key, "of another store");
      REQUIRE(engine->compact().ok());
      for (uint64_t key = 0; key < 40; ++key) must_put(*engine, key, "of another store");
    }
    return image_of(fs, kDir);
  }();
  return image;
}

struct Attack {
  const char* what;
  bool is_moved;  // the directory is at kMoved afterwards
  std::function<void(FaultFs&)> act;
};

const std::vector<Attack>& attacks() {
  static const std::vector<Attack> all = {
      {"moved away", true, [](FaultFs& fs) { fs.move_dir(kDir, kMoved); }},
      {"moved away, another store in its place", true,
       [](FaultFs& fs) {
         fs.move_dir(kDir, kMoved);
         put_image(fs, kDir, other_store());
       }},
      {"removed, another store restored in its place", false,
       [](FaultFs& fs) {
         fs.erase_dir(kDir);
         put_image(fs, kDir, other_store());
       }},
      {"LOCK and all files replaced by another store's", false,
       [](FaultFs& fs) {
         for (const std::string& path : fs.paths()) fs.erase_file(path);
         fs.put_file(path_of(kLockName), "1\n");
         put_image(fs, kDir, other_store());
       }},
      {"LOCK removed, all files replaced by another store's", false,
       [](FaultFs& fs) {
         for (const std::string& path : fs.paths()) fs.erase_file(path);
         fs.erase_file(path_of(kLockName));
         put_image(fs, kDir, other_store());
       }},
  };
  return all;
}

using Refused = std::map<uint64_t, std::set<std::string>>;

// Writes, flushes, merges; tells what was acknowledged.
class Work {
 public:
  explicit Work(Engine& engine) : engine_(engine) {}
  void run(uint64_t first, uint64_t end) {
    for (uint64_t n = first; n < end; ++n) {
      const std::string value = "value " + std::to_string(n) + std::string(200, 'v');
      if (engine_.put(n % 50, value).ok()) {
        acknowledged_[n % 50] = value;
        refused_.erase(n % 50);
      } else {
        refused_[n % 50].insert(value);
      }
      if (n % 40 == 39) static_cast<void>(engine_.snapshot());
      if (n % 100 == 99) static_cast<void>(engine_.compact());
    }
  }
  [[nodiscard]] const std::map<uint64_t, std::string>& acknowledged() const {
    return acknowledged_;
  }
  // Newer than what was acknowledged of their keys. They may be in the log all the same: a group
  // fails, too, if it is written and what comes after it is refused.
  [[nodiscard]] const Refused& refused() const { return refused_; }

 private:
  Engine& engine_;
  std::map<uint64_t, std::string> acknowledged_;
  Refused refused_;
};

void require_holds(Options options, const std::string& dir,
                   std::map<uint64_t, std::string> expected, const Refused& refused = {}) {
  options.data_dir = dir;
  auto engine = must_open(options);
  const auto contents = values_only(contents_of(*engine));
  for (const auto& [key, values] : refused) {
    const auto found = contents.find(key);
    if (found != contents.end() && values.contains(found->second)) expected[key] = found->second;
  }
  for (const auto& [key, value] : expected) {
    INFO("key " << key);
    REQUIRE(contents.contains(key));
    REQUIRE(contents.at(key) == value);
  }
  REQUIRE(contents.size() == expected.size());
}

}  // namespace

TEST_CASE("an engine whose directory is taken from it writes nothing more, whatever it is asked") {
  const QuietLog quiet;
  const Attack& attack = GENERATE(from_range(attacks()));
  const int request = GENERATE(range(0, 6));
  const FsyncPolicy policy = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kInterval);
  INFO(attack.what << ", request " << request);
  FaultFs fs;
  Options options = engine_options(fs);
  options.fsync = policy;
  options.fsync_interval_ms = 3'600'000;
  auto engine = must_open(options);
  Work work(*engine);
  work.run(0, 130);
  const Image before = image_of(fs, kDir);
  attack.act(fs);
  const Image place = image_of(fs, kDir);
  std::string value;
  REQUIRE(engine->get(7, &value).ok());
  CHECK(value == work.acknowledged().at(7));
  const bool must_latch = request != 5;
  if (request == 0) work.run(1000, 1100);
  if (request == 1) CHECK(!engine->snapshot().ok());
  if (request == 2) CHECK(!engine->run({Job::Kind::kRebuildIndex}).status.ok());
  if (request == 3) CHECK(engine->backup("backup").code() == Code::kReadOnly);
  if (request == 4) {
    must_put(*engine, 7, "one more");
    CHECK(!engine->snapshot().ok());
    value = "one more";
  }
  CHECK(engine->latch().is_set() == must_latch);
  if (must_latch) {
    CHECK_THAT(engine->latch().reason(), Catch::Contains(kDir));
    CHECK(put_code(*engine, 1, "refused") == Code::kReadOnly);
  }
  auto expected = work.acknowledged();
  if (request == 4) expected[7] = value;
  CHECK(values_only(contents_of(*engine)) == expected);
  engine.reset();
  CHECK(image_of(fs, kDir) == place);
  if (!attack.is_moved) return;
  // No seal, no manifest, no new file: the log alone has grown.
  const Image moved = image_of(fs, kMoved);
  REQUIRE(moved.at(kManifestName) == before.at(kManifestName));
  // Everything is durable there, also what waited for a sync.
  fs.restart(Loss::kEverything, 1);
  require_holds(options, kMoved, expected);
}

TEST_CASE("a write looks whether the directory is still there, if nothing else has for a while") {
  const QuietLog quiet;
  const Attack& attack = GENERATE(from_range(attacks()));
  const FsyncPolicy policy = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kInterval);
  INFO(attack.what);
  FaultFs fs;
  Options options = engine_options(fs);
  options.fsync = policy;
  options.directory_check_ms = 0;
  auto engine = must_open(options);
  must_put(*engine, 1, "acknowledged");
  attack.act(fs);
  const Image place = image_of(fs, kDir);
  CHECK(put_code(*engine, 2, "refused") == Code::kReadOnly);
  CHECK_THAT(engine->latch().reason(), Catch::Contains(kDir));
  engine.reset();
  CHECK(image_of(fs, kDir) == place);
  if (attack.is_moved) require_holds(options, kMoved, {{1, "acknowledged"}});
}

TEST_CASE("a directory may be taken at any call: the other store stays whole, nothing is lost") {
  const QuietLog quiet;
  for (const Attack& attack : attacks()) {
    uint64_t at = 1;
    for (;; at += at < 60 ? 1 : 7) {
      INFO(attack.what << " at call " << at);
      FaultFs fs;
      const Options options = engine_options(fs);
      bool has_acted = false;
      Image place;
      std::map<uint64_t, std::string> expected;
      Refused refused;
      {
        auto engine = must_open(options);
        fs.act_at(fs.calls() + at, [&] {
          has_acted = true;
          attack.act(fs);
          place = image_of(fs, kDir);
        });
        Work work(*engine);
        work.run(0, 120);
        expected = work.acknowledged();
        refused = work.refused();
      }
      if (!has_acted) break;
      REQUIRE(image_of(fs, kDir) == place);
      if (!attack.is_moved) continue;
      fs.restart(at % 2 == 0 ? Loss::kEverything : Loss::kSectors512, at);
      REQUIRE(image_of(fs, kDir) == place);
      require_holds(options, kMoved, expected, refused);
    }
    CHECK(at > 500);
  }
}

TEST_CASE("a file that was replaced by another store's is never served, and never installed") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = engine_options(fs);
  auto engine = must_open(options);
  Work work(*engine);
  work.run(0, 130);
  for (const std::string& path : fs.paths()) {
    const auto kind_of = [](const std::string& name) {
      return name.substr(std::min(name.size(), name.rfind('.')));
    };
    const auto foreign =
        std::find_if(other_store().begin(), other_store().end(),
                     [&](const auto& file) { return kind_of(file.first) == kind_of(path); });
    if (foreign != other_store().end()) fs.put_file(path, foreign->second);
  }
  static_cast<void>(engine->run({Job::Kind::kScrub}).status);
  static_cast<void>(engine->run({Job::Kind::kRebuildIndex}).status);
  static_cast<void>(engine->backup("backup"));
  CHECK(values_only(contents_of(*engine)) == work.acknowledged());
  engine.reset();
  if (fs.exists(std::string("backup/") + kManifestName)) {
    const auto report = verify_directory(fs, "backup");
    CHECK((!report.ok() || !report->damage.empty()));
  }
}

TEST_CASE("a new store wants a directory of its own") {
  const QuietLog quiet;
  FaultFs fs;
  fs.put_file(path_of("report.txt"), "somebody else's");
  const Status refused = open_status(fs, small_options(fs));
  CHECK(refused.code() == Code::kExists);
  CHECK_THAT(std::string(refused.message()), Catch::Contains("report.txt"));
  CHECK(fs.paths() == std::vector<std::string>{path_of("report.txt")});
  fs.erase_file(path_of("report.txt"));
  fs.put_file(path_of(".hidden"), "");
  CHECK(open_status(fs, small_options(fs)).ok());
  fs.put_file(path_of("report.txt"), "in a store it disturbs nobody");
  CHECK(open_status(fs, small_options(fs)).ok());
}

}  // namespace kyro::test
