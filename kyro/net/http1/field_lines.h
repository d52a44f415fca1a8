// A section of field lines, as it stands in a head (RFC 9112 section 5).
//
// Thread rule: pure functions over views.
#pragma once

#include <string_view>

#include "kyro/base/text/ascii.h"

namespace kyro {

// Calls visit(name, value) for every line "name:OWS value OWS CRLF" of `block` in order, until it
// returns false or something else comes.
template <class Visit>
void for_each_field_line(std::string_view block, Visit visit) {
  while (!block.empty()) {
    const size_t colon = block.find(':');
    if (colon == block.npos) return;
    const size_t eol = block.find("\r\n", colon);
    if (eol == block.npos) return;
    const std::string_view value = trim_blanks(block.substr(colon + 1, eol - colon - 1));
    if (!visit(block.substr(0, colon), value)) return;
    block.remove_prefix(eol + 2);
  }
}

}  // namespace kyro
