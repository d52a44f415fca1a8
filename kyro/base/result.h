// Status and Result: how every fallible function of KyroDB answers.
//
// The product is built without exceptions. A function that can fail returns Status, or Result<T>
// when it also has a value; both are [[nodiscard]]. Ok costs one null pointer and no allocation.
//
// kyro/kyro.h includes this into other people's programs, so it includes little: <memory>, for one
// pointer, would be as long again as all of that face.
//
// Thread rule: values, not shared. Ownership: a failed Status owns its message.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>
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
  kUnsupported,         // a newer format, or something this system does not do
  kLogUnreachable,      // the log that several stores share: a write may have happened, or will
  kWrongShard,          // the key is in a slot that is not served here
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
  explicit Status(Code code, std::string message = {}) : rep_(new Rep{code, std::move(message)}) {}
  Status(const Status& other) : rep_(other.rep_ != nullptr ? new Rep(*other.rep_) : nullptr) {}
  Status(Status&& other) noexcept : rep_(std::exchange(other.rep_, nullptr)) {}
  Status& operator=(Status other) noexcept {
    std::swap(rep_, other.rep_);
    return *this;
  }
  ~Status() { delete rep_; }

  [[nodiscard]] bool ok() const { return rep_ == nullptr; }
  [[nodiscard]] Code code() const { return rep_ != nullptr ? rep_->code : Code::kOk; }
  [[nodiscard]] std::string_view message() const {
    return rep_ != nullptr ? std::string_view(rep_->message) : std::string_view();
  }
  // "corruption: wal-….log at 4096: …", for logs and messages to people.
  [[nodiscard]] std::string to_string() const {
    std::string out = code_name(code());
    if (rep_ != nullptr && !rep_->message.empty()) out.append(": ").append(rep_->message);
    return out;
  }
  [[nodiscard]] const Status& status() const { return *this; }

 private:
  struct Rep {
    Code code;
    std::string message;
  };
  Rep* rep_ = nullptr;  // owned; null means ok
};

// A value or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : has_value_(true), value_(std::move(value)) {}  // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) {             // NOLINT: implicit on purpose
    if (status_.ok()) std::abort();                                // an ok Result needs a value
  }
  Result(const Result& other) requires std::is_copy_constructible_v<T>
      : status_(other.status_), has_value_(other.has_value_) {
    if (has_value_) std::construct_at(&value_, other.value_);
  }
  Result(Result&& other) noexcept
      : status_(std::move(other.status_)), has_value_(other.has_value_) {
    if (has_value_) std::construct_at(&value_, std::move(other.value_));
  }
  Result& operator=(Result other) noexcept {
    std::destroy_at(this);
    return *std::construct_at(this, std::move(other));
  }
  ~Result() {
    if (has_value_) std::destroy_at(&value_);
  }

  [[nodiscard]] bool ok() const { return has_value_; }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] T& value() & { return value_; }
  [[nodiscard]] const T& value() const& { return value_; }
  [[nodiscard]] T&& value() && { return std::move(value_); }
  [[nodiscard]] T& operator*() & { return value_; }
  [[nodiscard]] const T& operator*() const& { return value_; }
  [[nodiscard]] T* operator->() { return &value_; }
  [[nodiscard]] const T* operator->() const { return &value_; }

 private:
  Status status_;
  bool has_value_ = false;
  union {
    T value_;  // there if has_value_
  };
};

}  // namespace kyro

// Leaves the enclosing function with the Status of `expression` (a Status or a named Result) if it
// is not ok.
#define KYRO_TRY(expression)                                            \
  do {                                                                  \
    if (auto&& kyro_try_result_ = (expression); !kyro_try_result_.ok()) \
      return kyro_try_result_.status();                                 \
  } while (false)
