// A body made in slices of bounded work: answered whole, with its length, if one slice is enough,
// streamed otherwise.
//
// So a small answer costs one write and can be framed by any client, and a large one holds no more
// memory than a slice, but for the moment it is of (held_moments.h). A slice is bounded in bytes,
// wherever in a value they end (record_encoder.h). The head goes out with the first piece: what
// goes wrong before has a proper status; later the body breaks off, which the client can tell.
//
// Before the first piece nothing would show that the client has gone: a client that ends its side
// meanwhile, as one that is killed does, is no longer worked for. One that still reads is told so.
//
// A body whose token has been withdrawn ends early, with whatever says so in its form. Of a call
// the status does, whatever ends it.
//
// Thread rule: on the exchange's reactor. Ownership: respond_sliced() takes the body.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/log/log.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/access.h"
#include "kyro/server/reply/held_moments.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/reply/shared_pieces.h"

namespace kyro {

inline constexpr std::string_view kWithdrawn = "the token is no longer valid";
inline constexpr const char* kOvertaken = "too much was written meanwhile";
inline constexpr const char* kHungUp = "the client has ended its side before there was an answer";

// What bodies that take their time have to do with.
struct StreamRules {
  HeldMoments& moments;
  SharedPieces& pieces;
  const AccessControl& access;
  std::optional<Permit> permit = {};  // where the request's fields are not at hand any more
  rpc::CallStats* calls = nullptr;
};

class SlicedBody : public BodyStream {
 public:
  // What an answer may have before it is streamed.
  static constexpr size_t kWholeBytesMax = 64 * 1024;

  // Appends at most `budget_bytes`, or less if that much work was done without; true at the end.
  [[nodiscard]] virtual Result<bool> write_slice(std::string& out, size_t budget_bytes) = 0;
  // Called before the first slice's pin ends: what comes later needs references. Returns what they
  // are held of; null if that costs nobody anything.
  virtual const View* hold() { return nullptr; }
  // Ends the body before its time, in a way that its reader understands; false if there is none
  // within `budget_bytes`.
  [[nodiscard]] virtual bool write_early_end(std::string& out, size_t budget_bytes) {
    static_cast<void>(out);
    static_cast<void>(budget_bytes);
    return false;
  }
  [[nodiscard]] bool is_revoked() const final { return held_.is_revoked() || !permit_.is_valid(); }

  Next produce(std::string& out, size_t budget_bytes) final {
    if (!first_slice_.empty()) {
      out.append(first_slice_);
      std::string().swap(first_slice_);
      return Next::kMore;
    }
    if (end_.is_call() && must_end()) return Next::kEnd;
    if (held_.is_revoked()) return Next::kAbort;
    if (!permit_.is_valid()) {
      return write_early_end(out, budget_bytes) ? Next::kEnd : Next::kAbort;
    }
    const Result<bool> ended = write_slice(out, budget_bytes);
    if (ended.ok()) return *ended ? Next::kEnd : Next::kMore;
    log_event(LogLevel::kWarn, "answer_broken_off", {{"reason", ended.status().to_string()}});
    end_.set(ended.status());
    return end_.is_call() ? Next::kEnd : Next::kAbort;
  }
  void on_end(Exchange& exchange) final { end_.add_to(exchange); }

 private:
  friend class FirstSlice;

  // A call has to end before its messages do.
  bool must_end() {
    if (held_.is_revoked()) {
      end_.set(Status(Code::kBusy, kOvertaken));
    } else if (!permit_.is_valid()) {
      end_.set(rpc::GrpcCode::kUnauthenticated, kWithdrawn);
    } else {
      return end_.is_late();
    }
    return true;
  }

  rpc::StreamEnd end_;
  std::string first_slice_;
  HeldMoments::Hold held_;
  Permit permit_;
};

// Makes the first piece of a body, in more than one slice if there is much to be looked at before
// it, and then answers.
class FirstSlice final : public WaitingTask {
 public:
  static void respond(Exchange& x, std::string_view content_type, std::unique_ptr<SlicedBody> body,
                      const StreamRules& rules) {
    SlicedBody& made = *body;
    const Result<bool> ended = made.write_slice(made.first_slice_, SlicedBody::kWholeBytesMax);
    if (!ended.ok()) return respond_status(x, ended.status());
    if (*ended) return respond_whole(x, content_type, made.first_slice_);
    made.end_ = rpc::StreamEnd(x, rules.calls);
    made.permit_ = rules.permit ? *rules.permit : rules.access.permit(x.request());
    if (const View* held = made.hold()) rules.moments.begin(*held, &made.held_);
    if (!made.first_slice_.empty()) return x.respond_stream(200, content_type, std::move(body));
    (new FirstSlice(content_type, std::move(body)))->go_on(x);
  }

  void run(Exchange* x) override {
    std::unique_ptr<FirstSlice> self(this);
    if (x == nullptr) return;
    SlicedBody& made = *body_;
    if (is_abandoned_ || made.held_.is_revoked()) {
      return respond_status(*x, Status(Code::kBusy, is_abandoned_ ? kHungUp : kOvertaken));
    }
    if (!made.permit_.is_valid()) {
      x->add_header("WWW-Authenticate", "Bearer realm=\"kyrodb\"");
      return x->respond_error(401, "unauthorized", kWithdrawn);
    }
    const Result<bool> ended = made.write_slice(made.first_slice_, SlicedBody::kWholeBytesMax);
    if (!ended.ok()) return respond_status(*x, ended.status());
    if (*ended) return respond_whole(*x, content_type_, made.first_slice_);
    if (!made.first_slice_.empty()) return x->respond_stream(200, content_type_, std::move(body_));
    self.release()->go_on(*x);
  }

  void on_abandoned() override { is_abandoned_ = true; }  // it has been posted

 private:
  FirstSlice(std::string_view content_type, std::unique_ptr<SlicedBody> body)
      : content_type_(content_type), body_(std::move(body)) {}

  void go_on(Exchange& x) {
    x.defer(this);
    post();
  }

  const std::string_view content_type_;  // a literal
  std::unique_ptr<SlicedBody> body_;
  bool is_abandoned_ = false;
};

inline void respond_sliced(Exchange& x, std::string_view content_type,
                           std::unique_ptr<SlicedBody> body, const StreamRules& rules) {
  FirstSlice::respond(x, content_type, std::move(body), rules);
}

}  // namespace kyro
