// What the programs say of themselves in files: man pages, completions, configuration.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kyro/client/commands.h"
#include "kyro/server/serve_command.h"
#include "test/support/ctl.h"

using namespace kyro;
using namespace kyro::test;

namespace {

bool is_installed(const std::string& program) {
  if (std::system(("command -v " + program + " >/dev/null").c_str()) == 0) return true;
  WARN(program << " is not installed: what it would have checked was not checked");
  return false;
}

Outcome run_shell(const std::string& script) {
  return run_program({"/bin/bash", "-c", script});
}

struct Program {
  std::string name;
  std::string path;
};

const Program kPrograms[] = {{"kyrodb", server_binary()}, {"kyrodbctl", client_binary()}};

// The program's answer, saved as a file.
std::string saved(const TempDir& dir, const Program& program, const Args& words,
                  const std::string& name) {
  Args argv{program.path};
  argv.insert(argv.end(), words.begin(), words.end());
  const Outcome outcome = run_program(argv);
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.err.empty());
  write_file(dir.file(name), outcome.out);
  return dir.file(name);
}

// What bash offers for the last of these words.
std::string offered(const std::string& script, const std::string& program, const Args& words) {
  std::string command = "source " + script + "; COMP_WORDS=(" + program;
  for (const std::string& word : words) command += " '" + word + "'";
  command += "); COMP_CWORD=" + std::to_string(words.size()) + "; COMPREPLY=(); _" + program +
             "; printf '%s\\n' \"${COMPREPLY[@]}\"";
  const Outcome outcome = run_shell(command);
  INFO(command << outcome.err);
  CHECK(outcome.exit_code == 0);
  return "\n" + outcome.out;
}

}  // namespace

TEST_CASE("The man pages name every flag, and formatters find nothing wrong with them", "[e2e]") {
  TempDir dir;
  for (const Program& program : kPrograms) {
    const std::string page = saved(dir, program, {"help", "--man"}, program.name + ".1");
    if (is_installed("mandoc")) {
      // A page without a date is one whose build can be repeated.
      const Outcome lint =
          run_shell("mandoc -T lint " + page + " | grep -vE 'missing date|longer than 80'");
      INFO(lint.out);
      CHECK(lint.out.empty());
    }
    if (is_installed("man")) {
      const Outcome man =
          run_shell("LC_ALL=C.UTF-8 man --warnings -l " + page + " >" + dir.file("text"));
      INFO(man.err);
      CHECK(man.exit_code == 0);
      CHECK(man.err.empty());
    }
  }
  const std::string page = run_kyrodb({"help", "--man"}).out;
  for (const CliFlag& flag : serve_command(nullptr).flags) {
    INFO(flag.name);
    CHECK(contains(page, man_detail::escape("--" + std::string(flag.name))));
  }
  CHECK(contains(page, man_detail::escape("KYRODB_LISTEN")));
}

TEST_CASE("Completion offers commands, the flags of a command, words of a choice and files",
          "[e2e]") {
  TempDir dir;
  for (const Program& program : kPrograms) {
    const std::string bash = saved(dir, program, {"completion", "bash"}, program.name);
    const Outcome syntax = run_shell("bash -n " + bash);
    INFO(syntax.err);
    CHECK(syntax.exit_code == 0);
    const std::string zsh = saved(dir, program, {"completion", "zsh"}, "_" + program.name);
    if (is_installed("zsh")) CHECK(run_shell("zsh -n " + zsh).exit_code == 0);
  }
  const std::string ctl = dir.file("kyrodbctl");
  CHECK(offered(ctl, "kyrodbctl", {"sc"}) == "\nscan\n");
  CHECK(offered(ctl, "kyrodbctl", {"--json", "sub"}) == "\nsubscribe\n");
  CHECK(offered(ctl, "kyrodbctl", {"help", "comp"}) == "\ncompact\ncompletion\n");
  CHECK(offered(ctl, "kyrodbctl", {"put", "1", "v", "--if"}) == "\n--if-match\n--if-none-match\n");
  for (const CliCommand& command : ctl_program().commands) {
    const std::string offer = offered(ctl, "kyrodbctl", {std::string(command.name), "--"});
    for (const auto& flags : {command.flags, ctl_program().flags}) {
      for (const CliFlag& flag : flags) {
        INFO(command.name << " --" << flag.name << " in" << offer);
        CHECK(contains(offer, "\n--" + std::string(flag.name) + "\n"));
      }
    }
  }
  const std::string server = dir.file("kyrodb");
  const std::string offer = offered(server, "kyrodb", {"serve", "-"});
  for (const CliFlag& flag : serve_command(nullptr).flags) {
    INFO(flag.name);
    CHECK(contains(offer, "\n--" + std::string(flag.name) + "\n"));
  }
  CHECK(offered(server, "kyrodb", {"serve", "--log-format", ""}) == "\ntext\njson\n");
  write_file(dir.file("some-token"), "x");
  CHECK(offered(ctl, "kyrodbctl", {"--token-file", dir.file("some-t")}) ==
        "\n" + dir.file("some-token") + "\n");
}

TEST_CASE("--print-config opens nothing and refuses what serve would refuse", "[e2e]") {
  TempDir dir;
  const std::string data = dir.file("data");
  const Outcome text = run_kyrodb({"serve", "--print-config", "--data-dir", data});
  CHECK(text.exit_code == 0);
  CHECK(contains(text.out, " --data-dir\n"));
  CHECK(text.err.empty());
  CHECK_FALSE(std::filesystem::exists(data));
  const Outcome json = run_kyrodb({"serve", "--print-config"}, {"KYRODB_LOG_FORMAT=json"});
  CHECK(is_json_line(json.out));
  CHECK(contains(json.out, "\"origin\":\"KYRODB_LOG_FORMAT\""));
  check_fails(run_kyrodb({"serve", "--print-config", "--threads=x"}), 2, "--threads");
}
