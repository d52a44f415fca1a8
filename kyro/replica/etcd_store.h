// A shared log in etcd (etcd_keys.h says where), over its HTTP gateway: JSON, etcd 3.4 and newer.
//
// create() is one transaction: it compares the head, and that no key exists; where that fails it
// reads both. look() is a transaction of reads, read() a range; all are linearizable, which is
// etcd's default.
//
// Several endpoints are members of one cluster. One is asked until it does not answer, or not well;
// then it is the next one's turn. Where it could not be connected to, the next is asked in the same
// call. Nothing is sent twice but where a kept connection was found closed before the first byte of
// an answer; to insist is the caller's business (replica_log.h).
//
// With a user it authenticates first, and once more where a member does not take the token (tokens
// end after five minutes, and "simple" ones with the member's process).
//
// Bounds: a call ends after timeout_ms for each endpoint, an answer has answer_bytes_max.
//
// Thread rule: one thread at a time. Ownership: owns its connections.
#pragma once

#include <algorithm>
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
#include "kyro/json/base64.h"
#include "kyro/net/client/http_client.h"
#include "kyro/replica/entry_store.h"
#include "kyro/replica/etcd_answer.h"
#include "kyro/replica/etcd_keys.h"
#include "kyro/storage/shared_log.h"

namespace kyro {

struct EtcdOptions {
  std::vector<HttpEndpoint> endpoints;  // one at least
  std::string name;                     // of the log
  std::string user = {};                // empty: none
  std::string password = {};
  uint32_t timeout_ms = 2000;
  uint64_t answer_bytes_max = 64 * kMiB;
};

class EtcdStore final : public EntryStore {
 public:
  // Of a range: as many entries as the largest answer has room for, base64 and all.
  static constexpr uint32_t kReadCountMax =
      static_cast<uint32_t>(64 * kMiB / (2 * kSharedRequestBytesMax));

  explicit EtcdStore(EtcdOptions options) : options_(std::move(options)), keys_(options_.name) {
    for (const HttpEndpoint& endpoint : options_.endpoints) {
      members_.push_back(std::make_unique<Member>(endpoint));
    }
  }

  [[nodiscard]] Result<std::optional<Found>> create(uint64_t offset, std::string_view entry,
                                                    std::string_view before,
                                                    std::string_view after) override;
  [[nodiscard]] Result<Found> look(uint64_t offset) override;
  Status create_head(std::string_view head) override;
  [[nodiscard]] Result<std::vector<Entry>> read(uint64_t from, uint32_t count) override;

  // Whom the next call asks first.
  [[nodiscard]] const std::string& endpoint() const { return options_.endpoints[current_].name; }

 private:
  struct Member {
    explicit Member(HttpEndpoint endpoint) : http(std::move(endpoint)) {}
    HttpClient http;
    std::string token;  // empty: none yet
  };

  // Asks one member after the other, until one was connected to; what decode() makes of the answer.
  template <class Decode>
  auto ask(std::string_view path, const std::string& body, Decode decode)
      -> decltype(decode(std::string_view()));
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
  const EtcdKeys keys_;
  std::vector<std::unique_ptr<Member>> members_;
  size_t current_ = 0;        // of the members
  uint64_t deadline_ns_ = 0;  // of what is asked of one
};

// ---- what is asked ----

namespace etcd_detail {

inline std::string json_bytes(std::string_view name, std::string_view bytes) {
  std::string out = "\"";
  out.append(name).append("\":\"");
  append_base64(out, bytes);
  return out += '"';
}
inline std::string json_put(std::string_view key, std::string_view value) {
  return "{\"request_put\":{" + json_bytes("key", key) + "," + json_bytes("value", value) + "}}";
}
inline std::string json_range(std::string_view key) {
  return "{\"request_range\":{" + json_bytes("key", key) + "}}";
}
// That there is no such key.
inline std::string json_absent(std::string_view key) {
  return "{\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"," +
         json_bytes("key", key) + "}";
}

}  // namespace etcd_detail

inline Result<std::optional<EntryStore::Found>> EtcdStore::create(uint64_t offset,
                                                                  std::string_view entry,
                                                                  std::string_view before,
                                                                  std::string_view after) {
  using namespace etcd_detail;
  const std::string key = keys_.entry(offset);
  std::string body = "{\"compare\":[" + json_absent(key);
  body += ",{\"target\":\"VALUE\",\"result\":\"EQUAL\"," + json_bytes("key", keys_.head()) + ",";
  body += json_bytes("value", before) + "}],\"success\":[" + json_put(key, entry) + ",";
  body += json_put(keys_.head(), after) + "],\"failure\":[" + json_range(key) + ",";
  body += json_range(keys_.head()) + "]}";
  const auto decode = [&](std::string_view answer) -> Result<std::optional<Found>> {
    auto txn = decode_etcd_txn(answer);
    KYRO_TRY(txn);
    if (txn->succeeded) return std::optional<Found>();
    auto found = take_etcd_found(std::move(*txn), keys_, offset);
    KYRO_TRY(found);
    return std::optional<Found>(std::move(*found));
  };
  return ask("/v3/kv/txn", body, decode);
}

inline Result<EntryStore::Found> EtcdStore::look(uint64_t offset) {
  using namespace etcd_detail;
  const std::string body =
      "{\"success\":[" + json_range(keys_.entry(offset)) + "," + json_range(keys_.head()) + "]}";
  return ask("/v3/kv/txn", body, [&](std::string_view answer) -> Result<Found> {
    auto txn = decode_etcd_txn(answer);
    KYRO_TRY(txn);
    return take_etcd_found(std::move(*txn), keys_, offset);
  });
}

inline Status EtcdStore::create_head(std::string_view head) {
  using namespace etcd_detail;
  const std::string body = "{\"compare\":[" + json_absent(keys_.head()) + "],\"success\":[" +
                           json_put(keys_.head(), head) + "]}";
  return ask("/v3/kv/txn", body, decode_etcd_txn).status();
}

inline Result<std::vector<EntryStore::Entry>> EtcdStore::read(uint64_t from, uint32_t count) {
  using namespace etcd_detail;
  const std::string body = "{" + json_bytes("key", keys_.entry(from)) + "," +
                           json_bytes("range_end", keys_.end()) + ",\"limit\":\"" +
                           std::to_string(std::clamp(count, 1u, kReadCountMax)) + "\"}";
  return ask("/v3/kv/range", body, [&](std::string_view answer) -> Result<std::vector<Entry>> {
    auto range = decode_etcd_range(answer);
    KYRO_TRY(range);
    return take_etcd_entries(std::move(*range), keys_, from);
  });
}

// ---- how it is asked ----

template <class Decode>
auto EtcdStore::ask(std::string_view path, const std::string& body, Decode decode)
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
    const Status named(status.code(), endpoint() + ": " + std::string(status.message()));
    current_ = (current_ + 1) % members_.size();
    if (!member.http.unreachable() || tries == members_.size()) return named;
  }
}

inline Status EtcdStore::ask_member(Member& member, std::string_view path, const std::string& body,
                                    std::string* answer) {
  deadline_ns_ = monotonic_ns() + uint64_t{options_.timeout_ms} * 1'000'000;
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

inline Status EtcdStore::authenticate(Member& member) {
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

inline Status EtcdStore::status_of(const EtcdError& refusal) const {
  switch (refusal.refusal) {
    case EtcdRefusal::kNoSpace:
      return Status(Code::kNoSpace, "etcd: " + refusal.message);
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

inline Status EtcdStore::exchange(Member& member, std::string_view path, const std::string& body,
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

inline Status EtcdStore::receive(HttpClient& http, std::string_view path, const std::string& body,
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
      return Status(Code::kIoError, "the answer is too large");
    }
  }
  return Status();
}

inline Status EtcdStore::send_and_receive_head(HttpClient& http, std::string_view path,
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

inline Status EtcdStore::set_time(HttpClient& http) const {
  const uint64_t now_ns = monotonic_ns();
  if (now_ns >= deadline_ns_) return Status(Code::kIoError, "timed out");
  http.set_timeout_ms(static_cast<int>((deadline_ns_ - now_ns + 999'999) / 1'000'000));
  return Status();
}

}  // namespace kyro
