// What opening a data directory makes of what a crash, or somebody, left in it.
#include "kyro/storage/recovery.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "kyro/server/api.h"
#include "test/support/connection_harness.h"
#include "test/support/engine_harness.h"
#include "test/support/gate_fs.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

// A store whose process was killed: `fill` wrote to it, nothing was closed.
template <class Fill>
std::unique_ptr<FaultFs> killed_store(const Options& options, FaultFs& fs, Fill fill) {
  auto engine = must_open(options);
  fill(*engine);
  auto image = fs.clone();
  image->restart(Loss::kNothing, 0);
  return image;
}

// Positions of the groups of a segment's bytes, and after the last one.
std::vector<uint64_t> group_positions(std::string_view bytes) {
  std::vector<uint64_t> out;
  uint64_t at = kSegmentHeaderBytes;
  const uint64_t nonce = load<SegmentHeader>(bytes.data()).nonce;
  while (at + kGroupHeaderBytes <= bytes.size()) {
    const auto header = load<GroupHeader>(bytes.data() + at);
    if (header.nonce != nonce) break;
    out.push_back(at);
    at += kGroupHeaderBytes + header.body_bytes;
  }
  out.push_back(at);
  return out;
}

}  // namespace

TEST_CASE("a log torn at any byte of its last group loses that group and nothing else") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  // Where blocks can be reserved a file that is cut is an incomplete copy.
  const bool cut_short = GENERATE(true, false);
  if (cut_short) fs.inject({FsCall::kAllocate, Code::kNoSpace, 0, ~uint64_t{0}, ""});
  const auto image = killed_store(options, fs, [](Engine& engine) {
    must_put(engine, 1, "first");
    must_put(engine, 2, "second");
    must_put(engine, 3, "the last one");
  });
  const std::string segment = last_segment(*image);
  const std::string bytes = image->contents(segment);
  const auto groups = group_positions(bytes);
  const uint64_t begin = groups[groups.size() - 2];
  const uint64_t end = groups.back();
  REQUIRE(end - begin > kGroupHeaderBytes + kRecordHeaderBytes);
  for (uint64_t torn = begin; torn < end; ++torn) {
    INFO("torn at " << torn << " of " << begin << ".." << end << ", file cut: " << cut_short);
    auto copy = image->clone();
    std::string damaged = bytes.substr(0, torn);
    if (!cut_short) damaged.resize(bytes.size());
    copy->put_file(segment, damaged);
    Options reopened = options;
    reopened.fs = copy.get();
    {
      auto engine = must_open(reopened);
      const Contents contents = contents_of(*engine);
      // Zeros at the end of the value would be the value's own: none here.
      REQUIRE(contents.size() == 2);
      CHECK(contents.at(1) == Stored{"first", 0});
      CHECK(contents.at(2) == Stored{"second", 1});
      CHECK(engine->next_offset() == 2);
      // Counted up to the last byte that is not zero.
      const size_t garbage_end = damaged.find_last_not_of('\0') + 1;
      const uint64_t garbage = garbage_end > begin ? garbage_end - begin : 0;
      CHECK(engine->stats().recovery_truncated_bytes.value() == garbage);
      must_put(*engine, 4, "goes on");
    }
    auto engine = must_open(reopened);
    CHECK(contents_of(*engine).at(4) == Stored{"goes on", 2});
  }
}

TEST_CASE("a flipped bit before a later synced group of the last segment refuses to open") {
  const QuietLog quiet;
  const uint64_t writes = GENERATE(uint64_t{1}, uint64_t{4});
  FaultFs fs;
  const Options options = small_options(fs);
  { must_open(options); }  // so that the log begins with marks: opened, sealed, opened
  const auto image = killed_store(options, fs, [&](Engine& engine) {
    for (uint64_t key = 0; key < writes; ++key)
      must_put(engine, key, "value " + std::to_string(key));
  });
  const std::string segment = last_segment(*image);
  const std::string bytes = image->contents(segment);
  const auto groups = group_positions(bytes);
  REQUIRE(groups.size() >= 3 + writes);
  const uint64_t last_group = groups[groups.size() - 2];
  for (uint64_t bit = 0; bit < last_group * 8; ++bit) {
    INFO("bit " << bit);
    auto copy = image->clone();
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    copy->put_file(segment, damaged);
    const Status status = open_status(*copy, options);
    REQUIRE(!status.ok());
    REQUIRE(status.code() == Code::kCorruption);
    const std::string message(status.message());
    REQUIRE_THAT(message, Contains(segment.substr(sizeof kDir)) && Contains("kyrodb verify"));
    if (bit / 8 < kSegmentHeaderBytes) continue;
    const uint64_t damaged_group = *(std::upper_bound(groups.begin(), groups.end(), bit / 8) - 1);
    REQUIRE_THAT(message, Contains("at " + std::to_string(damaged_group)));
  }
}

TEST_CASE("a flipped bit after which a clean close left its seal refuses to open") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  {
    auto engine = must_open(options);
    must_put(*engine, 1, "acknowledged");
  }
  const std::string segment = last_segment(fs);
  const std::string bytes = fs.contents(segment);
  const auto groups = group_positions(bytes);
  const uint64_t seal = groups[groups.size() - 2];
  for (uint64_t at = kSegmentHeaderBytes; at < seal; ++at) {
    INFO("byte " << at);
    auto copy = fs.clone();
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    copy->put_file(segment, damaged);
    REQUIRE(open_status(*copy, options).code() == Code::kCorruption);
  }
}

TEST_CASE("damage or absence of a sealed segment that is still needed refuses to open") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  const auto image = killed_store(options, fs, [](Engine& engine) {
    for (uint64_t key = 0; key < 30; ++key) must_put(engine, key, std::string(1000, 'v'));
  });
  const auto segments = files(*image, "wal-", ".log");
  REQUIRE(segments.size() >= 3);
  REQUIRE(open_status(*image->clone(), options).ok());
  const std::string& segment = segments[GENERATE(size_t{0}, size_t{1})];
  const std::string bytes = image->contents(segment);

  SECTION("any byte of it") {
    for (size_t at = 0; at < bytes.size(); at += at < 256 || at + 300 > bytes.size() ? 1u : 37u) {
      INFO(segment << " byte " << at);
      auto copy = image->clone();
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x01);
      copy->put_file(segment, damaged);
      const Status status = open_status(*copy, options);
      REQUIRE(status.code() == Code::kCorruption);
      REQUIRE_THAT(std::string(status.message()), Contains(segment.substr(sizeof kDir)));
    }
  }
  SECTION("its end cut off, at any length") {
    for (size_t size = 0; size < bytes.size(); size += size < 128 ? 1u : 41u) {
      INFO(segment << " cut to " << size);
      auto copy = image->clone();
      copy->put_file(segment, bytes.substr(0, size));
      REQUIRE(open_status(*copy, options).code() == Code::kCorruption);
    }
  }
  SECTION("something appended") {
    auto copy = image->clone();
    copy->put_file(segment, bytes + "more");
    REQUIRE(open_status(*copy, options).code() == Code::kCorruption);
  }
  SECTION("missing") {
    auto copy = image->clone();
    copy->erase_file(segment);
    const Status status = open_status(*copy, options);
    REQUIRE(status.code() == Code::kCorruption);
    REQUIRE_THAT(std::string(status.message()), Contains("missing"));
  }
  SECTION("another segment under its name") {
    auto copy = image->clone();
    copy->put_file(segment, image->contents(segments[2]));
    REQUIRE(open_status(*copy, options).code() == Code::kCorruption);
  }
}

TEST_CASE("a last segment that is missing, emptied or of another store refuses to open") {
  const QuietLog quiet;
  FaultFs fs;
  FaultFs other_fs;
  const Options options = small_options(fs);
  const auto fill = [](Engine& engine) { must_put(engine, 1, "x"); };
  const auto image = killed_store(options, fs, fill);
  const auto other = killed_store(small_options(other_fs), other_fs, fill);
  const std::string segment = last_segment(*image);
  SECTION("missing") {
    image->erase_file(segment);
  }
  SECTION("empty") {
    image->put_file(segment, "");
  }
  SECTION("foreign") {
    image->put_file(segment, other->contents(segment));
  }
  CHECK(open_status(*image, options).code() == Code::kCorruption);
}

TEST_CASE("a missing manifest is a new store only where there is no data") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  {
    auto engine = must_open(options);
    must_put(*engine, 1, "x");
    REQUIRE(engine->snapshot().ok());
  }
  fs.erase_file(path_of(kManifestName));
  SECTION("with runs and segments") {}
  SECTION("with runs only") {
    fs.erase_file(last_segment(fs));
  }
  SECTION("with segments only") {
    for (const std::string& path : files(fs, "run-", "")) fs.erase_file(path);
  }
  SECTION("with LOCK and temporary files only") {
    for (const std::string& path : fs.paths()) fs.erase_file(path);
    fs.put_file(path_of("LOCK"), "1");
    fs.put_file(path_of("manifest.json.tmp"), "{");
    auto engine = must_open(options);
    CHECK(engine->next_offset() == 0);
    return;
  }
  const Status status = open_status(fs, options);
  CHECK(status.code() == Code::kCorruption);
  CHECK_THAT(std::string(status.message()), Contains(kManifestName) && Contains("missing"));
}

TEST_CASE("any damaged byte of the manifest refuses to open") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  {
    auto engine = must_open(options);
    must_put(*engine, 1, "x");
    REQUIRE(engine->snapshot().ok());
  }
  const std::string bytes = fs.contents(path_of(kManifestName));
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    INFO("bit " << bit);
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    fs.put_file(path_of(kManifestName), damaged);
    const Code code = open_status(fs, options).code();
    REQUIRE((code == Code::kCorruption || code == Code::kUnsupported));
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    INFO("cut to " << size);
    fs.put_file(path_of(kManifestName), bytes.substr(0, size));
    REQUIRE(open_status(fs, options).code() == Code::kCorruption);
  }
}

TEST_CASE("weaker fsync policies jump the numbering after an unclean stop and only then") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.fsync = GENERATE(FsyncPolicy::kInterval, FsyncPolicy::kNever);
  options.fsync_interval_ms = 3'600'000;
  {
    auto engine = must_open(options);
    must_put(*engine, 1, "x");
  }
  {
    auto engine = must_open(options);
    CHECK(engine->next_offset() == 1);  // closed in good order
  }
  for (const Loss loss : kLosses) {
    INFO("loss policy " << static_cast<int>(loss));
    FaultFs* base = &fs;
    std::unique_ptr<FaultFs> image;
    uint64_t seen = 0;
    {
      auto engine = must_open(options);
      for (uint64_t key = 0; key < 20; ++key) {
        must_put(*engine, key, std::string(700, 'v'));  // rotates
        seen = engine->next_offset();
      }
      image = base->clone();
    }
    image->restart(loss, 7);
    Options reopened = options;
    reopened.fs = image.get();
    // Whatever the next process' policy is, the loss happened under the old one.
    const bool tightened = GENERATE(true, false);
    if (tightened) reopened.fsync = FsyncPolicy::kAlways;
    uint64_t next = 0;
    {
      auto engine = must_open(reopened);
      next = engine->next_offset();
      CHECK(next >= seen);
      CHECK(next >= kOffsetJump);
      CHECK(next < 2 * kOffsetJump);
      const auto offset = engine->put(5, "after");
      REQUIRE(offset.ok());
      CHECK(*offset == next);
      // What was lost can be told from what was never there.
      CHECK(engine->read_log(next - 1).status().code() == Code::kGone);
      CHECK(engine->read_log(next).ok());
    }
    auto engine = must_open(reopened);
    CHECK(engine->next_offset() == next + 1);
    CHECK(contents_of(*engine).at(5) == Stored{"after", next});
  }
}

TEST_CASE("opening a store with a long log needs few descriptors") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.wal_segments_max = 1000;
  const auto image = killed_store(options, fs, [](Engine& engine) {
    for (uint64_t key = 0; key < 400; ++key) must_put(engine, key, std::string(2000, 'v'));
  });
  REQUIRE(files(*image, "wal-", ".log").size() > 90);
  Options reopened = options;
  reopened.fs = image.get();
  auto engine = must_open(reopened);
  CHECK(contents_of(*engine).size() == 400);
  CHECK(image->open_files_max() < 10);
}

TEST_CASE("a store opens on a full disk, and deletes make room") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.reserve_bytes = 64 * kKiB;
  const auto image = killed_store(options, fs, [](Engine& engine) {
    for (uint64_t key = 0; key < 50; ++key) must_put(engine, key, std::string(500, 'v'));
  });
  fs.put_file("elsewhere", "x");
  image->set_capacity(image->used_bytes());
  Options reopened = options;
  reopened.fs = image.get();
  auto engine = must_open(reopened);
  CHECK(contents_of(*engine).size() == 50);
  REQUIRE(engine->remove(7).ok());
  std::string value;
  CHECK(engine->get(7, &value).code() == Code::kNotFound);
}

namespace {

int checks_left = 0;  // until the opening is given up

}  // namespace

TEST_CASE("an opening that is given up at any point leaves the store as it was") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.wal_segment_bytes = 4 * kMiB;
  const auto image = killed_store(options, fs, [](Engine& engine) {
    for (uint64_t key = 0; key < 8; ++key) must_put(engine, key, "in a run");
    REQUIRE(engine.snapshot().ok());
    for (uint64_t key = 0; key < 60; ++key) must_put(engine, key, std::string(100'000, 'v'));
  });
  Options reopened = options;
  reopened.delta_max_bytes = 64 * kMiB;
  int given_up = 0;
  for (int checks = 0;; ++checks) {
    INFO("given up at check " << checks);
    auto copy = image->clone();
    reopened.fs = copy.get();
    RecoveryProgress progress;
    progress.cancel = [] { return checks_left-- == 0; };
    checks_left = checks;
    const auto engine = Engine::open(reopened, &progress);
    if (engine.ok()) {
      CHECK_FALSE(progress.was_cancelled);
      CHECK(contents_of(**engine).size() == 60);
      break;
    }
    CHECK(engine.status().code() == Code::kBusy);
    CHECK(progress.was_cancelled);
    ++given_up;
    for (const std::string& path : image->paths()) {
      if (path.ends_with("LOCK")) continue;
      CHECK((copy->contents(path) == image->contents(path)));
    }
    CHECK(contents_of(*must_open(reopened)).size() == 60);
  }
  CHECK(given_up > 5);
}

TEST_CASE("while the log is replayed, /ready and /v1/status say how far that has come") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.delta_max_bytes = 64 * kMiB;
  constexpr uint64_t kRecords = 300;
  const auto image = killed_store(options, fs, [](Engine& engine) {
    for (uint64_t key = 0; key < kRecords; ++key) must_put(engine, key, std::string(1000, 'v'));
  });
  GateFs gate(*image);
  options.fs = &gate;
  options.delta_max_bytes = 64 * kKiB;  // a part of the log: opening begins a run
  AccessControl access({});
  Api api(access, options, {}, 1);
  HandTurned reactor(api);
  const HandTurned::Wire wire = reactor.connect();
  gate.close_gate();
  Result<std::unique_ptr<Engine>> engine = Status(Code::kBusy, "not yet");
  std::thread opening([&] { engine = Engine::open(options, &api.recovery_progress()); });
  gate.wait_for_visitor();
  const uint64_t replayed = api.recovery_progress().records;
  const std::string request = "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
  CHECK(send(wire.client, request.data(), request.size(), 0) ==
        static_cast<ssize_t>(request.size()));
  reactor.round();
  const std::string answer = take_arrived(wire.client);
  const std::string second = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
  CHECK(send(wire.client, second.data(), second.size(), 0) == static_cast<ssize_t>(second.size()));
  reactor.round();
  const std::string status = take_arrived(wire.client);
  gate.open_gate();
  opening.join();
  REQUIRE(engine.ok());
  INFO(answer << status);
  CHECK(status.starts_with("HTTP/1.1 200 "));
  CHECK(status.find("{\"state\":\"recovering\"") != status.npos);
  CHECK(status.find("\"recovery\":{\"records\":" + std::to_string(replayed) + ",\"segments\":") !=
        status.npos);
  CHECK(api.recovery_progress().segments == api.recovery_progress().segments_all);
  CHECK(api.recovery_progress().segments > 1);
  CHECK(answer.starts_with("HTTP/1.1 503 "));
  CHECK(answer.ends_with("{\"status\":\"recovering\",\"replayed\":" + std::to_string(replayed) +
                         "}"));
  CHECK(replayed > 0);
  CHECK(replayed < kRecords);
  CHECK(api.recovery_progress().records == kRecords);
}

TEST_CASE("warming ends when it is given up") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.delta_max_bytes = 64 * kMiB;
  options.wal_segment_bytes = 16 * kMiB;
  const auto engine = must_open(options);
  for (uint64_t key = 0; key < 40; ++key) must_put(*engine, key, std::string(100'000, 'v'));
  REQUIRE(engine->snapshot().ok());
  const auto warm = [&] {
    return engine->run({Job::Kind::kWarm, {}, [] { return checks_left-- <= 0; }}).status;
  };
  checks_left = 3;
  CHECK(warm().ok());
  const int given_up_after = 3 - checks_left;
  checks_left = 1'000'000;
  CHECK(warm().ok());
  CHECK(given_up_after < 1'000'000 - checks_left);
}

}  // namespace kyro::test
