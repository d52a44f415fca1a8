// `kyrodbctl`: the command line client. One table of commands; parsing, help, man page and
// completions read it. What the commands do is in the headers beside it.
//
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/cli/command_line.h"
#include "kyro/cli/docs.h"
#include "kyro/client/backup.h"
#include "kyro/client/cluster.h"
#include "kyro/client/probe.h"
#include "kyro/client/ranges.h"
#include "kyro/client/requests.h"
#include "kyro/client/session.h"
#include "kyro/client/status.h"
#include "kyro/client/streams.h"
#include "kyro/client/top.h"
#include "kyro/client/transfer.h"
#include "kyro/client/values.h"

namespace kyro {
namespace ctl {

inline int run_help(const CliCall& call);
inline int run_completion(const CliCall& call);
inline int run_shell_here(const CliCall& call);

// clang-format off
inline constexpr CliFlag kGlobalFlags[] = {
    {"engine", "URL", "where the server is: http://HOST:PORT, https://HOST:PORT or unix:/PATH", {},
     {nullptr, [](const CliFlag&, const void*) { return std::string(kDefaultEngineUrl); }}, 'e'},
    {"shards", "FILE",
     "the servers that have a part of the keys each: a slot map with a line \"#url NAME URL\" for "
     "each shard"},
    {"token-file", "FILE", "a file with the bearer token"},
    {"connect-command", "COMMAND",
     "a program whose standard input and output are the connection, as ssh's ProxyCommand"},
    {"json", "", "print answers as JSON: one document, or a line per record"},
};
inline constexpr CliFlag kPutFlags[] = {
    {"ttl", "SECS", "the value expires after so many seconds", kCliFromOne},
    {"if-match", "OFFSET", "only if the key's version is this offset; * if the key is there"},
    {"if-none-match", "", "only if the key is not there"},
};
inline constexpr CliFlag kDeleteFlags[] = {
    {"if-match", "OFFSET", "only if the key's version is this offset"},
};
inline constexpr CliFlag kStartKey{"start", "KEY", "the first key (default 0)", kCliAnyNumber};
inline constexpr CliFlag kEndKey{"end", "KEY", "the key to stop before (default: none)",
                                 kCliAnyNumber};
inline constexpr CliFlag kLimit{"limit", "N", "at most so many (default: all)", kCliFromOne};
inline constexpr CliFlag kScanFlags[] = {
    kStartKey,
    kEndKey,
    kLimit,
    {"reverse", "", "from the largest key down"},
    {"keys-only", "", "keys and offsets without values"},
};
inline constexpr CliFlag kCountFlags[] = {kStartKey, kEndKey};
inline constexpr CliFlag kDeleteRangeFlags[] = {
    {"start", "KEY", "the first key, which has to be given", kCliAnyNumber},
    kEndKey,
    kLimit,
    {"yes", "", "do not ask"},
};
inline constexpr CliFlag kImportFlags[] = {
    {"format", "ndjson|csv", "what the input is (default: by the file's name or first byte)"},
    {"skip", "N", "pass over the first N records, which are stored already", kCliAnyNumber},
};
inline constexpr CliFlag kExportFlags[] = {
    {"format", "ndjson|csv", "what to write (default: by the file's name, else ndjson)"},
    {"base64", "", "CSV with the header key,value_base64 instead of key,value"},
    {"expires", "", "CSV with a column for the Unix time in which a record expires"},
    kStartKey,
    kEndKey,
};
inline constexpr CliFlag kReplayFlags[] = {
    {"start", "OFFSET", "the first record (default: the oldest kept)", kCliAnyNumber},
    {"end", "OFFSET", "the record to stop before (default: none)", kCliAnyNumber},
    kLimit,
};
inline constexpr CliFlag kStatusFlags[] = {
    {"watch", "", "again every second, until it is interrupted"},
};
inline constexpr CliFlag kClusterFlags[] = {
    {"endpoints", "URL[,…]", "the servers to ask (default: that of -e); may be given several times",
     {}, {}, 0, {}, true},
};
inline constexpr CliFlag kSubscribeFlags[] = {
    {"from", "OFFSET", "begin with this record (default: the next one written)", kCliAnyNumber},
    {"key", "KEY", "only records of this key", kCliAnyNumber},
    {"start", "KEY", "only records of keys from this one on", kCliAnyNumber},
    {"end", "KEY", "only records of keys before this one", kCliAnyNumber},
    kLimit,
};
inline constexpr CliFlag kWatchFlags[] = {kLimit};
inline constexpr CliFlag kBackupFlags[] = {
    {"output", "FILE", "where the archive goes; - is standard output", {}, {}, 'o'},
};
inline constexpr CliFlag kTopFlags[] = {
    {"count", "N", "end after so many seconds (default: never)", kCliFromOne},
};
inline constexpr CliFlag kLatencyFlags[] = {
    {"rate", "N", "requests a second (default 100)", {1, 1e6}},
    {"secs", "SECS", "how long (default 10)", {1, 86400}},
    {"key", "KEY", "the key that is read (default 0); it need not be there", kCliAnyNumber},
};
inline constexpr CliFlag kBenchFlags[] = {
    {"secs", "SECS", "how long each part takes (default 3)", {1, 3600}},
    {"connections", "N", "that ask at the same time (default 16)", {1, 1000}},
    {"start", "KEY", "the first key that is written (default 2^63)", kCliAnyNumber},
};
inline constexpr CliFlag kBackupsFlags[] = {{"remove", "NAME", "remove this one instead"}};

using Call = const CliCall&;

inline constexpr CliCommand kCommands[] = {
    {"health", "", "say whether the process lives", 0, 0,
     [](Call c) { return send_request(c, {"GET", "/health"}); }},
    {"ready", "", "say whether it serves reads and writes (exit 1 if not)", 0, 0,
     [](Call c) { return send_request(c, {"GET", "/ready", Reply::kProbe}); }},
    {"offset", "", "the offset the next write gets, and the database's id", 0, 0,
     [](Call c) { return send_request(c, {"GET", "/v1/offset"}); }},
    {"status", "", "what the server does and has: traffic, keys, log, runs, index", 0, 0,
     run_status, kStatusFlags, "--json prints the answer of /v1/status as it comes.",
     "info stats overview"},
    {"cluster", "", "how each of several servers stands to the log that they share", 0, 0,
     run_cluster, kClusterFlags,
     "A line for each: its state, whether it takes writes, its next offset, where the log ends, "
     "how many records it is behind, which member of etcd it asks, and who wrote last. Exit 5 if "
     "one cannot be reached, 1 if one is not ready or is of another database than the first.",
     "replicas members nodes lag"},
    {"top", "", "what the server does in this second, by route", 0, 0, run_top, kTopFlags,
     "Rates and times out of two looks at /metrics. A time is the bound of a histogram's bucket: "
     "so many answers took at most so long.", "htop load"},
    {"latency", "", "how long an answer takes from here", 0, 0, run_latency, kLatencyFlags,
     "Reads one key at a fixed rate. A time counts from when a request was due, whether or not it "
     "could be sent then: a server that stops answering is charged for all that waited.",
     "ping rtt"},
    {"bench", "", "a small load, for a first impression", 0, 0, run_bench, kBenchFlags,
     "Puts, then gets, from one client: what the server can do, the benchmarks of the source tree "
     "measure. Writes up to 100,000 keys from --start on, where there must be none, and removes "
     "them; interrupted, it leaves them there.", "benchmark"},
    {"metrics", "", "the metrics page; with --json a line for each sample", 0, 0,
     [](Call c) { return send_request(c, {"GET", "/metrics", Reply::kMetrics}); }},
    {"put", "KEY VALUE|-", "store a value; - reads it from standard input", 2, 2, run_put,
     kPutFlags, "Prints the offset of the write. Exit 4 if a condition does not hold.",
     "set write store insert update"},
    {"get", "KEY", "the raw value; with --json what lookup says", 1, 1,
     [](Call c) {
       return send_keyed(c, c.has("json") ? Request{"GET", "/v1/lookup?key="}
                                          : Request{"GET", "/v1/kv/", Reply::kBytes});
     }, {}, {}, "read cat fetch"},
    {"delete", "KEY", "remove a key (exit 3 if it is not there)", 1, 1, run_delete,
     kDeleteFlags, {}, "del rm remove unset"},
    {"ttl", "KEY", "how many seconds a key has left", 1, 1, run_ttl, {}, {}, "expire pttl"},
    {"incr", "KEY [N]", "add N (default 1) to a value that is a number", 1, 2, run_incr, {},
     "By compare-and-swap, so of many that do so at once each counts; it says how many tries that "
     "took. A key that is not there counts as 0, a lifetime stays. A negative N comes after --.",
     "decr incrby increment counter add"},
    {"lookup", "KEY", "key, value and offset", 1, 1,
     [](Call c) { return send_keyed(c, {"GET", "/v1/lookup?key="}); }},
    {"floor", "KEY", "key, value and offset of the nearest key at or below KEY", 1, 1,
     [](Call c) { return run_nearest(c, Direction::kDown); }},
    {"ceil", "KEY", "key, value and offset of the nearest key at or above KEY", 1, 1,
     [](Call c) { return run_nearest(c, Direction::kUp); }},
    {"mget", "KEY...|-", "the values of many keys, a JSON line each", 1, kAnyWords, run_mget, {},
     "With - the keys come from standard input, one a line. The value of an absent key is null, "
     "and the exit code is 3 if there is one."},
    {"scan", "", "the records of a range in key order, a JSON line each", 0, 0, run_scan,
     kScanFlags, {}, "ls list keys range dir"},
    {"count", "", "how many keys a range has, exactly", 0, 0, run_count, kCountFlags, {},
     "size number dbsize"},
    {"delete-range", "", "remove the keys of a range", 0, 0, run_delete_range, kDeleteRangeFlags,
     "On a terminal it says how many keys that is and asks, unless --yes is given. Keys are "
     "removed in groups, each of them all or not at all; where it stops, the message says where to "
     "go on.",
     "flush truncate clear flushdb"},
    {"batch", "FILE|-", "lines of puts and deletes, stored all or not at all", 1, 1, run_batch, {},
     "A line is {\"op\":\"put\",\"key\":K,\"value\":\"V\"} or {\"op\":\"delete\",\"key\":K}. "
     "For more than one batch can hold there is import."},
    {"import", "FILE|-", "store records of NDJSON or CSV", 1, 1, run_import, kImportFlags,
     "An NDJSON line is {\"key\":K,\"value\":\"V\"}, or value_base64 for bytes that are not text, "
     "with ttl_secs or expires (Unix time) if it has a lifetime; CSV has the header key,value or "
     "key,value_base64, and may have a third column expires. What expired before it is imported is "
     "absent afterwards. Records are stored in batches of up to 1000, each of them all or not at "
     "all. If the import stops, the message names the line and the record to go on from with "
     "--skip: what stands before it is stored; what stands after it may be, and storing it again "
     "changes nothing. A server that is busy is tried again."},
    {"export", "[FILE|-]", "write the records of a range as NDJSON or CSV", 0, 1, run_export,
     kExportFlags,
     "What it writes, import reads, lifetimes included (of CSV with --expires): a record expires "
     "in the second in which the original does. A file appears under its name only when it is "
     "whole."},
    {"snapshot", "", "flush what is in memory into a run", 0, 0,
     [](Call c) { return send_maintenance(c, "/v1/snapshot"); }},
    {"compact", "", "merge everything into one run", 0, 0,
     [](Call c) { return send_maintenance(c, "/v1/compact"); }},
    {"rmi-build", "", "merge everything into one run and build its index anew", 0, 0,
     [](Call c) { return send_maintenance(c, "/v1/rmi/build"); }},
    {"warmup", "", "bring the data into memory", 0, 0,
     [](Call c) { return send_maintenance(c, "/v1/warmup"); }},
    {"backup", "[NAME]", "make a backup in the server's --backup-dir, or here", 0, 1, run_backup,
     kBackupFlags,
     "With -o it comes as a tar archive, while writes go on, and appears under its name only when "
     "it is whole; kyrodb verify and kyrodb restore take it as it is. With NAME it lies below "
     "--backup-dir.", "dump save"},
    {"backups", "", "the backups in the server's --backup-dir", 0, 0, run_backups, kBackupsFlags},
    {"replay", "", "records of the log, a JSON line each", 0, 0, run_replay, kReplayFlags},
    {"subscribe", "", "records of the log, past and live, until it is interrupted", 0, 0,
     run_subscribe, kSubscribeFlags, {}, "follow tail listen"},
    {"watch", "KEY", "a key as it is, then every change of it, a JSON line each", 1, 1, run_watch,
     kWatchFlags, "Begins with the record that is there, if there is one; it goes on until it is "
     "interrupted, without a change missed or told twice.", "observe monitor notify"},
    {"shell", "", "commands from standard input, a line each", 0, 0, run_shell_here, {},
     "Words are separated by blanks, or stand in quotes; # begins a comment, quit ends it. The "
     "exit code is that of the last command. "
     "For history and editing: rlwrap kyrodbctl shell.", "repl console cli"},
    {"completion", "bash|zsh", "print a completion script", 1, 1, run_completion},
    {"help", "[COMMAND|--man]", "this text, a command's, or the man page", 0, 1, run_help,
     kManFlags},
};
// clang-format on

inline constexpr CliEntry kExamples[] = {
    {"kyrodbctl put 7 seven --ttl 3600", "Stores a value that lives for an hour."},
    {"kyrodbctl -e https://db.example.com get 7", "Asks a server behind a TLS proxy."},
    {"kyrodbctl export all.ndjson", "Saves everything; kyrodbctl import all.ndjson reads it."},
    {"kyrodbctl watch 7", "Prints the value, and every change of it."},
    {"kyrodbctl scan --start 100 --limit 10 | jq .key", "The first ten keys from 100 on."},
};
inline constexpr CliEntry kFiles[] = {
    {"FILE.PID.partial",
     "What export and backup write into, and rename to FILE when it is whole and on the disk. One "
     "that is left over, of a process that has ended, may be removed."},
};
inline constexpr CliEntry kSignals[] = {
    {"SIGINT, SIGTERM",
     "End it at once. A FILE of export or backup is then what it was before; what import, "
     "delete-range and bench have done stays."},
};
inline constexpr CliEntry kVariables[] = {
    {"KYRODB_URL", "Where the server is, unless -e says so."},
    {"KYRODB_TOKEN_FILE", "The file with the token, unless --token-file names one."},
};

inline constexpr CliProgram kProgram{
    "kyrodbctl",
    "client of the KyroDB key-value store",
    "kyrodbctl [FLAGS] COMMAND",
    "Speaks to a KyroDB server. Data goes to standard output, messages to standard error.",
    kCommands,
    kGlobalFlags,
    kExamples,
    kFiles,
    kVariables,
    kSignals,
};

inline int run_help(const CliCall& call) {
  return print_help(kProgram, call, "kyrodb");
}
inline int run_completion(const CliCall& call) {
  return print_completion(kProgram, call);
}
inline int run_shell_here(const CliCall& call) {
  return run_shell(call, [](const std::vector<std::string_view>& words) {
    return run_program(kProgram, words);
  });
}

}  // namespace ctl

[[nodiscard]] inline const CliProgram& ctl_program() {
  return ctl::kProgram;
}

// Runs the client with the words after the program's name; the exit code.
[[nodiscard]] inline int run_ctl(std::span<const std::string_view> words) {
  const auto flags_end = std::find(words.begin(), words.end(), "--");
  cli_errors_are_json() = std::find(words.begin(), flags_end, "--json") != flags_end;
  return run_program(ctl::kProgram, words);
}

}  // namespace kyro
