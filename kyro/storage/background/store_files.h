// The files that make up a store as of one moment, taken hold of so that nothing can take them
// away: what every copy of a store is made from.
//
//   gather()      opens every immutable file that the manifest names (runs, indexes, sealed
//                 segments), and the last segment
//   read_tail()   finds where the last segment's part of the copy ends: at a group's end
//
// A copy has those files as they are, of the last segment what lies before position(), and after it
// the mark "abandoned": whoever opens the copy numbers on 2^32 higher, because the original may
// have given out the offsets that follow. The manifest comes last in every copy: without one there
// is no store.
//
// Invariant: what they hold is a prefix of the original's log; no byte of the original is written.
//
// Thread rule: one thread; during gather() nobody may remove files of the original. Ownership: an
// open file stays whole whatever becomes of its name.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/cancel.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/segment_end.h"
#include "kyro/storage/log/wal_reader.h"
#include "kyro/storage/manifest.h"

namespace kyro {

class StoreFiles {
 public:
  struct Held {
    std::string name;
    std::unique_ptr<File> file;
    uint64_t bytes;
  };
  // Takes a file in another way than by keeping it open; false if that is not possible.
  using Take = std::function<Result<bool>(const std::string& name, uint64_t bytes)>;

  // Takes hold of all that `manifest` names and that its state needs.
  Status gather(Directory& from, const Manifest& manifest, const Take& take = {}) {
    manifest_ = manifest;
    drop_flushed_segments(&manifest_);
    const auto& segments = manifest_.segments;
    for (const RunMeta& run : manifest_.runs) {
      KYRO_TRY(hold(from, run_data_name(run.id), take));
      const Status indexed = hold(from, run_index_name(run.id), take);
      if (!indexed.ok() && indexed.code() != Code::kNotFound) return indexed;  // it can be rebuilt
    }
    if (segments.empty()) return Status();
    for (size_t i = 0; i + 1 < segments.size(); ++i) {
      KYRO_TRY(hold(from, segment_name(segments[i].first_offset), take));
    }
    auto reader = SegmentReader::open(from, segments.back());
    KYRO_TRY(reader);
    tail_ = std::move(*reader);
    return Status();
  }

  // Reads the last segment up to `end`, without it to its own end, and makes the manifest say that
  // the log ends there. Returns the offset of the first record that a copy has not.
  Result<uint64_t> read_tail(std::optional<uint64_t> end, const Cancel& cancel) {
    ++manifest_.generation;
    if (tail_ == nullptr) {  // no log at all: the first segment will begin after the jump
      const uint64_t next_offset = manifest_.next_offset;
      manifest_.next_offset += kOffsetJump;
      return next_offset;
    }
    while (!end || tail_->next_offset() < *end) {
      KYRO_TRY(cancel.check());
      auto step = tail_->next();
      KYRO_TRY(step);
      if (*step == SegmentReader::Step::kStop) break;
    }
    if (!end) {
      const auto judged = judge_segment_end(*tail_, SegmentSequel::none(manifest_.next_offset));
      KYRO_TRY(judged);
      KYRO_TRY(judged->damage);
    } else if (tail_->next_offset() < *end) {
      return Status(Code::kCorruption, tail_->name() + " at " + std::to_string(tail_->position()) +
                                           ": acknowledged records are damaged");
    }
    manifest_.next_offset = tail_->next_offset();
    return manifest_.next_offset;
  }

  // Those that were not taken otherwise; without the last segment.
  [[nodiscard]] std::vector<Held>& held() { return held_; }
  // The last segment; null if there is none.
  [[nodiscard]] SegmentReader* tail() { return tail_.get(); }
  // The group that ends the copied log.
  [[nodiscard]] std::string end_mark() const {
    GroupHeader header{};
    header.previous_crc = tail_->chain_crc();
    header.nonce = tail_->header().nonce;
    header.first_offset = header.durable = tail_->next_offset();
    header.flags = make_group_flags(GroupKind::kAbandoned, FsyncPolicy::kAlways);
    std::string group(kGroupHeaderBytes, '\0');
    finish_group(&group, header);
    return group;
  }
  // The copy's.
  [[nodiscard]] Manifest& manifest() { return manifest_; }

 private:
  Status hold(Directory& from, const std::string& name, const Take& take) {
    auto file = from.open(name, OpenMode::kRead);
    KYRO_TRY(file);
    auto bytes = (*file)->size();
    KYRO_TRY(bytes);
    if (take) {
      const auto taken = take(name, *bytes);
      KYRO_TRY(taken);
      if (*taken) return Status();
    }
    held_.push_back({name, std::move(*file), *bytes});
    return Status();
  }

  Manifest manifest_;
  std::vector<Held> held_;
  std::unique_ptr<SegmentReader> tail_;
};

}  // namespace kyro
