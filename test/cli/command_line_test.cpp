#include "kyro/cli/command_line.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/cli/docs.h"
#include "kyro/client/commands.h"
#include "kyro/server/serve_command.h"

namespace kyro {
namespace {

constexpr CliFlag kAddFlags[] = {{"count", "N", "how many", kCliFromOne, {}, 'n'},
                                 {"dry", "", "do nothing"}};
constexpr CliFlag kOwnFlags[] = {{"verbose", "", "say more", {}, {}, 'v'},
                                 {"place", "DIR", "where"},
                                 {"form", "long|short", "of the list"}};
constexpr CliCommand kTestCommands[] = {
    {"add", "THING...", "add things", 1, kAnyWords, nullptr, kAddFlags, "More about adding."},
    {"list", "", "list them", 0, 0, nullptr, {}, {}, "ls dir"},
};
constexpr CliProgram kTestProgram{"tool",         "a tool",      "tool COMMAND",
                                  "Does things.", kTestCommands, kOwnFlags};

CliCall call_of(std::vector<std::string_view> words) {
  CliCall call;
  const Status status = parse_cli(kTestProgram, words, &call);
  INFO(status.message());
  REQUIRE(status.ok());
  return call;
}

std::string refusal_of(std::vector<std::string_view> words) {
  CliCall call;
  const Status status = parse_cli(kTestProgram, words, &call);
  return status.ok() ? "accepted" : std::string(status.message());
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
  CHECK(call_of({"add", "x", "--place=--dry"}).flag("place") == "--dry");
  CHECK_FALSE(call_of({"add", "x", "--dry", "--dry=false"}).has("dry"));
  CHECK(call_of({"add", "x", "--dry=1"}).has("dry"));
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
  // A command's flags stand after it, and are not another's.
  CHECK(refusal_of({"--dry", "add", "x"}).starts_with("unknown flag --dry"));
  CHECK(refusal_of({"list", "-n", "1"}).starts_with("unknown flag -n"));
  CHECK(refusal_of({"list", "-verbose"}) == "unknown flag -verbose; the nearest is --verbose");
  CHECK(refusal_of({"add", "x", "-n"}) == "--count needs a value");
  CHECK(refusal_of({"add", "x", "-n", "--dry"}) == "--count needs a value");
  CHECK(refusal_of({"add", "x", "--dry=2"}) == "--dry is on or off: use true, false, 1 or 0");
  CHECK(refusal_of({"add", "x", "--place="}) == "--place must not be empty");
  CHECK(refusal_of({"add", "x", "--form", "wide"}) ==
        "--form must be one of long|short, not \"wide\"");
  CHECK(refusal_of({"add"}) == "usage: tool add THING...");
  CHECK(refusal_of({"list", "x"}) == "usage: tool list");
}

TEST_CASE("what is further than two steps from everything is refused without a suggestion") {
  CHECK(refusal_of({"ls"}) == "unknown command ls; the nearest is list");  // a synonym
  CHECK(refusal_of({"remove"}) == "unknown command remove");
  CHECK(refusal_of({"x"}) == "unknown command x");
  CHECK(refusal_of({"list", "--weight=1"}) == "unknown flag --weight");
  CHECK(refusal_of({"list", "--cou"}) == "unknown flag --cou");  // that is another command's
  CHECK(refusal_of({"add", "-z"}) == "unknown flag -z");
}

TEST_CASE("before a command, the nearest may be a command or a flag of one") {
  CHECK(refusal_of({"--cuont=3"}) == "unknown flag --cuont; the nearest is --count, a flag of add");
  CHECK(refusal_of({"--lits"}) == "unknown flag --lits; the nearest is the command list");
  CHECK(refusal_of({"--cou"}) == "unknown flag --cou; the nearest is --count, a flag of add");
  CHECK(refusal_of({"--verb"}) == "unknown flag --verb; the nearest is --verbose");
}

TEST_CASE("every command of other stores that people know leads to one of ours") {
  const auto nearest = [](std::string_view word) {
    CliCall call;
    const std::string_view words[] = {word};
    return std::string(parse_cli(ctl_program(), words, &call).message());
  };
  CHECK(nearest("set") == "unknown command set; the nearest is put");
  CHECK(nearest("del") == "unknown command del; the nearest is delete");
  CHECK(nearest("rm") == "unknown command rm; the nearest is delete");
  CHECK(nearest("follow") == "unknown command follow; the nearest is subscribe");
  CHECK(nearest("ls") == "unknown command ls; the nearest is scan");
  CHECK(nearest("gte") == "unknown command gte; the nearest is get");
  CHECK(nearest("frobnicate") == "unknown command frobnicate");
}

TEST_CASE("a number is a plain decimal, at least its minimum") {
  CHECK(call_of({"add", "x", "--count", "18446744073709551615"}).number("count") == UINT64_MAX);
  CHECK_FALSE(call_of({"list"}).number("count"));
  for (const std::string_view text : {"", "0", "x", "-1", "01", "1.5", "18446744073709551616"}) {
    CHECK(refusal_of({"add", "x", "--count", text}) ==
          "--count must be a whole number, at least 1, not \"" + std::string(text) + "\"");
  }
}

std::vector<CliProgram> documented_programs() {
  static const CliCommand serve[] = {serve_command(nullptr)};
  return {ctl_program(), {"kyrodb", "a store", "kyrodb COMMAND", "Serves.", serve}, kTestProgram};
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
      const std::string rule = environment_rule(command);
      CHECK((rule.empty() || man.find(man_detail::escape(rule.substr(0, 40))) != man.npos));
      for (const CliFlag& flag : program.flags) check_flag(help, flag);
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
    CHECK_FALSE(command.help.starts_with("the same"));
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
