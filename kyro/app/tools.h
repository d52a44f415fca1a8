// Offline tools on a data directory: `kyrodb verify`.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "kyro/app/exit_codes.h"
#include "kyro/base/decimal.h"
#include "kyro/base/json_writer.h"
#include "kyro/storage/posix_fs.h"
#include "kyro/storage/verify.h"

namespace kyro {
namespace tools_detail {

inline void print_json(const VerifyReport& report) {
  std::string out = "{\"clean\":";
  out += report.damage.empty() ? "true" : "false";
  const auto number = [&](std::string_view name, uint64_t value) {
    out.append(",\"").append(name).append("\":");
    append_decimal(out, value);
  };
  const auto list = [&](std::string_view name, const std::vector<std::string>& items) {
    out.append(",\"").append(name).append("\":[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, items[i]);
    }
    out += ']';
  };
  number("runs", report.runs);
  number("run_records", report.run_records);
  number("segments", report.segments);
  number("log_records", report.log_records);
  number("torn_bytes", report.torn_bytes);
  list("repairable", report.repairable);
  list("damage", report.damage);
  std::printf("%s}\n", out.c_str());
}

inline void print_text(const VerifyReport& report) {
  for (const std::string& line : report.damage) std::printf("damaged: %s\n", line.c_str());
  for (const std::string& line : report.repairable) {
    std::printf("will be rebuilt at the next start: %s\n", line.c_str());
  }
  if (report.torn_bytes > 0) {
    std::printf("a torn tail of %llu bytes will be cut at the next start\n",
                static_cast<unsigned long long>(report.torn_bytes));
  }
  std::printf("%s: %llu records in %llu runs, %llu records in %llu log segments\n",
              report.damage.empty() ? "clean" : "DAMAGED",
              static_cast<unsigned long long>(report.run_records),
              static_cast<unsigned long long>(report.runs),
              static_cast<unsigned long long>(report.log_records),
              static_cast<unsigned long long>(report.segments));
}

}  // namespace tools_detail

// `kyrodb verify DIR [--json]`: 0 clean, 1 damaged or unreadable.
[[nodiscard]] inline int verify_tool(const std::string& dir, bool as_json) {
  PosixFileSystem fs;
  auto report = verify_directory(fs, dir);
  if (!report.ok()) {
    std::fprintf(stderr, "kyrodb: %s\n", std::string(report.status().message()).c_str());
    if (report.status().code() == Code::kBusy) {
      std::fprintf(stderr, "kyrodb: stop the server first; a running one checks what it reads\n");
    }
    return kExitError;
  }
  if (as_json) {
    tools_detail::print_json(*report);
  } else {
    tools_detail::print_text(*report);
  }
  return report->damage.empty() ? kExitOk : kExitError;
}

}  // namespace kyro
