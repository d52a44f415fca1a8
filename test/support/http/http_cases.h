// Request heads and what a strict HTTP/1.1 server says to them, by section of RFC 9112. The parser
// test feeds them split at every byte, the server test sends them through a socket.
#pragma once

#include <string>
#include <vector>

namespace kyro::test {

using std::string_literals::operator""s;

struct HttpCase {
  const char* name;
  std::string bytes;
  int status;  // 0: accepted, -1: incomplete, else the status of the refusal
};

inline std::string line_with_host(const std::string& line) {
  return line + "\r\nHost: a\r\n\r\n";
}

inline std::string get_with(const std::string& fields) {
  return "GET /k HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

inline std::string put_with(const std::string& fields) {
  return "PUT /k HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

inline std::vector<HttpCase> request_line_cases() {
  return {
      {"plain", line_with_host("GET / HTTP/1.1"), 0},
      {"head", line_with_host("HEAD / HTTP/1.1"), 0},
      {"put", line_with_host("PUT /v1/kv/1 HTTP/1.1"), 0},
      {"post", line_with_host("POST /v1/put HTTP/1.1"), 0},
      {"delete", line_with_host("DELETE /v1/kv/1 HTTP/1.1"), 0},
      {"options *", line_with_host("OPTIONS * HTTP/1.1"), 0},
      {"options path", line_with_host("OPTIONS /a HTTP/1.1"), 0},
      {"unknown method", line_with_host("PURGE / HTTP/1.1"), 0},
      {"lower-case method is another method", line_with_host("get / HTTP/1.1"), 0},
      {"method with every special tchar", line_with_host("!#$%&'*+-.^_`|~ / HTTP/1.1"), 0},
      {"one-letter method", line_with_host("X / HTTP/1.1"), 0},
      {"no method", line_with_host(" / HTTP/1.1"), 400},
      {"blank before the method", line_with_host(" GET / HTTP/1.1"), 400},
      {"method with a parenthesis", line_with_host("G(T / HTTP/1.1"), 400},
      {"method with a colon", line_with_host("GET: / HTTP/1.1"), 400},
      {"method with a slash", line_with_host("GET/ / HTTP/1.1"), 400},
      {"method with obs-text", line_with_host("G\xC3\xA9T / HTTP/1.1"), 400},
      {"* for get", line_with_host("GET * HTTP/1.1"), 400},
      {"two blanks before the target", line_with_host("GET  / HTTP/1.1"), 400},
      {"two blanks before the version", line_with_host("GET /  HTTP/1.1"), 400},
      {"blank after the version", line_with_host("GET / HTTP/1.1 "), 400},
      {"tab as separator", line_with_host("GET\t/\tHTTP/1.1"), 400},
      {"tab before the version", line_with_host("GET /\tHTTP/1.1"), 400},
      {"words after the version", line_with_host("GET / HTTP/1.1 x"), 400},
      {"blank in the target", line_with_host("GET /a b HTTP/1.1"), 400},
      {"no version (HTTP/0.9)", line_with_host("GET /"), 400},
      {"no target", line_with_host("GET HTTP/1.1"), 400},
      {"only a method", line_with_host("GET"), 400},
      {"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 0},
      {"HTTP/1.2 is spoken as 1.1", line_with_host("GET / HTTP/1.2"), 0},
      {"HTTP/1.9", line_with_host("GET / HTTP/1.9"), 0},
      {"HTTP/0.9", line_with_host("GET / HTTP/0.9"), 505},
      {"HTTP/2.0", line_with_host("GET / HTTP/2.0"), 505},
      {"HTTP/3.0", line_with_host("GET / HTTP/3.0"), 505},
      {"HTTP/9.9", line_with_host("GET / HTTP/9.9"), 505},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", 505},
      {"HTTP/1.10", line_with_host("GET / HTTP/1.10"), 400},
      {"HTTP/11.1", line_with_host("GET / HTTP/11.1"), 400},
      {"HTTP/01.1", line_with_host("GET / HTTP/01.1"), 400},
      {"HTTP/1", line_with_host("GET / HTTP/1"), 400},
      {"HTTP/1.", line_with_host("GET / HTTP/1."), 400},
      {"HTTP/.1", line_with_host("GET / HTTP/.1"), 400},
      {"HTTP/1,1", line_with_host("GET / HTTP/1,1"), 400},
      {"HTTP/1.x", line_with_host("GET / HTTP/1.x"), 400},
      {"HTTP 1.1", line_with_host("GET / HTTP 1.1"), 400},
      {"http/1.1", line_with_host("GET / http/1.1"), 400},
      {"HTTPS/1.1", line_with_host("GET / HTTPS/1.1"), 400},
      {"HTP/1.1", line_with_host("GET / HTP/1.1"), 400},
      {"ICE/1.0", line_with_host("GET / ICE/1.0"), 400},
      {"+1.1", line_with_host("GET / HTTP/+1.1"), 400},
      {"TLS client hello", "\x16\x03\x01\x02\x00\x01\x00"s, 400},
      {"SSH banner", "SSH-2.0-OpenSSH_9.2\r\n", 400},
      {"nothing", "", -1},
      {"half a method", "GE", -1},
      {"half a line", "GET / HT", -1},
      {"line without LF", "GET / HTTP/1.1\r", -1},
      {"head without end", "GET / HTTP/1.1\r\nHost: a\r\n", -1},
      {"head without the last LF", "GET / HTTP/1.1\r\nHost: a\r\n\r", -1},
      {"connect", line_with_host("CONNECT a:443 HTTP/1.1"), 501},
      {"connect with a path", line_with_host("CONNECT /a HTTP/1.1"), 400},
      {"connect with a scheme", line_with_host("CONNECT http://a/ HTTP/1.1"), 400},
  };
}

inline std::vector<HttpCase> leading_line_cases() {
  const std::string request = line_with_host("GET / HTTP/1.1");
  return {
      {"one", "\r\n" + request, 0},
      {"four", "\r\n\r\n\r\n\r\n" + request, 0},
      {"five", "\r\n\r\n\r\n\r\n\r\n" + request, 400},
      {"bare LF", "\n" + request, 400},
      {"bare CR", "\r" + request, 400},
      {"CR CR LF", "\r\r\n" + request, 400},
      {"LF CR", "\n\r" + request, 400},
      {"blank line", " \r\n" + request, 400},
      {"NUL", std::string(1, '\0') + request, 400},
      {"only empty lines", "\r\n\r\n", -1},
  };
}

inline std::vector<HttpCase> line_end_cases() {
  return {
      {"LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"LF after a field", "GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n", 400},
      {"LF LF at the end", "GET / HTTP/1.1\r\nHost: a\n\n", 400},
      {"CRLF LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
      {"LF CRLF at the end", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
      {"CR after the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400},
      {"CR in a value", get_with("A: b\rc\r\n"), 400},
      {"CR CRLF after a value", get_with("A: b\r\r\n"), 400},
      {"CR at the end of the head", "GET / HTTP/1.1\r\nHost: a\r\n\rX", 400},
      {"CR in the target", line_with_host("GET /a\rb HTTP/1.1"), 400},
      {"LF in the target", line_with_host("GET /a\nb HTTP/1.1"), 400},
      {"all LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
  };
}

inline std::vector<HttpCase> target_cases() {
  return {
      {"every allowed character",
       line_with_host("GET /-._~!$&'()*+,;=:@/azAZ09?-._~!$&'()*+,;=:@/?azAZ09 HTTP/1.1"), 0},
      {"empty query", line_with_host("GET /? HTTP/1.1"), 0},
      {"empty query parts", line_with_host("GET /?&&a=&=b& HTTP/1.1"), 0},
      {"query with a question mark", line_with_host("GET /?a=?b HTTP/1.1"), 0},
      {"percent", line_with_host("GET /%20%2F%fF?%3d HTTP/1.1"), 0},
      {"encoded NUL is still text", line_with_host("GET /%00 HTTP/1.1"), 0},
      {"double slash", line_with_host("GET //a//b HTTP/1.1"), 0},
      {"dots are text", line_with_host("GET /../.. HTTP/1.1"), 0},
      {"percent alone", line_with_host("GET /% HTTP/1.1"), 400},
      {"percent and one digit", line_with_host("GET /%1 HTTP/1.1"), 400},
      {"percent and no digits", line_with_host("GET /%zz HTTP/1.1"), 400},
      {"percent in the query", line_with_host("GET /?a=%g1 HTTP/1.1"), 400},
      {"fragment", line_with_host("GET /a#b HTTP/1.1"), 400},
      {"quote", line_with_host("GET /\" HTTP/1.1"), 400},
      {"less", line_with_host("GET /< HTTP/1.1"), 400},
      {"greater", line_with_host("GET /> HTTP/1.1"), 400},
      {"backslash", line_with_host("GET /a\\b HTTP/1.1"), 400},
      {"backslash first", line_with_host("GET \\a HTTP/1.1"), 400},
      {"caret", line_with_host("GET /^ HTTP/1.1"), 400},
      {"backtick", line_with_host("GET /` HTTP/1.1"), 400},
      {"brace", line_with_host("GET /{a} HTTP/1.1"), 400},
      {"bar", line_with_host("GET /a|b HTTP/1.1"), 400},
      {"bracket", line_with_host("GET /a[0] HTTP/1.1"), 400},
      {"utf-8", line_with_host("GET /\xC3\xA9 HTTP/1.1"), 400},
      {"0x80", line_with_host("GET /\x80 HTTP/1.1"), 400},
      {"0xFF", line_with_host("GET /\xFF HTTP/1.1"), 400},
      {"relative", line_with_host("GET a HTTP/1.1"), 400},
      {"dot", line_with_host("GET . HTTP/1.1"), 400},
      {"query only", line_with_host("GET ?a HTTP/1.1"), 400},
      {"two stars", line_with_host("OPTIONS ** HTTP/1.1"), 400},
      {"absolute", line_with_host("GET http://b/k HTTP/1.1"), 0},
      {"absolute upper case", line_with_host("GET HTTP://B/k HTTP/1.1"), 0},
      {"absolute https", line_with_host("GET https://b/k HTTP/1.1"), 0},
      {"absolute with port", line_with_host("GET http://b:80/k HTTP/1.1"), 0},
      {"absolute with an empty port", line_with_host("GET http://b:/k HTTP/1.1"), 0},
      {"absolute without path", line_with_host("GET http://b HTTP/1.1"), 0},
      {"absolute with query only", line_with_host("GET http://b?q HTTP/1.1"), 0},
      {"absolute v6", line_with_host("GET http://[::1]:80/k HTTP/1.1"), 0},
      {"options absolute", line_with_host("OPTIONS http://b HTTP/1.1"), 0},
      {"absolute without host", line_with_host("GET http:///k HTTP/1.1"), 400},
      {"absolute with user", line_with_host("GET http://u@b/k HTTP/1.1"), 400},
      {"absolute with password", line_with_host("GET http://u:p@b/k HTTP/1.1"), 400},
      {"absolute with a bad port", line_with_host("GET http://b:x/k HTTP/1.1"), 400},
      {"absolute with a large port", line_with_host("GET http://b:65536/k HTTP/1.1"), 400},
      {"absolute ftp", line_with_host("GET ftp://b/k HTTP/1.1"), 400},
      {"absolute file", line_with_host("GET file:///k HTTP/1.1"), 400},
      {"absolute without slashes", line_with_host("GET http:b/k HTTP/1.1"), 400},
      {"absolute with one slash", line_with_host("GET http:/b/k HTTP/1.1"), 400},
      {"authority for get", line_with_host("GET b:80 HTTP/1.1"), 400},
      {"absolute with fragment", line_with_host("GET http://b/#f HTTP/1.1"), 400},
  };
}

inline std::vector<HttpCase> field_cases() {
  return {
      {"no blank after the colon", get_with("A:b\r\n"), 0},
      {"many blanks", get_with("A: \t  b \t \r\n"), 0},
      {"empty value", get_with("A:\r\n"), 0},
      {"blank value", get_with("A:   \r\n"), 0},
      {"colons in the value", get_with("A: b:c::d\r\n"), 0},
      {"obs-text in the value", get_with("A: \xC3\xA9\xFF\x80\r\n"), 0},
      {"repeated field", get_with("A: 1\r\nA: 2\r\n"), 0},
      {"blank before the colon", get_with("A : b\r\n"), 400},
      {"tab before the colon", get_with("A\t: b\r\n"), 400},
      {"blank in the name", get_with("A B: c\r\n"), 400},
      {"no colon", get_with("A\r\n"), 400},
      {"no name", get_with(": b\r\n"), 400},
      {"folded with a blank", get_with("A: b\r\n c\r\n"), 400},
      {"folded with a tab", get_with("A: b\r\n\tc\r\n"), 400},
      {"folded to nothing", get_with("A: b\r\n \r\n"), 400},
      {"first field folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"first field tabbed", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", 400},
      {"NUL in the value", get_with("A: b\0c\r\n"s), 400},
      {"DEL in the value", get_with("A: b\x7F\r\n"), 400},
      {"ESC in the value", get_with("A: \x1B[0m\r\n"), 400},
      {"quoted name", get_with("\"A\": b\r\n"), 400},
      {"slash in the name", get_with("A/B: c\r\n"), 400},
      {"parenthesis in the name", get_with("A(B: c\r\n"), 400},
      {"request line twice", "GET / HTTP/1.1\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
  };
}

inline std::vector<HttpCase> host_cases() {
  const auto with = [](const std::string& fields) {
    return "GET / HTTP/1.1\r\n" + fields + "\r\n";
  };
  return {
      {"name", with("Host: example.org\r\n"), 0},
      {"name and port", with("Host: example.org:3030\r\n"), 0},
      {"empty port", with("Host: example.org:\r\n"), 0},
      {"any case", with("hOsT: a\r\n"), 0},
      {"blanks around", with("Host: \t a \t\r\n"), 0},
      {"v4", with("Host: 127.0.0.1:80\r\n"), 0},
      {"v6", with("Host: [::1]\r\n"), 0},
      {"v6 and port", with("Host: [2001:db8::1]:65535\r\n"), 0},
      {"v4 in v6", with("Host: [::ffff:1.2.3.4]\r\n"), 0},
      {"percent", with("Host: a%41\r\n"), 0},
      {"underscore", with("Host: a_b\r\n"), 0},
      {"sub-delims", with("Host: a!$&'()*+,;=\r\n"), 0},
      {"not in 1.0", "GET / HTTP/1.0\r\n\r\n", 0},
      {"empty in 1.0", "GET / HTTP/1.0\r\nHost:\r\n\r\n", 0},
      {"missing", with(""), 400},
      {"missing among others", with("A: b\r\nHostname: c\r\n"), 400},
      {"empty", with("Host:\r\n"), 400},
      {"twice the same", with("Host: a\r\nHost: a\r\n"), 400},
      {"twice", with("Host: a\r\nhost: b\r\n"), 400},
      {"twice in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"invalid in 1.0", "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", 400},
      {"twice with an absolute target", "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
       400},
      {"missing with an absolute target", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
      {"path", with("Host: a/b\r\n"), 400},
      {"user", with("Host: u@a\r\n"), 400},
      {"blank", with("Host: a b\r\n"), 400},
      {"query", with("Host: a?b\r\n"), 400},
      {"fragment", with("Host: a#b\r\n"), 400},
      {"scheme", with("Host: http://a\r\n"), 400},
      {"only a port", with("Host: :80\r\n"), 400},
      {"port of letters", with("Host: a:b\r\n"), 400},
      {"signed port", with("Host: a:-1\r\n"), 400},
      {"two ports", with("Host: a:1:2\r\n"), 400},
      {"port 65536", with("Host: a:65536\r\n"), 400},
      {"long port", with("Host: a:000000000000000000000099999\r\n"), 400},
      {"bare v6", with("Host: ::1\r\n"), 400},
      {"open bracket", with("Host: [::1\r\n"), 400},
      {"not v6 in brackets", with("Host: [1.2.3.4]\r\n"), 400},
      {"empty brackets", with("Host: []\r\n"), 400},
      {"after the bracket", with("Host: [::1]a\r\n"), 400},
      {"zone", with("Host: [fe80::1%eth0]\r\n"), 400},
      {"long brackets", with("Host: [" + std::string(100, ':') + "]\r\n"), 400},
      {"bad percent", with("Host: a%4\r\n"), 400},
      {"obs-text", with("Host: \xC3\xA9\r\n"), 400},
      {"backslash", with("Host: a\\b\r\n"), 400},
      {"quote", with("Host: \"a\"\r\n"), 400},
      {"blank before the colon", with("Host : a\r\n"), 400},
  };
}

inline std::vector<HttpCase> content_length_cases() {
  return {
      {"zero", put_with("Content-Length: 0\r\n"), 0},
      {"five", put_with("Content-Length: 5\r\n"), 0},
      {"any case", put_with("cOnTeNt-LeNgTh: 5\r\n"), 0},
      {"blanks around", put_with("Content-Length: \t 5 \t\r\n"), 0},
      {"leading zeros", put_with("Content-Length: 0005\r\n"), 0},
      {"on get", get_with("Content-Length: 5\r\n"), 0},
      {"in 1.0", "PUT / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", 0},
      {"largest", put_with("Content-Length: 9223372036854775807\r\n"), 0},
      {"too large", put_with("Content-Length: 9223372036854775808\r\n"), 400},
      {"2^64", put_with("Content-Length: 18446744073709551616\r\n"), 400},
      {"2^64 + 5", put_with("Content-Length: 18446744073709551621\r\n"), 400},
      {"forty digits", put_with("Content-Length: " + std::string(40, '9') + "\r\n"), 400},
      {"empty", put_with("Content-Length:\r\n"), 400},
      {"blank", put_with("Content-Length:  \r\n"), 400},
      {"plus", put_with("Content-Length: +5\r\n"), 400},
      {"minus", put_with("Content-Length: -5\r\n"), 400},
      {"hex", put_with("Content-Length: 0x5\r\n"), 400},
      {"hex digit", put_with("Content-Length: a\r\n"), 400},
      {"fraction", put_with("Content-Length: 5.0\r\n"), 400},
      {"exponent", put_with("Content-Length: 5e1\r\n"), 400},
      {"underscore", put_with("Content-Length: 1_0\r\n"), 400},
      {"inner blank", put_with("Content-Length: 5 5\r\n"), 400},
      {"list of the same", put_with("Content-Length: 5, 5\r\n"), 400},
      {"list", put_with("Content-Length: 5, 6\r\n"), 400},
      {"trailing comma", put_with("Content-Length: 5,\r\n"), 400},
      {"quoted", put_with("Content-Length: \"5\"\r\n"), 400},
      {"parameter", put_with("Content-Length: 5;a\r\n"), 400},
      {"twice the same", put_with("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
      {"twice", put_with("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
      {"good then bad", put_with("Content-Length: 5\r\nContent-Length: x\r\n"), 400},
      {"full-width digit", put_with("Content-Length: \xEF\xBC\x95\r\n"), 400},
      {"vertical tab",
       put_with("Content-Length: \x0B"
                "5\r\n"),
       400},
      {"blank before the colon", put_with("Content-Length : 5\r\n"), 400},
      {"folded", put_with("Content-Length: 5\r\n 6\r\n"), 400},
      {"another name", put_with("Content-Lengths: x\r\n"), 0},
  };
}

inline std::vector<HttpCase> transfer_encoding_cases() {
  return {
      {"chunked", put_with("Transfer-Encoding: chunked\r\n"), 0},
      {"any case", put_with("tRANSFER-eNCODING: ChUnKeD\r\n"), 0},
      {"blanks around", put_with("Transfer-Encoding: \t chunked \t\r\n"), 0},
      {"on get", get_with("Transfer-Encoding: chunked\r\n"), 0},
      {"with length", put_with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
      {"length first", put_with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"with length zero", put_with("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"in 1.0", "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"in 1.0 with length",
       "PUT / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"gzip", put_with("Transfer-Encoding: gzip\r\n"), 400},
      {"identity", put_with("Transfer-Encoding: identity\r\n"), 400},
      {"gzip, chunked", put_with("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"identity, chunked", put_with("Transfer-Encoding: identity, chunked\r\n"), 501},
      {"chunked, gzip", put_with("Transfer-Encoding: chunked, gzip\r\n"), 400},
      {"chunked, identity", put_with("Transfer-Encoding: chunked, identity\r\n"), 400},
      {"chunked, chunked", put_with("Transfer-Encoding: chunked, chunked\r\n"), 400},
      {"twice", put_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"two lines", put_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), 400},
      {"empty", put_with("Transfer-Encoding:\r\n"), 400},
      {"xchunked", put_with("Transfer-Encoding: xchunked\r\n"), 400},
      {"chunkedx", put_with("Transfer-Encoding: chunkedx\r\n"), 400},
      {"chunk", put_with("Transfer-Encoding: chunk\r\n"), 400},
      {"parameter", put_with("Transfer-Encoding: chunked;a=b\r\n"), 400},
      {"quoted", put_with("Transfer-Encoding: \"chunked\"\r\n"), 400},
      {"single quotes", put_with("Transfer-Encoding: 'chunked'\r\n"), 400},
      {"comma first", put_with("Transfer-Encoding: ,chunked\r\n"), 501},
      {"comma last", put_with("Transfer-Encoding: chunked,\r\n"), 400},
      {"vertical tab",
       put_with("Transfer-Encoding: \x0B"
                "chunked\r\n"),
       400},
      {"NUL", put_with("Transfer-Encoding: chunked\0\r\n"s), 400},
      {"blank before the colon", put_with("Transfer-Encoding : chunked\r\n"), 400},
      {"folded", put_with("Transfer-Encoding:\r\n chunked\r\n"), 400},
      {"obs-text", put_with("Transfer-Encoding: chunked\xA0\r\n"), 400},
  };
}

inline std::vector<HttpCase> expect_cases() {
  return {
      {"continue", put_with("Expect: 100-continue\r\nContent-Length: 1\r\n"), 0},
      {"any case", put_with("Expect: 100-Continue\r\nContent-Length: 1\r\n"), 0},
      {"without a body", get_with("Expect: 100-continue\r\n"), 0},
      {"in 1.0", "PUT / HTTP/1.0\r\nExpect: something\r\nContent-Length: 1\r\n\r\n", 0},
      {"another", put_with("Expect: 200-ok\r\n"), 417},
      {"empty", put_with("Expect:\r\n"), 417},
      {"list", put_with("Expect: 100-continue, x\r\n"), 417},
  };
}

inline std::vector<HttpCase> all_http_cases() {
  std::vector<HttpCase> all;
  for (const auto& cases :
       {request_line_cases(), leading_line_cases(), line_end_cases(), target_cases(), field_cases(),
        host_cases(), content_length_cases(), transfer_encoding_cases(), expect_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

}  // namespace kyro::test
