// The load generator: loads a data set into a server over its own protocol, asks for it at full
// speed or at a fixed rate, compares every answer with what its key was given, and reports
// throughput, latency percentiles and the server's CPU time. `http_bench --help` lists the flags.
//
// One thread: beside a server of one thread it has a core of its own on a machine of two.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/http_bench_options.h"
#include "bench/load_run.h"
#include "bench/page_cache.h"
#include "bench/protocol_cluster.h"
#include "bench/protocol_http2.h"
#include "kyro/net/client/http_client.h"

namespace kyro::bench {
namespace {

constexpr uint64_t kBatchKeys = 500;
constexpr uint32_t kLoadPipeline = 32;  // without batches

Endpoint endpoint_of(std::string_view name) {
  if (name == "lookup_fast") return Endpoint::kLookupFast;
  if (name == "lookup") return Endpoint::kLookup;
  if (name == "kv") return Endpoint::kKv;
  if (name == "mget") return Endpoint::kMget;
  if (name == "put") return Endpoint::kPut;
  if (name == "mixed") return Endpoint::kMixed;
  return Endpoint::kGetFast;
}

// Every key once, in batches or one by one.
class LoadSource final : public OperationSource {
 public:
  LoadSource(uint64_t keys, bool in_batches) : keys_(keys), in_batches_(in_batches) {}
  bool next(Operation* operation) override {
    if (next_ == keys_) return false;
    if (in_batches_) {
      const uint64_t count = std::min(kBatchKeys, keys_ - next_);
      *operation = {Op::kBatch, static_cast<uint32_t>(count), next_};
      next_ += count;
    } else {
      *operation = {Op::kPut, 1, key_of(next_++)};
    }
    return true;
  }

 private:
  uint64_t keys_;
  uint64_t next_ = 0;
  bool in_batches_;
};

class EndlessSource final : public OperationSource {
 public:
  explicit EndlessSource(Workload& workload) : workload_(workload) {}
  bool next(Operation* operation) override {
    *operation = workload_.next();
    return true;
  }

 private:
  Workload& workload_;
};

// User and system time of a process so far (of the whole, all threads), or of this one; 0 if there
// is none. Ticks are 10 ms.
double cpu_seconds_of(uint64_t pid) {
  char line[1024] = {};
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  FILE* const file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return 0;
  const size_t n = std::fread(line, 1, sizeof line - 1, file);
  std::fclose(file);
  // The name in parentheses may contain anything; user and system time are fields 14 and 15.
  const char* at = std::strrchr(line, ')');
  if (n == 0 || at == nullptr) return 0;
  unsigned long user = 0, system = 0;
  if (std::sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) !=
      2) {
    return 0;
  }
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

class Bench {
 public:
  Bench(const HttpBenchOptions& options, HttpEndpoint endpoint)
      : options_(options), endpoint_(std::move(endpoint)), workload_(workload_options(), seed()) {}

  Status run() {
    raise_descriptor_limit();
    if (!options_.skip_load) KYRO_TRY(load());
    if (options_.load_only) return Status();
    if (options_.speaks_http() && options_.regime == "warm") static_cast<void>(post("/v1/warmup"));
    return measure();
  }
  [[nodiscard]] bool all_right() const { return all_right_; }

 private:
  [[nodiscard]] uint64_t seed() const { return scramble(options_.seed + 1); }
  [[nodiscard]] WorkloadOptions workload_options() const {
    WorkloadOptions out;
    out.keys = options_.load_n;
    out.value_bytes = options_.val_bytes;
    out.endpoint = endpoint_of(options_.endpoint);
    out.zipf_theta = options_.dist == "zipf" ? options_.zipf_theta : 0;
    out.mget_keys = static_cast<uint32_t>(options_.mget_keys);
    out.put_share = options_.put_share;
    return out;
  }

  [[nodiscard]] std::function<std::unique_ptr<Protocol>()> maker_of(std::string name) const {
    return [this, name = std::move(name)] { return make_protocol(name); };
  }
  [[nodiscard]] std::unique_ptr<Protocol> make_protocol(std::string_view name) const {
    const auto pipeline =
        static_cast<uint32_t>(std::max<uint64_t>(options_.pipeline, kLoadPipeline));
    if (name == "resp") return std::make_unique<RespProtocol>(workload_);
    if (name == "memcache") return std::make_unique<MemcacheProtocol>(workload_);
    if (name == "etcd") return std::make_unique<EtcdProtocol>(workload_, endpoint_.host);
    if (name == "resp-wait") return std::make_unique<WaitingRespProtocol>(workload_);
    if (name == "h2" || name == "grpc") {
      const auto kind = name == "h2" ? Http2Protocol::Kind::kRoutes : Http2Protocol::Kind::kGrpc;
      return std::make_unique<Http2Protocol>(workload_, kind, endpoint_.host, options_.token,
                                             pipeline);
    }
    std::string fields;
    if (!options_.token.empty()) fields = "Authorization: Bearer " + options_.token + "\r\n";
    return std::make_unique<HttpProtocol>(workload_, endpoint_.host, fields);
  }

  // The status of the answer, 0 if there is none.
  int post(const std::string& path) { return ask("POST", path); }
  int ask(std::string_view method, const std::string& path) {
    constexpr int kPatienceMillis = 600'000;  // an index over all keys is built in one request
    HttpClient client(endpoint_, kPatienceMillis);
    HeaderList headers;
    if (!options_.token.empty()) headers.push_back({"Authorization", "Bearer " + options_.token});
    HttpResponse response;
    return client.request(method, path, {}, &response, headers).ok() ? response.status : 0;
  }

  // Loads everything, then merges it into one run under one index.
  Status load() {
    bool in_batches = options_.speaks_http() && options_.load_with != "put";
    if (in_batches && options_.load_with == "auto") in_batches = ask("OPTIONS", "/v1/batch") == 204;
    LoadSource source(options_.load_n, in_batches);
    RunOptions run_options;
    run_options.address = endpoint_.address;
    run_options.connections = static_cast<uint32_t>(options_.load_concurrency);
    run_options.pipeline = in_batches ? 1 : kLoadPipeline;
    const std::string protocol = options_.speaks_http() ? "h1" : options_.protocol;
    auto loaded = LoadRun(run_options, maker_of(protocol), source).run([](bool) {});
    KYRO_TRY(loaded);
    if (loaded->errors != 0) return Status(Code::kInvalid, "loading: " + loaded->first_error);
    std::printf("loaded %llu keys with %s in %.1f s, %.0f keys/s\n",
                static_cast<unsigned long long>(options_.load_n),
                in_batches ? "batches" : "single puts", loaded->seconds,
                static_cast<double>(options_.load_n) / loaded->seconds);
    if (!options_.speaks_http()) return Status();
    const int status = post("/v1/rmi/build");
    if (status != 200) std::printf("POST /v1/rmi/build answered %d\n", status);
    return Status();
  }

  Status measure() {
    std::vector<LoadConnection> idle;
    for (uint64_t i = 0; i < options_.idle_connections; ++i) {
      idle.emplace_back(1, nullptr);
      KYRO_TRY(idle.back().connect(endpoint_.address));
    }
    RunOptions run_options;
    run_options.address = endpoint_.address;
    run_options.connections = static_cast<uint32_t>(options_.concurrency);
    run_options.pipeline = static_cast<uint32_t>(options_.pipeline);
    run_options.rate = options_.rate;
    run_options.warmup_seconds = options_.regime == "cold" ? 0 : options_.warmup_seconds;
    run_options.seconds = options_.read_seconds;
    run_options.check = !options_.no_check;
    EndlessSource source(workload_);
    double server_cpu = 0, own_cpu = 0;
    auto result = LoadRun(run_options, maker_of(options_.protocol), source).run([&](bool begins) {
      const double sign = begins ? -1 : 1;
      server_cpu += sign * cpu_seconds_of(options_.server_pid);
      own_cpu += sign * own_cpu_seconds();
    });
    KYRO_TRY(result);
    return report(*result, server_cpu, own_cpu / result->seconds);
  }

  Status report(const RunResult& result, double server_cpu, double own_share) {
    all_right_ = result.errors == 0;
    const auto micros = [&](double share) {
      return static_cast<double>(result.latency_ns.quantile(share)) * 1e-3;
    };
    const double cpu_us = result.requests == 0 || options_.server_pid == 0
                              ? 0
                              : server_cpu * 1e6 / static_cast<double>(result.requests);
    const std::string name = options_.name.empty() ? options_.endpoint : options_.name;
    std::printf(
        "%llu requests in %.2f s; us: p50 %.1f p95 %.1f p99 %.1f p99.9 %.1f max %.1f; "
        "this client used %.0f %% of a core\n",
        static_cast<unsigned long long>(result.requests), result.seconds, micros(0.5), micros(0.95),
        micros(0.99), micros(0.999), micros(1), own_share * 100);
    if (!all_right_) {
      std::printf("%llu answers were not right, the first: %s\n",
                  static_cast<unsigned long long>(result.errors), result.first_error.c_str());
    }
    std::printf(
        "RESULT bench=%s server=%s conns=%llu pipeline=%llu rps=%.0f cpu_us_per_req=%.3f "
        "p50_us=%.1f p99_us=%.1f p999_us=%.1f\n",
        name.c_str(), options_.server.c_str(),
        static_cast<unsigned long long>(options_.concurrency),
        static_cast<unsigned long long>(options_.pipeline), result.rps(), cpu_us, micros(0.5),
        micros(0.99), micros(0.999));
    if (options_.out_csv.empty()) return Status();
    FILE* const file = std::fopen(options_.out_csv.c_str(), "a");
    if (file == nullptr) return Status(Code::kIoError, "cannot write " + options_.out_csv);
    if (std::ftell(file) == 0) {
      std::fputs(
          "bench,server,protocol,endpoint,dist,regime,keys,value_bytes,conns,idle_conns,"
          "pipeline,rate,seconds,requests,errors,rps,cpu_us_per_req,client_share,p50_us,"
          "p95_us,p99_us,p999_us,max_us\n",
          file);
    }
    std::fprintf(file,
                 "%s,%s,%s,%s,%s,%s,%llu,%llu,%llu,%llu,%llu,%g,%.2f,%llu,%llu,%.0f,%.3f,%.2f,"
                 "%.1f,%.1f,%.1f,%.1f,%.1f\n",
                 name.c_str(), options_.server.c_str(), options_.protocol.c_str(),
                 options_.endpoint.c_str(), options_.dist.c_str(), options_.regime.c_str(),
                 static_cast<unsigned long long>(options_.load_n),
                 static_cast<unsigned long long>(options_.val_bytes),
                 static_cast<unsigned long long>(options_.concurrency),
                 static_cast<unsigned long long>(options_.idle_connections),
                 static_cast<unsigned long long>(options_.pipeline), options_.rate, result.seconds,
                 static_cast<unsigned long long>(result.requests),
                 static_cast<unsigned long long>(result.errors), result.rps(), cpu_us, own_share,
                 micros(0.5), micros(0.95), micros(0.99), micros(0.999), micros(1));
    return std::fclose(file) == 0 ? Status() : Status(Code::kIoError, "cannot write the CSV");
  }

  static void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);  // if that is too few, connecting will say so
  }

  const HttpBenchOptions& options_;
  const HttpEndpoint endpoint_;
  Workload workload_;
  bool all_right_ = true;
};

int drop_cache(const std::string& directory) {
  const CacheDrop drop = drop_page_cache(directory);
  std::printf(
      "dropped %llu files of %llu bytes from the page cache; %llu bytes stayed in memory; "
      "%llu files could not be handled\n",
      static_cast<unsigned long long>(drop.files), static_cast<unsigned long long>(drop.bytes),
      static_cast<unsigned long long>(drop.bytes_left),
      static_cast<unsigned long long>(drop.failures));
  return drop.failures == 0 ? 0 : 1;
}

int main_of(int argc, char** argv) {
  HttpBenchOptions options;
  if (const std::string wrong = parse_bench_flags(argc, argv, &options); !wrong.empty()) {
    std::fprintf(stderr, "http_bench: %s\n", wrong.c_str());
    return 2;
  }
  if (options.help) {
    print_bench_help();
    return 0;
  }
  if (!options.drop_cache.empty()) return drop_cache(options.drop_cache);
  auto endpoint = parse_endpoint(options.base);
  if (!endpoint.ok()) {
    std::fprintf(stderr, "http_bench: --base: %s\n", endpoint.status().to_string().c_str());
    return 2;
  }
  Bench bench(options, *endpoint);
  if (const Status status = bench.run(); !status.ok()) {
    std::fprintf(stderr, "http_bench: %s\n", status.to_string().c_str());
    return 1;
  }
  return bench.all_right() ? 0 : 1;
}

}  // namespace
}  // namespace kyro::bench

int main(int argc, char** argv) {
  return kyro::bench::main_of(argc, argv);
}
