// `kyrodbctl`: the command line client. One table of commands drives parsing and help.
//
// Data goes to stdout, messages to stderr; the exit codes are those of exit_codes.h. Without --json
// an answer's fields are printed one per line ("offset: 12"), with it the server's JSON as it came.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/app/exit_codes.h"
#include "kyro/app/import.h"
#include "kyro/base/json_reader.h"
#include "kyro/base/limits.h"
#include "kyro/net/http_client.h"
#include "kyro/storage/posix_fs.h"

namespace kyro {
namespace ctl_detail {

enum class Reply : uint8_t { kFields, kBytes, kNothing };

struct Command {
  std::string_view name;
  std::string_view arguments;
  std::string_view help;
  std::string_view method;
  std::string_view target;  // with "%" where the key goes
  Reply reply;
};

inline constexpr Command kCommands[] = {
    {"health", "", "is the process alive", "GET", "/health", Reply::kFields},
    {"ready", "", "does it serve reads and writes (exit 1 if not)", "GET", "/ready",
     Reply::kFields},
    {"offset", "", "the offset the next write gets", "GET", "/v1/offset", Reply::kFields},
    {"metrics", "", "the metrics page", "GET", "/metrics", Reply::kBytes},
    {"put", "KEY VALUE|-", "store a value; - reads it from standard input", "PUT", "/v1/kv/%",
     Reply::kNothing},
    {"get", "KEY", "the raw value", "GET", "/v1/kv/%", Reply::kBytes},
    {"delete", "KEY", "remove a key (exit 3 if it is not there)", "DELETE", "/v1/kv/%",
     Reply::kNothing},
    {"lookup", "KEY", "key, value and offset", "GET", "/v1/lookup?key=%", Reply::kFields},
    {"import", "FILE|- [--from-line N]", "store NDJSON lines {\"key\":…,\"value\":…}", "POST",
     "/v1/put", Reply::kNothing},
    {"snapshot", "", "flush what is in memory into a run", "POST", "/v1/snapshot", Reply::kFields},
    {"compact", "", "merge everything into one run", "POST", "/v1/compact", Reply::kFields},
    {"rmi-build", "", "the same, and build its index anew", "POST", "/v1/rmi/build",
     Reply::kFields},
    {"warmup", "", "bring the data into memory", "POST", "/v1/warmup", Reply::kFields},
};

struct Invocation {
  std::string engine = "http://127.0.0.1:3030";
  std::string token;
  bool as_json = false;
  bool wants_help = false;
  uint64_t from_line = 1;
  const Command* command = nullptr;
  std::vector<std::string> arguments;
};

inline int usage_error(const std::string& message) {
  std::fprintf(stderr, "kyrodbctl: %s (see: kyrodbctl --help)\n", message.c_str());
  return kExitUsage;
}

inline const Command* find_command(std::string_view name) {
  const auto* found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                   [&](const Command& command) { return command.name == name; });
  return found == std::end(kCommands) ? nullptr : found;
}

inline Status read_token(const std::string& path, std::string* token) {
  PosixFileSystem fs;
  auto text = read_small_file(fs, path, 64 * kKiB);
  KYRO_TRY(text);
  *token = std::move(*text);
  token->erase(token->find_last_not_of(" \t\r\n") + 1);
  if (token->empty()) return Status(Code::kInvalid, path + " is empty");
  return Status();
}

// Sets what a flag says; `value` is what follows it, if it takes something.
inline Status set_flag(std::string_view name, const std::string& value, Invocation* out) {
  if (name == "-e" || name == "--engine") {
    out->engine = value;
  } else if (name == "--token-file") {
    return read_token(value, &out->token);
  } else if (name == "--from-line") {
    const auto number = parse_u64(value);
    if (!number || *number == 0) return Status(Code::kInvalid, "--from-line is a line number");
    out->from_line = *number;
  } else {
    return Status(Code::kInvalid, "unknown flag " + std::string(name));
  }
  return Status();
}

// Global flags may stand before or behind the command; "--" ends them.
inline Status parse(std::span<const std::string_view> words, Invocation* out) {
  bool flags_end = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const bool is_flag = !flags_end && word.size() > 1 && word[0] == '-';
    if (!is_flag) {
      if (out->command != nullptr) {
        out->arguments.emplace_back(word);
      } else if (out->command = find_command(word); out->command == nullptr) {
        return Status(Code::kInvalid, "unknown command " + std::string(word));
      }
    } else if (word == "--") {
      flags_end = true;
    } else if (word == "--json") {
      out->as_json = true;
    } else if (word == "--help" || word == "-h") {
      out->wants_help = true;
    } else {
      const size_t equals = word.find('=');
      std::string value;
      if (equals != word.npos) {
        value = word.substr(equals + 1);
      } else if (i + 1 < words.size()) {
        value = words[++i];
      } else {
        return Status(Code::kInvalid, std::string(word) + " needs a value");
      }
      KYRO_TRY(set_flag(word.substr(0, equals), value, out));
    }
  }
  if (out->command == nullptr && !out->wants_help) return Status(Code::kInvalid, "no command");
  return Status();
}

// Prints the fields of a flat or nested object, one per line.
inline void print_fields(JsonReader& json, const std::string& prefix) {
  if (!json.enter_object()) return;
  std::string_view field;
  while (json.next_field(&field)) {
    const std::string name = prefix + std::string(field);
    std::string_view text;
    std::string unescaped;
    bool flag = false;
    switch (json.peek()) {
      case JsonType::kObject:
        print_fields(json, name + ".");
        continue;
      case JsonType::kString:
        json.read_string(&text, &unescaped);
        break;
      case JsonType::kNumber:
        json.read_number(&text);
        break;
      case JsonType::kBool:
        json.read_bool(&flag);
        text = flag ? "true" : "false";
        break;
      default:
        json.skip_value();
        continue;
    }
    std::printf("%s: %.*s\n", name.c_str(), static_cast<int>(text.size()), text.data());
  }
}

inline int exit_code_of(int http_status) {
  if (http_status >= 200 && http_status < 300) return kExitOk;
  if (http_status == 404) return kExitNotFound;
  if (http_status == 412) return kExitPrecondition;
  return kExitError;
}

// The "message" of an error answer, or the answer itself.
inline std::string error_message(const HttpResponse& response) {
  JsonReader json(response.body);
  std::string_view name;
  std::string_view text;
  std::string unescaped;
  if (json.enter_object()) {
    while (json.next_field(&name)) {
      if (name == "message" && json.read_string(&text, &unescaped)) return std::string(text);
      json.skip_value();
    }
  }
  return "status " + std::to_string(response.status) + " " + response.body;
}

inline int print_reply(const Invocation& call, const HttpResponse& response) {
  const int code = exit_code_of(response.status);
  const bool is_probe = call.command->name == "ready";
  if (code != kExitOk && !is_probe) {
    std::fprintf(stderr, "kyrodbctl: %s\n", error_message(response).c_str());
    return code;
  }
  switch (call.command->reply) {
    case Reply::kBytes:
      std::fwrite(response.body.data(), 1, response.body.size(), stdout);
      break;
    case Reply::kFields:
      if (call.as_json) {
        std::printf("%s\n", response.body.c_str());
      } else {
        JsonReader json(response.body);
        print_fields(json, "");
      }
      break;
    case Reply::kNothing: {
      std::string_view tag = response.header("etag");
      if (tag.size() > 2) tag = tag.substr(1, tag.size() - 2);
      const std::string offset(tag);
      if (call.as_json) {
        std::printf("{\"offset\":%s}\n", offset.c_str());
      } else {
        std::printf("offset: %s\n", offset.c_str());
      }
      break;
    }
  }
  return std::fflush(stdout) == 0 ? code : kExitError;
}

inline bool read_all(int fd, std::string* out) {
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    if (out->size() > kValueBytesCeiling) return false;
    out->append(buffer, static_cast<size_t>(got));
  }
}

inline int run_import(const Invocation& call, HttpClient& client, const std::string& host) {
  int fd = STDIN_FILENO;
  if (call.arguments[0] != "-") {
    fd = open(call.arguments[0].c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      std::fprintf(stderr, "kyrodbctl: %s: %s\n", call.arguments[0].c_str(),
                   strerrordesc_np(errno));
      return kExitError;
    }
  }
  std::string head = "POST /v1/put HTTP/1.1\r\nHost: " + host + "\r\n";
  if (!call.token.empty()) head += "Authorization: Bearer " + call.token + "\r\n";
  head += "Content-Type: application/json\r\n";
  const int code = Importer(client, std::move(head), call.as_json).run(fd, call.from_line);
  if (fd != STDIN_FILENO) close(fd);
  return code;
}

inline int run_request(const Invocation& call, HttpClient& client) {
  std::string target(call.command->target);
  std::string body;
  if (const size_t key_at = target.find('%'); key_at != target.npos) {
    if (!parse_u64(call.arguments[0])) {
      return usage_error("KEY must be a decimal number from 0 to 2^64-1, not " + call.arguments[0]);
    }
    target.replace(key_at, 1, call.arguments[0]);
  }
  if (call.command->name == "put") {
    body = call.arguments[1];
    if (body == "-" && (body.clear(), !read_all(STDIN_FILENO, &body))) {
      std::fprintf(stderr, "kyrodbctl: cannot read the value from standard input\n");
      return kExitError;
    }
  }
  HeaderList headers;
  if (!call.token.empty()) headers.emplace_back("Authorization", "Bearer " + call.token);
  HttpResponse response;
  Status status = client.request(call.command->method, target, body, &response, headers);
  if (!status.ok()) {
    std::fprintf(stderr, "kyrodbctl: %s\n", std::string(status.message()).c_str());
    return client.unreachable() ? kExitUnreachable : kExitError;
  }
  return print_reply(call, response);
}

}  // namespace ctl_detail

[[nodiscard]] inline std::string ctl_help() {
  using namespace ctl_detail;
  std::string out = "Usage: kyrodbctl [FLAGS] COMMAND\n\nSpeaks to a KyroDB server.\n\nCommands:\n";
  for (const Command& command : kCommands) {
    std::string line = "  " + std::string(command.name) + " " + std::string(command.arguments);
    line.resize(std::max<size_t>(line.size() + 1, 34), ' ');
    out += line + std::string(command.help) + "\n";
  }
  return out +
         "\nFlags, before or behind the command:\n"
         "  -e, --engine URL      where the server is: http://HOST:PORT or unix:/PATH\n"
         "                        (default http://127.0.0.1:3030)\n"
         "  --token-file FILE     a file with the bearer token\n"
         "  --json                answers as one JSON document\n"
         "  --                    what follows is no flag\n"
         "\nExit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 precondition failed, 5 "
         "unreachable\n";
}

// Runs the client with the words behind the program's name; the exit code.
[[nodiscard]] inline int run_ctl(std::span<const std::string_view> words) {
  using namespace ctl_detail;
  Invocation call;
  if (Status parsed = parse(words, &call); !parsed.ok()) {
    return usage_error(std::string(parsed.message()));
  }
  if (call.wants_help) {
    std::fputs(ctl_help().c_str(), stdout);
    return kExitOk;
  }
  const std::string_view wanted = call.command->arguments;
  const size_t count = wanted.empty() ? 0 : wanted.starts_with("KEY VALUE") ? 2 : 1;
  if (call.arguments.size() != count) {
    return usage_error("usage: " + std::string(call.command->name) + " " + std::string(wanted));
  }
  auto endpoint = parse_endpoint(call.engine);
  if (!endpoint.ok()) return usage_error(std::string(endpoint.status().message()));
  const std::string host = endpoint->host;
  // Compactions of large stores take their time.
  constexpr int kTimeoutMs = 3600 * 1000;
  HttpClient client(std::move(*endpoint), kTimeoutMs);
  if (call.command->name == "import") return run_import(call, client, host);
  return run_request(call, client);
}

}  // namespace kyro
