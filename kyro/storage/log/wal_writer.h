// Appends groups to the newest WAL segment and starts new segments.
//
// Invariants:
//   - bytes below position() form a valid chain; bytes after it were never acknowledged;
//   - after a failed append nothing may follow until cut_back() has removed what the failed write
//     may have left, durably: else a later crash could bring the failed group back to life;
//   - the file is never shorter than its header says that it was made, unless a mark that ends the
//     segment is the last group, durably: so a shorter one without a mark is an incomplete copy;
//   - a segment gets its final name only when its header is durable and the segment before it is
//     sealed and durable; the manifest must list it before a record in it is acknowledged.
//
// Errors: kNoSpace leaves the writer usable after cut_back(); any other failure is the caller's
// reason to latch. Thread rule: one thread, the committer's (the opener's before that).
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/random.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/group_search.h"
#include "kyro/storage/log/segment_ref.h"
#include "kyro/storage/log/wal_format.h"
#include "kyro/storage/log/wal_reader.h"

namespace kyro {

class WalWriter {
 public:
  WalWriter(Directory& dir, FsyncPolicy policy, uint64_t segment_bytes)
      : dir_(dir), policy_(policy), segment_bytes_(segment_bytes) {}

  // How large segments become from here on, and whether their blocks are set aside beforehand.
  void set_segment_bytes(uint64_t bytes, bool is_preallocated) {
    segment_bytes_ = bytes;
    is_preallocated_ = is_preallocated;
  }

  // Takes over the segment that `reader` has read to its end. Whatever lies after that is cut off.
  // open_for_append() or a jump (start_segment) must follow.
  Status resume(const SegmentReader& reader) {
    auto file = dir_.open(reader.name(), OpenMode::kReadWrite);
    KYRO_TRY(file);
    adopt(std::move(*file), reader.header(), reader.position(), reader.chain_crc(),
          reader.next_offset());
    return cut_back();
  }

  // Marks durably that a process appends from here, so that a seal is not the last word.
  Status open_for_append() {
    KYRO_TRY(append_mark(GroupKind::kOpened));
    KYRO_TRY(sync());
    is_sealed_ = false;
    return Status();
  }

  // Ends the current segment, if there is one, and makes a new one that starts at `first_offset`
  // (after next_offset() where numbering jumps). `list(SegmentRef)` must make the manifest name
  // it; only then is it used. After any failure the writer still has the segment it had, and
  // cut_back() is due. `filled`: from SpareSegment, taken as the file if it is not null.
  template <class List>
  Status start_segment(uint64_t first_offset, List list, std::unique_ptr<File> filled = nullptr) {
    const bool is_filled = filled != nullptr;
    const Status status = begin_segment(first_offset, list, std::move(filled));
    if (status.ok()) is_filled_ = is_filled;
    // Not where it has its name already; and if it cannot be, the next opening does it.
    if (!status.ok() && is_filled) static_cast<void>(dir_.remove(kSpareSegmentName));
    return status;
  }
  // Writes one group: `group` is 48 bytes of room and a body of `records` records that are numbered
  // from next_offset(). Not durable before sync().
  Status append(std::string* group, uint32_t records) {
    // A rotation that failed has left a seal. Under `always` nothing unsynced will follow it; else
    // a crash after it must not pass for a clean close.
    if (is_sealed_ && policy_ != FsyncPolicy::kAlways) KYRO_TRY(open_for_append());
    GroupHeader header{};
    header.records = records;
    return append_group(group, header, GroupKind::kRecords);
  }

  // A failure is never kNoSpace: whatever its cause, nobody knows what the disk has, so it is
  // final.
  Status sync() {
    KYRO_TRY(sync_file());
    durable_offset_ = next_offset_;
    return Status();
  }

  // Syncs what was written, then marks the end of an orderly life of this segment, durably, and
  // gives unused reserved blocks back.
  Status seal() { return end_segment(GroupKind::kSealed); }

  // Removes, durably, whatever a failed append left after position(), and makes the file as long
  // as it was made, where the mark that had ended it is not the last word.
  Status cut_back() {
    const uint64_t bytes = std::max(position_, reserved_bytes_);
    KYRO_TRY(erase(position_, bytes));
    KYRO_TRY(file_->truncate(bytes));
    KYRO_TRY(sync_file());
    return reserve_blocks(*file_, position_, bytes);
  }

  // Whether a group of `bytes` more should go to a new segment. A segment with no records takes
  // anything, so that a batch larger than a segment has a home.
  [[nodiscard]] bool wants_rotation(uint64_t bytes) const {
    return next_offset_ > first_offset_ &&
           position_ + kGroupHeaderBytes * 2 + bytes > segment_bytes_;
  }
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  [[nodiscard]] uint64_t durable_offset() const { return durable_offset_; }
  [[nodiscard]] uint64_t position() const { return position_; }
  [[nodiscard]] uint64_t segment_bytes() const { return segment_bytes_; }
  // Whether groups overwrite blocks that were written before.
  [[nodiscard]] bool is_filled() const { return is_filled_; }
  // A segment that is not, is worth leaving before it is full for one that is: while it has not yet
  // come far, since each rotation costs some syncs.
  [[nodiscard]] bool may_be_left_early() const {
    return !is_filled_ && next_offset_ > first_offset_ && position_ < segment_bytes_ / 2;
  }
  [[nodiscard]] FsyncPolicy policy() const { return policy_; }

 private:
  static constexpr uint64_t kBlockBytes = 4096;

  template <class List>
  Status begin_segment(uint64_t first_offset, List list, std::unique_ptr<File> file) {
    KYRO_CHECK(first_offset >= next_offset_);
    KYRO_TRY(end_segment(first_offset > next_offset_ ? GroupKind::kAbandoned : GroupKind::kSealed));
    const std::string name = segment_name(first_offset);
    std::string name_now = kSpareSegmentName;
    if (file == nullptr) {
      name_now = name + ".tmp";
      auto created = dir_.open(name_now, OpenMode::kCreate);
      KYRO_TRY(created);
      file = std::move(*created);
      KYRO_TRY(reserve_blocks(*file, 0, 0));
    }
    auto reserved_bytes = file->size();
    KYRO_TRY(reserved_bytes);
    const SegmentHeader header = make_segment_header(
        policy_, random_u64(), first_offset, next_offset_, file_ ? chain_crc_ : 0, *reserved_bytes);
    KYRO_TRY(
        file->write_at(0, std::string_view(reinterpret_cast<const char*>(&header), sizeof header)));
    KYRO_TRY(file->sync());
    KYRO_TRY(dir_.rename(name_now, name));
    KYRO_TRY(dir_.sync());
    KYRO_TRY(list(SegmentRef{first_offset, header.nonce, header.previous_end}));
    adopt(std::move(file), header, kSegmentHeaderBytes, header.crc, first_offset);
    return Status();
  }

  Status end_segment(GroupKind kind) {
    if (file_ == nullptr) return Status();
    KYRO_TRY(sync());
    KYRO_TRY(dir_.check_place());  // a mark in a directory that is not ours any more would be a lie
    is_sealed_ = true;             // maybe, once the mark is on its way
    KYRO_TRY(append_mark(kind));
    KYRO_TRY(sync_file());
    return file_->truncate(position_);  // only now; zeros that a crash leaves there do no harm
  }

  // Writes zeros over what is not zero in [begin, end).
  Status erase(uint64_t begin, uint64_t end) {
    constexpr uint64_t kPieceBytes = 256 * 1024;
    std::string piece;
    for (uint64_t at = begin; at < end; at += kPieceBytes) {
      auto data_at = file_->next_data(at);
      KYRO_TRY(data_at);
      at = *data_at;
      if (at >= end) break;
      piece.resize(std::min(end - at, kPieceBytes));
      auto got = file_->read_at(at, piece.data(), piece.size());
      KYRO_TRY(got);
      piece.resize(used_bytes({piece.data(), *got}));
      if (!piece.empty()) KYRO_TRY(file_->write_at(at, std::string(piece.size(), '\0')));
      if (*got == 0) break;
    }
    return Status();
  }

  Status sync_file() {
    Status status = file_->sync();
    return status.ok() ? status : Status(Code::kIoError, std::string(status.message()));
  }

  // Reserves the blocks of a whole segment whose groups end at byte `end`, in a file of `bytes`.
  // That is for speed: a disk too full for it may still take the next group.
  Status reserve_blocks(File& file, uint64_t end, uint64_t bytes) const {
    if (!is_preallocated_ || end >= segment_bytes_) return Status();
    const Status reserved = file.allocate(segment_bytes_);
    return reserved.code() == Code::kNoSpace ? file.truncate(bytes) : reserved;
  }

  void adopt(std::unique_ptr<File> file, const SegmentHeader& header, uint64_t position,
             uint32_t chain_crc, uint64_t next_offset) {
    file_ = std::move(file);
    nonce_ = header.nonce;
    first_offset_ = header.first_offset;
    reserved_bytes_ = header.reserved_bytes;
    position_ = position;
    chain_crc_ = chain_crc;
    next_offset_ = next_offset;
    durable_offset_ = next_offset;
    is_sealed_ = false;
    is_filled_ = false;
  }

  // The zeros from `end` to the end of its block, as far as the file was made.
  [[nodiscard]] size_t padding_bytes(uint64_t end) const {
    const uint64_t block_end = (end + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    return static_cast<size_t>(std::max(end, std::min(block_end, reserved_bytes_)) - end);
  }

  Status append_mark(GroupKind kind) {
    std::string group(kGroupHeaderBytes, '\0');
    return append_group(&group, GroupHeader{}, kind);
  }

  Status append_group(std::string* group, GroupHeader header, GroupKind kind) {
    header.previous_crc = chain_crc_;
    header.nonce = nonce_;
    header.first_offset = next_offset_;
    header.durable = durable_offset_;
    header.flags = make_group_flags(kind, policy_);
    const uint32_t crc = finish_group(group, header);
    const size_t group_bytes = group->size();
    // A block that is written whole need not be read before.
    group->resize(group_bytes + (is_filled_ ? padding_bytes(position_ + group_bytes) : 0));
    const Status written = file_->write_at(position_, *group);
    group->resize(group_bytes);
    KYRO_TRY(written);
    position_ += group_bytes;
    chain_crc_ = crc;
    next_offset_ += header.records;
    return Status();
  }

  Directory& dir_;
  const FsyncPolicy policy_;
  uint64_t segment_bytes_;
  bool is_preallocated_ = true;
  std::unique_ptr<File> file_;
  uint64_t nonce_ = 0;
  uint64_t first_offset_ = 0;
  uint64_t reserved_bytes_ = 0;
  uint64_t position_ = 0;
  uint64_t next_offset_ = 0;
  uint64_t durable_offset_ = 0;
  uint32_t chain_crc_ = 0;
  bool is_filled_ = false;
  bool is_sealed_ = false;  // the last group may be a mark that ends the segment
};

}  // namespace kyro
