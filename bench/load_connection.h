// One connection of the load generator: requests that are not answered yet, in order, and the bytes
// that are under way in both directions.
//
// Thread rule: one thread. Ownership: owns its socket.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/protocol.h"
#include "kyro/base/status.h"
#include "kyro/net/io/address.h"

namespace kyro::bench {

class LoadConnection {
 public:
  struct Pending {
    Operation operation;
    uint64_t start_ns = 0;
  };

  LoadConnection(uint32_t pipeline, std::unique_ptr<Protocol> protocol)
      : protocol_(std::move(protocol)), pending_(pipeline) {}
  LoadConnection(LoadConnection&& other) noexcept
      : protocol_(std::move(other.protocol_)),
        pending_(std::move(other.pending_)),
        out_(std::move(other.out_)),
        in_(std::move(other.in_)),
        fd_(std::exchange(other.fd_, -1)) {}
  LoadConnection(const LoadConnection&) = delete;
  LoadConnection& operator=(const LoadConnection&) = delete;
  ~LoadConnection() {
    if (fd_ >= 0) ::close(fd_);
  }

  [[nodiscard]] Status connect(const SocketAddress& address) {
    fd_ = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0 || ::connect(fd_, address.get(), address.size) != 0) {
      return failure("cannot connect");
    }
    const int on = 1;
    if (address.family() != AF_UNIX) setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(fd_, F_SETFL, O_NONBLOCK) != 0) return failure("cannot set up the socket");
    if (protocol_ != nullptr) protocol_->append_greeting(out_);
    return Status();
  }

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] uint32_t pending() const { return count_; }
  [[nodiscard]] bool has_room() const { return count_ < pending_.size(); }
  // The socket did not take everything: flush() again when it is writable.
  [[nodiscard]] bool blocked() const { return sent_ < out_.size(); }
  // Calls visit(pending) for everything that was not answered.
  template <class Visit>
  void for_each_pending(Visit visit) const {
    for (uint32_t i = 0; i < count_; ++i) visit(pending_[(first_ + i) % pending_.size()]);
  }

  // Puts a request in line. REQUIRES: has_room().
  void add(const Operation& operation, uint64_t start_ns) {
    pending_[(first_ + count_++) % pending_.size()] = {operation, start_ns};
    protocol_->append_request(operation, out_);
  }
  [[nodiscard]] Protocol& protocol() { return *protocol_; }

  [[nodiscard]] Status flush() {
    while (blocked()) {
      const ssize_t n = ::send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
      if (n >= 0) {
        sent_ += static_cast<size_t>(n);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return Status();
      } else if (errno != EINTR) {
        return failure("cannot send");
      }
    }
    out_.clear();
    sent_ = 0;
    return Status();
  }

  // Reads once, through `buffer`, and calls visit(pending, answer) for every whole answer. The
  // socket must be readable.
  template <class Visit>
  [[nodiscard]] Status receive(std::span<char> buffer, Visit visit) {
    const ssize_t n = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return Status();
    if (n < 0) return failure("cannot receive");
    if (n == 0) return Status(Code::kIoError, "the server closed a connection");
    std::string_view bytes(buffer.data(), static_cast<size_t>(n));
    if (!in_.empty()) bytes = in_.append(bytes);
    while (count_ != 0) {
      const Pending& next = pending_[first_];
      const Answer answer = protocol_->parse(bytes, next.operation);
      if (answer.kind == Answer::Kind::kMalformed) {
        return Status(Code::kInvalid,
                      "an answer is malformed: " + std::string(bytes.substr(0, 120)));
      }
      bytes.remove_prefix(answer.bytes);
      if (answer.kind == Answer::Kind::kIncomplete) break;
      visit(next, answer);
      if (++first_ == pending_.size()) first_ = 0;
      --count_;
    }
    if (count_ == 0 && !bytes.empty() && !protocol_->may_speak_unasked()) {
      return Status(Code::kInvalid, "the server said something unasked");
    }
    protocol_->append_control(out_);
    if (bytes.size() != in_.size()) in_ = std::string(bytes);
    return Status();
  }

 private:
  [[nodiscard]] static Status failure(const char* what) {
    return Status(Code::kIoError, std::string(what) + ": " + std::strerror(errno));
  }

  std::unique_ptr<Protocol> protocol_;  // null: a connection that only exists
  std::vector<Pending> pending_;        // a ring
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  std::string out_;
  size_t sent_ = 0;
  std::string in_;  // of an answer that is not whole
  int fd_ = -1;
};

}  // namespace kyro::bench
