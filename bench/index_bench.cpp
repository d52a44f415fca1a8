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
//   KYRO_BENCH_PASSES   passes over them, after a warm-up (3); medians over slices
//   KYRO_BENCH_OUT      where index.csv, index_shape.csv and rmi_vs_btree.png go (bench/out)
//   KYRODB_RMI_TARGET_LEAF, KYRODB_RMI_EPS_MULT  options of the learned index
//
// Every (distribution, n, pages) runs in a process of its own, so that one page size holds for all
// memory: "huge" re-executes with glibc.malloc.hugetlb=1 and madvises the index; "4k" forbids
// transparent huge pages. As many structures as fit into half of the memory live side by side and
// are measured in slices in turn (at 100 M keys in 24 GiB the first three); the next ones are built
// when those are freed. A number is the median over the slices of all passes.
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

#ifndef KYRO_COMMIT
#define KYRO_COMMIT "unknown"
#endif

namespace kyro::bench {
namespace {

constexpr size_t kSliceQueries = 500'000;  // long enough that a model is back in the caches

std::string setting(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback;
}

std::vector<std::string> list_of(const std::string& text) {
  std::vector<std::string> parts;
  size_t from = 0;
  while (from <= text.size()) {
    const size_t comma = std::min(text.find_first_of(", ", from), text.size());
    if (comma > from) parts.push_back(text.substr(from, comma - from));
    from = comma + 1;
  }
  return parts;
}

size_t number_of(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const double unit = *end == 'M' ? 1e6 : *end == 'K' || *end == 'k' ? 1e3 : 1;
  return static_cast<size_t>(value * unit);
}

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), "all") != list.end() ||
         std::find(list.begin(), list.end(), name) != list.end();
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

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

struct Row {
  std::string name;
  std::vector<double> hit, dependent, miss, batch;
  double build_s = 0;
  double bytes_per_key = 0;
};

// Every kind of lookup over the keys from `from` on; a fifth of them first, to warm up untimed.
void measure_slice(Candidate& candidate, const Streams& streams, size_t from, size_t n, Row& row) {
  const uint64_t* hits = streams.hits.data() + from;
  const uint64_t* misses = streams.misses.data() + from;
  n /= candidate.share();
  const size_t warm = n / 6;
  const auto timed = [&](Kind kind, const uint64_t* keys) {
    candidate.pass(kind, keys, warm);
    return candidate.pass(kind, keys + warm, n - warm);
  };
  row.hit.push_back(timed(Kind::kIndependent, hits));
  row.dependent.push_back(timed(Kind::kDependent, hits));
  row.miss.push_back(timed(Kind::kIndependent, misses));
  if (candidate.has_batch()) row.batch.push_back(timed(Kind::kBatch, hits));
}

struct Run {
  std::string distribution;
  size_t n;
  std::string pages;
  std::string out;
  size_t passes;
};

void report(const Run& run, const Row& row) {
  std::array<char, 32> batch{};
  std::snprintf(batch.data(), batch.size(), row.batch.empty() ? "-" : "%.1f", median(row.batch));
  std::printf(
      "RESULT dist=%s n=%zu index=%s pages=%s hit_ns=%.1f dep_ns=%.1f miss_ns=%.1f batch_ns=%s "
      "build_s=%.3f bytes_per_key=%.2f\n",
      run.distribution.c_str(), run.n, row.name.c_str(), run.pages.c_str(), median(row.hit),
      median(row.dependent), median(row.miss), batch.data(), row.build_s, row.bytes_per_key);
  std::fflush(stdout);
  if (FILE* csv = std::fopen((run.out + "/index.csv").c_str(), "a"); csv != nullptr) {
    std::fprintf(csv, "%s,%zu,%s,%s,%.1f,%.1f,%.1f,%s,%.3f,%.2f\n", run.distribution.c_str(), run.n,
                 row.name.c_str(), run.pages.c_str(), median(row.hit), median(row.dependent),
                 median(row.miss), batch.data(), row.build_s, row.bytes_per_key);
    std::fclose(csv);
  }
}

// Depth, worst and mean probe of the learned index.
void report_shape(const Run& run, const Candidate& candidate, const Streams& streams) {
  const Shape shape = candidate.shape(streams.hits);
  if (shape.depth == 0) return;
  std::printf(
      "# shape dist=%s n=%zu depth=%u epsilon_max=%u mean_probe=%.2f leaves=%zu nodes=%zu "
      "model_bytes_per_key=%.3f build_mkeys_per_s=%.1f\n",
      run.distribution.c_str(), run.n, shape.depth, shape.epsilon_max, shape.mean_probe,
      shape.leaves, shape.nodes, shape.model_bytes_per_key,
      static_cast<double>(run.n) / 1e6 / candidate.build_s());
  if (FILE* csv = std::fopen((run.out + "/index_shape.csv").c_str(), "a"); csv != nullptr) {
    std::fprintf(csv, "%s,%zu,%s,%u,%u,%.2f,%zu,%zu,%.3f\n", run.distribution.c_str(), run.n,
                 run.pages.c_str(), shape.depth, shape.epsilon_max, shape.mean_probe, shape.leaves,
                 shape.nodes, shape.model_bytes_per_key);
    std::fclose(csv);
  }
}

void build_one(Candidate& candidate, const Keys& keys, Row& row) {
  const size_t before = heap_bytes();
  candidate.build(keys);
  row.name = candidate.name();
  row.build_s = candidate.build_s();
  const size_t own = candidate.own_bytes();
  row.bytes_per_key = static_cast<double>(own != 0 ? own : heap_bytes() - before) /
                      static_cast<double>(keys.size());
}

// All passes over some candidates, in slices that go round the candidates: what else happens on the
// machine meets all of them alike. The first slice of all is dropped.
void measure(const Run& run, const Streams& streams,
             std::span<std::unique_ptr<Candidate>> candidates, std::span<Row> rows) {
  const size_t queries = streams.hits.size();
  const size_t slice = std::min(queries, kSliceQueries);
  for (size_t i = 0; i < candidates.size(); ++i) {
    Row dropped;
    measure_slice(*candidates[i], streams, 0, slice, dropped);
  }
  for (size_t pass = 0; pass < run.passes; ++pass) {
    for (size_t from = 0; from + slice <= queries; from += slice) {
      for (size_t i = 0; i < candidates.size(); ++i) {
        measure_slice(*candidates[i], streams, from, slice, rows[i]);
      }
    }
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    report_shape(run, *candidates[i], streams);
    report(run, rows[i]);
  }
}

// How many of them, from the first on, may live side by side; at least one.
size_t count_together(std::span<const std::unique_ptr<Candidate>> candidates, size_t keys) {
  const size_t room = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * 4096 / 2;
  size_t bytes = 0;
  size_t count = 0;
  while (count < candidates.size()) {
    bytes += candidates[count]->bytes_per_key_max() * keys;
    if (bytes > room && count > 0) break;
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
  const size_t queries = std::max<size_t>(6, number_of(setting("KYRO_BENCH_QUERIES", "2M")));
  const double miss_share = std::strtod(setting("KYRO_BENCH_MISS", "0").c_str(), nullptr);
  const Streams streams = make_streams(keys, queries, miss_share, 43);
  auto candidates = make_candidates(run.pages == "huge");
  std::erase_if(candidates, [&](const auto& c) { return !contains(names, c->name()); });
  std::vector<Row> rows(candidates.size());
  for (size_t from = 0; from < candidates.size();) {
    const size_t together = count_together(std::span(candidates).subspan(from), run.n);
    for (size_t i = from; i < from + together; ++i) build_one(*candidates[i], keys, rows[i]);
    measure(run, streams, std::span(candidates).subspan(from, together),
            std::span(rows).subspan(from, together));
    for (size_t i = from; i < from + together; ++i) candidates[i]->clear();
    from += together;
  }
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

void print_machine() {
  std::array<char, 256> cpu{"unknown"};
  if (FILE* info = std::fopen("/proc/cpuinfo", "r"); info != nullptr) {
    std::array<char, 256> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), info) != nullptr) {
      if (std::strncmp(line.data(), "model name", 10) == 0) {
        std::snprintf(cpu.data(), cpu.size(), "%s", std::strchr(line.data(), ':') + 2);
        cpu[std::strcspn(cpu.data(), "\n")] = '\0';
        break;
      }
    }
    std::fclose(info);
  }
  std::printf("# machine: %s, %ld cores, %.1f GiB; compiler: %s; commit: %s\n", cpu.data(),
              sysconf(_SC_NPROCESSORS_ONLN),
              static_cast<double>(sysconf(_SC_PHYS_PAGES)) * 4096 / 0x1p30, __VERSION__,
              KYRO_COMMIT);
  std::printf(
      "# n=%s dist=%s miss=%s queries=%s passes=%s\n", setting("KYRO_BENCH_N", "10000000").c_str(),
      setting("KYRO_BENCH_DIST", "all").c_str(), setting("KYRO_BENCH_MISS", "0").c_str(),
      setting("KYRO_BENCH_QUERIES", "2M").c_str(), setting("KYRO_BENCH_PASSES", "3").c_str());
  if (!KYRO_BENCH_HAS_ABSL) std::printf("# absl is not installed: no btree, no hash\n");
  std::fflush(stdout);
}

void start_csv(const std::string& path, const char* header) {
  if (FILE* csv = std::fopen(path.c_str(), "w"); csv != nullptr) {
    std::fprintf(csv, "%s\n", header);
    std::fclose(csv);
  }
}

int run_all(const char* self, const std::string& out) {
  const std::vector<std::string> dists = list_of(setting("KYRO_BENCH_DIST", "all"));
  const std::string pages = setting("KYRO_BENCH_PAGES", "both");
  std::filesystem::create_directories(out);
  start_csv(out + "/index.csv",
            "dist,n,index,pages,hit_ns,dep_ns,miss_ns,batch_ns,build_s,bytes_per_key");
  start_csv(out + "/index_shape.csv",
            "dist,n,pages,depth,epsilon_max,mean_probe,leaves,nodes,model_bytes_per_key");
  print_machine();
  for (const std::string& n : list_of(setting("KYRO_BENCH_N", "10000000"))) {
    for (const std::string_view dist : kDistributions) {
      if (!contains(dists, dist)) continue;
      for (const char* page : {"4k", "huge"}) {
        if (pages != "both" && pages != page) continue;
        const int code = run_child(self, {std::string(dist), number_of(n), page, out, 0});
        if (code != 0) return code;
      }
    }
  }
  const std::string plot = "gnuplot -e \"csv='" + out + "/index.csv'; png='" + out +
                           "/rmi_vs_btree.png'\" bench/index_plot.gp";
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) {
    std::printf("# gnuplot is not installed: %s/index.csv has the numbers, there is no plot\n",
                out.c_str());
  } else if (std::system(plot.c_str()) == 0) {
    std::printf("# plot: %s/rmi_vs_btree.png\n", out.c_str());
  }
  return 0;
}

}  // namespace
}  // namespace kyro::bench

int main(int argc, char** argv) {
  using namespace kyro::bench;
  const std::string out = setting("KYRO_BENCH_OUT", "bench/out");
  if (argc == 5 && std::strcmp(argv[1], "--one") == 0) {
    const Run run{argv[2], number_of(argv[3]), argv[4], out,
                  std::max<size_t>(1, number_of(setting("KYRO_BENCH_PASSES", "3")))};
    run_one(run, list_of(setting("KYRO_BENCH_INDEX", "all")));
    return 0;
  }
  return run_all("/proc/self/exe", out);
}
