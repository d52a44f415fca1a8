// A learned index as a picture, SVG: how its entries are distributed and what the model makes of
// it, the leaves beneath, how far off the predictions are. As many columns whatever the size.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/index/rmi_sample.h"
#include "kyro/index/rmi_survey.h"

namespace kyro {
namespace tools_detail {

inline constexpr size_t kPictureColumns = 320;

class IndexPicture {
 public:
  // `survey` is that of `index`, of kPictureColumns columns. Null: there is none.
  [[nodiscard]] static std::string draw(const RmiIndex* index, const RmiSurvey& survey,
                                        std::string_view name) {
    IndexPicture picture(index, survey);
    picture.begin(name);
    if (!picture.points_.empty()) {
      picture.draw_distribution();
      picture.draw_leaves();
      picture.draw_errors();
      picture.text(kLeft, 548, "", std::to_string(survey.low_key));
      picture.text(kLeft + kWidth, 548, "end", std::to_string(survey.high_key));
    }
    picture.out_ += "</svg>\n";
    return std::move(picture.out_);
  }

 private:
  static constexpr double kLeft = 80;
  static constexpr double kWidth = 640;
  static constexpr double kStep = kWidth / static_cast<double>(kPictureColumns);

  IndexPicture(const RmiIndex* index, const RmiSurvey& survey) : survey_(survey) {
    if (index == nullptr) return;
    entries_ = static_cast<double>(index->entries());
    points_ = RmiSampler::sample(*index, kPictureColumns + 1);
  }

  void begin(std::string_view name) {
    out_ =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 560\" role=\"img\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n<style>"
        "svg{background:#fff;color:#222}.axis{fill:none;stroke:#999}.keys{fill:none;stroke:#1864ab;"
        "stroke-width:2}.model{fill:none;stroke:#e8590c;stroke-dasharray:5 4}.d1{fill:#74c0fc}"
        ".d2{fill:#4dabf7}.d3{fill:#1c7ed6}.d4{fill:#1864ab}.most{fill:#ffc9c9}.mean{fill:#c92a2a}"
        "text{fill:currentColor}@media(prefers-color-scheme:dark){svg{background:#181818;"
        "color:#ddd}.keys{stroke:#74c0fc}.model{stroke:#ffa94d}.most{fill:#7d2a2a}"
        ".mean{fill:#ff8787}}</style>\n<title>";
    append_text(name);
    out_ += "</title>\n";
    text(kLeft, 24, "", name);
    if (points_.empty()) text(kLeft, 60, "", "no entries");
  }

  void draw_distribution() {
    constexpr double kTop = 60, kHeight = 230;
    panel(kTop, kHeight, "entries up to here (line), slots before the prediction (dashed)",
          std::to_string(static_cast<uint64_t>(entries_)));
    uint64_t below = 0;
    out_ += "<polyline class=\"keys\" points=\"";
    point(kLeft, kTop + kHeight);
    for (size_t i = 0; i < survey_.columns.size(); ++i) {
      below += survey_.columns[i].entries;
      point(kLeft + kStep * static_cast<double>(i + 1),
            kTop + kHeight * (1 - static_cast<double>(below) / entries_));
    }
    out_ += "\"/>\n<polyline class=\"model\" points=\"";
    for (const RmiPoint& p : points_) {
      const double rank = std::min(static_cast<double>(p.rank) / entries_, 1.0);
      point(kLeft + kWidth * place_of(p.key), kTop + kHeight * (1 - rank));
    }
    out_ += "\"/>\n";
  }

  void draw_leaves() {
    constexpr double kTop = 330, kHeight = 70;
    uint64_t most = 1;
    for (const RmiPoint& p : points_) most = std::max(most, p.leaf_keys);
    panel(kTop, kHeight, "entries in the leaf of a key (logarithm); the darker, the deeper",
          std::to_string(most));
    for (const RmiPoint& p : points_) {
      const double share = std::log2(1 + static_cast<double>(p.leaf_keys)) /
                           std::log2(1 + static_cast<double>(most));
      const std::string depth = "d" + std::to_string(std::min<uint32_t>(p.depth, 4));
      bar(depth.c_str(), std::min(place_of(p.key) * kWidth, kWidth - kStep), kTop + kHeight,
          share * kHeight);
    }
  }

  void draw_errors() {
    constexpr double kTop = 440, kHeight = 90;
    uint64_t most = 1;
    for (const RmiColumn& c : survey_.columns) most = std::max(most, c.error_max);
    panel(kTop, kHeight, "error in slots: the largest (light) and the mean (dark)",
          std::to_string(most));
    for (size_t i = 0; i < survey_.columns.size(); ++i) {
      const RmiColumn& c = survey_.columns[i];
      if (c.entries == 0) continue;
      const double scale = kHeight / static_cast<double>(most);
      const double x = kStep * static_cast<double>(i);
      const double mean = static_cast<double>(c.error_sum) / static_cast<double>(c.entries);
      bar("most", x, kTop + kHeight, scale * static_cast<double>(c.error_max));
      bar("mean", x, kTop + kHeight, scale * mean);
    }
  }

  // Where in the range of the columns, from 0 to 1.
  [[nodiscard]] double place_of(uint64_t key) const {
    const uint64_t span = survey_.high_key - survey_.low_key;
    if (span == 0) return 0;
    return static_cast<double>(key - survey_.low_key) / static_cast<double>(span);
  }

  void panel(double top, double height, std::string_view caption, std::string_view most) {
    text(kLeft, top - 8, "", caption);
    text(kLeft - 6, top + 12, "end", most);
    text(kLeft - 6, top + height, "end", "0");
    format("<path class=\"axis\" d=\"M%.0f %.0fV%.0fH%.0f\"/>\n", kLeft, top, top + height,
           kLeft + kWidth);
  }
  [[gnu::format(printf, 2, 3)]] void format(const char* form, ...) {
    char piece[160];
    va_list values;
    va_start(values, form);
    const int length = std::vsnprintf(piece, sizeof piece, form, values);
    va_end(values);
    out_.append(piece, static_cast<size_t>(length));  // of a few bounded numbers: it fits
  }
  void point(double x, double y) { format("%.1f,%.1f ", x, y); }
  void bar(const char* what, double x, double bottom, double height) {
    out_.append("<rect class=\"").append(what);
    format("\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", kLeft + x,
           bottom - height, kStep, height);
  }
  void text(double x, double y, const char* anchor, std::string_view what) {
    format("<text x=\"%.0f\" y=\"%.0f\"", x, y);
    if (*anchor != '\0') out_.append(" text-anchor=\"").append(anchor).append("\"");
    out_ += '>';
    append_text(what);
    out_ += "</text>\n";
  }
  void append_text(std::string_view what) {
    for (const char c : what) {
      if (c == '<' || c == '&') {
        out_ += c == '<' ? "&lt;" : "&amp;";
      } else {
        out_ += c;
      }
    }
  }

  const RmiSurvey& survey_;
  double entries_ = 0;
  std::vector<RmiPoint> points_;  // none: nothing is drawn
  std::string out_;
};

}  // namespace tools_detail
}  // namespace kyro
