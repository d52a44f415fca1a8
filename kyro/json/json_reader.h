// A strict pull reader for JSON (RFC 8259) over bytes in memory. It builds no tree.
//
//   JsonReader json(text);
//   if (json.enter_object()) {
//     std::string_view name;
//     while (json.next_field(&name)) {
//       if (name == "limit") json.read_number(&token); else json.skip_value();
//     }
//   }
//   KYRO_TRY(json.finish());
//
// Strict: UTF-8 without overlong forms, no lone surrogates in \u escapes, no control characters in
// strings, no leading zeros, no comments, no byte order mark, at most kDepthMax open containers,
// nothing after the document. What is skipped is checked as closely as what is read.
//
// The first error is kept, with its position, and every later call does nothing and returns false;
// so a caller may look at the outcome once, in finish(). Answers of a false call are unspecified.
//
// Invariants: no recursion; time is linear in the text; nothing outside the text is read; memory is
// allocated only for strings that contain escapes, and for the error. Each field or element must be
// read or skipped before the next one is asked for.
//
// Ownership: the text must outlive the reader and every view it gave out.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/coding.h"
#include "kyro/base/status.h"
#include "kyro/base/text/utf8.h"

namespace kyro {

enum class JsonType : uint8_t { kObject, kArray, kString, kNumber, kBool, kNull, kInvalid };

class JsonReader {
 public:
  static constexpr size_t kDepthMax = 128;

  explicit JsonReader(std::string_view text) : text_(text) {}

  // What the next value is, by its first character; kInvalid at anything else and after an error.
  [[nodiscard]] JsonType peek() {
    skip_space();
    if (failed_ || at_ == text_.size()) return JsonType::kInvalid;
    switch (text_[at_]) {
      case '{':
        return JsonType::kObject;
      case '[':
        return JsonType::kArray;
      case '"':
        return JsonType::kString;
      case 't':
      case 'f':
        return JsonType::kBool;
      case 'n':
        return JsonType::kNull;
      default:
        return text_[at_] == '-' || is_digit(at_) ? JsonType::kNumber : JsonType::kInvalid;
    }
  }

  // Steps into an object or array. Then ask for its fields or elements until there are no more.
  bool enter_object() { return enter('{', true, "expected an object"); }
  bool enter_array() { return enter('[', false, "expected an array"); }

  // Moves to the value of the next field; false after the last one, when the object has been left.
  // *name is valid until the next call of next_field.
  bool next_field(std::string_view* name) {
    return next_in('}', "expected ',' or '}'") && read_name(name, &name_);
  }

  // Moves to the next element; false after the last one, when the array has been left.
  bool next_element() { return next_in(']', "expected ',' or ']'"); }

  // Reads a string. *out points into the text, or into *unescaped if the string has escapes.
  bool read_string(std::string_view* out, std::string* unescaped) {
    if (peek() != JsonType::kString) return expected("expected a string");
    return scan_string(out, unescaped);
  }

  // The same for a string of any length, in slices: begin_string(), then string_slice() until it
  // says kEnd. Each looks at about `budget_bytes` of the text and writes what they mean to `to`,
  // *made bytes. That is never more than was looked at, so `to` may lie in the text itself, at or
  // before what comes next.
  enum class Slice : uint8_t { kMore, kEnd, kFailed };
  bool begin_string() {
    if (peek() != JsonType::kString) return expected("expected a string");
    ++at_;
    return true;
  }
  Slice string_slice(size_t budget_bytes, char* to, size_t* made) {
    const size_t limit = at_ + std::min(budget_bytes, text_.size() - at_);
    *made = 0;
    std::string escape;
    while (ok()) {
      const size_t begin = at_;
      if (!skip_plain(limit)) break;
      if (to + *made != text_.data() + begin) {
        std::memmove(to + *made, text_.data() + begin, at_ - begin);
      }
      *made += at_ - begin;
      if (at_ >= limit) return Slice::kMore;
      if (text_[at_++] == '"') return Slice::kEnd;
      escape.clear();
      if (!scan_escape(&escape)) break;
      std::memcpy(to + *made, escape.data(), escape.size());
      *made += escape.size();
    }
    return Slice::kFailed;
  }

  // Reads a number and gives its spelling, which may have a sign, a fraction and an exponent.
  bool read_number(std::string_view* token) {
    if (peek() != JsonType::kNumber) return expected("expected a number");
    const size_t begin = at_;
    if (text_[at_] == '-') ++at_;
    if (!is_digit(at_)) return fail("expected a digit");
    if (text_[at_] == '0') {
      ++at_;
      if (is_digit(at_)) return fail("a number must not have leading zeros");
    } else {
      skip_digits();
    }
    if (is_at('.')) {
      ++at_;
      if (!is_digit(at_)) return fail("expected a digit after the decimal point");
      skip_digits();
    }
    if (is_at('e') || is_at('E')) {
      ++at_;
      if (is_at('+') || is_at('-')) ++at_;
      if (!is_digit(at_)) return fail("expected a digit in the exponent");
      skip_digits();
    }
    *token = text_.substr(begin, at_ - begin);
    return true;
  }

  bool read_bool(bool* out) {
    if (peek() != JsonType::kBool) return expected("expected true or false");
    *out = text_[at_] == 't';
    return read_literal(*out ? "true" : "false");
  }

  bool read_null() {
    if (peek() != JsonType::kNull) return expected("expected null");
    return read_literal("null");
  }

  // Checks and passes over one value of any type.
  bool skip_value() {
    const size_t outside = depth_;
    do {
      if (!skip_scalar_or_enter()) return false;
      std::string_view name;
      while (depth_ > outside) {
        const bool more = is_object_[depth_ - 1]
                              ? next_in('}', "expected ',' or '}'") && read_name(&name, nullptr)
                              : next_element();
        if (failed_) return false;
        if (more) break;
      }
    } while (depth_ > outside);
    return true;
  }

  // Records an error of the caller's own rules at the current position, as if the grammar had one.
  // Always false.
  bool fail(std::string_view message) {
    if (!failed_) {
      failed_ = true;
      error_.assign(message).append(" at byte ").append(std::to_string(at_));
    }
    return false;
  }

  [[nodiscard]] bool ok() const { return !failed_; }

  // Bytes consumed so far: where an error is, or where the next value may begin.
  [[nodiscard]] size_t position() const { return at_; }

  // The first error; else kInvalid if anything but white space is left, or a container is open.
  [[nodiscard]] Status finish() {
    skip_space();
    if (!failed_ && depth_ > 0) fail("unexpected end of the JSON text");
    if (!failed_ && at_ < text_.size()) fail("unexpected bytes after the JSON document");
    return failed_ ? Status(Code::kInvalid, error_) : Status();
  }

 private:
  [[nodiscard]] bool is_at(char c) const { return at_ < text_.size() && text_[at_] == c; }
  [[nodiscard]] bool is_digit(size_t i) const {
    return i < text_.size() && text_[i] >= '0' && text_[i] <= '9';
  }
  void skip_digits() {
    while (is_digit(at_)) ++at_;
  }
  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  bool expected(const char* what) {
    return fail(at_ == text_.size() ? "unexpected end of the JSON text" : what);
  }

  bool enter(char open, bool is_object, const char* what) {
    skip_space();
    if (failed_) return false;
    if (!is_at(open)) return expected(what);
    if (depth_ == kDepthMax) return fail("the JSON text is nested too deeply");
    is_object_[depth_++] = is_object;
    fresh_ = true;
    ++at_;
    return true;
  }

  // Steps over the comma before the next item, or leaves the container after the last one.
  bool next_in(char close, const char* what) {
    skip_space();
    if (failed_) return false;
    if (depth_ == 0 || is_object_[depth_ - 1] != (close == '}')) return fail("not in a container");
    if (is_at(close)) {
      ++at_;
      --depth_;
      fresh_ = false;
      return false;
    }
    if (fresh_) {
      fresh_ = false;
      return true;
    }
    if (!is_at(',')) return expected(what);
    ++at_;
    skip_space();
    if (is_at(close)) return fail("unexpected comma after the last item");
    return true;
  }

  // Reads a field's name and its colon; without `unescaped` the name is only checked.
  bool read_name(std::string_view* name, std::string* unescaped) {
    if (peek() != JsonType::kString) return expected("expected a field name in quotes");
    if (!scan_string(name, unescaped)) return false;
    skip_space();
    if (!is_at(':')) return expected("expected ':'");
    ++at_;
    return true;
  }

  bool read_literal(std::string_view literal) {
    if (text_.substr(at_, literal.size()) != literal) return fail("unexpected word");
    at_ += literal.size();
    return true;
  }

  bool skip_scalar_or_enter() {
    std::string_view ignored;
    bool flag = false;
    switch (peek()) {
      case JsonType::kObject:
        return enter_object();
      case JsonType::kArray:
        return enter_array();
      case JsonType::kString:
        return scan_string(&ignored, nullptr);
      case JsonType::kNumber:
        return read_number(&ignored);
      case JsonType::kBool:
        return read_bool(&flag);
      case JsonType::kNull:
        return read_null();
      case JsonType::kInvalid:
        break;
    }
    return expected("expected a value");
  }

  // Moves over bytes that stand for themselves: printable ASCII and UTF-8, up to a quote or
  // backslash, or to `limit` if that comes first.
  bool skip_plain(size_t limit) {
    while (at_ < limit) {
      while (at_ + 8 <= limit && is_plain_ascii(load_u64(text_.data() + at_))) at_ += 8;
      if (at_ == limit) break;
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"' || c == '\\') return true;
      if (c < 0x20) return fail("a control character in a string must be escaped");
      const size_t length = utf8_sequence_bytes(text_.substr(at_));
      if (length == 0) return fail("a string is not valid UTF-8");
      at_ += length;
    }
    return at_ < text_.size() || fail("a string has no closing quote");
  }

  // True if none of the eight bytes is a quote, a backslash, below 0x20 or above 0x7F. The usual
  // trick: (x - 0x01…) sets the high bit of a byte that was zero; borrows can only raise a false
  // alarm.
  static bool is_plain_ascii(uint64_t word) {
    constexpr uint64_t kOnes = 0x0101010101010101u;
    constexpr uint64_t kHighs = 0x8080808080808080u;
    const uint64_t quotes = (word ^ (kOnes * '"')) - kOnes;
    const uint64_t backslashes = (word ^ (kOnes * '\\')) - kOnes;
    const uint64_t controls = word - kOnes * 0x20;
    return ((word | quotes | backslashes | controls) & kHighs) == 0;
  }

  bool scan_string(std::string_view* out, std::string* unescaped) {
    const size_t begin = ++at_;
    if (!skip_plain(text_.size())) return false;
    if (text_[at_] == '"') {
      *out = text_.substr(begin, at_++ - begin);
      return true;
    }
    if (unescaped != nullptr) unescaped->assign(text_, begin, at_ - begin);
    while (text_[at_] == '\\') {
      ++at_;
      if (!scan_escape(unescaped)) return false;
      const size_t run = at_;
      if (!skip_plain(text_.size())) return false;
      if (unescaped != nullptr) unescaped->append(text_, run, at_ - run);
    }
    ++at_;
    if (unescaped != nullptr) *out = *unescaped;
    return true;
  }

  // Behind a backslash: decodes one escape.
  bool scan_escape(std::string* unescaped) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (at_ == text_.size()) return fail("a string has no closing quote");
    const char c = text_[at_++];
    if (c == 'u') return scan_unicode_escape(unescaped);
    const size_t which = kNames.find(c);
    if (which == std::string_view::npos) return fail("unknown escape in a string");
    if (unescaped != nullptr) *unescaped += kMeanings[which];
    return true;
  }

  bool scan_unicode_escape(std::string* unescaped) {
    uint32_t code_point = 0;
    if (!scan_hex4(&code_point)) return false;
    if (code_point >= 0xDC00 && code_point < 0xE000) return fail("lone surrogate in a string");
    if (code_point >= 0xD800 && code_point < 0xDC00) {
      uint32_t low = 0;
      if (text_.substr(at_, 2) != "\\u") return fail("lone surrogate in a string");
      at_ += 2;
      if (!scan_hex4(&low)) return false;
      if (low < 0xDC00 || low >= 0xE000) return fail("lone surrogate in a string");
      code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
    }
    if (unescaped != nullptr) append_utf8(*unescaped, code_point);
    return true;
  }

  bool scan_hex4(uint32_t* out) {
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<uint32_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<uint32_t>(c - 'A' + 10);
      } else {
        return fail("expected four hex digits after \\u");
      }
      *out = *out << 4 | digit;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t depth_ = 0;
  std::bitset<kDepthMax> is_object_;  // of the open containers, outermost first
  bool fresh_ = false;                // the innermost container was just entered
  bool failed_ = false;
  std::string name_;  // the last field name that had escapes
  std::string error_;
};

}  // namespace kyro
