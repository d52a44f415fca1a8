// Torn or damaged? What it means that a segment of the log ends where its last good group ends.
//
//   another segment follows   the last group is a mark that ends the segment, nothing lies after
//                             it, and the next segment was begun at its offset and chained to its
//                             checksum; anything else is damage
//   the last segment          a group that was being written may lie after the good ones: a torn
//                             tail, which the next start cuts off. It is damage if something proves
//                             that this place had been synced: a later group with a higher durable
//                             watermark or written under `always` (a seal is one), or the
//                             manifest's next_offset. So it is if the file is shorter than it was
//                             made, and no mark says that it was ended: an incomplete copy.
//
// Recovery, verify, dump, salvage and the store copy all ask here, so that what one of them takes
// is what every other one takes.
//
// Thread rule: one thread; nobody appends to the segment meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kyro/storage/log/group_search.h"
#include "kyro/storage/log/wal_reader.h"

namespace kyro {

// What the log goes on with after a segment, as far as it is known.
struct SegmentSequel {
  bool is_last = true;
  // Of the last segment: every record below was synced (the manifest's next_offset). Else where the
  // next segment, or for it the manifest, says that this one ends.
  std::optional<uint64_t> offset;
  std::optional<uint32_t> chain_crc;  // what the next segment's header is chained to

  [[nodiscard]] static SegmentSequel none(uint64_t next_offset) {
    return {true, next_offset, std::nullopt};
  }
  [[nodiscard]] static SegmentSequel segment(const SegmentHeader& next) {
    return {false, next.previous_end, next.previous_crc};
  }
  // The next segment cannot be read; a manifest knows where it begins.
  [[nodiscard]] static SegmentSequel unread(const SegmentRef& next) {
    const bool is_described = next.nonce != 0;
    return {false, is_described ? std::optional(next.previous_end) : std::nullopt, std::nullopt};
  }
};

struct SegmentEnd {
  Status damage;            // ok, or kCorruption with name and position
  uint64_t torn_bytes = 0;  // of a torn tail: up to its last byte that is not zero
};

// Whether the process that wrote a log with this last segment, which was read to its end, may have
// acknowledged more than is there, or goes on somewhere else with the offsets that come next.
[[nodiscard]] inline bool may_go_on_elsewhere(const SegmentReader& last) {
  return last.last_kind() == GroupKind::kAbandoned ||
         (last.last_kind() != GroupKind::kSealed && last.last_policy() != FsyncPolicy::kAlways);
}

namespace segment_end_detail {

// The group at a place proves that reader.position() had been synced: what is missing was there.
inline Result<bool> proves_loss(SegmentReader& reader, uint64_t place) {
  GroupHeader header{};
  auto is_group = reader.is_group_at(place, &header);
  KYRO_TRY(is_group);
  return *is_group &&
         (header.durable > reader.next_offset() || header.policy() == FsyncPolicy::kAlways);
}

inline const char* judge_last(const SegmentReader& reader, const SegmentSequel& sequel,
                              uint64_t file_bytes) {
  if (reader.next_offset() < sequel.offset.value_or(0)) {
    return "the log ends here, but the manifest says that it went on";
  }
  if (!is_end_mark(reader.last_kind()) && file_bytes < reader.header().reserved_bytes) {
    return "the log ends here, but the file is shorter than it was made: an incomplete copy";
  }
  return nullptr;
}

inline const char* judge_followed(const SegmentReader& reader, const SegmentSequel& sequel,
                                  bool has_garbage) {
  if (!is_end_mark(reader.last_kind()) || has_garbage) return "a damaged group";
  if ((sequel.offset && *sequel.offset != reader.next_offset()) ||
      (sequel.chain_crc && *sequel.chain_crc != reader.chain_crc())) {
    return "the next segment does not follow this one: one of the two is of another copy";
  }
  return nullptr;
}

}  // namespace segment_end_detail

// Judges the place at which `reader` has stopped. Fails only if the file system does. Reads what is
// after it once.
[[nodiscard]] inline Result<SegmentEnd> judge_segment_end(SegmentReader& reader,
                                                          const SegmentSequel& sequel) {
  using namespace segment_end_detail;
  const uint64_t position = reader.position();
  const auto tail = search_groups(reader.file(), reader.header().nonce, position,
                                  [&](uint64_t place) { return proves_loss(reader, place); });
  KYRO_TRY(tail);
  auto file_bytes = reader.file().size();
  KYRO_TRY(file_bytes);
  SegmentEnd end;
  const bool has_garbage = tail->found || tail->data_end > position;
  const char* what = tail->found      ? "a damaged group"
                     : sequel.is_last ? judge_last(reader, sequel, *file_bytes)
                                      : judge_followed(reader, sequel, has_garbage);
  if (what != nullptr) {
    end.damage =
        Status(Code::kCorruption, reader.name() + " at " + std::to_string(position) + ": " + what);
  } else if (has_garbage) {
    end.torn_bytes = tail->data_end - position;
  }
  return end;
}

}  // namespace kyro
