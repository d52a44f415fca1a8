// The Prometheus text format, version 0.0.4: families, samples, histograms.
//
//   MetricsText text;
//   text.family("kyrodb_runs", "gauge", "Runs on disk.");
//   text.sample("kyrodb_runs", {}, 3);
//
// Thread rule: one text is one thread's.
#pragma once

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "kyro/base/counters.h"
#include "kyro/base/text/decimal.h"

namespace kyro {

class MetricsText {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    out_.append("# HELP ").append(name).append(" ").append(help);
    out_.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
  }
  // `labels` is empty or `name="value",…` with values that need no escapes.
  void sample(std::string_view name, std::string_view labels, uint64_t value) {
    begin_sample(name, labels);
    append_decimal(out_, value);
    out_ += '\n';
  }
  void sample_seconds(std::string_view name, std::string_view labels, double value) {
    begin_sample(name, labels);
    append_double(value);
    out_ += '\n';
  }
  void counter(std::string_view name, std::string_view help, uint64_t value) {
    family(name, "counter", help);
    sample(name, {}, value);
  }
  void gauge(std::string_view name, std::string_view help, uint64_t value) {
    family(name, "gauge", help);
    sample(name, {}, value);
  }
  // A histogram whose counted values are divided by `unit` (1e9 for nanoseconds shown as seconds).
  void histogram(std::string_view name, std::string_view help, const HistogramSnapshot& snapshot,
                 double unit) {
    family(name, "histogram", help);
    histogram_samples(name, {}, snapshot, unit);
  }
  void histogram_samples(std::string_view name, std::string_view labels,
                         const HistogramSnapshot& snapshot, double unit) {
    const std::string family_name(name);
    const std::string prefix = labels.empty() ? std::string() : std::string(labels) + ",";
    for (size_t i = 0; i < snapshot.bounds.size(); ++i) {
      char bound[40];
      std::snprintf(bound, sizeof bound, "le=\"%g\"",
                    static_cast<double>(snapshot.bounds[i]) / unit);
      sample(family_name + "_bucket", prefix + bound, snapshot.cumulative[i]);
    }
    sample(family_name + "_bucket", prefix + "le=\"+Inf\"", snapshot.count);
    sample_seconds(family_name + "_sum", labels, static_cast<double>(snapshot.sum) / unit);
    sample(family_name + "_count", labels, snapshot.count);
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void begin_sample(std::string_view name, std::string_view labels) {
    out_.append(name);
    if (!labels.empty()) out_.append("{").append(labels).append("}");
    out_ += ' ';
  }
  void append_double(double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", value);
    out_ += text;
  }

  std::string out_;
};

}  // namespace kyro
