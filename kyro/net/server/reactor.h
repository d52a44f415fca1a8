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
#include <utility>
#include <vector>

#include "kyro/net/io/listener.h"
#include "kyro/net/server/connection.h"
#include "kyro/net/server/shedding.h"
#include "kyro/net/server/turned_away.h"

namespace kyro {

class Reactor final {
 public:
  static constexpr int kAcceptsPerEvent = 64;
  static constexpr uint64_t kAcceptPauseMs = 100;  // after running out of descriptors
  static constexpr uint64_t kStarvedPollMs = 5;
  static constexpr uint64_t kRoomMs = 8;  // accepting waits so long for a place to be given up

  enum class Command : uint8_t { kServe, kStopAccepting, kDrain, kStop };

  Reactor(ServerShared& shared, unsigned index)
      : parts_(shared), context_(parts_.context), index_(index), pause_(*this) {}
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  ~Reactor() { KYRO_CHECK(connections_ == nullptr); }

  using Reactors = std::vector<std::unique_ptr<Reactor>>;

  // Before run(): what is given outlives this.
  [[nodiscard]] Status open(const std::vector<std::unique_ptr<Listener>>& listeners,
                            const Reactors& reactors, Shedding& shedding) {
    reactors_ = &reactors;
    shedding_ = &shedding;
    shedding.add(parts_.held);
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
  // Any thread: whether room is being made, or will be now, so that to wait for it makes sense.
  [[nodiscard]] static bool make_room(const Shedding::Order& order, Shedding& shedding,
                                      const Reactors& reactors, uint64_t now_ms) {
    return !shedding.begin(order) || hand_on(shedding, reactors, now_ms);
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
  [[nodiscard]] bool make_room(size_t wanted, HeldKinds kinds) {
    const Shedding::Order order{wanted, kinds, context_.config.shed_after_ms};
    return make_room(order, *shedding_, *reactors_, context_.loop.now_ms());
  }
  // Who holds an order gives it to the reactor whose turn it is; false if it has ended.
  inline static bool hand_on(Shedding& shedding, const Reactors& reactors, uint64_t now_ms);
  inline void turn_away(int fd, RejectReason why);
  inline void adopt(int fd, const PeerAddress& peer, bool is_unix);
  inline void obey();
  inline void work_lists();
  inline void make_room_for_bytes();
  inline void shed();
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
  void pause_accepting(uint64_t ms = kAcceptPauseMs) {
    close_doors();
    context_.loop.wheel().arm(&pause_, context_.loop.now_ms() + ms);
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
  const Reactors* reactors_ = nullptr;
  Shedding* shedding_ = nullptr;
  std::vector<std::unique_ptr<Door>> doors_;
  SpareDescriptor spare_;
  AcceptPause pause_;
  bool accepting_ = true;
  Connection* connections_ = nullptr;
  std::vector<std::unique_ptr<TurnedAway>> turned_away_;
  std::vector<Connection*> working_;  // the list at work, while its successor fills
  Command obeyed_ = Command::kServe;
  alignas(64) std::atomic<Command> command_{Command::kServe};
  std::atomic<bool> streams_woken_{false};
  std::atomic<bool> asked_{false};      // by ask_alive()
  std::atomic<bool> has_order_{false};  // of Shedding
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
    // Nobody goes for a newcomer that another reactor has taken.
    if (context_.shared.is_full()) {
      if (!listener.has_pending()) return;
      if (make_room(1, kHeldAnything)) return pause_accepting(kRoomMs);
    }
    PeerAddress peer;
    const int fd = listener.accept(&peer);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EMFILE || errno == ENFILE) {
        if (make_room(Shedding::kMost, kHeldAnything)) return pause_accepting(kRoomMs);
        const auto answer = [this](int victim) {
          turn_away(victim, RejectReason::kFileDescriptors);
        };
        if (spare_.shed(listener, answer)) continue;
      }
      if (errno != EAGAIN && errno != EWOULDBLOCK) pause_accepting();
      return;
    }
    const bool is_unix = listener.is_unix();
    const ServerShared::Admission admission = context_.shared.admit(peer, is_unix);
    if (admission != ServerShared::Admission::kAdmitted) {
      const bool per_ip = admission == ServerShared::Admission::kTooManyOfIp;
      turn_away(fd, per_ip ? RejectReason::kPerIpCap : RejectReason::kConnectionCap);
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

inline bool Reactor::hand_on(Shedding& shedding, const Reactors& reactors, uint64_t now_ms) {
  const size_t at = shedding.turn(now_ms);
  if (at == Shedding::kNobody) {
    shedding.end();
    return false;
  }
  reactors[at]->has_order_.store(true, std::memory_order_release);
  reactors[at]->context_.loop.wake();
  return true;
}

// There is no place. Some may be waited for until they say what they speak; not where that takes
// descriptors of which there are none.
inline void Reactor::turn_away(int fd, RejectReason why) {
  context_.handler.on_rejected(why);
  auto away = std::make_unique<TurnedAway>(context_, parts_.http1.heads, fd, why);
  std::erase_if(turned_away_, [](const auto& one) { return one->is_over(); });
  const size_t waiting_max = context_.config.turned_away_max / reactors_->size();
  const bool waits = why != RejectReason::kFileDescriptors && turned_away_.size() < waiting_max;
  if (!waits) return away->tell_now();
  if (!away->begin()) turned_away_.push_back(std::move(away));
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
    for (const auto& away : turned_away_) away->tell_now();
    turned_away_.clear();
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
  if (has_order_.load(std::memory_order_relaxed)) shed();
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
  if (context_.wants_answer_room || context_.wants_request_room) make_room_for_bytes();
}

inline void Reactor::make_room_for_bytes() {
  const bool for_answers = std::exchange(context_.wants_answer_room, false);
  const bool for_requests = std::exchange(context_.wants_request_room, false);
  static_cast<void>(
      make_room(1, static_cast<HeldKinds>((for_answers ? held_bit(HeldKind::kAnswer) : 0) |
                                          (for_requests ? held_bit(HeldKind::kRequest) : 0))));
}

// It is this reactor's turn, and maybe the next one, too.
inline void Reactor::shed() {
  has_order_.exchange(false, std::memory_order_acquire);
  Shedding::Order& order = shedding_->order();
  const uint64_t now_ms = context_.loop.now_ms();
  do {
    HeldList::Node* const first = parts_.held.first(order.kinds, order.least_ms, now_ms);
    if (first == nullptr) break;  // its client has moved meanwhile
    static_cast<Connection*>(first)->shed();
    --order.wanted;
  } while (shedding_->turn(now_ms) == index_);
  static_cast<void>(hand_on(*shedding_, *reactors_, now_ms));
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
