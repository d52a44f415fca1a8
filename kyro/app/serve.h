// `kyrodb serve`: from a configuration to a process that serves until a signal ends it.
//
// Order: token → listen (so that a port in use is said at once, and /health and /ready answer
// during recovery) → open the store → serve. On SIGTERM or SIGINT: /ready turns 503, the listeners
// close, what is under way finishes within --drain-secs, the store is closed, exit 0. A second
// signal ends the process at once; nothing acknowledged is lost by that. SIGHUP reads the token
// file again.
#pragma once

#include <signal.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "kyro/app/access.h"
#include "kyro/app/api.h"
#include "kyro/app/build_info.h"
#include "kyro/app/config.h"
#include "kyro/app/exit_codes.h"
#include "kyro/base/log.h"
#include "kyro/net/http_server.h"
#include "kyro/storage/engine.h"

namespace kyro {

// The token that the configuration names; empty if there is none. Trailing white space of a file is
// not part of it. A file that is missing, or a token that is empty, is an error.
[[nodiscard]] inline Result<std::string> load_token(const ServeConfig& config) {
  std::string token = config.auth_token;
  if (!config.auth_token_file.empty()) {
    PosixFileSystem fs;
    auto text = read_small_file(fs, config.auth_token_file, 64 * kKiB);
    if (!text.ok())
      return Status(Code::kInvalid, "--auth-token-file: " + text.status().to_string());
    token = std::move(*text);
    token.erase(token.find_last_not_of(" \t\r\n") + 1);
    if (token.empty()) {
      return Status(Code::kInvalid, "--auth-token-file: " + config.auth_token_file + " is empty");
    }
  }
  const bool is_printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (!is_printable) {
    return Status(Code::kInvalid, "the token must be printable ASCII without spaces");
  }
  return token;
}

namespace serve_detail {

inline HttpServerConfig server_config(const ServeConfig& config) {
  HttpServerConfig server;
  server.host = config.host;
  server.port = config.port;
  server.unix_path = config.unix_socket;
  server.threads =
      config.threads != 0 ? config.threads : std::max(1u, std::thread::hardware_concurrency());
  server.connections_max = config.max_connections;
  server.connections_per_ip_max = config.max_connections_per_ip;
  server.inflight_bytes_max = config.max_inflight_bytes;
  server.header_timeout_ms = config.header_timeout_ms;
  server.body_timeout_ms = config.body_timeout_ms;
  server.idle_timeout_ms = config.idle_timeout_ms;
  server.write_timeout_ms = config.write_timeout_ms;
  return server;
}

inline void print_banner(const ServeConfig& config, uint16_t port, bool has_token) {
  const bool is_public = !is_loopback_host(config.host);
  std::string access = "programs on this machine (no token)";
  if (has_token) {
    access = "bearer token";
  } else if (config.no_auth) {
    access = "everyone who can connect (--no-auth)";
  }
  log_event(LogLevel::kInfo, "serving",
            {{"address", config.host + ":" + std::to_string(port)},
             {"unix_socket", config.unix_socket},
             {"data", config.engine.data_dir},
             {"fsync", config_detail::format_fsync(config.engine)},
             {"access", access},
             {"version", kProductVersion}});
  if (has_token && is_public) {
    log_event(LogLevel::kWarn, "token_in_clear",
              {{"advice", "put a TLS proxy in front, or use the Unix socket"}});
  }
}

inline int fail(const Status& status, int exit_code = kExitError) {
  std::fprintf(stderr, "kyrodb: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

// Waits for the signal that ends the process; SIGHUP reloads the token meanwhile.
inline void wait_for_end(const sigset_t& signals, const ServeConfig& config,
                         AccessControl& access) {
  for (;;) {
    int number = 0;
    if (sigwait(&signals, &number) != 0) continue;
    if (number != SIGHUP) {
      log_event(LogLevel::kInfo, "stopping", {{"signal", number == SIGINT ? "INT" : "TERM"}});
      return;
    }
    if (config.auth_token_file.empty()) continue;
    auto token = load_token(config);
    if (token.ok()) access.set_token(*token);
    log_event(token.ok() ? LogLevel::kInfo : LogLevel::kError, "token_reloaded",
              {{"outcome", token.ok() ? "ok" : token.status().to_string()}});
  }
}

}  // namespace serve_detail

// Runs the server; the process's exit code.
[[nodiscard]] inline int serve(const ServeConfig& config) {
  using namespace serve_detail;
  log_config() = config.log;
  auto token = load_token(config);
  if (!token.ok()) return fail(token.status());
  if (token->empty() && !config.no_auth && !is_loopback_host(config.host)) {
    return fail(Status(Code::kInvalid, "refusing to listen on " + config.host +
                                           " without a token: give --auth-token-file, or --no-auth "
                                           "if everyone who can connect may read and write"),
                kExitUsage);
  }
  AccessControl access({.guard_against_pages = token->empty() && !config.no_auth,
                        .protect_metrics = config.protect_metrics});
  access.set_token(*token);

  // Blocked before any thread starts, so that only sigwait() sees them.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  const HttpServerConfig listen = server_config(config);
  Api api(access, config.engine, listen.threads);
  auto server = HttpServer::start(listen, api);
  if (!server.ok()) return fail(server.status());
  api.set_server(server->get());

  auto engine = Engine::open(config.engine, &api.recovery_progress());
  if (!engine.ok()) {
    (*server)->stop();
    return fail(engine.status());
  }
  (*engine)->set_commit_listener(
      [](void* context) { static_cast<HttpServer*>(context)->wake_streams(); }, server->get());
  if (config.warm_on_start) static_cast<void>((*engine)->warm());  // only slower without
  api.set_engine(engine->get());
  print_banner(config, (*server)->bound_port(), access.has_token());

  wait_for_end(signals, config, access);
  api.set_draining();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // a second one ends the process
  const bool in_time = (*server)->drain(config.drain_secs * 1000);
  (*engine)->set_commit_listener(nullptr, nullptr);
  engine->reset();
  log_event(LogLevel::kInfo, "stopped", {{"drained", in_time ? "yes" : "no"}});
  return kExitOk;
}

}  // namespace kyro
