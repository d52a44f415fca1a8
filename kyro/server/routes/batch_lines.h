// The lines of a batch (NDJSON), decoded one by one and in place.
//
//   {"op":"put","key":K,"value":"…" | "value_base64":"…", "ttl_secs":S | "ttl":S}
//   {"op":"delete","key":K}
//   either with "if_match": <offset, as a number or a decimal string> | "*"  and
//               "if_none_match": "*"
//
// Lines end with LF or CRLF; the last one needs no end, and one empty line may follow it. Values
// with escapes or base64 are decoded into the place of their own line, which is longer: a batch
// needs no memory beside its text.
//
// Thread rule: one thread. Ownership: borrows the text, which it changes; mutations point into it.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/json/record_json.h"
#include "kyro/storage/write/write_request.h"

namespace kyro {

class BatchReader {
 public:
  // Lifetimes count from `now_secs`.
  BatchReader(std::span<char> text, uint64_t now_secs) : text_(text), now_secs_(now_secs) {}

  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  // Of the line that was read last, from 1.
  [[nodiscard]] uint64_t line() const { return line_; }
  // How much of the text has been read.
  [[nodiscard]] size_t position() const { return at_; }

  // Reads the next line. `condition` is set if it has one, as *is_conditional says. kInvalid, with
  // the number of the line, if it is refused. REQUIRES: !at_end().
  Status next(Mutation* mutation, Condition* condition, bool* is_conditional) {
    const std::span<char> line = next_line();
    ++line_;
    Status status = line.empty() ? Status(Code::kInvalid, "the line is empty")
                                 : decode(line, mutation, condition, is_conditional);
    if (status.ok()) return status;
    return with_line(status, line_);
  }

  // Says in front of a message which line it is about.
  [[nodiscard]] static Status with_line(const Status& status, uint64_t line) {
    return Status(status.code(),
                  "line " + std::to_string(line) + ": " + std::string(status.message()));
  }

 private:
  std::span<char> next_line() {
    const std::span<char> rest = text_.subspan(at_);
    const auto* end = static_cast<const char*>(std::memchr(rest.data(), '\n', rest.size()));
    size_t size = end != nullptr ? static_cast<size_t>(end - rest.data()) : rest.size();
    at_ += size + (end != nullptr ? 1 : 0);
    // One empty line at the end is no line.
    const std::string_view behind(text_.data() + at_, text_.size() - at_);
    if (behind == "\n" || behind == "\r\n") at_ = text_.size();
    if (size > 0 && rest[size - 1] == '\r') --size;
    return rest.first(size);
  }

  Status decode(std::span<char> line, Mutation* mutation, Condition* condition,
                bool* is_conditional) {
    KYRO_TRY(decode_json_write({line.data(), line.size()}, JsonWriteKind::kBatchLine, &write_));
    const auto refuse = [](const char* why) { return Status(Code::kInvalid, why); };
    if (!write_.key) return refuse("field \"key\" is missing");
    if (write_.op == "delete") {
      if (write_.value || write_.ttl_secs) return refuse("a delete has neither value nor ttl_secs");
      *mutation = Mutation::remove(*write_.key);
    } else if (write_.op == "put") {
      if (!write_.value) return refuse("field \"value\" (or \"value_base64\") is missing");
      *mutation = Mutation::put(*write_.key, keep(line, *write_.value),
                                write_.ttl_secs ? now_secs_ + *write_.ttl_secs : 0);
    } else {
      return refuse("\"op\" must be \"put\" or \"delete\"");
    }
    *condition = {.key = *write_.key,
                  .must_exist = write_.must_exist,
                  .must_be_absent = write_.must_be_absent,
                  .must_be = write_.if_match};
    *is_conditional = write_.must_exist || write_.must_be_absent || write_.if_match.has_value();
    return Status();
  }

  // The value where it lies in the line, or moved there if it had to be decoded elsewhere.
  [[nodiscard]] std::string_view keep(std::span<char> line, std::string_view value) const {
    if (value.data() != write_.storage.data()) return value;
    KYRO_CHECK(value.size() <= line.size());
    std::memcpy(line.data(), value.data(), value.size());
    return {line.data(), value.size()};
  }

  const std::span<char> text_;
  const uint64_t now_secs_;
  size_t at_ = 0;
  uint64_t line_ = 0;
  JsonWrite write_;
};

}  // namespace kyro
