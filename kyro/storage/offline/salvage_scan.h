// Finding what is good in damaged files: records of a run, groups of a log segment.
//
// A record is good if its checksum is right, its key is above the one before it and its offset in
// the run's range. Runs of pages: salvage_pages.h. In one of version 1, where a record is bad, the
// place of the next comes from the index, if that is whole, else from the bad record's own length;
// never from a search, since a client's value may contain bytes that look like a record. Of a file
// that is another run than the manifest names nothing is good. A group is good if it carries the
// segment's nonce, which is random and known to no client, and its checksum is right: so after
// damage, but not in a torn tail (log/segment_end.h), the next one may be searched.
//
// Thread rule: pure reading. Ownership: what is visited points into the mapping.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/index/rmi.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/segment_end.h"
#include "kyro/storage/log/wal_reader.h"
#include "kyro/storage/offline/salvage_pages.h"
#include "kyro/storage/run/run_format.h"

namespace kyro {

class RunScan {
 public:
  // `expected`: what the manifest says of the run, if it can be asked. kCorruption where the file
  // is another run (or cannot be found), kUnsupported where it is of a newer format.
  [[nodiscard]] static Result<std::unique_ptr<RunScan>> open(Directory& dir, uint64_t id,
                                                             const RunMeta* expected) {
    auto scan = std::make_unique<RunScan>();
    scan->name_ = run_data_name(id);
    KYRO_TRY(map_file(dir, scan->name_, &scan->data_));
    KYRO_TRY(scan->read_ends(id, expected));
    if (scan->meta_ && !scan->body_.is_paged()) scan->open_index(dir);
    return scan;
  }

  // Calls visit(RecordView, record bytes) for every good record; a failure of it ends the scan.
  // kCorruption where the records are good, but not the ones that the run had: none may be used.
  template <class Visit>
  Status each_record(const ReportLoss& lost, Visit visit) {
    if (!ends_.ok()) lost(std::string(ends_.message()));
    uint64_t good = 0;
    uint32_t crc = 0;
    bool has_bad = false;
    if (body_.is_paged()) {
      PageScan scan(name_, view(), id_, body_, meta_);
      KYRO_TRY(scan.each_record(lost, visit));
      good = scan.good();
      crc = scan.crc();
      has_bad = scan.has_lost();
    } else {
      KYRO_TRY(each_dense_record(lost, visit, &good, &crc, &has_bad));
    }
    is_whole_ = meta_ && good == meta_->records && crc == meta_->record_crc;
    if (!meta_ || is_whole_) return Status();
    if (!has_bad && good == meta_->records) {
      return Status(Code::kCorruption,
                    name_ + ": its records are not the ones that the run was made of");
    }
    lost(name_ + ": " + std::to_string(good) + " of " + std::to_string(meta_->records) +
         " records are good");
    return Status();
  }

  // All records were there, as they were written. REQUIRES: each_record() is through.
  [[nodiscard]] bool is_whole() const { return is_whole_; }

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

  template <class Visit>
  Status each_dense_record(const ReportLoss& lost, const Visit& visit, uint64_t* good,
                           uint32_t* crc, bool* has_bad) {
    uint64_t position = kRunHeaderBytes;
    RecordView record;
    last_key_.reset();
    while (position < body_.end) {
      if (!decode_at(position, &record)) {
        *has_bad = true;
        lost(name_ + " at " + std::to_string(position) + ": a damaged record");
        const auto next = place_after(position);
        if (!next) {
          lost(name_ + " at " + std::to_string(position) + ": nothing leads further, " +
               std::to_string(body_.end - position) + " bytes are left out");
          break;
        }
        position = *next;
        continue;
      }
      last_key_ = record.header.key;
      const std::string_view encoded = view().substr(position, record.header.record_bytes());
      KYRO_TRY(visit(record, encoded));
      *crc = crc32c(encoded, *crc);
      position += encoded.size();
      ++*good;
    }
    return Status();
  }

  // What lies where, from the footer, else from the manifest and what is there.
  Status read_ends(uint64_t id, const RunMeta* expected) {
    const std::string_view bytes = view();
    id_ = id;
    ends_ = expected != nullptr ? check_run_ends(bytes, *expected, name_).status()
                                : check_run_header(bytes, id, name_);
    if (ends_.code() == Code::kUnsupported) return ends_;
    const auto footer = read_run_footer(bytes);
    const bool is_other = footer ? footer->id != id || (expected && meta_of(*footer) != *expected)
                                 : is_other_run(bytes, id);
    if (is_other) return Status(Code::kCorruption, name_ + ": another run under its name");
    if (expected != nullptr) {
      meta_ = *expected;
    } else if (footer) {
      meta_ = meta_of(*footer);
    } else {
      ends_ = Status(Code::kCorruption, name_ + ": its footer is damaged");
    }
    body_ = PageScan::guess_body(bytes, id);
    if (footer && footer->pages > 0 && footer->pages <= bytes.size() / kPageBytes &&
        footer->large_bytes <= bytes.size()) {
      body_ = RunBody::of_pages(footer->pages, footer->large_bytes);
    } else if (footer || !body_.is_paged()) {  // version 1
      body_ = RunBody::of_records(meta_ ? meta_->record_bytes : bytes.size());
      body_.end = std::min<uint64_t>(body_.end, bytes.size());
    }
    return Status();
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
    auto index = RmiIndex::open(bytes.first(bytes.size() - sizeof seal), meta_->records, body_.end);
    if (index.ok() && index->verify().ok()) index_ = std::make_unique<RmiIndex>(std::move(*index));
  }

  bool decode_at(uint64_t position, RecordView* record) const {
    const std::string_view rest = view().substr(position, body_.end - position);
    if (decode_record(rest, record) != RecordCheck::kOk) return false;
    const uint64_t offset = record->header.offset;
    if (last_key_ && record->header.key <= *last_key_) return false;
    return !meta_ || (offset >= meta_->first_offset && offset < meta_->end_offset);
  }

  // Where the record after the bad one at `position` begins.
  [[nodiscard]] std::optional<uint64_t> place_after(uint64_t position) const {
    if (index_ != nullptr) {
      if (last_key_ && *last_key_ == ~uint64_t{0}) return std::nullopt;
      auto at = index_->lower_bound(last_key_ ? *last_key_ + 1 : 0);
      while (at.valid() && at.position() <= position) at.next();
      if (!at.valid() || at.position() >= body_.end) return std::nullopt;
      return at.position();
    }
    if (body_.end - position < kRecordHeaderBytes) return std::nullopt;
    const auto header = load<RecordHeader>(view().data() + position);
    const uint64_t next = position + header.record_bytes();
    RecordView ignored;
    if (next >= body_.end || !decode_at(next, &ignored)) return std::nullopt;
    return next;
  }

  std::string name_;
  std::unique_ptr<Mapping> data_;
  std::unique_ptr<Mapping> index_file_;
  std::unique_ptr<RmiIndex> index_;
  std::optional<RunMeta> meta_;
  Status ends_;  // what is wrong with header and footer
  bool is_whole_ = false;
  std::optional<uint64_t> last_key_;
  uint64_t id_ = 0;
  RunBody body_;
};

// Calls visit(RecordView, record bytes) for every record of the good groups of `segment`, also of
// those after damage.
template <class Visit>
Status scan_segment(SegmentReader& segment, const SegmentSequel& sequel, const ReportLoss& lost,
                    Visit visit) {
  for (;;) {
    auto step = segment.next();
    KYRO_TRY(step);
    if (*step == SegmentReader::Step::kGroup) {
      Status visited;
      for_each_verified_record(segment.body(), [&](const RecordView& record, std::string_view b) {
        if (visited.ok()) visited = visit(record, b);
      });
      KYRO_TRY(visited);
      continue;
    }
    const auto end = judge_segment_end(segment, sequel);
    KYRO_TRY(end);
    if (end->damage.ok()) return Status();
    const uint64_t reached = segment.next_offset();
    auto goes_on = segment.skip_damage();
    KYRO_TRY(goes_on);
    const std::string to = *goes_on ? " to " + std::to_string(segment.next_offset()) : " on";
    lost(std::string(end->damage.message()) + "; offsets from " + std::to_string(reached) + to +
         " may be lost");
    if (!*goes_on) return Status();
  }
}

}  // namespace kyro
