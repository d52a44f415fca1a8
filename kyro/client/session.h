// What the commands of kyrodbctl share: where the server is, how a request is made, how an answer
// is printed, how the program ends.
//
// Data goes to stdout, messages to stderr; the exit codes are those of exit_codes.h. Without --json
// an answer's fields are printed one per line ("offset: 12"), with it the server's JSON as it came.
//
// Thread rule: one thread. Ownership: a client owns its connection.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/limits.h"
#include "kyro/cli/command_line.h"
#include "kyro/cli/docs.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/cli/token_file.h"
#include "kyro/json/json_reader.h"
#include "kyro/net/client/http_client.h"

namespace kyro {

inline constexpr std::string_view kDefaultEngineUrl = "http://127.0.0.1:3030";

// How long an answer, or the next piece of a stream, may take.
inline constexpr int kQuickTimeoutMs = 60 * 1000;          // streams have a heartbeat every 15 s
inline constexpr int kMaintenanceTimeoutMs = 3600 * 1000;  // compactions of large stores

struct CtlClient {
  CtlClient(HttpEndpoint endpoint, int timeout_ms)
      : host(endpoint.host), http(std::move(endpoint), timeout_ms) {}
  std::string host;
  HttpClient http;
  HeaderList headers;  // the token, if there is one
  bool as_json = false;
};

inline int ctl_usage_error(std::string_view message) {
  return cli_usage_error("kyrodbctl", nullptr, message);
}

inline int ctl_fail(const std::string& message, int exit_code = kExitError) {
  cli_print_error("kyrodbctl", exit_code == kExitUnreachable ? "unreachable" : "error", message);
  return exit_code;
}

// A request that got no answer.
inline int ctl_no_answer(const CtlClient& client, const Status& status) {
  return ctl_fail(std::string(status.message()),
                  client.http.unreachable() ? kExitUnreachable : kExitError);
}

// Says so when what was printed did not arrive, such as on a full disk.
inline int ctl_finish_output(int exit_code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  return ctl_fail(std::string("cannot write to standard output: ") + strerrordesc_np(errno));
}

inline void ctl_print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

// A flag, or the variable that stands for it.
[[nodiscard]] inline std::optional<std::string> flag_or_variable(const CliCall& call,
                                                                 std::string_view flag,
                                                                 const char* variable) {
  if (auto text = call.flag(flag)) return text;
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != 0 ? std::optional<std::string>(value) : std::nullopt;
}

// A server behind TLS, which openssl speaks for us, and checks name and certificate.
[[nodiscard]] inline Result<HttpEndpoint> tls_endpoint(std::string_view url) {
  std::string_view rest = url.substr(std::string_view("https://").size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const bool is_ipv6 = rest.starts_with('[');
  const size_t colon = rest.find(':', is_ipv6 ? rest.find(']') : 0);
  const std::string host(rest.substr(0, colon));
  const uint64_t port = colon == rest.npos ? 443 : parse_u64(rest.substr(colon + 1)).value_or(0);
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
  if (host.empty() || host.starts_with('-') || host.find_first_not_of(kLetters) != host.npos ||
      port == 0 || port > UINT16_MAX) {
    return Status(Code::kInvalid, "the address is not valid: " + std::string(url));
  }
  const bool is_ip = parse_ip_address(host, 0).ok() && host != "localhost";
  const std::string bare = is_ipv6 ? host.substr(1, host.size() - 2) : host;
  HttpEndpoint endpoint;
  endpoint.host = endpoint.name = rest;
  endpoint.command = "openssl s_client -quiet -verify_quiet -verify_return_error -connect '" +
                     host + ":" + std::to_string(port) + "' " +
                     (is_ip ? "-verify_ip '" : "-servername '" + bare + "' -verify_hostname '") +
                     bare + "'";
  return endpoint;
}

[[nodiscard]] inline Result<HttpEndpoint> parse_url(std::string_view url) {
  return url.starts_with("https://") ? tls_endpoint(url) : parse_endpoint(url);
}

// Where the server is, and how to get there.
[[nodiscard]] inline Result<HttpEndpoint> endpoint_of(const CliCall& call) {
  auto endpoint = parse_url(
      flag_or_variable(call, "engine", "KYRODB_URL").value_or(std::string(kDefaultEngineUrl)));
  KYRO_TRY(endpoint);
  if (const auto command = call.flag("connect-command")) endpoint->command = *command;
  return endpoint;
}

// What the flags say beside where it is.
inline Status set_up(const CliCall& call, CtlClient* client) {
  client->as_json = call.has("json");
  if (const auto path = flag_or_variable(call, "token-file", "KYRODB_TOKEN_FILE")) {
    const auto token = read_token_file(*path);
    KYRO_TRY(token);
    client->headers.emplace_back("Authorization", "Bearer " + *token);
  }
  return Status();
}

// Runs `body(client)` with a client for the one server that the flags name.
template <class Body>
int with_ctl_client(const CliCall& call, int timeout_ms, const Body& body) {
  if (call.flag("shards")) {
    return ctl_usage_error(std::string(call.command->name) +
                           " asks one server: give -e in place of --shards");
  }
  auto endpoint = endpoint_of(call);
  if (!endpoint.ok()) return ctl_usage_error(endpoint.status().message());
  CtlClient client(std::move(*endpoint), timeout_ms);
  const Status ready = set_up(call, &client);
  if (!ready.ok()) return ctl_usage_error(ready.message());
  return body(client);
}

// The key that a word names, or a sentence.
[[nodiscard]] inline Result<uint64_t> parse_key_word(std::string_view word) {
  if (const auto key = parse_u64(word)) return *key;
  return Status(Code::kInvalid,
                "KEY must be a decimal number from 0 to 2^64-1, not \"" + std::string(word) + "\"");
}

[[nodiscard]] inline int exit_code_of(int http_status) {
  if (http_status >= 200 && http_status < 300) return kExitOk;
  if (http_status == 404) return kExitNotFound;
  if (http_status == 412) return kExitPrecondition;
  return kExitError;
}

// A string field of a JSON object, unescaped; empty if there is none.
[[nodiscard]] inline std::string json_string_field(std::string_view text, std::string_view field) {
  JsonReader json(text);
  std::string_view name;
  std::string_view value;
  std::string unescaped;
  if (!json.enter_object()) return {};
  while (json.next_field(&name)) {
    if (name == field && json.peek() == JsonType::kString && json.read_string(&value, &unescaped)) {
      return std::string(value);
    }
    json.skip_value();
  }
  return {};
}

// A number in a field of a JSON object; nothing if there is none.
[[nodiscard]] inline std::optional<uint64_t> json_number_field(std::string_view text,
                                                               std::string_view field) {
  JsonReader json(text);
  std::string_view name;
  std::string_view number;
  if (!json.enter_object()) return {};
  while (json.next_field(&name)) {
    if (name == field && json.peek() == JsonType::kNumber && json.read_number(&number)) {
      return parse_u64(number);
    }
    json.skip_value();
  }
  return {};
}

// The "message" of an error answer, or the answer itself.
[[nodiscard]] inline std::string error_message(const HttpResponse& response) {
  std::string message = json_string_field(response.body, "message");
  if (!message.empty()) return message;
  return "status " + std::to_string(response.status) + " " + response.body;
}

// Tells of a failed answer, under --json as the server put it; the exit code.
inline int ctl_fail_answer(const HttpResponse& response) {
  const int code = exit_code_of(response.status);
  if (!cli_errors_are_json() || json_string_field(response.body, "error").empty()) {
    return ctl_fail(error_message(response), code);
  }
  std::fprintf(stderr, "%s\n", response.body.c_str());
  return code;
}

// Prints the fields of a flat or nested object, one per line.
inline void print_json_fields(JsonReader& json, const std::string& prefix) {
  if (!json.enter_object()) return;
  std::string_view field;
  while (json.next_field(&field)) {
    const std::string name = prefix + std::string(field);
    std::string_view text;
    std::string unescaped;
    bool flag = false;
    switch (json.peek()) {
      case JsonType::kObject:
        print_json_fields(json, name + ".");
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
    ctl_print(printable(name) + ": " + printable(text) + "\n");
  }
}

inline bool read_all(int fd, size_t bytes_max, std::string* out) {
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    if (out->size() > bytes_max) return false;
    out->append(buffer, static_cast<size_t>(got));
  }
}

// A file opened for reading; "-" is standard input. Ownership: closes what it opened.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : fd_(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile() {
    if (fd_ > STDIN_FILENO) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }  // negative: see errno

 private:
  const int fd_;
};

}  // namespace kyro
