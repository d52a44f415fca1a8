// A request that is a call of gRPC, and how one is answered: a status in the trailers, after the
// messages or, where there are none, in the head.
//
// From on_headers() on user() of its exchange is when it ends at the latest (monotonic_ns(); 0:
// never).
//
// Thread rule: on the exchange's reactor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/clock.h"
#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/decimal.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/call_stats.h"
#include "kyro/server/grpc/framing.h"
#include "kyro/server/grpc/status.h"
#include "kyro/server/route_table.h"

namespace kyro::rpc {

inline constexpr std::string_view kCallType = "application/grpc";

[[nodiscard]] inline bool is_call(const Exchange& x) {
  return is_call_route(route_of(x.route()));
}

// Whether the request is a call by its form, whatever it calls.
[[nodiscard]] inline bool is_call_type(const HttpRequest& request) {
  std::string_view type = request.header("content-type").value_or("");
  if (type == kCallType) return true;  // nearly always
  type = trim_blanks(type.substr(0, type.find(';')));
  return iequals(type, kCallType) || iequals(type, "application/grpc+proto");
}
[[nodiscard]] inline bool has_call_form(const HttpRequest& request) {
  return request.version == HttpVersion::k2 && request.method == Method::kPost &&
         is_call_type(request);
}

// The status of the answer that follows, or that ends.
inline void add_status(Exchange& x, GrpcCode code, std::string_view message = {}) {
  constexpr size_t kMessageBytesMax = 1024;
  x.set_route(with_call_status(x.route(), static_cast<uint8_t>(code)));
  if (code == GrpcCode::kOk) return x.add_trailer("grpc-status", "0");
  x.add_trailer("grpc-status", std::to_string(static_cast<int>(code)));
  if (message.empty()) return;
  std::string encoded;
  append_grpc_message(encoded, message.substr(0, kMessageBytesMax));
  x.add_trailer("grpc-message", encoded);
}
// What a failure of the engine says to a caller. Only a key can be missing.
[[nodiscard]] inline std::string_view message_of(const Status& status) {
  return status.code() == Code::kNotFound ? "no such key" : status.message();
}

inline void respond_failed(Exchange& x, GrpcCode code, std::string_view message) {
  add_status(x, code, message);
  x.respond(200, kCallType, {});
}
inline void respond_failed(Exchange& x, const Status& status) {
  respond_failed(x, grpc_code_of(status.code()), message_of(status));
}

// Answers with the only message, its head before it.
inline void respond_message(Exchange& x, std::string_view framed) {
  add_status(x, GrpcCode::kOk);
  x.respond(200, kCallType, framed);
}

// Answers a call as an HTTP status would answer a request.
inline void respond_as_http(Exchange& x, int status, std::string_view message) {
  respond_failed(x, grpc_code_of_http(status), message);
}

// How a stream of messages ends, if it is one: of a body that is no call this does nothing.
class StreamEnd {
 public:
  StreamEnd() = default;
  // `stats` counts calls that fail.
  StreamEnd(const Exchange& x, CallStats* stats)
      : stats_(stats), is_call_(rpc::is_call(x)), deadline_ns_(is_call_ ? x.user() : 0) {}

  [[nodiscard]] bool is_call() const { return is_call_; }
  // Its time is over; that is its status then.
  [[nodiscard]] bool is_late() {
    if (deadline_ns_ == 0 || monotonic_ns() < deadline_ns_) return false;
    set(GrpcCode::kDeadlineExceeded, "the deadline has passed");
    return true;
  }
  // For BodyStream::heartbeat_ms(): not later than the deadline.
  [[nodiscard]] uint64_t heartbeat_ms(uint64_t usual_ms) const {
    if (deadline_ns_ == 0) return usual_ms;
    const uint64_t now_ns = monotonic_ns();
    const uint64_t left_ns = deadline_ns_ > now_ns ? deadline_ns_ - now_ns : 0;
    return std::min(usual_ms, left_ns / 1'000'000 + 1);
  }
  void set(GrpcCode code, std::string_view message) {
    code_ = code;
    message_.assign(message);
  }
  void set(const Status& status) { set(grpc_code_of(status.code()), message_of(status)); }
  [[nodiscard]] GrpcCode code() const { return code_; }

  // Answers with nothing but the status.
  void respond(Exchange& x) const { respond_failed(x, code_, message_); }
  // For BodyStream::on_end().
  void add_to(Exchange& x) const {
    if (!is_call_) return;
    add_status(x, code_, message_);
    if (stats_ != nullptr) stats_->count(route_of(x.route()), code_);
  }

 private:
  CallStats* stats_ = nullptr;
  bool is_call_ = false;
  GrpcCode code_ = GrpcCode::kOk;
  uint64_t deadline_ns_ = 0;
  std::string message_;
};

}  // namespace kyro::rpc
