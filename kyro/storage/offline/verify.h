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
#include "kyro/storage/log/wal_reader.h"
#include "kyro/storage/manifest.h"
#include "kyro/storage/offline/offline.h"
#include "kyro/storage/run/run.h"

namespace kyro {

struct VerifyReport {
  std::string database_id;
  uint64_t next_offset = 0;  // as the manifest knows it
  uint64_t runs = 0;
  uint64_t run_records = 0;
  uint64_t segments = 0;
  uint64_t log_records = 0;
  uint64_t torn_bytes = 0;              // behind the log's end; not damage
  std::vector<std::string> repairable;  // the next start mends these by itself
  std::vector<std::string> damage;
};

// Told from time to time how many of about how many bytes have been read.
using VerifyProgress = std::function<void(uint64_t bytes_done, uint64_t bytes_all)>;

namespace verify_detail {

inline void verify_run(Directory& dir, const RunMeta& meta, const Run::Progress& progress,
                       VerifyReport* report) {
  ++report->runs;
  auto run = Run::open_data(dir, meta);
  Status status = run.status();
  if (status.ok()) status = (*run)->verify_records(progress);
  if (!status.ok()) {
    report->damage.emplace_back(status.message());
    return;
  }
  report->run_records += meta.records;
  status = (*run)->open_index(dir, {});
  if (status.ok()) status = (*run)->verify_index();
  if (status.ok()) return;
  // The index knows nothing of files, so it cannot say which one it is.
  const std::string name = run_index_name(meta.id);
  const std::string_view what = status.message();
  report->repairable.push_back(what.find(name) == what.npos ? name + ": " + std::string(what)
                                                            : std::string(what));
}

// Calls visit(group, body) for every good group, those behind damage in the same segment excepted.
template <class Visit>
Status verify_log(Directory& dir, const Manifest& manifest, VerifyReport* report, Visit visit) {
  uint64_t expected_end = 0;
  for (size_t i = 0; i < manifest.segments.size(); ++i) {
    const SegmentRef& ref = manifest.segments[i];
    const bool is_last = i + 1 == manifest.segments.size();
    auto reader = SegmentReader::open(dir, ref.first_offset, ref.nonce);
    ++report->segments;
    if (!reader.ok()) {
      if (reader.status().code() == Code::kIoError) return reader.status();
      report->damage.emplace_back(reader.status().message());
      continue;
    }
    SegmentReader& segment = **reader;
    if (i > 0 && expected_end != segment.header().previous_end) {
      report->damage.push_back(segment.name() + " at 0: it does not follow the segment before it");
    }
    GroupKind last_kind = GroupKind::kRecords;
    for (;;) {
      auto step = segment.next();
      KYRO_TRY(step);
      if (*step == SegmentReader::Step::kStop) break;
      last_kind = segment.group().kind();
      report->log_records += segment.group().records;
      visit(segment.group(), segment.body());
    }
    auto tail = segment.inspect_tail();
    KYRO_TRY(tail);
    expected_end = segment.next_offset();
    const bool ends_early = is_last
                                ? tail->was_durable || segment.next_offset() < manifest.next_offset
                                : !is_end_mark(last_kind) || tail->garbage_bytes > 0;
    if (ends_early) {
      report->damage.push_back(segment.name() + " at " + std::to_string(segment.position()) +
                               ": a damaged group");
    } else {
      report->torn_bytes += tail->garbage_bytes;
    }
  }
  return Status();
}

}  // namespace verify_detail

// Not ok only if the directory cannot be read at all: kNotFound (no store there), kBusy (in use),
// kIoError. Damage goes into the report.
[[nodiscard]] inline Result<VerifyReport> verify_directory(FileSystem& fs, const std::string& dir,
                                                           const VerifyProgress& progress = {}) {
  VerifyReport report;
  const auto store = open_offline(fs, dir);
  KYRO_TRY(store);
  const auto manifest = decode_manifest(store->manifest_text);
  if (!manifest.ok()) {
    report.damage.emplace_back(manifest.status().message());
    return report;
  }
  report.database_id = manifest->database_id;
  report.next_offset = manifest->next_offset;
  uint64_t bytes_all = 0;
  uint64_t bytes_done = 0;
  for (const RunMeta& meta : manifest->runs) bytes_all += meta.record_bytes;
  const Run::Progress add = [&](uint64_t bytes) {
    bytes_done += bytes;
    if (progress) progress(bytes_done, bytes_all);
  };
  for (const RunMeta& meta : manifest->runs)
    verify_detail::verify_run(*store->dir, meta, add, &report);
  KYRO_TRY(verify_detail::verify_log(*store->dir, *manifest, &report,
                                     [](const GroupHeader&, std::string_view) {}));
  return report;
}

}  // namespace kyro
