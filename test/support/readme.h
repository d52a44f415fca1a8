// The READMEs of the repository as tests read them: sections, fenced blocks, tables.
//
// What a block's language says of it:
//   sh         commands, run one after the other by readme_test.cpp; lines of comment after one are
//              what it prints, in which "…" stands for anything
//   bash       commands that .ci/run runs
//   cpp        a program, built and run by scripts/check_install.sh
//   haproxy, haproxy-h2, caddyfile   configurations, tried by proxy_test.cpp
//   grpcurl, python, javascript, go   clients: of gRPC, run by grpc_clients_test.cpp, and those of
//              the recipes, run by recipes_test.cpp
//   text, or none        no commands; or commands after a line <!-- not run: REASON -->
//
// Thread rule: one thread.
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/support/server_process.h"

namespace kyro::test {

// Every README of the repository, sorted.
inline std::vector<std::string> readme_paths() {
  namespace fs = std::filesystem;
  std::set<std::string> found;
  for (auto at = fs::recursive_directory_iterator("."); at != fs::end(at); ++at) {
    const std::string name = at->path().filename().string();
    if (at.depth() == 0 && (name == ".git" || name.starts_with("build") || name == "data")) {
      at.disable_recursion_pending();
    }
    if (name == "README.md") found.insert(at->path().lexically_relative(".").string());
  }
  REQUIRE(found.size() > 5);
  return {found.begin(), found.end()};
}

struct ReadmeBlock {
  std::string language;
  std::string not_run;  // the reason, where it says that its commands are not run
  std::vector<std::string> lines;

  [[nodiscard]] std::string text() const {
    std::string all;
    for (const std::string& line : lines) all.append(line).append(1, '\n');
    return all;
  }
};

struct Readme {
  std::string path;
  std::vector<ReadmeBlock> blocks;
  std::string prose;  // everything outside of blocks

  explicit Readme(std::string where) : path(std::move(where)) {
    constexpr std::string_view kNotRun = "<!-- not run: ";
    std::istringstream text(read_file(path));
    std::string reason;
    bool is_inside = false;
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("```")) {
        is_inside = !is_inside;
        if (is_inside) blocks.push_back({line.substr(3), std::exchange(reason, {}), {}});
      } else if (is_inside) {
        blocks.back().lines.push_back(line);
      } else {
        prose.append(line).append(1, '\n');
        if (!line.empty()) reason.clear();
        if (line.starts_with(kNotRun)) reason = line.substr(kNotRun.size());
      }
    }
    INFO(path);
    REQUIRE_FALSE(is_inside);
  }

  // What stands below the heading `title`, up to the next one of its level or above.
  [[nodiscard]] std::string section(const std::string& title) const {
    const size_t begin = prose.find("\n" + title + "\n");
    INFO(path << " has no " << title);
    REQUIRE(begin != prose.npos);
    size_t end = prose.npos;
    for (std::string mark = title.substr(0, title.find(' ')); !mark.empty(); mark.pop_back()) {
      end = std::min(end, prose.find("\n" + mark + " ", begin + 1));
    }
    return prose.substr(begin, end == prose.npos ? end : end - begin);
  }

  // The one block of a language.
  [[nodiscard]] std::string block(const std::string& language) const {
    for (const ReadmeBlock& block : blocks) {
      if (block.language == language) return block.text();
    }
    FAIL(path << " has no block of " << language);
    return {};
  }
};

// The rows of the tables in a piece of Markdown, heads included, each as its cells.
inline std::vector<std::vector<std::string>> table_rows(const std::string& section) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(section);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| ") || line.starts_with("|---")) continue;
    std::vector<std::string> cells(1);
    for (size_t i = 2; i < line.size(); ++i) {
      if (line[i] == '|' && line[i - 1] != '\\') {
        while (cells.back().ends_with(' ')) cells.back().pop_back();
        cells.emplace_back();
      } else if (!(line[i] == ' ' && cells.back().empty())) {
        cells.back() += line[i];
      }
    }
    cells.pop_back();
    rows.push_back(std::move(cells));
  }
  return rows;
}

// What stands between `…` in a text, in its order.
inline std::vector<std::string> code_spans(const std::string& text) {
  std::vector<std::string> spans;
  for (size_t at = 0; (at = text.find('`', at)) != text.npos;) {
    const size_t end = text.find('`', at + 1);
    if (end == text.npos) break;
    spans.push_back(text.substr(at + 1, end - at - 1));
    at = end + 1;
  }
  return spans;
}

inline std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace kyro::test
