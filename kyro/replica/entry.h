// What lies in a shared log: entries, one at each offset where a group begins, and the head, which
// says where the log ends.
//
// An entry, 88 bytes and a body:
//    0  8 bytes "KYRO-ENT"
//    8  u32  format version (1)
//   12  u32  number of records, at least 1
//   16  u64  first offset: records are numbered from here without a hole
//   24  u64  nonce: random for each entry, so that no two of them are equal
//   32  32 hex digits: the database id
//   64  u64  bytes of all entries before it, since the log was begun: its position
//   72  u32  CRC of the entry before it (0 for the first of a log): the chain
//   76  u32  body length in bytes
//   80  u32  0
//   84  u32  crc32c of bytes 0..83 and the body
//   88  records (kyro/storage/record.h); their expiries are Unix time
//
// The head, text for people's sake: "<end> <position> <chain> <database>", the offset after the
// last record and the bytes of all entries in decimal, the CRC of the last entry as 8 hex digits,
// the database id. So what a log holds between two entries, or in all, is a difference of
// positions.
//
// A decoder takes whatever bytes it gets and hands on only what is valid throughout.
//
// Thread rule: pure functions over bytes; a decoded group points into what it was decoded from.
#pragma once

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"
#include "kyro/base/crc32c.h"
#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/storage/log/wal_format.h"
#include "kyro/storage/shared_log.h"

namespace kyro {

inline constexpr size_t kDatabaseIdChars = 32;

struct EntryHeader {
  char magic[8];
  uint32_t version;
  uint32_t records;
  uint64_t first_offset;
  uint64_t nonce;
  char database[kDatabaseIdChars];
  uint64_t position;
  uint32_t previous_crc;
  uint32_t body_bytes;
  uint32_t zero;
  uint32_t crc;
};
static_assert(sizeof(EntryHeader) == 88 && offsetof(EntryHeader, database) == 32 &&
              offsetof(EntryHeader, crc) == 84);

inline constexpr char kEntryMagic[9] = "KYRO-ENT";
inline constexpr uint32_t kEntryVersion = 1;

// Where a log ends.
struct LogHead {
  uint64_t end = 0;
  uint64_t position = 0;
  uint32_t crc = 0;
  std::string database;
};

[[nodiscard]] inline std::string encode_head(const LogHead& head) {
  char text[2 * kDecimalDigitsMax + kDatabaseIdChars + 16];
  const int size = std::snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %08" PRIx32 " %.32s",
                                 head.end, head.position, head.crc, head.database.c_str());
  return {text, static_cast<size_t>(size)};
}

// kCorruption for any text that encode_head() did not make.
[[nodiscard]] inline Result<LogHead> decode_head(std::string_view text) {
  LogHead head;
  constexpr size_t kCrcDigits = 8;
  const size_t space = text.find(' ');
  const size_t crc_at = text.find(' ', space + 1) + 1;
  if (crc_at > space + 1 && text.size() == crc_at + kCrcDigits + 1 + kDatabaseIdChars) {
    const auto end = parse_u64(text.substr(0, space));
    const auto position = parse_u64(text.substr(space + 1, crc_at - space - 2));
    head.end = end.value_or(0);
    head.position = position.value_or(0);
    for (const char digit : text.substr(crc_at, kCrcDigits)) {
      const auto value = static_cast<uint32_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
      head.crc = head.crc << 4 | (value & 0xFu);
    }
    head.database = text.substr(text.size() - kDatabaseIdChars);
    if (encode_head(head) == text) return head;
  }
  return Status(Code::kCorruption, "the head of the shared log is damaged");
}

// An entry for `body`, which holds `records` valid records numbered from head.end on, behind
// everything that `head` covers; *head covers it too afterwards. REQUIRES: head->database is an id.
[[nodiscard]] inline std::string encode_entry(LogHead* head, uint32_t records, uint64_t nonce,
                                              std::string_view body) {
  KYRO_CHECK(head->database.size() == kDatabaseIdChars && body.size() <= kGroupBodyBytesMax);
  EntryHeader header{};
  std::memcpy(header.magic, kEntryMagic, sizeof header.magic);
  header.version = kEntryVersion;
  header.records = records;
  header.first_offset = head->end;
  header.nonce = nonce;
  std::memcpy(header.database, head->database.data(), kDatabaseIdChars);
  header.position = head->position;
  header.previous_crc = head->crc;
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.crc = crc32c(body, crc32c(&header, offsetof(EntryHeader, crc)));
  std::string entry;
  entry.reserve(sizeof header + body.size());
  entry.append(reinterpret_cast<const char*>(&header), sizeof header).append(body);
  head->end += records;
  head->position += entry.size();
  head->crc = header.crc;
  return entry;
}

// The group in an entry that was found at `offset` of the log of `database`. kUnsupported: written
// by a newer KyroDB; kInvalid: of another database; kCorruption.
[[nodiscard]] inline Result<SharedGroup> decode_entry(std::string_view entry, uint64_t offset,
                                                      std::string_view database) {
  const std::string name = "entry " + std::to_string(offset) + " of the shared log";
  const auto damaged = [&](const char* what) {
    return Status(Code::kCorruption, name + ": " + what);
  };
  EntryHeader header{};
  if (entry.size() < sizeof header) return damaged("too short");
  header = load<EntryHeader>(entry.data());
  if (std::memcmp(header.magic, kEntryMagic, sizeof header.magic) != 0) {
    return damaged("not an entry");
  }
  const std::string_view body = entry.substr(sizeof header);
  const uint32_t crc = crc32c(body, crc32c(entry.data(), offsetof(EntryHeader, crc)));
  if (header.crc != crc) return damaged("its checksum does not match");
  if (header.version > kEntryVersion) {
    return Status(Code::kUnsupported, name + ": written by a newer KyroDB (entry format " +
                                          std::to_string(header.version) + ")");
  }
  if (header.version == 0 || header.zero != 0) return damaged("its header is wrong");
  if (std::string_view(header.database, kDatabaseIdChars) != database) {
    return Status(Code::kInvalid, name + ": of another database");
  }
  if (header.first_offset != offset) return damaged("it belongs at another offset");
  if (header.records == 0 || header.body_bytes != body.size() ||
      offset > ~uint64_t{0} - header.records || header.position > ~uint64_t{0} - entry.size()) {
    return damaged("its lengths are wrong");
  }
  GroupHeader group{};
  group.first_offset = offset;
  group.records = header.records;
  if (!for_each_record(group, body, [](const RecordView&, std::string_view) {})) {
    return damaged("its records are damaged");
  }
  SharedGroup found;
  found.first_offset = offset;
  found.records = header.records;
  found.position = header.position;
  found.end_position = header.position + entry.size();
  found.previous_crc = header.previous_crc;
  found.crc = header.crc;
  found.body = body;
  return found;
}

}  // namespace kyro
