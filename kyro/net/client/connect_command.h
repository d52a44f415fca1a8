// A program that connects in our place: what we send is its standard input, what it prints is what
// comes back, as ssh's ProxyCommand has it. So TLS needs no library here:
//
//   openssl s_client -quiet -verify_return_error -connect host:443
//
// Thread rule: one thread. Ownership: ends the program and waits for it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "kyro/base/status.h"

namespace kyro {

class ConnectCommand {
 public:
  ConnectCommand() = default;
  ConnectCommand(const ConnectCommand&) = delete;
  ConnectCommand& operator=(const ConnectCommand&) = delete;
  ~ConnectCommand() { stop(); }

  // Runs a line of the shell; the descriptor, which does not block, is the caller's. Its messages
  // go where ours go.
  [[nodiscard]] Result<int> start(const std::string& line) {
    stop();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return failure();
    const std::string command = "exec " + line;
    pid_ = fork();
    if (pid_ < 0) {
      const Status failed = failure();
      ::close(pair[0]);
      ::close(pair[1]);
      return failed;
    }
    if (pid_ == 0) {
      dup2(pair[1], STDIN_FILENO);
      dup2(pair[1], STDOUT_FILENO);
      execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    ::close(pair[1]);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    return pair[0];
  }

  void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }

 private:
  static Status failure() {
    return Status(Code::kIoError,
                  std::string("cannot run the connect command: ") + strerrordesc_np(errno));
  }

  pid_t pid_ = -1;
};

}  // namespace kyro
