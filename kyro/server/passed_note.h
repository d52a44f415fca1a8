// What the api notes of a request that has passed its checks (known_request.h): its route, for
// those that repeat it with another key. They pass as well, as long as what did not stand in the
// bytes is the same: the tokens and the transport. Nothing is noted under a rate, which counts each
// request.
//
// Thread rule: values.
#pragma once

#include <cstdint>

#include "kyro/net/http/request.h"

namespace kyro {

class PassedNote {
 public:
  // `generation`: of the tokens, from before they were looked at.
  PassedNote(const HttpRequest& request, uint32_t generation)
      : about_(kIsSet | uint64_t{generation} << 1 | (request.is_unix ? 1 : 0)) {}
  [[nodiscard]] bool holds(uint64_t note) const { return note >> kRouteBits == about_; }
  [[nodiscard]] uint64_t for_route(uint16_t route) const { return about_ << kRouteBits | route; }
  [[nodiscard]] static uint16_t route_of(uint64_t note) { return static_cast<uint16_t>(note); }

 private:
  static constexpr int kRouteBits = 16;
  static constexpr uint64_t kIsSet = uint64_t{1} << 40;
  uint64_t about_;
};

}  // namespace kyro
