// The index benchmark: the learned index beside std::map, absl::btree_map, absl::flat_hash_map,
// binary search and a classic two-layer RMI, in process, over the data sets of datasets.h.
//
// Environment:
//   KYRO_BENCH_N        keys, one number or a list (10000000; K and M are understood)
//   KYRO_BENCH_DIST     distributions, a list or "all" (all)
//   KYRO_BENCH_INDEX    structures, a list or "all" (all): rmi,btree,hash,map,binary,rmi_classic
//   KYRO_BENCH_MISS     share of absent keys in the streams of hit_ns, dep_ns and batch_ns (0)
//   KYRO_BENCH_PAGES    4k, huge or both (both)
//   KYRO_BENCH_QUERIES  lookups per pass (2000000)
//   KYRO_BENCH_PASSES   passes over them, after a warm-up (3)
//   KYRO_BENCH_SECS     when that takes longer, seconds for the structures of one distribution, n
//                       and page size that live side by side (10); five rounds at least
//   KYRO_BENCH_OUT      where slices_index.csv goes (bench/out)
//   KYRODB_RMI_TARGET_LEAF, KYRODB_RMI_EPS_MULT  options of the learned index
//
// Every (distribution, n, pages) runs in a process of its own, so that one page size holds for all
// memory: "huge" re-executes with glibc.malloc.hugetlb=1 and madvises the index; "4k" forbids
// transparent huge pages. As many structures as fit into half of the memory live side by side and
// are measured in slices in turn (at 100 M keys in 24 GiB the first three); the next ones are built
// when those are freed. One that does not fit alone is left out. What becomes of the slices:
// bench/slices.h.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/candidates.h"
#include "bench/datasets.h"
#include "bench/settings.h"
#include "bench/slices.h"

namespace kyro::bench {
namespace {

constexpr size_t kSliceQueries = 250'000;  // long enough that a model is back in the caches
constexpr size_t kRoundsMin = 5;

// A key that is not in `keys`: inside a random gap, or outside the range where there is no gap.
uint64_t absent_key(const Keys& keys, Random& random) {
  for (int attempt = 0; attempt < 64; ++attempt) {
    const size_t i = random.below(keys.size() - 1);
    const uint64_t gap = keys[i + 1] - keys[i];
    if (gap > 1) return keys[i] + 1 + random.below(gap - 1);
  }
  return keys.back() + 1 + random.below(keys.size());
}

struct Streams {
  std::vector<uint64_t> hits;
  std::vector<uint64_t> misses;
};

Streams make_streams(const Keys& keys, size_t queries, double miss_share, uint64_t seed) {
  Random random(seed);
  Streams streams;
  streams.hits.resize(queries);
  streams.misses.resize(queries);
  for (uint64_t& key : streams.hits) {
    key = random.real() <= miss_share ? absent_key(keys, random) : keys[random.below(keys.size())];
  }
  for (uint64_t& key : streams.misses) key = absent_key(keys, random);
  return streams;
}

struct Run {
  std::string distribution;
  size_t n;
  std::string pages;
  std::string out;
  size_t passes;
  double secs;

  [[nodiscard]] std::string row() const {
    return distribution + "_" + std::to_string(n) + "_" + pages;
  }
};

Side side_of(const Candidate& candidate) {
  return std::string_view(candidate.name()) == "rmi" ? Side::kOurs : Side::kPeer;
}

// What a competitor has once, beside what is measured in rounds.
void report_once(SliceLog& log, const Run& run, const Candidate& candidate, const char* metric,
                 double value) {
  log.add(run.row(), metric, side_of(candidate), candidate.name(), 0, value);
}

// Every kind of lookup over the keys from `from` on; a sixth of them first, to warm up untimed.
void measure_slice(SliceLog& log, const Run& run, Candidate& candidate, const Streams& streams,
                   size_t round) {
  const size_t slice = std::min(streams.hits.size(), kSliceQueries);
  const size_t from = round % (streams.hits.size() / slice) * slice;
  const uint64_t* hits = streams.hits.data() + from;
  const uint64_t* misses = streams.misses.data() + from;
  const size_t n = std::max<size_t>(6, slice / candidate.share());
  const size_t warm = n / 6;
  const auto timed = [&](const char* metric, Kind kind, const uint64_t* keys) {
    candidate.pass(kind, keys, warm);
    const double ns = candidate.pass(kind, keys + warm, n - warm);
    log.add(run.row(), metric, side_of(candidate), candidate.name(), round, ns);
  };
  timed("hit_ns", Kind::kIndependent, hits);
  timed("dep_ns", Kind::kDependent, hits);
  timed("miss_ns", Kind::kIndependent, misses);
  if (candidate.has_batch()) timed("batch_ns", Kind::kBatch, hits);
}

// Depth, worst and mean probe of the learned index.
void report_shape(SliceLog& log, const Run& run, const Candidate& candidate,
                  const Streams& streams) {
  const Shape shape = candidate.shape(streams.hits);
  if (shape.depth == 0) return;
  report_once(log, run, candidate, "depth", shape.depth);
  report_once(log, run, candidate, "epsilon_max", shape.epsilon_max);
  report_once(log, run, candidate, "mean_probe", shape.mean_probe);
  report_once(log, run, candidate, "leaves", static_cast<double>(shape.leaves));
  report_once(log, run, candidate, "nodes", static_cast<double>(shape.nodes));
  report_once(log, run, candidate, "model_bytes_per_key", shape.model_bytes_per_key);
}

void build_one(SliceLog& log, const Run& run, Candidate& candidate, const Keys& keys) {
  const size_t before = heap_bytes();
  candidate.build(keys);
  const size_t own = candidate.own_bytes();
  const auto bytes = static_cast<double>(own != 0 ? own : heap_bytes() - before);
  if (candidate.build_s() > 0) report_once(log, run, candidate, "build_s", candidate.build_s());
  report_once(log, run, candidate, "bytes_per_key", bytes / static_cast<double>(keys.size()));
}

// Rounds over some candidates, a slice of each: as many as the passes over the streams have, or
// until the time is over, but five at least. Who begins changes from round to round. A round before
// them is dropped.
void measure(SliceLog& log, const Run& run, const Streams& streams,
             std::span<std::unique_ptr<Candidate>> candidates) {
  const size_t slice = std::min(streams.hits.size(), kSliceQueries);
  for (auto& candidate : candidates) {
    candidate->pass(Kind::kIndependent, streams.hits.data(), slice / candidate->share());
  }
  const size_t rounds_max = std::max(kRoundsMin, run.passes * (streams.hits.size() / slice));
  const double end_s = seconds_now() + run.secs;
  for (size_t round = 0; round < rounds_max; ++round) {
    if (round >= kRoundsMin && seconds_now() > end_s) break;
    for (size_t i = 0; i < candidates.size(); ++i) {
      measure_slice(log, run, *candidates[(i + round) % candidates.size()], streams, round);
    }
  }
  for (const auto& candidate : candidates) report_shape(log, run, *candidate, streams);
}

// Half of the memory, which structures may take.
size_t room_bytes() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * 4096 / 2;
}

// How many of them, from the first on, may live side by side; each fits alone.
size_t count_together(std::span<const std::unique_ptr<Candidate>> candidates, size_t keys) {
  size_t bytes = 0;
  size_t count = 0;
  while (count < candidates.size()) {
    bytes += candidates[count]->bytes_per_key_max() * keys;
    if (bytes > room_bytes()) break;
    ++count;
  }
  return count;
}

void run_one(const Run& run, const std::vector<std::string>& names) {
  const Keys keys = make_keys(run.distribution, run.n, 42);
  if (keys.size() != run.n || run.n < 2) {
    std::fprintf(stderr, "no data for distribution %s, n=%zu\n", run.distribution.c_str(), run.n);
    std::exit(2);
  }
  const size_t queries = std::max<size_t>(6, number_setting("KYRO_BENCH_QUERIES", "2M"));
  const double miss_share = real_setting("KYRO_BENCH_MISS", "0");
  const Streams streams = make_streams(keys, queries, miss_share, 43);
  auto candidates = make_candidates(run.pages == "huge");
  std::erase_if(candidates, [&](const auto& c) { return !contains(names, c->name()); });
  std::erase_if(candidates, [&](const auto& c) {
    const bool fits = c->bytes_per_key_max() * run.n <= room_bytes();
    if (!fits) std::printf("# %s of %zu keys: too large for this machine\n", c->name(), run.n);
    return !fits;
  });
  SliceLog log("index", run.out, false);
  for (size_t from = 0; from < candidates.size();) {
    const size_t together = count_together(std::span(candidates).subspan(from), run.n);
    for (size_t i = from; i < from + together; ++i) build_one(log, run, *candidates[i], keys);
    measure(log, run, streams, std::span(candidates).subspan(from, together));
    for (size_t i = from; i < from + together; ++i) candidates[i]->clear();
    from += together;
  }
  log.print();
}

int run_child(const char* self, const Run& run) {
  const pid_t child = fork();
  if (child == 0) {
    if (run.pages == "huge") {
      setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1);
    } else {
      unsetenv("GLIBC_TUNABLES");
      prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
    const std::string n = std::to_string(run.n);
    execl(self, self, "--one", run.distribution.c_str(), n.c_str(), run.pages.c_str(), nullptr);
    _exit(127);
  }
  int state = 0;
  if (child < 0 || waitpid(child, &state, 0) < 0) return 1;
  return WIFEXITED(state) ? WEXITSTATUS(state) : 1;
}

void print_settings() {
  print_machine();
  std::printf("# n=%s dist=%s miss=%s queries=%s passes=%s secs=%s\n",
              setting("KYRO_BENCH_N", "10000000").c_str(),
              setting("KYRO_BENCH_DIST", "all").c_str(), setting("KYRO_BENCH_MISS", "0").c_str(),
              setting("KYRO_BENCH_QUERIES", "2M").c_str(),
              setting("KYRO_BENCH_PASSES", "3").c_str(), setting("KYRO_BENCH_SECS", "10").c_str());
  if (!KYRO_BENCH_HAS_ABSL) std::printf("# absl is not installed: no btree, no hash\n");
  std::fflush(stdout);
}

int run_all(const char* self, const std::string& out) {
  const std::vector<std::string> dists = list_of(setting("KYRO_BENCH_DIST", "all"));
  const std::string pages = setting("KYRO_BENCH_PAGES", "both");
  std::filesystem::create_directories(out);
  SliceLog("index", out, true);  // the processes append
  print_settings();
  for (const std::string& n : list_of(setting("KYRO_BENCH_N", "10000000"))) {
    for (const std::string_view dist : kDistributions) {
      if (!contains(dists, dist)) continue;
      for (const char* page : {"4k", "huge"}) {
        if (pages != "both" && pages != page) continue;
        const int code = run_child(self, {std::string(dist), number_of(n), page, out, 0, 0});
        if (code != 0) return code;
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace kyro::bench

int main(int argc, char** argv) {
  using namespace kyro::bench;
  const std::string out = setting("KYRO_BENCH_OUT", "bench/out");
  if (argc == 5 && std::strcmp(argv[1], "--one") == 0) {
    const Run run{argv[2],
                  number_of(argv[3]),
                  argv[4],
                  out,
                  std::max<size_t>(1, number_setting("KYRO_BENCH_PASSES", "3")),
                  real_setting("KYRO_BENCH_SECS", "10")};
    run_one(run, list_of(setting("KYRO_BENCH_INDEX", "all")));
    return 0;
  }
  return run_all("/proc/self/exe", out);
}
