// `kyrodb salvage`: a new store out of all that is provably good in a damaged one.
//
//   sources   each run, its good records; the log's good groups that are in no run; and of older
//             groups those that a damaged run may have lost
//   order     a source stands for a range of offsets; the newest version of a key wins
//   result    one run, and a manifest that comes last; a database id of its own, and offsets that
//             go on 2^32 higher
//
// With a sound manifest only the files it names count. Without one all runs and segments do, and
// what a merge had left behind, or deletes had hidden, may be back: the report says so. Where the
// newest version of a key is lost, an older one may come back: the report names the place.
//
// Memory: one delta for the log. Disk: the sources are written to the new directory twice, for a
// while. Nothing is written into the damaged directory.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/background/merge.h"
#include "kyro/storage/log/log_walk.h"
#include "kyro/storage/offline/offline.h"
#include "kyro/storage/offline/salvage_scan.h"

namespace kyro {

struct SalvageReport {
  uint64_t runs = 0;               // read
  uint64_t segments = 0;           // read
  uint64_t live_records = 0;       // in the new store
  uint64_t losses = 0;             // places where something is lost
  std::vector<std::string> lines;  // about them; the first kLinesMax
  static constexpr size_t kLinesMax = 1000;
};

class Salvage {
 public:
  Salvage(FileSystem& fs, std::string from, std::string to)
      : fs_(fs), from_name_(std::move(from)), to_name_(std::move(to)) {}

  // Errors: kBusy (in use), kNotFound (nothing there), kExists (`to` is not empty), kNoSpace,
  // kIoError; nothing of `to` is left then that was not there before. What is lost goes into the
  // report.
  Result<SalvageReport> run() {
    auto opened = fs_.open_dir(from_name_, DirMode::kExisting);
    KYRO_TRY(opened);
    from_ = std::move(*opened);
    KYRO_TRY(from_->lock(LockKind::kReader));
    KYRO_TRY(read_manifest());
    if (manifest_.runs.empty() && manifest_.segments.empty()) {
      return Status(Code::kNotFound, from_name_ + ": no KyroDB store there");
    }
    opened = fs_.open_dir(to_name_, DirMode::kExisting);
    const bool was_there = opened.ok();
    if (!was_there) opened = fs_.open_dir(to_name_, DirMode::kCreate);
    KYRO_TRY(opened);
    to_ = std::move(*opened);
    auto names = to_->list();
    KYRO_TRY(names);
    std::erase_if(*names, is_stray_name);
    if (!names->empty()) return Status(Code::kExists, to_name_ + ": not empty");
    if (Status saved = save(); !saved.ok()) {
      clear_destination(!was_there);
      return saved;
    }
    return std::move(report_);
  }

 private:
  Status save() {
    KYRO_TRY(to_->sync_own_name());
    for (const RunMeta& meta : manifest_.runs) KYRO_TRY(take_run(meta));
    KYRO_TRY(take_log());
    return write_store();
  }

  // Removes what is in `to`, which was empty, as far as that works.
  void clear_destination(bool with_directory) {
    const auto names = to_->list();
    if (!names.ok()) return;
    for (const std::string& name : *names) {
      if (!is_stray_name(name)) static_cast<void>(to_->remove(name));
    }
    if (with_directory) static_cast<void>(to_->remove_itself());
  }

  // A cleaned part of the old store: a run in the new directory.
  struct Source {
    uint64_t end_offset;
    bool is_log;
    std::shared_ptr<Run> run;
  };
  // What a run of the old store stands for. If it has lost something, the log may help.
  struct Range {
    uint64_t first_offset;
    uint64_t end_offset;
    bool is_whole;
    [[nodiscard]] bool holds(uint64_t offset) const {
      return first_offset <= offset && offset < end_offset;
    }
  };

  // What is wrong lies not in the files: they may be good.
  static bool is_no_loss(const Status& status) {
    return status.code() == Code::kNoSpace || status.code() == Code::kUnsupported;
  }
  void lost(const std::string& what) {
    ++report_.losses;
    if (report_.lines.size() < SalvageReport::kLinesMax) report_.lines.push_back(what);
  }
  [[nodiscard]] ReportLoss reporter() {
    return [this](const std::string& what) { lost(what); };
  }

  Status read_manifest() {
    auto text = read_small_file(*from_, kManifestName, kManifestBytesMax);
    if (text.ok()) {
      auto manifest = decode_manifest(*text);
      if (manifest.ok()) {
        manifest_ = std::move(*manifest);
        has_manifest_ = true;
        return Status();
      }
      if (manifest.status().code() == Code::kUnsupported) return manifest.status();
      text = manifest.status();
    }
    auto names = from_->list();
    KYRO_TRY(names);
    for (const std::string& name : *names) note_file(name);
    std::sort(manifest_.runs.begin(), manifest_.runs.end(),
              [](const RunMeta& a, const RunMeta& b) { return a.id > b.id; });
    std::sort(manifest_.segments.begin(), manifest_.segments.end(),
              [](const auto& a, const auto& b) { return a.first_offset < b.first_offset; });
    if (!manifest_.runs.empty() || !manifest_.segments.empty()) {
      lost(std::string(text.status().message()) +
           "; all runs and log segments were used: deleted keys and old values may be back");
    }
    return Status();
  }

  // Adds a file that the manifest would have named.
  void note_file(const std::string& name) {
    if (const auto id = parse_run_name(name)) {
      RunMeta meta;
      meta.id = *id;
      manifest_.runs.push_back(meta);
    }
    if (const auto first_offset = parse_segment_name(name)) {
      SegmentRef segment;
      segment.first_offset = *first_offset;
      manifest_.segments.push_back(segment);
    }
  }

  // Writes the good records of a run into one of the new directory.
  Status take_run(const RunMeta& meta) {
    KYRO_TRY(check_index_version(*from_, meta.id));
    auto scan = RunScan::open(*from_, meta.id, has_manifest_ ? &meta : nullptr);
    if (!scan.ok()) {
      if (is_no_loss(scan.status())) return scan.status();
      lost(std::string(scan.status().message()));
      if (has_manifest_) ranges_.push_back({meta.first_offset, meta.end_offset, false});
      return Status();
    }
    ++report_.runs;
    uint64_t first = ~uint64_t{0};
    uint64_t end = 0;
    RunWriter writer(*to_, next_run_, {});
    ReportLoss report = reporter();
    const Status scanned = writer.write([&](const auto& visit) {
      const Status walked =
          (*scan)->each_record(report, [&](const RecordView& record, std::string_view bytes) {
            first = std::min(first, record.header.offset);
            end = std::max(end, record.header.offset + 1);
            return visit(record.header, bytes);
          });
      report = [](const std::string&) {};  // all has been said when it is walked again
      return walked;
    });
    if (!scanned.ok() && scanned.code() != Code::kCorruption) return scanned;
    if ((*scan)->meta()) {
      first = (*scan)->meta()->first_offset;
      end = (*scan)->meta()->end_offset;
    }
    ranges_.push_back({first, end, (*scan)->is_whole()});
    covered_end_ = std::max(covered_end_, end);
    if (scanned.ok()) return finish_source(writer, first, end, false);
    lost(std::string(scanned.message()));
    writer.abandon();
    return Status();
  }

  Status finish_source(RunWriter& writer, uint64_t first, uint64_t end, bool is_log) {
    if (writer.records() == 0) {
      writer.abandon();
      return Status();
    }
    const auto meta = writer.finish(first, end);
    KYRO_TRY(meta);
    auto run = Run::open_data(*to_, *meta);
    KYRO_TRY(run);
    ++next_run_;
    sources_.push_back({end, is_log, std::move(*run)});
    return Status();
  }

  // Where a record of the log belongs: a number for each run that has lost something, one for what
  // is in no run, nothing where a whole run has it.
  [[nodiscard]] std::optional<size_t> owner_of(uint64_t offset) const {
    std::optional<size_t> damaged;
    for (size_t i = 0; i < ranges_.size(); ++i) {
      if (!ranges_[i].holds(offset)) continue;
      if (ranges_[i].is_whole) return std::nullopt;
      damaged = i;
    }
    return damaged ? damaged : ranges_.size();
  }

  Status take_log() {
    const auto open = [&](const SegmentRef& ref) { return open_segment(ref); };
    KYRO_TRY(walk_segments(manifest_.segments, manifest_.next_offset, open,
                           [&](SegmentReader& segment, const SegmentSequel& sequel) {
                             return take_segment(segment, sequel);
                           }));
    return flush_log();
  }

  Result<std::unique_ptr<SegmentReader>> open_segment(const SegmentRef& ref) {
    next_offset_ = std::max(next_offset_, ref.first_offset);
    Status header;
    auto segment = SegmentReader::open_damaged(*from_, ref, &header);
    if (!segment.ok() && is_no_loss(segment.status())) return segment;
    const Status& cause = segment.ok() ? header : segment.status();
    if (!cause.ok()) lost(std::string(cause.message()));
    if (!segment.ok()) return std::unique_ptr<SegmentReader>();
    // What the first group is chained to is in the header.
    if (!header.ok()) KYRO_TRY((*segment)->skip_damage());
    return segment;
  }

  Status take_segment(SegmentReader& segment, const SegmentSequel& sequel) {
    const Status scanned = scan_segment(segment, sequel, reporter(),
                                        [&](const RecordView& record, std::string_view bytes) {
                                          return take_log_record(record, bytes);
                                        });
    if (is_no_loss(scanned)) return scanned;
    if (!scanned.ok()) lost(std::string(scanned.message()));
    if (scanned.ok()) ++report_.segments;
    next_offset_ = std::max(next_offset_, segment.next_offset());
    return Status();
  }

  Status take_log_record(const RecordView& record, std::string_view bytes) {
    const auto owner = owner_of(record.header.offset);
    if (!owner) return flush_log();
    const bool is_full = log_ != nullptr && log_->bytes() > kDefaultDeltaBytesMax;
    if (log_ != nullptr && (is_full || owner != log_owner_)) KYRO_TRY(flush_log());
    if (log_ == nullptr) log_ = std::make_shared<Delta>(record.header.offset);
    log_owner_ = owner;
    log_->insert(record.header, bytes);
    return Status();
  }

  Status flush_log() {
    if (log_ == nullptr) return Status();
    RunWriter writer(*to_, next_run_, {});
    const Status written = writer.write([&](const auto& visit) {
      Delta::Iterator at(*log_);
      for (at.seek_first(); at.valid(); at.next()) {
        const char* record = at.record(~uint64_t{0});
        const RecordView view = RecordRef(record).view();
        KYRO_TRY(visit(view.header, std::string_view(record, view.header.record_bytes())));
      }
      return Status();
    });
    KYRO_TRY(written);
    const uint64_t first = log_->first_offset();
    const uint64_t end = log_->end_offset();
    log_.reset();
    return finish_source(writer, first, end, true);
  }

  // Merges the sources into one run and commits it.
  Status write_store() {
    // A run has the newest version of what it holds, so it comes before the log of its range.
    std::stable_sort(sources_.begin(), sources_.end(), [](const Source& a, const Source& b) {
      return a.end_offset != b.end_offset ? a.end_offset > b.end_offset : a.is_log < b.is_log;
    });
    MergeInput input;
    for (const Source& source : sources_) input.runs.push_back(source.run);
    Manifest fresh;
    fresh.database_id = new_database_id();
    fresh.clock = manifest_.clock;
    fresh.next_offset = std::max({next_offset_, covered_end_, manifest_.next_offset});
    input.end_offset = fresh.next_offset;
    MergeOutput output;
    KYRO_TRY(merge_to_run(*to_, next_run_, {}, input, {}, &output));
    if (!output.empty) {
      fresh.runs.push_back(output.meta);
      report_.live_records = output.meta.records;
    }
    fresh.next_run = next_run_ + 1;
    fresh.next_offset += kOffsetJump;
    fresh.flushed_offset = fresh.next_offset;
    for (const Source& source : sources_) {
      KYRO_TRY(to_->remove(run_data_name(source.run->meta().id)));
      KYRO_TRY(to_->remove(run_index_name(source.run->meta().id)));
    }
    KYRO_TRY(to_->sync());
    bool renamed = false;
    return write_file_atomically(*to_, kManifestName, encode_manifest(fresh), &renamed);
  }

  FileSystem& fs_;
  const std::string from_name_;
  const std::string to_name_;
  std::unique_ptr<Directory> from_;
  std::unique_ptr<Directory> to_;
  Manifest manifest_;  // of the old store, or what can be told without
  bool has_manifest_ = false;
  std::vector<Source> sources_;
  std::vector<Range> ranges_;   // of the runs
  std::shared_ptr<Delta> log_;  // of one owner
  std::optional<size_t> log_owner_;
  uint64_t covered_end_ = 0;  // of the runs
  uint64_t next_offset_ = 0;  // of the log
  uint64_t next_run_ = 1;
  SalvageReport report_;
};

}  // namespace kyro
