// `kyrodbctl status`: what GET /v1/status says, as a table for people; --json prints it as it came,
// --watch asks again every second until it is interrupted.
//
// Thread rule: one thread.
#pragma once

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/text/decimal.h"
#include "kyro/base/text/printable.h"
#include "kyro/client/session.h"

namespace kyro {
namespace ctl {

// The scalars of a JSON document by their path: "disk.free_bytes", "runs.0.id".
class FlatJson {
 public:
  explicit FlatJson(std::string_view text) : json_(text) {
    add({});
    ok_ = json_.finish().ok();
  }
  [[nodiscard]] bool ok() const { return ok_; }
  // Empty where there is none; printable.
  [[nodiscard]] std::string text(const std::string& path) const {
    const auto found = scalars_.find(path);
    return found == scalars_.end() ? std::string() : printable(found->second);
  }
  [[nodiscard]] bool has(const std::string& path) const { return scalars_.contains(path); }
  [[nodiscard]] uint64_t number(const std::string& path) const {
    return parse_u64(text(path)).value_or(0);
  }

 private:
  void add(const std::string& path) {
    const auto below = [&](std::string_view name) {
      return path.empty() ? std::string(name) : path + "." + std::string(name);
    };
    std::string_view text;
    std::string unescaped;
    bool flag = false;
    switch (json_.peek()) {
      case JsonType::kObject:
        json_.enter_object();
        while (json_.next_field(&text)) add(below(text));
        return;
      case JsonType::kArray:
        json_.enter_array();
        for (size_t i = 0; json_.next_element(); ++i) add(below(std::to_string(i)));
        return;
      case JsonType::kString:
        json_.read_string(&text, &unescaped);
        break;
      case JsonType::kNumber:
        json_.read_number(&text);
        break;
      case JsonType::kBool:
        json_.read_bool(&flag);
        text = flag ? "true" : "false";
        break;
      default:
        json_.skip_value();
        return;
    }
    scalars_[path] = std::string(text);
  }

  JsonReader json_;
  std::map<std::string, std::string> scalars_;
  bool ok_ = false;
};

// 1234567 as 1,234,567.
inline std::string grouped(uint64_t n) {
  std::string digits = std::to_string(n);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

inline std::string several(uint64_t n, const char* what) {
  return grouped(n) + " " + what + (n == 1 ? "" : "s");
}

// `n` in the largest unit of which it has one.
inline std::string in_unit(double n, double step, std::initializer_list<const char*> units) {
  const char* unit = "";
  for (const char* const next : units) {
    unit = next;
    if (n < step) break;
    if (next != *(units.end() - 1)) n /= step;
  }
  char out[48];
  std::snprintf(
      out, sizeof out,
      n == static_cast<double>(static_cast<uint64_t>(n)) || n >= 100 ? "%.0f %s" : "%.1f %s", n,
      unit);
  return out;
}
inline std::string in_bytes(uint64_t n) {
  return in_unit(static_cast<double>(n), 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}
inline std::string in_time(uint64_t micros) {
  return micros == 0 ? "-" : in_unit(static_cast<double>(micros), 1000, {"us", "ms", "s"});
}
inline std::string in_age(uint64_t secs) {
  if (secs >= 2 * 86400) return std::to_string(secs / 86400) + " d";
  if (secs >= 2 * 3600) return std::to_string(secs / 3600) + " h";
  if (secs >= 2 * 60) return std::to_string(secs / 60) + " min";
  return std::to_string(secs) + " s";
}

// Columns that are as wide as their widest text; the last one is not padded.
class TextTable {
 public:
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] std::string text() const {
    std::vector<size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string out;
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) {
        out += row[i];
        if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + 2, ' ');
      }
      out += '\n';
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

// The newest row of the history, by the names of its columns.
class NewestStep {
 public:
  explicit NewestStep(const FlatJson& status) : status_(status) {
    for (size_t i = 0; status.has("history.columns." + std::to_string(i)); ++i) {
      columns_[status.text("history.columns." + std::to_string(i))] = i;
    }
  }
  [[nodiscard]] bool is_there() const { return status_.has("history.rows.0.0"); }
  [[nodiscard]] uint64_t value(const std::string& column) const {
    const auto found = columns_.find(column);
    if (found == columns_.end()) return 0;
    return status_.number("history.rows.0." + std::to_string(found->second));
  }
  [[nodiscard]] std::string a_second(const std::string& column) const {
    const uint64_t ms = value("ms");
    return grouped(ms == 0 ? 0 : (value(column) * 1000 + ms / 2) / ms);
  }

 private:
  const FlatJson& status_;
  std::map<std::string, size_t> columns_;
};

inline void add_traffic(TextTable& table, const NewestStep& step) {
  if (!step.is_there()) return;
  const auto times = [&](const std::string& what) {
    return in_time(step.value(what + "_p50_us")) + " / " + in_time(step.value(what + "_p99_us"));
  };
  table.add({"requests", step.a_second("reads") + " reads/s, " + step.a_second("writes") +
                             " writes/s, " + step.a_second("scans") + " scans/s, " +
                             step.a_second("failures") + " failures/s"});
  table.add({"p50 / p99", "reads " + times("read") + ", writes " + times("write") + ", scans " +
                              times("scan") + ", syncs " + times("sync")});
}

inline std::string runs_table(const FlatJson& status) {
  TextTable table;
  table.add({"run", "records", "data", "index", "offsets", "age", "keys"});
  for (size_t i = 0; status.has("runs." + std::to_string(i) + ".id"); ++i) {
    const std::string run = "runs." + std::to_string(i) + ".";
    const bool has_age = status.has(run + "age_secs");
    table.add({status.text(run + "id"), grouped(status.number(run + "records")),
               in_bytes(status.number(run + "data_bytes")),
               in_bytes(status.number(run + "index_bytes")),
               status.text(run + "first_offset") + "-" + status.text(run + "end_offset"),
               has_age ? in_age(status.number(run + "age_secs")) : "-",
               status.text(run + "key_min") + " to " + status.text(run + "key_max")});
  }
  return "\n" + table.text();
}

inline void add_store(TextTable& table, const FlatJson& s) {
  const auto bytes = [&](const char* path) { return in_bytes(s.number(path)); };
  const uint64_t runs = s.number("run_count");
  const bool is_exact = runs == 0 || (runs == 1 && s.number("delta.keys") == 0);
  table.add({"data", s.text("data_dir") + ", " + bytes("disk.free_bytes") + " free, database " +
                         s.text("database")});
  table.add({"keys", (is_exact ? "" : "at most ") + grouped(s.number("keys")) + ", " +
                         grouped(s.number("delta.keys")) + " in memory (" + bytes("delta.bytes") +
                         "), next offset " + s.text("next_offset")});
  table.add(
      {"log", several(s.number("segment_count"), "segment") + ", " + bytes("disk.log_bytes")});
  if (s.has("shared_log.state")) {
    const uint64_t lag = s.number("shared_log.lag");
    table.add({"shared log", s.text("shared_log.name") + " at " + s.text("shared_log.endpoint") +
                                 ", " + s.text("shared_log.state") + ", ends at " +
                                 s.text("shared_log.head") + ", " +
                                 (lag == 0 ? "all of it is here" : grouped(lag) + " behind") +
                                 ", last written by " + s.text("shared_log.last_writer")});
  }
  table.add({"runs", grouped(runs) + ", " + bytes("disk.data_bytes") + " of data, " +
                         bytes("disk.dead_bytes") + " of it dead"});
  const uint64_t indexed = s.number("index.keys");
  const double each =
      indexed == 0 ? 0
                   : static_cast<double>(s.number("index.bytes")) / static_cast<double>(indexed);
  char per_key[32];
  std::snprintf(per_key, sizeof per_key, "%.1f", each);
  table.add({"index", bytes("index.bytes") + ", " + per_key + " bytes per key, " +
                          grouped(s.number("index.leaves")) + " leaves on " +
                          several(s.number("index.depth"), "level")});
}

inline std::string status_text(const FlatJson& s) {
  TextTable table;
  const std::string why = s.text("why");
  table.add({"state", s.text("state") + (why.empty() ? "" : ": " + why)});
  if (s.has("recovery.records")) {
    table.add({"replayed", grouped(s.number("recovery.records")) + " records, " +
                               s.text("recovery.segments") + " of " +
                               s.text("recovery.segments_all") + " segments"});
  }
  table.add({"server", "kyrodb " + s.text("version") + " (" + s.text("commit") + "), up " +
                           in_age(s.number("uptime_secs")) + ", " +
                           in_bytes(s.number("resident_bytes")) + " of memory, " +
                           several(s.number("connections"), "connection")});
  if (s.has("database")) add_store(table, s);
  add_traffic(table, NewestStep(s));
  return table.text() + (s.has("runs.0.id") ? runs_table(s) : "");
}

// Asks for a JSON document and prints it: as it is with --json, else as text_of(document).
template <class TextOf>
int print_document(CtlClient& client, std::string_view target, const TextOf& text_of) {
  HttpResponse response;
  const Status status = client.http.request("GET", target, {}, &response, client.headers);
  if (!status.ok()) return ctl_no_answer(client, status);
  if (response.status != 200) return ctl_fail_answer(response);
  if (client.as_json) {
    ctl_print(response.body + "\n");
    return ctl_finish_output(kExitOk);
  }
  const FlatJson document(response.body);
  if (!document.ok()) return ctl_fail("the server's answer makes no sense");
  ctl_print(text_of(document));
  return ctl_finish_output(kExitOk);
}

inline int print_status(CtlClient& client) {
  return print_document(client, "/v1/status?history=1&sample=0", status_text);
}

inline int run_status(const CliCall& call) {
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    int code = print_status(client);
    while (code == kExitOk && call.has("watch")) {
      const timespec second{.tv_sec = 1, .tv_nsec = 0};
      nanosleep(&second, nullptr);
      if (!client.as_json) ctl_print(isatty(STDOUT_FILENO) == 1 ? "\x1b[H\x1b[2J" : "\n");
      code = print_status(client);
    }
    return code;
  });
}

}  // namespace ctl
}  // namespace kyro
