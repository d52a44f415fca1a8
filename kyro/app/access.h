// Who may speak to the server: a bearer token, or, without one, only programs on this machine.
//
// With a token, every route but the probes needs "Authorization: Bearer <token>"; the comparison
// takes the same time wherever the difference lies. Without a token on loopback, a request that a
// web page could have caused (an Origin field, or a Host that is not this machine: DNS rebinding)
// is refused. Connections over the Unix socket are not reachable for web pages.
//
// Thread rule: set_token() from the main thread at any time (SIGHUP); check() from any thread.
// Ownership: retired tokens are freed when no reader can see them (epoch.h).
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/epoch.h"
#include "kyro/net/address.h"
#include "kyro/net/http_request.h"

namespace kyro {

class AccessControl {
 public:
  enum class Verdict : uint8_t { kAllowed, kNeedsToken, kForbidden };

  struct Rules {
    bool guard_against_pages = false;  // tokenless on loopback
    bool protect_metrics = false;
  };

  explicit AccessControl(Rules rules) : rules_(rules) {}
  AccessControl(const AccessControl&) = delete;
  AccessControl& operator=(const AccessControl&) = delete;
  ~AccessControl() { delete token_.load(); }

  // Replaces the token; empty means none.
  void set_token(const std::string& token) {
    const auto* fresh = token.empty() ? nullptr : new std::string(token);
    const std::string* old = token_.exchange(fresh);
    if (old != nullptr) epoch_retire(std::unique_ptr<const std::string>(old));
  }
  [[nodiscard]] bool has_token() const { return token_.load(std::memory_order_acquire) != nullptr; }

  // REQUIRES: the calling thread holds an EpochPin. `is_open`: the route needs no token.
  [[nodiscard]] Verdict check(const HttpRequest& request, bool is_open, bool is_metrics) const {
    const std::string* token = token_.load(std::memory_order_acquire);
    if (token == nullptr) {
      if (!rules_.guard_against_pages || request.is_unix) return Verdict::kAllowed;
      const bool is_from_page = request.header("origin").has_value();
      const bool is_rebound = !request.host.empty() && !is_loopback_authority(request.host);
      return is_from_page || is_rebound ? Verdict::kForbidden : Verdict::kAllowed;
    }
    if (is_open && !(is_metrics && rules_.protect_metrics)) return Verdict::kAllowed;
    return bears(request, *token) ? Verdict::kAllowed : Verdict::kNeedsToken;
  }

 private:
  static bool bears(const HttpRequest& request, std::string_view token) {
    const auto field = request.header("authorization");
    constexpr std::string_view kScheme = "Bearer ";
    if (!field || field->size() < kScheme.size() ||
        !iequals(field->substr(0, kScheme.size()), kScheme)) {
      return false;
    }
    std::string_view given = field->substr(kScheme.size());
    while (given.starts_with(' ')) given.remove_prefix(1);
    return equals_in_constant_time(given, token);
  }

  // Looks at every byte of `token` whatever `given` is; only the length given shows in the time.
  static bool equals_in_constant_time(std::string_view given, std::string_view token) {
    unsigned difference = given.size() == token.size() ? 0 : 1;
    for (size_t i = 0; i < token.size(); ++i) {
      const char c = given.empty() ? '\0' : given[i % given.size()];
      difference |= static_cast<unsigned>(static_cast<unsigned char>(c ^ token[i]));
    }
    return difference == 0;
  }

  const Rules rules_;
  std::atomic<const std::string*> token_{nullptr};
};

}  // namespace kyro
