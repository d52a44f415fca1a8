// The lines of a batch: what each of them becomes, and what is refused with its number.
#include "kyro/server/routes/batch_lines.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "test/support/test_util.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;
using namespace std::string_view_literals;

struct Line {
  Mutation mutation;
  std::optional<Condition> condition;
};

// Decodes a whole text in slices; `text` has to outlive the lines.
Status decode(std::span<char> text, std::vector<Line>* lines, size_t slice_bytes = 7) {
  BatchReader reader(text, [](const JsonWrite& write) {
    return write.ttl_secs ? 1000 + *write.ttl_secs : *write.expires_secs;
  });
  while (!reader.at_end()) {
    Line line;
    Condition condition;
    bool is_conditional = false;
    const auto is_whole = reader.next(slice_bytes, &line.mutation, &condition, &is_conditional);
    KYRO_TRY(is_whole);
    if (!*is_whole) continue;
    if (is_conditional) line.condition = condition;
    lines->push_back(line);
    CHECK(reader.line() == lines->size());
  }
  return Status();
}

Status decode_status(std::string text) {
  std::vector<Line> lines;
  return decode(text, &lines);
}

TEST_CASE("Lines become mutations, their values decoded in place") {
  std::string text =
      "{\"op\":\"put\",\"key\":1,\"value\":\"plain\"}\n"
      "{\"op\":\"put\",\"key\":\"2\",\"value\":\"\\u20ac\\n\",\"ttl_secs\":60}\r\n"
      "{\"key\":3,\"op\":\"put\",\"value_base64\":\"AAH/\"}\n"
      "{\"op\":\"put\",\"key\":4,\"value\":\"\",\"ttl\":9}\n"
      " { \"op\" : \"delete\" , \"key\" : 18446744073709551615 } ";
  std::vector<Line> lines;
  const Status status = decode(text, &lines);
  INFO(status.to_string());
  REQUIRE(status.ok());
  REQUIRE(lines.size() == 5);
  CHECK(lines[0].mutation.value == "plain");
  CHECK(lines[0].mutation.expiry_secs == 0);
  CHECK(lines[1].mutation.key == 2);
  CHECK(lines[1].mutation.value == "\xE2\x82\xAC\n");
  CHECK(lines[1].mutation.expiry_secs == 1060);
  CHECK(lines[2].mutation.value == "\x00\x01\xFF"sv);
  CHECK(lines[3].mutation.value.empty());
  CHECK(lines[4].mutation.type == RecordType::kTombstone);
  CHECK(lines[4].mutation.key == ~uint64_t{0});
  for (const Line& line : lines) {
    CHECK(line.mutation.value_crc == crc32c(line.mutation.value));
    CHECK_FALSE(line.condition.has_value());
  }
}

TEST_CASE("Conditions of lines") {
  std::string text =
      "{\"op\":\"put\",\"key\":1,\"value\":\"v\",\"if_match\":7}\n"
      "{\"op\":\"delete\",\"key\":2,\"if_match\":\"8\"}\n"
      "{\"op\":\"put\",\"key\":3,\"value\":\"v\",\"if_match\":\"*\"}\n"
      "{\"op\":\"put\",\"key\":4,\"value\":\"v\",\"if_none_match\":\"*\"}\n"
      "{\"op\":\"put\",\"key\":5,\"value\":\"v\",\"if_none_match\":\"*\",\"if_match\":0}\n";
  std::vector<Line> lines;
  REQUIRE(decode(text, &lines).ok());
  REQUIRE(lines.size() == 5);
  for (const Line& line : lines) {
    REQUIRE(line.condition.has_value());
    CHECK(line.condition->key == line.mutation.key);
    CHECK_FALSE(line.condition->must_be_found);
  }
  CHECK(lines[0].condition->must_be == 7u);
  CHECK(lines[1].condition->must_be == 8u);
  CHECK(lines[2].condition->must_exist);
  CHECK(lines[3].condition->must_be_absent);
  CHECK((lines[4].condition->must_be_absent && lines[4].condition->must_be == 0u));
}

TEST_CASE("A bad line is refused with its number and a sentence") {
  struct Case {
    std::string line;
    const char* message;
  };
  const std::string put = R"({"op":"put","key":1,"value":"v")";
  const Case cases[] = {
      {"", "the line is empty"},
      {"{}", "\"key\" is missing"},
      {R"({"op":"put","key":1})", "\"value\" (or \"value_base64\") is missing"},
      {R"({"key":1,"value":"v"})", "\"op\" must be"},
      {R"({"op":"Put","key":1,"value":"v"})", "\"op\" must be"},
      {R"({"op":7,"key":1,"value":"v"})", "\"op\" must be a string"},
      {R"({"op":"delete"})", "\"key\" is missing"},
      {R"({"op":"delete","key":1,"value":"v"})", "neither value nor lifetime"},
      {R"({"op":"delete","key":1,"ttl_secs":1})", "neither value nor lifetime"},
      {R"({"op":"delete","key":1,"expires":1})", "neither value nor lifetime"},
      {put + R"(,"ttl_secs":0})", "\"ttl_secs\" must be"},
      {put + R"(,"if_match":null})", "\"if_match\" must be"},
      {put + R"(,"if_match":-1})", "\"if_match\" must be"},
      {put + R"(,"if_match":1.0})", "\"if_match\" must be"},
      {put + R"(,"if_match":"01"})", "\"if_match\" must be"},
      {put + R"(,"if_match":"\"1\""})", "\"if_match\" must be"},
      {put + R"(,"if_match":[1]})", "\"if_match\" must be"},
      {put + R"(,"if_match":})", "expected a value"},
      {put + R"(,"if_match":1,"if_match":2})", "appears twice"},
      {put + R"(,"if_none_match":1})", "\"if_none_match\" must be"},
      {put + R"(,"if_none_match":"1"})", "\"if_none_match\" must be"},
      {put + R"(,"if_none_match":true})", "\"if_none_match\" must be"},
      {put + "} " + put + "}", "unexpected bytes after"},
      {"[" + put + "}]", "expected an object"},
  };
  for (const Case& c : cases) {
    INFO(c.line);
    const Status status = decode_status(put + "}\n" + c.line + "\n" + put + "}\n");
    CHECK(status.code() == Code::kInvalid);
    CHECK_THAT(std::string(status.message()), Contains(c.message));
    CHECK_THAT(std::string(status.message()), Catch::Matchers::StartsWith("line 2: "));
  }
}

TEST_CASE("One empty line at the end is no line, any other is refused") {
  const std::string line = R"({"op":"delete","key":1})";
  for (const char* end : {"", "\n", "\r\n", "\n\n", "\r\n\r\n", "\n\r\n"}) {
    std::string text = line + "\n" + line + end;
    std::vector<Line> lines;
    CHECK(decode(text, &lines).ok());
    CHECK(lines.size() == 2);
  }
  for (const std::string& text : {line + "\n\n\n", "\n" + line, line + "\n\n" + line,
                                  line + "\n \n", std::string("\n"), line + "\n\r"}) {
    INFO(text);
    CHECK_FALSE(decode_status(text).ok());
  }
}

TEST_CASE("Nothing outside the text is read or written") {
  const std::string text =
      "{\"op\":\"put\",\"key\":1,\"value\":\"\\u20ac\"}\r\n"
      "{\"op\":\"put\",\"key\":2,\"value_base64\":\"AAH/\",\"if_match\":3}\n\n";
  for (const auto guard : {GuardedBytes::Guard::kBehind, GuardedBytes::Guard::kBefore}) {
    for (size_t size = 1; size <= text.size(); ++size) {
      GuardedBytes guarded(std::string_view(text).substr(0, size), guard);
      std::vector<Line> lines;
      const Status status = decode({guarded.data(), guarded.view().size()}, &lines);
      CHECK((status.ok() || status.code() == Code::kInvalid));
    }
  }
}

}  // namespace
}  // namespace kyro::test
