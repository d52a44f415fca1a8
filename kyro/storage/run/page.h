// A page of a run: 4 KiB of records in key order, with a directory at its head that leads a lookup
// to the one record it wants.
//
//      0  u32         crc32c of bytes 4..begin-1, continued from one of (id of the run, number of
//                     the page): a page in a wrong place is a damaged one
//      4  u16         begin: the first record; from there to the page's end lies one after another
//      6  u16         stride: the size of every record, where all are of one size and none is
//                     large; else 0
//      8  u8          count: entries, 1 to 255
//      9  u8          large: how many of them lie outside, because they are long
//     10  u8          salt of the fingerprints
//     11  count × u8  a fingerprint of each key, in key order
//     ..  count × u16 only if stride is 0: where each entry is. Bit 15 clear: the record's place in
//                     the page. Set: the place of a stub
//     ..  large × 16  stubs: u64 key, u64 place of the record among the run's large ones
//     ..  zeros
//  begin  records (record.h)
//
// With records of one size, header and fingerprints of 42 records of 96 bytes are one cache line:
// a lookup touches that line and the record's, in one page of the TLB and of the disk. One byte a
// key is enough for that. Keys of one page should not share a fingerprint, since a lookup that
// looks at a wrong record first throws away what the processor has begun meanwhile; so the salt is
// chosen for which the fewest do (of 42 keys about one in a hundred, with any salt one in twelve).
// Of absent keys one in six meets the fingerprint of another; most never come here (run_filter.h).
//
// Invariants, of which reads rest on the first three:
//   - whatever the bytes are, nothing outside the page is read;
//   - a record is believed if its checksum and its key are right, wherever it was found;
//   - "not here" is believed if the directory's checksum is right and every record with the
//     fingerprint is a good one of another key. So a flipped bit of the directory, of a key or of a
//     stub is damage and never a miss;
//   - every byte is covered: up to `begin` by the page's checksum, from there on by the records'.
//
// Thread rule: PageView is a value over bytes that do not change; PageBuilder is one thread's.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "kyro/base/coding.h"
#include "kyro/base/crc32c.h"
#include "kyro/base/status.h"
#include "kyro/storage/record.h"

namespace kyro {

inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kPageHeaderBytes = 11;
inline constexpr size_t kPageStubBytes = 16;
inline constexpr size_t kPageEntriesMax = 255;
// A longer record is large: of shorter ones at least three share a page.
inline constexpr uint64_t kPagedRecordBytesMax = kRecordHeaderBytes + 1024;

[[nodiscard]] inline uint8_t page_fingerprint(uint64_t key, uint8_t salt) {
  return static_cast<uint8_t>((key * (0x9E3779B97F4A7C15u * (2 * uint64_t{salt} + 1))) >> 56);
}

// What the checksum of a page is continued from.
[[nodiscard]] inline uint32_t page_seed(uint64_t run_id, uint64_t number) {
  const uint64_t place[2] = {run_id, number};
  return crc32c(place, sizeof place);
}

// ---- reading ----

class PageView {
 public:
  struct Stub {
    uint64_t key;
    uint64_t place;
  };
  static constexpr uint32_t kStubFlag = 0x8000;

  // `page`: kPageBytes that may be read.
  explicit PageView(const char* page) : page_(page) {}

  [[nodiscard]] const char* data() const { return page_; }
  [[nodiscard]] size_t count() const { return static_cast<uint8_t>(page_[8]); }
  [[nodiscard]] size_t large_count() const { return static_cast<uint8_t>(page_[9]); }
  [[nodiscard]] size_t begin() const { return load<uint16_t>(page_ + 4); }
  [[nodiscard]] size_t stride() const { return load<uint16_t>(page_ + 6); }
  // The fingerprint that `key` would have in this page, and that of an entry.
  [[nodiscard]] uint8_t fingerprint_of(uint64_t key) const {
    return page_fingerprint(key, static_cast<uint8_t>(page_[10]));
  }
  [[nodiscard]] uint8_t fingerprint(size_t entry) const {
    return static_cast<uint8_t>(page_[kPageHeaderBytes + entry]);
  }
  [[nodiscard]] size_t directory_bytes() const {
    return kPageHeaderBytes + count() * (stride() != 0 ? 1 : 3) + large_count() * kPageStubBytes;
  }

  // Whether the directory is what was written, for this page of this run.
  [[nodiscard]] bool is_sound(uint32_t seed) const {
    const size_t end = begin();
    return count() > 0 && end <= kPageBytes && directory_bytes() <= end &&
           crc32c(page_ + 4, end - 4, seed) == load_u32(page_);
  }

  // Which of the 64 entries from `first` on (a multiple of 64) have this fingerprint, as bits.
  [[nodiscard]] uint64_t matches(uint8_t fingerprint, size_t first) const;
  // The first entry with this fingerprint; not below count() if there is none. No branch
  // depends on where it is: the bytes may be on their way from memory, and a branch taken wrongly
  // when they have come would throw away the lookups begun meanwhile.
  [[nodiscard]] size_t first_match(uint8_t fingerprint) const;

  // Where an entry is: a place in the page, with kStubFlag that of a stub. Anything if the page is
  // damaged. REQUIRES: entry < count().
  [[nodiscard]] uint32_t place_of(size_t entry) const {
    if (const size_t size = stride(); size != 0) [[likely]]
      return static_cast<uint32_t>(begin() + entry * size);
    return load<uint16_t>(page_ + kPageHeaderBytes + count() + 2 * entry);
  }
  [[nodiscard]] static bool is_record(uint32_t place) {
    return place <= kPageBytes - kRecordHeaderBytes;
  }
  [[nodiscard]] static bool is_stub(uint32_t place) {
    return place >= kStubFlag && place - kStubFlag <= kPageBytes - kPageStubBytes;
  }
  // REQUIRES: is_record(place).
  [[nodiscard]] RecordRef record_at(uint32_t place) const { return RecordRef(page_ + place); }
  [[nodiscard]] RecordCheck check_at(uint32_t place) const {
    return check_record(page_ + place, kPageBytes - place);
  }
  // REQUIRES: is_stub(place).
  [[nodiscard]] Stub stub_at(uint32_t place) const {
    const char* stub = page_ + (place - kStubFlag);
    return {load_u64(stub), load_u64(stub + 8)};
  }
  // The key of an entry, from the record or stub; 0 where the page is damaged.
  [[nodiscard]] uint64_t key_of(size_t entry) const {
    const uint32_t place = place_of(entry);
    if (is_record(place)) return record_at(place).key();
    return is_stub(place) ? stub_at(place).key : 0;
  }

 private:
  [[nodiscard]] uint64_t equal_bytes(uint8_t fingerprint, size_t first) const;
  [[nodiscard]] size_t first_match_of_many(uint8_t fingerprint) const;

  // Fingerprints in the first cache line.
  static constexpr size_t kFirstLineEntries = 64 - kPageHeaderBytes;

  const char* page_;
};

namespace page_detail {

// Which of 16 bytes are equal to `byte`, as bits.
[[nodiscard]] inline uint64_t equal_bytes(const char* bytes, uint8_t byte) {
#if defined(__SSE2__)
  const __m128i all = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  const __m128i equal = _mm_cmpeq_epi8(all, _mm_set1_epi8(static_cast<char>(byte)));
  return static_cast<uint32_t>(_mm_movemask_epi8(equal));
#else
  constexpr uint64_t kLow = 0x7F7F7F7F7F7F7F7Fu;
  uint64_t bits = 0;
  for (unsigned half = 0; half < 2; ++half) {
    const uint64_t differ = load_u64(bytes + 8 * half) ^ (byte * uint64_t{0x0101010101010101});
    const uint64_t zero = ~(((differ & kLow) + kLow) | differ | kLow);  // bit 7 of equal bytes
    bits |= ((zero >> 7) * 0x0102040810204080u >> 56) << (8 * half);
  }
  return bits;
#endif
}

}  // namespace page_detail

// 255 fingerprints and 64 bytes more end inside the page.
inline uint64_t PageView::equal_bytes(uint8_t fingerprint, size_t first) const {
  using page_detail::equal_bytes;
  const char* at = page_ + kPageHeaderBytes + first;
  return equal_bytes(at, fingerprint) | equal_bytes(at + 16, fingerprint) << 16 |
         equal_bytes(at + 32, fingerprint) << 32 | equal_bytes(at + 48, fingerprint) << 48;
}

inline uint64_t PageView::matches(uint8_t fingerprint, size_t first) const {
  const uint64_t bits = equal_bytes(fingerprint, first);
  const size_t left = count() - first;
  return left >= 64 ? bits : bits & ((uint64_t{1} << left) - 1);
}

// All that lies in the first cache line, and no byte of the second. Bytes after the last
// fingerprint may be equal as well, but they are not the first.
inline size_t PageView::first_match(uint8_t fingerprint) const {
  using page_detail::equal_bytes;
  if (count() > kFirstLineEntries) [[unlikely]]
    return first_match_of_many(fingerprint);
  const char* at = page_ + kPageHeaderBytes;
  const uint64_t bits = equal_bytes(at, fingerprint) | equal_bytes(at + 16, fingerprint) << 16 |
                        equal_bytes(at + 32, fingerprint) << 32 |
                        equal_bytes(at + kFirstLineEntries - 16, fingerprint)
                            << (kFirstLineEntries - 16);
  return static_cast<size_t>(std::countr_zero(bits));  // 64 if there is none
}

[[gnu::noinline]] inline size_t PageView::first_match_of_many(uint8_t fingerprint) const {
  uint64_t bits = equal_bytes(fingerprint, 0);
  size_t first = 0;
  for (size_t next = 64; next < count(); next += 64) {
    const uint64_t more = equal_bytes(fingerprint, next);
    const bool is_found = bits != 0;
    first = is_found ? first : next;
    bits = is_found ? bits : more;
  }
  return first + static_cast<size_t>(std::countr_zero(bits));
}

// ---- writing ----

// How full a page is, by the sizes of its records alone.
class PageFill {
 public:
  [[nodiscard]] static bool is_large(uint64_t record_bytes) {
    return record_bytes > kPagedRecordBytesMax;
  }

  // Takes a record if there is room for it. An empty page has room for any.
  [[nodiscard]] bool take(uint64_t record_bytes) {
    PageFill next = *this;
    ++next.count_;
    if (is_large(record_bytes)) {
      ++next.large_;
    } else {
      next.bytes_ += static_cast<uint32_t>(record_bytes);
    }
    const bool is_first = count_ == 0;
    const auto size = static_cast<uint32_t>(record_bytes);
    next.stride_ = !is_large(record_bytes) && (is_first || stride_ == size) ? size : 0;
    if (next.count_ > kPageEntriesMax || next.directory_bytes() + next.bytes_ > kPageBytes) {
      return false;
    }
    *this = next;
    return true;
  }

  [[nodiscard]] size_t count() const { return count_; }
  [[nodiscard]] size_t large_count() const { return large_; }
  [[nodiscard]] size_t stride() const { return stride_; }
  [[nodiscard]] size_t record_bytes() const { return bytes_; }

 private:
  [[nodiscard]] size_t directory_bytes() const {
    return kPageHeaderBytes + count_ * (stride_ != 0 ? size_t{1} : 3) + large_ * kPageStubBytes;
  }

  uint32_t count_ = 0;
  uint32_t large_ = 0;
  uint32_t stride_ = 0;
  uint32_t bytes_ = 0;  // of the records inside
};

// Gathers records in key order until the page is full.
class PageBuilder {
 public:
  // Adds a record, or the stub of a large one that will lie at `large_place`; false if the page has
  // to be finished first.
  [[nodiscard]] bool add(uint64_t key, std::string_view record, uint64_t large_place) {
    if (!fill_.take(record.size())) return false;
    const size_t entry = fill_.count() - 1;
    keys_[entry] = key;
    if (PageFill::is_large(record.size())) {
      const size_t at = (fill_.large_count() - 1) * kPageStubBytes;
      store_u64(&stubs_[at], key);
      store_u64(&stubs_[at + 8], large_place);
      places_[entry] = static_cast<uint16_t>(PageView::kStubFlag + at);
    } else {
      const size_t at = fill_.record_bytes() - record.size();
      std::memcpy(&records_[at], record.data(), record.size());
      places_[entry] = static_cast<uint16_t>(at);
    }
    return true;
  }

  [[nodiscard]] bool is_empty() const { return fill_.count() == 0; }
  // REQUIRES: it is not empty.
  [[nodiscard]] uint64_t last_key() const { return keys_[fill_.count() - 1]; }

  // The page, kPageBytes, valid until the next call. The builder is empty then.
  [[nodiscard]] std::string_view finish(uint32_t seed);

 private:
  static constexpr unsigned kSaltsTried = 32;

  [[nodiscard]] uint8_t choose_salt() const;

  PageFill fill_;
  std::array<uint64_t, kPageEntriesMax> keys_;
  std::array<uint16_t, kPageEntriesMax> places_;  // from the first record, or stub
  std::array<char, kPageBytes> stubs_;
  std::array<char, kPageBytes> records_;
  std::array<char, kPageBytes> page_;
};

// The salt with which the fewest keys have a fingerprint that one before them has.
inline uint8_t PageBuilder::choose_salt() const {
  size_t fewest = fill_.count();
  uint8_t best = 0;
  for (unsigned salt = 0; salt < kSaltsTried && fewest > 0; ++salt) {
    uint64_t seen[4] = {};
    size_t repeated = 0;
    for (size_t i = 0; i < fill_.count() && repeated < fewest; ++i) {
      const uint8_t fingerprint = page_fingerprint(keys_[i], static_cast<uint8_t>(salt));
      uint64_t& word = seen[fingerprint / 64];
      const uint64_t bit = uint64_t{1} << (fingerprint % 64);
      repeated += (word & bit) != 0 ? 1 : 0;
      word |= bit;
    }
    if (repeated >= fewest) continue;
    fewest = repeated;
    best = static_cast<uint8_t>(salt);
  }
  return best;
}

inline std::string_view PageBuilder::finish(uint32_t seed) {
  KYRO_CHECK(!is_empty());
  const size_t count = fill_.count();
  const size_t begin = kPageBytes - fill_.record_bytes();
  char* to = page_.data();
  std::memset(to, 0, begin);
  store(to + 4, static_cast<uint16_t>(begin));
  store(to + 6, static_cast<uint16_t>(fill_.stride()));
  to[8] = static_cast<char>(count);
  to[9] = static_cast<char>(fill_.large_count());
  const uint8_t salt = choose_salt();
  to[10] = static_cast<char>(salt);
  to += kPageHeaderBytes;
  for (size_t i = 0; i < count; ++i) *to++ = static_cast<char>(page_fingerprint(keys_[i], salt));
  if (fill_.stride() == 0) {
    const size_t first_stub = kPageHeaderBytes + 3 * count;
    for (size_t i = 0; i < count; ++i, to += 2) {
      const bool is_stub = (places_[i] & PageView::kStubFlag) != 0;
      store(to, static_cast<uint16_t>(places_[i] + (is_stub ? first_stub : begin)));
    }
    std::memcpy(to, stubs_.data(), fill_.large_count() * kPageStubBytes);
  }
  std::memcpy(&page_[begin], records_.data(), fill_.record_bytes());
  store_u32(page_.data(), crc32c(&page_[4], begin - 4, seed));
  fill_ = PageFill();
  return {page_.data(), kPageBytes};
}

}  // namespace kyro
