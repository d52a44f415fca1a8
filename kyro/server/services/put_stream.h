// The call PutStream: many puts on one stream, each by itself, each answered in its turn.
//
// What has come is cut into bundles (put_bundle.h), which are submitted and answered in the order
// in which they came. One that depends on the current version may come back from the committer:
// later puts of its key wait until it is done.
//
// Memory: the client may send as much as its window lets it, and the window opens as puts are
// answered. A put that is too large for that is collected, one at a time, in memory that is counted
// with that of other such puts. Who does not read the answers is not read from.
//
// Thread rule: the reactor's thread. Ownership: reader and answer share the stream.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/call.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/write.h"
#include "kyro/server/services/put_bundle.h"
#include "kyro/storage/engine.h"

namespace kyro {

// Memory of puts that are being collected, all streams together.
struct CollectedPuts {
  uint64_t bytes_max = kDefaultInflightBytesMax;
  std::atomic<uint64_t> bytes{0};
};

class PutStream final : public PutBundleOwner, public std::enable_shared_from_this<PutStream> {
 public:
  // In on_headers.
  static void start(Engine& engine, Exchange& x, CollectedPuts& collected,
                    const StreamRules& rules) {
    auto stream = std::make_shared<PutStream>(engine, x, collected, rules);
    x.read_body(std::make_unique<Reader>(std::move(stream)));
  }

  PutStream(Engine& engine, Exchange& x, CollectedPuts& collected, const StreamRules& rules)
      : engine_(engine),
        collected_(collected),
        permit_(rules.access.permit(x.request())),
        end_(x, rules.calls) {}
  ~PutStream() { drop_pending(); }

  void on_submitted(Exchange& x, PutBundle& bundle) override {
    if (hashing_ == &bundle) hashing_ = nullptr;
    work(x);
  }
  void on_done(Exchange& x, PutBundle& bundle) override {
    if (bundle.is_conditional()) open_keys_.erase(bundle.key());
    if (large_ == &bundle) large_ = nullptr;
    work(x);
    x.wake();
  }

 private:
  // A bundle is cut at these.
  static constexpr size_t kBundlePuts = 512;
  static constexpr size_t kBundleBytes = 64 * 1024;
  // What may stand around a value in its message.
  static constexpr uint64_t kMessageSpareBytes = 64 * 1024;

  class Reader final : public BodyReader {
   public:
    explicit Reader(std::shared_ptr<PutStream> stream) : stream_(std::move(stream)) {}
    ~Reader() override { stream_->exchange_ = nullptr; }
    void on_piece(Exchange& x, std::string_view piece, bool ends) override {
      stream_->exchange_ = &x;
      stream_->on_piece(x, piece, ends);
    }

   private:
    const std::shared_ptr<PutStream> stream_;
  };

  class Answers final : public BodyStream {
   public:
    explicit Answers(std::shared_ptr<PutStream> stream) : stream_(std::move(stream)) {}
    Next produce(std::string& out, size_t budget_bytes) override {
      return stream_->produce(out, budget_bytes);
    }
    [[nodiscard]] uint64_t heartbeat_ms() const override {
      return stream_->end_.heartbeat_ms(BodyStream::heartbeat_ms());
    }
    [[nodiscard]] bool is_revoked() const override { return !stream_->permit_.is_valid(); }
    bool on_drain(std::string&) override {
      stream_->stop(rpc::GrpcCode::kUnavailable, "the server is stopping");
      return stream_->bundles_.empty();
    }
    void on_end(Exchange& x) override { stream_->end_.add_to(x); }

   private:
    const std::shared_ptr<PutStream> stream_;
  };

  void on_piece(Exchange& x, std::string_view piece, bool ends) {
    if (is_stopped_ || (x.responded() && !has_answers_)) return;
    pending_.append(piece);
    unreturned_ += piece.size();
    has_ended_ = ends;
    work(x);
    if (has_answers_) return x.wake();
    if (is_stopped_ && bundles_.empty()) return end_.respond(x);
    has_answers_ = true;
    x.respond_stream(200, rpc::kCallType, std::make_unique<Answers>(shared_from_this()));
  }

  // Submits what there is, as far as that may be now.
  void work(Exchange& x) {
    if (!permit_.is_valid()) stop(rpc::GrpcCode::kUnauthenticated, kWithdrawn);
    while (!is_stopped_ && hashing_ == nullptr && cut(x)) {
    }
    pending_.erase(0, at_);
    at_ = 0;
    if (!is_stopped_) collect(x);
    if (is_stopped_) drop_pending();
  }

  // Makes a bundle of the next messages and submits it; false if there are none for now.
  bool cut(Exchange& x) {
    const auto bundle = std::make_shared<PutBundle>(engine_, weak_from_this());
    const size_t begin = at_;
    for (size_t puts = 0; puts < kBundlePuts && at_ - begin < kBundleBytes; ++puts) {
      std::string_view message;
      if (!next_message(&message) || !add_to(*bundle, message)) break;
      at_ += rpc::kMessageHeadBytes + message.size();
      if (bundle->is_done() || bundle->is_conditional() || bundle->is_large()) break;
    }
    if (bundle->empty()) return false;
    take_bytes(*bundle, begin);
    bundles_.push_back(bundle);
    if (!bundle->is_done()) bundle->submit(bundle, x);
    if (bundle->is_done()) return true;
    if (bundle->is_conditional()) open_keys_.insert(bundle->key());
    if (bundle->is_large()) large_ = bundle.get();
    if (bundle->is_hashing()) hashing_ = bundle.get();
    return true;
  }

  // The next message, if it is whole.
  bool next_message(std::string_view* message) {
    const std::string_view rest = std::string_view(pending_).substr(at_);
    const auto size =
        rpc::message_size(rest, engine_.options().max_value_bytes + kMessageSpareBytes);
    if (!size.ok()) {
      stop(rpc::grpc_code_of(size.status().code()), size.status().message());
      return false;
    }
    if (!*size || rest.size() - rpc::kMessageHeadBytes < **size) {
      const bool is_short = has_ended_ && !rest.empty();
      if (is_short) stop(rpc::GrpcCode::kInvalidArgument, "the last message is cut short");
      return false;
    }
    *message = rest.substr(rpc::kMessageHeadBytes, **size);
    return true;
  }

  // False if the put has to wait, or to be a bundle by itself.
  bool add_to(PutBundle& bundle, std::string_view message) {
    rpc::PutRequest put;
    Result<Mutation> mutation = Status(Code::kInvalid, "the message is no PutRequest");
    const auto when = [this](const Lifetime& lifetime) { return expiry_of(engine_, lifetime); };
    if (put.decode(message)) mutation = mutation_of(put, when);
    Status status = mutation.status();
    if (status.ok()) status = engine_.check({&*mutation, 1});
    const bool is_conditional = put.condition.want != rpc::Condition::Want::kNothing;
    const bool is_alone =
        !status.ok() || is_conditional || put.value.size() > PutBundle::kLargeBytes;
    if (is_alone && !bundle.empty()) return false;
    if (!status.ok()) {
      bundle.refuse(std::move(status));
      return true;
    }
    if (!open_keys_.empty() && open_keys_.contains(put.key)) return false;
    bundle.add(*mutation);
    if (is_conditional) bundle.set_condition(put.condition);
    return true;
  }

  // Gives the bundle what lies between `begin` and at_: the larger part of pending_ is not copied.
  void take_bytes(PutBundle& bundle, size_t begin) {
    const size_t taken = at_ - begin;
    const size_t rest = pending_.size() - at_;
    const size_t returned = pending_.size() - begin - unreturned_;
    bundle.window_bytes = taken - std::min(taken, returned);
    unreturned_ -= bundle.window_bytes;
    const char* const found_in = pending_.data();
    if (collecting_ != 0) bundle.count_held(&collected_.bytes, std::exchange(collecting_, 0));
    if (begin == 0 && rest <= taken) {
      std::string kept = pending_.substr(at_);
      bundle.keep(std::move(pending_), found_in);
      pending_ = std::move(kept);
      at_ = 0;
      return;
    }
    bundle.keep(pending_.substr(begin, taken), found_in + begin);
  }

  // Lets the client send the rest of a message that is too large for its window.
  void collect(Exchange& x) {
    if (collecting_ == 0) {
      const auto size = rpc::message_size(pending_, UINT32_MAX);
      if (has_ended_ || large_ != nullptr || !size.ok() || !*size) return;
      if (**size <= PutBundle::kLargeBytes) return;
      const uint64_t before = collected_.bytes.fetch_add(**size, std::memory_order_relaxed);
      collecting_ = **size;
      if (before + collecting_ > collected_.bytes_max) {
        return stop(rpc::GrpcCode::kUnavailable, "too many large values are under way");
      }
      pending_.reserve(rpc::kMessageHeadBytes + collecting_);
    }
    if (unreturned_ != 0) x.body_taken(std::exchange(unreturned_, 0));
  }

  BodyStream::Next produce(std::string& out, size_t budget_bytes) {
    using Next = BodyStream::Next;
    if (!permit_.is_valid()) {
      stop(rpc::GrpcCode::kUnauthenticated, kWithdrawn);
      return Next::kEnd;
    }
    if (end_.is_late()) return Next::kEnd;
    const size_t begin = out.size();
    size_t window_bytes = 0;
    while (!bundles_.empty() && bundles_.front()->is_done()) {
      if (!bundles_.front()->answer(out, begin + budget_bytes)) break;
      window_bytes += bundles_.front()->window_bytes;
      bundles_.pop_front();
    }
    if (window_bytes != 0 && exchange_ != nullptr) exchange_->body_taken(window_bytes);
    const bool is_over = is_stopped_ || (has_ended_ && pending_.empty());
    if (bundles_.empty() && is_over) return Next::kEnd;
    return out.size() != begin ? Next::kMore : Next::kWait;
  }

  // No more is taken; what is under way is still answered, and then that is the status.
  void stop(rpc::GrpcCode code, std::string_view why) {
    if (is_stopped_) return;
    is_stopped_ = true;
    end_.set(code, why);
  }

  void drop_pending() {
    std::string().swap(pending_);
    collected_.bytes.fetch_sub(std::exchange(collecting_, 0), std::memory_order_relaxed);
  }

  Engine& engine_;
  CollectedPuts& collected_;
  const Permit permit_;
  rpc::StreamEnd end_;
  Exchange* exchange_ = nullptr;  // while its reader lives
  std::string pending_;           // what has come and is not in a bundle, from at_ on
  size_t at_ = 0;
  size_t unreturned_ = 0;    // of pending_, that the client's window is short of
  uint64_t collecting_ = 0;  // the size of the message that is collected; counted
  std::deque<std::shared_ptr<PutBundle>> bundles_;
  std::unordered_set<uint64_t> open_keys_;  // of conditional bundles under way
  const PutBundle* hashing_ = nullptr;      // nothing may be submitted before it
  const PutBundle* large_ = nullptr;        // not done yet
  bool has_answers_ = false;                // the answer has begun
  bool has_ended_ = false;                  // the client has said everything
  bool is_stopped_ = false;
};

}  // namespace kyro
