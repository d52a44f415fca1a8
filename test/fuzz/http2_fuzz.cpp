// Fuzz target: a whole HTTP/2 session. However the bytes are split, it must see and say the same,
// and what it says must be whole frames.
//
// The first two bytes of the input choose the splits; if the first is odd, the preface and SETTINGS
// stand before the rest.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/net/http2/session.h"
#include "test/support/http/http2_wire.h"

namespace {

using namespace kyro;

void require(bool condition) {
  if (!condition) std::abort();
}

// Answers what is whole; of every third stream the body is given late, in pieces.
class Answering final : public Http2Events {
 public:
  void on_head(Http2Stream& stream, const Http2Head& head, bool ends) override {
    seen.append(head.method()).append(head.path()).append(head.host());
    head.for_each_field(
        [this](std::string_view name, std::string_view value) { seen.append(name).append(value); });
    if (head.is_too_large()) return answer(stream, 431);
    if (ends) answer(stream, 200);
  }
  void on_body(Http2Stream& stream, std::string_view piece, bool ends) override {
    seen.append(piece);
    session->return_window(stream, static_cast<uint32_t>(piece.size()), out);
    if (ends) answer(stream, 200);
  }
  void on_reset(Http2Stream& stream) override {
    std::erase(late, stream.id);
    seen += "reset";
  }
  void on_pong() override {}
  void on_refusal(const Http2Refusal&) override {}
  void on_window() override {
    for (const uint32_t id : std::vector<uint32_t>(late)) {
      Http2Stream* const stream = session->streams().find(id);
      require(stream != nullptr);
      const size_t n = std::min<size_t>(session->sendable(*stream), 100);
      if (n > 0) {
        std::erase(late, id);
        session->send_data(*stream, std::string(n, 'b'), true, out);
      }
    }
  }
  void answer(Http2Stream& stream, int status) {
    const bool is_late = stream.id % 3 == 0;
    session->send_fields(
        stream, !is_late, out, [status](HpackEncoder& encoder, std::string& block) {
          encoder.append(block, ":status", std::to_string(status), HpackEncoder::Repeats::kYes);
          encoder.append(block, "x", "y", HpackEncoder::Repeats::kYes);
        });
    if (is_late) late.push_back(stream.id);
  }

  Http2Session* session = nullptr;
  std::string seen;
  std::string out;
  std::vector<uint32_t> late;
};

std::string run(std::string_view bytes, const std::vector<size_t>& cuts) {
  Answering events;
  Http2StreamPool pool;
  Http2Session session(events, pool);
  events.session = &session;
  std::string left;
  size_t from = 0;
  for (const size_t cut : cuts) {
    left.append(bytes.substr(from, cut - from));
    from = cut;
    const std::vector<char> exact(left.begin(), left.end());
    left.erase(0, session.receive({exact.data(), exact.size()}, 1'000'000, events.out));
  }
  size_t whole = 0;
  for (const auto& frame : test::h2::frames_of(events.out)) whole += 9 + frame.payload.size();
  require(whole == events.out.size());
  return events.seen + "|" + events.out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 1u << 20) return 0;
  std::string bytes;
  if (data[0] % 2 == 1) bytes = std::string(test::h2::kPreface) + test::h2::settings();
  bytes.append(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (bytes.empty()) return 0;
  std::vector<size_t> cuts;
  uint32_t seed = data[0] * 256u + data[1];
  for (uint32_t left = seed % 16; left > 0; --left) {
    seed = seed * 1664525u + 1013904223u;
    cuts.push_back((seed >> 8) % bytes.size());
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(bytes.size());
  require(run(bytes, cuts) == run(bytes, {bytes.size()}));
  return 0;
}
