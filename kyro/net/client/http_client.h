// A small blocking HTTP/1.1 client over TCP or a Unix socket, for command-line tools, tests and
// benches: keep-alive, pipelining (send and receive apart), Content-Length and chunked answers,
// answers that end with the connection, one deadline per call.
//
// Invariant: after any error the connection is closed; the next send() opens a new one.
// Thread rule: one thread at a time. Ownership: owns its socket.
#pragma once

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/net/client/connect_command.h"
#include "kyro/net/http1/chunked.h"
#include "kyro/net/http1/field_lines.h"
#include "kyro/net/io/address.h"

namespace kyro {

// Where a server is: "http://127.0.0.1:3030", "127.0.0.1:3030", "http://[::1]:80/" or "unix:/path".
struct HttpEndpoint {
  SocketAddress address;
  std::string host;          // what the Host field says
  std::string name;          // for messages: the host, or the path of the socket
  std::string command = {};  // a program that connects in our place (connect_command.h); or none
};

[[nodiscard]] inline Result<HttpEndpoint> parse_endpoint(std::string_view url) {
  if (url.substr(0, 5) == "unix:") {
    std::string_view path = url.substr(5);
    if (path.substr(0, 3) == "///") path.remove_prefix(2);
    Result<SocketAddress> local = unix_address(std::string(path));
    KYRO_TRY(local);
    return HttpEndpoint{local.value(), "localhost", std::string(path)};
  }
  std::string_view rest = url;
  const size_t scheme_end = rest.find("://");
  if (scheme_end != std::string_view::npos) {
    if (!iequals(rest.substr(0, scheme_end), "http")) {
      return Status(Code::kInvalid, "only http:// and unix: are supported: " + std::string(url));
    }
    rest.remove_prefix(scheme_end + 3);
  }
  if (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  const size_t bracket = rest.find(']');
  const size_t colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  uint64_t port = 80;
  if (colon != std::string_view::npos) {
    port = parse_u64(rest.substr(colon + 1)).value_or(0);
    if (port == 0 || port > UINT16_MAX) {
      return Status(Code::kInvalid, "the port is not valid: " + std::string(url));
    }
  }
  Result<SocketAddress> address =
      parse_ip_address(rest.substr(0, colon), static_cast<uint16_t>(port));
  KYRO_TRY(address);
  return HttpEndpoint{address.value(), std::string(rest), std::string(rest)};
}

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpResponse {
  int status = 0;
  bool keep_alive = true;
  HeaderList headers;
  std::string body;
  // The first field of that name (any case), or an empty view.
  [[nodiscard]] std::string_view header(std::string_view name) const {
    for (const auto& [field, value] : headers) {
      if (iequals(field, name)) return value;
    }
    return {};
  }
};

class HttpClient {
 public:
  static constexpr size_t kHeadBytesMax = 256 * 1024;

  explicit HttpClient(HttpEndpoint endpoint, int timeout_ms = 30000)
      : endpoint_(std::move(endpoint)), timeout_ms_(timeout_ms) {}
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient() { close(); }

  // One request, one answer. A kept connection that the server has closed meanwhile is opened anew
  // once, if the method is one that may be repeated.
  [[nodiscard]] Status request(std::string_view method, std::string_view target,
                               std::string_view body, HttpResponse* response,
                               const HeaderList& headers = {}) {
    const bool reused = connected();
    Status status = send(method, target, body, headers);
    if (status.ok()) status = receive(response, method == "HEAD");
    const bool repeatable = method != "POST" && method != "PATCH";
    if (status.ok() || !reused || !repeatable || !closed_early_) return status;
    KYRO_TRY(send(method, target, body, headers));
    return receive(response, method == "HEAD");
  }

  // Sends a request without waiting for its answer. Content-Length is added when there is a body or
  // the method is one that has a body.
  [[nodiscard]] Status send(std::string_view method, std::string_view target, std::string_view body,
                            const HeaderList& headers = {}) {
    std::string message;
    message.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: ");
    message.append(endpoint_.host).append("\r\n");
    for (const auto& [name, value] : headers) {
      message.append(name).append(": ").append(value).append("\r\n");
    }
    if (!body.empty() || method == "PUT" || method == "POST") {
      message.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
    }
    message.append("\r\n").append(body);
    return send_raw(message);
  }

  // Sends bytes as they are, after connecting if need be.
  [[nodiscard]] Status send_raw(std::string_view bytes) {
    closed_early_ = false;
    if (!connected()) KYRO_TRY(connect());
    const int64_t deadline = now_ms() + timeout_ms_;
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        KYRO_TRY(wait_for(POLLOUT, deadline));
      } else if (errno != EINTR) {
        // The server may have answered and closed: let receive() find that answer.
        closed_early_ = input_.empty();
        if (errno == EPIPE || errno == ECONNRESET) return Status();
        return fail(std::string("cannot send: ") + std::strerror(errno));
      }
    }
    return Status();
  }

  // Receives the next answer with its whole body (1xx answers are skipped).
  [[nodiscard]] Status receive(HttpResponse* response, bool to_head = false) {
    KYRO_TRY(receive_head(response, to_head));
    bool end = false;
    while (!end) KYRO_TRY(receive_body(&response->body, &end));
    return Status();
  }

  // Receives status and headers only; receive_body() must then be called until *end.
  [[nodiscard]] Status receive_head(HttpResponse* response, bool to_head = false) {
    *response = HttpResponse{};
    closed_early_ = false;
    const int64_t deadline = now_ms() + timeout_ms_;
    while (true) {
      const size_t head_end = input_.find("\r\n\r\n");
      if (head_end != std::string::npos) {
        KYRO_TRY(parse_head(std::string_view(input_).substr(0, head_end + 2), response));
        input_.erase(0, head_end + 4);
        if (response->status >= 200 || response->status == 101) break;
        *response = HttpResponse{};
        continue;
      }
      if (input_.size() > kHeadBytesMax) return fail("the answer's head is too large");
      bool eof = false;
      KYRO_TRY(fill(deadline, &eof));
      if (eof) {
        closed_early_ = input_.empty();
        return fail("the server closed the connection without an answer");
      }
    }
    return frame_body(*response, to_head);
  }

  // Appends what has arrived of the body (waits for at least one byte or the end).
  [[nodiscard]] Status receive_body(std::string* out, bool* end) {
    const int64_t deadline = now_ms() + timeout_ms_;
    while (true) {
      bool progress = false;
      KYRO_TRY(take_body(out, &progress));
      *end = framing_ == Framing::kNone;
      if (*end && !keep_alive_) close();
      if (*end || progress) return Status();
      bool eof = false;
      KYRO_TRY(fill(deadline, &eof));
      if (!eof) continue;
      if (framing_ != Framing::kUntilClose) return fail("the answer ended too early");
      framing_ = Framing::kNone;
    }
  }

  // Appends what has arrived of the body without waiting for it, perhaps nothing.
  [[nodiscard]] Status receive_arrived(std::string* out, bool* end) {
    bool progress = false;
    bool eof = false;
    KYRO_TRY(fill(kAtOnce, &eof));
    KYRO_TRY(take_body(out, &progress));
    if (eof && framing_ == Framing::kUntilClose) framing_ = Framing::kNone;
    *end = framing_ == Framing::kNone;
    return eof && !*end ? fail("the answer ended too early") : Status();
  }

  [[nodiscard]] Status connect() {
    close();
    unreachable_ = true;
    has_received_ = false;
    if (!endpoint_.command.empty()) {
      const Result<int> started = command_.start(endpoint_.command);
      if (!started.ok()) return started.status();
      fd_ = *started;
      unreachable_ = false;
      return Status();
    }
    fd_ = socket(endpoint_.address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd_ < 0) return fail(std::string("cannot create a socket: ") + std::strerror(errno));
    const int on = 1;
    if (endpoint_.address.family() != AF_UNIX) {
      setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    const int64_t deadline = now_ms() + timeout_ms_;
    if (::connect(fd_, endpoint_.address.get(), endpoint_.address.size) != 0) {
      if (errno != EINPROGRESS) return unreachable(errno);
      KYRO_TRY(wait_for(POLLOUT, deadline));
      int error = 0;
      socklen_t size = sizeof error;
      if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
      if (error != 0) return unreachable(error);
    }
    unreachable_ = false;
    return Status();
  }

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    command_.stop();
    input_.clear();
    framing_ = Framing::kNone;
  }

  // Says that no more requests come; answers can still be received.
  void shutdown_write() { ::shutdown(fd_, SHUT_WR); }
  [[nodiscard]] bool connected() const { return fd_ >= 0; }
  // The last failure was one to connect: nothing has been sent.
  [[nodiscard]] bool unreachable() const { return unreachable_; }
  // It was that the server closed the connection before the first byte of an answer. One that was
  // kept had perhaps been closed before anything was sent.
  [[nodiscard]] bool closed_early() const { return closed_early_; }
  [[nodiscard]] int fd() const { return fd_; }
  // Something has been received and not been taken: it need not be waited for.
  [[nodiscard]] bool has_input() const { return !input_.empty(); }
  void set_timeout_ms(int timeout_ms) { timeout_ms_ = timeout_ms; }

  // Waits until the server has closed the connection; false when it sends something or time is up.
  [[nodiscard]] bool wait_for_close() {
    bool eof = false;
    const Status status = fill(now_ms() + timeout_ms_, &eof);
    return (status.ok() && eof) || (!status.ok() && reset_);
  }

 private:
  enum class Framing : uint8_t { kNone, kLength, kChunked, kUntilClose };
  static constexpr int64_t kAtOnce = -1;  // a deadline

  [[nodiscard]] static int64_t now_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
  }

  Status fail(std::string message) {
    close();
    return Status(Code::kIoError, std::move(message));
  }
  Status unreachable(int error) {
    return fail("cannot connect to " + endpoint_.name + ": " + std::strerror(error));
  }

  Status wait_for(short events, int64_t deadline_ms) {
    while (true) {
      pollfd waiting{fd_, events, 0};
      const int64_t left = deadline_ms - now_ms();
      const int n = left <= 0 ? 0 : poll(&waiting, 1, static_cast<int>(left));
      if (n > 0) return Status();
      if (n == 0) return fail("timed out");
      if (errno != EINTR) return fail(std::string("poll failed: ") + std::strerror(errno));
    }
  }

  // Reads what there is into input_, waiting for at least one byte or the end, till a deadline.
  Status fill(int64_t deadline_ms, bool* eof) {
    reset_ = false;
    if (!connected()) return fail("not connected");
    char piece[64 * 1024];
    while (true) {
      const ssize_t n = recv(fd_, piece, sizeof piece, 0);
      if (n > 0) {
        has_received_ = true;
        input_.append(piece, static_cast<size_t>(n));
        return Status();
      }
      const bool is_over = n == 0 || errno == ECONNRESET || errno == EPIPE;
      if (is_over && !endpoint_.command.empty() && !has_received_) {
        const Status failed = fail("the program that connects has ended without an answer");
        unreachable_ = true;
        return failed;
      }
      if (n == 0) {
        *eof = true;
        return Status();
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (deadline_ms == kAtOnce) return Status();
        KYRO_TRY(wait_for(POLLIN, deadline_ms));
      } else if (errno != EINTR) {
        reset_ = errno == ECONNRESET || errno == EPIPE;
        closed_early_ = reset_ && input_.empty();
        return fail(std::string("cannot receive: ") + std::strerror(errno));
      }
    }
  }

  // `head` is the status line and field lines, each with its CRLF.
  Status parse_head(std::string_view head, HttpResponse* response) {
    const size_t line_end = head.find("\r\n");
    const std::string_view line = head.substr(0, line_end);
    if (line.size() < 12 || line.substr(0, 7) != "HTTP/1." || line[8] != ' ') {
      return fail("the answer is not HTTP/1.x");
    }
    for (size_t i = 9; i < 12; ++i) {
      if (line[i] < '0' || line[i] > '9') return fail("the answer's status is malformed");
      response->status = response->status * 10 + (line[i] - '0');
    }
    const std::string_view block = head.substr(line_end + 2);
    for_each_field_line(block, [&](std::string_view name, std::string_view value) {
      response->headers.emplace_back(std::string(name), std::string(value));
      return true;
    });
    const std::string_view connection = response->header("connection");
    response->keep_alive =
        line[7] == '0' ? iequals(connection, "keep-alive") : !iequals(connection, "close");
    return Status();
  }

  Status frame_body(const HttpResponse& response, bool to_head) {
    keep_alive_ = response.keep_alive;
    framing_ = Framing::kNone;
    left_ = 0;
    if (to_head || response.status == 204 || response.status == 304) return Status();
    if (iequals(response.header("transfer-encoding"), "chunked")) {
      framing_ = Framing::kChunked;
      decoder_ = ChunkedDecoder();
      return Status();
    }
    const std::string_view length = response.header("content-length");
    if (length.empty()) {
      framing_ = Framing::kUntilClose;
      return Status();
    }
    const auto bytes = parse_digits(length);
    if (!bytes) return fail("a malformed Content-Length");
    left_ = *bytes;
    if (left_ != 0) framing_ = Framing::kLength;
    return Status();
  }

  Status take_body(std::string* out, bool* progress) {
    if (framing_ == Framing::kNone) return Status();
    const size_t before = out->size();
    std::string_view rest = input_;
    if (framing_ == Framing::kChunked) {
      std::string_view data;
      ChunkedDecoder::Outcome outcome;
      while ((outcome = decoder_.next(rest, data)) == ChunkedDecoder::Outcome::kData) {
        out->append(data);
      }
      if (outcome == ChunkedDecoder::Outcome::kError) return fail(decoder_.error().message);
      if (outcome == ChunkedDecoder::Outcome::kDone) framing_ = Framing::kNone;
    } else {
      const uint64_t want = framing_ == Framing::kLength ? left_ : UINT64_MAX;
      const auto n = static_cast<size_t>(std::min<uint64_t>(want, rest.size()));
      out->append(rest.substr(0, n));
      rest.remove_prefix(n);
      left_ -= framing_ == Framing::kLength ? n : 0;
      if (framing_ == Framing::kLength && left_ == 0) framing_ = Framing::kNone;
    }
    *progress = out->size() != before;
    input_.erase(0, input_.size() - rest.size());
    return Status();
  }

  HttpEndpoint endpoint_;
  int timeout_ms_;
  int fd_ = -1;
  std::string input_;  // received, not yet taken
  Framing framing_ = Framing::kNone;
  uint64_t left_ = 0;
  ChunkedDecoder decoder_;
  bool keep_alive_ = true;
  bool unreachable_ = false;
  bool closed_early_ = false;  // the server closed before the first byte of an answer
  bool reset_ = false;
  bool has_received_ = false;  // on this connection
  ConnectCommand command_;
};

}  // namespace kyro
