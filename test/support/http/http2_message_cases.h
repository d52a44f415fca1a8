// Cases of RFC 9113 section 6, frame type by frame type, and of section 8, requests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "test/support/http/http2_case.h"

namespace kyro::test::h2 {

// Sections 6.1 to 6.4.
inline std::vector<Case> data_and_headers_cases() {
  const std::string good = block(request_fields());
  const std::string zeros(5, '\0');
  return {
      {"6.1: DATA on stream 0", data(0, "x"), ends({kProtocolError})},
      {"6.1: padded DATA",
       open_request(1) + data(1, "\x03{}" + zeros.substr(0, 3), kPadded | kEndStream), alive({1})},
      {"6.1: DATA that is padding alone",
       open_request(1) + data(1, "\x05" + zeros, kPadded) + data(1, "{}", kEndStream), alive({1})},
      {"6.1: padding as long as the payload",
       open_request(1) + data(1, "\x05" + zeros.substr(1), kPadded), ends({kProtocolError})},
      {"6.1: padding longer than the payload", open_request(1) + data(1, "\xFFx", kPadded),
       ends({kProtocolError})},
      {"6.1: padded DATA without a length", open_request(1) + data(1, "", kPadded),
       ends({kFrameSizeError, kProtocolError})},
      {"6.1: padding that is not zero", open_request(1) + data(1, "\x01{}x", kPadded | kEndStream),
       alive({1})},
      {"6.2: padded HEADERS",
       frame(kHeaders, kEndHeaders | kEndStream | kPadded, 1, "\x05" + good + zeros), alive({1})},
      {"6.2: padding longer than HEADERS",
       frame(kHeaders, kEndHeaders | kEndStream | kPadded, 1, "\xFF" + good.substr(0, 20)),
       ends({kProtocolError})},
      {"6.2: padded HEADERS without a length",
       frame(kHeaders, kEndHeaders | kEndStream | kPadded, 1, ""),
       ends({kFrameSizeError, kProtocolError})},
      {"6.2: HEADERS with a priority",
       frame(kHeaders, kEndHeaders | kEndStream | kWithPriority, 1, zeros + good), alive({1})},
      {"6.2: HEADERS with padding and a priority",
       frame(kHeaders, kEndHeaders | kEndStream | kWithPriority | kPadded, 1,
             "\x02" + zeros + good + zeros.substr(0, 2)),
       alive({1})},
      {"6.2: HEADERS too short for the priority",
       frame(kHeaders, kEndHeaders | kEndStream | kWithPriority, 1, "1234"),
       ends({kFrameSizeError, kProtocolError})},
      {"6.2: padding that leaves no room for the priority",
       frame(kHeaders, kEndHeaders | kEndStream | kWithPriority | kPadded, 1, "\x04" + zeros),
       ends({kFrameSizeError, kProtocolError})},
      {"6.2: HEADERS, then HEADERS of another stream within the block",
       frame(kHeaders, kEndStream, 1, good) + request(3), ends({kProtocolError})},
      {"6.3: PRIORITY on stream 0", priority(0, 1), ends({kProtocolError})},
      {"6.3: PRIORITY of 4 bytes", frame(kPriority, 0, 1, "1234"), resets(1, {kFrameSizeError})},
      {"6.3: PRIORITY of 6 bytes", frame(kPriority, 0, 1, "123456"), resets(1, {kFrameSizeError})},
      {"6.3: PRIORITY within a header block", frame(kHeaders, 0, 1, good) + priority(1, 0),
       ends({kProtocolError})},
      {"6.4: RST_STREAM on stream 0", rst_stream(0), ends({kProtocolError})},
      {"6.4: RST_STREAM of 3 bytes", open_request(1) + frame(kRstStream, 0, 1, "123"),
       ends({kFrameSizeError})},
      {"6.4: RST_STREAM of 5 bytes", open_request(1) + frame(kRstStream, 0, 1, "12345"),
       ends({kFrameSizeError})},
      {"6.4: RST_STREAM with an unknown error",
       open_request(1) + rst_stream(1, 0xABCD) + request(3), alive({3})},
      {"6.6: PUSH_PROMISE", open_request(1) + frame(kPushPromise, kEndHeaders, 1, be(2, 4) + good),
       ends({kProtocolError})},
      {"6.6: PUSH_PROMISE on stream 0", frame(kPushPromise, kEndHeaders, 0, be(2, 4) + good),
       ends({kProtocolError})},
  };
}

// Sections 6.5 and 6.7 to 6.8.
inline std::vector<Case> connection_frame_cases() {
  std::vector<Case> cases = {
      {"6.5: an empty SETTINGS", settings(), alive()},
      {"6.5: SETTINGS on a stream", frame(kSettings, 0, 1, setting(3, 100)),
       ends({kProtocolError})},
      {"6.5: an acknowledgement with a payload", settings(setting(3, 1), kAck),
       ends({kFrameSizeError})},
      {"6.5: an acknowledgement", settings({}, kAck), alive()},
      {"6.5: SETTINGS of 5 bytes", settings("12345"), ends({kFrameSizeError})},
      {"6.5: SETTINGS of 7 bytes", settings(setting(3, 1) + "x"), ends({kFrameSizeError})},
      {"6.5: an acknowledgement on a stream", frame(kSettings, kAck, 1, ""),
       ends({kProtocolError})},
      {"6.5.2: an unknown setting", settings(setting(0xABCD, 0xFFFFFFFF)), alive()},
      {"6.5.2: setting 0", settings(setting(0, 1)), alive()},
      {"6.5.2: a setting twice, the last one counts",
       settings(setting(4, 0) + setting(4, 65535)) + request(1), alive({1})},
      {"6.5.2: ENABLE_PUSH 0", settings(setting(2, 0)), alive()},
      {"6.5.2: ENABLE_PUSH 1", settings(setting(2, 1)), alive()},
      {"6.5.2: ENABLE_PUSH 2", settings(setting(2, 2)), ends({kProtocolError})},
      {"6.5.2: INITIAL_WINDOW_SIZE 2^31-1", settings(setting(4, 0x7FFFFFFF)), alive()},
      {"6.5.2: INITIAL_WINDOW_SIZE 2^31", settings(setting(4, 0x80000000u)),
       ends({kFlowControlError})},
      {"6.5.2: INITIAL_WINDOW_SIZE 2^32-1", settings(setting(4, 0xFFFFFFFFu)),
       ends({kFlowControlError})},
      {"6.5.2: MAX_FRAME_SIZE 16,383", settings(setting(5, 16383)), ends({kProtocolError})},
      {"6.5.2: MAX_FRAME_SIZE 0", settings(setting(5, 0)), ends({kProtocolError})},
      {"6.5.2: MAX_FRAME_SIZE 16,384", settings(setting(5, 16384)), alive()},
      {"6.5.2: MAX_FRAME_SIZE 2^24-1", settings(setting(5, 0xFFFFFF)), alive()},
      {"6.5.2: MAX_FRAME_SIZE 2^24", settings(setting(5, 0x1000000)), ends({kProtocolError})},
      {"6.5.2: HEADER_TABLE_SIZE 0", settings(setting(1, 0)) + request(1), alive({1})},
      {"6.5.2: HEADER_TABLE_SIZE 2^32-1", settings(setting(1, 0xFFFFFFFFu)) + request(1),
       alive({1})},
      {"6.5.2: MAX_CONCURRENT_STREAMS 0", settings(setting(3, 0)) + request(1), alive({1})},
      {"6.5.2: MAX_HEADER_LIST_SIZE 0", settings(setting(6, 0)) + request(1), alive({1})},
      {"6.7: PING", ping("12345678"), alive()},
      {"6.7: an acknowledgement of no PING", ping("12345678", kAck), alive()},
      {"6.7: PING on a stream", frame(kPing, 0, 1, "12345678"), ends({kProtocolError})},
      {"6.7: PING of 7 bytes", ping("1234567"), ends({kFrameSizeError})},
      {"6.7: PING of 9 bytes", ping("123456789"), ends({kFrameSizeError})},
      {"6.7: an empty PING", ping(""), ends({kFrameSizeError})},
      {"6.7: PING within a header block",
       frame(kHeaders, kEndStream, 1, block(request_fields())) + ping(), ends({kProtocolError})},
      {"6.7: PING between requests", request(1) + ping() + request(3), alive({1, 3})},
      {"6.8: GOAWAY", frame(kGoaway, 0, 0, be(0, 4) + be(0, 4)), alive()},
      {"6.8: GOAWAY with debug data", frame(kGoaway, 0, 0, be(0, 4) + be(0, 4) + "bye"), alive()},
      {"6.8: a request after GOAWAY is still answered",
       open_request(1) + frame(kGoaway, 0, 0, be(0, 4) + be(0, 4)) + data(1, "{}", kEndStream),
       alive({1})},
      {"6.8: GOAWAY on a stream", frame(kGoaway, 0, 1, be(0, 4) + be(0, 4)),
       ends({kProtocolError})},
      {"6.8: GOAWAY of 7 bytes", frame(kGoaway, 0, 0, "1234567"),
       ends({kFrameSizeError, kProtocolError})},
  };
  return cases;
}

// Sections 6.9 and 5.2: flow control.
inline std::vector<Case> window_cases() {
  return {
      {"6.9: WINDOW_UPDATE of 0 on the connection", window_update(0, 0), ends({kProtocolError})},
      {"6.9: WINDOW_UPDATE of 0 on a stream", open_request(1) + window_update(1, 0),
       resets(1, {kProtocolError})},
      {"6.9: WINDOW_UPDATE of 3 bytes", frame(kWindowUpdate, 0, 0, "123"), ends({kFrameSizeError})},
      {"6.9: WINDOW_UPDATE of 5 bytes", frame(kWindowUpdate, 0, 0, "12345"),
       ends({kFrameSizeError})},
      {"6.9: WINDOW_UPDATE of 5 bytes on a stream",
       open_request(1) + frame(kWindowUpdate, 0, 1, "12345"), ends({kFrameSizeError})},
      {"6.9: the reserved bit of WINDOW_UPDATE",
       frame(kWindowUpdate, 0, 0, be(0x80000001u, 4)) + request(1), alive({1})},
      {"6.9.1: the connection's window beyond 2^31-1", window_update(0, 0x7FFFFFFF),
       ends({kFlowControlError})},
      {"6.9.1: the connection's window to exactly 2^31-1", window_update(0, 0x7FFFFFFF - 65535),
       alive()},
      {"6.9.1: a stream's window beyond 2^31-1", open_request(1) + window_update(1, 0x7FFFFFFF),
       resets(1, {kFlowControlError})},
      {"6.9.1: a stream's window to exactly 2^31-1",
       open_request(1) + window_update(1, 0x7FFFFFFF - 65535) + data(1, "{}", kEndStream),
       alive({1})},
      {"6.9.1: a stream's window in two steps beyond",
       open_request(1) + window_update(1, 0x40000000) + window_update(1, 0x40000000),
       resets(1, {kFlowControlError})},
      {"6.9.2: settings that make an open stream's window too large",
       open_request(1) + window_update(1, 0x7FFFFFFF - 65535) + settings(setting(4, 65536)),
       ends({kFlowControlError})},
      {"6.9.2: settings that make a window negative, then positive",
       open_request(1) + settings(setting(4, 0)) + data(1, "{}", kEndStream) +
           settings(setting(4, 65535)),
       alive({1})},
  };
}

// Section 6.10: CONTINUATION.
inline std::vector<Case> continuation_cases() {
  const std::string good = block(request_fields());
  const std::string front = good.substr(0, 10), back = good.substr(10);
  const auto cont = [](uint32_t stream, std::string_view payload, uint8_t flags = 0) {
    return frame(kContinuation, flags, stream, payload);
  };
  std::string bytewise = frame(kHeaders, kEndStream, 1, good.substr(0, good.size() - 10));
  for (size_t i = good.size() - 10; i < good.size(); ++i) {
    bytewise += cont(1, good.substr(i, 1), i + 1 == good.size() ? kEndHeaders : 0);
  }
  std::string empties = frame(kHeaders, kEndStream, 1, good);
  for (int i = 0; i < 100; ++i) empties += cont(1, "");
  std::string large = frame(kHeaders, kEndStream, 1, good);
  for (int i = 0; i < 5; ++i) large += cont(1, std::string(16000, 'x'));
  return {
      {"6.10: a block in two pieces", frame(kHeaders, kEndStream, 1, front) + cont(1, back, 4),
       alive({1})},
      {"6.10: a block in eleven pieces", bytewise, alive({1})},
      {"6.10: an empty HEADERS, then all", frame(kHeaders, kEndStream, 1, "") + cont(1, good, 4),
       alive({1})},
      {"6.10: an empty CONTINUATION at the end",
       frame(kHeaders, kEndStream, 1, good) + cont(1, "", 4), alive({1})},
      {"6.10: of another stream", frame(kHeaders, kEndStream, 1, front) + cont(3, back, 4),
       ends({kProtocolError})},
      {"6.10: on stream 0", frame(kHeaders, kEndStream, 1, front) + cont(0, back, 4),
       ends({kProtocolError})},
      {"6.10: after END_HEADERS", open_request(1) + cont(1, "", 4), ends({kProtocolError})},
      {"6.10: after CONTINUATION with END_HEADERS",
       frame(kHeaders, 0, 1, front) + cont(1, back, 4) + cont(1, "", 4), ends({kProtocolError})},
      {"6.10: after DATA", open_request(1) + data(1, "x") + cont(1, "", 4), ends({kProtocolError})},
      {"6.10: DATA within the block", frame(kHeaders, 0, 1, front) + data(1, "x"),
       ends({kProtocolError})},
      {"6.10: SETTINGS within the block", frame(kHeaders, 0, 1, front) + settings(),
       ends({kProtocolError})},
      {"6.10: WINDOW_UPDATE within the block", frame(kHeaders, 0, 1, front) + window_update(0, 1),
       ends({kProtocolError})},
      {"6.10: RST_STREAM within the block", frame(kHeaders, 0, 1, front) + rst_stream(1),
       ends({kProtocolError})},
      {"6.10: GOAWAY within the block",
       frame(kHeaders, 0, 1, front) + frame(kGoaway, 0, 0, be(0, 8)), ends({kProtocolError})},
      {"6.10: an unknown frame within the block",
       frame(kHeaders, 0, 1, front) + frame(0xEE, 0, 1, ""), ends({kProtocolError})},
      {"6.10: trailers in two pieces",
       open_request(1) + data(1, "{}") + frame(kHeaders, kEndStream, 1, block({{"a", "b"}})) +
           cont(1, block({{"c", "d"}}), 4),
       alive({1})},
      {"10.5.1: CONTINUATION without end", empties, ends({kEnhanceYourCalm})},
      {"10.5.1: a header block without end", large, ends({kEnhanceYourCalm})},
  };
}

// Sections 8.1 to 8.5: requests.
inline std::vector<Case> message_cases() {
  const Fields good = request_fields();
  const auto get = [&](const Fields& more) { return headers(1, with(good, more)); };
  const auto bad = [](std::string name, const std::string& bytes) {
    return Case{std::move(name), bytes, resets(1, {kProtocolError})};
  };
  const auto without = [&](std::string_view name) {
    Fields fields;
    for (const auto& field : good) {
      if (field.first != name) fields.push_back(field);
    }
    return headers(1, fields);
  };
  const auto replaced = [&](std::string_view name, std::string_view value) {
    Fields fields = good;
    for (auto& field : fields) {
      if (field.first == name) field.second = value;
    }
    return headers(1, fields);
  };
  using std::string_literals::operator""s;
  std::vector<Case> cases = {
      {"8.1: a body with trailers", open_request(1) + data(1, "{}") + headers(1, {{"x-sum", "1"}}),
       alive({1})},
      bad("8.1: trailers without END_STREAM",
          open_request(1) + data(1, "{}") + headers(1, {{"x", "y"}}, kEndHeaders)),
      bad("8.1: trailers with a pseudo-header field",
          open_request(1) + data(1, "{}") + headers(1, {{":method", "GET"}})),
      bad("8.1: trailers with an upper-case name",
          open_request(1) + data(1, "{}") + headers(1, {{"X-Sum", "1"}})),
      bad("8.2.1: an upper-case name", get({{"X-Test", "1"}})),
      bad("8.2.1: an upper-case letter in the middle", get({{"x-teSt", "1"}})),
      bad("8.2.1: an empty name", get({{"", "1"}})),
      bad("8.2.1: a blank in a name", get({{"x test", "1"}})),
      bad("8.2.1: a colon in a name", get({{"x:test", "1"}})),
      bad("8.2.1: a NUL in a name", get({{"x\0y"s, "1"}})),
      bad("8.2.1: a byte above 0x7E in a name", get({{"x\xC3\xA9", "1"}})),
      bad("8.2.1: DEL in a name", get({{"x\x7F", "1"}})),
      bad("8.2.1: NUL in a value", get({{"x", "a\0b"s}})),
      bad("8.2.1: CR in a value", get({{"x", "a\rb"}})),
      bad("8.2.1: LF in a value", get({{"x", "a\nb"}})),
      bad("8.2.1: CRLF and a field in a value", get({{"x", "a\r\nauthorization: b"}})),
      bad("8.2.1: a value that begins with a blank", get({{"x", " a"}})),
      bad("8.2.1: a value that ends with a blank", get({{"x", "a "}})),
      bad("8.2.1: a value that begins with a tab", get({{"x", "\ta"}})),
      bad("8.2.1: a control character in a value", get({{"x", "a\x01"}})),
      {"8.2.1: an empty value", get({{"x", ""}}), alive({1})},
      {"8.2.1: a tab within a value", get({{"x", "a\tb"}}), alive({1})},
      {"8.2.1: bytes above 0x7F in a value", get({{"x", "\xC3\xA9"}}), alive({1})},
      {"8.2.1: every character of a token in a name", get({{"!#$%&'*+-.^_`|~09az", "1"}}),
       alive({1})},
      {"8.2.3: cookies in pieces", get({{"cookie", "a=b"}, {"cookie", "c=d"}}), alive({1})},
      bad("8.2.2: connection", get({{"connection", "keep-alive"}})),
      bad("8.2.2: keep-alive", get({{"keep-alive", "1"}})),
      bad("8.2.2: proxy-connection", get({{"proxy-connection", "close"}})),
      bad("8.2.2: transfer-encoding", get({{"transfer-encoding", "chunked"}})),
      bad("8.2.2: upgrade", get({{"upgrade", "h2c"}})),
      bad("8.2.2: te other than trailers", get({{"te", "gzip"}})),
      bad("8.2.2: te with more than trailers", get({{"te", "trailers, deflate"}})),
      {"8.2.2: te: trailers", get({{"te", "trailers"}}), alive({1})},
      bad("8.3: an unknown pseudo-header field", get({{":test", "1"}})),
      bad("8.3: a pseudo-header field of answers", get({{":status", "200"}})),
      bad("8.3: a pseudo-header field after a regular one",
          headers(1, {{":method", "GET"},
                      {":scheme", "http"},
                      {"x", "y"},
                      {":path", "/health"},
                      {":authority", "localhost"}})),
      bad("8.3: a pseudo-header field without a name", get({{":", "1"}})),
      bad("8.3.1: without :method", without(":method")),
      bad("8.3.1: without :scheme", without(":scheme")),
      bad("8.3.1: without :path", without(":path")),
      bad("8.3.1: an empty :path", replaced(":path", "")),
      bad("8.3.1: an empty :method", replaced(":method", "")),
      bad("8.3.1: an empty :scheme", replaced(":scheme", "")),
      bad("8.3.1: a :path that does not begin with a slash", replaced(":path", "health")),
      bad("8.3.1: an absolute :path", replaced(":path", "http://localhost/health")),
      bad("8.3.1: * for GET", replaced(":path", "*")),
      bad("8.3.1: two :method", headers(1, with({{":method", "GET"}}, good))),
      bad("8.3.1: two :scheme", headers(1, with({{":scheme", "http"}}, good))),
      bad("8.3.1: two :path", headers(1, with({{":path", "/health"}}, good))),
      bad("8.3.1: two :authority", headers(1, with({{":authority", "localhost"}}, good))),
      {"8.3.1: OPTIONS *", headers(1, request_fields("OPTIONS", "*")), alive({1})},
      {"8.3.1: host instead of :authority",
       headers(
           1,
           {{":method", "GET"}, {":scheme", "http"}, {":path", "/health"}, {"host", "localhost"}}),
       alive({1})},
      {"8.3.1: host beside an :authority that is the same", get({{"host", "localhost"}}),
       alive({1})},
      bad("8.3.1: host beside an :authority that is another", get({{"host", "example.org"}})),
      bad("8.3.1: host twice", get({{"host", "localhost"}, {"host", "localhost"}})),
      {"8.3.1: scheme https", replaced(":scheme", "https"), alive({1})},
      {"8.3.1: pseudo-header fields in another order",
       headers(1, {{":authority", "localhost"},
                   {":path", "/health"},
                   {":scheme", "http"},
                   {":method", "GET"}}),
       alive({1})},
      bad("8.5: CONNECT with :path", replaced(":method", "CONNECT")),
      bad("8.5: CONNECT without :authority", headers(1, {{":method", "CONNECT"}})),
      {"8.1.1: content-length that is right",
       open_request(1, {{"content-length", "2"}}) + data(1, "{}", kEndStream), alive({1})},
      {"8.1.1: content-length over several frames",
       open_request(1, {{"content-length", "4"}}) + data(1, "{ ") + data(1, " }", kEndStream),
       alive({1})},
      {"8.1.1: content-length 0 without a body", get({{"content-length", "0"}}), alive({1})},
      {"8.1.1: content-length does not count padding",
       open_request(1, {{"content-length", "2"}}) + data(1, "\x03{}xyz", kPadded | kEndStream),
       alive({1})},
      bad("8.1.1: a body shorter than content-length",
          open_request(1, {{"content-length", "3"}}) + data(1, "{}", kEndStream)),
      bad("8.1.1: a body longer than content-length",
          open_request(1, {{"content-length", "1"}}) + data(1, "{}", kEndStream)),
      bad("8.1.1: a longer body in several frames",
          open_request(1, {{"content-length", "3"}}) + data(1, "{ ") + data(1, " }", kEndStream)),
      bad("8.1.1: content-length without a body", get({{"content-length", "1"}})),
      bad("8.1.1: trailers before the body is whole",
          open_request(1, {{"content-length", "3"}}) + data(1, "{}") + headers(1, {{"x", "y"}})),
      bad("8.1.1: content-length twice", get({{"content-length", "0"}, {"content-length", "0"}})),
      bad("8.1.1: content-length that is no number", get({{"content-length", "x"}})),
      bad("8.1.1: a negative content-length", get({{"content-length", "-1"}})),
      bad("8.1.1: an empty content-length", get({{"content-length", ""}})),
      bad("8.1.1: content-length beyond 2^64", get({{"content-length", std::string(30, '9')}})),
      bad("8.1.1: content-length as a list", get({{"content-length", "0, 0"}})),
  };
  return cases;
}

}  // namespace kyro::test::h2
