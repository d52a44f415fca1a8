// A line of a scan's NDJSON answer, as a client reads it: an item, or the trailer that says where
// the range goes on.
//
// Thread rule: pure functions. Ownership: views point into the line.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/json/json_reader.h"
#include "kyro/json/record_json.h"

namespace kyro {

struct ScanLine {
  std::optional<uint64_t> key;  // nothing: a trailer
  std::string_view value;       // the JSON string, with its quotes and escapes; empty if not there
  bool is_base64 = false;
  std::optional<uint64_t> expires;  // Unix time
  bool is_complete = false;         // the trailer: the range ends here
  std::optional<uint64_t> next;     // the trailer: where it goes on
  std::optional<uint64_t> as_of;    // the trailer: the offset of its moment
};

// kInvalid with one sentence if the line is neither.
[[nodiscard]] inline Status parse_scan_line(std::string_view line, ScanLine* out) {
  constexpr std::array<std::string_view, 7> kFields{"key",  "value",   "value_base64", "complete",
                                                    "next", "expires", "as_of"};
  *out = ScanLine{};
  JsonReader json(line);
  walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    uint64_t number = 0;
    if (field == 3) return json.read_bool(&out->is_complete);
    if (field == 1 || field == 2) {
      static_cast<void>(json.peek());  // passes the white space
      const size_t begin = json.position();
      if (!json.skip_value()) return false;
      out->value = line.substr(begin, json.position() - begin);
      out->is_base64 = field == 2;
      return true;
    }
    if (!read_json_key(json, &number)) return false;
    (field == 0   ? out->key
     : field == 4 ? out->next
     : field == 5 ? out->expires
                  : out->as_of) = number;
    return true;
  });
  return json.finish();
}

// The bytes that an item's value stands for.
[[nodiscard]] inline Status decode_scan_value(const ScanLine& item, std::string* bytes) {
  JsonReader json(item.value);
  std::string_view text;
  std::string unescaped;
  if (!json.read_string(&text, &unescaped)) return json.finish();
  if (!item.is_base64) {
    bytes->assign(text);
  } else if (!decode_base64(text, bytes)) {
    return Status(Code::kInvalid, "\"value_base64\" is not base64");
  }
  return {};
}

}  // namespace kyro
