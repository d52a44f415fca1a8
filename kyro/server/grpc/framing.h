// Messages within a gRPC body: a byte that says whether it is compressed, a length, the message.
//
//    0  u8   1: compressed (which we never are)
//    1  u32  length, the highest byte first
//    5  the message
//
// Thread rule: one thread. Ownership: a message is valid until the reader is given more.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/net/http2/wire.h"

namespace kyro::rpc {

inline constexpr size_t kMessageHeadBytes = 5;

inline void append_message_head(std::string& out, size_t message_bytes) {
  out += '\0';
  append_be(out, static_cast<uint32_t>(message_bytes), 4);
}

// For a message that is written after its head: fills in what begin_message() left open.
[[nodiscard]] inline size_t begin_message(std::string& out) {
  out.append(kMessageHeadBytes, '\0');
  return out.size();
}
inline void end_message(std::string& out, size_t begin) {
  store_be(out.data() + begin - 4, static_cast<uint32_t>(out.size() - begin), 4);
}

// The only message of a whole body: kInvalid where there is none or more than one, kUnsupported
// for a compressed one.
[[nodiscard]] inline Result<std::string_view> only_message(std::string_view body) {
  if (body.size() < kMessageHeadBytes) return Status(Code::kInvalid, "a message is missing");
  if (body[0] != 0) return Status(Code::kUnsupported, "messages must not be compressed");
  if (load_be(body.data() + 1, 4) != body.size() - kMessageHeadBytes) {
    return Status(Code::kInvalid, "the body is not one message");
  }
  return body.substr(kMessageHeadBytes);
}

// How long the message is that begins there, its head not counted; nothing if its head is not
// whole. kUnsupported for a compressed one, kTooLarge beyond `bytes_max`.
[[nodiscard]] inline Result<std::optional<uint32_t>> message_size(std::string_view bytes,
                                                                  uint64_t bytes_max) {
  if (bytes.size() < kMessageHeadBytes) return std::optional<uint32_t>();
  if (bytes[0] != 0) return Status(Code::kUnsupported, "messages must not be compressed");
  const uint32_t size = load_be(bytes.data() + 1, 4);
  if (size <= bytes_max) return std::optional<uint32_t>(size);
  return Status(Code::kTooLarge, "a message of " + std::to_string(size) + " bytes, at most " +
                                     std::to_string(bytes_max) + " are allowed");
}

// Cuts a body that comes in pieces into its messages.
class MessageReader {
 public:
  explicit MessageReader(uint64_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  // Calls on_message(bytes) for each message that is whole with `piece`. kTooLarge, kUnsupported;
  // whatever on_message returns if it is not ok.
  template <class OnMessage>
  Status add(std::string_view piece, OnMessage on_message) {
    if (held_.empty()) {
      KYRO_TRY(cut(&piece, on_message));
      held_.assign(piece);
      return Status();
    }
    held_.append(piece);
    std::string_view rest = held_;
    KYRO_TRY(cut(&rest, on_message));
    held_.erase(0, held_.size() - rest.size());
    return Status();
  }
  // The body ends: kInvalid in the middle of a message.
  [[nodiscard]] Status end() const {
    return held_.empty() ? Status() : Status(Code::kInvalid, "the last message is cut short");
  }

 private:
  // Takes whole messages off the front of *bytes.
  template <class OnMessage>
  Status cut(std::string_view* bytes, OnMessage on_message) {
    for (;;) {
      const auto size = message_size(*bytes, message_bytes_max_);
      KYRO_TRY(size);
      if (!*size || bytes->size() - kMessageHeadBytes < **size) return Status();
      KYRO_TRY(on_message(bytes->substr(kMessageHeadBytes, **size)));
      bytes->remove_prefix(kMessageHeadBytes + **size);
    }
  }

  const uint64_t message_bytes_max_;
  std::string held_;  // the beginning of a message
};

}  // namespace kyro::rpc
