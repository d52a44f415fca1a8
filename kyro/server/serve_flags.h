// The flags of `kyrodb serve`: a row is all there is to an option, its name (from which that of its
// variable follows), what it takes, its bounds, the field that it sets and its help. Parser, help,
// man page, completions and --print-config read it; defaults are those of ServeConfig. To add an
// option, add a row (and a field, where neither Options nor HttpServerConfig has one).
//
// Thread rule: constants. Ownership: values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/text/ascii.h"
#include "kyro/base/text/slots.h"
#include "kyro/cli/flag.h"
#include "kyro/net/io/address.h"
#include "kyro/replica/log_url.h"
#include "kyro/server/config.h"

namespace kyro {

// RPS or RPS:BURST; "off" for none. 0 could mean either, so it is refused.
inline std::string set_cli_value(const CliFlag&, std::string_view text, RateLimit& value) {
  if (text == "off") {
    value = RateLimit{};
    return {};
  }
  const size_t colon = std::min(text.find(':'), text.size());
  const auto rate = parse_u64(text.substr(0, colon));
  const auto burst = colon == text.size() ? rate : parse_u64(text.substr(colon + 1));
  const auto is_good = [](const std::optional<uint64_t>& n) {
    return n && *n >= 1 && *n <= RateLimit::kMax;
  };
  if (!is_good(rate) || !is_good(burst)) {
    return "must be RPS or RPS:BURST, whole numbers from 1 to " + std::to_string(RateLimit::kMax) +
           ", or off, not " + cli_quoted(text);
  }
  value = RateLimit{static_cast<uint32_t>(*rate), static_cast<uint32_t>(*burst)};
  return {};
}

inline std::string get_cli_value(const CliFlag&, const RateLimit& value) {
  if (value.per_second == 0) return "off";
  return std::to_string(value.per_second) + ":" + std::to_string(value.burst);
}

// As --fsync takes it.
[[nodiscard]] inline std::string fsync_text(const Options& engine) {
  if (engine.fsync == FsyncPolicy::kAlways) return "always";
  if (engine.fsync == FsyncPolicy::kNever) return "never";
  return "interval:" + std::to_string(engine.fsync_interval_ms);
}

// HOST:PORT, several with commas between. An IPv6 address stands in brackets.
inline std::string set_cli_value(const CliFlag&, std::string_view text,
                                 std::vector<ListenAddress>& value) {
  value.clear();
  std::string refusal;
  for_each_element(
      text,
      [&](std::string_view one) {
        const size_t colon = one.rfind(':');
        const std::string_view host = one.substr(0, std::min(colon, one.size()));
        const std::string_view digits = colon == one.npos ? "" : one.substr(colon + 1);
        const uint64_t port = parse_u64(digits).value_or(UINT64_MAX);
        const bool is_bracketed = host.starts_with('[') && host.ends_with(']');
        const bool needs_brackets = host.find(':') != host.npos;
        if (host.empty() || is_bracketed != needs_brackets || port > UINT16_MAX ||
            !parse_ip_address(host, 0).ok()) {
          refusal = "must be HOST:PORT, like 127.0.0.1:3030 or [::1]:3030, not " + cli_quoted(one);
          return;
        }
        value.push_back({std::string(is_bracketed ? host.substr(1, host.size() - 2) : host),
                         static_cast<uint16_t>(port)});
      },
      ',');
  return refusal;
}

inline std::string get_cli_value(const CliFlag&, const std::vector<ListenAddress>& value) {
  std::string text;
  for (const ListenAddress& address : value) {
    text.append(text.empty() ? "" : ",").append(format_host_port(address.host, address.port));
  }
  return text;
}

// "0-5460,8000". Where all are served there is no text.
inline std::string set_cli_value(const CliFlag&, std::string_view text, SlotSet& value) {
  const auto set = SlotSet::parse(text);
  if (!set.ok()) return std::string(set.status().message());
  value = *set;
  return {};
}

inline std::string get_cli_value(const CliFlag&, const SlotSet& value) {
  return value.to_text();
}

// Where there is none there is no text.
inline std::string set_cli_value(const CliFlag&, std::string_view text, LogUrl& value) {
  auto url = LogUrl::parse(text);
  if (!url.ok()) return std::string(url.status().message());
  value = *std::move(url);
  return {};
}

inline std::string get_cli_value(const CliFlag&, const LogUrl& value) {
  return value.text;
}

namespace serve_detail {

inline std::string set_fsync(const CliFlag& flag, std::string_view text, void* options) {
  constexpr std::string_view kInterval = "interval:";
  constexpr uint64_t kIntervalMsMax = 3'600'000;
  auto* const config = static_cast<ServeConfig*>(options);
  Options& engine = config->engine;
  if (text == "always" || text == "never") {
    engine.fsync = text == "always" ? FsyncPolicy::kAlways : FsyncPolicy::kNever;
    config->is_fsync_given = true;
    return {};
  }
  if (!text.starts_with(kInterval)) {
    return "must be " + std::string(flag.value) + ", not " + cli_quoted(text);
  }
  const auto ms = parse_u64(text.substr(kInterval.size()));
  if (!ms || *ms == 0 || *ms > kIntervalMsMax) {
    return "interval must be a whole number of milliseconds from 1 to 3600000";
  }
  engine.fsync = FsyncPolicy::kInterval;
  engine.fsync_interval_ms = *ms;
  config->is_fsync_given = true;
  return {};
}

inline constexpr CliField kFsyncField{
    set_fsync, [](const CliFlag&, const void* options) {
      return fsync_text(static_cast<const ServeConfig*>(options)->engine);
    }};

using C = ServeConfig;
using H = HttpServerConfig;
using O = Options;

template <auto kMember>
inline constexpr CliField kOwn = kCliField<kMember>;
template <auto... kPath>
inline constexpr CliField kHttp = kCliField<&C::http, kPath...>;
template <auto... kPath>
inline constexpr CliField kEngine = kCliField<&C::engine, kPath...>;

inline constexpr double kDaySecs = 86400;
inline constexpr double kYearSecs = 366 * kDaySecs;
inline constexpr double kDayMs = kDaySecs * 1000;

inline constexpr CliBounds kEveryMs{1, kDayMs};
inline constexpr CliBounds kEverySecs{0, kYearSecs, "off"};
inline constexpr CliBounds kAfterBytes{0, kCliNoBound, "off"};

// clang-format off
inline constexpr CliFlag kServeFlags[] = {
    {"listen", "HOST:PORT", "listen here in place of HOST PORT; may be given several times",
     {}, kOwn<&C::listen>, 0, "Listening", true},
    {"unix-socket", "PATH",
     "listen on this Unix socket too; a path that is not a socket is never replaced",
     {}, kHttp<&H::unix_path>},
    {"unix-socket-mode", "MODE",
     "permissions of the Unix socket in octal, set before anyone can connect",
     {0, 0777}, kHttp<&H::unix_mode>},
    {"threads", "N", "reactors", {0, 1024, "as many as cores"}, kHttp<&H::threads>},
    {"max-connections", "N",
     "open connections; for more, those go that have held most for longest while their clients "
     "did not move (2 s at least), or the new ones are answered 503",
     {1, 1000000}, kHttp<&H::connections_max>},
    {"max-connections-per-ip", "N",
     "open connections of one address; more are answered 429 and closed",
     {0, 1000000, "no cap"}, kHttp<&H::connections_per_ip_max>},
    {"header-timeout-ms", "MS", "from the first byte of a request to the end of its header",
     kEveryMs, kHttp<&H::header_timeout_ms>},
    {"body-timeout-ms", "MS", "from the end of a request's header to the end of its body",
     kEveryMs, kHttp<&H::body_timeout_ms>},
    {"idle-timeout-ms", "MS", "a connection may wait so long between requests",
     kEveryMs, kHttp<&H::idle_timeout_ms>},
    {"write-timeout-ms", "MS",
     "a client may take so long to read an answer, and fall so far behind 1 KB/s in a stream",
     kEveryMs, kHttp<&H::write_timeout_ms>},
    {"drain-secs", "S", "after SIGTERM or SIGINT requests under way may take so long",
     {0, kDaySecs}, kOwn<&C::drain_secs>},

    {"auth-token", "TOKEN",
     "bearer token for everything but /health, /ready and /metrics (a file is safer: command "
     "lines are public). Tokens travel in clear: put a TLS proxy in front, or use the Unix socket",
     {}, kOwn<&C::auth_token>, 0, "Access"},
    {"auth-token-file", "FILE", "read the token from FILE, and again on SIGHUP",
     {}, kOwn<&C::auth_token_file>},
    {"read-token-file", "FILE",
     "a second token that may only read: GET and HEAD of data, /v1/mget, /metrics and "
     "/build_info; anything else is answered 403. Read again on SIGHUP",
     {}, kOwn<&C::read_token_file>},
    {"protect-metrics", "", "/metrics needs the token too", {}, kOwn<&C::protect_metrics>},
    {"no-auth", "", "serve without a token also beyond loopback, and to web pages",
     {}, kOwn<&C::no_auth>},
    {"no-page", "", "no status page: GET / answers a browser too with one line of JSON",
     {}, kOwn<&C::no_page>},

    {"data-dir", "DIR", "where everything is stored", {}, kEngine<&O::data_dir>, 'd', "Storage"},
    {"fsync", "always|interval:<ms>|never",
     "when a write counts as done: once it is on the disk; synced at least every <ms> "
     "milliseconds; when the system gets to it. Only the first survives a power cut",
     {}, kFsyncField},
    {"delta-max-bytes", "B",
     "newest writes held in memory before they become a run; up to three times as much is in "
     "memory", {64 * kKiB, 64.0 * kGiB}, kEngine<&O::delta_max_bytes>},
    {"wal-segment-bytes", "B", "size of a log file",
     {4 * kKiB, 16.0 * kGiB}, kEngine<&O::wal_segment_bytes>},
    {"wal-max-segments", "N",
     "log files kept for replay; data that is in no run yet is always kept",
     {1, 1000000}, kEngine<&O::wal_segments_max>},
    {"reserve-bytes", "B",
     "disk space set aside and released when the disk is full, for deletes and flushes",
     {0, 64.0 * kGiB, "none"}, kEngine<&O::reserve_bytes>},
    {"backup-dir", "DIR",
     "where POST /v1/backup?name=N may write backups; without it that answers 403",
     {}, kOwn<&C::backup_dir>},
    {"index-memory", "mmap|huge",
     "map the indexes from disk, or load them into anonymous huge pages",
     {}, kEngine<&O::huge_index>},
    {"warm-on-start", "", "read everything into memory before /ready says so",
     {}, kOwn<&C::warm_on_start>},

    {"snapshot-every-n-appends", "N", "flush after so many records, beside the delta's size",
     kAfterBytes, kEngine<&O::snapshot_every_appends>, 0, "Maintenance"},
    {"auto-snapshot-secs", "S", "flush every so often",
     kEverySecs, kEngine<&O::auto_snapshot_secs>},
    {"wal-max-bytes", "B", "flush and trim the log when it is larger",
     kAfterBytes, kEngine<&O::wal_bytes_max>},
    {"compact-interval-secs", "S", "compact every so often",
     kEverySecs, kEngine<&O::compact_interval_secs>},
    {"compact-when-wal-bytes", "B", "compact after so many bytes of log",
     kAfterBytes, kEngine<&O::compact_when_wal_bytes>},
    {"rmi-rebuild-appends", "N", "merge into one run under one index after so many records",
     kAfterBytes, kEngine<&O::rmi_rebuild_appends>},
    {"rmi-rebuild-ratio", "R",
     "merge into one run after so many records for each key there is (1,000 at least count)",
     {0, 1000000, "off"}, kEngine<&O::rmi_rebuild_ratio>},
    {"scrub-interval-secs", "S",
     "read every run again in the background, to notice what the disk has lost",
     kEverySecs, kEngine<&O::scrub_interval_secs>},
    {"stall-ms", "MS",
     "/ready is 503 once commits or flushes have had work and not come forward with it for so "
     "long; merges have ten times as long", {1000, 86'400'000}, kEngine<&O::stall_ms>},

    {"slots", "FIRST-LAST[,…]",
     "this is a shard: it has the keys in these of 16384 slots, CRC32C(decimal key) modulo 16384; "
     "others are answered 421", {}, kEngine<&O::slots>, 0, "Shards"},

    {"log", "URL",
     "share the log http://HOST:PORT[,…]/NAME, in etcd with these members, with every other server "
     "that is given it: all are replicas of one store. A write is then synced by a majority of the "
     "members when it is done, and --fsync is interval:100 if not given",
     {}, kOwn<&C::log_url>, 0, "Replicas"},
    {"log-user", "USER", "as whom etcd is asked", {}, kOwn<&C::log_user>},
    {"log-password-file", "FILE", "read that user's password from FILE",
     {}, kOwn<&C::log_password_file>},
    {"log-keep-bytes", "B",
     "so much of the shared log stays when it is trimmed, for replicas that were away",
     {static_cast<double>(1 * kMiB), kCliNoBound}, kOwn<&C::log_keep_bytes>},
    {"log-quota-bytes", "B",
     "etcd's quota, where etcd does not say it (before 3.6): from three quarters of it on writes "
     "are slowed",
     {static_cast<double>(1 * kMiB), kCliNoBound}, kOwn<&C::log_quota_bytes>},
    {"log-timeout-ms", "MS",
     "a write waits so long for the shared log, and a read with min_offset or consistency=latest "
     "for what it asks for; then 503", {100, 600'000}, kOwn<&C::log_timeout_ms>},

    {"max-value-bytes", "B", "larger values are answered 413",
     {1, kValueBytesCeiling}, kEngine<&O::max_value_bytes>, 0, "Limits"},
    {"max-batch-bytes", "B", "larger bodies of POST /v1/batch are answered 413",
     {1, kBatchBytesCeiling}, kEngine<&O::max_batch_bytes>},
    {"max-mget-keys", "N", "more keys in one mget are answered 413",
     {1, 16 * 1024 * 1024}, kOwn<&C::max_mget_keys>},
    {"max-inflight-bytes", "B",
     "request bodies together; beyond it reading pauses, then 503. And answers together that wait "
     "for slow readers; beyond it one that might have to wait is answered 503",
     {64 * kKiB, kCliNoBound}, kHttp<&H::inflight_bytes_max>},
    {"rate-data", "RPS[:BURST]",
     "requests a second that one address (IPv6: one /64) may make, and how many at once (a "
     "second's worth if not given); more are answered 429. Probes and admin routes do not count, "
     "nor does the Unix socket", {}, kOwn<&C::rate_data>},
    {"rate-admin", "RPS[:BURST]",
     "requests a second that one address may make to snapshot, compact, rmi/build, warmup and "
     "backup; more are answered 429", {}, kOwn<&C::rate_admin>},

    {"config", "FILE",
     "read flags from FILE, a line \"flag = value\" each, and tokens and what is logged again on "
     "SIGHUP; variables beat the file, flags both",
     {}, kOwn<&C::config_file>, 0, "Other", false, true},
    {"log-level", "debug|info|warn|error|off", "least severe level that is logged, on stderr",
     {}, kCliField<&C::log, &LogConfig::level>},
    {"log-format", "text|json", "form of the log lines",
     {}, kCliField<&C::log, &LogConfig::json>},
    {"request-log", "",
     "log a line for each request: route, status, bytes, time, peer; never a key or a value. "
     "Lines are dropped, and counted, where stderr is too slow", {}, kOwn<&C::request_log>},
    {"print-config", "",
     "print every option with its value and where that came from, as JSON with --log-format json, "
     "and exit; nothing is opened", {}, kOwn<&C::print_config>, 0, {}, false, true},

    {"rmi-target-leaf", "N", "keys per bucket that the root of an index aims for",
     {RmiOptions::kTargetLeafMin, RmiOptions::kTargetLeafMax},
     kEngine<&O::rmi, &RmiOptions::target_leaf>, 0, "Tuning"},
    {"rmi-eps-mult", "R", "multiplies the bound on the distance between a key and its prediction",
     {RmiOptions::kEpsMultMin, RmiOptions::kEpsMultMax},
     kEngine<&O::rmi, &RmiOptions::eps_mult>},
};
// clang-format on

}  // namespace serve_detail

// What `serve` takes, in the order of its help.
inline constexpr std::span<const CliFlag> kServeFlags = serve_detail::kServeFlags;

}  // namespace kyro
