// Commands of kyrodbctl about one value that are more than a request: ttl, incr, shell.
//
// Thread rule: one thread.
#pragma once

#include <unistd.h>

#include <charconv>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/client/lines.h"
#include "kyro/client/requests.h"
#include "kyro/client/session.h"

namespace kyro {
namespace ctl {

// How many seconds a key has left.
inline int run_ttl(const CliCall& call) {
  return with_key_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    HttpResponse response;
    const Status status = client.http.request("GET", "/v1/lookup?key=" + call.words[0], {},
                                              &response, client.headers);
    if (!status.ok()) return ctl_no_answer(client, status);
    if (response.status != 200) return ctl_fail_answer(response);
    const auto left = parse_u64(response.header("kyro-expires"));
    const std::string text = left ? std::to_string(*left) : client.as_json ? "null" : "none";
    ctl_print(client.as_json ? "{\"ttl\":" + text + "}\n" : "ttl: " + text + "\n");
    return ctl_finish_output(kExitOk);
  });
}

// Adds to a number that is a value, by compare-and-swap: of many that do so at once each counts.
class Increment {
 public:
  Increment(CtlClient& client, std::string key, int64_t by)
      : client_(client), key_(std::move(key)), by_(by) {}

  // The exit code.
  int run() {
    constexpr int kTriesMax = 1000;
    for (int tries = 1; tries <= kTriesMax; ++tries) {
      int code = kExitOk;
      if (!read(&code)) return code;
      HttpResponse response;
      const Status status =
          client_.http.request("PUT", target_, std::to_string(value_), &response, headers_);
      if (!status.ok()) return ctl_no_answer(client_, status);
      if (response.status == 412) continue;  // somebody was faster
      if (response.status / 100 != 2) return ctl_fail_answer(response);
      return print(tries);
    }
    return ctl_fail("others were faster a thousand times");
  }

 private:
  // Reads the value and makes the next one; its lifetime stays what it is.
  bool read(int* code) {
    target_ = "/v1/kv/" + key_;
    headers_ = client_.headers;
    HttpResponse response;
    const Status status =
        client_.http.request("GET", "/v1/lookup?key=" + key_, {}, &response, client_.headers);
    if (!status.ok()) return *code = ctl_no_answer(client_, status), false;
    if (response.status == 404) {
      value_ = by_;
      headers_.emplace_back("If-None-Match", "*");
      return true;
    }
    if (response.status != 200) return *code = ctl_fail_answer(response), false;
    const std::string text = json_string_field(response.body, "value");
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value_);
    if (error != std::errc() || end != text.data() + text.size() ||
        __builtin_add_overflow(value_, by_, &value_)) {
      return *code = ctl_fail("the value is not a whole number that can be added to"), false;
    }
    headers_.emplace_back("If-Match", std::string(response.header("etag")));
    if (const auto expires = json_number_field(response.body, "expires")) {
      target_ += "?expires=" + std::to_string(*expires);
    }
    return true;
  }

  int print(int tries) const {
    if (client_.as_json) {
      std::printf("{\"value\":%" PRId64 ",\"tries\":%d}\n", value_, tries);
    } else {
      std::printf("value: %" PRId64 "\ntries: %d\n", value_, tries);
    }
    return ctl_finish_output(kExitOk);
  }

  CtlClient& client_;
  const std::string key_;
  const int64_t by_;
  std::string target_;
  HeaderList headers_;
  int64_t value_ = 0;
};

inline int run_incr(const CliCall& call) {
  int64_t by = 1;
  if (call.words.size() > 1) {
    const std::string& word = call.words[1];
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), by);
    if (error != std::errc() || end != word.data() + word.size()) {
      return ctl_usage_error("N must be a whole number, not \"" + word + "\"");
    }
  }
  return with_key_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    return Increment(client, call.words[0], by).run();
  });
}

// The words of a line: between blanks, or in single or double quotes.
[[nodiscard]] inline std::vector<std::string> shell_words(std::string_view line) {
  std::vector<std::string> words;
  bool is_in_word = false;
  char quote = 0;
  for (const char c : line) {
    const bool is_blank = quote == 0 && (c == ' ' || c == '\t');
    if (!is_blank && !is_in_word) words.emplace_back();
    is_in_word = !is_blank;
    if (c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (!is_blank) {
      words.back() += c;
    }
  }
  return words;
}

// Commands from standard input, a line each, by run_line(words). One that fails does not end it; it
// ends as sh does, with the code of the last command.
template <class RunLine>
int run_shell(const CliCall& call, const RunLine& run_line) {
  std::vector<std::string> before;  // the program's own flags
  for (const auto& [flag, text] : call.flags) {
    before.push_back("--" + std::string(flag->name) + "=" + text);
  }
  const bool has_prompt = isatty(STDIN_FILENO) != 0;
  FdSource input(STDIN_FILENO);
  LineReader lines(input);
  int code = kExitOk;
  for (;;) {
    if (has_prompt) std::fprintf(stderr, "kyrodb> ");
    std::string_view line;
    const auto more = lines.next(&line);
    if (!more.ok()) return ctl_fail(std::string(more.status().message()));
    if (!*more) return code;
    const std::vector<std::string> typed = shell_words(line);
    if (typed.empty() || typed[0].starts_with('#')) continue;
    if (typed[0] == "quit" || typed[0] == "exit") return code;
    if (typed[0] == "shell") {
      code = ctl_usage_error("this is one");
      continue;
    }
    std::vector<std::string_view> words(before.begin(), before.end());
    words.insert(words.end(), typed.begin(), typed.end());
    code = run_line(words);
    std::fflush(stdout);
  }
}

}  // namespace ctl
}  // namespace kyro
