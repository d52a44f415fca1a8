// Listening sockets: bind with errors a person can act on, accept with a plan for running out of
// descriptors.
//
// Unix sockets: a stale one (nobody answers) is replaced, a live one and anything that is not a
// socket never is. The path is removed at the end if it is still ours.
//
// Thread rule: open and destroy while no reactor uses it; accept() from any reactor.
// Ownership: owns its descriptor and, for Unix sockets, the path.
#pragma once

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "kyro/base/status.h"
#include "kyro/net/io/address.h"

namespace kyro {

class Listener {
 public:
  static constexpr int kBacklog = 4096;

  // Listens on an IP literal or "localhost"; port 0 lets the kernel choose. "::" takes IPv4 too.
  [[nodiscard]] static Result<std::unique_ptr<Listener>> open_tcp(const std::string& host,
                                                                  uint16_t port) {
    Result<SocketAddress> parsed = parse_ip_address(host, port);
    KYRO_TRY(parsed);
    SocketAddress& address = parsed.value();
    const bool v6 = address.family() == AF_INET6;
    const std::string name = format_host_port(host, port);
    auto listener = std::unique_ptr<Listener>(new Listener(address.family()));
    if (listener->fd_ < 0) return listener->failure(name);
    const int on = 1;
    const int off = 0;
    setsockopt(listener->fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener->fd_, IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof on);  // accepted ones inherit it
    if (v6) setsockopt(listener->fd_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(listener->fd_, address.get(), address.size) != 0 ||
        listen(listener->fd_, kBacklog) != 0) {
      return listener->failure(name);
    }
    if (getsockname(listener->fd_, address.get(), &address.size) != 0) {
      return listener->failure(name);
    }
    listener->port_ = address.peer().port;
    return listener;
  }

  // Listens on a Unix socket with the given permission bits.
  [[nodiscard]] static Result<std::unique_ptr<Listener>> open_unix(const std::string& path,
                                                                   uint32_t mode) {
    Result<SocketAddress> parsed = unix_address(path);
    KYRO_TRY(parsed);
    const SocketAddress& address = parsed.value();
    KYRO_TRY(remove_stale(path, address));
    auto listener = std::unique_ptr<Listener>(new Listener(AF_UNIX));
    if (listener->fd_ < 0) return listener->failure(path);
    // Before bind, so that the socket is never more open than asked; after it for what umask took.
    fchmod(listener->fd_, static_cast<mode_t>(mode));
    if (bind(listener->fd_, address.get(), address.size) != 0) return listener->failure(path);
    struct stat made {};
    if (lstat(path.c_str(), &made) == 0) {
      listener->path_ = path;
      listener->inode_ = made.st_ino;
    }
    if (chmod(path.c_str(), static_cast<mode_t>(mode)) != 0 ||
        listen(listener->fd_, kBacklog) != 0) {
      return listener->failure(path);
    }
    return listener;
  }

  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() {
    if (fd_ >= 0) ::close(fd_);
    struct stat now {};
    if (!path_.empty() && lstat(path_.c_str(), &now) == 0 && now.st_ino == inode_) {
      unlink(path_.c_str());
    }
  }

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] uint16_t port() const { return port_; }  // 0 for a Unix socket
  [[nodiscard]] bool is_unix() const { return family_ == AF_UNIX; }

  // There is one to be accepted.
  [[nodiscard]] bool has_pending() const {
    pollfd state{fd_, POLLIN, 0};
    return poll(&state, 1, 0) == 1;
  }
  // The next connection, non-blocking, or -1 with errno.
  [[nodiscard]] int accept(PeerAddress* peer) const {
    if (is_unix()) return accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    SocketAddress address;
    address.size = sizeof address.storage;
    const int fd = accept4(fd_, address.get(), &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) *peer = address.peer();
    return fd;
  }

 private:
  explicit Listener(int family)
      : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), family_(family) {}

  [[nodiscard]] static Status failure(const std::string& name) {
    const int error = errno;
    const std::string reason = error == EADDRINUSE      ? "address in use"
                               : error == EACCES        ? "permission denied"
                               : error == EADDRNOTAVAIL ? "not an address of this machine"
                                                        : std::strerror(error);
    return Status(error == EADDRINUSE ? Code::kBusy : Code::kIoError, name + ": " + reason);
  }

  [[nodiscard]] static Status remove_stale(const std::string& path, const SocketAddress& address) {
    struct stat found {};
    if (lstat(path.c_str(), &found) != 0) {
      return errno == ENOENT ? Status() : failure(path);
    }
    if (!S_ISSOCK(found.st_mode)) {
      return Status(Code::kInvalid, path + ": exists and is not a socket");
    }
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) return failure(path);
    const bool refused = connect(probe, address.get(), address.size) != 0 && errno == ECONNREFUSED;
    ::close(probe);
    if (!refused) return Status(Code::kBusy, path + ": address in use");
    return unlink(path.c_str()) == 0 || errno == ENOENT ? Status() : failure(path);
  }

  int fd_;
  int family_;
  uint16_t port_ = 0;
  std::string path_;
  ino_t inode_ = 0;
};

// Keeps one descriptor in reserve, so that a connection can still be taken and dropped when there
// are none left: otherwise it would stay in the backlog and epoll would report it for ever.
class SpareDescriptor {
 public:
  SpareDescriptor() : fd_(open_null()) {}
  SpareDescriptor(const SpareDescriptor&) = delete;
  SpareDescriptor& operator=(const SpareDescriptor&) = delete;
  ~SpareDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  // After EMFILE or ENFILE: takes one connection, for turn_away(fd), which closes it. False if not
  // even that worked.
  template <class TurnAway>
  [[nodiscard]] bool shed(const Listener& listener, TurnAway turn_away) {
    if (fd_ >= 0) ::close(fd_);
    PeerAddress ignored;
    const int victim = listener.accept(&ignored);
    if (victim >= 0) turn_away(victim);
    fd_ = open_null();
    return victim >= 0 && fd_ >= 0;
  }

 private:
  [[nodiscard]] static int open_null() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
  int fd_;
};

}  // namespace kyro
