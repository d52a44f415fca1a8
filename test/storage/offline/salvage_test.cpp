// Dumps of stores that nobody opened, and new stores out of damaged ones.
#include "kyro/storage/offline/salvage.h"

#include <catch2/catch.hpp>
#include <set>

#include "kyro/storage/offline/dump.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

constexpr char kSaved[] = "saved";

// A store with two runs and a log that goes on after them, and what was ever written to it.
struct DamagedStore {
  FaultFs fs;
  Options options = small_options(fs);
  Contents contents;
  std::map<uint64_t, std::set<std::string>> history;

  explicit DamagedStore(uint64_t segments_kept) {
    options.wal_segments_max = segments_kept;
    options.merge_fan_in = 100;
    auto engine = must_open(options);
    std::mt19937_64 random(3);
    for (int i = 0; i < 300; ++i) {
      const uint64_t key = random() % 120 * 0x0200000000000003u;
      if (random() % 5 == 0) {
        static_cast<void>(engine->remove(key));
      } else {
        const uint64_t bytes = random() % (i % 40 == 7 ? 3000 : 200);  // some outside their pages
        const std::string value = std::to_string(i) + std::string(bytes, 'v');
        must_put(*engine, key, value);
        history[key].insert(value);
      }
      if (i == 120 || i == 240) REQUIRE(engine->snapshot().ok());
    }
    contents = contents_of(*engine);
  }

  [[nodiscard]] std::map<std::string, std::string> bytes() const {
    std::map<std::string, std::string> out;
    for (const std::string& path : fs.paths()) out[path] = fs.contents(path);
    return out;
  }
};

SalvageReport must_salvage(FaultFs& fs) {
  auto report = Salvage(fs, kDir, kSaved).run();
  INFO(report.status().to_string());
  REQUIRE(report.ok());
  return std::move(*report);
}

Contents saved_contents(FaultFs& fs, Options options) {
  const auto verified = verify_directory(fs, kSaved);
  REQUIRE(verified.ok());
  REQUIRE(verified->damage.empty());
  options.fs = &fs;
  options.data_dir = kSaved;
  auto engine = must_open(options);
  REQUIRE(verify_runs(*engine).ok());
  must_put(*engine, 77, "goes on");
  Contents out = contents_of(*engine);
  out.erase(77);
  return out;
}

void flip(FaultFs& fs, const std::string& path, size_t at) {
  std::string bytes = fs.contents(path);
  REQUIRE(at < bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  fs.put_file(path, bytes);
}

}  // namespace

TEST_CASE("a dump shows what the engine would, and the log, and changes no byte") {
  const QuietLog quiet;
  DamagedStore store(100);
  const auto ignore = [](const RecordView&, uint64_t) {};
  const uint64_t later_secs = unix_ns() / 1'000'000'000 + 3000;
  {
    auto engine = must_open(store.options);
    REQUIRE(engine->put(1, "has expired", 1000).ok());
    REQUIRE(engine->put(2, "expires later", later_secs).ok());
    store.contents[2] = {"expires later", engine->next_offset() - 1};
    CHECK(dump_live(store.fs, kDir, {}, ignore).code() == Code::kBusy);
  }
  const auto before = store.bytes();
  Contents found;
  uint64_t last = 0;
  REQUIRE(dump_live(store.fs, kDir, {}, [&](const RecordView& record, uint64_t expiry_secs) {
            CHECK((found.empty() || record.header.key > last));
            last = record.header.key;
            found[last] = {std::string(record.value), record.header.offset};
            CHECK(expiry_secs == (last == 2 ? later_secs : 0u));
          }).ok());
  CHECK(found == store.contents);
  uint64_t next = 0;
  REQUIRE(dump_log(store.fs, kDir, {}, [&](const RecordView& record, uint64_t) {
            CHECK(record.header.offset == next++);
          }).ok());
  CHECK(store.bytes() == before);
  CHECK(must_open(store.options)->next_offset() == next);

  flip(store.fs, files(store.fs, "run-", ".data")[0], 200);
  CHECK(dump_live(store.fs, kDir, {}, ignore).code() == Code::kCorruption);
  flip(store.fs, last_segment(store.fs), kSegmentHeaderBytes + 60);
  CHECK(dump_log(store.fs, kDir, {}, [](const RecordView&, uint64_t) {}).code() ==
        Code::kCorruption);
  CHECK(dump_live(store.fs, "nowhere", {}, ignore).code() == Code::kNotFound);
}

TEST_CASE("salvage of a sound store loses nothing and touches nothing") {
  const QuietLog quiet;
  DamagedStore store(GENERATE(uint64_t{1}, uint64_t{100}));
  const auto before = store.bytes();
  const SalvageReport report = must_salvage(store.fs);
  CHECK(report.losses == 0);
  CHECK(report.runs == 2);
  CHECK(report.live_records == store.contents.size());
  for (const auto& [path, bytes] : before) CHECK(store.fs.contents(path) == bytes);
  CHECK(saved_contents(store.fs, store.options) == store.contents);
  Options saved = store.options;
  saved.data_dir = kSaved;
  auto engine = must_open(saved);
  CHECK(engine->next_offset() > kOffsetJump);
  auto old = must_open(store.options);
  CHECK(engine->database_id() != old->database_id());
  CHECK(Salvage(store.fs, kDir, kSaved).run().status().code() == Code::kBusy);
  old.reset();
  engine.reset();
  CHECK(Salvage(store.fs, kDir, kSaved).run().status().code() == Code::kExists);
  CHECK(Salvage(store.fs, "nowhere", "else").run().status().code() == Code::kNotFound);
}

TEST_CASE("a salvage that fails leaves nothing behind, and a directory that was there as it was") {
  const QuietLog quiet;
  DamagedStore store(1);
  const uint64_t used_bytes = store.fs.used_bytes();
  const bool was_there = GENERATE(false, true);
  if (was_there) store.fs.make_dir(kSaved);
  store.fs.set_capacity(used_bytes + 20 * kKiB);
  CHECK(Salvage(store.fs, kDir, kSaved).run().status().code() == Code::kNoSpace);
  CHECK(store.fs.used_bytes() == used_bytes);
  CHECK(store.fs.dir_exists(kSaved) == was_there);
  CHECK(store.fs.open_now(kSaved)->list()->empty());
  store.fs.set_capacity(~uint64_t{0});
  CHECK(must_salvage(store.fs).losses == 0);
}

TEST_CASE("a damaged record costs itself at most, and nothing where the log still has it") {
  const QuietLog quiet;
  const uint64_t segments_kept = GENERATE(uint64_t{1}, uint64_t{100});
  const DamagedStore store(segments_kept);
  const std::string path = files(store.fs, "run-", ".data")[1];
  const bool without_index = GENERATE(false, true);
  const size_t size = store.fs.contents(path).size();
  for (size_t at = kPageBytes; at < size - kRunFooterBytes; at += 41) {
    INFO("byte " << at << ", segments kept " << segments_kept << ", index "
                 << (without_index ? "gone" : "there"));
    auto image = store.fs.clone();
    flip(*image, path, at);
    if (without_index) {
      for (const std::string& index : files(*image, "run-", ".rmi")) image->erase_file(index);
    }
    const SalvageReport report = must_salvage(*image);
    REQUIRE(report.losses > 0);
    REQUIRE_THAT(report.lines[0], Contains(path.substr(sizeof kDir)) && Contains(" at "));
    const Contents found = saved_contents(*image, store.options);
    if (segments_kept == 100) {
      REQUIRE(found == store.contents);
      continue;
    }
    size_t differing = 0;
    for (const auto& [key, stored] : store.contents) {
      const auto it = found.find(key);
      if (it == found.end() || !(it->second == stored)) ++differing;
      if (it != found.end()) REQUIRE(store.history.at(key).contains(it->second.value));
    }
    if (!without_index) REQUIRE(differing <= 1);
  }
}

TEST_CASE("whatever is damaged, salvage saves no wrong value and owns up to every loss") {
  const QuietLog quiet;
  const uint64_t seed = test_seed(11);
  std::mt19937_64 random(seed);
  const DamagedStore store(3);
  std::vector<std::string> paths = store.fs.paths();
  std::erase_if(paths, [](const std::string& path) { return !path.starts_with(path_of("")); });
  for (int round = 0; round < 300; ++round) {
    auto image = store.fs.clone();
    const int wounds = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < wounds; ++i) {
      const std::string& path = paths[random() % paths.size()];
      if (!image->exists(path)) continue;
      std::string bytes = image->contents(path);
      const uint64_t dice = random() % 10;
      if (dice == 0) {
        image->erase_file(path);
      } else if (dice == 1 || bytes.empty()) {
        image->put_file(path, image->contents(paths[random() % paths.size()]));
      } else if (dice < 4) {
        image->put_file(path, bytes.substr(0, random() % bytes.size()));
      } else {
        bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
        image->put_file(path, bytes);
      }
    }
    INFO("KYRO_TEST_SEED=" << seed << ", round " << round);
    const auto report = Salvage(*image, kDir, kSaved).run();
    INFO(report.status().to_string());
    REQUIRE(report.ok());
    const Contents found = saved_contents(*image, store.options);
    for (const auto& [key, stored] : found) {
      REQUIRE(store.history.contains(key));
      REQUIRE(store.history.at(key).contains(stored.value));
    }
    if (report->losses == 0) REQUIRE(found == store.contents);
  }
}

}  // namespace kyro::test
