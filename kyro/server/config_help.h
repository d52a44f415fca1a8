// What `kyrodb serve` says of itself, written from the table of options: its help, the rows for man
// page and completions, and the configuration in force.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "kyro/cli/help.h"
#include "kyro/json/json_writer.h"
#include "kyro/server/config_table.h"

namespace kyro {
namespace config_detail {

// An option's value as a user would write it.
inline std::string value_text(const Option& option, ServeConfig& config) {
  return std::visit(
      [&](auto field) -> std::string {
        using T = decltype(field);
        if constexpr (std::is_same_v<T, std::string*>) {
          return *field;
        } else if constexpr (std::is_same_v<T, bool*>) {
          return *field ? "true" : "false";
        } else if constexpr (std::is_same_v<T, double*>) {
          return format_real(*field);
        } else if constexpr (std::is_same_v<T, Choice>) {
          std::string_view words = option.value;
          for (size_t i = field.get(config); i > 0; --i) words.remove_prefix(words.find('|') + 1);
          return std::string(words.substr(0, words.find('|')));
        } else if constexpr (std::is_same_v<T, Fsync>) {
          return format_fsync(config.engine);
        } else if constexpr (std::is_same_v<T, RateLimit*>) {
          return format_rate(*field);
        } else if constexpr (std::is_same_v<T, Mode>) {
          return format_mode(*field.bits);
        } else {
          return option.value == "B" ? format_bytes(*field) : std::to_string(*field);
        }
      },
      option.field(config));
}

// The default as a user would write it; empty if there is none to tell.
inline std::string default_text(const Option& option) {
  ServeConfig config;
  return option.value.empty() ? "" : value_text(option, config);
}

// " (default 8)", " (default 0: off)", " (default 16MiB; 0: none)", or nothing.
inline std::string default_note(const Option& option) {
  const std::string text = default_text(option);
  if (text.empty()) return "";
  std::string note = " (default " + text;
  if (!option.zero.empty()) note.append(text == "0" ? ": " : "; 0: ").append(option.zero);
  return note + ")";
}

inline void append_option_help(std::string& out, const Option& option) {
  const std::string help = std::string(option.help) + default_note(option);
  if (is_flag(option)) {
    out.append("  ").append(flag_spelling({option.name, option.value, {}, option.letter}));
  } else {
    out.append("  ").append(environment_name(option)).append("=");
    out += value_placeholder(option.value);
  }
  out += '\n';
  append_wrapped(out, help);
}

}  // namespace config_detail

// What `kyrodb help serve` prints, at most 80 columns wide.
[[nodiscard]] inline std::string serve_help() {
  using namespace config_detail;
  const ServeConfig defaults;
  std::string out =
      "Usage: kyrodb serve [FLAGS] [HOST PORT]\n\nServes a data directory over HTTP, at ";
  out.append(defaults.host)
      .append(" ")
      .append(std::to_string(defaults.port))
      .append(
          " if not told otherwise.\n"
          "Each flag is also an environment variable: --data-dir is KYRODB_DATA_DIR. A flag\n"
          "beats the environment. Sizes (B) take K, M, G or KiB, MiB, GiB: powers of 1024.\n");
  Section section{};
  bool first = true;
  for (const Option& option : kServeOptions) {
    if (first || option.section != section) {
      out.append("\n").append(kSectionTitles[static_cast<size_t>(option.section)]).append(":\n");
    }
    first = false;
    section = option.section;
    append_option_help(out, option);
  }
  return out;
}

// The rows of the option table as those of cli.h, for man page and completions: flags, and
// variables that are no flag. Lives as long as the program.
class ServeRows {
 public:
  ServeRows() {
    using namespace config_detail;
    for (const Option& option : kServeOptions) {
      const std::string& help =
          texts_.emplace_back(std::string(option.help) + default_note(option));
      if (is_flag(option)) {
        flags_.push_back({option.name, option.value, help, option.letter});
      } else {
        variables_.push_back({texts_.emplace_back(environment_name(option)), option.value, help});
      }
    }
  }
  [[nodiscard]] std::span<const CliFlag> flags() const { return flags_; }
  [[nodiscard]] std::span<const CliFlag> variables() const { return variables_; }

 private:
  std::deque<std::string> texts_;
  std::vector<CliFlag> flags_;
  std::vector<CliFlag> variables_;
};

// What `kyrodb serve --print-config` prints: every option with its value and where that came from
// (a flag, a variable, "default"), in columns or as JSON. Secrets are hidden.
[[nodiscard]] inline std::string print_config_text(ServeConfig config) {
  using namespace config_detail;
  const bool as_json = config.log.json;
  std::string out = as_json ? "{\"options\":[" : "";
  const auto add = [&](std::string_view name, std::string value, std::string_view origin) {
    if (as_json) {
      out.append(out.ends_with('[') ? "{\"name\":\"" : ",{\"name\":\"").append(name);
      out.append("\",\"value\":");
      append_json_string(out, value);
      out.append(",\"origin\":\"").append(origin).append("\"}");
      return;
    }
    if (value.empty()) value = "-";
    constexpr size_t kNameColumns = 26;
    constexpr size_t kValueColumns = 22;
    out.append(name).append(std::max(name.size() + 1, kNameColumns) - name.size(), ' ');
    out.append(value).append(std::max(value.size() + 1, kValueColumns) - value.size(), ' ');
    out.append(origin).append("\n");
  };
  const std::string_view address_origin = config.is_address_given ? "argument" : "default";
  add("host", config.host, address_origin);
  add("port", std::to_string(config.port), address_origin);
  for (const Option& option : kServeOptions) {
    if (option.name == "print-config") continue;
    std::string value = value_text(option, config);
    const ConfigOrigin origin = config.origins[option_index(option)];
    std::string from = "default";
    // A string that is empty has been set aside for a flag that excludes it.
    if (origin == ConfigOrigin::kFlag && !value.empty()) from = "--" + std::string(option.name);
    if (origin == ConfigOrigin::kEnvironment && !value.empty()) from = environment_name(option);
    if (option.value == "TOKEN" && !value.empty()) value = "(hidden)";
    add(option.name, std::move(value), from);
  }
  return out.append(as_json ? "]}\n" : "");
}

}  // namespace kyro
