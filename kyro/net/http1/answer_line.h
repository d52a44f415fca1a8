// The line in which the answers of an HTTP/1 connection wait for their turn.
//
// A deferred request, and every answer after one, stands in the line; promote() moves finished
// answers from its front to the output, so answers leave in the order of the requests. A stream at
// the front holds the line until it ends.
//
// Thread rule: the reactor's thread. Ownership: owns the exchanges that stand in it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/net/http/protocol.h"
#include "kyro/net/http1/exchange.h"

namespace kyro {

class AnswerLine {
 public:
  static constexpr size_t kStreamSliceBytes = 64 * 1024;

  AnswerLine(Http1Workspace& workspace, ProtocolHost& host)
      : workspace_(workspace), context_(workspace.context), host_(host) {}
  AnswerLine(const AnswerLine&) = delete;
  AnswerLine& operator=(const AnswerLine&) = delete;

  [[nodiscard]] bool pending() const { return head_ != nullptr; }
  [[nodiscard]] uint32_t pending_count() const { return count_; }
  [[nodiscard]] bool blocked() const { return host_.outgoing.blocked(); }
  [[nodiscard]] BodyStream* stream() const { return stream_.get(); }
  // No further request of this connection is read; it closes when everything is sent.
  [[nodiscard]] bool closing() const { return closing_; }
  void stop_requests() { closing_ = true; }
  // The client may still be sending: the close must not take the answer with it.
  [[nodiscard]] bool lingers() const { return lingers_; }
  void set_lingers() { lingers_ = true; }

  void send_continue() {
    constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!pending()) {
      context_.out.append(kContinue);
      return;
    }
    Http1Exchange* exchange = Http1Exchange::acquire(workspace_);
    exchange->begin(this, {}, false);
    exchange->bytes_.assign(kContinue);
    exchange->interim_ = exchange->done_ = true;
    enqueue(exchange);
  }

  // Moves finished answers from the front of the line to the output.
  void promote() {
    while (head_ != nullptr && head_->done_ && stream_ == nullptr) {
      Http1Exchange* exchange = head_;
      head_ = exchange->next_;
      if (head_ == nullptr) tail_ = nullptr;
      --count_;
      context_.out.append(exchange->bytes_);
      if (exchange->owner_ != nullptr) {
        host_.outgoing.append_shared(exchange->view_, std::move(exchange->owner_));
      }
      if (!exchange->interim_) finished(exchange);
      stream_ = std::move(exchange->stream_);
      stream_chunked_ = exchange->frame_.version_minor != 0;
      if (exchange->closes_) abandon();
      exchange->release();
    }
  }

  // Lets the stream append one slice. kEnd and kAbort are its end.
  [[nodiscard]] BodyStream::Next pump() {
    BodyStream::Next next = BodyStream::Next::kEnd;
    append_chunk([&](std::string& out) { next = stream_->produce(out, kStreamSliceBytes); });
    if (next == BodyStream::Next::kEnd) end_stream();
    if (next == BodyStream::Next::kAbort) stream_.reset();
    return next;
  }
  // Ends an endless stream early but properly; true if it was one.
  [[nodiscard]] bool drain_stream() {
    bool ends = false;
    append_chunk([&](std::string& out) { ends = stream_->on_drain(out); });
    if (ends) end_stream();
    closing_ = true;
    return ends;
  }

  // Forgets every answer in the line: the connection is gone or closes before them.
  void abandon() {
    while (head_ != nullptr) {
      Http1Exchange* exchange = head_;
      head_ = exchange->next_;
      exchange->line_ = nullptr;
      exchange->deferred_ ? exchange->abandon_waiting() : exchange->release();
    }
    tail_ = nullptr;
    count_ = 0;
  }
  // What waits in the line for nobody but the client answers as soon as it can.
  void abandon_waiting() {
    for (Http1Exchange* at = head_; at != nullptr; at = at->next_) at->abandon_waiting();
  }

 private:
  friend class Http1Exchange;

  void enqueue(Http1Exchange* exchange) {
    exchange->queued_ = true;
    exchange->next_ = nullptr;
    (tail_ == nullptr ? head_ : tail_->next_) = exchange;
    tail_ = exchange;
    ++count_;
  }
  [[nodiscard]] bool is_last(const Http1Exchange* exchange) const {
    return tail_ == nullptr || tail_ == exchange;
  }

  void finished(const Http1Exchange* exchange) {
    context_.add_finished({exchange->start_ns_, exchange->body_bytes_, exchange->route_,
                           exchange->status_, exchange->own_request_.method});
  }

  template <class Append>
  void append_chunk(Append append) {
    std::string& out = context_.out;
    const size_t start = out.size();
    if (stream_chunked_) out.append("00000000\r\n");
    const size_t before = out.size();
    append(out);
    if (!stream_chunked_) return;
    size_t n = out.size() - before;
    if (n == 0) {
      out.resize(start);  // an empty chunk would be the end
      return;
    }
    for (size_t digit = 8; digit-- > 0; n >>= 4) out[start + digit] = "0123456789abcdef"[n & 15u];
    out.append("\r\n");
  }
  void end_stream() {
    stream_.reset();
    if (stream_chunked_) {
      context_.out.append("0\r\n\r\n");
    } else {
      closing_ = true;
    }
  }

  Http1Workspace& workspace_;
  ReactorContext& context_;
  ProtocolHost& host_;
  Http1Exchange* head_ = nullptr;
  Http1Exchange* tail_ = nullptr;
  std::unique_ptr<BodyStream> stream_;
  uint32_t count_ = 0;
  bool stream_chunked_ = false;
  bool closing_ = false;
  bool lingers_ = false;
};

inline void Http1Exchange::release() {
  constexpr size_t kPooledMax = 1024;
  if (context_.favoured == this) context_.favoured = nullptr;
  if (charged_bytes_ != 0) {
    context_.shared.inflight_bytes.fetch_sub(charged_bytes_, std::memory_order_relaxed);
    charged_bytes_ = 0;
  }
  line_ = nullptr;
  owner_.reset();
  stream_.reset();
  bytes_.clear();
  if (workspace_.free_exchanges.size() >= kPooledMax) {
    delete this;
    return;
  }
  if (bytes_.capacity() > kKeptCapacityMax) std::string().swap(bytes_);
  if (own_request_.fields.capacity() > kKeptFieldsMax) own_request_.fields = {};
  workspace_.free_exchanges.push_back(this);
}

inline std::string& Http1Exchange::begin_answer(ResponseHead head) {
  KYRO_CHECK(!responded_ && line_ != nullptr);
  responded_ = true;
  status_ = static_cast<uint16_t>(head.status);
  body_bytes_ = head.length;
  if (!queued_ && line_->pending()) line_->enqueue(this);
  if (!frame_.keep_alive || early_close_) closes_ = true;
  if (context_.draining && line_->is_last(this)) closes_ = true;
  if (early_close_) line_->set_lingers();
  if (closes_) {
    line_->stop_requests();
    head.persistence = ResponseHead::Persistence::kClose;
  } else if (frame_.version_minor == 0) {
    head.persistence = ResponseHead::Persistence::kKeepAlive;
  }
  head.fields = fields_;
  std::string& out = queued_ ? bytes_ : context_.out;
  workspace_.heads.append(out, head);
  return out;
}

inline void Http1Exchange::end_answer() {
  fields_.clear();
  if (queued_) {
    done_ = true;
  } else {
    line_->finished(this);
  }
}

inline void Http1Exchange::respond(int status, std::string_view content_type,
                                   std::string_view body) {
  const bool has_body = status_has_body(status);
  const bool sends_body = has_body && own_request_.method != Method::kHead;
  if (sends_body && !line_->host_.outgoing.may_keep(body.size())) return refuse_answer();
  ResponseHead head;
  head.status = status;
  head.framing = has_body ? ResponseHead::Framing::kLength : ResponseHead::Framing::kNone;
  head.length = has_body ? body.size() : 0;
  head.content_type = content_type;
  std::string& out = begin_answer(head);
  if (sends_body) out.append(body);
  end_answer();
}

// In place of an answer that might have to wait, while too much does.
inline void Http1Exchange::refuse_answer() {
  context_.wants_answer_room = true;
  context_.handler.on_rejected(RejectReason::kInflightBytes);
  fields_.clear();
  context_.handler.refuse(*this, 503, "overloaded", kTooMuchWaits);
}

inline void Http1Exchange::respond_shared(int status, std::string_view content_type,
                                          std::string_view body,
                                          std::shared_ptr<const void> owner) {
  const bool sends_body = status_has_body(status) && own_request_.method != Method::kHead;
  if (!sends_body || body.size() < kSharedBodyBytesMin || owner == nullptr) {
    respond(status, content_type, body);
    return;
  }
  ResponseHead head;
  head.status = status;
  head.length = body.size();
  head.content_type = content_type;
  begin_answer(head);
  if (queued_) {
    view_ = body;
    owner_ = std::move(owner);
  } else {
    line_->host_.outgoing.append_shared(body, std::move(owner));
  }
  end_answer();
}

inline void Http1Exchange::respond_stream(int status, std::string_view content_type,
                                          std::unique_ptr<BodyStream> stream) {
  const bool chunked = frame_.version_minor != 0;
  if (!chunked) closes_ = true;
  ResponseHead head;
  head.status = status;
  head.framing = chunked ? ResponseHead::Framing::kChunked : ResponseHead::Framing::kUntilClose;
  head.content_type = content_type;
  begin_answer(head);
  if (own_request_.method == Method::kHead) {
    stream.reset();
  } else if (queued_) {
    stream_ = std::move(stream);
  } else {
    line_->stream_ = std::move(stream);
    line_->stream_chunked_ = chunked;
  }
  end_answer();
}

inline bool Http1Exchange::has_pending_before() const {
  return queued_ ? line_->head_ != this : line_->pending();
}

inline bool Http1Exchange::wait_for_earlier() {
  KYRO_CHECK(!queued_ && !responded_);
  waiting_ = line_->pending();
  return waiting_;
}

inline void Http1Exchange::on_defer() {
  KYRO_CHECK(!responded_ && !deferred_);
  deferred_ = true;
  ++context_.tasks_outstanding;
  if (queued_) return;
  if (own_request_.body.size() >= kChargedBodyMin) {
    charged_bytes_ = own_request_.body.size();
    context_.shared.inflight_bytes.fetch_add(charged_bytes_, std::memory_order_relaxed);
  }
  line_->enqueue(this);
}

inline void Http1Exchange::run_task(Task* task) {
  --context_.tasks_outstanding;
  deferred_ = false;
  if (line_ == nullptr) {
    task->run(nullptr);
    release();
    return;
  }
  task->run(this);
  if (deferred_) return;
  if (!responded_) respond_error(500, "internal", "The request was not answered.");
  line_->host_.ask_turn();
}

}  // namespace kyro
