// The answers of Http2Protocol: heads at once, bodies in turn.
#pragma once

#include <charconv>

#include "kyro/net/http2/protocol.h"

namespace kyro {

inline void Http2Protocol::send_head(Http2Exchange& x, std::string_view content_type,
                                     const uint64_t* length, Block kind) {
  const bool ends = kind == kHeadAlone;
  const auto add = [&](HpackEncoder& encoder, std::string& block) {
    const auto code = [&] { append_head_fields(x, content_type, kind, encoder, block); };
    append_known({.type = content_type,
                  .fields = x.fields_,
                  .date_version = context_.date.version(),
                  .status = x.status_,
                  .kind = kind},
                 encoder, block, code);
    if (length == nullptr) return;
    char digits[24];
    const char* const end = std::to_chars(digits, digits + sizeof digits, *length).ptr;
    encoder.append(block, "content-length", {digits, static_cast<size_t>(end - digits)},
                   HpackEncoder::Repeats::kNo);
  };
  session_.send_fields(*x.stream_, ends, out(), add);
  if (ends) x.stream_ = nullptr;
  const ReactorContext::Finished answer{x.start_ns_, length != nullptr ? *length : 0,
                                        x.route_,    x.status_,
                                        x.method_,   HttpVersion::k2};
  if (is_out_of_turn_) {
    kept_finished_.push_back(answer);
  } else {
    context_.add_finished(answer);
  }
}

// Appends a block as it was coded the last time, or has it coded anew.
template <class Code>
void Http2Protocol::append_known(AnswerMemory::Key key, const HpackEncoder& encoder,
                                 std::string& block, Code code) {
  key.coder_version = encoder.version();
  AnswerMemory& memory = key.kind == kTrailers ? known_trailers_ : known_head_;
  if (const std::string_view known = memory.find(key); !known.empty()) {
    block.append(known);
    return;
  }
  const size_t begin = block.size();
  code();
  if (encoder.version() != key.coder_version) return;
  memory.learn(key, std::string_view(block).substr(begin));
}

// All but the length.
inline void Http2Protocol::append_head_fields(const Http2Exchange& x, std::string_view content_type,
                                              Block kind, HpackEncoder& encoder,
                                              std::string& block) const {
  using Repeats = HpackEncoder::Repeats;
  const auto add = [&](std::string_view name, std::string_view value) {
    encoder.append(block, name, value, Repeats::kYes);
  };
  add(":status", std::to_string(x.status_));
  add("date", context_.date.text());
  if (!content_type.empty()) add("content-type", content_type);
  const bool may_be_seen_by_browsers = !content_type.empty() && !x.has_trailers_;
  if (may_be_seen_by_browsers) add("x-content-type-options", "nosniff");
  if (x.status_ == 503) add("retry-after", "1");
  if (kind == kHeadOfStream) {  // proxies shall pass it on as it comes, and keep nothing of it
    add("x-accel-buffering", "no");
    add("cache-control", "no-store");
  }
  const auto add_once = [&](std::string_view name, std::string_view value) {
    encoder.append(block, name, value, Repeats::kNo);
  };
  x.visit_fields(Http2Exchange::kHeadField, add_once);
  if (kind == kHeadAlone) x.visit_fields(Http2Exchange::kTrailer, add_once);
}

// A small body goes with its head where it may; false if it has to wait.
inline bool Http2Protocol::send_at_once(Http2Exchange& x, std::string_view body) {
  std::string& into = out();
  if (body.size() > kPieceBytes || host_.outgoing.blocked() || into.size() >= kTurnBytes ||
      session_.sendable(*x.stream_) < body.size()) {
    return false;
  }
  const bool ends = !x.has_trailers_;
  session_.send_data(*x.stream_, body, ends, into);
  if (ends) {
    x.stream_ = nullptr;
  } else {
    send_trailers(x);
  }
  return true;
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
    if (x.stream_ != nullptr) {
      spent += std::clamp(x.rest_->unsent.size(), kProducedBytes, kPieceBytes);
      if (send_piece(x)) wait_for_turn(x);
    }
    let_go(x);
  }
}

// True if there is more to be sent that need not wait.
inline bool Http2Protocol::send_piece(Http2Exchange& x) {
  Http2Exchange::Rest& rest = *x.rest_;
  if (rest.unsent.empty() && rest.source != nullptr) {
    if (!produce(x)) return false;
    if (rest.unsent.empty() && rest.source != nullptr) return true;
  }
  const size_t size = std::min({rest.unsent.size(), session_.sendable(*x.stream_), kPieceBytes});
  if (size == 0 && !rest.unsent.empty()) {
    wait_for_window(x);
    return false;
  }
  const bool is_last = size == rest.unsent.size() && rest.source == nullptr && rest.behind.empty();
  const bool ends = is_last && !x.has_trailers_;
  if (size != 0 || ends) {
    session_.announce_data(*x.stream_, size, out(), ends);
    if (rest.owner != nullptr && size >= kSharedPieceBytes) {
      host_.outgoing.append_shared(rest.unsent.substr(0, size), rest.owner);
    } else {
      out().append(rest.unsent.substr(0, size));
    }
    rest.unsent.remove_prefix(size);
    if (rest.unsent.empty()) rest.unsent = std::exchange(rest.behind, {});
    session_.sent_data(*x.stream_, size, ends, out());
    on_progress(x, size);
  }
  if (ends) x.stream_ = nullptr;
  if (is_last && !ends) send_trailers(x);
  return !is_last;
}

// Has the source make a piece; false if there is nothing to be sent for now.
inline bool Http2Protocol::produce(Http2Exchange& x) {
  Http2Exchange::Rest& rest = *x.rest_;
  if (rest.is_parked) return false;
  rest.bytes.clear();
  const BodyStream::Next next = rest.source->produce(rest.bytes, kPieceBytes);
  rest.unsent = rest.bytes;
  switch (next) {
    case BodyStream::Next::kMore:
      return true;
    case BodyStream::Next::kWait:
      rest.is_parked = true;
      rest.look_at_ms = context_.loop.now_ms() + rest.source->heartbeat_ms();
      note_deadline(rest.look_at_ms);
      return !rest.unsent.empty();
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
  x.rest_->source->on_end(x);
  x.rest_->source.reset();
  x.rest_->is_parked = false;
  x.rest_->look_at_ms = 0;
  leave_streaming(x);
}

inline void Http2Protocol::send_trailers(Http2Exchange& x) {
  session_.send_fields(*x.stream_, true, out(), [&](HpackEncoder& encoder, std::string& block) {
    append_known({.fields = x.fields_, .kind = kTrailers}, encoder, block, [&] {
      x.visit_fields(Http2Exchange::kTrailer, [&](std::string_view name, std::string_view value) {
        // The status of a call that went well is the same for all.
        encoder.append(
            block, name, value,
            value.size() == 1 ? HpackEncoder::Repeats::kYes : HpackEncoder::Repeats::kNo);
      });
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
  Http2Exchange::Rest& rest = *x.rest_;
  rest.bytes = std::string(rest.unsent);
  const bool ends = rest.source->on_drain(rest.bytes);
  rest.unsent = rest.bytes;
  if (!ends) return false;
  end_source(x);
  wait_for_turn(x);
  if (rest.window_by_ms != 0) {
    rest.window_by_ms = context_.loop.now_ms() + context_.config.drain_grace_ms;
    note_deadline(rest.window_by_ms);
  }
  return true;
}

// ---- windows ----

inline void Http2Protocol::wait_for_window(Http2Exchange& x) {
  ++waiting_for_window_;
  Http2Exchange::Rest& rest = *x.rest_;
  const uint64_t now_ms = context_.loop.now_ms();
  if (rest.window_by_ms == 0) rest.window_by_ms = now_ms + context_.config.write_timeout_ms;
  note_deadline(rest.window_by_ms);
  if (rest.source != nullptr) {
    rest.look_at_ms = now_ms + kLookMs;
    note_deadline(rest.look_at_ms);
  }
  count_unsent(x);
}

// What was taken buys time; a body that is not held up has none to lose.
inline void Http2Protocol::on_progress(Http2Exchange& x, size_t bytes) {
  Http2Exchange::Rest& rest = *x.rest_;
  if (rest.counted_bytes != 0) count_unsent(x);
  if (rest.window_by_ms == 0) return;
  if (rest.unsent.empty() && rest.source == nullptr) {
    rest.window_by_ms = 0;
    return;
  }
  const HttpServerConfig& config = context_.config;
  rest.window_by_ms = std::min(context_.loop.now_ms() + config.write_timeout_ms,
                               rest.window_by_ms + bytes / config.stream_bytes_per_ms_min);
  if (session_.sendable(*x.stream_) >= kPieceBytes) rest.window_by_ms = 0;
}

// Keeps the count of what waits for its reader.
inline void Http2Protocol::count_unsent(Http2Exchange& x) {
  Http2Exchange::Rest& rest = *x.rest_;
  const bool is_held = x.stream_ != nullptr && rest.owner == nullptr && !rest.unsent.empty();
  set_counted(x, is_held && rest.bytes.size() >= kUncountedBytes ? rest.bytes.size() : 0);
}
inline void Http2Protocol::set_counted(Http2Exchange& x, uint64_t bytes) {
  if (x.rest_ == nullptr || bytes == x.rest_->counted_bytes) return;
  const uint64_t more = bytes - std::exchange(x.rest_->counted_bytes, bytes);  // modulo 2^64
  unsent_bytes_ += more;
  context_.shared.output_bytes.fetch_add(more, std::memory_order_relaxed);
}

// As Outgoing::may_keep(), for what waits for windows.
inline bool Http2Protocol::may_keep(size_t bytes) const {
  return bytes <= kUncountedBytes || unsent_bytes_ + bytes <= Outgoing::kSmallBytes ||
         context_.has_output_room(bytes);
}

inline void Http2Protocol::refuse_answer(Http2Exchange& x) {
  context_.wants_answer_room = true;
  x.fields_.clear();
  x.has_trailers_ = false;
  refuse(x, 503, "overloaded", kTooMuchWaits, RejectReason::kInflightBytes);
}

inline void Http2Protocol::on_windows() {
  waiting_for_window_ = 0;
  for_each([this](Http2Exchange& x) {
    if (x.has_unsent()) wait_for_turn(x);
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
  const bool has_body = may_have_body && method_ != Method::kHead && (!has_length || length != 0);
  // The messages of a body with trailers say themselves how long they are.
  const bool tells_length = has_length && may_have_body && !has_trailers_;
  const auto kind = !has_body      ? Http2Protocol::kHeadAlone
                    : !has_length  ? Http2Protocol::kHeadOfStream
                    : tells_length ? Http2Protocol::kHeadOfLength
                                   : Http2Protocol::kHeadOfMessage;
  protocol_->send_head(*this, content_type, tells_length ? &length : nullptr, kind);
  return has_body;
}

inline Http2Exchange::Rest& Http2Exchange::begin_rest() {
  rest_ = std::make_unique<Rest>();
  protocol_->wait_for_turn(*this);
  return *rest_;
}

inline void Http2Exchange::respond(int status, std::string_view content_type,
                                   std::string_view body) {
  if (!protocol_->may_keep(body.size())) return protocol_->refuse_answer(*this);
  if (!begin_answer(status, content_type, body.size(), true)) return;
  if (protocol_->send_at_once(*this, body)) return;
  Rest& rest = begin_rest();
  rest.bytes.assign(body);
  rest.unsent = rest.bytes;
  protocol_->count_unsent(*this);
}

inline void Http2Exchange::respond_shared(int status, std::string_view content_type,
                                          std::string_view body,
                                          std::shared_ptr<const void> owner) {
  respond_shared_behind(status, content_type, {}, body, std::move(owner));
}

inline void Http2Exchange::respond_shared_behind(int status, std::string_view content_type,
                                                 std::string_view head, std::string_view body,
                                                 std::shared_ptr<const void> owner) {
  if (body.size() < kSharedBodyBytesMin || owner == nullptr) {
    if (head.empty()) return respond(status, content_type, body);
    return Exchange::respond_shared_behind(status, content_type, head, body, std::move(owner));
  }
  if (!begin_answer(status, content_type, head.size() + body.size(), true)) return;
  Rest& rest = begin_rest();
  rest.owner = std::move(owner);
  rest.bytes.assign(head);
  rest.unsent = rest.bytes;
  rest.behind = body;
  if (head.empty()) rest.unsent = std::exchange(rest.behind, {});
}

inline void Http2Exchange::respond_stream(int status, std::string_view content_type,
                                          std::unique_ptr<BodyStream> stream) {
  if (!protocol_->may_keep(Http2Protocol::kPieceBytes)) return protocol_->refuse_answer(*this);
  if (!begin_answer(status, content_type, 0, false)) return;
  begin_rest().source = std::move(stream);
  protocol_->join_streaming(*this);
  if (workspace_.context.draining) static_cast<void>(protocol_->drain_source(*this));
}

inline void Http2Exchange::wake() {
  if (stream_ == nullptr || rest_ == nullptr || !std::exchange(rest_->is_parked, false)) return;
  rest_->look_at_ms = 0;
  protocol_->wait_for_turn(*this);
  protocol_->host_.ask_turn();
}

}  // namespace kyro
