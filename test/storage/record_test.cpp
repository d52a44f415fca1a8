#include "kyro/storage/record.h"

#include <catch2/catch.hpp>

#include "test/support/test_util.h"

namespace kyro::test {
namespace {

std::string encoded(const Mutation& mutation, uint64_t offset) {
  std::string bytes(mutation.record_bytes(), '\0');
  encode_record(mutation, offset, bytes.data());
  return bytes;
}

}  // namespace

TEST_CASE("a record comes back as it was encoded") {
  const std::string value = GENERATE(std::string(), std::string("v"), std::string(100'000, 'x'),
                                     std::string("\0\xFF\0", 3));
  const uint64_t key = GENERATE(uint64_t{0}, uint64_t{42}, ~uint64_t{0});
  const uint64_t offset = GENERATE(uint64_t{0}, uint64_t{1} << 40, ~uint64_t{0} - 1);
  const uint64_t expiry = GENERATE(uint64_t{0}, uint64_t{1}, kExpirySecsMax);
  const std::string bytes = encoded(Mutation::put(key, value, expiry), offset);
  const std::string more = bytes + "behind";
  RecordView view;
  REQUIRE(decode_record(more, &view) == RecordCheck::kOk);
  CHECK(view.value == value);
  CHECK(view.header.key == key);
  CHECK(view.header.offset == offset);
  CHECK(view.header.expiry_secs() == expiry);
  CHECK(view.header.type() == RecordType::kPut);
  CHECK(view.header.record_bytes() == bytes.size());
}

TEST_CASE("every flipped bit of a record is noticed and no read leaves its bytes") {
  const std::string bytes = encoded(Mutation::put(7, "some value", 99), 12345);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const GuardedBytes guarded(damaged);
    RecordView view;
    INFO("bit " << bit);
    REQUIRE(decode_record(guarded.view(), &view) != RecordCheck::kOk);
  }
}

TEST_CASE("a record cut at any byte is truncated, never read beyond") {
  const std::string bytes = encoded(Mutation::put(7, "some value"), 1);
  for (size_t n = 0; n < bytes.size(); ++n) {
    const GuardedBytes guarded(std::string_view(bytes).substr(0, n));
    RecordView view;
    REQUIRE(decode_record(guarded.view(), &view) == RecordCheck::kTruncated);
  }
}

TEST_CASE("unknown types, tombstones with a value and absurd lengths are bad") {
  RecordView view;
  const auto check = [&](RecordHeader header, std::string_view value) {
    header.crc = record_crc(header, crc32c(value));
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    bytes.append(value);
    return decode_record(bytes, &view);
  };
  CHECK(check({0, 1, 1, 1, make_meta(RecordType::kPut, 0)}, "v") == RecordCheck::kOk);
  CHECK(check({0, 0, 1, 1, make_meta(RecordType::kTombstone, 0)}, "") == RecordCheck::kOk);
  CHECK(check({0, 1, 1, 1, make_meta(RecordType::kTombstone, 0)}, "v") == RecordCheck::kBad);
  CHECK(check({0, 1, 1, 1, 0}, "v") == RecordCheck::kBad);
  CHECK(check({0, 1, 1, 1, 3}, "v") == RecordCheck::kBad);
  CHECK(check({0, 0xFFFFFFFF, 1, 1, 1}, "v") == RecordCheck::kBad);
}

TEST_CASE("a record is absent from the second it expires") {
  RecordView view;
  view.header.meta = make_meta(RecordType::kPut, 100);
  CHECK(view.is_live(99));
  CHECK(!view.is_live(100));
  view.header.meta = make_meta(RecordType::kPut, 0);
  CHECK(view.is_live(~uint64_t{0}));
  view.header.meta = make_meta(RecordType::kTombstone, 0);
  CHECK(!view.is_live(0));
}

}  // namespace kyro::test
