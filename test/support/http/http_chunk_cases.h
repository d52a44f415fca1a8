// Chunked bodies and what a strict decoder says to them (RFC 9112 section 7.1). The parser test
// feeds them split at every byte, the conformance test sends them to the server.
#pragma once

#include <string>
#include <vector>

namespace kyro::test {

using std::string_literals::operator""s;

struct ChunkCase {
  const char* name;
  std::string bytes;
  int status;  // 0: decoded, -1: incomplete, else the status of the refusal
  std::string data;
};

inline std::vector<ChunkCase> chunk_cases() {
  const std::string end = "0\r\n\r\n";
  return {
      {"empty", end, 0, ""},
      {"one", "5\r\nhello\r\n" + end, 0, "hello"},
      {"two", "5\r\nhello\r\n1\r\n!\r\n" + end, 0, "hello!"},
      {"hex", "a\r\n0123456789\r\nA\r\n0123456789\r\n" + end, 0, "01234567890123456789"},
      {"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", 0, "hello"},
      {"line ends in the data", "4\r\n\r\n\r\n\r\n" + end, 0, "\r\n\r\n"},
      {"extension", "5;a\r\nhello\r\n" + end, 0, "hello"},
      {"extension with value", "5;a=b\r\nhello\r\n" + end, 0, "hello"},
      {"extension quoted", "5;a=\"b;\\\"\t c\"\r\nhello\r\n" + end, 0, "hello"},
      {"extensions", "5;a=b;c;d=\"e\"\r\nhello\r\n0;last\r\n\r\n", 0, "hello"},
      {"extension with blanks", "5 ; a = b ; c\r\nhello\r\n" + end, 0, "hello"},
      {"extension quoted then more", "5;a=\"b\" ;c\r\nhello\r\n" + end, 0, "hello"},
      {"trailer", "5\r\nhello\r\n0\r\nA: b\r\n\r\n", 0, "hello"},
      {"trailers", "0\r\nA: b\r\nC:\r\nD: e f\r\n\r\n", 0, ""},
      {"trailer with obs-text", "0\r\nA: \xFF\r\n\r\n", 0, ""},
      {"forbidden trailer is dropped", "0\r\nContent-Length: 5\r\n\r\n", 0, ""},
      {"nothing", "", -1, ""},
      {"half a size", "5", -1, ""},
      {"half the data", "5\r\nhel", -1, "hel"},
      {"no last line", "5\r\nhello\r\n0\r\n", -1, "hello"},
      {"no last LF", "0\r\n\r", -1, ""},
      {"no size", "\r\nhello\r\n" + end, 400, ""},
      {"empty size with extension", ";a\r\nhello\r\n" + end, 400, ""},
      {"blank before the size", " 5\r\nhello\r\n" + end, 400, ""},
      {"blank after the size", "5 \r\nhello\r\n" + end, 400, ""},
      {"tab after the size", "5\t\r\nhello\r\n" + end, 400, ""},
      {"0x", "0x5\r\nhello\r\n" + end, 400, ""},
      {"plus", "+5\r\nhello\r\n" + end, 400, ""},
      {"minus", "-5\r\nhello\r\n" + end, 400, ""},
      {"not hex", "g\r\nhello\r\n" + end, 400, ""},
      {"underscore", "1_0\r\nhello\r\n" + end, 400, ""},
      {"comma", "5,5\r\nhello\r\n" + end, 400, ""},
      {"seventeen digits", "00000000000000005\r\nhello\r\n" + end, 400, ""},
      {"2^64", "10000000000000000\r\nhello\r\n" + end, 400, ""},
      {"LF after the size", "5\nhello\r\n" + end, 400, ""},
      {"CR after the size", "5\rhello\r\n" + end, 400, ""},
      {"CR CR LF", "5\r\r\nhello\r\n" + end, 400, ""},
      {"too much data", "5\r\nhello!\r\n" + end, 400, "hello"},
      {"too little data", "6\r\nhello\r\n" + end, 400, "hello\r"},
      {"LF after the data", "5\r\nhello\n" + end, 400, "hello"},
      {"nothing after the data", "5\r\nhello0\r\n\r\n", 400, "hello"},
      {"CR after the data", "5\r\nhello\r" + end, 400, "hello"},
      {"LF at the end", "0\r\n\n", 400, ""},
      {"LF after zero", "0\n\r\n", 400, ""},
      {"semicolon alone", "5;\r\nhello\r\n" + end, 400, ""},
      {"two semicolons", "5;;a\r\nhello\r\n" + end, 400, ""},
      {"extension without name", "5;=b\r\nhello\r\n" + end, 400, ""},
      {"extension without value", "5;a=\r\nhello\r\n" + end, 400, ""},
      {"extension with LF", "5;a\nb\r\nhello\r\n" + end, 400, ""},
      {"extension with CR", "5;a\rb\r\nhello\r\n" + end, 400, ""},
      {"extension with NUL", "5;a\0\r\nhello\r\n"s + end, 400, ""},
      {"extension blank at the end", "5;a \r\nhello\r\n" + end, 400, ""},
      {"open quote", "5;a=\"b\r\nhello\r\n" + end, 400, ""},
      {"CRLF in a quote", "5;a=\"b\r\n\"\r\nhello\r\n" + end, 400, ""},
      {"escaped CR", "5;a=\"\\\r\n\"\r\nhello\r\n" + end, 400, ""},
      {"after a quote", "5;a=\"b\"c\r\nhello\r\n" + end, 400, ""},
      {"extension of obs-text", "5;\xFF\r\nhello\r\n" + end, 400, ""},
      {"trailer without colon", "0\r\nA\r\n\r\n", 400, ""},
      {"trailer with blank name", "0\r\nA : b\r\n\r\n", 400, ""},
      {"trailer folded", "0\r\nA: b\r\n c\r\n\r\n", 400, ""},
      {"trailer with LF", "0\r\nA: b\n\r\n", 400, ""},
      {"trailer with CR", "0\r\nA: b\rc\r\n\r\n", 400, ""},
      {"trailer with NUL", "0\r\nA: \0\r\n\r\n"s, 400, ""},
      {"trailer without name", "0\r\n: b\r\n\r\n", 400, ""},
      {"endless extension", "5;" + std::string(20000, 'a'), 400, ""},
      {"endless trailer", "0\r\nA: " + std::string(20000, 'a'), 431, ""},
  };
}

}  // namespace kyro::test
