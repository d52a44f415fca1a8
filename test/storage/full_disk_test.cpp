// A full disk is emptied by deletes, overwrites and time, without help and on the room it has.
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <thread>

#include "test/support/engine_harness.h"
#include "test/support/volume.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

enum class Relief : uint8_t {
  kDeleteByBatch,
  kDeleteOneByOne,
  kOverwrite,
  kExpire,
  kCompact,
  kRestart,
  kRestartSmaller,
  kGrow,
};
constexpr const char* kReliefNames[] = {
    "delete by batch", "delete one by one",        "overwrite", "expire", "compact",
    "restart",         "restart with other flags", "grow"};

struct FullDiskCase {
  uint64_t volume_bytes;
  bool has_small_flags;
  size_t value_bytes;
  Relief relief;
};

// A store on a volume that is filled to the brim.
class FullStore {
 public:
  FullStore(const FullDiskCase& c, const Options& options) : case_(c), options_(options) {
    fake_now_secs = 1'000'000;
    use_fake_clock(&options_);
    if (c.has_small_flags) use_small_flags();
    engine_ = must_open(options_);
  }

  // Puts until one is refused for space.
  void fill() {
    const size_t per_batch = case_.value_bytes >= kMiB ? 1 : case_.value_bytes >= kKiB ? 64 : 1000;
    const uint64_t expiry = case_.relief == Relief::kExpire ? fake_now_secs + 100 : 0;
    for (;;) {
      std::vector<std::string> values;
      std::vector<Mutation> batch;
      for (size_t i = 0; i < per_batch; ++i) values.push_back(value_of(count_ + i));
      for (size_t i = 0; i < per_batch; ++i) {
        batch.push_back(Mutation::put(key_of(count_ + i), values[i], expiry));
      }
      const Status status = engine_->write(batch).status();
      if (status.code() == Code::kNoSpace) break;
      INFO(status.to_string());
      REQUIRE(status.ok());
      count_ += per_batch;
    }
    REQUIRE(count_ > 0);
  }

  void relieve(const std::function<bool()>& grow) {
    switch (case_.relief) {
      case Relief::kDeleteByBatch:
        return delete_all(1000);
      case Relief::kDeleteOneByOne:
        return delete_all(1);
      case Relief::kOverwrite:
        return overwrite();
      case Relief::kExpire:
        fake_now_secs += 100;
        live_begin_ = count_;
        return;
      case Relief::kCompact: {
        const Status status = engine_->compact();
        INFO(status.to_string());
        REQUIRE((status.ok() || status.code() == Code::kNoSpace));
        if (!status.ok()) {
          CHECK_THAT(std::string(status.message()),
                     Contains("needs ") && Contains(" bytes of free space, "));
        }
        break;
      }
      case Relief::kRestart:
        restart();
        break;
      case Relief::kRestartSmaller:
        use_small_flags();
        restart();
        break;
      case Relief::kGrow:
        REQUIRE(grow());
        return;
    }
    check_contents();
    delete_all(1000);
  }

  // Without help, within a minute: of a busy machine.
  void must_become_writable() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const std::string value(case_.value_bytes, 'n');
    Status status;
    for (uint64_t written = 0; written < 10;) {
      status = engine_->put(kNewKeys + written, value).status();
      if (status.ok()) ++written;
      if (status.ok()) continue;
      INFO(status.to_string());
      REQUIRE(status.code() == Code::kNoSpace);
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::yield();
    }
    CHECK(!engine_->latch().is_set());
  }

  void check_contents() {
    uint64_t live = 0;
    bool is_right = true;
    const Status status =
        engine_->scan(0, ~uint64_t{0}, [&](uint64_t key, std::string_view value, uint64_t) {
          if (key >= kNewKeys && key < kNewKeys + 10) return true;
          const uint64_t i = index_of(key);
          is_right = is_right && i >= live_begin_ && i < count_ &&
                     (value == value_of(i) || (i < overwritten_ && value == "s"));
          ++live;
          return true;
        });
    INFO(status.to_string());
    REQUIRE(status.ok());
    CHECK(is_right);
    CHECK(live == count_ - live_begin_);
  }

  void restart() {
    engine_.reset();
    engine_ = must_open(options_);
  }
  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] uint64_t count() const { return count_; }

 private:
  static constexpr uint64_t kNewKeys = 3;  // even keys never end in three
  static constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;

  // All over the range, and back.
  static uint64_t key_of(uint64_t i) { return (i + 1000) * kOdd; }
  static uint64_t index_of(uint64_t key) {
    uint64_t inverse = kOdd;
    for (int i = 0; i < 6; ++i) inverse *= 2 - kOdd * inverse;
    return key * inverse - 1000;
  }
  [[nodiscard]] std::string value_of(uint64_t i) const {
    std::string value(case_.value_bytes, static_cast<char>('a' + i % 26));
    store_u64(value.data(), i);
    return value;
  }

  void use_small_flags() {
    options_.delta_max_bytes = 1 * kMiB;
    options_.wal_segment_bytes = 1 * kMiB;
    options_.wal_segments_max = 2;
    options_.reserve_bytes = 2 * kMiB;
  }

  void delete_all(size_t per_batch) {
    while (live_begin_ < count_) {
      if (per_batch == 1) {
        const Status status = engine_->remove(key_of(live_begin_)).status();
        INFO(status.to_string() << " at " << live_begin_ << " of " << count_);
        REQUIRE(status.ok());
        ++live_begin_;
        continue;
      }
      std::vector<Mutation> batch;
      for (size_t i = 0; i < per_batch && live_begin_ + i < count_; ++i) {
        batch.push_back(Mutation::remove(key_of(live_begin_ + i)));
      }
      const Status status = engine_->write(batch).status();
      INFO(status.to_string() << " at " << live_begin_ << " of " << count_);
      REQUIRE(status.ok());
      live_begin_ += batch.size();
    }
  }

  // With one byte each. Where that saves nothing, a quarter is deleted afterwards.
  void overwrite() {
    const bool is_smaller = case_.value_bytes >= kKiB;
    while (overwritten_ < count_) {
      const Status status = engine_->put(key_of(overwritten_), "s").status();
      if (!is_smaller && status.code() == Code::kNoSpace) break;
      INFO(status.to_string() << " at " << overwritten_ << " of " << count_);
      REQUIRE(status.ok());
      ++overwritten_;
    }
    if (is_smaller) return;
    for (const uint64_t end = count_ / 4; live_begin_ < end; ++live_begin_) {
      REQUIRE(engine_->remove(key_of(live_begin_)).ok());
    }
  }

  const FullDiskCase case_;
  Options options_;
  std::unique_ptr<Engine> engine_;
  uint64_t count_ = 0;        // filled
  uint64_t live_begin_ = 0;   // those before it are gone
  uint64_t overwritten_ = 0;  // those before it may be small
};

void run_case(const FullDiskCase& c, const Options& options, const std::function<bool()>& grow) {
  INFO(c.volume_bytes / kMiB << " MiB, " << (c.has_small_flags ? "small" : "default")
                             << " flags, values of " << c.value_bytes << " bytes, "
                             << kReliefNames[static_cast<size_t>(c.relief)]);
  FullStore store(c, options);
  store.fill();
  store.relieve(grow);
  store.must_become_writable();
  store.check_contents();
  store.restart();
  store.check_contents();
}

// False if volumes cannot be made here.
bool run_on_volume(const FullDiskCase& c) {
  bool is_permitted = true;
  on_own_thread([&] {
    Volume volume(c.volume_bytes);
    if (is_permitted = volume.is_ok(); !is_permitted) return;
    Options options;
    options.data_dir = volume.store();
    run_case(c, options, [&] { return volume.resize(c.volume_bytes + 20 * kMiB); });
  });
  return is_permitted;
}

}  // namespace

TEST_CASE("a small full disk becomes writable again without help", "[full-disk]") {
  const QuietLog quiet;
  const auto relief =
      GENERATE(Relief::kDeleteByBatch, Relief::kDeleteOneByOne, Relief::kOverwrite, Relief::kExpire,
               Relief::kCompact, Relief::kRestart, Relief::kRestartSmaller, Relief::kGrow);
  const size_t value_bytes = GENERATE(size_t{1024}, size_t{100'000});
  const FullDiskCase c{16 * kMiB, false, value_bytes, relief};
  FaultFs fs;
  fs.set_volume(c.volume_bytes);
  Options options;
  options.data_dir = kDir;
  options.fs = &fs;
  run_case(c, options, [&] { return fs.set_volume(c.volume_bytes + 20 * kMiB), true; });
}

// The same keys again and again: what they leave behind, in runs and in log for replay, must not
// fill the disk.
void import_often(uint64_t volume_bytes, uint64_t live_bytes, int rounds) {
  constexpr size_t kValueBytes = 1000;
  on_own_thread([&] {
    Volume volume(volume_bytes);
    if (!volume.is_ok()) {
      WARN("not permitted to mount a tmpfs: skipped");
      return;
    }
    Options options;
    options.data_dir = volume.store();
    auto engine = must_open(options);
    const std::string value(kValueBytes, 'v');
    for (int round = 0; round < rounds; ++round) {
      for (uint64_t key = 0; key < live_bytes / kValueBytes;) {
        std::vector<Mutation> batch;
        for (int i = 0; i < 100; ++i) batch.push_back(Mutation::put(key++, value));
        const Status status = engine->write(batch).status();
        INFO("round " << round << ": " << status.to_string());
        REQUIRE(status.ok());
      }
    }
    CHECK(engine->disk_free_bytes() >= volume_bytes / 8);
    CHECK(engine->stats().refused_no_space.value() == 0);
    CHECK(contents_of(*engine).size() == live_bytes / kValueBytes);
  });
}

TEST_CASE("the same keys imported again and again do not fill a small disk", "[full-disk]") {
  const QuietLog quiet;
  import_often(32 * kMiB, 1'000'000, 100);
}

// make disk-matrix
TEST_CASE("10 MB imported a hundred times do not fill 300 MiB", "[.disk-matrix]") {
  const QuietLog quiet;
  import_often(300 * kMiB, 10'000'000, 100);
}

TEST_CASE("a slice of the disk matrix on a real volume", "[full-disk]") {
  const QuietLog quiet;
  const auto c = GENERATE(FullDiskCase{16 * kMiB, true, 10, Relief::kDeleteByBatch},
                          FullDiskCase{32 * kMiB, true, kKiB, Relief::kOverwrite},
                          FullDiskCase{32 * kMiB, true, kKiB, Relief::kDeleteOneByOne},
                          FullDiskCase{32 * kMiB, true, kKiB, Relief::kExpire},
                          FullDiskCase{32 * kMiB, true, kKiB, Relief::kGrow},
                          FullDiskCase{32 * kMiB, true, kMiB, Relief::kRestartSmaller});
  if (!run_on_volume(c)) WARN("not permitted to mount a tmpfs: skipped");
}

TEST_CASE("every full disk becomes writable again without help", "[.disk-matrix]") {
  std::optional<QuietLog> quiet;
  if (std::getenv("KYRO_DISK_CASE") == nullptr) quiet.emplace();
  const uint64_t mib = GENERATE(32u, 70u, 100u, 200u);
  const bool has_small_flags = GENERATE(false, true);
  const size_t value_bytes = GENERATE(size_t{10}, size_t{1024}, size_t{1024 * 1024});
  const auto relief =
      GENERATE(Relief::kDeleteByBatch, Relief::kDeleteOneByOne, Relief::kOverwrite, Relief::kExpire,
               Relief::kCompact, Relief::kRestart, Relief::kRestartSmaller, Relief::kGrow);
  // One of them: KYRO_DISK_CASE=MIB,SMALL,VALUE_BYTES,RELIEF in numbers.
  const char* wanted = std::getenv("KYRO_DISK_CASE");
  const std::string name = std::to_string(mib) + "," + (has_small_flags ? "1," : "0,") +
                           std::to_string(value_bytes) + "," +
                           std::to_string(static_cast<int>(relief));
  if (wanted != nullptr && name != wanted) return;
  if (!run_on_volume({mib * kMiB, has_small_flags, value_bytes, relief})) {
    WARN("not permitted to mount a tmpfs: skipped");
  }
}

}  // namespace kyro::test
