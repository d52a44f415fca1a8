// The fields of a request as HTTP/2 sends them, checked (RFC 9113 sections 8.2 and 8.3).
//
// All names and values end up in one piece of text, which whoever answers the request can take: a
// request that has to wait for its body costs no further copy.
//
// Thread rule: one thread. Ownership: the text lies in the head until fill(); views of it are valid
// until begin().
#pragma once

#include <algorithm>
#include <cstdint>
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

  // Makes ready for the next list.
  void begin(Kind kind) {
    text_.clear();
    fields_.clear();
    facts_ = Facts{};
    facts_.kind = kind;
  }
  void add(std::string_view name, std::string_view value);
  // Everything has been added: what is malformed is a stream error PROTOCOL_ERROR (section 8.1.1).
  [[nodiscard]] Http2Refusal finish() const;
  // Gives the memory of a large list back.
  void shrink() {
    if (text_.capacity() > kKeptBytes) std::string().swap(text_);
    if (fields_.capacity() > kKeptFields) std::vector<Field>().swap(fields_);
  }

  // More fields than kListBytesMax; those beyond it were dropped.
  [[nodiscard]] bool is_too_large() const { return facts_.list_bytes > kListBytesMax; }
  [[nodiscard]] uint64_t list_bytes() const { return facts_.list_bytes; }

  // After finish() has been ok, of a request. Empty where there was none.
  [[nodiscard]] std::string_view method() const { return view(facts_.method); }
  [[nodiscard]] std::string_view path() const { return view(facts_.path); }  // with the query
  [[nodiscard]] std::string_view host() const {
    return view(facts_.authority.is_set ? facts_.authority : facts_.host);
  }
  [[nodiscard]] std::string_view scheme() const { return view(facts_.scheme); }
  [[nodiscard]] std::optional<uint64_t> content_length() const { return facts_.length; }

  // Calls visit(name, value) for each regular field.
  template <class Visit>
  void for_each_field(Visit visit) const {
    for (const Field& field : fields_) visit(view(field.name), view(field.value));
  }

  // Moves the text to *text, then fills in what `request` sees of it: method, target, path, query,
  // host, fields, length. The head is of no use until begin().
  void fill(HttpRequest* request, std::string* text);

 private:
  struct Part {
    uint32_t at = 0;
    uint32_t bytes = 0;
    bool is_set = false;
  };
  struct Field {
    Part name;
    Part value;
  };
  struct Facts {
    Kind kind = Kind::kRequest;
    bool has_fields = false;          // regular ones
    const char* malformed = nullptr;  // what is wrong, first
    uint64_t list_bytes = 0;
    Part method, scheme, path, authority, host;
    std::optional<uint64_t> length;
  };
  static constexpr size_t kKeptBytes = 512;
  static constexpr size_t kKeptFields = 16;

  [[nodiscard]] std::string_view view(const Part& part) const {
    return std::string_view(text_).substr(part.at, part.bytes);
  }
  Part append(std::string_view value) {
    const Part part{static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(value.size()), true};
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
  [[nodiscard]] static bool is_valid_name(std::string_view name);
  [[nodiscard]] static bool is_valid_value(std::string_view value);

  std::string text_;
  std::vector<Field> fields_;
  Facts facts_;
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
  Part* const part = name == ":method"      ? &facts_.method
                     : name == ":scheme"    ? &facts_.scheme
                     : name == ":path"      ? &facts_.path
                     : name == ":authority" ? &facts_.authority
                                            : nullptr;
  if (part == nullptr) return refuse("8.3: an unknown pseudo-header field");
  if (part->is_set) return refuse("8.3: a pseudo-header field stands twice");
  *part = append(value);
}

inline void Http2Head::add_regular(std::string_view name, std::string_view value) {
  if (const char* why = check_connection_specific(name, value)) return refuse(why);
  if (name == "content-length") add_length(value);
  facts_.has_fields = true;
  const Part name_part = append(name);
  const Part part = append(value);
  fields_.push_back({name_part, part});
  if (name != "host") return;
  if (facts_.host.is_set) return refuse("8.3.1: more than one host");
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
  if (!length) return refuse("8.1.1: content-length is malformed");
  facts_.length = length;
}

inline Http2Refusal Http2Head::finish() const {
  const char* why = facts_.malformed;
  const bool is_whole = facts_.kind == Kind::kRequest && !is_too_large();
  if (why == nullptr && is_whole) why = check_request();
  if (why == nullptr) return {};
  return end_stream(Http2Error::kProtocolError, why);
}

// Section 8.3.1, and 8.5 for CONNECT.
inline const char* Http2Head::check_request() const {
  const auto is_missing = [](const Part& part) { return part.bytes == 0; };
  if (is_missing(facts_.method)) return "8.3.1: :method is missing";
  if (method() == "CONNECT") {
    if (facts_.scheme.is_set || facts_.path.is_set) return "8.5: CONNECT has no :scheme and :path";
    return is_missing(facts_.authority) ? "8.5: CONNECT without :authority" : nullptr;
  }
  if (is_missing(facts_.scheme)) return "8.3.1: :scheme is missing";
  if (is_missing(facts_.path)) return "8.3.1: :path is missing or empty";
  if (path().front() != '/' && !(path() == "*" && method() == "OPTIONS")) {
    return "8.3.1: :path does not begin with a slash";
  }
  const bool has_both = facts_.authority.is_set && facts_.host.is_set;
  if (has_both && view(facts_.authority) != view(facts_.host)) {
    return "8.3.1: :authority and host differ";
  }
  return nullptr;
}

inline void Http2Head::fill(HttpRequest* request, std::string* text) {
  text_.swap(*text);
  const std::string_view all = *text;
  const auto view_of = [all](const Part& part) { return all.substr(part.at, part.bytes); };
  request->version = HttpVersion::k2;
  request->method_text = view_of(facts_.method);
  request->method = http_grammar::method_of(request->method_text);
  request->target = view_of(facts_.path);
  const size_t mark = request->target.find('?');
  request->has_query = mark != std::string_view::npos;
  request->path = request->target.substr(0, mark);
  if (request->has_query) request->query = request->target.substr(mark + 1);
  request->host = view_of(facts_.authority.is_set ? facts_.authority : facts_.host);
  request->has_content_length = facts_.length.has_value();
  request->content_length = facts_.length.value_or(0);
  for (const Field& field : fields_) {
    request->fields.push_back({view_of(field.name), view_of(field.value)});
  }
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
