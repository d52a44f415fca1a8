// Bodies on the wire: lengths, codings, chunks, trailers (RFC 9112 sections 6 and 7).
#pragma once

#include <string>
#include <vector>

#include "test/support/http/http_chunk_cases.h"
#include "test/support/http/http_wire_cases.h"

namespace kyro::test {

inline std::vector<WireCase> wire_length_cases() {
  const auto five = [](const std::string& field) { return wire_put(field + "\r\n", "hello"); };
  const auto bad = [](const std::string& value) {
    return wire_bad("Content-Length:" + value + "\r\n", "hello");
  };
  std::vector<WireCase> cases = {
      {"a length", five("Content-Length: 5"), "204", "hello"},
      {"no blank after the colon", five("Content-Length:5"), "204", "hello"},
      {"tabs around", five("Content-Length:\t5\t"), "204", "hello"},
      {"upper case", five("CONTENT-LENGTH: 5"), "204", "hello"},
      {"leading zeros", five("Content-Length: 0005"), "204", "hello"},
      {"forty leading zeros", five("Content-Length: " + std::string(40, '0') + "5"), "204",
       "hello"},
      {"nothing", wire_put("Content-Length: 0\r\n", ""), "204", ""},
      {"zeros", wire_put("Content-Length: 000\r\n", ""), "204", ""},
      {"line ends", wire_put("Content-Length: 5\r\n", "\r\n\r\n."), "204", "\r\n\r\n."},
      {"a body that looks like a write",
       wire_put("Content-Length: " + std::to_string(sizeof kWireHidden - 1) + "\r\n", kWireHidden),
       "204", kWireHidden},
      {"a body that looks like chunks", wire_put("Content-Length: 5\r\n", "0\r\n\r\n"), "204",
       "0\r\n\r\n"},
      {"length first of many fields", five("Content-Length: 5\r\nA: b\r\nC: d"), "204", "hello"},
      {"length last of many fields", five("A: b\r\nC: d\r\nContent-Length: 5"), "204", "hello"},
      {"a name that begins like it", five("Content-Length: 5\r\nContent-Length2: 6"), "204",
       "hello"},
      {"a name that ends like it", five("Content-Length: 5\r\nX-Content-Length: 6"), "204",
       "hello"},
      {"an underscore is another name", wire_put("Content_Length: 5\r\n", ""), "411"},
      {"no dash is another name", wire_put("ContentLength: 5\r\n", ""), "411"},
      {"no length at all", wire_put("", ""), "411"},
      {"a body with get", "GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "200"},
      {"a body with head", "HEAD /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "200h"},
      {"a body with delete",
       "DELETE /v1/kv/404 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "400"},
      {"a body with options",
       "OPTIONS /v1/kv/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "204"},
      {"a body where none is needed",
       "POST /v1/snapshot HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", "200"},
      {"a body for an unknown route",
       "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "404"},
      {"a body with a method that is not allowed",
       "PATCH /v1/kv/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "405"},
      {"a write hidden in the body of a get",
       wire_get("Content-Length: " + std::to_string(sizeof kWireHidden - 1) + "\r\n") + kWireHidden,
       "400"},
      {"a write hidden in a body for an unknown route",
       "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: " +
           std::to_string(sizeof kWireHidden - 1) + "\r\n\r\n" + kWireHidden,
       "404"},
      {"2^32 + 5", bad(" 4294967301"), "413!"},
      {"the largest length", bad(" 9223372036854775807"), "413!"},
      {"half of the body", wire_bad("Content-Length: 5\r\n", "he"), "-400!"},
      {"no byte of the body", wire_bad("Content-Length: 5\r\n", ""), "-400!"},
      {"a body one byte short", wire_bad("Content-Length: 6\r\n", "hello"), "-400!"},
  };
  for (const char* value : {" +5",
                            " -5",
                            " +0",
                            " -0",
                            " --5",
                            " 5-",
                            " 5+",
                            " 5,",
                            " ,5",
                            " 5, 5",
                            " 5,5",
                            " 5 ,5",
                            " 5;",
                            " 5;5",
                            " 5 5",
                            " 5\t5",
                            " 0 5",
                            " 0x5",
                            " 0X5",
                            " 0x0",
                            " 0b1",
                            " 0o5",
                            " 5h",
                            " 5L",
                            " 5.",
                            " 5.0",
                            " .5",
                            " 5e0",
                            " 1e1",
                            " 1_0",
                            " 1'0",
                            " (5)",
                            " [5]",
                            " \"5\"",
                            " '5'",
                            " five",
                            " NaN",
                            " true",
                            " *",
                            " %35",
                            " \xEF\xBC\x95",
                            " \xD9\xA5",
                            " \xA0"
                            "5",
                            " 5\xA0",
                            " 5\x85",
                            "",
                            " ",
                            "\t",
                            " 18446744073709551615",
                            " 18446744073709551621",
                            " 9223372036854775808",
                            " 99999999999999999999999999999999999999999999"}) {
    cases.push_back({"content-length" + std::string(value), bad(value), "400!"});
  }
  return cases;
}

inline std::vector<WireCase> wire_coding_cases() {
  const std::string chunks = "5\r\nhello\r\n0\r\n\r\n";
  const auto good = [&](const std::string& field) { return wire_put(field + "\r\n", chunks); };
  const auto bad = [&](const std::string& field) { return wire_bad(field + "\r\n", chunks); };
  std::vector<WireCase> cases = {
      {"chunked", good("Transfer-Encoding: chunked"), "204", "hello"},
      {"upper case", good("TRANSFER-ENCODING: CHUNKED"), "204", "hello"},
      {"no blank", good("Transfer-Encoding:chunked"), "204", "hello"},
      {"tabs", good("Transfer-Encoding:\tchunked\t"), "204", "hello"},
      {"with TE", good("TE: trailers\r\nTransfer-Encoding: chunked"), "204", "hello"},
      {"with Trailer", good("Trailer: X\r\nTransfer-Encoding: chunked"), "204", "hello"},
      {"content-encoding is not a transfer coding",
       wire_put("Content-Encoding: identity\r\nContent-Length: 5\r\n", "hello"), "204", "hello"},
      {"coded content", wire_bad("Content-Encoding: x\r\nContent-Length: 5\r\n", "hello"), "415"},
      {"on get", wire_get("Transfer-Encoding: chunked\r\n") + chunks, "400!"},
      {"on delete",
       "DELETE /v1/kv/404 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
       "400!"},
      {"an underscore is another name", wire_put("Transfer_Encoding: chunked\r\n", ""), "411"},
      {"no dash is another name", wire_put("TransferEncoding: chunked\r\n", ""), "411"},
      {"X- is another name", wire_put("X-Transfer-Encoding: chunked\r\n", ""), "411"},
      {"TE is another name", wire_put("TE: chunked\r\n", ""), "411"},
  };
  for (const char* value : {"gzip, chunked", "deflate, chunked", "identity, chunked", "x, chunked",
                            "chunked;q=1, chunked", "gzip, deflate, chunked", "GZIP,chunked"}) {
    cases.push_back(
        {std::string("coding ") + value, bad("Transfer-Encoding: " + std::string(value)), "501!"});
  }
  const std::string values[] = {"",
                                " ",
                                "identity",
                                "gzip",
                                "deflate",
                                "compress",
                                "x",
                                "xchunked",
                                "chunkedx",
                                "chunke",
                                "chunked,",
                                "chunked, ",
                                "chunked, identity",
                                "chunked, gzip",
                                "chunked, chunked",
                                "chunked,chunked",
                                "chunked chunked",
                                "ch unked",
                                "chunked;",
                                "chunked;a=b",
                                "chunked; a",
                                "\"chunked\"",
                                "'chunked'",
                                "(chunked)",
                                "chunked()",
                                "[chunked]",
                                "*",
                                "chunked=1",
                                "=chunked",
                                ":chunked",
                                "chunked:",
                                "chunked\xA0",
                                "\xA0"
                                "chunked",
                                "\xEF\xBB\xBF"
                                "chunked",
                                "chunke\xC3\xB0",
                                "%63hunked",
                                "chunked\\",
                                "trailers",
                                "close",
                                "0",
                                "chunked\x01",
                                "\x0B"
                                "chunked",
                                "\x0C"
                                "chunked",
                                "chunked\x0B",
                                "chunked\x7F",
                                "chunked\0"s};
  for (const std::string& value : values) {
    cases.push_back({"coding " + value, bad("Transfer-Encoding: " + value), "400!"});
  }
  return cases;
}

// The lists of the decoder's own test, sent as the bodies of writes.
inline std::vector<WireCase> wire_decoder_cases() {
  std::vector<WireCase> cases;
  for (const ChunkCase& one : chunk_cases()) {
    const std::string name = std::string("chunks: ") + one.name;
    if (one.status == 0) {
      cases.push_back({name, wire_chunks(one.bytes), "204"});
    } else if (one.status < 0) {
      cases.push_back({name, wire_bad_chunks(one.bytes), "-400!"});
    } else {
      cases.push_back({name, wire_bad_chunks(one.bytes), std::to_string(one.status) + "!"});
    }
  }
  return cases;
}

inline std::vector<WireCase> wire_chunk_cases() {
  const std::string end = "0\r\n\r\n";
  const std::string sixteen(16, '.');
  return {
      {"every digit of a size", wire_chunks("00000000000000A\r\n0123456789\r\n" + end), "204",
       "0123456789"},
      {"sixteen digits", wire_chunks("0000000000000005\r\nhello\r\n" + end), "204", "hello"},
      {"many chunks", wire_chunks("1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n" + end),
       "204", "hello"},
      {"mixed case of a size", wire_chunks("1a\r\n" + sixteen + "0123456789\r\n" + end), "204"},
      {"a last chunk of many zeros", wire_chunks("5\r\nhello\r\n0000\r\n\r\n"), "204", "hello"},
      {"a last chunk with an extension", wire_chunks("5\r\nhello\r\n0;a=\"b\"\r\n\r\n"), "204",
       "hello"},
      {"an extension of odd tokens", wire_chunks("5;!#$%&'*+-.^_`|~=~\r\nhello\r\n" + end), "204",
       "hello"},
      {"a quoted extension with a semicolon and CR in hex",
       wire_chunks("5;a=\";0d;\"\r\nhello\r\n" + end), "204", "hello"},
      {"a trailer that names a length",
       wire_chunks("5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n"), "204", "hello"},
      {"a trailer that names a coding",
       wire_chunks("5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n"), "204", "hello"},
      {"a trailer that names a host", wire_chunks("5\r\nhello\r\n0\r\nHost: b\r\nHost: c\r\n\r\n"),
       "204", "hello"},
      {"a trailer that asks for close is not asked",
       wire_chunks("5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"), "204", "hello"},
      {"a trailer with a token", wire_chunks("0\r\nAuthorization: Bearer x\r\n\r\n"), "204", ""},
      {"a size beyond the limit", wire_bad_chunks("1000001\r\n"), "413!"},
      {"a size far beyond the limit", wire_bad_chunks("7fffffffffffffff\r\n"), "413!"},
      {"a size of 2^64 - 1", wire_bad_chunks("ffffffffffffffff\r\n"), "413!"},
      {"a size of 2^64", wire_bad_chunks("10000000000000000\r\n"), "400!"},
      {"a size of 2^64 + 5", wire_bad_chunks("10000000000000005\r\nhello\r\n" + end), "400!"},
      {"a size of 2^32 + 5", wire_bad_chunks("100000005\r\nhello\r\n" + end), "413!"},
      {"a size that is a sentence", wire_bad_chunks("five\r\nhello\r\n" + end), "400!"},
      {"a size in quotes", wire_bad_chunks("\"5\"\r\nhello\r\n" + end), "400!"},
      {"a size with a dot", wire_bad_chunks("5.0\r\nhello\r\n" + end), "400!"},
      {"a size with a suffix", wire_bad_chunks("5h\r\nhello\r\n" + end), "400!"},
      {"a size with NUL", wire_bad_chunks("5\0\r\nhello\r\n"s + end), "400!"},
      {"a size with a vertical tab", wire_bad_chunks("5\x0B\r\nhello\r\n" + end), "400!"},
      {"a size in full-width digits", wire_bad_chunks("\xEF\xBC\x95\r\nhello\r\n" + end), "400!"},
      {"two sizes", wire_bad_chunks("5 5\r\nhello\r\n" + end), "400!"},
      {"a negative last chunk", wire_bad_chunks("5\r\nhello\r\n-0\r\n\r\n"), "400!"},
      {"a last chunk in hex notation", wire_bad_chunks("5\r\nhello\r\n0x0\r\n\r\n"), "400!"},
      {"an empty line before the size", wire_bad_chunks("\r\n5\r\nhello\r\n" + end), "400!"},
      {"an empty line between chunks", wire_bad_chunks("5\r\nhello\r\n\r\n" + end), "400!"},
      {"LF CR", wire_bad_chunks("5\n\rhello\r\n" + end), "400!"},
      {"LF after the last size", wire_bad_chunks("5\r\nhello\r\n0\n\r\n"), "400!"},
      {"LF after the extension", wire_bad_chunks("5;a\nhello\r\n" + end), "400!"},
      {"a write after a bare LF of an extension",
       wire_bad_chunks("5;a\n"s + kWireHidden + "\r\n" + end), "400!"},
      {"a write in a quoted extension", wire_bad_chunks("5;a=\"\r\n"s + kWireHidden), "400!"},
      {"a write after an escaped LF", wire_bad_chunks("5;a=\"\\\n"s + kWireHidden), "400!"},
      {"an extension that begins with a blank and nothing",
       wire_bad_chunks("5; \r\nhello\r\n" + end), "400!"},
      {"an extension in parentheses", wire_bad_chunks("5;(a)\r\nhello\r\n" + end), "400!"},
      {"an extension with two values", wire_bad_chunks("5;a=b=c\r\nhello\r\n" + end), "400!"},
      {"an extension with a comma", wire_bad_chunks("5;a,b\r\nhello\r\n" + end), "400!"},
      {"data after its size by two bytes", wire_bad_chunks("3\r\nhello\r\n" + end), "400!"},
      {"a write after data that is too long", wire_bad_chunks("5\r\nhello"s + kWireHidden), "400!"},
      {"a write instead of a last chunk", wire_bad_chunks("5\r\nhello\r\n"s + kWireHidden), "400!"},
      {"a trailer with a blank before its colon", wire_bad_chunks("0\r\nX : y\r\n\r\n"), "400!"},
      {"a trailer with a tab before its colon", wire_bad_chunks("0\r\nX\t: y\r\n\r\n"), "400!"},
      {"a trailer that is folded", wire_bad_chunks("0\r\nX: y\r\n z\r\n\r\n"), "400!"},
      {"a trailer with NUL in its name", wire_bad_chunks("0\r\nX\0: y\r\n\r\n"s), "400!"},
      {"a trailer that ends with LF", wire_bad_chunks("0\r\nX: y\n\n"), "400!"},
      {"a trailer that is a write", wire_bad_chunks("0\r\n"s + kWireHidden), "400!"},
      {"half a size", wire_bad_chunks("5"), "-400!"},
      {"a size without its data", wire_bad_chunks("5\r\n"), "-400!"},
      {"half of the data", wire_bad_chunks("5\r\nhel"), "-400!"},
      {"no last chunk", wire_bad_chunks("5\r\nhello\r\n"), "-400!"},
      {"half of a last chunk", wire_bad_chunks("5\r\nhello\r\n0\r\n"), "-400!"},
      {"half of a trailer", wire_bad_chunks("5\r\nhello\r\n0\r\nX: y\r\n"), "-400!"},
      {"half of an extension", wire_bad_chunks("5;a=\"b"), "-400!"},
  };
}

}  // namespace kyro::test
