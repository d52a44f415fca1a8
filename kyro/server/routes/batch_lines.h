// The lines of a batch (NDJSON), decoded one by one and in place.
//
//   {"op":"put","key":K,"value":"…" | "value_base64":"…", "ttl_secs":S | "ttl":S}
//   {"op":"delete","key":K}
//   either with "if_match": <offset, as a number or a decimal string> | "*"  and
//               "if_none_match": "*"
//
// Lines end with LF or CRLF; the last one needs no end, and one empty line may follow it. Values
// are decoded in their own line: a batch needs no memory beside its text. A long line is worked
// through in slices.
//
// Thread rule: one thread. Ownership: borrows the text, which it changes; mutations point into it.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/json/record_json.h"
#include "kyro/storage/write/write_request.h"

namespace kyro {

// Where the writes of a batch come from, one after the other.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  [[nodiscard]] virtual bool at_end() const = 0;
  // Of the write that was read last, from 1.
  [[nodiscard]] virtual uint64_t line() const = 0;
  // How much of the batch has been read, or begun to be.
  [[nodiscard]] virtual size_t position() const = 0;
  // Reads the next write, or goes on with it, in about `budget_bytes` of work; false: there is more
  // to do. `condition` is set if the write has one, as *is_conditional says. kInvalid, with the
  // write's number, if it is refused. REQUIRES: !at_end().
  virtual Result<bool> next(size_t budget_bytes, Mutation* mutation, Condition* condition,
                            bool* is_conditional) = 0;
  // Says in front of a message which write it is about.
  [[nodiscard]] virtual Status with_number(const Status& status, uint64_t line) const = 0;
};

class BatchReader final : public BatchSource {
 public:
  // expiry_of(write) is when what a put with a lifetime stores expires.
  using ExpiryOf = std::function<uint64_t(const JsonWrite& write)>;
  BatchReader(std::span<char> text, ExpiryOf expiry_of)
      : text_(text), expiry_of_(std::move(expiry_of)) {}

  [[nodiscard]] bool at_end() const override { return at_ == text_.size() && !decoder_; }
  [[nodiscard]] uint64_t line() const override { return line_; }
  [[nodiscard]] size_t position() const override { return at_; }
  Result<bool> next(size_t budget_bytes, Mutation* mutation, Condition* condition,
                    bool* is_conditional) override {
    if (!decoder_) KYRO_TRY(begin_line());
    if (!is_decoded_) {
      if (!decoder_->advance(budget_bytes)) return false;
      Status status = decoder_->finish();
      if (status.ok()) status = take();
      if (!status.ok()) return with_line(status, line_);
      is_decoded_ = true;
      hashed_ = 0;
      value_crc_ = 0;
    }
    const std::string_view rest = mutation_.value.substr(hashed_, budget_bytes);
    value_crc_ = crc32c(rest, value_crc_);
    hashed_ += rest.size();
    if (hashed_ < mutation_.value.size()) return false;
    mutation_.value_crc = value_crc_;
    *mutation = mutation_;
    *condition = condition_;
    *is_conditional = is_conditional_;
    decoder_.reset();
    return true;
  }

  [[nodiscard]] static Status with_line(const Status& status, uint64_t line) {
    return Status(status.code(),
                  "line " + std::to_string(line) + ": " + std::string(status.message()));
  }
  [[nodiscard]] Status with_number(const Status& status, uint64_t line) const override {
    return with_line(status, line);
  }

 private:
  std::span<char> next_line() {
    const std::span<char> rest = text_.subspan(at_);
    const auto* end = static_cast<const char*>(std::memchr(rest.data(), '\n', rest.size()));
    size_t size = end != nullptr ? static_cast<size_t>(end - rest.data()) : rest.size();
    at_ += size + (end != nullptr ? 1 : 0);
    // One empty line at the end is no line.
    const std::string_view after(text_.data() + at_, text_.size() - at_);
    if (after == "\n" || after == "\r\n") at_ = text_.size();
    if (size > 0 && rest[size - 1] == '\r') --size;
    return rest.first(size);
  }

  Status begin_line() {
    const std::span<char> line = next_line();
    ++line_;
    if (line.empty()) return with_line(Status(Code::kInvalid, "the line is empty"), line_);
    decoder_.emplace(line, JsonWriteKind::kBatchLine, &write_);
    is_decoded_ = false;
    return Status();
  }

  // The line has been decoded: what it asks for.
  Status take() {
    const auto refuse = [](const char* why) { return Status(Code::kInvalid, why); };
    if (!write_.key) return refuse("field \"key\" is missing");
    if (write_.op == "delete") {
      if (write_.value || write_.has_lifetime()) {
        return refuse("a delete has neither value nor lifetime");
      }
      mutation_ = Mutation::remove(*write_.key);
    } else if (write_.op == "put") {
      if (!write_.value) return refuse("field \"value\" (or \"value_base64\") is missing");
      mutation_ = {.type = RecordType::kPut,
                   .key = *write_.key,
                   .expiry_secs = write_.has_lifetime() ? expiry_of_(write_) : 0,
                   .value = *write_.value};
    } else {
      return refuse("\"op\" must be \"put\" or \"delete\"");
    }
    condition_ = {.key = *write_.key,
                  .must_exist = write_.must_exist,
                  .must_be_absent = write_.must_be_absent,
                  .must_be = write_.if_match};
    is_conditional_ = write_.must_exist || write_.must_be_absent || write_.if_match.has_value();
    return Status();
  }

  const std::span<char> text_;
  const ExpiryOf expiry_of_;
  size_t at_ = 0;
  uint64_t line_ = 0;
  // Of the line under way.
  JsonWrite write_;
  std::optional<JsonWriteDecoder> decoder_;
  bool is_decoded_ = false;
  Mutation mutation_;
  size_t hashed_ = 0;  // of its value
  uint32_t value_crc_ = 0;
  Condition condition_;
  bool is_conditional_ = false;
};

}  // namespace kyro
