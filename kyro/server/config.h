// From a command line and an environment to a ServeConfig, and the help text of `kyrodb serve`.
//
// A flag beats the environment, which beats the default. `--flag value` and `--flag=value` are the
// same; a switch takes no value, or `=true`, `=false`, `=1`, `=0`. Everything wrong is one sentence
// that names the flag (for an unknown one the nearest); the caller prints it and exits with 2. The
// table of options is config_table.h.
//
// Thread rule: before threads start. Ownership: values.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "kyro/base/decimal.h"
#include "kyro/base/status.h"
#include "kyro/cli/command_line.h"
#include "kyro/server/config_table.h"

namespace kyro {
namespace config_detail {

// The flag whose name is nearest; one that begins like it, if any does.
inline const Option& nearest_flag(std::string_view name) {
  const Option* best = &kServeOptions[0];
  size_t best_distance = SIZE_MAX;
  for (const Option& option : kServeOptions) {
    if (!is_flag(option)) continue;
    size_t distance = edit_distance(name, option.name);
    if (name.size() >= 3 && option.name.starts_with(name)) distance = 0;
    if (distance < best_distance) {
      best = &option;
      best_distance = distance;
    }
  }
  return *best;
}

// Where a value came from, for messages: "--threads" or "KYRODB_THREADS (the flag --threads)".
inline std::string origin(const Option& option, bool from_environment) {
  const std::string flag = std::string("--").append(option.name);
  if (!from_environment) return flag;
  if (!is_flag(option)) return environment_name(option);
  return environment_name(option).append(" (the flag ").append(flag).append(")");
}

inline std::string quoted(std::string_view text) {
  return std::string("\"").append(text).append("\"");
}

// Why a value was refused; empty when it was taken.
using Refusal = std::string;

// Splits "64MiB" into 64 and a factor. Refused: an unknown unit, or digits that are no plain
// number.
inline Refusal parse_size(std::string_view text, std::optional<uint64_t>* out) {
  struct Unit {
    std::string_view name;
    uint64_t factor;
  };
  constexpr Unit kUnits[] = {{"", 1},       {"K", kKiB}, {"KiB", kKiB}, {"M", kMiB},
                             {"MiB", kMiB}, {"G", kGiB}, {"GiB", kGiB}};
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view name = text.substr(digits);
  const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                                  [&](const Unit& u) { return u.name == name; });
  if (digits > 0 && unit == std::end(kUnits) && name[0] != '.') {
    return std::string("has the unknown unit \"")
        .append(name)
        .append("\" (known are K, M, G, KiB, MiB and GiB)");
  }
  const std::optional<uint64_t> count = parse_u64(text.substr(0, digits));
  if (unit == std::end(kUnits) || !count || *count > UINT64_MAX / unit->factor) return {};
  *out = *count * unit->factor;
  return {};
}

inline bool parse_real(std::string_view text, double* out) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *out, std::chars_format::fixed);
  return error == std::errc() && end == text.data() + text.size();
}

inline Refusal refuse_number(const Option& option, std::string_view text) {
  return std::string("must be ")
      .append(describe_value(option))
      .append(", not ")
      .append(quoted(text));
}

template <class Number>
Refusal set_number(const Option& option, std::string_view text, Number* field) {
  std::optional<uint64_t> value;
  if (option.value == "B") {
    if (Refusal refusal = parse_size(text, &value); !refusal.empty()) return refusal;
  } else {
    value = parse_u64(text);
  }
  const bool bounded = option.max < kNoBound;
  if (!value || *value < static_cast<uint64_t>(option.min) ||
      (bounded && *value > static_cast<uint64_t>(option.max))) {
    return refuse_number(option, text);
  }
  *field = static_cast<Number>(*value);
  return {};
}

inline Refusal set_real(const Option& option, std::string_view text, double* field) {
  double value = 0;
  if (!parse_real(text, &value) || value < option.min || value > option.max) {
    return refuse_number(option, text);
  }
  *field = value;
  return {};
}

inline Refusal set_switch(std::string_view text, bool* field) {
  const bool on = text == "true" || text == "1";
  if (!on && text != "false" && text != "0") return "is on or off: use true, false, 1 or 0";
  *field = on;
  return {};
}

inline Refusal set_choice(const Option& option, std::string_view text, Choice choice,
                          ServeConfig* config) {
  std::string_view words = option.value;
  for (size_t i = 0;; ++i) {
    const size_t bar = words.find('|');
    if (words.substr(0, bar) == text) {
      choice.set(*config, i);
      return {};
    }
    if (bar == std::string_view::npos) break;
    words.remove_prefix(bar + 1);
  }
  return std::string("must be one of ").append(option.value).append(", not ").append(quoted(text));
}

inline Refusal set_fsync(const Option& option, std::string_view text, Options* engine) {
  constexpr std::string_view kInterval = "interval:";
  constexpr uint64_t kIntervalMsMax = 3'600'000;
  if (text == "always") {
    engine->fsync = FsyncPolicy::kAlways;
  } else if (text == "never") {
    engine->fsync = FsyncPolicy::kNever;
  } else {
    const bool named = text.starts_with(kInterval);
    const auto ms = named ? parse_u64(text.substr(kInterval.size())) : std::nullopt;
    if (named && (!ms || *ms == 0 || *ms > kIntervalMsMax)) {
      return "interval must be a whole number of milliseconds from 1 to 3600000";
    }
    if (!ms) {
      return std::string("must be ").append(option.value).append(", not ").append(quoted(text));
    }
    engine->fsync = FsyncPolicy::kInterval;
    engine->fsync_interval_ms = *ms;
  }
  return {};
}

// RPS or RPS:BURST; "off" for none. 0 could mean either, so it is refused.
inline Refusal set_rate(std::string_view text, RateLimit* field) {
  if (text == "off") {
    *field = RateLimit{};
    return {};
  }
  const size_t colon = std::min(text.find(':'), text.size());
  const auto rate = parse_u64(text.substr(0, colon));
  const auto burst = colon == text.size() ? rate : parse_u64(text.substr(colon + 1));
  const auto is_good = [](const std::optional<uint64_t>& n) {
    return n && *n >= 1 && *n <= RateLimit::kMax;
  };
  if (!is_good(rate) || !is_good(burst)) {
    return std::string("must be RPS or RPS:BURST, whole numbers from 1 to ")
        .append(std::to_string(RateLimit::kMax))
        .append(", or off, not ")
        .append(quoted(text));
  }
  *field = RateLimit{static_cast<uint32_t>(*rate), static_cast<uint32_t>(*burst)};
  return {};
}

inline Refusal set_mode(std::string_view text, Mode field) {
  constexpr uint32_t kAllBits = 0777;
  uint32_t bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits, 8);
  if (error != std::errc() || end != text.data() + text.size() || bits > kAllBits) {
    return std::string("must be permission bits in octal like 0600 or 660, not ")
        .append(quoted(text));
  }
  *field.bits = bits;
  return {};
}

inline Refusal set_option(const Option& option, std::string_view text, ServeConfig* config) {
  return std::visit(
      [&](auto field) -> Refusal {
        using T = decltype(field);
        if constexpr (std::is_same_v<T, std::string*>) {
          if (text.empty()) return "must not be empty";
          *field = text;
          return {};
        } else if constexpr (std::is_same_v<T, bool*>) {
          return set_switch(text, field);
        } else if constexpr (std::is_same_v<T, double*>) {
          return set_real(option, text, field);
        } else if constexpr (std::is_same_v<T, Choice>) {
          return set_choice(option, text, field, config);
        } else if constexpr (std::is_same_v<T, Fsync>) {
          return set_fsync(option, text, &config->engine);
        } else if constexpr (std::is_same_v<T, RateLimit*>) {
          return set_rate(text, field);
        } else if constexpr (std::is_same_v<T, Mode>) {
          return set_mode(text, field);
        } else {
          return set_number(option, text, field);
        }
      },
      option.field(*config));
}

inline Status set_or_refuse(const Option& option, std::string_view text, bool from_environment,
                            ServeConfig* config) {
  const Refusal refusal = set_option(option, text, config);
  config->origins[option_index(option)] =
      from_environment ? ConfigOrigin::kEnvironment : ConfigOrigin::kFlag;
  if (refusal.empty()) return {};
  return Status(Code::kInvalid, origin(option, from_environment).append(" ").append(refusal));
}

inline Status check_together(const ServeConfig& config) {
  if (!config.auth_token.empty() && !config.auth_token_file.empty()) {
    return Status(Code::kInvalid, "--auth-token and --auth-token-file must not be given together");
  }
  if (!config.read_token_file.empty() && config.auth_token.empty() &&
      config.auth_token_file.empty()) {
    return Status(Code::kInvalid,
                  "--read-token-file needs --auth-token-file (or --auth-token) beside it: without "
                  "a token everyone may write");
  }
  if (config.max_inflight_bytes < config.engine.max_value_bytes) {
    return Status(Code::kInvalid,
                  "--max-inflight-bytes must not be smaller than --max-value-bytes");
  }
  return {};
}

inline Status set_address(std::span<const std::string_view> words, ServeConfig* config) {
  if (words.empty()) return {};
  if (words.size() == 1) {
    return Status(Code::kInvalid, "HOST and PORT must be given together, like 127.0.0.1 3030");
  }
  const std::optional<uint64_t> port = parse_u64(words[1]);
  if (words[0].empty()) return Status(Code::kInvalid, "HOST must not be empty");
  if (!port || *port > 65535) {
    return Status(
        Code::kInvalid,
        std::string("PORT must be a whole number from 0 to 65535, not ").append(quoted(words[1])));
  }
  config->is_address_given = true;
  config->host = words[0];
  config->port = static_cast<uint16_t>(*port);
  return {};
}

// What an argument says, if it is a flag: "--name", "--name=value", "-d".
struct Flag {
  const Option* option = nullptr;  // null: unknown
  std::string_view name;           // as written, without dashes
  std::optional<std::string_view> value;
};

inline Flag parse_flag(std::string_view argument) {
  Flag flag;
  const size_t dashes = argument.starts_with("--") ? 2 : 1;
  const size_t equals = std::min(argument.find('='), argument.size());
  flag.name = argument.substr(dashes, equals - dashes);
  if (equals < argument.size()) flag.value = argument.substr(equals + 1);
  for (const Option& option : kServeOptions) {
    const bool found = dashes == 2 ? is_flag(option) && option.name == flag.name
                                   : flag.name.size() == 1 && option.letter == flag.name[0];
    if (found) flag.option = &option;
  }
  return flag;
}

// Goes through a command line once.
class Arguments {
 public:
  Arguments(std::span<const std::string_view> arguments, ServeConfig* config)
      : arguments_(arguments), config_(config) {}

  Status parse() {
    for (; at_ < arguments_.size() && !config_->help_requested; ++at_) {
      const std::string_view argument = arguments_[at_];
      if (only_words_ || argument.size() < 2 || argument[0] != '-') {
        KYRO_TRY(take_word(argument));
      } else if (argument == "--") {
        only_words_ = true;
      } else if (argument == "--help" || argument == "-h") {
        config_->help_requested = true;
      } else {
        KYRO_TRY(take_flag(argument));
      }
    }
    // Of two options that exclude each other, one from a flag beats one from the environment.
    if (flags_.auth_token.empty() != flags_.auth_token_file.empty()) {
      config_->auth_token = flags_.auth_token;
      config_->auth_token_file = flags_.auth_token_file;
    }
    return set_address(std::span(words_).first(word_count_), config_);
  }

 private:
  Status take_word(std::string_view word) {
    if (word_count_ == words_.size()) {
      return Status(Code::kInvalid, std::string("unexpected argument ").append(quoted(word)));
    }
    words_[word_count_++] = word;
    return {};
  }

  Status take_flag(std::string_view argument) {
    Flag flag = parse_flag(argument);
    if (flag.option == nullptr) {
      return Status(Code::kInvalid, std::string("unknown flag ")
                                        .append(argument.substr(0, argument.find('=')))
                                        .append("; the nearest is --")
                                        .append(nearest_flag(flag.name).name));
    }
    if (!flag.value) {
      if (std::holds_alternative<bool*>(flag.option->field(flags_))) {
        flag.value = "true";
      } else if (at_ + 1 < arguments_.size() && !arguments_[at_ + 1].starts_with("--")) {
        flag.value = arguments_[++at_];
      } else {
        return Status(Code::kInvalid, origin(*flag.option, false).append(" needs a value"));
      }
    }
    KYRO_TRY(set_or_refuse(*flag.option, *flag.value, false, &flags_));
    return set_or_refuse(*flag.option, *flag.value, false, config_);
  }

  std::span<const std::string_view> arguments_;
  size_t at_ = 0;
  bool only_words_ = false;  // behind "--"
  std::array<std::string_view, 2> words_{};
  size_t word_count_ = 0;
  ServeConfig* config_;
  ServeConfig flags_;  // what the flags say without the environment
};

}  // namespace config_detail

// Looks a variable up, as std::getenv does; a test gives its own.
using EnvironmentLookup = const char* (*)(const char* name);

// The configuration that `arguments` (behind "serve") and the environment ask for. kInvalid with
// one sentence for the user otherwise.
[[nodiscard]] inline Result<ServeConfig> parse_serve_config(
    std::span<const std::string_view> arguments,
    EnvironmentLookup environment = [](const char* name) -> const char* {
      return std::getenv(name);
    }) {
  using namespace config_detail;
  ServeConfig config;
  Status wrong_environment;
  for (const Option& option : kServeOptions) {
    const char* text = environment(environment_name(option).c_str());
    if (text == nullptr) continue;
    Status status = set_or_refuse(option, text, true, &config);
    if (wrong_environment.ok()) wrong_environment = std::move(status);
  }
  KYRO_TRY(Arguments(arguments, &config).parse());
  if (config.help_requested) return config;
  KYRO_TRY(wrong_environment);
  KYRO_TRY(check_together(config));
  return config;
}

}  // namespace kyro
