// The metrics page as JSON: a line for each sample,
// {"name":"kyrodb_reads_total","labels":{"source":"run"},"value":4}.
//
// Help and types are left out. A value that is no number of JSON, such as NaN, becomes a string.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "kyro/base/text/json_text.h"
#include "kyro/base/text/printable.h"
#include "kyro/json/json_reader.h"

namespace kyro {
namespace ctl {
namespace metrics_detail {

// Takes a label's value, after its opening quote, off the text, with its closing quote.
inline std::string take_label_value(std::string_view* text) {
  std::string value;
  size_t at = 0;
  for (; at < text->size() && (*text)[at] != '"'; ++at) {
    const bool is_escape = (*text)[at] == '\\' && at + 1 < text->size();
    if (is_escape) ++at;
    value += is_escape && (*text)[at] == 'n' ? '\n' : (*text)[at];
  }
  text->remove_prefix(std::min(text->size(), at + 1));
  return value;
}

// From {a="b",c="d"}, or from nothing.
inline void append_labels(std::string& out, std::string_view text) {
  out += '{';
  for (size_t quote = 0; (quote = text.find("=\"")) != text.npos;) {
    const std::string_view name = text.substr(text.find_first_not_of("{,"), quote);
    if (!out.ends_with('{')) out += ',';
    append_json_string(out, printable(name.substr(0, name.find('='))));
    out += ':';
    text.remove_prefix(quote + 2);
    append_json_string(out, printable(take_label_value(&text)));
  }
  out += '}';
}

inline void append_sample(std::string& out, std::string_view line) {
  const size_t name_end = line.find_first_of("{ ");
  const size_t blank = line.rfind(' ');
  if (name_end == line.npos || blank == line.npos || blank < name_end) return;
  out += "{\"name\":";
  append_json_string(out, printable(line.substr(0, name_end)));
  out += ",\"labels\":";
  append_labels(out, line.substr(name_end, blank - name_end));
  out += ",\"value\":";
  const std::string_view value = line.substr(blank + 1);
  std::string_view number;
  JsonReader json(value);
  if (json.peek() == JsonType::kNumber && json.read_number(&number) && json.finish().ok()) {
    out += number;
  } else {
    append_json_string(out, printable(value));
  }
  out += "}\n";
}

}  // namespace metrics_detail

[[nodiscard]] inline std::string metrics_json(std::string_view page) {
  std::string out;
  while (!page.empty()) {
    const std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    if (!line.starts_with('#')) metrics_detail::append_sample(out, line);
  }
  return out;
}

}  // namespace ctl
}  // namespace kyro
