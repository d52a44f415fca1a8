// Puts of a stream on their way through the committer: a run of them without conditions, which is
// one write (they commit together as they would one after the other), or one that is conditional,
// large or refused.
//
// A large value is hashed in steps, between which its reactor serves others.
//
// Thread rule: the reactor's thread, but for done(). Ownership: its stream shares it; while it is
// under way it also keeps itself, and finds its stream gone if that has ended.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/routes/call_writes.h"
#include "kyro/storage/engine.h"

namespace kyro {

class PutBundle;

// Hears of the bundles of a stream.
class PutBundleOwner {
 public:
  // It has been handed to the committer, and what comes now cannot overtake it.
  virtual void on_submitted(Exchange& x, PutBundle& bundle) = 0;
  virtual void on_done(Exchange& x, PutBundle& bundle) = 0;

 protected:
  ~PutBundleOwner() = default;
};

class PutBundle final : public Task, public WriteRequest {
 public:
  // Values from here on are hashed in steps, and are a bundle each.
  static constexpr size_t kLargeBytes = 64 * 1024;

  PutBundle(Engine& engine, std::weak_ptr<PutBundleOwner> owner)
      : engine_(engine), owner_(std::move(owner)) {}
  ~PutBundle() override { uncount(); }

  // ---- how it is filled ----

  void add(const Mutation& put) {
    list_.push_back(put);
    if (!is_large()) list_.back().value_crc = crc32c(put.value);
  }
  // Its only put has a condition.
  void set_condition(const rpc::Condition& asked) {
    is_conditional_ = apply_condition(asked, list_[0].key, &condition_);
  }
  // Its only put is not done.
  void refuse(Status why) {
    status = std::move(why);
    count_ = 1;
    is_done_ = true;
  }
  // The messages that its values lie in, as the last `bytes` they were found in.
  void keep(std::string&& bytes, const char* found_in) {
    bytes_ = std::move(bytes);
    for (Mutation& put : list_) {
      if (put.value.empty()) continue;
      put.value = {bytes_.data() + (put.value.data() - found_in), put.value.size()};
    }
  }
  // `n` bytes count as held in `held` until they are not needed any more.
  void count_held(std::atomic<uint64_t>* held, uint64_t n) {
    held_ = held;
    held_bytes_ = n;
  }
  size_t window_bytes = 0;  // that its client may send again when it is answered

  // Hands it over; `self` is this.
  void submit(std::shared_ptr<PutBundle> self, Exchange& x) {
    self_ = std::move(self);
    count_ = list_.size();
    if (is_conditional_) {
      status = engine_.resolve_base(&condition_);
      if (!status.ok()) {
        self_.reset();
        is_done_ = true;
        return;
      }
    }
    x.defer(this);
    if (!is_large()) return send_off();
    is_hashing_ = true;
    post();
  }
  void done() override { post(); }
  inline void run(Exchange* x) override;

  // ---- how it is asked ----

  [[nodiscard]] bool empty() const { return list_.empty() && !is_done_; }
  [[nodiscard]] bool is_large() const {
    return list_.size() == 1 && list_[0].value.size() > kLargeBytes;
  }
  [[nodiscard]] bool is_hashing() const { return is_hashing_; }
  [[nodiscard]] bool is_done() const { return is_done_; }
  // It may come back from the committer: later puts of its key have to wait until it is done.
  [[nodiscard]] bool is_conditional() const { return is_conditional_; }
  [[nodiscard]] uint64_t key() const { return condition_.key; }

  // Appends answers until `out` has `bytes_max`; true when all have been given. REQUIRES:
  // is_done().
  [[nodiscard]] bool answer(std::string& out, size_t bytes_max) {
    for (; answered_ < count_ && out.size() < bytes_max; ++answered_) {
      if (status.ok()) {
        rpc::append_put_stream_response(out, offset - (count_ - 1 - answered_));
      } else {
        rpc::append_put_stream_response(
            out, static_cast<uint64_t>(rpc::grpc_code_of(status.code())), status.message());
      }
    }
    return answered_ == count_;
  }

 private:
  static constexpr size_t kHashedBytes = 1024 * 1024;  // in one step

  void send_off() {
    mutations = list_;
    if (is_conditional_) conditions = {&condition_, 1};
    engine_.enqueue(this);
  }
  // True when there is no more to hash.
  bool hash_step() {
    Mutation& put = list_[0];
    const std::string_view rest = put.value.substr(hashed_, kHashedBytes);
    put.value_crc = crc32c(rest, put.value_crc);
    hashed_ += rest.size();
    return hashed_ == put.value.size();
  }
  void uncount() {
    if (held_ != nullptr) held_->fetch_sub(held_bytes_, std::memory_order_relaxed);
    held_ = nullptr;
  }

  Engine& engine_;
  const std::weak_ptr<PutBundleOwner> owner_;
  std::shared_ptr<PutBundle> self_;
  std::string bytes_;
  std::vector<Mutation> list_;
  Condition condition_;
  bool is_conditional_ = false;
  bool is_hashing_ = false;
  bool is_done_ = false;  // `status` and `offset` are the outcome
  size_t hashed_ = 0;
  size_t count_ = 0;
  size_t answered_ = 0;
  std::atomic<uint64_t>* held_ = nullptr;
  uint64_t held_bytes_ = 0;
};

inline void PutBundle::run(Exchange* x) {
  std::shared_ptr<PutBundle> self = std::move(self_);
  const auto owner = owner_.lock();
  if (x == nullptr || owner == nullptr) return;  // written or not, nobody is left to hear it
  if (is_hashing_) {
    is_hashing_ = !hash_step();
    x->defer(this);
    self_ = std::move(self);
    if (is_hashing_) return post();
    send_off();
    return owner->on_submitted(*x, *this);
  }
  if (is_stale) {
    status = engine_.resolve_base(&condition_);
    if (status.ok()) {
      x->defer(this);
      self_ = std::move(self);
      return engine_.enqueue(this);
    }
  }
  is_done_ = true;
  std::string().swap(bytes_);
  std::vector<Mutation>().swap(list_);
  uncount();
  owner->on_done(*x, *this);
}

}  // namespace kyro
