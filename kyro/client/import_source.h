// What an import reads: NDJSON or CSV, record by record, each as it is or turned into one line of
// POST /v1/batch.
//
// NDJSON: a line is {"key":…,"value":…} (or "value_base64", with "ttl_secs" if wanted); what scan,
// export, dump and replay print is fine too, deletes of a log included. CSV: a header `key,value`
// or `key,value_base64`, maybe with `expires` (Unix seconds, or nothing) after it, then records.
// Empty lines count as lines, not as records. Each record is checked as the server would check it,
// so that what is wrong is named by its line.
//
// Thread rule: one thread. Ownership: sources borrow the bytes' source.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/client/csv.h"
#include "kyro/client/lines.h"
#include "kyro/json/record_encoder.h"
#include "kyro/json/record_json.h"

namespace kyro {

enum class ImportFormat : uint8_t { kDetect, kNdjson, kCsv };

struct ImportRecord {
  bool is_delete = false;
  uint64_t key = 0;
  std::string_view value = {};  // valid until the next record
  std::optional<uint64_t> ttl_secs = {};
  std::optional<uint64_t> expires_secs = {};  // Unix time
};

class ImportSource {
 public:
  ImportSource() = default;
  ImportSource(const ImportSource&) = delete;
  ImportSource& operator=(const ImportSource&) = delete;
  virtual ~ImportSource() = default;

  // The next record; false at the end. A failure is about the record that begins on line().
  virtual Result<bool> next_record(ImportRecord* out) = 0;
  // Appends the next record's batch line, with its line end; false at the end. A failure is about
  // the record that begins on line().
  virtual Result<bool> next(std::string* out) = 0;
  // The key of the record that next() appended.
  [[nodiscard]] virtual uint64_t key() const = 0;
  // Passes over the next record unchecked (but for CSV's quotes); false at the end.
  virtual Result<bool> skip() = 0;
  // The line, counted from 1, on which the last record begins.
  [[nodiscard]] virtual uint64_t line() const = 0;
};

class NdjsonSource final : public ImportSource {
 public:
  NdjsonSource(ByteSource& bytes, std::string_view already_read) : lines_(bytes, already_read) {}

  Result<bool> next(std::string* out) override {
    ImportRecord record;
    auto more = next_record(&record);
    if (more.ok() && *more) append_line(out, record.is_delete);
    return more;
  }

  Result<bool> next_record(ImportRecord* out) override {
    std::string_view text;
    auto more = next_line(&text);
    if (!more.ok() || !*more) return more;
    KYRO_TRY(decode_json_write(text, JsonWriteKind::kImportLine, &record_));
    if (!record_.key) return Status(Code::kInvalid, "field \"key\" is missing");
    if (record_.if_match || record_.must_exist || record_.must_be_absent) {
      return Status(Code::kInvalid, "an import takes no conditions; kyrodbctl batch does");
    }
    const bool is_delete = record_.op == "delete";
    if (!is_delete && !record_.op.empty() && record_.op != "put") {
      return Status(Code::kInvalid, "\"op\" must be \"put\" or \"delete\"");
    }
    if (is_delete == record_.value.has_value()) {
      return Status(Code::kInvalid, is_delete ? "a delete has no value"
                                              : "field \"value\" (or \"value_base64\") is missing");
    }
    *out = {is_delete, *record_.key, record_.value.value_or(std::string_view()), record_.ttl_secs,
            record_.expires_secs};
    return true;
  }

  Result<bool> skip() override {
    std::string_view text;
    return next_line(&text);
  }

  [[nodiscard]] uint64_t key() const override { return record_.key.value_or(0); }
  [[nodiscard]] uint64_t line() const override { return line_; }

 private:
  // What a batch takes of the record: its value as it came.
  void append_line(std::string* out, bool is_delete) const {
    out->append(is_delete ? "{\"op\":\"delete\",\"key\":" : "{\"op\":\"put\",\"key\":");
    append_decimal(*out, *record_.key);
    if (!is_delete) {
      out->append(record_.is_base64 ? ",\"value_base64\":" : ",\"value\":")
          .append(record_.value_json);
    }
    if (record_.has_lifetime()) {
      out->append(record_.ttl_secs ? ",\"ttl_secs\":" : ",\"expires\":");
      append_decimal(*out, record_.ttl_secs ? *record_.ttl_secs : *record_.expires_secs);
    }
    out->append("}\n");
  }

  Result<bool> next_line(std::string_view* text) {
    for (;;) {
      auto more = lines_.next(text);
      if (more.ok() && !*more) return false;
      ++line_;
      if (!more.ok() || text->find_first_not_of(" \t\r") != text->npos) return more;
    }
  }

  LineReader lines_;
  JsonWrite record_;
  uint64_t line_ = 0;
};

class CsvSource final : public ImportSource {
 public:
  CsvSource(ByteSource& bytes, std::string_view already_read)
      : bytes_(bytes), buffer_(already_read) {}

  Result<bool> next(std::string* out) override {
    ImportRecord record;
    auto more = next_record(&record);
    if (!more.ok() || !*more) return more;
    out->append("{\"op\":\"put\",\"key\":").append(reader_.field(0)).append(",");
    if (is_base64_) {
      out->append("\"value_base64\":\"").append(reader_.field(1)).append("\"");
    } else {
      append_json_value_field(*out, reader_.field(1));
    }
    if (record.expires_secs) out->append(",\"expires\":").append(reader_.field(2));
    out->append("}\n");
    return true;
  }

  Result<bool> next_record(ImportRecord* out) override {
    auto more = next_data_record();
    if (!more.ok() || !*more) return more;
    if (reader_.field_count() != fields_) {
      return Status(Code::kInvalid, "the record has " + std::to_string(reader_.field_count()) +
                                        " fields, the header " + std::to_string(fields_));
    }
    const std::string_view expires = fields_ == 3 ? reader_.field(2) : std::string_view();
    const auto moment = parse_u64(expires);
    if (!expires.empty() && (!moment || *moment == 0 || *moment > kExpirySecsMax)) {
      return Status(Code::kInvalid, "expires must be a moment of Unix time in whole seconds");
    }
    const auto key = parse_u64(reader_.field(0));
    if (!key) {
      return Status(Code::kInvalid, "the key must be a decimal number from 0 to 2^64-1, not \"" +
                                        std::string(reader_.field(0).substr(0, 64)) + "\"");
    }
    if (is_base64_ && !decode_base64(reader_.field(1), &decoded_)) {
      return Status(Code::kInvalid, "the value is not standard base64 with padding");
    }
    key_ = *key;
    *out = {false, *key, is_base64_ ? std::string_view(decoded_) : reader_.field(1), {}, moment};
    return true;
  }

  Result<bool> skip() override { return next_data_record(); }

  [[nodiscard]] uint64_t key() const override { return key_; }
  [[nodiscard]] uint64_t line() const override { return reader_.line(); }

 private:
  Result<bool> next_data_record() {
    if (!has_header_) {
      auto header = next_record();
      if (!header.ok() || !*header) return header;
      fields_ = reader_.field_count();
      is_base64_ = fields_ >= 2 && reader_.field(1) == "value_base64";
      const bool is_known = (fields_ == 2 || (fields_ == 3 && reader_.field(2) == "expires")) &&
                            reader_.field(0) == "key" &&
                            (is_base64_ || reader_.field(1) == "value");
      if (!is_known) {
        return Status(Code::kInvalid,
                      "the header must be key,value or key,value_base64, and may end with expires");
      }
      has_header_ = true;
    }
    return next_record();
  }

  Result<bool> next_record() {
    for (;;) {
      std::string_view rest = std::string_view(buffer_).substr(consumed_);
      CsvReader::Outcome outcome = reader_.next(rest);
      consumed_ = buffer_.size() - rest.size();
      if (outcome == CsvReader::Outcome::kNeedMore && is_at_end_) outcome = reader_.finish();
      if (outcome == CsvReader::Outcome::kRecord) return true;
      if (outcome == CsvReader::Outcome::kError) return Status(Code::kInvalid, reader_.error());
      if (is_at_end_) return false;
      buffer_.clear();
      consumed_ = 0;
      KYRO_TRY(bytes_.read(&buffer_, &is_at_end_));
    }
  }

  ByteSource& bytes_;
  std::string buffer_;
  size_t consumed_ = 0;
  bool is_at_end_ = false;
  bool has_header_ = false;
  size_t fields_ = 0;  // of the header
  bool is_base64_ = false;
  uint64_t key_ = 0;
  CsvReader reader_;
  std::string decoded_;
};

// By the name of the file, where it has one that says so.
[[nodiscard]] inline ImportFormat format_of_name(std::string_view name) {
  if (name.ends_with(".csv")) return ImportFormat::kCsv;
  if (name.ends_with(".ndjson") || name.ends_with(".jsonl")) return ImportFormat::kNdjson;
  return ImportFormat::kDetect;
}

// A source of records over bytes; kDetect looks at the first one that is no white space: a brace
// begins NDJSON. A byte order mark is passed over.
[[nodiscard]] inline Result<std::unique_ptr<ImportSource>> make_import_source(ByteSource& bytes,
                                                                              ImportFormat format) {
  constexpr size_t kLookBytesMax = 1u << 20;
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string head;
  bool is_at_end = false;
  size_t first = std::string::npos;
  while (!is_at_end && head.size() < kLookBytesMax &&
         (first == std::string::npos || head.size() < kByteOrderMark.size())) {
    KYRO_TRY(bytes.read(&head, &is_at_end));
    if (head.starts_with(kByteOrderMark)) head.erase(0, kByteOrderMark.size());
    first = head.find_first_not_of(" \t\r\n");
  }
  if (format == ImportFormat::kDetect) {
    const bool is_csv = first != std::string::npos && head[first] != '{';
    format = is_csv ? ImportFormat::kCsv : ImportFormat::kNdjson;
  }
  std::unique_ptr<ImportSource> source;
  if (format == ImportFormat::kCsv) {
    source = std::make_unique<CsvSource>(bytes, head);
  } else {
    source = std::make_unique<NdjsonSource>(bytes, head);
  }
  return source;
}

}  // namespace kyro
