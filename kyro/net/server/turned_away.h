// A connection for which there is no place: one answer in what its client speaks, and the close.
//
// What it speaks is known once it has said something, for which it has kPatienceMs; who says
// nothing is told as HTTP/1.1 would be. A client of HTTP/2 is told that nothing it has sent was
// looked at, so that it may send all of it again.
//
// Thread rule: the reactor's thread. Ownership: owns its socket; the reactor owns this.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "kyro/net/http/reactor_context.h"
#include "kyro/net/http1/response.h"
#include "kyro/net/http2/frame.h"

namespace kyro {

class TurnedAway final : public EventTarget, public TimerNode {
 public:
  static constexpr uint64_t kPatienceMs = 1000;

  TurnedAway(ReactorContext& context, ResponseHeads& heads, int fd, RejectReason why)
      : context_(context), heads_(heads), fd_(fd), why_(why) {}
  TurnedAway(const TurnedAway&) = delete;
  TurnedAway& operator=(const TurnedAway&) = delete;
  virtual ~TurnedAway() { close(); }

  // Tells it if it has said something, else waits for that. True if it is over.
  bool begin() {
    if (look()) return true;
    if (!context_.loop.add(fd_, EPOLLIN | EPOLLRDHUP, this)) return tell({}), true;
    context_.loop.wheel().arm(this, context_.loop.now_ms() + kPatienceMs);
    return false;
  }
  // Tells it now, whatever it has said.
  void tell_now() {
    if (!look()) tell({});
  }
  [[nodiscard]] bool is_over() const { return fd_ < 0; }

  void on_events(uint32_t) override {
    if (!is_over()) tell_now();
  }
  void on_deadline() override {
    if (!is_over()) tell({});
  }

 private:
  // A request that is already there would turn the close into a reset: it is taken in first.
  [[nodiscard]] bool look() {
    const ssize_t n = recv(fd_, context_.in.get(), ReactorContext::kInputBytes, MSG_DONTWAIT);
    if (n < 0) return false;
    tell({context_.in.get(), static_cast<size_t>(n)});
    return true;
  }

  void tell(std::string_view said) {
    const bool per_ip = why_ == RejectReason::kPerIpCap;
    const std::string_view message =
        per_ip ? "This address has too many connections." : "The server has too many connections.";
    std::string answer;
    if (said.starts_with(kHttp2Preface)) {
      append_frame_header(answer, {.type = FrameType::kSettings});
      append_goaway(answer, 0, per_ip ? Http2Error::kEnhanceYourCalm : Http2Error::kNoError,
                    message);
    } else {
      std::string body;
      append_error_json(body, per_ip ? "too_many_connections" : "overloaded", message);
      ResponseHead head;
      head.status = per_ip ? 429 : 503;
      head.persistence = ResponseHead::Persistence::kClose;
      head.length = body.size();
      head.content_type = "application/json";
      if (per_ip) head.fields = "Retry-After: 1\r\n";
      heads_.append(answer, head);
      answer.append(body);
    }
    static_cast<void>(::send(fd_, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    shutdown(fd_, SHUT_WR);
    close();
  }
  void close() {
    if (fd_ < 0) return;
    context_.loop.wheel().cancel(this);
    ::close(fd_);
    fd_ = -1;
  }

  ReactorContext& context_;
  ResponseHeads& heads_;
  int fd_;
  const RejectReason why_;
};

}  // namespace kyro
