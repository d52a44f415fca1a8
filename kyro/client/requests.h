// The commands of kyrodbctl that are one request and one answer.
//
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/client/lines.h"
#include "kyro/client/session.h"

namespace kyro {
namespace ctl {

enum class Reply : uint8_t {
  kFields,  // JSON; its fields one per line, or as it came
  kBytes,   // as it came
  kText,    // lines of text
  kETag,    // nothing but the offset that the ETag names
  kProbe,   // kFields, also when the status is not 2xx
};

inline int print_reply(const CtlClient& client, const HttpResponse& response, Reply reply) {
  const int code = exit_code_of(response.status);
  if (code != kExitOk && reply != Reply::kProbe) return ctl_fail_answer(response);
  if (reply == Reply::kBytes) {
    ctl_print(response.body);
  } else if (reply == Reply::kText) {
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

inline int send_request(const CliCall& call, Request request) {
  return with_ctl_client(call, request.timeout_ms, [&](CtlClient& client) {
    request.headers.insert(request.headers.end(), client.headers.begin(), client.headers.end());
    HttpResponse response;
    const Status status = client.http.request(request.method, request.target, request.body,
                                              &response, request.headers);
    if (!status.ok()) return ctl_no_answer(client, status);
    return print_reply(client, response, request.reply);
  });
}

// The same for a command whose first word is a key, which goes after the target.
inline int send_keyed(const CliCall& call, Request request) {
  const auto key = parse_key_word(call.words[0]);
  if (!key.ok()) return ctl_usage_error(key.status().message());
  request.target += call.words[0];
  return send_request(call, std::move(request));
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
  const auto key = parse_key_word(call.words[0]);
  if (!key.ok()) return ctl_usage_error(key.status().message());
  Request request{.method = "PUT", .target = "/v1/kv/" + call.words[0], .reply = Reply::kETag};
  if (const auto ttl = call.number("ttl")) request.target += "?ttl=" + std::to_string(*ttl);
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
  return send_request(call, std::move(request));
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

// Prints the answer to an mget as one line per key; the exit code.
inline int print_values(const std::vector<std::string>& keys, std::string_view body, int code) {
  JsonReader json(body);
  std::string_view name;
  if (!json.enter_object() || !json.next_field(&name) || name != "values" || !json.enter_array()) {
    return ctl_fail("the server's answer makes no sense");
  }
  size_t i = 0;
  for (; json.next_element() && i < keys.size(); ++i) {
    const JsonType type = json.peek();
    const size_t begin = json.position();
    if (!json.skip_value()) break;
    const std::string_view value = body.substr(begin, json.position() - begin);
    const std::string line = "{\"key\":" + keys[i] + ",";
    if (type == JsonType::kObject) {  // {"value_base64":…}
      ctl_print(line + std::string(value.substr(1)) + "\n");
    } else {
      ctl_print(line + "\"value\":" + std::string(value) + "}\n");
    }
    if (type == JsonType::kNull) code = kExitNotFound;
  }
  if (!json.ok() || i != keys.size()) return ctl_fail("the server's answer makes no sense");
  return code;
}

// Asks for some keys at once; *code becomes 3 if one is absent. Any other code ends the command.
inline int get_values(CtlClient& client, const std::vector<std::string>& keys, int code) {
  std::string body = "{\"keys\":[";
  for (size_t i = 0; i < keys.size(); ++i) body.append(i == 0 ? "" : ",").append(keys[i]);
  body += "]}";
  HttpResponse response;
  const Status status = client.http.request("POST", "/v1/mget", body, &response, client.headers);
  if (!status.ok()) return ctl_no_answer(client, status);
  if (response.status != 200) {
    return ctl_fail_answer(response);
  }
  return print_values(keys, response.body, code);
}

inline int run_mget(const CliCall& call) {
  constexpr size_t kKeysPerRequest = 1000;
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
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
        code = get_values(client, keys, code);
        if (code != kExitOk && code != kExitNotFound) return code;
        keys.clear();
      }
    }
    return ctl_finish_output(code);
  });
}

}  // namespace ctl
}  // namespace kyro
