// The messages of scripts/api/kyrodb.proto that the server sends.
//
// Where a message has a value, that comes last (protocol buffers leave the order open), so that a
// large one can follow from where it lies: a ValueMessage is what stands before it.
//
// Thread rule: pure functions and values.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "kyro/server/grpc/framing.h"
#include "kyro/server/grpc/protobuf.h"
#include "kyro/storage/record.h"

namespace kyro::rpc {

// A message but for the bytes of its value; nothing is allocated.
class ValueMessage {
 public:
  // Leaves out what is 0, as proto3 wants.
  void add(uint32_t number, uint64_t value) {
    if (value == 0) return;
    put_varint(uint64_t{number} << 3 | static_cast<uint64_t>(ProtoType::kVarint));
    put_varint(value);
  }
  // Then `value_bytes` follow, as field `number`. With the head of a message in a body.
  [[nodiscard]] std::string_view framed(uint32_t number, size_t value_bytes) {
    const size_t message_bytes = end_value(number, value_bytes);
    char* const head = bytes_ + kRoomBefore - kMessageHeadBytes;
    head[0] = '\0';
    store_be(head + 1, static_cast<uint32_t>(message_bytes), 4);
    return {head, static_cast<size_t>(end_ - head)};
  }
  // The same as field `outer` of another message.
  [[nodiscard]] std::string_view nested(uint32_t outer, uint32_t number, size_t value_bytes) {
    const size_t message_bytes = end_value(number, value_bytes);
    char* head = bytes_ + kRoomBefore - varint_bytes(message_bytes) - 1;
    char* const begin = head;
    *head++ = static_cast<char>(outer << 3 | static_cast<unsigned>(ProtoType::kBytes));
    write_varint(head, message_bytes);
    return {begin, static_cast<size_t>(end_ - begin)};
  }

 private:
  static constexpr size_t kRoomBefore = 11;  // a tag and a varint, or a message's head
  static constexpr size_t kFieldsMax = 4;    // of a tag below 16 and a varint each, and a value's

  static char* write_varint(char* to, uint64_t value) {
    for (; value >= 0x80; value >>= 7) *to++ = static_cast<char>(0x80 | (value & 0x7F));
    *to++ = static_cast<char>(value);
    return to;
  }
  void put_varint(uint64_t value) { end_ = write_varint(end_, value); }
  // Returns how long the message is.
  size_t end_value(uint32_t number, size_t value_bytes) {
    if (value_bytes != 0) {
      put_varint(uint64_t{number} << 3 | static_cast<uint64_t>(ProtoType::kBytes));
      put_varint(value_bytes);
    }
    return static_cast<size_t>(end_ - bytes_) - kRoomBefore + value_bytes;
  }

  char bytes_[kRoomBefore + (kFieldsMax + 1) * 11];
  char* end_ = bytes_ + kRoomBefore;
};

// GetResponse without its value.
[[nodiscard]] inline ValueMessage get_response(uint64_t offset, uint64_t expires_in_secs,
                                               uint64_t expires_secs) {
  ValueMessage message;
  message.add(2, offset);
  message.add(3, expires_in_secs);
  message.add(4, expires_secs);
  return message;
}
inline constexpr uint32_t kGetValue = 1;

// GetResponse of a Wait in which nothing has happened.
[[nodiscard]] inline ValueMessage unchanged_response(uint64_t offset) {
  ValueMessage message;
  message.add(2, offset);
  message.add(5, 1);
  return message;
}

[[nodiscard]] inline ValueMessage record_message(uint64_t key, uint64_t offset,
                                                 uint64_t expires_secs) {
  ValueMessage message;
  message.add(1, key);
  message.add(3, offset);
  message.add(4, expires_secs);
  return message;
}
inline constexpr uint32_t kRecordValue = 2;

[[nodiscard]] inline ValueMessage log_record_message(const RecordView& record,
                                                     uint64_t expires_secs) {
  ValueMessage message;
  message.add(1, record.header.offset);
  message.add(2, record.is_tombstone() ? 1 : 0);
  message.add(3, record.header.key);
  message.add(5, expires_secs);
  return message;
}
// LogRecord that says how far the subscriber has come.
[[nodiscard]] inline ValueMessage progress_message(uint64_t offset) {
  ValueMessage message;
  message.add(1, offset);
  message.add(2, 2);
  return message;
}
inline constexpr uint32_t kLogRecordValue = 4;

// An item of a MultiGetResponse that was found.
[[nodiscard]] inline ValueMessage found_item(uint64_t offset, uint64_t expires_secs) {
  ValueMessage message;
  message.add(1, 1);
  message.add(3, offset);
  message.add(4, expires_secs);
  return message;
}
inline constexpr uint32_t kItems = 1;
inline constexpr uint32_t kItemValue = 2;

// Messages of a few numbers, framed.
[[nodiscard]] inline std::string numbers_message(std::initializer_list<uint64_t> numbers) {
  std::string out;
  const size_t begin = begin_message(out);
  uint32_t number = 0;
  for (const uint64_t value : numbers) append_varint_field(out, ++number, value);
  end_message(out, begin);
  return out;
}

// PutStreamResponse.
inline void append_put_stream_response(std::string& out, uint64_t offset) {
  ValueMessage message;
  message.add(3, offset);
  out.append(message.framed(0, 0));
}
inline void append_put_stream_response(std::string& out, uint64_t code, std::string_view message) {
  const size_t begin = begin_message(out);
  append_varint_field(out, 1, code);
  append_bytes_field(out, 2, message);
  end_message(out, begin);
}

}  // namespace kyro::rpc
