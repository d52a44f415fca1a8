// The requests of Http2Protocol: from the events of its session to calls of the handler.
#pragma once

#include "kyro/net/http2/protocol.h"

namespace kyro {

inline void Http2Protocol::on_head(Http2Stream& stream, const Http2Head& head, bool ends) {
  Http2Exchange& x = *workspace_.acquire();
  stream.user = &x;
  x.protocol_ = this;
  x.stream_ = &stream;
  x.is_too_large_ = head.is_too_large();
  x.is_whole_ = x.ended_with_head_ = ends;
  if (!ends) x.is_unfinished_ = (++unfinished_, true);
  x.start_ns_ = context_.loop.now_ns();
  x.max_body_bytes_ = context_.config.body_bytes_max;
  x.head_text_.assign(head.text());
  x.places_ = head.places();
  x.read_request();
  x.method_ = x.request_->method;
  x.in_arrived_ = true;
  arrived_.push_back(&x);
}

inline void Http2Protocol::on_body(Http2Stream& stream, std::string_view piece, bool ends) {
  Http2Exchange& x = *static_cast<Http2Exchange*>(stream.user);
  x.is_whole_ = ends;
  if (ends) note_whole(x);
  if (x.reader_ != nullptr) {
    charge(x, x.charged_bytes_ + piece.size());
    x.reader_->on_piece(x, piece, ends);
    return let_go(x);
  }
  if (x.responded_) return return_window(x, static_cast<uint32_t>(piece.size()));
  keep_body(x, piece);
  if (!x.is_told_) return;  // it will be, with what is there by then
  if (x.body_.size() > x.max_body_bytes_) {
    refuse_too_large(x);
    return let_go(x);
  }
  return_window(x, static_cast<uint32_t>(piece.size()));
  if (!ends) return;
  x.start_ns_ = context_.loop.now_ns();
  x.in_arrived_ = true;
  arrived_.push_back(&x);
}

inline void Http2Protocol::note_whole(Http2Exchange& x) {
  x.body_by_ms_ = x.room_by_ms_ = 0;
  if (std::exchange(x.is_unfinished_, false)) --unfinished_;
}

inline void Http2Protocol::on_reset(Http2Stream& stream) {
  Http2Exchange& x = *static_cast<Http2Exchange*>(stream.user);
  x.stream_ = nullptr;
  let_go(x);
}

inline void Http2Protocol::on_refusal(const Http2Refusal& refusal) {
  context_.handler.on_rejected(refusal.error == Http2Error::kEnhanceYourCalm ? RejectReason::kFlood
                               : refusal.error == Http2Error::kRefusedStream
                                   ? RejectReason::kStreams
                                   : RejectReason::kProtocolError);
}

// Tells of the requests that have come together.
inline void Http2Protocol::answer_arrived() {
  for (size_t from = 0; from < arrived_.size(); from += kTogetherMax) {
    const std::span<Http2Exchange* const> together =
        std::span(arrived_).subspan(from, std::min(kTogetherMax, arrived_.size() - from));
    if (together.size() > 1) announce(together);
    for (Http2Exchange* x : together) {
      x->in_arrived_ = false;
      if (x->stream_ != nullptr) tell(*x);
      x->put_request_back();
      let_go(*x);
    }
  }
  arrived_.clear();
}

inline void Http2Protocol::announce(std::span<Http2Exchange* const> arrived) {
  std::array<Exchange*, kTogetherMax> whole;
  size_t count = 0;
  for (Http2Exchange* x : arrived) {
    if (x->stream_ == nullptr || !x->is_whole_ || x->is_told_ || x->is_too_large_) continue;
    x->own_request_->body = x->body_;
    whole[count++] = x;
  }
  if (count > 1) context_.handler.on_ahead({whole.data(), count});
}

inline void Http2Protocol::tell(Http2Exchange& x) {
  if (!x.has_request()) x.read_request();
  if (!x.is_told_ && !take_head(x)) return;
  if (x.reader_ == nullptr && x.is_whole_) dispatch(x);
}

// The handler decides on the head; false if there is an answer.
inline bool Http2Protocol::take_head(Http2Exchange& x) {
  x.is_told_ = true;
  if (!check_head(x)) return false;
  context_.handler.on_headers(x);
  if (x.responded_) return false;
  if (x.reader_ != nullptr) {
    x.drop_request_text();
    const std::string body = std::exchange(x.body_, std::string());
    if (!body.empty() || x.is_whole_) x.reader_->on_piece(x, body, x.is_whole_);
    return !x.responded_;
  }
  if (std::max<uint64_t>(x.request_->content_length, x.body_.size()) > x.max_body_bytes_) {
    refuse_too_large(x);
    return false;
  }
  if (x.is_whole_) return true;
  return_window(x, static_cast<uint32_t>(x.body_.size()));
  x.body_by_ms_ = context_.loop.now_ms() + context_.config.body_timeout_ms;
  note_deadline(x.body_by_ms_);
  if (x.body_.empty() && x.request_->header("expect")) {
    const auto add_status = [](HpackEncoder& encoder, std::string& block) {
      encoder.append(block, ":status", "100", HpackEncoder::Repeats::kNo);
    };
    session_.send_fields(*x.stream_, false, context_.out, add_status);
  }
  return true;
}

// What HTTP/1 finds while it parses.
inline bool Http2Protocol::check_head(Http2Exchange& x) {
  const HttpRequest& request = *x.request_;
  const HttpLimits& limits = context_.config.limits;
  if (x.is_too_large_ || request.fields.size() > limits.fields_max) {
    refuse(x, 431, "headers_too_large", "There are too many header fields.",
           RejectReason::kHeadersTooLarge);
  } else if (request.target.size() > limits.request_line_bytes_max) {
    refuse(x, 414, "uri_too_long", "The request target is too long.", RejectReason::kUriTooLong);
  } else if (x.places_.is_plain) {
    return true;
  } else if (request.method == Method::kConnect) {
    refuse(x, 501, "not_implemented", "This is no proxy.", RejectReason::kNotImplemented);
  } else if (!http_grammar::is_percent_encoded(request.target,
                                               http_chars::kPath | http_chars::kQueryMark)) {
    refuse(x, 400, "bad_request", "The request target contains a forbidden character.",
           RejectReason::kBadRequest);
  } else if (!request.host.empty() &&
             !http_grammar::is_valid_host(request.host,
                                          request.host.data() + request.host.size())) {
    refuse(x, 400, "bad_request", "The host is invalid.", RejectReason::kBadRequest);
  } else if (const auto expect = request.header("expect"); expect && *expect != "100-continue") {
    refuse(x, 417, "expectation_failed", "Only the expectation 100-continue is known.",
           RejectReason::kExpectation);
  } else {
    return true;
  }
  return false;
}

inline void Http2Protocol::dispatch(Http2Exchange& x) {
  x.own_request_->body = x.body_;
  context_.handler.on_request(x);
  if (!x.responded_ && x.tasks_ == 0) {
    x.respond_error(500, "internal", "The request was not answered.");
  }
  if (x.stream_ != nullptr) x.drop_request_text();
}

inline void Http2Protocol::refuse(Http2Exchange& x, int status, std::string_view code,
                                  std::string_view message, RejectReason reason) {
  const RequestInHand request(x);
  context_.handler.on_rejected(reason);
  context_.handler.refuse(x, status, code, message);
}

inline void Http2Protocol::refuse_too_large(Http2Exchange& x) {
  refuse(x, 413, "too_large", x.body_too_large(), RejectReason::kBodyTooLarge);
}

// The stream is given up in the middle of an answer, or for a client that is away.
inline void Http2Protocol::give_up(Http2Exchange& x, Http2Error error, RejectReason reason) {
  context_.handler.on_rejected(reason);
  session_.reset(*x.stream_, error, out());
  x.stream_ = nullptr;
}

inline void Http2Protocol::run_task(Http2Exchange& x, Task* task) {
  is_out_of_turn_ = true;
  task->run(&x);
  if (x.stream_ != nullptr && !x.responded_ && x.tasks_ == 0) {
    x.respond_error(500, "internal", "The request was not answered.");
  }
  is_out_of_turn_ = false;
  let_go(x);
  host_.ask_turn();
}

// If the stream has ended, the exchange goes, as soon as it is in no list any more.
inline void Http2Protocol::let_go(Http2Exchange& x) {
  if (x.stream_ != nullptr || x.in_arrived_ || x.in_turns_) return;
  leave_streaming(x);
  set_counted(x, 0);
  x.end();
  note_whole(x);
  body_bytes_ -= x.charged_bytes_;
  if (context_.favoured == &x) context_.favoured = nullptr;
  x.protocol_ = nullptr;
  x.abandon_waiting();
  if (x.tasks_ == 0) workspace_.release(&x);
}

// ---- memory ----

// Grows by what has come, not by what was promised.
inline void Http2Protocol::keep_body(Http2Exchange& x, std::string_view piece) {
  x.body_.append(piece);
  charge(x, x.body_.size());
}

inline void Http2Protocol::charge(Http2Exchange& x, uint64_t bytes) {
  if (bytes < kUncountedBytes) bytes = 0;
  if (bytes == x.charged_bytes_) return;
  context_.shared.inflight_bytes.fetch_add(bytes - x.charged_bytes_,  // modulo 2^64
                                           std::memory_order_relaxed);
  body_bytes_ += bytes - x.charged_bytes_;
  x.charged_bytes_ = bytes;
}

// Whether the client may send more of this body: it is small, the bodies of all are within their
// bound, or this is the one of its reactor that is read to its end beyond it.
inline bool Http2Protocol::has_room_for(const Http2Exchange& x) {
  if (x.charged_bytes_ == 0 || context_.shared.inflight_bytes.load(std::memory_order_relaxed) <=
                                   context_.config.inflight_bytes_max) {
    return true;
  }
  if (context_.favoured == nullptr) context_.favoured = &x;
  return context_.favoured == &x;
}

inline void Http2Protocol::return_window(Http2Exchange& x, uint32_t bytes) {
  if (x.stream_ == nullptr || x.is_whole_) return;
  bytes += std::exchange(x.withheld_bytes_, 0u);
  if (has_room_for(x)) {
    x.room_by_ms_ = 0;
    return session_.return_window(*x.stream_, bytes, out());
  }
  x.withheld_bytes_ = bytes;
  is_short_of_room_ = context_.wants_request_room = true;
  const uint64_t now_ms = context_.loop.now_ms();
  if (x.room_by_ms_ == 0) x.room_by_ms_ = now_ms + context_.config.inflight_wait_ms;
  note_deadline(now_ms + kRoomPollMs);
}

// ---- Http2Exchange ----

inline void Http2Exchange::read_request() {
  if (head_text_.empty()) return;  // it has been dropped
  HttpRequest& request = *workspace_.acquire_request();
  Http2Head::read(head_text_, places_, &request);
  request.has_content_length |= ended_with_head_;  // the client has said that there is no body
  request.has_open_length = !request.has_content_length;
  request.body = {};
  request.peer = protocol_->host_.peer;
  request.is_unix = protocol_->host_.is_unix;
  request_ = own_request_ = &request;
}

inline void Http2Exchange::body_taken(size_t bytes) {
  if (stream_ == nullptr) return;
  protocol_->charge(*this, charged_bytes_ - std::min<uint64_t>(charged_bytes_, bytes));
  protocol_->return_window(*this, static_cast<uint32_t>(bytes));
}

inline void Http2Exchange::set_deadline(uint64_t ms) {
  answer_by_ms_ = workspace_.context.loop.now_ms() + ms;
  protocol_->note_deadline(answer_by_ms_);
}

inline void Http2Exchange::run_task(Task* task) {
  --workspace_.context.tasks_outstanding;
  --tasks_;
  if (protocol_ != nullptr) return protocol_->run_task(*this, task);
  task->run(nullptr);
  if (tasks_ == 0) workspace_.release(this);
}

}  // namespace kyro
