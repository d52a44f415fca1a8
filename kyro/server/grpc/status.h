// Statuses of gRPC and what they are made of (grpc.io/docs/guides/status-codes, and the «HTTP/2
// protocol mapping» page of gRPC for how they travel).
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"

namespace kyro::rpc {

enum class GrpcCode : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};
inline constexpr size_t kGrpcCodeCount = 17;

[[nodiscard]] constexpr GrpcCode grpc_code_of(Code code) {
  switch (code) {
    case Code::kOk:
      return GrpcCode::kOk;
    case Code::kNotFound:
      return GrpcCode::kNotFound;
    case Code::kInvalid:
      return GrpcCode::kInvalidArgument;
    case Code::kExists:
      return GrpcCode::kAlreadyExists;
    case Code::kPreconditionFailed:
      return GrpcCode::kAborted;  // read again, then retry
    case Code::kWrongShard:
      return GrpcCode::kFailedPrecondition;  // another server has it
    case Code::kTooLarge:
    case Code::kNoSpace:
      return GrpcCode::kResourceExhausted;
    case Code::kGone:
      return GrpcCode::kOutOfRange;
    case Code::kReadOnly:
    case Code::kBusy:
    case Code::kLogUnreachable:
      return GrpcCode::kUnavailable;
    case Code::kUnsupported:
      return GrpcCode::kUnimplemented;
    case Code::kCorruption:
      return GrpcCode::kDataLoss;
    case Code::kIoError:
      return GrpcCode::kInternal;
  }
  return GrpcCode::kUnknown;
}

// For what is refused before a route has looked at it, and by the server itself.
[[nodiscard]] constexpr GrpcCode grpc_code_of_http(int status) {
  switch (status) {
    case 401:
      return GrpcCode::kUnauthenticated;
    case 403:
      return GrpcCode::kPermissionDenied;
    case 404:
    case 501:
      return GrpcCode::kUnimplemented;
    case 408:
      return GrpcCode::kDeadlineExceeded;
    case 413:
    case 414:
    case 429:
    case 431:
    case 507:
      return GrpcCode::kResourceExhausted;
    case 503:
      return GrpcCode::kUnavailable;
    case 500:
      return GrpcCode::kInternal;
    default:
      return GrpcCode::kInvalidArgument;
  }
}

// As it stands in documents and metrics.
[[nodiscard]] constexpr const char* grpc_code_name(GrpcCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  static_assert(sizeof kNames / sizeof kNames[0] == kGrpcCodeCount);
  return kNames[static_cast<size_t>(code)];
}

// grpc-message: bytes outside of printable ASCII, and "%", as "%" and two digits.
inline void append_grpc_message(std::string& out, std::string_view message) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7E && c != '%') {
      out += c;
    } else {
      out.append({'%', kDigits[byte >> 4], kDigits[byte & 15]});
    }
  }
}

// grpc-timeout: at most eight digits and a unit; nothing for anything else. Microseconds, rounded
// up where the unit is smaller.
[[nodiscard]] inline std::optional<uint64_t> parse_grpc_timeout_us(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  const auto digits = parse_digits(text.substr(0, text.size() - 1));
  if (!digits) return std::nullopt;
  const uint64_t number = *digits;
  switch (text.back()) {
    case 'H':
      return number * 3'600'000'000;
    case 'M':
      return number * 60'000'000;
    case 'S':
      return number * 1'000'000;
    case 'm':
      return number * 1000;
    case 'u':
      return number;
    case 'n':
      return (number + 999) / 1000;
    default:
      return std::nullopt;
  }
}

}  // namespace kyro::rpc
