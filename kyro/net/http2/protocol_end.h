// Deadlines and the end of Http2Protocol.
#pragma once

#include "kyro/net/http2/protocol.h"

namespace kyro {

// A frame, a head or the handshake must not stay half done.
inline void Http2Protocol::watch_partial(bool moved) {
  const bool is_partial = !session_.is_open() || session_.in_head() || !left_.empty();
  const bool is_head = !session_.is_open() || session_.in_head();
  if (!is_partial) {
    partial_since_ms_ = 0;
  } else if (partial_since_ms_ == 0 || (moved && !is_head)) {
    partial_since_ms_ = context_.loop.now_ms();
  }
}

inline uint64_t Http2Protocol::deadline_ms() {
  uint64_t at_ms = is_quiet() ? kNever : earliest_ms_;
  if (shutdown_by_ms_ != 0) at_ms = std::min(at_ms, shutdown_by_ms_);
  if (partial_since_ms_ != 0) {
    at_ms = std::min(at_ms, partial_since_ms_ + context_.config.header_timeout_ms);
  }
  return at_ms == kNever && is_quiet() ? 0 : at_ms;
}

inline uint64_t Http2Protocol::next_deadline_ms(const Http2Exchange& x) {
  const auto* const rest = x.rest_.get();
  uint64_t next = kNever;
  for (const uint64_t at_ms : {x.body_by_ms_, x.answer_by_ms_, rest ? rest->window_by_ms : 0,
                               rest ? rest->look_at_ms : 0}) {
    if (at_ms != 0) next = std::min(next, at_ms);
  }
  return next;
}

inline void Http2Protocol::on_deadline() {
  const uint64_t now_ms = context_.loop.now_ms();
  if (partial_since_ms_ != 0 && now_ms >= partial_since_ms_ + context_.config.header_timeout_ms) {
    context_.handler.on_rejected(RejectReason::kHeaderTimeout);
    session_.fail(session_.is_open() ? Http2Error::kEnhanceYourCalm : Http2Error::kSettingsTimeout,
                  "a frame did not arrive in time", context_.out);
    return abandon();
  }
  if (shutdown_by_ms_ != 0 && now_ms >= shutdown_by_ms_) finish_shutdown();
  if (now_ms < earliest_ms_) return end_if_done();
  earliest_ms_ = kNever;
  is_short_of_room_ = false;
  const auto is_due = [now_ms](const Http2Exchange& x) {
    return next_deadline_ms(x) <= now_ms || x.withheld_bytes_ != 0;
  };
  for (Http2Exchange* x : collect(is_due)) {
    expire(*x, now_ms);
    let_go(*x);
  }
  for_each([this](const Http2Exchange& x) { note_deadline(next_deadline_ms(x)); });
  end_if_done();
}

inline void Http2Protocol::expire(Http2Exchange& x, uint64_t now_ms) {
  const auto is_due = [now_ms](uint64_t at_ms) { return at_ms != 0 && at_ms <= now_ms; };
  if (x.rest_ != nullptr && !expire_rest(x, now_ms)) {
    return give_up(x, Http2Error::kCancel, RejectReason::kWriteTimeout);
  }
  if (is_due(x.answer_by_ms_)) {
    x.answer_by_ms_ = 0;
    if (!x.responded_) {
      const RequestInHand request(x);
      context_.handler.on_deadline(x);
      if (x.stream_ == nullptr) return;
    } else {
      x.wake();
    }
  }
  if (is_due(x.body_by_ms_) && !x.responded_) {
    return refuse(x, 408, "timeout", "The body did not arrive in time.",
                  RejectReason::kBodyTimeout);
  }
  if (x.withheld_bytes_ == 0 || x.is_whole_) return;
  return_window(x, 0);
  if (x.withheld_bytes_ == 0 || !is_due(x.room_by_ms_)) return;
  if (x.responded_) {
    return give_up(x, Http2Error::kEnhanceYourCalm, RejectReason::kInflightBytes);
  }
  refuse(x, 503, "overloaded", "Too many bytes of requests are in flight.",
         RejectReason::kInflightBytes);
}

// An answer that waits; false if it must not wait any longer.
inline bool Http2Protocol::expire_rest(Http2Exchange& x, uint64_t now_ms) {
  Http2Exchange::Rest& rest = *x.rest_;
  const auto is_due = [now_ms](uint64_t at_ms) { return at_ms != 0 && at_ms <= now_ms; };
  if (is_due(rest.window_by_ms)) return false;
  if (!is_due(rest.look_at_ms)) return true;
  rest.look_at_ms = 0;
  if (rest.unsent.empty()) {
    x.wake();
    return true;
  }
  if (rest.source != nullptr && rest.source->is_revoked()) return false;
  rest.look_at_ms = now_ms + kLookMs;
  return true;
}

inline bool Http2Protocol::is_revoked() const {
  bool any = false;
  for_each(
      [&any](const Http2Exchange& x) { any |= x.source() != nullptr && x.source()->is_revoked(); });
  return any;
}

// All requests are still coming, or an answer can go on only when its window opens.
inline Protocol::Waiting Http2Protocol::waits_for_client() const {
  const bool awaits_requests = unfinished_ >= session_.streams().count() && !is_short_of_room_;
  const bool awaits_windows = waiting_for_window_ != 0 && first_turn_ == nullptr;
  return {awaits_requests || awaits_windows, unsent_bytes_, body_bytes_};
}

inline bool Http2Protocol::wake_streams() {
  bool any = false;
  for_each([&](Http2Exchange& x) {
    if (x.rest_ == nullptr || !std::exchange(x.rest_->is_parked, false)) return;
    any = true;
    x.rest_->look_at_ms = 0;
    wait_for_turn(x);
  });
  return any;
}

// ---- the end ----

inline void Http2Protocol::on_idle() {
  session_.finish_shutdown(context_.out);
  is_closing_ = true;
}

inline bool Http2Protocol::drain() {
  if (std::exchange(is_draining_, true) || is_closing_) return true;
  if (session_.is_open()) {
    session_.announce_shutdown(context_.out);
    shutdown_by_ms_ = context_.loop.now_ms() + context_.config.drain_grace_ms;
  } else {
    finish_shutdown();
  }
  bool all_end = true;
  for (Http2Exchange* x : collect([](const Http2Exchange&) { return true; })) {
    all_end &= x->source() != nullptr && drain_source(*x);
  }
  if (all_end && !is_quiet()) {
    host_.end_by(context_.loop.now_ms() + context_.config.drain_grace_ms);
  }
  end_if_done();
  return true;
}

inline void Http2Protocol::on_pong() {
  if (is_draining_) finish_shutdown();
}

inline void Http2Protocol::finish_shutdown() {
  shutdown_by_ms_ = 0;
  if (std::exchange(is_shut_down_, true)) return;
  session_.finish_shutdown(out());
}

inline void Http2Protocol::end_if_done() {
  if ((is_shut_down_ || input_ended_) && is_quiet()) is_closing_ = true;
}

// An error of the connection: nothing is answered any more.
inline void Http2Protocol::abandon() {
  is_closing_ = true;
  close();
}

// Whatever is under way is forgotten.
inline void Http2Protocol::close() {
  for (Http2Exchange* x : collect([](const Http2Exchange&) { return true; })) {
    session_.forget(*x->stream_);
    x->stream_ = nullptr;
    let_go(*x);
  }
  for (Http2Exchange* x : std::exchange(arrived_, {})) {
    x->in_arrived_ = false;
    let_go(*x);
  }
  while (first_turn_ != nullptr) {
    Http2Exchange& x = *std::exchange(first_turn_, first_turn_->next_turn_);
    x.in_turns_ = false;
    let_go(x);
  }
  std::string().swap(left_);
}

}  // namespace kyro
