// The call ServerReflectionInfo of grpc.reflection.v1 and v1alpha, which differ in their names
// only: each request of the stream is answered in its turn.
//
// An answer may be a hundred times as long as its request, so requests wait as they came until the
// client takes their answers, and its window opens by what has been answered.
//
// Thread rule: the reactor's thread. Ownership: reader and answer share the stream.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/call.h"
#include "kyro/server/grpc/reflection.h"
#include "kyro/server/reply/sliced_body.h"

namespace kyro {

class ReflectionStream final : public std::enable_shared_from_this<ReflectionStream> {
 public:
  // In on_headers.
  static void start(Exchange& x, rpc::CallStats* stats) {
    x.read_body(std::make_unique<Reader>(std::make_shared<ReflectionStream>(x, stats)));
  }

  ReflectionStream(const Exchange& x, rpc::CallStats* stats) : end_(x, stats) {}

 private:
  static constexpr uint64_t kRequestBytesMax = 16 * 1024;

  class Reader final : public BodyReader {
   public:
    explicit Reader(std::shared_ptr<ReflectionStream> stream) : stream_(std::move(stream)) {}
    ~Reader() override { stream_->exchange_ = nullptr; }
    void on_piece(Exchange& x, std::string_view piece, bool ends) override {
      ReflectionStream& stream = *stream_;
      stream.exchange_ = &x;
      stream.pending_.append(piece);
      stream.has_ended_ = ends;
      if (stream.has_answers_) return x.wake();
      if (std::exchange(stream.has_answers_, true) || x.responded()) return;
      x.respond_stream(200, rpc::kCallType, std::make_unique<Answers>(stream_));
    }

   private:
    const std::shared_ptr<ReflectionStream> stream_;
  };

  class Answers final : public BodyStream {
   public:
    explicit Answers(std::shared_ptr<ReflectionStream> stream) : stream_(std::move(stream)) {}
    Next produce(std::string& out, size_t budget_bytes) override {
      return stream_->produce(out, budget_bytes);
    }
    [[nodiscard]] uint64_t heartbeat_ms() const override {
      return stream_->end_.heartbeat_ms(BodyStream::heartbeat_ms());
    }
    bool on_drain(std::string&) override {
      stream_->end_.set(rpc::GrpcCode::kUnavailable, "the server is stopping");
      return true;
    }
    void on_end(Exchange& x) override { stream_->end_.add_to(x); }

   private:
    const std::shared_ptr<ReflectionStream> stream_;
  };

  BodyStream::Next produce(std::string& out, size_t budget_bytes) {
    if (end_.is_late()) return BodyStream::Next::kEnd;
    const size_t begin = out.size();
    size_t taken = 0;
    Status status;
    while (status.ok() && out.size() - begin < budget_bytes) {
      const std::string_view rest = std::string_view(pending_).substr(taken);
      const auto size = rpc::message_size(rest, kRequestBytesMax);
      status = size.status();
      if (!status.ok() || !*size || rest.size() - rpc::kMessageHeadBytes < **size) break;
      status = answer(out, rest.substr(rpc::kMessageHeadBytes, **size));
      taken += rpc::kMessageHeadBytes + **size;
    }
    pending_.erase(0, taken);
    const bool is_idle = status.ok() && out.size() - begin < budget_bytes;
    if (is_idle && has_ended_ && !pending_.empty()) {
      status = Status(Code::kInvalid, "the last message is cut short");
    }
    if (!status.ok()) end_.set(status);
    if (!status.ok() || (has_ended_ && pending_.empty())) return BodyStream::Next::kEnd;
    if (taken != 0 && exchange_ != nullptr) exchange_->body_taken(taken);
    return taken != 0 ? BodyStream::Next::kMore : BodyStream::Next::kWait;
  }

  static Status answer(std::string& out, std::string_view request) {
    const size_t begin = rpc::begin_message(out);
    if (!rpc::append_reflection(out, request)) {
      out.resize(begin - rpc::kMessageHeadBytes);
      return Status(Code::kInvalid, "the message is no ServerReflectionRequest");
    }
    rpc::end_message(out, begin);
    return Status();
  }

  rpc::StreamEnd end_;
  Exchange* exchange_ = nullptr;  // while its reader lives
  std::string pending_;           // requests that have not been answered
  bool has_answers_ = false;      // the answer has begun
  bool has_ended_ = false;        // the client has said everything
};

}  // namespace kyro
