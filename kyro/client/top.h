// `kyrodbctl top`: what the server does in this second, out of two looks at /metrics: a line for
// each route that was asked, the busiest first; --json prints an object a second.
//
// Times are the upper bounds of the histogram's buckets: so many answers took at most so long.
//
// Thread rule: one thread.
#pragma once

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/text/printable.h"
#include "kyro/client/probe.h"
#include "kyro/client/status.h"

namespace kyro {
namespace ctl {

// A metrics page: the value of each series by its name and labels as they stand.
class MetricsPage {
 public:
  static constexpr size_t kSeriesMax = 100'000;

  MetricsPage() = default;
  explicit MetricsPage(std::string_view text) {
    while (!text.empty() && series_.size() < kSeriesMax) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      const size_t blank = line.rfind(' ');
      if (line.starts_with('#') || blank == line.npos) continue;
      const double value = std::strtod(std::string(line.substr(blank + 1)).c_str(), nullptr);
      series_[std::string(line.substr(0, blank))] = value;
    }
  }

  [[nodiscard]] double value(const std::string& series) const {
    const auto found = series_.find(series);
    return found == series_.end() ? 0 : found->second;
  }
  // Calls visit(series, value) for those that begin like this, in order.
  template <class Visit>
  void for_each(const std::string& prefix, Visit visit) const {
    for (auto at = series_.lower_bound(prefix); at != series_.end(); ++at) {
      if (!at->first.starts_with(prefix)) return;
      visit(std::string_view(at->first), at->second);
    }
  }

 private:
  std::map<std::string, double> series_;
};

// What stands in the label `name` of a series.
inline std::string label_of(std::string_view series, std::string_view name) {
  const std::string mark = std::string(name) + "=\"";
  const size_t at = series.find(mark);
  if (at == series.npos) return {};
  const std::string_view rest = series.substr(at + mark.size());
  return printable(rest.substr(0, rest.find('"')));
}

class TopFrame {
 public:
  TopFrame(const MetricsPage& before, const MetricsPage& now, double secs)
      : before_(before), now_(now), secs_(secs) {
    now.for_each("kyrodb_http_requests_total{", [&](std::string_view series, double value) {
      const double more = value - before.value(std::string(series));
      Row& row = rows_[label_of(series, "route")];
      row.requests += more;
      if (label_of(series, "code").starts_with('5')) row.failures += more;
    });
  }

  [[nodiscard]] std::string text() const {
    TextTable table;
    table.add({"route", "a second", "failed", "p50", "p99", "p99.9"});
    for (const auto& [name, row] : busiest()) {
      const std::string histogram = "kyrodb_http_request_duration_seconds";
      const std::string labels = "route=\"" + name + "\",";
      table.add({name.substr(0, 20), rate(row.requests), rate(row.failures),
                 time(histogram, labels, 0.5), time(histogram, labels, 0.99),
                 time(histogram, labels, 0.999)});
    }
    return head() + "\n" + table.text();
  }

  [[nodiscard]] std::string json() const {
    std::string out = "{\"keys\":" + whole(now_.value("kyrodb_keys")) +
                      ",\"syncs\":" + rate(syncs(), false) + ",\"routes\":{";
    for (const auto& [name, row] : busiest()) {
      if (!out.ends_with('{')) out += ',';
      out.append("\"").append(name).append("\":{\"requests\":").append(rate(row.requests, false));
      out.append(",\"failures\":").append(rate(row.failures, false));
      for (size_t i = 0; i + 1 < std::size(kShownShares); ++i) {
        const double secs = bound("kyrodb_http_request_duration_seconds", "route=\"" + name + "\",",
                                  kShownShares[i]);
        out.append(",\"").append(kShownNames[i]).append("_us\":");
        out += secs < 0 ? "null" : whole(secs * 1e6);
      }
      out += '}';
    }
    return out + "}}\n";
  }

 private:
  static constexpr size_t kRowsMax = 15;  // with the head they fit into 24 lines

  struct Row {
    double requests = 0;
    double failures = 0;
  };

  static std::string whole(double value) {
    return std::to_string(static_cast<uint64_t>(std::max(value, 0.0) + 0.5));
  }
  [[nodiscard]] std::string rate(double more, bool is_grouped = true) const {
    const auto a_second = static_cast<uint64_t>(std::max(more, 0.0) / secs_ + 0.5);
    return is_grouped ? grouped(a_second) : std::to_string(a_second);
  }
  [[nodiscard]] double more(const std::string& series) const {
    return now_.value(series) - before_.value(series);
  }
  [[nodiscard]] double syncs() const { return more("kyrodb_wal_fsync_duration_seconds_count"); }

  [[nodiscard]] std::vector<std::pair<std::string, Row>> busiest() const {
    std::vector<std::pair<std::string, Row>> rows(rows_.begin(), rows_.end());
    std::erase_if(rows, [](const auto& row) { return row.second.requests <= 0; });
    std::sort(rows.begin(), rows.end(), [](const auto& left, const auto& right) {
      return left.second.requests > right.second.requests;
    });
    rows.resize(std::min(rows.size(), kRowsMax));
    return rows;
  }

  // What a share of the observations of this second did not exceed, in seconds; below 0 where there
  // are none or no bucket has them.
  [[nodiscard]] double bound(const std::string& name, const std::string& labels,
                             double share) const {
    const std::string prefix = name + "_bucket{" + labels + "le=\"";
    const double all = more(prefix + "+Inf\"}");
    double least = -1;
    now_.for_each(prefix, [&](std::string_view series, double value) {
      const std::string text = label_of(series, "le");
      if (text == "+Inf" || all <= 0) return;
      const double limit = std::strtod(text.c_str(), nullptr);
      const bool holds = value - before_.value(std::string(series)) >= share * all;
      if (holds && (least < 0 || limit < least)) least = limit;
    });
    return least;
  }
  [[nodiscard]] std::string time(const std::string& name, const std::string& labels,
                                 double share) const {
    const double secs = bound(name, labels, share);
    return secs < 0 ? "-" : "<= " + in_nanos(static_cast<uint64_t>(secs * 1e9 + 0.5));
  }

  [[nodiscard]] std::string head() const {
    const std::string name = "kyrodb_wal_fsync_duration_seconds";
    TextTable table;
    table.add({"keys", grouped(static_cast<uint64_t>(now_.value("kyrodb_keys"))) + ", " +
                           grouped(static_cast<uint64_t>(now_.value("kyrodb_http_connections"))) +
                           " connections"});
    table.add({"log", rate(more("kyrodb_appends_total")) + " puts/s, " + rate(syncs()) +
                          " syncs/s, p99 of a sync " + time(name, {}, 0.99)});
    return table.text();
  }

  const MetricsPage& before_;
  const MetricsPage& now_;
  const double secs_;
  std::map<std::string, Row> rows_;
};

inline int run_top(const CliCall& call) {
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    uint64_t left = call.number("count").value_or(UINT64_MAX);
    MetricsPage before;
    uint64_t looked_ns = 0;
    while (left > 0) {
      std::string body;
      if (const int code = ask(client, "GET", "/metrics", &body); code != kExitOk) return code;
      const uint64_t now_ns = monotonic_ns();
      MetricsPage now(body);
      if (looked_ns != 0) {
        const TopFrame frame(before, now, static_cast<double>(now_ns - looked_ns) / 1e9);
        const bool is_screen = !client.as_json && isatty(STDOUT_FILENO) == 1;
        if (is_screen) ctl_print("\x1b[H\x1b[2J");
        ctl_print(client.as_json ? frame.json() : frame.text() + (is_screen ? "" : "\n"));
        if (const int code = ctl_finish_output(kExitOk); code != kExitOk) return code;
        --left;
      }
      before = std::move(now);
      looked_ns = now_ns;
      const timespec second{.tv_sec = 1, .tv_nsec = 0};
      if (left > 0) nanosleep(&second, nullptr);
    }
    return kExitOk;
  });
}

}  // namespace ctl
}  // namespace kyro
