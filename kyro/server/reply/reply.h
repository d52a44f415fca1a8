// What routes answer: errors of the engine as statuses, tags, offsets.
//
// Thread rule: on the exchange's reactor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/call.h"
#include "kyro/storage/read/log_reader.h"

namespace kyro {

inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kBytesType = "application/octet-stream";

[[nodiscard]] constexpr int http_status_of(Code code) {
  switch (code) {
    case Code::kOk:
      return 200;
    case Code::kNotFound:
      return 404;
    case Code::kInvalid:
      return 400;
    case Code::kExists:
      return 409;
    case Code::kPreconditionFailed:
      return 412;
    case Code::kTooLarge:
      return 413;
    case Code::kGone:
      return 410;
    case Code::kWrongShard:
      return 421;
    case Code::kNoSpace:
      return 507;
    case Code::kReadOnly:
    case Code::kBusy:
    case Code::kLogUnreachable:
      return 503;
    case Code::kUnsupported:
      return 501;
    case Code::kCorruption:
    case Code::kIoError:
      return 500;
  }
  return 500;
}

// Answers with a failed status, a call with one of gRPC. A 404 for a key says so in one fixed
// sentence.
inline void respond_status(Exchange& exchange, const Status& status) {
  if (rpc::is_call(exchange)) return rpc::respond_failed(exchange, status);
  const int code = http_status_of(status.code());
  exchange.respond_error(code, code_name(status.code()), rpc::message_of(status));
}

// ETag: "<offset>"
inline void add_etag(Exchange& exchange, uint64_t offset) {
  char buffer[kDecimalDigitsMax + 2];
  char* const end = buffer + sizeof buffer;
  end[-1] = '"';
  char* begin = write_decimal_before(end - 1, offset);
  *--begin = '"';
  exchange.add_header("ETag", {begin, static_cast<size_t>(end - begin)});
}

// Kyro-Expires: for how many more seconds the record lives.
inline void add_expires(Exchange& exchange, uint64_t expiry_secs, uint64_t now_secs) {
  std::string seconds;
  append_decimal(seconds, expiry_secs > now_secs ? expiry_secs - now_secs : 1);
  exchange.add_header("Kyro-Expires", seconds);
}

inline void respond_offset(Exchange& exchange, uint64_t offset) {
  add_etag(exchange, offset);
  std::string body = "{\"offset\":";
  append_decimal(body, offset);
  body += '}';
  exchange.respond(200, kJsonType, body);
}

// Answers with what HTTP says of a refusal, a call with the status that is nearest to it.
inline void respond_refusal(Exchange& exchange, int status, std::string_view code,
                            std::string_view message) {
  if (rpc::is_call(exchange)) return rpc::respond_as_http(exchange, status, message);
  exchange.respond_error(status, code, message);
}

// Answers with what is whole, a call with its status.
inline void respond_whole(Exchange& exchange, std::string_view content_type,
                          std::string_view body) {
  if (rpc::is_call(exchange)) rpc::add_status(exchange, rpc::GrpcCode::kOk);
  exchange.respond(200, content_type, body);
}

// What is wrong, and what could be asked for instead.
[[nodiscard]] inline std::string describe_range(std::string_view why, const LogRange& range) {
  std::string message(why);
  message += "; what can be asked for begins with offset ";
  append_decimal(message, range.oldest);
  message += ", and the next one is ";
  append_decimal(message, range.next);
  return message;
}

// 410 with the range of the log that is there.
inline void respond_gone(Exchange& exchange, const Status& status, const LogRange& range) {
  if (rpc::is_call(exchange)) {
    return rpc::respond_failed(exchange, rpc::GrpcCode::kOutOfRange,
                               describe_range(status.message(), range));
  }
  std::string body;
  append_error_json(body, code_name(Code::kGone), status.message());
  body.pop_back();
  body += ",\"oldest\":";
  append_decimal(body, range.oldest);
  body += ",\"next\":";
  append_decimal(body, range.next);
  body += '}';
  exchange.respond(410, kJsonType, body);
}

}  // namespace kyro
