// Shell completions from the tables of command_line.h: for bash a function that `complete` calls,
// for zsh one that `_arguments` drives. Both know commands, flags, words of a choice, and offer
// files elsewhere.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "kyro/cli/command_line.h"

namespace kyro {
namespace completion_detail {

inline std::string words_of(std::string_view choice) {
  std::string out(choice);
  std::replace(out.begin(), out.end(), '|', ' ');
  return out;
}

inline std::string flag_words(std::span<const CliFlag> flags) {
  std::string out;
  for (const CliFlag& flag : flags) {
    if (flag.letter != 0) out.append("-").append(1, flag.letter).append(" ");
    out.append("--").append(flag.name).append(" ");
  }
  return out;
}

// One arm of `case $previous`: what may follow a flag that takes a value.
inline void append_bash_values(std::string& out, std::span<const CliFlag> flags) {
  for (const CliFlag& flag : flags) {
    if (flag.value.empty()) continue;
    out += "    ";
    if (flag.letter != 0) out.append("-").append(1, flag.letter).append(" | ");
    out.append("--").append(flag.name).append(") ");
    if (is_choice(flag.value)) {
      out.append("COMPREPLY=($(compgen -W '").append(words_of(flag.value));
      out.append("' -- \"$word\")); return ;;\n");
    } else {
      out += "COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n";
    }
  }
}

// A text inside single quotes and the brackets of a zsh specification.
inline std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

inline void append_zsh_flag(std::string& out, std::string_view indent, const CliFlag& flag) {
  const auto append = [&](const std::string& spelling, std::string_view equals) {
    out.append(indent).append("'").append(spelling).append(flag.value.empty() ? "" : equals);
    out.append("[").append(zsh_text(flag.help)).append("]");
    if (is_choice(flag.value)) {
      out.append(":value:(").append(words_of(flag.value)).append(")");
    } else if (!flag.value.empty()) {
      out.append(":").append(zsh_text(flag.value)).append(":_files");
    }
    out += "' \\\n";
  };
  if (flag.letter != 0) append(std::string("-") + flag.letter, "");
  append("--" + std::string(flag.name), "=");
}

}  // namespace completion_detail

// What `PROGRAM completion bash` prints.
[[nodiscard]] inline std::string bash_completion(const CliProgram& program) {
  using namespace completion_detail;
  const std::string name(program.name);
  std::string commands;
  for (const CliCommand& command : program.commands) commands.append(command.name).append(" ");
  std::string out =
      "# bash completion of " + name + "; made by: " + name +
      " completion bash\n"
      "_" +
      name +
      "() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
      "  local command= flags= i\n"
      "  local commands='" +
      commands +
      "'\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \" $commands \" in\n"
      "      *\" ${COMP_WORDS[i]} \"*) command=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n"
      "  done\n"
      "  case $previous in\n";
  append_bash_values(out, program.flags);
  out += "  esac\n  case $command in\n";
  for (const CliCommand& command : program.commands) {
    out.append("    ").append(command.name).append(")\n");
    if (!command.flags.empty()) {
      out.append("      flags='").append(flag_words(command.flags)).append("'\n");
      out += "      case $previous in\n";
      append_bash_values(out, command.flags);
      out += "      esac\n";
    }
    out += "      ;;\n";
  }
  out.append("  esac\n  flags+='").append(flag_words(program.flags)).append("--help'\n");
  out +=
      "  if [[ $word == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n"
      "  elif [[ -z $command || $command == help ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$commands\" -- \"$word\"))\n"
      "  else\n"
      "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
      "  fi\n"
      "}\n"
      "complete -o filenames -F _";
  return out.append(name).append(" ").append(name).append("\n");
}

// What `PROGRAM completion zsh` prints.
[[nodiscard]] inline std::string zsh_completion(const CliProgram& program) {
  using namespace completion_detail;
  const std::string name(program.name);
  std::string out = "#compdef " + name + "\n# made by: " + name + " completion zsh\n_" + name +
                    "() {\n  local curcontext=$curcontext state line\n  local -a commands\n"
                    "  commands=(\n";
  for (const CliCommand& command : program.commands) {
    out.append("    '").append(command.name).append(":").append(zsh_text(command.help));
    out.append("'\n");
  }
  out += "  )\n  _arguments -C \\\n";
  for (const CliFlag& flag : program.flags) append_zsh_flag(out, "    ", flag);
  out +=
      "    '(-h --help)'{-h,--help}'[help]' \\\n"
      "    '1:command:->command' '*::argument:->argument'\n"
      "  case $state in\n"
      "    command) _describe command commands ;;\n"
      "    argument)\n      case $line[1] in\n";
  for (const CliCommand& command : program.commands) {
    out.append("        ").append(command.name).append(") _arguments \\\n");
    for (const CliFlag& flag : command.flags) append_zsh_flag(out, "          ", flag);
    for (const CliFlag& flag : program.flags) append_zsh_flag(out, "          ", flag);
    out += "          '*:argument:_files' ;;\n";
  }
  out += "      esac ;;\n  esac\n}\n_";
  return out.append(name).append(" \"$@\"\n");
}

}  // namespace kyro
