// Log lines: one line an event, in either form, whatever the fields hold.
#include "kyro/base/log/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "test/support/json_tree.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

// Sets the form of the log for a scope.
class LogForm {
 public:
  explicit LogForm(bool json) : before_(log_config()) { log_config().json = json; }
  LogForm(const LogForm&) = delete;
  LogForm& operator=(const LogForm&) = delete;
  ~LogForm() { log_config() = before_; }

 private:
  LogConfig before_;
};

std::string line_of(std::string_view text) {
  std::string line;
  append_log_line(line, LogLevel::kWarn, "event", {{"text", text}, {"number", -7}});
  return line;
}

// The stamp of every line has one length.
constexpr size_t kStampBytes = std::string_view("2026-01-31T12:00:00.123Z").size();

TEST_CASE("A line of text has time, level, event and fields, quoted where they must be") {
  const LogForm form(false);
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"plain", "plain"},
      {"", "\"\""},
      {"two words", "\"two words\""},
      {"a=b", "\"a=b\""},
      {"say \"hi\"", R"("say \"hi\"")"},
      {"back\\slash", R"("back\\slash")"},
      {"line\nbreak", R"("line\nbreak")"},
      {"\r", R"("\r")"},
      {"\x1b[31mred", R"("\u001b[31mred")"},
      {"\x7f", R"("\u007f")"},
      {"ключ", "ключ"}};
  for (const auto& [text, shown] : cases) {
    const std::string line = line_of(text);
    INFO(line);
    CHECK(line[4] == '-');
    CHECK(line[kStampBytes - 1] == 'Z');
    CHECK(line.substr(kStampBytes) == " warn event text=" + std::string(shown) + " number=-7\n");
  }
}

TEST_CASE("A line of JSON is JSON, whatever bytes a field holds") {
  const LogForm form(true);
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  for (const std::string& text : {std::string("plain"), std::string("\"\\\n\r\t\x1b\x7f"),
                                  std::string("ключ \xF0\x9F\x97\x9D"), std::string("cut \xF0\x9F"),
                                  std::string("\xC0\xAF"), std::string("\xED\xA0\x80"), all}) {
    const std::string line = line_of(text);
    INFO(line);
    CHECK(line.find('\n') == line.size() - 1);
    const JsonTree tree = JsonTree::parse(line);
    CHECK(tree.at("ts").text.size() == kStampBytes);
    CHECK(tree.at("level").text == "warn");
    CHECK(tree.at("event").text == "event");
    CHECK(tree.at("number").type == JsonType::kNumber);
    CHECK(tree.at("number").text == "-7");
    if (text == "plain" || text.starts_with("ключ")) CHECK(tree.at("text").text == text);
  }
}

TEST_CASE("Events below the level are not written, the others with one write each") {
  const LogForm form(false);
  int pipe_ends[2];
  REQUIRE(pipe2(pipe_ends, O_DIRECT | O_CLOEXEC) == 0);  // a read gives what one write wrote
  const int before = dup(STDERR_FILENO);
  dup2(pipe_ends[1], STDERR_FILENO);
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError, LogLevel::kOff}) {
    log_config().level = level;
    log_event(LogLevel::kDebug, "d");
    log_event(LogLevel::kInfo, "i");
    log_event(LogLevel::kWarn, "w", {{"n", 1}});
    log_event(LogLevel::kError, "e");
  }
  dup2(before, STDERR_FILENO);
  close(before);
  close(pipe_ends[1]);
  std::string events;
  char packet[4096];
  for (ssize_t n = 0; (n = read(pipe_ends[0], packet, sizeof packet)) > 0;) {
    const std::string_view line(packet, static_cast<size_t>(n));
    CHECK(line.find('\n') == line.size() - 1);
    events += line.substr(line.find(' ', kStampBytes + 1) + 1, 1);
  }
  close(pipe_ends[0]);
  CHECK(events ==
        "diwe"
        "iwe"
        "we"
        "e");
}

TEST_CASE("Every line that a server writes with --log-format json is an event", "[e2e]") {
  TempDir dir;
  std::string wanted;
  {
    Process process(ServerProcess::command(
        dir.file("data"), {"--log-format", "json", "--log-level", "debug", "--request-log",
                           "--unix-socket", dir.file("socket")}));
    REQUIRE(process.wait_for_err("\"event\":\"serving\""));
    Client client(parse_endpoint("unix:" + dir.file("socket")).value());
    REQUIRE(client.call("PUT", "/v1/kv/1", "a secret value").status == 201);
    REQUIRE(client.call("POST", "/v1/compact").status == 200);
    REQUIRE(client.get("/v1/kv/2").status == 404);
    process.signal(SIGTERM);
    const Outcome outcome = process.wait();
    CHECK(outcome.exit_code == 0);
    wanted = outcome.err;
  }
  CHECK(wanted.ends_with('\n'));
  CHECK(wanted.find("secret") == wanted.npos);
  std::set<std::string> events;
  for (std::string_view rest = wanted; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    INFO(line);
    const JsonTree event = JsonTree::parse(line);
    CHECK(event.at("ts").text.size() == kStampBytes);
    CHECK(std::set<std::string>{"debug", "info", "warn", "error"}.contains(event.at("level").text));
    events.insert(event.at("event").text);
  }
  for (const char* name : {"serving", "request", "stopping", "stopped"}) {
    INFO(name);
    CHECK(events.contains(name));
  }
}

}  // namespace
}  // namespace kyro::test
