// Several messages on one connection: pipelining, expectations, ends, and the classes of request
// smuggling, where two readers of one stream would disagree about where a message ends.
#pragma once

#include <string>
#include <vector>

#include "test/support/http/http_wire_cases.h"

namespace kyro::test {

inline std::vector<WireCase> wire_stream_cases() {
  const std::string put = wire_put("Content-Length: 2\r\n", "hi");
  const std::string chunks = wire_chunks("2\r\nhi\r\n0\r\n\r\n");
  const std::string refused = "GET /v1/kv/1 HTTP/1.1\r\n\r\n";
  const std::string not_found = wire_get("", "404");
  std::string hundred;
  std::string statuses = "200";
  for (int i = 0; i < 100; ++i) hundred += wire_get();
  for (int i = 1; i < 100; ++i) statuses += " 200";
  return {
      {"a hundred gets", hundred, statuses},
      {"a write, then a read", put + wire_get("", "5"), "204 200", "hi"},
      {"chunks, then a read", chunks + wire_get("", "5"), "204 200", "hi"},
      {"chunks twice", chunks + chunks, "204 204", "hi"},
      {"a length, then chunks, then a length", put + chunks + put, "204 204 204", "hi"},
      {"head, then get", wire_line("HEAD /v1/kv/1 HTTP/1.1") + wire_get(), "200h 200"},
      {"304, then get", wire_get("If-None-Match: *\r\n") + wire_get(), "304 200"},
      {"204, then get", wire_line("OPTIONS * HTTP/1.1") + wire_get(), "204 200"},
      {"errors of the application keep it open",
       not_found + wire_line("GET /nothing HTTP/1.1") + wire_line("PATCH /v1/kv/1 HTTP/1.1") +
           wire_get("", "x"),
       "404 404 405 400"},
      {"a short body that is refused unread keeps it open",
       "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + wire_get(), "404 200"},
      {"chunks that are refused unread do not",
       "POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "404!"},
      {"a missing length keeps it open", wire_put("", "") + wire_get(), "411 200"},
      {"good, then refused", wire_get() + refused, "200 400!"},
      {"a write, then refused", put + refused, "204 400!", "hi"},
      {"ten writes, then refused",
       put + put + put + put + put + put + put + put + put + put + refused,
       "204 204 204 204 204 204 204 204 204 204 400!"},
      {"refused, then a write", refused + kWireHidden, "400!"},
      {"close, then a write", wire_get("Connection: close\r\n") + kWireHidden, "200!"},
      {"1.0, then a write", "GET /v1/kv/1 HTTP/1.0\r\n\r\n"s + kWireHidden, "200!"},
      {"a body too large, then a write",
       wire_bad("Content-Length: 99999999999\r\n", "") + kWireHidden, "413!"},
      {"an unknown version, then a write", wire_line("GET / HTTP/2.0") + kWireHidden, "505!"},
      {"an unknown expectation, then a write",
       wire_bad("Expect: x\r\nContent-Length: 1\r\n", "x") + kWireHidden, "417!"},
      {"connect, then a write", wire_line("CONNECT a:1 HTTP/1.1") + kWireHidden, "501!"},
      {"a body of JSON",
       "POST /v1/put HTTP/1.1\r\nHost: a\r\nContent-Length: 23\r\n\r\n"
       "{\"key\":5,\"value\":\"hi\"} ",
       "200", "hi"},
      {"a body of bad JSON keeps it open",
       "POST /v1/put HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n{\"key\":5" + wire_get(),
       "400 200"},
      {"a body of the wrong type keeps it open",
       "POST /v1/put HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: "
       "2\r\n\r\n{}" +
           wire_get(),
       "415 200"},

      {"expect with its body", wire_put("Expect: 100-continue\r\nContent-Length: 2\r\n", "hi"),
       "204", "hi"},
      {"expect in upper case", wire_put("EXPECT: 100-CONTINUE\r\nContent-Length: 2\r\n", "hi"),
       "204", "hi"},
      {"expect without a body", wire_get("Expect: 100-continue\r\n"), "200"},
      {"expect with an empty body", wire_put("Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
       "204", ""},
      {"expect with chunks",
       wire_put("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"),
       "204", "hi"},
      {"expect something else", wire_bad("Expect: 200-ok\r\nContent-Length: 1\r\n", "x"), "417!"},
      {"expect a list", wire_bad("Expect: 100-continue, x\r\nContent-Length: 1\r\n", "x"), "417!"},
      {"expect nothing", wire_bad("Expect:\r\nContent-Length: 1\r\n", "x"), "417!"},
      {"expect with a parameter",
       wire_bad("Expect: 100-continue;q=1\r\nContent-Length: 1\r\n", "x"), "417!"},

      {"nothing at all", "", "-"},
      {"an empty line", "\r\n", "-"},
      {"half a method", "GE", "-400!"},
      {"half a line", "GET /v1/kv/1", "-400!"},
      {"a line without LF", "GET /v1/kv/1 HTTP/1.1\r", "-400!"},
      {"a line", "GET /v1/kv/1 HTTP/1.1\r\n", "-400!"},
      {"half a field", "GET /v1/kv/1 HTTP/1.1\r\nHost", "-400!"},
      {"a head without its end", "GET /v1/kv/1 HTTP/1.1\r\nHost: a\r\n", "-400!"},
      {"a head without its last LF", "GET /v1/kv/1 HTTP/1.1\r\nHost: a\r\n\r", "-400!"},
      {"good, then half a line", wire_get() + "GET /v1/kv/1 HT", "-200 400!"},
      {"good and whole, then the end", wire_get(), "-200"},
      {"a write, whole, then the end", put, "-204", "hi"},
      {"chunks, whole, then the end", chunks, "-204", "hi"},
      {"two writes, whole, then the end", put + chunks, "-204 204", "hi"},
      {"refused, then the end", refused, "-400!"},
      {"close, then the end", wire_get("Connection: close\r\n"), "-200!"},
      {"a trailing line end, then the end", wire_get() + "\r\n", "-200"},
  };
}

inline std::vector<WireCase> wire_smuggling_cases() {
  const std::string hidden = kWireHidden;
  const std::string length = std::to_string(hidden.size());
  const auto both = [](const std::string& coding, const std::string& size) {
    return "Content-Length: " + size + "\r\n" + coding + "\r\n";
  };
  std::vector<WireCase> cases = {
      {"CL.TE", wire_bad(both("Transfer-Encoding: chunked", "6"), "0\r\n\r\nG"), "400!"},
      {"TE.CL",
       wire_bad("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                "5c\r\n" + hidden + "\r\n0\r\n\r\n"),
       "400!"},
      {"CL.TE with a write after",
       wire_bad(both("Transfer-Encoding: chunked", std::to_string(5 + hidden.size())),
                "0\r\n\r\n" + hidden),
       "400!"},
      {"CL.0", wire_bad(both("Transfer-Encoding: chunked", "0"), hidden), "400!"},
      {"0.CL", wire_get("Content-Length: " + length + "\r\n") + hidden, "400"},
      {"a length with get that covers a write, chunked",
       wire_get("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + wire_get(), "400!"},
      {"CL.CL", wire_bad("Content-Length: 0\r\nContent-Length: " + length + "\r\n", hidden),
       "400!"},
      {"CL.CL the same", wire_bad("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), "400!"},
      {"CL.CL in another case", wire_bad("Content-Length: 1\r\ncontent-length: 1\r\n", "x"),
       "400!"},
      {"CL.CL apart", wire_bad("Content-Length: 1\r\nA: b\r\nContent-Length: 2\r\n", "x"), "400!"},
      {"CL.CL with a bad second", wire_bad("Content-Length: 1\r\nContent-Length: x\r\n", "x"),
       "400!"},
      {"CL.CL by a list", wire_bad("Content-Length: 1, 1\r\n", "x"), "400!"},
      {"TE.TE",
       wire_bad("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
       "400!"},
      {"TE.TE with identity",
       wire_bad("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
       "400!"},
      {"TE.TE with nonsense first",
       wire_bad("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400!"},
      {"TE.TE with nonsense last",
       wire_bad("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"), "400!"},
      {"TE.TE in another case",
       wire_bad("Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n", "0\r\n\r\n"), "400!"},
      {"a write after the last chunk is a request of its own",
       wire_chunks("0\r\n\r\n") + wire_get(), "204 200", ""},
      {"a hidden host", "GET /v1/kv/1 HTTP/1.1\r\nHost: a\r\n\tHost: b\r\n\r\n", "400!"},
      {"a field after a bare CR", wire_bad("A: b\rContent-Length: 1\r\n", "x"), "400!"},
      {"a field after a bare LF", wire_bad("A: b\nContent-Length: 1\r\n", "x"), "400!"},
      {"a field after LF CR", wire_bad("A: b\n\rContent-Length: 1\r\n", "x"), "400!"},
      {"the head's end by LF LF", "GET /v1/kv/1 HTTP/1.1\nHost: a\n\n" + hidden, "400!"},
      {"the head's end by CR CR", "GET /v1/kv/1 HTTP/1.1\rHost: a\r\r" + hidden, "400!"},
      {"the head's end by CRLF LF", "GET /v1/kv/1 HTTP/1.1\r\nHost: a\r\n\n" + hidden, "400!"},
      {"the head's end by LF CRLF", "GET /v1/kv/1 HTTP/1.1\r\nHost: a\n\r\n" + hidden, "400!"},
      {"the head's end by CRLF CR", "GET /v1/kv/1 HTTP/1.1\r\nHost: a\r\n\rx" + hidden, "400!"},
      {"an empty first field line that is folded",
       "PUT /v1/kv/66 HTTP/1.1\r\n \r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "400!"},
      {"a write in the fold of a value", wire_get("A: b\r\n " + hidden), "400!"},
  };
  const std::string names[] = {"Content-Length ",    "Content-Length\t",   " Content-Length",
                               "\tContent-Length",   "Content-Length\0"s,  "\0Content-Length"s,
                               "Content Length",     "Content-Length\x0B", "Content-Length\x7F",
                               "Content-Length\xA0", "\"Content-Length\"", "Content-Length\r",
                               "Content-Length\n"};
  for (const std::string& name : names) {
    cases.push_back(
        {"a length by the name " + name, wire_bad(name + ": " + length + "\r\n", hidden), "400!"});
  }
  const std::string fields[] = {"Transfer-Encoding : chunked",
                                "Transfer-Encoding\t: chunked",
                                " Transfer-Encoding: chunked",
                                "\tTransfer-Encoding: chunked",
                                "A: b\r\n Transfer-Encoding: chunked",
                                "A: b\r\n\tTransfer-Encoding: chunked",
                                "Transfer-Encoding:\r\n chunked",
                                "Transfer-Encoding\r\n: chunked",
                                "Transfer-Encoding\r\n : chunked",
                                "Transfer-Encoding\0: chunked"s,
                                "\0Transfer-Encoding: chunked"s,
                                "Transfer-Encoding\x0B: chunked",
                                "Transfer-Encoding: \x0B"
                                "chunked",
                                "Transfer-Encoding: chunked\r\n x",
                                "A: b\nTransfer-Encoding: chunked",
                                "A: b\rTransfer-Encoding: chunked",
                                "A: b\r\n\rTransfer-Encoding: chunked",
                                "Transfer-Encoding: chunked\nA: b",
                                "Transfer Encoding: chunked",
                                "Transfer-Encoding\xA0: chunked",
                                "Transfer-Encoding; chunked",
                                "Transfer-Encoding= chunked",
                                "Transfer-Encoding chunked",
                                ":Transfer-Encoding: chunked"};
  for (const std::string& field : fields) {
    // Behind one reader's body of one byte, or another's last chunk, a write would hide.
    cases.push_back({"a coding hidden as " + field,
                     wire_bad("Content-Length: 5\r\n" + field + "\r\n", "0\r\n\r\n" + hidden),
                     "400!"});
  }
  return cases;
}

}  // namespace kyro::test
