// Whether what a server has said is what a case expects of it.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "test/support/http/http2_case.h"

namespace kyro::test::h2 {

// The PING behind every case.
inline constexpr std::string_view kLastPing = "last one";

inline bool is_last_pong(const Frame& frame) {
  return frame.type == kPing && (frame.flags & kAck) != 0 && frame.payload == kLastPing;
}

inline void check_answers(const std::vector<Frame>& frames, const Expected& expected) {
  const auto goaway =
      std::find_if(frames.begin(), frames.end(), [](const Frame& f) { return f.type == kGoaway; });
  if (expected.kind == Expected::Kind::kGoaway) {
    REQUIRE(goaway != frames.end());
    CHECK(std::count(expected.errors.begin(), expected.errors.end(), goaway->number_at(4)) == 1);
    CHECK(goaway + 1 == frames.end());
    return;
  }
  CHECK(goaway == frames.end());
  CHECK(std::count_if(frames.begin(), frames.end(), is_last_pong) == 1);
  for (const uint32_t stream : expected.streams) {
    INFO("stream " << stream);
    bool has_reset = false;
    bool has_head = false;
    bool has_end = false;
    for (const Frame& frame : frames) {
      if (frame.stream != stream) continue;
      const bool may_end = frame.type == kHeaders || frame.type == kData;
      has_head |= frame.type == kHeaders;
      has_end |= may_end && (frame.flags & kEndStream) != 0;
      if (frame.type == kRstStream) {
        has_reset = true;
        if (expected.kind == Expected::Kind::kReset) {
          CHECK(std::count(expected.errors.begin(), expected.errors.end(), frame.number_at(0)));
        }
      }
    }
    if (expected.kind == Expected::Kind::kReset) CHECK(has_reset);
    if (expected.kind == Expected::Kind::kAlive) {
      CHECK(has_head);
      CHECK(has_end);
      CHECK_FALSE(has_reset);
    }
  }
}

}  // namespace kyro::test::h2
