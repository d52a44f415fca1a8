// Slices and the rows that are made of them: the one way in which the benchmarks compare.
//
// A slice is one short measurement of one competitor. Competitors take turns, so the slices of a
// round are neighbours in time: what else the machine does meets them alike. A ratio is taken
// within a round, and the ratio of a row is the median over its rounds; the quartiles beside it are
// its spread. A busy neighbour widens the spread and hardly moves the median.
//
// A ratio says how many times better we are, whichever way the metric counts: rates (`per_s`) are
// better when higher, everything else when lower.
//
//   slices_SUITE.csv  suite,row,metric,side,name,round,value   as they are measured
//   rows.csv          a line for each (suite,row,metric,name)  made by bench/summary.cpp
//
// Thread rule: a log belongs to one thread; the rest are pure functions. Ownership: values.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace kyro::bench {

// kLimit: no peer but a bound that somebody else sets, as a server that does nothing.
enum class Side : uint8_t { kOurs, kPeer, kLimit };

struct Slice {
  std::string suite;
  std::string row;
  std::string metric;
  Side side = Side::kOurs;
  std::string name;
  uint32_t round = 0;
  double value = 0;
};

// One competitor in one row. Ratios are 0 where there is nothing of ours in the same rounds.
struct Row {
  std::string suite;
  std::string row;
  std::string metric;
  Side side = Side::kOurs;
  std::string name;
  size_t rounds = 0;
  double median = 0;
  double ratio = 0;
  double ratio_low = 0;   // lower quartile
  double ratio_high = 0;  // upper quartile
  bool is_best_peer = false;

  // Measured once only, or so that the quartiles are more than a fifth of the median apart.
  [[nodiscard]] const char* mark() const {
    constexpr double kWide = 0.2;
    if (rounds < 2) return "once";
    return ratio_high - ratio_low > kWide * ratio ? "wide" : "";
  }
};

[[nodiscard]] inline bool is_higher_better(std::string_view metric) {
  return metric == "per_s";
}

// Of the sorted values, between neighbours by proportion. 0 without values.
[[nodiscard]] inline double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

namespace slices_detail {

inline constexpr std::array<const char*, 3> kSides{"ours", "peer", "limit"};

using Rounds = std::map<uint32_t, double>;

// One competitor's ratios to ours, round by round.
inline void compare(const Rounds& ours, const Rounds& theirs, Row* out) {
  std::vector<double> ratios;
  for (const auto& [round, value] : theirs) {
    const auto own = ours.find(round);
    if (own == ours.end() || !(value > 0) || !(own->second > 0)) continue;
    ratios.push_back(is_higher_better(out->metric) ? own->second / value : value / own->second);
  }
  out->ratio = quantile(ratios, 0.5);
  out->ratio_low = quantile(ratios, 0.25);
  out->ratio_high = quantile(ratios, 0.75);
}

inline bool is_better(const Row& left, const Row& right) {
  return is_higher_better(left.metric) ? left.median > right.median : left.median < right.median;
}

}  // namespace slices_detail

// The rows of some slices, in the order in which they first appear.
[[nodiscard]] inline std::vector<Row> rows_of(std::span<const Slice> slices) {
  using slices_detail::Rounds;
  using RowKey = std::tuple<std::string, std::string, std::string>;
  struct Competitor {
    Row row;
    Rounds rounds;
  };
  std::vector<std::vector<Competitor>> places;
  std::map<RowKey, size_t> where;
  for (const Slice& slice : slices) {
    const auto [at, is_new] =
        where.try_emplace(RowKey{slice.suite, slice.row, slice.metric}, places.size());
    if (is_new) places.emplace_back();
    auto& all = places[at->second];
    auto one = std::find_if(all.begin(), all.end(),
                            [&](const Competitor& c) { return c.row.name == slice.name; });
    if (one == all.end()) {
      Row row;
      row.suite = slice.suite;
      row.row = slice.row;
      row.metric = slice.metric;
      row.side = slice.side;
      row.name = slice.name;
      one = all.insert(all.end(), {std::move(row), {}});
    }
    one->rounds[slice.round] = slice.value;
  }
  std::vector<Row> out;
  for (auto& place : places) {
    Rounds ours;
    for (const Competitor& c : place) {
      if (c.row.side == Side::kOurs) ours = c.rounds;
    }
    Row* best = nullptr;
    for (Competitor& c : place) {
      std::vector<double> values;
      for (const auto& [round, value] : c.rounds) values.push_back(value);
      c.row.rounds = values.size();
      c.row.median = quantile(values, 0.5);
      slices_detail::compare(ours, c.rounds, &c.row);
      if (c.row.side != Side::kPeer || !(c.row.ratio > 0)) continue;
      if (best == nullptr || slices_detail::is_better(c.row, *best)) best = &c.row;
    }
    if (best != nullptr) best->is_best_peer = true;
    for (Competitor& c : place) out.push_back(std::move(c.row));
  }
  return out;
}

// Appends the slices of a file; empty, or what is wrong with which line.
[[nodiscard]] inline std::string read_slices(FILE* from, std::vector<Slice>* to) {
  std::array<char, 512> line{};
  for (size_t number = 1; std::fgets(line.data(), line.size(), from) != nullptr; ++number) {
    std::vector<std::string> fields(1);
    for (const char* c = line.data(); *c != '\0' && *c != '\n'; ++c) {
      if (*c == ',') {
        fields.emplace_back();
      } else {
        fields.back() += *c;
      }
    }
    if (number == 1 && fields[0] == "suite") continue;
    const auto wrong = [&](const char* what) {
      return "line " + std::to_string(number) + ": " + what;
    };
    if (fields.size() != 7) return wrong("not seven fields");
    const auto& sides = slices_detail::kSides;
    const auto side = std::find(sides.begin(), sides.end(), fields[3]);
    if (side == sides.end()) return wrong("a side that is none of ours, peer, limit");
    char* end = nullptr;
    const double value = std::strtod(fields[6].c_str(), &end);
    if (fields[6].empty() || *end != '\0' || !std::isfinite(value)) return wrong("not a number");
    to->push_back({fields[0], fields[1], fields[2], static_cast<Side>(side - sides.begin()),
                   fields[4], static_cast<uint32_t>(std::strtoul(fields[5].c_str(), nullptr, 10)),
                   value});
  }
  return {};
}

// A line for each competitor of a row with all its metrics, and the ratio of the first of them.
inline void print_results(FILE* to, std::span<const Row> rows) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Row& row : rows) {
    const std::string head = "RESULT suite=" + row.suite + " row=" + row.row + " name=" + row.name;
    auto line = std::find_if(lines.begin(), lines.end(),
                             [&](const auto& known) { return known.first == head; });
    if (line == lines.end()) {
      line = lines.insert(lines.end(), {head, ""});
      if (row.side != Side::kOurs && row.ratio > 0) {
        std::array<char, 32> ratio{};
        std::snprintf(ratio.data(), ratio.size(), " ratio=%.2f", row.ratio);
        line->second = ratio.data();
      }
    }
    std::array<char, 64> value{};
    std::snprintf(value.data(), value.size(), " %s=%.*f", row.metric.c_str(),
                  row.median < 1000 ? 3 : 0, row.median);
    line->second += value.data();
  }
  for (const auto& [head, values] : lines) {
    std::fprintf(to, "%s%s\n", head.c_str(), values.c_str());
  }
  std::fflush(to);
}

// The slices of one suite on their way into its file.
class SliceLog {
 public:
  // `fresh` begins the file anew.
  SliceLog(std::string suite, const std::string& dir, bool fresh)
      : suite_(std::move(suite)),
        file_(std::fopen((dir + "/slices_" + suite_ + ".csv").c_str(), fresh ? "w" : "a")) {
    if (file_ == nullptr) {
      std::fprintf(stderr, "cannot write slices_%s.csv in %s\n", suite_.c_str(), dir.c_str());
      std::exit(1);
    }
    if (fresh) std::fputs("suite,row,metric,side,name,round,value\n", file_);
  }
  SliceLog(const SliceLog&) = delete;
  SliceLog& operator=(const SliceLog&) = delete;
  ~SliceLog() { std::fclose(file_); }

  void add(const std::string& row, const char* metric, Side side, const char* name, size_t round,
           double value) {
    std::fprintf(file_, "%s,%s,%s,%s,%s,%zu,%.6g\n", suite_.c_str(), row.c_str(), metric,
                 slices_detail::kSides[static_cast<size_t>(side)], name, round, value);
    unprinted_.push_back({suite_, row, metric, side, name, static_cast<uint32_t>(round), value});
  }
  // Prints the rows since the last call.
  void print() {
    std::fflush(file_);
    print_results(stdout, rows_of(unprinted_));
    unprinted_.clear();
  }

 private:
  const std::string suite_;
  FILE* const file_;
  std::vector<Slice> unprinted_;
};

}  // namespace kyro::bench
