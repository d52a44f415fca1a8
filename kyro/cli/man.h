// Man pages from the tables of command_line.h, in the man(7) macros that every formatter knows.
//
// Thread rule: pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kyro/cli/build_info.h"
#include "kyro/cli/command_line.h"
#include "kyro/cli/help.h"

namespace kyro {
namespace man_detail {

// Text with what roff would read as a command taken from it: backslashes, hyphens that are to stay
// hyphens, and a dot or quote that begins a line.
[[nodiscard]] inline std::string escape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((i == 0 || text[i - 1] == '\n') && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

// A paragraph, wrapped as the source of a page should be.
inline void append_paragraph(std::string& out, std::string_view text) {
  std::string wrapped;
  append_wrapped(wrapped, text, 0);
  out += escape(wrapped);
}

inline void append_section(std::string& out, std::string_view title, std::string_view text = {}) {
  out.append(".SH ").append(title).append("\n");
  if (!text.empty()) append_paragraph(out, text);
}

inline void append_entries(std::string& out, std::string_view title,
                           std::span<const CliEntry> entries) {
  if (entries.empty()) return;
  if (!title.empty()) append_section(out, title);
  for (const CliEntry& entry : entries) {
    out.append(".TP\n.B ").append(escape(entry.name)).append("\n");
    append_paragraph(out, entry.text);
  }
}

inline void append_flags(std::string& out, std::span<const CliFlag> flags,
                         const CliCommand* command) {
  for (const CliFlag& flag : flags) {
    out.append(".TP\n.B ").append(escape(flag_spelling(flag))).append("\n");
    append_paragraph(out, flag_help(command, flag) + ".");
  }
}

inline void append_command(std::string& out, const CliCommand& command) {
  out.append(".SS ").append(escape(command.name));
  if (!command.arguments.empty()) out.append(" ").append(escape(command.arguments));
  out += "\n";
  append_paragraph(out, std::string(command.help) + ".");
  if (!command.more.empty()) {
    out += ".PP\n";
    append_paragraph(out, command.more);
  }
  append_flags(out, command.flags, &command);
}

}  // namespace man_detail

// The page PROGRAM(1); `see_also` names the other one.
[[nodiscard]] inline std::string man_page(const CliProgram& program, std::string_view see_also) {
  using namespace man_detail;
  std::string title;
  for (const char c : program.name) {
    title += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  std::string out = ".TH " + title + " 1 \"" + std::string(kProductDate) + "\" \"KyroDB " +
                    std::string(kProductVersion) + "\"\n";
  append_section(out, "NAME");
  out.append(program.name).append(" \\- ").append(escape(program.purpose)).append("\n");
  append_section(out, "SYNOPSIS");
  out.append(".B ").append(escape(program.usage)).append("\n");
  append_section(out, "DESCRIPTION", program.description);
  append_section(out, "COMMANDS");
  for (const CliCommand& command : program.commands) append_command(out, command);
  if (!program.flags.empty()) {
    append_section(out, "OPTIONS", "Before or after the command:");
    append_flags(out, program.flags, nullptr);
  }
  bool has_environment = false;
  for (const CliCommand& command : program.commands) {
    if (command.environment.empty()) continue;
    append_section(out, "ENVIRONMENT", environment_rule(command));
    has_environment = true;
  }
  append_entries(out, has_environment ? "" : "ENVIRONMENT", program.variables);
  append_entries(out, "FILES", program.files);
  append_entries(out, "SIGNALS", program.signals);
  append_section(out, "EXIT STATUS",
                 "0 ok, 1 error, 2 usage, 3 not found, 4 precondition failed, 5 unreachable.");
  append_entries(out, "EXAMPLES", program.examples);
  append_section(out, "SEE ALSO");
  return out.append(".BR ").append(see_also).append(" (1)\n");
}

}  // namespace kyro
