// Reads the groups of one WAL segment in order, up to the first place where no good one follows
// (what that place means, segment_end.h judges).
//
// Invariant: next() returns a group only if nonce, chain, numbering, lengths, CRC and every record
// in it are right; so whatever it returned is what was written. It never reads beyond the file's
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

#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/group_search.h"
#include "kyro/storage/log/segment_ref.h"
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
                                                                   const SegmentRef& ref) {
    return open(own_file(dir, ref), ref);
  }
  // The same with its file, which others may read too.
  [[nodiscard]] static Result<std::unique_ptr<SegmentReader>> open(
      Result<std::shared_ptr<File>> file, const SegmentRef& ref) {
    auto reader = open_file(std::move(file), ref);
    KYRO_TRY(reader);
    KYRO_TRY((*reader)->check_header(ref));
    (*reader)->restart();
    return reader;
  }

  // The same for one whose header may be damaged: `*header` says so. Then skip_damage() finds its
  // groups, as long as the nonce is known. A nonce of 0 in `ref` stands for a segment that no
  // manifest describes.
  [[nodiscard]] static Result<std::unique_ptr<SegmentReader>> open_damaged(Directory& dir,
                                                                           const SegmentRef& ref,
                                                                           Status* header) {
    auto reader = open_file(own_file(dir, ref), ref);
    KYRO_TRY(reader);
    *header = (*reader)->check_header(ref);
    if (header->code() == Code::kUnsupported) return *header;
    if (!header->ok()) {
      (*reader)->has_header_ = false;
      (*reader)->header_ = {};
      (*reader)->header_.nonce = ref.nonce;
      (*reader)->header_.first_offset = ref.first_offset;
    }
    (*reader)->restart();
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
    go_on_with(header, position);
    return Status();
  }
  // Goes on with the next good group at or after position() whose offsets were not read yet; its
  // chain is taken as its header says. False if there is none.
  [[nodiscard]] Result<bool> skip_damage() {
    if (header_.nonce == 0) return false;
    const auto take_if_good = [this](uint64_t place) -> Result<bool> {
      GroupHeader header{};
      auto is_group = is_group_at(place, &header);
      KYRO_TRY(is_group);
      const auto ignore = [](const RecordView&, std::string_view) {};
      if (!*is_group || header.first_offset < next_offset_ ||
          !for_each_record(header, body_, ignore)) {
        return false;
      }
      go_on_with(header, place);
      return true;
    };
    const auto found = search_groups(*file_, header_.nonce, position_, take_if_good);
    KYRO_TRY(found);
    return found->found;
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

  // Whether a whole group with a right checksum lies at `place`; its header goes to `*header`. What
  // it is chained to is not looked at. Ends the life of body().
  [[nodiscard]] Result<bool> is_group_at(uint64_t place, GroupHeader* header) {
    auto got = file_->read_at(place, header, sizeof *header);
    KYRO_TRY(got);
    if (*got != sizeof *header || header->nonce != header_.nonce) return false;
    return read_body(place, *header);
  }

  [[nodiscard]] const SegmentHeader& header() const { return header_; }
  // False where it is damaged, see open_damaged().
  [[nodiscard]] bool has_header() const { return has_header_; }
  [[nodiscard]] const GroupHeader& group() const { return group_; }
  // Of the group that was read last. A segment without one was made by a process that may have lost
  // what it wrote there, so it counts as opened.
  [[nodiscard]] GroupKind last_kind() const {
    return position_ == kSegmentHeaderBytes ? GroupKind::kOpened : group_.kind();
  }
  [[nodiscard]] FsyncPolicy last_policy() const {
    return position_ == kSegmentHeaderBytes ? static_cast<FsyncPolicy>(header_.policy)
                                            : group_.policy();
  }
  [[nodiscard]] std::string_view body() const { return body_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] uint64_t position() const { return position_; }
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  [[nodiscard]] uint32_t chain_crc() const { return chain_crc_; }
  [[nodiscard]] File& file() { return *file_; }

 private:
  static constexpr size_t kReadAheadBytesMin = 4 << 10;
  static constexpr size_t kReadAheadBytesMax = 64 << 10;

  void go_on_with(const GroupHeader& header, uint64_t position) {
    position_ = position;
    next_offset_ = header.first_offset;
    chain_crc_ = header.previous_crc;
  }

  static Result<std::shared_ptr<File>> own_file(Directory& dir, const SegmentRef& ref) {
    auto file = dir.open(segment_name(ref.first_offset), OpenMode::kRead);
    KYRO_TRY(file);
    return std::shared_ptr<File>(std::move(*file));
  }
  static Result<std::unique_ptr<SegmentReader>> open_file(Result<std::shared_ptr<File>> file,
                                                          const SegmentRef& ref) {
    auto reader = std::make_unique<SegmentReader>();
    reader->name_ = segment_name(ref.first_offset);
    if (!file.ok() && file.status().code() == Code::kNotFound) {
      return Status(Code::kCorruption,
                    reader->name_ + ": the manifest names this log segment, but it is missing");
    }
    KYRO_TRY(file);
    reader->file_ = std::move(*file);
    return reader;
  }

  Status check_header(const SegmentRef& ref) {
    auto got = file_->read_at(0, &header_, sizeof header_);
    KYRO_TRY(got);
    if (*got != sizeof header_) {
      return Status(Code::kCorruption, name_ + " at 0: shorter than a segment header");
    }
    KYRO_TRY(check_segment_header(header_, name_));
    const bool is_described = ref.nonce != 0;
    if (header_.first_offset != ref.first_offset ||
        (is_described &&
         (header_.nonce != ref.nonce || header_.previous_end != ref.previous_end))) {
      return Status(Code::kCorruption,
                    name_ + " at 0: a foreign segment (not the one the manifest names)");
    }
    return Status();
  }

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

  std::string name_;
  std::shared_ptr<File> file_;
  SegmentHeader header_{};
  bool has_header_ = true;
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
