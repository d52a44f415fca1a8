// What both programs do with their tables (cli.h): run a command line, print help, man page and
// completion.
//
// Thread rule: one thread.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "kyro/cli/command_line.h"
#include "kyro/cli/completion.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/cli/help.h"
#include "kyro/cli/man.h"

namespace kyro {

inline constexpr CliFlag kManFlags[] = {{"man", "", "print the man page"}};

inline int cli_usage_error(const CliProgram& program, std::string_view message) {
  std::fprintf(stderr, "%s: %.*s (see: %s --help)\n", program.name.data(),
               static_cast<int>(message.size()), message.data(), program.name.data());
  return kExitUsage;
}

inline int print_text(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return std::fflush(stdout) == 0 ? kExitOk : kExitError;
}

// The command `help [COMMAND|--man]`.
[[nodiscard]] inline int print_help(const CliProgram& program, const CliCall& call,
                                    std::string_view see_also) {
  if (call.has("man")) return print_text(man_page(program, see_also));
  if (call.words.empty()) return print_text(program_help(program));
  for (const CliCommand& command : program.commands) {
    if (command.name == call.words[0]) return print_text(command_help(program, command));
  }
  return cli_usage_error(program, "no help for " + call.words[0]);
}

// The command `completion bash|zsh`.
[[nodiscard]] inline int print_completion(const CliProgram& program, const CliCall& call) {
  if (call.words[0] == "bash") return print_text(bash_completion(program));
  if (call.words[0] == "zsh") return print_text(zsh_completion(program));
  return cli_usage_error(program, "completion is for bash or zsh, not " + call.words[0]);
}

// Parses the words behind the program's name and runs the command; the exit code.
[[nodiscard]] inline int run_program(const CliProgram& program,
                                     std::span<const std::string_view> words) {
  const auto call = parse_cli(program, words);
  if (!call.ok()) return cli_usage_error(program, call.status().message());
  if (!call->wants_help) return call->command->run(*call);
  if (call->command == nullptr) return print_text(program_help(program));
  return print_text(command_help(program, *call->command));
}

}  // namespace kyro
