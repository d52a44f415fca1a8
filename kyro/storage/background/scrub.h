// Reading every run again from time to time, so that what a disk forgets is noticed before somebody
// asks for it.
//
// A round reads the data file of each run once, in chunks with pauses between them (about 20 MB/s),
// and compares it with the checksum in the manifest. Chunks bypass the page cache where the file
// system can do that; elsewhere what was read is dropped again, which leaves what readers have
// mapped. So a round evicts nothing that is hot, and asks the disk rather than the cache. Indexes
// are not read: lookups check them at first touch, and they can be rebuilt.
//
// Bytes of records that have expired are counted on the way (see dead_bytes.h).
//
// Damage: the run is quarantined (never merged, so nothing is lost), counted and logged; reads of
// its good records go on, reads of the bad ones answer an error.
//
// Thread rule: one thread, the merger's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/storage/background/run_change.h"
#include "kyro/storage/engine_state.h"

namespace kyro {

class Scrubber {
 public:
  explicit Scrubber(EngineState& state) : state_(state) {
    constexpr uint64_t kFirstSecs = 3600;  // a process that is restarted daily gets there too
    next_step_ns_ = monotonic_ns() + std::min(interval_secs(), kFirstSecs) * kSecondNs;
  }

  // Until the next chunk is due; nothing if none ever will be.
  [[nodiscard]] std::optional<uint64_t> wait_ns() const {
    if (interval_secs() == 0) return std::nullopt;
    const uint64_t now = monotonic_ns();
    return next_step_ns_ > now ? next_step_ns_ - now : 0;
  }

  // Reads one chunk; the first of a round begins it. Returns whether the round goes on.
  bool step() {
    if (!in_round_) begin_round();
    if (file_ == nullptr && !open_next()) {
      buffer_.reset();
      in_round_ = false;
      next_step_ns_ = monotonic_ns() + interval_secs() * kSecondNs;
      return false;
    }
    read_chunk();
    next_step_ns_ = monotonic_ns() + kPauseNs;
    return true;
  }

 private:
  static constexpr uint64_t kSecondNs = 1'000'000'000;
  static constexpr uint64_t kPauseNs = 50'000'000;
  static constexpr size_t kChunkBytes = 1 * kMiB;

  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  // Goes from record to record, wherever chunks end. Of a damaged run the result means nothing.
  struct Expired {
    uint64_t bytes = 0;
    uint64_t skip_bytes = 0;  // of the value under way
    std::string header;       // of the next record, as far as it is there

    void take(std::string_view chunk, uint64_t now_secs) {
      while (!chunk.empty()) {
        const uint64_t skipped = std::min<uint64_t>(skip_bytes, chunk.size());
        skip_bytes -= skipped;
        chunk.remove_prefix(skipped);
        const size_t part = std::min(kRecordHeaderBytes - header.size(), chunk.size());
        header.append(chunk.substr(0, part));
        chunk.remove_prefix(part);
        if (header.size() < kRecordHeaderBytes) return;
        const auto record = load<RecordHeader>(header.data());
        header.clear();
        skip_bytes = record.value_bytes;
        const uint64_t expiry_secs = record.expiry_secs();
        if (expiry_secs != 0 && expiry_secs <= now_secs) bytes += record.record_bytes();
      }
    }
  };

  [[nodiscard]] uint64_t interval_secs() const { return state_.options.scrub_interval_secs; }

  void begin_round() {
    in_round_ = true;
    left_.clear();
    for (const auto& run : state_.copy_view().runs) left_.push_back(run->meta().id);
    buffer_.reset(static_cast<char*>(std::aligned_alloc(kUncachedAlignment, kChunkBytes)));
    KYRO_CHECK(buffer_ != nullptr);
  }

  // The run of that id, if it has not been merged away or found damaged meanwhile.
  [[nodiscard]] std::shared_ptr<Run> find(uint64_t id) const {
    for (const auto& run : state_.copy_view().runs) {
      if (run->meta().id == id && !run->is_quarantined()) return run;
    }
    return nullptr;
  }

  bool open_next() {
    while (!left_.empty()) {
      const uint64_t id = left_.back();
      left_.pop_back();
      const auto run = find(id);
      if (run == nullptr) continue;
      meta_ = run->meta();
      if (!open_file(OpenMode::kReadUncached) && !open_file(OpenMode::kRead)) continue;
      position_ = 0;
      crc_ = 0;
      expired_ = {};
      ends_are_good_ = true;
      footer_.clear();
      return true;
    }
    return false;
  }

  bool open_file(OpenMode mode) {
    auto file = state_.dir.open(run_data_name(meta_.id), mode);
    if (!file.ok()) return false;  // removed meanwhile, or no descriptor left: another time
    file_ = std::move(*file);
    is_cached_ = mode == OpenMode::kRead;
    return true;
  }

  void read_chunk() {
    auto got = file_->read_at(position_, buffer_.get(), kChunkBytes);
    // A file system may refuse to go past its cache only now.
    if (!got.ok() && !is_cached_ && open_file(OpenMode::kRead)) {
      got = file_->read_at(position_, buffer_.get(), kChunkBytes);
    }
    if (!got.ok()) return finish(got.status().code() == Code::kBusy);
    state_.stats.scrubbed_bytes.add(*got);
    if (is_cached_) file_->drop_cache();
    take({buffer_.get(), *got});
    position_ += *got;
    if (*got < kChunkBytes) finish(is_as_written());
  }

  // Goes on with bytes of the file at position_.
  void take(std::string_view bytes) {
    const uint64_t records_end = kRunHeaderBytes + meta_.record_bytes;
    if (position_ == 0) {
      const RunHeader header = make_run_header(meta_.id);
      ends_are_good_ =
          bytes.size() >= sizeof header && std::memcmp(bytes.data(), &header, sizeof header) == 0;
      bytes.remove_prefix(std::min<size_t>(bytes.size(), sizeof header));
    }
    const uint64_t at = std::max<uint64_t>(position_, kRunHeaderBytes);
    const uint64_t records =
        at < records_end ? std::min<uint64_t>(records_end - at, bytes.size()) : 0;
    crc_ = crc32c(bytes.substr(0, records), crc_);
    if (meta_.expiring > 0) expired_.take(bytes.substr(0, records), state_.clock.now_secs());
    bytes.remove_prefix(records);
    if (footer_.size() <= sizeof(RunFooter)) footer_.append(bytes);
  }

  [[nodiscard]] bool is_as_written() const {
    const RunFooter footer = make_run_footer(meta_);
    return ends_are_good_ && crc_ == meta_.record_crc && footer_.size() == sizeof footer &&
           std::memcmp(footer_.data(), &footer, sizeof footer) == 0;
  }

  void finish(bool is_good) {
    file_.reset();
    const auto run = find(meta_.id);
    if (is_good && run != nullptr) run->note_expired(expired_.bytes);
    if (is_good) return;
    quarantine_run(state_, run.get());
  }

  EngineState& state_;
  uint64_t next_step_ns_ = 0;
  bool in_round_ = false;
  std::vector<uint64_t> left_;  // ids of runs
  std::unique_ptr<char, Free> buffer_;

  // The run that is being read.
  RunMeta meta_;
  std::unique_ptr<File> file_;
  bool is_cached_ = false;
  uint64_t position_ = 0;
  uint32_t crc_ = 0;  // of the records so far
  Expired expired_;
  bool ends_are_good_ = true;
  std::string footer_;
};

}  // namespace kyro
