// The crash matrix: the power goes at every call the engine makes to its file system, the disk
// keeps what it pleases, and afterwards every promise holds.
//
// A workload (puts, some with a lifetime, deletes of keys that must exist, batches of both,
// conditional writes, several in flight, snapshots, compactions, a backup, reopenings; tiny
// segments and deltas, little retention) runs until the power goes at call k, for every k and both
// before and after the call. Each such moment is then restarted under every policy of loss, some of
// them with more power cuts during the recovery itself. A point is one restart. KYRO_CRASH_POINTS=n
// asks for about so many points; KYRO_TEST_SEED chooses where the seeds begin; KYRO_CRASH_SECS is
// how long `make crash-matrix` goes on. A seed repeats a workload, but not how the engine's threads
// take turns.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>

#include "test/engine_harness.h"

namespace kyro::test {
namespace {

// A put with an expiry long gone leaves nothing to read; with one far ahead it is like any other.
constexpr uint64_t kLongGone = 1;
constexpr uint64_t kFarAhead = kExpirySecsMax;

// A key's new value, or its removal; several of one operation commit together.
struct Change {
  uint64_t key = 0;
  bool is_put = true;
  std::string value;
  uint64_t expiry_secs = 0;
};
struct Operation {
  std::vector<Change> changes;
  std::optional<Condition> condition;
};

// What the store holds after a number of operations, and which offset comes next.
struct Model {
  Contents contents;
  uint64_t next_offset = 0;

  void apply(const Operation& operation) {
    if (operation.condition) {
      const auto found = contents.find(operation.condition->key);
      const bool is_there = found != contents.end();
      // Only whether it is there is asked for, so the offset does not matter.
      if (!operation.condition->judge(is_there ? std::optional<uint64_t>(0) : std::nullopt).ok()) {
        return;
      }
    }
    for (const Change& change : operation.changes) {
      if (change.is_put && change.expiry_secs != kLongGone) {
        contents[change.key] = {change.value, next_offset++};
      } else {
        contents.erase(change.key);
        ++next_offset;
      }
    }
  }
};

class PendingOperation final : public WriteRequest {
 public:
  PendingOperation(Engine& engine, const Operation& operation) : engine_(engine) {
    for (const Change& change : operation.changes) {
      list_.push_back(change.is_put ? Mutation::put(change.key, change.value, change.expiry_secs)
                                    : Mutation::remove(change.key));
    }
    mutations = list_;
    if (operation.condition) {
      condition_ = *operation.condition;
      conditions = {&condition_, 1};
    }
  }
  void start() {
    if (!conditions.empty()) {
      if (Status resolved = engine_.resolve_base(&condition_); !resolved.ok()) {
        status = resolved;
        is_stale = false;
        return done();
      }
    }
    engine_.submit(this);
  }
  void done() override {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
    changed_.notify_all();
  }
  // Waits for the outcome; one that a flush has overtaken starts anew.
  const Status& wait() {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return is_done_; });
        if (!is_stale) return status;
        is_done_ = false;
      }
      start();
    }
  }

 private:
  Engine& engine_;
  std::vector<Mutation> list_;
  Condition condition_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
};

// A run of a workload on a file system whose power goes at some moment.
class Workload {
 public:
  Workload(FsyncPolicy policy, uint64_t seed) : random_(seed), has_large_values_(seed % 2 == 0) {
    options_ = small_options(fs_);
    options_.fsync = policy;
    options_.fsync_interval_ms = 1;
    options_.merge_fan_in = 2;
    options_.wal_segments_max = 1 + random_() % 3;
    options_.wal_segment_bytes = 4096 << (random_() % 2);
    options_.reserve_bytes = random_() % 2 == 0 ? 0 : 16 * kKiB;
    options_.wal_bytes_max = random_() % 4 == 0 ? 10 * kKiB : 0;
    options_.scrub_interval_secs = 0;
  }

  void run(size_t steps) {
    for (size_t step = 0; step < steps && !fs_.power_is_cut(); ++step) {
      if (engine_ == nullptr) {
        auto opened = Engine::open(options_);
        if (!opened.ok()) {
          INFO(opened.status().to_string());
          REQUIRE(fs_.power_is_cut());
          return;
        }
        engine_ = std::move(*opened);
      }
      act();
    }
    close();
  }

  FaultFs& fs() { return fs_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] const std::vector<Operation>& operations() const { return operations_; }
  // How many operations were acknowledged, and how many of them must survive a power cut.
  [[nodiscard]] size_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] size_t durable() const {
    return options_.fsync == FsyncPolicy::kAlways ? acknowledged_ : durable_;
  }
  // A backup that was asked for, and whether it was made.
  struct Backup {
    std::string dir;
    size_t acknowledged = 0;  // operations, before
    bool is_made = false;
  };
  [[nodiscard]] const Backup& backup() const { return backup_; }
  // Behind every offset a client has seen.
  [[nodiscard]] uint64_t offsets_seen() const { return offsets_seen_; }

 private:
  void close() {
    engine_.reset();
    if (!fs_.power_is_cut()) durable_ = acknowledged_;
  }

  void act() {
    const uint64_t dice = random_() % 100;
    if (dice < 86) return write();
    const size_t covered = acknowledged_;
    if (dice < 93) {
      if (engine_->snapshot().ok()) durable_ = covered;
    } else if (dice == 93 && backup_.dir.empty()) {
      backup_.dir = "backup";
      backup_.acknowledged = covered;
      const Status made = engine_->backup(backup_.dir);
      INFO(made.to_string());
      REQUIRE((made.ok() || fs_.power_is_cut()));
      backup_.is_made = made.ok();
    } else if (dice < 96) {
      if (engine_->compact().ok()) durable_ = covered;
    } else {
      close();
    }
  }

  void write() {
    std::vector<std::unique_ptr<PendingOperation>> flying;
    const size_t first = operations_.size();
    const size_t count = 1 + random_() % 3;
    for (size_t i = 0; i < count; ++i) operations_.push_back(random_operation());
    for (size_t i = 0; i < count; ++i) {
      flying.push_back(std::make_unique<PendingOperation>(*engine_, operations_[first + i]));
      flying.back()->start();
      // A stale write is submitted again, behind what came after it: so nothing comes after it.
      if (!flying.back()->conditions.empty()) flying.back()->wait();
    }
    for (size_t i = 0; i < count; ++i) {
      const Status& status = flying[i]->wait();
      const bool is_ok = status.ok() || status.code() == Code::kNotFound ||
                         status.code() == Code::kPreconditionFailed;
      INFO(status.to_string());
      if (!is_ok) {
        REQUIRE(fs_.power_is_cut());
        continue;
      }
      // What is acknowledged is a prefix; a condition behind it may still fail.
      if (acknowledged_ != first + i) {
        REQUIRE(!status.ok());
        continue;
      }
      ++acknowledged_;
      if (status.ok()) offsets_seen_ = std::max(offsets_seen_, flying[i]->offset + 1);
    }
  }

  Operation random_operation() {
    Operation operation;
    const uint64_t dice = random_() % 10;
    const size_t count = dice == 0 ? 2 + random_() % 5 : 1;
    for (size_t i = 0; i < count; ++i) {
      Change change;
      change.key = random_() % 24 * 0x0A00000000000001u;
      change.is_put = dice == 0 ? random_() % 3 != 0 : dice < 8;
      if (change.is_put) {
        const uint64_t padding = has_large_values_ && random_() % 3 == 0 ? 12'000 : 500;
        change.value = std::to_string(operations_.size()) + "." + std::to_string(i) + ":" +
                       std::string(random_() % padding, 'v');
        const uint64_t lifetime = random_() % 16;
        if (lifetime < 2) change.expiry_secs = lifetime == 0 ? kLongGone : kFarAhead;
      }
      operation.changes.push_back(std::move(change));
    }
    const uint64_t key = operation.changes[random_() % count].key;
    switch (dice < 8 ? random_() % 8 : 9) {
      case 0:
        operation.condition = Condition::absent(key);
        break;
      case 1:
        operation.condition = Condition::exists(key);
        break;
      case 9:  // a removal
        operation.condition = {.key = key, .must_be_found = true};
        break;
    }
    return operation;
  }

  FaultFs fs_;
  Options options_;
  std::mt19937_64 random_;
  const bool has_large_values_;  // so that deltas fill up, also while a log is replayed
  std::unique_ptr<Engine> engine_;
  std::vector<Operation> operations_;
  size_t acknowledged_ = 0;
  size_t durable_ = 0;
  uint64_t offsets_seen_ = 0;
  Backup backup_;
};

// Whether `found` is what some number of operations, at least `must_have`, have made.
bool is_prefix(const Workload& workload, const Contents& found, size_t must_have,
               std::optional<uint64_t> next_offset) {
  const auto values = values_only(found);
  Model model;
  for (size_t n = 0;; ++n) {
    if (n >= must_have) {
      const bool matches = next_offset
                               ? found == model.contents && *next_offset == model.next_offset
                               : values == values_only(model.contents);
      if (matches) return true;
    }
    if (n == workload.operations().size()) return false;
    model.apply(workload.operations()[n]);
  }
}

// A backup is whole or no store; one that was made is there, whatever the disk has lost.
void check_backup(const Workload& workload, FaultFs& image) {
  const Workload::Backup& backup = workload.backup();
  if (backup.dir.empty()) return;
  const auto report = verify_directory(image, backup.dir);
  INFO("backup: " << report.status().to_string());
  if (!report.ok()) {
    REQUIRE(report.status().code() == Code::kNotFound);
    REQUIRE(!backup.is_made);
    return;
  }
  REQUIRE(report->damage.empty());
  Options options = workload.options();
  options.fs = &image;
  options.data_dir = backup.dir;
  const auto engine = must_open(options);
  REQUIRE(is_prefix(workload, contents_of(*engine), backup.acknowledged, std::nullopt));
  REQUIRE(engine->next_offset() == report->next_offset + kOffsetJump);
}

// Opens what a power cut left and holds it against what was asked for.
void check_survivor(const Workload& workload, FaultFs& image, size_t must_have) {
  Options options = workload.options();
  options.fs = &image;
  auto engine = must_open(options);
  const Contents found = contents_of(*engine);
  const bool exact = options.fsync == FsyncPolicy::kAlways;
  INFO("must have " << must_have << " of " << workload.operations().size() << " operations, found "
                    << found.size() << " keys, next offset " << engine->next_offset());
  REQUIRE(is_prefix(workload, found, must_have,
                    exact ? std::optional(engine->next_offset()) : std::nullopt));
  REQUIRE(engine->next_offset() >= workload.offsets_seen());
  for (const auto& [key, stored] : found) REQUIRE(stored.offset < engine->next_offset());
  const Status verified = verify_runs(*engine);
  INFO(verified.to_string());
  REQUIRE(verified.ok());

  // Life goes on: point reads agree with the scan, writes get fresh offsets and survive a close.
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
  engine = must_open(options);
  REQUIRE(contents_of(*engine) == expected);
  REQUIRE(engine->next_offset() == next + 1);
}

// Cuts the power again while `image` is being opened, up to `times` times.
void crash_while_recovering(const Workload& workload, FaultFs& image, int times,
                            std::mt19937_64& random) {
  for (int i = 0; i < times; ++i) {
    image.cut_power_at(1 + random() % 40, random() % 2 == 0);
    Options options = workload.options();
    options.fs = &image;
    {
      const auto opened = Engine::open(options);
      INFO(opened.status().to_string());
      REQUIRE((opened.ok() || image.power_is_cut()));
    }
    image.restart(kLosses[random() % std::size(kLosses)], random());
  }
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
        // A killed process has lost nothing; a dead disk what was not synced.
        size_t must_have = loss == Loss::kNothing ? workload.acknowledged() : workload.durable();
        if (random() % 3 == 0) {
          must_have = workload.durable();
          crash_while_recovering(workload, *image, 1 + static_cast<int>(random() % 2), random);
        }
        check_survivor(workload, *image, must_have);
        check_backup(workload, *image);
        ++points;
      }
    }
  }
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
    const uint64_t more = run_matrix(policy, seed, 20 + seed % 21, ~uint64_t{0});
    points += more;
    std::printf("KYRO_TEST_SEED=%llu policy %d: %llu points, %llu in all\n",
                static_cast<unsigned long long>(seed), static_cast<int>(policy),
                static_cast<unsigned long long>(more), static_cast<unsigned long long>(points));
    std::fflush(stdout);
  }
  CHECK(points > 0);
}

TEST_CASE("a power cut at any call loses no acknowledged write under always", "[crash]") {
  run_matrices(FsyncPolicy::kAlways, 7000, 40);
}

TEST_CASE("a power cut at any call leaves a prefix under interval", "[crash]") {
  run_matrices(FsyncPolicy::kInterval, 5000, 30);
}

TEST_CASE("a power cut at any call leaves a prefix under never", "[crash]") {
  run_matrices(FsyncPolicy::kNever, 5000, 30);
}

}  // namespace kyro::test
