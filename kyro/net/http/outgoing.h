// What one connection has to send. What is formatted in its turn lies in the reactor's scratch
// output; what the socket does not take of it waits in a queue of the connection's own.
//
// Thread rule: the reactor's thread. Ownership: owns the queue; the connection owns this.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/net/http/reactor_context.h"
#include "kyro/net/io/output_queue.h"
#include "kyro/net/io/socket_calls.h"

namespace kyro {

class Outgoing {
 public:
  // Waiting for a slow reader is refused to nobody up to this: a slice of a stream and its frame.
  static constexpr size_t kSmallBytes = 64 * 1024 + 4096;
  static constexpr size_t kKeptScratchBytes = 1024 * 1024;

  explicit Outgoing(ReactorContext& context) : context_(context) {}
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  // The socket does not take what is there.
  [[nodiscard]] bool blocked() const { return queue_ != nullptr; }
  [[nodiscard]] uint64_t bytes() const { return queue_ ? queue_->bytes() : 0; }
  // Those of them that are memory.
  [[nodiscard]] uint64_t held_bytes() const { return queue_ ? queue_->held_bytes() : 0; }
  // A sign of progress: grows with every piece that has been sent whole.
  [[nodiscard]] uint64_t pieces_sent() const { return queue_ ? queue_->pieces_sent() : 0; }
  // Whether an answer of so many bytes may be begun, which has to be kept where its reader is slow:
  // it and what waits before it are little, or everybody's together are within their bound.
  [[nodiscard]] bool may_keep(size_t bytes) const {
    const uint64_t fresh = context_.out.size() + bytes;
    return bytes <= OutputQueue::kUncountedBytes || fresh + held_bytes() <= kSmallBytes ||
           context_.has_output_room(fresh);
  }
  // What waits is of a body that is made while it is sent: it may take long, at the least rate.
  bool is_paced = false;

  // Bytes that `owner` keeps, after those in context.out.
  void append_shared(std::string_view view, std::shared_ptr<const void> owner) {
    if (queue_ == nullptr) make_queue();
    queue_->append(context_.out);
    clear_scratch();
    queue_->append_shared(view, std::move(owner));
  }

  // Sends what there is. Afterwards context.out is empty; the rest, if any, is kept here.
  [[nodiscard]] OutputQueue::Sent flush(int fd) {
    const OutputQueue::Sent sent = queue_ != nullptr ? flush_queue(fd) : flush_scratch(fd);
    if (sent == OutputQueue::Sent::kAll) is_paced = false;
    return sent;
  }
  void drop() { queue_.reset(); }

 private:
  // Nothing waits: without a queue as long as the socket takes everything.
  [[nodiscard]] OutputQueue::Sent flush_scratch(int fd) {
    const std::string& out = context_.out;
    if (out.empty()) return OutputQueue::Sent::kAll;
    const ssize_t n = send_some(fd, out.data(), out.size());
    const bool is_error = n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    if (is_error || n == static_cast<ssize_t>(out.size())) {
      clear_scratch();
      return is_error ? OutputQueue::Sent::kError : OutputQueue::Sent::kAll;
    }
    make_queue();
    queue_->append(std::string_view(out).substr(n < 0 ? 0 : static_cast<size_t>(n)));
    clear_scratch();
    queue_->count_held();
    return OutputQueue::Sent::kBlocked;
  }
  [[nodiscard]] OutputQueue::Sent flush_queue(int fd) {
    queue_->append(context_.out);
    clear_scratch();
    const OutputQueue::Sent sent = queue_->send(fd);
    queue_->count_held();
    if (sent == OutputQueue::Sent::kAll) queue_.reset();
    return sent;
  }
  void make_queue() { queue_ = std::make_unique<OutputQueue>(context_.shared.output_bytes); }
  void clear_scratch() {
    context_.out.clear();
    if (context_.out.capacity() > kKeptScratchBytes) std::string().swap(context_.out);
  }

  ReactorContext& context_;
  std::unique_ptr<OutputQueue> queue_;  // null: the socket takes everything
};

}  // namespace kyro
