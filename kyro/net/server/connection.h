// One client connection: its socket, its deadlines, and the work between reading and answering.
//
// drive() does one step of all there is to do: it is called for events, for answers of deferred
// requests, and in the next round when there is more. It reads at most once and sends at most one
// output step with one call, so that connections take turns, however much one asks for. Requests
// are not read while the socket does not take our answers, while a stream is being sent, or while
// too many requests are deferred: what the client has sent stays in the kernel, and its window
// closes.
//
// A client that does not read has write_timeout_ms for an answer. A stream may take as long as it
// likes, at the least rate: each stream_bytes_per_ms_min bytes taken buy a millisecond, so one that
// takes a byte now and then does not hold what the stream holds for ever. An endless stream that a
// drain has ended has drain_grace_ms for its last bytes. While the answers that wait for all such
// clients are over inflight_bytes_max, a large one that would have to wait too closes at once.
//
// The socket is registered once, edge-triggered for input; output is added only while it is
// blocked.
//
// Thread rule: its reactor's thread. Ownership: owns its socket; the reactor owns the connection
// and deletes it at the end of the round in which it closed.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/io/socket_calls.h"
#include "kyro/net/server/request_reader.h"

namespace kyro {

class Connection final : public EventTarget, public TimerNode {
 public:
  static constexpr uint32_t kInputEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;

  Connection(ReactorContext& context, int fd, const PeerAddress& peer, bool is_unix)
      : context_(context),
        line_(context, this),
        reader_(context, line_, peer, is_unix),
        peer_(peer),
        fd_(fd),
        is_unix_(is_unix) {}
  ~Connection() { KYRO_CHECK(fd_ < 0); }

  // Registers with the loop, or closes.
  void start() {
    if (!context_.loop.add(fd_, kInputEvents, this)) return close_now();
    settle();
  }

  void on_events(uint32_t events) override {
    if (closed()) return;
    if ((events & EPOLLERR) != 0) return close_now();
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) readable_ = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) end_announced_ = true;
    drive();
  }

  // Does what can be done now: moves answers up, goes on with what was read or reads, sends. What
  // is left has its turn behind the other connections.
  void drive() {
    if (closed()) return;
    if (lingering_) return discard_input();
    line_.promote();
    if (line_.stream() != nullptr) pump_stream();
    if (closed()) return;
    line_.promote();
    if (may_resume()) {
      reader_.resume();
    } else if (may_read()) {
      read_once();
      if (closed()) return;
    }
    if (read_closed_ && !reader_.stalled() && !line_.closing()) on_end_of_input();
    const bool takes_more = send_out();
    if (closed()) return;
    if (takes_more || may_resume() || may_read() || stream_wants_room()) make_ready();
    settle();
  }

  inline void on_deadline() override;

  // The server stops: ends a stream, closes if idle, else the next answer closes.
  void drain() {
    if (closed()) return;
    if (line_.stream() != nullptr) {
      drain_stream();
    } else {
      readable_ = true;  // what has arrived by now is still answered
    }
    drive();
  }
  // The handler may have something new for a parked stream.
  void wake_stream() {
    if (std::exchange(parked_, false)) drive();
  }
  // Once a round: those that wait for in-flight bytes go on in their order, as far as they may.
  static inline void feed_starved(ReactorContext& context);

  inline void close_now();
  [[nodiscard]] bool closed() const { return fd_ < 0; }

  // The reactor takes it off the list in question.
  void clear_answered() { line_.in_answered = false; }
  void clear_ready() { in_ready_ = false; }
  // Takes it off every list; to be called before it is deleted.
  void leave_lists() {
    if (in_ready_) std::erase(context_.ready, this);
    if (line_.in_answered) std::erase(context_.answered, this);
    if (starved_) std::erase(context_.starved, this);
    leave_streaming();
  }

  Connection* next_of_reactor = nullptr;  // the reactor's list of its connections
  Connection* previous_of_reactor = nullptr;

 private:
  static constexpr uint64_t kLookMs = 1000;  // between looks at a stream that is blocked

  enum class Deadline : uint8_t { kNone, kIdle, kHead, kBody, kStarved, kWrite, kStream, kLinger };

  inline void read_once();
  inline void discard_input();
  inline void on_end_of_input();
  inline void pump_stream();
  inline bool drain_stream();
  // True when a step was sent and the socket may take another.
  inline bool send_out();
  inline void extend_write_deadline();
  inline void on_write_deadline();
  inline void tell_finished();
  inline void settle();
  inline void finish();

  [[nodiscard]] bool may_resume() const { return reader_.stalled() && reader_.may_dispatch(); }
  [[nodiscard]] bool may_read() const { return readable_ && !starved_ && reader_.may_dispatch(); }
  [[nodiscard]] uint64_t blocked_until_ms() const {
    return std::min(write_deadline_ms_, drain_deadline_ms_);
  }
  [[nodiscard]] bool stream_wants_room() const {
    return line_.stream() != nullptr && !parked_ && !line_.blocked();
  }
  void make_ready() {
    if (!std::exchange(in_ready_, true)) context_.ready.push_back(this);
  }
  void join_streaming() {
    in_streaming_ = true;
    context_.streaming.push_back(this);
    context_.streams.fetch_add(1, std::memory_order_acq_rel);
  }
  void leave_streaming() {
    parked_ = false;
    if (!std::exchange(in_streaming_, false)) return;
    std::erase(context_.streaming, this);
    context_.streams.fetch_sub(1, std::memory_order_acq_rel);
  }
  void arm(Deadline deadline, uint64_t at_ms) {
    deadline_ = deadline;
    context_.loop.wheel().arm(this, at_ms);
  }

  ReactorContext& context_;
  AnswerLine line_;
  RequestReader reader_;
  PeerAddress peer_;
  uint64_t write_deadline_ms_ = 0;
  uint64_t drain_deadline_ms_ = kNever;  // of a stream that a drain has ended
  uint64_t output_seen_ = 0;             // what was left when write_deadline_ms_ was last looked at
  uint64_t pieces_seen_ = 0;
  int fd_;
  Deadline deadline_ = Deadline::kNone;
  bool is_unix_;
  bool readable_ = false;       // the kernel may have input (edge-triggered: it says so once)
  bool end_announced_ = false;  // the end of the input is there or near
  bool read_closed_ = false;    // and has been read
  bool output_wanted_ = false;  // registered for EPOLLOUT
  bool paced_ = false;          // what is blocked is of a stream
  bool parked_ = false;         // the stream waits
  bool starved_ = false;        // reading waits for in-flight bytes
  bool lingering_ = false;      // everything is sent; waiting for the client to close
  bool in_ready_ = false;
  bool in_streaming_ = false;
};

inline void Connection::feed_starved(ReactorContext& context) {
  std::vector<Connection*>& starved = context.starved;
  if (starved.empty()) return;
  std::vector<Connection*> waiting;
  waiting.swap(starved);
  size_t fed = 0;
  for (; fed < waiting.size() && starved.empty(); ++fed) {
    waiting[fed]->starved_ = false;
    waiting[fed]->drive();
  }
  starved.insert(starved.end(), waiting.begin() + static_cast<ptrdiff_t>(fed), waiting.end());
}

inline void Connection::read_once() {
  if (reader_.in_body() && !reader_.may_keep_body()) {
    starved_ = true;
    context_.starved.push_back(this);
    return;
  }
  char* const in = context_.in.get();
  const ssize_t n = receive_some(fd_, in, ReactorContext::kInputBytes);
  if (n > 0) {
    const auto size = static_cast<size_t>(n);
    // A short read has emptied the socket; new bytes raise a new edge.
    if (size < ReactorContext::kInputBytes && !end_announced_) readable_ = false;
    reader_.receive(std::string_view(in, size));
  } else if (n == 0) {
    readable_ = false;
    read_closed_ = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    readable_ = false;
  } else if (errno != EINTR) {
    close_now();
  }
}

// The client has shut down its side: what was complete is answered, what was not is refused.
inline void Connection::on_end_of_input() {
  if (reader_.in_request() && !reader_.skips()) {
    reader_.reject(400, "bad_request", "The request ended too early.", RejectReason::kBadRequest);
  }
  line_.stop_requests();
}

// After our last answer: reads away what the client still sends, so that closing does not reset the
// connection under the answer.
inline void Connection::discard_input() {
  constexpr int kReadsPerRound = 16;
  for (int i = 0; i < kReadsPerRound; ++i) {
    const ssize_t n = recv(fd_, context_.in.get(), ReactorContext::kInputBytes, 0);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    return close_now();
  }
  make_ready();
}

inline void Connection::pump_stream() {
  if (parked_ || line_.blocked()) return;
  if (!in_streaming_) {
    // Counted before the first look at what the handler has, so that no wake-up is missed.
    join_streaming();
    if (context_.draining && drain_stream()) return;
  }
  paced_ = true;
  switch (line_.pump()) {
    case BodyStream::Next::kMore:
      break;
    case BodyStream::Next::kWait:
      parked_ = true;
      break;
    case BodyStream::Next::kEnd:
      leave_streaming();
      break;
    case BodyStream::Next::kAbort:
      send_out();
      close_now();
      break;
  }
}

// Ends the stream if it is endless; true if it was. Time is short for one that has begun; before
// that, what is left to send is of the answers before it.
inline bool Connection::drain_stream() {
  if (!line_.drain_stream()) return false;
  if (in_streaming_) {
    drain_deadline_ms_ = context_.loop.now_ms() + context_.config.drain_grace_ms;
  }
  leave_streaming();
  return true;
}

inline bool Connection::send_out() {
  const OutputQueue::Sent sent = line_.flush(fd_);
  if (sent == OutputQueue::Sent::kError) {
    close_now();
    return false;
  }
  if (sent == OutputQueue::Sent::kAll) {
    paced_ = false;
  } else {
    extend_write_deadline();
  }
  const bool takes_more = sent == OutputQueue::Sent::kStep;
  const bool blocked = sent == OutputQueue::Sent::kBlocked;
  // Only who adds to what waits is cut off, not who is reading it.
  if (blocked && (!output_wanted_ || line_.output_grew()) && line_.is_over_bound()) {
    context_.handler.on_rejected(RejectReason::kInflightBytes);
    close_now();
    return false;
  }
  if (!takes_more && blocked != output_wanted_) {
    output_wanted_ = blocked;
    const uint32_t events = kInputEvents | (blocked ? uint32_t{EPOLLOUT} : 0u);
    if (!context_.loop.modify(fd_, events, this)) {
      close_now();
      return false;
    }
  }
  tell_finished();
  return takes_more;
}

// Not everything could be sent.
inline void Connection::extend_write_deadline() {
  const HttpServerConfig& config = context_.config;
  const uint64_t latest = context_.loop.now_ms() + config.write_timeout_ms;
  const uint64_t left = line_.output_bytes();
  if (!output_wanted_ || line_.pieces_sent() != pieces_seen_) {
    write_deadline_ms_ = latest;
    pieces_seen_ = line_.pieces_sent();
  } else if (paced_ && left < output_seen_) {
    const uint64_t bought_ms = (output_seen_ - left) / config.stream_bytes_per_ms_min;
    write_deadline_ms_ = std::min(latest, write_deadline_ms_ + bought_ms);
  }
  output_seen_ = left;
}

inline void Connection::tell_finished() {
  if (context_.finished.empty()) return;
  const uint64_t now = context_.loop.refresh_now();
  for (const auto& [answer, count] : context_.finished) {
    context_.handler.on_response({.count = count,
                                  .duration_ns = now - answer.start_ns,
                                  .body_bytes = answer.body_bytes,
                                  .peer = &peer_,
                                  .route = answer.route,
                                  .status = answer.status,
                                  .method = answer.method,
                                  .is_unix = is_unix_});
  }
  context_.finished.clear();
}

// Nothing more can be done now: closes if that is what is left, else sets the one deadline.
inline void Connection::settle() {
  const bool quiet = !line_.blocked() && !line_.pending() && line_.stream() == nullptr;
  if (quiet && line_.closing()) return finish();
  if (quiet && context_.draining && !reader_.in_request() && !readable_) return finish();
  const HttpServerConfig& config = context_.config;
  const uint64_t now = context_.loop.now_ms();
  if (line_.blocked()) {
    const uint64_t latest = blocked_until_ms();
    return arm(Deadline::kWrite, paced_ ? std::min(latest, now + kLookMs) : latest);
  }
  if (line_.stream() != nullptr) {
    return arm(Deadline::kStream, parked_ ? now + line_.stream()->heartbeat_ms() : kNever);
  }
  if (starved_) {
    if (deadline_ != Deadline::kStarved) arm(Deadline::kStarved, now + config.inflight_wait_ms);
    return;
  }
  if (const uint64_t at_ms = reader_.deadline_ms(); at_ms != 0) {
    const bool body = reader_.in_body() || reader_.skips();
    return arm(body ? Deadline::kBody : Deadline::kHead, at_ms);
  }
  if (line_.pending()) return arm(Deadline::kNone, kNever);
  arm(Deadline::kIdle, now + config.idle_timeout_ms);
}

inline void Connection::on_deadline() {
  if (closed()) return;
  switch (std::exchange(deadline_, Deadline::kNone)) {
    case Deadline::kNone:
      return;
    case Deadline::kWrite:
      return on_write_deadline();
    case Deadline::kStream:
      return wake_stream();
    case Deadline::kHead:
      reader_.reject(408, "timeout", "The request head did not arrive in time.",
                     RejectReason::kHeaderTimeout);
      return drive();
    case Deadline::kBody:
      if (reader_.skips()) break;
      reader_.reject(408, "timeout", "The body did not arrive in time.",
                     RejectReason::kBodyTimeout);
      return drive();
    case Deadline::kStarved:
      starved_ = false;
      std::erase(context_.starved, this);
      reader_.reject(503, "overloaded", "Too many bytes of requests are in flight.",
                     RejectReason::kInflightBytes);
      return drive();
    case Deadline::kIdle:
    case Deadline::kLinger:
      break;
  }
  close_now();
}

inline void Connection::on_write_deadline() {
  if (line_.stream() != nullptr && line_.stream()->is_revoked()) return close_now();
  if (paced_) {  // the kernel reports room late: some may have been taken without
    drive();
    if (closed() || !line_.blocked() || context_.loop.now_ms() < blocked_until_ms()) return;
  }
  context_.handler.on_rejected(RejectReason::kWriteTimeout);
  close_now();
}

// Everything is sent. Closes, at once where the client has nothing under way that would turn the
// close into a reset.
inline void Connection::finish() {
  if (read_closed_ || (!line_.lingers() && !readable_)) return close_now();
  shutdown(fd_, SHUT_WR);
  lingering_ = true;
  reader_.close();
  const uint64_t latest = context_.loop.now_ms() + context_.config.linger_timeout_ms;
  arm(Deadline::kLinger, std::min(latest, drain_deadline_ms_));
  discard_input();
}

inline void Connection::close_now() {
  if (closed()) return;
  ::close(fd_);  // leaves the epoll set, too
  fd_ = -1;
  context_.out.clear();  // what could not be sent any more
  tell_finished();
  context_.loop.wheel().cancel(this);
  line_.abandon();
  line_.drop_output();
  reader_.close();
  context_.shared.leave(peer_, is_unix_);
  context_.closed.push_back(this);
}

}  // namespace kyro
