// HTTP/2 on one connection: many requests at once, each answered by itself.
//
// Requests that came in one read are announced to the handler together and then told one by one.
// Heads and small bodies are written at once; longer ones go round robin, a piece of each, as far
// as the windows of the client and one output step allow, so that no stream waits for another.
//
// Nothing is read while the socket does not take what is there, so that who does not read cannot
// have us answer pings into memory. What a request may keep of memory is given in windows: while
// the bodies of all are over their bound, a stream gets no more of it. A request's body has
// body_timeout_ms; an answer that waits for a window has write_timeout_ms, and every
// stream_bytes_per_ms_min bytes of it that are taken buy a millisecond. Then the stream is given
// up, and the others go on.
//
// A connection that ends says so in two steps (RFC 9113 section 6.8): streams that the client opens
// before it has heard of it are still answered.
//
// Thread rule: the reactor's thread. Ownership: owns its session; an exchange is its stream's.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/http/protocol.h"
#include "kyro/net/http2/answer_memory.h"
#include "kyro/net/http2/exchange.h"
#include "kyro/net/http2/session.h"

namespace kyro {

class Http2Protocol final : public Protocol, private Http2Events {
 public:
  // What one stream sends before the next has its turn, and all of them before the socket is asked.
  static constexpr size_t kPieceBytes = kFrameBytesMax;
  static constexpr size_t kTurnBytes = 64 * 1024;
  // Requests that are announced to the handler together.
  static constexpr size_t kTogetherMax = 64;
  // A body up to this is neither counted nor made to wait, nor refused.
  static constexpr size_t kUncountedBytes = 4096;

  Http2Protocol(Http2Workspace& workspace, ProtocolHost& host)
      : workspace_(workspace),
        context_(workspace.context),
        host_(host),
        session_(*this, workspace.streams) {}

  bool work() override;
  [[nodiscard]] bool takes_input() const override {
    return !is_closing_ && !host_.outgoing.blocked();
  }
  [[nodiscard]] bool has_room() override { return true; }
  void receive(std::string_view bytes) override;
  void on_end_of_input() override;
  void on_client_ended() override {
    for_each([](Http2Exchange& x) { x.abandon_waiting(); });
  }
  [[nodiscard]] bool has_work() const override {
    return first_turn_ != nullptr && !host_.outgoing.blocked();
  }

  [[nodiscard]] uint64_t deadline_ms() override;
  void on_deadline() override;
  void on_idle() override;
  // The client reads nothing of any stream.
  [[nodiscard]] bool is_revoked() const override;
  [[nodiscard]] Waiting waits_for_client() const override;

  [[nodiscard]] bool drain() override;
  [[nodiscard]] bool wake_streams() override;
  [[nodiscard]] bool is_between_requests() const override { return false; }
  [[nodiscard]] bool is_quiet() const override { return session_.streams().count() == 0; }
  [[nodiscard]] bool is_closing() const override { return is_closing_; }
  [[nodiscard]] bool lingers() const override { return session_.failed(); }
  [[nodiscard]] bool is_broken() const override { return false; }
  void close() override;

 private:
  friend class Http2Exchange;
  // What a header block is; see AnswerMemory.
  enum Block : uint8_t { kHeadOfLength, kHeadOfMessage, kHeadOfStream, kHeadAlone, kTrailers };
  static constexpr size_t kKeptInputBytes = 512;
  // What having a source make a piece costs of a turn, however small it is.
  static constexpr size_t kProducedBytes = 4096;
  static constexpr size_t kSharedPieceBytes = 4096;  // a smaller one is copied
  static constexpr uint64_t kRoomPollMs = 10;
  static constexpr uint64_t kLookMs = 1000;  // between looks at a source that may be revoked

  // ---- Http2Events ----
  void on_head(Http2Stream& stream, const Http2Head& head, bool ends) override;
  void on_body(Http2Stream& stream, std::string_view piece, bool ends) override;
  void on_reset(Http2Stream& stream) override;
  void on_window() override { windows_grew_ = true; }
  void on_pong() override;
  void on_refusal(const Http2Refusal& refusal) override;

  // ---- requests ----
  void answer_arrived();
  void announce(std::span<Http2Exchange* const> arrived);
  void tell(Http2Exchange& x);
  [[nodiscard]] bool check_head(Http2Exchange& x);
  [[nodiscard]] bool take_head(Http2Exchange& x);
  void dispatch(Http2Exchange& x);
  void refuse(Http2Exchange& x, int status, std::string_view code, std::string_view message,
              RejectReason reason);
  void refuse_too_large(Http2Exchange& x);
  void run_task(Http2Exchange& x, Task* task);
  void let_go(Http2Exchange& x);
  void note_whole(Http2Exchange& x);
  void give_up(Http2Exchange& x, Http2Error error, RejectReason reason);
  void keep_body(Http2Exchange& x, std::string_view piece);
  void charge(Http2Exchange& x, uint64_t bytes);
  void return_window(Http2Exchange& x, uint32_t bytes);
  [[nodiscard]] bool has_room_for(const Http2Exchange& x);

  // ---- answers ----
  [[nodiscard]] std::string& out() { return is_out_of_turn_ ? kept_out_ : context_.out; }
  void send_head(Http2Exchange& x, std::string_view content_type, const uint64_t* length,
                 Block kind);
  template <class Code>
  void append_known(AnswerMemory::Key key, const HpackEncoder& encoder, std::string& block,
                    Code code);
  void append_head_fields(const Http2Exchange& x, std::string_view content_type, Block kind,
                          HpackEncoder& encoder, std::string& block) const;
  [[nodiscard]] bool send_at_once(Http2Exchange& x, std::string_view body);
  void wait_for_turn(Http2Exchange& x);
  void take_turns();
  [[nodiscard]] bool send_piece(Http2Exchange& x);
  [[nodiscard]] bool produce(Http2Exchange& x);
  void send_trailers(Http2Exchange& x);
  void end_source(Http2Exchange& x);
  void join_streaming(Http2Exchange& x);
  void leave_streaming(Http2Exchange& x);
  [[nodiscard]] bool drain_source(Http2Exchange& x);
  void wait_for_window(Http2Exchange& x);
  void on_progress(Http2Exchange& x, size_t bytes);
  void count_unsent(Http2Exchange& x);
  void set_counted(Http2Exchange& x, uint64_t bytes);
  [[nodiscard]] bool may_keep(size_t bytes) const;
  void refuse_answer(Http2Exchange& x);
  void on_windows();

  // ---- deadlines and the end ----
  void note_deadline(uint64_t at_ms) { earliest_ms_ = std::min(earliest_ms_, at_ms); }
  [[nodiscard]] static uint64_t next_deadline_ms(const Http2Exchange& x);
  void expire(Http2Exchange& x, uint64_t now_ms);
  [[nodiscard]] bool expire_rest(Http2Exchange& x, uint64_t now_ms);
  void watch_partial(bool moved);
  void end_if_done();
  void abandon();
  void finish_shutdown();
  template <class Visit>
  void for_each(Visit visit) const {
    session_.streams().for_each(
        [&](Http2Stream& stream) { visit(*static_cast<Http2Exchange*>(stream.user)); });
  }
  // Those of which `is_wanted` is true, to do something that may end their streams.
  template <class IsWanted>
  [[nodiscard]] std::vector<Http2Exchange*> collect(IsWanted is_wanted) const {
    std::vector<Http2Exchange*> found;
    for_each([&](Http2Exchange& x) {
      if (is_wanted(x)) found.push_back(&x);
    });
    return found;
  }

  Http2Workspace& workspace_;
  ReactorContext& context_;
  ProtocolHost& host_;
  Http2Session session_;
  AnswerMemory known_head_;
  AnswerMemory known_trailers_;
  std::string left_;                     // of a frame that is not whole
  std::vector<Http2Exchange*> arrived_;  // to be told; those whose stream has ended are let go of
  Http2Exchange* first_turn_ = nullptr;  // those that can send, in turn
  Http2Exchange* last_turn_ = nullptr;
  std::string kept_out_;  // what tasks have answered since the last turn, and what is to be told
  std::vector<ReactorContext::Finished> kept_finished_;
  uint64_t earliest_ms_ = kNever;    // no deadline of a stream is before it
  uint64_t partial_since_ms_ = 0;    // a frame or a head is not whole since then
  uint64_t shutdown_by_ms_ = 0;      // the client must have heard of the shutdown by then
  uint64_t unsent_bytes_ = 0;        // of all, as far as they are counted
  uint64_t body_bytes_ = 0;          // of requests, as far as they are counted
  uint32_t unfinished_ = 0;          // exchanges whose request is not whole
  uint32_t waiting_for_window_ = 0;  // exchanges; at least
  uint32_t sources_ = 0;             // exchanges with one
  bool windows_grew_ = false;
  bool is_short_of_room_ = false;  // a window is withheld, so a client waits for us
  bool is_out_of_turn_ = false;
  bool is_draining_ = false;
  bool is_shut_down_ = false;
  bool input_ended_ = false;
  bool is_closing_ = false;
};

// ---- a turn ----

inline bool Http2Protocol::work() {
  context_.out.append(kept_out_);
  kept_out_.clear();
  for (const ReactorContext::Finished& answer : kept_finished_) context_.add_finished(answer);
  kept_finished_.clear();
  take_turns();
  end_if_done();
  return false;
}

// Only of a frame that is not whole the beginning is kept.
inline void Http2Protocol::receive(std::string_view bytes) {
  const uint64_t now_ms = context_.loop.now_ms();
  size_t taken = 0;
  if (left_.empty()) {
    taken = session_.receive(bytes, now_ms, context_.out);
    left_.assign(bytes.substr(taken));
  } else {
    left_.append(bytes);
    taken = session_.receive(left_, now_ms, context_.out);
    left_.erase(0, taken);
  }
  if (left_.empty() && left_.capacity() > kKeptInputBytes) std::string().swap(left_);
  if (session_.failed()) return abandon();
  watch_partial(taken != 0);
  answer_arrived();
  take_turns();
  end_if_done();
}

inline void Http2Protocol::on_end_of_input() {
  if (std::exchange(input_ended_, true)) return;
  for (Http2Exchange* x : collect([](const Http2Exchange& each) { return !each.is_whole_; })) {
    session_.reset(*x->stream_, Http2Error::kCancel, context_.out);
    x->stream_ = nullptr;
    let_go(*x);
  }
  end_if_done();
}

}  // namespace kyro

#include "kyro/net/http2/protocol_answers.h"   // IWYU pragma: export
#include "kyro/net/http2/protocol_end.h"       // IWYU pragma: export
#include "kyro/net/http2/protocol_requests.h"  // IWYU pragma: export
