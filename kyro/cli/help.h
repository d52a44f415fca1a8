// Help texts from the tables of command_line.h: of a program, of one command, of a list of flags.
// At most kHelpColumns wide.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kyro/cli/command_line.h"

namespace kyro {

inline constexpr size_t kHelpColumns = 80;
inline constexpr size_t kHelpIndent = 6;

inline constexpr std::string_view kExitCodesHelp =
    "Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 precondition failed,\n"
    "5 unreachable\n";

// Appends `text` wrapped, each line indented.
inline void append_wrapped(std::string& out, std::string_view text, size_t indent = kHelpIndent) {
  size_t column = 0;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (column != 0 && column + 1 + word.size() > kHelpColumns) {
      out += '\n';
      column = 0;
    }
    if (column == 0) {
      out.append(indent, ' ');
      column = indent;
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

// "<DIR>", or "text|json" where the value is one of several words.
[[nodiscard]] inline std::string value_placeholder(std::string_view value) {
  if (value.find('|') != value.npos) return std::string(value);
  return std::string("<").append(value).append(">");
}

// "-d, --data-dir <DIR>".
[[nodiscard]] inline std::string flag_spelling(const CliFlag& flag) {
  std::string out;
  if (flag.letter != 0) out.append(1, '-').append(1, flag.letter).append(", ");
  out.append("--").append(flag.name);
  if (!flag.value.empty()) out.append(" ").append(value_placeholder(flag.value));
  return out;
}

// What a user would write for the value that a flag has by itself; empty if there is none to tell.
[[nodiscard]] inline std::string default_text(const CliCommand* command, const CliFlag& flag) {
  if (flag.field.get == nullptr || flag.value.empty()) return "";
  return flag.field.get(flag, command == nullptr ? nullptr : command->defaults);
}

// The help of a flag of a command (null: of every command), with " (default 8)",
// " (default 0: off)" or " (default 16MiB; 0: none)" where there is a default to tell.
[[nodiscard]] inline std::string flag_help(const CliCommand* command, const CliFlag& flag) {
  std::string help(flag.help);
  const std::string value = default_text(command, flag);
  if (value.empty()) return help;
  help.append(" (default ").append(value);
  if (!flag.bounds.zero.empty())
    help.append(value == "0" ? ": " : "; 0: ").append(flag.bounds.zero);
  return help + ")";
}

inline void append_flags_help(std::string& out, std::string_view title,
                              std::span<const CliFlag> flags, const CliCommand* command) {
  for (const CliFlag& flag : flags) {
    const bool is_first = &flag == flags.data();
    if (is_first || !flag.heading.empty()) {
      out.append("\n").append(flag.heading.empty() ? title : flag.heading).append(":\n");
    }
    out.append("  ").append(flag_spelling(flag)).append("\n");
    append_wrapped(out, flag_help(command, flag));
  }
}

// What all variables of a command have in common; empty if it has none.
[[nodiscard]] inline std::string environment_rule(const CliCommand& command) {
  if (command.environment.empty()) return "";
  const CliFlag& example = command.flags.front();
  std::string out = "Each flag of " + std::string(command.name) + " is also a variable: --";
  out.append(example.name).append(" is ").append(variable_name(command, example));
  return out.append(". A flag beats the environment.");
}

// What `PROGRAM --help` prints.
[[nodiscard]] inline std::string program_help(const CliProgram& program) {
  std::string out = "Usage: ";
  out.append(program.usage).append("\n\n");
  append_wrapped(out, program.description, 0);
  out += "\nCommands:\n";
  constexpr size_t kHelpColumn = 28;
  for (const CliCommand& command : program.commands) {
    std::string line = "  " + std::string(command.name);
    if (!command.arguments.empty()) line.append(" ").append(command.arguments);
    if (line.size() + 2 > kHelpColumn) {
      out.append(line).append("\n");
      line.clear();
    }
    line.resize(kHelpColumn, ' ');
    std::string help;
    append_wrapped(help, command.help, kHelpColumn);
    out.append(line).append(help.substr(kHelpColumn));
  }
  append_flags_help(out, "Flags, before or after the command", program.flags, nullptr);
  out.append("\n").append(program.name);
  out.append(" help COMMAND says more about one. After -- nothing is a flag.\n");
  return out.append(kExitCodesHelp);
}

// What `PROGRAM help COMMAND` prints.
[[nodiscard]] inline std::string command_help(const CliProgram& program,
                                              const CliCommand& command) {
  std::string out = "Usage: ";
  out.append(program.name).append(" ").append(command.name);
  if (!command.arguments.empty()) out.append(" ").append(command.arguments);
  out += "\n\n";
  std::string sentence(command.help);
  if (sentence[0] >= 'a' && sentence[0] <= 'z') {
    sentence[0] = static_cast<char>(sentence[0] - 'a' + 'A');
  }
  append_wrapped(out, sentence + ".", 0);
  if (!command.more.empty()) {
    out += '\n';
    append_wrapped(out, command.more, 0);
  }
  if (const std::string rule = environment_rule(command); !rule.empty()) {
    out += '\n';
    append_wrapped(out, rule, 0);
  }
  append_flags_help(out, "Flags", command.flags, &command);
  append_flags_help(out, "Flags of every command", program.flags, nullptr);
  return out;
}

}  // namespace kyro
