// The messages of scripts/api that a client sends.
//
// decode() merges what it reads into what is there, as protocol buffers want: later fields win,
// unknown ones are skipped, a field of another wire type counts as unknown. It fails on bytes that
// are no message; what a message means is checked by whoever acts on it.
//
// Thread rule: values. Ownership: views point into the decoded bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "kyro/server/grpc/protobuf.h"

namespace kyro::rpc {

// Calls on_field(field) for every field; false if the bytes are no message, or on_field says so.
template <class OnField>
[[nodiscard]] bool decode_fields(std::string_view bytes, OnField on_field,
                                 size_t fields_max = ProtoReader::kFieldsMax) {
  ProtoReader reader(bytes, fields_max);
  ProtoField field;
  while (reader.next(&field)) {
    if (!on_field(field)) return false;
  }
  return reader.ok();
}

struct Condition {
  enum class Want : uint8_t { kNothing, kAbsent, kPresent, kOffset };
  Want want = Want::kNothing;
  uint64_t value = 0;  // of the field that was set

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.type != ProtoType::kVarint || field.number < 1 || field.number > 3) return true;
      want = static_cast<Want>(field.number);
      value = field.value;
      return true;
    });
  }
};

struct PutRequest {
  uint64_t key = 0;
  std::string_view value;
  uint64_t ttl_secs = 0;
  uint64_t expires_secs = 0;
  Condition condition;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) key = field.value;
      if (field.is_bytes(2)) value = field.bytes;
      if (field.is_varint(3)) ttl_secs = field.value;
      if (field.is_varint(5)) expires_secs = field.value;
      return !field.is_bytes(4) || condition.decode(field.bytes);
    });
  }
};

struct GetRequest {
  uint64_t key = 0;
  bool offset_only = false;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) key = field.value;
      if (field.is_varint(2)) offset_only = field.value != 0;
      return true;
    });
  }
};

struct WaitRequest {
  uint64_t key = 0;
  std::optional<uint64_t> known_offset;
  uint64_t wait_secs = 0;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) key = field.value;
      if (field.is_varint(2)) known_offset = field.value;
      if (field.is_varint(3)) wait_secs = field.value;
      return true;
    });
  }
};

struct DeleteRequest {
  uint64_t key = 0;
  Condition condition;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) key = field.value;
      return !field.is_bytes(2) || condition.decode(field.bytes);
    });
  }
};

struct MultiGetRequest {
  std::vector<uint64_t> keys;

  // Stops adding after `keys_max` + 1 keys.
  [[nodiscard]] bool decode(std::string_view bytes, uint64_t keys_max) {
    const auto add = [this, keys_max](uint64_t key) {
      if (keys.size() <= keys_max) keys.push_back(key);
    };
    return decode_fields(
        bytes,
        [&](const ProtoField& field) {
          if (field.is_varint(1)) add(field.value);
          if (!field.is_bytes(1)) return true;
          ProtoReader packed(field.bytes);
          for (uint64_t key = 0; packed.next_packed(&key);) add(key);
          return packed.ok();
        },
        keys_max + ProtoReader::kFieldsMax);
  }
};

struct Operation {
  enum class Kind : uint8_t { kNone, kPut, kDelete };
  Kind kind = Kind::kNone;
  PutRequest put;
  DeleteRequest remove;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_bytes(1)) {
        if (kind != Kind::kPut) put = {};
        kind = Kind::kPut;
        return put.decode(field.bytes);
      }
      if (field.is_bytes(2)) {
        if (kind != Kind::kDelete) remove = {};
        kind = Kind::kDelete;
        return remove.decode(field.bytes);
      }
      return true;
    });
  }
};

struct ScanRequest {
  uint64_t first = 0;
  std::optional<uint64_t> end;
  uint64_t limit = 0;
  bool reverse = false;
  bool keys_only = false;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) first = field.value;
      if (field.is_varint(2)) end = field.value;
      if (field.is_varint(3)) limit = field.value;
      if (field.is_varint(4)) reverse = field.value != 0;
      if (field.is_varint(5)) keys_only = field.value != 0;
      return true;
    });
  }
};

// CountRequest, KeyRange, and DeleteRangeRequest, which has a limit.
struct RangeRequest {
  std::optional<uint64_t> first;
  std::optional<uint64_t> end;
  uint64_t limit = 0;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) first = field.value;
      if (field.is_varint(2)) end = field.value;
      if (field.is_varint(3)) limit = field.value;
      return true;
    });
  }
};

struct NearestRequest {
  uint64_t key = 0;
  uint64_t direction = 0;  // 0 FLOOR, 1 CEIL

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) key = field.value;
      if (field.is_varint(2)) direction = field.value;
      return true;
    });
  }
};

struct SubscribeRequest {
  std::optional<uint64_t> from_offset;
  std::optional<uint64_t> key;
  std::optional<RangeRequest> range;  // at most one of the two
  bool progress = false;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_varint(1)) from_offset = field.value;
      if (field.is_varint(4)) progress = field.value != 0;
      if (field.is_varint(2)) {
        key = field.value;
        range.reset();
      }
      if (!field.is_bytes(3)) return true;
      key.reset();
      if (!range) range.emplace();
      return range->decode(field.bytes);
    });
  }
};

struct HealthCheckRequest {
  std::string_view service;

  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [this](const ProtoField& field) {
      if (field.is_bytes(1)) service = field.bytes;
      return true;
    });
  }
};

// A message without a field that we know.
struct EmptyRequest {
  [[nodiscard]] bool decode(std::string_view bytes) {
    return decode_fields(bytes, [](const ProtoField&) { return true; });
  }
};

}  // namespace kyro::rpc
