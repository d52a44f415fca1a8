// The one layout of a record: in WAL groups, in deltas and in runs the same bytes.
//
//    0  u32  crc32c of the value, continued over bytes 4..31 of this header
//    4  u32  value length in bytes
//    8  u64  key
//   16  u64  offset: the sequence number of this version
//   24  u64  bits 0..7 type (1 put, 2 tombstone), bits 8..63 expiry in Unix seconds (0 = never)
//   32  the value
//
// The value comes first in the checksum so that whoever accepts a value may hash it before the
// committer knows the offset. A tombstone has no value. A record is read "from the second it
// expires" as absent; a merge turns it into a tombstone with the same offset.
//
// Thread rule: pure functions over bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "kyro/base/coding.h"
#include "kyro/base/crc32c.h"
#include "kyro/base/limits.h"

namespace kyro {

enum class RecordType : uint8_t { kPut = 1, kTombstone = 2 };

struct RecordHeader {
  uint32_t crc;
  uint32_t value_bytes;
  uint64_t key;
  uint64_t offset;
  uint64_t meta;

  [[nodiscard]] RecordType type() const { return static_cast<RecordType>(meta & 0xFFu); }
  [[nodiscard]] uint64_t expiry_secs() const { return meta >> 8; }
  [[nodiscard]] uint64_t record_bytes() const {
    return sizeof(RecordHeader) + uint64_t{value_bytes};
  }
};
static_assert(sizeof(RecordHeader) == 32);
static_assert(offsetof(RecordHeader, value_bytes) == 4 && offsetof(RecordHeader, key) == 8 &&
              offsetof(RecordHeader, offset) == 16 && offsetof(RecordHeader, meta) == 24);

inline constexpr size_t kRecordHeaderBytes = sizeof(RecordHeader);
inline constexpr size_t kCrcBytes = sizeof(RecordHeader::crc);
inline constexpr uint64_t kExpirySecsMax = (uint64_t{1} << 56) - 1;

[[nodiscard]] constexpr uint64_t make_meta(RecordType type, uint64_t expiry_secs) {
  return (expiry_secs << 8) | static_cast<uint64_t>(type);
}

// A decoded record; `value` points into the bytes it was decoded from.
struct RecordView {
  RecordHeader header{};
  std::string_view value;

  [[nodiscard]] bool is_tombstone() const { return header.type() == RecordType::kTombstone; }
  // Whether a reader at `now_secs` sees a value.
  [[nodiscard]] bool is_live(uint64_t now_secs) const {
    const uint64_t expiry = header.expiry_secs();
    return header.type() == RecordType::kPut && (expiry == 0 || now_secs < expiry);
  }
};

enum class RecordCheck : uint8_t {
  kOk,
  kTruncated,  // the bytes end before the record does
  kBad,        // checksum, type or length is wrong
};

[[nodiscard]] inline uint32_t record_crc(const RecordHeader& header, uint32_t value_crc) {
  return crc32c(reinterpret_cast<const char*>(&header) + kCrcBytes, sizeof header - kCrcBytes,
                value_crc);
}

// Decodes the record at the start of `bytes` and verifies its checksum. Reads nothing outside.
[[nodiscard]] inline RecordCheck decode_record(std::string_view bytes, RecordView* out) {
  if (bytes.size() < kRecordHeaderBytes) return RecordCheck::kTruncated;
  out->header = load<RecordHeader>(bytes.data());
  const RecordHeader& header = out->header;
  if (header.value_bytes > kValueBytesCeiling) return RecordCheck::kBad;
  if (bytes.size() - kRecordHeaderBytes < header.value_bytes) return RecordCheck::kTruncated;
  out->value = bytes.substr(kRecordHeaderBytes, header.value_bytes);
  const RecordType type = header.type();
  if (type != RecordType::kPut && type != RecordType::kTombstone) return RecordCheck::kBad;
  if (type == RecordType::kTombstone && header.value_bytes != 0) return RecordCheck::kBad;
  // Over the header where it lies: reading the copy in other pieces than it was stored in would
  // wait until every load before it has retired, and lookups would not overlap.
  const uint32_t crc =
      crc32c(bytes.data() + kCrcBytes, kRecordHeaderBytes - kCrcBytes, crc32c(out->value));
  return crc == header.crc ? RecordCheck::kOk : RecordCheck::kBad;
}

// One change as a client asks for it, before it has an offset.
struct Mutation {
  RecordType type = RecordType::kPut;
  uint64_t key = 0;
  uint64_t expiry_secs = 0;
  std::string_view value;
  uint32_t value_crc = 0;  // crc32c(value)

  [[nodiscard]] static Mutation put(uint64_t key, std::string_view value,
                                    uint64_t expiry_secs = 0) {
    return {RecordType::kPut, key, expiry_secs, value, crc32c(value)};
  }
  [[nodiscard]] static Mutation remove(uint64_t key) {
    return {RecordType::kTombstone, key, 0, {}, 0};
  }
  [[nodiscard]] uint64_t record_bytes() const { return kRecordHeaderBytes + value.size(); }
};

// Writes the record of `mutation` to `to`, which has room for mutation.record_bytes().
inline void encode_record(const Mutation& mutation, uint64_t offset, char* to) {
  RecordHeader header{0, static_cast<uint32_t>(mutation.value.size()), mutation.key, offset,
                      make_meta(mutation.type, mutation.expiry_secs)};
  header.crc = record_crc(header, mutation.value_crc);
  store(to, header);
  if (!mutation.value.empty()) {
    std::memcpy(to + kRecordHeaderBytes, mutation.value.data(), mutation.value.size());
  }
}

}  // namespace kyro
