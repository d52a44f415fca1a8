// Reads the groups of one WAL segment in order, and judges what lies behind the last good one.
//
// Invariant: next() returns a group only if nonce, chain, numbering, lengths, CRC and every record
// in it are right; so whatever it returned is what was written. It never reads behind the file's
// end and holds one group in memory, or a piece of the file that is read ahead.
//
// Thread rule: one thread per reader; the file may be appended to meanwhile, if the caller reads
// only while next_offset() is below what it knows to be written.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/wal_format.h"

namespace kyro {

class SegmentReader {
 public:
  enum class Step : uint8_t {
    kGroup,  // group() and body() hold the next group
    kStop,   // no valid group at position(): the end, a torn tail, or damage
  };

  // Opens a segment and checks its header against what the manifest says of it.
  [[nodiscard]] static Result<std::unique_ptr<SegmentReader>> open(Directory& dir,
                                                                   uint64_t first_offset,
                                                                   uint64_t nonce) {
    auto reader = std::make_unique<SegmentReader>();
    reader->name_ = segment_name(first_offset);
    auto file = dir.open(reader->name_, OpenMode::kRead);
    if (!file.ok() && file.status().code() == Code::kNotFound) {
      return Status(Code::kCorruption,
                    reader->name_ + ": the manifest names this log segment, but it is missing");
    }
    KYRO_TRY(file);
    reader->file_ = std::move(*file);
    auto got = reader->file_->read_at(0, &reader->header_, sizeof reader->header_);
    KYRO_TRY(got);
    if (*got != sizeof reader->header_) {
      return Status(Code::kCorruption, reader->name_ + " at 0: shorter than a segment header");
    }
    KYRO_TRY(check_segment_header(reader->header_, reader->name_));
    if (reader->header_.nonce != nonce || reader->header_.first_offset != first_offset) {
      return Status(Code::kCorruption,
                    reader->name_ + " at 0: a foreign segment (not the one the manifest names)");
    }
    reader->chain_crc_ = reader->header_.crc;
    reader->next_offset_ = first_offset;
    return reader;
  }

  // Reads the group at position(). Fails only if the file system does. Ends the life of body().
  [[nodiscard]] Result<Step> next() {
    const bool was_buffered = buffered_ > 0;
    auto step = parse_group();
    if (step.ok() && *step == Step::kStop && was_buffered) {
      // What was read ahead may be older than what has been written there since.
      forget_buffer();
      step = parse_group();
    }
    if (step.ok() && *step == Step::kStop) forget_buffer();
    return step;
  }

  // The header of the group at position(), if it may be the one that comes next: what it says of
  // its body has not been checked. For a group that is to be read elsewhere than in a buffer.
  [[nodiscard]] Result<std::optional<GroupHeader>> peek_header() {
    const bool was_buffered = buffered_ > 0;
    auto header = parse_header();
    if (header.ok() && !header->has_value() && was_buffered) {
      forget_buffer();  // what was read ahead may be older than what lies there now
      header = parse_header();
    }
    return header;
  }
  // Moves over the group whose header peek_header() gave: it is whole.
  void pass(const GroupHeader& header) {
    group_ = header;
    body_ = {};
    position_ += kGroupHeaderBytes + header.body_bytes;
    chain_crc_ = header.crc;
    next_offset_ = header.end_offset();
  }

  // Goes on with the group at `position`, where there is one; its chain is taken as its header
  // says.
  [[nodiscard]] Status skip_to(uint64_t position) {
    if (position == position_) return Status();
    GroupHeader header{};
    auto got = file_->read_at(position, &header, sizeof header);
    KYRO_TRY(got);
    position_ = position;
    next_offset_ = header.first_offset;
    chain_crc_ = header.previous_crc;
    return Status();
  }
  // Goes back to the first group.
  void restart() {
    position_ = kSegmentHeaderBytes;
    next_offset_ = header_.first_offset;
    chain_crc_ = header_.crc;
  }
  // Gives memory back; body() is empty then.
  void release_body() {
    body_ = {};
    forget_buffer();
    if (buffer_.capacity() > kReadAheadBytesMin) std::string().swap(buffer_);
  }

  // What lies at and behind position() after kStop.
  struct Tail {
    bool was_durable = false;    // a later group proves that this place had been synced: damage
    uint64_t garbage_bytes = 0;  // up to the last byte that is not zero
  };

  // A group that never was synced leaves no proof; one that was is contradicted by any later group
  // whose durable watermark lies above it, or whose writer synced all before each write. Reads the
  // rest of the file once, in bounded pieces.
  [[nodiscard]] Result<Tail> inspect_tail() {
    Tail tail;
    auto size = file_->size();
    KYRO_TRY(size);
    constexpr size_t kChunkBytes = 1u << 20;
    constexpr size_t kOverlapBytes = sizeof(uint64_t) - 1;
    const uint64_t rest = *size > position_ ? *size - position_ : 0;
    std::string chunk(std::min<uint64_t>(rest, kChunkBytes) + kOverlapBytes, '\0');
    for (uint64_t at = position_; at < *size; at += kChunkBytes) {
      auto data_at = file_->next_data(at);
      KYRO_TRY(data_at);
      at = *data_at;
      if (at >= *size) break;
      auto got = file_->read_at(at, chunk.data(), chunk.size());
      KYRO_TRY(got);
      const std::string_view bytes(chunk.data(), *got);
      const size_t last = last_nonzero(bytes);
      if (last == std::string_view::npos) continue;
      tail.garbage_bytes = at + last + 1 - position_;
      auto proof = search_proof(bytes, at);
      KYRO_TRY(proof);
      if (*proof) tail.was_durable = true;
    }
    return tail;
  }

  [[nodiscard]] const SegmentHeader& header() const { return header_; }
  [[nodiscard]] const GroupHeader& group() const { return group_; }
  [[nodiscard]] std::string_view body() const { return body_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] uint64_t position() const { return position_; }
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  [[nodiscard]] uint32_t chain_crc() const { return chain_crc_; }
  [[nodiscard]] File& file() { return *file_; }

 private:
  static constexpr size_t kReadAheadBytesMin = 4 << 10;
  static constexpr size_t kReadAheadBytesMax = 64 << 10;

  Result<std::optional<GroupHeader>> parse_header() {
    auto bytes = peek(position_, kGroupHeaderBytes);
    KYRO_TRY(bytes);
    if (bytes->size() != kGroupHeaderBytes) return std::optional<GroupHeader>();
    const auto header = load<GroupHeader>(bytes->data());
    if (header.nonce != header_.nonce || header.previous_crc != chain_crc_ ||
        header.first_offset != next_offset_) {
      return std::optional<GroupHeader>();
    }
    return std::optional<GroupHeader>(header);
  }

  Result<Step> parse_group() {
    auto header = parse_header();
    KYRO_TRY(header);
    if (!header->has_value()) return Step::kStop;
    auto valid = read_body(position_, **header);
    KYRO_TRY(valid);
    const auto ignore = [](const RecordView&, std::string_view) {};
    if (!*valid || !for_each_record(**header, body_, ignore)) return Step::kStop;
    const std::string_view body = body_;
    pass(**header);
    body_ = body;
    return Step::kGroup;
  }

  // Whether the body of `header` at `position` is there and its CRC is right; leaves it in body_.
  Result<bool> read_body(uint64_t position, const GroupHeader& header) {
    const size_t group_bytes = kGroupHeaderBytes + size_t{header.body_bytes};
    if (!is_buffered(position, group_bytes)) {
      auto size = file_->size();
      KYRO_TRY(size);
      if (position + group_bytes > *size) return false;
    }
    auto bytes = peek(position, group_bytes);
    KYRO_TRY(bytes);
    if (bytes->size() != group_bytes) return false;
    body_ = bytes->substr(kGroupHeaderBytes);
    return group_crc_matches(header, body_);
  }

  [[nodiscard]] bool is_buffered(uint64_t position, size_t n) const {
    return position >= buffer_at_ && position + n <= buffer_at_ + buffered_;
  }

  // The file's bytes at [position, position + n), fewer where it ends; valid until the next call.
  // Reads ahead: twice as much each time, so that who follows the end of a live log reads little.
  Result<std::string_view> peek(uint64_t position, size_t n) {
    if (!is_buffered(position, n)) {
      const size_t wanted = std::max(n, read_ahead_bytes_);
      if (buffer_.size() < wanted) buffer_.resize(wanted);
      forget_buffer();
      auto got = file_->read_at(position, buffer_.data(), wanted);
      KYRO_TRY(got);
      buffer_at_ = position;
      buffered_ = *got;
      read_ahead_bytes_ = std::min(wanted * 2, kReadAheadBytesMax);
    }
    const auto from = static_cast<size_t>(position - buffer_at_);
    return std::string_view(buffer_).substr(from, std::min(n, buffered_ - from));
  }

  void forget_buffer() {
    buffered_ = 0;
    read_ahead_bytes_ = kReadAheadBytesMin;
  }

  static size_t last_nonzero(std::string_view bytes) {
    size_t n = bytes.size();
    while (n >= 8 && load_u64(bytes.data() + n - 8) == 0) n -= 8;
    while (n > 0 && bytes[n - 1] == '\0') --n;
    return n == 0 ? std::string_view::npos : n - 1;
  }

  // Looks in `bytes`, which lie at file position `at`, for a whole group that was written when
  // next_offset() was already durable. A group's nonce is its 8th to 15th byte.
  Result<bool> search_proof(std::string_view bytes, uint64_t at) {
    constexpr uint64_t kNonceAt = offsetof(GroupHeader, nonce);
    const char* from = bytes.data();
    const char* const end = bytes.data() + bytes.size();
    while (const void* hit = memmem(from, static_cast<size_t>(end - from), &header_.nonce,
                                    sizeof header_.nonce)) {
      const auto* found = static_cast<const char*>(hit);
      from = found + 1;
      const uint64_t nonce_position = at + static_cast<uint64_t>(found - bytes.data());
      if (nonce_position < position_ + kNonceAt) continue;
      GroupHeader header{};
      auto got = file_->read_at(nonce_position - kNonceAt, &header, sizeof header);
      KYRO_TRY(got);
      const bool proves = header.durable > next_offset_ || header.policy() == FsyncPolicy::kAlways;
      if (*got != sizeof header || !proves) continue;
      auto valid = read_body(nonce_position - kNonceAt, header);
      KYRO_TRY(valid);
      if (*valid) return true;
    }
    return false;
  }

  std::string name_;
  std::unique_ptr<File> file_;
  SegmentHeader header_{};
  GroupHeader group_{};
  std::string buffer_;
  uint64_t buffer_at_ = 0;  // buffer_ holds buffered_ bytes of the file from there on
  size_t buffered_ = 0;
  size_t read_ahead_bytes_ = kReadAheadBytesMin;
  std::string_view body_;  // within buffer_
  uint64_t position_ = kSegmentHeaderBytes;
  uint64_t next_offset_ = 0;
  uint32_t chain_crc_ = 0;
};

}  // namespace kyro
