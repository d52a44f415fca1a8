// What a service manager is told (systemd's Type=notify), spoken directly: one datagram a message
// to the socket that $NOTIFY_SOCKET names, a path or, after '@', a name without one.
//
//   ServiceManager manager = ServiceManager::from_environment();
//   manager.tell("READY=1\nSTATUS=serving 127.0.0.1:3030");
//
// Without a manager every call does nothing. A message that cannot be delivered within a second is
// logged and dropped: a server does not stop serving because nobody listens to it.
//
// Thread rule: one thread. Ownership: owns its socket.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/clock.h"
#include "kyro/base/log/log.h"
#include "kyro/base/text/decimal.h"

namespace kyro {

class ServiceManager {
 public:
  // Nobody is told anything.
  ServiceManager() = default;

  // As the environment says. WATCHDOG_PID, where given, must be this process.
  [[nodiscard]] static ServiceManager from_environment() {
    const auto variable = [](const char* name) {
      const char* text = std::getenv(name);
      return std::string_view(text != nullptr ? text : "");
    };
    const auto usec = parse_u64(variable("WATCHDOG_USEC"));
    const auto pid = parse_u64(variable("WATCHDOG_PID"));
    const bool is_ours = !pid || *pid == static_cast<uint64_t>(getpid());
    return ServiceManager(variable("NOTIFY_SOCKET"), usec && is_ours ? *usec : 0);
  }

  // `address`: a path from the root, or '@' and a name; `watchdog_us`: 0 if there is none.
  ServiceManager(std::string_view address, uint64_t watchdog_us) {
    if (address.empty()) return;
    const bool is_name = address.starts_with('@');
    if ((!is_name && !address.starts_with('/')) || address.size() >= sizeof address_.sun_path) {
      log_event(LogLevel::kWarn, "notify", {{"NOTIFY_SOCKET", address}, {"error", "not usable"}});
      return;
    }
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, address.data(), address.size());
    if (is_name) address_.sun_path[0] = '\0';
    address_size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const timeval at_most{.tv_sec = 1, .tv_usec = 0};
    if (fd_ >= 0) setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &at_most, sizeof at_most);
    watchdog_us_ = watchdog_us;
  }
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;
  ServiceManager(ServiceManager&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        address_(other.address_),
        address_size_(other.address_size_),
        watchdog_us_(other.watchdog_us_) {}
  ServiceManager& operator=(ServiceManager&&) = delete;
  ~ServiceManager() {
    if (fd_ >= 0) close(fd_);
  }

  // Sends assignments, one a line: READY=1, STATUS=…, STOPPING=1, WATCHDOG=1.
  void tell(std::string_view message) {
    if (fd_ < 0) return;
    const auto* to = reinterpret_cast<const sockaddr*>(&address_);
    ssize_t sent = -1;
    do {
      sent = sendto(fd_, message.data(), message.size(), MSG_NOSIGNAL, to, address_size_);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) log_event(LogLevel::kWarn, "notify", {{"error", std::strerror(errno)}});
  }
  // A configuration is read again; READY=1 ends that. The time orders it against the next one.
  void tell_reloading() {
    tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_ns() / 1000));
  }

  // How often WATCHDOG=1 is to be sent: twice as often as demanded. 0: not at all.
  [[nodiscard]] uint64_t watchdog_interval_ns() const { return watchdog_us_ * 1000 / 2; }

 private:
  int fd_ = -1;
  sockaddr_un address_{};
  socklen_t address_size_ = 0;
  uint64_t watchdog_us_ = 0;
};

}  // namespace kyro
