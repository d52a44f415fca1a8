// The fields of a request as HTTP/2 sends them, checked (RFC 9113 sections 8.2 and 8.3).
//
// What is kept of them is one piece of text, which whoever answers the request takes a copy of: the
// values of the pseudo-header fields, then for each regular field
//
//    0  u16  length of the name
//    2  u16  length of the value
//    4  name, value
//
// With its Places, which are a few bytes, a request can be read from it at any time, so that one
// that waits for its body need not be kept in the form in which handlers see it.
//
// Thread rule: one thread. Ownership: views of the head are valid until begin(), those of a request
// as long as its text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/text/decimal.h"
#include "kyro/net/http/request.h"
#include "kyro/net/http1/chars.h"
#include "kyro/net/http1/grammar.h"
#include "kyro/net/http2/frame.h"

namespace kyro {

class Http2Head {
 public:
  // What a list of fields may take (section 10.5.1): the names, the values, and 32 for each.
  static constexpr uint32_t kListBytesMax = 32 * 1024;
  static constexpr uint32_t kFieldOverhead = 32;

  enum class Kind : uint8_t { kRequest, kTrailers };

  // Where the parts of a request lie in its text.
  struct Places {
    static constexpr uint64_t kNoLength = UINT64_MAX;
    struct Part {
      uint16_t at = 0;
      uint16_t bytes = 0;
    };
    Part method, path, host;
    uint16_t fields_at = 0;
    bool is_plain = false;  // nothing in it wants a second look; see check_plain()
    NameLengths name_lengths;
    uint64_t length = kNoLength;  // of content-length
  };

  // Makes ready for the next list.
  void begin(Kind kind) {
    text_.clear();
    facts_ = Facts{};
    facts_.kind = kind;
  }
  void add(std::string_view name, std::string_view value);
  // Everything has been added: what is malformed is a stream error PROTOCOL_ERROR (section 8.1.1).
  [[nodiscard]] Http2Refusal finish();
  // Gives the memory of a large list back; false if it was large, and then nothing is left of it.
  bool shrink() {
    if (text_.capacity() <= kKeptBytes) return true;
    std::string().swap(text_);
    return false;
  }

  // More fields than kListBytesMax; those beyond it were dropped.
  [[nodiscard]] bool is_too_large() const { return facts_.list_bytes > kListBytesMax; }
  [[nodiscard]] uint64_t list_bytes() const { return facts_.list_bytes; }

  // After finish() has been ok, of a request. Empty where there was none.
  [[nodiscard]] std::string_view method() const { return view(places_.method); }
  [[nodiscard]] std::string_view path() const { return view(places_.path); }  // with the query
  [[nodiscard]] std::string_view host() const { return view(places_.host); }
  [[nodiscard]] std::optional<uint64_t> content_length() const {
    if (places_.length == Places::kNoLength) return std::nullopt;
    return places_.length;
  }
  [[nodiscard]] const Places& places() const { return places_; }
  [[nodiscard]] std::string_view text() const { return text_; }

  // Calls visit(name, value) for each regular field.
  template <class Visit>
  void for_each_field(Visit visit) const {
    for_each_field(text_, places_, visit);
  }

  // Fills in what `request` sees of the text: method, target, path, query, host, fields, length.
  static void read(std::string_view text, const Places& places, HttpRequest* request);

 private:
  using Part = Places::Part;
  struct Facts {
    Kind kind = Kind::kRequest;
    bool has_fields = false;  // regular ones
    bool has_method = false, has_scheme = false, has_path = false, has_authority = false;
    bool has_host = false, has_expectation = false;
    bool is_finished = false;         // and good
    const char* malformed = nullptr;  // what is wrong, first
    uint64_t list_bytes = 0;
    uint32_t scheme_bytes = 0;
    Part method, path, authority, host;
    NameLengths name_lengths = NameLengths::of();
    std::optional<uint64_t> length;
  };
  static constexpr size_t kKeptBytes = 512;
  static constexpr size_t kLengthsBytes = 2 * sizeof(uint16_t);

  template <class Visit>
  static void for_each_field(std::string_view text, const Places& places, Visit visit) {
    const char* at = text.data() + places.fields_at;
    const char* const end = text.data() + text.size();
    while (at != end) {
      uint16_t lengths[2];
      std::memcpy(lengths, at, kLengthsBytes);
      at += kLengthsBytes;
      visit(std::string_view(at, lengths[0]), std::string_view(at + lengths[0], lengths[1]));
      at += size_t{lengths[0]} + lengths[1];
    }
  }
  [[nodiscard]] std::string_view view(const Part& part) const {
    return std::string_view(text_).substr(part.at, part.bytes);
  }
  // A list is below 2^16 bytes, and so is the text.
  Part append(std::string_view value) {
    const Part part{static_cast<uint16_t>(text_.size()), static_cast<uint16_t>(value.size())};
    text_.append(value);
    return part;
  }
  void refuse(const char* why) {
    if (facts_.malformed == nullptr) facts_.malformed = why;
  }
  void add_pseudo(std::string_view name, std::string_view value);
  void add_regular(std::string_view name, std::string_view value);
  void add_length(std::string_view value);
  [[nodiscard]] const char* check_connection_specific(std::string_view name,
                                                      std::string_view value) const;
  [[nodiscard]] const char* check_request() const;
  [[nodiscard]] bool check_plain() const;
  [[nodiscard]] static bool is_valid_name(std::string_view name);
  [[nodiscard]] static bool is_valid_value(std::string_view value);

  std::string text_;
  Facts facts_;
  Places places_;
};

inline void Http2Head::add(std::string_view name, std::string_view value) {
  facts_.list_bytes += name.size() + value.size() + kFieldOverhead;
  if (is_too_large()) return;
  if (!is_valid_value(value)) return refuse("8.2.1: a field value has a forbidden character");
  if (name.starts_with(':')) return add_pseudo(name, value);
  if (!is_valid_name(name)) return refuse("8.2.1: a field name has a forbidden character");
  add_regular(name, value);
}

inline void Http2Head::add_pseudo(std::string_view name, std::string_view value) {
  if (facts_.kind == Kind::kTrailers) return refuse("8.1: trailers with a pseudo-header field");
  if (facts_.has_fields) return refuse("8.3: a pseudo-header field after a regular one");
  const auto take = [&](bool* has) {
    if (std::exchange(*has, true)) refuse("8.3: a pseudo-header field stands twice");
    return append(value);
  };
  if (name == ":method") {
    facts_.method = take(&facts_.has_method);
  } else if (name == ":path") {
    facts_.path = take(&facts_.has_path);
  } else if (name == ":authority") {
    facts_.authority = take(&facts_.has_authority);
  } else if (name == ":scheme") {
    facts_.scheme_bytes = take(&facts_.has_scheme).bytes;
  } else {
    refuse("8.3: an unknown pseudo-header field");
  }
}

inline void Http2Head::add_regular(std::string_view name, std::string_view value) {
  if (const char* why = check_connection_specific(name, value)) return refuse(why);
  if (name == "content-length") add_length(value);
  if (name == "expect") facts_.has_expectation = true;
  if (!std::exchange(facts_.has_fields, true)) {
    places_.fields_at = static_cast<uint16_t>(text_.size());
  }
  facts_.name_lengths.add(name.size());
  const uint16_t lengths[] = {static_cast<uint16_t>(name.size()),
                              static_cast<uint16_t>(value.size())};
  char bytes[kLengthsBytes];
  std::memcpy(bytes, lengths, sizeof bytes);
  text_.append(bytes, sizeof bytes).append(name);
  const Part part = append(value);
  if (name != "host") return;
  if (std::exchange(facts_.has_host, true)) return refuse("8.3.1: more than one host");
  facts_.host = part;
}

// What belongs to one hop of HTTP/1.1 (section 8.2.2).
inline const char* Http2Head::check_connection_specific(std::string_view name,
                                                        std::string_view value) const {
  constexpr const char* kSpecific = "8.2.2: a connection-specific field";
  switch (name.size()) {
    case 2:
      return name == "te" && value != "trailers" ? "8.2.2: te other than trailers" : nullptr;
    case 7:
      return name == "upgrade" ? kSpecific : nullptr;
    case 10:
      return name == "connection" || name == "keep-alive" ? kSpecific : nullptr;
    case 16:
      return name == "proxy-connection" ? kSpecific : nullptr;
    case 17:
      return name == "transfer-encoding" ? kSpecific : nullptr;
    default:
      return nullptr;
  }
}

inline void Http2Head::add_length(std::string_view value) {
  const std::optional<uint64_t> length = parse_u64(value);
  if (facts_.length) return refuse("8.1.1: more than one content-length");
  if (!length || *length == Places::kNoLength) {
    return refuse("8.1.1: content-length is malformed");
  }
  facts_.length = length;
}

inline Http2Refusal Http2Head::finish() {
  if (facts_.is_finished) return {};
  const char* why = facts_.malformed;
  const bool is_whole = facts_.kind == Kind::kRequest && !is_too_large();
  if (why == nullptr && is_whole) why = check_request();
  if (why != nullptr) return end_stream(Http2Error::kProtocolError, why);
  if (!facts_.has_fields) places_.fields_at = static_cast<uint16_t>(text_.size());
  places_.method = facts_.method;
  places_.path = facts_.path;
  places_.host = facts_.has_authority ? facts_.authority : facts_.host;
  places_.length = facts_.length.value_or(Places::kNoLength);
  places_.is_plain = check_plain();
  places_.name_lengths = facts_.name_lengths;
  facts_.is_finished = true;
  return {};
}

// Section 8.3.1, and 8.5 for CONNECT.
inline const char* Http2Head::check_request() const {
  const std::string_view method = view(facts_.method);
  if (method.empty()) return "8.3.1: :method is missing";
  if (method == "CONNECT") {
    if (facts_.has_scheme || facts_.has_path) return "8.5: CONNECT has no :scheme and :path";
    return facts_.authority.bytes == 0 ? "8.5: CONNECT without :authority" : nullptr;
  }
  if (facts_.scheme_bytes == 0) return "8.3.1: :scheme is missing";
  const std::string_view path = view(facts_.path);
  if (path.empty()) return "8.3.1: :path is missing or empty";
  if (path.front() != '/' && !(path == "*" && method == "OPTIONS")) {
    return "8.3.1: :path does not begin with a slash";
  }
  const bool has_both = facts_.has_authority && facts_.has_host;
  if (has_both && view(facts_.authority) != view(facts_.host)) {
    return "8.3.1: :authority and host differ";
  }
  return nullptr;
}

// No expectation, and target and host are what they may be: nearly every request, and found out
// once for those that repeat.
inline bool Http2Head::check_plain() const {
  const std::string_view host = this->host();
  return !is_too_large() && !facts_.has_expectation && method() != "CONNECT" &&
         http_grammar::is_percent_encoded(path(), http_chars::kPath | http_chars::kQueryMark) &&
         (host.empty() || http_grammar::is_valid_host(host, host.data() + host.size()));
}

inline void Http2Head::read(std::string_view text, const Places& places, HttpRequest* request) {
  const auto view_of = [text](const Part& part) { return text.substr(part.at, part.bytes); };
  request->version = HttpVersion::k2;
  request->method_text = view_of(places.method);
  request->method = http_grammar::method_of(request->method_text);
  request->target = view_of(places.path);
  const size_t mark = request->target.find('?');
  request->has_query = mark != std::string_view::npos;
  request->path = request->target.substr(0, mark);
  request->query = request->has_query ? request->target.substr(mark + 1) : std::string_view();
  request->host = view_of(places.host);
  request->has_content_length = places.length != Places::kNoLength;
  request->content_length = request->has_content_length ? places.length : 0;
  request->name_lengths = places.name_lengths;
  request->fields.clear();
  for_each_field(text, places, [request](std::string_view name, std::string_view value) {
    request->fields.push_back({name, value});
  });
}

// A token without upper-case letters (section 8.2.1, RFC 9110 section 5.6.2).
inline bool Http2Head::is_valid_name(std::string_view name) {
  const char* const end = name.data() + name.size();
  if (name.empty() || http_chars::skip_bytewise(name.data(), end, http_chars::kToken) != end) {
    return false;
  }
  return std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// No control character but tabs, and no blank at an end (section 8.2.1, RFC 9110 section 5.5).
inline bool Http2Head::is_valid_value(std::string_view value) {
  if (value.empty()) return true;
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  if (is_blank(value.front()) || is_blank(value.back())) return false;
  const char* const end = value.data() + value.size();
  return http_chars::find_control(value.data(), end) == end;
}

}  // namespace kyro
