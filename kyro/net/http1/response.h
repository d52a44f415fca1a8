// The head of an answer as bytes, with what is the same for many answers formatted once a second.
//
// Every head carries the reactor's Date. The prefix of the last shape (status, Content-Type) is
// kept ready made, since a busy server repeats one shape, and so is the whole head of the last
// length; they are rebuilt when the second, the shape or the length changes.
//
// Thread rule: one ResponseHeads per reactor. Ownership: owns its two small strings.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace kyro {

[[nodiscard]] constexpr std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "Unknown";
  }
}

struct ResponseHead {
  enum class Framing : uint8_t { kNone, kLength, kChunked, kUntilClose };
  enum class Persistence : uint8_t { kImplied, kClose, kKeepAlive };
  int status = 200;
  Framing framing = Framing::kLength;
  Persistence persistence = Persistence::kImplied;
  uint64_t length = 0;
  std::string_view content_type;  // empty: no field
  std::string_view fields;        // further field lines, each with CRLF
};

class ResponseHeads {
 public:
  // The Date has changed (see HttpDate).
  void set_date(std::string_view date) {
    date_.assign("\r\nDate: ").append(date).append("\r\n");
    prefix_status_ = 0;
  }

  // Appends status line, fields and the empty line.
  void append(std::string& out, const ResponseHead& head) {
    if (head.status != prefix_status_ || head.content_type != prefix_type_) make_prefix(head);
    if (head.framing == ResponseHead::Framing::kLength && head.fields.empty() &&
        head.persistence == ResponseHead::Persistence::kImplied) {
      if (head.length != plain_length_) make_plain(head.length);
      out.append(plain_);
      return;
    }
    out.append(prefix_);
    if (!head.fields.empty()) out.append(head.fields);
    if (head.persistence == ResponseHead::Persistence::kClose) {
      out.append("Connection: close\r\n");
    } else if (head.persistence == ResponseHead::Persistence::kKeepAlive) {
      out.append("Connection: keep-alive\r\n");
    }
    if (head.framing == ResponseHead::Framing::kLength) return append_length(out, head.length);
    if (head.framing != ResponseHead::Framing::kNone) {
      // A stream: proxies shall pass it on as it comes, and keep nothing of it.
      out.append("X-Accel-Buffering: no\r\nCache-Control: no-store\r\n");
    }
    if (head.framing == ResponseHead::Framing::kChunked) {
      out.append("Transfer-Encoding: chunked\r\n");
    }
    out.append("\r\n");
  }

 private:
  static constexpr uint64_t kNoLength = UINT64_MAX;

  // The last field of a head, and its end.
  static void append_length(std::string& out, uint64_t length) {
    char line[48] = "Content-Length: ";
    char* end = std::to_chars(line + 16, line + 40, length).ptr;
    for (const char c : {'\r', '\n', '\r', '\n'}) *end++ = c;
    out.append(line, static_cast<size_t>(end - line));
  }

  void make_plain(uint64_t length) {
    plain_length_ = length;
    plain_.assign(prefix_);
    append_length(plain_, length);
  }

  void make_prefix(const ResponseHead& head) {
    plain_length_ = kNoLength;
    prefix_status_ = head.status;
    prefix_type_.assign(head.content_type);
    prefix_.assign("HTTP/1.1 ").append(std::to_string(head.status)).append(" ");
    prefix_.append(reason_phrase(head.status)).append(date_);
    if (head.status == 503) prefix_.append("Retry-After: 1\r\n");
    if (!head.content_type.empty()) {
      prefix_.append("Content-Type: ").append(head.content_type).append("\r\n");
      prefix_.append("X-Content-Type-Options: nosniff\r\n");  // no browser may take it for another
    }
  }

  std::string date_ = "\r\n";
  std::string prefix_;
  std::string prefix_type_;
  std::string plain_;  // a whole head without further fields
  uint64_t plain_length_ = kNoLength;
  int prefix_status_ = 0;
};

}  // namespace kyro
