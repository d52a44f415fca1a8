// Messages on the wire: methods, targets, hosts, versions, pipelining, expectations, ends of
// connections (RFC 9110, RFC 9112 sections 2 to 5 and 9).
#pragma once

#include <string>
#include <vector>

#include "test/support/http/http_wire_cases.h"

namespace kyro::test {

inline std::vector<WireCase> wire_method_cases() {
  std::vector<WireCase> cases = {
      {"get", wire_get(), "200"},
      {"head", wire_line("HEAD /v1/kv/1 HTTP/1.1"), "200h"},
      {"head of an absent key", wire_line("HEAD /v1/kv/404 HTTP/1.1"), "404h"},
      {"head of no route", wire_line("HEAD /nothing HTTP/1.1"), "404h"},
      {"head of a bad key", wire_line("HEAD /v1/kv/x HTTP/1.1"), "400h"},
      {"head of a route that only takes posts", wire_line("HEAD /v1/put HTTP/1.1"), "405h"},
      {"head that is refused", "HEAD /v1/kv/1 HTTP/1.1\r\n\r\n", "400h!"},
      {"head with two lengths",
       "HEAD /v1/kv/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
       "400h!"},
      {"head of the metrics", wire_line("HEAD /metrics HTTP/1.1"), "200h"},
      {"head of health", wire_line("HEAD /health HTTP/1.1"), "200h"},
      {"options of all", wire_line("OPTIONS * HTTP/1.1"), "204"},
      {"options of a route", wire_line("OPTIONS /v1/kv/1 HTTP/1.1"), "204"},
      {"options of no route", wire_line("OPTIONS /nothing HTTP/1.1"), "404"},
      {"options of a host", wire_line("OPTIONS http://a HTTP/1.1"), "204"},
      {"options of a host's root", wire_line("OPTIONS http://a/ HTTP/1.1"), "204"},
      {"get of all", wire_line("GET * HTTP/1.1"), "400!"},
      {"put of all", "PUT * HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "400!"},
      {"connect", wire_line("CONNECT a:443 HTTP/1.1"), "501!"},
      {"connect to a v6 host", wire_line("CONNECT [::1]:443 HTTP/1.1"), "501!"},
      {"connect with a body", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
       "501!"},
      {"connect to a path", wire_line("CONNECT /v1/kv/1 HTTP/1.1"), "400!"},
      {"connect to nothing", wire_line("CONNECT  HTTP/1.1"), "400!"},
      {"authority for get", wire_line("GET a:443 HTTP/1.1"), "400!"},
      {"a delete twice",
       wire_line("DELETE /v1/kv/404 HTTP/1.1") + wire_line("DELETE /v1/kv/404 HTTP/1.1"),
       "404 404"},
  };
  for (const char* method :
       {"POST", "PATCH", "TRACE", "PURGE", "get", "Get", "GETT", "GE", "PROPFIND", "MKCOL", "LOCK",
        "M-SEARCH", "QUERY", "X", "!#$%&'*+-.^_`|~", "0"}) {
    cases.push_back({std::string("method ") + method,
                     wire_line(std::string(method) + " /v1/kv/1 HTTP/1.1"), "405"});
  }
  for (const char* method : {"GET", "HEAD", "PUT", "DELETE"}) {
    const bool is_head = *method == 'H';
    cases.push_back({std::string(method) + " of an admin route",
                     wire_line(std::string(method) + " /v1/compact HTTP/1.1"),
                     is_head ? "405h" : "405"});
  }
  const std::string bad[] = {"",        "G ET",  "G\tET",  "GET:",    "GET,",  "(GET)",
                             "\"GET\"", "G\0T"s, "G\x7FT", "\x80GET", "{GET}", "G@T",
                             "G;T",     "G=T",   "G[T",    "G?T",     "G/T",   "\\GET"};
  for (const std::string& method : bad) {
    cases.push_back({"method " + method, wire_line(method + " /v1/kv/1 HTTP/1.1"), "400!"});
  }
  return cases;
}

inline std::vector<WireCase> wire_target_cases() {
  std::vector<WireCase> cases = {
      {"origin", wire_line("GET /v1/kv/1 HTTP/1.1"), "200"},
      {"origin with an empty query", wire_line("GET /v1/kv/1? HTTP/1.1"), "200"},
      {"origin with a query of marks", wire_line("GET /health??&&=&/:@ HTTP/1.1"), "200"},
      {"origin with an encoded query", wire_line("GET /health?a=%00%ff HTTP/1.1"), "200"},
      {"absolute", wire_line("GET http://b/v1/kv/1 HTTP/1.1"), "200"},
      {"absolute in upper case", wire_line("GET HTTP://B/v1/kv/1 HTTP/1.1"), "200"},
      {"absolute with a port", wire_line("GET http://b:1/v1/kv/1 HTTP/1.1"), "200"},
      {"absolute v6", wire_line("GET http://[::1]/v1/kv/1 HTTP/1.1"), "200"},
      {"absolute https", wire_line("GET https://b/v1/kv/1 HTTP/1.1"), "200"},
      {"absolute without a path", wire_line("GET http://b HTTP/1.1"), "200"},
      {"absolute with a query only", wire_line("GET http://b?a HTTP/1.1"), "200"},
      {"absolute in 1.0", "GET http://b/v1/kv/1 HTTP/1.0\r\n\r\n", "200!"},
      {"the root", wire_line("GET / HTTP/1.1"), "200"},
      {"two slashes", wire_line("GET //v1/kv/1 HTTP/1.1"), "404"},
      {"dots", wire_line("GET /v1/../v1/kv/1 HTTP/1.1"), "404"},
      {"encoded slashes", wire_line("GET /v1%2Fkv%2F1 HTTP/1.1"), "404"},
      {"an encoded key", wire_line("GET /v1/kv/%31 HTTP/1.1"), "400"},
      {"a key with NUL encoded", wire_line("GET /v1/kv/1%00 HTTP/1.1"), "400"},
      {"a key with a parameter", wire_line("GET /v1/kv/1;a=b HTTP/1.1"), "400"},
      {"a path in upper case", wire_line("GET /V1/KV/1 HTTP/1.1"), "404"},
      {"8,000 bytes", wire_line("GET /health?" + std::string(7979, 'q') + " HTTP/1.1"), "200"},
      {"64 KiB", wire_line("GET /health?" + std::string(65536, 'q') + " HTTP/1.1"), "414!"},
      {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", "400!"},
      {"an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", "400!"},
      {"a blank in the target", wire_line("GET /v1/kv/1 /2 HTTP/1.1"), "400!"},
  };
  const std::string bad[] = {"v1/kv/1",
                             "?key=1",
                             "#",
                             "/#",
                             "/v1/kv/1#f",
                             "/a\"b",
                             "/<a>",
                             "/a\\b",
                             "\\v1",
                             "/a^b",
                             "/a`b",
                             "/{a}",
                             "/a|b",
                             "/[a]",
                             "/%",
                             "/%1",
                             "/%zz",
                             "/%u0031",
                             "/a?%",
                             "/a?%0",
                             "/\xC3\xA9",
                             "/a\x80",
                             "/a\x7F",
                             "/a\tb",
                             "/a\x0B"
                             "b",
                             "http:",
                             "http:/",
                             "http://",
                             "http:///v1/kv/1",
                             "http:v1",
                             "http://u@b/",
                             "http://u:p@b/",
                             "http://b:x/",
                             "http://b:99999/",
                             "http://b:-1/",
                             "http://b c/",
                             "http://[::1/",
                             "http://[x]/",
                             "http://b\\@c/",
                             "http://b#c",
                             "ftp://b/",
                             "ws://b/",
                             "file:///a",
                             "javascript:1",
                             "://b/",
                             "//",
                             "urn:a:b",
                             "a.b",
                             "**",
                             "*/v1",
                             "/a b"};
  for (const std::string& target : bad) {
    // Two slashes are a path like any other.
    cases.push_back({"target " + target, wire_line("GET " + target + " HTTP/1.1"),
                     target == "//" ? "404" : "400!"});
  }
  return cases;
}

inline std::vector<WireCase> wire_version_cases() {
  std::vector<WireCase> cases = {
      {"1.1 stays open", wire_get() + wire_get(), "200 200"},
      {"1.0 closes", "GET /v1/kv/1 HTTP/1.0\r\n\r\n", "200!"},
      {"1.0 with a host", "GET /v1/kv/1 HTTP/1.0\r\nHost: a\r\n\r\n", "200!"},
      {"1.0 with keep-alive", "GET /v1/kv/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200"},
      {"1.0 with keep-alive in upper case",
       "GET /v1/kv/1 HTTP/1.0\r\nConnection: KEEP-ALIVE\r\n\r\n", "200"},
      {"1.0 with keep-alive, then without",
       "GET /v1/kv/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /v1/kv/1 HTTP/1.0\r\n\r\n",
       "200 200!"},
      {"1.0 with keep-alive and close",
       "GET /v1/kv/1 HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "200!"},
      {"1.0 with a body", "PUT /v1/kv/5 HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "204!"},
      {"1.0 without a length", "PUT /v1/kv/66 HTTP/1.0\r\n\r\n", "411!"},
      {"1.0 with a coding",
       "PUT /v1/kv/66 HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "400!"},
      {"1.0 with a coding and a length",
       "PUT /v1/kv/66 HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx",
       "400!"},
      {"1.0 with an unknown expectation",
       "PUT /v1/kv/5 HTTP/1.0\r\nExpect: x\r\nContent-Length: 2\r\n\r\nhi", "204!"},
      {"1.0 head", "HEAD /v1/kv/1 HTTP/1.0\r\n\r\n", "200h!"},
      {"1.1 with close", wire_get("Connection: close\r\n"), "200!"},
      {"1.1 with close in upper case", wire_get("Connection: CLOSE\r\n"), "200!"},
      {"1.1 with close among others", wire_get("Connection: a, close ,b\r\n"), "200!"},
      {"1.1 with close on a line of its own", wire_get("Connection: a\r\nConnection: close\r\n"),
       "200!"},
      {"1.1 with close and an error", wire_get("Connection: close\r\n", "x"), "400!"},
      {"1.1 with close and a write", wire_put("Connection: close\r\nContent-Length: 2\r\n", "hi"),
       "204!"},
      {"1.1 with keep-alive", wire_get("Connection: keep-alive\r\n"), "200"},
      {"1.1 with an option that begins like close", wire_get("Connection: closed\r\n"), "200"},
      {"1.1 with an empty connection", wire_get("Connection:\r\n"), "200"},
      {"1.1 with commas", wire_get("Connection: ,,\r\n"), "200"},
      {"1.1 that asks for an upgrade", wire_get("Connection: upgrade\r\nUpgrade: h2c\r\n"), "200"},
      {"1.1 that asks for a socket",
       wire_get("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
       "200"},
      {"1.2 is spoken as 1.1", wire_line("GET /v1/kv/1 HTTP/1.2"), "200"},
      {"nearly the preface of 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", "505!"},
      {"0.9", "GET /v1/kv/1\r\n", "400!"},
      {"0.9 with a blank", "GET /v1/kv/1 \r\n", "400!"},
  };
  for (const char* version : {"HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0"}) {
    cases.push_back({version, wire_line("GET /v1/kv/1 " + std::string(version)), "505!"});
  }
  const std::string bad[] = {
      "HTTP/1",     "HTTP/1.",    "HTTP/.1",         "HTTP/1.10",  "HTTP/1.01",
      "HTTP/01.1",  "HTTP/11.1",  "HTTP/10",         "HTTP/1.1.",  "HTTP/1.1.1",
      "HTTP/1,1",   "HTTP/1.x",   "HTTP/x.1",        "HTTP/-1.1",  "HTTP/+1.1",
      "HTTP 1.1",   "HTTP\\1.1",  "HTTP1.1",         "/1.1",       "1.1",
      "http/1.1",   "Http/1.1",   "HTTPS/1.1",       "HTTPP/1.1",  "HTT/1.1",
      "ICAP/1.0",   "SIP/2.0",    "RTSP/1.0",        "HTTP/1.1 ",  " HTTP/1.1",
      "HTTP/1.1\t", "\tHTTP/1.1", "HTTP/1.1\0"s,     "HTTP/1.1 x", "HTTP/1.1;a",
      "HTTP/ 1.1",  "HTTP/1 .1",  "HTTP/\xD9\xA1.1", "HTTP//1.1",  "-"};
  for (const std::string& version : bad) {
    cases.push_back({"version " + version, wire_line("GET /v1/kv/1 " + version), "400!"});
  }
  return cases;
}

inline std::vector<WireCase> wire_field_cases() {
  std::string sixty;
  for (int i = 0; i < 60; ++i)
    sixty += "X-Field-" + std::to_string(i) + ": " + std::string(85, 'v') + "\r\n";
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "A: b\r\n";
  std::vector<WireCase> cases = {
      {"sixty fields", wire_get(sixty), "200"},
      {"6 KiB in one field", wire_get("A: " + std::string(6144, 'v') + "\r\n"), "200"},
      {"5,000 fields", wire_get(many), "431!"},
      {"100 KiB in one field", wire_get("A: " + std::string(102400, 'v') + "\r\n"), "431!"},
      {"100 KiB in one name", wire_get(std::string(102400, 'n') + ": v\r\n"), "431!"},
      {"every character of a name", wire_get("!#$%&'*+-.^_`|~09azAZ: v\r\n"), "200"},
      {"a value of tabs", wire_get("A: \t\tv\t\t\r\n"), "200"},
      {"an empty value", wire_get("A:\r\n"), "200"},
      {"obs-text", wire_get("A: \x80\xFF\xC3\xA9\r\n"), "200"},
      {"quotes and colons", wire_get("A: \"b\": 'c'; d=\"\\\"\"\r\n"), "200"},
      {"a request in a value", wire_get("A: GET / HTTP/1.1\r\n"), "200"},
      {"a cookie of many", wire_get("Cookie: a=b; c=d\r\nCookie: e=f\r\n"), "200"},
      {"a range is not known and overlooked", wire_get("Range: bytes=0-1\r\n"), "200"},
      {"accept-encoding is overlooked", wire_get("Accept-Encoding: gzip, br\r\n"), "200"},
      {"the tag of the value", wire_get("If-None-Match: \"0\"\r\n"), "304"},
      {"another tag", wire_get("If-None-Match: \"999\"\r\n"), "200"},
      {"a tag without quotes", wire_get("If-None-Match: 0\r\n"), "400"},
      {"blank lines before the request", "\r\n\r\n" + wire_get(), "200"},
      {"blank lines between requests", wire_get() + "\r\n\r\n" + wire_get(), "200 200"},
      {"too many blank lines", "\r\n\r\n\r\n\r\n\r\n\r\n" + wire_get(), "400!"},
      {"a bare LF before the request", "\n" + wire_get(), "400!"},
      {"a bare CR before the request", "\r" + wire_get(), "400!"},
      {"a blank before the request", " " + wire_get(), "400!"},
      {"a byte order mark", "\xEF\xBB\xBF" + wire_get(), "400!"},
      {"NUL before the request", "\0"s + wire_get(), "400!"},
      {"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"s, "400!"},
      {"a proxy's line", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + wire_get(), "400!"},
      {"an SSH banner", "SSH-2.0-OpenSSH_9.2p1\r\n", "400!"},
      {"SMTP", "EHLO localhost\r\n", "400!"},
      {"Redis", "*1\r\n$4\r\nPING\r\n", "400!"},
  };
  const std::string bad[] = {
      "A : b",      "A\t: b",   " A: b",    "\tA: b",     "A b: c",         "A",
      ":",          ": b",      " : b",     "A: b\r\n c", "A: b\r\n\tc",    "A: b\r\n ",
      "A:\r\n b",   "A: b\rc",  "A: b\nc",  "A: b\r\r",   "A: b\r\n\rc: d", "A: b\0c"s,
      "A: \x01",    "A: \x08",  "A: \x0B",  "A: \x0C",    "A: \x1B[0m",     "A: \x1F",
      "A: \x7F",    "A\0: b"s,  "A\x7F: b", "\x80: b",    "A\xC3\xA9: b",   "\"A\": b",
      "A(b): c",    "A,B: c",   "A/B: c",   "A;B: c",     "A<B: c",         "A=B: c",
      "A>B: c",     "A?B: c",   "A@B: c",   "A[B: c",     "A\\B: c",        "A{B: c",
      "Host: a",    "Host: b",  "hOST: a",  "Host:",      "Host : a",       "GET / HTTP/1.1",
      "{\"a\": 1}", "A\r\n: b", "\r"};
  for (const std::string& field : bad) {
    cases.push_back({"field " + field, wire_get(field + "\r\n"), "400!"});
  }
  return cases;
}

inline std::vector<WireCase> wire_host_cases() {
  std::vector<WireCase> cases;
  const auto with = [](const std::string& fields) {
    return "GET /v1/kv/1 HTTP/1.1\r\n" + fields + "\r\n";
  };
  for (const char* host :
       {"a", "A.B-c_d~e", "a:1", "a:65535", "a:", "127.0.0.1", "1", "[::1]", "[::1]:80",
        "[2001:db8::1]:", "a%41", "xn--bcher-kva.example", "a!$&'()*+,;=", "-", "a..b"}) {
    cases.push_back(
        {std::string("host ") + host, with("Host: " + std::string(host) + "\r\n"), "200"});
  }
  const std::string bad[] = {"",
                             " ",
                             "a b",
                             "a\tb",
                             "a/",
                             "a/b",
                             "/",
                             "a?b",
                             "a#b",
                             "u@a",
                             "@",
                             "http://a",
                             "a:x",
                             "a:1x",
                             "a:+1",
                             "a:-1",
                             "a:1:2",
                             "a:65536",
                             "a:99999999999999999999",
                             ":",
                             ":80",
                             "::1",
                             "[::1",
                             "::1]",
                             "[]",
                             "[1.2.3.4]",
                             "[::1]x",
                             "[::1]x:1",
                             "[::1%25eth0]",
                             "[v1.a]",
                             "a,b:x",
                             "a\\b",
                             "\"a\"",
                             "<a>",
                             "a^b",
                             "a`b",
                             "a{b}",
                             "a|b",
                             "a%",
                             "a%4",
                             "a%zz",
                             "\xC3\xA9",
                             "a\x80",
                             "a\x01",
                             "a\x7F",
                             "a\0b"s};
  for (const std::string& host : bad) {
    cases.push_back({"host " + host, with("Host: " + host + "\r\n"), "400!"});
  }
  cases.push_back({"no host", with(""), "400!"});
  cases.push_back({"no host among others", with("Hos: a\r\nHosts: a\r\n"), "400!"});
  cases.push_back({"two hosts", with("Host: a\r\nHost: a\r\n"), "400!"});
  cases.push_back(
      {"no host with an absolute target", "GET http://a/v1/kv/1 HTTP/1.1\r\n\r\n", "400!"});
  cases.push_back({"a bad host with an absolute target",
                   "GET http://a/v1/kv/1 HTTP/1.1\r\nHost: b/\r\n\r\n", "400!"});
  cases.push_back({"a bad host in 1.0", "GET /v1/kv/1 HTTP/1.0\r\nHost: b/\r\n\r\n", "400!"});
  cases.push_back({"an empty host in 1.0", "GET /v1/kv/1 HTTP/1.0\r\nHost:\r\n\r\n", "200!"});
  return cases;
}

}  // namespace kyro::test
