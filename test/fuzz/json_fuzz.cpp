// Fuzz target: the JSON reader, the decoders of puts and batches, UTF-8 and base64, held against
// each other.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/text/json_text.h"
#include "kyro/json/record_json.h"
#include "kyro/server/routes/batch_lines.h"

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
      KYRO_CHECK(kyro::is_valid_utf8(text));
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

// Values lie inside the text, in the order of their lines; a line that is taken is taken by the
// decoder of single lines too.
void check_batch(std::string_view text) {
  std::string copy(text);
  kyro::BatchReader reader(copy, [](const kyro::JsonWrite&) { return uint64_t{1}; });
  kyro::JsonWrite write;
  const char* behind = copy.data();
  size_t begin = 0;
  while (!reader.at_end()) {
    kyro::Mutation mutation;
    kyro::Condition condition;
    bool is_conditional = false;
    const auto is_whole = reader.next(1 + text.size() / 3, &mutation, &condition, &is_conditional);
    if (!is_whole.ok()) return;
    if (!*is_whole) continue;
    KYRO_CHECK(reader.position() > begin && reader.position() <= copy.size());
    std::string_view line = text.substr(begin, text.find('\n', begin) - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    KYRO_CHECK(kyro::decode_json_write(line, kyro::JsonWriteKind::kBatchLine, &write).ok());
    KYRO_CHECK(write.key == mutation.key && write.value.value_or("") == mutation.value);
    KYRO_CHECK(is_conditional || !condition.must_be);
    if (!mutation.value.empty()) {
      KYRO_CHECK(mutation.value.data() >= behind);
      behind = mutation.value.data() + mutation.value.size();
      KYRO_CHECK(behind <= copy.data() + copy.size());
    }
    begin = reader.position();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  JsonReader skipper(text);
  skipper.skip_value();
  const bool skipped = skipper.finish().ok();
  std::string copy;
  const bool copied = copy_document(text, &copy);
  KYRO_CHECK(skipped == copied);
  if (copied) {
    // Strict JSON has no bytes that are not UTF-8, and a copy is its own copy.
    KYRO_CHECK(kyro::is_valid_utf8(text));
    std::string again;
    KYRO_CHECK(copy_document(copy, &again));
    KYRO_CHECK(copy == again);
  }
  kyro::JsonWrite write;
  if (kyro::decode_json_put(text, &write).ok()) {
    KYRO_CHECK(copied);
    KYRO_CHECK(write.key && write.value && write.value->size() <= size);
  }
  static_cast<void>(kyro::decode_json_write(text, kyro::JsonWriteKind::kBatchLine, &write));
  check_batch(text);
  std::string encoded;
  std::string decoded;
  kyro::append_base64(encoded, text);
  KYRO_CHECK(kyro::decode_base64(encoded, &decoded) && decoded == text);
  if (kyro::decode_base64(text, &decoded)) {
    encoded.clear();
    kyro::append_base64(encoded, decoded);
    KYRO_CHECK(encoded == text);
  }
  return 0;
}
