// Fuzz target: the request parser, the chunked decoder, and a whole connection over a socket pair.
// However the bytes are split, the outcome and the answers must be the same.
//
// The first two bytes of the input choose the splits, the rest is what a client sends.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/net/http1/parser.h"
#include "test/support/connection_harness.h"

namespace {

using kyro::ChunkedDecoder;
using kyro::HttpParser;
using kyro::HttpRequest;
using kyro::test::serve_pieces;

void require(bool condition) {
  if (!condition) std::abort();
}

// Where to cut: one to sixteen pieces.
std::vector<size_t> make_cuts(uint32_t seed, size_t size) {
  std::vector<size_t> cuts;
  for (uint32_t left = seed % 16; left > 0 && size > 0; --left) {
    seed = seed * 1664525u + 1013904223u;
    cuts.push_back((seed >> 8) % size);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(size);
  return cuts;
}

std::string parse(std::string_view bytes, const std::vector<size_t>& cuts,
                  kyro::FieldMemory* known = nullptr) {
  HttpParser parser(kyro::HttpLimits{}, known);
  HttpRequest request;
  kyro::Http1Frame frame;
  for (const size_t cut : cuts) {
    // A copy that ends where the bytes end, so that a sanitizer sees a read after them.
    const std::vector<char> exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    const std::string_view prefix(exact.data(), exact.size());
    switch (parser.parse(prefix, &request, &frame)) {
      case HttpParser::Outcome::kNeedMore:
        break;
      case HttpParser::Outcome::kError:
        return std::to_string(parser.error().status) + parser.error().message;
      case HttpParser::Outcome::kComplete:
        return std::string(request.path) + "|" + std::string(request.query) + "|" +
               std::string(request.host) + "|" + std::to_string(request.content_length) +
               (request.has_open_length ? "c" : "l") + (frame.keep_alive ? "k" : "c") +
               std::to_string(request.fields.size()) + std::to_string(frame.head_bytes);
    }
  }
  return "incomplete";
}

std::string decode(std::string_view bytes, const std::vector<size_t>& cuts) {
  ChunkedDecoder decoder;
  std::string out;
  size_t from = 0;
  for (const size_t cut : cuts) {
    const std::vector<char> exact(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    from = cut;
    std::string_view piece(exact.data(), exact.size());
    std::string_view data;
    ChunkedDecoder::Outcome outcome;
    while ((outcome = decoder.next(piece, data)) == ChunkedDecoder::Outcome::kData) {
      out.append(data);
    }
    if (outcome == ChunkedDecoder::Outcome::kDone) return out + "|done";
    if (outcome == ChunkedDecoder::Outcome::kError) return out + "|" + decoder.error().message;
  }
  return out + "|incomplete";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint32_t seed = data[0] * 256u + data[1];
  const std::string bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::vector<size_t> cuts = make_cuts(seed, bytes.size());
  const std::vector<size_t> whole = {bytes.size()};
  const std::string seen = parse(bytes, whole);
  require(parse(bytes, cuts) == seen);
  static kyro::FieldMemory known;  // of whatever came before, then of these bytes
  require(parse(bytes, whole, &known) == seen);
  require(parse(bytes, cuts, &known) == seen);
  require(decode(bytes, cuts) == decode(bytes, whole));
  if (bytes.size() > 16384) return 0;  // more than one send may not fit
  const std::string answers = serve_pieces(bytes, cuts);
  // Whether the body is awaited, and so 100-continue sent, depends on what has arrived.
  std::string lower = bytes;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (lower.find("expect") == std::string::npos) require(answers == serve_pieces(bytes, whole));
  return 0;
}
