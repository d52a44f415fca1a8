// One request of an HTTP/2 connection and the answer to it, and what all such connections of a
// reactor share.
//
// The head of an answer is written as soon as it is given, since heads count in no window. A small
// body goes with it where the windows allow; what is left stays here until the protocol comes round
// to it, a piece at a time. Trailers are last.
//
// Most streams that are open wait, for the rest of their request or for something to happen. So an
// exchange is small: the request in the form in which handlers see it exists only while one looks
// at it, and what is needed for an answer that cannot be sent at once comes with that.
//
// Invariant: an exchange is its stream's until that ends. Then it goes back to the pool, or, with
// tasks under way, is orphaned, and the last of them brings it back.
// Thread rule: the reactor's thread, except post_task(). Ownership: pooled per reactor.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/http/reactor_context.h"
#include "kyro/net/http2/head.h"
#include "kyro/net/http2/streams.h"

namespace kyro {

class Http2Exchange;
class Http2Protocol;

// What the HTTP/2 connections of one reactor share.
struct Http2Workspace {
  static constexpr size_t kPooledMax = 512;
  static constexpr size_t kPooledRequestsMax = 128;  // of one read
  static constexpr size_t kKeptFields = 16;

  explicit Http2Workspace(ReactorContext& reactor) : context(reactor) {
    past.version = HttpVersion::k2;
  }
  Http2Workspace(const Http2Workspace&) = delete;
  Http2Workspace& operator=(const Http2Workspace&) = delete;
  inline ~Http2Workspace();

  [[nodiscard]] inline Http2Exchange* acquire();
  inline void release(Http2Exchange* exchange);
  [[nodiscard]] HttpRequest* acquire_request() {
    if (requests.empty()) return new HttpRequest;
    HttpRequest* const request = requests.back();
    requests.pop_back();
    return request;
  }
  void release_request(HttpRequest* request) {
    if (request->fields.capacity() > kKeptFields) request->fields = {};
    if (requests.size() < kPooledRequestsMax) return requests.push_back(request);
    delete request;
  }

  ReactorContext& context;
  HttpRequest past;  // what an exchange has after its request
  Http2StreamPool streams;
  std::vector<Http2Exchange*> free;
  std::vector<HttpRequest*> requests;  // that are free, too
};

class Http2Exchange final : public Exchange {
 public:
  void add_header(std::string_view name, std::string_view value) override {
    append_field(kHeadField, name, value);
  }
  void add_trailer(std::string_view name, std::string_view value) override {
    has_trailers_ = true;
    append_field(kTrailer, name, value);
  }
  void respond(int status, std::string_view content_type, std::string_view body) override;
  void respond_shared(int status, std::string_view content_type, std::string_view body,
                      std::shared_ptr<const void> owner) override;
  void respond_shared_behind(int status, std::string_view content_type, std::string_view head,
                             std::string_view body, std::shared_ptr<const void> owner) override;
  void respond_stream(int status, std::string_view content_type,
                      std::unique_ptr<BodyStream> stream) override;
  void close_after() override {}  // the other streams have no part in it
  [[nodiscard]] bool has_pending_before() const override { return false; }
  [[nodiscard]] bool wait_for_earlier() override { return false; }
  [[nodiscard]] OwnedBody take_body() override {
    OwnedBody owned{std::exchange(body_, std::string()), 0, request_->body.size()};
    return owned;
  }
  void read_body(std::unique_ptr<BodyReader> reader) override { reader_ = std::move(reader); }
  void body_taken(size_t bytes) override;
  void wake() override;
  void set_deadline(uint64_t ms) override;

 private:
  friend class Http2Protocol;
  friend class RequestInHand;
  friend struct Http2Workspace;

  // What is left of an answer that could not be sent at once.
  struct Rest {
    std::string bytes;        // of a body that is copied, or that the source has produced
    std::string_view unsent;  // of bytes, or of what owner holds
    std::string_view behind;  // what follows that, of what owner holds
    std::shared_ptr<const void> owner;
    std::unique_ptr<BodyStream> source;
    uint64_t counted_bytes = 0;  // of bytes, in shared.output_bytes
    uint64_t window_by_ms = 0;   // the client opens its window; 0: it need not
    uint64_t look_at_ms = 0;     // a source that waits, or may be revoked; 0: none
    bool is_parked = false;      // the source has nothing for now
  };

  explicit Http2Exchange(Http2Workspace& workspace)
      : Exchange(&workspace.past), workspace_(workspace) {}
  ~Http2Exchange() override = default;

  [[nodiscard]] bool has_request() const { return own_request_ != nullptr; }
  // Makes the request, of its text. REQUIRES: has_request() is false.
  void read_request();
  void put_request_back() {
    if (!has_request()) return;
    workspace_.release_request(std::exchange(own_request_, nullptr));
    request_ = &workspace_.past;
  }
  // The handler has seen the request, and answers later or for long.
  void drop_request_text() { std::string().swap(head_text_); }

  // The stream has ended: forgets everything but what tasks under way need.
  void end() {
    stream_ = nullptr;
    reader_.reset();
    rest_.reset();
  }
  // Makes ready for the pool.
  inline void clear();

  // What cannot be sent at once waits for its turn.
  inline Rest& begin_rest();
  // Writes the head; false if that was all.
  bool begin_answer(int status, std::string_view content_type, uint64_t length, bool has_length);
  [[nodiscard]] BodyStream* source() const {
    return rest_ != nullptr ? rest_->source.get() : nullptr;
  }
  [[nodiscard]] bool has_unsent() const { return rest_ != nullptr && !rest_->unsent.empty(); }

  void on_defer() override {
    ++tasks_;
    ++workspace_.context.tasks_outstanding;
  }
  void post_task(Task* task) override { workspace_.context.loop.post(task); }
  void run_task(Task* task) override;

  // Fields lie one after the other: where it belongs, two lengths, name, value.
  static constexpr char kHeadField = 'h';
  static constexpr char kTrailer = 't';
  static constexpr size_t kFieldHeadBytes = 1 + 2 * sizeof(uint16_t);
  inline void append_field(char where, std::string_view name, std::string_view value);
  // Calls visit(name, value) for those of the head, or the trailers.
  template <class Visit>
  void visit_fields(char where, Visit visit) const {
    for (const char* at = fields_.data(); at != fields_.data() + fields_.size();) {
      uint16_t lengths[2];
      std::memcpy(lengths, at + 1, sizeof lengths);
      const std::string_view name(at + kFieldHeadBytes, lengths[0]);
      const std::string_view value(name.data() + name.size(), lengths[1]);
      if (*at == where) visit(name, value);
      at = value.data() + value.size();
    }
  }

  Http2Workspace& workspace_;
  Http2Protocol* protocol_ = nullptr;  // null: orphaned, or in the pool
  Http2Stream* stream_ = nullptr;      // null: it has ended
  Http2Exchange* next_turn_ = nullptr;

  // The request.
  HttpRequest* own_request_ = nullptr;
  std::string head_text_;
  Http2Head::Places places_;
  std::string body_;
  std::unique_ptr<BodyReader> reader_;
  uint64_t start_ns_ = 0;
  uint64_t charged_bytes_ = 0;   // of the body, against the in-flight bound
  uint32_t withheld_bytes_ = 0;  // of the window, until there is room for more

  // The answer.
  uint32_t tasks_ = 0;
  std::string fields_;  // and trailers
  std::unique_ptr<Rest> rest_;

  // Deadlines; 0: none. A Rest has more.
  uint64_t body_by_ms_ = 0;    // the rest of the request
  uint64_t answer_by_ms_ = 0;  // of set_deadline()
  uint64_t room_by_ms_ = 0;    // there is room for more of the body

  uint16_t status_ = 0;
  Method method_ = Method::kGet;
  bool ended_with_head_ = false;  // the request has no body
  bool is_told_ = false;          // on_headers() has been called
  bool is_whole_ = false;         // the request is there
  bool is_unfinished_ = false;    // counted as one that is not
  bool is_too_large_ = false;     // its head is
  bool in_arrived_ = false;
  bool in_turns_ = false;
  bool has_trailers_ = false;
  bool is_counted_ = false;  // as one that streams
};
static_assert(sizeof(Http2Exchange) <= 320);

// A handler's look at the request of an exchange that waits.
class RequestInHand {
 public:
  explicit RequestInHand(Http2Exchange& x) : x_(x), was_there_(x.has_request()) {
    if (!was_there_) x.read_request();
  }
  RequestInHand(const RequestInHand&) = delete;
  RequestInHand& operator=(const RequestInHand&) = delete;
  ~RequestInHand() {
    if (!was_there_) x_.put_request_back();
  }

 private:
  Http2Exchange& x_;
  const bool was_there_;
};

inline Http2Workspace::~Http2Workspace() {
  for (Http2Exchange* exchange : free) delete exchange;
  for (HttpRequest* request : requests) delete request;
}

inline Http2Exchange* Http2Workspace::acquire() {
  if (free.empty()) return new Http2Exchange(*this);
  Http2Exchange* const exchange = free.back();
  free.pop_back();
  return exchange;
}

inline void Http2Workspace::release(Http2Exchange* exchange) {
  exchange->clear();
  if (free.size() < kPooledMax) return free.push_back(exchange);
  delete exchange;
}

inline void Http2Exchange::append_field(char where, std::string_view name, std::string_view value) {
  KYRO_CHECK(name.size() <= UINT16_MAX && value.size() <= UINT16_MAX);
  const uint16_t lengths[] = {static_cast<uint16_t>(name.size()),
                              static_cast<uint16_t>(value.size())};
  char head[kFieldHeadBytes] = {where};
  std::memcpy(head + 1, lengths, sizeof lengths);
  fields_.append(head, sizeof head).append(name);
  for (char& c : std::span(fields_).last(name.size())) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  fields_.append(value);
}

inline void Http2Exchange::clear() {
  constexpr size_t kKeptBytes = 256;
  end();
  put_request_back();
  if (charged_bytes_ != 0) {
    workspace_.context.shared.inflight_bytes.fetch_sub(std::exchange(charged_bytes_, 0u),
                                                       std::memory_order_relaxed);
  }
  for (std::string* text : {&head_text_, &body_, &fields_}) {
    text->clear();
    if (text->capacity() > kKeptBytes) std::string().swap(*text);
  }
  protocol_ = nullptr;
  route_ = kNoRoute;
  user_ = 0;
  status_ = 0;
  max_body_option_ = nullptr;
  body_by_ms_ = answer_by_ms_ = room_by_ms_ = 0;
  withheld_bytes_ = 0;
  responded_ = has_trailers_ = is_told_ = is_whole_ = is_too_large_ = false;
}

}  // namespace kyro
