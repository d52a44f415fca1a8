// The streams of one HTTP/2 connection (RFC 9113 section 5.1).
//
// A stream is idle while its number is above the newest one, open while it is in the table, and
// closed after that. Since clients count upwards, the table is sorted by number as it is appended
// to; since most streams end in the order in which they began, what has ended in front is taken out
// when more must be appended. Of the streams that closed last it is remembered how they closed,
// since what a late frame means depends on that.
//
// Thread rule: one thread. Ownership: streams are the pool's, which outlives its tables; a pointer
// is valid until close().
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
  int32_t send_window = 0;    // below 0 after a change of settings
  int32_t receive_window = 0;
  uint32_t unreturned = 0;  // taken off receive_window and not yet given back
  void* user = nullptr;     // of whoever answers
};

// Streams of which no table has need just now, so that requests at work allocate none.
class Http2StreamPool {
 public:
  static constexpr size_t kPooledMax = 512;

  [[nodiscard]] std::unique_ptr<Http2Stream> take() {
    if (free_.empty()) return std::make_unique<Http2Stream>();
    std::unique_ptr<Http2Stream> stream = std::move(free_.back());
    free_.pop_back();
    return stream;
  }
  void give_back(std::unique_ptr<Http2Stream> stream) {
    if (free_.size() < kPooledMax) free_.push_back(std::move(stream));
  }

 private:
  std::vector<std::unique_ptr<Http2Stream>> free_;
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
  explicit Http2Streams(Http2StreamPool& pool) : pool_(pool) {}
  Http2Streams(const Http2Streams&) = delete;
  Http2Streams& operator=(const Http2Streams&) = delete;
  ~Http2Streams() {
    for (size_t i = first_; i < open_.size(); ++i) pool_.give_back(std::move(open_[i]));
  }

  // Both by their number. Null where it is not open.
  [[nodiscard]] Http2Stream* find(uint32_t id) const {
    if (open_.empty() || id > newest_) return nullptr;
    if (open_.back()->id == id) return open_.back().get();  // whose body comes
    const size_t at = place_of(id);
    return at != open_.size() && open_[at]->id == id ? open_[at].get() : nullptr;
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
  [[nodiscard]] size_t count() const { return open_.size() - first_; }

  // REQUIRES id > newest().
  Http2Stream& open(uint32_t id) {
    newest_ = id;
    if (first_ != 0 && open_.size() == open_.capacity()) {
      open_.erase(open_.begin(), open_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
    Http2Stream& stream = *open_.emplace_back(pool_.take());
    stream = Http2Stream{.id = id};
    return stream;
  }
  void close(Http2Stream& stream, Http2Closed how) {
    remember(stream.id, how);
    const size_t at = open_[first_].get() == &stream ? first_ : place_of(stream.id);
    pool_.give_back(std::move(open_[at]));
    if (at == first_) {
      ++first_;
    } else {
      open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (first_ != open_.size()) return;
    open_.clear();
    first_ = 0;
  }
  // The number has been used, but no stream came of it.
  void refuse(uint32_t id) {
    newest_ = id;
    remember(id, Http2Closed::kByUs);
  }

  template <class Visit>
  void for_each(Visit visit) const {
    for (size_t i = first_; i < open_.size(); ++i) visit(*open_[i]);
  }

 private:
  // Most streams end as they should; those that are reset are remembered for longer.
  static constexpr size_t kEndedRemembered = 16;
  static constexpr size_t kResetRemembered = 128;
  struct ResetStream {
    uint32_t id = 0;
    Http2Closed how = Http2Closed::kUnknown;
  };

  // Where the stream is, or the first with a higher number.
  [[nodiscard]] size_t place_of(uint32_t id) const {
    const auto from = open_.begin() + static_cast<std::ptrdiff_t>(first_);
    const auto found =
        std::lower_bound(from, open_.end(), id,
                         [](const auto& stream, uint32_t wanted) { return stream->id < wanted; });
    return static_cast<size_t>(found - open_.begin());
  }
  void remember(uint32_t id, Http2Closed how) {
    if (how == Http2Closed::kEnded) {
      ended_[next_ended_++ % kEndedRemembered] = id;
      return;
    }
    if (reset_ == nullptr) reset_ = std::make_unique<std::array<ResetStream, kResetRemembered>>();
    (*reset_)[next_reset_++ % kResetRemembered] = {id, how};
  }

  Http2StreamPool& pool_;
  std::vector<std::unique_ptr<Http2Stream>> open_;  // by number, null before first_
  size_t first_ = 0;                                // 0 where none is open
  uint32_t newest_ = 0;
  uint32_t next_ended_ = 0;
  uint32_t next_reset_ = 0;
  std::array<uint32_t, kEndedRemembered> ended_{};  // both are rings
  std::unique_ptr<std::array<ResetStream, kResetRemembered>> reset_;
};

}  // namespace kyro
