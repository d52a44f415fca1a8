// One version of HTTP on one connection, as the connection sees it: bytes in, bytes out, and what
// is to happen when.
//
// The connection has the socket, the deadlines of idling and of writing, and the order in which
// things are done; the protocol knows what the bytes mean. Output goes to the reactor's scratch
// output (context.out) while the connection has its turn, and is sent at the end of it.
//
// Thread rule: the reactor's thread. Ownership: the connection owns its protocol, and outlives it.
#pragma once

#include <cstdint>
#include <string_view>

#include "kyro/net/http/outgoing.h"
#include "kyro/net/http/reactor_context.h"

namespace kyro {

// What a protocol has of its connection.
class ProtocolHost {
 public:
  ProtocolHost(ReactorContext& reactor, const PeerAddress& peer_address, bool unix_socket)
      : context(reactor), outgoing(reactor), peer(peer_address), is_unix(unix_socket) {}

  ReactorContext& context;
  Outgoing outgoing;
  const PeerAddress peer;
  const bool is_unix;

  // Work has come from elsewhere, such as the answer of a task: asks for a turn in this round.
  virtual void ask_turn() = 0;
  // Whether wake_streams() is to be called when handlers may have something new for streams. What
  // a handler has is looked at after joining, so that no wake-up is missed.
  virtual void join_streaming() = 0;
  virtual void leave_streaming() = 0;
  // The last bytes are ready: the client has until then to take them.
  virtual void end_by(uint64_t ms) = 0;

 protected:
  ~ProtocolHost() = default;
};

class Protocol {
 public:
  static constexpr uint64_t kNever = TimerNode::kNever;
  virtual ~Protocol() = default;

  // ---- a turn, in this order ----

  // Moves on what needs no new input: answers that have come, streams, input that was kept. True
  // if kept input was worked through, which is as good as reading.
  virtual bool work() = 0;
  // Whether there is use for input.
  [[nodiscard]] virtual bool takes_input() const = 0;
  // Whether more input may be kept now. If not, the connection asks again when bytes have been
  // given back elsewhere.
  [[nodiscard]] virtual bool has_room() = 0;
  virtual void receive(std::string_view bytes) = 0;
  // The client has shut down its side, and all that it sent has been received. Called every turn.
  virtual void on_end_of_input() = 0;
  // The client has gone, or shut down its side: what it may still have sent is in the socket.
  // Called every turn.
  virtual void on_client_ended() = 0;
  // Another turn would get further at once.
  [[nodiscard]] virtual bool has_work() const = 0;

  // ---- deadlines ----

  // When on_deadline() is to be called: kNever for not at all, 0 if nothing is under way and the
  // connection idles.
  [[nodiscard]] virtual uint64_t deadline_ms() = 0;
  virtual void on_deadline() = 0;
  // It has idled for too long: says good-bye if that is usual, and is closing.
  virtual void on_idle() = 0;
  // A body that is being made must not wait any longer for a client that does not read.
  [[nodiscard]] virtual bool is_revoked() const = 0;

  // What is kept for the client, if everything under way waits for that.
  struct Waiting {
    bool is_waiting = false;
    uint64_t answer_bytes = 0;   // of memory, beside what is outgoing
    uint64_t request_bytes = 0;  // of requests that are not whole
  };
  [[nodiscard]] virtual Waiting waits_for_client() const = 0;

  // ---- the end ----

  // The server stops. True if what has arrived by now is to be looked at.
  [[nodiscard]] virtual bool drain() = 0;
  // Handlers may have something new for streams; true if one was waiting for that.
  [[nodiscard]] virtual bool wake_streams() = 0;
  // No request is being received.
  [[nodiscard]] virtual bool is_between_requests() const = 0;
  // No answer is under way.
  [[nodiscard]] virtual bool is_quiet() const = 0;
  // The connection closes when everything is sent.
  [[nodiscard]] virtual bool is_closing() const = 0;
  // The client may still be sending: the close must not take the answer with it.
  [[nodiscard]] virtual bool lingers() const = 0;
  // The connection breaks off once it has tried to send what there is.
  [[nodiscard]] virtual bool is_broken() const = 0;
  // Gives everything back; after that nothing else is called.
  virtual void close() = 0;
};

}  // namespace kyro
