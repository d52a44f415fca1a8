// The request head of HTTP/1.x (RFC 9112): bytes to HttpRequest. No I/O, no allocation, no copy
// (but for KnownRequest, which keeps its buffers).
//
// Strict where the RFC lets a server be strict: exact CRLF, no folding, no blank before a colon, no
// control characters, one Content-Length, Transfer-Encoding only "chunked" and never together with
// Content-Length or in HTTP/1.0, one valid Host, targets of RFC 3986 characters only.
//
// Incremental: parse() is called with all bytes from the beginning of the request, each time more
// of them; it goes on where it stopped and looks at each byte about once. A line is judged when it
// is complete and a forbidden byte as soon as it is seen, so the outcome is the same for every
// split. The buffer may move between calls: the state holds positions, views are made at the end.
//
// Thread rule: values, not shared. Ownership: nothing is owned.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/net/http/request.h"
#include "kyro/net/http1/chars.h"
#include "kyro/net/http1/chunked.h"
#include "kyro/net/http1/known_request.h"

namespace kyro {

struct HttpLimits {
  uint32_t request_line_bytes_max = 16 * 1024;
  uint32_t header_bytes_max = 64 * 1024;
  uint32_t fields_max = 512;
};

namespace http_detail {

inline constexpr HttpError kOk{};

// Every character is of the class, or part of a "%" and two hexadecimal digits.
[[nodiscard]] inline bool is_percent_encoded(std::string_view text, uint8_t bits) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while ((at = http_chars::skip(at, end, bits)) != end) {
    if (*at != '%' || end - at < 3) return false;
    if (!http_chars::is(at[1], http_chars::kHex) || !http_chars::is(at[2], http_chars::kHex)) {
      return false;
    }
    at += 3;
  }
  return true;
}

// uri-host [ ":" port ] of RFC 3986 with a host that is not empty.
[[nodiscard]] inline bool is_valid_host(std::string_view host) {
  size_t host_end = 0;
  if (!host.empty() && host[0] == '[') {
    host_end = host.find(']');
    char literal[INET6_ADDRSTRLEN];
    if (host_end == std::string_view::npos || host_end > sizeof literal) return false;
    std::memcpy(literal, host.data() + 1, host_end - 1);
    literal[host_end - 1] = '\0';
    in6_addr address;
    if (inet_pton(AF_INET6, literal, &address) != 1) return false;
    ++host_end;
  } else {
    host_end = std::min(host.find(':'), host.size());
    if (host_end == 0) return false;
    if (!is_percent_encoded(host.substr(0, host_end), http_chars::kHost)) return false;
  }
  if (host_end == host.size()) return true;
  if (host[host_end] != ':') return false;
  uint32_t port = 0;
  for (const char c : host.substr(host_end + 1)) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + static_cast<uint32_t>(c - '0');
    if (port > 65535) return false;
  }
  return true;
}

[[nodiscard]] inline Method method_of(std::string_view text) {
  // Lengths that the compiler knows: no call.
  const auto is = [text]<size_t kSize>(const char(&word)[kSize]) {
    return std::memcmp(text.data(), word, kSize - 1) == 0;
  };
  switch (text.size()) {
    case 3:
      return is("GET") ? Method::kGet : is("PUT") ? Method::kPut : Method::kOther;
    case 4:
      return is("HEAD") ? Method::kHead : is("POST") ? Method::kPost : Method::kOther;
    case 5:
      return is("PATCH") ? Method::kPatch : is("TRACE") ? Method::kTrace : Method::kOther;
    case 6:
      return is("DELETE") ? Method::kDelete : Method::kOther;
    case 7:
      return is("OPTIONS") ? Method::kOptions : is("CONNECT") ? Method::kConnect : Method::kOther;
    default:
      return Method::kOther;
  }
}

}  // namespace http_detail

class HttpParser {
 public:
  enum class Outcome : uint8_t { kNeedMore, kComplete, kError };

  // Empty lines before a request line that are overlooked (RFC 9112 §2.2).
  static constexpr uint32_t kLeadingLinesMax = 4;

  HttpParser() = default;
  // `known` may be null; it outlives the parser.
  explicit HttpParser(const HttpLimits& limits, KnownRequest* known = nullptr)
      : limits_(limits), known_(known) {}

  // Makes ready for the next request.
  void reset() {
    phase_ = Phase::kRequestLine;
    leading_lines_ = fields_ = scanned_ = line_start_ = 0;
    head_ = HeadParts{};
  }

  // `bytes` is everything since the beginning of the request; what it began with in the last call
  // it begins with now. kComplete: `request` is filled with views into `bytes` (all but body and
  // peer) and head_bytes() says where the body begins. kError: see error(); `request` is untouched.
  [[nodiscard]] Outcome parse(std::string_view bytes, HttpRequest* request) {
    if (KnownRequest::Repeat repeat; scanned_ == 0 && known_ != nullptr) {
      if (known_->is_repeated(bytes, &repeat)) {
        take(repeat, bytes, request);
        return Outcome::kComplete;
      }
    }
    while (true) {
      const bool in_fields = phase_ == Phase::kFields;
      const size_t bound = in_fields ? size_t{head_.block_from} + limits_.header_bytes_max
                                     : size_t{line_start_} + limits_.request_line_bytes_max;
      const size_t end = std::min(bytes.size(), bound);
      if (scanned_ < end) {
        const char* const base = bytes.data();
        scanned_ =
            static_cast<uint32_t>(http_chars::find_control(base + scanned_, base + end) - base);
      }
      if (scanned_ >= end) {
        if (bytes.size() < bound) return Outcome::kNeedMore;
        return in_fields ? fail(431, "The header section is too large.")
                         : fail(414, "The request line is too long.");
      }
      const char* const at = bytes.data() + scanned_;
      if (*at != '\r') return fail(400, "The request head contains a control character.");
      if (scanned_ + 1 == bytes.size()) return Outcome::kNeedMore;
      if (at[1] != '\n') return fail(400, "The request head contains a bare CR.");
      const std::string_view line(bytes.data() + line_start_, scanned_ - line_start_);
      const uint32_t line_start = line_start_;
      scanned_ += 2;
      line_start_ = scanned_;
      if (line.empty() && in_fields) return finish(bytes, request);
      if (HttpError error = on_line(line, line_start); error.status != 0) {
        return fail(error.status, error.message);
      }
      if (!in_fields && phase_ == Phase::kFields && recall_fields(bytes)) {
        return complete(bytes, request);
      }
    }
  }

  // The same for a request that is known to repeat the known one.
  void take(const KnownRequest::Repeat& repeat, std::string_view bytes, HttpRequest* request) {
    head_ = known_->parts_of(repeat);
    phase_ = Phase::kFields;
    scanned_ = line_start_ = head_.bytes;
    head_.fill(bytes, request);
    request->note = known_->note();
    request->number = repeat.number;
  }

  // After kComplete: makes the views again, when `bytes` has moved or grown.
  void rebuild(std::string_view bytes, HttpRequest* request) const { head_.fill(bytes, request); }

  // The length of the head with its last empty line, once kComplete.
  [[nodiscard]] size_t head_bytes() const { return line_start_; }
  // Something other than empty lines has arrived.
  [[nodiscard]] bool begun(std::string_view bytes) const {
    return phase_ == Phase::kFields || bytes.size() > line_start_;
  }
  [[nodiscard]] const HttpError& error() const { return error_; }
  // Of a request that was not (yet) understood, too; kOther until its request line is.
  [[nodiscard]] Method method() const { return head_.method; }

 private:
  enum class Phase : uint8_t { kRequestLine, kFields };

  [[nodiscard]] static HeadPart part_of(std::string_view line, uint32_t line_start,
                                        std::string_view view) {
    return HeadPart{line_start + static_cast<uint32_t>(view.data() - line.data()),
                    static_cast<uint32_t>(view.size())};
  }

  Outcome fail(uint16_t status, const char* message) {
    error_ = HttpError{status, message};
    return Outcome::kError;
  }
  [[nodiscard]] static HttpError bad(const char* message) { return HttpError{400, message}; }

  HttpError on_line(std::string_view line, uint32_t line_start) {
    if (phase_ == Phase::kFields) return on_field(line, line_start);
    if (line.empty()) {
      if (++leading_lines_ > kLeadingLinesMax) return bad("The request line is missing.");
      return http_detail::kOk;
    }
    phase_ = Phase::kFields;
    head_.block_from = line_start_;
    return on_request_line(line, line_start);
  }

  HttpError on_request_line(std::string_view line, uint32_t line_start) {
    const char* const end = line.data() + line.size();
    const char* const first = http_chars::skip(line.data(), end, http_chars::kToken);
    if (first == line.data() || first == end || *first != ' ') {
      return bad("The method is malformed.");
    }
    const std::string_view method(line.data(), static_cast<size_t>(first - line.data()));
    head_.method = http_detail::method_of(method);
    // Nearly every target ends where its plain characters do.
    const char* second = http_chars::skip(first + 1, end, http_chars::kTarget);
    const bool is_plain = second != end && *second == ' ';
    if (!is_plain) second = std::find(first + 1, end, ' ');
    if (second == end) return bad("The request line has no HTTP version.");
    const std::string_view target(first + 1, static_cast<size_t>(second - first - 1));
    const std::string_view version(second + 1, static_cast<size_t>(end - second - 1));
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (version.size() != 8 || version.substr(0, 5) != "HTTP/" || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7])) {
      return bad("The HTTP version is malformed.");
    }
    if (version[5] != '1') return HttpError{505, "Only HTTP/1.0 and HTTP/1.1 are spoken here."};
    head_.version_minor = version[7] == '0' ? 0 : 1;
    head_.method_text = part_of(line, line_start, method);
    head_.target = part_of(line, line_start, target);
    return on_target(target, is_plain);
  }

  // origin-form, absolute-form, "*" for OPTIONS, authority-form for CONNECT (RFC 9112 §3.2).
  // is_plain: there are only characters of kTarget.
  HttpError on_target(std::string_view target, bool is_plain) {
    std::string_view rest = target;
    if (head_.method == Method::kConnect) {
      if (!http_detail::is_valid_host(target)) return bad("The target of CONNECT is malformed.");
      return HttpError{501, "CONNECT is not supported."};
    }
    if (target == "*") {
      if (head_.method != Method::kOptions) return bad("Only OPTIONS may ask for *.");
      head_.path = head_.target;
      return http_detail::kOk;
    }
    if (target.empty() || target[0] != '/') {
      const size_t scheme_end = target.find("://");
      if (scheme_end == std::string_view::npos) return bad("The request target is malformed.");
      const std::string_view scheme = target.substr(0, scheme_end);
      if (!iequals(scheme, "http") && !iequals(scheme, "https")) {
        return bad("The scheme of the request target is not http.");
      }
      rest = target.substr(scheme_end + 3);
      const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
      const std::string_view authority = rest.substr(0, authority_end);
      if (!http_detail::is_valid_host(authority)) return bad("The host of the target is invalid.");
      head_.authority = part_of(target, head_.target.from, authority);
      rest.remove_prefix(authority_end);
    }
    if (!is_plain && !http_detail::is_percent_encoded(rest, http_chars::kTarget)) {
      return bad("The request target contains a forbidden character.");
    }
    const size_t mark = rest.find('?');
    head_.has_query = mark != std::string_view::npos;
    head_.path = part_of(target, head_.target.from, rest.substr(0, mark));
    if (head_.has_query) head_.query = part_of(target, head_.target.from, rest.substr(mark + 1));
    return http_detail::kOk;
  }

  HttpError on_field(std::string_view line, uint32_t line_start) {
    if (++fields_ > limits_.fields_max) return HttpError{431, "There are too many header fields."};
    if (line[0] == ' ' || line[0] == '\t') return bad("A header line is folded.");
    const char* const end = line.data() + line.size();
    const char* const colon = http_chars::skip(line.data(), end, http_chars::kToken);
    if (colon == line.data() || colon == end || *colon != ':') {
      return bad("A header field name is malformed.");
    }
    const std::string_view name(line.data(), static_cast<size_t>(colon - line.data()));
    const std::string_view value = trim_blanks({colon + 1, static_cast<size_t>(end - colon - 1)});
    head_.name_mask |= header_name_bit(name);
    switch (name.size()) {
      case 4:
        return iequals(name, "host") ? on_host(line, line_start, value) : http_detail::kOk;
      case 6:
        return iequals(name, "expect") ? on_expect(value) : http_detail::kOk;
      case 10:
        return iequals(name, "connection") ? on_connection(value) : http_detail::kOk;
      case 14:
        return iequals(name, "content-length") ? on_length(value) : http_detail::kOk;
      case 17:
        return iequals(name, "transfer-encoding") ? on_coding(value) : http_detail::kOk;
      default:
        return http_detail::kOk;
    }
  }

  HttpError on_host(std::string_view line, uint32_t line_start, std::string_view value) {
    if (head_.has_host) return bad("There is more than one Host.");
    head_.has_host = true;
    head_.host = part_of(line, line_start, value);
    const bool absent = value.empty() && head_.version_minor == 0;
    if (!absent && !http_detail::is_valid_host(value)) return bad("The Host is invalid.");
    return http_detail::kOk;
  }

  HttpError on_expect(std::string_view value) {
    if (head_.version_minor == 0) return http_detail::kOk;
    if (!iequals(value, "100-continue")) {
      return HttpError{417, "Only the expectation 100-continue is known."};
    }
    head_.expect_continue = true;
    return http_detail::kOk;
  }

  HttpError on_connection(std::string_view value) {
    for_each_element(value, [this](std::string_view element) {
      if (iequals(element, "close")) head_.close = true;
      if (iequals(element, "keep-alive")) head_.keep_alive = true;
    });
    return http_detail::kOk;
  }

  HttpError on_length(std::string_view value) {
    if (head_.has_length) return bad("There is more than one Content-Length.");
    head_.has_length = true;
    if (value.empty()) return bad("The Content-Length is malformed.");
    for (const char c : value) {
      if (c < '0' || c > '9') return bad("The Content-Length is malformed.");
      const auto digit = static_cast<uint64_t>(c - '0');
      if (head_.length > (UINT64_MAX / 2 - digit) / 10)
        return bad("The Content-Length is too large.");
      head_.length = head_.length * 10 + digit;
    }
    return http_detail::kOk;
  }

  // Anything but "chunked" is refused: 501 where the framing would still be clear (other codings
  // and then chunked), else 400 (RFC 9112 §6.1, §6.3).
  HttpError on_coding(std::string_view value) {
    if (head_.has_coding) return bad("There is more than one Transfer-Encoding.");
    head_.has_coding = true;
    if (iequals(value, "chunked")) return http_detail::kOk;
    uint32_t chunked = 0;
    bool last_is_chunked = false;
    for_each_element(value, [&](std::string_view element) {
      last_is_chunked = iequals(element, "chunked");
      if (last_is_chunked) ++chunked;
    });
    if (chunked != 1 || !last_is_chunked) return bad("The Transfer-Encoding is malformed.");
    return HttpError{501, "The only transfer coding known is chunked."};
  }

  Outcome finish(std::string_view bytes, HttpRequest* request) {
    if (head_.version_minor == 1 && !head_.has_host) return fail(400, "The Host is missing.");
    if (head_.has_coding && head_.version_minor == 0) {
      return fail(400, "HTTP/1.0 has no Transfer-Encoding.");
    }
    if (head_.has_coding && head_.has_length) {
      return fail(400, "Transfer-Encoding and Content-Length exclude each other.");
    }
    head_.bytes = line_start_;
    return complete(bytes, request);
  }

  Outcome complete(std::string_view bytes, HttpRequest* request) {
    scanned_ = line_start_ = head_.bytes;
    head_.fill(bytes, request);
    if (known_ != nullptr && leading_lines_ == 0) {
      request->note = known_->learn(bytes, head_, limits_.request_line_bytes_max);
    }
    return Outcome::kComplete;
  }

  // Behind the request line: if the known fields follow, they are taken over.
  [[nodiscard]] bool recall_fields(std::string_view bytes) {
    if (known_ == nullptr) return false;
    const std::string_view rest(bytes.data() + head_.block_from, bytes.size() - head_.block_from);
    return known_->has_known_fields(rest, &head_);
  }

  HttpLimits limits_;
  KnownRequest* known_ = nullptr;
  Phase phase_ = Phase::kRequestLine;
  uint32_t leading_lines_ = 0;
  uint32_t fields_ = 0;
  uint32_t scanned_ = 0;     // no control character before this position
  uint32_t line_start_ = 0;  // of the line that is not complete yet
  HeadParts head_;
  HttpError error_;
};

}  // namespace kyro
