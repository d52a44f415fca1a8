// The streams of one HTTP/2 connection (RFC 9113 section 5.1).
//
// A stream is idle while its number is above the newest one, open while it is in the table, and
// closed after that. Since clients count upwards, the table is sorted by number as it is appended
// to. Of the streams that closed last it is remembered how they closed, since what a late frame
// means depends on that.
//
// Thread rule: one thread. Ownership: the table owns the streams; a pointer is valid until close().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kyro/net/http2/frame.h"

namespace kyro {

struct Http2Stream {
  uint32_t id = 0;
  bool remote_ended = false;  // the client has sent END_STREAM
  bool local_ended = false;   // we have
  bool has_length = false;    // a content-length was announced
  uint64_t length_left = 0;   // of it
  int64_t send_window = 0;    // below 0 after a change of settings
  int64_t receive_window = 0;
  uint32_t unreturned = 0;  // taken off receive_window and not yet given back
  void* user = nullptr;     // of whoever answers
};

// How a stream has been closed.
enum class Http2Closed : uint8_t {
  kUnknown,  // long ago, or never opened
  kEnded,    // both sides had ended it
  kByPeer,   // RST_STREAM came
  kByUs,     // we sent RST_STREAM: frames that were under way are no fault
};

class Http2Streams {
 public:
  // Both by their number. Null where it is not open.
  [[nodiscard]] Http2Stream* find(uint32_t id) const {
    const auto found = place_of(id);
    return found != open_.end() && (*found)->id == id ? found->get() : nullptr;
  }
  [[nodiscard]] Http2Closed how_closed(uint32_t id) const {
    if (std::find(ended_.begin(), ended_.end(), id) != ended_.end()) return Http2Closed::kEnded;
    if (reset_ == nullptr) return Http2Closed::kUnknown;
    for (const ResetStream& reset : *reset_) {
      if (reset.id == id) return reset.how;
    }
    return Http2Closed::kUnknown;
  }

  // The highest number that was opened; higher ones are idle.
  [[nodiscard]] uint32_t newest() const { return newest_; }
  [[nodiscard]] size_t count() const { return open_.size(); }

  // REQUIRES id > newest().
  Http2Stream& open(uint32_t id) {
    newest_ = id;
    if (spare_ == nullptr) spare_ = std::make_unique<Http2Stream>();
    *spare_ = Http2Stream{.id = id};
    open_.push_back(std::move(spare_));
    return *open_.back();
  }
  void close(Http2Stream& stream, Http2Closed how) {
    remember(stream.id, how);
    const auto found = place_of(stream.id);
    spare_ = std::move(*found);
    open_.erase(found);
  }
  // The number has been used, but no stream came of it.
  void refuse(uint32_t id) {
    newest_ = id;
    remember(id, Http2Closed::kByUs);
  }

  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& stream : open_) visit(*stream);
  }

 private:
  // Most streams end as they should; those that are reset are remembered for longer.
  static constexpr size_t kEndedRemembered = 16;
  static constexpr size_t kResetRemembered = 128;
  struct ResetStream {
    uint32_t id = 0;
    Http2Closed how = Http2Closed::kUnknown;
  };
  using Open = std::vector<std::unique_ptr<Http2Stream>>;

  [[nodiscard]] Open::const_iterator place_of(uint32_t id) const {
    return std::lower_bound(
        open_.begin(), open_.end(), id,
        [](const auto& stream, uint32_t wanted) { return stream->id < wanted; });
  }
  [[nodiscard]] Open::iterator place_of(uint32_t id) {
    return open_.begin() + (std::as_const(*this).place_of(id) - open_.cbegin());
  }
  void remember(uint32_t id, Http2Closed how) {
    if (how == Http2Closed::kEnded) {
      ended_[next_ended_++ % kEndedRemembered] = id;
      return;
    }
    if (reset_ == nullptr) reset_ = std::make_unique<std::array<ResetStream, kResetRemembered>>();
    (*reset_)[next_reset_++ % kResetRemembered] = {id, how};
  }

  Open open_;                           // by number
  std::unique_ptr<Http2Stream> spare_;  // so that one request after the other allocates nothing
  uint32_t newest_ = 0;
  size_t next_ended_ = 0;
  size_t next_reset_ = 0;
  std::array<uint32_t, kEndedRemembered> ended_{};  // both are rings
  std::unique_ptr<std::array<ResetStream, kResetRemembered>> reset_;
};

}  // namespace kyro
