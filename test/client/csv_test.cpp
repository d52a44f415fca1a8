#include "kyro/client/csv.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/test_util.h"

namespace kyro::test {
namespace {

using Records = std::vector<std::vector<std::string>>;

struct Parsed {
  Records records;
  std::vector<uint64_t> lines;
  std::string error;
  uint64_t error_line = 0;
  bool operator==(const Parsed&) const = default;
};

// Reads `text` in pieces of `piece` bytes, each placed before a guard page.
Parsed parse(std::string_view text, size_t piece = SIZE_MAX) {
  Parsed out;
  CsvReader reader;
  const auto take = [&](CsvReader::Outcome outcome) {
    if (outcome == CsvReader::Outcome::kRecord) {
      std::vector<std::string>& fields = out.records.emplace_back();
      for (size_t i = 0; i < reader.field_count(); ++i) fields.emplace_back(reader.field(i));
      out.lines.push_back(reader.line());
    } else if (outcome == CsvReader::Outcome::kError) {
      out.error = reader.error();
      out.error_line = reader.line();
    }
    return outcome;
  };
  while (!text.empty()) {
    const GuardedBytes guarded(text.substr(0, piece));
    std::string_view bytes = guarded.view();
    text.remove_prefix(bytes.size());
    for (;;) {
      const CsvReader::Outcome outcome = take(reader.next(bytes));
      if (outcome == CsvReader::Outcome::kError) return out;
      if (outcome == CsvReader::Outcome::kNeedMore) break;
    }
    CHECK(bytes.empty());
  }
  while (take(reader.finish()) == CsvReader::Outcome::kRecord) {
  }
  return out;
}

struct Good {
  std::string_view text;
  Records records;
  std::vector<uint64_t> lines;
};

TEST_CASE("CSV records are read as RFC 4180 says, whatever pieces the bytes come in") {
  const std::vector<Good> cases = {
      {"", {}, {}},
      {"\n\r\n\n", {}, {}},
      {"a", {{"a"}}, {1}},
      {"a,b\n", {{"a", "b"}}, {1}},
      {"a,b\r\nc,d", {{"a", "b"}, {"c", "d"}}, {1, 2}},
      {",\n", {{"", ""}}, {1}},
      {"a,\n,b", {{"a", ""}, {"", "b"}}, {1, 2}},
      {"\"\"\n", {{""}}, {1}},
      {"\"\"", {{""}}, {1}},
      {"\"a,b\",c\n", {{"a,b", "c"}}, {1}},
      {"\"a\"\"b\"\n", {{"a\"b"}}, {1}},
      {"\"\"\"\"", {{"\""}}, {1}},
      {"1,\"two\nlines\"\n2,x\n", {{"1", "two\nlines"}, {"2", "x"}}, {1, 3}},
      {"1,\"cr\rlf\r\n\"\r\n\n2,x", {{"1", "cr\rlf\r\n"}, {"2", "x"}}, {1, 4}},
      {" a , b \n", {{" a ", " b "}}, {1}},
      {std::string_view("\0,\xff\n", 4), {{std::string(1, '\0'), "\xff"}}, {1}},
  };
  for (const Good& good : cases) {
    INFO(good.text);
    const Parsed whole = parse(good.text);
    CHECK(whole.error.empty());
    CHECK(whole.records == good.records);
    CHECK(whole.lines == good.lines);
    for (const size_t piece : {1u, 2u, 3u, 5u}) CHECK(parse(good.text, piece) == whole);
  }
}

TEST_CASE("what is no CSV is an error that knows its line") {
  struct Bad {
    std::string_view text;
    size_t records;
    uint64_t line;
    std::string_view error;
  };
  const std::vector<Bad> cases = {
      {"a\"b\n", 0, 1, "a quote inside a field that does not begin with one"},
      {"x\na, \"b\"\n", 1, 2, "a quote inside a field that does not begin with one"},
      {"\"a\"b\n", 0, 1, "bytes after a closing quote"},
      {"x\n\n\"a\nb", 1, 3, "a quote is not closed"},
      {"a\rb\n", 0, 1, "a CR is not followed by LF"},
      {"a\n\rb\n", 1, 2, "a CR is not followed by LF"},
      {"a\r", 0, 1, "a CR is not followed by LF"},
      {"a\n\r", 1, 2, "a CR is not followed by LF"},
  };
  for (const Bad& bad : cases) {
    INFO(bad.text);
    const Parsed whole = parse(bad.text);
    CHECK(whole.error == bad.error);
    CHECK(whole.error_line == bad.line);
    CHECK(whole.records.size() == bad.records);
    CHECK(parse(bad.text, 1) == whole);
  }
}

TEST_CASE("a record has at most so many fields, and an error is final") {
  const std::string most(CsvReader::kFieldsMax - 1, ',');
  CHECK(parse(most).records.at(0).size() == CsvReader::kFieldsMax);
  CHECK(parse(most + ",").error == "a record has too many fields");
  CHECK(parse(most + ",\n").error == "a record has too many fields");
  CsvReader reader;
  std::string_view bytes = "\"a\"b\nc,d\n";
  CHECK(reader.next(bytes) == CsvReader::Outcome::kError);
  CHECK(reader.next(bytes) == CsvReader::Outcome::kError);
  CHECK(reader.finish() == CsvReader::Outcome::kError);
}

TEST_CASE("a record that does not end is refused before memory runs out") {
  CsvReader reader;
  const std::string piece(1u << 20, 'x');
  CsvReader::Outcome outcome = CsvReader::Outcome::kNeedMore;
  size_t fed = 0;
  for (; outcome == CsvReader::Outcome::kNeedMore && fed < 1024; ++fed) {
    std::string_view bytes = piece;
    outcome = reader.next(bytes);
  }
  CHECK(outcome == CsvReader::Outcome::kError);
  CHECK(reader.error() == std::string("a record is too long"));
  CHECK(fed == (CsvReader::kRecordBytesMax >> 20) + 1);
}

TEST_CASE("what the writer writes the reader reads, byte for byte") {
  const uint64_t seed = test_seed(4180);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  constexpr std::string_view kBytes("a,\"\r\n\0 \xc3", 8);
  for (int round = 0; round < 300; ++round) {
    Records records;
    std::string text;
    for (size_t r = random() % 5; r > 0; --r) {
      std::vector<std::string>& fields = records.emplace_back();
      for (size_t f = random() % 4 + 2; f > 0; --f) {
        std::string& field = fields.emplace_back();
        for (size_t n = random() % 6; n > 0; --n) field += kBytes[random() % kBytes.size()];
        if (fields.size() > 1) text += ',';
        append_csv_field(text, field);
      }
      text += random() % 2 == 0 ? "\n" : "\r\n";
    }
    INFO(text);
    const Parsed parsed = parse(text, random() % 7 + 1);
    CHECK(parsed.error.empty());
    CHECK(parsed.records == records);
  }
}

}  // namespace
}  // namespace kyro::test
