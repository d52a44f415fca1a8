// What the READMEs say of flags, routes, errors, metrics, log lines, commands, files and tests is
// what there is.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kyro/base/text/decimal.h"
#include "kyro/client/commands.h"
#include "kyro/server/observe/http_stats.h"
#include "kyro/server/observe/metrics.h"
#include "kyro/server/serve_command.h"
#include "kyro/tools/commands.h"
#include "test/support/http/http2_cases.h"
#include "test/support/readme.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

const char* const kApi = "scripts/api/README.md";
const char* const kDeploy = "scripts/deploy/README.md";
const char* const kDesign = "kyro/README.md";

// Calls visit(path, text) for every file below `dir` of which the name ends so.
void for_each_file(const char* dir, const std::vector<std::string>& ends,
                   const std::function<void(const std::string&, const std::string&)>& visit) {
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    const std::string path = entry.path().string();
    const bool is_wanted = std::any_of(ends.begin(), ends.end(),
                                       [&](const std::string& end) { return path.ends_with(end); });
    if (entry.is_regular_file() && is_wanted) visit(path, read_file(path));
  }
}

// A row of the table of flags, up to its third column.
std::string flag_row(const CliCommand& serve, const CliFlag& flag) {
  std::string name;
  if (flag.letter != 0) name.append(1, '-').append(1, flag.letter).append(", ");
  name.append("--").append(flag.name);
  if (!flag.value.empty()) name.append(" ").append(flag.value);
  std::string text = flag_help(&serve, flag).substr(flag.help.size());  // " (default 8)"
  if (!text.empty()) text = text.substr(10, text.size() - 11);
  return "| `" + replace_all(name, "|", "\\|") + "` | " + text + (text.empty() ? "| " : " | ");
}

TEST_CASE("The table of flags says what the option table says") {
  std::istringstream section(Readme(kDeploy).section("## Flags"));
  std::set<std::string> wanted;
  const CliCommand serve = serve_command(nullptr);
  for (const CliFlag& flag : serve.flags) wanted.insert(flag_row(serve, flag));
  for (std::string line; std::getline(section, line);) {
    if (!line.starts_with("| `")) continue;
    INFO(line);
    const auto row = std::find_if(wanted.begin(), wanted.end(),
                                  [&](const std::string& w) { return line.starts_with(w); });
    CHECK(row != wanted.end());
    if (row != wanted.end()) wanted.erase(row);
  }
  for (const std::string& missing : wanted) FAIL_CHECK(kDeploy << ", Flags, needs: " << missing);
}

TEST_CASE("The table of conformance counts the cases of each section of the RFCs") {
  std::map<std::string, size_t> wanted;
  for (const h2::Case& one : h2::all_cases()) {
    const std::string section = one.name.substr(0, one.name.find(':'));
    ++wanted[section.starts_with("7541 ") ? "RFC " + section : "RFC 9113 " + section];
    ++wanted["together"];
  }
  CHECK(wanted["together"] >= 250);
  std::map<std::string, size_t> found;
  for (const auto& row :
       table_rows(Readme("test/README.md").section("### Conformance of HTTP/2"))) {
    if (row.size() == 3 && row[2] != "cases") found[row[0]] = parse_u64(row[2]).value_or(0);
  }
  CHECK(found == wanted);
}

TEST_CASE("The table of routes has every route with its methods") {
  const std::string section = Readme(kApi).section("## Routes");
  std::vector<std::string> spans;
  for (const auto& row : table_rows(section)) {
    for (const std::string& span : code_spans(row[0])) spans.push_back(span);
  }
  const auto is_there = [&](const std::string& request) {
    return std::any_of(spans.begin(), spans.end(), [&](const std::string& span) {
      const std::string rest = span.starts_with(request) ? span.substr(request.size()) : "-";
      return rest.empty() || rest[0] == '?' || rest == "K";
    });
  };
  for (const RouteInfo& route : kHttpRoutes) {
    std::istringstream methods(std::string(route.allow));
    for (std::string method; methods >> method;) {
      if (method.ends_with(',')) method.pop_back();
      if (method == "HEAD" || method == "OPTIONS") continue;
      const std::string path(route.path);
      INFO(method << " " << path);
      CHECK(is_there(method + " " + path));
    }
  }
}

TEST_CASE("The table of methods has every call of gRPC, and no other") {
  std::set<std::string> there;
  for (const auto& row : table_rows(Readme(kApi).section("## gRPC"))) {
    for (const std::string& span : code_spans(row[0])) there.insert(span);
  }
  for (const RouteInfo& info : kCallRoutes) {
    INFO(info.path);
    CHECK(there.erase(std::string(info.path)) == 1);
  }
  CHECK(there.empty());
}

TEST_CASE("The table of errors has every status and code that the server answers") {
  const auto rows = table_rows(Readme(kApi).section("## Errors"));
  std::set<std::string> there;  // "400 bad_key"
  std::set<std::string> statuses;
  for (const auto& row : rows) {
    statuses.insert(row[0]);
    for (const std::string& code : code_spans(row[1])) there.insert(row[0] + " " + code);
  }
  for (const int code : kStatusCodes) {
    // No route has ranges; 599 stands for what is not in the table.
    if (code < 400 || code == 416 || code == 599) continue;
    INFO(code);
    CHECK(statuses.count(std::to_string(code)) == 1);
  }
  const auto check = [&](const std::string& path, const std::string& text) {
    // respond_error(404, "not_found", …) and reject(…)
    for (size_t at = 0; (at = text.find(", \"", at)) != text.npos; ++at) {
      const size_t end = text.find('"', at + 3);
      if (at < 4 || end == text.npos || text.compare(end, 2, "\",") != 0) continue;
      const std::string status = text.substr(at - 3, 3);
      const std::string before = text.substr(at - 4, 1);
      const std::string code = text.substr(at + 3, end - at - 3);
      const bool is_number = (status[0] == '4' || status[0] == '5') &&
                             status.find_first_not_of("0123456789") == status.npos;
      if ((before != "(" && before != " ") || !is_number) continue;
      INFO(path << ": " << status << " " << code);
      CHECK(there.count(status + " " + code) == 1);
    }
  };
  for_each_file("kyro/server", {".h"}, check);
  for_each_file("kyro/net", {".h"}, check);
}

TEST_CASE("The table of metrics is what the metrics page says of itself") {
  const HttpStats stats;
  const Replica replica({.url = LogUrl::parse("http://127.0.0.1:1/n").value()});
  std::istringstream page(render_metrics(nullptr, &replica, stats, 0, false));
  std::set<std::string> wanted;
  std::string name, help;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("# HELP ")) {
      name = line.substr(7, line.find(' ', 7) - 7);
      help = line.substr(8 + name.size());
      if (help.ends_with('.')) help.pop_back();
    } else if (line.starts_with("# TYPE ")) {
      wanted.insert("`" + name + "` | " + line.substr(line.rfind(' ') + 1) + " | " + help);
    }
  }
  CHECK(wanted.size() > 40);
  for (const auto& row : table_rows(Readme(kDeploy).section("### Metrics"))) {
    if (row[0] == "metric") continue;
    INFO(row[0]);
    CHECK(wanted.erase(row[0] + " | " + row[1] + " | " + row[2]) == 1);
  }
  for (const std::string& missing : wanted) FAIL_CHECK(kDeploy << " needs: | " << missing << " |");
}

// The name in log_event(LogLevel::kInfo, "serving", …), wherever it stands among the lines.
void collect_events(const std::string& text, const char* call, std::set<std::string>* events) {
  for (size_t at = 0; (at = text.find(call, at)) != text.npos; ++at) {
    const size_t begin = text.find('"', at);
    const size_t end = text.find_first_of(";{", at);
    if (begin == text.npos || end < begin) continue;
    events->insert(text.substr(begin + 1, text.find('"', begin + 1) - begin - 1));
  }
}

TEST_CASE("The table of log lines has every event that is logged, and no other") {
  std::set<std::string> wanted = {"request"};
  for_each_file("kyro", {".h"}, [&](const std::string&, const std::string& text) {
    collect_events(text, "log_event(LogLevel", &wanted);
    collect_events(text, "log_event(", &wanted);
    collect_events(text, "append_log_line(", &wanted);
  });
  wanted.erase("");
  for (const auto& row : table_rows(Readme(kDeploy).section("### Log lines"))) {
    for (const std::string& event : code_spans(row[0])) {
      INFO(event);
      CHECK(wanted.erase(event) == 1);
    }
  }
  for (const std::string& missing : wanted) FAIL_CHECK(kDeploy << " needs: " << missing);
}

TEST_CASE("Every command stands in the README of its program") {
  std::set<std::string> client;
  for (const auto& row : table_rows(Readme("kyro/client/README.md").prose)) {
    for (const std::string& span : code_spans(row[0])) {
      client.insert(span.substr(0, span.find(' ')));
    }
  }
  for (const CliCommand& command : ctl_program().commands) {
    INFO(command.name);
    CHECK(client.count(std::string(command.name)) == 1);
  }
  const std::string deploy = read_file(kDeploy);
  for (const CliCommand& tool : kTools) {
    INFO(tool.name);
    CHECK(
        contains(deploy, "`kyrodb " + std::string(tool.name) + " " + std::string(tool.arguments)));
  }
}

TEST_CASE("Every folder of the product stands in the README of its design") {
  const std::string section = Readme(kDesign).section("## The parts");
  for (const auto& entry : fs::recursive_directory_iterator("kyro")) {
    if (!entry.is_directory()) continue;
    const std::string path = entry.path().string();
    const bool is_top = std::count(path.begin(), path.end(), '/') == 1;
    INFO(path);
    CHECK(contains(section,
                   is_top ? "`" + path + "`" : "`" + entry.path().filename().string() + "/`"));
  }
}

TEST_CASE("Every flag that a README names is a flag of one of the programs") {
  std::set<std::string> known;
  const auto add = [&](const auto& flags) {
    for (const auto& flag : flags) known.insert(std::string(flag.name));
  };
  const CliCommand serve = serve_command(nullptr);
  add(serve.flags);
  add(ctl_program().flags);
  for (const CliCommand& command : ctl_program().commands) add(command.flags);
  for (const CliCommand& tool : kTools) add(tool.flags);
  for (const std::string& path : readme_paths()) {
    if (path.starts_with("bench/")) continue;  // other programs
    for (const std::string& span : code_spans(Readme(path).prose)) {
      const bool is_of_others =
          span.starts_with("make ") || span.starts_with("pkg-config ") || span.starts_with("etcd ");
      if (is_of_others) continue;
      for (size_t at = 0; (at = span.find("--", at)) != span.npos; ++at) {
        const size_t end = span.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-", at);
        const std::string name = span.substr(at + 2, end == span.npos ? end : end - at - 2);
        INFO(path << ": `" << span << "`");
        CHECK((name.empty() || name == "man" || known.count(name) == 1));
      }
    }
  }
}

// As GitHub makes them.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char c : heading) {
    if (c == ' ') anchor += '-';
    if (c == '-' || c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) anchor += c;
    if (c >= 'A' && c <= 'Z') anchor += static_cast<char>(c - 'A' + 'a');
  }
  return anchor;
}

bool has_anchor(const std::string& path, const std::string& anchor) {
  std::istringstream lines(Readme(path).prose);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#") && anchor_of(line.substr(line.find(' ') + 1)) == anchor) return true;
  }
  return false;
}

TEST_CASE("Every link of a README leads to a page and a heading that exist") {
  for (const std::string& path : readme_paths()) {
    const Readme readme(path);
    for (size_t at = 0; (at = readme.prose.find("](", at)) != readme.prose.npos; ++at) {
      const std::string link = readme.prose.substr(at + 2, readme.prose.find(')', at) - at - 2);
      if (link.starts_with("http")) continue;
      INFO(path << " -> " << link);
      const std::string file = link.substr(0, link.find('#'));
      const fs::path target =
          file.empty() ? fs::path(path) : (fs::path(path).parent_path() / file).lexically_normal();
      CHECK(fs::exists(target));
      if (!contains(link, "#") || !fs::exists(target)) continue;
      CHECK(has_anchor(target.string(), link.substr(link.find('#') + 1)));
    }
  }
}

TEST_CASE("Every file and every target of make that a README names exists") {
  const std::string makefile = read_file("Makefile");
  for (const std::string& path : readme_paths()) {
    if (path.starts_with("bench/results")) continue;  // says what was, not what is
    for (const std::string& span : code_spans(Readme(path).prose)) {
      INFO(path << ": `" << span << "`");
      for (const char* top : {"kyro/", "test/", "bench/", "scripts/", ".ci/"}) {
        const bool is_pattern = span.find_first_of(" *<…,") != span.npos;
        const bool is_made = span.starts_with("bench/out") || contains(span, "COMMIT");
        if (span.starts_with(top) && !is_pattern && !is_made) CHECK(fs::exists(span));
      }
      if (!span.starts_with("make ")) continue;
      std::istringstream words(span.substr(5));
      for (std::string word; words >> word;) {
        if (contains(word, "=")) continue;
        CHECK((contains(makefile, "\n" + word + ":") || contains(makefile, " " + word + " ")));
      }
    }
  }
}

TEST_CASE("Every test that the table of an operator's day names exists") {
  std::string tests;
  for_each_file("test", {"_test.cpp"},
                [&](const std::string&, const std::string& text) { tests += text; });
  const auto rows = table_rows(Readme(kDeploy).section("## A day in an operator's life"));
  CHECK(rows.size() > 5);
  for (const auto& row : rows) {
    if (row[0] == "event") continue;
    INFO(row[0]);
    REQUIRE(row.size() == 3);
    const std::vector<std::string> names = code_spans(row[2]);
    CHECK_FALSE(names.empty());
    for (const std::string& name : names) {
      INFO(name);
      CHECK(contains(tests, "\"" + name + "\""));
    }
  }
}

TEST_CASE("The first page is short, and no comment cites a page that is not here") {
  const std::string first = read_file("README.md");
  CHECK(std::count(first.begin(), first.end(), '\n') <= 200);
  for (const char* dir : {"kyro", "test", "bench", "scripts"}) {
    for_each_file(dir, {".h", ".cpp", ".sh", ".txt"},
                  [](const std::string& path, const std::string& text) {
                    for (size_t at = 0; (at = text.find(".md", at)) != text.npos; ++at) {
                      size_t begin = at;
                      while (begin > 0 && text[begin - 1] >= 'A' && text[begin - 1] <= 'Z') --begin;
                      const std::string name = text.substr(begin, at - begin);
                      INFO(path << ": " << name);
                      CHECK((name.empty() || name == "README" || name == "CHANGELOG"));
                    }
                  });
  }
}

}  // namespace
}  // namespace kyro::test
