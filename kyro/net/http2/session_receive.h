// The receiving half of Http2Session.
#pragma once

#include "kyro/net/http2/session.h"

namespace kyro {

inline size_t Http2Session::receive(std::string_view bytes, uint64_t now_ms, std::string& out) {
  const size_t before = bytes.size();
  calm_.on_time(now_ms);
  out_ = &out;
  if (phase_ == Phase::kPreface && !failed_) {
    const size_t compared = std::min(bytes.size(), kHttp2Preface.size());
    if (bytes.substr(0, compared) != kHttp2Preface.substr(0, compared)) {
      fail(Http2Error::kProtocolError, "3.4: the connection preface is wrong", out);
    } else if (compared == kHttp2Preface.size()) {
      bytes.remove_prefix(compared);
      phase_ = Phase::kSettings;
      send_settings(out);
    }
  }
  while (!failed_ && phase_ != Phase::kPreface && bytes.size() >= kFrameHeaderBytes) {
    const FrameHeader frame = parse_frame_header(bytes.data());
    if (frame.length > kFrameBytesMax) {
      fail(Http2Error::kFrameSizeError, "4.2: a frame larger than SETTINGS_MAX_FRAME_SIZE", out);
      break;
    }
    if (bytes.size() < kFrameHeaderBytes + frame.length) break;
    Http2Refusal refusal = check_order(frame);
    if (refusal.ok()) refusal = on_frame(frame, bytes.substr(kFrameHeaderBytes, frame.length));
    if (!refusal.ok()) refuse(frame.stream, refusal);
    bytes.remove_prefix(kFrameHeaderBytes + frame.length);
  }
  out_ = nullptr;
  return before - bytes.size();
}

inline void Http2Session::send_settings(std::string& out) {
  append_frame_header(out, {.length = 3 * 6, .type = FrameType::kSettings});
  append_setting(out, http2_setting::kMaxConcurrentStreams, kStreamsMax);
  append_setting(out, http2_setting::kInitialWindowSize, kStreamWindow);
  append_setting(out, http2_setting::kMaxHeaderListSize, Http2Head::kListBytesMax);
  append_window_update(out, 0, kConnectionWindow - kDefaultWindow);
}

// What may come now: SETTINGS first (section 3.4), and nothing within a header block (6.10).
inline Http2Refusal Http2Session::check_order(const FrameHeader& frame) const {
  if (phase_ == Phase::kSettings &&
      (frame.type != FrameType::kSettings || frame.has(http2_flag::kAck))) {
    return end_connection(Http2Error::kProtocolError, "3.4: the first frame is not SETTINGS");
  }
  const bool continues = frame.type == FrameType::kContinuation;
  if (block_stream_ == 0) {
    if (!continues) return {};
    return end_connection(Http2Error::kProtocolError, "6.10: CONTINUATION of nothing");
  }
  if (continues && frame.stream == block_stream_) return {};
  return end_connection(Http2Error::kProtocolError, "6.10: a frame within a header block");
}

inline Http2Refusal Http2Session::on_frame(const FrameHeader& frame, std::string_view payload) {
  switch (frame.type) {
    case FrameType::kData:
      return on_data(frame, payload);
    case FrameType::kHeaders:
      return on_headers(frame, payload);
    case FrameType::kPriority:
      if (const auto bad = parse_priority(frame, payload); !bad.ok()) return bad;
      return spend(Http2Calm::kFrame);
    case FrameType::kRstStream:
      return on_rst_stream(frame, payload);
    case FrameType::kSettings:
      return on_settings(frame, payload);
    case FrameType::kPushPromise:
      return end_connection(Http2Error::kProtocolError, "8.4: a client must not push");
    case FrameType::kPing:
      if (const auto bad = parse_ping(frame); !bad.ok()) return bad;
      frame.has(http2_flag::kAck) ? events_.on_pong() : append_ping_ack(*out_, payload);
      return spend(Http2Calm::kFrame);
    case FrameType::kGoaway:  // we open no streams; those of the client go on
      if (const auto bad = parse_goaway(frame); !bad.ok()) return bad;
      return spend(Http2Calm::kFrame);
    case FrameType::kWindowUpdate:
      return on_window_update(frame, payload);
    case FrameType::kContinuation:
      return on_continuation(frame, payload);
  }
  return spend(Http2Calm::kFrame);  // section 4.1: unknown types are ignored
}

inline Http2Refusal Http2Session::spend(int64_t price) {
  if (calm_.spend(price)) return {};
  return end_connection(Http2Error::kEnhanceYourCalm, "10.5: too much that is no work");
}

inline void Http2Session::refuse(uint32_t id, const Http2Refusal& refusal) {
  events_.on_refusal(refusal);
  if (refusal.ends_connection) return fail(refusal.error, refusal.why, *out_);
  Http2Stream* const stream = streams_.find(id);
  append_rst_stream(*out_, id, refusal.error);
  if (stream != nullptr) {
    events_.on_reset(*stream);
    close(*stream, Http2Closed::kByUs);
  }
  // Each costs an answer, so they are counted like resets of the client.
  if (const auto bad = spend(Http2Calm::kReset); !bad.ok()) {
    events_.on_refusal(bad);
    fail(bad.error, bad.why, *out_);
  }
}

// Runs `event` with a stream that may end meanwhile, and closes it then.
template <class Event>
void Http2Session::run_event(Http2Stream& stream, Event event) {
  in_event_ = &stream;
  closed_in_event_ = Http2Closed::kUnknown;
  event();
  in_event_ = nullptr;
  if (closed_in_event_ != Http2Closed::kUnknown) streams_.close(stream, closed_in_event_);
}

// A frame of a stream that is not open: of one that is idle, or was closed (section 5.1).
inline Http2Refusal Http2Session::late_frame(uint32_t id, bool is_headers) const {
  if (id > streams_.newest()) {
    return end_connection(Http2Error::kProtocolError, "5.1: a frame of an idle stream");
  }
  switch (streams_.how_closed(id)) {
    case Http2Closed::kByUs:
      return {};  // it was under way
    case Http2Closed::kByPeer:
      return end_stream(Http2Error::kStreamClosed, "5.1: a frame after RST_STREAM");
    case Http2Closed::kEnded:
      break;
    case Http2Closed::kUnknown:
      if (!is_headers) break;
      return end_connection(Http2Error::kProtocolError, "5.1.1: a stream below the newest one");
  }
  return end_connection(Http2Error::kStreamClosed, "5.1: a frame of a closed stream");
}

inline Http2Refusal Http2Session::on_data(const FrameHeader& frame, std::string_view payload) {
  std::string_view data;
  if (const auto bad = parse_data(frame, payload, &data); !bad.ok()) return bad;
  // The connection's window is given back by the half, so that no client can be beyond it.
  unreturned_ += frame.length;
  if (unreturned_ >= kConnectionWindow / 2) {
    append_window_update(*out_, 0, std::exchange(unreturned_, 0u));
  }
  const bool ends = frame.has(http2_flag::kEndStream);
  if (data.empty() && !ends) {
    if (const auto bad = spend(Http2Calm::kFrame); !bad.ok()) return bad;
  }
  calm_.earn_bytes(data.size());
  Http2Stream* const stream = streams_.find(frame.stream);
  if (stream == nullptr) return late_frame(frame.stream, false);
  if (stream->remote_ended) {
    return end_stream(Http2Error::kStreamClosed, "5.1: DATA after END_STREAM");
  }
  if (static_cast<int32_t>(frame.length) > stream->receive_window) {
    return end_stream(Http2Error::kFlowControlError, "6.9: DATA beyond the window");
  }
  stream->receive_window -= static_cast<int32_t>(frame.length);
  if (const auto bad = take_length(*stream, data.size(), ends); !bad.ok()) return bad;
  stream->remote_ended = ends;
  if (data.size() < frame.length) {  // padding is dealt with
    return_window(*stream, frame.length - static_cast<uint32_t>(data.size()), *out_);
  }
  if (!data.empty() || ends) run_event(*stream, [&] { events_.on_body(*stream, data, ends); });
  return {};
}

// The body must be as long as content-length says (section 8.1.1).
inline Http2Refusal Http2Session::take_length(Http2Stream& stream, size_t bytes, bool ends) const {
  if (!stream.has_length) return {};
  const bool is_right = bytes <= stream.length_left && (!ends || bytes == stream.length_left);
  if (!is_right) {
    return end_stream(Http2Error::kProtocolError, "8.1.1: the body is not of content-length");
  }
  stream.length_left -= bytes;
  return {};
}

inline Http2Refusal Http2Session::on_headers(const FrameHeader& frame, std::string_view payload) {
  std::string_view fragment;
  block_refusal_ = parse_headers(frame, payload, &fragment);
  if (block_refusal_.ends_connection) return block_refusal_;
  if (frame.stream % 2 == 0) {
    return end_connection(Http2Error::kProtocolError, "5.1.1: an even number for a stream");
  }
  if (frame.stream <= streams_.newest() && streams_.find(frame.stream) == nullptr) {
    const Http2Refusal late = late_frame(frame.stream, true);
    if (late.ends_connection) return late;
    if (!late.ok()) block_refusal_ = late;
  }
  block_stream_ = frame.stream;
  block_ends_stream_ = frame.has(http2_flag::kEndStream);
  continuations_ = 0;
  if (frame.has(http2_flag::kEndHeaders)) return on_block(fragment);
  block_.assign(fragment);
  return {};
}

inline Http2Refusal Http2Session::on_continuation(const FrameHeader& frame,
                                                  std::string_view payload) {
  const bool is_too_much =
      ++continuations_ > kContinuationsMax || block_.size() + payload.size() > kBlockBytesMax;
  if (is_too_much) {
    return end_connection(Http2Error::kEnhanceYourCalm, "10.5.1: too long a header block");
  }
  block_.append(payload);
  if (!frame.has(http2_flag::kEndHeaders)) return {};
  return on_block(std::exchange(block_, std::string()));
}

// A whole header block, of a new stream or with the trailers of an open one.
inline Http2Refusal Http2Session::on_block(std::string_view block) {
  const uint32_t id = std::exchange(block_stream_, 0u);
  const bool ends = block_ends_stream_;
  Http2Stream* const stream = streams_.find(id);
  if (!decode(block, stream == nullptr ? Http2Head::Kind::kRequest : Http2Head::Kind::kTrailers)) {
    return end_connection(Http2Error::kCompressionError, "4.3: a header block is not valid");
  }
  if (head_.list_bytes() > kListBytesEnd) {
    return end_connection(Http2Error::kEnhanceYourCalm, "10.5.1: too many fields");
  }
  Http2Refusal refusal = block_refusal_;
  if (stream != nullptr) {
    if (refusal.ok()) refusal = on_trailers(*stream, ends);
  } else if (id > streams_.newest()) {
    if (refusal.ok())
      refusal = on_request(id, ends);
    else
      streams_.refuse(id);
  }  // else it is late, and told so by block_refusal_ if it is to be told
  if (!head_.shrink()) known_block_.clear();
  if (!refusal.ok()) refuse(id, refusal);
  return {};
}

// Makes head_ what the block says; false if the block is not valid.
inline bool Http2Session::decode(std::string_view block, Http2Head::Kind kind) {
  if (kind == Http2Head::Kind::kRequest && block == known_block_ && !block.empty()) return true;
  known_block_.clear();
  head_.begin(kind);
  const bool is_valid = decoder_.decode(
      block, [&](std::string_view name, std::string_view value) { head_.add(name, value); });
  const bool may_repeat = kind == Http2Head::Kind::kRequest && !decoder_.has_changed_table() &&
                          block.size() <= kKnownBlockBytes;
  if (is_valid && may_repeat) known_block_.assign(block);
  return is_valid;
}

inline Http2Refusal Http2Session::on_trailers(Http2Stream& stream, bool ends) {
  if (stream.remote_ended) {
    return end_stream(Http2Error::kStreamClosed, "5.1: HEADERS after END_STREAM");
  }
  if (!ends) return end_stream(Http2Error::kProtocolError, "8.1: trailers without END_STREAM");
  if (const auto bad = head_.finish(); !bad.ok()) return bad;
  if (const auto bad = take_length(stream, 0, true); !bad.ok()) return bad;
  stream.remote_ended = true;
  run_event(stream, [&] { events_.on_body(stream, {}, true); });
  return {};
}

inline Http2Refusal Http2Session::on_request(uint32_t id, bool ends) {
  if (id > last_accepted_) {  // section 6.8: it will be sent again elsewhere
    streams_.refuse(id);
    return {};
  }
  Http2Refusal refusal = head_.finish();
  if (refusal.ok() && streams_.count() >= kStreamsMax) {
    refusal = end_stream(Http2Error::kRefusedStream, "5.1.2: too many streams at once");
  }
  const std::optional<uint64_t> length = head_.content_length();
  if (refusal.ok() && ends && length.value_or(0) != 0) {
    refusal = end_stream(Http2Error::kProtocolError, "8.1.1: the body is not of content-length");
  }
  if (!refusal.ok()) {
    streams_.refuse(id);
    return refusal;
  }
  Http2Stream& stream = streams_.open(id);
  stream.send_window = static_cast<int32_t>(peer_stream_window_);
  stream.receive_window = kStreamWindow;
  stream.has_length = length.has_value();
  stream.length_left = length.value_or(0);
  stream.remote_ended = ends;
  run_event(stream, [&] { events_.on_head(stream, head_, ends); });
  return {};
}

inline Http2Refusal Http2Session::on_rst_stream(const FrameHeader& frame,
                                                std::string_view payload) {
  Http2Error error{};
  if (const auto bad = parse_rst_stream(frame, payload, &error); !bad.ok()) return bad;
  if (frame.stream > streams_.newest()) {
    return end_connection(Http2Error::kProtocolError, "6.4: RST_STREAM of an idle stream");
  }
  if (Http2Stream* const stream = streams_.find(frame.stream)) {
    events_.on_reset(*stream);
    streams_.close(*stream, Http2Closed::kByPeer);
    return spend(Http2Calm::kReset);
  }
  return spend(Http2Calm::kFrame);
}

inline Http2Refusal Http2Session::on_settings(const FrameHeader& frame, std::string_view payload) {
  const Http2Refusal bad = parse_settings(
      frame, payload, [this](uint16_t id, uint32_t value) { return on_setting(id, value); });
  if (!bad.ok()) return bad;
  phase_ = Phase::kOpen;
  if (frame.has(http2_flag::kAck)) return spend(Http2Calm::kFrame);
  append_settings_ack(*out_);
  events_.on_window();
  return spend(Http2Calm::kSettingsFrame);
}

inline Http2Refusal Http2Session::on_setting(uint16_t id, uint32_t value) {
  switch (id) {
    case http2_setting::kHeaderTableSize:
      encoder_.set_peer_table_size(value);
      return {};
    case http2_setting::kEnablePush:
      if (value <= 1) return {};
      return end_connection(Http2Error::kProtocolError, "6.5.2: ENABLE_PUSH is 0 or 1");
    case http2_setting::kMaxFrameSize:
      if (value >= kFrameBytesMax && value < 1u << 24) return {};
      return end_connection(Http2Error::kProtocolError, "6.5.2: MAX_FRAME_SIZE out of range");
    case http2_setting::kInitialWindowSize: {
      if (value > kWindowMax) {
        return end_connection(Http2Error::kFlowControlError, "6.5.2: too large a window");
      }
      const int64_t growth = int64_t{value} - peer_stream_window_;
      bool overflows = false;
      streams_.for_each([&](Http2Stream& stream) {
        const int64_t window = stream.send_window + growth;
        overflows |= window > kWindowMax;
        stream.send_window = static_cast<int32_t>(std::min(window, int64_t{kWindowMax}));
      });
      peer_stream_window_ = value;
      if (!overflows) return {};
      return end_connection(Http2Error::kFlowControlError, "6.9.2: a window has grown too large");
    }
    default:
      return {};
  }
}

inline Http2Refusal Http2Session::on_window_update(const FrameHeader& frame,
                                                   std::string_view payload) {
  uint32_t increment = 0;
  const Http2Refusal bad = parse_window_update(frame, payload, &increment);
  if (bad.ends_connection) return bad;
  if (increment < Http2Calm::kSmallWindowBytes) {
    if (const auto calm = spend(Http2Calm::kSmallWindow); !calm.ok()) return calm;
  }
  if (frame.stream == 0) {
    send_window_ += increment;
    if (send_window_ > kWindowMax) {
      return end_connection(Http2Error::kFlowControlError, "6.9.1: too large a window");
    }
    events_.on_window();
    return {};
  }
  if (frame.stream > streams_.newest()) {
    return end_connection(Http2Error::kProtocolError, "5.1: WINDOW_UPDATE of an idle stream");
  }
  Http2Stream* const stream = streams_.find(frame.stream);
  if (stream == nullptr) return {};  // section 6.9: it may have been under way
  if (!bad.ok()) return bad;
  const int64_t window = int64_t{stream->send_window} + increment;
  if (window > kWindowMax) {
    return end_stream(Http2Error::kFlowControlError, "6.9.1: too large a window");
  }
  stream->send_window = static_cast<int32_t>(window);
  events_.on_window();
  return {};
}

}  // namespace kyro
