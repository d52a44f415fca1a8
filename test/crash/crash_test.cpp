// The crash matrix: the power goes at every call the engine makes to its file system, the disk
// keeps what it pleases, and afterwards every promise holds.
//
// A workload (puts, some with a lifetime, deletes of keys that must exist, batches of both,
// conditional writes, several in flight, snapshots, compactions, a backup, reopenings; tiny
// segments and deltas, little retention) runs until the power goes at call k, for every k and both
// before and after the call. Each such moment is then restarted under every policy of loss, some of
// them with more power cuts during the recovery itself; and for some of them the power goes at
// every call of the recovery, and for a few of those again at every call of the next one. A point
// is one restart. KYRO_CRASH_POINTS=n asks for about so many points; KYRO_TEST_SEED chooses where
// the seeds begin; KYRO_CRASH_SECS is how long `make crash-matrix` goes on. A seed repeats a
// workload, but not how the engine's threads take turns.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>

#include "kyro/storage/offline/verify.h"
#include "test/crash/crash_workload.h"

namespace kyro::test {
namespace {

enum class Jumps : uint8_t { kNone, kSome };

// Whether `found` with the offsets is what some number of operations, at least `must_have`, have
// made, and numbering goes on after them.
bool is_prefix(const Workload& workload, const Contents& found, size_t must_have,
               uint64_t next_offset, Jumps jumps) {
  WorkloadModel model;
  for (size_t n = 0;; ++n) {
    if (n >= must_have && next_offset >= model.next_offset && found == model.contents) {
      const uint64_t skipped = next_offset - model.next_offset;
      if (jumps == Jumps::kSome ? skipped % kOffsetJump == 0 : skipped == 0) return true;
    }
    if (n == workload.operations().size()) return false;
    model.apply(workload.operations()[n]);
  }
}

// What `kyrodb verify` says: nothing is wrong, and nothing waits to be mended.
VerifyReport must_be_sound(FaultFs& image, const std::string& dir) {
  const auto report = verify_directory(image, dir);
  INFO(report.status().to_string());
  REQUIRE(report.ok());
  std::string findings;
  for (const std::string& text : report->damage) findings += text + "; ";
  for (const std::string& text : report->repairable) findings += text + "; ";
  INFO(findings);
  REQUIRE(findings.empty());
  return *report;
}

// A backup is whole or no store; one that was made is there, whatever the disk has lost.
void check_backup(const Workload& workload, FaultFs& image) {
  const Workload::Backup& backup = workload.backup();
  if (backup.dir.empty()) return;
  if (!image.exists(backup.dir + "/" + kManifestName)) {
    REQUIRE(!backup.is_made);
    return;
  }
  INFO("backup");
  const VerifyReport report = must_be_sound(image, backup.dir);
  Options options = workload.options();
  options.fs = &image;
  options.data_dir = backup.dir;
  const auto engine = must_open(options);
  REQUIRE(is_prefix(workload, contents_of(*engine), backup.acknowledged, engine->next_offset(),
                    Jumps::kSome));
  REQUIRE(engine->next_offset() == report.next_offset + kOffsetJump);
}

// Life goes on: point reads agree with the scan, writes get fresh offsets and survive a close.
void check_life(const Options& options, FaultFs& image, std::unique_ptr<Engine> engine,
                const Contents& found) {
  for (const auto& [key, stored] : found) {
    std::string value;
    uint64_t offset = 0;
    REQUIRE(engine->get(key, &value, &offset).ok());
    REQUIRE((value == stored.value && offset == stored.offset));
  }
  const uint64_t next = engine->next_offset();
  const auto offset = engine->put(1234567, "after");
  REQUIRE(offset.ok());
  REQUIRE(*offset == next);
  Contents expected = found;
  expected[1234567] = {"after", next};
  if (next % 2 == 0) REQUIRE(engine->snapshot().ok());
  if (next % 16 == 0) REQUIRE(engine->compact().ok());
  engine.reset();
  must_be_sound(image, kDir);
  engine = must_open(options);
  REQUIRE(contents_of(*engine) == expected);
  REQUIRE(engine->next_offset() == next + 1);
}

// Opens what a power cut left and holds it against what was asked for; and against what it held
// before its recovery was cut short, if it was.
void check_survivor(const Workload& workload, FaultFs& image, size_t must_have,
                    const std::optional<Contents>& expected) {
  // Before the first open has committed there is no store, and nothing that it must have.
  if (image.exists(path_of(kManifestName))) {
    must_be_sound(image, kDir);
  } else {
    REQUIRE(must_have == 0);
  }
  Options options = workload.options();
  options.fs = &image;
  auto engine = must_open(options);
  const Contents found = contents_of(*engine);
  const Jumps jumps = options.fsync == FsyncPolicy::kAlways ? Jumps::kNone : Jumps::kSome;
  INFO("must have " << must_have << " of " << workload.operations().size() << " operations, found "
                    << found.size() << " keys, next offset " << engine->next_offset());
  REQUIRE(is_prefix(workload, found, must_have, engine->next_offset(), jumps));
  REQUIRE(engine->next_offset() >= workload.offsets_seen());
  if (expected) REQUIRE(found == *expected);
  check_life(options, image, std::move(engine), found);
}

// Opens `image` and closes it again, unless the power goes.
void open_and_close(const Workload& workload, FaultFs& image) {
  Options options = workload.options();
  options.fs = &image;
  const auto opened = Engine::open(options);
  INFO(opened.status().to_string());
  REQUIRE((opened.ok() || image.power_is_cut()));
}

// What a recovery that nothing interrupts makes of `image`, and in how many calls.
struct Recovered {
  Contents contents;
  uint64_t calls = 0;  // of an opening and the closing after it

  Recovered(const Workload& workload, const FaultFs& image) {
    const auto copy = image.clone();
    Options options = workload.options();
    options.fs = copy.get();
    auto engine = must_open(options);
    contents = contents_of(*engine);
    engine.reset();
    calls = copy->calls();
  }
};

// Cuts the power again at a random call while `image` is being opened, once or twice. Returns what
// it held.
Contents crash_while_recovering(const Workload& workload, FaultFs& image, std::mt19937_64& random) {
  Recovered whole(workload, image);
  for (uint64_t left = 1 + random() % 2; left > 0; --left) {
    image.cut_power_at(1 + random() % whole.calls, random() % 2 == 0);
    open_and_close(workload, image);
    image.restart(kLosses[random() % std::size(kLosses)], random());
  }
  return std::move(whole.contents);
}

// One workload, every policy of loss, every call or every so many if fewer points are wanted.
// Returns the number of points.
uint64_t run_matrix(FsyncPolicy policy, uint64_t seed, size_t steps, uint64_t wanted) {
  Workload whole(policy, seed);
  whole.run(steps);
  const uint64_t all = whole.fs().calls() * 2 * std::size(kLosses);
  const uint64_t stride = std::max<uint64_t>(1, all / wanted);
  uint64_t points = 0;
  for (uint64_t call = 1 + seed % stride;; call += stride) {
    for (const bool after : {false, true}) {
      Workload workload(policy, seed);
      workload.fs().cut_power_at(call, after);
      workload.run(steps);
      if (!workload.fs().power_is_cut()) return points;
      for (const Loss loss : kLosses) {
        const uint64_t loss_seed = seed * 1000003 + call * 31 + static_cast<uint64_t>(loss);
        INFO("KYRO_TEST_SEED=" << seed << " policy " << static_cast<int>(policy) << ", power cut "
                               << (after ? "after" : "before") << " call " << call << ", loss "
                               << static_cast<int>(loss));
        auto image = workload.fs().clone();
        image->restart(loss, loss_seed);
        std::mt19937_64 random(loss_seed);
        std::optional<Contents> expected;
        if (random() % 3 == 0) expected = crash_while_recovering(workload, *image, random);
        check_survivor(workload, *image, workload.must_have(loss), expected);
        check_backup(workload, *image);
        ++points;
      }
    }
  }
}

// The power goes before and after every call of the opening of `image` and of the closing after
// it; at every `stride`-th such moment (never if 0) again at every call of the next opening.
// Returns the number of points.
uint64_t run_recovery_matrix(const Workload& workload, const FaultFs& image, size_t must_have,
                             uint64_t stride, std::mt19937_64& random) {
  const Recovered whole(workload, image);
  uint64_t points = 0;
  for (uint64_t call = 1;; ++call) {
    for (const bool after : {false, true}) {
      const Loss loss = kLosses[random() % std::size(kLosses)];
      INFO("recovery cut " << (after ? "after" : "before") << " call " << call << " of about "
                           << whole.calls << ", loss " << static_cast<int>(loss));
      auto survivor = image.clone();
      survivor->cut_power_at(call, after);
      open_and_close(workload, *survivor);
      if (!survivor->power_is_cut()) {
        REQUIRE(call > 1);
        return points;
      }
      survivor->restart(loss, random());
      if (stride > 0 && (call * 2 + (after ? 1 : 0)) % stride == 0) {
        points += run_recovery_matrix(workload, *survivor, must_have, 0, random);
      }
      check_survivor(workload, *survivor, must_have, whole.contents);
      ++points;
    }
  }
}

// One workload, `images` moments of it, spread evenly, each with the next policy of loss; the first
// `deep` of them with the recovery after the recovery.
uint64_t run_recovery_matrices(FsyncPolicy policy, uint64_t seed, size_t steps, uint64_t images,
                               uint64_t deep) {
  Workload whole(policy, seed);
  whole.run(steps);
  std::mt19937_64 random(seed);
  uint64_t points = 0;
  for (uint64_t i = 0; i < images; ++i) {
    const uint64_t call = 1 + (whole.fs().calls() - 1) * (i + 1) / (images + 1);
    Workload workload(policy, seed);
    workload.fs().cut_power_at(call, i % 2 == 0);
    workload.run(steps);
    if (!workload.fs().power_is_cut()) continue;
    const Loss loss = kLosses[(seed + i) % std::size(kLosses)];
    INFO("KYRO_TEST_SEED=" << seed << " policy " << static_cast<int>(policy)
                           << ", power cut at call " << call << ", loss "
                           << static_cast<int>(loss));
    auto image = workload.fs().clone();
    image->restart(loss, random());
    // An odd stride takes moments before calls and after them.
    points +=
        run_recovery_matrix(workload, *image, workload.must_have(loss), i < deep ? 7 : 0, random);
  }
  return points;
}

// Workloads with growing seeds until there are enough points.
void run_matrices(FsyncPolicy policy, uint64_t fallback, size_t steps) {
  const QuietLog quiet;
  const char* text = std::getenv("KYRO_CRASH_POINTS");
  uint64_t wanted = kSanitized ? fallback / 10 : fallback;
  if (text != nullptr) wanted = std::max<uint64_t>(12, std::strtoull(text, nullptr, 10) / 3);
  uint64_t points = 0;
  for (uint64_t seed = test_seed(1); points < wanted; ++seed) {
    points += run_matrix(policy, seed, steps, wanted - points);
  }
  WARN(points << " crash points survived under policy " << static_cast<int>(policy));
  CHECK(points >= wanted);
}

void run_recoveries(FsyncPolicy policy) {
  const QuietLog quiet;
  const uint64_t seed = test_seed(1);
  const uint64_t points = run_recovery_matrices(policy, seed, 30, kSanitized ? 1 : 6, 1);
  WARN(points << " cuts of recoveries survived under policy " << static_cast<int>(policy));
  CHECK(points > 0);
}

}  // namespace

// make crash-matrix
TEST_CASE("power cuts at every call of one workload after the other", "[.crash-matrix]") {
  const QuietLog quiet;
  const char* secs = std::getenv("KYRO_CRASH_SECS");
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(secs != nullptr ? std::strtoull(secs, nullptr, 10) : 60);
  uint64_t seed = test_seed(random_u64() % 1'000'000'000);
  uint64_t points = 0;
  for (; std::chrono::steady_clock::now() < end; ++seed) {
    const auto policy = static_cast<FsyncPolicy>(seed % 3);
    const size_t steps = 20 + seed % 21;
    const uint64_t more = run_matrix(policy, seed, steps, ~uint64_t{0});
    const uint64_t recoveries = run_recovery_matrices(policy, seed, steps, 12, 2);
    points += more + recoveries;
    std::printf(
        "KYRO_TEST_SEED=%llu policy %d: %llu points, %llu cuts of recoveries, %llu in all\n",
        static_cast<unsigned long long>(seed), static_cast<int>(policy),
        static_cast<unsigned long long>(more), static_cast<unsigned long long>(recoveries),
        static_cast<unsigned long long>(points));
    std::fflush(stdout);
  }
  CHECK(points > 0);
}

TEST_CASE("a power cut at any call loses no acknowledged write under always", "[crash]") {
  run_matrices(FsyncPolicy::kAlways, 6000, 40);
  uint64_t filled_bytes = 0;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Workload workload(FsyncPolicy::kAlways, seed);
    workload.run(40);
    filled_bytes += workload.filled_bytes();
  }
  CHECK(filled_bytes > 0);  // else the matrix did not see what happens there
}

TEST_CASE("a power cut at any call leaves a prefix under interval", "[crash]") {
  run_matrices(FsyncPolicy::kInterval, 4000, 30);
}

TEST_CASE("a power cut at any call leaves a prefix under never", "[crash]") {
  run_matrices(FsyncPolicy::kNever, 4000, 30);
}

TEST_CASE("a power cut at any call of a recovery changes nothing of what it finds", "[crash]") {
  run_recoveries(FsyncPolicy::kAlways);
  run_recoveries(FsyncPolicy::kInterval);
  run_recoveries(FsyncPolicy::kNever);
}

}  // namespace kyro::test
