// Frames of HTTP/2 (RFC 9113 sections 4 and 6): one function in and one out for each type.
//
//    0  u24  length of the payload
//    3  u8   type
//    4  u8   flags
//    5  u31  stream, 0 for the connection (the first bit is ignored)
//    9  the payload
//
// A parse_…() function judges what can be judged by looking at one frame; what depends on the
// streams is the session's. A refusal names the section that it follows.
//
// Thread rule: pure functions. Ownership: payload views point into the caller's bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/net/http2/wire.h"

namespace kyro {

enum class FrameType : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kRstStream,
  kSettings,
  kPushPromise,
  kPing,
  kGoaway,
  kWindowUpdate,
  kContinuation,
};

// Section 7.
enum class Http2Error : uint32_t {
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
  kEnhanceYourCalm,
  kInadequateSecurity,
  kHttp11Required,
};

// What is wrong with a frame, and whose end it is: the stream's (RST_STREAM) or the connection's
// (GOAWAY).
struct Http2Refusal {
  Http2Error error = Http2Error::kNoError;
  bool ends_connection = false;
  const char* why = "";

  [[nodiscard]] bool ok() const { return error == Http2Error::kNoError; }
};
[[nodiscard]] constexpr Http2Refusal end_connection(Http2Error error, const char* why) {
  return {error, true, why};
}
[[nodiscard]] constexpr Http2Refusal end_stream(Http2Error error, const char* why) {
  return {error, false, why};
}

namespace http2_flag {
inline constexpr uint8_t kEndStream = 0x1;  // DATA, HEADERS
inline constexpr uint8_t kAck = 0x1;        // SETTINGS, PING
inline constexpr uint8_t kEndHeaders = 0x4;
inline constexpr uint8_t kPadded = 0x8;
inline constexpr uint8_t kPriority = 0x20;
}  // namespace http2_flag

namespace http2_setting {
inline constexpr uint16_t kHeaderTableSize = 1;
inline constexpr uint16_t kEnablePush = 2;
inline constexpr uint16_t kMaxConcurrentStreams = 3;
inline constexpr uint16_t kInitialWindowSize = 4;
inline constexpr uint16_t kMaxFrameSize = 5;
inline constexpr uint16_t kMaxHeaderListSize = 6;
}  // namespace http2_setting

inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline constexpr size_t kFrameHeaderBytes = 9;
// The largest payload that we take and send: what everyone must take (SETTINGS_MAX_FRAME_SIZE).
inline constexpr uint32_t kFrameBytesMax = 16384;
inline constexpr uint32_t kWindowMax = 0x7FFFFFFF;
inline constexpr uint32_t kDefaultWindow = 65535;

struct FrameHeader {
  uint32_t length = 0;
  FrameType type = FrameType::kData;  // any value: unknown types are ignored
  uint8_t flags = 0;
  uint32_t stream = 0;

  [[nodiscard]] bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

// ---- in ----

// REQUIRES kFrameHeaderBytes at `bytes`.
[[nodiscard]] inline FrameHeader parse_frame_header(const char* bytes) {
  const uint32_t length_and_type = load_be32(bytes);
  return {.length = length_and_type >> 8,
          .type = static_cast<FrameType>(length_and_type & 0xFF),
          .flags = static_cast<uint8_t>(bytes[4]),
          .stream = load_be32(bytes + 5) & 0x7FFFFFFFu};
}

namespace frame_detail {

[[nodiscard]] inline Http2Refusal check_on_stream(const FrameHeader& frame) {
  if (frame.stream != 0) return {};
  return end_connection(Http2Error::kProtocolError, "6: this type of frame belongs to a stream");
}
[[nodiscard]] inline Http2Refusal check_on_connection(const FrameHeader& frame) {
  if (frame.stream == 0) return {};
  return end_connection(Http2Error::kProtocolError, "6: this type of frame has no stream");
}

// Takes the padding off a payload (section 6.1).
[[nodiscard]] inline Http2Refusal unpad(const FrameHeader& frame, std::string_view* payload) {
  if (!frame.has(http2_flag::kPadded)) return {};
  if (payload->empty()) {
    return end_connection(Http2Error::kFrameSizeError, "6.1: no room for the length of padding");
  }
  const auto padding = static_cast<unsigned char>(payload->front());
  payload->remove_prefix(1);
  if (padding > payload->size()) {
    return end_connection(Http2Error::kProtocolError, "6.1: padding longer than its frame");
  }
  payload->remove_suffix(padding);
  return {};
}

}  // namespace frame_detail

// Section 6.1. The flow-control windows count frame.length, padding too.
[[nodiscard]] inline Http2Refusal parse_data(const FrameHeader& frame, std::string_view payload,
                                             std::string_view* data) {
  if (const auto bad = frame_detail::check_on_stream(frame); !bad.ok()) return bad;
  if (const auto bad = frame_detail::unpad(frame, &payload); !bad.ok()) return bad;
  *data = payload;
  return {};
}

// A stream that depends on itself (RFC 7540 section 5.3.1; RFC 9113 has dropped priorities, so
// this is all that is looked at).
[[nodiscard]] inline Http2Refusal check_dependency(const FrameHeader& frame,
                                                   std::string_view priority) {
  if ((load_be(priority.data(), 4) & 0x7FFFFFFFu) != frame.stream) return {};
  return end_stream(Http2Error::kProtocolError, "5.3: a stream depends on itself");
}

// Section 6.2. A refusal that ends the stream only comes with the fragment: it must be decoded all
// the same.
[[nodiscard]] inline Http2Refusal parse_headers(const FrameHeader& frame, std::string_view payload,
                                                std::string_view* fragment) {
  if (const auto bad = frame_detail::check_on_stream(frame); !bad.ok()) return bad;
  if (const auto bad = frame_detail::unpad(frame, &payload); !bad.ok()) return bad;
  Http2Refusal refusal;
  if (frame.has(http2_flag::kPriority)) {
    if (payload.size() < 5) {
      return end_connection(Http2Error::kFrameSizeError, "6.2: no room for the priority");
    }
    refusal = check_dependency(frame, payload);
    payload.remove_prefix(5);
  }
  *fragment = payload;
  return refusal;
}

// Section 6.3.
[[nodiscard]] inline Http2Refusal parse_priority(const FrameHeader& frame,
                                                 std::string_view payload) {
  if (const auto bad = frame_detail::check_on_stream(frame); !bad.ok()) return bad;
  if (frame.length != 5)
    return end_stream(Http2Error::kFrameSizeError, "6.3: PRIORITY has 5 bytes");
  return check_dependency(frame, payload);
}

// Section 6.4.
[[nodiscard]] inline Http2Refusal parse_rst_stream(const FrameHeader& frame,
                                                   std::string_view payload, Http2Error* error) {
  if (const auto bad = frame_detail::check_on_stream(frame); !bad.ok()) return bad;
  if (frame.length != 4) {
    return end_connection(Http2Error::kFrameSizeError, "6.4: RST_STREAM has 4 bytes");
  }
  *error = static_cast<Http2Error>(load_be(payload.data(), 4));
  return {};
}

// Section 6.5: calls visit(id, value) for every setting, until it returns a refusal.
template <class Visit>
[[nodiscard]] Http2Refusal parse_settings(const FrameHeader& frame, std::string_view payload,
                                          Visit visit) {
  if (const auto bad = frame_detail::check_on_connection(frame); !bad.ok()) return bad;
  if (frame.has(http2_flag::kAck)) {
    if (frame.length == 0) return {};
    return end_connection(Http2Error::kFrameSizeError, "6.5: an acknowledgement has no payload");
  }
  if (frame.length % 6 != 0) {
    return end_connection(Http2Error::kFrameSizeError, "6.5: a setting has 6 bytes");
  }
  for (; !payload.empty(); payload.remove_prefix(6)) {
    const auto id = static_cast<uint16_t>(load_be(payload.data(), 2));
    if (const Http2Refusal bad = visit(id, load_be(payload.data() + 2, 4)); !bad.ok()) return bad;
  }
  return {};
}

// Section 6.7.
[[nodiscard]] inline Http2Refusal parse_ping(const FrameHeader& frame) {
  if (const auto bad = frame_detail::check_on_connection(frame); !bad.ok()) return bad;
  if (frame.length != 8)
    return end_connection(Http2Error::kFrameSizeError, "6.7: PING has 8 bytes");
  return {};
}

// Section 6.8.
[[nodiscard]] inline Http2Refusal parse_goaway(const FrameHeader& frame) {
  if (const auto bad = frame_detail::check_on_connection(frame); !bad.ok()) return bad;
  if (frame.length < 8) {
    return end_connection(Http2Error::kFrameSizeError, "6.8: GOAWAY has 8 bytes at least");
  }
  return {};
}

// Section 6.9; an increment of 0 is an error of whoever's window it is.
[[nodiscard]] inline Http2Refusal parse_window_update(const FrameHeader& frame,
                                                      std::string_view payload,
                                                      uint32_t* increment) {
  if (frame.length != 4) {
    return end_connection(Http2Error::kFrameSizeError, "6.9: WINDOW_UPDATE has 4 bytes");
  }
  *increment = load_be(payload.data(), 4) & 0x7FFFFFFFu;
  if (*increment != 0) return {};
  return {Http2Error::kProtocolError, frame.stream == 0, "6.9: a window grows by 1 at least"};
}

// ---- out ----

// REQUIRES room for kFrameHeaderBytes, and a length below 2^24.
inline void write_frame_header(char* to, const FrameHeader& frame) {
  store_be32(to, frame.length << 8 | static_cast<uint32_t>(frame.type));
  to[4] = static_cast<char>(frame.flags);
  store_be32(to + 5, frame.stream);
}
inline void append_frame_header(std::string& out, const FrameHeader& frame) {
  char header[kFrameHeaderBytes];
  write_frame_header(header, frame);
  out.append(header, sizeof header);
}

inline void append_rst_stream(std::string& out, uint32_t stream, Http2Error error) {
  append_frame_header(out, {.length = 4, .type = FrameType::kRstStream, .stream = stream});
  append_be(out, static_cast<uint32_t>(error), 4);
}

inline void append_setting(std::string& out, uint16_t id, uint32_t value) {
  append_be(out, id, 2);
  append_be(out, value, 4);
}

inline void append_settings_ack(std::string& out) {
  append_frame_header(out, {.type = FrameType::kSettings, .flags = http2_flag::kAck});
}

// REQUIRES 8 bytes.
inline void append_ping(std::string& out, std::string_view payload, uint8_t flags = 0) {
  append_frame_header(out, {.length = 8, .type = FrameType::kPing, .flags = flags});
  out.append(payload);
}
inline void append_ping_ack(std::string& out, std::string_view payload) {
  append_ping(out, payload, http2_flag::kAck);
}

inline void append_goaway(std::string& out, uint32_t last_stream, Http2Error error,
                          std::string_view why) {
  append_frame_header(
      out, {.length = static_cast<uint32_t>(8 + why.size()), .type = FrameType::kGoaway});
  append_be(out, last_stream, 4);
  append_be(out, static_cast<uint32_t>(error), 4);
  out.append(why);
}

inline void append_window_update(std::string& out, uint32_t stream, uint32_t increment) {
  append_frame_header(out, {.length = 4, .type = FrameType::kWindowUpdate, .stream = stream});
  append_be(out, increment, 4);
}

}  // namespace kyro
