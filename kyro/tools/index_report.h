// `kyrodb index`: what is known of a learned index, as a table and as JSON.
//
// Thread rule: one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/text/json_fields.h"
#include "kyro/base/text/printable.h"
#include "kyro/index/rmi.h"
#include "kyro/index/rmi_survey.h"
#include "kyro/storage/offline/index_files.h"

namespace kyro {
namespace tools_detail {

// The entries that have a number between `low` and `high`.
struct IndexBin {
  int64_t low;
  int64_t high;
  uint64_t entries;
};
using IndexBins = std::vector<IndexBin>;

// From the first bin with something in it to the last.
inline IndexBins without_empty_ends(IndexBins bins) {
  while (!bins.empty() && bins.back().entries == 0) bins.pop_back();
  size_t empty = 0;
  while (empty < bins.size() && bins[empty].entries == 0) ++empty;
  bins.erase(bins.begin(), bins.begin() + static_cast<std::ptrdiff_t>(empty));
  return bins;
}

inline IndexBins error_bins(const RmiSurvey& survey) {
  IndexBins out;
  constexpr size_t kZero = RmiSurvey::kSignBins;
  for (size_t i = 0; i < survey.errors.size(); ++i) {
    const auto below = static_cast<int64_t>(i) - static_cast<int64_t>(kZero);
    const bool is_below = i < kZero;
    out.push_back({is_below ? below : static_cast<int64_t>(RmiSurvey::bin_low(i - kZero)),
                   is_below ? below : static_cast<int64_t>(RmiSurvey::bin_high(i - kZero)),
                   survey.errors[i]});
  }
  return without_empty_ends(std::move(out));
}

inline IndexBins probe_bins(const RmiSurvey& survey) {
  IndexBins out;
  for (size_t i = 0; i < survey.probes.size(); ++i) {
    out.push_back({static_cast<int64_t>(RmiSurvey::bin_low(i)),
                   static_cast<int64_t>(RmiSurvey::bin_high(i)), survey.probes[i]});
  }
  return without_empty_ends(std::move(out));
}

inline IndexBins level_bins(const RmiSurvey& survey) {
  IndexBins out;
  for (size_t i = 0; i < survey.levels.size(); ++i) {
    out.push_back({static_cast<int64_t>(i), static_cast<int64_t>(i), survey.levels[i]});
  }
  return without_empty_ends(std::move(out));
}

inline double percent_of(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

// part / whole in thousandths.
inline uint64_t thousandths_of(uint64_t part, uint64_t whole) {
  __extension__ using Wide = unsigned __int128;
  return whole == 0 ? 0 : static_cast<uint64_t>(static_cast<Wide>(part) * 1000 / whole);
}

inline void print_bins(const char* what, const IndexBins& bins, uint64_t entries) {
  constexpr std::string_view kBar = "########################################";
  std::printf("\n  %14s %14s\n", what, "entries");
  for (const IndexBin& bin : bins) {
    const std::string label = bin.low == bin.high
                                  ? std::to_string(bin.low)
                                  : std::to_string(bin.low) + " to " + std::to_string(bin.high);
    const double percent = percent_of(bin.entries, entries);
    const auto length = static_cast<size_t>(percent * static_cast<double>(kBar.size()) / 100 + 0.5);
    std::printf("  %14s %14llu  %5.1f%%%s%s\n", label.c_str(),
                static_cast<unsigned long long>(bin.entries), percent, length > 0 ? "  " : "",
                std::string(kBar.substr(0, length)).c_str());
  }
}

inline void print_text(const IndexFile& file, const RmiSurvey& survey) {
  const auto n = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  const RmiIndex& index = file.index();
  const auto per = [](uint64_t bytes, uint64_t keys) {
    return keys == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(keys);
  };
  std::printf("%s\n  entries      %llu", printable(file.name).c_str(), n(index.entries()));
  if (index.entries() > 0) {
    std::printf(", keys %llu to %llu", n(index.min_key()), n(index.max_key()));
  }
  if (file.run) {
    std::printf("; records of the run: %llu%s", n(file.run->records),
                file.owner->body().is_paged() ? ", an entry for each page" : "");
  }
  std::printf(
      "\n  model        depth %u, nodes %llu, leaves %llu (searched: %llu), zooms %llu, "
      "outliers %llu\n",
      index.depth(), n(index.nodes()), n(index.leaves()), n(survey.searched_leaves),
      n(survey.zooms), n(survey.outliers));
  std::printf("  bytes        %llu, %.2f an entry, of them the model %.3f", n(file.file_bytes),
              per(file.file_bytes, index.entries()), per(index.model_bytes(), index.entries()));
  if (file.run) std::printf("; %.2f a key", per(file.file_bytes, file.run->records));
  std::printf("\n  fill         %.1f%% of %llu slots of 16 bytes\n",
              percent_of(index.entries(), survey.slots), n(survey.slots));
  std::printf("  epsilon      %u slots after the prediction at most\n", index.epsilon_max());
  std::printf("  predicted    %.1f%% in the right cache line of four slots\n",
              percent_of(survey.in_line, index.entries()));
  if (index.entries() == 0) return;
  print_bins("levels", level_bins(survey), index.entries());
  print_bins("error, slots", error_bins(survey), index.entries());
  print_bins("probes, slots", probe_bins(survey), index.entries());
}

inline void append_bins(JsonFields& json, std::string& out, std::string_view name,
                        const IndexBins& bins) {
  json.open(name, '[');
  for (const IndexBin& bin : bins) {
    json.open('[');
    out += std::to_string(bin.low) + "," + std::to_string(bin.high);
    json.element(bin.entries);
    json.close(']');
  }
  json.close(']');
}

// Appends an object.
inline void append_json(std::string& out, const IndexFile& file, const RmiSurvey& survey) {
  const RmiIndex& index = file.index();
  JsonFields json(out);
  json.open('{');
  json.field("file", std::string_view(printable(file.name)));
  if (file.run) {
    json.field("run", file.run->id);
    json.field("records", file.run->records);
  }
  json.field("entries", index.entries());
  json.exact_field("key_min", index.min_key());
  json.exact_field("key_max", index.max_key());
  json.field("depth", index.depth());
  json.field("nodes", index.nodes());
  json.field("leaves", index.leaves());
  json.field("searched_leaves", survey.searched_leaves);
  json.field("zooms", survey.zooms);
  json.field("outliers", survey.outliers);
  json.field("slots", survey.slots);
  json.field("bytes", file.file_bytes);
  json.field("model_bytes", index.model_bytes());
  json.thousandths_field("bytes_per_entry", thousandths_of(file.file_bytes, index.entries()));
  json.thousandths_field("model_bytes_per_entry",
                         thousandths_of(index.model_bytes(), index.entries()));
  if (file.run) {
    json.thousandths_field("bytes_per_key", thousandths_of(file.file_bytes, file.run->records));
  }
  json.thousandths_field("fill", thousandths_of(index.entries(), survey.slots));
  json.field("epsilon", index.epsilon_max());
  json.thousandths_field("in_predicted_line", thousandths_of(survey.in_line, index.entries()));
  append_bins(json, out, "levels", level_bins(survey));
  append_bins(json, out, "errors", error_bins(survey));
  append_bins(json, out, "probes", probe_bins(survey));
  json.close('}');
}

}  // namespace tools_detail
}  // namespace kyro
