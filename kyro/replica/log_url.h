// Where a shared log is, as a user says it: the members of etcd and the log's name,
//
//   http://127.0.0.1:2379,http://127.0.0.1:2381/orders
//
// A member is an address with its port: no names are looked up here, and nothing is encrypted (a
// proxy on loopback does both). The name is what keys in etcd begin with (etcd_keys.h), so it has
// only letters, digits, "-", "_" and ".".
//
// Thread rule: pure functions. Ownership: values.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/net/client/http_client.h"

namespace kyro {

struct LogUrl {
  static constexpr size_t kNameCharsMax = 64;
  static constexpr size_t kMembersMax = 16;

  std::vector<HttpEndpoint> members;
  std::string name;
  std::string text;  // as it was given

  [[nodiscard]] bool is_given() const { return !members.empty(); }

  // kInvalid with what follows "--log".
  [[nodiscard]] static Result<LogUrl> parse(std::string_view text);
};

namespace log_url_detail {

inline constexpr std::string_view kForm =
    "must be http://HOST:PORT[,http://HOST:PORT…]/NAME, the members of etcd and the name of the "
    "log";

[[nodiscard]] inline bool is_name(std::string_view name) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= LogUrl::kNameCharsMax &&
         std::all_of(name.begin(), name.end(), is_good);
}

[[nodiscard]] inline Result<HttpEndpoint> parse_member(std::string_view url) {
  const auto refuse = [&](std::string_view why) {
    return Status(Code::kInvalid, std::string(why) + ", not \"" + std::string(url) + "\"");
  };
  if (url.find('@') != url.npos) {  // which may follow a password: not repeated
    return Status(Code::kInvalid,
                  "has no place for a user: --log-user and --log-password-file say who asks");
  }
  if (url.starts_with("https://")) {
    return refuse("takes http:// only: for TLS put a proxy on this machine before etcd");
  }
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme) || url.find('/', kScheme.size()) != url.npos ||
      url.rfind(':') < kScheme.size()) {
    return refuse(kForm);
  }
  auto endpoint = parse_endpoint(url);
  if (endpoint.ok()) return endpoint;
  return refuse("takes members as addresses like http://127.0.0.1:2379 or http://[::1]:2379");
}

}  // namespace log_url_detail

inline Result<LogUrl> LogUrl::parse(std::string_view text) {
  using namespace log_url_detail;
  const auto refuse = [&](std::string_view why) {
    return Status(Code::kInvalid, std::string(why) + ", not \"" + std::string(text) + "\"");
  };
  const size_t slash = text.rfind('/');
  const bool has_name = slash != text.npos && slash > 0 && text[slash - 1] != '/';
  if (!has_name) return refuse(kForm);
  LogUrl url;
  url.text = text;
  url.name = text.substr(slash + 1);
  if (!is_name(url.name)) {
    return refuse("has a name of 1 to 64 letters, digits, \"-\", \"_\" and \".\" at its end");
  }
  Status bad;
  for_each_element(
      text.substr(0, slash),
      [&](std::string_view member) {
        auto endpoint = parse_member(member);
        if (!endpoint.ok()) {
          if (bad.ok()) bad = endpoint.status();
          return;
        }
        url.members.push_back(std::move(*endpoint));
      },
      ',');
  if (!bad.ok()) return bad;
  if (url.members.size() > kMembersMax) return refuse("takes 16 members at most");
  return url;
}

}  // namespace kyro
