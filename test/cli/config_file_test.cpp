// Configuration files: what a line may be, what is refused with its place, and who beats whom.
#include "kyro/cli/config_file.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/server/serve_command.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

std::map<std::string, std::string>& environment() {
  static std::map<std::string, std::string> variables;
  return variables;
}
const char* look_up(const char* name) {
  const auto found = environment().find(name);
  return found == environment().end() ? nullptr : found->second.c_str();
}

const CliCommand kServe[] = {serve_command(nullptr)};
const CliProgram kProgram{"kyrodb", "a store", "kyrodb COMMAND", "Serves.", kServe};

Result<ServeConfig> parse(std::vector<std::string_view> arguments,
                          std::map<std::string, std::string> variables = {}) {
  environment() = std::move(variables);
  arguments.insert(arguments.begin(), "serve");
  CliCall call;
  KYRO_TRY(parse_cli(kProgram, arguments, &call));
  return read_serve_config(call, look_up);
}

ServeConfig parsed(std::vector<std::string_view> arguments,
                   std::map<std::string, std::string> variables = {}) {
  Result<ServeConfig> config = parse(std::move(arguments), std::move(variables));
  INFO(config.status().message());
  REQUIRE(config.ok());
  return std::move(config).value();
}

// What is said of a file with this text.
std::string refusal(std::string_view text) {
  const auto file = parse_config_file(kServe[0], "the file", text);
  return file.ok() ? "accepted" : std::string(file.status().message());
}

struct WrittenFile {
  explicit WrittenFile(std::string_view text) : path(dir.file("kyrodb.conf")) {
    std::ofstream(path) << text;
  }
  TempDir dir;
  std::string path;
};

TEST_CASE("A configuration file is flags with values, blanks and comments") {
  const WrittenFile file(
      "# everything\r\n"
      "\n"
      "  data-dir =  /somewhere else \n"
      "threads=3 # three\n"
      "\twarm-on-start = true\n"
      "auth-token = a#b\n"
      "fsync = interval:7");
  const ServeConfig config = parsed({"--config", file.path});
  CHECK(config.engine.data_dir == "/somewhere else");
  CHECK(config.http.threads == 3);
  CHECK(config.warm_on_start);
  CHECK(config.auth_token == "a#b");
  CHECK(config.engine.fsync_interval_ms == 7);
  CHECK(config.config_file == file.path);
  CHECK(parsed({}, {{"KYRODB_CONFIG", file.path}}).http.threads == 3);
}

TEST_CASE("A variable beats the file, and a flag beats both") {
  const WrittenFile file("threads = 3\nlog-level = warn\nmax-mget-keys = 5\n");
  const ServeConfig config = parsed({"--config=" + file.path, "--threads=9"},
                                    {{"KYRODB_THREADS", "7"}, {"KYRODB_LOG_LEVEL", "error"}});
  CHECK(config.http.threads == 9);
  CHECK(config.log.level == LogLevel::kError);
  CHECK(config.max_mget_keys == 5);
}

TEST_CASE("What is wrong in a configuration file is named with its line") {
  CHECK(refusal("threads = 3\n") == "accepted");
  CHECK(refusal("\n# x\nthreds = 3\n") ==
        "the file line 3: unknown flag \"threds\"; the nearest is threads");
  CHECK(refusal("threads = many") ==
        "the file line 1: threads must be a whole number from 0 to 1024, not \"many\"");
  CHECK(refusal("threads") == "the file line 1: a line is \"flag = value\"");
  CHECK(refusal("threads = 3\nfsync=never\nthreads = 4") ==
        "the file line 3: threads stands in line 1 too");
  CHECK(refusal("config = other") == "the file line 1: \"config\" cannot stand in a file");
  CHECK(refusal("print-config = true") ==
        "the file line 1: \"print-config\" cannot stand in a file");
  CHECK(refusal("no-auth =") == "the file line 1: no-auth is on or off: use true, false, 1 or 0");
  CHECK(refusal("= 3").starts_with("the file line 1: unknown flag \"\""));
  CHECK(refusal("data-dir =") == "the file line 1: data-dir must not be empty");
  // What only its field knows.
  const WrittenFile file("\nfsync = sometimes\n");
  const auto config = parse({"--config", file.path});
  CHECK(std::string(config.status().message())
            .starts_with(file.path + " line 2: fsync must be always|"));
  CHECK(std::string(parse({"--config", "/nowhere/x"}).status().message()) ==
        "--config: /nowhere/x: No such file or directory");
  CHECK_FALSE(parse({"--config", "/"}).ok());
}

TEST_CASE("Addresses to listen on may be several, from one place each") {
  const ServeConfig two = parsed({"--listen", "127.0.0.1:1", "--listen=[::1]:2"});
  CHECK(two.http.host == "127.0.0.1");
  CHECK(two.http.port == 1);
  REQUIRE(two.http.also.size() == 1);
  CHECK(two.http.also[0].host == "::1");
  CHECK(two.http.also[0].port == 2);
  const WrittenFile file("listen = localhost:5\nlisten = 127.0.0.2:6\n");
  CHECK(parsed({"--config", file.path}).listen.size() == 2);
  const ServeConfig by_variable =
      parsed({"--config", file.path}, {{"KYRODB_LISTEN", "127.0.0.3:7,127.0.0.3:8"}});
  CHECK(by_variable.http.host == "127.0.0.3");
  CHECK(by_variable.listen.size() == 2);
  CHECK(parsed({"--config", file.path, "--listen", "127.0.0.1:9"}).listen.size() == 1);
  for (const char* bad : {"3030", "127.0.0.1", ":3030", "127.0.0.1:65536", "127.0.0.1:x", "host:1",
                          "::1:80", "127.0.0.1:1,", "[::1:80"}) {
    INFO(bad);
    CHECK_FALSE(parse({"--listen", bad}).ok());
  }
  CHECK(parse({"--listen", "127.0.0.1:1", "127.0.0.1", "2"}).status().message() ==
        "HOST PORT and --listen must not be given together");
}

TEST_CASE("Variables that look like ours and are none are found") {
  const char* const variables[] = {"PATH=/bin",
                                   "KYRODB_THREADS=2",
                                   "KYRODB_THREDS=2",
                                   "KYRODB_PORT=tcp://x",
                                   "KYRODB_SERVICE_HOST=x",
                                   "KYRODB_URL=x",
                                   "KYRODB_=x",
                                   nullptr};
  CHECK(unknown_variables(kServe[0], variables) == "KYRODB_THREDS KYRODB_");
}

}  // namespace
}  // namespace kyro::test
