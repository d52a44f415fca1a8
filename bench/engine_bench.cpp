// The engine benchmark: KyroDB embedded beside LMDB, RocksDB and LevelDB, in one process and one
// run, with the same data, the same loops, the same durability and the same memory for writes.
//
// The engines take turns, a short slice each (bench/slices.h); who begins changes from round to
// round.
//
// Environment:
//   KYRO_BENCH_N        keys of the base (10000000; K and M are understood)
//   KYRO_BENCH_SECS     seconds for each row of each engine (1), in so many slices:
//   KYRO_BENCH_SLICES   (10)
//   KYRO_BENCH_LOADS    how often the base is loaded, and loaded in bulk, from nothing (3)
//   KYRO_BENCH_ONLY     groups, a list or "all": bulk_load get multi_get scan delta put ycsb upsert
//                       compaction start replay (the base is always loaded)
//   KYRO_BENCH_ENGINES  a list or "all": kyro lmdb rocksdb leveldb
//   KYRO_BENCH_VALUE    bytes of a value (64)
//   KYRO_BENCH_UPSERTS  random overwrites of group upsert (half of N), for at most 20 rows' time
//   KYRO_BENCH_DIR      where the stores are made and removed (build/bench/engine-data)
//   KYRO_BENCH_OUT      where slices_engine.csv goes (bench/out)
//
// The data sets are uniform random keys; read rows read keys that are there.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
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
#include "bench/engines.h"
#include "bench/kv.h"
#include "bench/settings.h"

namespace kyro::bench {
namespace {

constexpr size_t kStreamKeys = 2'000'000;
constexpr size_t kScanLimit = 100;
constexpr size_t kMultiGetKeys = 100;
constexpr double kOpenLoopRate = 20'000;

// How the slices of a row are measured.
struct Shape {
  size_t threads = 1;
  uint32_t timed_every = 1;
  double weight = 1;            // an operation counts as so many
  bool is_warmed = false;       // by an eighth of the slice before it, untimed
  bool needs_interval = false;  // only for engines that can sync now and then
};
constexpr Shape kReads{1, 32, 1, true};

// Whose turn it is.
struct Turn {
  Kv& kv;
  size_t engine;
  size_t thread;
  size_t worker;  // another number for every thread of every slice
};

class Bench {
 public:
  Bench()
      : n_(number_setting("KYRO_BENCH_N", "10M")),
        secs_(real_setting("KYRO_BENCH_SECS", "1")),
        slices_(std::max<size_t>(1, number_setting("KYRO_BENCH_SLICES", "10"))),
        loads_(std::max<size_t>(1, number_setting("KYRO_BENCH_LOADS", "3"))),
        root_(setting("KYRO_BENCH_DIR", "build/bench/engine-data")),
        log_("engine", setting("KYRO_BENCH_OUT", "bench/out")),
        keys_(make_keys("uspr", n_, 42)),
        engines_(chosen_engines()) {
    space_ = {keys_, number_setting("KYRO_BENCH_VALUE", "64")};
    uniform_ = draw_keys(space_, kStreamKeys, false, 1);
    zipfian_ = draw_keys(space_, kStreamKeys, true, 2);
  }

  void run() {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    group("bulk_load", [this] { bulk_loads(); });
    loads();
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
    log_.print();
  }
  [[nodiscard]] std::string dir_of(const Kv& kv) const { return root_ + "/" + kv.name(); }

  void reopen(Durability durability) {
    for (auto& kv : engines_) {
      kv->close();
      kv->open(dir_of(*kv), durability, kDefaultBufferBytes);
    }
  }

  // Calls visit(engine, round), one engine after the other, round after round.
  template <class Visit>
  void take_turns(size_t rounds, Visit visit) {
    for (size_t round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < engines_.size(); ++i) visit((i + round) % engines_.size(), round);
    }
  }

  // A row of rates: make(Turn) -> op. They count single operations: keys, not batches. What a slice
  // leaves to do in the background is waited for before the next.
  template <class Make>
  void row(const std::string& name, const Shape& shape, Make make) {
    std::vector<LatencyHistogram> all(engines_.size());
    std::vector<uint64_t> next(engines_.size());
    const double slice_secs = secs_ / static_cast<double>(slices_);
    take_turns(slices_, [&](size_t engine, size_t round) {
      Kv& kv = *engines_[engine];
      if (shape.needs_interval && !kv.has_interval()) return;
      const auto loop = [&](double secs) {
        Measured measured = closed_loop(
            shape.threads, secs, shape.timed_every, shape.weight, next[engine], [&](size_t thread) {
              return make(Turn{kv, engine, thread, round * shape.threads + thread});
            });
        next[engine] = measured.next;
        return measured;
      };
      if (shape.is_warmed) loop(slice_secs / 8);
      const Measured measured = loop(slice_secs);
      log_.add_rate(name, kv, round, measured);
      all[engine].merge(measured.latency_ns);
      kv.wait_for_background();
    });
    add_tails(name, all);
  }
  void add_tails(const std::string& name, const std::vector<LatencyHistogram>& all) {
    for (size_t i = 0; i < engines_.size(); ++i) {
      if (all[i].count() > 0) log_.add_tail(name, *engines_[i], all[i]);
    }
    log_.print();
  }

  // Latency at a fixed rate.
  template <class MakeSlice>
  void latency_row(const std::string& name, MakeSlice measure_slice) {
    std::vector<LatencyHistogram> all(engines_.size());
    take_turns(slices_, [&](size_t engine, size_t round) {
      const Measured measured =
          measure_slice(*engines_[engine], secs_ * 2 / static_cast<double>(slices_));
      log_.add_latency(name, *engines_[engine], round, measured);
      all[engine].merge(measured.latency_ns);
    });
    add_tails(name, all);
  }

  // New stores out of sorted input by the way that an engine has for it, durable at the end.
  void bulk_loads() {
    take_turns(loads_, [&](size_t engine, size_t round) {
      Kv& kv = *engines_[engine];
      const uint64_t began_ns = monotonic_ns();
      if (!kv.bulk_load(dir_of(kv), keys_, space_.value_bytes)) return;
      log_.add("bulk_load", "per_s", kv, round, per_second(n_, began_ns));
      std::filesystem::remove_all(dir_of(kv));
    });
  }

  // Loads the base in key order, in batches; in the end every engine rewrites it into its best
  // shape.
  void loads() {
    take_turns(loads_, [&](size_t engine, size_t round) {
      Kv& kv = *engines_[engine];
      kv.open(dir_of(kv), Durability::kNever, kDefaultBufferBytes);
      log_.add_rate("load", kv, round, load_in_batches(kv, keys_, space_.value_bytes));
      if (round + 1 == loads_) {
        kv.compact();
        kv.wait_for_background();
      } else {
        kv.close();
        std::filesystem::remove_all(dir_of(kv));
      }
    });
    log_.print();
  }

  void gets(const std::string& suffix) {
    row("get" + suffix, kReads, [&](Turn turn) { return GetOp(turn.kv, space_, uniform_); });
    if (!suffix.empty()) return;
    row("get_zipf", kReads, [&](Turn turn) { return GetOp(turn.kv, space_, zipfian_); });
    row("get_miss", kReads, [&](Turn turn) { return MissOp(turn.kv); });
  }

  void multi_gets() {
    row("multi_get_100", {1, 1, kMultiGetKeys, true},
        [&](Turn turn) { return MultiGetOp(turn.kv, space_, uniform_, kMultiGetKeys); });
  }

  void scans() {
    row("scan_100", {1, 1, 1, true},
        [&](Turn turn) { return ScanOp(turn.kv, space_, uniform_, kScanLimit); });
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
      put_row("put_always_" + std::to_string(threads), threads);
    }
    batch_row("put_always_batch_100");
    reopen(Durability::kInterval);
    interval_row();
    reopen(Durability::kNever);
    for (const size_t threads : {size_t{1}, size_t{64}}) {
      put_row("put_never_" + std::to_string(threads), threads);
    }
    batch_row("put_never_batch_100");
  }
  void put_row(const std::string& name, size_t threads) {
    row(name, {threads, 1, 1, false},
        [&](Turn turn) { return PutOp(turn.kv, space_, uniform_, turn.thread); });
  }
  void batch_row(const std::string& name) {
    row(name, {1, 1, kMultiGetKeys, false},
        [&](Turn turn) { return PutBatchOp(turn.kv, space_, uniform_, kMultiGetKeys); });
  }
  // Engines without an interval of their own are synced every 100 ms by a thread.
  void interval_row() {
    std::atomic<bool> stop{false};
    std::thread ticker([&] {
      while (!stop.load()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        for (auto& kv : engines_) kv->sync();
      }
    });
    row("put_interval_1", {1, 1, 1, false, true},
        [&](Turn turn) { return PutOp(turn.kv, space_, uniform_, turn.thread); });
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
          std::deque<YcsbOp::Inserted> inserted(engines_.size());
          const bool is_read_mostly = workload == 'c' || workload == 'b';
          row(std::string("ycsb_") + workload + (zipfian ? "_zipf_" : "_uniform_") + setup.name,
              {setup.threads, is_read_mostly ? 16u : 1u, 1, false}, [&](Turn turn) {
                return YcsbOp(turn.kv, space_, zipfian ? zipfian_ : uniform_, workload, zipfian,
                              turn.worker, inserted[turn.engine]);
              });
        }
      }
    }
  }

  // Write amplification: bytes written for random overwrites of the base, the log included, by the
  // engine's own count per byte of its records, and by the kernel's per byte of key and value.
  void upserts() {
    reopen(Durability::kNever);
    const uint64_t count = number_setting("KYRO_BENCH_UPSERTS", std::to_string(n_ / 2).c_str());
    for (auto& kv : engines_) {
      kv->wait_for_background();
      static_cast<void>(kv->sync());  // what is dirty already would not count
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
      measured.ops_per_s = per_second(done, began_ns);
      kv->wait_for_background();
      static_cast<void>(kv->sync());
      log_.add_rate("upsert_batch_100", *kv, 0, measured);
      log_.add_tail("upsert_batch_100", *kv, measured.latency_ns);
      const uint64_t own = kv->bytes_written() - own_before;
      if (own > 0) {
        const auto bytes = static_cast<double>(kv->record_bytes(space_.value_bytes));
        log_.add("write_amplification", "written_per_record_byte", *kv, 0,
                 static_cast<double>(own) / (records * bytes));
      }
      const uint64_t disk = proc_number("/proc/self/io", "write_bytes:") - disk_before;
      const auto bytes = static_cast<double>(space_.value_bytes + 8);
      log_.add("write_amplification", "disk_per_user_byte", *kv, 0,
               static_cast<double>(disk) / (records * bytes));
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
    latency_row("read_quiet", [&](Kv& kv, double secs) {
      GetOp get(kv, space_, uniform_);
      open_loop(kOpenLoopRate, secs / 4, get, never);  // warm
      return open_loop(kOpenLoopRate, secs, get, never);
    });
    latency_row("read_beside_puts", [&](Kv& kv, double secs) {
      std::atomic<bool> stop{false};
      std::thread writer([&] {
        PutOp put(kv, space_, uniform_, 1);
        for (uint64_t i = 0; !stop.load(); ++i) put(i);
      });
      const Measured measured = open_loop(kOpenLoopRate, secs, GetOp(kv, space_, uniform_), never);
      stop.store(true);
      writer.join();
      return measured;
    });
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
      if (!has_compaction) continue;
      log_.add_latency("read_beside_compaction", *kv, 0, measured);
      log_.add_tail("read_beside_compaction", *kv, measured.latency_ns);
    }
    gets("_compacted");
  }

  // Start-up with the base on disk, and private memory once open and read from, each in a process
  // of its own.
  void starts() {
    for (auto& kv : engines_) {
      if (const auto opened = run_child("open", kv->name(), dir_of(*kv), 100'000)) {
        log_.add("start", "start_ms", *kv, 0, opened->ms);
        log_.add("start", "private_mib", *kv, 0, opened->private_mib);
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
        log_.add("replay", "per_s", *kv, 0, static_cast<double>(records) * 1000 / opened->ms);
      }
    }
  }

  const uint64_t n_;
  const double secs_;
  const size_t slices_;
  const size_t loads_;
  const std::string root_;
  EngineLog log_;
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
  print_machine();
  std::printf("# n=%s secs=%s value=%s\n", setting("KYRO_BENCH_N", "10M").c_str(),
              setting("KYRO_BENCH_SECS", "1").c_str(), setting("KYRO_BENCH_VALUE", "64").c_str());
  Bench().run();
  return 0;
}
