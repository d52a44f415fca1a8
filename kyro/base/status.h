// Status and Result: how every fallible function of KyroDB answers.
//
// The product is built without exceptions. A function that can fail returns Status, or Result<T>
// when it also has a value; both are [[nodiscard]]. Ok costs one null pointer and no allocation.
// KYRO_CHECK is for our own bugs only: bytes that came from a disk, a socket or a user become a
// Status.
//
// Thread rule: values, not shared. Ownership: a failed Status owns its message.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace kyro {

enum class Code : unsigned char {
  kOk = 0,
  kNotFound,            // no such key, file or segment
  kInvalid,             // the caller's argument is wrong
  kCorruption,          // bytes on disk are not what was written
  kIoError,             // the operating system failed us
  kNoSpace,             // ENOSPC or EDQUOT: heals when space is there again
  kReadOnly,            // the engine is latched after a failed write
  kPreconditionFailed,  // a condition on a write did not hold
  kTooLarge,            // beyond a configured limit
  kExists,              // something of that name is there already
  kGone,                // that part of the log is no longer (or not yet) there
  kBusy,                // held by someone else, or shutting down
  kWrongShard,          // the key is in a slot that is not served here
  kUnsupported,         // a newer format, or something this system does not do
  kLogUnreachable,      // the log that several stores share: a write may have happened, or will
};

[[nodiscard]] constexpr const char* code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kNotFound:
      return "not_found";
    case Code::kInvalid:
      return "invalid";
    case Code::kCorruption:
      return "corruption";
    case Code::kIoError:
      return "io_error";
    case Code::kNoSpace:
      return "no_space";
    case Code::kReadOnly:
      return "read_only";
    case Code::kPreconditionFailed:
      return "precondition_failed";
    case Code::kTooLarge:
      return "too_large";
    case Code::kExists:
      return "exists";
    case Code::kGone:
      return "gone";
    case Code::kBusy:
      return "busy";
    case Code::kWrongShard:
      return "wrong_shard";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kLogUnreachable:
      return "log_unreachable";
  }
  return "unknown";
}

class [[nodiscard]] Status {
 public:
  Status() = default;
  explicit Status(Code code, std::string message = {})
      : rep_(std::make_unique<Rep>(Rep{code, std::move(message)})) {}
  Status(const Status& other) : rep_(other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr) {}
  Status(Status&&) noexcept = default;
  Status& operator=(const Status& other) {
    if (this != &other) rep_ = other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr;
    return *this;
  }
  Status& operator=(Status&&) noexcept = default;
  ~Status() = default;

  [[nodiscard]] bool ok() const { return rep_ == nullptr; }
  [[nodiscard]] Code code() const { return rep_ ? rep_->code : Code::kOk; }
  [[nodiscard]] std::string_view message() const {
    return rep_ ? std::string_view(rep_->message) : std::string_view();
  }
  // "corruption: wal-….log at 4096: …", for logs and messages to people.
  [[nodiscard]] std::string to_string() const {
    std::string out = code_name(code());
    if (rep_ && !rep_->message.empty()) out.append(": ").append(rep_->message);
    return out;
  }
  [[nodiscard]] const Status& status() const { return *this; }

 private:
  struct Rep {
    Code code;
    std::string message;
  };
  std::unique_ptr<Rep> rep_;  // null means ok
};

// A value or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit on purpose
    if (status_.ok()) std::abort();                     // an ok Result needs a value
  }

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] T& value() & { return *value_; }
  [[nodiscard]] const T& value() const& { return *value_; }
  [[nodiscard]] T&& value() && { return std::move(*value_); }
  [[nodiscard]] T& operator*() & { return *value_; }
  [[nodiscard]] const T& operator*() const& { return *value_; }
  [[nodiscard]] T* operator->() { return &*value_; }
  [[nodiscard]] const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

[[noreturn]] inline void check_failed(const char* expression, const char* file, int line) {
  char text[512];
  const int size = std::snprintf(text, sizeof text, "kyrodb: check failed: %s (%s:%d)\n",
                                 expression, file, line);
  // A reader of stderr that stands still must not keep a broken process alive.
  constexpr int kWaitMs = 1000;
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (size > 0 && ::poll(&room, 1, kWaitMs) > 0) {
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, text, std::min(static_cast<size_t>(size), sizeof text - 1));
  }
  std::abort();
}

}  // namespace kyro

// Leaves the enclosing function with the Status of `expression` (a Status or a named Result) if it
// is not ok.
#define KYRO_TRY(expression)                                            \
  do {                                                                  \
    if (auto&& kyro_try_result_ = (expression); !kyro_try_result_.ok()) \
      return kyro_try_result_.status();                                 \
  } while (false)

// Always on: an invariant of this program, never a property of outside bytes.
#define KYRO_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::kyro::check_failed(#condition, __FILE__, __LINE__))
