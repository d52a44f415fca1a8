// What a request head consists of, by position, and the memory of the last plain one.
//
// A client repeats itself to the byte, but for the number that its targets end with:
//
//   GET /v1/kv/ │ 4711 │  HTTP/1.1 CRLF Host: … CRLF CRLF
//   before        number  behind, to the end of the empty line
//
// A head with the same parts around another number (plain, decimal.h) is as valid as the one they
// come from and means the same, so two comparisons understand it. Where only `behind` is the same,
// the fields are understood. Fields that say anything about a body are never kept. A head with a
// token is kept only while the bytes that came with it are worked through: compared with what other
// connections send, it would leak in the time that takes.
//
// Thread rule: one for all parsers of a thread, which have the same limits. Ownership: owns copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/decimal.h"
#include "kyro/net/http/request.h"

namespace kyro {

// A part of a head by position, since the buffer may move.
struct HeadPart {
  uint32_t from = 0;
  uint32_t size = 0;
  [[nodiscard]] std::string_view in(std::string_view bytes) const {
    return {bytes.data() + from, size};
  }
};

struct HeadParts {
  Method method = Method::kOther;
  uint8_t version_minor = 1;
  bool has_query = false;
  bool has_host = false;
  bool has_length = false;
  bool has_coding = false;
  bool close = false;
  bool keep_alive = false;
  bool expect_continue = false;
  uint32_t block_from = 0;  // of the field section
  uint32_t bytes = 0;       // of the whole head, with its last empty line
  HeadPart method_text, target, path, query, authority, host;
  uint64_t name_mask = 0;
  uint64_t length = 0;

  // Sets all but body and peer.
  void fill(std::string_view head, HttpRequest* request) const {
    *request = HttpRequest{};
    request->method = method;
    request->version_minor = version_minor;
    request->has_query = has_query;
    request->chunked = has_coding;
    request->has_content_length = has_length;
    request->content_length = length;
    request->keep_alive = !close && (version_minor == 1 || keep_alive);
    request->expect_continue = expect_continue && request->announces_body();
    request->method_text = method_text.in(head);
    request->target = target.in(head);
    request->path = path.in(head);
    // An absolute target may end behind its authority: then it asks for the root, or for all.
    if (path.size == 0) request->path = method == Method::kOptions && !has_query ? "*" : "/";
    request->query = query.in(head);
    request->host = authority.size != 0 ? authority.in(head) : host.in(head);
    request->header_block = {head.data() + block_from, bytes - 2 - block_from};
    request->name_mask = name_mask;
  }
};

class KnownRequest {
 public:
  static constexpr size_t kBytesMax = 1024;  // a longer head is not kept

  // The number of a head that repeats the known one, and its digits.
  struct Repeat {
    uint64_t number = 0;
    uint32_t digits = 0;
  };

  // True if `bytes` begins with a whole head like the known one.
  [[nodiscard]] bool is_repeated(std::string_view bytes, Repeat* repeat) const {
    if (before_.empty() || !bytes.starts_with(before_)) return false;
    const std::string_view rest(bytes.data() + before_.size(), bytes.size() - before_.size());
    const size_t digits = read_u64(rest, &repeat->number);
    repeat->digits = static_cast<uint32_t>(digits);
    return digits != 0 && rest.substr(digits).starts_with(behind_);
  }
  [[nodiscard]] size_t bytes_of(const Repeat& repeat) const {
    return before_.size() + repeat.digits + behind_.size();
  }
  // What is_repeated() has found, as parts.
  [[nodiscard]] HeadParts parts_of(const Repeat& repeat) const {
    HeadParts parts = parts_;
    const uint32_t shift = repeat.digits - digits_;  // modulo 2^32 where there are fewer
    parts.target.size += shift;
    (parts.has_query ? parts.query : parts.path).size += shift;
    parts.host.from += shift;
    parts.block_from += shift;
    parts.bytes += shift;
    return parts;
  }

  // True if a head that goes on with `rest` behind its request line has the known fields; then
  // `parts` has been completed with what they say.
  [[nodiscard]] bool has_known_fields(std::string_view rest, HeadParts* parts) const {
    if (behind_.empty() || parts->version_minor == 0) return false;
    const std::string_view block = std::string_view(behind_).substr(kVersionBytes);
    if (!rest.starts_with(block)) return false;
    parts->has_host = true;
    parts->host = {parts->block_from + (parts_.host.from - parts_.block_from), parts_.host.size};
    parts->close = parts_.close;
    parts->keep_alive = parts_.keep_alive;
    parts->name_mask = parts_.name_mask;
    parts->bytes = parts->block_from + static_cast<uint32_t>(block.size());
    return true;
  }

  // Takes a head that was found valid, which `bytes` begin with, in place of the last one. Returns
  // the note for what repeats it, 0 at first; null if nothing can. `line_bytes_max` bounds request
  // lines, whatever number they end with.
  uint64_t* learn(std::string_view bytes, const HeadParts& parts, size_t line_bytes_max) {
    const bool is_plain = parts.version_minor == 1 && !parts.has_length && !parts.has_coding &&
                          !parts.expect_continue;
    if (!is_plain || parts.bytes > kBytesMax) return nullptr;
    if (bears_token(parts) && bytes.size() == parts.bytes) return nullptr;  // nothing is behind it
    const size_t target_end = parts.target.from + parts.target.size;
    behind_.assign(bytes.data() + target_end, parts.bytes - target_end);
    parts_ = parts;
    size_t number_from = target_end;
    while (number_from > parts.target.from && is_digit(bytes[number_from - 1])) --number_from;
    digits_ = static_cast<uint32_t>(target_end - number_from);
    before_.clear();
    note_ = 0;
    // Neither may the digits be of an authority or an escape, nor may more of them be too long.
    const bool is_in_path = parts.has_query || digits_ < parts.path.size;
    if (digits_ == 0 || !is_in_path || bytes[number_from - 1] == '%') return nullptr;
    if (number_from + kDecimalDigitsMax + kVersionBytes > line_bytes_max) return nullptr;
    before_.assign(bytes.data(), number_from);
    return &note_;
  }
  [[nodiscard]] uint64_t* note() { return &note_; }

  // Behind the last byte of those that came at once.
  void forget_token() {
    if (!bears_token(parts_)) return;
    before_.clear();
    behind_.clear();
    parts_ = HeadParts{};
  }

 private:
  static constexpr size_t kVersionBytes = 11;  // " HTTP/1.1" and CRLF

  // Perhaps.
  [[nodiscard]] static bool bears_token(const HeadParts& parts) {
    return (parts.name_mask & header_name_bit("authorization")) != 0;
  }
  [[nodiscard]] static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  std::string before_;  // empty: the target ends with no number
  std::string behind_;  // empty: nothing is known
  HeadParts parts_;
  uint32_t digits_ = 0;
  uint64_t note_ = 0;
};

}  // namespace kyro
