// HTTP/1.0 and 1.1 on one connection: requests are read, handled and answered in their order.
//
// Requests are not read while the socket does not take our answers, while a stream is being sent,
// or while too many requests are deferred: what the client has sent stays in the kernel, and its
// window closes.
//
// Thread rule: the reactor's thread. Ownership: owns its line and its reader.
#pragma once

#include <utility>

#include "kyro/net/http/protocol.h"
#include "kyro/net/http1/request_reader.h"

namespace kyro {

class Http1Protocol final : public Protocol {
 public:
  Http1Protocol(Http1Workspace& workspace, ProtocolHost& host)
      : context_(workspace.context),
        host_(host),
        line_(workspace, host),
        reader_(workspace, line_, host) {}

  inline bool work() override;
  [[nodiscard]] bool takes_input() const override { return reader_.may_dispatch(); }
  [[nodiscard]] inline bool has_room() override;
  void receive(std::string_view bytes) override {
    starves_since_ms_ = 0;
    reader_.receive(bytes);
  }
  inline void on_end_of_input() override;
  void on_client_ended() override { line_.abandon_waiting(); }
  [[nodiscard]] bool has_work() const override {
    return may_resume() || (line_.stream() != nullptr && !parked_ && !line_.blocked());
  }

  [[nodiscard]] inline uint64_t deadline_ms() override;
  inline void on_deadline() override;
  void on_idle() override { broken_ = true; }
  [[nodiscard]] bool is_revoked() const override {
    return line_.stream() != nullptr && line_.stream()->is_revoked();
  }

  [[nodiscard]] Waiting waits_for_client() const override {
    return {is_quiet() && reader_.in_request(), 0, reader_.charged_bytes()};
  }

  [[nodiscard]] bool drain() override {
    if (line_.stream() == nullptr) return true;
    drain_stream();
    return false;
  }
  [[nodiscard]] bool wake_streams() override { return std::exchange(parked_, false); }
  [[nodiscard]] bool is_between_requests() const override { return !reader_.in_request(); }
  [[nodiscard]] bool is_quiet() const override {
    return !line_.pending() && line_.stream() == nullptr;
  }
  [[nodiscard]] bool is_closing() const override { return line_.closing(); }
  [[nodiscard]] bool lingers() const override { return line_.lingers(); }
  [[nodiscard]] bool is_broken() const override { return broken_; }
  void close() override {
    line_.abandon();
    reader_.close();
    leave_streaming();
  }

 private:
  inline void pump_stream();
  inline bool drain_stream();
  [[nodiscard]] bool may_resume() const { return reader_.stalled() && reader_.may_dispatch(); }
  void leave_streaming() {
    parked_ = false;
    if (std::exchange(is_streaming_, false)) host_.leave_streaming();
  }

  ReactorContext& context_;
  ProtocolHost& host_;
  AnswerLine line_;
  RequestReader reader_;
  uint64_t starves_since_ms_ = 0;  // reading waits for in-flight bytes
  bool parked_ = false;            // the stream waits
  bool is_streaming_ = false;      // wake_streams() is wanted
  bool broken_ = false;
};

inline bool Http1Protocol::work() {
  line_.promote();
  if (line_.stream() != nullptr) pump_stream();
  if (broken_) return true;
  line_.promote();
  if (!may_resume()) return false;
  reader_.resume();
  return true;
}

inline bool Http1Protocol::has_room() {
  if (!reader_.in_body() || reader_.may_keep_body()) return true;
  if (starves_since_ms_ == 0) starves_since_ms_ = context_.loop.now_ms();
  return false;
}

// What was complete is answered, what was not is refused.
inline void Http1Protocol::on_end_of_input() {
  if (reader_.stalled() || line_.closing()) return;
  if (reader_.in_request() && !reader_.skips()) {
    reader_.reject(400, "bad_request", "The request ended too early.", RejectReason::kBadRequest);
  }
  line_.stop_requests();
}

inline void Http1Protocol::pump_stream() {
  if (parked_ || line_.blocked()) return;
  if (!is_streaming_) {
    is_streaming_ = true;
    host_.join_streaming();
    if (context_.draining && drain_stream()) return;
  }
  host_.outgoing.is_paced = true;
  switch (line_.pump()) {
    case BodyStream::Next::kMore:
      break;
    case BodyStream::Next::kWait:
      parked_ = true;
      break;
    case BodyStream::Next::kEnd:
      leave_streaming();
      break;
    case BodyStream::Next::kAbort:
      broken_ = true;
      break;
  }
}

// Ends the stream if it is endless; true if it was. Time is short for one that has begun; before
// that, what is left to send is of the answers before it.
inline bool Http1Protocol::drain_stream() {
  if (!line_.drain_stream()) return false;
  if (is_streaming_) host_.end_by(context_.loop.now_ms() + context_.config.drain_grace_ms);
  leave_streaming();
  return true;
}

inline uint64_t Http1Protocol::deadline_ms() {
  if (const BodyStream* stream = line_.stream()) {
    return parked_ ? context_.loop.now_ms() + stream->heartbeat_ms() : kNever;
  }
  if (starves_since_ms_ != 0) return starves_since_ms_ + context_.config.inflight_wait_ms;
  if (const uint64_t at_ms = reader_.deadline_ms(); at_ms != 0) return at_ms;
  return line_.pending() ? kNever : 0;
}

inline void Http1Protocol::on_deadline() {
  if (line_.stream() != nullptr) {
    parked_ = false;
    return;
  }
  if (std::exchange(starves_since_ms_, 0u) != 0) {
    return reader_.reject(503, "overloaded", "Too many bytes of requests are in flight.",
                          RejectReason::kInflightBytes);
  }
  if (reader_.skips()) {
    broken_ = true;
  } else if (reader_.in_body()) {
    reader_.reject(408, "timeout", "The body did not arrive in time.", RejectReason::kBodyTimeout);
  } else {
    reader_.reject(408, "timeout", "The request head did not arrive in time.",
                   RejectReason::kHeaderTimeout);
  }
}

}  // namespace kyro
