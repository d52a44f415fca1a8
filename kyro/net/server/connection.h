// One client connection: its socket, its deadlines, and the protocol that it speaks.
//
// A connection that begins with the preface of HTTP/2 speaks that, every other HTTP/1.
//
// drive() is one turn: the protocol moves on what it has, the socket is read at most once and
// written at most once with one output step, so that connections take turns, however much one asks
// for. It is called for events, for answers of deferred requests, and in the next round when there
// is more. Nothing is read while the socket does not take our answers.
//
// A client that does not read has write_timeout_ms for an answer. A body that is made while it is
// sent may take as long as it likes, at the least rate: each stream_bytes_per_ms_min bytes taken
// buy a millisecond, so one that takes a byte now and then does not hold what the body holds for
// ever. An endless body that a drain has ended has drain_grace_ms for its last bytes. While the
// answers that wait for all such clients are over inflight_bytes_max, one that might have to wait
// too is refused instead of begun (Outgoing::may_keep). Before that, and where places or
// descriptors run out, those go that have held most for longest: every byte that its client sends
// or takes buys a connection a millisecond there, too (HeldList).
//
// The socket is registered once, edge-triggered for input; output is added only while it is
// blocked.
//
// Thread rule: its reactor's thread. Ownership: owns its socket and its protocol; the reactor owns
// the connection and deletes it at the end of the round in which it closed.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/http/protocol.h"
#include "kyro/net/http1/protocol.h"
#include "kyro/net/http2/protocol.h"
#include "kyro/net/io/socket_calls.h"
#include "kyro/net/server/held_list.h"

namespace kyro {

class Connection;

// What the connections of one reactor share: the neutral, the protocols', and their lists.
struct ReactorParts {
  explicit ReactorParts(ServerShared& shared) : context(shared), http1(context), http2(context) {}

  ReactorContext context;
  Http1Workspace http1;
  Http2Workspace http2;
  HeldList held;
  std::vector<Connection*> ready;    // have work left for the next round
  std::vector<Connection*> asking;   // want a turn in this round
  std::vector<Connection*> starved;  // wait for in-flight bytes, in this order
  std::vector<Connection*> streaming;
  std::vector<Connection*> closed;  // die at the end of the round
};

class Connection final : public EventTarget,
                         public TimerNode,
                         public HeldList::Node,
                         public ProtocolHost {
 public:
  static constexpr uint32_t kInputEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;

  Connection(ReactorParts& parts, int fd, const PeerAddress& peer_address, bool unix_socket)
      : ProtocolHost(parts.context, peer_address, unix_socket),
        parts_(parts),
        protocol_(std::make_unique<Http1Protocol>(parts.http1, *this)),
        fd_(fd) {}
  ~Connection() { KYRO_CHECK(fd_ < 0); }

  // Registers with the loop, or closes.
  void start() {
    if (!context.loop.add(fd_, kInputEvents, this)) return close_now();
    arm_or_finish();
  }

  void on_events(uint32_t events) override {
    if (closed()) return;
    if ((events & EPOLLERR) != 0) return close_now();
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) readable_ = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) end_announced_ = true;
    drive();
  }

  // One turn. What is left has its turn after the other connections.
  inline void drive();

  inline void on_deadline() override;

  // The server stops: ends a stream, closes if idle, else the next answer closes.
  void drain() {
    if (closed()) return;
    if (protocol_->drain()) readable_ = true;
    drive();
  }
  // The handler may have something new for streams.
  void wake_streams() {
    if (!closed() && protocol_->wake_streams()) drive();
  }
  // Once a round: those that wait for in-flight bytes go on in their order, as far as they may.
  static inline void feed_starved(ReactorParts& parts);

  inline void close_now();
  // Gives its place, and what it holds, to others.
  inline void shed();
  [[nodiscard]] bool closed() const { return fd_ < 0; }

  // The reactor takes it off the list in question.
  void clear_asking() { in_asking_ = false; }
  void clear_ready() { in_ready_ = false; }
  // Takes it off every list; to be called before it is deleted.
  void leave_lists() {
    if (in_ready_) std::erase(parts_.ready, this);
    if (in_asking_) std::erase(parts_.asking, this);
    if (starved_) std::erase(parts_.starved, this);
  }

  // ---- ProtocolHost ----

  void ask_turn() override {
    if (!std::exchange(in_asking_, true)) parts_.asking.push_back(this);
  }
  void join_streaming() override {
    parts_.streaming.push_back(this);
    context.streams.fetch_add(1, std::memory_order_acq_rel);
  }
  void leave_streaming() override {
    std::erase(parts_.streaming, this);
    context.streams.fetch_sub(1, std::memory_order_acq_rel);
  }
  void end_by(uint64_t ms) override { end_by_ms_ = ms; }

  Connection* next_of_reactor = nullptr;  // the reactor's list of its connections
  Connection* previous_of_reactor = nullptr;

 private:
  static constexpr uint64_t kLookMs = 1000;  // between looks at a paced body that is blocked
  static constexpr uint8_t kChosen = 0xFF;

  enum class Deadline : uint8_t { kNone, kIdle, kProtocol, kWrite, kLinger };

  inline void read_once();
  inline void receive(std::string_view bytes);
  inline void choose(std::string_view bytes);
  inline void discard_input();
  // True when a step was sent and the socket may take another.
  inline bool send_out();
  inline void extend_write_deadline();
  inline void on_write_deadline();
  inline void tell_finished();
  inline void arm_or_finish();
  inline void finish();
  inline void note_held();

  [[nodiscard]] bool may_read() const { return readable_ && !starved_ && protocol_->takes_input(); }
  [[nodiscard]] uint64_t blocked_until_ms() const {
    return std::min(write_deadline_ms_, end_by_ms_);
  }
  void make_ready() {
    if (!std::exchange(in_ready_, true)) parts_.ready.push_back(this);
  }
  void arm(Deadline deadline, uint64_t at_ms) {
    deadline_ = deadline;
    context.loop.wheel().arm(this, at_ms);
    note_held();
  }
  // The client has sent or taken so much, which buys it time.
  void note_moved(uint64_t bytes) {
    const uint64_t bought_ms = bytes / context.config.stream_bytes_per_ms_min;
    held_since_ms_ = std::min(context.loop.now_ms(), held_since_ms_ + bought_ms);
  }

  ReactorParts& parts_;
  std::unique_ptr<Protocol> protocol_;
  uint64_t write_deadline_ms_ = 0;
  uint64_t end_by_ms_ = kNever;
  uint64_t output_seen_ = 0;  // what was left when write_deadline_ms_ was last looked at
  uint64_t pieces_seen_ = 0;
  uint64_t held_since_ms_ = 0;  // it waits for its client, who has not moved since then
  int fd_;
  Deadline deadline_ = Deadline::kNone;
  uint8_t preface_bytes_ = 0;   // that have come; kChosen once it is clear whether it is one
  bool readable_ = false;       // the kernel may have input (edge-triggered: it says so once)
  bool end_announced_ = false;  // the end of the input is there or near
  bool read_closed_ = false;    // and has been read
  bool output_wanted_ = false;  // registered for EPOLLOUT
  bool starved_ = false;        // reading waits for in-flight bytes
  bool is_waiting_ = false;     // for its client, for nobody else
  bool lingering_ = false;      // everything is sent; waiting for the client to close
  bool in_ready_ = false;
  bool in_asking_ = false;
};

inline void Connection::drive() {
  if (closed()) return;
  if (lingering_) return discard_input();
  const bool worked = protocol_->work();
  if (!worked && may_read()) read_once();
  if (closed()) return;
  if (read_closed_) protocol_->on_end_of_input();
  if (end_announced_ || read_closed_) protocol_->on_client_ended();
  const bool takes_more = send_out();
  if (closed()) return;
  if (protocol_->is_broken()) return close_now();
  if (takes_more || protocol_->has_work() || may_read()) make_ready();
  arm_or_finish();
}

inline void Connection::feed_starved(ReactorParts& parts) {
  std::vector<Connection*>& starved = parts.starved;
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
  if (!protocol_->has_room()) {
    starved_ = context.wants_request_room = true;
    parts_.starved.push_back(this);
    return;
  }
  char* const in = context.in.get();
  const ssize_t n = receive_some(fd_, in, ReactorContext::kInputBytes);
  if (n > 0) {
    const auto size = static_cast<size_t>(n);
    note_moved(deadline_ == Deadline::kIdle ? UINT32_MAX : size);
    // A short read has emptied the socket; new bytes raise a new edge.
    if (size < ReactorContext::kInputBytes && !end_announced_) readable_ = false;
    receive({in, size});
  } else if (n == 0) {
    readable_ = false;
    read_closed_ = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    readable_ = false;
  } else if (errno != EINTR) {
    close_now();
  }
}

inline void Connection::receive(std::string_view bytes) {
  if (preface_bytes_ == kChosen) return protocol_->receive(bytes);
  choose(bytes);
}

// Compares with the preface of HTTP/2. What has come of it need not be kept, since it is known; its
// first letters are given to HTTP/1, which can make nothing of them yet but knows since when it
// waits.
inline void Connection::choose(std::string_view bytes) {
  constexpr size_t kShownBytes = 3;
  const size_t before = preface_bytes_;
  const std::string_view wanted = kHttp2Preface.substr(before);
  const std::string_view piece = bytes.substr(0, wanted.size());
  if (piece == wanted) {
    preface_bytes_ = kChosen;
    protocol_->close();
    protocol_ = std::make_unique<Http2Protocol>(parts_.http2, *this);
    protocol_->receive(kHttp2Preface);
    if (context.draining) static_cast<void>(protocol_->drain());
    bytes.remove_prefix(piece.size());
    if (!bytes.empty()) protocol_->receive(bytes);
  } else if (wanted.starts_with(piece)) {
    preface_bytes_ = static_cast<uint8_t>(before + piece.size());
    if (before < kShownBytes) protocol_->receive(bytes.substr(0, kShownBytes - before));
  } else {
    preface_bytes_ = kChosen;
    if (before > kShownBytes) {
      protocol_->receive(kHttp2Preface.substr(kShownBytes, before - kShownBytes));
    }
    protocol_->receive(bytes);
  }
}

// After our last answer: reads away what the client still sends, so that closing does not reset the
// connection under the answer.
inline void Connection::discard_input() {
  constexpr int kReadsPerRound = 16;
  for (int i = 0; i < kReadsPerRound; ++i) {
    const ssize_t n = recv(fd_, context.in.get(), ReactorContext::kInputBytes, 0);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    return close_now();
  }
  make_ready();
}

inline bool Connection::send_out() {
  const uint64_t before = outgoing.bytes() + context.out.size();
  const OutputQueue::Sent sent = outgoing.flush(fd_);
  if (sent == OutputQueue::Sent::kError) {
    close_now();
    return false;
  }
  note_moved(before - outgoing.bytes());
  if (sent != OutputQueue::Sent::kAll) extend_write_deadline();
  const bool takes_more = sent == OutputQueue::Sent::kStep;
  const bool blocked = sent == OutputQueue::Sent::kBlocked;
  if (!takes_more && blocked != output_wanted_) {
    output_wanted_ = blocked;
    const uint32_t events = kInputEvents | (blocked ? uint32_t{EPOLLOUT} : 0u);
    if (!context.loop.modify(fd_, events, this)) {
      close_now();
      return false;
    }
  }
  tell_finished();
  return takes_more;
}

// Not everything could be sent.
inline void Connection::extend_write_deadline() {
  const HttpServerConfig& config = context.config;
  const uint64_t latest = context.loop.now_ms() + config.write_timeout_ms;
  const uint64_t left = outgoing.bytes();
  if (!output_wanted_ || outgoing.pieces_sent() != pieces_seen_) {
    write_deadline_ms_ = latest;
    pieces_seen_ = outgoing.pieces_sent();
  } else if (outgoing.is_paced && left < output_seen_) {
    const uint64_t bought_ms = (output_seen_ - left) / config.stream_bytes_per_ms_min;
    write_deadline_ms_ = std::min(latest, write_deadline_ms_ + bought_ms);
  }
  output_seen_ = left;
}

inline void Connection::tell_finished() {
  if (context.finished.empty()) return;
  const uint64_t now = context.loop.refresh_now();
  for (const auto& [answer, count] : context.finished) {
    context.handler.on_response({.count = count,
                                 .duration_ns = now - answer.start_ns,
                                 .body_bytes = answer.body_bytes,
                                 .peer = &peer,
                                 .route = answer.route,
                                 .status = answer.status,
                                 .method = answer.method,
                                 .version = answer.version,
                                 .is_unix = is_unix});
  }
  context.finished.clear();
}

// Nothing more can be done now: closes if that is what is left, else sets the one deadline.
inline void Connection::arm_or_finish() {
  if (!outgoing.blocked() && protocol_->is_quiet()) {
    if (protocol_->is_closing()) return finish();
    if (context.draining && protocol_->is_between_requests() && !readable_) return finish();
  }
  const uint64_t now = context.loop.now_ms();
  if (outgoing.blocked()) {
    const uint64_t latest = blocked_until_ms();
    return arm(Deadline::kWrite, outgoing.is_paced ? std::min(latest, now + kLookMs) : latest);
  }
  const uint64_t at_ms = protocol_->deadline_ms();
  if (at_ms == 0) return arm(Deadline::kIdle, now + context.config.idle_timeout_ms);
  arm(Deadline::kProtocol, at_ms);
}

inline void Connection::on_deadline() {
  if (closed()) return;
  switch (std::exchange(deadline_, Deadline::kNone)) {
    case Deadline::kNone:
      return;
    case Deadline::kWrite:
      return on_write_deadline();
    case Deadline::kProtocol:
      protocol_->on_deadline();
      return drive();
    case Deadline::kIdle:
      protocol_->on_idle();
      return drive();
    case Deadline::kLinger:
      return close_now();
  }
}

inline void Connection::on_write_deadline() {
  if (protocol_->is_revoked()) return close_now();
  if (outgoing.is_paced) {  // the kernel reports room late: some may have been taken without
    drive();
    if (closed() || !outgoing.blocked() || context.loop.now_ms() < blocked_until_ms()) return;
  }
  context.handler.on_rejected(RejectReason::kWriteTimeout);
  close_now();
}

// Everything is sent. Closes, at once where the client has nothing under way that would turn the
// close into a reset.
inline void Connection::finish() {
  if (read_closed_ || (!protocol_->lingers() && !readable_)) return close_now();
  shutdown(fd_, SHUT_WR);
  lingering_ = true;
  protocol_->close();
  const uint64_t latest = context.loop.now_ms() + context.config.linger_timeout_ms;
  arm(Deadline::kLinger, std::min(latest, end_by_ms_));
  discard_input();
}

// Tells the list what is held while the client is waited for, now that the deadline is set.
inline void Connection::note_held() {
  Protocol::Waiting kept;
  if (deadline_ == Deadline::kIdle || deadline_ == Deadline::kLinger) {
    kept.is_waiting = true;
  } else {
    kept = protocol_->waits_for_client();
    kept.answer_bytes += outgoing.held_bytes();
    kept.is_waiting = outgoing.blocked() || (kept.is_waiting && !starved_);
  }
  if (!kept.is_waiting) {
    is_waiting_ = false;
    return parts_.held.remove(*this);
  }
  if (!std::exchange(is_waiting_, true)) held_since_ms_ = context.loop.now_ms();
  if (kept.answer_bytes != 0) context.look_at_output_room();
  const bool is_answer = kept.answer_bytes >= kept.request_bytes;
  parts_.held.put(*this, is_answer ? HeldKind::kAnswer : HeldKind::kRequest,
                  is_answer ? kept.answer_bytes : kept.request_bytes, held_since_ms_);
}

inline void Connection::shed() {
  if (closed()) return;
  context.handler.on_rejected(RejectReason::kShed);
  if (!lingering_ && !outgoing.blocked()) {
    protocol_->on_idle();  // says good-bye, where that is usual
    static_cast<void>(outgoing.flush(fd_));
  }
  close_now();
}

inline void Connection::close_now() {
  if (closed()) return;
  parts_.held.remove(*this);
  ::close(fd_);  // leaves the epoll set, too
  fd_ = -1;
  context.out.clear();  // what could not be sent any more
  tell_finished();
  context.loop.wheel().cancel(this);
  protocol_->close();
  outgoing.drop();
  context.shared.leave(peer, is_unix);
  parts_.closed.push_back(this);
}

}  // namespace kyro
