// Pieces of large records as they were encoded for one subscriber, for the others that come by the
// same place: a record is encoded once for all that keep up with each other.
//
// Bounded: a new piece takes the place of an old one; whoever finds none encodes it itself.
//
// Thread rule: any thread; a mutex, held for moments. Ownership: pieces are immutable and shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kyro/base/counters.h"
#include "kyro/base/mutex.h"
#include "kyro/json/record_encoder.h"

namespace kyro {

class SharedPieces {
 public:
  static constexpr size_t kPieceBytesMax = 64 * 1024;
  static constexpr size_t kPiecesMax = 128;

  // Where a piece begins: in the record with this offset.
  struct Place {
    uint64_t offset = 0;
    RecordEncoder::Progress progress;
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct Piece {
    Place place;
    std::string bytes;
    RecordEncoder::Progress next;  // after it
  };

  // The piece that begins there; null if it is not at hand.
  [[nodiscard]] std::shared_ptr<const Piece> find(const Place& place) {
    const MutexLock lock(mutex_);
    const auto& piece = pieces_[slot_of(place)];
    if (piece == nullptr || piece->place != place) return nullptr;
    found.add();
    return piece;
  }
  void add(const Place& place, std::string bytes, const RecordEncoder::Progress& next) {
    auto piece = std::make_shared<const Piece>(Piece{place, std::move(bytes), next});
    const MutexLock lock(mutex_);
    pieces_[slot_of(place)].swap(piece);
    encoded.add();
  }
  // Gives the memory back: nobody is subscribed.
  void clear() {
    const MutexLock lock(mutex_);
    pieces_.fill(nullptr);
  }

  Counter encoded;
  Counter found;

 private:
  static size_t slot_of(const Place& place) {
    const uint64_t phase = static_cast<uint64_t>(place.progress.phase);
    const uint64_t mixed = (place.offset * 7 + phase) * 131 + place.progress.value_bytes / 4096;
    return static_cast<size_t>(mixed % kPiecesMax);
  }

  Mutex mutex_;
  std::array<std::shared_ptr<const Piece>, kPiecesMax> pieces_ KYRO_GUARDED_BY(mutex_);
};

}  // namespace kyro
