// `serve` as a row of the table of commands, and from a call of it and the environment to a
// ServeConfig, or to the text that --print-config asks for.
//
// Thread rule: before threads start. Ownership: values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/log/log.h"
#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/base/text/json_text.h"
#include "kyro/base/text/printable.h"
#include "kyro/cli/command_line.h"
#include "kyro/cli/config_file.h"
#include "kyro/cli/help.h"
#include "kyro/server/serve_flags.h"

namespace kyro {

inline const ServeConfig kServeDefaults;

[[nodiscard]] constexpr CliCommand serve_command(int (*run)(const CliCall& call)) {
  return {"serve",
          "[FLAGS] [HOST PORT]",
          "serve a data directory over HTTP (default 127.0.0.1 3030)",
          0,
          2,
          run,
          kServeFlags,
          "Sizes (B) take K, M, G or KiB, MiB, GiB: powers of 1024.",
          "server start run",
          "KYRODB_",
          &kServeDefaults};
}

namespace serve_detail {

inline Status set_address(const CliCall& call, HttpServerConfig* http) {
  if (call.words.empty()) return {};
  if (call.words.size() == 1) {
    return Status(Code::kInvalid, "HOST and PORT must be given together, like 127.0.0.1 3030");
  }
  const auto port = parse_u64(call.words[1]);
  if (call.words[0].empty()) return Status(Code::kInvalid, "HOST must not be empty");
  if (!port || *port > UINT16_MAX) {
    return Status(Code::kInvalid,
                  "PORT must be a whole number from 0 to 65535, not " + cli_quoted(call.words[1]));
  }
  http->host = call.words[0];
  http->port = static_cast<uint16_t>(*port);
  return {};
}

// The first of --listen is what the server calls its own address.
inline Status set_listen(const CliCall& call, ServeConfig* config) {
  if (config->listen.empty()) return {};
  if (!call.words.empty()) {
    return Status(Code::kInvalid, "HOST PORT and --listen must not be given together");
  }
  config->http.host = config->listen[0].host;
  config->http.port = config->listen[0].port;
  config->http.also.assign(config->listen.begin() + 1, config->listen.end());
  return {};
}

inline Status check_log(const ServeConfig& config) {
  const auto refuse = [](const char* why) { return Status(Code::kInvalid, why); };
  if (config.log_user.empty() != config.log_password_file.empty()) {
    return refuse("--log-user and --log-password-file must be given together");
  }
  if (!config.log_user.empty() && !config.log_url.is_given()) {
    return refuse("--log-user needs --log beside it");
  }
  return {};
}

// Every write is synced by others before it is done: the disk here may take its time.
inline void set_fsync_default(ServeConfig* config) {
  if (config->is_fsync_given || !config->log_url.is_given()) return;
  config->engine.fsync = FsyncPolicy::kInterval;
  config->engine.fsync_interval_ms = 100;
}

inline Status check_together(const CliCall& call, ServeConfig* config) {
  const auto refuse = [](const char* why) { return Status(Code::kInvalid, why); };
  if (!config->auth_token.empty() && !config->auth_token_file.empty()) {
    // Of two that exclude each other a flag beats a variable.
    const bool has_token = call.flag("auth-token").has_value();
    if (has_token == call.flag("auth-token-file").has_value()) {
      return refuse("--auth-token and --auth-token-file must not be given together");
    }
    (has_token ? config->auth_token_file : config->auth_token).clear();
  }
  if (!config->read_token_file.empty() && config->auth_token.empty() &&
      config->auth_token_file.empty()) {
    return refuse(
        "--read-token-file needs --auth-token-file (or --auth-token) beside it: without "
        "a token everyone may write");
  }
  KYRO_TRY(check_log(*config));
  if (config->http.inflight_bytes_max < config->engine.max_value_bytes) {
    return refuse("--max-inflight-bytes must not be smaller than --max-value-bytes");
  }
  return {};
}

// The file that --config or its variable names; an empty one without.
inline Result<ConfigFile> find_config_file(const CliCall& call, CliEnvironment environment) {
  auto path = call.flag("config");
  const char* const variable = environment("KYRODB_CONFIG");
  if (!path && variable != nullptr) path = variable;
  if (!path) return ConfigFile{};
  return read_config_file(*call.command, *path);
}

}  // namespace serve_detail

// The configuration that a call of serve and the environment ask for; kInvalid with a sentence for
// the user otherwise.
[[nodiscard]] inline Result<ServeConfig> read_serve_config(const CliCall& call,
                                                           CliEnvironment environment) {
  ServeConfig config;
  const auto file = serve_detail::find_config_file(call, environment);
  KYRO_TRY(file);
  KYRO_TRY(serve_detail::set_address(call, &config.http));
  KYRO_TRY(read_options(*file, &config));
  KYRO_TRY(read_options(call, environment, &config));
  KYRO_TRY(serve_detail::set_listen(call, &config));
  KYRO_TRY(serve_detail::check_together(call, &config));
  serve_detail::set_fsync_default(&config);
  return config;
}

// Variables that look like ours and are none, with spaces between: misspelt, they do nothing. What
// Kubernetes sets for a service called kyrodb is passed over.
[[nodiscard]] inline std::string unknown_variables(const CliCommand& serve,
                                                   const char* const* environment) {
  constexpr std::string_view kForeign[] = {"KYRODB_URL", "KYRODB_TOKEN_FILE"};  // the client's
  std::string found;
  for (; *environment != nullptr; ++environment) {
    const std::string_view variable(*environment);
    const std::string_view name = variable.substr(0, variable.find('='));
    if (!name.starts_with(serve.environment)) continue;
    const bool is_of_kubernetes =
        name.starts_with("KYRODB_SERVICE_") || name.starts_with("KYRODB_PORT");
    const bool is_known =
        std::any_of(serve.flags.begin(), serve.flags.end(),
                    [&](const CliFlag& flag) { return variable_name(serve, flag) == name; }) ||
        std::find(std::begin(kForeign), std::end(kForeign), name) != std::end(kForeign);
    if (!is_of_kubernetes && !is_known) found.append(found.empty() ? "" : " ").append(name);
  }
  return found;
}

inline void warn_of_unknown_variables(const CliCommand& serve, const char* const* environment) {
  const std::string unknown = unknown_variables(serve, environment);
  if (unknown.empty()) return;
  log_event(LogLevel::kWarn, "unknown_variables", {{"names", unknown}});
}

// What --print-config prints: every option with its value and where that came from (a flag, a
// variable, a line of the file, "default"), in columns or as JSON. Secrets are hidden.
[[nodiscard]] inline std::string print_config_text(const CliCall& call, CliEnvironment environment,
                                                   const ServeConfig& config) {
  std::string out = config.log.json ? "{\"options\":[" : "";
  const auto add = [&](std::string_view name, std::string value, std::string_view origin) {
    if (config.log.json) {
      out.append(out.ends_with('[') ? "{\"name\":\"" : ",{\"name\":\"").append(name);
      out.append("\",\"value\":");
      append_json_string(out, value);
      out += ",\"origin\":";
      append_json_string(out, origin);
      out += '}';
      return;
    }
    value = value.empty() ? "-" : printable(value);
    constexpr size_t kNameColumns = 26;
    constexpr size_t kValueColumns = 22;
    out.append(name).append(std::max(name.size() + 1, kNameColumns) - name.size(), ' ');
    out.append(value).append(std::max(value.size() + 1, kValueColumns) - value.size(), ' ');
    out.append(origin).append("\n");
  };
  const auto file = serve_detail::find_config_file(call, environment);
  const std::string_view address_origin = !config.listen.empty() ? "listen"
                                          : call.words.empty()   ? "default"
                                                                 : "argument";
  add("host", config.http.host, address_origin);
  add("port", std::to_string(config.http.port), address_origin);
  for (const CliFlag& flag : call.command->flags) {
    if (flag.name == "print-config") continue;
    std::string value = flag.field.get(flag, &config);
    const std::string variable = variable_name(*call.command, flag);
    std::string origin = "default";
    if (call.flag(flag.name)) {
      origin = "--" + std::string(flag.name);
    } else if (!value.empty() && environment(variable.c_str()) != nullptr) {
      origin = variable;  // an empty value was set aside for a flag that excludes it
    } else if (const auto* line = file.ok() ? file->find(flag) : nullptr) {
      origin = file->place(line->number);
    }
    if (flag.value == "TOKEN" && !value.empty()) value = "(hidden)";
    add(flag.name, std::move(value), origin);
  }
  return out.append(config.log.json ? "]}\n" : "");
}

}  // namespace kyro
