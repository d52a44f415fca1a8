// `kyrodb serve`: from a configuration to a process that serves until a signal ends it.
//
// Order: token → listen (so that a port in use is said at once, and /health and /ready answer
// during recovery) → open the store → serve. On SIGTERM or SIGINT: /ready turns 503, the listeners
// close, what is under way finishes within --drain-secs, the store is closed, exit 0. A second
// signal ends the process at once; nothing acknowledged is lost by that. While the store is still
// being opened, or warmed, that is given up: nobody waits for it. SIGHUP reads the token
// files again. Each step is told to the service manager, if one started us.
#pragma once

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "kyro/base/clock.h"
#include "kyro/base/log/log.h"
#include "kyro/base/text/printable.h"
#include "kyro/cli/build_info.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/cli/token_file.h"
#include "kyro/net/io/address.h"
#include "kyro/net/server/http_server.h"
#include "kyro/replica/replica.h"
#include "kyro/server/access.h"
#include "kyro/server/api.h"
#include "kyro/server/life_signs.h"
#include "kyro/server/notify.h"
#include "kyro/server/reload.h"
#include "kyro/server/serve_flags.h"
#include "kyro/storage/engine.h"

namespace kyro {

namespace serve_detail {

// Large buffers are given back to the system when they are freed, and from the first on: else
// bodies of a burst stay in the heaps of the threads that took them.
inline void give_back_large_buffers() {
  constexpr int kLargeBytes = 512 * 1024;
  static_cast<void>(mallopt(M_MMAP_THRESHOLD, kLargeBytes));
}

// Every connection is a descriptor. Asks the system for as many as it gives without being root, and
// returns how many connections there may be, so that storage always has some left.
inline uint32_t reserve_descriptors(uint32_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  const uint32_t admitted = connections_within(limit.rlim_cur, wanted);
  if (admitted == wanted) return wanted;
  log_event(LogLevel::kWarn, "few_descriptors",
            {{"limit", uint64_t{limit.rlim_cur}},
             {"max_connections", wanted},
             {"admitted", admitted},
             {"advice", "raise the limit (ulimit -n), or lower --max-connections"}});
  return admitted;
}

// The first address that is not only this machine's; empty if there is none.
inline std::string public_host(const HttpServerConfig& http) {
  if (!is_loopback_host(http.host)) return http.host;
  for (const ListenAddress& address : http.also) {
    if (!is_loopback_host(address.host)) return address.host;
  }
  return {};
}

// Where it listens, with commas between.
inline std::string bound_addresses(const HttpServerConfig& http, const HttpServer& server) {
  std::string text = format_host_port(http.host, server.bound_port());
  for (size_t i = 0; i < http.also.size(); ++i) {
    text += "," + format_host_port(http.also[i].host, server.also_bound_ports()[i]);
  }
  return text;
}

inline void print_banner(const ServeConfig& config, const std::string& addresses, bool has_token,
                         uint64_t keys) {
  const bool is_public = !public_host(config.http).empty();
  std::string access = "programs on this machine (no token)";
  if (has_token) {
    access = config.read_token_file.empty() ? "bearer token" : "bearer token, and one to read";
  } else if (config.no_auth) {
    access = "everyone who can connect (--no-auth)";
  }
  log_event(LogLevel::kInfo, "serving",
            {{"address", addresses},
             {"unix_socket", config.http.unix_path},
             {"data", config.engine.data_dir},
             {"keys", keys},
             {"fsync", fsync_text(config.engine)},
             {"log", config.log_url.text},
             {"access", access},
             {"version", kProductVersion}});
  if (has_token && is_public) {
    log_event(LogLevel::kWarn, "token_in_clear",
              {{"advice", "put a TLS proxy in front, or use the Unix socket"}});
  }
}

// None where the log is not shared. The password stays in memory, for tokens end.
inline Result<std::unique_ptr<Replica>> make_replica(const ServeConfig& config) {
  if (!config.log_url.is_given()) return std::unique_ptr<Replica>();
  Replica::Config replica{config.log_url, config.log_user, {}, config.log_timeout_ms};
  replica.limits = {.keep_bytes = config.log_keep_bytes, .quota_bytes = config.log_quota_bytes};
  if (!config.log_password_file.empty()) {
    auto password = read_secret_file(config.log_password_file);
    if (!password.ok()) {
      return Status(Code::kInvalid,
                    "--log-password-file: " + std::string(password.status().message()));
    }
    replica.password = *std::move(password);
  }
  return std::make_unique<Replica>(replica);
}

// The store, on the log that it shares if it does, and where backups go.
inline Result<std::unique_ptr<Engine>> open_engine(const ServeConfig& config, Replica* replica,
                                                   Api& api) {
  Options options = config.engine;
  if (replica != nullptr) options.shared_log = replica->shared_log();
  auto engine = Engine::open(options, &api.recovery_progress());
  KYRO_TRY(engine);
  // Not before: it may lie in the data directory, which a new store wants to find empty.
  if (!config.backup_dir.empty()) {
    KYRO_TRY(PosixFileSystem().open_dir(config.backup_dir, DirMode::kCreate));
  }
  if (replica != nullptr) KYRO_TRY(replica->start(**engine, api.offset_waits()));
  return engine;
}

// Who is told of every commit.
struct CommitNews {
  HttpServer& server;
  OffsetWaits& waits;
  const Engine& engine;

  static void tell(void* context) {
    const auto* const news = static_cast<const CommitNews*>(context);
    news->server.wake_streams();
    news->waits.on_offset(news->engine.next_offset());
  }
};

// A second SIGTERM or SIGINT ends the process.
inline void let_signals_end_it() {
  sigset_t stops;
  sigemptyset(&stops);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&stops, number);
  pthread_sigmask(SIG_UNBLOCK, &stops, nullptr);
}

inline int fail(const Status& status, int exit_code = kExitError) {
  write_log("kyrodb: " + printable(status.message()) + "\n");
  return exit_code;
}

// Until the time of the read is up that has waited longest for an offset, or of one that begins to
// wait now; not less than would do any good.
inline uint64_t ns_to_next_deadline(const Api& api) {
  constexpr uint64_t kLeastNs = 10'000'000;
  const uint64_t now_ns = monotonic_ns();
  const uint64_t first_ns =
      std::min(api.offset_waits().first_deadline_ns(), now_ns + api.offset_waits().timeout_ns());
  return std::max(first_ns, now_ns + kLeastNs) - now_ns;
}

// The next of `signals`; meanwhile somebody looks for signs of life and notes what has happened.
inline int next_signal(const sigset_t& signals, LifeSigns& life, Api& api) {
  for (;;) {
    const uint64_t interval_ns = std::min(life.interval_ns(), ns_to_next_deadline(api));
    const timespec interval{.tv_sec = static_cast<time_t>(interval_ns / 1'000'000'000),
                            .tv_nsec = static_cast<long>(interval_ns % 1'000'000'000)};
    const int number = sigtimedwait(&signals, nullptr, &interval);
    if (number > 0) return number;
    if (errno != EAGAIN) continue;
    life.look();
    api.take_history(monotonic_ns());
    api.look_after_waiting_reads();
  }
}

// What wait_for_end() waits for: those that mean something, and those that would end the process
// without a word and are nobody's but a mistaken kill's or a library's.
inline sigset_t handled_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number :
       {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGIO, SIGPWR, SIGSTKFLT}) {
    sigaddset(&signals, number);
  }
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) sigaddset(&signals, number);
  return signals;
}

// A signal that ends the process has come and waits, blocked, for wait_for_end(). Any thread.
inline bool is_stop_pending() {
  sigset_t pending;
  return sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

// Waits for the signal that ends the process; SIGHUP reloads meanwhile.
inline void wait_for_end(const sigset_t& signals, Reloader& reloader, HttpServer& server,
                         LifeSigns& life, Api& api, ServiceManager& manager) {
  for (;;) {
    const int number = next_signal(signals, life, api);
    if (number == SIGINT || number == SIGTERM) {
      log_event(LogLevel::kInfo, "stopping", {{"signal", number == SIGINT ? "INT" : "TERM"}});
      return;
    }
    if (number != SIGHUP) {
      const char* const name = sigabbrev_np(number);
      log_event(LogLevel::kWarn, "signal_ignored", {{"signal", name != nullptr ? name : "RT"}});
      continue;
    }
    manager.tell_reloading();
    reloader.reload();
    server.wake_streams();  // whose token may be gone
    api.look_after_waiting_reads();
    life.tell_reloaded();
  }
}

}  // namespace serve_detail

// Runs the server; the process's exit code. `page` is what GET / shows, unless --no-page; `reread`
// gives the configuration as it is on SIGHUP.
[[nodiscard]] inline int serve(const ServeConfig& config, const Page& page,
                               Reloader::Reread reread) {
  using namespace serve_detail;
  log_config() = config.log;
  Tokens tokens;
  if (const Status bad = load_tokens(config, &tokens); !bad.ok()) return fail(bad);
  if (tokens.full.empty() && !config.no_auth && !public_host(config.http).empty()) {
    return fail(Status(Code::kInvalid, "refusing to listen on " + public_host(config.http) +
                                           " without a token: give --auth-token-file, or --no-auth "
                                           "if everyone who can connect may read and write"),
                kExitUsage);
  }
  auto replica = make_replica(config);
  if (!replica.ok()) return fail(replica.status());
  AccessControl access({.guard_against_pages = tokens.full.empty() && !config.no_auth,
                        .protect_metrics = config.protect_metrics});
  access.set_tokens(tokens);

  // Blocked before any thread starts, so that only sigwaitinfo() sees them.
  const sigset_t signals = handled_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  LogWriter log_writer;
  if (!log_writer.status().ok()) return fail(log_writer.status());

  std::optional<RequestLog> request_log;
  if (config.request_log && config.log.level <= LogLevel::kInfo) request_log.emplace(log_writer);
  HttpServerConfig http = config.http;
  give_back_large_buffers();
  http.connections_max = reserve_descriptors(http.connections_max);
  if (http.connections_max < config.http.connections_max) {  // all have to fit
    http.turned_away_max = std::min(http.turned_away_max, http.connections_max / 8);
    http.connections_max -= http.turned_away_max;
  }
  if (http.threads == 0) http.threads = std::max(1u, std::thread::hardware_concurrency());
  ServiceManager manager = ServiceManager::from_environment();
  manager.tell("STATUS=replaying the log");
  Api api(access, config.engine, {config.rate_data, config.rate_admin}, http.threads);
  api.set_mget_limits(config.max_mget_keys, config.http.inflight_bytes_max);
  api.set_log_timeout_ms(config.log_timeout_ms);
  if (!config.no_page) api.set_page(page);
  if (request_log) api.set_request_log(&*request_log);
  if (!config.backup_dir.empty()) {
    api.set_backup_dir(config.backup_dir);
  }
  api.set_replica(replica->get());
  auto server = HttpServer::start(http, api);
  if (!server.ok()) return fail(server.status());
  api.set_server(server->get());

  RecoveryProgress& progress = api.recovery_progress();
  progress.cancel = is_stop_pending;
  auto engine = open_engine(config, replica->get(), api);
  if (!engine.ok()) {
    (*server)->stop();
    if (!progress.was_cancelled) return fail(engine.status());
    log_event(LogLevel::kInfo, "stopped", {{"during", "recovery"}});
    return kExitOk;
  }
  CommitNews news{**server, api.offset_waits(), **engine};
  (*engine)->set_commit_listener(CommitNews::tell, &news);
  if (config.warm_on_start)
    static_cast<void>((*engine)->run({Job::Kind::kWarm, {}, is_stop_pending}));
  api.set_engine(engine->get());
  const std::string addresses = bound_addresses(config.http, **server);
  print_banner(config, addresses, access.has_token(), estimate_keys((*engine)->view()));
  LifeSigns life(**server, **engine, replica->get(), manager, addresses);
  Reloader reloader(config, std::move(reread), std::move(tokens), access);
  wait_for_end(signals, reloader, **server, life, api, manager);
  manager.tell("STOPPING=1\nSTATUS=finishing what is under way");
  api.set_draining();
  if (*replica != nullptr) (*replica)->hurry();
  let_signals_end_it();
  const bool in_time = (*server)->drain(config.drain_secs * 1000);
  if (*replica != nullptr) (*replica)->stop();
  engine->reset();  // before the server, which its commits wake
  log_event(LogLevel::kInfo, "stopped", {{"drained", in_time ? "yes" : "no"}});
  return kExitOk;
}

}  // namespace kyro
