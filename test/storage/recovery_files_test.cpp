// What opening a data directory makes of damaged, missing, foreign, older and newer files.
#include <catch2/catch.hpp>
#include <thread>

#include "kyro/storage/offline/backup.h"
#include "kyro/storage/offline/dump.h"
#include "kyro/storage/offline/salvage.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

// A closed store with two runs of 200 keys each, even keys in the older one, odd ones in the newer.
Contents make_two_runs(const Options& options) {
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 400; key += 2) must_put(*engine, key, "even " + std::to_string(key));
  REQUIRE(engine->snapshot().ok());
  for (uint64_t key = 1; key < 400; key += 2) must_put(*engine, key, "odd " + std::to_string(key));
  REQUIRE(engine->snapshot().ok());
  return contents_of(*engine);
}

// Flips one bit of a file.
void damage_byte(FaultFs& fs, const std::string& path, size_t at) {
  std::string bytes = fs.contents(path);
  REQUIRE(at < bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
  fs.put_file(path, std::move(bytes));
}

}  // namespace

TEST_CASE("a missing or damaged index is rebuilt and answers as before") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  const Contents expected = make_two_runs(options);
  const auto indexes = files(fs, "run-", ".rmi");
  REQUIRE(indexes.size() == 2);
  const std::string bytes = fs.contents(indexes[0]);
  const auto check = [&] {
    auto engine = must_open(options);
    CHECK(engine->stats().rmi_rebuilds.value() == 1);
    CHECK(engine->stats().rmi_rebuild_ns.snapshot().count == 1);
    REQUIRE(contents_of(*engine) == expected);
    for (const auto& [key, stored] : expected) {
      std::string value;
      REQUIRE(engine->get(key, &value).ok());
      REQUIRE(value == stored.value);
    }
    REQUIRE(verify_runs(*engine).ok());
  };
  SECTION("missing") {
    fs.erase_file(indexes[0]);
    check();
  }
  SECTION("empty") {
    fs.put_file(indexes[0], "");
    check();
  }
  SECTION("cut short") {
    for (const size_t size :
         {size_t{1}, size_t{63}, size_t{64}, size_t{255}, bytes.size() / 2, bytes.size() - 1}) {
      INFO("cut to " << size);
      fs.put_file(indexes[0], bytes.substr(0, size));
      check();
    }
  }
  SECTION("the index of another run with as many keys") {
    fs.put_file(indexes[0], fs.contents(indexes[1]));
    check();
  }
  SECTION("a bit of header or trailer") {
    const size_t trailer_end = bytes.rfind("KYRORMIT") + 8;
    for (const size_t at :
         {size_t{20}, size_t{40}, trailer_end - 100, trailer_end - 20, bytes.size() - 20}) {
      fs.put_file(indexes[0], bytes);
      damage_byte(fs, indexes[0], at);
      check();
    }
  }
}

TEST_CASE("a damaged slot of an index is never a wrong answer, and the index is made anew") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  const Contents expected = make_two_runs(options);
  const auto indexes = files(fs, "run-", ".rmi");
  damage_byte(fs, indexes[0], sizeof(RmiHeader) + GENERATE(size_t{0}, size_t{8}, size_t{24}));
  auto engine = must_open(options);
  for (const auto& [key, stored] : expected) {
    std::string value;
    const Status status = engine->get(key, &value);
    REQUIRE((status.ok() || status.code() == Code::kCorruption));
    if (status.ok()) REQUIRE(value == stored.value);
  }
  // Once the merger has made it anew every answer is there again.
  const auto all_are_there = [&] {
    return std::all_of(expected.begin(), expected.end(), [&](const auto& entry) {
      std::string value;
      return engine->get(entry.first, &value).ok() && value == entry.second.value;
    });
  };
  while (!all_are_there()) std::this_thread::yield();
  CHECK(contents_of(*engine) == expected);
}

TEST_CASE("a scan that meets a damaged index has it made anew") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  const Contents expected = make_two_runs(options);
  const auto indexes = files(fs, "run-", ".rmi");
  damage_byte(fs, indexes[0], sizeof(RmiHeader));
  auto engine = must_open(options);
  SECTION("by scanning from the middle") {
    for (;;) {
      std::vector<uint64_t> keys;
      const Status status = engine->scan(100, 200, [&](uint64_t key, std::string_view, uint64_t) {
        keys.push_back(key);
        return true;
      });
      if (status.ok()) {
        CHECK(keys.size() == 101);
        break;
      }
      REQUIRE(status.code() == Code::kCorruption);
      std::this_thread::yield();
    }
  }
  SECTION("a merge does not need the index at all") {
    REQUIRE(engine->compact().ok());
    CHECK(engine->view().runs.size() == 1);
  }
  CHECK(contents_of(*engine) == expected);
}

TEST_CASE("a damaged record is an error for its key and for no other") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  make_two_runs(options);
  const auto runs = files(fs, "run-", ".data");
  const std::string bytes = fs.contents(runs[0]);
  const uint64_t first_bytes = kRecordHeaderBytes + std::string("even 0").size();
  const size_t first_at = kPageBytes + PageView(bytes.data() + kPageBytes).begin();
  for (uint64_t bit = 0; bit < first_bytes * 8; ++bit) {
    INFO("bit " << bit);
    auto copy = fs.clone();
    std::string damaged = bytes;
    const size_t at = first_at + bit / 8;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (bit % 8)));
    copy->put_file(runs[0], damaged);
    Options reopened = options;
    reopened.fs = copy.get();
    auto engine = must_open(reopened);
    std::string value;
    REQUIRE(engine->get(0, &value).code() == Code::kCorruption);
    REQUIRE(engine->remove(0).status().code() == Code::kCorruption);
    for (const uint64_t key : {uint64_t{1}, uint64_t{2}, uint64_t{200}, uint64_t{399}}) {
      REQUIRE(engine->get(key, &value).ok());
    }
    REQUIRE(engine->get(1000, &value).code() == Code::kNotFound);
    REQUIRE(!verify_runs(*engine).ok());
    // A merge leaves the damaged run alone; an overwrite of the key heals it.
    REQUIRE(engine->compact().code() == Code::kCorruption);
    must_put(*engine, 0, "new");
    REQUIRE(engine->get(0, &value).ok());
    REQUIRE(value == "new");
    REQUIRE(engine->snapshot().ok());
    REQUIRE(engine->get(2, &value).ok());
  }
}

TEST_CASE("a run that is missing, cut or swapped refuses to open") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  make_two_runs(options);
  const auto runs = files(fs, "run-", ".data");
  const std::string bytes = fs.contents(runs[0]);
  SECTION("missing") {
    fs.erase_file(runs[0]);
  }
  SECTION("swapped") {
    fs.put_file(runs[0], fs.contents(runs[1]));
  }
  SECTION("one byte shorter") {
    fs.put_file(runs[0], bytes.substr(0, bytes.size() - 1));
  }
  SECTION("empty") {
    fs.put_file(runs[0], "");
  }
  SECTION("one byte longer") {
    fs.put_file(runs[0], bytes + "x");
  }
  const Status status = open_status(fs, options);
  CHECK(status.code() == Code::kCorruption);
  CHECK_THAT(std::string(status.message()), Contains(runs[0].substr(sizeof kDir)));
}

TEST_CASE("leftovers that the manifest does not name are removed, other files are not touched") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  {
    auto engine = must_open(options);
    must_put(*engine, 1, "x");
  }
  const std::vector<std::string> leftovers = {"run-77.data",
                                              "run-77.rmi",
                                              "run-77.keys.tmp",
                                              "run-78.rmi.tmp",
                                              "wal-00000000000000000099.log",
                                              "wal-00000000000000000098.log.tmp",
                                              "manifest.json.tmp"};
  const std::vector<std::string> foreign = {"run-book.txt",   "wal-mart.log", "notes.txt",
                                            "run-1.data.bak", "mine.tmp",     "wal-1.log"};
  for (const std::string& name : leftovers) fs.put_file(path_of(name), "left");
  for (const std::string& name : foreign) fs.put_file(path_of(name), "mine");
  auto engine = must_open(options);
  for (const std::string& name : leftovers) {
    INFO(name);
    CHECK(!fs.exists(path_of(name)));
  }
  for (const std::string& name : foreign) {
    INFO(name);
    CHECK(fs.exists(path_of(name)));
  }
}

TEST_CASE("a second opening is refused with the holder's pid, and the first goes on") {
  const QuietLog quiet;
  const TempDir dir;
  Options options;
  options.data_dir = dir.file("store");
  options.reserve_bytes = 0;
  auto engine = must_open(options);
  const Status status = Engine::open(options).status();
  CHECK(status.code() == Code::kBusy);
  CHECK_THAT(std::string(status.message()), Contains(std::to_string(getpid())));
  must_put(*engine, 1, "x");
  engine.reset();
  engine = must_open(options);
  std::string value;
  CHECK(engine->get(1, &value).ok());
}

namespace {

// The golden stores, oldest first: a manifest of format 1; one of format 2; runs of format 2.
constexpr const char* kGoldenDirs[] = {"test/data/store-v1", "test/data/store-v2",
                                       "test/data/store-v3"};

uint64_t golden_records(size_t version) {
  return version == 3 ? 52 : 51;
}

// What one of them holds, as write_golden_store() below made it.
Contents golden_contents(size_t version) {
  Contents out;
  const uint64_t last = golden_records(version) - 1;
  if (version == 3) out[3] = {std::string(3000, 'l'), last - 1};
  for (uint64_t key = 0; key < 40; ++key) {
    if (key % 5 != 0) out[key << 57] = {"value " + std::to_string(key), key};
  }
  out[1] = {"with an expiry far away", 48};
  out[2] = {"", 49};
  out[~uint64_t{0}] = {std::string("\0\xFF binary", 9), last};
  return out;
}

void write_golden_store(const std::string& dir) {
  Options options;
  options.data_dir = dir;
  options.reserve_bytes = 0;
  options.wal_segment_bytes = 4096;
  options.wal_segments_max = 2;
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 40; ++key)
    must_put(*engine, key << 57, "value " + std::to_string(key));
  for (uint64_t key = 0; key < 40; key += 5) REQUIRE(engine->remove(key << 57).ok());
  REQUIRE(engine->snapshot().ok());
  REQUIRE(engine->put(1, "with an expiry far away", uint64_t{1} << 50).ok());
  must_put(*engine, 2, "");
  must_put(*engine, 3, std::string(3000, 'l'));  // lies outside its page
  REQUIRE(engine->snapshot().ok());
  must_put(*engine, ~uint64_t{0}, std::string("\0\xFF binary", 9));
}

// What an engine would give, by the tools that open none.
Contents dumped_contents(FileSystem& fs, const std::string& dir) {
  Contents out;
  const Status dumped = dump_live(fs, dir, {}, [&](const RecordView& record, uint64_t) {
    out[record.header.key] = {std::string(record.value), record.header.offset};
  });
  INFO(dumped.to_string());
  REQUIRE(dumped.ok());
  return out;
}

// False, with a warning, where the golden stores are not.
bool copy_golden_store(size_t version, const std::string& to) {
  const std::string golden_dir = kGoldenDirs[version - 1];
  if (!std::filesystem::exists(golden_dir)) {
    WARN("no " << golden_dir << " here: run from the top of the repository");
    return false;
  }
  std::filesystem::copy(golden_dir, to);
  return true;
}

}  // namespace

// Run once for each format version, by name, and commit what it writes.
TEST_CASE("write the golden store", "[.golden]") {
  write_golden_store(kGoldenDirs[2]);
}

TEST_CASE("the offline tools take the golden store of each format version") {
  const QuietLog quiet;
  const size_t version = GENERATE(1u, 2u, 3u);
  const TempDir dir;
  if (!copy_golden_store(version, dir.file("store"))) return;
  const std::string store = dir.file("store");
  PosixFileSystem fs;
  const auto report = verify_directory(fs, store);
  REQUIRE(report.ok());
  CHECK(report->damage.empty());
  CHECK(report->repairable.size() == (version == 1 ? 2u : 0u));  // indexes of an older format
  CHECK(dumped_contents(fs, store) == golden_contents(version));
  REQUIRE(backup_directory(fs, store, dir.file("backup")).ok());
  REQUIRE(restore_directory(fs, dir.file("backup"), dir.file("restored")).ok());
  CHECK(dumped_contents(fs, dir.file("restored")) == golden_contents(version));
  const auto saved = Salvage(fs, store, dir.file("saved")).run();
  REQUIRE(saved.ok());
  CHECK(saved->losses == 0);
  CHECK(dumped_contents(fs, dir.file("saved")) == golden_contents(version));
}

TEST_CASE("the golden store of each format version opens and holds what it held") {
  const QuietLog quiet;
  const size_t version = GENERATE(1u, 2u, 3u);
  const TempDir dir;
  if (!copy_golden_store(version, dir.file("store"))) return;
  Options options;
  options.data_dir = dir.file("store");
  options.reserve_bytes = 0;
  options.merge_fan_in = 100;
  const bool without_index = GENERATE(false, true);
  if (without_index) {
    for (const auto& entry : std::filesystem::directory_iterator(options.data_dir)) {
      if (entry.path().extension() == ".rmi") std::filesystem::remove(entry.path());
    }
  }
  auto engine = must_open(options);
  REQUIRE(engine->view().runs.size() == 2);
  for (const auto& run : engine->view().runs) CHECK(run->body().is_paged() == (version == 3));
  CHECK(engine->next_offset() == golden_records(version));
  // The older one's indexes are of format 1 of index files, which is built anew from the data.
  CHECK(engine->stats().rmi_rebuilds.value() == (version == 1 || without_index ? 2u : 0u));
  CHECK(contents_of(*engine) == golden_contents(version));
  for (const auto& [key, stored] : golden_contents(version)) {
    std::string value;
    REQUIRE(engine->get(key, &value).ok());
    CHECK(value == stored.value);
  }
  CHECK(verify_runs(*engine).ok());
  CHECK(read_whole_log(*engine, 0).size() == golden_records(version));
  // A newer run beside the older ones.
  Contents mixed = golden_contents(version);
  must_put(*engine, uint64_t{1} << 57, "newer");
  mixed[uint64_t{1} << 57] = {"newer", engine->next_offset() - 1};
  REQUIRE(engine->snapshot().ok());
  CHECK(contents_of(*engine) == mixed);
  std::vector<uint64_t> keys;
  for (const auto& [key, stored] : mixed) keys.push_back(key);
  size_t found = 0;
  REQUIRE(engine
              ->multi_get(keys,
                          [&](size_t i, const Lookup* lookup) {
                            REQUIRE(lookup != nullptr);
                            CHECK(lookup->value() == mixed.at(keys[i]).value);
                            return ++found > 0;
                          })
              .ok());
  CHECK(found == mixed.size());
  REQUIRE(engine->compact().ok());
  REQUIRE(engine->view().runs.size() == 1);
  CHECK(engine->view().runs[0]->body().is_paged());
  CHECK(contents_of(*engine) == mixed);
}

}  // namespace kyro::test
