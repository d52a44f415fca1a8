// The parts of a request line and of Host by their grammar (RFC 9110 sections 4 and 9, RFC 3986).
//
// Thread rule: pure functions.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "kyro/base/text/ascii.h"
#include "kyro/net/http/request.h"
#include "kyro/net/http1/chars.h"

namespace kyro::http_grammar {

// Every character is of the class, or part of a "%" and two hexadecimal digits.
[[nodiscard]] inline bool is_percent_encoded(std::string_view text, uint8_t bits) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while ((at = http_chars::skip_bytewise(at, end, bits)) != end) {
    if (*at != '%' || end - at < 3) return false;
    if (!http_chars::is(at[1], http_chars::kHex) || !http_chars::is(at[2], http_chars::kHex)) {
      return false;
    }
    at += 3;
  }
  return true;
}

// A host in brackets (an IPv6 address) or a reg-name with escapes: where it ends, or null if it is
// none.
[[nodiscard]] inline const char* skip_unusual_host(std::string_view text) {
  if (text.empty()) return nullptr;
  if (text[0] != '[') {
    const size_t size = std::min(text.find(':'), text.size());
    const bool is_host = size != 0 && is_percent_encoded(text.substr(0, size), http_chars::kHost);
    return is_host ? text.data() + size : nullptr;
  }
  const size_t close = text.find(']');
  char literal[INET6_ADDRSTRLEN];
  if (close == std::string_view::npos || close > sizeof literal) return nullptr;
  std::memcpy(literal, text.data() + 1, close - 1);
  literal[close - 1] = '\0';
  in6_addr address;
  return inet_pton(AF_INET6, literal, &address) == 1 ? text.data() + close + 1 : nullptr;
}

// uri-host [ ":" port ] of RFC 3986 with a host that is not empty. What lies before `readable` may
// be read.
[[nodiscard]] inline bool is_valid_host(std::string_view text, const char* readable) {
  const char* const end = text.data() + text.size();
  const char* at = http_chars::skip<http_chars::kHost>(text.data(), end, readable);
  if (at == text.data() || (at != end && *at != ':')) {
    at = skip_unusual_host(text);
    if (at == nullptr) return false;
  }
  if (at == end) return true;
  if (*at++ != ':') return false;
  uint32_t port = 0;
  for (; at != end; ++at) {
    const auto digit = static_cast<uint32_t>(*at - '0');
    if (digit > 9) return false;
    port = port * 10 + digit;
    if (port > 65535) return false;
  }
  return true;
}

[[nodiscard]] inline Method method_of(std::string_view text) {
  if (is_literal(text, "GET")) return Method::kGet;
  if (is_literal(text, "PUT")) return Method::kPut;
  if (is_literal(text, "POST")) return Method::kPost;
  if (is_literal(text, "HEAD")) return Method::kHead;
  if (is_literal(text, "DELETE")) return Method::kDelete;
  if (is_literal(text, "OPTIONS")) return Method::kOptions;
  if (is_literal(text, "PATCH")) return Method::kPatch;
  if (is_literal(text, "TRACE")) return Method::kTrace;
  if (is_literal(text, "CONNECT")) return Method::kConnect;
  return Method::kOther;
}

}  // namespace kyro::http_grammar
