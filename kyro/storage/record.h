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
#include <optional>
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

[[nodiscard]] constexpr uint64_t make_meta(RecordType type, uint64_t expiry_secs) {
  return (expiry_secs << 8) | static_cast<uint64_t>(type);
}

// Whether a reader sees a value; the time is asked for only where there is an expiry.
template <class Now>
[[nodiscard]] bool meta_is_live(uint64_t meta, const Now& now_secs) {
  if (static_cast<RecordType>(meta & 0xFFu) != RecordType::kPut) return false;
  const uint64_t expiry = meta >> 8;
  return expiry == 0 || now_secs() < expiry;
}

// A decoded record; `value` points into the bytes it was decoded from.
struct RecordView {
  RecordHeader header{};
  std::string_view value;

  [[nodiscard]] bool is_tombstone() const { return header.type() == RecordType::kTombstone; }
  // The value; nothing for a tombstone.
  [[nodiscard]] std::optional<std::string_view> stored_value() const {
    if (is_tombstone()) return std::nullopt;
    return value;
  }
  // Whether a reader at `now_secs` sees a value.
  [[nodiscard]] bool is_live(uint64_t now_secs) const {
    return meta_is_live(header.meta, [now_secs] { return now_secs; });
  }
};

// A valid record where it lies: what lookups hand on. Each field is read from its place when it is
// asked for, and nothing is copied: a copy that is read in other pieces than it was written in
// waits until the write has left the processor's store queue, so with the bytes still on their way
// from memory no lookup would overlap with the next.
class RecordRef {
 public:
  RecordRef() = default;
  explicit RecordRef(const char* record) : record_(record) {}

  [[nodiscard]] bool is_null() const { return record_ == nullptr; }
  [[nodiscard]] const char* data() const { return record_; }
  [[nodiscard]] uint64_t key() const { return load_u64(record_ + offsetof(RecordHeader, key)); }
  [[nodiscard]] uint64_t offset() const {
    return load_u64(record_ + offsetof(RecordHeader, offset));
  }
  [[nodiscard]] uint64_t meta() const { return load_u64(record_ + offsetof(RecordHeader, meta)); }
  [[nodiscard]] uint64_t expiry_secs() const { return meta() >> 8; }
  [[nodiscard]] std::string_view value() const {
    return {record_ + kRecordHeaderBytes, load_u32(record_ + offsetof(RecordHeader, value_bytes))};
  }
  [[nodiscard]] RecordView view() const { return {load<RecordHeader>(record_), value()}; }

 private:
  const char* record_ = nullptr;
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

// Whether a valid record begins at `record`, of which `room` bytes may be read.
[[nodiscard]] inline RecordCheck check_record(const char* record, size_t room) {
  if (room < kRecordHeaderBytes) return RecordCheck::kTruncated;
  const uint32_t value_bytes = load_u32(record + offsetof(RecordHeader, value_bytes));
  if (value_bytes > kValueBytesCeiling) return RecordCheck::kBad;
  if (room - kRecordHeaderBytes < value_bytes) return RecordCheck::kTruncated;
  const auto type = static_cast<RecordType>(RecordRef(record).meta() & 0xFFu);
  if (type != RecordType::kPut && (type != RecordType::kTombstone || value_bytes != 0)) {
    return RecordCheck::kBad;
  }
  const uint32_t crc = crc32c_both<kRecordHeaderBytes - kCrcBytes>(record + kRecordHeaderBytes,
                                                                   value_bytes, record + kCrcBytes);
  return crc == load_u32(record) ? RecordCheck::kOk : RecordCheck::kBad;
}

// Decodes the record at the start of `bytes` and verifies its checksum. Reads nothing outside.
[[nodiscard]] inline RecordCheck decode_record(std::string_view bytes, RecordView* out) {
  const RecordCheck check = check_record(bytes.data(), bytes.size());
  if (check == RecordCheck::kOk) *out = RecordRef(bytes.data()).view();
  return check;
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
