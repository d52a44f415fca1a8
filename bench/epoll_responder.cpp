// A bare epoll server that answers every request with one constant: what the kernel and the client
// allow at most on this machine, to hold the real server against.
//
//   epoll_responder PORT [THREADS] [BODY_BYTES]
//
// It finds the ends of requests ("\r\n\r\n", no bodies) and does nothing else: no parsing, no
// deadlines, no limits. One read and one write per event, level-triggered, one listener shared by
// all threads, connections dealt out in turn.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

std::string make_answer(size_t body_bytes) {
  return "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
         "Content-Type: application/octet-stream\r\nContent-Length: " +
         std::to_string(body_bytes) + "\r\n\r\n" + std::string(body_bytes, 'x');
}

void serve(int epoll_fd, const std::string& answer) {
  std::vector<char> in(64 * 1024);
  std::string out;
  std::vector<uint8_t> matched(65536, 0);  // by descriptor: how much of "\r\n\r\n" has been seen
  epoll_event events[256];
  while (true) {
    const int n = epoll_wait(epoll_fd, events, 256, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      const ssize_t got = recv(fd, in.data(), in.size(), 0);
      if (got <= 0) {
        matched[static_cast<size_t>(fd)] = 0;
        close(fd);
        continue;
      }
      const std::string_view bytes(in.data(), static_cast<size_t>(got));
      uint8_t& state = matched[static_cast<size_t>(fd)];
      out.clear();
      size_t at = 0;
      while (at < bytes.size()) {
        if (state == 0) {
          const size_t next = bytes.find('\r', at);
          if (next == std::string_view::npos) break;
          at = next;
        }
        const char wanted = state % 2 == 0 ? '\r' : '\n';
        state = bytes[at] == wanted ? static_cast<uint8_t>(state + 1) : uint8_t{0};
        ++at;
        if (state == 4) {
          out += answer;
          state = 0;
        }
      }
      // A client that does not read is not this server's concern.
      if (!out.empty() && send(fd, out.data(), out.size(), MSG_NOSIGNAL) < 0) close(fd);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: epoll_responder PORT [THREADS] [BODY_BYTES]\n");
    return 2;
  }
  const int port = std::atoi(argv[1]);
  const int threads = argc > 2 ? std::atoi(argv[2]) : 2;
  const std::string answer =
      make_answer(argc > 3 ? static_cast<size_t>(std::atol(argv[3])) : size_t{64});

  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 4096) != 0) {
    std::perror("epoll_responder: cannot listen");
    return 1;
  }
  std::vector<int> loops;
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    loops.push_back(epoll_create1(EPOLL_CLOEXEC));
    workers.emplace_back(serve, loops.back(), std::cref(answer));
  }
  for (size_t turn = 0;; ++turn) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) continue;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(loops[turn % loops.size()], EPOLL_CTL_ADD, fd, &event) != 0) close(fd);
  }
}
