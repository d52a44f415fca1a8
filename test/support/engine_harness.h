// What the tests of the storage engine share: small options, what a store holds, writes in flight.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kyro/storage/engine.h"
#include "kyro/storage/run/run_verify.h"
#include "test/support/fault_fs.h"
#include "test/support/test_util.h"

namespace kyro::test {

// The engine's log lines about the damage that tests do on purpose would bury everything else.
class QuietLog {
 public:
  QuietLog() : before_(log_config().level) { log_config().level = LogLevel::kOff; }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;
  ~QuietLog() { log_config().level = before_; }

 private:
  LogLevel before_;
};

inline constexpr char kDir[] = "data";

// Segments and deltas so small that a few hundred writes rotate, flush and merge.
inline Options small_options(FileSystem& fs) {
  Options options;
  options.data_dir = kDir;
  options.fs = &fs;
  options.delta_max_bytes = 64 * kKiB;
  options.wal_segment_bytes = 8 * kKiB;
  options.wal_segments_max = 3;
  options.reserve_bytes = 0;
  return options;
}

inline std::unique_ptr<Engine> must_open(const Options& options) {
  auto engine = Engine::open(options);
  INFO(engine.status().to_string());
  REQUIRE(engine.ok());
  return std::move(*engine);
}

// The clock of engines whose records expire; the tests move it.
inline std::atomic<uint64_t> fake_now_secs{1'000'000};
inline void use_fake_clock(Options* options) {
  options->clock_secs = [] { return fake_now_secs.load(); };
  options->boot_clock_ns = [] { return fake_now_secs.load() * 1'000'000'000; };
}

// What a model knows of a key.
struct Expected {
  std::string value;
  uint64_t offset = 0;
  uint64_t expiry_secs = 0;
};

struct Stored {
  std::string value;
  uint64_t offset = 0;
  friend bool operator==(const Stored&, const Stored&) = default;
};
using Contents = std::map<uint64_t, Stored>;

inline Contents contents_of(Engine& engine) {
  Contents out;
  const Status status =
      engine.scan(0, ~uint64_t{0}, [&](uint64_t key, std::string_view value, uint64_t offset) {
        out[key] = {std::string(value), offset};
        return true;
      });
  INFO(status.to_string());
  REQUIRE(status.ok());
  return out;
}

inline std::string path_of(const std::string& name) {
  return std::string(kDir) + "/" + name;
}

// The paths of files whose names start with `prefix` and end with `suffix`, in order.
inline std::vector<std::string> files(const FaultFs& fs, const std::string& prefix,
                                      const std::string& suffix) {
  std::vector<std::string> out;
  for (const std::string& path : fs.paths()) {
    if (path.starts_with(path_of(prefix)) && path.ends_with(suffix)) out.push_back(path);
  }
  return out;
}

inline std::string last_segment(const FaultFs& fs) {
  const auto segments = files(fs, "wal-", ".log");
  REQUIRE(!segments.empty());
  return segments.back();
}

inline Status open_status(FaultFs& fs, Options options) {
  options.fs = &fs;
  return Engine::open(options).status();
}

inline void must_put(Engine& engine, uint64_t key, const std::string& value) {
  const auto offset = engine.put(key, value);
  INFO(offset.status().to_string());
  REQUIRE(offset.ok());
}

inline Code put_code(Engine& engine, uint64_t key, const std::string& value) {
  return engine.put(key, value).status().code();
}

// The contents without their offsets.
inline std::map<uint64_t, std::string> values_only(const Contents& contents) {
  std::map<uint64_t, std::string> out;
  for (const auto& [key, stored] : contents) out[key] = stored.value;
  return out;
}

// Every run, read whole and held against its index and the manifest.
inline Status verify_runs(Engine& engine) {
  for (const auto& run : engine.view().runs) {
    KYRO_TRY(verify_records(*run));
    KYRO_TRY(verify_index(*run));
  }
  return Status();
}

struct LogRecord {
  uint64_t offset = 0;
  uint64_t key = 0;
  bool is_put = false;
  std::string value;
  friend bool operator==(const LogRecord&, const LogRecord&) = default;
};

// The log from `from` to its end.
inline std::vector<LogRecord> read_whole_log(Engine& engine, uint64_t from) {
  std::vector<LogRecord> out;
  auto reader = engine.read_log(from);
  INFO(reader.status().to_string());
  REQUIRE(reader.ok());
  for (bool caught_up = false; !caught_up;) {
    const Status status = (*reader)->read(~uint64_t{0}, 4096, &caught_up, [&](const RecordView& r) {
      out.push_back({r.header.offset, r.header.key, !r.is_tombstone(), std::string(r.value)});
    });
    INFO(status.to_string());
    REQUIRE(status.ok());
  }
  return out;
}

// A write that is under way; wait() gives its outcome.
class AsyncWrite final : public WriteRequest {
 public:
  explicit AsyncWrite(std::vector<std::pair<uint64_t, std::string>> puts) : data_(std::move(puts)) {
    for (const auto& [key, value] : data_) list_.push_back(Mutation::put(key, value));
    mutations = list_;
  }
  [[nodiscard]] static std::unique_ptr<AsyncWrite> removal(uint64_t key) {
    auto write = std::make_unique<AsyncWrite>(std::vector<std::pair<uint64_t, std::string>>{});
    write->list_.push_back(Mutation::remove(key));
    write->mutations = write->list_;
    return write;
  }
  // Before it is submitted once more.
  void start_anew() { is_done_ = false; }
  // Its base version is for the test to resolve.
  void add_condition(const Condition& condition) {
    conditions_.push_back(condition);
    conditions = conditions_;
  }
  void done() override {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
    changed_.notify_all();
  }
  const Status& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_done_; });
    return status;
  }

 private:
  std::vector<std::pair<uint64_t, std::string>> data_;
  std::vector<Mutation> list_;
  std::vector<Condition> conditions_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
};

}  // namespace kyro::test
