// The KyroDB program: `kyrodb` and, under the name `kyrodbctl`, its client (kyrodbctl.cpp).
#include <fcntl.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/cli/docs.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/client/program.h"
#include "kyro/client/session.h"
#include "kyro/server/serve.h"
#include "kyro/server/serve_command.h"
#include "kyro/tools/commands.h"
#include "page.inc"  // made by scripts/make_page.sh

// The handler of libstdc++ names the exception that nobody catches, with a demangler of 47 KB.
// Nothing throws here.
namespace __gnu_cxx {
void __verbose_terminate_handler() {
  std::abort();
}
}  // namespace __gnu_cxx

namespace {

using kyro::CliCall;
using kyro::CliCommand;
using kyro::CliProgram;
using Words = std::span<const std::string_view>;

constexpr kyro::Page kPage{kPageHtml, kPagePolicy};

const CliProgram& program();

const char* look_up(const char* variable) {
  return std::getenv(variable);
}

int run_serve(const CliCall& call) {
  const auto config = kyro::read_serve_config(call, look_up);
  if (!config.ok()) {
    return kyro::cli_usage_error("kyrodb", call.command, config.status().message());
  }
  if (!config->print_config) {
    kyro::log_config() = config->log;
    kyro::warn_of_unknown_variables(*call.command, environ);
    return kyro::serve(*config, kPage, [&call] { return kyro::read_serve_config(call, look_up); });
  }
  return kyro::print_text(kyro::print_config_text(call, look_up, *config));
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
  kyro::cli_print_error("kyrodb", "unhealthy", why);
  return kyro::kExitError;
}

int run_version(const CliCall&) {
  return kyro::print_version(program());
}

int run_help(const CliCall& call) {
  const std::string_view topic = call.words.empty() ? "" : std::string_view(call.words[0]);
  if (topic == "ctl") return kyro::print_text(kyro::program_help(kyro::client_program()));
  return kyro::print_help(program(), call, "kyrodbctl");
}

int run_completion(const CliCall& call) {
  return kyro::print_completion(program(), call);
}

// `ctl` reads its words by a table of its own.
constexpr CliCommand kCommands[] = {
    {"ctl", "COMMAND", "the client: kyrodb ctl COMMAND is kyrodbctl COMMAND", 0, kyro::kAnyWords,
     [](const CliCall& call) {
       return kyro::run_client(std::vector<std::string_view>(call.words.begin(), call.words.end()));
     }},
    {"health", "[URL]", "exit 0 if a server is alive, else 1, for the checks of containers", 0, 1,
     run_health},
    {"completion", "bash|zsh", "print a completion script", 1, 1, run_completion},
    {"version", "", "print version, commit and compiler; --version does too", 0, 0, run_version},
    {"help", "[COMMAND|--man]", "this text, a command's, or the man page", 0, 1, run_help,
     kyro::kManFlags},
};

constexpr kyro::CliEntry kExamples[] = {
    {"kyrodb serve --data-dir /var/lib/kyrodb",
     "Serves a directory to programs on this machine, on port 3030."},
    {"kyrodb serve --config /etc/kyrodb/kyrodb.conf --print-config",
     "Says what is in force, and where each value comes from."},
    {"kyrodb verify /var/lib/kyrodb", "Checks a directory that no server uses."},
    {"kyrodb restore /backups/monday /var/lib/kyrodb", "Makes a directory out of a backup."},
};
constexpr kyro::CliEntry kFiles[] = {
    {"DIR/manifest.json", "Names what belongs to the store."},
    {"DIR/wal-N.log", "A segment of the log, from offset N on."},
    {"DIR/run-N.data, DIR/run-N.rmi", "An immutable run and its learned index."},
    {"DIR/LOCK", "Held by the process that serves; its process id."},
    {"DIR/RESERVE", "Room that is given up when the disk is full."},
};
constexpr kyro::CliEntry kSignals[] = {
    {"SIGTERM, SIGINT",
     "Finishes what is under way, within --drain-secs, and ends. A second one ends it at once; "
     "nothing acknowledged is lost by that."},
    {"SIGHUP",
     "Reads the file of --config and the token files again. What cannot change while it runs is "
     "named in the log."},
};

const CliProgram& program() {
  static const std::vector<CliCommand> commands = [] {
    std::vector<CliCommand> rows{kyro::serve_command(run_serve)};
    rows.insert(rows.end(), std::begin(kyro::kTools), std::end(kyro::kTools));
    rows.insert(rows.end(), std::begin(kCommands), std::end(kCommands));
    return rows;
  }();
  static const CliProgram table{
      .name = "kyrodb",
      .purpose = "durable key-value store with a learned index, over HTTP",
      .usage = "kyrodb COMMAND",
      .description = "A durable key-value store with a learned index, over HTTP.",
      .commands = commands,
      .flags = {},
      .examples = kExamples,
      .files = kFiles,
      .variables = {},
      .signals = kSignals,
  };
  return table;
}

int run(std::string_view name, Words words) {
  if (name.ends_with("kyrodbctl")) return kyro::run_client(words);
  if (words.empty()) {
    std::fputs(kyro::program_help(program()).c_str(), stderr);
    return kyro::kExitUsage;
  }
  if (words[0] == "ctl") return kyro::run_client(words.subspan(1));
  return kyro::run_program(program(), words);
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_descriptors();
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is a full disk, not the end
  const std::vector<std::string_view> words(argv, argv + argc);
  return run(words.empty() ? "kyrodb" : words[0],
             words.empty() ? Words() : Words(words).subspan(1));
}
