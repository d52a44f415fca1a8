#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/http2/hpack_decoder.h"
#include "kyro/net/http2/hpack_encoder.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

using FieldList = std::vector<std::pair<std::string, std::string>>;
using Repeats = HpackEncoder::Repeats;

std::string unhex(std::string_view text) {
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      bytes += static_cast<char>(high * 16 + digit);
      high = -1;
    }
  }
  return bytes;
}

bool decode(HpackDecoder& decoder, std::string_view block, FieldList* fields) {
  fields->clear();
  const test::GuardedBytes guarded(block);
  return decoder.decode(guarded.view(), [&](std::string_view name, std::string_view value) {
    fields->emplace_back(name, value);
  });
}

FieldList table_of(const HpackTable& table) {
  FieldList fields;
  HpackField field;
  for (uint64_t i = 62; table.get(i, &field); ++i) fields.emplace_back(field.name, field.value);
  return fields;
}

struct Vector {
  const char* section;
  const char* block;
  FieldList fields;
  FieldList table;
  uint32_t table_bytes;
};

void check_vectors(HpackDecoder& decoder, const std::vector<Vector>& vectors) {
  for (const Vector& vector : vectors) {
    INFO(vector.section);
    FieldList fields;
    REQUIRE(decode(decoder, unhex(vector.block), &fields));
    CHECK(fields == vector.fields);
    CHECK(table_of(decoder.table()) == vector.table);
    CHECK(decoder.table().size() == vector.table_bytes);
  }
}

const FieldList kFirstRequest = {
    {":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "www.example.com"}};
const FieldList kSecondRequest = {{":method", "GET"},
                                  {":scheme", "http"},
                                  {":path", "/"},
                                  {":authority", "www.example.com"},
                                  {"cache-control", "no-cache"}};
const FieldList kThirdRequest = {{":method", "GET"},
                                 {":scheme", "https"},
                                 {":path", "/index.html"},
                                 {":authority", "www.example.com"},
                                 {"custom-key", "custom-value"}};
const FieldList kTable1 = {{":authority", "www.example.com"}};
const FieldList kTable2 = {{"cache-control", "no-cache"}, {":authority", "www.example.com"}};
const FieldList kTable3 = {{"custom-key", "custom-value"},
                           {"cache-control", "no-cache"},
                           {":authority", "www.example.com"}};

TEST_CASE("the literals of RFC 7541 C.2 are decoded") {
  HpackDecoder indexing;
  check_vectors(indexing, {{"C.2.1",
                            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
                            {{"custom-key", "custom-header"}},
                            {{"custom-key", "custom-header"}},
                            55}});
  HpackDecoder plain;
  check_vectors(
      plain,
      {{"C.2.2", "040c 2f73 616d 706c 652f 7061 7468", {{":path", "/sample/path"}}, {}, 0},
       {"C.2.3", "1008 7061 7373 776f 7264 0673 6563 7265 74", {{"password", "secret"}}, {}, 0},
       {"C.2.4", "82", {{":method", "GET"}}, {}, 0}});
}

TEST_CASE("the requests of RFC 7541 C.3 and C.4 are decoded, plain and in Huffman code") {
  HpackDecoder plain;
  check_vectors(
      plain,
      {{"C.3.1", "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", kFirstRequest, kTable1, 57},
       {"C.3.2", "8286 84be 5808 6e6f 2d63 6163 6865", kSecondRequest, kTable2, 110},
       {"C.3.3", "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        kThirdRequest, kTable3, 164}});
  HpackDecoder coded;
  check_vectors(
      coded, {{"C.4.1", "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", kFirstRequest, kTable1, 57},
              {"C.4.2", "8286 84be 5886 a8eb 1064 9cbf", kSecondRequest, kTable2, 110},
              {"C.4.3", "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
               kThirdRequest, kTable3, 164}});
}

TEST_CASE("the responses of RFC 7541 C.5 and C.6 are decoded with eviction") {
  const std::string cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
  const FieldList first = {{":status", "302"},
                           {"cache-control", "private"},
                           {"date", "Mon, 21 Oct 2013 20:13:21 GMT"},
                           {"location", "https://www.example.com"}};
  const FieldList second = {{":status", "307"}, first[1], first[2], first[3]};
  const FieldList third = {{":status", "200"},
                           first[1],
                           {"date", "Mon, 21 Oct 2013 20:13:22 GMT"},
                           first[3],
                           {"content-encoding", "gzip"},
                           {"set-cookie", cookie}};
  const FieldList table1 = {first[3], first[2], first[1], first[0]};
  const FieldList table2 = {second[0], first[3], first[2], first[1]};
  const FieldList table3 = {third[5], third[4], third[2]};
  const char* const plain[] = {
      "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a"
      "3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "4803 3330 37c1 c0bf",
      "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04"
      "677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49"
      "553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31"};
  const char* const coded[] = {
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e"
      "919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      "4883 640e ffc1 c0bf",
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7"
      "821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed"
      "4ee5 b106 3d50 07"};
  for (const auto& blocks : {plain, coded}) {
    HpackDecoder decoder;
    FieldList none;
    REQUIRE(decode(decoder, unhex("3fe101"), &none));  // a table of 256 bytes
    check_vectors(decoder, {{"first", blocks[0], first, table1, 222},
                            {"second", blocks[1], second, table2, 222},
                            {"third", blocks[2], third, table3, 215}});
  }
}

TEST_CASE("every byte string survives the Huffman code, and nothing but its own code is accepted") {
  const uint64_t seed = test::test_seed(7541);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (size_t n = random() % 60; n > 0; --n) {
      text += static_cast<char>(random() % 3 == 0 ? random() : 'a' + random() % 26);
    }
    std::string coded;
    append_huffman(coded, text);
    REQUIRE(coded.size() == huffman_bytes(text));
    std::string back;
    REQUIRE(append_huffman_decoded(back, test::GuardedBytes(coded).view(), text.size()));
    REQUIRE(back == text);
    if (!text.empty()) {
      std::string cut;
      REQUIRE_FALSE(append_huffman_decoded(cut, coded, text.size() - 1));
    }
  }
  for (int round = 0; round < 200'000; ++round) {
    std::string coded;
    for (size_t n = random() % 7; n > 0; --n) {
      coded += static_cast<char>(random() % 3 != 0 ? 0xFF : random());
    }
    std::string text;
    if (!append_huffman_decoded(text, coded, 1000)) continue;
    std::string again;
    append_huffman(again, text);
    REQUIRE(again == coded);
  }
}

TEST_CASE("header blocks that no encoder writes are refused") {
  const char* const blocks[] = {
      "80",                      // index 0 (section 6.1)
      "be",                      // index 62 of an empty table
      "ff80 0f",                 // index far beyond the tables
      "ffff ffff ff0f",          // an integer beyond every bound (5.1)
      "7f",                      // an integer that does not end
      "40",                      // a literal without a name
      "400a 6375",               // a name shorter than it says
      "0004 6e61 6d65",          // no value
      "0085 ffff ffff fc01 61",  // EOS in a Huffman string (5.2)
      "0081 ff01 61",            // padding of eight bits
      "0082 1fff 0161",          // padding longer than seven bits
      "0081 1801 61",            // padding of zeros
      "3fe2 1f",                 // a table of 4,097 bytes (6.3)
      "8220",                    // a size update after a field (4.2)
      "7e01 61",                 // a literal with the name of entry 62, which is not there
  };
  for (const char* block : blocks) {
    INFO(block);
    HpackDecoder decoder;
    FieldList fields;
    CHECK_FALSE(decode(decoder, unhex(block), &fields));
  }
}

TEST_CASE("a size update empties the table, and an entry larger than the table does too") {
  HpackDecoder decoder;
  FieldList fields;
  REQUIRE(decode(decoder, unhex("4001 6101 62"), &fields));
  CHECK(decoder.table().count() == 1);
  REQUIRE(decode(decoder, unhex("20 3fe1 1f"), &fields));  // to 0, then to 4,096
  CHECK(decoder.table().count() == 0);
  REQUIRE(decode(decoder, unhex("4001 6101 62"), &fields));
  const std::string name = unhex("403f") + std::string(63, 'n');
  const std::string value = unhex("7f811f") + std::string(4096, 'v');
  REQUIRE(decode(decoder, name + value, &fields));
  CHECK(decoder.table().count() == 0);
  CHECK(decoder.table().size() == 0);
}

TEST_CASE("what the encoder writes is decoded to the same fields, whatever the peer's table") {
  const uint64_t seed = test::test_seed(75411);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    HpackEncoder encoder;
    HpackDecoder decoder;
    for (int answer = 0; answer < 40; ++answer) {
      if (random() % 8 == 0) encoder.set_peer_table_size(static_cast<uint32_t>(random() % 1200));
      FieldList sent;
      std::string block;
      encoder.begin(block);
      for (size_t n = 1 + random() % 6; n > 0; --n) {
        static constexpr const char* kNames[] = {":status",     "date",         "etag",
                                                 "grpc-status", "content-type", "x-a"};
        const std::string name = kNames[random() % 6];
        const std::string value = random() % 2 == 0 ? "200" : std::string(random() % 90, 'v');
        sent.emplace_back(name, value);
        encoder.append(block, name, value, random() % 2 == 0 ? Repeats::kYes : Repeats::kNo);
      }
      FieldList seen;
      REQUIRE(decode(decoder, block, &seen));
      REQUIRE(seen == sent);
    }
  }
}

TEST_CASE("every field of the static table is written by its index, and its name by that of one") {
  for (size_t i = 0; i < kHpackStatic.size(); ++i) {
    const HpackField& field = kHpackStatic[i];
    INFO(field.name);
    HpackEncoder encoder;
    std::string announced, block, named;
    encoder.begin(announced);
    encoder.append(block, field.name, field.value, Repeats::kNo);
    CHECK(block == std::string(1, static_cast<char>(0x80 | (i + 1))));
    encoder.append(named, field.name, "\x01", Repeats::kNo);  // no coding makes it shorter
    HpackDecoder decoder;
    FieldList seen;
    REQUIRE(decode(decoder, announced + named, &seen));
    CHECK(seen == FieldList{{std::string(field.name), "\x01"}});
    CHECK(named.size() <= 4);  // an index of one or two bytes, a length, the value
  }
}

TEST_CASE("an answer that repeats takes one byte a field") {
  HpackEncoder encoder;
  std::string block;
  for (int i = 0; i < 2; ++i) {
    block.clear();
    encoder.begin(block);
    encoder.append(block, ":status", "200", Repeats::kYes);
    encoder.append(block, "content-type", "application/grpc", Repeats::kYes);
    encoder.append(block, "grpc-status", "0", Repeats::kYes);
  }
  CHECK(block.size() == 3);
}

}  // namespace
}  // namespace kyro
