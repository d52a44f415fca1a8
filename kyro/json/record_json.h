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

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kyro/base/limits.h"
#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/base/text/suggest.h"
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

// The known fields of an object, one after the other. A known field twice is an error. Begin with
// enter_object().
class KnownFields {
 public:
  // `known` outlives it.
  KnownFields(std::span<const std::string_view> known, UnknownFields unknown)
      : known_(known), unknown_(unknown) {
    KYRO_CHECK(known.size() <= kFieldsMax);
  }

  // Moves to the value of the next known field, known[*field]; false after the last one.
  bool next(JsonReader& json, size_t* field) {
    std::string_view name;
    while (json.next_field(&name)) {
      size_t i = 0;
      while (i < known_.size() && known_[i] != name) ++i;
      if (i == known_.size()) {
        if (unknown_ == UnknownFields::kRefused) {
          return json.fail(describe_unknown_field(name, known_));
        }
        if (!json.skip_value()) return false;
        continue;
      }
      if (seen_[i]) {
        return json.fail(std::string("field \"").append(known_[i]).append("\" appears twice"));
      }
      seen_[i] = true;
      *field = i;
      return true;
    }
    return false;
  }

 private:
  static constexpr size_t kFieldsMax = 16;

  const std::span<const std::string_view> known_;
  const UnknownFields unknown_;
  std::bitset<kFieldsMax> seen_;
};

// Walks the object that comes next. For a field known[i] calls on_field(i), which must read the
// value and return whether that succeeded. True if the whole object was read.
template <class OnField>
bool walk_json_object(JsonReader& json, std::span<const std::string_view> known,
                      UnknownFields unknown, const OnField& on_field) {
  if (!json.enter_object()) return false;
  KnownFields fields(known, unknown);
  size_t field = 0;
  while (fields.next(json, &field)) {
    if (!on_field(field)) return false;
  }
  return json.ok();
}

// One record to write, as a put body or a line of an import or batch has it. Neither copied nor
// moved: `value` may point into `storage`, a copy of the text.
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

  [[nodiscard]] bool has_lifetime() const { return ttl_secs || expires_secs; }

  std::optional<uint64_t> key;
  std::optional<std::string_view> value;  // the bytes, decoded
  std::string_view value_json;            // as it stood, with its quotes (decode_json_write())
  bool is_base64 = false;                 // that is "value_base64"
  std::optional<uint64_t> ttl_secs;       // 1..kTtlSecsMax
  std::optional<uint64_t> expires_secs;   // Unix time, 1..kExpirySecsMax
  std::string op;                         // empty if absent, or if not asked for
  std::optional<uint64_t> if_match;  // "if_match" with an offset; this and what follows with op
  bool must_exist = false;           // "if_match":"*"
  bool must_be_absent = false;       // "if_none_match":"*"
  std::string storage;
};

namespace json_detail {

inline constexpr std::array<std::string_view, 10> kWriteFields{
    "key",     "value", "value_base64", "ttl_secs",      "ttl",
    "expires", "op",    "if_match",     "if_none_match", "offset"};
inline constexpr size_t kPutFields = 6;    // so many of them are read in a put,
inline constexpr size_t kBatchFields = 9;  // so many in a line of a batch, all in one of an import

// Whether the value of field `name` is a string; else the error is set.
inline bool is_string_next(JsonReader& json, std::string_view name) {
  const JsonType type = json.peek();
  if (type == JsonType::kString) return true;
  if (type == JsonType::kInvalid) return json.skip_value();
  return json.fail(std::string("\"").append(name).append("\" must be a string"));
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

inline bool read_expires_field(JsonReader& json, JsonWrite* out) {
  const JsonType type = json.peek();
  if (type == JsonType::kInvalid) return json.skip_value();
  std::string_view token;
  if (type == JsonType::kNumber && !json.read_number(&token)) return false;
  out->expires_secs = parse_u64(token);
  if (out->expires_secs && *out->expires_secs != 0 && *out->expires_secs <= kExpirySecsMax) {
    return true;
  }
  return json.fail("\"expires\" must be a moment of Unix time in whole seconds");
}

inline bool read_op_field(JsonReader& json, JsonWrite* out) {
  std::string_view name;
  std::string unescaped;
  if (!is_string_next(json, "op") || !json.read_string(&name, &unescaped)) return false;
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

// Decodes {"key":…, "value":… | "value_base64":…, "ttl_secs":… | "ttl":… | "expires":…} and, by its
// kind, "op", "if_match", "if_none_match", and nothing after it. Says nothing about which fields
// must be there.
//
// It does so in slices and in place: a value lies in the text, which is changed, when it has been
// decoded. Only values are sliced, since nothing else that is accepted is long.
class JsonWriteDecoder {
 public:
  // Text and *out outlive the decoder, and the text outlives the value.
  JsonWriteDecoder(std::span<char> text, JsonWriteKind kind, JsonWrite* out)
      : text_(text),
        json_({text.data(), text.size()}),
        fields_(known_fields(kind), UnknownFields::kRefused),
        out_(out) {
    out->clear();
    if (!json_.enter_object()) state_ = State::kDone;
  }

  // Decodes about `budget_bytes` of the text; true when there is nothing left, or an error.
  bool advance(size_t budget_bytes) {
    const size_t begin = position();
    while (state_ != State::kDone && position() - begin < budget_bytes) {
      const size_t left = budget_bytes - (position() - begin);
      const bool goes_on = state_ == State::kFields   ? read_field()
                           : state_ == State::kString ? read_string(left)
                                                      : read_base64(left);
      if (!goes_on) state_ = State::kDone;
    }
    return state_ == State::kDone;
  }
  // kInvalid with one sentence if the text is refused. REQUIRES: advance() has returned true.
  [[nodiscard]] Status finish() {
    KYRO_TRY(json_.finish());
    if (!out_->ttl_secs || !out_->expires_secs) return Status();
    return Status(Code::kInvalid, "\"ttl_secs\" and \"expires\" must not be given together");
  }
  // Where the value stood in the text, with its quotes.
  [[nodiscard]] size_t value_begin() const { return begin_ == 0 ? 0 : begin_ - 1; }
  [[nodiscard]] size_t value_bytes() const { return end_ - value_begin(); }

 private:
  enum class State : uint8_t { kFields, kString, kBase64, kDone };

  static std::span<const std::string_view> known_fields(JsonWriteKind kind) {
    const std::span<const std::string_view> known = json_detail::kWriteFields;
    if (kind == JsonWriteKind::kPut) return known.first(json_detail::kPutFields);
    return kind == JsonWriteKind::kBatchLine ? known.first(json_detail::kBatchFields) : known;
  }

  // What has been worked through: base64 is gone through twice.
  [[nodiscard]] size_t position() const { return json_.position() + decoded_; }

  bool read_field() {
    size_t field = 0;
    if (!fields_.next(json_, &field)) return false;
    switch (field) {
      case 0: {
        uint64_t key = 0;
        if (!read_json_key(json_, &key)) return false;
        out_->key = key;
        return true;
      }
      case 1:
        return begin_value(false);
      case 2:
        return begin_value(true);
      case 3:
      case 4:
        return json_detail::read_ttl_field(json_, out_);
      case 5:
        return json_detail::read_expires_field(json_, out_);
      case 6:
        return json_detail::read_op_field(json_, out_);
      case 7:
        return json_detail::read_if_match_field(json_, out_);
      case 8:
        return json_detail::read_if_none_match_field(json_, out_);
      default:
        return json_.skip_value();
    }
  }

  bool begin_value(bool is_base64) {
    if (out_->value) {
      return json_.fail("\"value\" and \"value_base64\" must not be given together");
    }
    if (!json_detail::is_string_next(json_, is_base64 ? "value_base64" : "value")) return false;
    if (!json_.begin_string()) return false;
    out_->is_base64 = is_base64;
    begin_ = end_ = json_.position();
    size_ = 0;
    state_ = State::kString;
    return true;
  }

  bool read_string(size_t budget_bytes) {
    size_t made = 0;
    const auto slice = json_.string_slice(budget_bytes, text_.data() + begin_ + size_, &made);
    size_ += made;
    if (slice == JsonReader::Slice::kMore) return true;
    if (slice == JsonReader::Slice::kFailed) return false;
    state_ = out_->is_base64 ? State::kBase64 : State::kFields;
    decoded_ = 0;
    end_ = json_.position();
    if (!out_->is_base64) out_->value = std::string_view(text_.data() + begin_, size_);
    return out_->is_base64 && size_ == 0 ? end_base64(0) : true;
  }

  // The characters lie at begin_; the bytes take their place.
  bool read_base64(size_t budget_bytes) {
    char* const text = text_.data() + begin_;
    const size_t groups = size_ / 4;
    const size_t done = decoded_ / 4;
    const size_t now = std::min(groups - done, budget_bytes / 4 + 1);
    const bool is_last = done + now == groups;
    const size_t whole = is_last && now > 0 ? now - 1 : now;
    size_t rest = 0;
    if (size_ % 4 != 0 || !decode_base64_groups(text + 4 * done, whole, text + 3 * done) ||
        (is_last && !decode_base64_end(text + 4 * (groups - 1), text + 3 * (groups - 1), &rest))) {
      return json_.fail("\"value_base64\" must be standard base64 with padding");
    }
    decoded_ += 4 * now;
    return is_last ? end_base64(3 * (groups - 1) + rest) : true;
  }
  bool end_base64(size_t size) {
    out_->value = std::string_view(text_.data() + begin_, size);
    state_ = State::kFields;
    return true;
  }

  const std::span<char> text_;
  JsonReader json_;
  KnownFields fields_;
  JsonWrite* const out_;
  State state_ = State::kFields;
  size_t begin_ = 0;    // of the value, in the text
  size_t end_ = 0;      // after its closing quote
  size_t size_ = 0;     // of it so far
  size_t decoded_ = 0;  // of its base64
};

// The same at once, of a copy of the text.
[[nodiscard]] inline Status decode_json_write(std::string_view text, JsonWriteKind kind,
                                              JsonWrite* out) {
  out->storage.assign(text);
  JsonWriteDecoder decoder(out->storage, kind, out);
  constexpr size_t kAll = ~size_t{0};
  while (!decoder.advance(kAll)) continue;
  out->value_json = text.substr(decoder.value_begin(), decoder.value_bytes());
  return decoder.finish();
}

// Whether a put has what it must: key and exactly one of value and value_base64.
[[nodiscard]] inline Status check_json_put(const JsonWrite& write) {
  if (!write.key) return Status(Code::kInvalid, "field \"key\" is missing");
  if (!write.value)
    return Status(Code::kInvalid, "field \"value\" (or \"value_base64\") is missing");
  return {};
}

// Decodes the body of a put.
[[nodiscard]] inline Status decode_json_put(std::string_view text, JsonWrite* out) {
  KYRO_TRY(decode_json_write(text, JsonWriteKind::kPut, out));
  return check_json_put(*out);
}

}  // namespace kyro
