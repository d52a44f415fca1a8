// JSON that clients send: keys, known fields, and the object that stands for one write.
//
// The reader is json_reader.h; what is answered is record_encoder.h. Here is what
// scripts/api/README.md says about fields: a key is an integer or a decimal string, known fields
// stand at most once, unknown ones are ignored but must be valid JSON, and every refusal is one
// sentence.
//
// Thread rule: values, not shared. Ownership: decoded views point into the text, or into the
// storage of the struct they are part of.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kyro/base/decimal.h"
#include "kyro/base/limits.h"
#include "kyro/base/status.h"
#include "kyro/base/suggest.h"
#include "kyro/json/base64.h"
#include "kyro/json/json_reader.h"

namespace kyro {

// Reads a key: an integer token or a plain decimal string, 0..2^64-1. `what` names it in messages.
inline bool read_json_key(JsonReader& json, uint64_t* key, std::string_view what = "\"key\"") {
  std::string_view token;
  std::string unescaped;
  const auto refuse = [&](std::string_view why) {
    return json.fail(std::string(what).append(why));
  };
  switch (json.peek()) {
    case JsonType::kNumber:
      if (!json.read_number(&token)) return false;
      break;
    case JsonType::kString:
      if (!json.read_string(&token, &unescaped)) return false;
      break;
    case JsonType::kInvalid:
      return json.skip_value();  // says what is wrong with the grammar
    default:
      return refuse(" must be a number or a decimal string");
  }
  const std::optional<uint64_t> parsed = parse_u64(token);
  if (!parsed) return refuse(" must be an integer from 0 to 18446744073709551615 in plain decimal");
  *key = *parsed;
  return true;
}

// What happens to fields that are not known: of what clients send they are refused, of what a
// server answers (which may be newer) they are skipped.
enum class UnknownFields : uint8_t { kRefused, kSkipped };

// "unknown field "ifmatch"; the nearest is "if_match"".
[[nodiscard]] inline std::string describe_unknown_field(std::string_view name,
                                                        std::span<const std::string_view> known) {
  std::string message = "unknown field \"" + std::string(name.substr(0, 64)) + "\"; ";
  const std::string_view meant = suggest(name, known, [](std::string_view field) { return field; });
  if (!meant.empty()) return message.append("the nearest is \"").append(meant).append("\"");
  message += "known are";
  for (const std::string_view field : known) {
    message.append(field.data() == known.front().data() ? " " : ", ").append(field);
  }
  return message;
}

// Walks the object that comes next. For a field known[i] calls on_field(i), which must read the
// value and return whether that succeeded. A known field twice is an error. True if the whole
// object was read.
template <class OnField>
bool walk_json_object(JsonReader& json, std::span<const std::string_view> known,
                      UnknownFields unknown, const OnField& on_field) {
  constexpr size_t kFieldsMax = 16;
  KYRO_CHECK(known.size() <= kFieldsMax);

  if (!json.enter_object()) return false;
  std::bitset<kFieldsMax> seen;
  std::string_view name;
  while (json.next_field(&name)) {
    size_t i = 0;
    while (i < known.size() && known[i] != name) ++i;
    if (i == known.size()) {
      if (unknown == UnknownFields::kRefused) {
        return json.fail(describe_unknown_field(name, known));
      }
      if (!json.skip_value()) return false;
      continue;
    }
    if (seen[i]) {
      return json.fail(std::string("field \"").append(known[i]).append("\" appears twice"));
    }
    seen[i] = true;
    if (!on_field(i)) return false;
  }
  return json.ok();
}

// One record to write, as a put body or a line of an import or batch has it. Neither copied nor
// moved: `value` may point into `storage`.
struct JsonWrite {
  JsonWrite() = default;
  JsonWrite(const JsonWrite&) = delete;
  JsonWrite& operator=(const JsonWrite&) = delete;

  void clear() {
    key.reset();
    value.reset();
    ttl_secs.reset();
    expires_secs.reset();
    op.clear();
    if_match.reset();
    must_exist = false;
    must_be_absent = false;
  }

  std::optional<uint64_t> key;
  std::optional<std::string_view> value;  // the bytes, decoded
  std::string_view value_json;            // as it stands in the text, with its quotes
  bool is_base64 = false;                 // that is "value_base64"
  std::optional<uint64_t> ttl_secs;       // 1..kTtlSecsMax
  std::optional<uint64_t> expires_secs;   // Unix time; of import lines
  std::string op;                         // empty if absent, or if not asked for
  std::optional<uint64_t> if_match;  // "if_match" with an offset; this and what follows with op
  bool must_exist = false;           // "if_match":"*"
  bool must_be_absent = false;       // "if_none_match":"*"
  std::string storage;
};

namespace json_detail {

inline constexpr std::array<std::string_view, 10> kWriteFields{
    "key", "value",    "value_base64",  "ttl_secs", "ttl",
    "op",  "if_match", "if_none_match", "offset",   "expires"};
inline constexpr size_t kPutFields = 5;    // so many of them are read in a put,
inline constexpr size_t kBatchFields = 8;  // so many in a line of a batch, all in one of an import

inline bool read_string_field(JsonReader& json, std::string_view name, std::string_view* out,
                              std::string* unescaped) {
  const JsonType type = json.peek();
  if (type == JsonType::kInvalid) return json.skip_value();
  if (type != JsonType::kString) {
    return json.fail(std::string("\"").append(name).append("\" must be a string"));
  }
  return json.read_string(out, unescaped);
}

inline bool read_value_field(JsonReader& json, bool is_base64, JsonWrite* out) {
  if (out->value) return json.fail("\"value\" and \"value_base64\" must not be given together");
  std::string_view text;
  if (!is_base64) {
    if (!read_string_field(json, "value", &text, &out->storage)) return false;
  } else {
    std::string unescaped;
    if (!read_string_field(json, "value_base64", &text, &unescaped)) return false;
    if (!decode_base64(text, &out->storage)) {
      return json.fail("\"value_base64\" must be standard base64 with padding");
    }
    text = out->storage;
  }
  out->value = text;
  return true;
}

inline bool read_ttl_field(JsonReader& json, JsonWrite* out) {
  constexpr std::string_view kRule = "\"ttl_secs\" must be a positive whole number of seconds";
  if (out->ttl_secs) return json.fail("\"ttl\" and \"ttl_secs\" are the same thing");
  const JsonType type = json.peek();
  if (type == JsonType::kInvalid) return json.skip_value();
  if (type != JsonType::kNumber) return json.fail(kRule);
  std::string_view token;
  if (!json.read_number(&token)) return false;
  out->ttl_secs = parse_u64(token);
  if (!out->ttl_secs || *out->ttl_secs == 0) return json.fail(kRule);
  if (*out->ttl_secs > kTtlSecsMax) return json.fail("\"ttl_secs\" must be at most 1000 years");
  return true;
}

inline bool read_op_field(JsonReader& json, JsonWrite* out) {
  std::string_view name;
  std::string unescaped;
  if (!read_string_field(json, "op", &name, &unescaped)) return false;
  out->op = name;
  return true;
}

// An offset as a number or a decimal string, or "*".
inline bool read_if_match_field(JsonReader& json, JsonWrite* out) {
  const JsonType type = json.peek();
  std::string_view text;
  std::string unescaped;
  if (type == JsonType::kInvalid) return json.skip_value();
  if (type == JsonType::kNumber && !json.read_number(&text)) return false;
  if (type == JsonType::kString && !json.read_string(&text, &unescaped)) return false;
  out->must_exist = type == JsonType::kString && text == "*";
  if (!out->must_exist) out->if_match = parse_u64(text);
  if (out->must_exist || out->if_match) return true;
  return json.fail("\"if_match\" must be an offset or \"*\"");
}

inline bool read_if_none_match_field(JsonReader& json, JsonWrite* out) {
  const JsonType type = json.peek();
  std::string_view text;
  std::string unescaped;
  if (type == JsonType::kInvalid) return json.skip_value();
  if (type == JsonType::kString && !json.read_string(&text, &unescaped)) return false;
  out->must_be_absent = text == "*";
  return out->must_be_absent || json.fail("\"if_none_match\" must be \"*\"");
}

}  // namespace json_detail

// What a decoded object is: a put has no operation and no conditions, a line of an import may be
// what scan, dump and replay print, whose offset means nothing where it goes.
enum class JsonWriteKind : uint8_t { kPut, kBatchLine, kImportLine };

// Decodes {"key":…, "value":… | "value_base64":…, "ttl_secs":… | "ttl":…} and, by its kind, "op",
// "if_match", "if_none_match", and nothing after it. Says nothing about which fields must be there.
// kInvalid with one sentence if the text is refused.
[[nodiscard]] inline Status decode_json_write(std::string_view text, JsonWriteKind kind,
                                              JsonWrite* out) {
  out->clear();
  JsonReader json(text);
  std::span<const std::string_view> known = json_detail::kWriteFields;
  if (kind == JsonWriteKind::kPut) known = known.first(json_detail::kPutFields);
  if (kind == JsonWriteKind::kBatchLine) known = known.first(json_detail::kBatchFields);
  walk_json_object(json, known, UnknownFields::kRefused, [&](size_t field) {
    switch (field) {
      case 0: {
        uint64_t key = 0;
        if (!read_json_key(json, &key)) return false;
        out->key = key;
        return true;
      }
      case 1:
      case 2: {
        static_cast<void>(json.peek());  // passes the white space
        const size_t begin = json.position();
        out->is_base64 = field == 2;
        if (!json_detail::read_value_field(json, out->is_base64, out)) return false;
        out->value_json = text.substr(begin, json.position() - begin);
        return true;
      }
      case 3:
      case 4:
        return json_detail::read_ttl_field(json, out);
      case 5:
        return json_detail::read_op_field(json, out);
      case 6:
        return json_detail::read_if_match_field(json, out);
      case 7:
        return json_detail::read_if_none_match_field(json, out);
      case 8:
        return json.skip_value();
      default: {
        uint64_t expires_secs = 0;
        if (!read_json_key(json, &expires_secs, "\"expires\"")) return false;
        out->expires_secs = expires_secs;
        return true;
      }
    }
  });
  return json.finish();
}

// Decodes the body of a put: key and exactly one of value and value_base64 must be there.
[[nodiscard]] inline Status decode_json_put(std::string_view text, JsonWrite* out) {
  KYRO_TRY(decode_json_write(text, JsonWriteKind::kPut, out));
  if (!out->key) return Status(Code::kInvalid, "field \"key\" is missing");
  if (!out->value)
    return Status(Code::kInvalid, "field \"value\" (or \"value_base64\") is missing");
  return {};
}

}  // namespace kyro
