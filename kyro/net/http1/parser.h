// The request head of HTTP/1.x (RFC 9112): bytes to HttpRequest. No I/O, no copy, and no allocation
// once the list of fields has grown.
//
// Strict where the RFC lets a server be strict: exact CRLF, no folding, no blank before a colon, no
// control characters, one Content-Length, Transfer-Encoding only "chunked" and never together with
// Content-Length or in HTTP/1.0, one valid Host, targets of RFC 3986 characters only.
//
// Incremental: parse() is called with all bytes from the beginning of the request, each time more
// of them, and goes on where it stopped. A line is judged when it is complete and a forbidden byte
// as soon as it is seen, so the outcome is the same for every split. The buffer may move between
// calls: a head that came in pieces is gone through once more when it is complete, for its views.
//
// Thread rule: values, not shared. Ownership: nothing is owned.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/text/ascii.h"
#include "kyro/net/http/request.h"
#include "kyro/net/http1/chars.h"
#include "kyro/net/http1/chunked.h"
#include "kyro/net/http1/field_memory.h"
#include "kyro/net/http1/grammar.h"

namespace kyro {

// What a head says of the connection and of the message's frame.
struct Http1Frame {
  uint32_t head_bytes = 0;       // with the last empty line
  uint8_t version_minor = 1;     // 0 for HTTP/1.0, 1 for HTTP/1.1 and every later 1.x
  bool keep_alive = true;        // what version and Connection ask for
  bool expect_continue = false;  // Expect: 100-continue, and a body to wait for
};

class HttpParser {
 public:
  enum class Outcome : uint8_t { kNeedMore, kComplete, kError };

  // Empty lines before a request line that are overlooked (RFC 9112 §2.2).
  static constexpr uint32_t kLeadingLinesMax = 4;

  // `known` may be null; it outlives the parser.
  explicit HttpParser(const HttpLimits& limits = {}, FieldMemory* known = nullptr)
      : limits_(limits), known_(known) {}

  // Makes ready for the next request.
  void reset() {
    phase_ = Phase::kRequestLine;
    leading_lines_ = fields_ = scanned_ = line_start_ = block_from_ = 0;
    seen_ = Seen{};
  }

  // `bytes` is everything since the beginning of the request; what it began with in the last call
  // it begins with now. kComplete: `request` (all but body and peer) has views into `bytes`, and
  // `frame` is filled. kError: see error(). In all other cases both hold nothing of use.
  [[nodiscard]] Outcome parse(std::string_view bytes, HttpRequest* request, Http1Frame* frame) {
    const bool goes_on = scanned_ != 0;
    request->fields.clear();
    request->name_lengths.clear();
    request_ = request;
    readable_ = bytes.data() + bytes.size();
    while (phase_ == Phase::kRequestLine) {
      const char* const line = bytes.data() + line_start_;
      const char* line_end = nullptr;
      const size_t bound = size_t{line_start_} + limits_.request_line_bytes_max;
      const Outcome outcome = find_line_end(bytes, bound, &line_end);
      if (outcome != Outcome::kComplete) return outcome;
      if (line == line_end) {
        if (++leading_lines_ > kLeadingLinesMax) return fail(400, "The request line is missing.");
        continue;
      }
      phase_ = Phase::kFields;
      block_from_ = line_start_;
      if (!on_request_line(line, line_end)) return Outcome::kError;
      if (!goes_on && take_field_memory(bytes)) return finish(frame);
    }
    const size_t bound = size_t{block_from_} + limits_.header_bytes_max;
    while (true) {
      const char* const line = bytes.data() + line_start_;
      const char* line_end = nullptr;
      const Outcome outcome = find_line_end(bytes, bound, &line_end);
      if (outcome != Outcome::kComplete) return outcome;
      if (line == line_end) break;
      if (!on_field(line, line_end)) return Outcome::kError;
    }
    if (goes_on) {
      reset();
      return parse(bytes, request, frame);
    }
    learn_fields(bytes);
    return finish(frame);
  }

  // Something other than empty lines has arrived.
  [[nodiscard]] bool begun(std::string_view bytes) const {
    return phase_ == Phase::kFields || bytes.size() > line_start_;
  }
  [[nodiscard]] const HttpError& error() const { return error_; }
  // Of a request that was not (yet) understood, too; kOther until its request line is.
  [[nodiscard]] Method method() const { return seen_.method; }

 private:
  enum class Phase : uint8_t { kRequestLine, kFields };

  // What has been seen of the head so far.
  struct Seen {
    Method method = Method::kOther;
    uint8_t version_minor = 1;
    bool authority = false;  // the target names the host
    bool host = false;
    bool length = false;
    bool coding = false;
    FieldMemory::Meaning connection;
    bool expect_continue = false;
    uint64_t content_length = 0;
  };

  Outcome fail(uint16_t status, const char* message) {
    error_ = HttpError{status, message};
    return Outcome::kError;
  }
  // Goes on to the end of the line that begins at line_start_, and makes the next one that. It must
  // end before position `bound`.
  Outcome find_line_end(std::string_view bytes, size_t bound, const char** line_end) {
    const char* const base = bytes.data();
    const char* const end = base + std::min(bytes.size(), bound);
    const char* at = base + scanned_;
    if (at < end) at = http_chars::find_control(at, end);
    scanned_ = static_cast<uint32_t>(at - base);
    if (at >= end) {
      if (bytes.size() < bound) return Outcome::kNeedMore;
      return phase_ == Phase::kFields ? fail(431, "The header section is too large.")
                                      : fail(414, "The request line is too long.");
    }
    if (*at != '\r') return fail(400, "The request head contains a control character.");
    if (scanned_ + 1 == bytes.size()) return Outcome::kNeedMore;
    if (at[1] != '\n') return fail(400, "The request head contains a bare CR.");
    line_start_ = scanned_ += 2;
    *line_end = at;
    return Outcome::kComplete;
  }

  // These return false, so that what finds a fault ends with it.
  bool refuse(uint16_t status, const char* message) {
    error_ = HttpError{status, message};
    return false;
  }
  bool bad(const char* message) { return refuse(400, message); }

  bool on_request_line(const char* line, const char* end) {
    const auto view = [](const char* from, const char* to) {
      return std::string_view(from, static_cast<size_t>(to - from));
    };
    const bool is_get = end - line >= 4 && std::memcmp(line, "GET ", 4) == 0;  // nearly always
    const char* const first =
        is_get ? line + 3 : http_chars::skip<http_chars::kToken>(line, end, readable_);
    if (first == line || first == end || *first != ' ') return bad("The method is malformed.");
    const char* const target = first + 1;
    // Nearly every target ends where its plain characters do.
    const char* second = http_chars::skip<http_chars::kPath>(target, end, readable_);
    const char* const path_end = second;
    if (second != end && *second == '?') {
      second =
          http_chars::skip_bytewise(second + 1, end, http_chars::kPath | http_chars::kQueryMark);
    }
    const bool is_plain = second != end && *second == ' ' && *target == '/';
    if (!is_plain) second = std::find(target, end, ' ');
    if (second == end) return bad("The request line has no HTTP version.");
    request_->method_text = view(line, first);
    seen_.method = http_grammar::method_of(request_->method_text);
    request_->target = view(target, second);
    request_->host = {};
    if (!on_version(view(second + 1, end))) return false;
    if (!is_plain || seen_.method == Method::kConnect) return on_target(request_->target);
    set_path(request_->target, static_cast<size_t>(path_end - target));
    return true;
  }

  bool on_version(std::string_view version) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (version.size() != 8 || std::memcmp(version.data(), "HTTP/", 5) != 0 ||
        !is_digit(version[5]) || version[6] != '.' || !is_digit(version[7])) {
      return bad("The HTTP version is malformed.");
    }
    if (version[5] != '1') return refuse(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
    seen_.version_minor = version[7] == '0' ? 0 : 1;
    return true;
  }

  // A target without scheme and authority, whose path has that size.
  void set_path(std::string_view target, size_t path_bytes) {
    request_->has_query = path_bytes < target.size();
    request_->path = {target.data(), path_bytes};
    request_->query = request_->has_query ? target.substr(path_bytes + 1) : std::string_view();
    if (path_bytes != 0) return;
    // An absolute target may end with its authority: then it asks for the root, or for all.
    const bool asks_for_all = seen_.method == Method::kOptions && !request_->has_query;
    request_->path = asks_for_all ? "*" : "/";
  }

  // origin-form, absolute-form, "*" for OPTIONS, authority-form for CONNECT (RFC 9112 3.2).
  bool on_target(std::string_view target) {
    std::string_view rest = target;
    if (seen_.method == Method::kConnect) {
      if (!http_grammar::is_valid_host(target, readable_))
        return bad("The target of CONNECT is malformed.");
      return refuse(501, "CONNECT is not supported.");
    }
    if (target == "*") {
      if (seen_.method != Method::kOptions) return bad("Only OPTIONS may ask for *.");
      set_path(target, target.size());
      return true;
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
      if (!http_grammar::is_valid_host(authority, readable_))
        return bad("The host of the target is invalid.");
      seen_.authority = true;
      request_->host = authority;
      rest.remove_prefix(authority_end);
    }
    constexpr uint8_t kPlain = http_chars::kPath | http_chars::kQueryMark;
    if (!http_grammar::is_percent_encoded(rest, kPlain)) {
      return bad("The request target contains a forbidden character.");
    }
    set_path(rest, std::min(rest.find('?'), rest.size()));
    return true;
  }

  bool on_field(const char* line, const char* end) {
    if (++fields_ > limits_.fields_max) return refuse(431, "There are too many header fields.");
    if (*line == ' ' || *line == '\t') return bad("A header line is folded.");
    const char* const colon = http_chars::skip<http_chars::kToken>(line, end, readable_);
    if (colon == line || colon == end || *colon != ':') {
      return bad("A header field name is malformed.");
    }
    const char* from = colon + 1;
    const char* to = end;
    while (from != to && (*from == ' ' || *from == '\t')) ++from;
    while (from != to && (to[-1] == ' ' || to[-1] == '\t')) --to;
    const HeaderField field{{line, static_cast<size_t>(colon - line)},
                            {from, static_cast<size_t>(to - from)}};
    request_->fields.push_back(field);
    request_->name_lengths.add(field.name.size());
    switch (field.name.size()) {
      case 4:
        return !field.is("host") || on_host(field.value);
      case 6:
        return !field.is("expect") || on_expect(field.value);
      case 10:
        return !field.is("connection") || on_connection(field.value);
      case 14:
        return !field.is("content-length") || on_length(field.value);
      case 17:
        return !field.is("transfer-encoding") || on_coding(field.value);
      default:
        return true;
    }
  }

  bool on_host(std::string_view value) {
    if (seen_.host) return bad("There is more than one Host.");
    seen_.host = true;
    if (!seen_.authority) request_->host = value;
    const bool absent = value.empty() && seen_.version_minor == 0;
    if (!absent && !http_grammar::is_valid_host(value, readable_))
      return bad("The Host is invalid.");
    return true;
  }

  bool on_expect(std::string_view value) {
    if (seen_.version_minor == 0) return true;
    if (!iequals(value, "100-continue")) {
      return refuse(417, "Only the expectation 100-continue is known.");
    }
    seen_.expect_continue = true;
    return true;
  }

  bool on_connection(std::string_view value) {
    for_each_element(value, [this](std::string_view element) {
      if (iequals(element, "close")) seen_.connection.close = true;
      if (iequals(element, "keep-alive")) seen_.connection.keep_alive = true;
    });
    return true;
  }

  bool on_length(std::string_view value) {
    if (seen_.length) return bad("There is more than one Content-Length.");
    seen_.length = true;
    if (value.empty()) return bad("The Content-Length is malformed.");
    for (const char c : value) {
      if (c < '0' || c > '9') return bad("The Content-Length is malformed.");
      const auto digit = static_cast<uint64_t>(c - '0');
      if (seen_.content_length > (UINT64_MAX / 2 - digit) / 10)
        return bad("The Content-Length is too large.");
      seen_.content_length = seen_.content_length * 10 + digit;
    }
    return true;
  }

  // Anything but "chunked" is refused: 501 where the framing would still be clear (other codings
  // and then chunked), else 400 (RFC 9112 §6.1, §6.3).
  bool on_coding(std::string_view value) {
    if (seen_.coding) return bad("There is more than one Transfer-Encoding.");
    seen_.coding = true;
    if (iequals(value, "chunked")) return true;
    uint32_t chunked = 0;
    bool last_is_chunked = false;
    for_each_element(value, [&](std::string_view element) {
      last_is_chunked = iequals(element, "chunked");
      if (last_is_chunked) ++chunked;
    });
    if (chunked != 1 || !last_is_chunked) return bad("The Transfer-Encoding is malformed.");
    return refuse(501, "The only transfer coding known is chunked.");
  }

  // After the request line: true if the known field section follows; then it has been taken.
  bool take_field_memory(std::string_view bytes) {
    if (known_ == nullptr || seen_.version_minor == 0) return false;
    const char* const at = bytes.data() + line_start_;
    const size_t size = known_->take(at, readable_, request_, &seen_.connection);
    if (size == 0) return false;
    seen_.host = true;
    line_start_ = scanned_ += static_cast<uint32_t>(size);
    return true;
  }
  void learn_fields(std::string_view bytes) {
    const bool is_plain = seen_.version_minor == 1 && seen_.host && !seen_.length &&
                          !seen_.coding && !seen_.expect_continue;
    if (known_ == nullptr || !is_plain) return;
    known_->learn({bytes.data() + block_from_, size_t{line_start_} - block_from_}, *request_,
                  seen_.connection, bytes.size() > line_start_);
  }

  Outcome finish(Http1Frame* frame) {
    if (seen_.version_minor == 1 && !seen_.host) return fail(400, "The Host is missing.");
    if (seen_.coding && seen_.version_minor == 0) {
      return fail(400, "HTTP/1.0 has no Transfer-Encoding.");
    }
    if (seen_.coding && seen_.length) {
      return fail(400, "Transfer-Encoding and Content-Length exclude each other.");
    }
    request_->method = seen_.method;
    request_->has_content_length = seen_.length;
    request_->content_length = seen_.content_length;
    request_->has_open_length = seen_.coding;
    request_->body = {};
    frame->head_bytes = line_start_;
    frame->version_minor = seen_.version_minor;
    frame->keep_alive =
        !seen_.connection.close && (seen_.version_minor == 1 || seen_.connection.keep_alive);
    frame->expect_continue = seen_.expect_continue && request_->announces_body();
    return Outcome::kComplete;
  }

  HttpLimits limits_;
  FieldMemory* known_;
  Phase phase_ = Phase::kRequestLine;
  uint32_t leading_lines_ = 0;
  uint32_t fields_ = 0;
  uint32_t scanned_ = 0;     // no control character before this position
  uint32_t line_start_ = 0;  // of the line that is not complete yet
  uint32_t block_from_ = 0;  // of the field section
  Seen seen_;
  HttpError error_;
  HttpRequest* request_ = nullptr;  // these two during parse()
  const char* readable_ = nullptr;  // the end of the bytes
};

}  // namespace kyro
