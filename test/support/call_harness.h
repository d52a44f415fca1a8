// Calls of gRPC without a connection: an exchange that keeps what it is told, and rounds of a
// reactor that a test turns by hand.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/server/api.h"
#include "kyro/server/grpc/framing.h"
#include "kyro/server/grpc/protobuf.h"
#include "test/support/engine_harness.h"

namespace kyro::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

// The value of the field `name`, or "-".
inline std::string field_of(const Fields& fields, std::string_view name) {
  for (const auto& [field, value] : fields) {
    if (field == name) return value;
  }
  return "-";
}

// A message with its head.
inline std::string framed(std::string_view message) {
  std::string out;
  rpc::append_message_head(out, message.size());
  return out.append(message);
}

// The messages of a body; the last may be cut short, which `rest` then is.
inline std::vector<std::string> messages_of(std::string_view body, std::string* rest = nullptr) {
  std::vector<std::string> out;
  for (;;) {
    const auto size = rpc::message_size(body, UINT32_MAX);
    REQUIRE(size.ok());
    if (!*size || body.size() - rpc::kMessageHeadBytes < **size) break;
    out.emplace_back(body.substr(rpc::kMessageHeadBytes, **size));
    body.remove_prefix(rpc::kMessageHeadBytes + **size);
  }
  if (rest != nullptr) {
    *rest = body;
  } else {
    REQUIRE(body.empty());
  }
  return out;
}

// Fields of a message by their numbers: the last one each, 0 or empty where there is none.
inline uint64_t number_in(std::string_view message, uint32_t field_number) {
  ProtoReader reader(message);
  ProtoField field;
  uint64_t found = 0;
  while (reader.next(&field)) {
    if (field.is_varint(field_number)) found = field.value;
  }
  REQUIRE(reader.ok());
  return found;
}
inline std::string bytes_in(std::string_view message, uint32_t field_number) {
  ProtoReader reader(message);
  ProtoField field;
  std::string found;
  while (reader.next(&field)) {
    if (field.is_bytes(field_number)) found = field.bytes;
  }
  REQUIRE(reader.ok());
  return found;
}
inline std::vector<std::string> all_bytes_in(std::string_view message, uint32_t field_number) {
  ProtoReader reader(message);
  ProtoField field;
  std::vector<std::string> found;
  while (reader.next(&field)) {
    if (field.is_bytes(field_number)) found.emplace_back(field.bytes);
  }
  REQUIRE(reader.ok());
  return found;
}

class CallRounds;

// One call. Its stream is asked on whenever a round is turned, as if the client took everything, or
// only where the test asks.
class FakeCall final : public Exchange {
 public:
  FakeCall(CallRounds& rounds, std::string path, Fields fields)
      : Exchange(&own_request_),
        rounds_(rounds),
        path_(std::move(path)),
        fields_(std::move(fields)) {
    own_request_.method = Method::kPost;
    own_request_.version = HttpVersion::k2;
    own_request_.path = own_request_.target = path_;
    for (const auto& [name, value] : fields_) own_request_.fields.push_back({name, value});
  }
  ~FakeCall() override = default;

  [[nodiscard]] HttpRequest& mutable_request() { return own_request_; }
  [[nodiscard]] uint64_t body_limit() const { return max_body_bytes_; }

  // ---- what it was told ----

  int status = 0;
  std::string type;
  std::string body;
  Fields headers;
  Fields trailers;
  std::unique_ptr<BodyStream> stream;
  std::unique_ptr<BodyReader> reader;
  uint64_t deadline_ms = 0;
  uint64_t returned_window = 0;
  bool is_over = false;     // the answer is whole
  bool is_aborted = false;  // it broke off
  size_t slices = 0;        // of the stream
  size_t slice_bytes_max = 0;
  size_t shared_bytes = 0;  // of a body that was sent from where it lies

  [[nodiscard]] std::string grpc_status() const { return field_of(trailers, "grpc-status"); }
  [[nodiscard]] std::string grpc_message() const { return field_of(trailers, "grpc-message"); }

  // ---- what it does ----

  void add_header(std::string_view name, std::string_view value) override {
    headers.emplace_back(name, value);
  }
  void add_trailer(std::string_view name, std::string_view value) override {
    trailers.emplace_back(name, value);
  }
  inline void respond(int code, std::string_view content_type, std::string_view text) override;
  void respond_shared(int code, std::string_view content_type, std::string_view text,
                      std::shared_ptr<const void>) override {
    shared_bytes = text.size();
    respond(code, content_type, text);
  }
  void respond_shared_behind(int code, std::string_view content_type, std::string_view head,
                             std::string_view text, std::shared_ptr<const void>) override {
    shared_bytes = text.size();
    respond(code, content_type, std::string(head).append(text));
  }
  inline void respond_stream(int code, std::string_view content_type,
                             std::unique_ptr<BodyStream> source) override;
  void close_after() override {}
  [[nodiscard]] bool has_pending_before() const override { return false; }
  [[nodiscard]] bool wait_for_earlier() override { return false; }
  void read_body(std::unique_ptr<BodyReader> body_reader) override {
    reader = std::move(body_reader);
  }
  void body_taken(size_t bytes) override { returned_window += bytes; }
  void wake() override {}
  void set_deadline(uint64_t ms) override { deadline_ms = ms; }

  // A piece of the body for the reader.
  void send(std::string_view piece, bool ends = false) { reader->on_piece(*this, piece, ends); }
  // Asks the stream for one slice; false if it waits or there is none.
  bool pump(size_t budget_bytes = 16 * 1024) {
    if (stream == nullptr) return false;
    const size_t before = body.size();
    const BodyStream::Next next = stream->produce(body, budget_bytes);
    ++slices;
    slice_bytes_max = std::max(slice_bytes_max, body.size() - before);
    if (next == BodyStream::Next::kEnd) end_stream();
    if (next == BodyStream::Next::kAbort) {
      stream.reset();
      is_over = is_aborted = true;
    }
    return next == BodyStream::Next::kMore;
  }
  void drain() {
    if (stream != nullptr && stream->on_drain(body)) end_stream();
  }
  // The client gives up: everything of the call goes, its tasks are run without an exchange.
  void cancel() {
    is_cancelled_ = true;
    reader.reset();
    stream.reset();
  }

 private:
  friend class CallRounds;

  void end_stream() {
    stream->on_end(*this);
    stream.reset();
    is_over = true;
  }
  void on_defer() override { ++tasks_; }
  inline void post_task(Task* task) override;
  void run_task(Task* task) override {
    --tasks_;
    task->run(is_cancelled_ ? nullptr : this);
  }
  inline void tell_handler() const;

  CallRounds& rounds_;
  const std::string path_;
  const Fields fields_;
  HttpRequest own_request_;
  std::string request_body_;
  bool is_cancelled_ = false;
  size_t tasks_ = 0;  // under way
};

// The reactor of such calls.
class CallRounds {
 public:
  explicit CallRounds(Handler& handler) : handler_(handler) {}
  ~CallRounds() {
    for (const auto& call : calls_) call->cancel();
    // Tasks that are under way still come.
    wait([&] {
      return std::all_of(calls_.begin(), calls_.end(),
                         [](const auto& call) { return call->tasks_ == 0; });
    });
  }

  [[nodiscard]] Handler& handler() { return handler_; }

  // Begins a call, with the fields that every call has beside these.
  FakeCall& begin(const std::string& path, const Fields& more = {}) {
    Fields fields = {{"content-type", "application/grpc"}, {"te", "trailers"}};
    fields.insert(fields.end(), more.begin(), more.end());
    return begin_plain(path, std::move(fields));
  }
  FakeCall& begin_plain(const std::string& path, Fields fields) {
    FakeCall& call = prepare(path, std::move(fields));
    tell_headers(call);
    return call;
  }
  // A request that the handler has not been told of.
  FakeCall& prepare(const std::string& path, Fields fields) {
    calls_.push_back(std::make_unique<FakeCall>(*this, path, std::move(fields)));
    return *calls_.back();
  }
  void tell_headers(FakeCall& call) {
    in_round([&] { handler_.on_headers(call); });
  }
  // The whole body is there.
  void finish_request(FakeCall& call, std::string body) {
    if (call.responded()) return;
    call.request_body_ = std::move(body);
    call.mutable_request().body = call.request_body_;
    in_round([&] { handler_.on_request(call); });
  }
  // A call of one message, up to its end.
  FakeCall& ask(const std::string& path, std::string_view message, const Fields& more = {}) {
    FakeCall& call = begin(path, more);
    finish_request(call, framed(message));
    return finish(call);
  }
  // Turns rounds until the answer is whole.
  FakeCall& finish(FakeCall& call) {
    wait([&] { return call.is_over; });
    return call;
  }
  // Turns rounds until `is_true` is.
  template <class IsTrue>
  void wait(const IsTrue& is_true) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!is_true()) {
      turn();
      in_round([&] {
        for (const auto& call : calls_) {
          if (!call->is_cancelled_ && takes_all) static_cast<void>(call->pump());
        }
      });
      if (is_true()) return;
      REQUIRE(std::chrono::steady_clock::now() < end);
      std::unique_lock lock(mutex_);
      come_.wait_for(lock, std::chrono::milliseconds(1), [&] { return !posted_.empty(); });
    }
  }
  // Runs what has been posted.
  void turn() {
    std::vector<Task*> tasks;
    {
      const std::lock_guard lock(mutex_);
      tasks.swap(posted_);
    }
    in_round([&] {
      for (QueueNode* const task : tasks) task->run_queued();
    });
  }
  template <class Work>
  void in_round(const Work& work) {
    handler_.on_round_begin(0);
    work();
    handler_.on_round_end(0);
  }
  void post(Task* task) {
    const std::lock_guard lock(mutex_);
    posted_.push_back(task);
    come_.notify_one();
  }

  bool takes_all = true;  // wait() asks streams on

 private:
  Handler& handler_;
  std::vector<std::unique_ptr<FakeCall>> calls_;
  std::mutex mutex_;
  std::condition_variable come_;
  std::vector<Task*> posted_;
};

inline void FakeCall::post_task(Task* task) {
  rounds_.post(task);
}
inline void FakeCall::tell_handler() const {
  Answered answered;
  answered.route = route_;
  answered.status = static_cast<uint16_t>(status);
  answered.method = own_request_.method;
  answered.peer = &own_request_.peer;
  answered.version = HttpVersion::k2;
  rounds_.handler().on_response(answered);
}
inline void FakeCall::respond(int code, std::string_view content_type, std::string_view text) {
  REQUIRE_FALSE(responded_);
  responded_ = is_over = true;
  status = code;
  type = content_type;
  body = text;
  tell_handler();
}
inline void FakeCall::respond_stream(int code, std::string_view content_type,
                                     std::unique_ptr<BodyStream> source) {
  REQUIRE_FALSE(responded_);
  responded_ = true;
  status = code;
  type = content_type;
  stream = std::move(source);
  tell_handler();
}

// An API over an engine on a simulated disk.
struct CallCase {
  explicit CallCase(const Options& options, const Tokens& tokens = {}, Api::Rates rates = {},
                    AccessControl::Rules rules = {})
      : access(rules), api(access, options, rates, 1), engine(must_open(options)) {
    access.set_tokens(tokens);
    api.set_engine(engine.get());
    rounds = std::make_unique<CallRounds>(api);
  }

  std::string put(uint64_t key, std::string_view value) const {
    std::string message;
    append_varint_field(message, 1, key);
    append_bytes_field(message, 2, value);
    return message;
  }

  AccessControl access;
  Api api;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<CallRounds> rounds;
};

}  // namespace kyro::test
