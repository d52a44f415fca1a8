#include "kyro/server/serve_command.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/json/json_reader.h"

namespace kyro {
namespace {

// The environment of the parse under way.
std::map<std::string, std::string>& environment() {
  static std::map<std::string, std::string> variables;
  return variables;
}

const char* look_up(const char* name) {
  const auto found = environment().find(name);
  return found == environment().end() ? nullptr : found->second.c_str();
}

const CliCommand kServe[] = {serve_command(nullptr)};
const CliProgram kProgram{"kyrodb", "a store", "kyrodb COMMAND", "Serves.", kServe};

// The call that `arguments` (after "serve") make.
Status parse_call(std::vector<std::string_view> arguments, CliCall* call) {
  arguments.insert(arguments.begin(), "serve");
  return parse_cli(kProgram, arguments, call);
}

Result<ServeConfig> parse(std::vector<std::string_view> arguments,
                          std::map<std::string, std::string> variables = {}) {
  environment() = std::move(variables);
  CliCall call;
  KYRO_TRY(parse_call(std::move(arguments), &call));
  return read_serve_config(call, look_up);
}

ServeConfig parsed(std::vector<std::string_view> arguments,
                   std::map<std::string, std::string> variables = {}) {
  Result<ServeConfig> config = parse(std::move(arguments), std::move(variables));
  INFO(config.status().message());
  REQUIRE(config.ok());
  return std::move(config).value();
}

std::string refusal(std::vector<std::string_view> arguments,
                    std::map<std::string, std::string> variables = {}) {
  const Result<ServeConfig> config = parse(std::move(arguments), std::move(variables));
  if (config.ok()) return "accepted";
  CHECK(config.status().code() == Code::kInvalid);
  return std::string(config.status().message());
}

TEST_CASE("without flags and environment the documented defaults hold") {
  const ServeConfig config = parsed({});
  CHECK(config.http.host == "127.0.0.1");
  CHECK(config.http.port == 3030);
  CHECK(config.http.unix_path.empty());
  CHECK(config.http.threads == 0);
  CHECK(config.engine.data_dir == "./data");
  CHECK(config.engine.fsync == FsyncPolicy::kAlways);
  CHECK(config.auth_token.empty());
  CHECK(config.auth_token_file.empty());
  CHECK_FALSE(config.protect_metrics);
  CHECK_FALSE(config.no_auth);
  CHECK(config.engine.snapshot_every_appends == 0);
  CHECK(config.engine.auto_snapshot_secs == 0);
  CHECK(config.engine.delta_max_bytes == 64 * kMiB);
  CHECK(config.engine.wal_segment_bytes == 64 * kMiB);
  CHECK(config.engine.wal_segments_max == 8);
  CHECK(config.engine.wal_bytes_max == 0);
  CHECK(config.engine.compact_interval_secs == 0);
  CHECK(config.engine.compact_when_wal_bytes == 0);
  CHECK(config.engine.rmi_rebuild_appends == 0);
  CHECK(config.engine.rmi_rebuild_ratio == Approx(0));
  CHECK(config.engine.max_value_bytes == 16 * kMiB);
  CHECK(config.http.inflight_bytes_max == 256 * kMiB);
  CHECK(config.engine.reserve_bytes == 16 * kMiB);
  CHECK_FALSE(config.engine.huge_index);
  CHECK(config.http.connections_max == 10000);
  CHECK(config.http.connections_per_ip_max == 0);
  CHECK(config.http.header_timeout_ms == 10000);
  CHECK(config.http.body_timeout_ms == 30000);
  CHECK(config.http.idle_timeout_ms == 60000);
  CHECK(config.http.write_timeout_ms == 30000);
  CHECK(config.drain_secs == 10);
  CHECK(config.log.level == LogLevel::kInfo);
  CHECK_FALSE(config.log.json);
  CHECK_FALSE(config.warm_on_start);
}

TEST_CASE("every flag sets its field, with a space or an equals sign") {
  const ServeConfig a = parsed({"--data-dir",
                                "/srv/k",
                                "--unix-socket=/run/k.sock",
                                "--threads",
                                "3",
                                "--fsync=interval:250",
                                "--auth-token-file",
                                "/etc/token",
                                "--protect-metrics",
                                "--snapshot-every-n-appends=1000",
                                "--auto-snapshot-secs",
                                "60",
                                "--delta-max-bytes=1MiB",
                                "--wal-segment-bytes",
                                "2M",
                                "--wal-max-segments=3",
                                "--wal-max-bytes=1G",
                                "--compact-interval-secs=7",
                                "--compact-when-wal-bytes=5KiB",
                                "--rmi-rebuild-appends=9",
                                "--rmi-rebuild-ratio=0.25",
                                "::1",
                                "80"});
  CHECK(a.engine.data_dir == "/srv/k");
  CHECK(a.http.unix_path == "/run/k.sock");
  CHECK(a.http.threads == 3);
  CHECK(a.engine.fsync == FsyncPolicy::kInterval);
  CHECK(a.engine.fsync_interval_ms == 250);
  CHECK(a.auth_token_file == "/etc/token");
  CHECK(a.protect_metrics);
  CHECK(a.engine.snapshot_every_appends == 1000);
  CHECK(a.engine.auto_snapshot_secs == 60);
  CHECK(a.engine.delta_max_bytes == kMiB);
  CHECK(a.engine.wal_segment_bytes == 2 * kMiB);
  CHECK(a.engine.wal_segments_max == 3);
  CHECK(a.engine.wal_bytes_max == kGiB);
  CHECK(a.engine.compact_interval_secs == 7);
  CHECK(a.engine.compact_when_wal_bytes == 5 * kKiB);
  CHECK(a.engine.rmi_rebuild_appends == 9);
  CHECK(a.engine.rmi_rebuild_ratio == Approx(0.25));
  CHECK(a.http.host == "::1");
  CHECK(a.http.port == 80);
}

TEST_CASE("the other flags set their fields too") {
  const ServeConfig config = parsed({"0.0.0.0",
                                     "0",
                                     "--auth-token=a=b",
                                     "--no-auth",
                                     "--max-value-bytes=1",
                                     "-d",
                                     "x",
                                     "--max-inflight-bytes=100K",
                                     "--reserve-bytes=0",
                                     "--index-memory=huge",
                                     "--backup-dir=/b",
                                     "--scrub-interval-secs=5",
                                     "--stall-ms=2000",
                                     "--max-connections=5",
                                     "--max-connections-per-ip=2",
                                     "--header-timeout-ms=1",
                                     "--body-timeout-ms=2",
                                     "--idle-timeout-ms=3",
                                     "--write-timeout-ms=4",
                                     "--drain-secs=0",
                                     "--log-level=debug",
                                     "--log-format",
                                     "json",
                                     "--warm-on-start"});
  CHECK(config.http.host == "0.0.0.0");
  CHECK(config.http.port == 0);
  CHECK(config.auth_token == "a=b");
  CHECK(config.no_auth);
  CHECK(config.engine.max_value_bytes == 1);
  CHECK(config.engine.data_dir == "x");
  CHECK(config.http.inflight_bytes_max == 100 * kKiB);
  CHECK(config.engine.reserve_bytes == 0);
  CHECK(config.engine.huge_index);
  CHECK(config.backup_dir == "/b");
  CHECK(config.engine.scrub_interval_secs == 5);
  CHECK(config.engine.stall_ms == 2000);
  CHECK(config.http.connections_max == 5);
  CHECK(config.http.connections_per_ip_max == 2);
  CHECK(config.http.header_timeout_ms == 1);
  CHECK(config.http.body_timeout_ms == 2);
  CHECK(config.http.idle_timeout_ms == 3);
  CHECK(config.http.write_timeout_ms == 4);
  CHECK(config.drain_secs == 0);
  CHECK(config.log.level == LogLevel::kDebug);
  CHECK(config.log.json);
  CHECK(config.warm_on_start);
}

TEST_CASE("a flag beats the environment, which beats the default, and the last flag wins") {
  const std::map<std::string, std::string> variables = {
      {"KYRODB_THREADS", "2"},          {"KYRODB_DATA_DIR", "/env"},
      {"KYRODB_NO_AUTH", "1"},          {"KYRODB_WARM_ON_START", "true"},
      {"KYRODB_FSYNC", "never"},        {"KYRODB_LOG_LEVEL", "warn"},
      {"KYRODB_RMI_TARGET_LEAF", "64"}, {"KYRODB_RMI_EPS_MULT", "1.75"},
      {"KYRODB_PORT", "tcp://x"}};
  const ServeConfig config =
      parsed({"--threads=7", "--threads", "8", "--no-auth=false", "--log-level=error"}, variables);
  CHECK(config.http.threads == 8);
  CHECK(config.engine.data_dir == "/env");
  CHECK_FALSE(config.no_auth);
  CHECK(config.warm_on_start);
  CHECK(config.engine.fsync == FsyncPolicy::kNever);
  CHECK(config.log.level == LogLevel::kError);
  CHECK(config.engine.rmi.target_leaf == 64);
  CHECK(config.engine.rmi.eps_mult == Approx(1.75));
  CHECK(config.http.port == 3030);
}

TEST_CASE("a token flag replaces a token file of the environment, and the other way round") {
  const ServeConfig by_flag = parsed({"--auth-token=t"}, {{"KYRODB_AUTH_TOKEN_FILE", "/f"}});
  CHECK(by_flag.auth_token == "t");
  CHECK(by_flag.auth_token_file.empty());
  const ServeConfig by_file = parsed({"--auth-token-file=/f"}, {{"KYRODB_AUTH_TOKEN", "t"}});
  CHECK(by_file.auth_token.empty());
  CHECK(by_file.auth_token_file == "/f");
  CHECK(refusal({"--auth-token=t", "--auth-token-file=/f"}) ==
        "--auth-token and --auth-token-file must not be given together");
  CHECK(refusal({}, {{"KYRODB_AUTH_TOKEN", "t"}, {"KYRODB_AUTH_TOKEN_FILE", "/f"}}) ==
        "--auth-token and --auth-token-file must not be given together");
}

TEST_CASE("an unknown flag is refused and the nearest one named") {
  CHECK(refusal({"--thread", "3"}) == "unknown flag --thread; the nearest is --threads");
  CHECK(refusal({"--treads=3"}) == "unknown flag --treads; the nearest is --threads");
  CHECK(refusal({"--datadir"}) == "unknown flag --datadir; the nearest is --data-dir");
  CHECK(refusal({"--data_dir=x"}) == "unknown flag --data_dir; the nearest is --data-dir");
  CHECK(refusal({"--noauth"}) == "unknown flag --noauth; the nearest is --no-auth");
  CHECK(refusal({"--snapshot-every"}) ==
        "unknown flag --snapshot-every; the nearest is --snapshot-every-n-appends");
  CHECK(refusal({"-threads", "3"}) == "unknown flag -threads; the nearest is --threads");
  CHECK(refusal({"--wal-segment=1M"}) ==
        "unknown flag --wal-segment; the nearest is --wal-segment-bytes");
}

TEST_CASE("a flag that is like no other is refused without a suggestion") {
  CHECK(refusal({"--port", "4000"}) == "unknown flag --port");
  CHECK(refusal({"--FSYNC=never"}) == "unknown flag --FSYNC");
  CHECK(refusal({"-x"}) == "unknown flag -x");
  CHECK(refusal({"--=3"}) == "unknown flag --");
  CHECK(refusal({"--json"}) == "unknown flag --json");
  const std::string endless = "--" + std::string(100000, 'x');
  CHECK(refusal({endless}) == "unknown flag " + endless);
}

TEST_CASE("bad numbers, units and words are refused with a sentence that names the flag") {
  constexpr std::string_view kNumber = "--threads must be a whole number from 0 to 1024, not ";
  for (const std::string_view text : {"", "x", "1x", "-1", "+1", "1.5", "01", " 1", "1 ", "0x10",
                                      "1e3", "1025", "99999999999999999999"}) {
    CHECK(refusal({"--threads", text}) ==
          std::string(kNumber).append("\"").append(text).append("\""));
  }
  CHECK(refusal({"--delta-max-bytes=64MB"}) ==
        "--delta-max-bytes has the unknown unit \"MB\" (known are K, M, G, KiB, MiB and GiB)");
  for (const std::string_view text :
       {"1kb", "1k", "1mib", "1T", "1TiB", "1B", "1 MiB", "1KiBx", "1MiB "}) {
    CHECK(refusal({"--delta-max-bytes", text}).find("has the unknown unit") != std::string::npos);
  }
  for (const std::string_view text : {"", "MiB", "-1M", "1.5GiB", "0x1K", "18446744073709551615K",
                                      "99999999999999999999", "007K", "1K", "65GiB"}) {
    const std::string message = refusal({"--delta-max-bytes", text});
    INFO(message);
    CHECK(message.find("--delta-max-bytes ") == 0);
  }
  CHECK(refusal({"--delta-max-bytes=1K"}) ==
        "--delta-max-bytes must be a size like 512, 64KiB or 16M from 64KiB to 64GiB, not \"1K\"");
  CHECK(refusal({"--wal-max-bytes=x"}) ==
        "--wal-max-bytes must be a size like 512, 64KiB or 16M, at least 0, not \"x\"");
  CHECK(refusal({"--idle-timeout-ms=0"}) ==
        "--idle-timeout-ms must be a whole number of milliseconds from 1 to 86400000, not \"0\"");
  CHECK(refusal({"--drain-secs=10s"}) ==
        "--drain-secs must be a whole number of seconds from 0 to 86400, not \"10s\"");
  for (const std::string_view text :
       {"", "x", "-1", "nan", "inf", "1e2", "0x1", "1.2.3", ".5", "1,5"}) {
    CHECK(refusal({"--rmi-rebuild-ratio", text}).find("must be a number from 0 to 1e+06") !=
          std::string::npos);
  }
  CHECK(refusal({"--index-memory=ram"}) == "--index-memory must be one of mmap|huge, not \"ram\"");
  CHECK(refusal({"--log-level=INFO"}) ==
        "--log-level must be one of debug|info|warn|error|off, not \"INFO\"");
  CHECK(refusal({"--log-format="}) == "--log-format must be one of text|json, not \"\"");
  CHECK(refusal({"--fsync=sometimes"}) ==
        "--fsync must be always|interval:<ms>|never, not \"sometimes\"");
  for (const std::string_view text :
       {"interval:", "interval:0", "interval:-1", "interval:5s", "interval:3600001"}) {
    CHECK(refusal({"--fsync", text}) ==
          "--fsync interval must be a whole number of milliseconds from 1 to 3600000");
  }
  CHECK(refusal({"--no-auth=yes"}) == "--no-auth is on or off: use true, false, 1 or 0");
  CHECK(refusal({"--auth-token="}) == "--auth-token must not be empty");
  CHECK(refusal({"--data-dir", ""}) == "--data-dir must not be empty");
  CHECK(refusal({"--data-dir"}) == "--data-dir needs a value");
  CHECK(refusal({"--data-dir", "--threads=1"}) == "--data-dir needs a value");
  CHECK(refusal({"-d"}) == "--data-dir needs a value");
  CHECK(refusal({"--max-value-bytes=1GiB"}) ==
        "--max-inflight-bytes must not be smaller than --max-value-bytes");
  CHECK(refusal({"--max-value-bytes=2GiB"}).find("--max-value-bytes must be") == 0);
}

TEST_CASE("rates are whole numbers with a burst, a second's worth if none is given") {
  const auto rate = [](std::string_view text) {
    const RateLimit parsed_rate = parsed({"--rate-data", text}).rate_data;
    return std::to_string(parsed_rate.per_second) + ":" + std::to_string(parsed_rate.burst);
  };
  CHECK(rate("100") == "100:100");
  CHECK(rate("1:1") == "1:1");
  CHECK(rate("5:1000000") == "5:1000000");
  CHECK(rate("off") == "0:0");
  CHECK(parsed({}).rate_admin.per_second == 0);
  CHECK(parsed({}, {{"KYRODB_RATE_ADMIN", "2:3"}}).rate_admin.burst == 3);
  for (const std::string_view text : {":", "1:", ":1", "1:0", "0", "0:1", "-1", "1.5", "1:2:3",
                                      "01", "1000001", "1:1000001", "1 ", "one"}) {
    INFO(text);
    CHECK(
        refusal({"--rate-admin", text})
            .starts_with("--rate-admin must be RPS or RPS:BURST, whole numbers from 1 to 1000000"));
  }
}

TEST_CASE("the mode of the socket is octal permission bits") {
  CHECK(parsed({}).http.unix_mode == 0600);
  CHECK(parsed({"--unix-socket-mode", "660"}).http.unix_mode == 0660);
  CHECK(parsed({"--unix-socket-mode=0777"}).http.unix_mode == 0777);
  CHECK(parsed({"--unix-socket-mode=0"}).http.unix_mode == 0);
  for (const std::string_view text : {"", "8", "0o600", "1777", "-1", "600 ", "0x1ff", "rw"}) {
    INFO(text);
    CHECK(refusal({"--unix-socket-mode", text}).find("octal") != std::string::npos);
  }
}

TEST_CASE("a read token needs a token beside it") {
  CHECK(refusal({"--read-token-file", "r"}).starts_with("--read-token-file needs "));
  CHECK(parsed({"--read-token-file", "r", "--auth-token", "t"}).read_token_file == "r");
  CHECK(parsed({"--read-token-file", "r", "--auth-token-file", "f"}).read_token_file == "r");
  CHECK(parsed({"--request-log"}).request_log);
}

TEST_CASE("a bad environment variable is refused by its own name") {
  CHECK(refusal({}, {{"KYRODB_THREADS", "many"}}) ==
        "KYRODB_THREADS (the flag --threads) must be a whole number from 0 to 1024, not \"many\"");
  CHECK(refusal({}, {{"KYRODB_RMI_EPS_MULT", "0.5"}})
            .starts_with("KYRODB_RMI_EPS_MULT (the flag --rmi-eps-mult) must be a number"));
  CHECK(refusal({}, {{"KYRODB_AUTH_TOKEN", ""}}).find("must not be empty") != std::string::npos);
}

TEST_CASE("host and port are given together, the port is a plain number") {
  CHECK(refusal({"127.0.0.1"}) == "HOST and PORT must be given together, like 127.0.0.1 3030");
  CHECK(refusal({"127.0.0.1", "http"}) ==
        "PORT must be a whole number from 0 to 65535, not \"http\"");
  CHECK(refusal({"127.0.0.1", "65536"}).find("PORT must be") == 0);
  CHECK(refusal({"", "1"}) == "HOST must not be empty");
  CHECK(refusal({"127.0.0.1", "80", "extra"}) == "usage: kyrodb serve [FLAGS] [HOST PORT]");
  CHECK(parsed({"--", "localhost", "65535"}).http.port == 65535);
}

TEST_CASE("help is asked for with --help or -h, whatever else is wrong with the environment") {
  environment() = {{"KYRODB_THREADS", "x"}};
  for (const std::string_view word : {"--help", "-h"}) {
    CliCall call;
    CHECK(parse_call({"--threads=2", word}, &call).ok());
    CHECK(call.wants_help);
  }
}

TEST_CASE("the help names every option with its default and stays within eighty columns") {
  const std::string help = command_help(kProgram, kServe[0]);
  CHECK(help.find("(default " + kServeDefaults.http.host + " " +
                  std::to_string(kServeDefaults.http.port) + ")") != help.npos);
  for (const CliFlag& flag : kServe[0].flags) {
    INFO(flag.name);
    CHECK(help.find(" --" + std::string(flag.name)) != help.npos);
    CHECK_FALSE(flag.help.starts_with("the same"));
    CHECK(flag.field.set != nullptr);
  }
  for (const std::string_view part :
       {"  -d, --data-dir <DIR>", "(default ./data)", "(default 64MiB)",
        "(default 0: as many as cores)", "--fsync always|interval:<ms>|never",
        "(default 16MiB; 0: none)", "(default info)", "(default always)"}) {
    INFO(part);
    CHECK(help.find(part) != std::string::npos);
  }
  size_t line_begin = 0;
  for (size_t end = help.find('\n'); end != std::string::npos; end = help.find('\n', line_begin)) {
    CHECK(end - line_begin <= 80);
    CHECK((end == line_begin || help[end - 1] != ' '));
    line_begin = end + 1;
  }
}

TEST_CASE("every flag that was promised exists, and is a variable too") {
  constexpr std::string_view kPromised =
      "data-dir unix-socket threads fsync auth-token auth-token-file protect-metrics "
      "no-auth snapshot-every-n-appends auto-snapshot-secs delta-max-bytes "
      "wal-segment-bytes wal-max-segments wal-max-bytes compact-interval-secs "
      "compact-when-wal-bytes rmi-rebuild-appends rmi-rebuild-ratio max-value-bytes "
      "max-batch-bytes max-mget-keys max-inflight-bytes backup-dir reserve-bytes "
      "index-memory max-connections max-connections-per-ip header-timeout-ms "
      "body-timeout-ms idle-timeout-ms write-timeout-ms rate-data rate-admin "
      "drain-secs log-level log-format warm-on-start read-token-file";
  for_each_element(
      kPromised,
      [](std::string_view name) {
        INFO(name);
        const CliFlag* flag = cli_detail::find_flag(kServe[0].flags, "--" + std::string(name));
        REQUIRE(flag != nullptr);
        CHECK(variable_name(kServe[0], *flag).starts_with("KYRODB_"));
      },
      ' ');
}

// A line of --print-config: name, value, origin.
std::string config_line(const std::string& text, std::string_view name) {
  const std::string lines = "\n" + text;
  const size_t begin = lines.find("\n" + std::string(name) + " ");
  if (begin == lines.npos) return "not there";
  std::string out;
  for (const char c : lines.substr(begin + 1, lines.find('\n', begin + 1) - begin - 1)) {
    if (c != ' ' || !out.ends_with(' ')) out += c;
  }
  return out;
}

std::string printed(std::vector<std::string_view> arguments,
                    std::map<std::string, std::string> variables = {}) {
  environment() = std::move(variables);
  CliCall call;
  REQUIRE(parse_call(std::move(arguments), &call).ok());
  const auto config = read_serve_config(call, look_up);
  REQUIRE(config.ok());
  return print_config_text(call, look_up, *config);
}

TEST_CASE("--print-config says every value and where it came from, and keeps secrets") {
  const std::string text =
      printed({"--print-config", "--threads=3", "--fsync=interval:7", "-d", "here", "::1", "80"},
              {{"KYRODB_AUTH_TOKEN", "hush"},
               {"KYRODB_THREADS", "9"},
               {"KYRODB_DELTA_MAX_BYTES", "1M"},
               {"KYRODB_RMI_TARGET_LEAF", "64"}});
  CHECK(config_line(text, "host") == "host ::1 argument");
  CHECK(config_line(text, "port") == "port 80 argument");
  CHECK(config_line(text, "threads") == "threads 3 --threads");
  CHECK(config_line(text, "fsync") == "fsync interval:7 --fsync");
  CHECK(config_line(text, "data-dir") == "data-dir here --data-dir");
  CHECK(config_line(text, "delta-max-bytes") == "delta-max-bytes 1MiB KYRODB_DELTA_MAX_BYTES");
  CHECK(config_line(text, "auth-token") == "auth-token (hidden) KYRODB_AUTH_TOKEN");
  CHECK(config_line(text, "auth-token-file") == "auth-token-file - default");
  CHECK(config_line(text, "rmi-target-leaf") == "rmi-target-leaf 64 KYRODB_RMI_TARGET_LEAF");
  CHECK(config_line(text, "no-auth") == "no-auth false default");
  CHECK(text.find("hush") == text.npos);
  for (const CliFlag& flag : kServe[0].flags) {
    INFO(flag.name);
    const bool is_there = config_line(text, flag.name) != "not there";
    CHECK(is_there == (flag.name != "print-config"));
  }
  // A flag sets aside what the environment says and it excludes.
  const std::string other = printed({"--auth-token-file", "f"}, {{"KYRODB_AUTH_TOKEN", "hush"}});
  CHECK(config_line(other, "auth-token") == "auth-token - default");
  CHECK(config_line(other, "auth-token-file") == "auth-token-file f --auth-token-file");
}

TEST_CASE("--print-config is JSON where the log is") {
  const std::string text =
      printed({"--print-config", "--log-format", "json", "--data-dir", "a \"b\""});
  JsonReader json(text);
  CHECK(json.skip_value());
  CHECK(json.finish().ok());
  CHECK(text.starts_with(R"({"options":[{"name":"host","value":"127.0.0.1","origin":"default"},)"));
  CHECK(text.find(R"({"name":"data-dir","value":"a \"b\"","origin":"--data-dir"})") != text.npos);
  CHECK(text.find(R"({"name":"log-format","value":"json","origin":"--log-format"})") != text.npos);
}

TEST_CASE("the flags have no name twice, and each takes its own default back") {
  std::set<std::string_view> names;
  for (const CliFlag& flag : kServe[0].flags) {
    INFO(flag.name);
    CHECK(names.insert(flag.name).second);
    const std::string text = default_text(&kServe[0], flag);
    ServeConfig config;
    if (text.empty()) continue;
    CHECK(flag.field.set(flag, text, &config) == "");
    CHECK(flag.field.get(flag, &config) == text);
  }
}

}  // namespace
}  // namespace kyro
