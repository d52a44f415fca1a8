// One HTTP/2 connection as its server sees it: bytes in, events and bytes out (RFC 9113). No I/O.
//
//   preface → SETTINGS of both sides → HEADERS [CONTINUATION…] [DATA…] [HEADERS] of each stream
//
// receive() takes what has arrived, whole frames at a time, tells the events about requests and
// writes what the protocol itself has to answer (acknowledgements, windows, resets). The sending
// half (send_fields, send_data) keeps the windows of the peer; who sends what when is
// decided by its caller.
//
// Invariants:
//   - a header block is decoded to its end whatever becomes of its stream, or the connection ends;
//   - what a peer may make us keep is bounded: streams, their windows, a header block in pieces;
//   - an error of the connection is the last thing that is said: GOAWAY, then failed().
//
// Clients repeat themselves: a call of the same method is the same header block, byte for byte. The
// last one that left the dynamic table as it was is remembered with what came of it, until another
// block has been decoded. It is compared with blocks of this connection alone.
//
// Thread rule: one thread. Ownership: the session has its streams from a pool. An event may answer
// its stream at once, also so that it ends; on_reset() is the last that is heard of a stream.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/net/http2/calm.h"
#include "kyro/net/http2/frame.h"
#include "kyro/net/http2/head.h"
#include "kyro/net/http2/hpack_decoder.h"
#include "kyro/net/http2/hpack_encoder.h"
#include "kyro/net/http2/streams.h"

namespace kyro {

class Http2Events {
 public:
  virtual ~Http2Events() = default;
  // A request. `ends`: nothing more comes of it. The head is valid during the call; one that
  // is_too_large() is to be answered with 431.
  virtual void on_head(Http2Stream& stream, const Http2Head& head, bool ends) = 0;
  // A piece of its body, which may be empty if it ends. What has been taken in is given back with
  // return_window().
  virtual void on_body(Http2Stream& stream, std::string_view piece, bool ends) = 0;
  // The stream is gone: the client has cancelled it, or it was refused.
  virtual void on_reset(Http2Stream& stream) = 0;
  // A window has grown: what waited for it may go on.
  virtual void on_window() = 0;
  // Our PING has come back.
  virtual void on_pong() = 0;
  // The client was told that something is wrong, with a stream or with all.
  virtual void on_refusal(const Http2Refusal& refusal) = 0;
};

class Http2Session {
 public:
  static constexpr uint32_t kStreamsMax = 128;
  static constexpr uint32_t kStreamWindow = 256 * 1024;
  static constexpr uint32_t kConnectionWindow = 1024 * 1024;
  // A header block in pieces. A list of fields within its bound fits well, unless in tiny pieces.
  static constexpr size_t kBlockBytesMax = 48 * 1024;
  static constexpr uint32_t kContinuationsMax = 16;
  // A list so far above its bound is no mistake any more.
  static constexpr uint64_t kListBytesEnd = 4 * uint64_t{Http2Head::kListBytesMax};

  // Both outlive the session.
  Http2Session(Http2Events& events, Http2StreamPool& streams)
      : events_(events), streams_(streams) {}

  // ---- in ----

  // Takes whole frames off the front of `bytes` and returns how many bytes they were; the rest is
  // to be given again with what follows. `out` takes what the protocol answers. After failed()
  // nothing is taken any more.
  size_t receive(std::string_view bytes, uint64_t now_ms, std::string& out);

  // GOAWAY has been sent because of an error: send what there is, then close.
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] Http2Error error() const { return error_; }
  // The preface and the first SETTINGS are there.
  [[nodiscard]] bool is_open() const { return phase_ == Phase::kOpen; }
  // A header block has begun and not ended.
  [[nodiscard]] bool in_head() const { return block_stream_ != 0; }

  // Lets the client send `bytes` more on the stream: as many that it had sent are dealt with. The
  // connection's own window is always given back: what a stream holds back holds back no other.
  void return_window(Http2Stream& stream, uint32_t bytes, std::string& out);

  // ---- out ----

  // A header block, of what append_fields(encoder, out) adds: the head of an answer, which begins
  // with :status, or trailers.
  template <class AppendFields>
  void send_fields(Http2Stream& stream, bool ends, std::string& out, AppendFields append_fields);
  // How many bytes of a body the peer takes on this stream now, at most a frame of them.
  [[nodiscard]] size_t sendable(const Http2Stream& stream) const;
  // REQUIRES bytes <= sendable(stream).
  void send_data(Http2Stream& stream, std::string_view piece, bool ends, std::string& out) {
    announce_data(stream, piece.size(), out, ends);
    out.append(piece);
    sent_data(stream, piece.size(), ends, out);
  }
  // The same in two steps around bytes that go out from where they lie.
  void announce_data(Http2Stream& stream, size_t bytes, std::string& out, bool ends);
  void sent_data(Http2Stream& stream, size_t bytes, bool ends, std::string& out);
  // Forgets a stream without a word: the connection ends.
  void forget(Http2Stream& stream) { close(stream, Http2Closed::kByUs); }
  // Gives a stream up.
  void reset(Http2Stream& stream, Http2Error error, std::string& out);

  // ---- the end ----

  // Section 6.8, in two steps: new streams are asked for no more, but those under way are taken;
  // then those that came since are the last.
  void announce_shutdown(std::string& out);  // on_pong() tells when the client has heard of it
  void finish_shutdown(std::string& out);
  // Ends the connection for a reason of our own.
  void fail(Http2Error error, std::string_view why, std::string& out);

  [[nodiscard]] const Http2Streams& streams() const { return streams_; }

 private:
  enum class Phase : uint8_t { kPreface, kSettings, kOpen };
  static constexpr size_t kKnownBlockBytes = 128;

  void send_settings(std::string& out);
  [[nodiscard]] Http2Refusal check_order(const FrameHeader& frame) const;
  [[nodiscard]] Http2Refusal on_frame(const FrameHeader& frame, std::string_view payload);
  [[nodiscard]] Http2Refusal on_data(const FrameHeader& frame, std::string_view payload);
  [[nodiscard]] Http2Refusal on_headers(const FrameHeader& frame, std::string_view payload);
  [[nodiscard]] Http2Refusal on_continuation(const FrameHeader& frame, std::string_view payload);
  [[nodiscard]] Http2Refusal on_block(std::string_view block);
  [[nodiscard]] bool decode(std::string_view block, Http2Head::Kind kind);
  [[nodiscard]] Http2Refusal on_request(uint32_t id, bool ends);
  [[nodiscard]] Http2Refusal on_trailers(Http2Stream& stream, bool ends);
  [[nodiscard]] Http2Refusal on_rst_stream(const FrameHeader& frame, std::string_view payload);
  [[nodiscard]] Http2Refusal on_settings(const FrameHeader& frame, std::string_view payload);
  [[nodiscard]] Http2Refusal on_setting(uint16_t id, uint32_t value);
  [[nodiscard]] Http2Refusal on_window_update(const FrameHeader& frame, std::string_view payload);
  [[nodiscard]] Http2Refusal late_frame(uint32_t id, bool is_headers) const;
  [[nodiscard]] Http2Refusal spend(int64_t price);
  void refuse(uint32_t stream, const Http2Refusal& refusal);
  [[nodiscard]] Http2Refusal take_length(Http2Stream& stream, size_t bytes, bool ends) const;
  template <class Event>
  void run_event(Http2Stream& stream, Event event);
  void on_local_end(Http2Stream& stream, std::string& out);
  void close(Http2Stream& stream, Http2Closed how);

  static void split_block(uint32_t stream, bool ends, std::string& out, size_t begin);

  Http2Events& events_;
  Http2Streams streams_;
  HpackDecoder decoder_;
  HpackEncoder encoder_;
  Http2Calm calm_;
  Http2Head head_;
  std::string known_block_;     // head_ is what it says; empty: none is known
  std::string block_;           // a header block in pieces
  std::string* out_ = nullptr;  // while receive() runs

  Phase phase_ = Phase::kPreface;
  bool failed_ = false;
  Http2Error error_ = Http2Error::kNoError;
  uint32_t last_accepted_ = 0x7FFFFFFF;  // streams above it are not taken any more

  // Of the header block that has begun; no stream: none has.
  uint32_t block_stream_ = 0;
  uint32_t continuations_ = 0;
  bool block_ends_stream_ = false;
  Http2Refusal block_refusal_;  // what is wrong with its stream, once it has been decoded

  Http2Stream* in_event_ = nullptr;                      // must live until its event returns
  Http2Closed closed_in_event_ = Http2Closed::kUnknown;  // how, if it was meanwhile

  int64_t send_window_ = kDefaultWindow;
  uint32_t unreturned_ = 0;  // of the connection's window
  uint32_t peer_stream_window_ = kDefaultWindow;
};

// ---- out ----

template <class AppendFields>
void Http2Session::send_fields(Http2Stream& stream, bool ends, std::string& out,
                               AppendFields append_fields) {
  const size_t begin = out.size();
  out.append(kFrameHeaderBytes, '\0');
  encoder_.begin(out);
  append_fields(encoder_, out);
  const size_t bytes = out.size() - begin - kFrameHeaderBytes;
  if (bytes <= kFrameBytesMax) {
    const uint8_t flags = http2_flag::kEndHeaders | (ends ? http2_flag::kEndStream : uint8_t{0});
    write_frame_header(out.data() + begin, {.length = static_cast<uint32_t>(bytes),
                                            .type = FrameType::kHeaders,
                                            .flags = flags,
                                            .stream = stream.id});
  } else {
    split_block(stream.id, ends, out, begin);
  }
  if (ends) on_local_end(stream, out);
}

// A block too long for one frame, which lies after the room for a frame header at `begin`.
inline void Http2Session::split_block(uint32_t stream, bool ends, std::string& out, size_t begin) {
  const std::string block = out.substr(begin + kFrameHeaderBytes);
  out.resize(begin);
  std::string_view rest = block;
  FrameType type = FrameType::kHeaders;
  do {
    const std::string_view piece = rest.substr(0, kFrameBytesMax);
    rest.remove_prefix(piece.size());
    uint8_t flags = rest.empty() ? http2_flag::kEndHeaders : uint8_t{0};
    if (ends && type == FrameType::kHeaders) flags |= http2_flag::kEndStream;
    append_frame_header(out, {.length = static_cast<uint32_t>(piece.size()),
                              .type = type,
                              .flags = flags,
                              .stream = stream});
    out.append(piece);
    type = FrameType::kContinuation;
  } while (!rest.empty());
}

inline size_t Http2Session::sendable(const Http2Stream& stream) const {
  const int64_t window =
      std::min({send_window_, int64_t{stream.send_window}, int64_t{kFrameBytesMax}});
  return window > 0 ? static_cast<size_t>(window) : 0;
}

inline void Http2Session::announce_data(Http2Stream& stream, size_t bytes, std::string& out,
                                        bool ends) {
  append_frame_header(out, {.length = static_cast<uint32_t>(bytes),
                            .type = FrameType::kData,
                            .flags = ends ? http2_flag::kEndStream : uint8_t{0},
                            .stream = stream.id});
}

inline void Http2Session::sent_data(Http2Stream& stream, size_t bytes, bool ends,
                                    std::string& out) {
  send_window_ -= static_cast<int64_t>(bytes);
  stream.send_window -= static_cast<int32_t>(bytes);
  calm_.earn_bytes(bytes);
  if (ends) on_local_end(stream, out);
}

// Our side has ended. What the client still sends is of no use: it is told that all is well, and
// not to go on (section 8.1).
inline void Http2Session::on_local_end(Http2Stream& stream, std::string& out) {
  stream.local_ended = true;
  calm_.earn(Http2Calm::kAnswer);
  if (stream.remote_ended) return close(stream, Http2Closed::kEnded);
  append_rst_stream(out, stream.id, Http2Error::kNoError);
  close(stream, Http2Closed::kByUs);
}

inline void Http2Session::reset(Http2Stream& stream, Http2Error error, std::string& out) {
  append_rst_stream(out, stream.id, error);
  close(stream, Http2Closed::kByUs);
}

// A stream whose event is running stays until that returns.
inline void Http2Session::close(Http2Stream& stream, Http2Closed how) {
  if (&stream == in_event_) {
    closed_in_event_ = how;
  } else {
    streams_.close(stream, how);
  }
}

inline void Http2Session::return_window(Http2Stream& stream, uint32_t bytes, std::string& out) {
  stream.unreturned += bytes;
  if (stream.remote_ended || stream.unreturned < kStreamWindow / 4) return;
  append_window_update(out, stream.id, stream.unreturned);
  stream.receive_window += static_cast<int32_t>(stream.unreturned);
  stream.unreturned = 0;
}

// ---- the end ----

inline void Http2Session::announce_shutdown(std::string& out) {
  append_goaway(out, 0x7FFFFFFF, Http2Error::kNoError, {});
  append_ping(out, "shutdown");
}

inline void Http2Session::finish_shutdown(std::string& out) {
  last_accepted_ = streams_.newest();
  append_goaway(out, last_accepted_, Http2Error::kNoError, {});
}

inline void Http2Session::fail(Http2Error error, std::string_view why, std::string& out) {
  if (failed_) return;
  failed_ = true;
  error_ = error;
  append_goaway(out, streams_.newest(), error, why);
}

}  // namespace kyro

#include "kyro/net/http2/session_receive.h"  // IWYU pragma: export
