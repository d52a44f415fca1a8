// Scrubbing: it finds what a disk has lost, and disturbs nobody.
#include "kyro/storage/background/scrub.h"

#include <catch2/catch.hpp>
#include <thread>

#include "kyro/storage/run/dead_bytes.h"
#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

// A store with two runs; the older one is of several chunks.
std::unique_ptr<Engine> two_runs(const Options& options) {
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 45; ++key) must_put(*engine, key, std::string(60'000, 'l'));
  REQUIRE(engine->compact().ok());
  for (uint64_t key = 100; key < 120; ++key) must_put(*engine, key, "small");
  REQUIRE(engine->snapshot().ok());
  REQUIRE(engine->view().runs.size() == 2);
  return engine;
}

size_t resident_pages(const std::string& path, bool drop_first) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  if (drop_first) REQUIRE(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  const size_t bytes = std::filesystem::file_size(path);
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  REQUIRE(mapped != MAP_FAILED);
  std::vector<unsigned char> pages((bytes + 4095) / 4096);
  REQUIRE(mincore(mapped, bytes, pages.data()) == 0);
  munmap(mapped, bytes);
  close(fd);
  return static_cast<size_t>(std::count_if(pages.begin(), pages.end(),
                                           [](unsigned char page) { return (page & 1) != 0; }));
}

}  // namespace

TEST_CASE("what has expired counts as dead from the scrub on that reads it, to the byte") {
  const QuietLog quiet;
  const uint64_t seed = test_seed(11);
  INFO("KYRO_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  FaultFs fs;
  Options options = small_options(fs);
  use_fake_clock(&options);
  fake_now_secs = 1'000'000;
  auto engine = must_open(options);
  uint64_t expired_bytes = 0;
  for (uint64_t key = 0; key < 200; ++key) {
    const std::string value(random() % 40'000, 'v');
    const uint64_t expiry_secs = random() % 2 == 0 ? 0 : 1'000'050 + random() % 100;
    if (expiry_secs != 0 && expiry_secs <= 1'000'100) {
      expired_bytes += kRecordHeaderBytes + value.size();
    }
    REQUIRE(engine->put(key, value, expiry_secs).ok());
  }
  REQUIRE(expired_bytes > 0);
  REQUIRE(engine->compact().ok());
  REQUIRE(engine->view().runs.size() == 1);
  REQUIRE(engine->view().runs[0]->data_bytes() > 2 * kMiB);  // several chunks
  const auto dead_bytes = [&] { return estimate_dead_bytes(engine->view().runs); };
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  CHECK(dead_bytes() == 0);
  fake_now_secs = 1'000'100;
  CHECK(dead_bytes() == 0);  // nobody has looked
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  CHECK(dead_bytes() == expired_bytes);
  REQUIRE(engine->compact().ok());
  CHECK(dead_bytes() == 0);
}

TEST_CASE("a scrub reads every run once and finds nothing wrong with a sound one") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = two_runs(small_options(fs));
  uint64_t bytes = 0;
  for (const auto& run : engine->view().runs) bytes += run->data_bytes();
  REQUIRE(bytes > 2 * kMiB);
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  CHECK(engine->stats().scrubbed_bytes.value() == bytes);
  CHECK(engine->stats().corruptions.value() == 0);
  REQUIRE(engine->compact().ok());
}

TEST_CASE("a scrub quarantines the run that is not what was written, wherever, and no other") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = two_runs(small_options(fs));
  const std::string path = path_of(run_data_name(engine->view().runs[1]->meta().id));
  const std::string bytes = fs.contents(path);
  std::string damaged = bytes;
  SECTION("a bit, anywhere") {
    const size_t at = GENERATE(size_t{0}, size_t{40}, size_t{64}, size_t{1'000'000}, kMiB - 1, kMiB,
                               kMiB + 1, 2 * kMiB);
    damaged[at] = static_cast<char>(damaged[at] ^ 0x08);
  }
  SECTION("a bit of the footer") {
    damaged[damaged.size() - 5] = static_cast<char>(damaged[damaged.size() - 5] ^ 0x08);
  }
  SECTION("its end cut off") {
    damaged.resize(GENERATE(size_t{10}, size_t{kMiB}, size_t{2 * kMiB + 77}));
  }
  SECTION("something after it") {
    damaged += "more";
  }
  fs.put_file(path, damaged);
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  CHECK(engine->stats().corruptions.value() == 1);
  CHECK(!engine->view().runs[0]->is_quarantined());
  CHECK(engine->view().runs[1]->is_quarantined());
  CHECK(engine->compact().code() == Code::kCorruption);
  std::string value;
  CHECK(engine->get(7, &value).ok());
  must_put(*engine, 7, "goes on");
}

TEST_CASE("a sector that cannot be read is damage, a lack of descriptors is not") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = two_runs(small_options(fs));
  fs.inject({FsCall::kOpen, Code::kBusy, 0, ~uint64_t{0}, ".data"});
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  CHECK(engine->stats().scrubbed_bytes.value() == 0);
  CHECK(engine->stats().corruptions.value() == 0);
  fs.heal();
  fs.inject({FsCall::kRead, Code::kIoError, 0, ~uint64_t{0}, ".data"});
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  CHECK(engine->stats().corruptions.value() == 2);
}

TEST_CASE("scrubbing begins by itself and ends with the engine") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.scrub_interval_secs = 1;
  auto engine = two_runs(options);
  while (engine->stats().scrubbed_bytes.value() == 0) std::this_thread::yield();
  engine.reset();  // in the middle of a round
}

TEST_CASE("a scrub leaves the page cache as it was") {
  const QuietLog quiet;
  const TempDir dir;
  Options options;
  options.data_dir = dir.file("data");
  options.reserve_bytes = 0;
  two_runs(options).reset();
  auto engine = must_open(options);
  const auto& run = *engine->view().runs[1];
  const std::string path = options.data_dir + "/" + run_data_name(run.meta().id);
  const size_t before = resident_pages(path, true);
  if (before > 100) {
    WARN("this file system keeps everything in memory: nothing to see here");
    return;
  }
  REQUIRE(engine->run({Job::Kind::kScrub}).status.ok());
  CHECK(engine->stats().scrubbed_bytes.value() >= run.data_bytes());
  CHECK(resident_pages(path, false) <= before + 10);
}

}  // namespace kyro::test
