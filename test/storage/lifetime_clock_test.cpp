// Lifetimes while the system's clock is stepped, while the machine sleeps, and over restarts.
#include "kyro/storage/lifetime_clock.h"

#include <catch2/catch.hpp>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

constexpr uint64_t kHour = 3600;
constexpr char kBoot[] = "00112233445566778899aabbccddeeff";
constexpr char kNextBoot[] = "ffeeddccbbaa99887766554433221100";

// What the system's clocks show; a test moves them.
struct World {
  std::atomic<uint64_t> unix_secs{1'700'000'000};
  std::atomic<uint64_t> boot_secs{500};
  std::string boot = kBoot;

  void pass(uint64_t secs) {
    unix_secs += secs;
    boot_secs += secs;
  }
  void reboot_after(uint64_t secs) {
    boot = kNextBoot;
    boot_secs = 10;
    unix_secs += secs;
  }
};
World world;

ClockSources sources() {
  return {[] { return world.unix_secs.load(); },
          [] { return world.boot_secs.load() * 1'000'000'000; }, [] { return world.boot; }};
}

LifetimeClock make_clock(const std::optional<ClockAnchor>& kept = std::nullopt) {
  return LifetimeClock(sources(), kept);
}

void reset_world() {
  world.unix_secs = 1'700'000'000;
  world.boot_secs = 500;
  world.boot = kBoot;
}

// A store whose clocks are the world's.
class TimedStore {
 public:
  TimedStore() {
    reset_world();
    options_ = small_options(fs_);
    options_.clock_secs = sources().unix_secs;
    options_.boot_clock_ns = sources().boot_ns;
    options_.boot_id = sources().boot_id;
    engine_ = must_open(options_);
  }
  // What the routes do with ?ttl=.
  void put_for(uint64_t key, uint64_t lifetime_secs) {
    AsyncWrite write({{key, "value"}});
    std::vector<Mutation> list = {Mutation::put(key, "value", engine_->now_secs() + lifetime_secs)};
    write.mutations = list;
    engine_->submit(&write);
    REQUIRE(write.wait().ok());
  }
  void put_until(uint64_t key, uint64_t unix_secs) {
    REQUIRE(engine_->put(key, "value", unix_secs).ok());
  }
  [[nodiscard]] bool has(uint64_t key) {
    std::string value;
    return engine_->get(key, &value).ok();
  }
  void stop() { engine_.reset(); }
  void start() { engine_ = must_open(options_); }
  template <class Meanwhile>
  void crash(Meanwhile meanwhile) {
    fs_.cut_power_at(fs_.calls() + 1, false);
    {
      const QuietLog quiet;
      engine_.reset();
    }
    fs_.restart(Loss::kEverything, 1);
    meanwhile();
    engine_ = must_open(options_);
  }
  Engine& engine() { return *engine_; }
  FaultFs& fs() { return fs_; }

 private:
  FaultFs fs_;
  Options options_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace

TEST_CASE("store time is Unix time until the clock is stepped, and then goes on by boot time") {
  reset_world();
  const LifetimeClock clock = make_clock();
  CHECK(clock.now_secs() == world.unix_secs);
  CHECK(clock.shift_secs() == 0);
  world.pass(100);
  CHECK(clock.now_secs() == world.unix_secs);
  world.unix_secs -= kHour;
  CHECK(clock.now_secs() == world.unix_secs + kHour);
  CHECK(clock.shift_secs() == static_cast<int64_t>(kHour));
  CHECK(clock.from_unix(world.unix_secs + 60) == clock.now_secs() + 60);
  CHECK(clock.to_unix(clock.now_secs() + 60) == world.unix_secs + 60);
  world.pass(5);
  CHECK(clock.now_secs() == world.unix_secs + kHour);
  world.unix_secs += 3 * kHour;
  CHECK(clock.shift_secs() == -2 * static_cast<int64_t>(kHour));
  CHECK(clock.from_unix(world.unix_secs + 60) == clock.now_secs() + 60);
  CHECK(clock.from_unix(0) == 0);  // never stays never
  CHECK(clock.to_unix(0) == 0);
  CHECK(clock.from_unix(1) == 1);  // long ago stays in the past
}

TEST_CASE("clocks read in whole seconds, at slightly different moments, do not shift the time") {
  reset_world();
  const LifetimeClock clock = make_clock();
  world.unix_secs += 1;
  CHECK(clock.shift_secs() == 0);
  world.unix_secs -= 2;
  CHECK(clock.shift_secs() == 0);
  world.unix_secs -= 1;
  CHECK(clock.shift_secs() == 2);
}

TEST_CASE("a restart in the same boot goes on exactly, whatever the system's clock shows") {
  reset_world();
  const LifetimeClock before = make_clock();
  const uint64_t secs = before.now_secs();
  const ClockAnchor kept = before.anchor();
  world.boot_secs += 1000;
  world.unix_secs = GENERATE(1u, 1'600'000'000u, 1'700'001'000u, 2'000'000'000u);
  CHECK(make_clock(kept).now_secs() == secs + 1000);
}

TEST_CASE("after a reboot the difference of Unix times counts, but never backwards") {
  reset_world();
  const LifetimeClock before = make_clock();
  const uint64_t secs = before.now_secs();
  const ClockAnchor kept = before.anchor();
  SECTION("a right clock") {
    world.reboot_after(500);
    CHECK(make_clock(kept).now_secs() == secs + 500);
  }
  SECTION("a clock that begins in 1970") {
    world.reboot_after(0);
    world.unix_secs = 20;
    CHECK(make_clock(kept).now_secs() == secs);
  }
  SECTION("a boot that calls itself the same but has begun anew") {
    world.reboot_after(500);
    world.boot = kBoot;
    CHECK(make_clock(kept).now_secs() == secs + 500);
  }
  SECTION("systems that do not tell one boot from another") {
    ClockAnchor unknown = kept;
    unknown.boot_id.clear();
    world.boot.clear();
    world.boot_secs += 7;
    world.unix_secs += 9;
    CHECK(make_clock(unknown).now_secs() == secs + 9);
  }
}

TEST_CASE("a lifetime given in seconds ends after these seconds, however the clock is stepped") {
  TimedStore store;
  const int64_t step = GENERATE(-7200, -3600, -5, 0, 5, 3600, 7200);
  const bool is_flushed = GENERATE(false, true);
  CAPTURE(step, is_flushed);
  store.put_for(1, 10);
  if (is_flushed) REQUIRE(store.engine().snapshot().ok());
  world.unix_secs += static_cast<uint64_t>(step);
  store.put_for(2, 20);
  world.pass(9);
  CHECK(store.has(1));
  world.pass(1);
  CHECK(!store.has(1));
  REQUIRE(store.engine().compact().ok());
  CHECK(store.has(2));
  CHECK(store.engine().put_if(Condition::absent(1), "mine").ok());
  world.pass(10);
  CHECK(!store.has(2));
}

TEST_CASE("a forward glitch that is corrected poisons nothing that was written before or after") {
  TimedStore store;
  store.put_until(1, world.unix_secs + 60);
  world.unix_secs += kHour;  // wrong
  store.put_until(2, world.unix_secs + 60);
  store.put_for(3, 60);
  world.pass(10);
  CHECK(store.has(1));
  world.unix_secs -= kHour;  // put right
  store.put_until(4, world.unix_secs + 60);
  store.put_for(5, 60);
  for (uint64_t key = 1; key <= 5; ++key) CHECK(store.has(key));
  world.pass(50);
  for (uint64_t key = 1; key <= 3; ++key) CHECK(!store.has(key));
  CHECK(store.has(4));
  CHECK(store.has(5));
  world.pass(10);
  CHECK(!store.has(4));
  CHECK(!store.has(5));
}

TEST_CASE("a store that begins under a clock that is ahead measures right once that is corrected") {
  TimedStore store;
  store.put_until(1, world.unix_secs + 2);
  world.unix_secs -= kHour;
  store.put_until(2, world.unix_secs + 60);
  CHECK(store.has(1));
  CHECK(store.has(2));
  world.pass(4);
  CHECK(!store.has(1));
  CHECK(store.has(2));
  // A restart does not bring the hour back, in this boot or the next.
  store.stop();
  store.start();
  CHECK(!store.has(1));
  CHECK(store.has(2));
  store.put_for(3, 60);
  world.pass(56);
  store.stop();
  world.reboot_after(3);
  store.start();
  CHECK(!store.has(2));
  CHECK(store.has(3));
  world.pass(1);
  CHECK(!store.has(3));
}

TEST_CASE("time that the machine sleeps counts") {
  TimedStore store;
  store.put_for(1, 3600);
  world.boot_secs += 3599;  // the system's clock may be set late
  CHECK(store.has(1));
  world.boot_secs += 1;
  CHECK(!store.has(1));
}

TEST_CASE("a batch's expiries in Unix time are measured like single ones") {
  TimedStore store;
  world.unix_secs -= kHour;
  const std::vector<Mutation> batch = {Mutation::put(1, "a", world.unix_secs + 10),
                                       Mutation::put(2, "b"), Mutation::remove(3),
                                       Mutation::put(4, "far", kExpirySecsMax)};
  REQUIRE(store.engine().write(batch).ok());
  world.pass(9);
  CHECK(store.has(1));
  world.pass(1);
  CHECK(!store.has(1));
  CHECK(store.has(2));
  CHECK(store.has(4));
}

TEST_CASE("a crash in the same boot loses nothing of the time that passed") {
  TimedStore store;
  store.put_for(1, 100);
  world.pass(50);
  world.unix_secs -= kHour;
  store.crash([] {});
  CHECK(store.has(1));
  world.pass(50);
  CHECK(!store.has(1));
}

TEST_CASE("the time is kept with the data often enough for a crash and a wrong clock after it") {
  TimedStore store;
  store.put_for(1, 2000);
  world.pass(LifetimeClock::kAnchorAgeSecsMax);
  REQUIRE(store.engine().snapshot().ok());
  const auto anchored_secs = [&] {
    return decode_manifest(store.fs().contents(path_of(kManifestName)))->clock->boot_ns /
           1'000'000'000;
  };
  world.pass(LifetimeClock::kAnchorAgeSecsMax);
  while (anchored_secs() < world.boot_secs) {
    REQUIRE(
        store.engine().run({Job::Kind::kScrub}).status.ok());  // something to do for the background
  }
  world.pass(LifetimeClock::kAnchorAgeSecsMax);
  const uint64_t secs = store.engine().now_secs();
  store.crash([] {
    world.reboot_after(0);
    world.unix_secs = 20;
  });
  CHECK(store.engine().now_secs() + LifetimeClock::kAnchorAgeSecsMax >= secs);
  CHECK(store.engine().now_secs() <= secs);
}

}  // namespace kyro::test
