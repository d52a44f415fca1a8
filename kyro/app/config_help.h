// The help text of `kyrodb serve`, written from the table of options: nothing in it is said twice.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "kyro/app/config_table.h"

namespace kyro {
namespace config_detail {

inline constexpr size_t kHelpColumns = 80;
inline constexpr size_t kHelpIndent = 6;

// The default as a user would write it; empty if there is none to tell.
inline std::string default_text(const Option& option) {
  ServeConfig config;
  return std::visit(
      [&](auto field) -> std::string {
        using T = decltype(field);
        if constexpr (std::is_same_v<T, std::string*>) {
          return *field;
        } else if constexpr (std::is_same_v<T, bool*>) {
          return "";
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

// " (default 8)", " (default 0: off)", " (default 16MiB; 0: none)", or nothing.
inline std::string default_note(const Option& option) {
  const std::string text = default_text(option);
  if (text.empty()) return "";
  std::string note = " (default " + text;
  if (!option.zero.empty()) note.append(text == "0" ? ": " : "; 0: ").append(option.zero);
  return note + ")";
}

// Appends `text` wrapped, each line indented.
inline void append_wrapped(std::string& out, std::string_view text) {
  size_t column = 0;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (column != 0 && column + 1 + word.size() > kHelpColumns) {
      out += '\n';
      column = 0;
    }
    if (column == 0) {
      out.append(kHelpIndent, ' ');
      column = kHelpIndent;
    } else {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
  }
  out += '\n';
}

inline void append_option_help(std::string& out, const Option& option) {
  out += "  ";
  if (option.letter != 0) out.append(1, '-').append(1, option.letter).append(", ");
  if (is_flag(option)) {
    out.append("--").append(option.name);
  } else {
    out += environment_name(option);
  }
  if (!option.value.empty()) {
    const bool is_words = option.value.find('|') != std::string_view::npos;
    out.append(is_flag(option) ? " " : "=").append(is_words ? "" : "<").append(option.value);
    out += is_words ? "" : ">";
  }
  out += '\n';
  append_wrapped(out, std::string(option.help) + default_note(option));
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

}  // namespace kyro
