// One request of an HTTP/2 connection and the answer to it, and what all such connections of a
// reactor share.
//
// The head of an answer is written as soon as it is given, since heads count in no window. A small
// body goes with it where the windows allow; what is left stays here until the protocol comes round
// to it, a piece at a time. Trailers are last.
//
// Invariant: an exchange is its stream's until that ends. Then it goes back to the pool, or, with
// tasks under way, is orphaned, and the last of them brings it back.
// Thread rule: the reactor's thread, except post_task(). Ownership: pooled per reactor.
#pragma once

#include <cstdint>
#include <memory>
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

  explicit Http2Workspace(ReactorContext& reactor) : context(reactor) {}
  Http2Workspace(const Http2Workspace&) = delete;
  Http2Workspace& operator=(const Http2Workspace&) = delete;
  inline ~Http2Workspace();

  [[nodiscard]] inline Http2Exchange* acquire();
  inline void release(Http2Exchange* exchange);

  ReactorContext& context;
  std::vector<Http2Exchange*> free;
};

class Http2Exchange final : public Exchange {
 public:
  void add_header(std::string_view name, std::string_view value) override {
    append_field(kHeadField, name, value);
  }
  void add_trailer(std::string_view name, std::string_view value) override {
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
    OwnedBody owned{std::exchange(body_, std::string()), 0, request_.body.size()};
    return owned;
  }
  void read_body(std::unique_ptr<BodyReader> reader) override { reader_ = std::move(reader); }
  void body_taken(size_t bytes) override;
  void wake() override;
  void set_deadline(uint64_t ms) override;

 private:
  friend class Http2Protocol;
  friend struct Http2Workspace;

  explicit Http2Exchange(Http2Workspace& workspace) : workspace_(workspace) {}
  ~Http2Exchange() override = default;

  // The stream has ended: forgets everything but what tasks under way need.
  void end() {
    stream_ = nullptr;
    reader_.reset();
    source_.reset();
    owner_.reset();
    unsent_ = behind_ = {};
  }
  // The handler has seen the request, and answers later or for long: views of it are not valid any
  // more.
  void drop_request_text() {
    std::string().swap(head_text_);
    request_.fields = {};
  }
  // Makes ready for the pool.
  inline void clear();

  // Writes the head; false if that was all.
  bool begin_answer(int status, std::string_view content_type, uint64_t length, bool has_length);
  [[nodiscard]] bool is_sending() const { return !unsent_.empty() || source_ != nullptr; }

  void on_defer() override {
    ++tasks_;
    ++workspace_.context.tasks_outstanding;
  }
  void post_task(Task* task) override { workspace_.context.loop.post(task); }
  void run_task(Task* task) override;

  // Fields lie one after the other: where it belongs, name, NUL, value, NUL.
  static constexpr char kHeadField = 'h';
  static constexpr char kTrailer = 't';
  void append_field(char where, std::string_view name, std::string_view value) {
    has_trailers_ |= where == kTrailer;
    fields_ += where;
    for (const char c : name) fields_ += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    fields_ += '\0';
    fields_.append(value) += '\0';
  }
  // Calls visit(name, value) for those of the head, or the trailers.
  template <class Visit>
  void visit_fields(char where, Visit visit) const {
    for (std::string_view text = fields_; !text.empty();) {
      const size_t name_end = text.find('\0');
      const size_t value_end = text.find('\0', name_end + 1);
      if (text.front() == where) {
        visit(text.substr(1, name_end - 1), text.substr(name_end + 1, value_end - name_end - 1));
      }
      text.remove_prefix(value_end + 1);
    }
  }

  Http2Workspace& workspace_;
  Http2Protocol* protocol_ = nullptr;  // null: orphaned, or in the pool
  Http2Stream* stream_ = nullptr;      // null: it has ended
  Http2Exchange* next_turn_ = nullptr;

  // The request.
  std::string head_text_;  // what request_ points into
  std::string body_;
  std::unique_ptr<BodyReader> reader_;
  uint64_t start_ns_ = 0;
  uint64_t charged_bytes_ = 0;   // of the body, against the in-flight bound
  uint32_t withheld_bytes_ = 0;  // of the window, until there is room for more

  // The answer.
  std::string fields_;       // and trailers
  std::string bytes_;        // of a body that is copied, or that the source has produced
  std::string_view unsent_;  // of bytes_, or of what owner_ holds
  std::string_view behind_;  // what follows that, of what owner_ holds
  std::shared_ptr<const void> owner_;
  std::unique_ptr<BodyStream> source_;
  uint64_t counted_bytes_ = 0;  // of bytes_, in shared.output_bytes

  // Deadlines; 0: none.
  uint64_t body_by_ms_ = 0;    // the rest of the request
  uint64_t answer_by_ms_ = 0;  // of set_deadline()
  uint64_t window_by_ms_ = 0;  // the client opens its window
  uint64_t look_at_ms_ = 0;    // a source that waits, or may be revoked
  uint64_t room_by_ms_ = 0;    // there is room for more of the body

  uint32_t tasks_ = 0;
  uint16_t status_ = 0;
  bool is_told_ = false;       // on_headers() has been called
  bool is_whole_ = false;      // the request is there
  bool is_too_large_ = false;  // its head is
  bool in_arrived_ = false;
  bool in_turns_ = false;
  bool is_parked_ = false;  // the source has nothing for now
  bool has_trailers_ = false;
  bool is_counted_ = false;  // as one that streams
};

inline Http2Workspace::~Http2Workspace() {
  for (Http2Exchange* exchange : free) delete exchange;
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

inline void Http2Exchange::clear() {
  constexpr size_t kKeptBytes = 256;
  constexpr size_t kKeptFields = 16;
  end();
  workspace_.context.shared.inflight_bytes.fetch_sub(std::exchange(charged_bytes_, 0u),
                                                     std::memory_order_relaxed);
  for (std::string* text : {&head_text_, &body_, &fields_, &bytes_}) {
    text->clear();
    if (text->capacity() > kKeptBytes) std::string().swap(*text);
  }
  request_.clear();
  if (request_.fields.capacity() > kKeptFields) request_.fields = {};
  protocol_ = nullptr;
  route_ = kNoRoute;
  user_ = 0;
  status_ = 0;
  max_body_option_ = nullptr;
  body_by_ms_ = answer_by_ms_ = window_by_ms_ = look_at_ms_ = room_by_ms_ = 0;
  withheld_bytes_ = 0;
  responded_ = has_trailers_ = is_told_ = is_whole_ = is_too_large_ = is_parked_ = false;
}

}  // namespace kyro
