// The KyroDB program: `kyrodb` and, under the name `kyrodbctl`, its client.
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/app/build_info.h"
#include "kyro/app/config.h"
#include "kyro/app/config_help.h"
#include "kyro/app/ctl.h"
#include "kyro/app/exit_codes.h"
#include "kyro/app/serve.h"
#include "kyro/app/tools.h"

namespace {

using Words = std::span<const std::string_view>;

constexpr const char* kHelp =
    "Usage: kyrodb COMMAND\n"
    "\n"
    "A durable key-value store with a learned index, over HTTP.\n"
    "\n"
    "Commands:\n"
    "  serve [FLAGS] [HOST PORT]   serve a data directory (default 127.0.0.1 3030)\n"
    "  verify DIR [--json]         check a data directory that is not in use\n"
    "  backup DIR DEST             copy one that is not in use; servers make their own backups\n"
    "  restore BACKUP DIR          make a data directory out of a backup\n"
    "  ctl COMMAND                 the client; the same as kyrodbctl COMMAND\n"
    "  help [COMMAND]              this text, or a command's\n"
    "\n"
    "  --version, --help\n"
    "\n"
    "Exit codes: 0 ok, 1 error, 2 usage\n";

int usage_error(const std::string& message) {
  std::fprintf(stderr, "kyrodb: %s (see: kyrodb --help)\n", message.c_str());
  return kyro::kExitUsage;
}

int run_serve(Words words) {
  auto config = kyro::parse_serve_config(words);
  if (!config.ok()) return usage_error(std::string(config.status().message()));
  if (config->help_requested) {
    std::fputs(kyro::serve_help().c_str(), stdout);
    return kyro::kExitOk;
  }
  return kyro::serve(*config);
}

int run_help(Words words) {
  const std::string_view topic = words.empty() ? "" : words[0];
  if (topic == "serve") {
    std::fputs(kyro::serve_help().c_str(), stdout);
  } else if (topic == "ctl") {
    std::fputs(kyro::ctl_help().c_str(), stdout);
  } else if (const kyro::Tool* tool = kyro::find_tool(topic)) {
    kyro::tools_detail::print_help(*tool);
  } else if (topic.empty() || topic == "help") {
    std::fputs(kHelp, stdout);
  } else {
    return usage_error("no help for " + std::string(topic));
  }
  return kyro::kExitOk;
}

int run(std::string_view program, Words words) {
  if (program.ends_with("kyrodbctl")) return kyro::run_ctl(words);
  if (words.empty()) {
    std::fputs(kHelp, stderr);
    return kyro::kExitUsage;
  }
  const std::string_view command = words[0];
  const Words rest = words.subspan(1);
  if (command == "serve") return run_serve(rest);
  if (const kyro::Tool* tool = kyro::find_tool(command)) return kyro::run_tool(*tool, rest);
  if (command == "ctl") return kyro::run_ctl(rest);
  if (command == "help" || command == "--help" || command == "-h") return run_help(rest);
  if (command == "--version") {
    std::printf("kyrodb %.*s (%.*s, %.*s)\n", static_cast<int>(kyro::kProductVersion.size()),
                kyro::kProductVersion.data(), static_cast<int>(kyro::kProductCommit.size()),
                kyro::kProductCommit.data(), static_cast<int>(kyro::kProductCompiler.size()),
                kyro::kProductCompiler.data());
    return kyro::kExitOk;
  }
  return usage_error("unknown command " + std::string(command));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv, argv + argc);
  return run(words.empty() ? "kyrodb" : words[0],
             words.empty() ? Words() : Words(words).subspan(1));
}
