// The call MultiGet: many values in one message, all as of one moment.
//
// A message says first how long it is. What does not fit a slice is therefore measured before it is
// sent: the keys are looked up once for their values' sizes and again for the values, in the moment
// that the body holds, so that both see the same.
//
// Thread rule: on the exchange's reactor. Ownership: as MgetBody (mget.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/json/record_encoder.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/key_walk.h"
#include "kyro/server/routes/mget.h"
#include "kyro/storage/engine.h"

namespace kyro {

class MultiGetBody final : public SlicedBody {
 public:
  // What clients can take at all: their lengths are signed.
  static constexpr uint64_t kMessageBytesMax = 0x7FFFFFFF;

  // Charges the keys to `limits` for as long as it lives. REQUIRES: a pin until hold().
  MultiGetBody(Engine& engine, std::vector<uint64_t> keys, MgetLimits& limits)
      : engine_(engine),
        limits_(limits),
        charged_(keys.size() * sizeof(uint64_t)),
        before_(limits.held_bytes.fetch_add(charged_, std::memory_order_relaxed)),
        keys_(std::move(keys)),
        moment_(engine.moment()) {}
  ~MultiGetBody() override { limits_.held_bytes.fetch_sub(charged_, std::memory_order_relaxed); }

  [[nodiscard]] bool is_over_limit() const { return before_ + charged_ > limits_.held_bytes_max; }

  const View* hold() override {
    moment_.hold();
    return moment_.view;
  }

  Result<bool> write_slice(std::string& out, size_t budget_bytes) override {
    switch (phase_) {
      case Phase::kBeginning: {
        const size_t begin = begin_message(begun_);
        const auto ended = write_items(begun_, budget_bytes - begin);
        KYRO_TRY(ended);
        if (!*ended) {
          sent_ = keys_.position();
          phase_ = Phase::kMeasuring;
          return false;
        }
        rpc::end_message(begun_, begin);
        out.append(begun_);
        return true;
      }
      case Phase::kMeasuring:
        KYRO_TRY(measure());
        if (!keys_.at_end()) return false;
        keys_.go_to(sent_);
        store_be(begun_.data() + 1, static_cast<uint32_t>(message_bytes_), 4);
        out.append(begun_);
        std::string().swap(begun_);
        phase_ = Phase::kSending;
        return false;
      case Phase::kSending:
        return write_items(out, budget_bytes);
    }
    return false;
  }

 private:
  enum class Phase : uint8_t { kBeginning, kMeasuring, kSending };
  // An item that is not large, and the head of one that is.
  static constexpr size_t kRoomBytesMin =
      RecordEncoder::kSmallValueBytes + RecordEncoder::kRoomBytesMin;
  // Bytes of values whose checksums are verified before others get their turn.
  static constexpr uint64_t kMeasureSliceBytes = 256 * 1024;

  static size_t begin_message(std::string& out) { return rpc::begin_message(out); }

  // True at the end of the items.
  Result<bool> write_items(std::string& out, size_t budget_bytes) {
    const size_t end = out.size() + budget_bytes;
    const auto has_room = [&] { return out.size() + kRoomBytesMin <= end; };
    if (!value_.advance(out, budget_bytes)) return false;
    while (!keys_.at_end() && has_room()) {
      KYRO_TRY(keys_.advance(engine_, moment_, [&](const Lookup* found) {
        append_item(out, found);
        return value_.advance(out, end - out.size()) && has_room();
      }));
    }
    return keys_.at_end() && value_.is_done();
  }

  void append_item(std::string& out, const Lookup* found) {
    if (found == nullptr) {
      message_bytes_ += kAbsent.size();
      out.append(kAbsent);
      return;
    }
    const std::string_view value = found->value();
    rpc::ValueMessage item =
        rpc::found_item(found->offset(), engine_.to_unix(found->expiry_secs()));
    const std::string_view head = item.nested(rpc::kItems, rpc::kItemValue, value.size());
    message_bytes_ += head.size() + value.size();
    if (RecordEncoder::is_small(value)) {
      out.append(head).append(value);
      return;
    }
    value_.begin_raw(value);
    value_.add_head(head);
  }

  // Adds the sizes of items to message_bytes_, for a slice.
  Status measure() {
    uint64_t looked_at = 0;
    KYRO_TRY(keys_.advance(engine_, moment_, [&](const Lookup* found) {
      if (found == nullptr) {
        message_bytes_ += kAbsent.size();
        return true;
      }
      const size_t value_bytes = found->value().size();
      rpc::ValueMessage item =
          rpc::found_item(found->offset(), engine_.to_unix(found->expiry_secs()));
      message_bytes_ += item.nested(rpc::kItems, rpc::kItemValue, value_bytes).size() + value_bytes;
      looked_at += value_bytes;
      return looked_at < kMeasureSliceBytes;
    }));
    if (message_bytes_ <= kMessageBytesMax) return Status();
    return Status(Code::kTooLarge, "the answer would be larger than 2 GiB: ask for fewer keys");
  }

  // MultiGetResponse.Item without a field, in its field.
  static constexpr std::string_view kAbsent{"\x0A\0", 2};

  Engine& engine_;
  MgetLimits& limits_;
  const uint64_t charged_;
  const uint64_t before_;  // what others held
  KeyWalk keys_;
  Moment moment_;
  Phase phase_ = Phase::kBeginning;
  std::string begun_;  // the first slice, until the length before it is known
  size_t sent_ = 0;    // keys
  uint64_t message_bytes_ = 0;
  RecordEncoder value_;  // a large one, being written
};

// Answers with the values of `keys`.
inline void respond_multi_get(Engine& engine, Exchange& x, std::vector<uint64_t> keys,
                              MgetLimits& limits, const StreamRules& rules) {
  const Status served = check_slots(engine, keys);
  if (!served.ok()) return rpc::respond_failed(x, served);
  auto body = std::make_unique<MultiGetBody>(engine, std::move(keys), limits);
  if (body->is_over_limit()) {
    return rpc::respond_failed(x, rpc::GrpcCode::kUnavailable,
                               "too many large answers are under way");
  }
  respond_sliced(x, rpc::kCallType, std::move(body), rules);
}

}  // namespace kyro
