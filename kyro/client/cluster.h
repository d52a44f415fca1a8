// `kyrodbctl cluster`: how each of several servers stands, as replicas of one log do: one line
// each, and an exit code for scripts.
//
// Thread rule: one thread; they are asked one after the other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/text/ascii.h"
#include "kyro/base/text/json_fields.h"
#include "kyro/base/text/printable.h"
#include "kyro/client/session.h"
#include "kyro/client/status.h"

namespace kyro {
namespace ctl {

// What one server says of itself.
struct ClusterMember {
  std::string endpoint;
  std::string failure;  // why there is nothing else; empty if there is
  bool is_reachable = true;
  bool is_ready = false;
  bool takes_writes = false;
  std::string state;
  std::string why;
  std::string version;
  std::string database;
  uint64_t offset = 0;
  bool is_replica = false;  // of which there is more
  std::string log_state;
  std::string log_endpoint;
  std::string last_writer;
  uint64_t head = 0;
  uint64_t lag = 0;
};

// One that does not answer must not hold up the others for long.
inline constexpr int kClusterTimeoutMs = 10 * 1000;

[[nodiscard]] inline ClusterMember ask_member(CtlClient& client, std::string endpoint) {
  ClusterMember member;
  member.endpoint = std::move(endpoint);
  const auto get = [&](std::string_view target, HttpResponse* response) {
    const Status status = client.http.request("GET", target, {}, response, client.headers);
    if (status.ok()) return true;
    member.failure = status.message();
    member.is_reachable = false;
    return false;
  };
  HttpResponse ready;
  HttpResponse status;
  if (!get("/ready?writes=1", &ready) || !get("/v1/status?history=0&sample=0", &status)) {
    return member;
  }
  if (status.status != 200) {
    member.failure = error_message(status);
    return member;
  }
  const FlatJson document(status.body);
  if (!document.ok()) {
    member.failure = "the server's answer makes no sense";
    return member;
  }
  member.takes_writes = ready.status == 200;
  member.is_ready = member.takes_writes || json_string_field(ready.body, "status") == "ready";
  member.state = document.text("state");
  member.why = document.text("why");
  member.version = document.text("version");
  member.database = document.text("database");
  member.offset = document.number("next_offset");
  member.is_replica = document.has("shared_log.state");
  member.log_state = document.text("shared_log.state");
  member.log_endpoint = document.text("shared_log.endpoint");
  member.last_writer = document.text("shared_log.last_writer");
  member.head = document.number("shared_log.head");
  member.lag = document.number("shared_log.lag");
  return member;
}

[[nodiscard]] inline std::string member_json(const ClusterMember& member) {
  std::string out;
  JsonFields json(out);
  json.open('{');
  json.field("endpoint", member.endpoint);
  json.field("reachable", member.is_reachable);
  json.field("ready", member.is_ready);
  if (!member.failure.empty()) {
    json.field("error", printable(member.failure));
  } else {
    json.field("writes", member.takes_writes ? "available" : "unavailable");
    json.field("state", member.state);
    json.field("why", member.why);
    json.field("offset", member.offset);
    json.field("database", member.database);
    json.field("version", member.version);
  }
  if (member.is_replica) {
    json.open("shared_log", '{');
    json.field("state", member.log_state);
    json.field("head", member.head);
    json.field("lag", member.lag);
    json.field("endpoint", member.log_endpoint);
    json.field("last_writer", member.last_writer);
    json.close('}');
  }
  json.close('}');
  return out + "\n";
}

[[nodiscard]] inline std::string members_table(const std::vector<ClusterMember>& members) {
  TextTable table;
  table.add({"server", "state", "writes", "offset", "head", "lag", "log", "asks", "last writer",
             "version"});
  for (const ClusterMember& member : members) {
    if (!member.failure.empty()) {
      table.add({member.endpoint, member.is_reachable ? "refuses" : "unreachable", "-", "-", "-",
                 "-", "-", "-", "-", "-"});
      continue;
    }
    const auto of_replica = [&](std::string text) {
      return member.is_replica ? std::move(text) : std::string("-");
    };
    table.add({member.endpoint, member.state, member.takes_writes ? "yes" : "no",
               std::to_string(member.offset), of_replica(std::to_string(member.head)),
               of_replica(std::to_string(member.lag)), of_replica(member.log_state),
               of_replica(member.log_endpoint), of_replica(member.last_writer), member.version});
  }
  return table.text();
}

// Says what is wrong with whom; the exit code.
inline int judge_members(const std::vector<ClusterMember>& members) {
  int code = kExitOk;
  const auto complain = [&](const ClusterMember& member, const std::string& why, int exit_code) {
    ctl_fail(member.endpoint + ": " + why, exit_code);
    if (code != kExitUnreachable) code = exit_code;
  };
  const std::string* database = nullptr;
  for (const ClusterMember& member : members) {
    if (!member.failure.empty()) {
      complain(member, printable(member.failure),
               member.is_reachable ? kExitError : kExitUnreachable);
      continue;
    }
    if (!member.is_ready) complain(member, member.state + ": " + member.why, kExitError);
    if (member.database.empty()) continue;
    if (database == nullptr) database = &member.database;
    if (member.database == *database) continue;
    complain(member, "of database " + member.database + ", not " + *database, kExitError);
  }
  return code;
}

// The servers of --endpoints, or else the one that every command asks.
inline Result<std::vector<ClusterMember>> ask_members(const CliCall& call) {
  std::vector<ClusterMember> members;
  Status bad;
  const auto ask = [&](Result<HttpEndpoint> endpoint, std::string_view url) {
    if (bad.ok()) bad = endpoint.status();
    if (!bad.ok()) return;
    CtlClient client(std::move(*endpoint), kClusterTimeoutMs);
    bad = set_up(call, &client);
    if (bad.ok()) members.push_back(ask_member(client, std::string(url)));
  };
  if (const auto list = call.flag("endpoints")) {
    for_each_element(*list, [&](std::string_view url) { ask(parse_url(url), url); });
  } else {
    auto endpoint = endpoint_of(call);
    const std::string name = endpoint.ok() ? endpoint->name : "";
    ask(std::move(endpoint), name);
  }
  if (!bad.ok()) return bad;
  return members;
}

inline int run_cluster(const CliCall& call) {
  for (const char* flag : {"shards", "engine", "connect-command"}) {
    if (!call.flag(flag) || (flag != std::string_view("shards") && !call.flag("endpoints")))
      continue;
    return ctl_usage_error("cluster asks the servers of --endpoints, or of -e: not of --" +
                           std::string(flag) + " too");
  }
  const auto asked = ask_members(call);
  if (!asked.ok()) return ctl_usage_error(asked.status().message());
  const std::vector<ClusterMember>& members = *asked;
  if (call.has("json")) {
    for (const ClusterMember& member : members) ctl_print(member_json(member));
  } else {
    ctl_print(members_table(members));
  }
  return ctl_finish_output(judge_members(members));
}

}  // namespace ctl
}  // namespace kyro
