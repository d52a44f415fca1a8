// Finds places of a log segment where a group may begin, from wherever one looks.
//
// Groups have no fixed places, but each repeats the segment's nonce, 64 random bits that no client
// has seen: where the nonce stands, a group's header may lie around it. What is found is a place to
// try: only its checksum tells whether a group is there.
//
// Thread rule: pure reading; the file may be appended to meanwhile.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/storage/fs/file.h"
#include "kyro/storage/log/wal_format.h"

namespace kyro {

// The places in one piece of a segment, in order.
class GroupPlaces {
 public:
  static constexpr uint64_t kNonceAt = offsetof(GroupHeader, nonce);

  // `bytes` lie at `position` of the file.
  GroupPlaces(std::string_view bytes, uint64_t position, uint64_t nonce)
      : rest_(bytes), position_(position), nonce_(nonce) {}

  // The position in the file of the next place; false if there is none in this piece.
  [[nodiscard]] bool next(uint64_t* place) {
    const void* hit = memmem(rest_.data(), rest_.size(), &nonce_, sizeof nonce_);
    if (hit == nullptr) return false;
    const auto at = static_cast<size_t>(static_cast<const char*>(hit) - rest_.data());
    *place = position_ + at - kNonceAt;
    rest_.remove_prefix(at + 1);
    position_ += at + 1;
    return true;
  }

 private:
  std::string_view rest_;
  uint64_t position_;  // of rest_
  const uint64_t nonce_;
};

// The length of `bytes` without the zeros at their end.
[[nodiscard]] inline size_t used_bytes(std::string_view bytes) {
  size_t n = bytes.size();
  while (n >= 8 && load_u64(bytes.data() + n - 8) == 0) n -= 8;
  while (n > 0 && bytes[n - 1] == '\0') --n;
  return n;
}

struct GroupSearchResult {
  bool found = false;     // visit() has ended the search
  uint64_t data_end = 0;  // else: after the last byte that is not zero; where the search began if
                          // there is none
};

// Calls visit(place) -> Result<bool> for every place at or after byte `from` of the file, until it
// returns true. Reads what is not reserved blocks once, in bounded pieces.
template <class Visit>
[[nodiscard]] Result<GroupSearchResult> search_groups(File& file, uint64_t nonce, uint64_t from,
                                                      Visit visit) {
  constexpr uint64_t kPieceBytes = 1u << 20;
  constexpr size_t kOverlapBytes = sizeof nonce - 1;
  GroupSearchResult result{false, from};
  auto size = file.size();
  KYRO_TRY(size);
  const uint64_t rest = *size > from ? *size - from : 0;
  std::string piece(std::min(rest, kPieceBytes) + kOverlapBytes, '\0');
  for (uint64_t at = from; at < *size; at += kPieceBytes) {
    auto data_at = file.next_data(at);
    KYRO_TRY(data_at);
    at = *data_at;
    if (at >= *size) break;
    auto got = file.read_at(at, piece.data(), piece.size());
    KYRO_TRY(got);
    const std::string_view bytes(piece.data(), *got);
    const size_t used = used_bytes(bytes);
    if (used == 0) continue;
    result.data_end = at + used;
    uint64_t place = 0;
    for (GroupPlaces places(bytes, at, nonce); places.next(&place);) {
      if (place < from || place > at + *got) continue;  // its header begins before `from`
      auto found = visit(place);
      KYRO_TRY(found);
      if (!*found) continue;
      result.found = true;
      return result;
    }
  }
  return result;
}

}  // namespace kyro
