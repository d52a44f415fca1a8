// The face of the HTTP server towards the application: what a handler is told and what it may do.
//
// Life of a request, everything on one reactor thread:
//
//   on_headers(x)   the head is complete and valid, the body is not read. The handler may answer at
//                   once (401, 404, 405, …) and may set the largest body it wants. If it answers
//                   while a body is outstanding, a short body is skipped, else the answer says
//                   "Connection: close" and the connection closes so that the client can read it.
//   on_request(x)   the whole body is there. Exactly one of: respond…(), defer(task),
//                   wait_for_earlier() (after which on_request is called again).
//   on_response(…)  the answer has been handed to the socket (or failed to be).
//
// In HTTP/1 answers always leave in the order of the requests, and pipelined requests that were
// deferred are all in flight at once; in HTTP/2 every request is answered by itself. The views of
// request() are valid only inside on_headers and on_request; a handler that defers copies what it
// needs.
//
// Only HTTP/2 has what a call of gRPC needs: a body that is taken while it comes (read_body()),
// trailers, a deadline, and more than one deferred task for one request.
//
// Thread rule: Handler and Exchange calls happen on the reactor thread of the connection; several
// reactors call one Handler at the same time. Task::post() is called from any thread.
// Ownership: the server owns an Exchange. A Task belongs to whoever made it until post(); its run()
// is the last thing the server does with it, and the task then disposes of itself.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/text/json_text.h"
#include "kyro/net/http/kept_request.h"
#include "kyro/net/http/request.h"
#include "kyro/net/io/task_queue.h"

namespace kyro {

class Exchange;

// An answer that comes later. Exchange::defer(&task) binds it; then post() exactly once, from any
// thread, brings run() to the reactor of that exchange. `exchange` is null when the connection has
// died meanwhile; otherwise run() must respond, or defer again (to this task or another).
class Task : public QueueNode {
 public:
  virtual void run(Exchange* exchange) = 0;
  inline void post();

 private:
  friend class Exchange;
  inline void run_queued() final;
  Exchange* bound_ = nullptr;
};

// A task that waits for something that may be long in coming, for nobody but who asked.
class WaitingTask : public Task {
 public:
  // Nobody waits any more: the client has gone or will send nothing more, the stream was reset, or
  // its deadline has answered. Posts the task soon, if nothing else has. Reactor thread.
  virtual void on_abandoned() = 0;
};

// A body of unknown length, produced piece by piece on the reactor thread whenever the socket has
// room. One call is bounded work; other connections get their turn between two calls.
class BodyStream {
 public:
  enum class Next : uint8_t {
    kMore,   // call again when there is room (what was appended goes out)
    kWait,   // nothing now: call again after wake_streams() or after heartbeat_ms()
    kEnd,    // what was appended is the end of the body
    kAbort,  // the body cannot be completed: the connection breaks off, so the client can tell
  };
  virtual ~BodyStream() = default;
  // Appends up to about `budget_bytes` to `out`.
  [[nodiscard]] virtual Next produce(std::string& out, size_t budget_bytes) = 0;
  // A parked stream's produce() is called at least this often.
  [[nodiscard]] virtual uint64_t heartbeat_ms() const { return 15000; }
  // While the client does not take what is there, this is asked once a second: true breaks the body
  // off like kAbort, for a body that holds what others need.
  [[nodiscard]] virtual bool is_revoked() const { return false; }
  // The server is draining. An endless body appends its last bytes and says true; one that ends by
  // itself says false and is asked on. Called at most once, instead of produce().
  [[nodiscard]] virtual bool on_drain(std::string& out) {
    static_cast<void>(out);
    return false;
  }
  // The body has ended, as it should or by on_drain(): adds the trailers.
  virtual void on_end(Exchange& exchange) { static_cast<void>(exchange); }
};

// A request's body in the hands of a handler that takes it while it comes.
class BodyReader {
 public:
  virtual ~BodyReader() = default;  // also when the client gives the request up
  // The next piece, which is empty only if it `ends` the body. The client may send as much again
  // as Exchange::body_taken() is told.
  virtual void on_piece(Exchange& exchange, std::string_view piece, bool ends) = 0;
};

inline constexpr uint16_t kNoRoute = 0;

// 204 and 304 (and 1xx) never have a body or a length.
[[nodiscard]] constexpr bool status_has_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

// Why the server itself turned a request or a connection away.
enum class RejectReason : uint8_t {
  kBadRequest,       // 400: grammar
  kHeaderTimeout,    // 408
  kBodyTimeout,      // 408
  kBodyTooLarge,     // 413
  kUriTooLong,       // 414
  kExpectation,      // 417
  kHeadersTooLarge,  // 431
  kNotImplemented,   // 501: a transfer coding or CONNECT
  kVersion,          // 505
  kInflightBytes,    // 503: all bodies, or answers, together are over their bound
  kConnectionCap,    // 503
  kPerIpCap,         // 429
  kFileDescriptors,  // 503, or closed: there are none left
  kShed,             // a connection that had held most for longest, for others
  kWriteTimeout,     // the client did not read
  kProtocolError,    // HTTP/2: a stream or the connection was ended for an error of the client
  kStreams,          // HTTP/2: more streams at once than were allowed
  kFlood,            // HTTP/2: too much that is no work
  kCount
};

[[nodiscard]] constexpr const char* reject_reason_name(RejectReason reason) {
  constexpr const char* kNames[] = {
      "bad_request",      "header_timeout", "body_timeout",      "body_too_large",
      "uri_too_long",     "expectation",    "headers_too_large", "not_implemented",
      "version",          "inflight_bytes", "connections",       "connections_per_ip",
      "file_descriptors", "shed",           "write_timeout",     "protocol_error",
      "streams",          "flood"};
  static_assert(sizeof kNames / sizeof kNames[0] == static_cast<size_t>(RejectReason::kCount));
  return kNames[static_cast<size_t>(reason)];
}

// Bodies from here on are sent from where they lie (respond_shared); below it a copy is cheaper.
inline constexpr size_t kSharedBodyBytesMin = 32 * 1024;

// A request's body in the hands of whoever has taken it.
struct OwnedBody {
  std::string bytes;  // and what stood around the body
  size_t begin = 0;
  size_t size = 0;

  [[nodiscard]] std::span<char> body() { return {bytes.data() + begin, size}; }
};

// Why an answer is refused that would have had to be kept for its reader.
inline constexpr std::string_view kTooMuchWaits =
    "Too many bytes of answers wait for their readers.";

// One request and the one answer to it.
class Exchange {
 public:
  [[nodiscard]] const HttpRequest& request() const { return *request_; }

  // What on_response() is told; kNoRoute until set.
  void set_route(uint16_t route) { route_ = route; }
  [[nodiscard]] uint16_t route() const { return route_; }
  // Eight bytes for the handler, kept from on_ahead or on_headers to on_request (0 at first).
  void set_user(uint64_t user) { user_ = user; }
  [[nodiscard]] uint64_t user() const { return user_; }
  // An answer has been given (or begun).
  [[nodiscard]] bool responded() const { return responded_; }

  // In on_headers: a longer body is answered with 413 by the server.
  // That answer names `option`, which sets the bound; null for none.
  void set_max_body_bytes(uint64_t bytes, const char* option = nullptr) {
    max_body_bytes_ = bytes;
    max_body_option_ = option;
  }

  // Adds a field to the answer that follows. Name and value must be valid (no CR, LF, NUL). Date,
  // Content-Type, Content-Length, Transfer-Encoding and Connection are the server's, and so is the
  // Retry-After of 503.
  virtual void add_header(std::string_view name, std::string_view value) = 0;

  // Answers with a body that is copied. An empty content_type sends none. Under HEAD only the head
  // goes out, with the length the body has; 204 and 304 never have a body.
  virtual void respond(int status, std::string_view content_type, std::string_view body) = 0;
  // The same without a copy for large bodies: `body` stays valid as long as `owner` is held.
  virtual void respond_shared(int status, std::string_view content_type, std::string_view body,
                              std::shared_ptr<const void> owner) = 0;
  // The same with `head`, which is copied, before `body`.
  virtual void respond_shared_behind(int status, std::string_view content_type,
                                     std::string_view head, std::string_view body,
                                     std::shared_ptr<const void> owner) {
    static_cast<void>(owner);
    respond(status, content_type, std::string(head).append(body));
  }
  // Answers with a stream: chunked, or delimited by the close under HTTP/1.0.
  virtual void respond_stream(int status, std::string_view content_type,
                              std::unique_ptr<BodyStream> stream) = 0;
  // A field after the body, to be added before the answer is given, or in BodyStream::on_end().
  // An answer without a body has its trailers in its head.
  virtual void add_trailer(std::string_view name, std::string_view value) {
    static_cast<void>(name), static_cast<void>(value);
  }
  // In on_headers: the body goes to the reader, of any length; on_request is not called.
  virtual void read_body(std::unique_ptr<BodyReader> reader) { static_cast<void>(reader); }
  virtual void body_taken(size_t bytes) { static_cast<void>(bytes); }
  // The answer's stream, which waits, has something now. Reactor thread.
  virtual void wake() {}
  // From `ms` on, Handler::on_deadline() is called where there is no answer, and a stream that
  // waits is called again. At most one.
  virtual void set_deadline(uint64_t ms) { static_cast<void>(ms); }

  // Answers {"error":"<code>","message":"<message>"} as application/json.
  inline void respond_error(int status, std::string_view code, std::string_view message);

  // The connection closes after this answer. Call before respond…().
  virtual void close_after() = 0;

  // In on_request: hands the body over, a large one without a copy. The views of request() are not
  // valid any more then.
  [[nodiscard]] virtual OwnedBody take_body() {
    return {std::string(request_->body), 0, request_->body.size()};
  }

  // An earlier request of this connection still waits for its answer.
  [[nodiscard]] virtual bool has_pending_before() const = 0;
  // In on_request: asks for on_request() again, once every earlier request of the connection has
  // been answered. False if there is none: then answer now. Later requests wait for this one.
  [[nodiscard]] virtual bool wait_for_earlier() = 0;
  // In task->run(): while this lives, request() is once more what was kept in on_request.
  class SecondLook {
   public:
    SecondLook(Exchange& x, const KeptRequest& kept)
        : exchange_(x), before_(std::exchange(x.request_, &kept.request())) {}
    SecondLook(const SecondLook&) = delete;
    SecondLook& operator=(const SecondLook&) = delete;
    ~SecondLook() { exchange_.request_ = before_; }

   private:
    Exchange& exchange_;
    const HttpRequest* const before_;
  };
  // The answer comes from task->run(). Call before the task can be posted.
  void defer(Task* task) {
    task->bound_ = this;
    on_defer();
  }
  // The same; at most one such task at a time.
  void defer(WaitingTask* task) {
    defer(static_cast<Task*>(task));
    waiting_task_ = task;
  }

  // What a 413 for a longer body says.
  [[nodiscard]] std::string body_too_large() const {
    std::string message = "The body is larger than the " + std::to_string(max_body_bytes_) +
                          " bytes that are allowed here";
    if (max_body_option_ != nullptr) message.append(" (").append(max_body_option_).append(")");
    return message + ".";
  }

 protected:
  // `request` is valid as long as the protocol says so, and something is there afterwards.
  explicit Exchange(const HttpRequest* request) : request_(request) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  virtual ~Exchange() = default;
  virtual void on_defer() = 0;
  virtual void post_task(Task* task) = 0;  // any thread
  virtual void run_task(Task* task) = 0;   // reactor: calls task->run(this or nullptr)
  // Tells the task that waits, if one does.
  void abandon_waiting() {
    if (waiting_task_ != nullptr) std::exchange(waiting_task_, nullptr)->on_abandoned();
  }

  const HttpRequest* request_;
  WaitingTask* waiting_task_ = nullptr;  // deferred, and not run or told yet
  uint64_t max_body_bytes_ = 0;
  const char* max_body_option_ = nullptr;
  uint64_t user_ = 0;
  uint16_t route_ = kNoRoute;
  bool responded_ = false;

 private:
  friend class Task;
};

inline void Task::post() {
  bound_->post_task(this);
}
inline void Task::run_queued() {
  if (bound_->waiting_task_ == this) bound_->waiting_task_ = nullptr;
  bound_->run_task(this);
}

// An answer that has been handed to the socket, or failed to be; `count` of them, one after the
// other, where they are alike. duration_ns runs from the read that completed the request to the
// write of the answer (of a stream: of its head).
struct Answered {
  uint64_t count = 1;
  uint64_t duration_ns = 0;
  uint64_t body_bytes = 0;  // 0 for a stream: nobody knows yet
  const PeerAddress* peer = nullptr;
  uint16_t route = kNoRoute;
  uint16_t status = 0;
  Method method = Method::kOther;  // kOther too where the request line was not understood
  HttpVersion version = HttpVersion::k1;
  bool is_unix = false;
};

// The application. No call may block.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual void on_headers(Exchange& exchange) = 0;
  virtual void on_request(Exchange& exchange) = 0;
  // These requests have come together, and nothing has been decided on any of them yet: a chance to
  // fetch what they ask for into the caches at once. Each then goes through on_headers and
  // on_request in this order, or is announced again, or never served. What this sets with
  // set_route() and set_user() is there in on_headers.
  virtual void on_ahead(std::span<Exchange* const> exchanges) { static_cast<void>(exchanges); }
  // Every answer, those the server made itself too (with the route if one was set).
  virtual void on_response(const Answered& answered) { static_cast<void>(answered); }
  virtual void on_rejected(RejectReason reason) { static_cast<void>(reason); }
  // Answers a request that the server itself refuses.
  virtual void refuse(Exchange& exchange, int status, std::string_view code,
                      std::string_view message) {
    exchange.respond_error(status, code, message);
  }
  // set_deadline()'s time has come and there is no answer: gives one. Tasks that are still under
  // way are run without an exchange.
  virtual void on_deadline(Exchange& exchange) { static_cast<void>(exchange); }
  // Around everything a reactor does between two waits. Reactors are numbered from 0.
  virtual void on_round_begin(unsigned reactor) { static_cast<void>(reactor); }
  // What has come in this round has been handed over; tasks posted now are run in this round.
  virtual void on_round_gathered(unsigned reactor) { static_cast<void>(reactor); }
  virtual void on_round_end(unsigned reactor) { static_cast<void>(reactor); }
};

// Appends {"error":"<code>","message":"<message>"}; what is not printable ASCII in the message
// becomes "?" (it may quote a peer's bytes).
inline void append_error_json(std::string& out, std::string_view code, std::string_view message) {
  std::string plain(message);
  for (char& c : plain) {
    if (c < 0x20 || c > 0x7E) c = '?';
  }
  out.append("{\"error\":\"").append(code).append("\",\"message\":");
  append_json_string(out, plain);
  out += '}';
}

inline void Exchange::respond_error(int status, std::string_view code, std::string_view message) {
  std::string body;
  append_error_json(body, code, message);
  respond(status, "application/json", body);
}

}  // namespace kyro
