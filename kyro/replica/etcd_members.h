// The members of a cluster of etcd, asked over their HTTP gateway: JSON, etcd 3.4 and newer.
//
// One is asked until it does not answer, or not well; then it is the next one's turn. Where it
// could not be connected to, the next is asked in the same call. Nothing is sent twice but where a
// kept connection was found closed before the first byte of an answer; to insist is the caller's
// business (replica_log.h).
//
// With a user it authenticates first, and once more where a member does not take the token (tokens
// end after five minutes, and "simple" ones with the member's process).
//
// Bounds: a call ends after timeout_ms for each endpoint, an answer has answer_bytes_max.
//
// Thread rule: one thread at a time, but endpoint() from any. Ownership: owns its connections.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/limits.h"
#include "kyro/base/text/json_text.h"
#include "kyro/net/client/http_client.h"
#include "kyro/replica/etcd_answer.h"

namespace kyro {

struct EtcdOptions {
  std::vector<HttpEndpoint> endpoints;  // one at least
  std::string name;                     // of the log
  std::string user = {};                // empty: none
  std::string password = {};
  uint32_t timeout_ms = 2000;
  uint64_t answer_bytes_max = 16 * kMiB;
};

class EtcdMembers {
 public:
  explicit EtcdMembers(EtcdOptions options) : options_(std::move(options)) {
    for (const HttpEndpoint& endpoint : options_.endpoints) {
      members_.push_back(std::make_unique<Member>(endpoint));
    }
  }

  // Asks one member after the other, until one was connected to; what decode() makes of the answer.
  // kLogUnreachable: no answer, or none that makes sense, or a refusal that somebody may take back;
  // kNoSpace, kTooLarge: refused by etcd.
  template <class Decode>
  auto ask(std::string_view path, const std::string& body, Decode decode)
      -> decltype(decode(std::string_view()));
  // The last call has failed because its answer had no end within the bound.
  [[nodiscard]] bool answer_was_too_large() const { return answer_was_too_large_; }

  [[nodiscard]] const EtcdOptions& options() const { return options_; }
  // Whom the next call asks first. Any thread.
  [[nodiscard]] const HttpEndpoint& endpoint() const {
    return options_.endpoints[current_.load(std::memory_order_relaxed)];
  }
  // What it has taken as the user's token.
  [[nodiscard]] const std::string& token() const { return members_[current_]->token; }

 private:
  struct Member {
    explicit Member(HttpEndpoint endpoint) : http(std::move(endpoint)) {}
    HttpClient http;
    std::string token;  // empty: none yet
  };

  // Everything with one member, within its time.
  Status ask_member(Member& member, std::string_view path, const std::string& body,
                    std::string* answer);
  Status authenticate(Member& member);
  // One request and its answer; a refusal is one too.
  Status exchange(Member& member, std::string_view path, const std::string& body,
                  std::string* answer, std::optional<EtcdError>* refusal);
  Status receive(HttpClient& http, std::string_view path, const std::string& body,
                 const HeaderList& headers, HttpResponse* response);
  Status send_and_receive_head(HttpClient& http, std::string_view path, const std::string& body,
                               const HeaderList& headers, HttpResponse* response);
  // Gives the next step what is left of the time.
  Status set_time(HttpClient& http) const;
  [[nodiscard]] Status status_of(const EtcdError& refusal) const;

  const EtcdOptions options_;
  std::vector<std::unique_ptr<Member>> members_;
  std::atomic<size_t> current_{0};  // of the members
  uint64_t deadline_ns_ = 0;        // of what is asked of one
  bool answer_was_too_large_ = false;
};

template <class Decode>
auto EtcdMembers::ask(std::string_view path, const std::string& body, Decode decode)
    -> decltype(decode(std::string_view())) {
  for (size_t tries = 1;; ++tries) {
    Member& member = *members_[current_];
    std::string answer;
    Status status = ask_member(member, path, body, &answer);
    if (status.ok()) {
      auto decoded = decode(answer);
      if (decoded.ok()) return decoded;
      status = Status(Code::kLogUnreachable, std::string(decoded.status().message()));
    }
    if (status.code() != Code::kLogUnreachable) return status;
    const Status named(status.code(), endpoint().name + ": " + std::string(status.message()));
    current_ = (current_ + 1) % members_.size();
    if (!member.http.unreachable() || tries == members_.size()) return named;
  }
}

inline Status EtcdMembers::ask_member(Member& member, std::string_view path,
                                      const std::string& body, std::string* answer) {
  deadline_ns_ = monotonic_ns() + uint64_t{options_.timeout_ms} * 1'000'000;
  answer_was_too_large_ = false;
  for (bool may_renew = true;;) {
    if (!options_.user.empty() && member.token.empty()) {
      KYRO_TRY(authenticate(member));
      may_renew = false;
    }
    std::optional<EtcdError> refusal;
    KYRO_TRY(exchange(member, path, body, answer, &refusal));
    if (!refusal) return Status();
    if (refusal->refusal == EtcdRefusal::kToken && !options_.user.empty()) {
      member.token.clear();
      if (may_renew) continue;
    }
    return status_of(*refusal);
  }
}

inline Status EtcdMembers::authenticate(Member& member) {
  std::string body = "{\"name\":";
  append_json_string(body, options_.user);
  body += ",\"password\":";
  append_json_string(body, options_.password);
  body += '}';
  std::string answer;
  std::optional<EtcdError> refusal;
  KYRO_TRY(exchange(member, "/v3/auth/authenticate", body, &answer, &refusal));
  if (refusal) return status_of(*refusal);
  auto token = decode_etcd_token(answer);
  if (!token.ok()) return Status(Code::kLogUnreachable, std::string(token.status().message()));
  member.token = std::move(*token);
  return Status();
}

inline Status EtcdMembers::status_of(const EtcdError& refusal) const {
  switch (refusal.refusal) {
    case EtcdRefusal::kNoSpace:
      return Status(
          Code::kNoSpace,
          "etcd: " + refusal.message +
              "; to heal it: etcdctl compact REVISION (of etcdctl endpoint status -w json), "
              "etcdctl defrag --cluster, etcdctl alarm disarm");
    case EtcdRefusal::kTooLarge:
      return Status(Code::kTooLarge, "etcd: " + refusal.message + " (--max-request-bytes)");
    case EtcdRefusal::kUser:
    case EtcdRefusal::kToken: {
      const std::string who =
          options_.user.empty() ? "a request without a user" : "the user \"" + options_.user + "\"";
      return Status(Code::kLogUnreachable, "etcd refuses " + who + ": " + refusal.message);
    }
    case EtcdRefusal::kOther:
      break;
  }
  return Status(Code::kLogUnreachable, "etcd refuses: " + refusal.message);
}

inline Status EtcdMembers::exchange(Member& member, std::string_view path, const std::string& body,
                                    std::string* answer, std::optional<EtcdError>* refusal) {
  HeaderList headers{{"Content-Type", "application/json"}};
  if (!member.token.empty()) headers.emplace_back("Authorization", member.token);
  HttpResponse response;
  const Status status = receive(member.http, path, body, headers, &response);
  if (!status.ok()) {
    member.http.close();  // what comes later must not be taken for the answer to something else
    return Status(Code::kLogUnreachable, std::string(status.message()));
  }
  if (response.status != 200) *refusal = decode_etcd_error(response.status, response.body);
  *answer = std::move(response.body);
  return Status();
}

inline Status EtcdMembers::receive(HttpClient& http, std::string_view path, const std::string& body,
                                   const HeaderList& headers, HttpResponse* response) {
  const bool is_kept = http.connected();
  Status status = send_and_receive_head(http, path, body, headers, response);
  if (!status.ok() && is_kept && http.closed_early()) {
    status = send_and_receive_head(http, path, body, headers, response);
  }
  KYRO_TRY(status);
  for (bool is_at_end = false; !is_at_end;) {
    KYRO_TRY(set_time(http));
    KYRO_TRY(http.receive_body(&response->body, &is_at_end));
    if (response->body.size() > options_.answer_bytes_max) {
      answer_was_too_large_ = true;
      return Status(Code::kIoError, "the answer is too large");
    }
  }
  return Status();
}

inline Status EtcdMembers::send_and_receive_head(HttpClient& http, std::string_view path,
                                                 const std::string& body, const HeaderList& headers,
                                                 HttpResponse* response) {
  if (!http.connected()) {
    KYRO_TRY(set_time(http));
    KYRO_TRY(http.connect());
  }
  KYRO_TRY(set_time(http));
  KYRO_TRY(http.send("POST", path, body, headers));
  KYRO_TRY(set_time(http));
  return http.receive_head(response);
}

inline Status EtcdMembers::set_time(HttpClient& http) const {
  const uint64_t now_ns = monotonic_ns();
  if (now_ns >= deadline_ns_) return Status(Code::kIoError, "timed out");
  http.set_timeout_ms(static_cast<int>((deadline_ns_ - now_ns + 999'999) / 1'000'000));
  return Status();
}

}  // namespace kyro
