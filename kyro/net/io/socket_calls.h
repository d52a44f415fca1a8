// The three system calls of every request, without what the C library wraps around them: its
// recv(), send() and epoll_wait() may be cancelled, which costs each call two locked instructions
// that nobody here has a use for.
//
// Results and errno are those of the functions. Thread rule: any thread.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>

namespace kyro {

[[nodiscard]] inline ssize_t receive_some(int fd, char* to, size_t size) {
  return ::syscall(SYS_recvfrom, fd, to, size, 0, nullptr, nullptr);
}

[[nodiscard]] inline ssize_t send_some(int fd, const char* from, size_t size) {
  return ::syscall(SYS_sendto, fd, from, size, MSG_NOSIGNAL, nullptr, 0);
}

[[nodiscard]] inline int wait_for_events(int epoll_fd, epoll_event* events, int count,
                                         int timeout_ms) {
  constexpr size_t kMaskBytes = 8;  // of a signal mask, which is not given
  return static_cast<int>(
      ::syscall(SYS_epoll_pwait, epoll_fd, events, count, timeout_ms, nullptr, kMaskBytes));
}

}  // namespace kyro
