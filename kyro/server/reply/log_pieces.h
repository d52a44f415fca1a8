// Records of the log as an answer has them, in pieces: what replay (a line each) and subscribe (an
// event each, or a message of a call) have in common.
//
// They pull from the log in bounded slices as the client reads, so a slow client costs no memory:
// its place in the log is its buffer. A record that is larger than a piece is one piece after the
// other, each of which other subscribers may have encoded already (shared_pieces.h).
//
// Thread rule: its reactor's. Ownership: owns the reader; borrows engine and shared pieces.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kyro/json/record_encoder.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/shared_pieces.h"
#include "kyro/storage/engine.h"

namespace kyro {

enum class LogForm : uint8_t { kLines, kEvents, kMessages };

// The keys whose records are wanted.
struct KeyFilter {
  uint64_t first = 0;
  uint64_t last = ~uint64_t{0};

  [[nodiscard]] bool wants(uint64_t key) const { return first <= key && key <= last; }
  [[nodiscard]] bool wants_all() const { return first == 0 && last == ~uint64_t{0}; }
};

class LogPieces {
 public:
  // Records in [reader's place, end), at most `limit`.
  LogPieces(const Engine& engine, std::unique_ptr<LogReader> reader, LogForm form, uint64_t end,
            uint64_t limit, SharedPieces* shared, const KeyFilter& filter = {})
      : engine_(engine),
        reader_(std::move(reader)),
        form_(form),
        end_(end),
        left_(limit),
        shared_(shared),
        filter_(filter) {}

  // Appends at most `budget_bytes`, or less if that much work was done without. *at_end: there is
  // nothing more for now, or at all.
  Status write(std::string& out, size_t budget_bytes, bool* at_end) {
    *at_end = false;
    if (!record_.is_done()) return write_large(out, budget_bytes, at_end);
    const size_t end = out.size() + budget_bytes;
    if (left_ > 0) {
      KYRO_TRY(reader_->read(end_, budget_bytes, at_end, [&](const RecordView& record) {
        if (!filter_.wants(record.header.key)) return true;
        --left_;
        append(out, end - out.size(), record);
        return left_ > 0 && record_.is_done() && end - out.size() >= kRoomBytesMin;
      }));
    }
    if (left_ == 0 && record_.is_done()) *at_end = true;
    return Status();
  }
  // Every record below it has been appended, or is not wanted.
  [[nodiscard]] uint64_t next_offset() const { return reader_->next_offset(); }
  [[nodiscard]] const KeyFilter& filter() const { return filter_; }
  // What was appended ends with a record.
  [[nodiscard]] bool is_between_records() const { return record_.is_done(); }
  // Appends what is missing of the last record, if that has room; false if not.
  [[nodiscard]] bool finish_record(std::string& out, size_t budget_bytes) {
    return record_.advance(out, budget_bytes) && reader_->check_visited().ok();
  }

 private:
  static constexpr size_t kRoomBytesMin = RecordEncoder::kSmallRecordBytesMax;

  // A record that surely fits, or begins with one that is large.
  void append(std::string& out, size_t room, const RecordView& record) {
    const RecordHeader& header = record.header;
    if (form_ == LogForm::kMessages) return append_message(out, room, record);
    const uint64_t expires_secs = engine_.to_unix(header.expiry_secs());
    if (RecordEncoder::is_small(record.value) ||
        record.value.size() * 6 + RecordEncoder::kRoomBytesMin <= room) {
      append_begin(out, header.offset);
      append_log_record(out, header.offset, header.key, record.stored_value(), expires_secs);
      out += end_mark();
      return;
    }
    std::string begin;
    append_begin(begin, header.offset);
    record_.begin_log_record(header.offset, header.key, record.stored_value(), expires_secs);
    record_.add_head(begin);
    record_.add_tail(end_mark());
    offset_ = header.offset;
  }

  void append_message(std::string& out, size_t room, const RecordView& record) {
    rpc::ValueMessage message =
        rpc::log_record_message(record, engine_.to_unix(record.header.expiry_secs()));
    const std::string_view head = message.framed(rpc::kLogRecordValue, record.value.size());
    if (RecordEncoder::is_small(record.value) || head.size() + record.value.size() <= room) {
      out.append(head).append(record.value);
      return;
    }
    record_.begin_raw(record.value);
    record_.add_head(head);
    offset_ = record.header.offset;
  }

  void append_begin(std::string& out, uint64_t offset) const {
    if (form_ != LogForm::kEvents) return;
    out += "id: ";
    append_decimal(out, offset);
    out += "\ndata: ";
  }
  [[nodiscard]] std::string_view end_mark() const {
    return form_ == LogForm::kEvents ? "\n\n" : "\n";
  }

  // The next piece of the large record. Where pieces are shared it is as long as every other one.
  Status write_large(std::string& out, size_t budget_bytes, bool* at_end) {
    const SharedPieces::Place place{offset_, record_.progress()};
    const bool is_shared = shared_ != nullptr && budget_bytes >= SharedPieces::kPieceBytesMax;
    const auto piece = is_shared ? shared_->find(place) : nullptr;
    if (piece != nullptr) {
      out += piece->bytes;
      record_.resume(piece->next);
    } else {
      const size_t before = out.size();
      record_.advance(out, std::min(budget_bytes, SharedPieces::kPieceBytesMax));
      if (is_shared) shared_->add(place, out.substr(before), record_.progress());
    }
    if (!record_.is_done()) return Status();
    *at_end = left_ == 0;
    return reader_->check_visited();
  }

  const Engine& engine_;
  const std::unique_ptr<LogReader> reader_;
  const LogForm form_;
  const uint64_t end_;
  uint64_t left_;  // records
  SharedPieces* const shared_;
  const KeyFilter filter_;
  RecordEncoder record_;  // a large one, in the reader's memory
  uint64_t offset_ = 0;   // its
};

}  // namespace kyro
