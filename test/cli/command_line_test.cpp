#include "kyro/cli/command_line.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/cli/docs.h"
#include "kyro/client/commands.h"
#include "kyro/server/config_help.h"

namespace kyro {
namespace {

constexpr CliFlag kAddFlags[] = {{"count", "N", "how many", 'n'}, {"dry", "", "do nothing"}};
constexpr CliFlag kOwnFlags[] = {{"verbose", "", "say more", 'v'}, {"place", "DIR|-", "where"}};
constexpr CliCommand kTestCommands[] = {
    {"add", "THING...", "add things", 1, kAnyWords, nullptr, kAddFlags, "More about adding."},
    {"list", "", "list them"},
};
constexpr CliProgram kTestProgram{"tool",        "a tool",  "tool COMMAND", "Does things.",
                                  kTestCommands, kOwnFlags, kAddFlags,      "They are:"};

CliCall call_of(std::vector<std::string_view> words) {
  auto call = parse_cli(kTestProgram, words);
  INFO(call.status().message());
  REQUIRE(call.ok());
  return std::move(call).value();
}

std::string refusal_of(std::vector<std::string_view> words) {
  const auto call = parse_cli(kTestProgram, words);
  return call.ok() ? "accepted" : std::string(call.status().message());
}

TEST_CASE("words and flags are told apart, on both sides of the command") {
  const CliCall call = call_of({"-v", "--place=here", "add", "a", "-n", "3", "b", "--dry",
                                "--count", "4", "--place", "-", "-", "--", "--dry"});
  CHECK(call.command == &kTestCommands[0]);
  CHECK(call.words == std::vector<std::string>{"a", "b", "-", "--dry"});
  CHECK(call.has("verbose"));
  CHECK(call.has("dry"));
  CHECK(call.flag("count") == "4");  // the last one counts
  CHECK(call.flag("place") == "-");
  CHECK_FALSE(call_of({"list"}).has("verbose"));
  CHECK(call_of({"add", "x", "--place="}).flag("place") == "");
}

TEST_CASE("help is asked for anywhere, and then nothing else need be there") {
  CHECK(call_of({"--help"}).wants_help);
  CHECK(call_of({"-h"}).command == nullptr);
  CHECK(call_of({"add", "-h"}).command == &kTestCommands[0]);
  CHECK_FALSE(call_of({"add", "--", "-h"}).wants_help);
}

TEST_CASE("what the table does not know is refused with the nearest thing that it knows") {
  CHECK(refusal_of({}) == "no command");
  CHECK(refusal_of({"--verbose"}) == "no command");
  CHECK(refusal_of({"lits"}) == "unknown command lits; the nearest is list");
  CHECK(refusal_of({"add", "x", "--cuont=3"}) == "unknown flag --cuont; the nearest is --count");
  CHECK(refusal_of({"list", "--verb"}) == "unknown flag --verb; the nearest is --verbose");
  // A command's flags stand behind it, and are not another's.
  CHECK(refusal_of({"--dry", "add", "x"}).starts_with("unknown flag --dry"));
  CHECK(refusal_of({"list", "-n", "1"}).starts_with("unknown flag -n"));
  CHECK(refusal_of({"list", "-verbose"}) == "unknown flag -verbose; the nearest is --verbose");
  CHECK(refusal_of({"add", "x", "-n"}) == "-n needs a value");
  CHECK(refusal_of({"add", "x", "--dry=1"}) == "--dry takes no value");
  CHECK(refusal_of({"add"}) == "usage: tool add THING...");
  CHECK(refusal_of({"list", "x"}) == "usage: tool list");
}

TEST_CASE("a program without flags names the nearest command, or a flag of one") {
  constexpr CliProgram kBare{"tool", "a tool", "tool COMMAND", "Does things.", kTestCommands, {}};
  const auto bare_refusal = [&](std::vector<std::string_view> words) {
    return std::string(parse_cli(kBare, words).status().message());
  };
  CHECK(bare_refusal({"--cuont=3"}) ==
        "unknown flag --cuont; the nearest is --count, a flag of add");
  CHECK(bare_refusal({"--lits"}) == "unknown flag --lits; the nearest is the command list");
  CHECK(bare_refusal({"list", "--cou"}) ==
        "unknown flag --cou; the nearest is --count, a flag of add");
}

TEST_CASE("a number is a plain decimal, at least its minimum") {
  const auto number = [](std::string_view text, uint64_t min) {
    const CliCall call = call_of({"add", "x", "--count", text});
    const auto result = number_flag(call, "count", min);
    return result.ok() ? std::to_string(**result) : std::string(result.status().message());
  };
  CHECK(number("0", 0) == "0");
  CHECK(number("18446744073709551615", 1) == "18446744073709551615");
  CHECK(number("0", 1) == "--count must be a whole number, at least 1, not \"0\"");
  for (const std::string_view text : {"", "x", "-1", "01", "1.5", "18446744073709551616"}) {
    CHECK(number(text, 0).starts_with("--count must be a whole number"));
  }
  CHECK_FALSE(number_flag(call_of({"list"}), "count")->has_value());
}

std::vector<CliProgram> documented_programs() {
  static const ServeRows serve;
  static std::vector<CliCommand> commands;
  if (commands.empty()) {
    commands.push_back({"serve", "", "serve", 0, 0, nullptr, serve.flags()});
  }
  const CliProgram server{"kyrodb", "a store", "kyrodb COMMAND",  "Serves.",
                          commands, kAddFlags, serve.variables(), "As well:"};
  return {ctl_program(), server, kTestProgram};
}

TEST_CASE("help, man page and completions name every command and every flag") {
  for (const CliProgram& program : documented_programs()) {
    const std::string man = man_page(program, "other");
    const std::string bash = bash_completion(program);
    const std::string zsh = zsh_completion(program);
    const std::string all_help = program_help(program);
    const auto check_flag = [&](const std::string& help, const CliFlag& flag) {
      INFO(program.name << " --" << flag.name);
      const std::string name = "--" + std::string(flag.name);
      CHECK(help.find("\n  " + flag_spelling(flag) + "\n") != help.npos);
      CHECK(man.find("\n.B " + man_detail::escape(flag_spelling(flag)) + "\n") != man.npos);
      CHECK(bash.find(name + " ") != bash.npos);
      CHECK(zsh.find("'" + name + (flag.value.empty() ? "[" : "=[")) != zsh.npos);
    };
    for (const CliFlag& flag : program.flags) check_flag(all_help, flag);
    for (const CliCommand& command : program.commands) {
      INFO(command.name);
      const std::string help = command_help(program, command);
      CHECK(help.starts_with("Usage: " + std::string(program.name) + " " +
                             std::string(command.name)));
      CHECK(all_help.find("\n  " + std::string(command.name)) != all_help.npos);
      CHECK(man.find("\n.SS " + man_detail::escape(command.name)) != man.npos);
      CHECK(bash.find(" " + std::string(command.name) + ")\n") != bash.npos);
      CHECK(zsh.find("    '" + std::string(command.name) + ":") != zsh.npos);
      for (const CliFlag& flag : command.flags) check_flag(help, flag);
      for (const CliFlag& flag : program.flags) check_flag(help, flag);
    }
    for (const CliFlag& variable : program.environment) {
      CHECK(man.find("\n.B " + man_detail::escape(variable.name) + "\n") != man.npos);
    }
  }
}

TEST_CASE("help stays within eighty columns and man pages have no line that roff misreads") {
  for (const CliProgram& program : documented_programs()) {
    std::vector<std::string> texts{program_help(program)};
    for (const CliCommand& command : program.commands) {
      texts.push_back(command_help(program, command));
    }
    for (const std::string& text : texts) {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = text.find('\n', begin);
        REQUIRE(end != text.npos);
        INFO(text.substr(begin, end - begin));
        CHECK(end - begin <= kHelpColumns);
        CHECK((end == begin || text[end - 1] != ' '));
        begin = end + 1;
      }
    }
  }
  CHECK(man_detail::escape(".x\n'y -z\\") == "\\&.x\n\\&'y \\-z\\e");
}

TEST_CASE("the table of the client has no name twice and every command does something") {
  std::set<std::string_view> names;
  for (const CliCommand& command : ctl_program().commands) {
    INFO(command.name);
    CHECK(names.insert(command.name).second);
    CHECK(command.run != nullptr);
    CHECK_FALSE(command.help.empty());
    std::set<std::string_view> flags;
    for (const CliFlag& flag : command.flags) CHECK(flags.insert(flag.name).second);
    for (const CliFlag& flag : ctl_program().flags) CHECK(flags.insert(flag.name).second);
  }
  for (const char* name :
       {"health",    "ready",  "offset", "metrics",   "put",        "get",    "delete",   "lookup",
        "scan",      "floor",  "ceil",   "mget",      "batch",      "import", "snapshot", "compact",
        "rmi-build", "warmup", "replay", "subscribe", "completion", "help"}) {
    INFO(name);
    CHECK(names.contains(name));
  }
}

}  // namespace
}  // namespace kyro
