// Fuzz target: the JSON reader, the put decoder, UTF-8 and base64, held against each other.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/app/json.h"

namespace {

using kyro::JsonReader;
using kyro::JsonType;

// Reads one value with the typed calls and writes it down again without white space.
bool copy_value(JsonReader& json, std::string* out) {
  std::string_view text;
  std::string unescaped;
  bool flag = false;
  switch (json.peek()) {
    case JsonType::kObject:
      *out += '{';
      if (!json.enter_object()) return false;
      while (json.next_field(&text)) {
        if (out->back() != '{') *out += ',';
        kyro::append_json_string(*out, text);
        *out += ':';
        if (!copy_value(json, out)) return false;
      }
      *out += '}';
      return json.ok();
    case JsonType::kArray:
      *out += '[';
      if (!json.enter_array()) return false;
      while (json.next_element()) {
        if (out->back() != '[') *out += ',';
        if (!copy_value(json, out)) return false;
      }
      *out += ']';
      return json.ok();
    case JsonType::kString:
      if (!json.read_string(&text, &unescaped)) return false;
      CHECK(kyro::is_valid_utf8(text));
      kyro::append_json_string(*out, text);
      return true;
    case JsonType::kNumber:
      if (!json.read_number(&text)) return false;
      out->append(text);
      return true;
    case JsonType::kBool:
      if (!json.read_bool(&flag)) return false;
      out->append(flag ? "true" : "false");
      return true;
    case JsonType::kNull:
      if (!json.read_null()) return false;
      out->append("null");
      return true;
    case JsonType::kInvalid:
      break;
  }
  return json.skip_value();
}

bool copy_document(std::string_view text, std::string* out) {
  JsonReader json(text);
  copy_value(json, out);
  return json.finish().ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  JsonReader skipper(text);
  skipper.skip_value();
  const bool skipped = skipper.finish().ok();
  std::string copy;
  const bool copied = copy_document(text, &copy);
  CHECK(skipped == copied);
  if (copied) {
    // Strict JSON has no bytes that are not UTF-8, and a copy is its own copy.
    CHECK(kyro::is_valid_utf8(text));
    std::string again;
    CHECK(copy_document(copy, &again));
    CHECK(copy == again);
  }
  kyro::JsonWrite write;
  if (kyro::decode_json_put(text, &write).ok()) {
    CHECK(copied);
    CHECK(write.key && write.value && write.value->size() <= size);
  }
  static_cast<void>(kyro::decode_json_write(text, kyro::JsonOp::kRead, &write));
  std::string encoded;
  std::string decoded;
  kyro::append_base64(encoded, text);
  CHECK(kyro::decode_base64(encoded, &decoded) && decoded == text);
  if (kyro::decode_base64(text, &decoded)) {
    encoded.clear();
    kyro::append_base64(encoded, decoded);
    CHECK(encoded == text);
  }
  return 0;
}
