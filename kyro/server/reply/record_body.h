// The answer that is one record: as JSON (lookup, floor and ceil), the bytes of its value (get), or
// a message with it (the calls Get and Nearest).
//
// A small one is written at once; a large one from where its value lies.
//
// Thread rule: on the exchange's reactor. Ownership: a body holds what its value lies in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/json/record_encoder.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/storage/engine.h"

namespace kyro {

class RecordBody final : public SlicedBody {
 public:
  // `value` stays where it is as long as `holder` lives; it is of `view`, which is pinned.
  RecordBody(uint64_t key, std::string_view value, uint64_t offset, bool string_keys,
             uint64_t expires_secs, std::shared_ptr<const void> holder, const View& view)
      : holder_(std::move(holder)), view_(view) {
    record_.begin_item(key, value, offset, string_keys, expires_secs);
  }

  const View* hold() override { return &view_; }
  Result<bool> write_slice(std::string& out, size_t budget_bytes) override {
    return record_.advance(out, budget_bytes);
  }

 private:
  const std::shared_ptr<const void> holder_;
  const View& view_;  // for hold() only
  RecordEncoder record_;
};

// Answers {"key","value"|"value_base64","offset"}, and "expires" where it does. get_holder() is
// asked for what keeps the value, if that is needed. REQUIRES: the calling thread holds an
// EpochPin.
template <class GetHolder>
void respond_record(Exchange& x, uint64_t key, std::string_view value, uint64_t offset,
                    uint64_t expiry_secs, bool string_keys, Engine& engine,
                    const StreamRules& rules, const GetHolder& get_holder) {
  const uint64_t expires_secs = engine.to_unix(expiry_secs);
  constexpr size_t kAtOnceBytesMax = 8 * 1024;  // however much of it has to be escaped
  if (value.size() <= kAtOnceBytesMax) {
    std::string body;
    append_item(body, key, value, offset, string_keys, expires_secs);
    return x.respond(200, kJsonType, body);
  }
  auto body = std::make_unique<RecordBody>(key, value, offset, string_keys, expires_secs,
                                           get_holder(), *engine.moment().view);
  respond_sliced(x, kJsonType, std::move(body), rules);
}

// Keeps what a value lies in. Where that may be a delta, the moment counts as held. REQUIRES: the
// calling thread holds an EpochPin.
[[nodiscard]] inline std::shared_ptr<const void> hold_value(std::shared_ptr<const void> holder,
                                                            bool may_be_delta, Engine& engine,
                                                            HeldMoments& moments) {
  struct Held {
    std::shared_ptr<const void> holder;
    HeldMoments::Hold hold;
  };
  const auto held = std::make_shared<Held>();
  held->holder = std::move(holder);
  if (may_be_delta) moments.begin(*engine.moment().view, &held->hold);
  return held;
}

// Answers the bytes of a value, large ones from where they lie. REQUIRES: the calling thread holds
// an EpochPin.
inline void respond_bytes(Exchange& x, const Lookup& found, Engine& engine, HeldMoments& moments) {
  if (found.value().size() < kSharedBodyBytesMin) {
    return x.respond(200, kBytesType, found.value());
  }
  const bool is_in_delta = found.source() == Source::kDelta;
  x.respond_shared(200, kBytesType, found.value(),
                   hold_value(found.holder(), is_in_delta, engine, moments));
}

// Answers a call with a message of which `head` is all but the bytes of its value. A large value is
// sent from where it lies: get_owner() is asked for what keeps it.
template <class GetOwner>
void respond_value_message(Exchange& x, std::string_view head, std::string_view value,
                           const GetOwner& get_owner) {
  rpc::add_status(x, rpc::GrpcCode::kOk);
  if (value.size() >= kSharedBodyBytesMin) {
    return x.respond_shared_behind(200, rpc::kCallType, head, value, get_owner());
  }
  static thread_local std::string whole;  // of an answer to come, so that none allocates
  whole.assign(head).append(value);
  x.respond(200, rpc::kCallType, whole);
}

// Answers a call with a GetResponse. REQUIRES: the calling thread holds an EpochPin.
inline void respond_get_message(Exchange& x, const Lookup& found, bool offset_only, Engine& engine,
                                HeldMoments& moments) {
  uint64_t expires_in_secs = 0;
  if (const uint64_t expiry_secs = found.expiry_secs(); expiry_secs != 0) {
    const uint64_t now_secs = engine.now_secs();
    expires_in_secs = expiry_secs > now_secs ? expiry_secs - now_secs : 1;
  }
  const std::string_view value = offset_only ? std::string_view() : found.value();
  rpc::ValueMessage answer =
      rpc::get_response(found.offset(), expires_in_secs, engine.to_unix(found.expiry_secs()));
  respond_value_message(x, answer.framed(rpc::kGetValue, value.size()), value, [&] {
    return hold_value(found.holder(), found.source() == Source::kDelta, engine, moments);
  });
}

}  // namespace kyro
