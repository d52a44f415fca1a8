// The options of `kyrodb serve`: what they set, and the one table of names, bounds and help.
//
// A row of kServeOptions is all there is to an option: the flag's name (from which the environment
// name follows), what its value is, its bounds, the field it sets and its help. Parsing, messages
// and the help text (config.h) read the table; defaults are those of a default-constructed
// ServeConfig. To add an option, add a row (and a field, where the engine's Options has none).
//
// Thread rule: before threads start. Ownership: values.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <variant>

#include "kyro/base/limits.h"
#include "kyro/base/log.h"
#include "kyro/net/io/rate_limiter.h"
#include "kyro/storage/options.h"

namespace kyro {

// Where an option's value came from.
enum class ConfigOrigin : uint8_t { kDefault, kEnvironment, kFlag };
inline constexpr size_t kServeOptionsMax = 64;

struct ServeConfig {
  ServeConfig() { engine.data_dir = "./data"; }

  bool help_requested = false;  // then nothing else was checked
  bool print_config = false;    // say what is in force, do not serve
  bool is_address_given = false;
  std::array<ConfigOrigin, kServeOptionsMax> origins{};  // by row of the option table
  std::string host = "127.0.0.1";
  uint16_t port = 3030;  // 0: any free one
  std::string unix_socket;
  uint32_t unix_socket_mode = 0600;
  uint32_t threads = 0;  // reactors; 0: as many as cores

  std::string auth_token;  // at most one of these two is not empty
  std::string auth_token_file;
  std::string read_token_file;
  bool protect_metrics = false;
  bool no_auth = false;

  Options engine;
  bool warm_on_start = false;
  std::string backup_dir;  // empty: no online backups

  uint64_t max_mget_keys = 100'000;
  uint64_t max_inflight_bytes = 256 * kMiB;
  uint32_t max_connections = 10000;
  uint32_t max_connections_per_ip = 0;  // 0: no cap
  uint64_t header_timeout_ms = 10000;
  uint64_t body_timeout_ms = 30000;
  uint64_t idle_timeout_ms = 60000;
  uint64_t write_timeout_ms = 30000;
  uint64_t drain_secs = 10;
  RateLimit rate_data;
  RateLimit rate_admin;

  LogConfig log;
  bool request_log = false;
};

namespace config_detail {

// One of the words of a row's `value`, by position.
struct Choice {
  size_t (*get)(const ServeConfig&);
  void (*set)(ServeConfig&, size_t);
};
struct Fsync {};  // always | interval:<ms> | never
// Permission bits, in octal.
struct Mode {
  uint32_t* bits;
};

using Field = std::variant<std::string*, bool*, uint32_t*, uint64_t*, double*, RateLimit*, Mode,
                           Choice, Fsync>;

enum class Section : uint8_t {
  kListening,
  kAccess,
  kStorage,
  kMaintenance,
  kLimits,
  kOther,
  kTuning
};

struct Option {
  Section section;
  std::string_view name;
  std::string_view value;  // its name in the help; "B" takes units, "a|b" lists the words
  Field (*field)(ServeConfig&);
  std::string_view help;
  double min = 0;
  double max = 0;
  std::string_view zero = {};  // what 0 means, if it means something
  char letter = 0;
};

template <auto kMember>
Field own(ServeConfig& config) {
  return &(config.*kMember);
}
template <auto kMember>
Field engine(ServeConfig& config) {
  return &(config.engine.*kMember);
}

inline constexpr double kNoBound = 18446744073709549568.0;  // the largest double below 2^64
inline constexpr double kDaySecs = 86400;
inline constexpr double kYearSecs = 366 * kDaySecs;
inline constexpr double kDayMs = kDaySecs * 1000;

using C = ServeConfig;
using O = Options;
using S = Section;

// clang-format off
inline constexpr Option kServeOptions[] = {
    {S::kListening, "unix-socket", "PATH", own<&C::unix_socket>,
     "listen on this Unix socket too; a path that is not a socket is never replaced"},
    {S::kListening, "unix-socket-mode", "MODE",
     [](C& c) -> Field { return Mode{&c.unix_socket_mode}; },
     "its permissions in octal, set before anyone can connect"},
    {S::kListening, "threads", "N", own<&C::threads>, "reactors", 0, 1024, "as many as cores"},
    {S::kListening, "max-connections", "N", own<&C::max_connections>,
     "open connections; more are answered 503 and closed", 1, 1000000},
    {S::kListening, "max-connections-per-ip", "N", own<&C::max_connections_per_ip>,
     "the same for one address, answered 429", 0, 1000000, "no cap"},
    {S::kListening, "header-timeout-ms", "MS", own<&C::header_timeout_ms>,
     "from the first byte of a request to the end of its header", 1, kDayMs},
    {S::kListening, "body-timeout-ms", "MS", own<&C::body_timeout_ms>,
     "from there to the end of its body", 1, kDayMs},
    {S::kListening, "idle-timeout-ms", "MS", own<&C::idle_timeout_ms>,
     "a connection may wait so long between requests", 1, kDayMs},
    {S::kListening, "write-timeout-ms", "MS", own<&C::write_timeout_ms>,
     "a client may take so long to read an answer, and fall so far behind 1 KB/s in a stream", 1,
     kDayMs},
    {S::kListening, "drain-secs", "S", own<&C::drain_secs>,
     "after SIGTERM or SIGINT requests under way may take so long", 0, kDaySecs},

    {S::kAccess, "auth-token", "TOKEN", own<&C::auth_token>,
     "bearer token for everything but /health, /ready and /metrics (a file is safer: command "
     "lines are public). Tokens travel in clear: put a TLS proxy in front, or use the Unix socket"},
    {S::kAccess, "auth-token-file", "FILE", own<&C::auth_token_file>,
     "read the token from FILE, and again on SIGHUP"},
    {S::kAccess, "read-token-file", "FILE", own<&C::read_token_file>,
     "a second token that may only read: GET and HEAD of data, /v1/mget, /metrics and "
     "/build_info; anything else is answered 403. Read again on SIGHUP"},
    {S::kAccess, "protect-metrics", "", own<&C::protect_metrics>, "/metrics needs the token too"},
    {S::kAccess, "no-auth", "", own<&C::no_auth>,
     "serve without a token also beyond loopback, and to web pages"},

    {S::kStorage, "data-dir", "DIR", engine<&O::data_dir>, "where everything is stored", 0, 0, {}, 'd'},
    {S::kStorage, "fsync", "always|interval:<ms>|never", [](C&) -> Field { return Fsync{}; },
     "when a write counts as done: once it is on the disk; synced at least every <ms> "
     "milliseconds; when the system gets to it. Only the first survives a power cut"},
    {S::kStorage, "delta-max-bytes", "B", engine<&O::delta_max_bytes>,
     "newest writes held in memory before they become a run; up to three times as much is in "
     "memory",
     64 * kKiB, 64.0 * kGiB},
    {S::kStorage, "wal-segment-bytes", "B", engine<&O::wal_segment_bytes>,
     "size of a log file", 4 * kKiB, 16.0 * kGiB},
    {S::kStorage, "wal-max-segments", "N", engine<&O::wal_segments_max>,
     "log files kept for replay; data that is in no run yet is always kept", 1, 1000000},
    {S::kStorage, "reserve-bytes", "B", engine<&O::reserve_bytes>,
     "disk space set aside and released when the disk is full, for deletes and flushes",
     0, 64.0 * kGiB, "none"},
    {S::kStorage, "backup-dir", "DIR", own<&C::backup_dir>,
     "where POST /v1/backup?name=N may write backups; without it that answers 403"},
    {S::kStorage, "index-memory", "mmap|huge",
     [](C&) -> Field { return Choice{[](const C& c) { return size_t{c.engine.huge_index}; },
                                     [](C& c, size_t i) { c.engine.huge_index = i == 1; }}; },
     "map the indexes from disk, or load them into anonymous huge pages"},
    {S::kStorage, "warm-on-start", "", own<&C::warm_on_start>,
     "read everything into memory before /ready says so"},

    {S::kMaintenance, "snapshot-every-n-appends", "N", engine<&O::snapshot_every_appends>,
     "flush after so many records, beside the delta's size", 0, kNoBound, "off"},
    {S::kMaintenance, "auto-snapshot-secs", "S", engine<&O::auto_snapshot_secs>,
     "flush every so often", 0, kYearSecs, "off"},
    {S::kMaintenance, "wal-max-bytes", "B", engine<&O::wal_bytes_max>,
     "flush and trim the log when it is larger", 0, kNoBound, "off"},
    {S::kMaintenance, "compact-interval-secs", "S", engine<&O::compact_interval_secs>,
     "compact every so often", 0, kYearSecs, "off"},
    {S::kMaintenance, "compact-when-wal-bytes", "B", engine<&O::compact_when_wal_bytes>,
     "compact after so many bytes of log", 0, kNoBound, "off"},
    {S::kMaintenance, "rmi-rebuild-appends", "N", engine<&O::rmi_rebuild_appends>,
     "merge into one run under one index after so many records", 0, kNoBound, "off"},
    {S::kMaintenance, "rmi-rebuild-ratio", "R", engine<&O::rmi_rebuild_ratio>,
     "and after so many records for each key there is (1,000 at least count)", 0, 1000000, "off"},

    {S::kMaintenance, "scrub-interval-secs", "S", engine<&O::scrub_interval_secs>,
     "read every run again in the background, to notice what the disk has lost", 0, kYearSecs,
     "off"},

    {S::kLimits, "max-value-bytes", "B", engine<&O::max_value_bytes>,
     "larger values are answered 413", 1, kValueBytesCeiling},
    {S::kLimits, "max-batch-bytes", "B", engine<&O::max_batch_bytes>,
     "larger bodies of POST /v1/batch are answered 413", 1, kBatchBytesCeiling},
    {S::kLimits, "max-mget-keys", "N", own<&C::max_mget_keys>,
     "more keys in one mget are answered 413", 1, 16 * 1024 * 1024},
    {S::kLimits, "max-inflight-bytes", "B", own<&C::max_inflight_bytes>,
     "request bodies together; beyond it reading pauses, then 503. And answers together that wait "
     "for slow readers; beyond it a large one that cannot be sent closes its connection",
     64 * kKiB, kNoBound},

    {S::kLimits, "rate-data", "RPS[:BURST]", own<&C::rate_data>,
     "requests a second that one address (IPv6: one /64) may make, and how many at once (a "
     "second's worth if not given); more are answered 429. Probes and admin routes do not count, "
     "nor does the Unix socket"},
    {S::kLimits, "rate-admin", "RPS[:BURST]", own<&C::rate_admin>,
     "the same for snapshot, compact, rmi/build, warmup and backup"},

    {S::kOther, "log-level", "debug|info|warn|error|off",
     [](C&) -> Field {
       return Choice{[](const C& c) { return static_cast<size_t>(c.log.level); },
                     [](C& c, size_t i) { c.log.level = static_cast<LogLevel>(i); }};
     },
     "least severe level that is logged, on stderr"},
    {S::kOther, "log-format", "text|json",
     [](C&) -> Field { return Choice{[](const C& c) { return size_t{c.log.json}; },
                                     [](C& c, size_t i) { c.log.json = i == 1; }}; },
     "form of the log lines"},
    {S::kOther, "request-log", "", own<&C::request_log>,
     "log a line for each request: route, status, bytes, time, peer; never a key or a value. "
     "Lines are dropped, and counted, where stderr is too slow"},
    {S::kOther, "print-config", "", own<&C::print_config>,
     "print every option with its value and where that came from, as JSON with --log-format json, "
     "and exit; nothing is opened"},

    {S::kTuning, "rmi-target-leaf", "N", [](C& c) -> Field { return &c.engine.rmi.target_leaf; },
     "keys per bucket that the root of an index aims for",
     RmiOptions::kTargetLeafMin, RmiOptions::kTargetLeafMax},
    {S::kTuning, "rmi-eps-mult", "R", [](C& c) -> Field { return &c.engine.rmi.eps_mult; },
     "multiplies the bound on the distance between a key and its prediction",
     RmiOptions::kEpsMultMin, RmiOptions::kEpsMultMax},
};
// clang-format on

// Titles by Section. Options of the last section are set by environment only.
inline constexpr std::string_view kSectionTitles[] = {"Listening",
                                                      "Access",
                                                      "Storage",
                                                      "Maintenance",
                                                      "Limits",
                                                      "Other",
                                                      "Tuning (environment only)"};

static_assert(std::size(kServeOptions) <= kServeOptionsMax);
inline size_t option_index(const Option& option) {
  return static_cast<size_t>(&option - kServeOptions);
}

inline bool is_flag(const Option& option) {
  return option.section != Section::kTuning;
}

inline std::string environment_name(const Option& option) {
  std::string name = "KYRODB_";
  for (const char c : option.name) {
    name += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return name;
}

// "64MiB" for 67108864: the largest unit that divides it.
inline std::string format_bytes(uint64_t bytes) {
  constexpr std::string_view kUnits[] = {"", "KiB", "MiB", "GiB"};
  size_t unit = 0;
  for (; unit < 3 && bytes != 0 && bytes % 1024 == 0; ++unit) bytes /= 1024;
  return std::to_string(bytes).append(kUnits[unit]);
}

// As --fsync takes it.
inline std::string format_fsync(const Options& engine) {
  switch (engine.fsync) {
    case FsyncPolicy::kAlways:
      return "always";
    case FsyncPolicy::kNever:
      return "never";
    case FsyncPolicy::kInterval:
      break;
  }
  return "interval:" + std::to_string(engine.fsync_interval_ms);
}

// At most six significant digits, no trailing zeros: bounds and ratios in messages.
inline std::string format_real(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::general, 6);
  return {text, end.ptr};
}

// "1000:2000", or "off".
inline std::string format_rate(const RateLimit& rate) {
  if (rate.per_second == 0) return "off";
  return std::to_string(rate.per_second).append(":").append(std::to_string(rate.burst));
}

// "0600".
inline std::string format_mode(uint32_t bits) {
  std::string text = "0";
  for (uint32_t shift = 9; shift != 0;)
    text += static_cast<char>('0' + ((bits >> (shift -= 3)) & 7u));
  return text;
}

inline std::string format_bound(const Option& option, double bound) {
  if (option.value == "R") return format_real(bound);
  const auto whole = static_cast<uint64_t>(bound);
  return option.value == "B" ? format_bytes(whole) : std::to_string(whole);
}

// "a whole number from 1 to 1024", for messages.
inline std::string describe_value(const Option& option) {
  std::string out = option.value == "R"   ? "a number"
                    : option.value == "B" ? "a size like 512, 64KiB or 16M"
                                          : "a whole number";
  if (option.value == "MS") out += " of milliseconds";
  if (option.value == "S") out += " of seconds";
  if (option.max >= kNoBound)
    return out.append(", at least ").append(format_bound(option, option.min));
  out.append(" from ").append(format_bound(option, option.min));
  return out.append(" to ").append(format_bound(option, option.max));
}

}  // namespace config_detail
}  // namespace kyro
