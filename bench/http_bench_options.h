// The flags of http_bench: one table that the command line, the help and the checks read.
//
// Thread rule: values. Ownership: owns its strings.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "bench/workload.h"
#include "kyro/base/text/decimal.h"

namespace kyro::bench {

struct HttpBenchOptions {
  std::string base = "http://127.0.0.1:3030";
  std::string protocol = "h1";
  std::string endpoint = "get_fast";
  std::string dist = "uniform";
  std::string regime = "warm";
  std::string load_with = "auto";
  std::string token;
  std::string out_csv;
  std::string drop_cache;
  std::string name;
  std::string server = "kyro";
  double zipf_theta = 0.99;
  double read_seconds = 5;
  double warmup_seconds = 1;
  double rate = 0;
  double put_share = 0.05;
  uint64_t load_n = 1'000'000;
  uint64_t val_bytes = 64;
  uint64_t load_concurrency = 64;
  uint64_t concurrency = 64;
  uint64_t pipeline = 1;
  uint64_t mget_keys = 32;
  uint64_t idle_connections = 0;
  uint64_t server_pid = 0;
  uint64_t seed = 1;
  bool skip_load = false;
  bool load_only = false;
  bool no_check = false;
  bool help = false;

  // As this server does.
  [[nodiscard]] bool speaks_http() const {
    return protocol == "h1" || protocol == "h2" || protocol == "grpc";
  }
};

// One flag: where its value goes says what it is. Bounds are for numbers.
struct BenchFlag {
  const char* name;
  const char* value;  // as the help calls it; null for a switch
  const char* help;
  bool HttpBenchOptions::*as_switch = nullptr;
  std::string HttpBenchOptions::*as_text = nullptr;
  double HttpBenchOptions::*as_real = nullptr;
  uint64_t HttpBenchOptions::*as_number = nullptr;
  uint64_t least = 0;
  uint64_t most = UINT64_MAX;
};

namespace bench_flags_detail {

using O = HttpBenchOptions;

constexpr BenchFlag text(const char* name, std::string O::*field, const char* value,
                         const char* help) {
  BenchFlag flag{name, value, help};
  flag.as_text = field;
  return flag;
}
constexpr BenchFlag real(const char* name, double O::*field, const char* value, const char* help) {
  BenchFlag flag{name, value, help};
  flag.as_real = field;
  return flag;
}
constexpr BenchFlag number(const char* name, uint64_t O::*field, uint64_t least, uint64_t most,
                           const char* help) {
  BenchFlag flag{name, "N", help};
  flag.as_number = field;
  flag.least = least;
  flag.most = most;
  return flag;
}
constexpr BenchFlag toggle(const char* name, bool O::*field, const char* help) {
  BenchFlag flag{name, nullptr, help};
  flag.as_switch = field;
  return flag;
}

}  // namespace bench_flags_detail

inline constexpr auto kBenchFlags = [] {
  using namespace bench_flags_detail;
  return std::to_array<BenchFlag>({
      text("base", &O::base, "URL", "where the server is: http://HOST:PORT or unix:/path"),
      text(
          "protocol", &O::protocol, "h1|h2|grpc|resp|resp-wait|memcache|etcd",
          "HTTP/1.1, HTTP/2, calls of KV (get_fast is Get), Redis, Redis with WAIT 1 after a SET,\n"
          "memcached, etcd's gateway. From grpc on only that one knows more than get_fast, put\n"
          "and mixed: mget. h2 and grpc load over h1"),
      number("load-n", &O::load_n, 1, uint64_t{1} << 40, "keys of the data set"),
      number("val-bytes", &O::val_bytes, 1, 1 << 20, "bytes of a value"),
      number("load-concurrency", &O::load_concurrency, 1, 10000, "connections that load"),
      text("load-with", &O::load_with, "auto|batch|put", "auto: POST /v1/batch if it is there"),
      toggle("skip-load", &O::skip_load, "the keys are there already"),
      toggle("load-only", &O::load_only, "load, then end"),
      text("endpoint", &O::endpoint, "get_fast|lookup_fast|lookup|kv|mget|put|mixed",
           "what is asked; mixed is get_fast and put"),
      number("mget-keys", &O::mget_keys, 1, 100000, "keys of one mget, which counts as 1 request"),
      real("put-share", &O::put_share, "X", "of mixed, 0 to 1"),
      text("dist", &O::dist, "uniform|zipf", "how often a key is asked for"),
      real("zipf-theta", &O::zipf_theta, "X", "exponent of zipf, above 0"),
      number("concurrency", &O::concurrency, 1, 20000, "connections"),
      number("pipeline", &O::pipeline, 1, 1024, "requests in one write, answered before the next"),
      real("rate", &O::rate, "R",
           "requests per second whatever the server does; a latency counts from when its request\n"
           "was due. 0: each connection asks again when it is answered"),
      number("idle-connections", &O::idle_connections, 0, 60000, "further ones that say nothing"),
      real("warmup-seconds", &O::warmup_seconds, "S", "not measured"),
      real("read-seconds", &O::read_seconds, "S", "measured"),
      text("regime", &O::regime, "warm|cold",
           "warm: POST /v1/warmup first. cold: no warm-up at all; restart the server after\n"
           "--drop-cache for files that are not in memory"),
      text("drop-cache", &O::drop_cache, "DIR",
           "drop the files of DIR from the page cache, say how much stayed, and end"),
      toggle("no-check", &O::no_check, "do not complain about values (for servers of constants)"),
      text("token", &O::token, "TOKEN", "bearer token"),
      number("seed", &O::seed, 0, UINT64_MAX, "of the random sequence"),
      text("out-csv", &O::out_csv, "FILE", "append a row, after a head if FILE is new"),
      text("name", &O::name, "NAME", "bench= of the RESULT row (the endpoint)"),
      text("server", &O::server, "NAME", "server= of the RESULT row"),
      number("server-pid", &O::server_pid, 0, 1 << 30, "whose CPU time is measured"),
      toggle("help", &O::help, "this"),
  });
}();

inline void print_bench_help() {
  std::puts(
      "http_bench: loads keys into a server, asks for them, and reports throughput and latency.\n"
      "\n"
      "  http_bench --base http://127.0.0.1:3030 --load-n 1000000 --concurrency 64\n"
      "\n"
      "A value follows from its key, and every answer is compared with it (lookup_fast: its "
      "length).\n"
      "Ends with a row that scripts read, and 1 if any answer was wrong.\n");
  const HttpBenchOptions defaults;
  for (const BenchFlag& flag : kBenchFlags) {
    std::string head = std::string("  --") + flag.name;
    if (flag.value != nullptr) head += std::string(" ") + flag.value;
    std::string value;
    if (flag.as_text != nullptr) value = defaults.*flag.as_text;
    if (flag.as_number != nullptr) value = std::to_string(defaults.*flag.as_number);
    if (flag.as_real != nullptr) {
      char digits[32];
      std::snprintf(digits, sizeof digits, "%g", defaults.*flag.as_real);
      value = digits;
    }
    std::printf("%s%s%s%s\n", head.c_str(), value.empty() ? "" : " (", value.c_str(),
                value.empty() ? "" : ")");
    for (std::string_view rest = flag.help; !rest.empty();) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      std::printf("      %.*s\n", static_cast<int>(end), rest.data());
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
}

namespace bench_flags_detail {

// Empty, or what is wrong with the value.
inline std::string assign(const BenchFlag& flag, const std::string& value, HttpBenchOptions* out) {
  if (flag.as_text != nullptr) {
    out->*flag.as_text = value;
    // Where the help lists words, it must be one of them.
    const std::string words = std::string("|") + flag.value + "|";
    const bool is_choice = words.find('|', 1) != words.size() - 1;
    if (is_choice && words.find("|" + value + "|") == words.npos) {
      return "must be one of " + std::string(flag.value);
    }
    return {};
  }
  if (flag.as_real != nullptr) {
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !(number >= 0 && number <= 1e12)) {
      return "must be a number from 0 on";
    }
    out->*flag.as_real = number;
    return {};
  }
  const auto number = parse_u64(value);
  if (!number || *number < flag.least || *number > flag.most) {
    return "must be a number from " + std::to_string(flag.least) + " to " +
           std::to_string(flag.most);
  }
  out->*flag.as_number = *number;
  return {};
}

// Whether the protocol has the endpoint.
inline bool knows_endpoint(std::string_view protocol, std::string_view endpoint) {
  if (protocol == "h1") return true;
  if (endpoint == "get_fast" || endpoint == "put" || endpoint == "mixed") return true;
  if (protocol == "h2") return endpoint == "lookup_fast" || endpoint == "kv";
  return protocol == "grpc" && endpoint == "mget";
}

inline std::string find_contradiction(const HttpBenchOptions& options) {
  if (!knows_endpoint(options.protocol, options.endpoint)) {
    return "--protocol " + options.protocol + " has no such --endpoint";
  }
  if (!options.speaks_http() && options.load_with == "batch") {
    return "only HTTP can --load-with batch";
  }
  if (options.dist == "zipf" && options.zipf_theta == 0) return "--zipf-theta must be above 0";
  if (options.put_share > 1) return "--put-share must be at most 1";
  if (options.read_seconds == 0) return "--read-seconds must be above 0";
  return {};
}

}  // namespace bench_flags_detail

// Fills *options from "--flag value", "--flag=value" and switches; empty, or what is wrong.
[[nodiscard]] inline std::string parse_bench_flags(int argc, const char* const* argv,
                                                   HttpBenchOptions* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const size_t equals = std::min(word.find('='), word.size());
    const BenchFlag* found = nullptr;
    for (const BenchFlag& flag : kBenchFlags) {
      if (word.substr(0, equals) == std::string("--") + flag.name) found = &flag;
    }
    if (found == nullptr) return "unknown flag " + std::string(word) + " (see --help)";
    if (found->as_switch != nullptr) {
      if (equals != word.size()) return std::string(word) + ": takes no value";
      options->*found->as_switch = true;
      continue;
    }
    if (equals == word.size() && ++i == argc) return std::string(word) + ": a value is missing";
    const std::string value(equals == word.size() ? argv[i] : word.substr(equals + 1));
    const std::string wrong = bench_flags_detail::assign(*found, value, options);
    if (!wrong.empty()) return std::string("--") + found->name + " " + wrong;
  }
  return bench_flags_detail::find_contradiction(*options);
}

}  // namespace kyro::bench
