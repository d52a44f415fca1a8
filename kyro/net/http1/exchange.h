// One request of an HTTP/1 connection and the answer to it, and what all such connections of a
// reactor share.
//
// An answer given at once, with none waiting before it, is formatted straight into the reactor's
// scratch output; else it stands in the connection's AnswerLine with bytes of its own.
//
// Invariants: an exchange is the workspace's `current`, a connection's `reading`, or in exactly one
// line (then the line owns it), or orphaned: its connection died, its task will come and free it.
// Thread rule: the reactor's thread, except post_task().
// Ownership: exchanges are pooled per reactor.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/http/reactor_context.h"
#include "kyro/net/http1/field_memory.h"
#include "kyro/net/http1/parser.h"
#include "kyro/net/http1/response.h"

namespace kyro {

class AnswerLine;
class Http1Exchange;

// Requests that came in one read after the one at work and have been parsed, in order. The slots
// keep their exchanges for the next time.
struct RequestsAhead {
  static constexpr size_t kMax = 31;

  void clear() { next = count = 0; }
  [[nodiscard]] bool empty() const { return next == count; }

  std::array<Http1Exchange*, kMax> slots{};
  size_t next = 0;
  size_t count = 0;
};

// What the HTTP/1 connections of one reactor share.
struct Http1Workspace {
  inline explicit Http1Workspace(ReactorContext& reactor);
  Http1Workspace(const Http1Workspace&) = delete;
  Http1Workspace& operator=(const Http1Workspace&) = delete;
  inline ~Http1Workspace();

  ReactorContext& context;
  ResponseHeads heads;
  FieldMemory field_memory;
  RequestsAhead ahead;
  Http1Exchange* current;  // for the next request
  std::vector<Http1Exchange*> free_exchanges;
};

// Where the body of the request at work lies.
class BodyHome {
 public:
  virtual ~BodyHome() = default;
  [[nodiscard]] virtual OwnedBody give_body(std::string_view body) = 0;
};

class Http1Exchange final : public Exchange {
 public:
  // Deferred requests count against the in-flight bound from this size of body.
  static constexpr size_t kChargedBodyMin = 1024;
  static constexpr size_t kKeptCapacityMax = 16 * 1024;
  static constexpr size_t kKeptFieldsMax = 64;

  [[nodiscard]] static Http1Exchange* acquire(Http1Workspace& workspace) {
    if (workspace.free_exchanges.empty()) return new Http1Exchange(workspace);
    Http1Exchange* exchange = workspace.free_exchanges.back();
    workspace.free_exchanges.pop_back();
    return exchange;
  }
  inline void release();

  // Makes ready for the next request of `line`.
  void begin(AnswerLine* line, const PeerAddress& peer, bool is_unix) {
    line_ = line;
    own_request_.peer = peer;
    own_request_.is_unix = is_unix;
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
    return body_home_ != nullptr ? body_home_->give_body(own_request_.body) : Exchange::take_body();
  }
  [[nodiscard]] inline bool has_pending_before() const override;
  [[nodiscard]] inline bool wait_for_earlier() override;

  // For the connection.
  [[nodiscard]] HttpRequest& mutable_request() { return own_request_; }
  [[nodiscard]] Http1Frame& frame() { return frame_; }
  [[nodiscard]] uint64_t max_body_bytes() const { return max_body_bytes_; }
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
  friend struct Http1Workspace;
  explicit Http1Exchange(Http1Workspace& workspace)
      : Exchange(&own_request_), workspace_(workspace), context_(workspace.context) {}
  ~Http1Exchange() override = default;

  inline void on_defer() override;
  inline void run_task(Task* task) override;
  void post_task(Task* task) override { context_.loop.post(task); }

  // The string that takes the answer, with its head written.
  inline std::string& begin_answer(ResponseHead head);
  inline void end_answer();
  inline void refuse_answer();

  Http1Workspace& workspace_;
  ReactorContext& context_;
  HttpRequest own_request_;
  Http1Frame frame_;            // of the request
  AnswerLine* line_ = nullptr;  // null: orphaned
  BodyHome* body_home_ = nullptr;
  Http1Exchange* next_ = nullptr;  // in the line
  std::string fields_;             // of add_header()
  std::string bytes_;              // of an answer that waits its turn
  std::string_view view_;          // a body after bytes_, kept alive by owner_
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

inline Http1Workspace::Http1Workspace(ReactorContext& reactor) : context(reactor) {
  current = Http1Exchange::acquire(*this);
}

inline Http1Workspace::~Http1Workspace() {
  for (Http1Exchange* exchange : free_exchanges) delete exchange;
  for (Http1Exchange* exchange : ahead.slots) delete exchange;
  delete current;
}

}  // namespace kyro

#include "kyro/net/http1/answer_line.h"  // IWYU pragma: export
