// Backups and restores: complete, consistent, and never half accepted.
#include "kyro/storage/offline/backup.h"

#include <catch2/catch.hpp>
#include <thread>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

constexpr char kBackup[] = "backup";
constexpr char kRestored[] = "restored";

// The writes of these tests: number n gets offset n.
uint64_t key_of(uint64_t n) {
  return n % 97 * 0x0A00000000000001u;
}
std::string value_of(uint64_t n) {
  return std::to_string(n) + ":" + std::string(n * 7919 % 1500, 'v');
}
void write_numbers(Engine& engine, uint64_t begin, uint64_t end) {
  for (uint64_t n = begin; n < end; ++n) must_put(engine, key_of(n), value_of(n));
}
Contents contents_after(uint64_t writes) {
  Contents out;
  for (uint64_t n = 0; n < writes; ++n) out[key_of(n)] = {value_of(n), n};
  return out;
}

Options at_dir(Options options, const std::string& dir) {
  options.data_dir = dir;
  return options;
}

// Restores the backup at `from` to `to` and holds it against the first `writes` writes.
void check_backup(FileSystem& fs, const Options& options, const std::string& from,
                  const std::string& to, uint64_t writes) {
  const auto restored = restore_directory(fs, from, to);
  INFO(restored.status().to_string());
  REQUIRE(restored.ok());
  REQUIRE(restored->next_offset == writes);
  auto engine = must_open(at_dir(options, to));
  REQUIRE(contents_of(*engine) == contents_after(writes));
  REQUIRE(verify_runs(*engine).ok());
  REQUIRE(engine->next_offset() == writes + kOffsetJump);
  const auto offset = engine->put(5, "goes on");
  REQUIRE(offset.ok());
  REQUIRE(*offset == writes + kOffsetJump);
}

void require_clean(FileSystem& fs, const std::string& dir) {
  const auto report = verify_directory(fs, dir);
  INFO(dir << ": " << report.status().to_string());
  REQUIRE(report.ok());
  for (const std::string& line : report->damage) INFO(line);
  REQUIRE(report->damage.empty());
}

std::vector<std::string> names_in(FaultFs& fs, const std::string& dir) {
  if (!fs.dir_exists(dir)) return {};
  return *fs.open_now(dir)->list();
}

}  // namespace

TEST_CASE("a backup taken while writes go on holds all that was acknowledged, and a prefix") {
  const QuietLog quiet;
  const TempDir dir;
  PosixFileSystem fs;
  Options options = small_options(fs);
  options.data_dir = dir.file("data");
  options.merge_fan_in = 2;
  options.fsync = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kNever);
  options.wal_segments_max = 1;  // files come and go as fast as they can
  auto engine = must_open(options);
  std::atomic<uint64_t> acknowledged{0};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t n = 0; !stop.load(); ++n) {
      if (!engine->put(key_of(n), value_of(n)).ok()) break;
      acknowledged.store(n + 1);
      if (n % 300 == 299 && !engine->compact().ok()) break;
    }
  });
  std::vector<uint64_t> sizes;
  for (int i = 0; i < 8; ++i) {
    while (acknowledged.load() < 150u * static_cast<unsigned>(i)) std::this_thread::yield();
    const uint64_t before = acknowledged.load();
    const JobOutcome outcome = engine->run({Job::Kind::kBackup, dir.file("b" + std::to_string(i))});
    const CopyStats& stats = outcome.copied;
    const uint64_t after = acknowledged.load() + 1;  // one may be under way
    CHECK(outcome.status.ok());
    CHECK(stats.next_offset >= before);
    CHECK(stats.next_offset <= after);
    sizes.push_back(stats.next_offset);
  }
  stop = true;
  writer.join();
  const uint64_t writes = acknowledged.load();
  CHECK(contents_of(*engine) == contents_after(writes));
  engine.reset();
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::string backup = dir.file("b" + std::to_string(i));
    require_clean(fs, backup);
    check_backup(fs, options, backup, dir.file("r" + std::to_string(i)), sizes[i]);
    require_clean(fs, backup);  // what the restored store did has not changed it
  }
  engine = must_open(options);
  CHECK(contents_of(*engine) == contents_after(writes));
}

TEST_CASE("a backup copies where files cannot be linked, and then shares nothing") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  write_numbers(*engine, 0, 200);
  fs.inject({FsCall::kLink, Code::kUnsupported, 0, ~uint64_t{0}, ""});
  const JobOutcome outcome = engine->run({Job::Kind::kBackup, kBackup});
  const CopyStats& stats = outcome.copied;
  REQUIRE(outcome.status.ok());
  CHECK(stats.next_offset == 200);
  CHECK(stats.linked_bytes == 0);
  CHECK(stats.copied_bytes > 50'000);
  CHECK(stats.files == names_in(fs, kBackup).size());
  engine.reset();
  for (const std::string& path : fs.paths()) {
    if (path.starts_with(path_of(""))) fs.erase_file(path);
  }
  check_backup(fs, options, kBackup, kRestored, 200);
}

TEST_CASE("a backup without room for its copies says so beforehand and leaves nothing") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  write_numbers(*engine, 0, 100);
  fs.set_capacity(fs.used_bytes() + 100 * kKiB);
  const Status status = engine->backup(kBackup);
  CHECK(status.code() == Code::kNoSpace);
  CHECK_THAT(std::string(status.message()), Contains("bytes of free space"));
  CHECK(!fs.dir_exists(kBackup));
  fs.set_capacity(~uint64_t{0});
  CHECK(engine->backup(kBackup).ok());
  CHECK(engine->backup(kBackup).code() == Code::kExists);
}

TEST_CASE(
    "a failure at any call of a backup leaves no backup, an unharmed engine and a free name") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  write_numbers(*engine, 0, 150);
  const Contents expected = contents_of(*engine);
  uint64_t failures = 0;
  for (uint64_t skip = 0;; ++skip) {
    fs.inject({FsCall::kAny, Code::kIoError, skip, 1, kBackup});
    const Status status = engine->backup(kBackup);
    fs.heal();
    if (status.ok()) break;
    ++failures;
    INFO("call " << skip << ": " << status.to_string());
    REQUIRE(status.code() == Code::kIoError);
    REQUIRE(!engine->latch().is_set());
    REQUIRE(names_in(fs, kBackup).empty());
  }
  CHECK(failures > 20);
  CHECK(contents_of(*engine) == expected);
  engine.reset();
  check_backup(fs, options, kBackup, kRestored, 150);
}

TEST_CASE("an offline backup refuses a live or damaged directory and leaves a torn tail out") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  CHECK(backup_directory(fs, kDir, kBackup).status().code() == Code::kNotFound);
  auto engine = must_open(options);
  // The last group lies in the last segment: no flush begins a new one meanwhile.
  write_numbers(*engine, 0, 149);
  REQUIRE(engine->snapshot().ok());
  write_numbers(*engine, 149, 150);
  CHECK(backup_directory(fs, kDir, kBackup).status().code() == Code::kBusy);
  auto image = fs.clone();
  engine.reset();
  image->restart(Loss::kNothing, 0);
  const std::string segment = last_segment(*image);
  const std::string bytes = image->contents(segment);
  SECTION("closed in good order") {
    REQUIRE(backup_directory(fs, kDir, kBackup).ok());
    check_backup(fs, options, kBackup, kRestored, 150);
  }
  SECTION("killed, its last group torn") {
    std::string torn = bytes;
    torn[torn.find_last_not_of('\0')] ^= 1;
    image->put_file(segment, torn);
    const auto stats = backup_directory(*image, kDir, kBackup);
    REQUIRE(stats.ok());
    CHECK(stats->next_offset == 149);
    Options reopened = options;
    reopened.fs = image.get();
    check_backup(*image, reopened, kBackup, kRestored, 149);
    CHECK(image->contents(segment) == torn);
  }
  SECTION("damaged before its end") {
    std::string damaged = bytes;
    damaged[kSegmentHeaderBytes + 60] ^= 1;
    image->put_file(segment, damaged);
    const Status status = backup_directory(*image, kDir, kBackup).status();
    CHECK(status.code() == Code::kCorruption);
    CHECK_THAT(std::string(status.message()), Contains(segment.substr(sizeof kDir)));
    CHECK(names_in(*image, kBackup).empty());
  }
}

TEST_CASE("restore refuses a backup with any damaged file, and any target that is not empty") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  {
    auto engine = must_open(options);
    write_numbers(*engine, 0, 150);
    REQUIRE(engine->backup(kBackup).ok());
  }
  for (const std::string& name : names_in(fs, kBackup)) {
    const std::string path = std::string(kBackup) + "/" + name;
    INFO(path);
    const std::string bytes = fs.contents(path);
    for (const size_t at : {size_t{0}, bytes.size() / 2, bytes.size() - 3}) {
      std::string damaged = bytes;
      damaged[at] ^= 0x20;
      auto image = fs.clone();
      image->put_file(path, damaged);
      const auto restored = restore_directory(*image, kBackup, kRestored);
      if (restored.ok()) {  // an index is made anew, and so is the mark that ends the log
        REQUIRE((name.ends_with(".rmi") || (name.starts_with("wal-") && at == bytes.size() - 3)));
        Options reopened = at_dir(options, kRestored);
        reopened.fs = image.get();
        REQUIRE(contents_of(*must_open(reopened)) == contents_after(150));
        continue;
      }
      REQUIRE((restored.status().code() == Code::kCorruption ||
               restored.status().code() == Code::kUnsupported));
      REQUIRE(names_in(*image, kRestored).empty());
    }
    if (name.ends_with(".rmi")) continue;
    auto image = fs.clone();
    image->erase_file(path);
    REQUIRE(!restore_directory(*image, kBackup, kRestored).ok());
  }
  fs.put_file(std::string(kRestored) + "/notes.txt", "mine");
  CHECK(restore_directory(fs, kBackup, kRestored).status().code() == Code::kExists);
  CHECK(restore_directory(fs, kBackup, kDir).status().code() == Code::kExists);
  CHECK(fs.contents(std::string(kRestored) + "/notes.txt") == "mine");
  CHECK(restore_directory(fs, "nowhere", "else").status().code() == Code::kNotFound);
}

TEST_CASE("a restored store is another database, also when its backup is served as it is") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  std::string id;
  {
    auto engine = must_open(options);
    id = engine->database_id();
    write_numbers(*engine, 0, 20);
    REQUIRE(engine->backup(kBackup).ok());
    write_numbers(*engine, 20, 40);
  }
  REQUIRE(restore_directory(fs, kBackup, kRestored).ok());
  auto restored = must_open(at_dir(options, kRestored));
  CHECK(restored->database_id() != id);
  CHECK(restored->read_log(30).status().code() == Code::kGone);
  CHECK(restored->read_log(10).ok());
  auto served = must_open(at_dir(options, kBackup));
  CHECK(served->database_id() == id);
  CHECK(served->next_offset() == 20 + kOffsetJump);
  auto engine = must_open(options);
  CHECK(engine->next_offset() == 40);
}

TEST_CASE("a power cut during a backup or a restore harms nothing and leaves all of it or no store",
          "[crash]") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  {
    auto engine = must_open(options);
    write_numbers(*engine, 0, 120);
  }
  const bool is_restore = GENERATE(false, true);
  if (is_restore) REQUIRE(backup_directory(fs, kDir, kBackup).ok());
  const std::string from = is_restore ? kBackup : kDir;
  const std::string to = is_restore ? kRestored : kBackup;
  const auto copy = [&](FaultFs& on) {
    return is_restore ? restore_directory(on, from, to).ok() : backup_directory(on, from, to).ok();
  };
  uint64_t points = 0;
  uint64_t whole = 0;
  bool is_cut = true;
  for (uint64_t call = 1; is_cut; ++call) {
    for (const bool after : {false, true}) {
      auto cut = fs.clone();
      cut->cut_power_at(call, after);
      const bool copied = copy(*cut);
      is_cut = cut->power_is_cut();
      for (const Loss loss : kLosses) {
        INFO("call " << call << (after ? " after" : " before") << ", loss "
                     << static_cast<int>(loss));
        auto image = cut->clone();
        image->restart(loss, call * 7 + static_cast<uint64_t>(loss));
        ++points;
        require_clean(*image, from);
        const auto report = verify_directory(*image, to);
        const bool is_store = image->exists(to + "/" + kManifestName);
        if (copied) REQUIRE(is_store);
        if (!is_store && report.ok()) {
          REQUIRE_THAT(report->damage.at(0), Contains("manifest.json: missing"));
          REQUIRE(open_status(*image, at_dir(options, to)).code() == Code::kCorruption);
          continue;
        }
        if (!is_store) {
          REQUIRE(report.status().code() == Code::kNotFound);
          continue;
        }
        REQUIRE(report.ok());
        ++whole;
        REQUIRE(report->damage.empty());
        Options reopened = at_dir(options, to);
        reopened.fs = image.get();
        REQUIRE(contents_of(*must_open(reopened)) == contents_after(120));
      }
    }
  }
  WARN(points << " power cuts during a " << (is_restore ? "restore" : "backup") << ", " << whole
              << " left a whole copy");
  CHECK(whole > 6);
  CHECK(points > 300);
}

}  // namespace kyro::test
