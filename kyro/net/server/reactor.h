// One thread of the server: an event loop, its share of the connections, and the accepting of new
// ones.
//
// The listening sockets are shared: every reactor waits for them (EPOLLEXCLUSIVE, so one is woken)
// and gives each new connection to the reactor that has the fewest. So a handful of connections is
// spread evenly, which hashing over several listeners would not do.
//
// A round: wait; events; nodes posted by other threads (deferred answers, new connections,
// commands); answered and ready connections; deadlines; then the connections that closed are
// deleted.
//
// Thread rule: run() is the thread; commands come through the atomics and wake().
// Ownership: owns its connections; borrows the listeners and the other reactors.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "kyro/net/io/listener.h"
#include "kyro/net/server/connection.h"

namespace kyro {

class Reactor final {
 public:
  static constexpr int kAcceptsPerEvent = 64;
  static constexpr uint64_t kAcceptPauseMs = 100;  // after running out of descriptors
  static constexpr uint64_t kStarvedPollMs = 5;
  static constexpr size_t kShedAtOnce = 8;  // idle connections, for their descriptors

  enum class Command : uint8_t { kServe, kStopAccepting, kDrain, kStop };

  Reactor(ServerShared& shared, unsigned index)
      : parts_(shared), context_(parts_.context), index_(index), pause_(*this) {}
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  ~Reactor() { KYRO_CHECK(connections_ == nullptr); }

  // Before run(): `listeners` and `reactors` outlive this.
  [[nodiscard]] Status open(const std::vector<std::unique_ptr<Listener>>& listeners,
                            const std::vector<std::unique_ptr<Reactor>>& reactors) {
    reactors_ = &reactors;
    KYRO_TRY(context_.loop.open());
    for (const auto& listener : listeners) {
      doors_.push_back(std::make_unique<Door>(*this, *listener));
    }
    if (!open_doors()) return Status(Code::kIoError, "cannot wait for the listening socket");
    return Status();
  }

  // The thread. Returns after kStop, or after kDrain once every connection has closed; in both
  // cases not before every deferred task has been posted and run.
  inline void run();

  // Any thread. Commands only go up in severity. Before kDrain or kStop every reactor must have
  // closed its doors: one that still accepts could hand a connection to one that has left.
  void command(Command next) {
    Command now = command_.load(std::memory_order_relaxed);
    while (now < next && !command_.compare_exchange_weak(now, next, std::memory_order_seq_cst)) {
    }
    context_.loop.wake();
  }
  // Any thread: parked streams look again. Both sides change the same two atomics, never only read
  // them, so either this sees the stream, or the stream's next look sees what was stored before
  // this.
  void wake_streams() {
    if (context_.streams.fetch_add(0, std::memory_order_acq_rel) == 0) return;
    if (!streams_woken_.exchange(true, std::memory_order_acq_rel)) context_.loop.wake();
  }
  // Any thread: closes some idle connections in the next round.
  void shed_idle() {
    must_shed_.store(true, std::memory_order_release);
    context_.loop.wake();
  }
  // Any thread: a reactor that turns answers in its next round.
  void ask_alive() {
    asked_.store(true, std::memory_order_seq_cst);
    context_.loop.wake();
  }
  [[nodiscard]] bool has_answered() const { return !asked_.load(std::memory_order_acquire); }
  [[nodiscard]] uint32_t load() const { return load_.load(std::memory_order_relaxed); }
  // Any thread but this: waits until this reactor accepts nothing (more), after kStopAccepting.
  void wait_until_doors_closed() const { doors_closed_.wait(false, std::memory_order_acquire); }

 private:
  // A listening socket as this reactor sees it.
  struct Door final : EventTarget {
    Door(Reactor& at, const Listener& of) : reactor(at), listener(of) {}
    virtual ~Door() = default;
    void on_events(uint32_t) override { reactor.accept_from(listener); }
    Reactor& reactor;
    const Listener& listener;
  };
  struct AcceptPause final : TimerNode {
    explicit AcceptPause(Reactor& at) : reactor(at) {}
    void on_deadline() override {
      if (!reactor.accepting_) return;
      if (!reactor.open_doors()) reactor.pause_accepting();
    }
    Reactor& reactor;
  };
  // A connection that another reactor has accepted for this one.
  struct Handover final : QueueNode {
    void run_queued() override {
      to->adopt(fd, peer, is_unix);
      delete this;
    }
    Reactor* to = nullptr;
    int fd = -1;
    PeerAddress peer;
    bool is_unix = false;
  };

  inline void accept_from(const Listener& listener);
  inline void turn_away(int fd, ServerShared::Admission why);
  inline void adopt(int fd, const PeerAddress& peer, bool is_unix);
  inline void obey();
  inline void work_lists();
  inline void close_idle();
  inline void bury();

  [[nodiscard]] bool open_doors() {
    for (const auto& door : doors_) {
      if (!context_.loop.add(door->listener.fd(), EPOLLIN | EPOLLEXCLUSIVE, door.get()) &&
          errno != EEXIST) {
        return false;
      }
    }
    return true;
  }
  void close_doors() {
    for (const auto& door : doors_) context_.loop.remove(door->listener.fd());
  }
  void pause_accepting() {
    close_doors();
    context_.loop.wheel().arm(&pause_, context_.loop.now_ms() + kAcceptPauseMs);
  }
  [[nodiscard]] Reactor* least_loaded() {
    Reactor* best = this;
    for (const auto& other : *reactors_) {
      if (other->load() < best->load()) best = other.get();
    }
    return best;
  }
  template <class Visit>
  void for_each_connection(Visit visit) {
    for (Connection* at = connections_; at != nullptr;) {
      Connection* next = at->next_of_reactor;  // closing does not unlink before bury()
      visit(*at);
      at = next;
    }
  }

  ReactorParts parts_;
  ReactorContext& context_;
  const unsigned index_;
  const std::vector<std::unique_ptr<Reactor>>* reactors_ = nullptr;
  std::vector<std::unique_ptr<Door>> doors_;
  SpareDescriptor spare_;
  AcceptPause pause_;
  bool accepting_ = true;
  Connection* connections_ = nullptr;
  std::vector<Connection*> working_;  // the list at work, while its successor fills
  Command obeyed_ = Command::kServe;
  alignas(64) std::atomic<Command> command_{Command::kServe};
  std::atomic<bool> streams_woken_{false};
  std::atomic<bool> asked_{false};  // by ask_alive()
  std::atomic<bool> must_shed_{false};
  std::atomic<bool> doors_closed_{false};
  std::atomic<uint32_t> load_{0};
};

inline void Reactor::run() {
  while (true) {
    uint64_t timeout_ms = UINT64_MAX;
    if (!parts_.starved.empty()) timeout_ms = kStarvedPollMs;
    if (!parts_.ready.empty()) timeout_ms = 0;
    context_.loop.wait(timeout_ms);
    if (context_.date.refresh(context_.loop.now_ns())) {
      parts_.http1.heads.set_date(context_.date.text());
    }
    context_.handler.on_round_begin(index_);
    context_.loop.dispatch_events();
    context_.loop.run_posted();
    context_.handler.on_round_gathered(index_);
    context_.loop.run_posted();
    obey();
    work_lists();
    context_.loop.expire_timers();
    context_.handler.on_round_end(index_);
    bury();
    const bool leaving = obeyed_ >= Command::kDrain;
    if (leaving && load() == 0 && context_.tasks_outstanding == 0) return;
  }
}

inline void Reactor::accept_from(const Listener& listener) {
  for (int i = 0; i < kAcceptsPerEvent && accepting_; ++i) {
    PeerAddress peer;
    const int fd = listener.accept(&peer);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EMFILE || errno == ENFILE) {
        context_.handler.on_rejected(RejectReason::kFileDescriptors);
        if (spare_.shed(listener)) continue;
      }
      if (errno != EAGAIN && errno != EWOULDBLOCK) pause_accepting();
      return;
    }
    const bool is_unix = listener.is_unix();
    const ServerShared::Admission admission = context_.shared.admit(peer, is_unix);
    if (admission != ServerShared::Admission::kAdmitted) {
      turn_away(fd, admission);
      continue;
    }
    Reactor* const to = least_loaded();
    to->load_.fetch_add(1, std::memory_order_relaxed);
    if (to == this) {
      adopt(fd, peer, is_unix);
      continue;
    }
    auto* handover = new Handover;
    handover->to = to;
    handover->fd = fd;
    handover->peer = peer;
    handover->is_unix = is_unix;
    to->context_.loop.post(handover);
  }
}

// Over a cap: one answer if the socket takes it, and close.
inline void Reactor::turn_away(int fd, ServerShared::Admission why) {
  const bool per_ip = why == ServerShared::Admission::kTooManyOfIp;
  context_.handler.on_rejected(per_ip ? RejectReason::kPerIpCap : RejectReason::kConnectionCap);
  std::string body;
  append_error_json(
      body, per_ip ? "too_many_connections" : "overloaded",
      per_ip ? "This address has too many connections." : "The server has too many connections.");
  ResponseHead head;
  head.status = per_ip ? 429 : 503;
  head.persistence = ResponseHead::Persistence::kClose;
  head.length = body.size();
  head.content_type = "application/json";
  head.fields = "Retry-After: 1\r\n";
  std::string answer;
  parts_.http1.heads.append(answer, head);
  answer.append(body);
  // A request that is already there would turn the close into a reset: take it in first.
  static_cast<void>(recv(fd, context_.in.get(), ReactorContext::kInputBytes, MSG_DONTWAIT));
  static_cast<void>(::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  shutdown(fd, SHUT_WR);
  ::close(fd);
}

inline void Reactor::adopt(int fd, const PeerAddress& peer, bool is_unix) {
  auto* connection = new Connection(parts_, fd, peer, is_unix);
  connection->next_of_reactor = connections_;
  if (connections_ != nullptr) connections_->previous_of_reactor = connection;
  connections_ = connection;
  connection->start();
  if (obeyed_ == Command::kDrain) connection->drain();
  if (obeyed_ == Command::kStop) connection->close_now();
}

inline void Reactor::obey() {
  const Command command = command_.load(std::memory_order_seq_cst);
  if (command == obeyed_) return;
  if (accepting_) {
    accepting_ = false;
    close_doors();
    context_.loop.wheel().cancel(&pause_);
    doors_closed_.store(true, std::memory_order_release);
    doors_closed_.notify_all();
  }
  const Command before = std::exchange(obeyed_, command);
  if (command >= Command::kDrain && before < Command::kDrain) {
    context_.draining = true;
    for_each_connection([](Connection& connection) { connection.drain(); });
  }
  if (command == Command::kStop) {
    for_each_connection([](Connection& connection) { connection.close_now(); });
  }
}

inline void Reactor::work_lists() {
  if (asked_.load(std::memory_order_relaxed)) asked_.store(false, std::memory_order_release);
  if (must_shed_.load(std::memory_order_relaxed)) close_idle();
  if (streams_woken_.load(std::memory_order_relaxed)) {
    streams_woken_.exchange(false, std::memory_order_acq_rel);
    working_ = parts_.streaming;
    for (Connection* connection : working_) connection->wake_streams();
  }
  if (!parts_.asking.empty()) {
    working_.clear();
    working_.swap(parts_.asking);
    for (Connection* connection : working_) {
      connection->clear_asking();
      connection->drive();
    }
  }
  if (!parts_.ready.empty()) {
    working_.clear();
    working_.swap(parts_.ready);
    for (Connection* connection : working_) {
      connection->clear_ready();
      connection->drive();
    }
  }
  Connection::feed_starved(parts_);
}

// Of the connections that idle, those that are here for longest.
inline void Reactor::close_idle() {
  must_shed_.store(false, std::memory_order_release);
  std::vector<Connection*> idle;  // newest first
  for_each_connection([&idle](Connection& connection) {
    if (connection.is_idle()) idle.push_back(&connection);
  });
  const size_t count = std::min(idle.size(), kShedAtOnce);
  for (Connection* connection : std::span(idle).last(count)) {
    context_.handler.on_rejected(RejectReason::kFileDescriptors);
    connection->close_now();
  }
}

// Deletes what closed in this round.
inline void Reactor::bury() {
  while (!parts_.closed.empty()) {
    Connection* const connection = parts_.closed.back();
    parts_.closed.pop_back();
    connection->leave_lists();
    if (connection->previous_of_reactor != nullptr) {
      connection->previous_of_reactor->next_of_reactor = connection->next_of_reactor;
    } else {
      connections_ = connection->next_of_reactor;
    }
    if (connection->next_of_reactor != nullptr) {
      connection->next_of_reactor->previous_of_reactor = connection->previous_of_reactor;
    }
    delete connection;
    load_.fetch_sub(1, std::memory_order_relaxed);
  }
}

}  // namespace kyro
