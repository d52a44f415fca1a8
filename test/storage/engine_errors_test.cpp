// What the engine does when the file system fails it: full disks, errors, too few descriptors.
#include <catch2/catch.hpp>
#include <thread>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

}  // namespace

TEST_CASE("a full disk refuses puts, loses nothing, and heals by itself") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  std::map<uint64_t, std::string> stored;
  uint64_t key = 0;
  fs.set_capacity(fs.used_bytes() + 20 * kKiB);
  const uint64_t before = engine->next_offset();
  int refused = 0;
  for (; refused < 5; ++key) {
    const std::string value(700, static_cast<char>('a' + key % 26));
    const auto offset = engine->put(key, value);
    if (offset.ok()) {
      stored[key] = value;
      CHECK(*offset == before + stored.size() - 1);  // a failed group gives its offsets back
    } else {
      REQUIRE(offset.status().code() == Code::kNoSpace);
      ++refused;
    }
    REQUIRE(!engine->latch().is_set());
  }
  REQUIRE(stored.size() > 5);
  CHECK(values_only(contents_of(*engine)) == stored);
  SECTION("when space returns") {
    fs.set_capacity(~uint64_t{0});
    must_put(*engine, key, "again");
    stored[key] = "again";
  }
  SECTION("after a restart on the full disk") {}
  engine.reset();
  fs.set_capacity(~uint64_t{0});
  engine = must_open(options);
  CHECK(values_only(contents_of(*engine)) == stored);
}

TEST_CASE("no space at any single call loses nothing and leaves the engine working") {
  const QuietLog quiet;
  const Code code = GENERATE(Code::kNoSpace, Code::kBusy);
  const FsCall kind = GENERATE(FsCall::kOpen, FsCall::kWrite, FsCall::kAllocate, FsCall::kTruncate,
                               FsCall::kMap, FsCall::kList, FsCall::kFreeBytes, FsCall::kSyncDir);
  for (uint64_t skip = 0; skip < 120; ++skip) {
    INFO("code " << code_name(code) << ", call kind " << static_cast<int>(kind) << " number "
                 << skip);
    FaultFs fs;
    Options options = small_options(fs);
    options.wal_segment_bytes = 4 * kKiB;
    auto engine = must_open(options);
    fs.inject({kind, code, skip, 1, ""});
    std::map<uint64_t, std::string> stored;
    int failures = 0;
    for (uint64_t key = 0; key < 40; ++key) {
      const std::string value(300, static_cast<char>('a' + key % 26));
      const Status status = engine->put(key % 17, value).status();
      if (status.ok()) {
        stored[key % 17] = value;
      } else {
        REQUIRE((status.code() == code || status.code() == Code::kReadOnly));
        ++failures;
      }
      if (key % 10 == 9) {
        const Status snapshot = engine->snapshot();
        if (!snapshot.ok()) ++failures;
      }
    }
    // What may latch: a cut-back or a replacement of the manifest that failed half-way.
    const bool may_latch = kind == FsCall::kTruncate || kind == FsCall::kSyncDir;
    if (!may_latch) {
      REQUIRE(!engine->latch().is_set());
      REQUIRE(failures <= 2);
    }
    REQUIRE(values_only(contents_of(*engine)) == stored);
    engine.reset();
    fs.heal();
    engine = must_open(options);
    const auto found = values_only(contents_of(*engine));
    if (!may_latch) REQUIRE(found == stored);
    REQUIRE(engine->put(99, "on it goes").ok());
  }
}

TEST_CASE("deletes work on a full disk from the reserve, and puts come back when space does") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.reserve_bytes = 64 * kKiB;
  options.wal_segment_bytes = 4 * kKiB;
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 40; ++key) must_put(*engine, key, std::string(300, 'v'));
  fs.set_capacity(fs.used_bytes());
  uint64_t key = 1000;
  while (engine->put(key, std::string(300, 'v')).ok()) ++key;
  for (uint64_t k = 0; k < 30; ++k) REQUIRE(engine->remove(k).ok());
  CHECK(put_code(*engine, 1, "v") == Code::kNoSpace);
  fs.set_capacity(~uint64_t{0});
  while (put_code(*engine, 1, "back") != Code::kOk) std::this_thread::yield();
  CHECK(fs.exists(std::string(kDir) + "/RESERVE"));
  const Contents contents = contents_of(*engine);
  CHECK(contents.at(1).value == "back");
  CHECK(!contents.contains(0));
  CHECK(contents.contains(39));
}

TEST_CASE("a delete that shares a group with puts on a full disk still works") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.reserve_bytes = 64 * kKiB;
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 40; ++key) must_put(*engine, key, std::string(300, 'v'));
  fs.set_capacity(fs.used_bytes());
  uint64_t key = 1000;
  while (engine->put(key, std::string(2000, 'v')).ok()) ++key;
  std::vector<std::unique_ptr<AsyncWrite>> writes;
  for (uint64_t k = 0; k < 20; ++k) {
    writes.push_back(std::make_unique<AsyncWrite>(
        std::vector<std::pair<uint64_t, std::string>>{{2000 + k, std::string(3000, 'p')}}));
    writes.push_back(AsyncWrite::removal(k));
  }
  for (auto& write : writes) engine->submit(write.get());
  for (size_t i = 0; i < writes.size(); ++i) {
    const Status& status = writes[i]->wait();
    INFO(i << ": " << status.to_string());
    if (i % 2 == 1) REQUIRE(status.ok());
    if (i % 2 == 0 && !status.ok()) REQUIRE(status.code() == Code::kNoSpace);
  }
  std::string value;
  for (uint64_t k = 0; k < 20; ++k) REQUIRE(engine->get(k, &value).code() == Code::kNotFound);
}

TEST_CASE("a flush stuck for space fails waiting writes, uses the reserve, and heals") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.reserve_bytes = GENERATE(uint64_t{0}, 32 * kKiB, 512 * kKiB);
  options.wal_segment_bytes = 4 * kMiB;  // the log has its room already
  auto engine = must_open(options);
  std::map<uint64_t, std::string> stored;
  fs.set_capacity(fs.used_bytes() + 1 * kKiB);
  uint64_t key = 0;
  bool was_refused = false;
  for (; key < 600 && !was_refused; ++key) {
    const std::string value(1000, static_cast<char>('a' + key % 26));
    const Status status = engine->put(key, value).status();
    if (status.ok()) stored[key] = value;
    if (!status.ok()) REQUIRE(status.code() == Code::kNoSpace);
    was_refused = !status.ok();
  }
  REQUIRE(was_refused);
  REQUIRE(!engine->latch().is_set());
  CHECK(values_only(contents_of(*engine)) == stored);
  // What the reserve makes room for is flushed without any help.
  if (options.reserve_bytes == 512 * kKiB) REQUIRE(engine->snapshot().ok());
  fs.set_capacity(~uint64_t{0});
  while (put_code(*engine, key, "healed") != Code::kOk) std::this_thread::yield();
  stored[key] = "healed";
  while (!engine->snapshot().ok()) std::this_thread::yield();
  CHECK(values_only(contents_of(*engine)) == stored);
  engine.reset();
  engine = must_open(options);
  CHECK(values_only(contents_of(*engine)) == stored);
}

TEST_CASE("a failed sync of the log makes the engine read-only, and reads go on") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  must_put(*engine, 1, "kept");
  REQUIRE(engine->snapshot().ok());
  must_put(*engine, 2, "kept too");
  const FsCall kind = GENERATE(FsCall::kSync, FsCall::kWrite);
  fs.inject({kind, Code::kIoError, 0, 1, "wal-"});
  CHECK(put_code(*engine, 3, "lost") == Code::kReadOnly);
  CHECK(put_code(*engine, 3, "refused") == Code::kReadOnly);  // although the disk works again
  CHECK(engine->remove(1).status().code() == Code::kReadOnly);
  CHECK(!engine->snapshot().ok());
  CHECK(!engine->compact().ok());
  CHECK(engine->latch().is_set());
  CHECK_THAT(engine->latch().reason(), Contains("injected"));
  const auto expected = std::map<uint64_t, std::string>{{1, "kept"}, {2, "kept too"}};
  CHECK(values_only(contents_of(*engine)) == expected);
  CHECK(engine->next_offset() == 2);
  CHECK(read_whole_log(*engine, 0).size() == 2);
  engine.reset();
  fs.restart(Loss::kEverything, 0);
  engine = must_open(options);
  CHECK(values_only(contents_of(*engine)) == expected);
  must_put(*engine, 3, "writable again");
}

TEST_CASE("a sync of the log that fails for space is as final as any") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.fsync = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kNever);
  options.wal_segment_bytes = 4 * kKiB;
  const uint64_t skip = GENERATE(range(uint64_t{0}, uint64_t{8}));
  INFO("sync number " << skip);
  std::map<uint64_t, std::string> stored;
  {
    auto engine = must_open(options);
    fs.inject({FsCall::kSync, Code::kNoSpace, skip, 1, "wal-00000000000000000000.log"});
    for (uint64_t key = 0; key < 30; ++key) {
      const std::string value(600, static_cast<char>('a' + key));
      const Status status = engine->put(key, value).status();
      if (!status.ok()) break;
      stored[key] = value;
    }
    if (stored.size() < 30) CHECK(engine->latch().is_set());
  }
  fs.restart(Loss::kEverything, 1);
  auto engine = must_open(options);
  const auto found = values_only(contents_of(*engine));
  if (options.fsync == FsyncPolicy::kAlways) {
    CHECK(found == stored);
  } else {
    for (const auto& entry : found) CHECK(entry.first < found.size());  // a prefix
  }
}

TEST_CASE("an input/output error at any call ends in the latch or in nothing, never in a loss") {
  const QuietLog quiet;
  for (uint64_t skip = 0; skip < 150; ++skip) {
    for (const bool lasts : {false, true}) {
      INFO("call " << skip << (lasts ? " and all later ones" : ""));
      FaultFs fs;
      Options options = small_options(fs);
      options.wal_segment_bytes = 4 * kKiB;
      auto engine = must_open(options);
      fs.inject({FsCall::kAny, Code::kIoError, skip, lasts ? ~uint64_t{0} : 1, ""});
      std::map<uint64_t, std::string> stored;
      for (uint64_t key = 0; key < 30; ++key) {
        const std::string value = std::to_string(key) + std::string(300, 'v');
        const Status status = engine->put(key % 11, value).status();
        if (status.ok()) stored[key % 11] = value;
        if (!status.ok()) REQUIRE(engine->latch().is_set());
        if (key % 10 == 9) static_cast<void>(engine->snapshot());
      }
      REQUIRE(values_only(contents_of(*engine)) == stored);
      const bool was_latched = engine->latch().is_set();
      engine.reset();
      fs.restart(Loss::kEverything, skip);
      engine = must_open(options);
      const auto found = values_only(contents_of(*engine));
      // The write that failed may have arrived all the same; nothing else may differ.
      if (!was_latched) REQUIRE(found == stored);
      size_t differences = 0;
      for (const auto& [key, value] : stored) {
        const auto at = found.find(key);
        REQUIRE(at != found.end());
        if (at->second != value) ++differences;
      }
      REQUIRE(differences + found.size() - stored.size() <= 1);
    }
  }
}

TEST_CASE("descriptors that run out fail one operation and nothing else") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  must_put(*engine, 1, "x");
  fs.inject({FsCall::kOpen, Code::kBusy, 0, 3, ""});
  CHECK(engine->snapshot().code() == Code::kBusy);
  must_put(*engine, 2, "y");
  while (!engine->snapshot().ok()) std::this_thread::yield();
  CHECK(!engine->latch().is_set());
  CHECK(contents_of(*engine).size() == 2);
}

TEST_CASE("what is decided in a group that fails did not happen") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = small_options(fs);
  auto engine = must_open(options);
  must_put(*engine, 1, "there");
  for (int round = 0; round < 200; ++round) {
    // Two removals of one key, likely in one group: no "not found" may come of a removal that
    // fails.
    fs.inject({FsCall::kWrite, Code::kNoSpace, 0, 1, "wal-"});
    auto removals = {AsyncWrite::removal(1), AsyncWrite::removal(1)};
    for (const auto& removal : removals) {
      removal->add_condition({.key = 1, .must_be_found = true});
      REQUIRE(engine->resolve_base(&removal->conditions[0]).ok());
    }
    for (const auto& removal : removals) engine->submit(removal.get());
    size_t removed = 0;
    size_t failed = 0;
    size_t not_found = 0;
    for (const auto& removal : removals) {
      const Status& status = removal->wait();
      if (status.ok()) ++removed;
      if (status.code() == Code::kNoSpace) ++failed;
      if (status.code() == Code::kNotFound) ++not_found;
    }
    REQUIRE(removed + failed + not_found == 2);
    REQUIRE(not_found <= removed);
    fs.heal();
    if (removed > 0) must_put(*engine, 1, "there");
  }
}

}  // namespace kyro::test
