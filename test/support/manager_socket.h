// The end of a service manager: what a server tells it (kyro/server/notify.h).
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <string>

namespace kyro::test {

// `address` as in $NOTIFY_SOCKET.
class ManagerSocket {
 public:
  explicit ManagerSocket(const std::string& address)
      : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, address.data(), address.size());
    if (address[0] == '@') to.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&to), size) == 0);
  }
  ~ManagerSocket() { close(fd_); }

  [[nodiscard]] bool has_message(int wait_ms = 0) const {
    pollfd waiting{fd_, POLLIN, 0};
    return poll(&waiting, 1, wait_ms) == 1;
  }
  // The next message.
  std::string next() {
    REQUIRE(has_message(60000));
    char bytes[4096];
    const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
    REQUIRE(n > 0);
    return {bytes, static_cast<size_t>(n)};
  }
  // The next one that is no heartbeat.
  std::string next_event() {
    std::string message = next();
    while (message == "WATCHDOG=1") message = next();
    return message;
  }

 private:
  int fd_;
};

}  // namespace kyro::test
