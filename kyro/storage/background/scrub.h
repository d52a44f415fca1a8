// Reading every run again from time to time, so that what a disk forgets is noticed before somebody
// asks for it.
//
// A round reads the data file of each run once, in chunks with pauses between them (about 20 MB/s),
// and compares its body with the checksum in the manifest. Chunks bypass the page cache where the
// file system can do that; elsewhere what was read is dropped again, which leaves what readers have
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

  // Of a damaged run the result means nothing.
  struct Expired {
    uint64_t bytes = 0;
    uint64_t skip_bytes = 0;  // of the value under way
    std::string header;       // of the next record, as far as it is there

    // Goes through a whole page.
    void take_page(PageView page, uint64_t now_secs) {
      for (size_t at = page.begin(); at + kRecordHeaderBytes <= kPageBytes;) {
        const auto record = load<RecordHeader>(page.data() + at);
        count(record, now_secs);
        at += record.record_bytes();
      }
    }

    // Goes from record to record, wherever chunks end.
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
        count(record, now_secs);
      }
    }

    void count(const RecordHeader& record, uint64_t now_secs) {
      const uint64_t expiry_secs = record.expiry_secs();
      if (expiry_secs != 0 && expiry_secs <= now_secs) bytes += record.record_bytes();
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
      body_ = run->body();
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

  // Goes on with bytes of the file at position_; pages lie whole in a chunk.
  void take(std::string_view bytes) {
    static_assert(kChunkBytes % kPageBytes == 0);
    if (position_ == 0) {
      const RunHeader header = make_run_header(meta_.id, body_.version());
      ends_are_good_ =
          bytes.size() >= sizeof header && std::memcmp(bytes.data(), &header, sizeof header) == 0;
    }
    const std::string_view body = part_of(bytes, kRunHeaderBytes, body_.end);
    crc_ = crc32c(body, crc_);
    if (meta_.expiring > 0) count_expired(bytes);
    if (footer_.size() <= sizeof(RunFooter)) {
      footer_.append(part_of(bytes, body_.end, ~uint64_t{0}));
    }
  }

  // Of `bytes`, which lie at position_, those that lie in [begin, end).
  [[nodiscard]] std::string_view part_of(std::string_view bytes, uint64_t begin,
                                         uint64_t end) const {
    const uint64_t from = std::max(begin, position_);
    const uint64_t to = std::min(end, position_ + bytes.size());
    return from < to ? bytes.substr(from - position_, to - from) : std::string_view();
  }

  void count_expired(std::string_view bytes) {
    const uint64_t now_secs = state_.clock.now_secs();
    if (!body_.is_paged()) {
      return expired_.take(part_of(bytes, kRunHeaderBytes, body_.end), now_secs);
    }
    std::string_view pages = part_of(bytes, body_.page_begin(0), body_.large_begin());
    for (; pages.size() >= kPageBytes; pages.remove_prefix(kPageBytes)) {
      expired_.take_page(PageView(pages.data()), now_secs);
    }
    expired_.take(part_of(bytes, body_.large_begin(), body_.end), now_secs);
  }

  [[nodiscard]] bool is_as_written() const {
    const RunFooter footer = make_run_footer(meta_, body_);
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
  RunBody body_;
  std::unique_ptr<File> file_;
  bool is_cached_ = false;
  uint64_t position_ = 0;
  uint32_t crc_ = 0;  // of the body so far
  Expired expired_;
  bool ends_are_good_ = true;
  std::string footer_;
};

}  // namespace kyro
