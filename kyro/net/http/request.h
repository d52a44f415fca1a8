// One HTTP/1.1 request as views: what the parser found and what a handler reads.
//
// Every string_view points into the buffer the request was parsed from (or at a literal) and is
// valid only as long as that buffer: for a handler, during the call it was given the request in.
// header_block is the field section exactly as received and already validated: lines of
// "name:OWS value OWS CRLF". Looking a field up walks it; name_mask, a one-word filter over
// (length, first letter) of all names, answers most look-ups of absent fields without the walk.
//
// Thread rule: values, not shared. Ownership: nothing is owned.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/ascii.h"
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

// The bit of name_mask that stands for a field name (not empty).
[[nodiscard]] inline uint64_t header_name_bit(std::string_view name) {
  const auto first = static_cast<uint32_t>(static_cast<unsigned char>(name[0]) | 0x20u);
  return uint64_t{1} << ((static_cast<uint32_t>(name.size()) * 11 + first) & 63u);
}

struct HttpRequest {
  Method method = Method::kGet;
  uint8_t version_minor = 1;  // 0 for HTTP/1.0, 1 for HTTP/1.1 and every later 1.x
  bool has_query = false;     // a "?" was there, even if nothing follows it
  bool chunked = false;
  bool has_content_length = false;
  bool keep_alive = true;        // what version and Connection ask for
  bool expect_continue = false;  // Expect: 100-continue on HTTP/1.1
  bool is_unix = false;          // came in over the Unix socket
  uint64_t content_length = 0;   // announced bytes; 0 when there is no body or it is chunked
  std::string_view method_text;
  std::string_view target;  // as sent
  std::string_view path;    // "/…", or "*" (OPTIONS), percent-encoding untouched
  std::string_view query;   // behind "?", percent-encoding untouched
  std::string_view host;    // the authority of an absolute target, else Host; may be empty in 1.0
  std::string_view header_block;
  std::string_view body;  // whole, decoded and contiguous in on_request; empty in on_headers
  uint64_t name_mask = 0;
  // Where a handler may note what holds for every request that repeats this one to the byte, but
  // for the number that the target ends with; null for nowhere. Where it is not 0 this request is
  // such a repetition, and has this `number` (known_request.h).
  uint64_t* note = nullptr;
  uint64_t number = 0;
  PeerAddress peer;

  // A body was announced (its length may still be zero when chunked).
  [[nodiscard]] bool announces_body() const { return chunked || content_length > 0; }

  // Calls visit(name, value) for every field line in order, the value without surrounding blanks,
  // until it returns false.
  template <class Visit>
  void for_each_header(Visit visit) const {
    const char* at = header_block.data();
    const char* const end = at + header_block.size();
    while (at < end) {
      const auto* colon =
          static_cast<const char*>(std::memchr(at, ':', static_cast<size_t>(end - at)));
      if (colon == nullptr) return;
      const auto* eol =
          static_cast<const char*>(std::memchr(colon, '\n', static_cast<size_t>(end - colon)));
      if (eol == nullptr) return;
      const char* from = colon + 1;
      const char* to = eol > from && eol[-1] == '\r' ? eol - 1 : eol;
      while (from < to && (*from == ' ' || *from == '\t')) ++from;
      while (to > from && (to[-1] == ' ' || to[-1] == '\t')) --to;
      if (!visit(std::string_view(at, static_cast<size_t>(colon - at)),
                 std::string_view(from, static_cast<size_t>(to - from)))) {
        return;
      }
      at = eol + 1;
    }
  }

  // The first field of that name (any case), or nothing. A field may be repeated: a handler for
  // which that matters uses for_each_header.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const {
    if ((name_mask & header_name_bit(name)) == 0) return std::nullopt;
    std::optional<std::string_view> found;
    for_each_header([&](std::string_view field, std::string_view value) {
      if (!iequals(field, name)) return true;
      found = value;
      return false;
    });
    return found;
  }
};

}  // namespace kyro
