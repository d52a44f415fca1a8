// HTTP/2 bytes as a test writes and reads them, made without the code under test.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kyro::test::h2 {

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum Type : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kRstStream,
  kSettings,
  kPushPromise,
  kPing,
  kGoaway,
  kWindowUpdate,
  kContinuation
};
enum Flag : uint8_t { kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8, kWithPriority = 32 };
enum Error : uint32_t {
  kNoError,
  kProtocolError,
  kInternalError,
  kFlowControlError,
  kSettingsTimeout,
  kStreamClosed,
  kFrameSizeError,
  kRefusedStream,
  kCancel,
  kCompressionError,
  kConnectError,
  kEnhanceYourCalm
};

// `value` in `bytes` bytes, the highest first.
inline std::string be(uint64_t value, unsigned bytes) {
  std::string out(bytes, '\0');
  for (unsigned i = bytes; i-- > 0; value >>= 8) out[i] = static_cast<char>(value & 0xFF);
  return out;
}

// A frame whose header says what it is told to, whatever its payload is.
inline std::string frame_of(uint64_t length, uint8_t type, uint8_t flags, uint32_t stream,
                            std::string_view payload) {
  std::string out = be(length, 3);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  return out.append(be(stream, 4)).append(payload);
}
inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  return frame_of(payload.size(), type, flags, stream, payload);
}

inline std::string setting(uint16_t id, uint32_t value) {
  return be(id, 2) + be(value, 4);
}
inline std::string settings(std::string_view payload = {}, uint8_t flags = 0) {
  return frame(kSettings, flags, 0, payload);
}
inline std::string ping(std::string_view payload = "pingping", uint8_t flags = 0) {
  return frame(kPing, flags, 0, payload);
}
inline std::string window_update(uint32_t stream, uint32_t increment) {
  return frame(kWindowUpdate, 0, stream, be(increment, 4));
}
inline std::string rst_stream(uint32_t stream, uint32_t error = kCancel) {
  return frame(kRstStream, 0, stream, be(error, 4));
}
inline std::string data(uint32_t stream, std::string_view bytes, uint8_t flags = 0) {
  return frame(kData, flags, stream, bytes);
}
inline std::string priority(uint32_t stream, uint32_t dependency, uint8_t weight = 15) {
  return frame(kPriority, 0, stream, be(dependency, 4) + static_cast<char>(weight));
}

using Fields = std::vector<std::pair<std::string, std::string>>;

// A header block of literals that are not indexed.
inline std::string block(const Fields& fields) {
  const auto string_of = [](std::string_view text) {
    std::string out;
    if (text.size() < 127) {
      out += static_cast<char>(text.size());
    } else {
      out += static_cast<char>(127);
      size_t rest = text.size() - 127;
      for (; rest >= 128; rest >>= 7) out += static_cast<char>(0x80 | (rest & 0x7F));
      out += static_cast<char>(rest);
    }
    return out.append(text);
  };
  std::string out;
  for (const auto& [name, value] : fields) {
    out += '\0';
    out += string_of(name) + string_of(value);
  }
  return out;
}

inline Fields request_fields(std::string_view method = "GET", std::string_view path = "/health") {
  return {{":method", std::string(method)},
          {":scheme", "http"},
          {":path", std::string(path)},
          {":authority", "localhost"}};
}
inline Fields with(Fields fields, const Fields& more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}
inline std::string headers(uint32_t stream, const Fields& fields,
                           uint8_t flags = kEndHeaders | kEndStream) {
  return frame(kHeaders, flags, stream, block(fields));
}
// A whole request without a body.
inline std::string request(uint32_t stream) {
  return headers(stream, request_fields());
}
// The head of one whose body follows.
inline std::string open_request(uint32_t stream, const Fields& more = {}) {
  return headers(stream, with(request_fields("POST", "/v1/put"), more), kEndHeaders);
}

struct Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;

  [[nodiscard]] uint32_t number_at(size_t at) const {
    uint32_t value = 0;
    for (size_t i = at; i < at + 4; ++i) {
      value = value << 8 | static_cast<unsigned char>(payload.at(i));
    }
    return value;
  }
};

// The whole frames that `bytes` begin with.
inline std::vector<Frame> frames_of(std::string_view bytes) {
  std::vector<Frame> frames;
  while (bytes.size() >= 9) {
    const auto byte = [bytes](size_t i) { return uint32_t{static_cast<unsigned char>(bytes[i])}; };
    const size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
    if (bytes.size() < 9 + length) break;
    frames.push_back({static_cast<uint8_t>(byte(3)), static_cast<uint8_t>(byte(4)),
                      (byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8)) & 0x7FFFFFFF,
                      std::string(bytes.substr(9, length))});
    bytes.remove_prefix(9 + length);
  }
  return frames;
}

}  // namespace kyro::test::h2
