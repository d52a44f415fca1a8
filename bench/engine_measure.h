// Loops that measure an operation, and the rows they give.
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
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/latency_histogram.h"

namespace kyro::bench {

struct Measured {
  double ops_per_s = 0;
  LatencyHistogram latency_ns;
};

// Runs make(thread) -> op, and op(i) for i = 0, 1, … in each of `threads` threads for `secs`.
// An operation that counts as several says so by `weight`.
template <class Make>
Measured closed_loop(size_t threads, double secs, uint32_t timed_every, double weight, Make make) {
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
    uint64_t i = 0;
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
    total += done[t];
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

// Prints rows and keeps them as CSV.
class Report {
 public:
  Report(const std::string& dir, uint64_t n)
      : rows_(std::fopen((dir + "/engine.csv").c_str(), "w")),
        facts_(std::fopen((dir + "/engine_facts.csv").c_str(), "w")),
        n_(n) {
    if (rows_ != nullptr) std::fputs("bench,engine,n,ops_s,p50_us,p99_us,p999_us\n", rows_);
    if (facts_ != nullptr) std::fputs("fact,engine,n,value\n", facts_);
  }
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;
  ~Report() {
    if (rows_ != nullptr) std::fclose(rows_);
    if (facts_ != nullptr) std::fclose(facts_);
  }

  void row(const std::string& bench, const char* engine, const Measured& measured) {
    const auto us = [&](double q) {
      return static_cast<double>(measured.latency_ns.quantile(q)) / 1000;
    };
    const auto n = static_cast<unsigned long long>(n_);
    std::printf(
        "RESULT bench=%s engine=%s n=%llu ops_s=%.0f p50_us=%.3f p99_us=%.3f p999_us=%.3f\n",
        bench.c_str(), engine, n, measured.ops_per_s, us(0.5), us(0.99), us(0.999));
    std::fflush(stdout);
    if (rows_ == nullptr) return;
    std::fprintf(rows_, "%s,%s,%llu,%.0f,%.3f,%.3f,%.3f\n", bench.c_str(), engine, n,
                 measured.ops_per_s, us(0.5), us(0.99), us(0.999));
    std::fflush(rows_);
  }

  // A number that is no rate: FACT <what> engine=… n=… value=….
  void fact(const std::string& what, const std::string& engine, double value) {
    const auto n = static_cast<unsigned long long>(n_);
    std::printf("FACT %s engine=%s n=%llu value=%.3f\n", what.c_str(), engine.c_str(), n, value);
    std::fflush(stdout);
    if (facts_ == nullptr) return;
    std::fprintf(facts_, "%s,%s,%llu,%.3f\n", what.c_str(), engine.c_str(), n, value);
    std::fflush(facts_);
  }

 private:
  FILE* rows_;
  FILE* facts_;
  const uint64_t n_;
};

}  // namespace kyro::bench
