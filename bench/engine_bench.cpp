// The engine benchmark: KyroDB embedded beside LMDB, RocksDB and LevelDB, in one process and one
// run, with the same data, the same loops, the same durability and the same memory for writes.
//
// The engines take turns within every row, so what else happens on the machine meets them alike.
//
// Environment:
//   KYRO_BENCH_N        keys of the base (10000000; K and M are understood)
//   KYRO_BENCH_SECS     seconds for each row of each engine (1)
//   KYRO_BENCH_ONLY     groups, a list or "all": get multi_get scan delta put ycsb upsert
//                       compaction start replay (the base is always loaded)
//   KYRO_BENCH_ENGINES  a list or "all": kyro lmdb rocksdb leveldb
//   KYRO_BENCH_VALUE    bytes of a value (64)
//   KYRO_BENCH_UPSERTS  random overwrites of group upsert (half of N), for at most 20 rows' time
//   KYRO_BENCH_DIR      where the stores are made and removed (build/bench/engine-data)
//   KYRO_BENCH_OUT      where engine.csv and engine_facts.csv go (bench/out)
//
// Output: RESULT rows (rates and latencies) and FACT lines (sizes, amplification, start-up). The
// data sets are uniform random keys; read rows read keys that are there.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/datasets.h"
#include "bench/engine_child.h"
#include "bench/engine_measure.h"
#include "bench/engine_workloads.h"
#include "bench/kv.h"
#include "bench/kv_kyro.h"
#include "bench/kv_leveldb.h"
#include "bench/kv_lmdb.h"
#include "bench/kv_rocksdb.h"

#ifndef KYRO_COMMIT
#define KYRO_COMMIT "unknown"
#endif

namespace kyro::bench {
namespace {

constexpr size_t kStreamKeys = 2'000'000;
constexpr size_t kLoadBatch = 1000;
constexpr size_t kScanLimit = 100;
constexpr size_t kMultiGetKeys = 100;
constexpr double kOpenLoopRate = 20'000;

std::string setting(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback;
}

uint64_t number_of(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const double unit = *end == 'M' ? 1e6 : *end == 'K' || *end == 'k' ? 1e3 : 1;
  return static_cast<uint64_t>(value * unit);
}

bool is_chosen(const char* variable, std::string_view name) {
  const std::string list = setting(variable, "all");
  if (list == "all") return true;
  for (size_t from = 0; from <= list.size();) {
    const size_t comma = std::min(list.find_first_of(", ", from), list.size());
    if (std::string_view(list).substr(from, comma - from) == name) return true;
    from = comma + 1;
  }
  return false;
}

std::vector<std::unique_ptr<Kv>> all_engines() {
  std::vector<std::unique_ptr<Kv>> out;
  out.push_back(std::make_unique<KyroKv>());
#if defined(KYRO_BENCH_LMDB)
  out.push_back(std::make_unique<LmdbKv>());
#endif
#if defined(KYRO_BENCH_ROCKSDB)
  out.push_back(std::make_unique<RocksKv>());
#endif
#if defined(KYRO_BENCH_LEVELDB)
  out.push_back(std::make_unique<LevelKv>());
#endif
  return out;
}

class Bench {
 public:
  Bench()
      : n_(number_of(setting("KYRO_BENCH_N", "10M"))),
        secs_(std::strtod(setting("KYRO_BENCH_SECS", "1").c_str(), nullptr)),
        root_(setting("KYRO_BENCH_DIR", "build/bench/engine-data")),
        report_(setting("KYRO_BENCH_OUT", "bench/out"), n_),
        keys_(make_keys("uspr", n_, 42)) {
    space_ = {keys_, static_cast<size_t>(number_of(setting("KYRO_BENCH_VALUE", "64")))};
    uniform_ = draw_keys(space_, kStreamKeys, false, 1);
    zipfian_ = draw_keys(space_, kStreamKeys, true, 2);
    for (auto& kv : all_engines()) {
      if (is_chosen("KYRO_BENCH_ENGINES", kv->name())) engines_.push_back(std::move(kv));
    }
  }

  void run() {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    load();
    group("get", [this] { gets(""); });
    group("multi_get", [this] { multi_gets(); });
    group("scan", [this] { scans(); });
    group("delta", [this] { delta(); });
    group("put", [this] { puts(); });
    group("ycsb", [this] { ycsb(); });
    group("upsert", [this] { upserts(); });
    group("compaction", [this] { compactions(); });
    for (auto& kv : engines_) {
      kv->flush();
      kv->close();
    }
    group("start", [this] { starts(); });
    group("replay", [this] { replays(); });
    std::filesystem::remove_all(root_);
  }

 private:
  void group(const char* name, const std::function<void()>& body) {
    if (is_chosen("KYRO_BENCH_ONLY", name)) body();
  }
  [[nodiscard]] std::string dir_of(const Kv& kv) const { return root_ + "/" + kv.name(); }

  void reopen(Durability durability) {
    for (auto& kv : engines_) {
      kv->close();
      kv->open(dir_of(*kv), durability, kDefaultBufferBytes);
    }
  }

  // ops_s of a row counts single operations: keys, not batches.
  template <class Make>
  void row(const std::string& bench, Kv& kv, size_t threads, uint32_t timed_every, double weight,
           Make make) {
    report_.row(bench, kv.name(), closed_loop(threads, secs_, timed_every, weight, make));
  }

  // Loads the base in key order, in batches, then has every engine rewrite it into its best shape.
  void load() {
    for (auto& kv : engines_) {
      kv->open(dir_of(*kv), Durability::kNever, kDefaultBufferBytes);
      std::vector<std::string> values(kLoadBatch, std::string(space_.value_bytes, '\0'));
      Measured measured;
      const uint64_t began_ns = monotonic_ns();
      for (size_t at = 0; at < keys_.size(); at += kLoadBatch) {
        const auto batch = std::span(keys_).subspan(at, std::min(kLoadBatch, keys_.size() - at));
        for (size_t i = 0; i < batch.size(); ++i) fill_value(batch[i], &values[i]);
        const uint64_t from_ns = monotonic_ns();
        kv->put_batch(batch, std::span(values).first(batch.size()));
        measured.latency_ns.record(monotonic_ns() - from_ns);
      }
      measured.ops_per_s =
          static_cast<double>(n_) * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
      report_.row("load", kv->name(), measured);
      kv->compact();
      kv->wait_for_background();
    }
  }

  void gets(const std::string& suffix) {
    for (auto& kv : engines_) {
      closed_loop(1, secs_ / 2, 16, 1, [&](size_t) { return GetOp(*kv, space_, uniform_); });
      row("get" + suffix, *kv, 1, 32, 1, [&](size_t) { return GetOp(*kv, space_, uniform_); });
    }
    if (!suffix.empty()) return;
    for (auto& kv : engines_) {
      row("get_zipf", *kv, 1, 32, 1, [&](size_t) { return GetOp(*kv, space_, zipfian_); });
    }
    for (auto& kv : engines_) {
      row("get_miss", *kv, 1, 32, 1, [&](size_t) { return MissOp(*kv); });
    }
  }

  void multi_gets() {
    for (auto& kv : engines_) {
      row("multi_get_100", *kv, 1, 1, kMultiGetKeys,
          [&](size_t) { return MultiGetOp(*kv, space_, uniform_, kMultiGetKeys); });
    }
  }

  void scans() {
    for (auto& kv : engines_) {
      row("scan_100", *kv, 1, 1, 1,
          [&](size_t) { return ScanOp(*kv, space_, uniform_, kScanLimit); });
    }
  }

  // Reads of base keys that miss a full write buffer, beside the same reads when it is empty. The
  // buffer is filled with keys that nobody reads, up to nine tenths.
  void delta() {
    gets("_buffer_empty");
    const uint64_t per_record = space_.value_bytes + 32 + 100;
    const uint64_t records = kDefaultBufferBytes * 9 / 10 / per_record;
    for (auto& kv : engines_) {
      Random random(17);
      std::vector<uint64_t> batch(kMultiGetKeys);
      const std::vector<std::string> values(batch.size(), std::string(space_.value_bytes, 'd'));
      for (uint64_t done = 0; done < records; done += batch.size()) {
        for (uint64_t& key : batch) key = random.next();
        kv->put_batch(batch, values);
      }
    }
    gets("_buffer_full");
  }

  void puts() {
    reopen(Durability::kAlways);
    for (const size_t threads : {size_t{1}, size_t{64}}) {
      for (auto& kv : engines_) put_row("put_always_" + std::to_string(threads), *kv, threads);
    }
    for (auto& kv : engines_) batch_row("put_always_batch_100", *kv);
    reopen(Durability::kInterval);
    for (auto& kv : engines_) interval_row(*kv);
    reopen(Durability::kNever);
    for (const size_t threads : {size_t{1}, size_t{64}}) {
      for (auto& kv : engines_) put_row("put_never_" + std::to_string(threads), *kv, threads);
    }
    for (auto& kv : engines_) batch_row("put_never_batch_100", *kv);
  }
  void put_row(const std::string& bench, Kv& kv, size_t threads) {
    row(bench, kv, threads, 1, 1,
        [&](size_t thread) { return PutOp(kv, space_, uniform_, thread); });
    kv.wait_for_background();
  }
  void batch_row(const std::string& bench, Kv& kv) {
    row(bench, kv, 1, 1, kMultiGetKeys,
        [&](size_t) { return PutBatchOp(kv, space_, uniform_, kMultiGetKeys); });
    kv.wait_for_background();
  }
  // Engines without an interval of their own get a thread that syncs every 100 ms.
  void interval_row(Kv& kv) {
    const bool has_own = std::string_view(kv.name()) == "kyro";
    if (!has_own && !kv.sync()) return;
    std::atomic<bool> stop{false};
    std::thread ticker([&] {
      while (!has_own && !stop.load()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        kv.sync();
      }
    });
    put_row("put_interval_1", kv, 1);
    stop.store(true);
    ticker.join();
  }

  void ycsb() {
    struct Setup {
      const char* name;
      Durability durability;
      size_t threads;
    };
    for (const Setup& setup :
         {Setup{"always", Durability::kAlways, 16}, Setup{"never", Durability::kNever, 2}}) {
      reopen(setup.durability);
      for (const char workload : {'a', 'b', 'c', 'd', 'e', 'f'}) {
        for (const bool zipfian : {true, false}) {
          const std::string bench =
              std::string("ycsb_") + workload + (zipfian ? "_zipf_" : "_uniform_") + setup.name;
          for (auto& kv : engines_) {
            YcsbOp::Inserted inserted;
            row(bench, *kv, setup.threads, workload == 'c' || workload == 'b' ? 16 : 1, 1,
                [&](size_t thread) {
                  return YcsbOp(*kv, space_, zipfian ? zipfian_ : uniform_, workload, zipfian,
                                thread, inserted);
                });
            kv->wait_for_background();
          }
        }
      }
    }
  }

  // Write amplification: bytes written for random overwrites of the base, the log included, by the
  // engine's own count per byte of its records, and by the kernel's per byte of key and value.
  void upserts() {
    reopen(Durability::kNever);
    const uint64_t count = number_of(setting("KYRO_BENCH_UPSERTS", std::to_string(n_ / 2).c_str()));
    for (auto& kv : engines_) {
      kv->wait_for_background();
      const uint64_t disk_before = proc_number("/proc/self/io", "write_bytes:");
      const uint64_t own_before = kv->bytes_written();
      Measured measured;
      PutBatchOp put(*kv, space_, uniform_upserts(), kMultiGetKeys);
      const uint64_t began_ns = monotonic_ns();
      const uint64_t deadline_ns = began_ns + static_cast<uint64_t>(secs_ * 20e9);
      uint64_t done = 0;
      for (uint64_t i = 0; done < count && monotonic_ns() < deadline_ns; ++i) {
        const uint64_t from_ns = monotonic_ns();
        put(i);
        measured.latency_ns.record(monotonic_ns() - from_ns);
        done += kMultiGetKeys;
      }
      const auto records = static_cast<double>(done);
      measured.ops_per_s = records * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
      kv->wait_for_background();
      static_cast<void>(kv->sync());
      report_.row("upsert_batch_100", kv->name(), measured);
      report_.fact("upserts", kv->name(), records);
      const uint64_t own = kv->bytes_written() - own_before;
      if (own > 0) {
        report_.fact("write_amplification_records", kv->name(),
                     static_cast<double>(own) /
                         (records * static_cast<double>(kv->record_bytes(space_.value_bytes))));
      }
      const uint64_t disk = proc_number("/proc/self/io", "write_bytes:") - disk_before;
      report_.fact(
          "write_amplification_disk", kv->name(),
          static_cast<double>(disk) / (records * static_cast<double>(space_.value_bytes + 8)));
    }
    upserts_ = Stream();
    gets("_after_upserts");
  }
  const Stream& uniform_upserts() {
    if (upserts_.empty()) upserts_ = draw_keys(space_, std::min<size_t>(n_, 20'000'000), false, 3);
    return upserts_;
  }

  // Latency of reads at a fixed rate: alone, beside synced writes, and while everything is
  // compacted.
  void compactions() {
    reopen(Durability::kAlways);
    const auto never = [] { return true; };
    for (auto& kv : engines_) {
      GetOp get(*kv, space_, uniform_);
      open_loop(kOpenLoopRate, secs_, get, never);  // warm
      report_.row("read_quiet", kv->name(), open_loop(kOpenLoopRate, secs_ * 2, get, never));
    }
    for (auto& kv : engines_) {
      std::atomic<bool> stop{false};
      std::thread writer([&] {
        PutOp put(*kv, space_, uniform_, 1);
        for (uint64_t i = 0; !stop.load(); ++i) put(i);
      });
      report_.row("read_beside_puts", kv->name(),
                  open_loop(kOpenLoopRate, secs_ * 2, GetOp(*kv, space_, uniform_), never));
      stop.store(true);
      writer.join();
    }
    for (auto& kv : engines_) {
      std::atomic<bool> done{false};
      bool has_compaction = false;
      std::thread compactor([&] {
        has_compaction = kv->compact();
        done.store(true);
      });
      const Measured measured =
          open_loop(kOpenLoopRate, 0, GetOp(*kv, space_, uniform_), [&] { return done.load(); });
      compactor.join();
      if (has_compaction) report_.row("read_beside_compaction", kv->name(), measured);
    }
    gets("_compacted");
  }

  // Start-up with the base on disk, and private memory once open and read from, each in a process
  // of its own.
  void starts() {
    for (auto& kv : engines_) {
      if (const auto opened = run_child("open", kv->name(), dir_of(*kv), 100'000)) {
        report_.fact("start_ms", kv->name(), opened->ms);
        report_.fact("private_mib", kv->name(), opened->private_mib);
      }
    }
  }

  // How fast a log of small records that was left by a killed process is replayed.
  void replays() {
    const uint64_t records = std::min<uint64_t>(n_, 4'000'000) / kReplayBatch * kReplayBatch;
    for (auto& kv : engines_) {
      if (!kv->has_log()) continue;
      const std::string dir = dir_of(*kv) + "-replay";
      static_cast<void>(run_child("fill", kv->name(), dir, records));
      if (const auto opened = run_child("replay", kv->name(), dir, 0)) {
        report_.fact("replay_records_per_s", kv->name(),
                     static_cast<double>(records) * 1000 / opened->ms);
      }
    }
  }

  const uint64_t n_;
  const double secs_;
  const std::string root_;
  Report report_;
  const Keys keys_;
  Workspace space_;
  Stream uniform_;
  Stream zipfian_;
  Stream upserts_;
  std::vector<std::unique_ptr<Kv>> engines_;
};

int child(const std::string& task, const std::string& engine, const std::string& dir,
          const std::string& count) {
  for (auto& kv : all_engines()) {
    if (engine == kv->name()) return child_main(*kv, task, dir, number_of(count));
  }
  return 2;
}

}  // namespace
}  // namespace kyro::bench

int main(int argc, char** argv) {
  using namespace kyro::bench;
  kyro::log_config().level = kyro::LogLevel::kWarn;
  if (argc == 6 && std::string_view(argv[1]) == "--child") {
    return child(argv[2], argv[3], argv[4], argv[5]);
  }
  std::filesystem::create_directories(setting("KYRO_BENCH_OUT", "bench/out"));
  std::printf("# n=%s secs=%s value=%s, %ld cores, %.1f GiB; compiler: %s; commit: %s\n",
              setting("KYRO_BENCH_N", "10M").c_str(), setting("KYRO_BENCH_SECS", "1").c_str(),
              setting("KYRO_BENCH_VALUE", "64").c_str(), sysconf(_SC_NPROCESSORS_ONLN),
              static_cast<double>(sysconf(_SC_PHYS_PAGES)) * 4096 / 0x1p30, __VERSION__,
              KYRO_COMMIT);
  Bench().run();
  return 0;
}
