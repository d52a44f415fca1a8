// Entity tags and the conditions made of them (RFC 9110 8.8.3 and 13.1).
//
// The tag of a key is its version in quotes: "17". If-Match compares strongly, so a weak tag
// (W/"17") in it matches nothing; If-None-Match compares weakly. A field may stand several times,
// which is one list. Anything that is neither a list of quoted tags nor a lone "*" is malformed.
//
// Thread rule: pure functions over views.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/decimal.h"
#include "kyro/net/http/request.h"
#include "kyro/storage/write/write_request.h"

namespace kyro {

// The tags of one field, or of all fields of a name.
struct TagList {
  bool is_present = false;
  bool is_star = false;
  std::vector<uint64_t>
      strong;  // the versions that are named; tags that are no version are left out
  std::vector<uint64_t> weak;

  // Adds the list `field`; false if it is malformed.
  [[nodiscard]] bool add(std::string_view field) {
    if (is_star || (field == "*" && is_present)) return false;
    is_present = true;
    is_star = field == "*";
    bool has_tags = is_star;
    while (!is_star && !field.empty()) {
      if (field[0] == ' ' || field[0] == '\t' || field[0] == ',') {
        field.remove_prefix(1);
        continue;
      }
      const bool is_weak = field.starts_with("W/");
      if (is_weak) field.remove_prefix(2);
      if (field.empty() || field[0] != '"') return false;
      const size_t close = field.find('"', 1);
      if (close == field.npos) return false;
      const std::string_view tag = field.substr(1, close - 1);
      if (!std::all_of(tag.begin(), tag.end(), is_tag_char)) return false;
      if (const auto version = parse_u64(tag)) (is_weak ? weak : strong).push_back(*version);
      has_tags = true;
      field.remove_prefix(close + 1);
      const size_t next = field.find_first_not_of(" \t");
      if (next != field.npos && field[next] != ',') return false;
    }
    return has_tags;
  }

  [[nodiscard]] bool names_strongly(uint64_t version) const {
    return is_star || std::find(strong.begin(), strong.end(), version) != strong.end();
  }
  // Weakly or strongly.
  [[nodiscard]] bool names(uint64_t version) const {
    return names_strongly(version) || std::find(weak.begin(), weak.end(), version) != weak.end();
  }

 private:
  static bool is_tag_char(char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) != 0x7F;
  }
};

// All tags of the fields called `name`; kInvalid if one is malformed.
[[nodiscard]] inline Result<TagList> read_tags(const HttpRequest& request, std::string_view name) {
  TagList tags;
  if (!request.header(name)) return tags;
  bool is_valid = true;
  request.for_each_header([&](std::string_view field, std::string_view value) {
    if (iequals(field, name)) is_valid = tags.add(value);
    return is_valid;
  });
  if (is_valid) return tags;
  return Status(Code::kInvalid, std::string(name) + " is neither a list of quoted tags nor *");
}

// What If-Match and If-None-Match ask for.
struct KeyTags {
  TagList match;
  TagList none_match;

  [[nodiscard]] bool empty() const { return !match.is_present && !none_match.is_present; }

  // Lends `condition` its lists.
  void apply_to(Condition* condition) {
    condition->must_exist = match.is_star;
    if (match.is_present && !match.is_star) condition->must_be_one_of = match.strong;
    condition->must_be_absent = none_match.is_star;
    none_match.strong.insert(none_match.strong.end(), none_match.weak.begin(),
                             none_match.weak.end());
    none_match.weak.clear();
    condition->must_not_be = none_match.strong;
  }
};

[[nodiscard]] inline Result<KeyTags> read_key_tags(const HttpRequest& request) {
  auto match = read_tags(request, "if-match");
  KYRO_TRY(match);
  auto none_match = read_tags(request, "if-none-match");
  KYRO_TRY(none_match);
  return KeyTags{std::move(*match), std::move(*none_match)};
}

}  // namespace kyro
