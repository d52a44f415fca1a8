// CSV as RFC 4180 has it: an incremental reader of records, and a writer of fields.
//
// Read: fields between commas, records end with LF or CRLF (the last one's may be missing), a field
// in quotes may hold commas, line ends and doubled quotes. Strict elsewhere: a quote inside a plain
// field, bytes after a closing quote, a CR without its LF and a quote that is never closed are
// errors. Empty lines are passed over. Fields are bytes; nothing is trimmed.
//
// Invariants: the result does not depend on how the bytes were split; nothing outside them is read;
// memory is one record, at most kRecordBytesMax, and kFieldsMax fields.
//
// Thread rule: values, not shared. Ownership: the reader owns the record it gives out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kyro {

class CsvReader {
 public:
  static constexpr size_t kFieldsMax = 64;
  static constexpr size_t kRecordBytesMax = 128u << 20;

  enum class Outcome : uint8_t { kNeedMore, kRecord, kError };

  // Consumes from the front of `bytes` up to the end of a record. kRecord: its fields are valid
  // until the next call. kNeedMore: all was consumed. kError: see error(); final.
  [[nodiscard]] Outcome next(std::string_view& bytes) {
    if (state_ == State::kFailed) return Outcome::kError;
    if (is_given_) begin_record();
    while (!bytes.empty()) {
      if (state_ == State::kPlain || state_ == State::kQuoted) {
        if (!take_run(bytes)) return Outcome::kError;
        if (bytes.empty()) break;
      }
      const char c = bytes.front();
      bytes.remove_prefix(1);
      if (!advance(c)) return Outcome::kError;
      if (state_ == State::kRecordEnd) return give();
    }
    return Outcome::kNeedMore;
  }

  // Says that no more bytes come: the last record, if its line end was missing. kNeedMore: there is
  // none.
  [[nodiscard]] Outcome finish() {
    if (state_ == State::kFailed) return Outcome::kError;
    if (is_given_) begin_record();
    if (state_ == State::kRecordBegin) return Outcome::kNeedMore;
    if (state_ == State::kQuoted) {
      fail("a quote is not closed");
    } else if (state_ == State::kCr || state_ == State::kBlankCr) {
      fail("a CR is not followed by LF");
    } else if (end_field()) {
      return give();
    }
    return Outcome::kError;
  }

  [[nodiscard]] size_t field_count() const { return count_; }
  // REQUIRES: i < field_count().
  [[nodiscard]] std::string_view field(size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(text_).substr(begin, ends_[i] - begin);
  }
  // The line, counted from 1, on which the record given out (or the one that failed) begins.
  [[nodiscard]] uint64_t line() const { return record_line_; }
  [[nodiscard]] const char* error() const { return error_; }

 private:
  enum class State : uint8_t {
    kRecordBegin,
    kFieldBegin,  // after a comma
    kPlain,
    kQuoted,
    kQuoteInQuoted,  // doubled, or the closing one
    kCr,
    kBlankCr,  // the same on an empty line
    kRecordEnd,
    kFailed,
  };

  static constexpr uint8_t kStopsPlain = 1;
  static constexpr uint8_t kStopsQuoted = 2;
  static constexpr std::array<uint8_t, 256> kStops = [] {
    std::array<uint8_t, 256> stops{};
    stops[','] = stops['\r'] = kStopsPlain;
    stops['\n'] = stops['"'] = kStopsPlain | kStopsQuoted;
    return stops;
  }();

  void begin_record() {
    is_given_ = false;
    state_ = State::kRecordBegin;
    text_.clear();
    count_ = 0;
    record_line_ = line_;
  }

  Outcome give() {
    is_given_ = true;
    return Outcome::kRecord;
  }

  bool fail(const char* message) {
    state_ = State::kFailed;
    error_ = message;
    return false;
  }

  bool end_field() {
    if (count_ == kFieldsMax) return fail("a record has too many fields");
    ends_[count_++] = text_.size();
    return true;
  }

  // Takes the bytes that need no thought.
  bool take_run(std::string_view& bytes) {
    const uint8_t stop = state_ == State::kPlain ? kStopsPlain : kStopsQuoted;
    size_t n = 0;
    while (n < bytes.size() && (kStops[static_cast<unsigned char>(bytes[n])] & stop) == 0) ++n;
    if (text_.size() + n > kRecordBytesMax) return fail("a record is too long");
    text_.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    return true;
  }

  bool end_record() {
    ++line_;
    state_ = State::kRecordEnd;
    return end_field();
  }

  bool advance(char c) {
    switch (state_) {
      case State::kRecordBegin:
        if (c == '\n') return pass_empty_line();
        if (c == '\r') {
          state_ = State::kBlankCr;
          return true;
        }
        [[fallthrough]];
      case State::kFieldBegin:
        if (c == '"') {
          state_ = State::kQuoted;
          return true;
        }
        state_ = State::kPlain;
        [[fallthrough]];
      case State::kPlain:
        if (c == '"') return fail("a quote inside a field that does not begin with one");
        return on_plain(c);
      case State::kQuoted:
        if (c == '"') {
          state_ = State::kQuoteInQuoted;
          return true;
        }
        if (c == '\n') ++line_;
        text_ += c;
        return true;
      case State::kQuoteInQuoted:
        if (c == '"') {
          state_ = State::kQuoted;
          text_ += c;
          return true;
        }
        if (c != ',' && c != '\r' && c != '\n') return fail("bytes after a closing quote");
        return on_plain(c);
      case State::kCr:
        if (c != '\n') return fail("a CR is not followed by LF");
        return end_record();
      case State::kBlankCr:
        if (c != '\n') return fail("a CR is not followed by LF");
        return pass_empty_line();
      default:
        return fail("the reader has ended");
    }
  }

  // A byte of a plain field, or what ends any field.
  bool on_plain(char c) {
    if (c == ',') {
      state_ = State::kFieldBegin;
      return end_field();
    }
    if (c == '\n') return end_record();
    if (c == '\r') {
      state_ = State::kCr;
      return true;
    }
    text_ += c;
    return true;
  }

  bool pass_empty_line() {
    state_ = State::kRecordBegin;
    record_line_ = ++line_;
    return true;
  }

  State state_ = State::kRecordBegin;
  bool is_given_ = false;
  std::string text_;  // the fields of the record, one after the other
  std::array<size_t, kFieldsMax> ends_{};
  size_t count_ = 0;
  uint64_t line_ = 1;
  uint64_t record_line_ = 1;
  const char* error_ = "";
};

// Appends a field, in quotes where it needs them.
inline void append_csv_field(std::string& out, std::string_view bytes) {
  if (bytes.find_first_of(",\"\r\n") == bytes.npos) {
    out += bytes;
    return;
  }
  out += '"';
  for (size_t quote = 0; (quote = bytes.find('"')) != bytes.npos;) {
    out.append(bytes.substr(0, quote + 1)).append("\"");
    bytes.remove_prefix(quote + 1);
  }
  out.append(bytes).append("\"");
}

}  // namespace kyro
