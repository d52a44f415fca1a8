// What a connection still has to send: pieces of copied bytes and views of memory that someone else
// keeps alive, sent with as few system calls as possible.
//
// Exists only while a socket does not take everything at once, or for large bodies. Copied bytes
// are memory until their piece is sent whole: count_held() keeps a sum over all queues of them.
//
// Thread rule: one thread; the sum is for all.
// Ownership: owns its bytes and holds the owners of the views until sent.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace kyro {

class OutputQueue {
 public:
  enum class Sent : uint8_t {
    kAll,
    kStep,     // a step's worth, and the socket may take more
    kBlocked,  // the socket takes no more
    kError,
  };
  static constexpr size_t kPiecesPerCall = 64;
  static constexpr size_t kStepBytes = 256 * 1024;
  static constexpr uint64_t kUncountedBytes = 4096;

  // `held_sum` outlives the queue.
  explicit OutputQueue(std::atomic<uint64_t>& held_sum) : held_sum_(held_sum) {}
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;
  ~OutputQueue() { count(0); }

  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    if (pieces_.empty() || pieces_.back().owner != nullptr) pieces_.emplace_back();
    pieces_.back().bytes.append(bytes);
    bytes_ += bytes.size();
    held_bytes_ += bytes.size();
  }
  void append_shared(std::string_view view, std::shared_ptr<const void> owner) {
    if (view.empty()) return;
    Piece& piece = pieces_.emplace_back();
    piece.view = view;
    piece.owner = std::move(owner);
    bytes_ += view.size();
  }

  [[nodiscard]] bool empty() const { return bytes_ == 0; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  // Copied bytes, as far as they are memory.
  [[nodiscard]] uint64_t held_bytes() const { return held_bytes_; }
  // To be called when what is left has to wait for the socket.
  void count_held() { count(held_bytes_ < kUncountedBytes ? 0 : held_bytes_); }
  // Grows with every piece that has been sent whole: a sign of progress.
  [[nodiscard]] uint64_t pieces_sent() const { return pieces_sent_; }

  // Sends at most a step, with one call: a client that reads as fast as we send must not hold up
  // the others.
  [[nodiscard]] Sent send(int fd) {
    iovec parts[kPiecesPerCall];
    size_t count = 0;
    size_t asked = 0;
    for (const Piece& piece : pieces_) {
      if (count == kPiecesPerCall || asked == kStepBytes) break;
      const std::string_view rest =
          piece.all().substr(count == 0 ? front_sent_ : 0, kStepBytes - asked);
      parts[count].iov_base = const_cast<char*>(rest.data());
      parts[count++].iov_len = rest.size();
      asked += rest.size();
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) return Sent::kStep;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Sent::kBlocked : Sent::kError;
    }
    drop(static_cast<size_t>(n));
    if (bytes_ == 0) return Sent::kAll;
    return static_cast<size_t>(n) < asked ? Sent::kBlocked : Sent::kStep;
  }

 private:
  struct Piece {
    std::string bytes;
    std::string_view view;  // instead of bytes when owner is set
    std::shared_ptr<const void> owner;
    [[nodiscard]] std::string_view all() const {
      return owner != nullptr ? view : std::string_view(bytes);
    }
  };

  void drop(size_t n) {
    bytes_ -= n;
    front_sent_ += n;
    while (!pieces_.empty() && front_sent_ >= pieces_.front().all().size()) {
      front_sent_ -= pieces_.front().all().size();
      held_bytes_ -= pieces_.front().bytes.size();
      pieces_.pop_front();
      ++pieces_sent_;
    }
  }

  void count(uint64_t bytes) {
    if (bytes == counted_bytes_) return;
    held_sum_.fetch_add(bytes - counted_bytes_, std::memory_order_relaxed);  // modulo 2^64
    counted_bytes_ = bytes;
  }

  std::atomic<uint64_t>& held_sum_;
  std::deque<Piece> pieces_;
  size_t front_sent_ = 0;
  uint64_t bytes_ = 0;
  uint64_t held_bytes_ = 0;
  uint64_t counted_bytes_ = 0;  // of held_bytes_, in held_sum_
  uint64_t pieces_sent_ = 0;
};

}  // namespace kyro
