// The bytes of a run, `run-<id>.data`: an immutable file of records in key order, one per key.
//
// Header, 64 bytes:
//    0  8 bytes "KYRO-RUN"
//    8  u32  format version (2)
//   12  u32  0
//   16  u64  id
//   24  36 bytes 0
//   60  u32  crc32c of bytes 0..59
// (Magic, version and checksum stay in these places in every format, so that a newer one can be
// told from damage.)
//
// Body, up to the footer. Version 2, which is written:
//   zeros up to byte 4096
//   pages of 4 KiB (page.h), in key order; the records of a page are in it, but for the large ones
//   large records (record.h), one after another in key order: what the stubs in the pages lead to
// Version 1, which is read:
//   records, one after another in key order
//
// Footer, the last 128 bytes:
//    0  8 bytes "KYRO-END"
//    8  u64  id
//   16  u64  number of records
//   24  u64  of them tombstones
//   32  u64  of them with an expiry
//   40  u64  smallest key
//   48  u64  largest key
//   56  u64  first offset, and
//   64  u64  end offset of the part of the log that this run stands for (not only of what is left)
//   72  u64  bytes of all records
//   80  u32  crc32c of the body
//   84  u32  0
//   88  u64  number of pages (version 1: 0)
//   96  u64  bytes of the large records (version 1: 0)
//  104  20 bytes 0
//  124  u32  crc32c of footer bytes 0..123
//
// Its index is `run-<id>.rmi`, derived from this file and rebuilt at need:
//   what kyro/index/rmi_file.h describes. Its entries are, of each page, (the last key, the number
//   of the page): the smallest entry that is not below a key names the only page that may hold it.
//   In version 1 they are (key, position) of each record.
//   the filter (run_filter.h), a block for each page, and about it u32 bytes of a block, u32 crc32c
//   of that, continued from one of the id. In version 1 there is none.
//   a seal of 32 bytes that ties it to these records and no others:
//    0  8 bytes "KYRO-IDX"
//    8  u64  id of the run
//   16  u64  bytes of all records
//   24  u32  crc32c of the body
//   28  u32  crc32c of seal bytes 0..27
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/crc32c.h"
#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/storage/record.h"
#include "kyro/storage/run/page.h"

namespace kyro {

// What the manifest and the footer say of a run.
struct RunMeta {
  uint64_t id = 0;
  uint64_t records = 0;
  uint64_t tombstones = 0;
  uint64_t expiring = 0;
  uint64_t key_min = 0;
  uint64_t key_max = 0;
  uint64_t first_offset = 0;
  uint64_t end_offset = 0;
  uint64_t record_bytes = 0;
  uint32_t record_crc = 0;  // of the body

  friend bool operator==(const RunMeta&, const RunMeta&) = default;
  [[nodiscard]] bool may_hold(uint64_t key) const { return key_min <= key && key <= key_max; }
};

struct RunHeader {
  char magic[8];
  uint32_t version;
  uint32_t zero;
  uint64_t id;
  uint32_t zeros[9];
  uint32_t crc;
};
static_assert(sizeof(RunHeader) == 64 && offsetof(RunHeader, crc) == 60);

struct RunFooter {
  char magic[8];
  uint64_t id;
  uint64_t records;
  uint64_t tombstones;
  uint64_t expiring;
  uint64_t key_min;
  uint64_t key_max;
  uint64_t first_offset;
  uint64_t end_offset;
  uint64_t record_bytes;
  uint32_t record_crc;
  uint32_t zero;
  uint64_t pages;
  uint64_t large_bytes;
  uint32_t zeros[5];
  uint32_t crc;
};
static_assert(sizeof(RunFooter) == 128 && offsetof(RunFooter, crc) == 124);
static_assert(offsetof(RunFooter, pages) == 88 && offsetof(RunFooter, large_bytes) == 96);

struct IndexSeal {
  char magic[8];
  uint64_t id;
  uint64_t record_bytes;
  uint32_t record_crc;
  uint32_t crc;
};
static_assert(sizeof(IndexSeal) == 32 && offsetof(IndexSeal, crc) == 28);

struct FilterTail {
  uint32_t block_bytes;
  uint32_t crc;
};

inline constexpr uint32_t kRunVersion = 2;
inline constexpr char kRunMagic[9] = "KYRO-RUN";
inline constexpr char kRunEndMagic[9] = "KYRO-END";
inline constexpr char kIndexSealMagic[9] = "KYRO-IDX";
inline constexpr uint64_t kRunHeaderBytes = sizeof(RunHeader);
inline constexpr uint64_t kRunFooterBytes = sizeof(RunFooter);

// Where what lies in a run's body. Without pages it is of version 1.
struct RunBody {
  uint64_t pages = 0;
  uint64_t large_bytes = 0;
  uint64_t end = 0;  // of the body, as all places from the file's beginning

  [[nodiscard]] static RunBody of_records(uint64_t record_bytes) {
    return {0, 0, kRunHeaderBytes + record_bytes};
  }
  // REQUIRES: it fits a file.
  [[nodiscard]] static RunBody of_pages(uint64_t pages, uint64_t large_bytes) {
    return {pages, large_bytes, (1 + pages) * kPageBytes + large_bytes};
  }
  [[nodiscard]] bool is_paged() const { return pages > 0; }
  [[nodiscard]] uint32_t version() const { return is_paged() ? kRunVersion : 1; }
  [[nodiscard]] uint64_t page_begin(uint64_t number) const { return (1 + number) * kPageBytes; }
  [[nodiscard]] uint64_t large_begin() const { return page_begin(pages); }
};

[[nodiscard]] inline std::string run_data_name(uint64_t id) {
  return "run-" + std::to_string(id) + ".data";
}
// Keys and positions on their way to the index, while it is built.
[[nodiscard]] inline std::string run_spool_name(uint64_t id) {
  return "run-" + std::to_string(id) + ".keys.tmp";
}
// The blocks of the filter on their way there.
[[nodiscard]] inline std::string run_filter_spool_name(uint64_t id) {
  return "run-" + std::to_string(id) + ".filter.tmp";
}
[[nodiscard]] inline std::string run_index_name(uint64_t id) {
  return "run-" + std::to_string(id) + ".rmi";
}

// The id in the name of a run's data; nothing for any other name.
[[nodiscard]] inline std::optional<uint64_t> parse_run_name(std::string_view name) {
  const auto id = parse_numbered(name, "run-", ".data");
  return id && run_data_name(*id) == name ? id : std::nullopt;
}
[[nodiscard]] inline RunHeader make_run_header(uint64_t id, uint32_t version = kRunVersion) {
  RunHeader header{};
  std::memcpy(header.magic, kRunMagic, sizeof header.magic);
  header.version = version;
  header.id = id;
  header.crc = crc32c(&header, offsetof(RunHeader, crc));
  return header;
}

[[nodiscard]] inline RunFooter make_run_footer(const RunMeta& meta, const RunBody& body) {
  RunFooter footer{};
  std::memcpy(footer.magic, kRunEndMagic, sizeof footer.magic);
  footer.id = meta.id;
  footer.records = meta.records;
  footer.tombstones = meta.tombstones;
  footer.expiring = meta.expiring;
  footer.key_min = meta.key_min;
  footer.key_max = meta.key_max;
  footer.first_offset = meta.first_offset;
  footer.end_offset = meta.end_offset;
  footer.record_bytes = meta.record_bytes;
  footer.record_crc = meta.record_crc;
  footer.pages = body.pages;
  footer.large_bytes = body.large_bytes;
  footer.crc = crc32c(&footer, offsetof(RunFooter, crc));
  return footer;
}

[[nodiscard]] inline IndexSeal make_index_seal(const RunMeta& meta) {
  IndexSeal seal{};
  std::memcpy(seal.magic, kIndexSealMagic, sizeof seal.magic);
  seal.id = meta.id;
  seal.record_bytes = meta.record_bytes;
  seal.record_crc = meta.record_crc;
  seal.crc = crc32c(&seal, offsetof(IndexSeal, crc));
  return seal;
}

[[nodiscard]] inline FilterTail make_filter_tail(uint64_t id, uint32_t block_bytes) {
  return {block_bytes, crc32c(&block_bytes, sizeof block_bytes, crc32c(&id, sizeof id))};
}

[[nodiscard]] inline RunMeta meta_of(const RunFooter& footer) {
  return {footer.id,           footer.records,   footer.tombstones,   footer.expiring,
          footer.key_min,      footer.key_max,   footer.first_offset, footer.end_offset,
          footer.record_bytes, footer.record_crc};
}

// The footer of the run file `bytes`, if it is undamaged.
[[nodiscard]] inline std::optional<RunFooter> read_run_footer(std::string_view bytes) {
  if (bytes.size() < kRunHeaderBytes + kRunFooterBytes) return std::nullopt;
  const auto footer = load<RunFooter>(bytes.data() + bytes.size() - kRunFooterBytes);
  if (std::memcmp(footer.magic, kRunEndMagic, sizeof footer.magic) != 0 ||
      footer.crc != crc32c(&footer, offsetof(RunFooter, crc))) {
    return std::nullopt;
  }
  return footer;
}

// Checks the header of the run file `bytes`, named `name`. A newer format is kUnsupported.
inline Status check_run_header(std::string_view bytes, uint64_t id, const std::string& name) {
  const auto damaged = [&](const char* what) {
    return Status(Code::kCorruption, name + " at 0: " + what);
  };
  if (bytes.size() < kRunHeaderBytes) return damaged("shorter than a run's header");
  const auto header = load<RunHeader>(bytes.data());
  if (std::memcmp(header.magic, kRunMagic, sizeof header.magic) != 0) {
    return damaged("not a KyroDB run");
  }
  if (header.crc != crc32c(&header, offsetof(RunHeader, crc))) {
    return damaged("the header is damaged");
  }
  if (header.version > kRunVersion) {
    return Status(Code::kUnsupported, name + ": written by a newer KyroDB (run format " +
                                          std::to_string(header.version) + ")");
  }
  return header.id == id ? Status() : damaged("another run, not the one the manifest names");
}

// Whether the header of the run file `bytes` is undamaged and of another run than `id`.
[[nodiscard]] inline bool is_other_run(std::string_view bytes, uint64_t id) {
  if (bytes.size() < kRunHeaderBytes) return false;
  const auto header = load<RunHeader>(bytes.data());
  return header.crc == crc32c(&header, offsetof(RunHeader, crc)) && header.id != id;
}

// The body that header and footer, both undamaged, speak of; nothing if they cannot be of a file of
// `file_bytes`.
[[nodiscard]] inline std::optional<RunBody> read_run_body(const RunHeader& header,
                                                          const RunFooter& footer,
                                                          uint64_t file_bytes) {
  RunBody body = RunBody::of_records(footer.record_bytes);
  if (header.version > 1) {
    if (footer.pages == 0 || footer.pages > file_bytes / kPageBytes) return std::nullopt;
    if (footer.large_bytes > file_bytes) return std::nullopt;
    body = RunBody::of_pages(footer.pages, footer.large_bytes);
  } else if (footer.pages != 0 || footer.large_bytes != 0 || footer.record_bytes > file_bytes) {
    return std::nullopt;
  }
  if (body.end + kRunFooterBytes != file_bytes) return std::nullopt;
  return body;
}

// Checks the two ends of the run file `bytes` (named `name`) against what the manifest says of it,
// and tells where what lies between them.
[[nodiscard]] inline Result<RunBody> check_run_ends(std::string_view bytes, const RunMeta& expected,
                                                    const std::string& name) {
  const auto damaged = [&](uint64_t position, const char* what) {
    return Status(Code::kCorruption, name + " at " + std::to_string(position) + ": " + what);
  };
  KYRO_TRY(check_run_header(bytes, expected.id, name));
  if (bytes.size() < kRunHeaderBytes + kRunFooterBytes) {
    return damaged(bytes.size(), "shorter than a run");
  }
  const auto footer = read_run_footer(bytes);
  if (!footer) return damaged(bytes.size() - kRunFooterBytes, "the footer is damaged");
  const auto body = read_run_body(load<RunHeader>(bytes.data()), *footer, bytes.size());
  if (!body) return damaged(bytes.size(), "its size is not what the footer says");
  if (body->is_paged() && bytes.substr(0, kPageBytes).find_last_not_of('\0') >= kRunHeaderBytes) {
    return damaged(kRunHeaderBytes, "something before the first page");
  }
  if (meta_of(*footer) == expected) return *body;
  return damaged(bytes.size() - kRunFooterBytes, "another run, not the one the manifest names");
}

}  // namespace kyro
