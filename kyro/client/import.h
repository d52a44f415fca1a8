// `kyrodbctl import`: records of a file or pipe into a server, or into the shards that have them.
//
// A record goes to the lane of its server (import_lane.h), which stores them in batches. Memory is
// some batches for each server, which are smaller where there are many, and one record, whatever
// the size of the input.
//
// A record that is bad, or refused, stops the import: everything before it is stored, and the
// message says which record to go on from (--skip). Records after it may be stored already:
// storing them once more changes nothing, because all are sent again in their order.
//
// Thread rule: one thread. Ownership: borrows servers and source.
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kyro/client/import_lane.h"
#include "kyro/client/import_source.h"
#include "kyro/client/progress.h"
#include "kyro/client/shards.h"

namespace kyro {

class Importer {
 public:
  static constexpr size_t kBatchBytes = 256 * 1024;
  static constexpr size_t kGatheredBytes = 8u << 20;  // of all servers together, about

  Importer(ctl::Shards& shards, ImportSource& source, const FdSource& input,
           std::optional<uint64_t> input_bytes)
      : shards_(shards), source_(source), input_(input), input_bytes_(input_bytes) {
    const size_t batch_bytes =
        std::clamp(kGatheredBytes / shards.size(), ImportLane::kBatchBytesMin, kBatchBytes);
    for (size_t i = 0; i < shards.size(); ++i) {
      lanes_.push_back(std::make_unique<ImportLane>(shards[i], progress_, batch_bytes));
    }
  }

  // Imports everything after the first `skip` records. The exit code.
  int run(uint64_t skip) {
    uint64_t record = 0;
    while (record < skip && take(source_.skip(), record)) ++record;
    std::string line;
    while (!failure_ && take(source_.next(&line), record)) {
      ImportLane& lane = *lanes_[shards_.place_of(source_.key())];
      lane.add(line, record++, source_.line());
      line.clear();
      note(lane.failure());
      if (record % ImportLane::kBatchRecords == 0) show();
    }
    // What was read before a record that failed is stored.
    for (const auto& lane : lanes_) {
      lane->finish();
      note(lane->failure());
      show();
    }
    return report();
  }

 private:
  // Whether there was a record; a bad one is a failure.
  bool take(const Result<bool>& more, uint64_t record) {
    if (!more.ok()) {
      note(ImportFailure{
          .record = record, .line = source_.line(), .why = std::string(more.status().message())});
    }
    return more.ok() && *more;
  }

  // The earliest record that failed counts.
  void note(const std::optional<ImportFailure>& failure) {
    if (failure && (!failure_ || failure->record < failure_->record)) failure_ = failure;
  }

  [[nodiscard]] uint64_t stored() const {
    uint64_t sum = 0;
    for (const auto& lane : lanes_) sum += lane->stored();
    return sum;
  }
  void show() {
    if (const uint64_t n = stored(); n > 0) progress_.show(n, input_.bytes_read(), input_bytes_);
  }

  int report() const {
    progress_.clear();
    if (failure_) {
      const std::string records = std::to_string(failure_->record);
      ctl_fail("line " + std::to_string(failure_->line) + " (record " +
               std::to_string(failure_->record + 1) + "): " + failure_->why);
      if (failure_->record > 0) {
        ctl_fail("the records before it are stored; go on with --skip " + records);
      }
    }
    const double seconds = progress_.seconds();
    if (shards_[0].as_json) {
      std::printf("{\"imported\":%" PRIu64 ",\"seconds\":%.3f}\n", stored(), seconds);
    } else {
      std::fprintf(stderr, "imported %" PRIu64 " records in %.2f s (%.0f/s)\n", stored(), seconds,
                   seconds > 0 ? static_cast<double>(stored()) / seconds : 0);
    }
    return ctl_finish_output(failure_ ? failure_->exit_code : kExitOk);
  }

  ctl::Shards& shards_;
  ImportSource& source_;
  const FdSource& input_;
  const std::optional<uint64_t> input_bytes_;
  Progress progress_;
  std::vector<std::unique_ptr<ImportLane>> lanes_;  // of the servers, in their order
  std::optional<ImportFailure> failure_;
};

}  // namespace kyro
