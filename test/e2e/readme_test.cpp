// The commands of the READMEs: those of each README run one after the other in one shell, against
// the built binary, and must print what the README shows.
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "test/support/readme.h"
#include "test/support/server_process.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

struct Step {
  std::string command;
  std::string expected;  // lines that followed as comments; "…" stands for anything
};

std::vector<Step> steps_of(const Readme& readme) {
  std::vector<Step> steps;
  for (const ReadmeBlock& block : readme.blocks) {
    if (block.language != "sh") continue;
    bool goes_on = false;
    for (const std::string& line : block.lines) {
      if (line.starts_with('#')) {
        REQUIRE_FALSE(steps.empty());
        std::string& expected = steps.back().expected;
        if (!expected.empty()) expected += '\n';
        if (line.size() > 2) expected += line.substr(2);
      } else if (goes_on) {
        steps.back().command.append(1, '\n').append(line);
      } else {
        steps.push_back({line, {}});
      }
      goes_on = line.ends_with('\\');
    }
  }
  return steps;
}

// Whether `text` matches `pattern`, in which "…" stands for any characters.
bool matches(const std::string& pattern, const std::string& text) {
  const std::string gap = "…";
  size_t at = 0;
  size_t from = 0;
  bool is_first = true;
  for (;;) {
    const size_t end = pattern.find(gap, from);
    const std::string part = pattern.substr(from, end == pattern.npos ? pattern.npos : end - from);
    const size_t found = text.find(part, at);
    if (found == text.npos || (is_first && found != 0)) return false;
    at = found + part.size();
    is_first = false;
    if (end == pattern.npos) return part.empty() || text.ends_with(part);
    from = end + gap.size();
  }
}

// A directory in which the READMEs' relative paths lead where they do in the repository.
void link_repository(const TempDir& dir) {
  const fs::path binaries = fs::path(server_binary()).parent_path();
  fs::create_directories(dir.file("build/test"));
  for (const char* name : {"kyrodb", "kyrodbctl", "bench"}) {
    fs::create_symlink(binaries / name, dir.file(std::string("build/") + name));
  }
  fs::create_symlink(fs::read_symlink("/proc/self/exe"), dir.file("build/test/kyro_tests"));
  for (const char* name : {"scripts", "test"}) {
    fs::create_symlink(fs::absolute(name), dir.file(name));
  }
}

// One script of all steps, each with its output and exit status in files of its number.
std::string script_of(const std::vector<Step>& steps, const TempDir& dir, uint16_t port) {
  std::string script = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\ncd " + dir.path() + "\n";
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string number = std::to_string(i);
    script += "{\n" + steps[i].command + "\n} >out." + number + " 2>err." + number +
              "\necho $? >status." + number + "\n";
  }
  script = replace_all(script, "127.0.0.1:3030", "127.0.0.1:" + std::to_string(port));
  return replace_all(script, "127.0.0.1 3030", "127.0.0.1 " + std::to_string(port));
}

void run_readme(const Readme& readme, const std::vector<Step>& steps) {
  TempDir dir;
  link_repository(dir);
  // A README that starts its own server gets none.
  std::optional<ServerProcess> server;
  uint16_t port = 0;
  if (contains(readme.block("sh"), "kyrodb serve ")) {
    port = free_loopback_port();
  } else {
    server.emplace(dir.file("data"));
    port = server->port();
  }
  write_file(dir.file("script"), script_of(steps, dir, port));
  // A process group of its own, so that nothing is left of a script that does not end.
  run_program({"/usr/bin/timeout", "50", "/bin/bash", dir.file("script")});
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string number = std::to_string(i);
    INFO(readme.path << ": " << steps[i].command);
    REQUIRE(fs::exists(dir.file("status." + number)));
    std::string output = read_file(dir.file("out." + number));
    while (output.ends_with('\n')) output.pop_back();
    INFO("printed\n"
         << output << "\n"
         << read_file(dir.file("err." + number)) << "\nexpected\n"
         << steps[i].expected);
    CHECK(read_file(dir.file("status." + number)) == "0\n");
    CHECK(matches(steps[i].expected, output));
  }
}

// The first word of a line that is no assignment.
std::string command_word(const std::string& line) {
  std::istringstream words(line);
  std::string word;
  while (words >> word && word.find('=') != word.npos) {
  }
  return word;
}

bool is_command(const std::string& word) {
  for (const char* name : {"curl", "make", "kyrodb", "kyrodbctl", "cp", "cd", "kill", "docker",
                           "podman", "systemctl", "sudo", "apt-get", "printf", "echo", "git"}) {
    if (word == name) return true;
  }
  return word.starts_with("build/") || word.starts_with("scripts/") || word.starts_with("./");
}

TEST_CASE("The commands of every README print what it shows", "[e2e]") {
  for (const char* tool : {"curl", "timeout"}) {
    if (std::system((std::string("command -v ") + tool + " >/dev/null").c_str()) == 0) continue;
    WARN(tool << " is not installed: the commands were not run");
    return;
  }
  size_t commands = 0;
  for (const std::string& path : readme_paths()) {
    const Readme readme(path);
    const std::vector<Step> steps = steps_of(readme);
    commands += steps.size();
    if (!steps.empty()) run_readme(readme, steps);
  }
  CHECK(commands > 60);
}

TEST_CASE("No README has commands that nobody runs, but for those that say why") {
  const std::string ci = read_file(".ci/run");
  size_t not_run = 0;
  for (const std::string& path : readme_paths()) {
    for (const ReadmeBlock& block : Readme(path).blocks) {
      if (!block.not_run.empty()) ++not_run;
      if (block.language == "sh") continue;  // run by the test above
      for (const std::string& line : block.lines) {
        INFO(path << ": " << line);
        if (block.language == "bash") {
          // `make run` is what the tour's server stands for; the others are parts of `make test`.
          const std::string target = line.substr(line.rfind(' ') + 1);
          const bool is_part = target == "run" || target == "unit" || target == "e2e";
          const bool is_plain = line == "make " + target;
          CHECK((is_part || contains(ci, is_plain ? target : line)));
        } else if (block.language == "text" || block.language.empty()) {
          CHECK((!is_command(command_word(line)) || !block.not_run.empty()));
        } else {
          const std::string& name = block.language;
          CHECK((name == "cpp" || name == "haproxy" || name == "haproxy-h2" ||
                 name == "caddyfile" || name == "grpcurl" || name == "python" ||
                 name == "javascript" || name == "go"));
        }
      }
    }
  }
  CHECK(not_run <= 10);
}

}  // namespace
}  // namespace kyro::test
