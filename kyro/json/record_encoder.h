// A record or a value as an answer has it, written in pieces: it can stop in the middle of a value
// and go on in the next piece.
//
//   RecordEncoder record;
//   record.begin_item(key, value, offset, string_keys);
//   while (!record.advance(piece, room)) …        // the piece goes out, others get their turn
//
// A value is text where it is UTF-8, else base64 ("value" or "value_base64"), or its bytes as they
// are. Which of them is found out before its first byte, in bounded steps too: a call may append
// nothing. A call appends at most `room` bytes and looks at kCheckBytes at most.
//
// Thread rule: values, one thread. Ownership: borrows the value, which stays where it is until the
// record has been written; small records are appended at once (append_item, append_log_record).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/text/json_text.h"
#include "kyro/base/text/utf8.h"
#include "kyro/json/base64.h"

namespace kyro {

// What stands around a value.
struct ValueFrame {
  std::string_view text_begin;
  std::string_view text_end;
  std::string_view base64_begin;
  std::string_view base64_end;
};
// A field of an object.
inline constexpr ValueFrame kValueField{"\"value\":\"", "\"", "\"value_base64\":\"", "\""};
// An element of an array.
inline constexpr ValueFrame kValueElement{"\"", "\"", "{\"value_base64\":\"", "\"}"};

enum class ValueForm : uint8_t { kRaw, kText, kBase64 };

// Appends what `rest`, the end of a value, becomes in that form, or as much as fits into `room`
// bytes. Returns how much of `rest` was taken.
inline size_t append_value_bytes(std::string& out, ValueForm form, std::string_view rest,
                                 size_t room) {
  if (form == ValueForm::kRaw) {
    const size_t n = std::min(rest.size(), room);
    out.append(rest.data(), n);
    return n;
  }
  std::array<char, 4096> piece;
  size_t taken = 0;
  while (taken < rest.size()) {
    const std::string_view left = rest.substr(taken);
    const size_t fits = std::min(room, piece.size());
    Escaped step{0, 0};
    if (form == ValueForm::kText) {
      if (fits < kEscapeRoomBytes) break;
      step = escape_json(left, piece.data(), fits);
    } else if (left.size() >= 3) {
      const size_t groups = std::min(left.size() / 3, fits / 4);
      encode_base64_groups(left.data(), groups, piece.data());
      step = {3 * groups, 4 * groups};
    } else if (fits >= 4) {
      const std::array<char, 4> end = encode_base64_end(left);
      std::copy(end.begin(), end.end(), piece.begin());
      step = {left.size(), end.size()};
    }
    if (step.made == 0) break;
    out.append(piece.data(), step.made);
    taken += step.taken;
    room -= step.made;
  }
  return taken;
}

class RecordEncoder {
 public:
  // What a call looks at, at most, to find out whether a value is text.
  static constexpr size_t kCheckBytes = 256 * 1024;
  // With less room nothing is appended.
  static constexpr size_t kRoomBytesMin = 512;
  // Whether a record with such a value is best appended at once; what it then has at most.
  [[nodiscard]] static constexpr bool is_small(std::string_view value) {
    return value.size() <= kSmallValueBytes;
  }
  static constexpr size_t kSmallValueBytes = 2048;
  static constexpr size_t kSmallRecordBytesMax = 6 * kSmallValueBytes + 512;

  // Each begins a record; the one before it must be done.
  inline void begin_item(uint64_t key, std::string_view value, uint64_t offset, bool string_keys,
                         uint64_t expires_secs = 0);
  // A record of the log, or without a value a deletion.
  inline void begin_log_record(uint64_t offset, uint64_t key, std::optional<std::string_view> value,
                               uint64_t expires_secs = 0);
  // Only a value, in a frame.
  void begin_value(std::string_view value, const ValueFrame& frame) {
    head_.clear();
    tail_.clear();
    begin(value, frame);
  }
  // Only its bytes, as they are.
  void begin_raw(std::string_view value) {
    begin_value(value, kValueElement);
    now_ = {Phase::kHead, ValueForm::kRaw, 0};
  }
  // What the record ends with, after itself.
  void add_tail(std::string_view text) { tail_ += text; }
  // What comes before the record.
  void add_head(std::string_view text) { head_.insert(0, text); }

  [[nodiscard]] bool is_done() const { return now_.phase == Phase::kDone; }

  // How far a record is. What has been written of it by one can be gone on with by another.
  enum class Phase : uint8_t { kChecking, kHead, kValue, kDone };
  struct Progress {
    Phase phase = Phase::kDone;
    ValueForm form = ValueForm::kRaw;
    uint64_t value_bytes = 0;  // checked or written of the value
    friend bool operator==(const Progress&, const Progress&) = default;
  };
  [[nodiscard]] const Progress& progress() const { return now_; }
  void resume(const Progress& progress) { now_ = progress; }

  // Goes on; true when the record has been written.
  bool advance(std::string& out, size_t room) {
    if (now_.phase == Phase::kDone) return true;
    if (now_.phase == Phase::kChecking && !check()) return false;
    const size_t end = out.size() + room;
    const bool is_text = now_.form == ValueForm::kText;
    const bool is_raw = now_.form == ValueForm::kRaw;
    if (now_.phase == Phase::kHead) {
      if (room < kRoomBytesMin) return false;
      out += head_;
      if (!is_raw) out += is_text ? frame_.text_begin : frame_.base64_begin;
      now_ = {Phase::kValue, now_.form, 0};
    }
    const std::string_view rest = value_.substr(now_.value_bytes);
    now_.value_bytes += append_value_bytes(out, now_.form, rest, end - out.size());
    const std::string_view close = is_raw    ? std::string_view()
                                   : is_text ? frame_.text_end
                                             : frame_.base64_end;
    const bool is_written = now_.value_bytes == value_.size();
    if (!is_written || end - out.size() < close.size() + tail_.size()) return false;
    out += close;
    out += tail_;
    now_.phase = Phase::kDone;
    return true;
  }

 private:
  void begin(std::string_view value, const ValueFrame& frame) {
    value_ = value;
    frame_ = frame;
    now_ = {Phase::kChecking, ValueForm::kRaw, 0};
  }

  // True when it is known whether the value is text.
  bool check() {
    Utf8Check utf8(now_.value_bytes);
    const bool is_known = utf8.advance(value_, kCheckBytes);
    now_.value_bytes = utf8.position();
    if (!is_known) return false;
    now_ = {Phase::kHead, utf8.is_valid() ? ValueForm::kText : ValueForm::kBase64, 0};
    return true;
  }

  std::string head_;  // before the value and its frame
  std::string tail_;  // after them
  ValueFrame frame_;
  std::string_view value_;
  Progress now_;
};

// Appends a value in its frame.
inline void append_value(std::string& out, std::string_view value, const ValueFrame& frame) {
  const ValueForm form = is_valid_utf8(value) ? ValueForm::kText : ValueForm::kBase64;
  out += form == ValueForm::kText ? frame.text_begin : frame.base64_begin;
  append_value_bytes(out, form, value, ~size_t{0});
  out += form == ValueForm::kText ? frame.text_end : frame.base64_end;
}

// Appends `"value":"…"`, or `"value_base64":"…"` where the bytes are not UTF-8. No comma.
inline void append_json_value_field(std::string& out, std::string_view bytes) {
  append_value(out, bytes, kValueField);
}

namespace json_detail {

inline void append_item_head(std::string& out, uint64_t key, bool string_keys) {
  out += "{\"key\":";
  append_json_u64(out, key, string_keys);
}
// Closes an object, after the moment of Unix time in which what it says expires (0: never).
inline void append_end(std::string& out, uint64_t expires_secs) {
  if (expires_secs != 0) {
    out += ",\"expires\":";
    append_decimal(out, expires_secs);
  }
  out += '}';
}
inline void append_item_tail(std::string& out, uint64_t offset, uint64_t expires_secs) {
  out += ",\"offset\":";
  append_decimal(out, offset);
  append_end(out, expires_secs);
}
inline void append_log_record_head(std::string& out, uint64_t offset, uint64_t key, bool is_put) {
  out += "{\"offset\":";
  append_decimal(out, offset);
  out += is_put ? ",\"op\":\"put\",\"key\":" : ",\"op\":\"delete\",\"key\":";
  append_decimal(out, key);
  if (is_put) out += ',';
}

}  // namespace json_detail

// {"key":…,"value":…,"offset":…}, and "expires" where it does.
inline void append_item(std::string& out, uint64_t key, std::string_view value, uint64_t offset,
                        bool string_keys, uint64_t expires_secs = 0) {
  json_detail::append_item_head(out, key, string_keys);
  out += ',';
  append_json_value_field(out, value);
  json_detail::append_item_tail(out, offset, expires_secs);
}

// The same without the value.
inline void append_key_item(std::string& out, uint64_t key, uint64_t offset, bool string_keys,
                            uint64_t expires_secs = 0) {
  json_detail::append_item_head(out, key, string_keys);
  json_detail::append_item_tail(out, offset, expires_secs);
}

// A record of the log: {"offset","op","key","value"|"value_base64"}, without a value for a delete,
// and "expires" where it does.
inline void append_log_record(std::string& out, uint64_t offset, uint64_t key,
                              std::optional<std::string_view> value, uint64_t expires_secs = 0) {
  json_detail::append_log_record_head(out, offset, key, value.has_value());
  if (value) append_json_value_field(out, *value);
  json_detail::append_end(out, expires_secs);
}

inline void RecordEncoder::begin_item(uint64_t key, std::string_view value, uint64_t offset,
                                      bool string_keys, uint64_t expires_secs) {
  begin_value(value, kValueField);
  json_detail::append_item_head(head_, key, string_keys);
  head_ += ',';
  json_detail::append_item_tail(tail_, offset, expires_secs);
}

inline void RecordEncoder::begin_log_record(uint64_t offset, uint64_t key,
                                            std::optional<std::string_view> value,
                                            uint64_t expires_secs) {
  begin_value(value.value_or(std::string_view()), kValueField);
  json_detail::append_log_record_head(head_, offset, key, value.has_value());
  json_detail::append_end(tail_, expires_secs);
  if (!value) {
    now_ = {Phase::kHead, ValueForm::kRaw, 0};
  }
}

}  // namespace kyro
