// A body made in slices of bounded work: answered whole, with its length, if one slice is enough,
// streamed otherwise.
//
// So a small answer costs one write and can be framed by any client, and a large one holds no more
// memory than a slice, but for the moment it is of (held_moments.h). What goes wrong in the first
// slice has a proper status; later the body breaks off, which the client can tell. A slice is
// bounded in bytes, wherever in a value they end (record_encoder.h).
//
// Thread rule: on the exchange's reactor. Ownership: respond_sliced() takes the body.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/log.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/routes/held_moments.h"
#include "kyro/server/routes/reply.h"

namespace kyro {

class SlicedBody : public BodyStream {
 public:
  // What an answer may have before it is streamed.
  static constexpr size_t kWholeBytesMax = 64 * 1024;

  // Appends at most `budget_bytes`, or less if that much work was done without; true at the end.
  [[nodiscard]] virtual Result<bool> write_slice(std::string& out, size_t budget_bytes) = 0;
  // Called before the first slice's pin ends: what comes later needs references. Returns what they
  // are held of.
  virtual const View& hold() = 0;
  [[nodiscard]] bool is_revoked() const final { return held_.is_revoked(); }

  Next produce(std::string& out, size_t budget_bytes) final {
    if (!first_slice_.empty()) {
      out.append(first_slice_);
      std::string().swap(first_slice_);
      return Next::kMore;
    }
    if (is_revoked()) return Next::kAbort;
    const Result<bool> ended = write_slice(out, budget_bytes);
    if (ended.ok()) return *ended ? Next::kEnd : Next::kMore;
    log_event(LogLevel::kWarn, "answer_broken_off", {{"reason", ended.status().to_string()}});
    return Next::kAbort;
  }

 private:
  friend void respond_sliced(Exchange& x, std::string_view content_type,
                             std::unique_ptr<SlicedBody> body, HeldMoments& moments);
  std::string first_slice_;
  HeldMoments::Hold held_;
};

inline void respond_sliced(Exchange& x, std::string_view content_type,
                           std::unique_ptr<SlicedBody> body, HeldMoments& moments) {
  std::string& first = body->first_slice_;
  const Result<bool> ended = body->write_slice(first, SlicedBody::kWholeBytesMax);
  if (!ended.ok()) return respond_status(x, ended.status());
  if (*ended) return x.respond(200, content_type, first);
  moments.begin(body->hold(), &body->held_);
  x.respond_stream(200, content_type, std::move(body));
}

}  // namespace kyro
