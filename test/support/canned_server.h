// A server that gives the answers it was told to, whatever it is asked: for what ours would say
// only in states that a test cannot wait for, and for answers it would never give.
//
// Thread rule: the test's thread makes it and asks it; one thread of its own serves one connection
// after the other. Ownership: owns its socket and its thread.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kyro/base/text/decimal.h"
#include "kyro/net/io/address.h"

namespace kyro::test {

class CannedServer {
 public:
  // Answers in order, the last one from then on; an empty one closes the connection instead. One
  // in pieces that has no end keeps its connection, and the next one is served.
  explicit CannedServer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SocketAddress address = parse_ip_address("127.0.0.1", 0).value();
    REQUIRE(bind(listener_, address.get(), address.size) == 0);
    REQUIRE(listen(listener_, 16) == 0);
    REQUIRE(getsockname(listener_, address.get(), &address.size) == 0);
    url_ = "http://127.0.0.1:" + std::to_string(address.peer().port);
    thread_ = std::thread([this] { serve(); });
  }
  CannedServer(const CannedServer&) = delete;
  CannedServer& operator=(const CannedServer&) = delete;
  ~CannedServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
    for (const int fd : kept_) close(fd);
  }

  [[nodiscard]] const std::string& url() const { return url_; }
  // The heads and the bodies of the requests so far.
  [[nodiscard]] std::vector<std::string> heads() {
    const std::lock_guard lock(mutex_);
    return heads_;
  }
  [[nodiscard]] std::vector<std::string> bodies() {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }

  // An answer with a body, and field lines if need be, each with its CRLF.
  static std::string answer(const std::string& status, const std::string& body,
                            const std::string& fields = "") {
    return "HTTP/1.1 " + status + "\r\n" + fields +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

 private:
  void serve() {
    for (int fd = -1; (fd = accept(listener_, nullptr, nullptr)) >= 0;) {
      std::string input;
      bool is_kept = false;
      while (!is_kept && take_request(fd, input)) {
        const std::string& answer = answers_[std::min(given_, answers_.size() - 1)];
        ++given_;
        if (answer.empty()) break;
        if (send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) break;
        if (answer.find("Connection: close") != answer.npos) break;
        is_kept = answer.find("chunked") != answer.npos && !answer.ends_with("0\r\n\r\n");
      }
      if (is_kept) {
        kept_.push_back(fd);
      } else {
        close(fd);
      }
    }
  }

  // Takes one request with its body from the front of `input`; false if the client has gone.
  bool take_request(int fd, std::string& input) {
    for (;;) {
      const size_t head_end = input.find("\r\n\r\n");
      if (head_end != input.npos) {
        const size_t at = input.find("Content-Length: ");
        size_t length = 0;
        if (at < head_end) {
          const size_t begin = at + 16;
          length = parse_u64(std::string_view(input).substr(begin, input.find('\r', begin) - begin))
                       .value_or(0);
        }
        if (input.size() >= head_end + 4 + length) {
          const std::lock_guard lock(mutex_);
          heads_.push_back(input.substr(0, head_end + 2));
          bodies_.push_back(input.substr(head_end + 4, length));
          input.erase(0, head_end + 4 + length);
          return true;
        }
      }
      char piece[16384];
      const ssize_t got = recv(fd, piece, sizeof piece, 0);
      if (got <= 0) return false;
      input.append(piece, static_cast<size_t>(got));
    }
  }

  const std::vector<std::string> answers_;
  int listener_ = -1;
  std::string url_;
  std::mutex mutex_;
  std::vector<std::string> heads_;
  std::vector<std::string> bodies_;
  size_t given_ = 0;
  std::vector<int> kept_;  // by the thread, until it has ended
  std::thread thread_;
};

}  // namespace kyro::test
