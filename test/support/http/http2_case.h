// What a server must say to what a client sends over HTTP/2.
//
// A case is what follows the preface and the client's SETTINGS. A PING is sent after it, so that a
// connection that lives says so. Streams are answered when their request is whole, but for those of
// /v1/subscribe, which stay open.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "test/support/http/http2_wire.h"

namespace kyro::test::h2 {

struct Expected {
  enum class Kind : uint8_t {
    kAlive,   // the PING is answered, and every stream in `streams` has a whole answer
    kReset,   // RST_STREAM with one of `errors` on streams[0], and the PING is answered
    kGoaway,  // GOAWAY with one of `errors`, and nothing after it
  };
  Kind kind = Kind::kAlive;
  std::vector<uint32_t> errors;
  std::vector<uint32_t> streams;
};

struct Case {
  std::string name;  // section: what is sent
  std::string bytes;
  Expected expected;
};

inline Expected alive(std::vector<uint32_t> streams = {}) {
  return {Expected::Kind::kAlive, {}, std::move(streams)};
}
inline Expected resets(uint32_t stream, std::vector<uint32_t> errors) {
  return {Expected::Kind::kReset, std::move(errors), {stream}};
}
inline Expected ends(std::vector<uint32_t> errors) {
  return {Expected::Kind::kGoaway, std::move(errors), {}};
}

}  // namespace kyro::test::h2
