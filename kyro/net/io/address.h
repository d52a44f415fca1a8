// Socket addresses from text and back, without name resolution: IPv4 and IPv6 literals, "localhost"
// (127.0.0.1), and paths of Unix sockets. A static binary has no resolver worth trusting.
//
// Thread rule: values and pure functions. Ownership: nothing is owned.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/net/io/peer.h"

namespace kyro {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  template <class T>
  [[nodiscard]] T as() const {
    static_assert(sizeof(T) <= sizeof(sockaddr_storage));
    T address;
    std::memcpy(&address, &storage, sizeof address);
    return address;
  }

  // The peer form: IPv4 mapped into IPv6, all zero for anything but IP.
  [[nodiscard]] PeerAddress peer() const {
    PeerAddress peer;
    if (family() == AF_INET) {
      const auto v4 = as<sockaddr_in>();
      peer.bytes[10] = peer.bytes[11] = 0xFF;
      std::memcpy(&peer.bytes[12], &v4.sin_addr, 4);
      peer.port = ntohs(v4.sin_port);
    } else if (family() == AF_INET6) {
      const auto v6 = as<sockaddr_in6>();
      std::memcpy(peer.bytes.data(), &v6.sin6_addr, 16);
      peer.port = ntohs(v6.sin6_port);
    }
    return peer;
  }
};

// "127.0.0.1", "::1", "[::1]" or "localhost" with a port. kInvalid for anything else.
[[nodiscard]] inline Result<SocketAddress> parse_ip_address(std::string_view host, uint16_t port) {
  std::string text(host);
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  if (iequals(text, "localhost")) text = "127.0.0.1";
  SocketAddress address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.size = sizeof v4;
    return address;
  }
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = sizeof v6;
    return address;
  }
  return Status(Code::kInvalid, "\"" + std::string(host) +
                                    "\" is not an IPv4 or IPv6 address (names other than localhost "
                                    "are not resolved)");
}

[[nodiscard]] inline Result<SocketAddress> unix_address(const std::string& path) {
  sockaddr_un local{};
  if (path.empty() || path.size() >= sizeof local.sun_path) {
    return Status(Code::kInvalid, "the path of a Unix socket must have 1 to " +
                                      std::to_string(sizeof local.sun_path - 1) + " bytes");
  }
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, path.c_str(), path.size() + 1);
  SocketAddress address;
  std::memcpy(&address.storage, &local, sizeof local);
  address.size = sizeof local;
  return address;
}

// "127.0.0.1:5000" or "[::1]:5000"; an IPv6 address may come with or without brackets.
[[nodiscard]] inline std::string format_host_port(std::string_view host, uint16_t port) {
  const bool needs_brackets = host.find(':') != host.npos && !host.starts_with('[');
  std::string out(needs_brackets ? "[" : "");
  out.append(host).append(needs_brackets ? "]:" : ":");
  return out.append(std::to_string(port));
}

// The same of a peer.
[[nodiscard]] inline std::string format_peer(const PeerAddress& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.is_v4()) {
    inet_ntop(AF_INET, &peer.bytes[12], text, sizeof text);
  } else {
    inet_ntop(AF_INET6, peer.bytes.data(), text, sizeof text);
  }
  return format_host_port(text, peer.port);
}

// The host (without brackets or port) names this machine only: "localhost", 127.0.0.0/8 or ::1.
[[nodiscard]] inline bool is_loopback_host(std::string_view host) {
  if (is_literal(host, "127.0.0.1") || equals_lower(host, "localhost"))
    return true;  // nearly always
  const Result<SocketAddress> address = parse_ip_address(host, 0);
  return address.ok() && address.value().peer().is_loopback();
}

// The same for a Host field or the authority of a URL, with any port. What stands in brackets must
// be ::1: an IPv4 address mapped into IPv6 names this machine too, but nobody has to write it so.
[[nodiscard]] inline bool is_loopback_authority(std::string_view authority) {
  if (begins_with(authority, "127.0.0.1:")) return true;  // nearly always
  if (!begins_with(authority, "[")) {
    return is_loopback_host({authority.data(), std::min(authority.find(':'), authority.size())});
  }
  const size_t bracket = authority.find(']');
  if (bracket == std::string_view::npos) return false;
  const std::string_view rest = authority.substr(bracket + 1);
  if (!rest.empty() && rest.front() != ':') return false;
  const Result<SocketAddress> address = parse_ip_address(authority.substr(0, bracket + 1), 0);
  if (!address.ok() || address.value().family() != AF_INET6) return false;
  const PeerAddress peer = address.value().peer();
  return peer.is_loopback() && !peer.is_v4();
}

}  // namespace kyro
