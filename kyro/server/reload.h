// SIGHUP: reads the configuration and the token files again, and takes over what can change while
// the server runs: tokens and what is logged. Whatever else has changed is named in the log, and
// waits for a restart. A configuration or token that is refused changes nothing.
//
// Thread rule: the main thread. Ownership: borrows the access control.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/log/log.h"
#include "kyro/cli/token_file.h"
#include "kyro/server/access.h"
#include "kyro/server/serve_flags.h"

namespace kyro {

[[nodiscard]] inline Status check_tokens(const Tokens& tokens) {
  KYRO_TRY(check_token(tokens.full));
  KYRO_TRY(check_token(tokens.read));
  if (!tokens.read.empty() && tokens.read == tokens.full) {
    return Status(Code::kInvalid, "--read-token-file: the two tokens must differ");
  }
  return Status();
}

// The tokens that the configuration gives or names files of. If anything is wrong with one of them,
// *tokens stays what it is.
[[nodiscard]] inline Status load_tokens(const ServeConfig& config, Tokens* tokens) {
  Tokens fresh{config.auth_token, {}};
  const auto load = [](const char* flag, const std::string& path, std::string* token) {
    if (path.empty()) return Status();
    auto text = read_token_file(path);
    if (!text.ok()) {
      return Status(Code::kInvalid,
                    std::string(flag) + ": " + std::string(text.status().message()));
    }
    *token = std::move(*text);
    return Status();
  };
  KYRO_TRY(load("--auth-token-file", config.auth_token_file, &fresh.full));
  KYRO_TRY(load("--read-token-file", config.read_token_file, &fresh.read));
  KYRO_TRY(check_tokens(fresh));
  *tokens = std::move(fresh);
  return Status();
}

class Reloader {
 public:
  // `reread` gives the configuration as it is now.
  using Reread = std::function<Result<ServeConfig>()>;

  Reloader(const ServeConfig& running, Reread reread, Tokens tokens, AccessControl& access)
      : running_(running),
        reread_(std::move(reread)),
        tokens_(std::move(tokens)),
        access_(access) {}

  void reload() {
    const Result<ServeConfig> fresh = reread_();
    if (!fresh.ok()) {
      log_event(LogLevel::kError, "config_reloaded", {{"outcome", fresh.status().to_string()}});
    } else {
      take(*fresh);
    }
    reload_tokens();
  }

 private:
  static constexpr std::array<std::string_view, 5> kTaken{
      "auth-token", "auth-token-file", "read-token-file", "log-level", "log-format"};

  [[nodiscard]] static bool has_token(const ServeConfig& config) {
    return !config.auth_token.empty() || !config.auth_token_file.empty();
  }

  void take(const ServeConfig& fresh) {
    std::string taken;
    std::string waiting;
    // Without a token the server would have begun differently.
    const bool keeps_tokens = has_token(running_) == has_token(fresh);
    for (const CliFlag& flag : kServeFlags) {
      if (flag.field.get(flag, &running_) == flag.field.get(flag, &fresh)) continue;
      const bool is_token = flag.name.find("token") != flag.name.npos;
      const bool is_taken = std::find(kTaken.begin(), kTaken.end(), flag.name) != kTaken.end() &&
                            (!is_token || keeps_tokens);
      std::string& list = is_taken ? taken : waiting;
      list.append(list.empty() ? "" : " ").append(flag.name);
    }
    if (keeps_tokens) {
      running_.auth_token = fresh.auth_token;
      running_.auth_token_file = fresh.auth_token_file;
      running_.read_token_file = fresh.read_token_file;
    }
    running_.log = fresh.log;
    set_log_config(fresh.log);
    if (running_.config_file.empty() && taken.empty() && waiting.empty()) return;
    log_event(waiting.empty() ? LogLevel::kInfo : LogLevel::kWarn, "config_reloaded",
              {{"outcome", "ok"}, {"taken", taken}, {"needs_restart", waiting}});
  }

  void reload_tokens() {
    if (!has_token(running_)) return;
    const Status loaded = load_tokens(running_, &tokens_);
    access_.set_tokens(tokens_);
    if (running_.auth_token_file.empty() && running_.read_token_file.empty() && loaded.ok()) return;
    log_event(loaded.ok() ? LogLevel::kInfo : LogLevel::kError, "token_reloaded",
              {{"outcome", loaded.to_string()}});
  }

  ServeConfig running_;
  const Reread reread_;
  Tokens tokens_;
  AccessControl& access_;
};

}  // namespace kyro
