// Incremental decoder of the chunked transfer coding (RFC 9112 §7.1): bytes in, slices of data out.
//
// No I/O, no allocation, no copy: the slices point into the caller's bytes. Extensions and trailers
// are held to their grammar, bounded, and dropped. One state per byte, so the result does not
// depend on how the bytes were split.
//
// Thread rule: values, not shared. Ownership: nothing is owned.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "kyro/net/http1/chars.h"

namespace kyro {

// What a parser refused and how to say so. `message` is a literal.
struct HttpError {
  uint16_t status = 0;
  const char* message = "";
};

class ChunkedDecoder {
 public:
  enum class Outcome : uint8_t { kNeedMore, kData, kDone, kError };

  static constexpr uint32_t kExtensionBytesMax = 16 * 1024;  // over the whole body
  static constexpr uint32_t kTrailerBytesMax = 16 * 1024;
  static constexpr uint32_t kSizeDigitsMax = 16;

  // Consumes from the front of `bytes`. kData: `data` is the next slice of the body. kDone: the
  // body ended, `bytes` is what comes after it. kNeedMore: all was consumed. kError: see error();
  // final.
  [[nodiscard]] Outcome next(std::string_view& bytes, std::string_view& data) {
    while (!bytes.empty()) {
      if (state_ == State::kData) {
        const auto n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
        data = bytes.substr(0, n);
        bytes.remove_prefix(n);
        left_ -= n;
        if (left_ == 0) state_ = State::kDataCr;
        return Outcome::kData;
      }
      if (state_ == State::kFailed) return Outcome::kError;
      const char c = bytes.front();
      bytes.remove_prefix(1);
      if (!advance(c)) {
        state_ = State::kFailed;
        return Outcome::kError;
      }
      if (state_ == State::kDone) return Outcome::kDone;
    }
    return state_ == State::kFailed ? Outcome::kError : Outcome::kNeedMore;
  }

  [[nodiscard]] const HttpError& error() const { return error_; }
  // What is still to come of the chunk whose size has been read.
  [[nodiscard]] uint64_t chunk_bytes_left() const { return state_ == State::kData ? left_ : 0; }

 private:
  enum class State : uint8_t {
    kSizeFirst,
    kSize,
    kBlankBeforeSemicolon,
    kNameFirst,
    kName,
    kBlankAfterName,
    kValueFirst,
    kValue,
    kQuoted,
    kQuotedPair,
    kQuotedEnd,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailerFirst,
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kEndLf,
    kDone,
    kFailed,
  };

  bool fail(const char* message, uint16_t status = 400) {
    error_ = HttpError{status, message};
    return false;
  }
  bool go(State state) {
    state_ = state;
    return true;
  }

  bool advance(char c) {
    switch (state_) {
      case State::kSizeFirst:
      case State::kSize:
        return on_size(c);
      case State::kSizeLf:
        if (c != '\n') return fail("A chunk size line does not end with CRLF.");
        return go(left_ == 0 ? State::kTrailerFirst : State::kData);
      case State::kDataCr:
        return c == '\r' ? go(State::kDataLf) : fail("A chunk is longer than its size.");
      case State::kDataLf:
        if (c != '\n') return fail("A chunk does not end with CRLF.");
        digits_ = 0;
        left_ = 0;
        return go(State::kSizeFirst);
      case State::kTrailerFirst:
      case State::kTrailerName:
      case State::kTrailerValue:
      case State::kTrailerLf:
      case State::kEndLf:
        return on_trailer(c);
      default:
        return on_extension(c);
    }
  }

  bool on_size(char c) {
    if (http_chars::is(c, http_chars::kHex)) {
      if (++digits_ > kSizeDigitsMax) return fail("A chunk size is too long.");
      left_ = (left_ << 4) | static_cast<uint64_t>(http_chars::hex_value(c));
      return go(State::kSize);
    }
    if (state_ == State::kSizeFirst) return fail("A chunk size is missing or malformed.");
    if (c == '\r') return go(State::kSizeLf);
    if (c == ';') return go(State::kNameFirst);
    if (c == ' ' || c == '\t') return go(State::kBlankBeforeSemicolon);
    return fail("A chunk size is malformed.");
  }

  // chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
  bool on_extension(char c) {
    if (++extension_bytes_ > kExtensionBytesMax) return fail("Chunk extensions are too long.");
    const bool blank = c == ' ' || c == '\t';
    const bool token = http_chars::is(c, http_chars::kToken);
    switch (state_) {
      case State::kBlankBeforeSemicolon:
        if (blank) return true;
        if (c == ';') return go(State::kNameFirst);
        break;
      case State::kNameFirst:
        if (blank) return true;
        if (token) return go(State::kName);
        break;
      case State::kName:
        if (token) return true;
        if (blank) return go(State::kBlankAfterName);
        [[fallthrough]];
      case State::kBlankAfterName:
        if (c == '=') return go(State::kValueFirst);
        if (c == ';') return go(State::kNameFirst);
        if (c == '\r' && state_ == State::kName) return go(State::kSizeLf);
        if (blank) return true;
        break;
      case State::kValueFirst:
        if (blank) return true;
        if (token) return go(State::kValue);
        if (c == '"') return go(State::kQuoted);
        break;
      case State::kValue:
        if (token) return true;
        [[fallthrough]];
      case State::kQuotedEnd:
        if (c == ';') return go(State::kNameFirst);
        if (blank) return go(State::kBlankBeforeSemicolon);
        if (c == '\r') return go(State::kSizeLf);
        break;
      case State::kQuoted:
        if (c == '"') return go(State::kQuotedEnd);
        if (c == '\\') return go(State::kQuotedPair);
        if (http_chars::is(c, http_chars::kQuoted)) return true;
        break;
      case State::kQuotedPair:
        if (!http_chars::is(c, http_chars::kControl)) return go(State::kQuoted);
        break;
      default:
        break;
    }
    return fail("A chunk extension is malformed.");
  }

  // Trailer fields are valid field lines; nothing in them is used.
  bool on_trailer(char c) {
    if (++trailer_bytes_ > kTrailerBytesMax) return fail("The trailer section is too large.", 431);
    switch (state_) {
      case State::kTrailerFirst:
        if (c == '\r') return go(State::kEndLf);
        if (http_chars::is(c, http_chars::kToken)) return go(State::kTrailerName);
        break;
      case State::kTrailerName:
        if (http_chars::is(c, http_chars::kToken)) return true;
        if (c == ':') return go(State::kTrailerValue);
        break;
      case State::kTrailerValue:
        if (c == '\r') return go(State::kTrailerLf);
        if (!http_chars::is(c, http_chars::kControl)) return true;
        break;
      case State::kTrailerLf:
        if (c == '\n') return go(State::kTrailerFirst);
        break;
      default:
        if (c == '\n') return go(State::kDone);
        break;
    }
    return fail("A trailer field is malformed.");
  }

  State state_ = State::kSizeFirst;
  uint32_t digits_ = 0;
  uint32_t extension_bytes_ = 0;
  uint32_t trailer_bytes_ = 0;
  uint64_t left_ = 0;  // of the current chunk; its size while that is being read
  HttpError error_;
};

}  // namespace kyro
