// What both programs do with their tables (command_line.h): run a command line, print help, man
// page and completion.
//
// Thread rule: one thread.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "kyro/base/text/printable.h"
#include "kyro/cli/build_info.h"
#include "kyro/cli/command_line.h"
#include "kyro/cli/completion.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/cli/help.h"
#include "kyro/cli/man.h"

namespace kyro {

inline constexpr CliFlag kManFlags[] = {{"man", "", "print the man page"}};

// Whether errors are JSON objects, one a line, as --json asks for. Set before anything can fail.
inline bool& cli_errors_are_json() {
  static bool are_json = false;
  return are_json;
}

// Prints "NAME: MESSAGE" to stderr, or {"error":"CODE","message":"MESSAGE"}. Whatever foreign text
// the message quotes, it stays one line.
inline void cli_print_error(std::string_view program, std::string_view code,
                            std::string_view message) {
  std::string line;
  const std::string text = printable(message);
  if (!cli_errors_are_json()) {
    line.append(program).append(": ").append(text).append("\n");
  } else {
    line.append("{\"error\":\"").append(code).append("\",\"message\":\"");
    for (const char c : text) line.append(c == '"' || c == '\\' ? "\\" : "").append(1, c);
    line += "\"}\n";
  }
  std::fwrite(line.data(), 1, line.size(), stderr);
}

// Says what is wrong with a command line and where to read on: in the help of `command`, or of the
// program where that is null.
inline int cli_usage_error(std::string_view program, const CliCommand* command,
                           std::string_view message) {
  std::string text(message);
  text.append(" (see: ").append(program);
  if (command != nullptr) text.append(" help ").append(command->name);
  cli_print_error(program, "usage", text.append(command != nullptr ? ")" : " --help)"));
  return kExitUsage;
}

inline int print_text(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return std::fflush(stdout) == 0 ? kExitOk : kExitError;
}

[[nodiscard]] inline int print_version(const CliProgram& program) {
  std::string text(program.name);
  text.append(" ").append(kProductVersion).append(" (").append(kProductCommit).append(", ");
  return print_text(text.append(kProductCompiler).append(")\n"));
}

// The command `help [COMMAND|--man]`.
[[nodiscard]] inline int print_help(const CliProgram& program, const CliCall& call,
                                    std::string_view see_also) {
  if (call.has("man")) return print_text(man_page(program, see_also));
  if (call.words.empty()) return print_text(program_help(program));
  for (const CliCommand& command : program.commands) {
    if (command.name == call.words[0]) return print_text(command_help(program, command));
  }
  return cli_usage_error(program.name, nullptr, "no help for " + call.words[0]);
}

// The command `completion bash|zsh`.
[[nodiscard]] inline int print_completion(const CliProgram& program, const CliCall& call) {
  if (call.words[0] == "bash") return print_text(bash_completion(program));
  if (call.words[0] == "zsh") return print_text(zsh_completion(program));
  return cli_usage_error(program.name, call.command,
                         "completion is for bash or zsh, not " + call.words[0]);
}

// Parses the words after the program's name and runs the command; the exit code.
[[nodiscard]] inline int run_program(const CliProgram& program,
                                     std::span<const std::string_view> words) {
  CliCall call;
  const Status parsed = parse_cli(program, words, &call);
  if (!parsed.ok()) return cli_usage_error(program.name, call.command, parsed.message());
  if (call.wants_version) return print_version(program);
  if (!call.wants_help) return call.command->run(call);
  if (call.command == nullptr) return print_text(program_help(program));
  return print_text(command_help(program, *call.command));
}

}  // namespace kyro
