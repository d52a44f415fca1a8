// Finding what is good in a damaged run of pages.
//
// Of a page whose directory is sound, each entry stands for itself: a bad record costs itself. If
// the directory is damaged, records are taken from the first place in the page from which good ones
// reach to its very end, one after another: what a client has put into a value lies after that
// place, so nothing in a value is taken for a record. Large records follow one another in key
// order; those that only a damaged directory knew of are found by going on after the last one.
//
// Thread rule: pure reading. Ownership: what is visited points into the file's bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/crc32c.h"
#include "kyro/base/limits.h"
#include "kyro/storage/run/page.h"
#include "kyro/storage/run/run_format.h"

namespace kyro {

// Told of each place where something is lost.
using ReportLoss = std::function<void(const std::string& what)>;

class PageScan {
 public:
  // `file`: all of it; `body` may be longer than that. Of `meta`, if there is one, records have to
  // keep to the range of offsets.
  PageScan(std::string name, std::string_view file, uint64_t id, const RunBody& body,
           const std::optional<RunMeta>& meta)
      : name_(std::move(name)), file_(file), id_(id), body_(body), meta_(meta) {}

  // Where pages and large records of a run without a footer probably are: as many pages as are
  // sound, from the first one on. A block of a value is none of them, since it comes after all.
  [[nodiscard]] static RunBody guess_body(std::string_view file, uint64_t id) {
    RunBody body = RunBody::of_pages(0, 0);
    while (file.size() >= body.page_begin(body.pages + 1) &&
           PageView(file.data() + body.large_begin()).is_sound(page_seed(id, body.pages))) {
      ++body.pages;
    }
    const uint64_t end = file.size() - std::min<uint64_t>(file.size(), kRunFooterBytes);
    return RunBody::of_pages(body.pages, end - std::min(end, body.large_begin()));
  }

  // Calls visit(RecordView, record bytes) for every good record, keys ascending.
  template <class Visit>
  Status each_record(const ReportLoss& lost, const Visit& visit) {
    take_bytes(kRunHeaderBytes, kPageBytes);
    if (file_.substr(0, kPageBytes).find_last_not_of('\0') >= kRunHeaderBytes) {
      report(lost, kRunHeaderBytes, "something before the first page");
    }
    for (uint64_t number = 0; number < body_.pages;) {
      const uint64_t begin = number;
      if (!is_there(number)) {
        report(lost, body_.page_begin(number), "the file ends here, pages are missing");
        break;
      }
      if (is_sound(number)) {
        KYRO_TRY(take_page(number++, lost, visit));
      } else {
        while (number < begin + kDamagedAtOnce && number < body_.pages && is_there(number) &&
               !is_sound(number)) {
          report(lost, body_.page_begin(number++), "a damaged page");
        }
        KYRO_TRY(take_damaged_pages(begin, number, visit));
      }
      take_bytes(body_.page_begin(begin), body_.page_begin(number));
    }
    take_bytes(body_.large_begin(), body_.end);
    return Status();
  }

  // Once that is through: how many records were good, the checksum of the body, and whether
  // anything was lost.
  [[nodiscard]] uint64_t good() const { return good_; }
  [[nodiscard]] uint32_t crc() const { return crc_; }
  [[nodiscard]] bool has_lost() const { return has_lost_; }

 private:
  static constexpr uint64_t kDamagedAtOnce = 256;  // pages

  [[nodiscard]] bool is_there(uint64_t number) const {
    return body_.page_begin(number + 1) <= file_.size();
  }
  [[nodiscard]] PageView page(uint64_t number) const {
    return PageView(file_.data() + body_.page_begin(number));
  }
  [[nodiscard]] bool is_sound(uint64_t number) const {
    return page(number).is_sound(page_seed(id_, number));
  }

  template <class Visit>
  Status take_page(uint64_t number, const ReportLoss& lost, const Visit& visit) {
    const PageView here = page(number);
    RecordView record;
    for (size_t entry = 0; entry < here.count(); ++entry) {
      const uint32_t place = here.place_of(entry);
      uint64_t position = body_.page_begin(number) + place;
      bool is_good = false;
      if (PageView::is_stub(place)) {
        const PageView::Stub stub = here.stub_at(place);
        position = body_.large_begin() + stub.place;
        if (stub.place != large_next_) report(lost, position, "a gap between large records");
        is_good = decode_large(stub.place, &record) && record.header.key == stub.key;
        large_next_ = is_good ? stub.place + record.header.record_bytes() : stub.place;
        if (!is_good) large_next_ = place_of_next_large(number, entry);
      } else {
        is_good =
            PageView::is_record(place) &&
            decode_record({here.data() + place, kPageBytes - place}, &record) == RecordCheck::kOk;
      }
      if (is_good && is_expected(record)) {
        KYRO_TRY(take(record, visit));
      } else {
        report(lost, position, "a damaged record");
      }
    }
    return Status();
  }

  // Where the large record after the one of `entry` lies, by its stub in this page; if that is the
  // last stub of the page nobody knows, and the next stub says so.
  [[nodiscard]] uint64_t place_of_next_large(uint64_t number, size_t entry) const {
    const PageView here = page(number);
    for (size_t next = entry + 1; next < here.count(); ++next) {
      const uint32_t place = here.place_of(next);
      if (PageView::is_stub(place)) return here.stub_at(place).place;
    }
    for (++number; number < body_.pages && is_there(number) && is_sound(number); ++number) {
      for (size_t next = 0; page(number).large_count() > 0 && next < page(number).count(); ++next) {
        const uint32_t place = page(number).place_of(next);
        if (PageView::is_stub(place)) return page(number).stub_at(place).place;
      }
    }
    return body_.large_bytes;
  }

  // The records in the pages [begin, end), of which no directory can be believed, and the large
  // ones between them.
  template <class Visit>
  Status take_damaged_pages(uint64_t begin, uint64_t end, const Visit& visit) {
    std::vector<RecordView> found;
    for (uint64_t number = begin; number < end; ++number) gather_records(page(number), &found);
    const bool is_followed = end < body_.pages && is_there(end) && is_sound(end);
    const uint64_t bound = is_followed ? page(end).key_of(0) : 0;
    RecordView large;
    size_t next = 0;
    for (;;) {
      const bool has_large = large_next_ < body_.large_bytes && decode_large(large_next_, &large) &&
                             (!is_followed || large.header.key < bound);
      if (!has_large && next == found.size()) return Status();
      const bool is_large =
          has_large && (next == found.size() || large.header.key < found[next].header.key);
      if (is_large) large_next_ += large.header.record_bytes();
      const RecordView& record = is_large ? large : found[next++];
      if (is_expected(record)) KYRO_TRY(take(record, visit));
    }
  }

  // Appends the records of a page without its directory.
  static void gather_records(PageView page, std::vector<RecordView>* out) {
    std::vector<RecordView> records;
    for (size_t begin = kPageHeaderBytes; begin + kRecordHeaderBytes <= kPageBytes; ++begin) {
      if (gather_from(page, begin, &records)) break;
      records.clear();
    }
    // A record is damaged as well: those before it, if the directory says where they begin.
    if (records.empty()) static_cast<void>(gather_from(page, page.begin(), &records));
    out->insert(out->end(), records.begin(), records.end());
  }

  // Whether good records lie one after another from `at` to the page's end.
  static bool gather_from(PageView page, size_t at, std::vector<RecordView>* out) {
    RecordView record;
    while (at < kPageBytes &&
           decode_record({page.data() + at, kPageBytes - at}, &record) == RecordCheck::kOk) {
      out->push_back(record);
      at += record.header.record_bytes();
    }
    return at == kPageBytes;
  }

  [[nodiscard]] bool decode_large(uint64_t place, RecordView* out) const {
    const uint64_t end = std::min<uint64_t>(body_.end, file_.size());
    const uint64_t at = body_.large_begin() + std::min(place, body_.large_bytes);
    return at < end && decode_record(file_.substr(at, end - at), out) == RecordCheck::kOk;
  }

  [[nodiscard]] bool is_expected(const RecordView& record) const {
    const uint64_t offset = record.header.offset;
    if (last_key_ && record.header.key <= *last_key_) return false;
    return !meta_ || (offset >= meta_->first_offset && offset < meta_->end_offset);
  }

  template <class Visit>
  Status take(const RecordView& record, const Visit& visit) {
    last_key_ = record.header.key;
    ++good_;
    return visit(record, std::string_view(record.value.data() - kRecordHeaderBytes,
                                          record.header.record_bytes()));
  }

  void take_bytes(uint64_t begin, uint64_t end) {
    end = std::min<uint64_t>(end, file_.size());
    if (begin < end) crc_ = crc32c(file_.substr(begin, end - begin), crc_);
  }

  void report(const ReportLoss& lost, uint64_t position, const char* what) {
    has_lost_ = true;
    lost(name_ + " at " + std::to_string(position) + ": " + what);
  }

  const std::string name_;
  const std::string_view file_;
  const uint64_t id_;
  const RunBody body_;
  const std::optional<RunMeta> meta_;
  std::optional<uint64_t> last_key_;
  uint64_t large_next_ = 0;  // place of the large record after the last one
  uint64_t good_ = 0;
  uint32_t crc_ = 0;
  bool has_lost_ = false;
};

}  // namespace kyro
