#include "kyro/json/record_encoder.h"

#include <catch2/catch.hpp>
#include <functional>
#include <random>
#include <string>
#include <string_view>

#include "kyro/base/limits.h"
#include "kyro/json/record_json.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

// Values of every kind: text, text that is all escapes, several bytes a character, no text at all.
std::string some_value(std::mt19937_64& random, size_t size) {
  std::string value;
  const uint64_t kind = random() % 4;
  while (value.size() < size) {
    switch (kind) {
      case 0:
        value += "plain text ";
        break;
      case 1:
        append_utf8(value, static_cast<uint32_t>(random() % 0x28));
        break;
      case 2:
        append_utf8(value, static_cast<uint32_t>(random() % 0x9000));
        break;
      default:
        value += static_cast<char>(random());
    }
  }
  return value;
}

// Everything that a record becomes, in pieces of `room` bytes at most.
std::string in_pieces(RecordEncoder& record, size_t room) {
  std::string all;
  for (bool is_done = false; !is_done;) {
    std::string piece;
    is_done = record.advance(piece, room);
    REQUIRE(piece.size() <= room);
    all += piece;
    REQUIRE(record.is_done() == is_done);
  }
  return all;
}

TEST_CASE("a record written in pieces is the record written at once, whatever the pieces") {
  const uint64_t seed = test::test_seed(33);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  RecordEncoder record;
  for (int round = 0; round < 400; ++round) {
    const std::string value = some_value(random, random() % 20'000);
    const uint64_t key = random();
    const uint64_t offset = random();
    const size_t room = RecordEncoder::kRoomBytesMin + random() % 9000;
    std::string whole;
    const uint64_t expires = round % 3 == 0 ? random() : 0;
    append_item(whole, key, value, offset, round % 2 == 0, expires);
    record.begin_item(key, value, offset, round % 2 == 0, expires);
    REQUIRE((whole.find(",\"expires\":") != whole.npos) == (expires != 0));
    REQUIRE(in_pieces(record, room) == whole);

    whole = "data: ";
    append_log_record(whole, offset, key, value, expires);
    whole += "\n\n";
    record.begin_log_record(offset, key, value, expires);
    record.add_head("data: ");
    record.add_tail("\n\n");
    REQUIRE(in_pieces(record, room) == whole);

    record.begin_raw(value);
    REQUIRE(in_pieces(record, room) == value);
  }
}

TEST_CASE("a deletion of the log has no value, and an empty value is one") {
  RecordEncoder record;
  std::string whole;
  record.begin_log_record(7, 8, std::nullopt);
  append_log_record(whole, 7, 8, std::nullopt);
  CHECK(whole == R"({"offset":7,"op":"delete","key":8})");
  CHECK(in_pieces(record, 600) == whole);
  record.begin_value("", kValueElement);
  CHECK(in_pieces(record, 600) == R"("")");
}

TEST_CASE("what is written in pieces is read back, of 16 MiB too") {
  std::mt19937_64 random(5);
  for (int kind = 0; kind < 8; ++kind) {
    const std::string value = some_value(random, kind == 0 ? 16 * kMiB : 100'000);
    RecordEncoder record;
    record.begin_item(1, value, 2, false);
    const std::string text = in_pieces(record, 64 * 1024);
    JsonWrite write;
    REQUIRE(decode_json_write(text, JsonWriteKind::kImportLine, &write).ok());
    REQUIRE(*write.value == value);
  }
}

TEST_CASE("no call looks at more of a value than its bound, even to find that it is no text") {
  std::string value(8 * RecordEncoder::kCheckBytes, 'a');
  value.back() = '\xFF';
  RecordEncoder record;
  record.begin_value(value, kValueElement);
  std::string piece;
  for (int call = 1; call < 8; ++call) {
    REQUIRE_FALSE(record.advance(piece, 64 * 1024));
    REQUIRE(piece.empty());
  }
  REQUIRE_FALSE(record.advance(piece, 64 * 1024));
  CHECK(piece.substr(0, 17) == R"({"value_base64":")");
}

}  // namespace
}  // namespace kyro
