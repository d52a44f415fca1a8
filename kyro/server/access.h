// Who may speak to the server: a bearer token, or, without one, only programs on this machine.
//
// With a token, every route but the probes needs "Authorization: Bearer <token>". A second token
// may only read. What is given is always compared with both, and in a time that does not depend on
// where it differs. Without a token on loopback, a request that a web page could have caused (an
// Origin field, a Sec-Fetch-Site of another site, or a Host that is not this machine: DNS
// rebinding) is refused. Connections over the Unix socket are not reachable for web pages.
//
// An answer that takes its time holds a Permit, which tells when its token has been withdrawn.
//
// Thread rule: set_tokens() from the main thread at any time (SIGHUP); the rest from any thread.
// Ownership: retired tokens are freed when no reader can see them (epoch.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/epoch.h"
#include "kyro/base/text/ascii.h"
#include "kyro/net/http/request.h"
#include "kyro/net/io/address.h"

namespace kyro {

// Empty: there is none. Without a full token there is no read token either.
struct Tokens {
  std::string full;
  std::string read;
};

class AccessControl;

// That the token which a long answer was asked for with is still one of the server's.
class Permit {
 public:
  // Always valid.
  Permit() = default;
  // REQUIRES: the calling thread holds an EpochPin.
  [[nodiscard]] inline bool is_valid() const;

 private:
  friend class AccessControl;
  const AccessControl* access_ = nullptr;
  uint64_t token_id_ = 0;
};

class AccessControl {
 public:
  enum class Verdict : uint8_t { kAllowed, kNeedsToken, kMayOnlyRead, kForbidden };

  struct Rules {
    bool guard_against_pages = false;  // tokenless on loopback
    bool protect_metrics = false;
  };
  // What a request asks for.
  struct Need {
    bool is_probe = false;  // needs no token
    bool is_metrics = false;
    bool is_read = false;  // the read token will do
  };

  explicit AccessControl(Rules rules) : rules_(rules) {}
  AccessControl(const AccessControl&) = delete;
  AccessControl& operator=(const AccessControl&) = delete;
  ~AccessControl() { delete tokens_.load(); }

  // Replaces the tokens. Permits for a token that is still one of them, in either role, stay valid.
  void set_tokens(const Tokens& tokens) {
    KYRO_CHECK(tokens.read.empty() || !tokens.full.empty());
    Known* fresh = tokens.full.empty() ? nullptr : new Known{tokens};
    const Known* old = tokens_.load(std::memory_order_acquire);
    if (fresh != nullptr) {
      fresh->full_id = id_of(fresh->full, old);
      fresh->read_id = id_of(fresh->read, old);
    }
    tokens_.store(fresh);
    if (old != nullptr) epoch_retire(std::unique_ptr<const Known>(old));
  }
  // Whether a probe is answered without a token.
  [[nodiscard]] bool is_open(bool is_metrics) const {
    return !(is_metrics && rules_.protect_metrics);
  }
  [[nodiscard]] bool has_token() const {
    return tokens_.load(std::memory_order_acquire) != nullptr;
  }

  // For an answer to `request`, which was allowed. REQUIRES: the calling thread holds an EpochPin.
  [[nodiscard]] Permit permit(const HttpRequest& request) const {
    Permit permit;
    permit.access_ = this;
    const Known* tokens = tokens_.load(std::memory_order_acquire);
    if (tokens == nullptr) return permit;
    const std::string_view given = given_token(request);
    const bool is_full = equals_in_constant_time(given, tokens->full);
    permit.token_id_ = is_full ? tokens->full_id : tokens->read_id;
    return permit;
  }

  // REQUIRES: the calling thread holds an EpochPin.
  [[nodiscard]] Verdict check(const HttpRequest& request, Need need) const {
    const Known* tokens = tokens_.load(std::memory_order_acquire);
    if (tokens == nullptr) {
      if (!rules_.guard_against_pages || request.is_unix) return Verdict::kAllowed;
      const bool is_rebound = !request.host.empty() && !is_loopback_authority(request.host);
      return is_rebound || is_from_page(request) ? Verdict::kForbidden : Verdict::kAllowed;
    }
    if (need.is_probe && is_open(need.is_metrics)) return Verdict::kAllowed;
    const std::string_view given = given_token(request);
    const bool is_full = equals_in_constant_time(given, tokens->full);
    const bool is_read = equals_in_constant_time(given, tokens->read);
    if (is_full) return Verdict::kAllowed;
    if (!is_read) return Verdict::kNeedsToken;
    return need.is_read || need.is_metrics ? Verdict::kAllowed : Verdict::kMayOnlyRead;
  }

 private:
  friend class Permit;

  // Tokens, each with a number that it keeps as long as it is one of the server's, and no other
  // ever has. Nobody holds a permit of 0 where there are tokens.
  struct Known : Tokens {
    explicit Known(const Tokens& tokens) : Tokens(tokens) {}
    uint64_t full_id = 0;
    uint64_t read_id = 0;
  };
  uint64_t id_of(const std::string& token, const Known* old) {
    if (!token.empty() && old != nullptr && token == old->full) return old->full_id;
    if (!token.empty() && old != nullptr && token == old->read) return old->read_id;
    return ++last_id_;
  }

  // Browsers give the origin of the page that asks. A GET that a page of another site causes has
  // none, but says so much (W3C Fetch Metadata); same-origin pages are ours, "none" is the user's
  // doing.
  static bool is_from_page(const HttpRequest& request) {
    constexpr auto kNames = NameLengths::of("origin", "sec-fetch-site");
    if (!request.name_lengths.may_be_any(kNames)) return false;
    for (const HeaderField& field : request.fields) {
      if (field.is("origin")) return true;
      if (field.is("sec-fetch-site") &&
          (iequals(field.value, "cross-site") || iequals(field.value, "same-site"))) {
        return true;
      }
    }
    return false;
  }

  // What stands after "Bearer"; empty if nothing does, or if the field is there twice: whoever
  // stands between may have looked at the other one.
  static std::string_view given_token(const HttpRequest& request) {
    constexpr std::string_view kScheme = "Bearer ";
    std::string_view field;
    int count = 0;
    for (const HeaderField& one : request.fields) {
      if (!one.is("authorization")) continue;
      field = one.value;
      ++count;
    }
    if (count != 1 || field.size() < kScheme.size() ||
        !iequals(field.substr(0, kScheme.size()), kScheme)) {
      return {};
    }
    std::string_view given = field.substr(kScheme.size());
    while (given.starts_with(' ')) given.remove_prefix(1);
    return given;
  }

  // Looks at every byte of `token` whatever `given` is; only the length given shows in the time.
  // Nothing equals an empty token.
  static bool equals_in_constant_time(std::string_view given, std::string_view token) {
    unsigned difference = given.size() == token.size() && !token.empty() ? 0 : 1;
    for (size_t i = 0; i < token.size(); ++i) {
      const char c = given.empty() ? '\0' : given[i % given.size()];
      difference |= static_cast<unsigned>(static_cast<unsigned char>(c ^ token[i]));
    }
    return difference == 0;
  }

  const Rules rules_;
  uint64_t last_id_ = 0;
  std::atomic<const Known*> tokens_{nullptr};
};

inline bool Permit::is_valid() const {
  if (access_ == nullptr) return true;
  const auto* tokens = access_->tokens_.load(std::memory_order_acquire);
  if (tokens == nullptr) return token_id_ == 0;
  return token_id_ == tokens->full_id || token_id_ == tokens->read_id;
}

}  // namespace kyro
