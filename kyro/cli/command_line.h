// Command lines of both programs as tables: what the commands are, what they take, and one parser
// that reads the tables. Help, man pages and completions (cli_docs.h) read the same rows.
//
// A flag is `--name value` or `--name=value`, `-x value` for a letter, and a switch takes no value.
// A program's own flags may stand before or behind the command, a command's only behind it. "--"
// ends the flags, a lone "-" is a word. Every refusal is one sentence; the caller exits with 2.
//
// Thread rule: pure functions over constant tables. Ownership: a call owns its words.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/decimal.h"
#include "kyro/base/status.h"

namespace kyro {

struct CliFlag {
  std::string_view name;   // without dashes
  std::string_view value;  // what its value is called; "a|b" lists the words; empty: a switch
  std::string_view help;
  char letter = 0;
};

struct CliCall;

struct CliCommand {
  std::string_view name;
  std::string_view arguments;  // as the help writes them
  std::string_view help;       // one sentence, no full stop
  uint8_t words_min = 0;
  uint8_t words_max = 0;                      // kAnyWords: no limit
  int (*run)(const CliCall& call) = nullptr;  // the exit code
  std::span<const CliFlag> flags = {};
  std::string_view more = {};  // a paragraph for the command's own help and the man page
};

inline constexpr uint8_t kAnyWords = 255;

struct CliProgram {
  std::string_view name;
  std::string_view purpose;  // behind the name in a man page's first line
  std::string_view usage;
  std::string_view description;
  std::span<const CliCommand> commands;
  std::span<const CliFlag> flags;             // of every command
  std::span<const CliFlag> environment = {};  // variables; their names as they are
  std::string_view environment_rule = {};     // what all of them have in common
};

// What a command line says.
struct CliCall {
  const CliCommand* command = nullptr;
  bool wants_help = false;
  std::vector<std::string> words;  // behind the command
  std::vector<std::pair<const CliFlag*, std::string>> flags;

  // The value of a flag, the last one given; nothing if it was not.
  [[nodiscard]] std::optional<std::string> flag(std::string_view name) const {
    for (size_t i = flags.size(); i > 0; --i) {
      if (flags[i - 1].first->name == name) return flags[i - 1].second;
    }
    return std::nullopt;
  }
  [[nodiscard]] bool has(std::string_view name) const { return flag(name).has_value(); }
};

// Steps of one character (insert, delete, replace) between two names; Wagner and Fischer's table,
// one row at a time. Only the first 64 characters count.
[[nodiscard]] inline size_t edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, 64);
  b = b.substr(0, 64);
  std::array<size_t, 65> row{};
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

namespace cli_detail {

inline Status refuse(std::initializer_list<std::string_view> parts) {
  std::string message;
  for (const std::string_view part : parts) message += part;
  return Status(Code::kInvalid, std::move(message));
}

// How far `name` is from a row's; 0 if that begins so.
inline size_t name_distance(std::string_view name, std::string_view row) {
  return name.size() >= 3 && row.starts_with(name) ? 0 : edit_distance(name, row);
}

// The row whose name is nearest; one that begins like `name`, if any does.
template <class Row>
const Row* nearest(std::span<const Row> rows, std::string_view name, const Row* best = nullptr) {
  size_t best_distance = best == nullptr ? SIZE_MAX : name_distance(name, best->name);
  for (const Row& row : rows) {
    const size_t distance = name_distance(name, row.name);
    if (distance < best_distance) {
      best = &row;
      best_distance = distance;
    }
  }
  return best;
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
      } else {
        KYRO_TRY(take_flag(word));
      }
    }
    if (call_.wants_help) return {};
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
    for (const CliCommand& command : program_.commands) {
      if (command.name == word) call_.command = &command;
    }
    if (call_.command != nullptr) return {};
    return refuse(
        {"unknown command ", word, "; the nearest is ", nearest(program_.commands, word)->name});
  }

  Status take_flag(std::string_view word) {
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const std::span<const CliFlag> own =
        call_.command == nullptr ? std::span<const CliFlag>() : call_.command->flags;
    const CliFlag* flag = find_flag(own, name);
    if (flag == nullptr) flag = find_flag(program_.flags, name);
    if (flag == nullptr) {
      const std::string_view bare = name.substr(name.starts_with("--") ? 2 : 1);
      flag = nearest(own, bare, nearest(program_.flags, bare));
      if (flag == nullptr) return refuse_flag_of_none(name, bare);
      return refuse({"unknown flag ", name, "; the nearest is --", flag->name});
    }
    std::string value;
    if (flag->value.empty()) {
      if (equals != word.npos) return refuse({name, " takes no value"});
    } else if (equals != word.npos) {
      value = word.substr(equals + 1);
    } else if (at_ + 1 < words_.size()) {
      value = words_[++at_];
    } else {
      return refuse({name, " needs a value"});
    }
    call_.flags.emplace_back(flag, std::move(value));
    return {};
  }

  // The program has no flags of its own: what comes nearest is a command, or a flag of one.
  Status refuse_flag_of_none(std::string_view name, std::string_view bare) const {
    const CliCommand* command = nearest(program_.commands, bare);
    const CliFlag* flag = nullptr;
    size_t distance = name_distance(bare, command->name);
    for (const CliCommand& row : program_.commands) {
      const CliFlag* const own = nearest(row.flags, bare, flag);
      if (own == flag || name_distance(bare, own->name) >= distance) continue;
      distance = name_distance(bare, own->name);
      command = &row;
      flag = own;
    }
    if (flag == nullptr) {
      return refuse({"unknown flag ", name, "; the nearest is the command ", command->name});
    }
    return refuse(
        {"unknown flag ", name, "; the nearest is --", flag->name, ", a flag of ", command->name});
  }

  const CliProgram& program_;
  const std::span<const std::string_view> words_;
  CliCall& call_;
  size_t at_ = 0;
  bool flags_end_ = false;
};

}  // namespace cli_detail

// Reads the words behind the program's name. With wants_help nothing else need be there.
[[nodiscard]] inline Result<CliCall> parse_cli(const CliProgram& program,
                                               std::span<const std::string_view> words) {
  CliCall call;
  KYRO_TRY(cli_detail::Parser(program, words, &call).parse());
  return call;
}

// A flag's value as a plain decimal u64 of at least `min`; `fallback` if the flag was not given.
[[nodiscard]] inline Result<std::optional<uint64_t>> number_flag(const CliCall& call,
                                                                 std::string_view name,
                                                                 uint64_t min = 0) {
  const std::optional<std::string> text = call.flag(name);
  if (!text) return std::optional<uint64_t>();
  const std::optional<uint64_t> number = parse_u64(*text);
  if (!number || *number < min) {
    return cli_detail::refuse({"--", name, " must be a whole number, at least ",
                               std::to_string(min), ", not \"", *text, "\""});
  }
  return number;
}

}  // namespace kyro
