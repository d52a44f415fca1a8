// Reading a whole data directory to see whether it is sound, without changing anything in it.
//
// Checks the manifest, every run (records, order, checksums, index) and every log segment (chain,
// records, continuity). A torn tail of the last segment is no damage: the next start cuts it. An
// index that is missing or damaged is a finding of its own: it is rebuilt at the next start.
//
// Holds the lock of the directory meanwhile, so a live one is refused with kBusy.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/fs/fs.h"
#include "kyro/storage/log/log_walk.h"
#include "kyro/storage/manifest.h"
#include "kyro/storage/offline/offline.h"
#include "kyro/storage/run/run.h"
#include "kyro/storage/run/run_verify.h"

namespace kyro {

struct VerifyReport {
  std::string database_id;
  uint64_t next_offset = 0;  // as the manifest knows it
  uint64_t runs = 0;
  uint64_t run_records = 0;
  uint64_t segments = 0;
  uint64_t log_records = 0;
  uint64_t torn_bytes = 0;              // after the log's end; not damage
  std::vector<std::string> repairable;  // the next start mends these by itself
  std::vector<std::string> damage;
};

// Told from time to time how many of about how many bytes have been read.
using VerifyProgress = std::function<void(uint64_t bytes_done, uint64_t bytes_all)>;

// Adds what a run and its index hold, and what is wrong with them.
inline Status verify_run(Directory& dir, const RunMeta& meta, const RunProgress& progress,
                         VerifyReport* report) {
  ++report->runs;
  auto run = Run::open_data(dir, meta);
  Status status = run.status();
  if (status.ok()) status = verify_records(**run, progress);
  if (status.code() == Code::kCorruption) {
    report->damage.emplace_back(status.message());
    return Status();
  }
  KYRO_TRY(status);
  report->run_records += meta.records;
  status = (*run)->open_index(dir, {});
  if (status.ok()) status = verify_index(**run);
  if (status.ok() || status.code() == Code::kUnsupported) return status;
  // The index knows nothing of files, so it cannot say which one it is.
  const std::string name = run_index_name(meta.id);
  const std::string_view what = status.message();
  report->repairable.push_back(what.find(name) == what.npos ? name + ": " + std::string(what)
                                                            : std::string(what));
  return Status();
}

namespace verify_detail {

// Reads a segment to its end, and judges that.
template <class Visit>
Status verify_segment(SegmentReader& segment, const SegmentSequel& sequel, VerifyReport* report,
                      Visit visit) {
  for (;;) {
    auto step = segment.next();
    KYRO_TRY(step);
    if (*step == SegmentReader::Step::kStop) break;
    report->log_records += segment.group().records;
    visit(segment.group(), segment.body());
  }
  const auto end = judge_segment_end(segment, sequel);
  KYRO_TRY(end);
  if (!end->damage.ok()) report->damage.emplace_back(end->damage.message());
  report->torn_bytes += end->torn_bytes;
  return Status();
}

}  // namespace verify_detail

// Calls visit(group, body) for every good group, those after damage in the same segment excepted.
template <class Visit>
Status verify_log(Directory& dir, const Manifest& manifest, VerifyReport* report, Visit visit) {
  const auto open = [&](const SegmentRef& ref) -> Result<std::unique_ptr<SegmentReader>> {
    ++report->segments;
    auto segment = SegmentReader::open(dir, ref);
    if (segment.status().code() != Code::kCorruption) return segment;
    report->damage.emplace_back(segment.status().message());
    return std::unique_ptr<SegmentReader>();
  };
  return walk_segments(manifest.segments, manifest.next_offset, open,
                       [&](SegmentReader& segment, const SegmentSequel& sequel) {
                         return verify_detail::verify_segment(segment, sequel, report, visit);
                       });
}

// Whether an engine would open it: both ends of the runs, and what of the log is in none of them.
[[nodiscard]] inline Status check_for_opening(Directory& dir, Manifest manifest) {
  for (const RunMeta& meta : manifest.runs) {
    KYRO_TRY(Run::open_data(dir, meta));
    KYRO_TRY(check_index_version(dir, meta.id));
  }
  for (const SegmentRef& segment : manifest.segments) {
    KYRO_TRY(SegmentReader::open(dir, segment));
  }
  drop_flushed_segments(&manifest);
  VerifyReport report;
  KYRO_TRY(verify_log(dir, manifest, &report, [](const GroupHeader&, std::string_view) {}));
  return report.damage.empty() ? Status() : Status(Code::kCorruption, report.damage.front());
}

// Not ok only if the directory cannot be read at all: kNotFound (no store there), kBusy (in use),
// kIoError, kUnsupported (something in it is of a newer format). Damage goes into the report.
[[nodiscard]] inline Result<VerifyReport> verify_directory(FileSystem& fs, const std::string& dir,
                                                           const VerifyProgress& progress = {}) {
  VerifyReport report;
  const auto store = open_offline(fs, dir);
  if (store.status().code() == Code::kCorruption) {
    report.damage.emplace_back(store.status().message());
    return report;
  }
  KYRO_TRY(store);
  const auto manifest = decode_manifest(store->manifest_text);
  if (manifest.status().code() == Code::kCorruption) {
    report.damage.emplace_back(manifest.status().message());
    return report;
  }
  KYRO_TRY(manifest);
  report.database_id = manifest->database_id;
  report.next_offset = manifest->next_offset;
  uint64_t bytes_all = 0;
  uint64_t bytes_done = 0;
  for (const RunMeta& meta : manifest->runs) bytes_all += meta.record_bytes;
  const RunProgress add = [&](uint64_t bytes) {
    bytes_done += bytes;
    if (progress) progress(bytes_done, bytes_all);
  };
  for (const RunMeta& meta : manifest->runs) {
    KYRO_TRY(verify_run(*store->dir, meta, add, &report));
  }
  KYRO_TRY(
      verify_log(*store->dir, *manifest, &report, [](const GroupHeader&, std::string_view) {}));
  return report;
}

}  // namespace kyro
