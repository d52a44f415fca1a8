// The flat index file: its layout, and the validation that makes it safe to read.
//
//   header     64 B   RmiHeader: magic, version, what is known before the first slot
//   slots      16 B   each {key u64, position u64}, ascending; `slot_count` of them
//   words       8 B   each a model word (below); words [0, root_fanout) belong to the root, the
//   next
//                     two to the outliers below and above the root's range
//   zooms      32 B   each RmiZoom
//   block CRCs  4 B   each CRC32C of one 64 KiB block of slots (the last may be shorter); padded
//                     with zeros to a multiple of 8
//   trailer   192 B   RmiTrailer: every size and bound, CRCs, magic
//
// The trailer stands last, and the slots stand before the model, so that a builder writes the file
// in one pass through an append-only sink and never holds a slot in memory.
//
// Slots. `entry_count` different entries lie in key order; the gaps between them repeat the entry
// to their right, and `slots_used` ends after the last entry. After that come copies of the last
// entry, at least `scan_slots()` after every possible prediction, so a bounded scan needs no end
// test.
//
// Model word: bits 0-1 type, bits 2-39 `base`, bits 40-63 `width`.
//   leaf    the slots [base, base + width); width 0 = an empty bucket, base = the next bucket's
//   inner   `width` child words from word `base`; the child is the high word of fraction × width,
//           the low word is the fraction inside that child
//   zoom    zooms[base]: a model of its own, for keys that fill a small part of their bucket
//   search  the slots [base, base + width), densely filled, found by binary search
// References only go forward (base > the index of the referring word), so a descent ends.
//
// Validation never trusts a number: after open_rmi_file() has passed, every word leads to words,
// zooms and slots inside the span, whatever the bytes are. The slots themselves are not read.
//
// Thread rule: pure functions and values. Ownership: the layout points into the caller's span.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "kyro/base/coding.h"
#include "kyro/base/crc32c.h"
#include "kyro/base/status.h"

namespace kyro {

// One key and the opaque position of its record; also the layout of a slot.
struct IndexEntry {
  uint64_t key;
  uint64_t position;
  friend bool operator==(const IndexEntry&, const IndexEntry&) = default;
};
static_assert(sizeof(IndexEntry) == 16);

inline constexpr uint64_t kRmiHeaderMagic = 0x31494D524F52594Bull;   // "KYRORMI1"
inline constexpr uint64_t kRmiTrailerMagic = 0x54494D524F52594Bull;  // "KYRORMIT"
inline constexpr uint32_t kRmiVersion = 2;
inline constexpr uint64_t kRmiBlockBytes = 64 * 1024;
inline constexpr uint64_t kRmiBlockSlots = kRmiBlockBytes / sizeof(IndexEntry);
inline constexpr uint32_t kRmiDepthMax = 32;              // levels below the root
inline constexpr uint32_t kRmiDisplacementMax = 2048;     // a scan stays within two blocks
inline constexpr uint64_t kRmiSlotCountMax = 1ull << 37;  // fits a word's base with room to add

enum class RmiWordType : uint64_t { kLeaf = 0, kInner = 1, kZoom = 2, kSearch = 3 };
inline constexpr uint64_t kRmiWidthMax = (1ull << 24) - 1;

inline constexpr uint64_t kRmiBaseMask = (1ull << 40) - 1;  // the word without its width

[[nodiscard]] constexpr uint64_t make_rmi_word(RmiWordType type, uint64_t base, uint64_t width) {
  return (width << 40) | (base << 2) | static_cast<uint64_t>(type);
}
[[nodiscard]] constexpr RmiWordType rmi_word_type(uint64_t word) {
  return static_cast<RmiWordType>(word & 3u);
}
[[nodiscard]] constexpr uint64_t rmi_word_width(uint64_t word) {
  return word >> 40;
}
[[nodiscard]] constexpr uint64_t rmi_word_base(uint64_t word) {
  return (word & kRmiBaseMask) >> 2;
}

// The 128-bit product every level is made of: which child, and where inside it.
struct RmiProduct {
  uint64_t high;
  uint64_t low;
};
[[nodiscard]] inline RmiProduct rmi_multiply(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return {static_cast<uint64_t>(product >> 64), static_cast<uint64_t>(product)};
}

struct RmiZoom {
  uint64_t low_key;  // the smallest key under it; smaller ones are treated as this one
  uint64_t span;     // largest minus smallest key; larger distances are treated as this one
  uint64_t scale;    // high word of distance × scale = the child
  uint64_t inner;    // a word of type inner: where the children are and how many
};
static_assert(sizeof(RmiZoom) == 32);

struct RmiHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t entry_count;
  uint64_t min_key;
  uint64_t max_key;
  std::array<uint64_t, 2> reserved;
  uint32_t reserved_word;
  uint32_t crc;  // CRC32C of the 60 bytes before it
};
static_assert(sizeof(RmiHeader) == 64);

struct RmiTrailer {
  uint64_t entry_count;   // different keys
  uint64_t min_key;       // with no entries: 2^64-1
  uint64_t max_key;       // with no entries: 0
  uint64_t position_max;  // the largest position in any slot
  uint64_t slots_offset;  // bytes from the start of the file, as all offsets
  uint64_t slot_count;    // with the copies after the last entry
  uint64_t slots_used;    // up to and with the last entry
  uint64_t words_offset;
  uint64_t word_count;
  uint64_t zooms_offset;
  uint64_t zoom_count;
  uint64_t block_crcs_offset;
  uint64_t block_count;
  uint64_t root_scale;
  uint64_t root_fanout;       // words; two more follow: of the outliers below, and of those above
  uint64_t leaf_count;        // leaf and search words that hold keys
  uint64_t node_count;        // inner nodes with the root
  uint32_t displacement_max;  // slots a key lies after its prediction at most
  uint32_t gap_run_max;       // slots in a row that repeat an entry at most
  uint32_t depth;             // levels below the root that a descent takes at most
  uint32_t model_crc;         // CRC32C of words, zooms and block CRCs with their padding
  uint64_t root_low;          // the root model's range: keys in [root_low, root_low + root_span];
  uint64_t root_span;         // keys outside it are outliers
  uint64_t reserved;
  uint32_t version;
  uint32_t crc;  // CRC32C of the header and of this trailer's 180 bytes before it
  uint64_t magic;
};
static_assert(sizeof(RmiTrailer) == 192);
static_assert(offsetof(RmiTrailer, crc) == 180);

// A validated file: numbers by value, arrays inside the caller's span.
struct RmiLayout {
  RmiTrailer trailer;
  const IndexEntry* slots;
  const uint64_t* words;
  const RmiZoom* zooms;
  const uint32_t* block_crcs;
  uint64_t file_bytes;
};

// Slots that a lookup may examine, from the first of the predicted cache line: the displacement,
// the key itself, one more for an absent key; in groups of eight.
[[nodiscard]] constexpr uint64_t rmi_scan_slots(uint32_t displacement_max) {
  return (uint64_t{displacement_max} + 2 + 7) / 8 * 8;
}

[[nodiscard]] constexpr uint64_t rmi_block_count(uint64_t slot_count) {
  return (slot_count + kRmiBlockSlots - 1) / kRmiBlockSlots;
}
[[nodiscard]] constexpr uint64_t rmi_block_crcs_bytes(uint64_t block_count) {
  return (block_count * 4 + 7) / 8 * 8;
}

namespace rmi_file_detail {

[[nodiscard]] inline Status damaged(const char* what) {
  return Status(Code::kCorruption, std::string("index file: ") + what);
}

// Every offset follows from the counts, so the counts are checked against the file's size and the
// offsets against the counts. All sums stay far below 2^64 once each count fits the file.
[[nodiscard]] inline Status check_sizes(const RmiTrailer& t, uint64_t file_bytes) {
  if (t.slot_count > file_bytes / sizeof(IndexEntry) || t.slot_count > kRmiSlotCountMax ||
      t.word_count > file_bytes / 8 || t.zoom_count > file_bytes / sizeof(RmiZoom)) {
    return damaged("a section is larger than the file");
  }
  const uint64_t words = sizeof(RmiHeader) + t.slot_count * sizeof(IndexEntry);
  const uint64_t zooms = words + t.word_count * 8;
  const uint64_t crcs = zooms + t.zoom_count * sizeof(RmiZoom);
  const uint64_t blocks = rmi_block_count(t.slot_count);
  const uint64_t end = crcs + rmi_block_crcs_bytes(blocks) + sizeof(RmiTrailer);
  if (t.slots_offset != sizeof(RmiHeader) || t.words_offset != words || t.zooms_offset != zooms ||
      t.block_crcs_offset != crcs || t.block_count != blocks || end != file_bytes) {
    return damaged("the sections do not fill the file");
  }
  return Status();
}

[[nodiscard]] inline Status check_bounds(const RmiTrailer& t) {
  if (t.displacement_max > kRmiDisplacementMax || t.depth > kRmiDepthMax) {
    return damaged("a bound is beyond what this version allows");
  }
  if (t.entry_count == 0) {
    if (t.slot_count != 0 || t.word_count != 0 || t.zoom_count != 0 || t.slots_used != 0 ||
        t.min_key != ~uint64_t{0} || t.max_key != 0) {
      return damaged("an empty index has content");
    }
    return Status();
  }
  if (t.min_key > t.max_key || t.entry_count > t.slots_used || t.slots_used > t.slot_count) {
    return damaged("counts or key range contradict each other");
  }
  if (t.slot_count - t.slots_used < rmi_scan_slots(t.displacement_max)) {
    return damaged("too few slots after the last entry");
  }
  if (t.root_low < t.min_key || t.root_low > t.max_key || t.root_span > t.max_key - t.root_low) {
    return damaged("the root's range is not inside the range of the keys");
  }
  if (t.root_fanout == 0 || t.root_fanout > t.word_count || t.word_count - t.root_fanout < 2 ||
      rmi_multiply(t.root_span, t.root_scale).high >= t.root_fanout) {
    return damaged("the root leads outside its children");
  }
  return Status();
}

// True if `word`, standing at `index` (or reached through a word that does), stays inside.
[[nodiscard]] inline bool word_is_inside(const RmiLayout& layout, uint64_t word, uint64_t index) {
  const RmiTrailer& t = layout.trailer;
  const uint64_t base = rmi_word_base(word);
  const uint64_t width = rmi_word_width(word);
  switch (rmi_word_type(word)) {
    case RmiWordType::kLeaf:
    case RmiWordType::kSearch:
      return base + width + rmi_scan_slots(t.displacement_max) <= t.slot_count;
    case RmiWordType::kInner:
      return width > 0 && base > index && base < t.word_count && width <= t.word_count - base;
    case RmiWordType::kZoom: {
      if (base >= t.zoom_count) return false;
      const RmiZoom& zoom = layout.zooms[base];
      return rmi_word_type(zoom.inner) == RmiWordType::kInner &&
             rmi_multiply(zoom.span, zoom.scale).high < rmi_word_width(zoom.inner) &&
             word_is_inside(layout, zoom.inner, index);
    }
  }
  return false;
}

// The word that says where the children are, if `word` has any.
[[nodiscard]] inline uint64_t inner_of(const RmiLayout& layout, uint64_t word) {
  return rmi_word_type(word) == RmiWordType::kZoom ? layout.zooms[rmi_word_base(word)].inner : word;
}

// Every word leads to places inside the file, is the child of one other, and lies at most
// kRmiDepthMax levels deep, so that a descent is short whatever the bytes are.
[[nodiscard]] inline Status check_words(const RmiLayout& layout) {
  const RmiTrailer& t = layout.trailer;
  uint64_t unclaimed = t.word_count - (t.entry_count > 0 ? t.root_fanout + 2 : 0);
  std::vector<uint8_t> levels(static_cast<size_t>(t.word_count));
  for (uint64_t i = 0; i < t.word_count; ++i) {
    if (!word_is_inside(layout, layout.words[i], i)) {
      return damaged("a model word leads outside the file");
    }
    const uint64_t inner = inner_of(layout, layout.words[i]);
    if (rmi_word_type(inner) != RmiWordType::kInner) continue;
    const uint64_t children = rmi_word_width(inner);
    if (children > unclaimed) return damaged("a model word has two parents");
    unclaimed -= children;
    const auto level = static_cast<uint8_t>(levels[i] + 1);
    if (level > t.depth) return damaged("the model is deeper than it says");
    std::fill_n(levels.begin() + static_cast<ptrdiff_t>(rmi_word_base(inner)), children, level);
  }
  return Status();
}

[[nodiscard]] inline Status check_checksums(std::span<const std::byte> bytes,
                                            const RmiHeader& header, const RmiTrailer& trailer) {
  const std::byte* end = bytes.data() + bytes.size();
  if (crc32c(bytes.data(), offsetof(RmiHeader, crc)) != header.crc) {
    return damaged("header checksum");
  }
  const uint32_t crc = crc32c(end - sizeof(RmiTrailer), offsetof(RmiTrailer, crc),
                              crc32c(bytes.data(), sizeof(RmiHeader)));
  if (crc != trailer.crc) return damaged("trailer checksum");
  return Status();
}

}  // namespace rmi_file_detail

// kUnsupported for a file of a newer format: magic, version and the header's checksum stay in their
// places in every format, so that it can be told from damage, which is for open_rmi_file() to find.
[[nodiscard]] inline Status check_rmi_version(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(RmiHeader)) return Status();
  const auto header = load<RmiHeader>(bytes.data());
  if (header.magic != kRmiHeaderMagic || header.version <= kRmiVersion ||
      header.crc != crc32c(&header, offsetof(RmiHeader, crc))) {
    return Status();
  }
  return Status(Code::kUnsupported,
                "written by a newer KyroDB (index format " + std::to_string(header.version) + ")");
}

// Reads header and trailer and checks sizes, checksums of all but the slots, and every model word.
// `bytes` is the whole file at an address divisible by 8. Time: linear in the model, not the slots.
// Errors: kCorruption, kUnsupported for a newer version.
[[nodiscard]] inline Result<RmiLayout> open_rmi_file(std::span<const std::byte> bytes) {
  using rmi_file_detail::damaged;
  KYRO_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % 8 == 0);
  if (bytes.size() < sizeof(RmiHeader) + sizeof(RmiTrailer)) return damaged("too short");
  const auto header = load<RmiHeader>(bytes.data());
  if (header.magic != kRmiHeaderMagic) return damaged("not an index file");
  KYRO_TRY(check_rmi_version(bytes));
  if (header.version < kRmiVersion) return damaged("an older format, to be built anew");
  RmiLayout layout{};
  layout.file_bytes = bytes.size();
  layout.trailer = load<RmiTrailer>(bytes.data() + bytes.size() - sizeof(RmiTrailer));
  const RmiTrailer& t = layout.trailer;
  if (t.magic != kRmiTrailerMagic) return damaged("no trailer: torn or unfinished");
  KYRO_TRY(rmi_file_detail::check_checksums(bytes, header, t));
  if (header.version != kRmiVersion || t.version != kRmiVersion ||
      header.header_bytes != sizeof(RmiHeader) || header.entry_count != t.entry_count ||
      header.min_key != t.min_key || header.max_key != t.max_key) {
    return damaged("header and trailer differ");
  }
  KYRO_TRY(rmi_file_detail::check_sizes(t, bytes.size()));
  KYRO_TRY(rmi_file_detail::check_bounds(t));
  layout.slots = reinterpret_cast<const IndexEntry*>(bytes.data() + t.slots_offset);
  layout.words = reinterpret_cast<const uint64_t*>(bytes.data() + t.words_offset);
  layout.zooms = reinterpret_cast<const RmiZoom*>(bytes.data() + t.zooms_offset);
  layout.block_crcs = reinterpret_cast<const uint32_t*>(bytes.data() + t.block_crcs_offset);
  const size_t model_bytes = bytes.size() - sizeof(RmiTrailer) - t.words_offset;
  if (crc32c(layout.words, model_bytes) != t.model_crc) return damaged("model checksum");
  KYRO_TRY(rmi_file_detail::check_words(layout));
  return layout;
}

}  // namespace kyro
