// What a client may send to the real server, and what comes back: the form of a case, and how the
// lists of http_wire_*.h are built.
//
// The server holds key 1 ("kept") and key 5 when a case begins. Writes that must take effect go to
// key 5, those that must not to key 66. After every case the test sends a canary, a write of a key
// of its own: a connection that survives must answer it, one that is refused must not execute it.
#pragma once

#include <string>
#include <vector>

namespace kyro::test {

using std::string_literals::operator""s;

struct WireCase {
  std::string name;
  std::string bytes;
  // The statuses of the answers, separated by blanks; "h" after one: it answers HEAD, so no body.
  // "!" at the end: then the server closes, and the canary is not executed. "-" at the beginning:
  // the bytes are not whole, the client shuts down its side after them, and there is no canary.
  std::string expect;
  const char* stored = nullptr;  // what key 5 holds afterwards, where that is of interest
};

inline std::string wire_get(const std::string& fields = "", const std::string& key = "1") {
  return "GET /v1/kv/" + key + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
inline std::string wire_line(const std::string& line) {
  return line + "\r\nHost: a\r\n\r\n";
}
inline std::string wire_put(const std::string& fields, const std::string& body) {
  return "PUT /v1/kv/5 HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}
// The same for a write that must not happen.
inline std::string wire_bad(const std::string& fields, const std::string& body) {
  return "PUT /v1/kv/66 HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}
inline std::string wire_chunks(const std::string& body) {
  return wire_put("Transfer-Encoding: chunked\r\n", body);
}
inline std::string wire_bad_chunks(const std::string& body) {
  return wire_bad("Transfer-Encoding: chunked\r\n", body);
}
inline constexpr char kWireHidden[] =
    "PUT /v1/kv/66 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhidden";

}  // namespace kyro::test
