// Data several times as large as memory: KyroDB, LMDB and RocksDB, each in a process of its own
// under a memory limit of its own, pages of files included. The processes take turns, a short slice
// each (bench/slices.h); what one reads does not push out what another has read.
//
// Environment:
//   KYRO_BENCH_N        keys (5000000; K and M are understood), bulk loaded
//   KYRO_BENCH_VALUE    bytes of a value (64)
//   KYRO_BENCH_TIMES    how often records with 32 bytes for each beside its value fill the memory
//                       (3.5)
//   KYRO_BENCH_SECS     seconds for each row of each engine (2), after as many to fill the memory,
//   KYRO_BENCH_SLICES   in so many slices (8)
//   KYRO_BENCH_ENGINES  a list or "all": kyro lmdb rocksdb
//   KYRO_BENCH_DIR      where the stores are made and removed (build/bench/memory-data)
//   KYRO_BENCH_OUT      where slices_memory.csv goes (bench/out)
//
// pages_read_per_get are bytes that the process had the disk read (/proc/self/io) in pages of
// 4 KiB. The range scan reads everything once, beside a sequential read of a plain file as large as
// our store, which is the disk's rate. Loads begin with nothing, in batches of 1000, each engine
// with an eighth of the memory as its buffer for writes. RocksDB's block cache has half of the
// memory; the rest is left to pages of its files. Nothing runs where no memory cgroup can be made:
// that takes root.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/datasets.h"
#include "bench/engine_child.h"
#include "bench/engine_measure.h"
#include "bench/engine_workloads.h"
#include "bench/engines.h"
#include "bench/page_cache.h"
#include "bench/settings.h"
#include "test/support/memory_cgroup.h"

namespace kyro::bench {
namespace {

constexpr size_t kStreamKeys = 2'000'000;
constexpr size_t kScanPiece = 50'000;
constexpr size_t kLoads = 2;
constexpr uint64_t kSmallBufferBytes = uint64_t{4} << 20;
constexpr size_t kPageBytes = 4096;

enum class Task : uint8_t { kGet, kGetZipf, kGetMiss, kScan, kLoad };

// What a process is told to do, and what it answers.
struct Order {
  Task task = Task::kGet;
  double secs = 0;     // of reads
  size_t first = 0;    // place in the stream, or in the keys
  size_t records = 0;  // of a scan
};
struct Report {
  double per_s = 0;
  double p50_us = 0;
  double p99_us = 0;
  double pages_read_per_op = 0;
  size_t next = 0;
};

template <class T>
bool read_whole(int fd, T* out) {
  return ::read(fd, out, sizeof *out) == static_cast<ssize_t>(sizeof *out);
}
template <class T>
bool write_whole(int fd, const T& value) {
  return ::write(fd, &value, sizeof value) == static_cast<ssize_t>(sizeof value);
}

// Runs `body` in a process of its own, which shares what this one has made so far.
pid_t fork_with(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  body();
  _exit(0);
}

struct Data {
  Keys keys;
  Workspace space;
  Stream uniform;
  Stream zipfian;
};

Report measure(Kv& kv, const Data& data, const Order& order) {
  const uint64_t before = proc_number("/proc/self/io", "read_bytes:");
  Report out;
  double operations = 0;
  if (order.task == Task::kLoad) {
    const Measured measured = load_in_batches(kv, data.keys, data.space.value_bytes);
    operations = static_cast<double>(data.keys.size());
    out.per_s = measured.ops_per_s;
    out.p99_us = static_cast<double>(measured.latency_ns.quantile(0.99)) / 1000;
  } else if (order.task == Task::kScan) {
    const uint64_t began_ns = monotonic_ns();
    std::string values;
    for (size_t done = 0; done < order.records; done += kScanPiece) {
      values.clear();
      const size_t limit = std::min(kScanPiece, order.records - done);
      const size_t found = kv.scan(data.keys[order.first + done], limit, &values);
      if (found != limit) give_up(kv.name(), "a scan ended too early");
    }
    operations = static_cast<double>(order.records);
    out.per_s = operations * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
  } else {
    const auto loop = [&](auto make) {
      return closed_loop(1, order.secs, 1, 1, order.first, [&](size_t) { return make(); });
    };
    const auto get = [&](const Stream& stream) {
      return loop([&] { return GetOp(kv, data.space, stream); });
    };
    const Measured measured = order.task == Task::kGet       ? get(data.uniform)
                              : order.task == Task::kGetZipf ? get(data.zipfian)
                                                             : loop([&] { return MissOp(kv); });
    operations = static_cast<double>(measured.next - order.first);
    out.per_s = measured.ops_per_s;
    out.p50_us = static_cast<double>(measured.latency_ns.quantile(0.5)) / 1000;
    out.p99_us = static_cast<double>(measured.latency_ns.quantile(0.99)) / 1000;
    out.next = measured.next;
  }
  const uint64_t read = proc_number("/proc/self/io", "read_bytes:") - before;
  out.pages_read_per_op = static_cast<double>(read) / kPageBytes / operations;
  return out;
}

// An engine in a process of its own under a limit. Ends with the scope.
class Worker {
 public:
  Worker(Kv& kv, const std::string& dir, const Data& data, uint64_t limit_bytes,
         uint64_t buffer_bytes = kSmallBufferBytes)
      : kv_(kv), cgroup_(limit_bytes, "bench-" + std::to_string(number_++)) {
    int orders[2], reports[2];
    if (!cgroup_.is_there() || pipe2(orders, O_CLOEXEC) != 0) return;
    if (pipe2(reports, O_CLOEXEC) != 0) return;
    pid_ = fork_with([&] {
      close(orders[1]);
      close(reports[0]);
      if (!cgroup_.enter()) _exit(1);
      kv_.set_cache_bytes(limit_bytes / 2);
      kv_.open(dir, Durability::kNever, buffer_bytes);
      for (Order order; read_whole(orders[0], &order);) {
        if (!write_whole(reports[1], measure(kv_, data, order))) _exit(1);
      }
      _exit(0);
    });
    close(orders[0]);
    close(reports[1]);
    orders_ = orders[1];
    reports_ = reports[0];
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    if (orders_ >= 0) close(orders_);
    if (reports_ >= 0) close(reports_);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] Kv& kv() const { return kv_; }
  [[nodiscard]] bool is_limited() const { return cgroup_.is_there(); }
  // Nothing from an engine that needed more memory than it may have.
  [[nodiscard]] std::optional<Report> ask(const Order& order) const {
    Report report;
    if (!write_whole(orders_, order) || !read_whole(reports_, &report)) return std::nullopt;
    return report;
  }

 private:
  static inline size_t number_ = 0;  // of the next

  Kv& kv_;
  const test::MemoryCgroup cgroup_;
  pid_t pid_ = -1;
  int orders_ = -1;
  int reports_ = -1;
};

class Bench {
 public:
  Bench()
      : n_(number_setting("KYRO_BENCH_N", "5M")),
        secs_(real_setting("KYRO_BENCH_SECS", "2")),
        slices_(std::max<size_t>(1, number_setting("KYRO_BENCH_SLICES", "8"))),
        root_(setting("KYRO_BENCH_DIR", "build/bench/memory-data")),
        log_("memory", setting("KYRO_BENCH_OUT", "bench/out")),
        engines_(chosen_engines()) {
    data_.keys = make_keys("uspr", n_, 42);
    data_.space = {data_.keys, number_setting("KYRO_BENCH_VALUE", "64")};
    data_.uniform = draw_keys(data_.space, kStreamKeys, false, 1);
    data_.zipfian = draw_keys(data_.space, kStreamKeys, true, 2);
    limit_bytes_ = static_cast<uint64_t>(static_cast<double>(n_ * (data_.space.value_bytes + 32)) /
                                         real_setting("KYRO_BENCH_TIMES", "3.5"));
  }

  int run() {
    print_machine();
    std::printf("# n=%zu, %.0f MiB for each engine\n", n_,
                static_cast<double>(limit_bytes_) / 0x1p20);
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    std::erase_if(engines_, [&](const auto& kv) { return !load(*kv); });
    const bool is_limited = open();
    if (is_limited) {
      load_row();
      get_row("get", Task::kGet);
      get_row("get_zipf", Task::kGetZipf);
      get_row("get_miss", Task::kGetMiss);
      end_workers();
      open();
      scan_row();
    } else {
      std::printf("no memory cgroup can be made here: nothing was measured\n");
    }
    end_workers();
    std::filesystem::remove_all(root_);
    return 0;
  }

 private:
  [[nodiscard]] std::string dir_of(const Kv& kv) const { return root_ + "/" + kv.name(); }

  bool load(Kv& kv) {
    const pid_t child = fork_with(
        [&] { _exit(kv.bulk_load(dir_of(kv), data_.keys, data_.space.value_bytes) ? 0 : 3); });
    int state = 0;
    if (child < 0 || waitpid(child, &state, 0) != child) return false;
    return WIFEXITED(state) && WEXITSTATUS(state) == 0;
  }

  // A process for each engine, with none of its store in memory.
  bool open() {
    for (auto& kv : engines_) {
      static_cast<void>(drop_page_cache(dir_of(*kv)));
      workers_.push_back(std::make_unique<Worker>(*kv, dir_of(*kv), data_, limit_bytes_));
      if (!workers_.back()->is_limited()) return false;
    }
    return true;
  }

  // The last one first: each holds the pipes of those before it, whose end tells them to end.
  void end_workers() {
    while (!workers_.empty()) workers_.pop_back();
  }

  [[nodiscard]] std::optional<Report> ask(const Worker& worker, const Order& order) const {
    const auto report = worker.ask(order);
    if (!report) give_up(worker.kv().name(), "it does not keep within its memory");
    return report;
  }

  // All keys in batches into a new store, by a process that has only this to do.
  void load_row() {
    for (size_t round = 0; round < kLoads; ++round) {
      for (size_t k = 0; k < engines_.size(); ++k) {
        Kv& kv = *engines_[(k + round) % engines_.size()];
        const std::string dir = dir_of(kv) + "-loaded";
        {
          const Worker worker(kv, dir, data_, limit_bytes_, limit_bytes_ / 8);
          const auto report = ask(worker, {Task::kLoad, 0, 0, 0});
          log_.add("load_in_batches", "per_s", kv, round, report->per_s);
          log_.add("load_in_batches", "p99_us", kv, round, report->p99_us);
        }
        std::filesystem::remove_all(dir);
      }
    }
    log_.print();
  }

  void get_row(const std::string& row, Task task) {
    std::vector<size_t> next(workers_.size());
    for (size_t i = 0; i < workers_.size(); ++i) {
      next[i] = ask(*workers_[i], {task, secs_, 0, 0})->next;  // fills the memory
    }
    for (size_t round = 0; round < slices_; ++round) {
      for (size_t k = 0; k < workers_.size(); ++k) {
        const size_t i = (k + round) % workers_.size();
        const Kv& kv = workers_[i]->kv();
        const auto report =
            ask(*workers_[i], {task, secs_ / static_cast<double>(slices_), next[i], 0});
        next[i] = report->next;
        log_.add(row, "per_s", kv, round, report->per_s);
        log_.add(row, "p50_us", kv, round, report->p50_us);
        log_.add(row, "p99_us", kv, round, report->p99_us);
        log_.add(row, "pages_read_per_get", kv, round, report->pages_read_per_op);
      }
    }
    log_.print();
  }

  // Everything once, a slice of the range after the other.
  void scan_row() {
    const std::string plain = root_ + "/plain";
    const uint64_t bytes = engines_.empty() ? 0 : write_plain(plain, dir_of(*engines_.front()));
    const size_t records = n_ / slices_;
    for (size_t round = 0; round < slices_; ++round) {
      log_.add_limit("range_scan", "per_s", "disk", round,
                     static_cast<double>(records) /
                         read_plain(plain, bytes / slices_ * round, bytes / slices_));
      for (auto& worker : workers_) {
        const auto report = ask(*worker, {Task::kScan, 0, round * records, records});
        log_.add("range_scan", "per_s", worker->kv(), round, report->per_s);
        log_.add("range_scan", "pages_read_per_get", worker->kv(), round,
                 report->pages_read_per_op);
      }
    }
    log_.print();
  }

  // A file as large as those of a store, not in memory; its bytes.
  static uint64_t write_plain(const std::string& path, const std::string& store) {
    uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(store)) {
      if (entry.is_regular_file()) bytes += entry.file_size();
    }
    const std::string block(1 << 20, 'x');
    FILE* file = std::fopen(path.c_str(), "w");
    for (uint64_t done = 0; file != nullptr && done < bytes; done += block.size()) {
      std::fwrite(block.data(), 1, block.size(), file);
    }
    if (file == nullptr || std::fclose(file) != 0) give_up("disk", "cannot write a file");
    CacheDrop drop;
    drop_file(path, &drop);
    return bytes;
  }
  // Seconds to read a part of it front to back.
  static double read_plain(const std::string& path, uint64_t from, uint64_t bytes) {
    std::string block(1 << 20, '\0');
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) give_up("disk", "cannot read a file");
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    const uint64_t began_ns = monotonic_ns();
    for (uint64_t done = 0; done < bytes;) {
      const size_t n = std::min<uint64_t>(block.size(), bytes - done);
      const ssize_t got = ::pread(fd, block.data(), n, static_cast<off_t>(from + done));
      if (got <= 0) give_up("disk", "cannot read a file");
      done += static_cast<uint64_t>(got);
    }
    const uint64_t took_ns = monotonic_ns() - began_ns;
    ::close(fd);
    return static_cast<double>(took_ns) / 1e9;
  }

  const size_t n_;
  const double secs_;
  const size_t slices_;
  const std::string root_;
  EngineLog log_;
  std::vector<std::unique_ptr<Kv>> engines_;
  Data data_;
  uint64_t limit_bytes_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace
}  // namespace kyro::bench

int main() {
  kyro::log_config().level = kyro::LogLevel::kWarn;
  std::filesystem::create_directories(kyro::bench::setting("KYRO_BENCH_OUT", "bench/out"));
  return kyro::bench::Bench().run();
}
