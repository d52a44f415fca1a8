// Cases of RFC 9113 sections 4 and 5 and of RFC 7541: frames, header blocks, streams. And the list
// of all cases.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "test/support/http/http2_case.h"
#include "test/support/http/http2_message_cases.h"

namespace kyro::test::h2 {

// Sections 4.1, 4.2: frames as such.
inline std::vector<Case> frame_cases() {
  const std::string big(16384, 'x');
  return {
      {"4.1: an unknown frame type", frame(0xFA, 0, 0, "abc"), alive()},
      {"4.1: an unknown frame type on a stream", frame(0x20, 0xFF, 1, "abc"), alive()},
      {"4.1: an unknown frame type on an open stream",
       open_request(1) + frame(0x0B, 0, 1, "x") + data(1, "{}", kEndStream), alive({1})},
      {"4.1: undefined flags on PING", frame(kPing, 0xFE, 0, "pongpong"), alive()},
      {"4.1: undefined flags on HEADERS",
       headers(1, request_fields(), (0xD2 & ~kWithPriority) | kEndHeaders | kEndStream),
       alive({1})},
      {"4.1: undefined flags on DATA", open_request(1) + data(1, "{}", 0xF7 & ~kPadded),
       alive({1})},
      {"4.1: the reserved bit of the stream is set", frame(kPing, 0, 0x80000000u, "pongpong"),
       alive()},
      {"4.1: the reserved bit on HEADERS",
       frame(kHeaders, kEndHeaders | kEndStream, 0x80000001u, block(request_fields())), alive({1})},
      {"4.2: a frame of exactly 16,384 bytes",
       open_request(1) + data(1, big) + data(1, "", kEndStream), alive({1})},
      {"4.2: an unknown frame of exactly 16,384 bytes", frame(0x55, 0, 0, big), alive()},
      {"4.2: DATA of 16,385 bytes", open_request(1) + data(1, big + "x"), ends({kFrameSizeError})},
      {"4.2: HEADERS of 16,385 bytes", frame(kHeaders, kEndHeaders, 1, big + "x"),
       ends({kFrameSizeError})},
      {"4.2: SETTINGS of 16,386 bytes", settings(big + "xx"), ends({kFrameSizeError})},
      {"4.2: an unknown frame of 16,385 bytes", frame(0x55, 0, 0, big + "x"),
       ends({kFrameSizeError})},
      {"4.2: a frame that says it is of 16 MiB", frame_of(0xFFFFFF, kPing, 0, 0, "pongpong"),
       ends({kFrameSizeError})},
  };
}

// Section 4.3 and RFC 7541: header blocks.
inline std::vector<Case> block_cases() {
  const auto raw = [](std::string_view bytes) {
    return frame(kHeaders, kEndHeaders | kEndStream, 1, bytes);
  };
  using std::string_literals::operator""s;
  const std::string good = block(request_fields());
  return {
      {"7541 2.3.3: index 0", raw("\x80"), ends({kCompressionError})},
      {"7541 2.3.3: index 62 of an empty table", raw("\xBE"), ends({kCompressionError})},
      {"7541 2.3.3: index 70 of an empty table", raw("\xC6"), ends({kCompressionError})},
      {"7541 5.1: an integer that does not end", raw("\xFF\x80\x80"), ends({kCompressionError})},
      {"7541 5.1: an integer beyond 2^32", raw("\xFF\xFF\xFF\xFF\xFF\xFF\x0F"),
       ends({kCompressionError})},
      {"7541 5.2: a string longer than the block", raw("\x00\x05"s + "abc"),
       ends({kCompressionError})},
      {"7541 5.2: a Huffman string with EOS", raw("\x00\x85\xFF\xFF\xFF\xFF\xFC\x01v"s),
       ends({kCompressionError})},
      {"7541 5.2: padding of more than seven bits", raw("\x00\x82\x1F\xFF\x01v"s),
       ends({kCompressionError})},
      {"7541 5.2: padding that is not ones", raw("\x00\x81\x18\x01v"s), ends({kCompressionError})},
      {"7541 5.2: a Huffman string of padding alone", raw("\x00\x81\xFF\x01v"s),
       ends({kCompressionError})},
      {"7541 6.1: an indexed field is cut short", raw("\xFF"), ends({kCompressionError})},
      {"7541 6.2.1: a literal without a name", raw("\x40"), ends({kCompressionError})},
      {"7541 6.2.1: a literal without a value", raw("\x41"), ends({kCompressionError})},
      {"7541 6.2.1: the name of entry 80, which is not there", raw("\x7F\x11\x01v"),
       ends({kCompressionError})},
      {"7541 6.2.2: a literal that is not indexed, without a value", raw("\x01"),
       ends({kCompressionError})},
      {"7541 6.2.3: a literal that is never indexed, without a value", raw("\x11"),
       ends({kCompressionError})},
      {"7541 6.3: a table larger than announced", raw("\x3F\xE2\x1F" + good),
       ends({kCompressionError})},
      {"7541 4.2: a size update after the first field", raw(good + "\x20"),
       ends({kCompressionError})},
      {"7541 4.2: a size update between fields", raw("\x82\x20\x86\x84" + good),
       ends({kCompressionError})},
      {"7541 6.3: a table of 0 bytes", raw("\x20" + good), alive({1})},
      {"7541 6.3: a table of 4,096 bytes", raw("\x3F\xE1\x1F" + good), alive({1})},
      {"7541 6.3: two size updates in front", raw("\x20\x3F\xE1\x1F" + good), alive({1})},
      {"7541 6.1: all of the request from the static table",
       raw("\x82\x86\x44\x07/health\x41\x09localhost"), alive({1})},
      {"7541 6.2.1: a path that is indexed, then used by its index",
       raw("\x82\x86\x44\x07/health\x41\x09localhost") +
           frame(kHeaders, kEndHeaders | kEndStream, 3, "\x82\x86\xBF\xBE"),
       alive({1, 3})},
      {"7541 6.2.3: fields that are never indexed",
       raw("\x12\x03GET\x16\x04http\x14\x07/health\x11\x09localhost"), alive({1})},
      {"7541 5.2: a path in Huffman code",
       raw("\x82\x86\x04\x85\x62\x72\x8E\x84\xCF" + block({{":authority", "localhost"}})),
       alive({1})},
      {"4.3: an empty header block", raw(""), resets(1, {kProtocolError})},
      {"4.3: an invalid block on a stream that is closed",
       request(1) + frame(kHeaders, kEndHeaders | kEndStream, 1, "\x80"),
       ends({kCompressionError, kStreamClosed, kProtocolError})},
      {"4.3: an invalid block in CONTINUATION",
       frame(kHeaders, kEndStream, 1, good) + frame(kContinuation, kEndHeaders, 1, "\x80"),
       ends({kCompressionError})},
      {"4.3: a refused stream's block still changes the table",
       headers(1, {{":method", "GET"}, {"x", "y"}, {":path", "/"}}) +
           frame(kHeaders, kEndHeaders | kEndStream, 3,
                 "\x82\x86\x44\x07/health\x41\x09localhost") +
           frame(kHeaders, kEndHeaders | kEndStream, 5, "\x82\x86\xBF\xBE"),
       alive({3, 5})},
  };
}

// Sections 5.1 and 5.1.1: the life of a stream and its number.
inline std::vector<Case> stream_cases() {
  return {
      {"5.1 idle: DATA", data(1, "x"), ends({kProtocolError, kStreamClosed})},
      {"5.1 idle: DATA that ends the stream", data(1, "", kEndStream),
       ends({kProtocolError, kStreamClosed})},
      {"5.1 idle: RST_STREAM", rst_stream(1), ends({kProtocolError})},
      {"5.1 idle: WINDOW_UPDATE", window_update(1, 100), ends({kProtocolError})},
      {"5.1 idle: CONTINUATION", frame(kContinuation, kEndHeaders, 1, block(request_fields())),
       ends({kProtocolError})},
      {"5.1 idle: PRIORITY", priority(1, 0), alive()},
      {"5.1 idle: PRIORITY, then a request", priority(1, 0) + request(1), alive({1})},
      {"5.1 open: WINDOW_UPDATE, DATA", open_request(1) + window_update(1, 5) + data(1, "{}", 1),
       alive({1})},
      {"5.1 open: RST_STREAM", open_request(1) + rst_stream(1) + request(3), alive({3})},
      {"5.1 half-closed (remote): DATA",
       open_request(1) + headers(3, with(request_fields("GET", "/v1/subscribe"), {})) +
           data(3, "x"),
       resets(3, {kStreamClosed})},
      {"5.1 half-closed (remote): HEADERS",
       headers(1, request_fields("GET", "/v1/subscribe")) + headers(1, request_fields()),
       resets(1, {kStreamClosed})},
      {"5.1 half-closed (remote): trailers",
       headers(1, request_fields("GET", "/v1/subscribe")) + headers(1, {{"x", "y"}}),
       resets(1, {kStreamClosed})},
      {"5.1 half-closed (remote): WINDOW_UPDATE",
       headers(1, request_fields("GET", "/v1/subscribe")) + window_update(1, 1), alive()},
      {"5.1 half-closed (remote): PRIORITY",
       headers(1, request_fields("GET", "/v1/subscribe")) + priority(1, 0), alive()},
      {"5.1 half-closed (remote): RST_STREAM",
       headers(1, request_fields("GET", "/v1/subscribe")) + rst_stream(1), alive()},
      {"5.1 closed: DATA after the answer", request(1) + data(1, "x"), ends({kStreamClosed})},
      {"5.1 closed: HEADERS after the answer", request(1) + request(1),
       ends({kStreamClosed, kProtocolError})},
      {"5.1 closed: CONTINUATION after the answer",
       request(1) + frame(kContinuation, kEndHeaders, 1, ""), ends({kProtocolError})},
      {"5.1 closed: WINDOW_UPDATE after the answer", request(1) + window_update(1, 10), alive({1})},
      {"5.1 closed: RST_STREAM after the answer", request(1) + rst_stream(1), alive({1})},
      {"5.1 closed: PRIORITY after the answer", request(1) + priority(1, 0), alive({1})},
      {"5.1 closed: DATA after RST_STREAM", open_request(1) + rst_stream(1) + data(1, "x"),
       resets(1, {kStreamClosed})},
      {"5.1 closed: HEADERS after RST_STREAM",
       open_request(1) + rst_stream(1) + headers(1, {{"x", "y"}}), resets(1, {kStreamClosed})},
      {"5.1 closed: RST_STREAM twice", open_request(1) + rst_stream(1) + rst_stream(1), alive()},
      {"5.1 closed: DATA after we have reset the stream",
       headers(1, {{":method", "POST"}}, kEndHeaders) + data(1, "x") + request(3), alive({3})},
      {"5.1 closed: HEADERS after we have reset the stream",
       headers(1, {{":method", "POST"}}, kEndHeaders) + headers(1, {{"x", "y"}}) + request(3),
       alive({3})},
      {"5.1.1: an even number", request(2), ends({kProtocolError})},
      {"5.1.1: number 0", frame(kHeaders, kEndHeaders | kEndStream, 0, block(request_fields())),
       ends({kProtocolError})},
      {"5.1.1: a number below one that was used", request(5) + request(3), ends({kProtocolError})},
      {"5.1.1: a number below one that is open", open_request(5) + request(3),
       ends({kProtocolError})},
      {"5.1.1: numbers may be left out", request(1) + request(7) + request(101),
       alive({1, 7, 101})},
      {"5.1.1: the highest number", request(0x7FFFFFFF), alive({0x7FFFFFFF})},
      {"5.1.1: DATA of a number that was left out", request(5) + data(3, "x"),
       ends({kStreamClosed, kProtocolError})},
      {"5.1.1: RST_STREAM of a number that was left out", request(5) + rst_stream(3), alive({5})},
      {"5.3.1: HEADERS of a stream that depends on itself",
       frame(kHeaders, kEndHeaders | kEndStream | kWithPriority, 1,
             be(1, 4) + "\x10" + block(request_fields())),
       resets(1, {kProtocolError})},
      {"5.3.1: PRIORITY of a stream that depends on itself", priority(1, 1),
       resets(1, {kProtocolError})},
      {"5.3: priorities of other kinds are ignored",
       frame(kHeaders, kEndHeaders | kEndStream | kWithPriority, 1,
             be(0x80000003, 4) + "\xFF" + block(request_fields())) +
           priority(3, 1),
       alive({1})},
  };
}

// Section 5.1.2: as many streams as announced, and one more.
inline std::vector<Case> concurrency_cases() {
  std::string many;
  for (uint32_t i = 0; i < 128; ++i) many += open_request(2 * i + 1);
  return {
      {"5.1.2: 128 streams at once", many, alive()},
      {"5.1.2: a stream too many", many + open_request(257), resets(257, {kRefusedStream})},
      {"5.1.2: one ends, another begins",
       many + data(1, "{}", kEndStream) + open_request(257) + data(257, "{}", kEndStream),
       alive({1, 257})},
      {"5.1.2: one is reset, another begins",
       many + rst_stream(3) + open_request(257) + data(257, "{}", kEndStream), alive({257})},
  };
}

// All of them.
inline std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const auto& part :
       {frame_cases(), block_cases(), stream_cases(), concurrency_cases(), data_and_headers_cases(),
        connection_frame_cases(), window_cases(), continuation_cases(), message_cases()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace kyro::test::h2
