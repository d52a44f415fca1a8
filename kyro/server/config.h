// What `kyrodb serve` is told: the options of the engine and of the HTTP server, whose defaults
// stand with them, and what is the program's own. The flags that set it are serve_flags.h.
//
// Thread rule: before threads start. Ownership: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kyro/base/limits.h"
#include "kyro/base/log/log.h"
#include "kyro/net/io/rate_limiter.h"
#include "kyro/net/server/http_server.h"
#include "kyro/replica/log_space.h"
#include "kyro/replica/log_url.h"
#include "kyro/storage/options.h"

namespace kyro {

struct ServeConfig {
  ServeConfig() {
    http.port = 3030;
    http.threads = 0;  // as many as cores
  }

  HttpServerConfig http;
  Options engine;
  bool is_fsync_given = false;  // else it depends on whether the log is shared

  LogUrl log_url;        // of the log that several servers share; none: it has its own alone
  std::string log_user;  // both, or none
  std::string log_password_file;
  uint64_t log_keep_bytes = 256 * kMiB;  // of that log, at least, when it is trimmed
  uint64_t log_quota_bytes = LogSpace::kDefaultQuotaBytes;  // of etcd, where it does not say
  uint64_t log_timeout_ms = 5000;

  std::vector<ListenAddress> listen;  // in place of the host and port of `http`, if it is not empty
  std::string config_file;

  std::string auth_token;  // at most one of these two is not empty
  std::string auth_token_file;
  std::string read_token_file;
  bool protect_metrics = false;
  bool no_auth = false;
  bool no_page = false;

  bool warm_on_start = false;
  std::string backup_dir;  // empty: no online backups
  uint64_t max_mget_keys = kDefaultMgetKeysMax;
  uint64_t drain_secs = 10;
  RateLimit rate_data;
  RateLimit rate_admin;

  LogConfig log;
  bool request_log = false;
  bool print_config = false;  // say what is in force, do not serve
};

}  // namespace kyro
