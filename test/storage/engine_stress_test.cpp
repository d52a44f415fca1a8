// Everything at once: writers, deleters, readers, scans, log readers, snapshots and compactions
// over one small store, each answer held against what may be true at that moment. Meant for the
// thread and address sanitizers as much as for itself.
#include <catch2/catch.hpp>
#include <thread>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

constexpr uint64_t kWriters = 3;
constexpr uint64_t kKeysPerWriter = 64;

// A key is written by one writer only, with numbers that grow: the value is the number, some
// padding and the number again. Before a number is submitted it is in `submitted`, once
// acknowledged in `acknowledged`; so a read must find one between what was acknowledged before it
// began and what was submitted when it ended.
struct Cell {
  std::atomic<uint64_t> submitted{0};
  std::atomic<uint64_t> acknowledged{0};
};

std::string make_value(uint64_t number) {
  const std::string text = std::to_string(number);
  return text + ":" + std::string(number * 7 % 400, 'v') + ":" + text;
}

// The number of a value; 0 if it is not one that was ever written.
uint64_t number_of(std::string_view value) {
  const uint64_t number = std::strtoull(std::string(value.substr(0, 20)).c_str(), nullptr, 10);
  return make_value(number) == value ? number : 0;
}

class Stress {
 public:
  explicit Stress(const Options& options) : engine_(must_open(options)) {}

  template <class Body>
  void add(Body body) {
    threads_.emplace_back([this, body] {
      while (!stop_.load(std::memory_order_relaxed)) {
        if (!body(*this)) {
          failed_ = true;
          stop_ = true;
        }
      }
    });
  }

  // Ends when the writers have made `writes` writes, or something is wrong.
  void run(uint64_t writes) {
    while (!stop_ && writes_ < writes) std::this_thread::yield();
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    INFO(what_);
    REQUIRE(!failed_);
  }

  bool fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (what_.empty()) what_ = what;
    return false;
  }

  Engine& engine() { return *engine_; }
  void close() { engine_.reset(); }
  Cell& cell(uint64_t key) { return cells_[key]; }
  void note_write() { ++writes_; }
  [[nodiscard]] bool is_stopping() const { return stop_; }

 private:
  std::unique_ptr<Engine> engine_;
  std::array<Cell, kWriters * kKeysPerWriter> cells_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::atomic<uint64_t> writes_{0};
  std::mutex mutex_;
  std::string what_;
};

// Even numbers are puts, odd ones removals.
bool write_some(Stress& stress, uint64_t writer, std::mt19937_64& random) {
  const uint64_t key = writer * kKeysPerWriter + random() % kKeysPerWriter;
  Cell& cell = stress.cell(key);
  const uint64_t before = cell.acknowledged.load();
  const bool is_put = before % 2 == 1 || random() % 4 != 0;
  uint64_t number = before + 1;
  if (is_put == (number % 2 == 1)) ++number;
  cell.submitted.store(number);
  const auto offset =
      is_put ? stress.engine().put(key, make_value(number)) : stress.engine().remove(key);
  const bool was_absent = before == 0 || before % 2 == 1;
  const bool is_expected =
      offset.ok() || (!is_put && was_absent && offset.status().code() == Code::kNotFound);
  if (!is_expected) return stress.fail("write: " + offset.status().to_string());
  cell.acknowledged.store(number);
  stress.note_write();
  return true;
}

bool is_possible(uint64_t found, uint64_t low, uint64_t high) {
  if (found != 0) return found >= low && found <= high;
  // Absent: some removal (or the state before the first put) lies in the range.
  return low == 0 || low % 2 == 1 || high > low;
}

bool read_some(Stress& stress, std::mt19937_64& random) {
  const uint64_t key = random() % (kWriters * kKeysPerWriter);
  const uint64_t low = stress.cell(key).acknowledged.load();
  std::string value;
  const Status status = stress.engine().get(key, &value);
  const uint64_t high = stress.cell(key).submitted.load();
  if (!status.ok() && status.code() != Code::kNotFound) return stress.fail(status.to_string());
  const uint64_t found = status.ok() ? number_of(value) : 0;
  if (status.ok() && found == 0) return stress.fail("a value that nobody wrote");
  if (!is_possible(found, low, high)) {
    return stress.fail("read " + std::to_string(found) + ", not in " + std::to_string(low) + ".." +
                       std::to_string(high));
  }
  return true;
}

bool scan_all(Stress& stress) {
  std::array<uint64_t, kWriters * kKeysPerWriter> low{};
  std::array<uint64_t, kWriters * kKeysPerWriter> found{};
  for (uint64_t key = 0; key < low.size(); ++key) low[key] = stress.cell(key).acknowledged.load();
  bool is_sound = true;
  uint64_t next_key = 0;
  const Status status =
      stress.engine().scan(0, ~uint64_t{0}, [&](uint64_t key, std::string_view value, uint64_t) {
        is_sound = is_sound && key >= next_key && key < found.size() && number_of(value) != 0;
        next_key = key + 1;
        if (is_sound) found[key] = number_of(value);
        return is_sound;
      });
  if (!status.ok()) return stress.fail(status.to_string());
  if (!is_sound) return stress.fail("a scan out of order or with a foreign value");
  for (uint64_t key = 0; key < low.size(); ++key) {
    if (!is_possible(found[key], low[key], stress.cell(key).submitted.load())) {
      return stress.fail("a scan missed key " + std::to_string(key));
    }
  }
  return true;
}

// Follows the log from its oldest record: consecutive offsets, numbers of a key that grow.
bool follow_log(Stress& stress) {
  const LogRange range = stress.engine().log_range();
  auto reader = stress.engine().read_log(range.oldest);
  if (!reader.ok()) {
    return reader.status().code() == Code::kGone || stress.fail(reader.status().to_string());
  }
  std::map<uint64_t, uint64_t> last;
  uint64_t next = range.oldest;
  bool is_sound = true;
  for (bool caught_up = false; !caught_up && is_sound;) {
    const Status status = (*reader)->read(~uint64_t{0}, 8192, &caught_up, [&](const RecordView& r) {
      is_sound = is_sound && r.header.offset == next++;
      if (r.is_tombstone()) return;
      const uint64_t number = number_of(r.value);
      is_sound = is_sound && number > last[r.header.key];
      last[r.header.key] = number;
    });
    if (status.code() == Code::kGone) return true;
    if (!status.ok()) return stress.fail(status.to_string());
  }
  return is_sound || stress.fail("the log is out of order at " + std::to_string(next));
}

void stress_everything(const Options& options, uint64_t writes) {
  const QuietLog quiet;
  Stress stress(options);
  const uint64_t seed = test_seed(5);
  INFO("seed " << seed);
  for (uint64_t writer = 0; writer < kWriters; ++writer) {
    auto random = std::make_shared<std::mt19937_64>(seed + writer);
    stress.add([=](Stress& s) { return write_some(s, writer, *random); });
  }
  auto random = std::make_shared<std::mt19937_64>(seed + 99);
  stress.add([=](Stress& s) { return read_some(s, *random); });
  stress.add([](Stress& s) { return scan_all(s); });
  stress.add([](Stress& s) { return follow_log(s); });
  stress.add([](Stress& s) {
    const Status status = s.engine().snapshot();
    return status.ok() || s.fail("snapshot: " + status.to_string());
  });
  stress.add([](Stress& s) {
    const Status status = s.engine().compact();
    return status.ok() || s.fail("compact: " + status.to_string());
  });
  stress.run(writes);

  // Quiet now: what was acknowledged last is what is there, before and after a restart.
  Contents contents = contents_of(stress.engine());
  for (uint64_t key = 0; key < kWriters * kKeysPerWriter; ++key) {
    const uint64_t number = stress.cell(key).acknowledged.load();
    INFO("key " << key);
    REQUIRE(contents.contains(key) == (number != 0 && number % 2 == 0));
    if (contents.contains(key)) REQUIRE(contents[key].value == make_value(number));
  }
  REQUIRE(verify_runs(stress.engine()).ok());
  stress.close();
  REQUIRE(contents_of(*must_open(options)) == contents);
}

}  // namespace

TEST_CASE("readers, writers, scans, the log and maintenance agree while all run at once") {
  SECTION("on the simulated file system, with tiny deltas and segments") {
    FaultFs fs;
    Options options = small_options(fs);
    options.merge_fan_in = 2;
    stress_everything(options, 4000);
  }
  SECTION("on a real one") {
    const TempDir dir;
    Options options;
    options.data_dir = dir.file("store");
    options.delta_max_bytes = 64 * kKiB;
    options.wal_segment_bytes = 16 * kKiB;
    options.wal_segments_max = 2;
    options.reserve_bytes = 1 * kMiB;
    options.fsync = GENERATE(FsyncPolicy::kNever, FsyncPolicy::kInterval);
    options.fsync_interval_ms = 1;
    stress_everything(options, 4000);
  }
}

TEST_CASE("under interval a write that its own caller committed is synced without another one") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.fsync = FsyncPolicy::kInterval;
  options.fsync_interval_ms = 200;
  auto engine = must_open(options);
  const auto calls_of_a_put = [&] {
    const uint64_t before = fs.calls();
    must_put(*engine, 1, "value");
    return fs.calls() - before;
  };
  // A write, and a sync with it where one was due.
  uint64_t puts = 1;
  while (calls_of_a_put() > 1) REQUIRE(++puts < 100);
  const uint64_t unsynced = fs.calls();
  const uint64_t deadline_ns = monotonic_ns() + 60'000'000'000;
  while (fs.calls() == unsynced) {
    REQUIRE(monotonic_ns() < deadline_ns);
    std::this_thread::yield();
  }
}

TEST_CASE("callers that commit themselves and requests that are queued are all answered in order") {
  const QuietLog quiet;
  FaultFs fs;
  Options options = small_options(fs);
  options.fsync = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kNever);
  auto engine = must_open(options);
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kRounds = 150;
  std::atomic<bool> all_ok{true};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kRounds; ++i) {
        AsyncWrite queued({{t, std::to_string(i)}});
        engine->submit(&queued);
        const auto offset = engine->put(t, std::to_string(i) + "+");
        const bool ok = offset.ok() && queued.wait().ok() && queued.offset < *offset;
        if (!ok) all_ok = false;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(all_ok);
  CHECK(engine->next_offset() == kThreads * kRounds * 2);
  for (uint64_t t = 0; t < kThreads; ++t) {
    CHECK(contents_of(*engine).at(t).value == std::to_string(kRounds - 1) + "+");
  }
}

TEST_CASE("concurrent writers to one key leave the one with the highest offset") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::map<uint64_t, std::string> by_offset;
  bool all_ok = true;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string value = std::to_string(t) + "/" + std::to_string(i);
        const auto offset = engine->put(7, value);
        const std::lock_guard lock(mutex);
        all_ok = all_ok && offset.ok() && by_offset.emplace(*offset, value).second;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(all_ok);
  REQUIRE(by_offset.size() == 800);
  REQUIRE(by_offset.rbegin()->first == 799);
  std::string value;
  REQUIRE(engine->get(7, &value).ok());
  REQUIRE(value == by_offset.rbegin()->second);
}

}  // namespace kyro::test
