// The flags of a log that servers share.
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/server/serve_command.h"

namespace kyro {
namespace {

const CliCommand kServeWithLog[] = {serve_command(nullptr)};
const CliProgram kProgramWithLog{"kyrodb", "a store", "kyrodb COMMAND", "Serves.", kServeWithLog};

const char* no_variable(const char*) {
  return nullptr;
}
const char* fsync_never(const char* name) {
  return std::string_view(name) == "KYRODB_FSYNC" ? "never" : nullptr;
}
const char* log_of_orders(const char* name) {
  return std::string_view(name) == "KYRODB_LOG" ? "http://127.0.0.1:2379/orders" : nullptr;
}

Result<ServeConfig> config_of(std::vector<std::string_view> flags,
                              CliEnvironment environment = no_variable) {
  flags.insert(flags.begin(), "serve");
  CliCall call;
  KYRO_TRY(parse_cli(kProgramWithLog, flags, &call));
  return read_serve_config(call, environment);
}

std::string why_refused(std::vector<std::string_view> flags) {
  const auto config = config_of(std::move(flags));
  CHECK(config.status().code() == Code::kInvalid);
  return std::string(config.status().message());
}

TEST_CASE("a shared log makes the disk here a copy, and its user comes with a password") {
  const auto log_and = [](std::vector<std::string_view> more) {
    more.insert(more.begin(), {"--log", "http://127.0.0.1:2379/orders"});
    return more;
  };
  const auto policy = [](const Result<ServeConfig>& config) {
    return config.ok() ? fsync_text(config->engine) : config.status().to_string();
  };
  CHECK(policy(config_of({})) == "always");
  CHECK(policy(config_of(log_and({}))) == "interval:100");
  CHECK(policy(config_of({}, log_of_orders)) == "interval:100");
  CHECK(policy(config_of(log_and({"--fsync", "always"}))) == "always");
  CHECK(policy(config_of(log_and({}), fsync_never)) == "never");
  CHECK(config_of({}, log_of_orders)->log_url.name == "orders");
  CHECK_FALSE(config_of({})->log_url.is_given());

  CHECK(why_refused({"--log", "orders"}).starts_with("--log must be http://HOST:PORT"));
  const std::string together = "--log-user and --log-password-file must be given together";
  CHECK(why_refused(log_and({"--log-user", "kyro"})) == together);
  CHECK(why_refused(log_and({"--log-password-file", "p"})) == together);
  CHECK(why_refused({"--log-user", "kyro", "--log-password-file", "p"}) ==
        "--log-user needs --log beside it");
  CHECK(config_of(log_and({"--log-user", "kyro", "--log-password-file", "p"})).ok());
  CHECK(config_of({})->log_keep_bytes == 256 * kMiB);
  CHECK(config_of({})->log_timeout_ms == 5000);
  CHECK(why_refused({"--log-timeout-ms", "99"}).starts_with("--log-timeout-ms must be "));
}

}  // namespace
}  // namespace kyro
