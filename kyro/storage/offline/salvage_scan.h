// Finding what is good in damaged files: records of a run, groups of a log segment.
//
// A record is good if its checksum is right, its key is above the one before it and its offset in
// the run's range. Where one is bad, the place of the next comes from the index, if that is whole,
// else from the bad record's own length; never from a search, since a client's value may contain
// bytes that look like a record. A group is good if it carries the segment's nonce, which is random
// and known to no client, and its checksum is right: so behind damage the next one may be searched.
//
// Thread rule: pure reading. Ownership: what is visited points into the mapping.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/index/rmi.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/wal_format.h"
#include "kyro/storage/run/run_format.h"

namespace kyro {

// Told of each place where something is lost.
using ReportLoss = std::function<void(const std::string& what)>;

class RunScan {
 public:
  // `expected`: what the manifest says of the run, if it can be asked.
  [[nodiscard]] static Result<std::unique_ptr<RunScan>> open(Directory& dir, uint64_t id,
                                                             const RunMeta* expected) {
    auto scan = std::make_unique<RunScan>();
    scan->name_ = run_data_name(id);
    KYRO_TRY(map_file(dir, scan->name_, &scan->data_));
    scan->read_ends(id, expected);
    if (scan->meta_) scan->open_index(dir);
    return scan;
  }

  // Calls visit(RecordView, record bytes) for every good record; a failure of it ends the scan.
  template <class Visit>
  Status each_record(const ReportLoss& lost, Visit visit) {
    const std::string_view bytes = view();
    uint64_t position = kRunHeaderBytes;
    uint64_t good = 0;
    RecordView record;
    while (position < end_) {
      if (!decode_at(position, &record)) {
        lost(name_ + " at " + std::to_string(position) + ": a damaged record");
        const auto next = place_behind(position);
        if (!next) {
          lost(name_ + " at " + std::to_string(position) + ": nothing leads further, " +
               std::to_string(end_ - position) + " bytes are left out");
          break;
        }
        position = *next;
        continue;
      }
      last_key_ = record.header.key;
      KYRO_TRY(visit(record, bytes.substr(position, record.header.record_bytes())));
      position += record.header.record_bytes();
      ++good;
    }
    if (meta_ && good != meta_->records) {
      lost(name_ + ": " + std::to_string(good) + " of " + std::to_string(meta_->records) +
           " records are good");
    }
    return Status();
  }

  [[nodiscard]] const std::optional<RunMeta>& meta() const { return meta_; }

 private:
  static Status map_file(Directory& dir, const std::string& name, std::unique_ptr<Mapping>* out) {
    auto file = dir.open(name, OpenMode::kRead);
    KYRO_TRY(file);
    auto mapping = (*file)->map();
    KYRO_TRY(mapping);
    *out = std::move(*mapping);
    return Status();
  }

  [[nodiscard]] std::string_view view() const {
    const auto bytes = data_->bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // Where the records end, from the manifest, else from the footer, else the file's end.
  void read_ends(uint64_t id, const RunMeta* expected) {
    const std::string_view bytes = view();
    end_ = bytes.size();
    if (expected != nullptr) {
      meta_ = *expected;
    } else if (bytes.size() >= kRunHeaderBytes + kRunFooterBytes) {
      const auto footer = load<RunFooter>(bytes.data() + bytes.size() - kRunFooterBytes);
      const bool is_good = footer.crc == crc32c(&footer, offsetof(RunFooter, crc)) &&
                           footer.id == id &&
                           std::memcmp(footer.magic, kRunEndMagic, sizeof footer.magic) == 0;
      if (is_good) meta_ = meta_of(footer);
    }
    if (meta_) end_ = std::min<uint64_t>(end_, kRunHeaderBytes + meta_->record_bytes);
  }

  // The index, if it is whole and of this run.
  void open_index(Directory& dir) {
    if (!map_file(dir, run_index_name(meta_->id), &index_file_).ok()) return;
    const auto bytes = index_file_->bytes();
    const IndexSeal seal = make_index_seal(*meta_);
    if (bytes.size() < sizeof seal ||
        std::memcmp(bytes.last(sizeof seal).data(), &seal, sizeof seal) != 0) {
      return;
    }
    auto index = RmiIndex::open(bytes.first(bytes.size() - sizeof seal), meta_->records,
                                kRunHeaderBytes + meta_->record_bytes);
    if (index.ok() && index->verify().ok()) index_ = std::make_unique<RmiIndex>(std::move(*index));
  }

  bool decode_at(uint64_t position, RecordView* record) const {
    const std::string_view rest = view().substr(position, end_ - position);
    if (decode_record(rest, record) != RecordCheck::kOk) return false;
    const uint64_t offset = record->header.offset;
    if (last_key_ && record->header.key <= *last_key_) return false;
    return !meta_ || (offset >= meta_->first_offset && offset < meta_->end_offset);
  }

  // Where the record behind the bad one at `position` begins.
  [[nodiscard]] std::optional<uint64_t> place_behind(uint64_t position) const {
    if (index_ != nullptr) {
      if (last_key_ && *last_key_ == ~uint64_t{0}) return std::nullopt;
      auto at = index_->lower_bound(last_key_ ? *last_key_ + 1 : 0);
      while (at.valid() && at.position() <= position) at.next();
      if (!at.valid() || at.position() >= end_) return std::nullopt;
      return at.position();
    }
    if (end_ - position < kRecordHeaderBytes) return std::nullopt;
    const auto header = load<RecordHeader>(view().data() + position);
    const uint64_t next = position + header.record_bytes();
    RecordView ignored;
    if (next >= end_ || !decode_at(next, &ignored)) return std::nullopt;
    return next;
  }

  std::string name_;
  std::unique_ptr<Mapping> data_;
  std::unique_ptr<Mapping> index_file_;
  std::unique_ptr<RmiIndex> index_;
  std::optional<RunMeta> meta_;
  std::optional<uint64_t> last_key_;
  uint64_t end_ = 0;
};

// What there is to know of a segment from outside.
struct SegmentScanInput {
  uint64_t first_offset = 0;
  uint64_t nonce = 0;       // 0: only the segment's own header can tell
  bool is_last = false;     // its end may be torn
  uint64_t must_reach = 0;  // every offset below it is in this segment or one before
};

// Calls visit(RecordView, record bytes) for every record of good groups; *reached becomes the
// offset behind the last one.
template <class Visit>
Status scan_segment(Directory& dir, const SegmentScanInput& input, const ReportLoss& lost,
                    uint64_t* reached, Visit visit) {
  const std::string name = segment_name(input.first_offset);
  auto file = dir.open(name, OpenMode::kRead);
  KYRO_TRY(file);
  auto mapping = (*file)->map();
  KYRO_TRY(mapping);
  const auto raw = (*mapping)->bytes();
  const std::string_view bytes(reinterpret_cast<const char*>(raw.data()), raw.size());
  uint64_t nonce = input.nonce;
  SegmentHeader header{};
  if (bytes.size() >= sizeof header) header = load<SegmentHeader>(bytes.data());
  if (Status checked = check_segment_header(header, name); !checked.ok()) {
    lost(std::string(checked.message()));
  } else if (nonce == 0) {
    nonce = header.nonce;
  }
  *reached = input.first_offset;
  if (nonce == 0) return Status();

  GroupHeader group{};
  std::string_view body;
  const auto is_group = [&](uint64_t position) {
    if (position > bytes.size() || bytes.size() - position < kGroupHeaderBytes) return false;
    group = load<GroupHeader>(bytes.data() + position);
    if (group.nonce != nonce || group.first_offset < *reached) return false;
    if (bytes.size() - position - kGroupHeaderBytes < group.body_bytes) return false;
    body = bytes.substr(position + kGroupHeaderBytes, group.body_bytes);
    const auto ignore = [](const RecordView&, std::string_view) {};
    return group_crc_matches(group, body) && for_each_record(group, body, ignore);
  };
  const auto find_group = [&](uint64_t from) -> std::optional<uint64_t> {
    constexpr size_t kNonceAt = offsetof(GroupHeader, nonce);
    const std::string_view wanted(reinterpret_cast<const char*>(&nonce), sizeof nonce);
    for (size_t at = bytes.find(wanted, from + kNonceAt); at != bytes.npos;
         at = bytes.find(wanted, at + 1)) {
      if (is_group(at - kNonceAt)) return at - kNonceAt;
    }
    return std::nullopt;
  };
  uint64_t position = kSegmentHeaderBytes;
  GroupKind last_kind = GroupKind::kRecords;
  for (;;) {
    if (!is_group(position)) {
      const auto next = find_group(position);
      if (!next) break;
      lost(name + " at " + std::to_string(position) + ": damaged groups, offsets from " +
           std::to_string(*reached));
      position = *next;
      if (!is_group(position)) break;
    } else if (group.first_offset > *reached) {
      lost(name + " at " + std::to_string(position) + ": offsets from " + std::to_string(*reached) +
           " to " + std::to_string(group.first_offset) + " are missing");
    }
    Status visited;
    KYRO_CHECK(for_each_record(group, body, [&](const RecordView& record, std::string_view b) {
      if (visited.ok()) visited = visit(record, b);
    }));
    KYRO_TRY(visited);
    *reached = group.end_offset();
    last_kind = group.kind();
    position += kGroupHeaderBytes + body.size();
  }
  if (*reached < input.must_reach || (!input.is_last && !is_end_mark(last_kind))) {
    lost(name + " at " + std::to_string(position) + ": the log ends too early");
  }
  return Status();
}

}  // namespace kyro
