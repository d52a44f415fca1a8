// Command lines of both programs as tables: what the commands are, what they take, and one parser
// that reads the tables. Help, man pages and completions (docs.h) read the same rows.
//
// A flag is `--name value` or `--name=value`, `-x value` for a letter; a switch takes no value, or
// `=true`, `=false`, `=1`, `=0`. A value that begins with "--" is given with an equals sign. A
// program's own flags may stand before or after the command, a command's only after it. "--" ends
// the flags, a lone "-" is a word. Every flag of a command with an `environment` is a variable too,
// which a flag beats. Every refusal is one sentence; the caller exits with 2.
//
// Thread rule: pure functions over constant tables. Ownership: a call owns its words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/suggest.h"
#include "kyro/cli/flag.h"

namespace kyro {

struct CliCall;

struct CliCommand {
  std::string_view name;
  std::string_view arguments;  // as the help writes them
  std::string_view help;       // one sentence, no full stop
  uint8_t words_min = 0;
  uint8_t words_max = 0;                      // kAnyWords: no limit
  int (*run)(const CliCall& call) = nullptr;  // the exit code
  std::span<const CliFlag> flags = {};
  std::string_view more = {};         // a paragraph for the command's own help and the man page
  std::string_view synonyms = {};     // what people call it elsewhere, with spaces between
  std::string_view environment = {};  // "KYRODB_": what the names of its variables begin with
  const void* defaults = nullptr;     // options that the fields of its flags belong to
};

inline constexpr uint8_t kAnyWords = 255;

// An entry of a section of the man page: an example, a file, a signal, a variable.
struct CliEntry {
  std::string_view name;
  std::string_view text;  // sentences
};

struct CliProgram {
  std::string_view name;
  std::string_view purpose;  // after the name in a man page's first line
  std::string_view usage;
  std::string_view description;
  std::span<const CliCommand> commands;
  std::span<const CliFlag> flags = {};  // of every command
  // For the man page.
  std::span<const CliEntry> examples = {};
  std::span<const CliEntry> files = {};
  std::span<const CliEntry> variables = {};  // beside those of the commands
  std::span<const CliEntry> signals = {};
};

// Looks a variable up, as std::getenv does; a test gives its own.
using CliEnvironment = const char* (*)(const char* name);

// What a command line says.
struct CliCall {
  const CliCommand* command = nullptr;
  bool wants_help = false;
  bool wants_version = false;
  std::vector<std::string> words;  // after the command
  std::vector<std::pair<const CliFlag*, std::string>> flags;

  // The value of a flag, the last one given; nothing if it was not.
  [[nodiscard]] std::optional<std::string> flag(std::string_view name) const {
    for (size_t i = flags.size(); i > 0; --i) {
      if (flags[i - 1].first->name == name) return flags[i - 1].second;
    }
    return std::nullopt;
  }
  // The same of a flag whose row has bounds for a whole number.
  [[nodiscard]] std::optional<uint64_t> number(std::string_view name) const {
    const auto text = flag(name);
    return text ? parse_u64(*text) : std::nullopt;
  }
  // A switch that is on.
  [[nodiscard]] bool has(std::string_view name) const {
    return cli_detail::parse_switch(flag(name).value_or("false")).value_or(false);
  }
};

// KYRODB_DATA_DIR for the flag data-dir; empty for a command without variables.
[[nodiscard]] inline std::string variable_name(const CliCommand& command, const CliFlag& flag) {
  if (command.environment.empty()) return {};
  std::string name(command.environment);
  for (const char c : flag.name) {
    name += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return name;
}

namespace cli_detail {

inline Status refuse(std::initializer_list<std::string_view> parts) {
  std::string message;
  for (const std::string_view part : parts) message += part;
  return Status(Code::kInvalid, std::move(message));
}

inline const CliFlag* find_flag(std::span<const CliFlag> flags, std::string_view word) {
  for (const CliFlag& flag : flags) {
    const bool is_long = word.starts_with("--") && word.substr(2) == flag.name;
    const bool is_short = word.size() == 2 && flag.letter != 0 && word[1] == flag.letter;
    if (is_long || is_short) return &flag;
  }
  return nullptr;
}

// Goes through a command line once.
class Parser {
 public:
  Parser(const CliProgram& program, std::span<const std::string_view> words, CliCall* call)
      : program_(program), words_(words), call_(*call) {}

  Status parse() {
    for (; at_ < words_.size(); ++at_) {
      const std::string_view word = words_[at_];
      if (flags_end_ || word.size() < 2 || word[0] != '-') {
        KYRO_TRY(take_word(word));
      } else if (word == "--") {
        flags_end_ = true;
      } else if (word == "--help" || word == "-h") {
        call_.wants_help = true;
      } else if (word == "--version" && call_.command == nullptr) {
        call_.wants_version = true;
      } else {
        KYRO_TRY(take_flag(word));
      }
    }
    if (call_.wants_help || call_.wants_version) return {};
    if (call_.command == nullptr) return refuse({"no command"});
    const CliCommand& command = *call_.command;
    const size_t count = call_.words.size();
    if (count >= command.words_min &&
        (count <= command.words_max || command.words_max == kAnyWords)) {
      return {};
    }
    return refuse({"usage: ", program_.name, " ", command.name,
                   command.arguments.empty() ? "" : " ", command.arguments});
  }

 private:
  Status take_word(std::string_view word) {
    if (call_.command != nullptr) {
      call_.words.emplace_back(word);
      return {};
    }
    Suggestion meant(word);
    std::string_view synonym;
    for (const CliCommand& command : program_.commands) {
      if (command.name == word) {
        call_.command = &command;
        return {};
      }
      meant.offer(command.name);
      for_each_element(
          command.synonyms,
          [&](std::string_view s) {
            if (s == word) synonym = command.name;
          },
          ' ');
    }
    const std::string_view name = synonym.empty() ? meant.name() : synonym;
    return refuse({"unknown command ", word, name.empty() ? "" : "; the nearest is ", name});
  }

  Status take_flag(std::string_view word) {
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const std::span<const CliFlag> own =
        call_.command == nullptr ? std::span<const CliFlag>() : call_.command->flags;
    const CliFlag* flag = find_flag(own, name);
    if (flag == nullptr) flag = find_flag(program_.flags, name);
    if (flag == nullptr) return refuse_flag(own, name);
    std::string_view value = "true";
    if (equals != word.npos) {
      value = word.substr(equals + 1);
    } else if (!flag->value.empty()) {
      if (at_ + 1 == words_.size() || words_[at_ + 1].starts_with("--")) {
        return refuse({"--", flag->name, " needs a value"});
      }
      value = words_[++at_];
    }
    const std::string refusal = refuse_value(*flag, value);
    if (!refusal.empty()) return refuse({"--", flag->name, " ", refusal});
    for (auto& [before, text] : call_.flags) {
      if (before != flag || !flag->is_repeated) continue;
      text.append(",").append(value);
      return {};
    }
    call_.flags.emplace_back(flag, value);
    return {};
  }

  Status refuse_flag(std::span<const CliFlag> own, std::string_view name) const {
    const std::string_view bare = name.substr(name.starts_with("--") ? 2 : 1);
    Suggestion meant(bare);
    for (const CliFlag& flag : own) meant.offer(flag.name);
    for (const CliFlag& flag : program_.flags) meant.offer(flag.name);
    if (meant.found()) return refuse({"unknown flag ", name, "; the nearest is --", meant.name()});
    if (call_.command != nullptr) return refuse({"unknown flag ", name});
    // The command may have been left out, or written like a flag.
    for (const CliCommand& command : program_.commands) meant.offer(command.name);
    std::string hint = "; the nearest is the command " + std::string(meant.name());
    for (const CliCommand& command : program_.commands) {
      const std::string_view before = meant.name();
      for (const CliFlag& flag : command.flags) meant.offer(flag.name);
      if (meant.name().data() == before.data()) continue;
      hint = "; the nearest is --" + std::string(meant.name());
      hint.append(", a flag of ").append(command.name);
    }
    return refuse({"unknown flag ", name, meant.found() ? std::string_view(hint) : ""});
  }

  const CliProgram& program_;
  const std::span<const std::string_view> words_;
  CliCall& call_;
  size_t at_ = 0;
  bool flags_end_ = false;
};

}  // namespace cli_detail

// Reads the words after the program's name into *call, which says also after a refusal how far it
// came. With wants_help nothing else need be there.
[[nodiscard]] inline Status parse_cli(const CliProgram& program,
                                      std::span<const std::string_view> words, CliCall* call) {
  return cli_detail::Parser(program, words, call).parse();
}

// Sets the fields of the command's flags: what the environment says, then what the call says.
// REQUIRES: `options` is of the type that the fields belong to.
[[nodiscard]] inline Status read_options(const CliCall& call, CliEnvironment environment,
                                         void* options) {
  for (const CliFlag& flag : call.command->flags) {
    const std::string name = variable_name(*call.command, flag);
    const char* text = name.empty() ? nullptr : environment(name.c_str());
    if (text == nullptr) continue;
    const std::string refusal = flag.field.set(flag, text, options);
    if (!refusal.empty()) {
      return cli_detail::refuse({name, " (the flag --", flag.name, ") ", refusal});
    }
  }
  for (const auto& [flag, text] : call.flags) {
    const std::string refusal = flag->field.set(*flag, text, options);
    if (!refusal.empty()) return cli_detail::refuse({"--", flag->name, " ", refusal});
  }
  return {};
}

}  // namespace kyro
