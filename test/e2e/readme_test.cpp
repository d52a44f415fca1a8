// The README's commands: its tour runs against the real binary and must print what it shows; the
// commands of its other blocks are ones that CI runs.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kyro/server/config_help.h"
#include "kyro/server/observe/http_stats.h"
#include "test/support/server_process.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

// The lines inside the README's fenced blocks of one language.
std::vector<std::string> block_lines(const std::string& language) {
  std::istringstream readme(read_file("README.md"));
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(readme, line);) {
    if (line.starts_with("```")) {
      inside = !inside && line == "```" + language;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  return lines;
}

struct Step {
  std::string command;
  std::string expected;  // lines that followed as comments; "…" stands for anything
};

std::vector<Step> tour_steps() {
  std::vector<Step> steps;
  for (const std::string& line : block_lines("sh")) {
    if (line.starts_with("# ")) {
      REQUIRE_FALSE(steps.empty());
      std::string& expected = steps.back().expected;
      if (!expected.empty()) expected += '\n';
      expected += line.substr(2);
    } else {
      steps.push_back({line, {}});
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

std::string run_shell(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  std::array<char, 4096> buffer{};
  while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), got);
  }
  INFO(command << "\n" << output);
  REQUIRE(pclose(pipe) == 0);
  return output;
}

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

TEST_CASE("The README's tour prints what the README shows", "[e2e]") {
  if (std::system("command -v curl >/dev/null") != 0) {
    WARN("curl is not installed: the tour was not run");
    return;
  }
  TempDir dir;
  const ServerProcess server(dir.file("data"));
  const std::vector<Step> steps = tour_steps();
  REQUIRE(steps.size() > 15);
  const std::string binary_dir = server_binary().substr(0, server_binary().rfind('/'));
  for (const Step& step : steps) {
    std::string command =
        replace_all(step.command, "127.0.0.1:3030", "127.0.0.1:" + std::to_string(server.port()));
    command = replace_all(command, "build/kyrodb", binary_dir + "/kyrodb");
    std::string output = run_shell(command);
    while (output.ends_with('\n')) output.pop_back();
    INFO(step.command << "\nprinted\n" << output << "\nexpected\n" << step.expected);
    CHECK(matches(step.expected, output));
  }
}

// A row of the README's table of flags, up to its third column.
std::string flag_row(const config_detail::Option& option) {
  std::string name;
  if (option.letter != 0) name.append(1, '-').append(1, option.letter).append(", ");
  name.append("--").append(option.name);
  if (!option.value.empty()) name.append(" ").append(option.value);
  std::string text = config_detail::default_note(option);  // " (default 8)"
  if (!text.empty()) text = text.substr(10, text.size() - 11);
  return "| `" + replace_all(name, "|", "\\|") + "` | " + text + (text.empty() ? "| " : " | ");
}

TEST_CASE("The README's table of flags says what the option table says") {
  const std::string readme = read_file("README.md");
  const size_t begin = readme.find("\n## Flags\n");
  REQUIRE(begin != readme.npos);
  std::istringstream section(readme.substr(begin, readme.find("\n## ", begin + 1) - begin));
  std::set<std::string> wanted;
  for (const config_detail::Option& option : config_detail::kServeOptions) {
    if (config_detail::is_flag(option)) wanted.insert(flag_row(option));
  }
  const size_t flags = wanted.size();
  size_t rows = 0;
  for (std::string line; std::getline(section, line);) {
    if (!line.starts_with("| `")) continue;
    ++rows;
    INFO(line);
    const auto row = std::find_if(wanted.begin(), wanted.end(),
                                  [&](const std::string& w) { return line.starts_with(w); });
    CHECK(row != wanted.end());
    if (row != wanted.end()) wanted.erase(row);
  }
  for (const std::string& missing : wanted) FAIL_CHECK("README.md, Flags, needs: " << missing);
  CHECK(rows == flags);
}

TEST_CASE("The README's list of statuses names every error that the server counts") {
  const std::string readme = read_file("README.md");
  const size_t begin = readme.find("Errors are `{\"error\"");
  REQUIRE(begin != readme.npos);
  const std::string list = readme.substr(begin, readme.find("\n\n", begin) - begin);
  for (const int code : kStatusCodes) {
    // No route has ranges; 599 stands for what is not in the table.
    if (code < 400 || code == 416 || code == 599) continue;
    INFO(code);
    CHECK(contains(list, std::to_string(code)));
  }
}

TEST_CASE("The README's other commands are run by CI", "[e2e]") {
  const std::string ci = read_file(".ci/run");
  for (const std::string& line : block_lines("bash")) {
    INFO(line);
    if (line.starts_with("make ")) {
      // `make run` is the tour's server; `make unit` and `make e2e` are the parts of `make test`.
      const std::string target = line.substr(5);
      const bool is_part = target == "run" || target == "unit" || target == "e2e";
      CHECK((is_part || ci.find(target) != ci.npos));
    } else {
      CHECK(line == "build/kyrodb verify ./data");  // see the tests of the command line
    }
  }
}

}  // namespace
}  // namespace kyro::test
