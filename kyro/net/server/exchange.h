// The answering side of a connection: one exchange per request, and the line in which answers wait
// for their turn.
//
// An answer given at once, with none waiting before it, is formatted straight into the reactor's
// scratch output. A deferred request, and every answer behind one, stands in the line with bytes of
// its own; promote() moves finished answers from the front of the line to the output, so answers
// leave in the order of the requests. A stream at the front holds the line until it ends.
//
// Invariants: an exchange is the reactor's `current`, a connection's `reading`, or in exactly one
// line (then the line owns it), or orphaned: its connection died, its task will come and free it.
// Thread rule: the reactor's thread, except post_task().
// Ownership: exchanges are pooled per reactor.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/net/io/output_queue.h"
#include "kyro/net/io/socket_calls.h"
#include "kyro/net/server/reactor_context.h"

namespace kyro {

class AnswerLine;

// Where the body of the request at work lies.
class BodyHome {
 public:
  virtual ~BodyHome() = default;
  [[nodiscard]] virtual OwnedBody give_body(std::string_view body) = 0;
};

class ServerExchange final : public Exchange {
 public:
  // Deferred requests count against the in-flight bound from this size of body.
  static constexpr size_t kChargedBodyMin = 1024;
  static constexpr size_t kKeptCapacityMax = 16 * 1024;
  static constexpr size_t kKeptFieldsMax = 64;

  [[nodiscard]] static ServerExchange* acquire(ReactorContext& context) {
    if (context.free_exchanges.empty()) return new ServerExchange(context);
    ServerExchange* exchange = context.free_exchanges.back();
    context.free_exchanges.pop_back();
    return exchange;
  }
  inline void release();

  // Makes ready for the next request of `line`.
  void begin(AnswerLine* line, const PeerAddress& peer, bool is_unix) {
    line_ = line;
    request_.peer = peer;
    request_.is_unix = is_unix;
    start_ns_ = context_.loop.now_ns();
    max_body_bytes_ = context_.config.body_bytes_max;
    max_body_option_ = nullptr;
    route_ = kNoRoute;
    user_ = 0;
    responded_ = queued_ = done_ = deferred_ = waiting_ = closes_ = interim_ = false;
    early_close_ = false;
    fields_.clear();
  }

  void add_header(std::string_view name, std::string_view value) override {
    fields_.append(name).append(": ").append(value).append("\r\n");
  }
  inline void respond(int status, std::string_view content_type, std::string_view body) override;
  inline void respond_shared(int status, std::string_view content_type, std::string_view body,
                             std::shared_ptr<const void> owner) override;
  inline void respond_stream(int status, std::string_view content_type,
                             std::unique_ptr<BodyStream> stream) override;
  void close_after() override { closes_ = true; }
  [[nodiscard]] OwnedBody take_body() override {
    return body_home_ != nullptr ? body_home_->give_body(request_.body) : Exchange::take_body();
  }
  [[nodiscard]] inline bool has_pending_before() const override;
  [[nodiscard]] inline bool wait_for_earlier() override;

  // For the connection.
  [[nodiscard]] HttpRequest& mutable_request() { return request_; }
  [[nodiscard]] Http1Frame& frame() { return frame_; }
  [[nodiscard]] uint64_t max_body_bytes() const { return max_body_bytes_; }
  // What a 413 for a longer body says.
  [[nodiscard]] std::string body_too_large() const {
    std::string message = "The body is larger than the " + std::to_string(max_body_bytes_) +
                          " bytes that are allowed here";
    if (max_body_option_ != nullptr) message.append(" (").append(max_body_option_).append(")");
    return message + ".";
  }
  [[nodiscard]] bool deferred() const { return deferred_; }
  [[nodiscard]] bool queued() const { return queued_; }
  [[nodiscard]] bool take_waiting() { return std::exchange(waiting_, false); }
  void set_start_ns(uint64_t start_ns) { start_ns_ = start_ns; }
  // For the time of on_request().
  void set_body_home(BodyHome* home) { body_home_ = home; }
  // An answer given now comes before a body that is too long to be skipped.
  void set_early_close(bool early_close) { early_close_ = early_close; }

 private:
  friend class AnswerLine;
  explicit ServerExchange(ReactorContext& context) : context_(context) {}
  ~ServerExchange() override = default;
  friend struct ReactorContext;

  inline void on_defer() override;
  inline void run_task(Task* task) override;
  void post_task(Task* task) override { context_.loop.post(task); }

  // The string that takes the answer, with its head written.
  inline std::string& begin_answer(ResponseHead head);
  inline void end_answer();

  ReactorContext& context_;
  Http1Frame frame_;            // of request_
  AnswerLine* line_ = nullptr;  // null: orphaned
  BodyHome* body_home_ = nullptr;
  ServerExchange* next_ = nullptr;  // in the line
  std::string fields_;              // of add_header()
  std::string bytes_;               // of an answer that waits its turn
  std::string_view view_;           // a body behind bytes_, kept alive by owner_
  std::shared_ptr<const void> owner_;
  std::unique_ptr<BodyStream> stream_;
  uint64_t start_ns_ = 0;
  uint64_t charged_bytes_ = 0;
  uint64_t body_bytes_ = 0;
  uint16_t status_ = 0;
  bool queued_ = false;    // in the line
  bool done_ = false;      // in the line, the answer is in bytes_
  bool deferred_ = false;  // a task is outstanding
  bool waiting_ = false;   // wants on_request() again
  bool closes_ = false;
  bool interim_ = false;  // 100 Continue, not an answer
  bool early_close_ = false;
};

class AnswerLine {
 public:
  static constexpr size_t kStreamSliceBytes = 64 * 1024;
  static constexpr size_t kKeptOutputMax = 1024 * 1024;
  // Answers that wait for a slow reader are refused to nobody up to this: a slice and its frame.
  static constexpr size_t kSmallOutputBytes = kStreamSliceBytes + 4096;

  AnswerLine(ReactorContext& context, Connection* owner) : context_(context), owner_(owner) {}
  AnswerLine(const AnswerLine&) = delete;
  AnswerLine& operator=(const AnswerLine&) = delete;

  [[nodiscard]] bool pending() const { return head_ != nullptr; }
  [[nodiscard]] uint32_t pending_count() const { return count_; }
  // The socket does not take what is there.
  [[nodiscard]] bool blocked() const { return output_ != nullptr; }
  [[nodiscard]] BodyStream* stream() const { return stream_.get(); }
  [[nodiscard]] uint64_t output_bytes() const { return output_ ? output_->bytes() : 0; }
  // The last flush() has left more to wait for the socket than waited before it.
  [[nodiscard]] bool output_grew() const { return output_grew_; }
  // What waits is not little, and everybody's together is too much.
  [[nodiscard]] bool is_over_bound() const {
    return output_ != nullptr && output_->held_bytes() > kSmallOutputBytes &&
           context_.shared.output_bytes.load(std::memory_order_relaxed) >
               context_.config.inflight_bytes_max;
  }
  [[nodiscard]] uint64_t pieces_sent() const { return output_ ? output_->pieces_sent() : 0; }
  // No further request of this connection is read; it closes when everything is sent.
  [[nodiscard]] bool closing() const { return closing_; }
  void stop_requests() { closing_ = true; }
  // The client may still be sending: the close must not take the answer with it.
  [[nodiscard]] bool lingers() const { return lingers_; }
  void set_lingers() { lingers_ = true; }
  bool in_answered = false;  // in context.answered

  void send_continue() {
    constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!pending()) {
      context_.out.append(kContinue);
      return;
    }
    ServerExchange* exchange = ServerExchange::acquire(context_);
    exchange->begin(this, {}, false);
    exchange->bytes_.assign(kContinue);
    exchange->interim_ = exchange->done_ = true;
    enqueue(exchange);
  }

  // Moves finished answers from the front of the line to the output.
  void promote() {
    while (head_ != nullptr && head_->done_ && stream_ == nullptr) {
      ServerExchange* exchange = head_;
      head_ = exchange->next_;
      if (head_ == nullptr) tail_ = nullptr;
      --count_;
      context_.out.append(exchange->bytes_);
      if (exchange->owner_ != nullptr) append_shared(exchange->view_, std::move(exchange->owner_));
      if (!exchange->interim_) finished(exchange);
      stream_ = std::move(exchange->stream_);
      stream_chunked_ = exchange->frame_.version_minor != 0;
      if (exchange->closes_) abandon();
      exchange->release();
    }
  }

  // Sends what there is. Afterwards context.out is empty; the rest, if any, is kept here.
  [[nodiscard]] OutputQueue::Sent flush(int fd) {
    std::string& out = context_.out;
    if (output_ == nullptr) {
      if (out.empty()) return OutputQueue::Sent::kAll;
      ssize_t n = send_some(fd, out.data(), out.size());
      if (n == static_cast<ssize_t>(out.size())) {
        clear_out();
        return OutputQueue::Sent::kAll;
      }
      if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        clear_out();
        return OutputQueue::Sent::kError;
      }
      make_output();
      output_->append(std::string_view(out).substr(n < 0 ? 0 : static_cast<size_t>(n)));
      clear_out();
      output_grew_ = output_->count_held();
      return OutputQueue::Sent::kBlocked;
    }
    output_->append(out);
    clear_out();
    const OutputQueue::Sent sent = output_->send(fd);
    output_grew_ = output_->count_held();
    if (sent == OutputQueue::Sent::kAll) output_.reset();
    return sent;
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
      ServerExchange* exchange = head_;
      head_ = exchange->next_;
      exchange->line_ = nullptr;
      if (!exchange->deferred_) exchange->release();
    }
    tail_ = nullptr;
    count_ = 0;
  }
  void drop_output() { output_.reset(); }

 private:
  friend class ServerExchange;

  void enqueue(ServerExchange* exchange) {
    exchange->queued_ = true;
    exchange->next_ = nullptr;
    (tail_ == nullptr ? head_ : tail_->next_) = exchange;
    tail_ = exchange;
    ++count_;
  }
  [[nodiscard]] bool is_last(const ServerExchange* exchange) const {
    return tail_ == nullptr || tail_ == exchange;
  }

  void make_output() { output_ = std::make_unique<OutputQueue>(context_.shared.output_bytes); }
  void append_shared(std::string_view view, std::shared_ptr<const void> owner) {
    if (output_ == nullptr) make_output();
    output_->append(context_.out);
    clear_out();
    output_->append_shared(view, std::move(owner));
  }
  void finished(const ServerExchange* exchange) {
    const ReactorContext::Finished answer{exchange->start_ns_, exchange->body_bytes_,
                                          exchange->route_, exchange->status_,
                                          exchange->request_.method};
    auto& finished = context_.finished;
    if (!finished.empty() && finished.back().answer == answer) {
      ++finished.back().count;
    } else {
      finished.push_back({answer, 1});
    }
  }
  void clear_out() {
    context_.out.clear();
    if (context_.out.capacity() > kKeptOutputMax) std::string().swap(context_.out);
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

  ReactorContext& context_;
  Connection* const owner_;
  ServerExchange* head_ = nullptr;
  ServerExchange* tail_ = nullptr;
  std::unique_ptr<OutputQueue> output_;
  std::unique_ptr<BodyStream> stream_;
  uint32_t count_ = 0;
  bool output_grew_ = false;
  bool stream_chunked_ = false;
  bool closing_ = false;
  bool lingers_ = false;
};

inline void ServerExchange::release() {
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
  if (context_.free_exchanges.size() >= kPooledMax) {
    delete this;
    return;
  }
  if (bytes_.capacity() > kKeptCapacityMax) std::string().swap(bytes_);
  if (request_.fields.capacity() > kKeptFieldsMax) request_.fields = {};
  context_.free_exchanges.push_back(this);
}

inline std::string& ServerExchange::begin_answer(ResponseHead head) {
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
  context_.heads.append(out, head);
  return out;
}

inline void ServerExchange::end_answer() {
  fields_.clear();
  if (queued_) {
    done_ = true;
  } else {
    line_->finished(this);
  }
}

inline void ServerExchange::respond(int status, std::string_view content_type,
                                    std::string_view body) {
  const bool has_body = status_has_body(status);
  ResponseHead head;
  head.status = status;
  head.framing = has_body ? ResponseHead::Framing::kLength : ResponseHead::Framing::kNone;
  head.length = has_body ? body.size() : 0;
  head.content_type = content_type;
  std::string& out = begin_answer(head);
  if (has_body && request_.method != Method::kHead) out.append(body);
  end_answer();
}

inline void ServerExchange::respond_shared(int status, std::string_view content_type,
                                           std::string_view body,
                                           std::shared_ptr<const void> owner) {
  const bool sends_body = status_has_body(status) && request_.method != Method::kHead;
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
    line_->append_shared(body, std::move(owner));
  }
  end_answer();
}

inline void ServerExchange::respond_stream(int status, std::string_view content_type,
                                           std::unique_ptr<BodyStream> stream) {
  const bool chunked = frame_.version_minor != 0;
  if (!chunked) closes_ = true;
  ResponseHead head;
  head.status = status;
  head.framing = chunked ? ResponseHead::Framing::kChunked : ResponseHead::Framing::kUntilClose;
  head.content_type = content_type;
  begin_answer(head);
  if (request_.method == Method::kHead) {
    stream.reset();
  } else if (queued_) {
    stream_ = std::move(stream);
  } else {
    line_->stream_ = std::move(stream);
    line_->stream_chunked_ = chunked;
  }
  end_answer();
}

inline bool ServerExchange::has_pending_before() const {
  return queued_ ? line_->head_ != this : line_->pending();
}

inline bool ServerExchange::wait_for_earlier() {
  KYRO_CHECK(!queued_ && !responded_);
  waiting_ = line_->pending();
  return waiting_;
}

inline void ServerExchange::on_defer() {
  KYRO_CHECK(!responded_ && !deferred_);
  deferred_ = true;
  ++context_.tasks_outstanding;
  if (queued_) return;
  if (request_.body.size() >= kChargedBodyMin) {
    charged_bytes_ = request_.body.size();
    context_.shared.inflight_bytes.fetch_add(charged_bytes_, std::memory_order_relaxed);
  }
  line_->enqueue(this);
}

inline void ServerExchange::run_task(Task* task) {
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
  if (!line_->in_answered) {
    line_->in_answered = true;
    context_.answered.push_back(line_->owner_);
  }
}

inline ReactorContext::~ReactorContext() {
  for (ServerExchange* exchange : free_exchanges) delete exchange;
  for (ServerExchange* exchange : ahead.slots) delete exchange;
  delete current;
}

}  // namespace kyro
