// Makes rows of slices: DIR/rows.csv and DIR/summary.md of every DIR/slices_*.csv.
//
//   summary DIR       also prints the summary; DIR/machine.md stands at its head
//   summary --print   prints the rows of the slices on stdin, for a benchmark that is a script
//
// Exit status 1 if there are no slices, or some cannot be read.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/slices.h"

namespace kyro::bench {
namespace {

void write_rows(FILE* to, std::span<const Row> rows) {
  std::fputs("suite,row,metric,side,name,rounds,median,ratio,ratio_low,ratio_high,mark,best_peer\n",
             to);
  for (const Row& row : rows) {
    std::fprintf(to, "%s,%s,%s,%s,%s,%zu,%.6g,%.4g,%.4g,%.4g,%s,%d\n", row.suite.c_str(),
                 row.row.c_str(), row.metric.c_str(),
                 slices_detail::kSides[static_cast<size_t>(row.side)], row.name.c_str(), row.rounds,
                 row.median, row.ratio, row.ratio_low, row.ratio_high, row.mark(),
                 row.is_best_peer ? 1 : 0);
  }
}

std::string with_digits(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
std::string ratio_text(double ratio) {
  return with_digits(ratio, ratio < 0.1 ? 3 : ratio < 100 ? 2 : 0);
}
std::string value_text(double value) {
  if (value >= 1e6) return with_digits(value / 1e6, 2) + " M";
  if (value >= 1e4) return with_digits(value / 1e3, 1) + " k";
  return with_digits(value, value < 10 ? 2 : value < 1000 ? 1 : 0);
}

// Of a row with a rate, that alone; of others what can be compared, or everything if nothing can.
bool is_shown(std::span<const Row> all, const Row& ours) {
  bool has_rate = false;
  bool can_compare = false;
  bool others_can = false;
  for (const Row& row : all) {
    if (row.suite != ours.suite || row.row != ours.row) continue;
    has_rate |= row.metric == "per_s";
    const bool compared = row.is_best_peer;
    others_can |= compared;
    can_compare |= compared && row.metric == ours.metric;
  }
  return has_rate ? ours.metric == "per_s" : can_compare || !others_can;
}

struct Counts {
  size_t ahead = 0, behind = 0, wide = 0, alone = 0;
};

std::string line_of(std::span<const Row> all, const Row& ours, Counts* counts) {
  const Row* best = nullptr;
  std::string others;
  for (const Row& row : all) {
    if (row.suite != ours.suite || row.row != ours.row || row.metric != ours.metric) continue;
    if (row.is_best_peer) {
      best = &row;
    } else if (row.side != Side::kOurs && row.ratio > 0) {
      others += (others.empty() ? "" : ", ") + row.name + " " + ratio_text(row.ratio);
    }
  }
  std::string line = "| " + ours.row + " | " + ours.metric + " | " + value_text(ours.median);
  if (best == nullptr) {
    ++counts->alone;
    return line + " | – | | | | " + others + " |\n";
  }
  ++(best->ratio >= 1 ? counts->ahead : counts->behind);
  if (*best->mark() != '\0') ++counts->wide;
  return line + " | " + best->name + " " + value_text(best->median) + " | **" +
         ratio_text(best->ratio) + "** | " + ratio_text(best->ratio_low) + " to " +
         ratio_text(best->ratio_high) + " | " + best->mark() + " | " + others + " |\n";
}

std::string summary_of(std::span<const Row> rows) {
  Counts counts;
  std::string tables;
  std::string suite;
  for (const Row& row : rows) {
    if (row.side != Side::kOurs || !is_shown(rows, row)) continue;
    if (row.suite != suite) {
      suite = row.suite;
      tables +=
          "\n## " + suite +
          "\n\n| row | metric | ours | best peer | ratio | quartiles | spread | beside others "
          "|\n|---|---|---|---|---|---|---|---|\n";
    }
    tables += line_of(rows, row, &counts);
  }
  return "A ratio says how many times better ours is: the median over rounds of neighbouring "
         "slices.\n"
         "Of " +
         std::to_string(counts.ahead + counts.behind) + " rows with a peer ours is ahead in " +
         std::to_string(counts.ahead) + ", behind in " + std::to_string(counts.behind) + "; " +
         std::to_string(counts.wide) + " are marked for their spread; " +
         std::to_string(counts.alone) + " have no peer.\n" + tables;
}

std::string content_of(const std::string& path) {
  std::string text;
  if (FILE* file = std::fopen(path.c_str(), "r"); file != nullptr) {
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
    std::fclose(file);
  }
  return text;
}

// Appends those of a file, or says what is wrong.
bool take(const std::string& name, FILE* file, std::vector<Slice>* slices) {
  const std::string wrong = file == nullptr ? "cannot be read" : read_slices(file, slices);
  if (!wrong.empty()) std::fprintf(stderr, "summary: %s: %s\n", name.c_str(), wrong.c_str());
  return wrong.empty();
}

int summarize(const std::string& dir) {
  // In the order in which the README has them: index, engine, memory, http.
  std::vector<Slice> slices;
  std::set<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("slices_") && name.ends_with(".csv")) files.insert(entry.path().string());
  }
  for (const std::string& path : files) {
    FILE* file = std::fopen(path.c_str(), "r");
    const bool is_read = take(path, file, &slices);
    if (file != nullptr) std::fclose(file);
    if (!is_read) return 1;
  }
  if (slices.empty()) {
    std::fprintf(stderr, "summary: there are no slices in %s\n", dir.c_str());
    return 1;
  }
  const std::vector<Row> rows = rows_of(slices);
  const std::string text = content_of(dir + "/machine.md") + summary_of(rows);
  FILE* csv = std::fopen((dir + "/rows.csv").c_str(), "w");
  FILE* markdown = std::fopen((dir + "/summary.md").c_str(), "w");
  if (csv == nullptr || markdown == nullptr) {
    std::fprintf(stderr, "summary: cannot write into %s\n", dir.c_str());
    return 1;
  }
  write_rows(csv, rows);
  std::fputs(text.c_str(), markdown);
  std::fputs(text.c_str(), stdout);
  const bool is_written = std::fclose(csv) == 0;
  return std::fclose(markdown) == 0 && is_written ? 0 : 1;
}

int print() {
  std::vector<Slice> slices;
  if (!take("stdin", stdin, &slices)) return 1;
  print_results(stdout, rows_of(slices));
  return 0;
}

}  // namespace
}  // namespace kyro::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: summary DIR | summary --print\n");
    return 2;
  }
  if (std::string_view(argv[1]) == "--print") return kyro::bench::print();
  return kyro::bench::summarize(argv[1]);
}
