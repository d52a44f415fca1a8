// Reading all of a run: is every byte what was written, and does the index lead to every record?
//
// Thread rule: any thread; readers go on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "kyro/base/limits.h"
#include "kyro/storage/fs/readahead.h"
#include "kyro/storage/run/run.h"

namespace kyro {

// Told of bytes that have been read since it was called last.
using RunProgress = std::function<void(uint64_t bytes)>;

namespace run_verify_detail {

class Verifier {
 public:
  Verifier(const Run& run, const RunProgress& progress) : run_(run), progress_(progress) {}

  // Checksums, order, offsets, the checksum of the body.
  Status run() {
    KYRO_TRY(run_.body().is_paged() ? read_pages() : read_records());
    report(0);
    const RunMeta& meta = run_.meta();
    if (records_ != meta.records || record_bytes_ != meta.record_bytes || crc_ != meta.record_crc) {
      return damaged(kRunHeaderBytes, "the records are not the ones the manifest speaks of");
    }
    return Status();
  }

 private:
  Status read_records() {
    RecordView record;
    Readahead ahead;
    for (uint64_t at = run_.first_position(); at < run_.end_position();) {
      if (!run_.record_at(at, ahead, &record)) return damaged(at, "a damaged record");
      KYRO_TRY(take(at, record));
      const uint64_t begin = at;
      at += record.header.record_bytes();
      take_bytes(begin, at);
    }
    return Status();
  }

  Status read_pages() {
    const RunBody& body = run_.body();
    Readahead ahead;
    Readahead ahead_large;
    take_bytes(kRunHeaderBytes, kPageBytes);
    for (uint64_t number = 0; number < body.pages; ++number) {
      const PageView page = run_.page_at(number, ahead);
      KYRO_TRY(read_page(number, page, ahead_large));
      take_bytes(body.page_begin(number), body.page_begin(number + 1));
    }
    if (large_bytes_ != body.large_bytes) return damaged(body.end, "large records nobody knows of");
    for (uint64_t at = body.large_begin(); at < body.end;) {  // the records were verified above
      const uint64_t begin = at;
      at = std::min(at + kMiB, body.end);
      take_bytes(begin, at);
    }
    return Status();
  }

  // The records of a page lie one after another up to its end, the large ones up to the body's.
  Status read_page(uint64_t number, PageView page, Readahead& ahead_large) {
    const uint64_t position = run_.body().page_begin(number);
    if (!run_.pages().is_sound(number)) return damaged(position, "a damaged page");
    RecordView record;
    uint64_t next = page.begin();
    for (size_t entry = 0; entry < page.count(); ++entry) {
      const uint32_t place = page.place_of(entry);
      const bool is_stub = PageView::is_stub(place);
      const uint64_t at =
          is_stub ? run_.body().large_begin() + page.stub_at(place).place : position + place;
      if (!run_.record_of(page, entry, ahead_large, &record))
        return damaged(at, "a damaged record");
      KYRO_TRY(take(at, record));
      uint64_t& end = is_stub ? large_bytes_ : next;
      const bool follows = end == (is_stub ? page.stub_at(place).place : place);
      if (!follows || page.fingerprint(entry) != page.fingerprint_of(record.header.key)) {
        return damaged(at, "the directory of its page does not lead to a record");
      }
      end += record.header.record_bytes();
    }
    return next == kPageBytes ? Status() : damaged(position, "a page with something after it");
  }

  Status take(uint64_t position, const RecordView& record) {
    const RecordHeader& header = record.header;
    if (records_++ > 0 && header.key <= previous_key_)
      return damaged(position, "keys out of order");
    if (header.offset < run_.meta().first_offset || header.offset >= run_.meta().end_offset) {
      return damaged(position, "an offset outside the run's range");
    }
    previous_key_ = header.key;
    record_bytes_ += header.record_bytes();
    return Status();
  }

  void take_bytes(uint64_t begin, uint64_t end) {
    crc_ = crc32c(run_.bytes().data() + begin, end - begin, crc_);
    unreported_bytes_ += end - begin;
    report(16 * kMiB);
  }
  void report(uint64_t at_least) {
    if (!progress_ || unreported_bytes_ < at_least) return;
    progress_(unreported_bytes_);
    unreported_bytes_ = 0;
  }

  [[nodiscard]] Status damaged(uint64_t position, const char* what) const {
    return Status(Code::kCorruption, run_.name() + " at " + std::to_string(position) + ": " + what);
  }

  const Run& run_;
  const RunProgress& progress_;
  uint64_t records_ = 0;
  uint64_t record_bytes_ = 0;
  uint64_t large_bytes_ = 0;
  uint64_t previous_key_ = 0;
  uint32_t crc_ = 0;
  uint64_t unreported_bytes_ = 0;
};

}  // namespace run_verify_detail

// Reads every record and every byte of the body.
inline Status verify_records(const Run& run, const RunProgress& progress = {}) {
  return run_verify_detail::Verifier(run, progress).run();
}

// Reads the whole index and checks that it leads to every record. REQUIRES: verify_records() ok.
inline Status verify_index(const Run& run) {
  KYRO_TRY(run.index().verify());
  const auto misled = [&](uint64_t position) {
    return Status(Code::kCorruption, run_index_name(run.meta().id) +
                                         ": it does not lead to the record at " +
                                         std::to_string(position) + " of " + run.name());
  };
  Readahead ahead;
  for (uint64_t number = 0; number < run.body().pages; ++number) {
    const PageView page = run.page_at(number, ahead);
    bool is_right = run.pages().filter().is_sound(number, page_seed(run.meta().id, number));
    for (size_t entry = 0; entry < page.count(); ++entry) {
      is_right = is_right && run.pages().filter().may_hold(number, page.key_of(entry));
    }
    if (!is_right) {
      return Status(Code::kCorruption, run_index_name(run.meta().id) +
                                           ": a damaged filter, of page " + std::to_string(number));
    }
    for (const size_t entry : {size_t{0}, page.count() - 1}) {
      const FindResult found = run.index().find<RmiMatch::kCeiling>(page.key_of(entry));
      if (found.code != FindCode::kHit || found.position != number) {
        return misled(run.body().page_begin(number));
      }
    }
  }
  if (run.body().is_paged()) return Status();
  RecordView record;
  for (uint64_t position = run.first_position(); position < run.end_position();
       position += record.header.record_bytes()) {
    if (!run.record_at(position, ahead, &record)) break;
    const FindResult found = run.index().find(record.header.key);
    if (found.code != FindCode::kHit || found.position != position) return misled(position);
  }
  return Status();
}

}  // namespace kyro
