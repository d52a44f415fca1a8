#include "kyro/replica/entry.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <string>

#include "test/support/test_util.h"

namespace kyro::test {
namespace {

const std::string kEntryDatabase = "0123456789abcdef0123456789abcdef";

std::string entry_body(uint64_t first_offset) {
  std::string body;
  const std::string value(300, 'x');
  const Mutation mutations[] = {Mutation::put(7, "seven"),
                                Mutation::put(~uint64_t{0}, value, 1'900'000'000),
                                Mutation::remove(0)};
  for (const Mutation& mutation : mutations) {
    const size_t at = body.size();
    body.resize(at + static_cast<size_t>(mutation.record_bytes()));
    encode_record(mutation, first_offset++, body.data() + at);
  }
  return body;
}

std::string sample_entry() {
  LogHead head{41, 1000, 0xDEADBEEF, kEntryDatabase};
  return encode_entry(&head, 3, 0x1122334455667788u, entry_body(41));
}

Code code_of(const std::string& entry) {
  const GuardedBytes guarded(entry);
  return decode_entry(guarded.view(), 41, kEntryDatabase).status().code();
}

// Changes a field of the header and makes the checksum right again.
template <class Edit>
std::string entry_with(Edit edit) {
  std::string entry = sample_entry();
  auto header = load<EntryHeader>(entry.data());
  edit(header);
  const std::string_view body = std::string_view(entry).substr(sizeof header);
  header.crc = crc32c(body, crc32c(&header, offsetof(EntryHeader, crc)));
  store(entry.data(), header);
  return entry;
}

}  // namespace

TEST_CASE("an entry gives back the group that went in, and the head covers it") {
  const std::string body = entry_body(41);
  LogHead head{41, 1000, 0xDEADBEEF, kEntryDatabase};
  const std::string entry = encode_entry(&head, 3, 99, body);
  const auto group = decode_entry(entry, 41, kEntryDatabase);
  REQUIRE(group.ok());
  CHECK(group->first_offset == 41);
  CHECK(group->end_offset() == 44);
  CHECK(group->position == 1000);
  CHECK(group->end_position == 1000 + entry.size());
  CHECK(group->previous_crc == 0xDEADBEEF);
  CHECK(group->body == body);
  CHECK(head.end == 44);
  CHECK(head.position == group->end_position);
  CHECK(head.crc == group->crc);
}

TEST_CASE("entries of the same records differ by their nonce") {
  LogHead one{41, 0, 1, kEntryDatabase};
  LogHead other = one;
  CHECK(encode_entry(&one, 3, 1, entry_body(41)) != encode_entry(&other, 3, 2, entry_body(41)));
  CHECK(one.crc != other.crc);
}

TEST_CASE("an entry of format 1 is the bytes that were written once") {
  std::ifstream file("test/data/log-entry-v1", std::ios::binary);
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(golden.size() > sizeof(EntryHeader));
  CHECK(sample_entry() == golden);
  CHECK(code_of(golden) == Code::kOk);
}

TEST_CASE("an entry whose checksum is right and whose header nobody has written is damaged") {
  for (const size_t at : {offsetof(EntryHeader, version), offsetof(EntryHeader, zero)}) {
    std::string entry = sample_entry();
    const bool is_version = at == offsetof(EntryHeader, version);
    store(entry.data() + at, is_version ? uint32_t{0} : uint32_t{1});
    const std::string_view body = std::string_view(entry).substr(sizeof(EntryHeader));
    store(entry.data() + offsetof(EntryHeader, crc),
          crc32c(body, crc32c(entry.data(), offsetof(EntryHeader, crc))));
    CHECK(code_of(entry) == Code::kCorruption);
  }
}

TEST_CASE("no changed bit and no cut of an entry passes for an entry") {
  const std::string entry = sample_entry();
  for (size_t bit = 0; bit < entry.size() * 8; ++bit) {
    std::string changed = entry;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    if (code_of(changed) != Code::kCorruption) FAIL("bit " << bit);
  }
  for (size_t size = 0; size < entry.size(); ++size) {
    if (code_of(entry.substr(0, size)) != Code::kCorruption) FAIL("size " << size);
  }
  CHECK(code_of(entry + '\0') == Code::kCorruption);
}

TEST_CASE("an entry that is well sealed and yet wrong is refused for what is wrong with it") {
  CHECK(code_of(entry_with([](EntryHeader&) {})) == Code::kOk);
  CHECK(code_of(entry_with([](EntryHeader& h) { h.version = 2; })) == Code::kUnsupported);
  CHECK(code_of(entry_with([](EntryHeader& h) { h.database[3] = 'e'; })) == Code::kInvalid);
  CHECK(code_of(entry_with([](EntryHeader& h) { h.first_offset = 40; })) == Code::kCorruption);
  CHECK(code_of(entry_with([](EntryHeader& h) { h.records = 2; })) == Code::kCorruption);
  CHECK(code_of(entry_with([](EntryHeader& h) { h.records = 4; })) == Code::kCorruption);
  CHECK(code_of(entry_with([](EntryHeader& h) { h.records = 0; })) == Code::kCorruption);
  CHECK(code_of(entry_with([](EntryHeader& h) { ++h.body_bytes; })) == Code::kCorruption);
  CHECK(code_of(entry_with([](EntryHeader& h) { h.position = ~uint64_t{0}; })) ==
        Code::kCorruption);
  CHECK(decode_entry(sample_entry(), 42, kEntryDatabase).status().code() == Code::kCorruption);
}

TEST_CASE("the head of a log has one spelling, and no other text is taken for one") {
  const LogHead head{~uint64_t{0}, 12, 0x0000abcd, kEntryDatabase};
  const std::string text = encode_head(head);
  CHECK(text == "18446744073709551615 12 0000abcd " + kEntryDatabase);
  const auto decoded = decode_head(text);
  REQUIRE(decoded.ok());
  CHECK(decoded->end == head.end);
  CHECK(decoded->position == head.position);
  CHECK(decoded->crc == head.crc);
  CHECK(decoded->database == head.database);
  for (const std::string& wrong :
       {std::string(), std::string(" "), "x" + text, text + " ", text.substr(1), "0" + text,
        "1 0 0000ABCD " + kEntryDatabase, "1 0 0000abc " + kEntryDatabase,
        "1  000abcd " + kEntryDatabase, "1  0 0000abcd " + kEntryDatabase,
        "1 01 0000abcd " + kEntryDatabase, "1 0000abcd " + kEntryDatabase,
        "1 0 0000abcd  " + kEntryDatabase.substr(1) + "0"}) {
    INFO(wrong);
    const GuardedBytes guarded(wrong);
    CHECK((text.substr(1) == wrong) == decode_head(guarded.view()).ok());
  }
}

TEST_CASE("expiries move, and the records stay valid") {
  std::string body = entry_body(41);
  const std::string before = body;
  move_expiries(&body, [](uint64_t secs) { return secs + 100; });
  GroupHeader group{};
  group.first_offset = 41;
  group.records = 3;
  std::vector<uint64_t> expiries;
  REQUIRE(for_each_record(group, body, [&](const RecordView& record, std::string_view) {
    expiries.push_back(record.header.expiry_secs());
  }));
  CHECK(expiries == std::vector<uint64_t>{0, 1'900'000'100, 0});
  move_expiries(&body, [](uint64_t secs) { return secs - 100; });
  CHECK(body == before);
}

}  // namespace kyro::test
