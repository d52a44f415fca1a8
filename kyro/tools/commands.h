// Offline tools on data directories: `kyrodb verify`, `backup`, `restore`, `dump`, `load`,
// `index`, `salvage`, `log init`.
//
// Each takes a reader's lock of what it reads, so a directory that a server uses is refused;
// nothing is written there. Data goes to
// stdout, messages and progress (on a terminal) to stderr.
#pragma once

#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/text/decimal.h"
#include "kyro/base/text/json_text.h"
#include "kyro/cli/command_line.h"
#include "kyro/cli/docs.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/json/record_encoder.h"
#include "kyro/storage/fs/posix_fs.h"
#include "kyro/storage/offline/backup.h"
#include "kyro/storage/offline/dump.h"
#include "kyro/storage/offline/salvage.h"
#include "kyro/storage/offline/verify.h"
#include "kyro/tools/index.h"
#include "kyro/tools/load.h"
#include "kyro/tools/log_init.h"

namespace kyro {
namespace tools_detail {

inline void append_field(std::string& out, std::string_view name, uint64_t value) {
  out.append(",\"").append(name).append("\":");
  append_decimal(out, value);
}

inline void append_field(std::string& out, std::string_view name,
                         const std::vector<std::string>& items) {
  out.append(",\"").append(name).append("\":[");
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, items[i]);
  }
  out += ']';
}

inline void print_json(const VerifyReport& report) {
  std::string out = "{\"clean\":";
  out += report.damage.empty() ? "true" : "false";
  out.append(",\"database\":\"").append(report.database_id).append("\"");
  append_field(out, "next_offset", report.next_offset);
  append_field(out, "runs", report.runs);
  append_field(out, "run_records", report.run_records);
  append_field(out, "segments", report.segments);
  append_field(out, "log_records", report.log_records);
  append_field(out, "torn_bytes", report.torn_bytes);
  append_field(out, "repairable", report.repairable);
  append_field(out, "damage", report.damage);
  std::printf("%s}\n", out.c_str());
}

inline unsigned long long ull(uint64_t value) {
  return value;
}

inline void print_text(const VerifyReport& report) {
  for (const std::string& line : report.damage)
    std::printf("damaged: %s\n", printable(line).c_str());
  for (const std::string& line : report.repairable) {
    std::printf("will be rebuilt at the next start: %s\n", printable(line).c_str());
  }
  if (report.torn_bytes > 0) {
    std::printf("a torn tail of %llu bytes will be cut at the next start\n",
                ull(report.torn_bytes));
  }
  std::printf("%s: %llu records in %llu runs, %llu records in %llu log segments\n",
              report.damage.empty() ? "clean" : "DAMAGED", ull(report.run_records),
              ull(report.runs), ull(report.log_records), ull(report.segments));
}

// Says why a tool gave up; `live_advice` is for directories that a server uses.
inline int fail(const Status& status, const char* live_advice) {
  cli_print_error("kyrodb", code_name(status.code()), status.message());
  if (status.code() == Code::kBusy) cli_print_error("kyrodb", "busy", live_advice);
  return kExitError;
}

inline int verify(const CliCall& call) {
  PosixFileSystem fs;
  const bool shows_progress = isatty(STDERR_FILENO) == 1;
  const auto report =
      verify_directory(fs, call.words[0], [&](uint64_t bytes_done, uint64_t bytes_all) {
        if (!shows_progress || bytes_all == 0) return;
        std::fprintf(stderr, "\rverifying runs: %llu of %llu MiB", ull(bytes_done / kMiB),
                     ull(bytes_all / kMiB));
        if (bytes_done >= bytes_all) std::fputc('\n', stderr);
      });
  if (!report.ok()) {
    if (call.has("json")) {
      std::string out = "{\"clean\":false,\"error\":\"";
      out.append(code_name(report.status().code())).append("\",\"message\":");
      append_json_string(out, report.status().message());
      std::printf("%s}\n", out.c_str());
    }
    return fail(report.status(), "stop the server first; a running one checks what it reads");
  }
  if (call.has("json")) {
    print_json(*report);
  } else {
    print_text(*report);
  }
  return report->damage.empty() ? kExitOk : kExitError;
}

inline void print_copied(const CopyStats& stats) {
  std::printf("%llu files, %llu bytes shared, %llu copied\n", ull(stats.files),
              ull(stats.linked_bytes), ull(stats.copied_bytes));
}

inline int backup(const CliCall& call) {
  PosixFileSystem fs;
  const auto stats = backup_directory(fs, call.words[0], call.words[1]);
  if (!stats.ok()) {
    return fail(stats.status(),
                "ask the server for a backup: kyrodbctl backup -o FILE, or start it with "
                "--backup-dir DIR, then POST /v1/backup?name=NAME");
  }
  std::printf("backup %s: offsets below %llu, ", printable(call.words[1]).c_str(),
              ull(stats->next_offset));
  print_copied(*stats);
  return kExitOk;
}

inline int restore(const CliCall& call) {
  PosixFileSystem fs;
  const Sharing sharing = call.has("link") ? Sharing::kLinked : Sharing::kNone;
  const bool is_replica = call.has("replica");
  const auto stats = restore_directory(fs, call.words[0], call.words[1], sharing,
                                       is_replica ? Restored::kReplica : Restored::kNewDatabase);
  if (!stats.ok()) return fail(stats.status(), "that is a store in use, not a backup");
  std::printf("restored %s: offsets below %llu, the next one is %llu, ",
              printable(call.words[1]).c_str(), ull(stats->next_offset),
              ull(stats->next_offset + (is_replica ? 0 : kOffsetJump)));
  print_copied(*stats);
  return kExitOk;
}

// Lines to stdout through a buffer; a reader that has gone or a full disk is noticed.
class LinePrinter {
 public:
  template <class Append>
  void print(Append append) {
    if (!is_ok_) return;
    append(buffer_);
    buffer_ += '\n';
    if (buffer_.size() >= 256 * kKiB) flush();
  }
  bool flush() {
    is_ok_ = is_ok_ && std::fwrite(buffer_.data(), 1, buffer_.size(), stdout) == buffer_.size() &&
             std::fflush(stdout) == 0;
    buffer_.clear();
    return is_ok_;
  }

 private:
  std::string buffer_;
  bool is_ok_ = true;
};

inline void append_dump_line(std::string& out, const RecordView& record, uint64_t expiry_secs) {
  append_item(out, record.header.key, record.value, record.header.offset, false, expiry_secs);
}

inline int dump(const CliCall& call) {
  PosixFileSystem fs;
  LinePrinter printer;
  const auto print_live = [&](const RecordView& record, uint64_t expiry_secs) {
    printer.print([&](std::string& out) { append_dump_line(out, record, expiry_secs); });
  };
  const auto print_log = [&](const RecordView& record, uint64_t expiry_secs) {
    printer.print([&](std::string& out) {
      append_log_record(out, record.header.offset, record.header.key, record.stored_value(),
                        expiry_secs);
    });
  };
  const Status status = call.has("wal") ? dump_log(fs, call.words[0], ClockSources{}, print_log)
                                        : dump_live(fs, call.words[0], ClockSources{}, print_live);
  if (!printer.flush()) return fail(Status(Code::kIoError, "cannot write to stdout"), "");
  if (status.ok()) return kExitOk;
  if (status.code() == Code::kCorruption) {
    std::fprintf(stderr,
                 "kyrodb: what was printed is good, but not all; see kyrodb help salvage\n");
  }
  return fail(status, "a running server exports: GET /v1/scan with Accept: application/x-ndjson");
}

inline int salvage(const CliCall& call) {
  PosixFileSystem fs;
  const auto report = Salvage(fs, call.words[0], call.words[1]).run();
  if (!report.ok()) return fail(report.status(), "stop the server first");
  for (const std::string& line : report->lines) std::printf("lost: %s\n", printable(line).c_str());
  if (report->losses > report->lines.size()) {
    std::printf("… and %llu more\n", ull(report->losses - report->lines.size()));
  }
  std::printf(
      "%s: %llu live records saved to %s, from %llu runs and %llu log segments; %llu "
      "losses\n",
      report->losses == 0 ? "complete" : "INCOMPLETE", ull(report->live_records),
      printable(call.words[1]).c_str(), ull(report->runs), ull(report->segments),
      ull(report->losses));
  return report->losses == 0 ? kExitOk : kExitError;
}

inline constexpr CliFlag kVerifyFlags[] = {{"json", "", "print one JSON document"}};
inline constexpr CliFlag kRestoreFlags[] = {
    {"replica", "", "for serve --log: keep the database's id and its numbering"},
    {"link", "",
     "hard-link what never changes: at once, but chown and shred reach the backup too"}};
inline constexpr CliFlag kDumpFlags[] = {{"wal", "", "print the log instead"}};

}  // namespace tools_detail

// Rows of the table of `kyrodb`.
inline constexpr CliCommand kTools[] = {
    {"verify", "DIR", "check a data directory that is not in use", 1, 1, tools_detail::verify,
     tools_detail::kVerifyFlags,
     "Reads everything: manifest, runs, indexes, log. Changes nothing. Exit 0 if it is clean, 1 if "
     "it is damaged. DIR may be the tar archive that kyrodbctl backup -o FILE makes."},
    {"backup",
     "DIR DEST",
     "copy a data directory that is not in use",
     2,
     2,
     tools_detail::backup,
     {},
     "DEST must be new or empty. What never changes is hard-linked where DEST is on the same file "
     "system, else copied. A running server makes its own: kyrodbctl backup."},
    {"restore", "BACKUP DIR", "make a data directory out of a backup", 2, 2, tools_detail::restore,
     tools_detail::kRestoreFlags,
     "BACKUP is a directory, or the tar archive that kyrodbctl backup -o FILE makes. Verifies the "
     "backup first; DIR must be new or empty. The new database has an id of its own, and its "
     "offsets go on 2^32 higher. It shares no file with the backup: what never changes is "
     "copied, by reference where the file system can (XFS, Btrfs). With --replica it is the same "
     "database still, and goes on in its shared log where the backup ends: for serve --log only."},
    {"dump", "DIR", "print the live records of a data directory that is not in use", 1, 1,
     tools_detail::dump, tools_detail::kDumpFlags,
     "One JSON object a line, in key order: key, value (or value_base64), offset, and expires "
     "(Unix "
     "seconds) if it does. With --wal the records of the log, as /v1/replay prints them. Changes "
     "nothing."},
    {"load", "DIR FILE...", "make a data directory out of files of records", 2, kAnyWords,
     tools_detail::load, tools_detail::kLoadFlags,
     "DIR must be new or empty; - is stdin. NDJSON and CSV are what kyrodbctl import takes; binary "
     "is u64 key, u32 length, so many bytes of value, little-endian. In any order; of the records "
     "of a key the last one counts. Offsets are given in the order of the files, the log begins "
     "after them. A record that is wrong ends the load, is named by its line, and leaves nothing.",
     "import bulk ingest"},
    {"index", "DIR|FILE", "say what the learned indexes of a data directory are like, or draw one",
     1, 1, tools_detail::show_index, tools_detail::kIndexFlags,
     "Depth, leaves, bytes a key, fill, and how far off the predictions are, of every entry. Reads "
     "all "
     "of every index and checks it; changes nothing. DIR must not be in use, and may be the tar "
     "archive "
     "that kyrodbctl backup -o FILE makes; FILE is a run-N.rmi, also of a running server, or what "
     "a "
     "program has written with build_rmi(). The picture has the distribution of the keys, the "
     "leaves "
     "and the errors, without outliers. Exit 1 where something is damaged.",
     "rmi model stats"},
    {"log", "init URL DIR", "begin a shared log with a store that has data and is not in use", 3, 3,
     tools_detail::begin_log, tools_detail::kLogFlags,
     "URL is that of serve --log. The log begins where the store ends, under its database id; "
     "nothing is uploaded. Then serve --log takes the store, and others are made of its backup by "
     "restore --replica. Refuses where there is a log already, and says which. DIR must have been "
     "stopped in good order; nothing in it is changed.",
     "replica cluster etcd bootstrap"},
    {"salvage",
     "DIR DEST",
     "save what is good in a damaged data directory",
     2,
     2,
     tools_detail::salvage,
     {},
     "Makes a new data directory out of all that is provably good, and says what is not. DEST must "
     "be new or empty and needs room for twice the data. Changes nothing in DIR. Exit 0 if nothing "
     "was lost, else 1. Where the newest version of a key is lost, an older one may come back."},
};

}  // namespace kyro
