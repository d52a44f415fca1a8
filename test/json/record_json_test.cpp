#include "kyro/json/record_json.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/json/record_encoder.h"
#include "test/support/json_cases.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

using namespace std::string_view_literals;
using test::GuardedBytes;
using test::kMustAccept;
using test::kMustRefuse;

Status skip_whole(std::string_view text) {
  JsonReader json(text);
  json.skip_value();
  return json.finish();
}

// Reads one value with the typed calls and writes it down again, without white space: a second way
// through the reader. Depth is bounded by the reader.
bool copy_value(JsonReader& json, std::string* out) {
  std::string_view text;
  std::string unescaped;
  bool flag = false;
  switch (json.peek()) {
    case JsonType::kObject: {
      *out += '{';
      if (!json.enter_object()) return false;
      while (json.next_field(&text)) {
        if (out->back() != '{') *out += ',';
        append_json_string(*out, text);
        *out += ':';
        if (!copy_value(json, out)) return false;
      }
      *out += '}';
      return json.ok();
    }
    case JsonType::kArray: {
      *out += '[';
      if (!json.enter_array()) return false;
      while (json.next_element()) {
        if (out->back() != '[') *out += ',';
        if (!copy_value(json, out)) return false;
      }
      *out += ']';
      return json.ok();
    }
    case JsonType::kString:
      if (!json.read_string(&text, &unescaped)) return false;
      append_json_string(*out, text);
      return true;
    case JsonType::kNumber:
      if (!json.read_number(&text)) return false;
      *out += text;
      return true;
    case JsonType::kBool:
      if (!json.read_bool(&flag)) return false;
      *out += flag ? "true" : "false";
      return true;
    case JsonType::kNull:
      if (!json.read_null()) return false;
      *out += "null";
      return true;
    case JsonType::kInvalid:
      break;
  }
  return json.skip_value();
}

Status copy_whole(std::string_view text, std::string* out) {
  out->clear();
  JsonReader json(text);
  copy_value(json, out);
  return json.finish();
}

TEST_CASE("the tables of JSON texts hold at least three hundred cases") {
  CHECK(std::size(kMustAccept) >= 150);
  CHECK(std::size(kMustRefuse) >= 300);
}

TEST_CASE(
    "every permitted JSON text is accepted, skipped or read, and nothing outside it is touched") {
  for (const std::string_view text : kMustAccept) {
    INFO("text " << text);
    for (const auto guard : {GuardedBytes::Guard::kBehind, GuardedBytes::Guard::kBefore}) {
      const GuardedBytes guarded(text, guard);
      CHECK(skip_whole(guarded.view()).to_string() == "ok");
      std::string copy;
      CHECK(copy_whole(guarded.view(), &copy).to_string() == "ok");
      std::string again;
      CHECK(copy_whole(copy, &again).ok());
      CHECK(copy == again);
    }
  }
}

TEST_CASE("every JSON text that is not permitted is refused with a message") {
  for (const std::string_view text : kMustRefuse) {
    INFO("text " << text);
    for (const auto guard : {GuardedBytes::Guard::kBehind, GuardedBytes::Guard::kBefore}) {
      const GuardedBytes guarded(text, guard);
      const Status skipped = skip_whole(guarded.view());
      CHECK(skipped.code() == Code::kInvalid);
      CHECK(skipped.message().find(" at byte ") != std::string_view::npos);
      std::string copy;
      CHECK(copy_whole(guarded.view(), &copy).message() == skipped.message());
    }
  }
}

TEST_CASE(
    "every permitted text is also accepted in a field that an import skips, every other refused "
    "there") {
  JsonWrite write;
  std::string body;
  const auto put_with = [&](std::string_view extra) {
    body.assign("{\"key\":1,\"offset\":").append(extra).append(",\"value\":\"v\"}");
    return decode_json_write(body, JsonWriteKind::kImportLine, &write);
  };
  for (const std::string_view text : kMustAccept) {
    INFO("text " << text);
    REQUIRE(put_with(text).ok());
    REQUIRE(write.value == "v");
  }
  // In its field no text of the other table becomes permitted, but for those that only try to go on
  // after their end.
  size_t refused = 0;
  for (const std::string_view text : kMustRefuse) refused += put_with(text).ok() ? 0u : 1u;
  CHECK(refused == std::size(kMustRefuse));
}

TEST_CASE("every proper prefix of a container is refused") {
  for (const std::string_view text : kMustAccept) {
    if (text.front() != '{' && text.front() != '[') continue;
    for (size_t length = 0; length < text.find_last_of("]}"); ++length) {
      INFO("prefix " << text.substr(0, length));
      const GuardedBytes guarded(text.substr(0, length));
      CHECK_FALSE(skip_whole(guarded.view()).ok());
    }
  }
}

TEST_CASE("nesting is accepted to the bound and refused beyond it, skipped and read alike") {
  const auto nested = [](std::string_view open, std::string_view close, size_t depth) {
    std::string text;
    for (size_t i = 0; i < depth; ++i) text += open;
    text += "1";
    for (size_t i = 0; i < depth; ++i) text += close;
    return text;
  };
  std::string copy;
  for (const auto& [open, close] : {std::pair{"["sv, "]"sv}, {"{\"a\":"sv, "}"sv}}) {
    for (const size_t depth : {size_t{1}, size_t{64}, JsonReader::kDepthMax}) {
      CHECK(skip_whole(nested(open, close, depth)).ok());
      CHECK(copy_whole(nested(open, close, depth), &copy).ok());
    }
    for (const size_t depth : {JsonReader::kDepthMax + 1, size_t{1000}, size_t{1000000}}) {
      const Status status = skip_whole(nested(open, close, depth));
      CHECK(status.message().find("nested too deeply") != std::string_view::npos);
      CHECK_FALSE(copy_whole(nested(open, close, depth), &copy).ok());
    }
  }
  CHECK_FALSE(skip_whole(std::string(1000000, '[')).ok());
  // The bound counts open containers, not all of them.
  std::string wide = "[";
  for (int i = 0; i < 1000; ++i) wide += "[{}],";
  CHECK(skip_whole(wide + "[]]").ok());
}

TEST_CASE("escapes become the bytes they stand for") {
  const auto unescape = [](std::string_view text) {
    JsonReader json(text);
    std::string_view out;
    std::string unescaped;
    REQUIRE(json.read_string(&out, &unescaped));
    REQUIRE(json.finish().ok());
    return std::string(out);
  };
  CHECK(unescape(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  CHECK(unescape(R"("\u0041\u00e9\u20AC")") == "A\xC3\xA9\xE2\x82\xAC");
  CHECK(unescape(R"("\ud83c\udf89")") == "\xF0\x9F\x8E\x89");
  CHECK(unescape(R"("\uD800\uDC00\uDBFF\uDFFF")") == "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
  CHECK(unescape(R"("a\u0000b")") == "a\0b"sv);
  CHECK(unescape(R"("plain \\n text, then \n")") == "plain \\n text, then \n");
  CHECK(unescape("\"no escapes \xE2\x82\xAC\"") == "no escapes \xE2\x82\xAC");
}

TEST_CASE("a string without escapes is a view into the text") {
  const std::string text = "  \"abcdefghijkl\" ";
  JsonReader json(text);
  std::string_view out;
  std::string unescaped;
  REQUIRE(json.read_string(&out, &unescaped));
  CHECK(out.data() == text.data() + 3);
  CHECK(unescaped.empty());
}

TEST_CASE("any bytes that are UTF-8 survive writing and reading") {
  const uint64_t seed = test::test_seed(11);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (size_t i = random() % 40; i > 0; --i) {
      uint32_t code_point = static_cast<uint32_t>(random()) & 0x1FFFFFu >> random() % 21;
      if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) code_point = '\\';
      append_utf8(bytes, code_point);
    }
    std::string json_text;
    append_json_string(json_text, bytes);
    const GuardedBytes guarded(json_text);
    JsonReader json(guarded.view());
    std::string_view out;
    std::string unescaped;
    REQUIRE(json.read_string(&out, &unescaped));
    REQUIRE(json.finish().ok());
    REQUIRE(out == bytes);
  }
}

TEST_CASE("the writer escapes what RFC 8259 demands and nothing else") {
  std::string out;
  append_json_string(out, "\0\x01\x1F\b\f\n\r\t\"\\/\x7F\xC3\xA9"sv);
  CHECK(out == "\"\\u0000\\u0001\\u001f\\b\\f\\n\\r\\t\\\"\\\\/\x7F\xC3\xA9\"");
  out.clear();
  append_json_value_field(out, "text");
  CHECK(out == R"("value":"text")");
  out.clear();
  append_json_value_field(out, "\xFF\x00"sv);
  CHECK(out == R"("value_base64":"/wA=")");
  out.clear();
  append_json_u64(out, UINT64_MAX);
  append_json_u64(out, 7, true);
  CHECK(out == R"(18446744073709551615"7")");
}

TEST_CASE("a put object gives its key, value and time to live") {
  JsonWrite write;
  REQUIRE(decode_json_put(R"({"key":123,"value":"hello"})", &write).ok());
  CHECK(write.key == 123u);
  CHECK(write.value == "hello");
  CHECK_FALSE(write.ttl_secs.has_value());
  REQUIRE(decode_json_put(R"( {"value" : "" , "key" : "18446744073709551615"} )", &write).ok());
  CHECK(write.key == UINT64_MAX);
  CHECK(write.value == "");
  REQUIRE(decode_json_put(R"({"key":0,"value_base64":"AAH/","ttl_secs":315360000})", &write).ok());
  CHECK(write.key == 0u);
  CHECK(write.value == "\x00\x01\xFF"sv);
  CHECK(write.ttl_secs == 315360000u);
  REQUIRE(
      decode_json_put(R"({"key":9007199254740993,"value":"\u20ac","ttl_secs":1})", &write).ok());
  CHECK(write.key == 9007199254740993u);
  CHECK(write.value == "\xE2\x82\xAC");
  // Names and texts may be spelled with escapes.
  REQUIRE(decode_json_put(R"({"\u006bey":"\u0031\u0032","v\u0061lue":"a\nb"})", &write).ok());
  CHECK(write.key == 12u);
  CHECK(write.value == "a\nb");
  REQUIRE(decode_json_put(R"({"key":1,"value_base64":"\u0041AA="})", &write).ok());
  CHECK(write.value == "\0\0"sv);
  // Both names of a lifetime.
  REQUIRE(decode_json_put(R"({"key":1,"value":"v","ttl":7})", &write).ok());
  CHECK(write.ttl_secs == 7u);
}

TEST_CASE("a put object with a bad field is refused with a sentence that names it") {
  struct Case {
    std::string_view text;
    std::string_view message;
  };
  constexpr std::string_view kKeyRule =
      "\"key\" must be an integer from 0 to 18446744073709551615 in plain decimal";
  constexpr std::string_view kTtlRule = "\"ttl_secs\" must be a positive whole number of seconds";
  constexpr std::string_view kTogether =
      "\"value\" and \"value_base64\" must not be given together";
  constexpr std::string_view kBase64 = "\"value_base64\" must be standard base64 with padding";
  const Case cases[] = {
      {R"({})", "field \"key\" is missing"},
      {R"({"value":"v"})", "field \"key\" is missing"},
      {R"({"Key":1,"value":"v"})", "unknown field \"Key\"; the nearest is \"key\""},
      {R"({"key":1,"value":"v","ttl":1,"ttl_secs":1})",
       "\"ttl\" and \"ttl_secs\" are the same thing"},
      {R"({"key":1,"value":"v","tll":1})", "unknown field \"tll\"; the nearest is \"ttl\""},
      {R"({"key":1,"value":"v","if_match":1})",
       "unknown field \"if_match\"; known are key, value, value_base64, ttl_secs, ttl, expires"},
      {R"({"key":1,"value":"v","op":"put"})", "unknown field \"op\"; known are key"},
      {R"({"key":1,"value":"v","":1})", "unknown field \"\"; known are key"},
      {R"({"key":1})", "field \"value\" (or \"value_base64\") is missing"},
      {R"({"key":-1,"value":"v"})", kKeyRule},
      {R"({"key":-0,"value":"v"})", kKeyRule},
      {R"({"key":1.0,"value":"v"})", kKeyRule},
      {R"({"key":1.5,"value":"v"})", kKeyRule},
      {R"({"key":1e3,"value":"v"})", kKeyRule},
      {R"({"key":18446744073709551616,"value":"v"})", kKeyRule},
      {R"({"key":99999999999999999999999,"value":"v"})", kKeyRule},
      {R"({"key":"","value":"v"})", kKeyRule},
      {R"({"key":"abc","value":"v"})", kKeyRule},
      {R"({"key":"01","value":"v"})", kKeyRule},
      {R"({"key":"+1","value":"v"})", kKeyRule},
      {R"({"key":" 1","value":"v"})", kKeyRule},
      {R"({"key":"-1","value":"v"})", kKeyRule},
      {R"({"key":"1.0","value":"v"})", kKeyRule},
      {R"({"key":"18446744073709551616","value":"v"})", kKeyRule},
      {R"({"key":"1\u0000","value":"v"})", kKeyRule},
      {R"({"key":01,"value":"v"})", "leading zeros"},
      {R"({"key":null,"value":"v"})", "\"key\" must be a number or a decimal string"},
      {R"({"key":true,"value":"v"})", "\"key\" must be a number or a decimal string"},
      {R"({"key":[1],"value":"v"})", "\"key\" must be a number or a decimal string"},
      {R"({"key":{},"value":"v"})", "\"key\" must be a number or a decimal string"},
      {R"({"key":x,"value":"v"})", "expected a value"},
      {R"({"key":1,"key":1,"value":"v"})", "field \"key\" appears twice"},
      {R"({"key":1,"\u006bey":1,"value":"v"})", "field \"key\" appears twice"},
      {R"({"key":1,"value":"v","value":"v"})", "field \"value\" appears twice"},
      {R"({"key":1,"value_base64":"","value_base64":""})", "field \"value_base64\" appears twice"},
      {R"({"key":1,"value":"v","ttl_secs":1,"ttl_secs":1})", "field \"ttl_secs\" appears twice"},
      {R"({"key":1,"value":"v","value_base64":"AA=="})", kTogether},
      {R"({"key":1,"value_base64":"AA==","value":""})", kTogether},
      {R"({"key":1,"value":1})", "\"value\" must be a string"},
      {R"({"key":1,"value":null})", "\"value\" must be a string"},
      {R"({"key":1,"value":["v"]})", "\"value\" must be a string"},
      {R"({"key":1,"value":{}})", "\"value\" must be a string"},
      {R"({"key":1,"value_base64":null})", "\"value_base64\" must be a string"},
      {R"({"key":1,"value_base64":"A"})", kBase64},
      {R"({"key":1,"value_base64":"AAA"})", kBase64},
      {R"({"key":1,"value_base64":"AB=="})", kBase64},
      {R"({"key":1,"value_base64":"A-_A"})", kBase64},
      {R"({"key":1,"value_base64":"AA==\n"})", kBase64},
      {R"({"key":1,"value":"v","ttl_secs":0})", kTtlRule},
      {R"({"key":1,"value":"v","ttl_secs":-5})", kTtlRule},
      {R"({"key":1,"value":"v","ttl_secs":1.5})", kTtlRule},
      {R"({"key":1,"value":"v","ttl_secs":1e2})", kTtlRule},
      {R"({"key":1,"value":"v","ttl_secs":"10"})", kTtlRule},
      {R"({"key":1,"value":"v","ttl_secs":null})", kTtlRule},
      {R"({"key":1,"value":"v","ttl_secs":18446744073709551616})", kTtlRule},
      {R"({"key":1,"value":"v","ttl_secs":18446744073709551615})", "at most 1000 years"},
      {R"([{"key":1,"value":"v"}])", "expected an object"},
      {R"("key")", "expected an object"},
      {R"(1)", "expected an object"},
      {R"(null)", "expected an object"},
      {"", "unexpected end"},
      {R"({"key":1,"value":"v")", "unexpected end"},
      {R"({"key":1,"value":"v"}})", "unexpected bytes after"},
      {R"({"key":1,"value":"v"} {"key":2,"value":"v"})", "unexpected bytes after"},
      {"{\"key\":1,\"value\":\"\xFF\"}", "not valid UTF-8"},
      {R"({"key":1,"value":"\ud800"})", "lone surrogate"},
  };
  for (const Case& c : cases) {
    INFO("text " << c.text);
    const GuardedBytes guarded(c.text);
    JsonWrite write;
    const Status status = decode_json_put(guarded.view(), &write);
    CHECK(status.code() == Code::kInvalid);
    INFO("message " << status.message());
    CHECK(status.message().find(c.message) != std::string_view::npos);
  }
}

TEST_CASE("a batch line gives its operation, and one struct serves line after line") {
  JsonWrite write;
  REQUIRE(
      decode_json_write(R"({"op":"put","key":5,"value":"\n"})", JsonWriteKind::kBatchLine, &write)
          .ok());
  CHECK(write.op == "put");
  CHECK(write.value == "\n");
  REQUIRE(decode_json_write(R"({"op":"delete","key":6})", JsonWriteKind::kBatchLine, &write).ok());
  CHECK(write.op == "delete");
  CHECK(write.key == 6u);
  CHECK_FALSE(write.value.has_value());
  CHECK_FALSE(decode_json_write(R"({"op":1,"key":6})", JsonWriteKind::kBatchLine, &write).ok());
  CHECK_FALSE(decode_json_write(R"({"op":"a","op":"b"})", JsonWriteKind::kBatchLine, &write).ok());
}

TEST_CASE("a misspelt condition of a batch line is refused with the nearest name") {
  JsonWrite write;
  const Status typo = decode_json_write(R"({"op":"put","key":1,"value":"v","ifmatch":99})",
                                        JsonWriteKind::kBatchLine, &write);
  CHECK(typo.message().starts_with("unknown field \"ifmatch\"; the nearest is \"if_match\""));
  // What replay and dump print goes into an import, not into a batch.
  constexpr std::string_view kDumped = R"({"key":1,"value":"v","offset":7,"expires":9})";
  CHECK_FALSE(decode_json_write(kDumped, JsonWriteKind::kBatchLine, &write).ok());
  CHECK(decode_json_write(kDumped, JsonWriteKind::kImportLine, &write).ok());
  CHECK(write.expires_secs == 9u);
  CHECK(write.value_json == "\"v\"");
  CHECK_FALSE(
      decode_json_write(R"({"key":1,"value":"v","ofset":7})", JsonWriteKind::kImportLine, &write)
          .ok());
}

TEST_CASE("arrays of keys are read without a tree") {
  const auto read_keys = [](std::string_view text, std::vector<uint64_t>* keys) {
    constexpr std::array<std::string_view, 1> kKnown{"keys"};
    JsonReader json(text);
    walk_json_object(json, kKnown, UnknownFields::kSkipped, [&](size_t) {
      if (!json.enter_array()) return false;
      while (json.next_element()) {
        uint64_t key = 0;
        if (!read_json_key(json, &key, "every key")) return false;
        keys->push_back(key);
      }
      return json.ok();
    });
    return json.finish();
  };
  std::vector<uint64_t> keys;
  CHECK(read_keys(R"({"other":[1,2],"keys":[1,"2", 18446744073709551615],"x":{}})", &keys).ok());
  CHECK(keys == std::vector<uint64_t>{1, 2, UINT64_MAX});
  keys.clear();
  CHECK(read_keys(R"({"keys":[]})", &keys).ok());
  CHECK(keys.empty());
  CHECK(read_keys(R"({"keys":[1,-2]})", &keys).message().find("every key must be") == 0);
  CHECK_FALSE(read_keys(R"({"keys":[1,]})", &keys).ok());
  CHECK_FALSE(read_keys(R"({"keys":1})", &keys).ok());
  CHECK_FALSE(read_keys(R"({"keys":[1],"keys":[2]})", &keys).ok());
}

TEST_CASE("the first error stays and later calls do nothing") {
  JsonReader json("[1,x,2]");
  REQUIRE(json.enter_array());
  REQUIRE(json.next_element());
  std::string_view token;
  REQUIRE(json.read_number(&token));
  REQUIRE(json.next_element());
  CHECK_FALSE(json.read_number(&token));
  CHECK_FALSE(json.next_element());
  CHECK_FALSE(json.skip_value());
  CHECK_FALSE(json.enter_object());
  CHECK(json.peek() == JsonType::kInvalid);
  CHECK(json.finish().message() == "expected a number at byte 3");
}

TEST_CASE("changed bytes are refused or read alike in both ways through the reader") {
  const uint64_t seed = test::test_seed(23);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  constexpr std::string_view kTelling = "{}[]\",:\\u0123e.-+ tfn\x80\xC3\xED\n";
  for (int round = 0; round < 20000; ++round) {
    std::string text(kMustAccept[random() % std::size(kMustAccept)]);
    for (size_t changes = 1 + random() % 3; changes > 0; --changes) {
      const char c = kTelling[random() % kTelling.size()];
      const size_t at = random() % (text.size() + 1);
      if (random() % 2 == 0 || at == text.size()) {
        text.insert(at, 1, c);
      } else {
        text[at] = c;
      }
    }
    std::string copy;
    const Status skipped = skip_whole(text);
    const Status copied = copy_whole(text, &copy);
    if (skipped.ok() != copied.ok()) FAIL("text " << text);
    if (copied.ok()) REQUIRE(skip_whole(copy).ok());
  }
}

}  // namespace
}  // namespace kyro
