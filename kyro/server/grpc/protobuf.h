// The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), read and written.
//
//   field   = tag value
//   tag     = varint of number << 3 | type
//   varint  = 7 bits a byte, the lowest first, the top bit set on all but the last
//
// The reader takes one field after the other and knows nothing of messages: what they mean, that
// unknown ones are skipped, and that the last one wins is up to who reads it. Groups, which nobody
// has written for years, are skipped whole.
//
// Thread rule: values, not shared. Ownership: a reader points into the bytes it reads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"

namespace kyro {

enum class ProtoType : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kBytes = 2,
  kGroupStart = 3,
  kGroupEnd = 4,
  kFixed32 = 5,
};

struct ProtoField {
  uint32_t number = 0;
  ProtoType type = ProtoType::kVarint;
  uint64_t value = 0;      // of kVarint, kFixed64, kFixed32
  std::string_view bytes;  // of kBytes

  [[nodiscard]] bool is_varint(uint32_t wanted) const {
    return number == wanted && type == ProtoType::kVarint;
  }
  [[nodiscard]] bool is_bytes(uint32_t wanted) const {
    return number == wanted && type == ProtoType::kBytes;
  }
};

class ProtoReader {
 public:
  static constexpr unsigned kGroupsMax = 32;  // within each other
  // More fields than any of our messages has any use for, so that what a body of megabytes costs
  // does not grow with it.
  static constexpr size_t kFieldsMax = 64 * 1024;
  static constexpr size_t kUnbounded = SIZE_MAX;

  explicit ProtoReader(std::string_view bytes, size_t fields_max = kFieldsMax)
      : at_(bytes.data()), end_(at_ + bytes.size()), fields_left_(fields_max) {}

  // The next field; false at the end, or where the bytes are not valid: see ok().
  [[nodiscard]] bool next(ProtoField* field) {
    while (ok_ && at_ != end_) {
      if (!read_field(field)) break;
      if (field->type != ProtoType::kGroupStart) return true;
      if (!skip_group(field->number)) break;
    }
    return false;
  }
  [[nodiscard]] bool ok() const { return ok_; }

  // A number without a field around it, as packed repeated fields have them.
  [[nodiscard]] bool next_packed(uint64_t* value) { return at_ != end_ && read_varint(value); }

 private:
  bool fail() {
    ok_ = false;
    return false;
  }

  bool read_varint(uint64_t* value) {
    *value = 0;
    for (unsigned shift = 0; at_ != end_ && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      *value |= uint64_t{byte & 0x7Fu} << shift;
      if ((byte & 0x80u) == 0) return shift < 63 || byte <= 1 ? true : fail();
    }
    return fail();
  }

  bool read_field(ProtoField* field) {
    uint64_t tag = 0;
    if (fields_left_-- == 0) return fail();
    if (!read_varint(&tag)) return false;
    field->number = static_cast<uint32_t>(tag >> 3);
    field->type = static_cast<ProtoType>(tag & 7);
    if (tag > UINT32_MAX || field->number == 0) return fail();
    switch (field->type) {
      case ProtoType::kVarint:
        return read_varint(&field->value);
      case ProtoType::kFixed64:
        if (end_ - at_ < 8) return fail();
        field->value = load_u64(at_);
        at_ += 8;
        return true;
      case ProtoType::kFixed32:
        if (end_ - at_ < 4) return fail();
        field->value = load_u32(at_);
        at_ += 4;
        return true;
      case ProtoType::kBytes: {
        uint64_t bytes = 0;
        if (!read_varint(&bytes)) return false;
        if (bytes > static_cast<uint64_t>(end_ - at_)) return fail();
        field->bytes = std::string_view(at_, bytes);
        at_ += bytes;
        return true;
      }
      case ProtoType::kGroupStart:
        return true;
      case ProtoType::kGroupEnd:
        return depth_ > 0 ? true : fail();
    }
    return fail();
  }

  bool skip_group(uint32_t number) {
    if (++depth_ > kGroupsMax) return fail();
    ProtoField field;
    while (at_ != end_ && read_field(&field)) {
      if (field.type == ProtoType::kGroupStart && !skip_group(field.number)) return false;
      if (field.type != ProtoType::kGroupEnd) continue;
      --depth_;
      return field.number == number ? true : fail();
    }
    return fail();
  }

  const char* at_;
  const char* end_;
  size_t fields_left_;
  unsigned depth_ = 0;
  bool ok_ = true;
};

// ---- writing; a field of its default value is left out, as proto3 wants ----

inline void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  out += static_cast<char>(value);
}
[[nodiscard]] constexpr size_t varint_bytes(uint64_t value) {
  size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

inline void append_tag(std::string& out, uint32_t number, ProtoType type) {
  append_varint(out, uint64_t{number} << 3 | static_cast<uint64_t>(type));
}

inline void append_varint_field(std::string& out, uint32_t number, uint64_t value) {
  if (value == 0) return;
  append_tag(out, number, ProtoType::kVarint);
  append_varint(out, value);
}

// Only what comes before the bytes of a field that is not empty.
inline void append_bytes_head(std::string& out, uint32_t number, size_t bytes) {
  append_tag(out, number, ProtoType::kBytes);
  append_varint(out, bytes);
}
// Strings and bytes.
inline void append_bytes_field(std::string& out, uint32_t number, std::string_view bytes) {
  if (bytes.empty()) return;
  append_bytes_head(out, number, bytes.size());
  out.append(bytes);
}
// A message, also an empty one: that it is there says something.
inline void append_message_field(std::string& out, uint32_t number, std::string_view message) {
  append_bytes_head(out, number, message.size());
  out.append(message);
}

}  // namespace kyro
