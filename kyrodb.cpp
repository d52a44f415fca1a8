// The KyroDB program: `kyrodb` and, under the name `kyrodbctl`, its client.
#include <fcntl.h>

#include <cstdio>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/cli/build_info.h"
#include "kyro/cli/docs.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/client/commands.h"
#include "kyro/server/config.h"
#include "kyro/server/config_help.h"
#include "kyro/server/serve.h"
#include "kyro/tools/commands.h"

namespace {

using kyro::CliCall;
using kyro::CliCommand;
using kyro::CliFlag;
using kyro::CliProgram;
using Words = std::span<const std::string_view>;

const CliProgram& program();

int run_serve(Words words) {
  const auto config = kyro::parse_serve_config(words);
  if (!config.ok()) return kyro::cli_usage_error(program(), config.status().message());
  if (config->help_requested) return kyro::print_text(kyro::serve_help());
  if (config->print_config) return kyro::print_text(kyro::print_config_text(*config));
  return kyro::serve(*config);
}

// A descriptor below 3 that is closed would become a file or a connection, and get what is meant
// for the terminal. Its place is taken by one that fails: writing where output is expected, reading
// where input is.
void occupy_standard_descriptors() {
  for (int fd = 0; fd < 3; ++fd) {
    if (fcntl(fd, F_GETFD) == -1)
      static_cast<void>(open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY));
  }
}

// For the health checks of containers: 0 if the server answers /health, else 1.
int run_health(const CliCall& call) {
  constexpr int kTimeoutMs = 5000;
  auto endpoint =
      kyro::parse_endpoint(call.words.empty() ? kyro::kDefaultEngineUrl : call.words[0]);
  kyro::Status status = endpoint.status();
  kyro::HttpResponse response;
  if (endpoint.ok()) {
    kyro::HttpClient client(*endpoint, kTimeoutMs);
    status = client.request("GET", "/health", {}, &response);
  }
  if (status.ok() && response.status == 200) return kyro::kExitOk;
  const std::string why = status.ok() ? "/health answers " + std::to_string(response.status)
                                      : std::string(status.message());
  std::fprintf(stderr, "kyrodb: %s\n", why.c_str());
  return kyro::kExitError;
}

int run_version(const CliCall&) {
  return kyro::print_text("kyrodb " + std::string(kyro::kProductVersion) + " (" +
                          std::string(kyro::kProductCommit) + ", " +
                          std::string(kyro::kProductCompiler) + ")\n");
}

int run_help(const CliCall& call) {
  const std::string_view topic = call.words.empty() ? "" : std::string_view(call.words[0]);
  if (topic == "serve") return kyro::print_text(kyro::serve_help());
  if (topic == "ctl") return kyro::print_text(kyro::program_help(kyro::ctl_program()));
  return kyro::print_help(program(), call, "kyrodbctl");
}

int run_completion(const CliCall& call) {
  return kyro::print_completion(program(), call);
}

// `serve` and `ctl` read their words themselves.
constexpr CliCommand kCommands[] = {
    {"serve", "[FLAGS] [HOST PORT]", "serve a data directory (default 127.0.0.1 3030)"},
    {"ctl", "COMMAND", "the client; the same as kyrodbctl COMMAND"},
    {"health", "[URL]", "exit 0 if a server is alive, else 1, for the checks of containers", 0, 1,
     run_health},
    {"completion", "bash|zsh", "print a completion script", 1, 1, run_completion},
    {"version", "", "print version, commit and compiler; --version does too", 0, 0, run_version},
    {"help", "[COMMAND|--man]", "this text, a command's, or the man page", 0, 1, run_help,
     kyro::kManFlags},
};

// The table above with the tools behind `serve`, whose flags come from a table of their own.
const CliProgram& program() {
  static const kyro::ServeRows serve_rows;
  static const std::vector<CliCommand> commands = [] {
    std::vector<CliCommand> rows(std::begin(kCommands), std::end(kCommands));
    rows[0].flags = serve_rows.flags();
    rows.insert(rows.begin() + 1, std::begin(kyro::kTools), std::end(kyro::kTools));
    return rows;
  }();
  static const CliProgram table{
      .name = "kyrodb",
      .purpose = "durable key-value store with a learned index, over HTTP",
      .usage = "kyrodb COMMAND",
      .description = "A durable key-value store with a learned index, over HTTP.",
      .commands = commands,
      .flags = {},
      .environment = serve_rows.variables(),
      .environment_rule =
          "Each flag of serve is also a variable: --data-dir is KYRODB_DATA_DIR. "
          "A flag beats the environment. These are variables only:",
  };
  return table;
}

int run(std::string_view name, Words words) {
  if (name.ends_with("kyrodbctl")) return kyro::run_ctl(words);
  if (words.empty()) {
    std::fputs(kyro::program_help(program()).c_str(), stderr);
    return kyro::kExitUsage;
  }
  if (words[0] == "serve") return run_serve(words.subspan(1));
  if (words[0] == "ctl") return kyro::run_ctl(words.subspan(1));
  if (words[0] == "--version") return run_version({});
  return kyro::run_program(program(), words);
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_descriptors();
  const std::vector<std::string_view> words(argv, argv + argc);
  return run(words.empty() ? "kyrodb" : words[0],
             words.empty() ? Words() : Words(words).subspan(1));
}
