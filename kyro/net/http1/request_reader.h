// The requesting side of a connection: from received bytes to calls of the handler.
//
// Bytes are worked through in the reactor's scratch buffer; only what is left of an incomplete (or
// not yet allowed) request is kept in a buffer of its own, so an idle connection owns none. A
// request goes through the phases head → body → (waiting) → answered or deferred. An answer that
// was given before its body arrived turns into the phase "skip".
//
// Whatever is refused ends the connection: an error answer is put in line, nothing after it is
// looked at.
//
// Thread rule: its reactor's thread. Ownership: owns the kept bytes, a chunked body, and the
// exchange of a request that is not complete.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/net/http1/answer_line.h"

namespace kyro {

class RequestReader final : public BodyHome {
 public:
  static constexpr uint32_t kPendingMax = 128;            // deferred requests of a connection
  static constexpr size_t kOutputStep = 256 * 1024;       // answers are sent at least this often
  static constexpr uint64_t kSkippedBodyMax = 64 * 1024;  // of a request that was answered early
  static constexpr size_t kUnchargedBytes = 4096;

  RequestReader(Http1Workspace& workspace, AnswerLine& line, const ProtocolHost& host)
      : workspace_(workspace),
        context_(workspace.context),
        line_(line),
        host_(host),
        parser_(context_.config.limits, &workspace.field_memory) {}
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  // A request may be handed to the handler (or more of one be read).
  [[nodiscard]] bool may_dispatch() const {
    return !line_.closing() && !line_.blocked() && line_.stream() == nullptr &&
           line_.pending_count() < kPendingMax && (phase_ != Phase::kWaiting || !line_.pending());
  }
  // There are kept bytes that could not be looked at because may_dispatch() was false.
  [[nodiscard]] bool stalled() const { return stalled_; }
  // Part of a request has arrived.
  [[nodiscard]] bool in_request() const { return phase_ != Phase::kHead || parser_.begun(input_); }
  [[nodiscard]] bool in_body() const { return phase_ == Phase::kBody; }
  // More of the body under way may be kept: it is small, the bodies of all are within their bound,
  // or this is the one of its reactor that is read to its end beyond it, so that bytes are given
  // back at last.
  [[nodiscard]] bool may_keep_body() const {
    const HttpRequest& request = reading_->request();
    if (!request.has_open_length && request.content_length <= kUnchargedBytes) return true;
    if (context_.shared.inflight_bytes.load(std::memory_order_relaxed) <=
        context_.config.inflight_bytes_max) {
      return true;
    }
    if (context_.favoured == nullptr) context_.favoured = reading_;
    return context_.favoured == reading_;
  }
  // What is kept of a request that is not whole; a little is not counted.
  [[nodiscard]] uint64_t charged_bytes() const { return charged_bytes_; }
  [[nodiscard]] bool skips() const { return phase_ == Phase::kSkip; }
  // When the request under way has to be there; 0 if none is being received.
  [[nodiscard]] uint64_t deadline_ms() const {
    return phase_ == Phase::kWaiting || stalled_ ? 0 : deadline_ms_;
  }

  // Works through what has just been received (it lies in context.in).
  void receive(std::string_view bytes) {
    if (input_.empty()) return consume(bytes, false);
    if (input_.capacity() - input_.size() < bytes.size()) {
      // Grow by what has come, not by what was promised.
      input_.reserve(std::max(input_.size() * 2, input_.size() + bytes.size()));
    }
    input_.append(bytes);
    consume(input_, true);
  }
  // Goes on with the kept bytes.
  void resume() { consume(input_, true); }

  // A large body leaves with the buffer that it was received in.
  inline OwnedBody give_body(std::string_view body) override;

  // Refuses the request under way in the server's own name.
  inline void reject(uint16_t status, const char* code, const char* message, RejectReason reason);
  // Gives everything back; the connection is done.
  inline void close();

 private:
  enum class Phase : uint8_t { kHead, kBody, kWaiting, kSkip };
  struct ChunkedBody {
    ChunkedDecoder decoder;
    std::string bytes;
  };

  inline void consume(std::string_view bytes, bool from_input);
  inline void look_ahead(std::string_view bytes);
  inline void keep(std::string_view rest, bool from_input);
  inline void charge();

  // Each takes the bytes from the beginning of the request and returns how many of them are
  // finished with: 0 when more are needed, or when the request waits for earlier answers.
  inline size_t step(std::string_view bytes);
  inline size_t on_head(std::string_view bytes);
  inline size_t on_early_answer(std::string_view bytes, bool complete);
  inline size_t on_body(std::string_view bytes);
  inline size_t dispatch(Http1Exchange* exchange, std::string_view request_bytes);
  inline void finish_request(Http1Exchange* exchange);
  inline void refuse(const HttpError& error);
  inline void reject(Http1Exchange* exchange, uint16_t status, const char* code,
                     const char* message, RejectReason reason);
  inline void hold(Http1Exchange* exchange);

  void start_body_deadline() {
    deadline_ms_ = context_.loop.now_ms() + context_.config.body_timeout_ms;
  }
  [[nodiscard]] HttpParser::Outcome parse(std::string_view bytes, Http1Exchange* exchange) {
    return parser_.parse(bytes, &exchange->mutable_request(), &exchange->frame());
  }
  // While too much waits for readers, small answers go out one by one: none is refused for those
  // before it.
  [[nodiscard]] size_t output_step() const {
    return context_.has_output_room(kOutputStep) ? kOutputStep : OutputQueue::kUncountedBytes;
  }
  // Makes the views of the request under way again, when its bytes have moved or grown.
  void parse_again(std::string_view bytes) {
    parser_.reset();
    KYRO_CHECK(parse(bytes, reading_) == HttpParser::Outcome::kComplete);
  }

  Http1Workspace& workspace_;
  ReactorContext& context_;
  AnswerLine& line_;
  const ProtocolHost& host_;
  HttpParser parser_;
  std::string input_;  // the request being received, from its beginning
  std::unique_ptr<ChunkedBody> chunked_;
  Http1Exchange* reading_ = nullptr;  // of the request whose body is being received, or waits
  size_t waiting_bytes_ = 0;          // phase kWaiting: the length of the request
  uint64_t skip_bytes_ = 0;           // phase kSkip
  uint64_t charged_bytes_ = 0;
  uint64_t deadline_ms_ = 0;
  Phase phase_ = Phase::kHead;
  bool stalled_ = false;
  bool input_taken_ = false;  // by who took the body: input_ is what came after it
};

// Works through the bytes; what is left over goes to (or stays in) input_.
inline void RequestReader::consume(std::string_view bytes, bool from_input) {
  size_t done = 0;
  RequestsAhead& ahead = workspace_.ahead;
  ahead.clear();
  stalled_ = false;
  while (done < bytes.size()) {
    if (line_.closing()) {
      line_.set_lingers();
      done = bytes.size();
      break;
    }
    if (phase_ == Phase::kSkip) {
      const auto n = static_cast<size_t>(std::min<uint64_t>(skip_bytes_, bytes.size() - done));
      done += n;
      skip_bytes_ -= n;
      if (skip_bytes_ != 0) break;
      phase_ = Phase::kHead;
      deadline_ms_ = 0;
      continue;
    }
    if (!may_dispatch() || context_.out.size() >= output_step()) {
      stalled_ = true;
      break;
    }
    const size_t n = step({bytes.data() + done, bytes.size() - done});
    if (std::exchange(input_taken_, false)) {
      bytes = input_;
      done = 0;
      continue;
    }
    if (n == 0) break;
    done += n;
  }
  ahead.clear();
  workspace_.field_memory.forget_credentials();
  bytes.remove_prefix(done);
  keep(bytes, from_input);
}

// Parses the whole requests without a body that `bytes` begin with, and tells the handler of all
// that have come together. A head that is not whole or not valid is left for when its turn comes.
inline void RequestReader::look_ahead(std::string_view bytes) {
  RequestsAhead& ahead = workspace_.ahead;
  std::array<Exchange*, RequestsAhead::kMax + 1> together;
  together[0] = workspace_.current;
  ahead.clear();
  for (Http1Exchange* last = workspace_.current; ahead.count < RequestsAhead::kMax;) {
    if (!last->frame().keep_alive || last->request().announces_body()) break;
    Http1Exchange*& next = ahead.slots[ahead.count];
    if (next == nullptr) next = Http1Exchange::acquire(workspace_);
    parser_.reset();
    if (parse(bytes, next) != HttpParser::Outcome::kComplete) break;
    next->begin(&line_, host_.peer, host_.is_unix);
    together[++ahead.count] = last = next;
    bytes.remove_prefix(next->frame().head_bytes);
  }
  parser_.reset();
  if (ahead.count != 0) context_.handler.on_ahead({together.data(), ahead.count + 1});
}

inline void RequestReader::keep(std::string_view rest, bool from_input) {
  // The raw bytes of a chunked body have been decoded: only the head is needed again.
  if (phase_ == Phase::kBody && chunked_ != nullptr) {
    rest = rest.substr(0, reading_->frame().head_bytes);
  }
  constexpr size_t kInlineCapacity = 15;
  if (rest.empty()) {
    if (input_.capacity() > kInlineCapacity) std::string().swap(input_);
    input_.clear();
  } else if (!from_input) {
    input_.assign(rest);
  } else if (rest.size() != input_.size()) {
    const auto from = static_cast<size_t>(rest.data() - input_.data());
    input_.resize(from + rest.size());
    input_.erase(0, from);
  }
  if (deadline_ms_ == 0 && phase_ == Phase::kHead && parser_.begun(input_)) {
    deadline_ms_ = context_.loop.now_ms() + context_.config.header_timeout_ms;
  }
  charge();
}

// Keeps the count of what this connection buffers, and refuses a head that does not fit. (For a
// body the connection stops reading first.)
inline void RequestReader::charge() {
  uint64_t bytes = input_.size() + (chunked_ != nullptr ? chunked_->bytes.size() : 0);
  if (bytes < kUnchargedBytes) bytes = 0;
  if (bytes == charged_bytes_) return;
  const uint64_t grown = bytes - charged_bytes_;  // modulo 2^64 when it shrank
  const uint64_t total =
      context_.shared.inflight_bytes.fetch_add(grown, std::memory_order_relaxed) + grown;
  const bool grew = bytes > charged_bytes_;
  charged_bytes_ = bytes;
  if (grew && phase_ == Phase::kHead && !stalled_ && !line_.closing() &&
      total > context_.config.inflight_bytes_max) {
    context_.wants_request_room = true;
    reject(503, "overloaded", "Too many bytes of requests are in flight.",
           RejectReason::kInflightBytes);
  }
}

inline size_t RequestReader::step(std::string_view bytes) {
  if (phase_ == Phase::kBody) return on_body(bytes);
  if (phase_ == Phase::kWaiting) {
    parse_again(bytes);
    return dispatch(reading_, bytes.substr(0, waiting_bytes_));
  }
  RequestsAhead& ahead = workspace_.ahead;
  if (!ahead.empty()) {
    std::swap(workspace_.current, ahead.slots[ahead.next++]);
    return on_head(bytes);
  }
  switch (parse(bytes, workspace_.current)) {
    case HttpParser::Outcome::kNeedMore:
      return 0;
    case HttpParser::Outcome::kError:
      refuse(parser_.error());
      return bytes.size();
    case HttpParser::Outcome::kComplete:
      break;
  }
  workspace_.current->begin(&line_, host_.peer, host_.is_unix);
  if (const size_t head_bytes = workspace_.current->frame().head_bytes; bytes.size() > head_bytes) {
    look_ahead({bytes.data() + head_bytes, bytes.size() - head_bytes});
  }
  return on_head(bytes);
}

inline size_t RequestReader::on_head(std::string_view bytes) {
  Http1Exchange* const exchange = workspace_.current;
  const HttpRequest& request = exchange->request();
  const Http1Frame& frame = exchange->frame();
  const size_t head_bytes = frame.head_bytes;
  const uint64_t length = request.content_length;
  const bool complete = !request.has_open_length && bytes.size() - head_bytes >= length;
  exchange->set_early_close(request.has_open_length ||
                            (!complete && (frame.expect_continue || length > kSkippedBodyMax)));
  context_.handler.on_headers(*exchange);
  if (exchange->responded()) return on_early_answer(bytes, complete);
  exchange->set_early_close(false);
  if (length > exchange->max_body_bytes()) {
    reject(exchange, 413, "too_large", exchange->body_too_large().c_str(),
           RejectReason::kBodyTooLarge);
    return bytes.size();
  }
  if (complete) return dispatch(exchange, {bytes.data(), head_bytes + static_cast<size_t>(length)});
  if (frame.expect_continue && bytes.size() == head_bytes) line_.send_continue();
  if (request.has_open_length) chunked_ = std::make_unique<ChunkedBody>();
  phase_ = Phase::kBody;
  start_body_deadline();
  hold(exchange);
  return on_body(bytes);
}

// Answered by on_headers(): the body, if any, is of no interest.
inline size_t RequestReader::on_early_answer(std::string_view bytes, bool complete) {
  Http1Exchange* const exchange = workspace_.current;
  const uint64_t total = exchange->frame().head_bytes + exchange->request().content_length;
  finish_request(exchange);
  if (complete) return static_cast<size_t>(total);
  if (line_.closing()) {
    line_.set_lingers();
  } else {
    phase_ = Phase::kSkip;
    skip_bytes_ = total - bytes.size();
    start_body_deadline();
  }
  return bytes.size();
}

inline size_t RequestReader::on_body(std::string_view bytes) {
  const size_t head_bytes = reading_->frame().head_bytes;
  size_t request_bytes = 0;
  if (chunked_ != nullptr) {
    std::string_view rest = bytes.substr(head_bytes);
    std::string_view data;
    ChunkedDecoder::Outcome outcome;
    while ((outcome = chunked_->decoder.next(rest, data)) == ChunkedDecoder::Outcome::kData) {
      if (data.size() > reading_->max_body_bytes() - chunked_->bytes.size()) {
        reject(413, "too_large", reading_->body_too_large().c_str(), RejectReason::kBodyTooLarge);
        return bytes.size();
      }
      chunked_->bytes.append(data);
    }
    if (outcome == ChunkedDecoder::Outcome::kError) {
      refuse(HttpError(chunked_->decoder.error()));
      return bytes.size();
    }
    if (chunked_->decoder.chunk_bytes_left() >
        reading_->max_body_bytes() - chunked_->bytes.size()) {
      reject(413, "too_large", reading_->body_too_large().c_str(), RejectReason::kBodyTooLarge);
      return bytes.size();
    }
    if (outcome == ChunkedDecoder::Outcome::kNeedMore) return 0;
    request_bytes = bytes.size() - rest.size();
  } else {
    const uint64_t length = reading_->request().content_length;
    if (bytes.size() - head_bytes < length) return 0;
    request_bytes = head_bytes + static_cast<size_t>(length);
  }
  parse_again(bytes);
  reading_->set_start_ns(context_.loop.now_ns());
  return dispatch(reading_, bytes.substr(0, request_bytes));
}

// The request is complete: its body, if any, lies after the head or has been decoded.
inline size_t RequestReader::dispatch(Http1Exchange* exchange, std::string_view request_bytes) {
  std::string_view body = request_bytes;
  body.remove_prefix(exchange->frame().head_bytes);
  exchange->mutable_request().body = chunked_ != nullptr ? chunked_->bytes : body;
  exchange->set_body_home(this);
  context_.handler.on_request(*exchange);
  exchange->set_body_home(nullptr);
  if (exchange->take_waiting()) {
    hold(exchange);
    phase_ = Phase::kWaiting;
    waiting_bytes_ = request_bytes.size();
    stalled_ = true;
    return 0;
  }
  if (!exchange->responded() && !exchange->deferred()) {
    exchange->respond_error(500, "internal", "The request was not answered.");
  }
  finish_request(exchange);
  return request_bytes.size();
}

inline OwnedBody RequestReader::give_body(std::string_view body) {
  constexpr size_t kCopiedBytesMax = 64 * 1024;
  OwnedBody owned;
  owned.size = body.size();
  if (body.size() <= kCopiedBytesMax) {
    owned.bytes.assign(body);
  } else if (chunked_ != nullptr) {
    owned.bytes.swap(chunked_->bytes);
  } else {  // more than one read brings, so it lies in input_
    owned.begin = static_cast<size_t>(body.data() - input_.data());
    std::string rest(input_, owned.begin + body.size());
    owned.bytes.swap(input_);
    input_.swap(rest);
    input_taken_ = true;
  }
  return owned;
}

// The request has been answered or deferred: makes ready for the next one.
inline void RequestReader::finish_request(Http1Exchange* exchange) {
  if (!exchange->frame().keep_alive) line_.stop_requests();
  const bool in_line = exchange->queued();
  if (exchange == reading_) {
    reading_ = nullptr;
    if (!in_line) exchange->release();
  } else if (in_line) {
    workspace_.current = Http1Exchange::acquire(workspace_);
  }
  chunked_.reset();
  parser_.reset();
  phase_ = Phase::kHead;
  deadline_ms_ = 0;
}

// Takes the exchange out of the reactor's hands until its request is complete.
inline void RequestReader::hold(Http1Exchange* exchange) {
  if (exchange == reading_) return;
  reading_ = exchange;
  workspace_.current = Http1Exchange::acquire(workspace_);
}

inline void RequestReader::reject(uint16_t status, const char* code, const char* message,
                                  RejectReason reason) {
  if (reading_ == nullptr) {
    workspace_.current->mutable_request().clear();
    workspace_.current->mutable_request().method =
        parser_.method();  // HEAD gets no body here either
    workspace_.current->frame() = Http1Frame{};
    workspace_.current->begin(&line_, host_.peer, host_.is_unix);
  }
  reject(reading_ != nullptr ? reading_ : workspace_.current, status, code, message, reason);
}

inline void RequestReader::reject(Http1Exchange* exchange, uint16_t status, const char* code,
                                  const char* message, RejectReason reason) {
  context_.handler.on_rejected(reason);
  exchange->close_after();
  context_.handler.refuse(*exchange, status, code, message);
  line_.set_lingers();
  finish_request(exchange);
  stalled_ = false;
}

inline void RequestReader::refuse(const HttpError& error) {
  const char* code = "bad_request";
  RejectReason reason = RejectReason::kBadRequest;
  switch (error.status) {
    case 414:
      code = "uri_too_long", reason = RejectReason::kUriTooLong;
      break;
    case 417:
      code = "expectation_failed", reason = RejectReason::kExpectation;
      break;
    case 431:
      code = "headers_too_large", reason = RejectReason::kHeadersTooLarge;
      break;
    case 501:
      code = "not_implemented", reason = RejectReason::kNotImplemented;
      break;
    case 505:
      code = "version_not_supported", reason = RejectReason::kVersion;
      break;
    default:
      break;
  }
  reject(error.status, code, error.message, reason);
}

inline void RequestReader::close() {
  if (reading_ != nullptr) reading_->release();
  reading_ = nullptr;
  chunked_.reset();
  std::string().swap(input_);
  phase_ = Phase::kHead;
  stalled_ = false;
  charge();
}

}  // namespace kyro
