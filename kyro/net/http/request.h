// One request, whatever version of HTTP it came in: what a protocol found and what a handler reads.
//
// Every string_view points into memory of the protocol (or at a literal) and is valid only during
// the call in which a handler was given the request. The fields are those of the head, in the order
// in which they came, already validated; what frames the message or belongs to the connection
// (lengths, codings, persistence) is among them where the client sent it, but is the protocol's.
//
// Thread rule: values, not shared. Ownership: owns the list of fields, not what it points to.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "kyro/base/text/ascii.h"
#include "kyro/net/io/peer.h"

namespace kyro {

enum class Method : uint8_t {
  kGet,
  kHead,
  kPost,
  kPut,
  kDelete,
  kOptions,
  kPatch,
  kTrace,
  kConnect,
  kOther,  // a valid token that is none of the above: method_text says which
};

[[nodiscard]] constexpr const char* method_name(Method method) {
  constexpr const char* kNames[] = {"GET",     "HEAD",  "POST",  "PUT",     "DELETE",
                                    "OPTIONS", "PATCH", "TRACE", "CONNECT", "other"};
  return kNames[static_cast<size_t>(method)];
}

// Bounds of a request's head.
struct HttpLimits {
  uint32_t request_line_bytes_max = 16 * 1024;
  uint32_t header_bytes_max = 64 * 1024;
  uint32_t fields_max = 512;
};

enum class HttpVersion : uint8_t { k1, k2 };

// How long the names in a list of fields are, so that most searches for one end before they begin.
class NameLengths {
 public:
  // All lengths: nobody has looked.
  constexpr NameLengths() = default;
  // Those of these names.
  template <class... Names>
  [[nodiscard]] static constexpr NameLengths of(const Names&... names) {
    NameLengths lengths;
    lengths.clear();
    (lengths.add(std::string_view(names).size()), ...);
    return lengths;
  }

  constexpr void clear() { bits_ = 0; }
  constexpr void add(size_t bytes) { bits_ |= bit_of(bytes); }
  [[nodiscard]] constexpr bool may_be(size_t bytes) const { return (bits_ & bit_of(bytes)) != 0; }
  [[nodiscard]] constexpr bool may_be_any(NameLengths of) const { return (bits_ & of.bits_) != 0; }

 private:
  static constexpr uint32_t bit_of(size_t bytes) { return 1u << (bytes < 31 ? bytes : 31); }

  uint32_t bits_ = ~uint32_t{0};
};

// One field of a head. The name is a token (RFC 9110 5.6.2), the value has no blanks around it.
struct HeaderField {
  std::string_view name;
  std::string_view value;

  // Whether the name is `lower`, which consists of a-z and "-", in any case.
  [[nodiscard]] bool is(std::string_view lower) const {
    return name.size() == lower.size() && equals_lower(name, lower);  // nearly never: no call
  }
};

struct HttpRequest {
  Method method = Method::kGet;
  HttpVersion version = HttpVersion::k1;
  bool has_query = false;           // a "?" was there, even if nothing follows it
  bool has_content_length = false;  // the client has said how long the body is
  bool has_open_length = false;     // a body follows whose length only its end will tell
  bool is_unix = false;             // came in over the Unix socket
  NameLengths name_lengths;         // of the fields; set by who fills them in
  uint64_t content_length = 0;  // announced bytes; 0 when there is no body or its length is open
  std::string_view method_text;
  std::string_view target;  // as sent
  std::string_view path;    // "/…", or "*" (OPTIONS), percent-encoding untouched
  std::string_view query;   // after "?", percent-encoding untouched
  std::string_view host;    // host and port the request is for; may be empty in HTTP/1.0
  std::string_view body;    // whole, decoded and contiguous in on_request; empty in on_headers
  std::vector<HeaderField> fields;
  PeerAddress peer;

  // A body was announced (its length may still turn out to be zero).
  [[nodiscard]] bool announces_body() const { return has_open_length || content_length > 0; }

  // Calls visit(name, value) for every field in order until it returns false.
  template <class Visit>
  void for_each_header(Visit visit) const {
    for (const HeaderField& field : fields) {
      if (!visit(field.name, field.value)) return;
    }
  }

  // The first field of that name (in lower case here, any case there), or nothing. A field may be
  // repeated: a handler for which that matters uses for_each_header.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view lower_name) const {
    if (!name_lengths.may_be(lower_name.size())) return std::nullopt;
    for (const HeaderField& field : fields) {
      if (field.is(lower_name)) return field.value;
    }
    return std::nullopt;
  }

  // Makes ready for another request; keeps the memory of the list.
  void clear() {
    std::vector<HeaderField> kept = std::move(fields);
    kept.clear();
    *this = HttpRequest{};
    fields = std::move(kept);
  }
};

}  // namespace kyro
