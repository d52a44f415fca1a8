// Opening and the offline tools judge the same files by the same rules, whatever was done to them.
//
// Of each damaged image of a store: verify says clean if and only if opening succeeds and every
// record of values and log reads back; salvage loses nothing exactly then; dump, backup and restore
// take what verify calls clean and give what the engine gives. Besides flips, cuts and deletions
// the images have whole files of relatives under the right names: of an earlier state of the same
// store, of its backup, of what was restored from that and went on, and of a stranger with as many
// records.
#include <catch2/catch.hpp>
#include <cstdio>
#include <optional>
#include <set>

#include "kyro/storage/offline/backup.h"
#include "kyro/storage/offline/dump.h"
#include "kyro/storage/offline/salvage.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

constexpr char kTaken[] = "backup";
constexpr char kRescued[] = "saved";

using Files = std::map<std::string, std::string>;  // by name

Files files_in(const FaultFs& fs, const std::string& dir) {
  Files out;
  for (const std::string& path : fs.paths()) {
    const bool is_data = path.ends_with(".log") || path.ends_with(".data") ||
                         path.ends_with(".rmi") || path.ends_with(kManifestName);
    if (path.starts_with(dir + "/") && is_data)
      out[path.substr(dir.size() + 1)] = fs.contents(path);
  }
  return out;
}

// A store that ended without a close, and stores of the same and of another origin.
struct Family {
  FaultFs fs;
  Options options = small_options(fs);
  std::unique_ptr<FaultFs> store;
  std::map<std::string, Files> relatives;
  std::map<uint64_t, std::set<std::string>> history;

  explicit Family(FsyncPolicy policy, uint64_t segments_kept) {
    options.wal_segment_bytes = 4 * kKiB;
    options.wal_segments_max = segments_kept;
    options.merge_fan_in = 100;
    options.fsync = policy;
    {
      auto engine = must_open(options);
      write(*engine, 0, 40, "");
      REQUIRE(engine->snapshot().ok());
    }
    auto engine = must_open(options);
    write(*engine, 40, 60, "");
    note("earlier", *fs.clone(), kDir);
    write(*engine, 60, 80, "");
    REQUIRE(engine->backup(kTaken).ok());
    note("backup", fs, kTaken);
    REQUIRE(engine->snapshot().ok());
    write(*engine, 80, 95, "");
    note("before", *fs.clone(), kDir);
    write(*engine, 95, 100, "");
    store = fs.clone();
    store->restart(Loss::kNothing, 0);
    engine.reset();
    note("closed", fs, kDir);
    go_on_from_backup();
    note_stranger();
  }

  void write(Engine& engine, uint64_t begin, uint64_t end, const std::string& prefix) {
    for (uint64_t n = begin; n < end; ++n) {
      const uint64_t key = n % 37 * 0x0500000000000001u;
      const std::string value =
          std::to_string(100 + n) + std::string(n % 17 == 3 ? 1300 : n * 7 % 300, 'v') + prefix;
      if (n % 11 == 5) {
        REQUIRE(engine.remove(key).status().code() != Code::kIoError);
        continue;
      }
      must_put(engine, key, value);
      if (prefix.empty()) history[key].insert(value);
    }
  }

 private:
  void note(const std::string& who, const FaultFs& image, const std::string& dir) {
    relatives[who] = files_in(image, dir);
    REQUIRE(!relatives[who].empty());
  }
  void go_on_from_backup() {
    auto other = fs.clone();
    REQUIRE(restore_directory(*other, kTaken, "restored").ok());
    Options at = options;
    at.fs = other.get();
    at.data_dir = "restored";
    auto engine = must_open(at);
    write(*engine, 80, 100, "r");
    REQUIRE(engine->snapshot().ok());
    write(*engine, 100, 120, "r");
    engine.reset();
    note("restored", *other, "restored");
  }
  void note_stranger() {
    FaultFs other;
    Options at = options;
    at.fs = &other;
    auto engine = must_open(at);
    write(*engine, 0, 40, "s");
    REQUIRE(engine->snapshot().ok());
    write(*engine, 40, 80, "s");
    REQUIRE(engine->snapshot().ok());
    write(*engine, 80, 100, "s");
    note("stranger", other, kDir);
  }
};

// What an engine makes of an image: whether it opens and gives back all it holds.
struct Opened {
  Status status;
  Contents contents;
  std::vector<LogRecord> log;
};

Status read_everything(Engine& engine, Opened* out) {
  out->contents.clear();
  out->log.clear();
  KYRO_TRY(engine.scan(0, ~uint64_t{0}, [&](uint64_t key, std::string_view value, uint64_t offset) {
    out->contents[key] = {std::string(value), offset};
    return true;
  }));
  for (const auto& [key, stored] : out->contents) {
    std::string value;
    KYRO_TRY(engine.get(key, &value));
    if (value != stored.value) return Status(Code::kCorruption, "scan and get differ");
  }
  return Status();
}

Status read_log(Engine& engine, std::vector<LogRecord>* out) {
  auto reader = engine.read_log(engine.log_range().oldest);
  KYRO_TRY(reader);
  for (bool caught_up = false; !caught_up;) {
    KYRO_TRY((*reader)->read(~uint64_t{0}, 4096, &caught_up, [&](const RecordView& record) {
      const bool is_put = !record.is_tombstone();
      out->push_back({record.header.offset, record.header.key, is_put, std::string(record.value)});
    }));
  }
  return Status();
}

Opened open_and_read(const FaultFs& image, Options options, bool has_bad_index) {
  Opened out;
  auto copy = image.clone();
  options.fs = copy.get();
  auto engine = Engine::open(options);
  out.status = engine.status();
  if (!out.status.ok()) return out;
  out.status = read_everything(**engine, &out);
  std::vector<LogRecord> log;
  const Status log_read = read_log(**engine, &log);
  if (!out.status.ok() && has_bad_index) {  // made anew by the engine itself; here at once
    out.status = (*engine)->run({Job::Kind::kRebuildIndex}).status;
    if (out.status.ok()) out.status = read_everything(**engine, &out);
  }
  out.log = std::move(log);
  if (out.status.ok()) out.status = log_read;
  return out;
}

Contents rescued_contents(FaultFs& fs, Options options) {
  const auto verified = verify_directory(fs, kRescued);
  REQUIRE(verified.ok());
  REQUIRE(verified->damage.empty());
  options.fs = &fs;
  options.data_dir = kRescued;
  return contents_of(*must_open(options));
}

void check_tools(const FaultFs& image, const Options& options, const Opened& opened) {
  auto copy = image.clone();
  Contents live;
  const auto take = [&](const RecordView& record, uint64_t) {
    live[record.header.key] = {std::string(record.value), record.header.offset};
  };
  REQUIRE(dump_live(*copy, kDir, ClockSources{}, take).ok());
  REQUIRE(live == opened.contents);
  uint64_t logged = 0;
  REQUIRE(dump_log(*copy, kDir, {}, [&](const RecordView&, uint64_t) { ++logged; }).ok());
  REQUIRE(logged == opened.log.size());
  const Status copied = backup_directory(*copy, kDir, "copy").status();
  INFO(copied.to_string());
  REQUIRE(copied.ok());
  REQUIRE(restore_directory(*copy, "copy", "again").ok());
  Options at = options;
  at.fs = copy.get();
  at.data_dir = "again";
  REQUIRE(contents_of(*must_open(at)) == opened.contents);
}

// Whether the image is clean, on which all agree.
bool check_agreement(const Options& options, const FaultFs& image) {
  auto copy = image.clone();
  const auto report = verify_directory(*copy, kDir);
  std::string said = report.status().to_string();
  if (report.ok()) {
    for (const std::string& line : report->damage) said += "\n  " + line;
  }
  INFO("verify: " << said);
  const bool is_clean = report.ok() && report->damage.empty();
  const bool has_bad_index = report.ok() && !report->repairable.empty();
  const Opened opened = open_and_read(image, options, has_bad_index);
  INFO("opening and reading: " << opened.status.to_string());
  REQUIRE(is_clean == opened.status.ok());
  REQUIRE((opened.status.code() == Code::kUnsupported) ==
          (report.status().code() == Code::kUnsupported));
  const auto saved = Salvage(*copy, kDir, kRescued).run();
  INFO("salvage: " << saved.status().to_string());
  for (size_t i = 0; saved.ok() && i < saved->lines.size(); ++i) {
    UNSCOPED_INFO("lost: " << saved->lines[i]);
  }
  REQUIRE((saved.ok() || saved.status().code() == report.status().code()));
  if (!saved.ok()) return false;
  REQUIRE(is_clean == (saved->losses == 0));
  const Contents found = rescued_contents(*copy, options);
  if (is_clean) {
    REQUIRE(found == opened.contents);
    check_tools(image, options, opened);
  }
  return is_clean;
}

bool has_own_manifest(const FaultFs& image, const Family& family) {
  return image.contents(path_of(kManifestName)) == family.store->contents(path_of(kManifestName));
}

// With the store's own manifest nothing of another store's may come back, least of all silently.
void check_origin(const Family& family, const FaultFs& image) {
  if (!has_own_manifest(image, family)) return;
  auto copy = image.clone();
  if (!Salvage(*copy, kDir, kRescued).run().ok()) return;
  for (const auto& [key, stored] : rescued_contents(*copy, family.options)) {
    INFO("key " << key << ": " << stored.value);
    REQUIRE(family.history.contains(key));
    REQUIRE(family.history.at(key).contains(stored.value));
  }
}

std::string kind_of(const std::string& name) {
  return name.substr(name.rfind('.'));
}

}  // namespace

TEST_CASE("all judge alike when whole files are replaced by those of relatives", "[damage]") {
  const QuietLog quiet;
  const auto policy = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kNever);
  const uint64_t kept = GENERATE(uint64_t{1}, uint64_t{100});
  const Family family(policy, kept);
  REQUIRE(check_agreement(family.options, *family.store));
  uint64_t images = 0;
  uint64_t clean = 0;
  for (const auto& [name, bytes] : files_in(*family.store, kDir)) {
    for (const auto& [who, files] : family.relatives) {
      for (const auto& [other, replacement] : files) {
        if (kind_of(other) != kind_of(name) || replacement == bytes) continue;
        INFO(name << " is " << other << " of " << who << ", policy " << static_cast<int>(policy)
                  << ", segments kept " << kept);
        auto image = family.store->clone();
        image->put_file(path_of(name), replacement);
        ++images;
        if (check_agreement(family.options, *image)) ++clean;
        check_origin(family, *image);
      }
    }
  }
  WARN(images << " images, " << clean << " clean");
  CHECK(clean > 0);  // a last segment may be of another moment, and an index is made anew
  CHECK(clean < images / 2);
}

TEST_CASE("all judge alike whatever is flipped, cut, lengthened or deleted", "[damage]") {
  const QuietLog quiet;
  const auto policy = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kNever);
  const uint64_t kept = GENERATE(uint64_t{1}, uint64_t{100});
  const Family family(policy, kept);
  uint64_t clean = 0;
  const auto check = [&](const std::string& what, const std::string& name,
                         const std::optional<std::string>& damaged) {
    INFO(name << " " << what << ", policy " << static_cast<int>(policy) << ", segments kept "
              << kept);
    auto image = family.store->clone();
    if (damaged) {
      image->put_file(path_of(name), *damaged);
    } else {
      image->erase_file(path_of(name));
    }
    if (check_agreement(family.options, *image)) ++clean;
  };
  for (const auto& [name, bytes] : files_in(*family.store, kDir)) {
    check("deleted", name, std::nullopt);
    check("with zeros behind it", name, bytes + std::string(100, '\0'));
    check("with something behind it", name, bytes + "x");
    // Every place where something begins or ends, and a sample of the rest.
    const size_t step = kSanitized ? 13 * 37 : 37;
    for (size_t at = 0; at < bytes.size(); at += at < 128 || bytes.size() - at < 256 ? 5 : step) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      check("flipped at " + std::to_string(at), name, flipped);
      check("cut to " + std::to_string(at), name, bytes.substr(0, at));
    }
  }
  CHECK(clean > 0);
}

namespace {

// Makes the version of a file larger, and its checksum right again.
void make_newer(FaultFs& image, const std::string& name) {
  const std::string path = path_of(name);
  std::string bytes = image.contents(path);
  if (name == kManifestName) {
    const std::string from = "{\"format\":" + std::to_string(kManifestFormat) + ",";
    REQUIRE(bytes.starts_with(from));
    bytes.replace(0, from.size(),
                  "{\"format\":" + std::to_string(kManifestFormat + 1) + ",\"something\":\"new\",");
    bytes.resize(bytes.rfind(",\"crc\""));
    char crc[32];
    std::snprintf(crc, sizeof crc, ",\"crc\":\"%08x\"}\n", crc32c(bytes));
    image.put_file(path, bytes + crc);
    return;
  }
  static_assert(offsetof(SegmentHeader, version) == 8 && offsetof(RunHeader, version) == 8 &&
                offsetof(RmiHeader, version) == 8);
  static_assert(sizeof(SegmentHeader) == 64 && sizeof(RunHeader) == 64 && sizeof(RmiHeader) == 64);
  store_u32(bytes.data() + 8, load_u32(bytes.data() + 8) + 1);
  store_u32(bytes.data() + 60, crc32c(bytes.data(), 60));
  image.put_file(path, bytes);
}

}  // namespace

TEST_CASE("a newer format of any file is called newer by all, and a flip there is not",
          "[damage]") {
  const QuietLog quiet;
  const Family family(FsyncPolicy::kAlways, 100);
  for (const auto& [name, bytes] : files_in(*family.store, kDir)) {
    INFO(name);
    auto image = family.store->clone();
    make_newer(*image, name);
    const auto is_newer = [&](const Status& status) {
      INFO(status.to_string());
      CHECK(status.code() == Code::kUnsupported);
      CHECK(status.message().find(name + ": written by a newer KyroDB (") != std::string::npos);
    };
    is_newer(open_status(*image->clone(), family.options));
    is_newer(verify_directory(*image, kDir).status());
    const Status dumped =
        dump_live(*image, kDir, ClockSources{}, [](const RecordView&, uint64_t) {});
    const Status log_dumped = dump_log(*image, kDir, {}, [](const RecordView&, uint64_t) {});
    if (!dumped.ok()) is_newer(dumped);  // each but for what it does not need
    if (!log_dumped.ok()) is_newer(log_dumped);
    CHECK((!dumped.ok() || name.starts_with("wal-")));
    CHECK((!log_dumped.ok() || name.starts_with("run-")));
    is_newer(backup_directory(*image, kDir, "copy").status());
    is_newer(restore_directory(*image, kDir, "again").status());
    is_newer(Salvage(*image, kDir, kRescued).run().status());
    CHECK(files_in(*image, "copy").empty());
    CHECK(files_in(*image, "again").empty());
    CHECK(files_in(*image, kRescued).empty());
    std::string flipped = bytes;
    flipped[name == kManifestName ? 10 : 8] ^= 2;
    image->put_file(path_of(name), flipped);
    const auto report = verify_directory(*image, kDir);
    REQUIRE(report.ok());
    CHECK(report->damage.empty() == name.ends_with(".rmi"));
  }
}

TEST_CASE("a segment with the same records but of another history is damage to all", "[damage]") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.wal_segment_bytes = 4 * kKiB;
  const auto write_to_next_segment = [](Engine& engine) {
    for (uint64_t key = 3; key < 5; ++key) must_put(engine, key, std::string(1500, 'n'));
  };
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 3; ++key) must_put(*engine, key, std::string(900, 'v'));
  auto other = fs.clone();
  write_to_next_segment(*engine);
  auto store = fs.clone();
  store->restart(Loss::kNothing, 0);
  // The same up to a crash and a start, which leave a mark.
  other->restart(Loss::kNothing, 0);
  Options at = options;
  at.fs = other.get();
  write_to_next_segment(*must_open(at));
  REQUIRE(check_agreement(options, *store));
  const auto segments = files(*store, "wal-", ".log");
  REQUIRE(segments.size() == 2);
  REQUIRE(segments == files(*other, "wal-", ".log"));
  store->put_file(segments[0], other->contents(segments[0]));
  CHECK_FALSE(check_agreement(options, *store));
  const auto report = verify_directory(*store, kDir);
  REQUIRE(report.ok());
  REQUIRE(report->damage.size() == 1);
  CHECK(report->damage[0].find("the next segment does not follow this one") != std::string::npos);
}

TEST_CASE("a log cut at a group's end is an incomplete copy where its file was made longer",
          "[damage]") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  const bool can_reserve = GENERATE(true, false);
  if (!can_reserve) fs.inject({FsCall::kAllocate, Code::kNoSpace, 0, ~uint64_t{0}, ""});
  auto engine = must_open(options);
  uint64_t ends[4] = {kSegmentHeaderBytes};
  for (uint64_t key = 0; key < 3; ++key) {
    must_put(*engine, key, "value");
    ends[key + 1] = engine->wal_position();
  }
  const auto copied = [&](uint64_t bytes) {
    auto image = fs.clone();
    image->restart(Loss::kNothing, 0);
    image->put_file(last_segment(fs), fs.contents(last_segment(fs)).substr(0, bytes));
    return image;
  };
  for (const uint64_t end : ends) {
    INFO("cut to " << end);
    auto image = copied(end);
    CHECK(check_agreement(options, *image) == !can_reserve);
    if (!can_reserve) continue;
    const Status status = open_status(*image, options);
    CHECK(status.message().find("an incomplete copy") != std::string::npos);
  }
  CHECK(check_agreement(options, *copied(options.wal_segment_bytes)));
}

TEST_CASE("a store without its manifest is damaged, not absent, and salvage takes what is there") {
  const QuietLog quiet;
  const Family family(FsyncPolicy::kAlways, 1);
  auto image = family.store->clone();
  image->erase_file(path_of(kManifestName));
  const auto report = verify_directory(*image, kDir);
  REQUIRE(report.ok());
  REQUIRE(report->damage.size() == 1);
  CHECK(report->damage[0].find("manifest.json: missing, but ") == 0);
  CHECK(dump_live(*image, kDir, ClockSources{}, [](const RecordView&, uint64_t) {}).code() ==
        Code::kCorruption);
  CHECK(open_status(*image->clone(), family.options).code() == Code::kCorruption);
  const auto saved = Salvage(*image, kDir, kRescued).run();
  REQUIRE(saved.ok());
  CHECK(saved->losses == 1);
  const Opened whole = open_and_read(*family.store, family.options, false);
  CHECK(rescued_contents(*image, family.options) == whole.contents);
}

}  // namespace kyro::test
