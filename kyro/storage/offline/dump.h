// Reading what a store holds without opening it: nothing is recovered, cut or written.
//
// Memory: one mapped run after the other costs none of ours; the part of the log that is in no run
// is gathered in a delta, as at a start. An engine lets that grow to three times --delta-max-bytes.
//
// Damage ends a dump with kCorruption; what was visited before it is good. The lock of the
// directory is held meanwhile.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/storage/background/merge.h"
#include "kyro/storage/offline/offline.h"
#include "kyro/storage/offline/verify.h"

namespace kyro {
namespace dump_detail {

// Walks the log; kCorruption if any of it is damaged.
template <class Visit>
Status walk_log(Directory& dir, const Manifest& manifest, Visit visit) {
  VerifyReport report;
  KYRO_TRY(verify_log(dir, manifest, &report, [&](const GroupHeader& group, std::string_view body) {
    KYRO_CHECK(for_each_record(group, body, visit));  // the reader has verified the group
  }));
  if (!report.damage.empty()) return Status(Code::kCorruption, report.damage.front());
  return Status();
}

}  // namespace dump_detail

// Calls visit(RecordView, expiry in Unix seconds or 0) for every live record, in key order.
template <class Visit>
Status dump_live(FileSystem& fs, const std::string& dir, const ClockSources& clocks, Visit visit) {
  const auto store = open_offline(fs, dir);
  KYRO_TRY(store);
  auto manifest = decode_manifest(store->manifest_text);
  KYRO_TRY(manifest);
  MergeInput input;
  for (const RunMeta& meta : manifest->runs) {
    KYRO_TRY(check_index_version(*store->dir, meta.id));
    auto run = Run::open_data(*store->dir, meta);
    KYRO_TRY(run);
    input.runs.push_back(std::move(*run));
  }
  drop_flushed_segments(&*manifest);
  input.delta = std::make_shared<Delta>(manifest->flushed_offset);
  KYRO_TRY(dump_detail::walk_log(*store->dir, *manifest,
                                 [&](const RecordView& record, std::string_view bytes) {
                                   if (record.header.offset < manifest->flushed_offset) return;
                                   input.delta->insert(record.header, bytes);
                                 }));
  input.end_offset = input.delta->end_offset();
  const LifetimeClock clock(clocks, manifest->clock);
  input.now_secs = clock.now_secs();
  MergedCursor cursor = open_merge_sources(input);
  return for_each_kept(cursor, input, {}, [&](const RecordHeader& header, std::string_view bytes) {
    visit(RecordView{header, bytes.substr(kRecordHeaderBytes)},
          clock.to_unix(header.expiry_secs()));
    return Status();
  });
}

// Calls visit(RecordView, expiry in Unix seconds or 0) for every record of the log that is kept, in
// order.
template <class Visit>
Status dump_log(FileSystem& fs, const std::string& dir, const ClockSources& clocks, Visit visit) {
  const auto store = open_offline(fs, dir);
  KYRO_TRY(store);
  const auto manifest = decode_manifest(store->manifest_text);
  KYRO_TRY(manifest);
  const LifetimeClock clock(clocks, manifest->clock);
  return dump_detail::walk_log(*store->dir, *manifest,
                               [&](const RecordView& record, std::string_view) {
                                 visit(record, clock.to_unix(record.header.expiry_secs()));
                               });
}

}  // namespace kyro
