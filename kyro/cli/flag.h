// A row of the table of flags, what texts its value may be, and how it is bound to a field.
//
// What a flag takes follows from its row:
//   value is empty               a switch; true, false, 1 or 0 may follow an equals sign
//   value is "a|b"               one of these words
//   bounds are given             a number: "B" is a size (512, 64KiB, 16M), "R" a real number,
//                                "MODE" permission bits in octal, else a whole number, of
//                                milliseconds ("MS") or seconds ("S", "SECS") where it says so
//   otherwise                    any text that is not empty; the field may ask for more
//
// A field binds a row to a member of the options object of its command: set() takes what the user
// wrote, get() gives what a user would write, so defaults are those of a default-constructed
// object and stand nowhere else. Flags without a field are read by name (CliCall).
//
// Thread rule: pure functions over constant tables.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "kyro/base/limits.h"
#include "kyro/base/text/decimal.h"

namespace kyro {

struct CliFlag;

struct CliField {
  // Why the text was refused, as what follows the flag's name; empty if it was taken.
  std::string (*set)(const CliFlag& flag, std::string_view text, void* options) = nullptr;
  std::string (*get)(const CliFlag& flag, const void* options) = nullptr;
};

struct CliBounds {
  double min = 0;
  double max = 0;              // 0: the flag takes no number
  std::string_view zero = {};  // what 0 means, if it means something
};
inline constexpr double kCliNoBound = 18446744073709549568.0;  // the largest double below 2^64
inline constexpr CliBounds kCliAnyNumber{0, kCliNoBound};
inline constexpr CliBounds kCliFromOne{1, kCliNoBound};

struct CliFlag {
  std::string_view name;   // without dashes
  std::string_view value;  // what its value is called
  std::string_view help;
  CliBounds bounds = {};
  CliField field = {};
  char letter = 0;
  std::string_view heading = {};  // that the help puts above this flag and those after it
  bool is_repeated = false;       // given again it is one value more: they come as "a,b"
  bool is_of_call = false;        // of one call of the program: no line of a configuration file
};

// "a|b" whose words can be listed as they are.
inline bool is_choice(std::string_view value) {
  return value.find('|') != value.npos && value.find_first_of("<:[") == value.npos;
}

namespace cli_detail {

// The word of a choice at `index`; empty after the last.
inline std::string_view choice_word(std::string_view words, size_t index) {
  for (; index > 0; --index) {
    const size_t bar = words.find('|');
    if (bar == words.npos) return {};
    words.remove_prefix(bar + 1);
  }
  return words.substr(0, words.find('|'));
}

inline std::optional<size_t> choice_index(std::string_view words, std::string_view word) {
  for (size_t i = 0; !word.empty() && !choice_word(words, i).empty(); ++i) {
    if (choice_word(words, i) == word) return i;
  }
  return std::nullopt;
}

inline std::optional<bool> parse_switch(std::string_view text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  return std::nullopt;
}

struct SizeUnit {
  std::string_view name;
  uint64_t factor;
};
inline constexpr SizeUnit kSizeUnits[] = {{"", 1},       {"K", kKiB}, {"KiB", kKiB}, {"M", kMiB},
                                          {"MiB", kMiB}, {"G", kGiB}, {"GiB", kGiB}};

}  // namespace cli_detail

// 64 MiB for "64MiB".
inline std::optional<uint64_t> parse_size(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::optional<uint64_t> count = parse_u64(text.substr(0, digits));
  for (const cli_detail::SizeUnit& unit : cli_detail::kSizeUnits) {
    if (unit.name != text.substr(digits)) continue;
    if (!count || *count > UINT64_MAX / unit.factor) return std::nullopt;
    return *count * unit.factor;
  }
  return std::nullopt;
}

namespace cli_detail {

// The unit that makes a size unknown; empty if something else is wrong with it.
inline std::string_view unknown_unit(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view name = text.substr(digits);
  const bool is_known = std::any_of(std::begin(kSizeUnits), std::end(kSizeUnits),
                                    [&](const SizeUnit& unit) { return unit.name == name; });
  return digits == 0 || is_known || name[0] == '.' ? std::string_view() : name;
}

// "64MiB" for 67108864: the largest unit that divides it.
inline std::string format_bytes(uint64_t bytes) {
  constexpr std::string_view kUnits[] = {"", "KiB", "MiB", "GiB"};
  size_t unit = 0;
  for (; unit < 3 && bytes != 0 && bytes % 1024 == 0; ++unit) bytes /= 1024;
  return std::to_string(bytes).append(kUnits[unit]);
}

inline std::optional<uint64_t> parse_octal(std::string_view text) {
  uint64_t bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits, 8);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return bits;
}

// "0600".
inline std::string format_octal(uint64_t bits) {
  std::string text = "0";
  for (uint32_t shift = 9; shift != 0;)
    text += static_cast<char>('0' + ((bits >> (shift -= 3)) & 7u));
  return text;
}

// A plain number without sign and exponent. (The tables of from_chars and to_chars for real numbers
// take 140 KB.)
inline std::optional<double> parse_real(std::string_view text) {
  if (text.empty() || text[0] == '.' || text.find_first_not_of("0123456789.") != text.npos ||
      std::count(text.begin(), text.end(), '.') > 1) {
    return std::nullopt;
  }
  const double value = std::strtod(std::string(text).c_str(), nullptr);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

// At most six significant digits, no trailing zeros.
inline std::string format_real(double value) {
  char text[32];
  return {text, static_cast<size_t>(std::snprintf(text, sizeof text, "%.6g", value))};
}

inline std::optional<uint64_t> parse_count(const CliFlag& flag, std::string_view text) {
  return flag.value == "B"      ? parse_size(text)
         : flag.value == "MODE" ? parse_octal(text)
                                : parse_u64(text);
}
inline std::string format_count(const CliFlag& flag, uint64_t value) {
  return flag.value == "B"      ? format_bytes(value)
         : flag.value == "MODE" ? format_octal(value)
                                : std::to_string(value);
}

inline bool is_in_bounds(const CliFlag& flag, std::string_view text) {
  const CliBounds& bounds = flag.bounds;
  if (flag.value == "R") {
    const auto value = parse_real(text);
    return value && *value >= bounds.min && *value <= bounds.max;
  }
  const auto value = parse_count(flag, text);
  const bool has_end = bounds.max < kCliNoBound;
  return value && *value >= static_cast<uint64_t>(bounds.min) &&
         (!has_end || *value <= static_cast<uint64_t>(bounds.max));
}

// "a whole number from 1 to 1024", for messages.
inline std::string describe_number(const CliFlag& flag) {
  const auto bound = [&](double value) {
    return flag.value == "R" ? format_real(value)
                             : format_count(flag, static_cast<uint64_t>(value));
  };
  if (flag.value == "MODE") return "permission bits in octal like 0600 or 660";
  std::string out = flag.value == "R"   ? "a number"
                    : flag.value == "B" ? "a size like 512, 64KiB or 16M"
                                        : "a whole number";
  if (flag.value == "MS") out += " of milliseconds";
  if (flag.value.starts_with("S")) out += " of seconds";
  if (flag.bounds.max >= kCliNoBound) return out + ", at least " + bound(flag.bounds.min);
  return out + " from " + bound(flag.bounds.min) + " to " + bound(flag.bounds.max);
}

}  // namespace cli_detail

[[nodiscard]] inline std::string cli_quoted(std::string_view text) {
  return std::string("\"").append(text).append("\"");
}

// Why the row refuses a text; empty if it does not. What its field asks for comes on top.
[[nodiscard]] inline std::string refuse_value(const CliFlag& flag, std::string_view text) {
  using namespace cli_detail;
  if (flag.value.empty()) {
    return parse_switch(text) ? "" : "is on or off: use true, false, 1 or 0";
  }
  if (is_choice(flag.value)) {
    if (choice_index(flag.value, text)) return "";
    return "must be one of " + std::string(flag.value) + ", not " + cli_quoted(text);
  }
  if (flag.bounds.max == 0) return text.empty() ? "must not be empty" : "";
  if (is_in_bounds(flag, text)) return "";
  const std::string_view unit = flag.value == "B" ? unknown_unit(text) : std::string_view();
  if (unit.empty()) return "must be " + describe_number(flag) + ", not " + cli_quoted(text);
  return "has the unknown unit " + cli_quoted(unit) + " (known are K, M, G, KiB, MiB and GiB)";
}

// Sets a member from text, for the types whose rows say all about them. Others have overloads.
template <class T>
std::string set_cli_value(const CliFlag& flag, std::string_view text, T& value) {
  using namespace cli_detail;
  if (std::string refusal = refuse_value(flag, text); !refusal.empty()) return refusal;
  if constexpr (std::is_same_v<T, std::string>) {
    value = text;
  } else if constexpr (std::is_same_v<T, double>) {
    value = *parse_real(text);
  } else if constexpr (std::is_same_v<T, bool> || std::is_enum_v<T>) {
    // The words of a choice stand in the order of the values.
    value = static_cast<T>(is_choice(flag.value) ? *choice_index(flag.value, text)
                                                 : size_t{*parse_switch(text)});
  } else {
    value = static_cast<T>(*parse_count(flag, text));
  }
  return {};
}

template <class T>
std::string get_cli_value(const CliFlag& flag, const T& value) {
  using namespace cli_detail;
  if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (std::is_same_v<T, double>) {
    return format_real(value);
  } else if constexpr (std::is_same_v<T, bool> || std::is_enum_v<T>) {
    if (is_choice(flag.value)) {
      return std::string(choice_word(flag.value, static_cast<size_t>(value)));
    }
    return static_cast<bool>(value) ? "true" : "false";
  } else {
    return format_count(flag, value);
  }
}

namespace cli_detail {
template <class Owner, class Member>
std::type_identity<Owner> owner_of(Member Owner::*);
}  // namespace cli_detail

// The field at the end of a path of members: kCliField<&Config::engine, &Options::data_dir>.
template <auto kFirst, auto... kMore>
inline constexpr CliField kCliField{
    [](const CliFlag& flag, std::string_view text, void* options) {
      using Owner = typename decltype(cli_detail::owner_of(kFirst))::type;
      return set_cli_value(flag, text, ((static_cast<Owner*>(options)->*kFirst).*....*kMore));
    },
    [](const CliFlag& flag, const void* options) {
      using Owner = typename decltype(cli_detail::owner_of(kFirst))::type;
      return get_cli_value(flag, ((static_cast<const Owner*>(options)->*kFirst).*....*kMore));
    }};

}  // namespace kyro
