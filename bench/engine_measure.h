// Loops that measure an operation, and the slices they give.
//
//   closed loop   each thread does the next operation when the last one is done
//   open loop     operations are due at a fixed rate; latency counts from when one was due, so that
//                 an engine that stops answering is charged for all that waited (no coordinated
//                 omission)
//
// Times are nanoseconds of the monotonic clock. Operations faster than the clock is cheap are timed
// only now and then (`timed_every`).
#pragma once

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/kv.h"
#include "bench/slices.h"
#include "kyro/base/clock.h"
#include "kyro/base/latency_histogram.h"

namespace kyro::bench {

struct Measured {
  double ops_per_s = 0;
  LatencyHistogram latency_ns;
  uint64_t next = 0;  // the first operation that no thread has done
};

// Runs make(thread) -> op, and op(i) for i = first, first + 1, … in each of `threads` threads for
// `secs`. An operation that counts as several says so by `weight`.
template <class Make>
Measured closed_loop(size_t threads, double secs, uint32_t timed_every, double weight,
                     uint64_t first, Make make) {
  std::vector<LatencyHistogram> latencies(threads);
  std::vector<uint64_t> done(threads);
  std::atomic<size_t> waiting{threads};
  std::atomic<uint64_t> last_end_ns{0};
  std::atomic<uint64_t> first_begin_ns{~uint64_t{0}};
  const auto body = [&](size_t thread) {
    auto op = make(thread);
    waiting.fetch_sub(1);
    while (waiting.load() > 0) std::this_thread::yield();
    const uint64_t begin_ns = monotonic_ns();
    const uint64_t deadline_ns = begin_ns + static_cast<uint64_t>(secs * 1e9);
    uint64_t now_ns = begin_ns;
    uint64_t i = first;
    while (now_ns < deadline_ns) {
      const uint64_t from_ns = monotonic_ns();
      op(i++);
      now_ns = monotonic_ns();
      latencies[thread].record(now_ns - from_ns);
      for (uint32_t k = 1; k < timed_every; ++k) op(i++);
    }
    now_ns = monotonic_ns();
    done[thread] = i;
    for (uint64_t seen = last_end_ns.load(); seen < now_ns;) {
      if (last_end_ns.compare_exchange_weak(seen, now_ns)) break;
    }
    for (uint64_t seen = first_begin_ns.load(); seen > begin_ns;) {
      if (first_begin_ns.compare_exchange_weak(seen, begin_ns)) break;
    }
  };
  std::vector<std::thread> pool;
  for (size_t t = 1; t < threads; ++t) pool.emplace_back(body, t);
  body(0);
  for (std::thread& thread : pool) thread.join();
  Measured out;
  uint64_t total = 0;
  for (size_t t = 0; t < threads; ++t) {
    out.latency_ns.merge(latencies[t]);
    out.next = std::max(out.next, done[t]);
    total += done[t] - first;
  }
  out.ops_per_s = static_cast<double>(total) * weight * 1e9 /
                  static_cast<double>(last_end_ns.load() - first_begin_ns.load());
  return out;
}

// One thread, `rate` operations a second, for at least `secs` and until `stop()`.
template <class Op, class Stop>
Measured open_loop(double rate, double secs, Op op, Stop stop) {
  Measured out;
  const double period_ns = 1e9 / rate;
  const uint64_t begin_ns = monotonic_ns();
  const auto least = static_cast<uint64_t>(secs * rate);
  uint64_t i = 0;
  for (; i < least || !stop(); ++i) {
    const uint64_t due_ns = begin_ns + static_cast<uint64_t>(static_cast<double>(i) * period_ns);
    while (monotonic_ns() < due_ns) {
    }
    op(i);
    out.latency_ns.record(monotonic_ns() - due_ns);
  }
  out.ops_per_s = static_cast<double>(i) * 1e9 / static_cast<double>(monotonic_ns() - begin_ns);
  return out;
}

// The slices of engines, and what is measured over all slices of a row: a stall of one slice would
// vanish in a median of slices, so the far tail is taken from all of them together.
class EngineLog {
 public:
  EngineLog(const char* suite, const std::string& dir) : log_(suite, dir, true) {}

  void add(const std::string& row, const char* metric, const Kv& kv, size_t round, double value) {
    log_.add(row, metric, side_of(kv), kv.name(), round, value);
  }
  void add_latency(const std::string& row, const Kv& kv, size_t round, const Measured& measured) {
    add(row, "p50_us", kv, round, micros(measured.latency_ns, 0.5));
    add(row, "p99_us", kv, round, micros(measured.latency_ns, 0.99));
  }
  void add_rate(const std::string& row, const Kv& kv, size_t round, const Measured& measured) {
    add(row, "per_s", kv, round, measured.ops_per_s);
    add_latency(row, kv, round, measured);
  }
  void add_tail(const std::string& row, const Kv& kv, const LatencyHistogram& of_all_slices) {
    add(row, "p999_us", kv, 0, micros(of_all_slices, 0.999));
  }
  // A bound that is no engine.
  void add_limit(const std::string& row, const char* metric, const char* name, size_t round,
                 double value) {
    log_.add(row, metric, Side::kLimit, name, round, value);
  }
  void print() { log_.print(); }

 private:
  static Side side_of(const Kv& kv) {
    return std::string_view(kv.name()) == "kyro" ? Side::kOurs : Side::kPeer;
  }
  static double micros(const LatencyHistogram& latency_ns, double share) {
    return static_cast<double>(latency_ns.quantile(share)) / 1000;
  }

  SliceLog log_;
};

inline double per_second(uint64_t count, uint64_t began_ns) {
  return static_cast<double>(count) * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
}

// Puts `keys`, which ascend, each with the value that follows from it, in batches of 1000.
inline Measured load_in_batches(Kv& kv, std::span<const uint64_t> keys, size_t value_bytes) {
  constexpr size_t kBatch = 1000;
  std::vector<std::string> values(kBatch, std::string(value_bytes, '\0'));
  Measured measured;
  const uint64_t began_ns = monotonic_ns();
  for (size_t at = 0; at < keys.size(); at += kBatch) {
    const auto batch = keys.subspan(at, std::min(kBatch, keys.size() - at));
    for (size_t i = 0; i < batch.size(); ++i) fill_value(batch[i], &values[i]);
    const uint64_t from_ns = monotonic_ns();
    kv.put_batch(batch, std::span(values).first(batch.size()));
    measured.latency_ns.record(monotonic_ns() - from_ns);
  }
  measured.ops_per_s = per_second(keys.size(), began_ns);
  return measured;
}

}  // namespace kyro::bench
