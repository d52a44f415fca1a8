// The commands of kyrodbctl that are one request and one answer.
//
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/direction.h"
#include "kyro/client/lines.h"
#include "kyro/client/metrics_json.h"
#include "kyro/client/session.h"
#include "kyro/client/shards.h"

namespace kyro {
namespace ctl {

enum class Reply : uint8_t {
  kFields,   // JSON; its fields one per line, or as it came
  kBytes,    // as it came
  kMetrics,  // a metrics page; as JSON a line for each sample
  kETag,     // nothing but the offset that the ETag names
  kProbe,    // kFields, also when the status is not 2xx
};

inline int print_reply(const CtlClient& client, const HttpResponse& response, Reply reply) {
  const int code = exit_code_of(response.status);
  if (code != kExitOk && reply != Reply::kProbe) return ctl_fail_answer(response);
  if (reply == Reply::kBytes) {
    ctl_print(response.body);
  } else if (reply == Reply::kMetrics && client.as_json) {
    ctl_print(metrics_json(response.body));
  } else if (reply == Reply::kMetrics) {
    std::string_view rest = response.body;
    for (size_t end = 0; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      ctl_print(printable(rest.substr(0, end)) + "\n");
    }
    ctl_print(printable(rest));
  } else if (reply == Reply::kETag) {
    std::string_view tag = response.header("etag");
    if (tag.size() > 2) tag = tag.substr(1, tag.size() - 2);
    const std::string offset = printable(tag);
    ctl_print(client.as_json ? "{\"offset\":" + offset + "}\n" : "offset: " + offset + "\n");
  } else if (client.as_json) {
    ctl_print(response.body);
    ctl_print("\n");
  } else {
    JsonReader json(response.body);
    print_json_fields(json, "");
  }
  return ctl_finish_output(code);
}

struct Request {
  std::string_view method;
  std::string target;
  Reply reply = Reply::kFields;
  std::string body = {};
  HeaderList headers = {};
  int timeout_ms = kQuickTimeoutMs;
};

inline int send_to(CtlClient& client, Request request) {
  request.headers.insert(request.headers.end(), client.headers.begin(), client.headers.end());
  HttpResponse response;
  const Status status =
      client.http.request(request.method, request.target, request.body, &response, request.headers);
  if (!status.ok()) return ctl_no_answer(client, status);
  return print_reply(client, response, request.reply);
}

inline int send_request(const CliCall& call, Request request) {
  return with_ctl_client(call, request.timeout_ms,
                         [&](CtlClient& client) { return send_to(client, std::move(request)); });
}

// The same for a command whose first word is a key, which goes after the path in the target.
inline int send_keyed(const CliCall& call, Request request, std::string_view query = {}) {
  request.target.append(call.words[0]).append(query);
  return with_key_client(call, request.timeout_ms,
                         [&](CtlClient& client) { return send_to(client, std::move(request)); });
}

// The nearest key of all servers at or below a key, or at or above it. What a server has beyond its
// slots is passed over.
class Nearest {
 public:
  Nearest(Shards& shards, uint64_t key, Direction direction)
      : shards_(shards), key_(key), is_up_(direction == Direction::kUp) {}

  // The exit code.
  int run() {
    std::optional<HttpResponse> best;
    uint64_t best_key = 0;
    HttpResponse answer;
    for (size_t i = 0; i < shards_.size(); ++i) {
      std::optional<uint64_t> found;
      if (const int code = ask(i, &answer, &found); code != kExitOk) return code;
      if (!found || (best && (is_up_ ? *found >= best_key : *found <= best_key))) continue;
      best_key = *found;
      best = answer;
    }
    return print_reply(shards_[0], best ? *best : answer, Reply::kFields);
  }

 private:
  int ask(size_t i, HttpResponse* answer, std::optional<uint64_t>* found) {
    CtlClient& client = shards_[i];
    for (uint64_t key = key_;; key = **found + (is_up_ ? 1 : ~uint64_t{0})) {
      const Status status =
          client.http.request("GET", (is_up_ ? "/v1/ceil/" : "/v1/floor/") + std::to_string(key),
                              {}, answer, client.headers);
      if (!status.ok()) return ctl_no_answer(client, status);
      if (answer->status == 404) return found->reset(), kExitOk;
      if (answer->status != 200) return ctl_fail_answer(*answer);
      *found = json_number_field(answer->body, "key");
      if (!*found) return ctl_fail("the server's answer makes no sense");
      if (shards_.place_of(**found) == i) return kExitOk;
      if (**found == (is_up_ ? UINT64_MAX : 0)) return found->reset(), kExitOk;
    }
  }

  Shards& shards_;
  const uint64_t key_;
  const bool is_up_;
};

inline int run_nearest(const CliCall& call, Direction direction) {
  const auto key = parse_key_word(call.words[0]);
  if (!key.ok()) return ctl_usage_error(key.status().message());
  return with_shards(call, kQuickTimeoutMs,
                     [&](Shards& shards) { return Nearest(shards, *key, direction).run(); });
}

inline int send_maintenance(const CliCall& call, std::string target) {
  return send_request(
      call, {.method = "POST", .target = std::move(target), .timeout_ms = kMaintenanceTimeoutMs});
}

// Turns --if-match and --if-none-match into their fields.
inline Status add_conditions(const CliCall& call, HeaderList* headers) {
  if (const auto offset = call.flag("if-match")) {
    if (*offset != "*" && !parse_u64(*offset)) {
      return Status(Code::kInvalid, "--if-match must be an offset or *, not \"" + *offset + "\"");
    }
    headers->emplace_back("If-Match", *offset == "*" ? *offset : "\"" + *offset + "\"");
  }
  if (call.has("if-none-match")) headers->emplace_back("If-None-Match", "*");
  return {};
}

inline int run_put(const CliCall& call) {
  Request request{.method = "PUT", .target = "/v1/kv/", .reply = Reply::kETag};
  if (const auto key = parse_key_word(call.words[0]); !key.ok()) {  // before the input is read
    return ctl_usage_error(key.status().message());
  }
  if (Status status = add_conditions(call, &request.headers); !status.ok()) {
    return ctl_usage_error(status.message());
  }
  request.body = call.words[1];
  if (request.body == "-") {
    request.body.clear();
    if (!read_all(STDIN_FILENO, kValueBytesCeiling, &request.body)) {
      return ctl_fail("cannot read the value from standard input");
    }
  }
  const auto ttl = call.number("ttl");
  return send_keyed(call, std::move(request), ttl ? "?ttl=" + std::to_string(*ttl) : "");
}

inline int run_delete(const CliCall& call) {
  Request request{.method = "DELETE", .target = "/v1/kv/", .reply = Reply::kETag};
  if (Status status = add_conditions(call, &request.headers); !status.ok()) {
    return ctl_usage_error(status.message());
  }
  return send_keyed(call, std::move(request));
}

inline int run_batch(const CliCall& call) {
  const InputFile file(call.words[0]);
  std::string body;
  if (file.fd() < 0 || !read_all(file.fd(), kValueBytesCeiling, &body)) {
    return ctl_fail(call.words[0] + ": " + strerrordesc_np(errno));
  }
  return send_request(call, {.method = "POST",
                             .target = "/v1/batch",
                             .body = std::move(body),
                             .headers = {{"Content-Type", "application/x-ndjson"}}});
}

// The values that an mget's answer has, as JSON, each put where `places` says; false if it is not
// what was asked for.
inline bool take_values(std::string_view body, const std::vector<size_t>& places,
                        std::vector<std::string>* values) {
  JsonReader json(body);
  std::string_view name;
  if (!json.enter_object() || !json.next_field(&name) || name != "values" || !json.enter_array()) {
    return false;
  }
  size_t i = 0;
  for (; json.next_element() && i < places.size(); ++i) {
    static_cast<void>(json.peek());  // passes the white space
    const size_t begin = json.position();
    if (!json.skip_value()) break;
    (*values)[places[i]] = body.substr(begin, json.position() - begin);
  }
  return json.ok() && i == places.size();
}

// Asks for some keys at once and prints a line each; *code becomes 3 if one is absent. Any other
// code ends the command.
inline int get_values(Shards& shards, const std::vector<std::string>& keys, int code) {
  std::vector<std::vector<size_t>> places(shards.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    places[shards.place_of(parse_u64(keys[i]).value_or(0))].push_back(i);
  }
  std::vector<std::string> values(keys.size());
  for (size_t shard = 0; shard < places.size(); ++shard) {
    if (places[shard].empty()) continue;
    std::string body = "{\"keys\":[";
    for (const size_t i : places[shard])
      body.append(body.ends_with('[') ? "" : ",").append(keys[i]);
    body += "]}";
    CtlClient& client = shards[shard];
    HttpResponse response;
    const Status status = client.http.request("POST", "/v1/mget", body, &response, client.headers);
    if (!status.ok()) return ctl_no_answer(client, status);
    if (response.status != 200) return ctl_fail_answer(response);
    if (!take_values(response.body, places[shard], &values)) {
      return ctl_fail("the server's answer makes no sense");
    }
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    std::string line = "{\"key\":" + keys[i] + ",";
    // A string or null, or an object {"value_base64":…}.
    line += values[i].starts_with('{') ? values[i].substr(1) : "\"value\":" + values[i] + "}";
    ctl_print(line + "\n");
    if (values[i] == "null") code = kExitNotFound;
  }
  return code;
}

inline int run_mget(const CliCall& call) {
  constexpr size_t kKeysPerRequest = 1000;
  return with_shards(call, kQuickTimeoutMs, [&](Shards& shards) {
    const bool from_input = call.words.size() == 1 && call.words[0] == "-";
    FdSource input(STDIN_FILENO);
    LineReader lines(input);
    std::vector<std::string> keys;
    size_t at = 0;
    int code = kExitOk;
    for (bool is_at_end = false; !is_at_end;) {
      std::string_view word;
      if (from_input) {
        auto more = lines.next(&word);
        if (!more.ok()) return ctl_fail(std::string(more.status().message()));
        is_at_end = !*more;
      } else {
        is_at_end = at == call.words.size();
        if (!is_at_end) word = call.words[at++];
      }
      if (!is_at_end) {
        const auto key = parse_key_word(word);
        if (!key.ok()) return ctl_usage_error(key.status().message());
        keys.emplace_back(word);
      }
      if (keys.size() == kKeysPerRequest || (is_at_end && !keys.empty())) {
        code = get_values(shards, keys, code);
        if (code != kExitOk && code != kExitNotFound) return code;
        keys.clear();
      }
    }
    return ctl_finish_output(code);
  });
}

}  // namespace ctl
}  // namespace kyro
