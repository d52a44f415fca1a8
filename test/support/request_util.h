// Requests for tests of what reads them, without a protocol.
#pragma once

#include <string_view>

#include "kyro/net/http/request.h"
#include "kyro/net/http1/field_lines.h"

namespace kyro::test {

// A request with the fields of these lines, each with its CRLF. The text outlives it.
inline HttpRequest request_with(std::string_view lines, std::string_view host = {}) {
  HttpRequest request;
  request.host = host;
  for_each_field_line(lines, [&](std::string_view name, std::string_view value) {
    request.fields.push_back({name, value});
    return true;
  });
  return request;
}

}  // namespace kyro::test
