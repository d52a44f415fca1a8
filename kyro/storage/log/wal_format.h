// The bytes of a write-ahead-log segment, `wal-<first offset, 20 digits>.log`.
//
// Segment header, 64 bytes:
//    0  8 bytes "KYRO-WAL"
//    8  u32  format version (1)
//   12  u32  fsync policy it was created under (0 always, 1 interval, 2 never)
//   16  u64  nonce: random, never 0; every group of the segment repeats it
//   24  u64  first offset
//   32  u64  previous end: the offset after the last record of the segment before; smaller than
//            the first offset where numbering jumped (those offsets are never used)
//   40  u32  CRC of the last group of the segment before (0 for the first)
//   44  u32  0
//   48  u64  reserved bytes: the file was made so long before its first group, and stays at least
//            so long until a mark ends it; 0 where nothing could be reserved
//   56  u32  0
//   60  u32  crc32c of bytes 0..59
//
// Then groups, each all or nothing, each 48 bytes and a body:
//    0  u32  crc32c of bytes 4..47 and the body
//    4  u32  CRC of the group before (of the segment header, for the first): the chain
//    8  u64  nonce of the segment
//   16  u64  first offset: records are numbered from here without a hole
//   24  u64  durable: every record below this offset was synced when this group was written
//   32  u32  body length in bytes
//   36  u32  number of records
//   40  u32  bits 0..7 fsync policy of the writer, bits 8..15 kind (0 records, 1 opened, 2 sealed,
//            3 abandoned)
//   44  u32  0
//   48  records (record.h)
//
// Marks are groups without records. "Opened" is written and synced when a process begins to append,
// "sealed" when it stops in good order (close, rotation) after syncing all before it; so the log
// was closed cleanly if and only if its last group is a seal. "Abandoned" ends a segment after a
// crash under a weaker policy than always: numbering jumps after it, and until the segment after
// the jump is in the manifest, a crash leaves the duty to jump to the next recovery. After the
// last group lie zeros (reserved blocks) or the end of the file.
//
// Under policy always a group is written only when everything before it is synced; so a valid group
// of that policy proves what stands before it, as does one whose durable watermark lies above it.
//
// A valid group is one whose nonce, chain, first offset, lengths and CRC are right. Because the
// chain starts from a random nonce, no client's value can contain a valid group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"
#include "kyro/base/crc32c.h"
#include "kyro/base/fsync_policy.h"
#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/storage/record.h"

namespace kyro {

struct SegmentHeader {
  char magic[8];
  uint32_t version;
  uint32_t policy;
  uint64_t nonce;
  uint64_t first_offset;
  uint64_t previous_end;
  uint32_t previous_crc;
  uint32_t zero;
  uint64_t reserved_bytes;
  uint32_t zero_2;
  uint32_t crc;
};
static_assert(sizeof(SegmentHeader) == 64 && offsetof(SegmentHeader, reserved_bytes) == 48 &&
              offsetof(SegmentHeader, crc) == 60);

enum class GroupKind : uint8_t { kRecords = 0, kOpened = 1, kSealed = 2, kAbandoned = 3 };

// The last group of a segment that another one follows.
[[nodiscard]] constexpr bool is_end_mark(GroupKind kind) {
  return kind == GroupKind::kSealed || kind == GroupKind::kAbandoned;
}

struct GroupHeader {
  uint32_t crc;
  uint32_t previous_crc;
  uint64_t nonce;
  uint64_t first_offset;
  uint64_t durable;
  uint32_t body_bytes;
  uint32_t records;
  uint32_t flags;
  uint32_t zero;

  [[nodiscard]] GroupKind kind() const { return static_cast<GroupKind>((flags >> 8) & 0xFFu); }
  [[nodiscard]] FsyncPolicy policy() const { return static_cast<FsyncPolicy>(flags & 0xFFu); }
  [[nodiscard]] uint64_t end_offset() const { return first_offset + records; }
};
static_assert(sizeof(GroupHeader) == 48 && offsetof(GroupHeader, flags) == 40);

inline constexpr size_t kSegmentHeaderBytes = sizeof(SegmentHeader);
inline constexpr size_t kGroupHeaderBytes = sizeof(GroupHeader);
inline constexpr uint32_t kWalVersion = 1;
inline constexpr uint64_t kGroupBodyBytesMax = 0xFFFFFFFF;
inline constexpr char kWalMagic[9] = "KYRO-WAL";

[[nodiscard]] constexpr uint32_t make_group_flags(GroupKind kind, FsyncPolicy policy) {
  return (static_cast<uint32_t>(kind) << 8) | static_cast<uint32_t>(policy);
}

[[nodiscard]] inline std::string segment_name(uint64_t first_offset) {
  char name[40];
  std::snprintf(name, sizeof name, "wal-%020llu.log",
                static_cast<unsigned long long>(first_offset));
  return name;
}

// A file that will be the next segment (spare_segment.h).
inline constexpr char kSpareSegmentName[] = "wal-next.tmp";

// The first offset in the name of a segment; nothing for any other name.
[[nodiscard]] inline std::optional<uint64_t> parse_segment_name(std::string_view name) {
  const auto first_offset = parse_numbered(name, "wal-", ".log");
  return first_offset && segment_name(*first_offset) == name ? first_offset : std::nullopt;
}

[[nodiscard]] inline SegmentHeader make_segment_header(FsyncPolicy policy, uint64_t nonce,
                                                       uint64_t first_offset, uint64_t previous_end,
                                                       uint32_t previous_crc,
                                                       uint64_t reserved_bytes) {
  SegmentHeader header{};
  std::memcpy(header.magic, kWalMagic, sizeof header.magic);
  header.version = kWalVersion;
  header.policy = static_cast<uint32_t>(policy);
  header.nonce = nonce;
  header.first_offset = first_offset;
  header.previous_end = previous_end;
  header.previous_crc = previous_crc;
  header.reserved_bytes = reserved_bytes;
  header.crc = crc32c(&header, offsetof(SegmentHeader, crc));
  return header;
}

// Checks a segment header that was read from `name`. A newer version is kUnsupported: magic,
// version and checksum stay in their places in every format, so that it can be told from damage.
inline Status check_segment_header(const SegmentHeader& header, const std::string& name) {
  if (std::memcmp(header.magic, kWalMagic, sizeof header.magic) != 0) {
    return Status(Code::kCorruption, name + " at 0: not a KyroDB log segment");
  }
  const Status damaged(Code::kCorruption, name + " at 0: the segment header is damaged");
  if (header.crc != crc32c(&header, offsetof(SegmentHeader, crc))) return damaged;
  if (header.version > kWalVersion) {
    return Status(Code::kUnsupported, name + ": written by a newer KyroDB (log format " +
                                          std::to_string(header.version) + ")");
  }
  if (header.nonce == 0 || header.previous_end > header.first_offset) return damaged;
  return Status();
}

// Completes the header at the start of `group` (48 bytes of room, then the body) and returns its
// CRC.
inline uint32_t finish_group(std::string* group, GroupHeader header) {
  KYRO_CHECK(group->size() - kGroupHeaderBytes <= kGroupBodyBytesMax);
  header.body_bytes = static_cast<uint32_t>(group->size() - kGroupHeaderBytes);
  header.zero = 0;
  store(group->data(), header);
  header.crc = crc32c(group->data() + 4, group->size() - 4);
  store_u32(group->data(), header.crc);
  return header.crc;
}

[[nodiscard]] inline bool group_crc_matches(const GroupHeader& header, std::string_view body) {
  const uint32_t crc = crc32c(reinterpret_cast<const char*>(&header) + 4, kGroupHeaderBytes - 4);
  return crc32c(body, crc) == header.crc;
}

// Calls visit(RecordView, std::string_view record_bytes) for each record of a group's body in
// order. False if the body is not exactly `header.records` valid records with consecutive offsets.
template <class Visit>
[[nodiscard]] bool for_each_record(const GroupHeader& header, std::string_view body, Visit visit) {
  for (uint32_t i = 0; i < header.records; ++i) {
    RecordView record;
    if (decode_record(body, &record) != RecordCheck::kOk) return false;
    if (record.header.offset != header.first_offset + i) return false;
    const auto bytes = static_cast<size_t>(record.header.record_bytes());
    visit(record, body.substr(0, bytes));
    body.remove_prefix(bytes);
  }
  return body.empty();
}

// Takes the first record off a body that has been verified and is not empty: looks at no checksum
// again.
[[nodiscard]] inline RecordView take_verified_record(std::string_view* body) {
  RecordView record;
  record.header = load<RecordHeader>(body->data());
  record.value = body->substr(kRecordHeaderBytes, record.header.value_bytes);
  body->remove_prefix(static_cast<size_t>(record.header.record_bytes()));
  return record;
}

// The same for all records of such a body.
template <class Visit>
void for_each_verified_record(std::string_view body, Visit visit) {
  while (!body.empty()) {
    const char* const begin = body.data();
    const RecordView record = take_verified_record(&body);
    visit(record, std::string_view(begin, static_cast<size_t>(record.header.record_bytes())));
  }
}

}  // namespace kyro
