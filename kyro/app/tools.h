// Offline tools on data directories: `kyrodb verify`, `backup`, `restore`.
//
// Each takes the lock of what it reads, so a directory that a server uses is refused. Data goes to
// stdout, messages and progress (on a terminal) to stderr.
#pragma once

#include <unistd.h>

#include <array>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/app/exit_codes.h"
#include "kyro/base/decimal.h"
#include "kyro/base/json_writer.h"
#include "kyro/storage/backup.h"
#include "kyro/storage/posix_fs.h"
#include "kyro/storage/verify.h"

namespace kyro {

struct ToolArgs {
  std::array<std::string, 2> dirs;
  bool flag = false;  // the one that the tool knows
};

struct Tool {
  std::string_view name;
  std::string_view arguments;
  std::string_view flag;  // "--json"; empty if it knows none
  std::string_view help;
  size_t dirs;
  int (*run)(const ToolArgs& args);
};

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
  for (const std::string& line : report.damage) std::printf("damaged: %s\n", line.c_str());
  for (const std::string& line : report.repairable) {
    std::printf("will be rebuilt at the next start: %s\n", line.c_str());
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
  std::fprintf(stderr, "kyrodb: %s\n", std::string(status.message()).c_str());
  if (status.code() == Code::kBusy) std::fprintf(stderr, "kyrodb: %s\n", live_advice);
  return kExitError;
}

inline int verify(const ToolArgs& args) {
  PosixFileSystem fs;
  const bool shows_progress = isatty(STDERR_FILENO) == 1;
  const auto report =
      verify_directory(fs, args.dirs[0], [&](uint64_t bytes_done, uint64_t bytes_all) {
        if (!shows_progress || bytes_all == 0) return;
        std::fprintf(stderr, "\rverifying runs: %llu of %llu MiB", ull(bytes_done / kMiB),
                     ull(bytes_all / kMiB));
        if (bytes_done >= bytes_all) std::fputc('\n', stderr);
      });
  if (!report.ok()) {
    if (args.flag) {
      std::string out = "{\"clean\":false,\"error\":\"";
      out.append(code_name(report.status().code())).append("\",\"message\":");
      append_json_string(out, report.status().message());
      std::printf("%s}\n", out.c_str());
    }
    return fail(report.status(), "stop the server first; a running one checks what it reads");
  }
  if (args.flag) {
    print_json(*report);
  } else {
    print_text(*report);
  }
  return report->damage.empty() ? kExitOk : kExitError;
}

inline void print_copy(const char* what, const std::string& to, const CopyStats& stats) {
  std::printf("%s %s: offsets below %llu, %llu files, %llu bytes shared, %llu copied\n", what,
              to.c_str(), ull(stats.next_offset), ull(stats.files), ull(stats.linked_bytes),
              ull(stats.copied_bytes));
}

inline int backup(const ToolArgs& args) {
  PosixFileSystem fs;
  const auto stats = backup_directory(fs, args.dirs[0], args.dirs[1]);
  if (!stats.ok()) {
    return fail(stats.status(),
                "ask the server for a backup: start it with --backup-dir DIR, then "
                "POST /v1/backup?name=NAME");
  }
  print_copy("backup", args.dirs[1], *stats);
  return kExitOk;
}

inline int restore(const ToolArgs& args) {
  PosixFileSystem fs;
  const auto stats = restore_directory(fs, args.dirs[0], args.dirs[1]);
  if (!stats.ok()) return fail(stats.status(), "that is a store in use, not a backup");
  print_copy("restored", args.dirs[1], *stats);
  return kExitOk;
}

inline constexpr Tool kTools[] = {
    {"verify", "DIR [--json]", "--json",
     "Reads everything in a data directory that no server uses: manifest, runs, indexes, log.\n"
     "Changes nothing. Exit 0 if it is clean, 1 if it is damaged.\n",
     1, verify},
    {"backup", "DIR DEST", "",
     "Makes a backup of a data directory that no server uses; DEST must be new or empty. What\n"
     "never changes is hard-linked where DEST is on the same file system, else copied. A running\n"
     "server makes its own: POST /v1/backup?name=NAME, see --backup-dir.\n",
     2, backup},
    {"restore", "BACKUP DIR", "",
     "Verifies a backup, then makes a data directory of it; DIR must be new or empty. The new\n"
     "database has an id of its own, and its offsets go on 2^32 higher.\n",
     2, restore},
};

inline void print_help(const Tool& tool) {
  std::printf("Usage: kyrodb %s %s\n\n%s", std::string(tool.name).c_str(),
              std::string(tool.arguments).c_str(), std::string(tool.help).c_str());
}

inline int usage_error(const Tool& tool, const std::string& message) {
  std::fprintf(stderr, "kyrodb: %s %s (see: kyrodb help %s)\n", std::string(tool.name).c_str(),
               message.c_str(), std::string(tool.name).c_str());
  return kExitUsage;
}

}  // namespace tools_detail

// The tool of that name; null if there is none.
[[nodiscard]] inline const Tool* find_tool(std::string_view name) {
  for (const Tool& tool : tools_detail::kTools) {
    if (tool.name == name) return &tool;
  }
  return nullptr;
}

// `kyrodb <tool> words…`: the exit code.
[[nodiscard]] inline int run_tool(const Tool& tool, std::span<const std::string_view> words) {
  using namespace tools_detail;
  ToolArgs args;
  size_t dirs = 0;
  for (const std::string_view word : words) {
    if (word == "--help") {
      print_help(tool);
      return kExitOk;
    }
    if (!tool.flag.empty() && word == tool.flag) {
      args.flag = true;
    } else if (word.starts_with("--") || word.empty() || dirs == tool.dirs) {
      return usage_error(
          tool, "takes " + std::string(tool.arguments) + ", not \"" + std::string(word) + "\"");
    } else {
      args.dirs[dirs++] = word;
    }
  }
  if (dirs < tool.dirs) {
    return usage_error(tool, tool.dirs == 1 ? "needs a directory" : "needs two directories");
  }
  return tool.run(args);
}

}  // namespace kyro
