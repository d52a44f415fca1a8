// The answers of Http2Protocol: heads at once, bodies in turn.
#pragma once

#include <charconv>

#include "kyro/net/http2/protocol.h"

namespace kyro {

inline void Http2Protocol::send_head(Http2Exchange& x, std::string_view content_type,
                                     const uint64_t* length, bool ends) {
  using Repeats = HpackEncoder::Repeats;
  const auto add = [&](HpackEncoder& encoder, std::string& block) {
    encoder.append(block, "date", context_.date.text(), Repeats::kYes);
    if (!content_type.empty()) {
      encoder.append(block, "content-type", content_type, Repeats::kYes);
      encoder.append(block, "x-content-type-options", "nosniff", Repeats::kYes);
    }
    if (length != nullptr) {
      char digits[24];
      const char* const end = std::to_chars(digits, digits + sizeof digits, *length).ptr;
      encoder.append(block, "content-length", {digits, static_cast<size_t>(end - digits)},
                     Repeats::kNo);
    } else if (!ends) {
      // A stream: proxies shall pass it on as it comes, and keep nothing of it.
      encoder.append(block, "x-accel-buffering", "no", Repeats::kYes);
      encoder.append(block, "cache-control", "no-store", Repeats::kYes);
    }
    const auto add_field = [&](std::string_view name, std::string_view value) {
      encoder.append(block, name, value, Repeats::kNo);
    };
    x.visit_fields(Http2Exchange::kHeadField, add_field);
    if (ends) x.visit_fields(Http2Exchange::kTrailer, add_field);
  };
  session_.send_head(*x.stream_, x.status_, ends, out(), add);
  if (ends) x.stream_ = nullptr;
  const ReactorContext::Finished answer{x.start_ns_,       length != nullptr ? *length : 0,
                                        x.route_,          x.status_,
                                        x.request_.method, HttpVersion::k2};
  if (is_out_of_turn_) {
    kept_finished_.push_back(answer);
  } else {
    context_.add_finished(answer);
  }
}

// A body is there, or more of it: a small one goes at once.
inline void Http2Protocol::send_body(Http2Exchange& x) {
  const bool is_small = x.source_ == nullptr && x.unsent_.size() <= kPieceBytes;
  const bool goes_now = is_small && !is_out_of_turn_ && !host_.outgoing.blocked() &&
                        out().size() < kTurnBytes &&
                        session_.sendable(*x.stream_) >= x.unsent_.size();
  if (!goes_now || send_piece(x)) wait_for_turn(x);
}

inline void Http2Protocol::wait_for_turn(Http2Exchange& x) {
  if (std::exchange(x.in_turns_, true)) return;
  x.next_turn_ = nullptr;
  (first_turn_ == nullptr ? first_turn_ : last_turn_->next_turn_) = &x;
  last_turn_ = &x;
}

// Round robin, until an output step is full.
inline void Http2Protocol::take_turns() {
  if (host_.outgoing.blocked()) return;
  if (std::exchange(windows_grew_, false) && waiting_for_window_ != 0) on_windows();
  size_t spent = 0;
  while (first_turn_ != nullptr && spent < kTurnBytes) {
    Http2Exchange& x = *first_turn_;
    first_turn_ = x.next_turn_;
    x.in_turns_ = false;
    spent += std::clamp(x.unsent_.size(), kProducedBytes, kPieceBytes);
    if (x.stream_ != nullptr && send_piece(x)) wait_for_turn(x);
    let_go(x);
  }
}

// True if there is more to be sent that need not wait.
inline bool Http2Protocol::send_piece(Http2Exchange& x) {
  if (x.unsent_.empty() && x.source_ != nullptr) {
    if (!produce(x)) return false;
    if (x.unsent_.empty() && x.source_ != nullptr) return true;
  }
  const size_t size = std::min({x.unsent_.size(), session_.sendable(*x.stream_), kPieceBytes});
  if (size == 0 && !x.unsent_.empty()) {
    wait_for_window(x);
    return false;
  }
  const bool is_last = size == x.unsent_.size() && x.source_ == nullptr && x.behind_.empty();
  const bool ends = is_last && !x.has_trailers_;
  if (size != 0 || ends) {
    session_.announce_data(*x.stream_, size, out(), ends);
    if (x.owner_ != nullptr && size >= kSharedPieceBytes) {
      host_.outgoing.append_shared(x.unsent_.substr(0, size), x.owner_);
    } else {
      out().append(x.unsent_.substr(0, size));
    }
    x.unsent_.remove_prefix(size);
    if (x.unsent_.empty()) x.unsent_ = std::exchange(x.behind_, {});
    session_.sent_data(*x.stream_, size, ends, out());
    on_progress(x, size);
  }
  if (ends) x.stream_ = nullptr;
  if (is_last && !ends) send_trailers(x);
  return !is_last;
}

// Has the source make a piece; false if there is nothing to be sent for now.
inline bool Http2Protocol::produce(Http2Exchange& x) {
  if (x.is_parked_) return false;
  x.bytes_.clear();
  const BodyStream::Next next = x.source_->produce(x.bytes_, kPieceBytes);
  x.unsent_ = x.bytes_;
  switch (next) {
    case BodyStream::Next::kMore:
      return true;
    case BodyStream::Next::kWait:
      x.is_parked_ = true;
      x.look_at_ms_ = context_.loop.now_ms() + x.source_->heartbeat_ms();
      note_deadline(x.look_at_ms_);
      return !x.unsent_.empty();
    case BodyStream::Next::kEnd:
      end_source(x);
      return true;
    case BodyStream::Next::kAbort:
      session_.reset(*x.stream_, Http2Error::kInternalError, out());
      x.stream_ = nullptr;
      return false;
  }
  return false;
}

inline void Http2Protocol::end_source(Http2Exchange& x) {
  x.source_->on_end(x);
  x.source_.reset();
  x.is_parked_ = false;
  x.look_at_ms_ = 0;
  leave_streaming(x);
}

inline void Http2Protocol::send_trailers(Http2Exchange& x) {
  session_.send_trailers(*x.stream_, out(), [&](HpackEncoder& encoder, std::string& block) {
    x.visit_fields(Http2Exchange::kTrailer, [&](std::string_view name, std::string_view value) {
      // The status of a call that went well is the same for all.
      encoder.append(block, name, value,
                     value.size() == 1 ? HpackEncoder::Repeats::kYes : HpackEncoder::Repeats::kNo);
    });
  });
  x.stream_ = nullptr;
}

inline void Http2Protocol::join_streaming(Http2Exchange& x) {
  x.is_counted_ = true;
  if (sources_++ == 0) host_.join_streaming();
}

inline void Http2Protocol::leave_streaming(Http2Exchange& x) {
  if (std::exchange(x.is_counted_, false) && --sources_ == 0) host_.leave_streaming();
}

// The server stops: ends an endless body with its last bytes; false if it ends by itself.
inline bool Http2Protocol::drain_source(Http2Exchange& x) {
  x.bytes_ = std::string(x.unsent_);
  const bool ends = x.source_->on_drain(x.bytes_);
  x.unsent_ = x.bytes_;
  if (!ends) return false;
  end_source(x);
  wait_for_turn(x);
  if (x.window_by_ms_ != 0) {
    x.window_by_ms_ = context_.loop.now_ms() + context_.config.drain_grace_ms;
    note_deadline(x.window_by_ms_);
  }
  return true;
}

// ---- windows ----

inline void Http2Protocol::wait_for_window(Http2Exchange& x) {
  ++waiting_for_window_;
  const uint64_t now_ms = context_.loop.now_ms();
  if (x.window_by_ms_ == 0) x.window_by_ms_ = now_ms + context_.config.write_timeout_ms;
  note_deadline(x.window_by_ms_);
  if (x.source_ != nullptr) {
    x.look_at_ms_ = now_ms + kLookMs;
    note_deadline(x.look_at_ms_);
  }
  count_unsent(x);
}

// What was taken buys time; a body that is not held up has none to lose.
inline void Http2Protocol::on_progress(Http2Exchange& x, size_t bytes) {
  if (x.counted_bytes_ != 0) count_unsent(x);
  if (x.window_by_ms_ == 0) return;
  if (x.unsent_.empty() && x.source_ == nullptr) {
    x.window_by_ms_ = 0;
    return;
  }
  const HttpServerConfig& config = context_.config;
  x.window_by_ms_ = std::min(context_.loop.now_ms() + config.write_timeout_ms,
                             x.window_by_ms_ + bytes / config.stream_bytes_per_ms_min);
  if (session_.sendable(*x.stream_) >= kPieceBytes) x.window_by_ms_ = 0;
}

// Keeps the count of what waits for its reader.
inline void Http2Protocol::count_unsent(Http2Exchange& x) {
  const bool is_held = x.stream_ != nullptr && x.owner_ == nullptr && !x.unsent_.empty();
  const uint64_t bytes = is_held && x.bytes_.size() >= kUncountedBytes ? x.bytes_.size() : 0;
  if (bytes == x.counted_bytes_) return;
  const uint64_t more = bytes - std::exchange(x.counted_bytes_, bytes);  // modulo 2^64
  unsent_bytes_ += more;
  context_.shared.output_bytes.fetch_add(more, std::memory_order_relaxed);
}

// As Outgoing::may_keep(), for what waits for windows.
inline bool Http2Protocol::may_keep(size_t bytes) const {
  return bytes <= kUncountedBytes || unsent_bytes_ + bytes <= Outgoing::kSmallBytes ||
         context_.has_output_room(bytes);
}

inline void Http2Protocol::refuse_answer(Http2Exchange& x) {
  x.fields_.clear();
  x.has_trailers_ = false;
  refuse(x, 503, "overloaded", kTooMuchWaits, RejectReason::kInflightBytes);
}

inline void Http2Protocol::on_windows() {
  waiting_for_window_ = 0;
  for_each([this](Http2Exchange& x) {
    if (!x.unsent_.empty() && !x.in_turns_) wait_for_turn(x);
  });
}

// ---- Http2Exchange ----

inline bool Http2Exchange::begin_answer(int status, std::string_view content_type, uint64_t length,
                                        bool has_length) {
  KYRO_CHECK(!responded_ && stream_ != nullptr);
  responded_ = true;
  status_ = static_cast<uint16_t>(status);
  body_by_ms_ = room_by_ms_ = 0;
  const bool may_have_body = status_has_body(status);
  const bool has_body =
      may_have_body && request_.method != Method::kHead && (!has_length || length != 0);
  // The messages of a body with trailers say themselves how long they are.
  const bool tells_length = has_length && may_have_body && !has_trailers_;
  protocol_->send_head(*this, content_type, tells_length ? &length : nullptr, !has_body);
  return has_body;
}

inline void Http2Exchange::respond(int status, std::string_view content_type,
                                   std::string_view body) {
  if (!protocol_->may_keep(body.size())) return protocol_->refuse_answer(*this);
  if (!begin_answer(status, content_type, body.size(), true)) return;
  unsent_ = body;
  protocol_->send_body(*this);
  if (stream_ == nullptr || unsent_.empty()) return;
  bytes_.assign(unsent_);  // it has to wait
  unsent_ = bytes_;
  protocol_->count_unsent(*this);
}

inline void Http2Exchange::respond_shared(int status, std::string_view content_type,
                                          std::string_view body,
                                          std::shared_ptr<const void> owner) {
  if (body.size() < kSharedBodyBytesMin || owner == nullptr) {
    return respond(status, content_type, body);
  }
  if (!begin_answer(status, content_type, body.size(), true)) return;
  owner_ = std::move(owner);
  unsent_ = body;
  protocol_->send_body(*this);
}

inline void Http2Exchange::respond_shared_behind(int status, std::string_view content_type,
                                                 std::string_view head, std::string_view body,
                                                 std::shared_ptr<const void> owner) {
  if (body.size() < kSharedBodyBytesMin || owner == nullptr) {
    return Exchange::respond_shared_behind(status, content_type, head, body, std::move(owner));
  }
  if (!begin_answer(status, content_type, head.size() + body.size(), true)) return;
  owner_ = std::move(owner);
  bytes_.assign(head);
  unsent_ = bytes_;
  behind_ = body;
  protocol_->send_body(*this);
}

inline void Http2Exchange::respond_stream(int status, std::string_view content_type,
                                          std::unique_ptr<BodyStream> stream) {
  if (!protocol_->may_keep(Http2Protocol::kPieceBytes)) return protocol_->refuse_answer(*this);
  if (!begin_answer(status, content_type, 0, false)) return;
  source_ = std::move(stream);
  protocol_->join_streaming(*this);
  if (workspace_.context.draining && protocol_->drain_source(*this)) return;
  protocol_->send_body(*this);
}

inline void Http2Exchange::wake() {
  if (stream_ == nullptr || !std::exchange(is_parked_, false)) return;
  look_at_ms_ = 0;
  protocol_->wait_for_turn(*this);
  protocol_->host_.ask_turn();
}

}  // namespace kyro
