// POST /v1/mget: many point reads in one request, all as of one moment.
//
//   JSON     {"keys":[1,"2",…]}   → {"values":["text",{"value_base64":"…"},null,…]}
//   binary   u64 LE per key       → per key u32 LE length (kAbsent if none), then the bytes
//
// With ?expires=1 the moments of Unix time in which they expire come too: as another array
// ("expires":[1893456000,null,…]), or as a u64 LE after each length (0: never).
//
// Thread rule: on the exchange's reactor. Ownership: a body that outlives the request holds its
// keys, counted together over all of them, and references to what it reads.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/coding.h"
#include "kyro/base/text/slots.h"
#include "kyro/json/record_encoder.h"
#include "kyro/json/record_json.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/query.h"
#include "kyro/storage/engine.h"

namespace kyro {

enum class MgetForm : uint8_t { kJson, kBinary };

struct MgetLimits {
  uint64_t keys_max = kDefaultMgetKeysMax;
  uint64_t held_bytes_max =
      kDefaultInflightBytesMax;  // keys of all answers that are being streamed
  std::atomic<uint64_t> held_bytes{0};
};

// The largest body with `keys_max` keys: JSON may surround each with quotes and white space.
[[nodiscard]] constexpr uint64_t mget_body_bytes_max(MgetForm form, uint64_t keys_max) {
  return form == MgetForm::kBinary ? keys_max * sizeof(uint64_t) : keys_max * 32 + 64 * 1024;
}

// kInvalid, or kTooLarge for too many keys.
[[nodiscard]] inline Status decode_mget(std::string_view body, MgetForm form, uint64_t keys_max,
                                        std::vector<uint64_t>* keys) {
  const auto too_many = [&] {
    return Status(Code::kTooLarge,
                  "at most " + std::to_string(keys_max) + " keys at once (--max-mget-keys)");
  };
  if (form == MgetForm::kBinary) {
    if (body.size() % sizeof(uint64_t) != 0) {
      return Status(Code::kInvalid, "the body must be keys of 8 bytes each");
    }
    if (body.size() / sizeof(uint64_t) > keys_max) return too_many();
    keys->resize(body.size() / sizeof(uint64_t));
    if (!body.empty()) std::memcpy(keys->data(), body.data(), body.size());
    return Status();
  }
  JsonReader json(body);
  bool has_keys = false;
  constexpr std::array<std::string_view, 1> kFields{"keys"};
  walk_json_object(json, kFields, UnknownFields::kRefused, [&](size_t) {
    has_keys = true;
    if (json.peek() != JsonType::kArray) return json.fail("\"keys\" must be an array");
    if (!json.enter_array()) return false;
    while (json.next_element()) {
      uint64_t key = 0;
      if (!read_json_key(json, &key, "a key")) return false;
      if (keys->size() <= keys_max) keys->push_back(key);
    }
    return json.ok();
  });
  KYRO_TRY(json.finish());
  if (!has_keys) return Status(Code::kInvalid, "field \"keys\" is missing");
  return keys->size() > keys_max ? too_many() : Status();
}

// kWrongShard if one of the keys is not served here.
[[nodiscard]] inline Status check_slots(const Engine& engine, std::span<const uint64_t> keys) {
  if (!engine.options().slots.is_partial()) return Status();
  for (const uint64_t key : keys) KYRO_TRY(engine.options().slots.check(key));
  return Status();
}

class MgetBody final : public SlicedBody {
 public:
  static constexpr uint32_t kAbsent = 0xFFFFFFFFu;
  static constexpr size_t kAtOnceMax = 4096;

  // REQUIRES: a pin until hold().
  MgetBody(Engine& engine, std::vector<uint64_t> keys, MgetForm form, bool with_expires)
      : engine_(engine),
        keys_(std::move(keys)),
        form_(form),
        with_expires_(with_expires),
        moment_(engine.moment()) {}
  ~MgetBody() override {
    if (charged_ != nullptr) charged_->fetch_sub(key_bytes(), std::memory_order_relaxed);
  }

  [[nodiscard]] uint64_t key_bytes() const { return keys_.size() * sizeof(uint64_t); }
  // Takes the keys' bytes off `held` when it goes.
  void set_charged(std::atomic<uint64_t>* held) { charged_ = held; }

  const View* hold() override {
    moment_.hold();
    return moment_.view;
  }

  Result<bool> write_slice(std::string& out, size_t budget_bytes) override {
    const size_t end = out.size() + budget_bytes;
    if (!has_begun_ && form_ == MgetForm::kJson) out += "{\"values\":[";
    has_begun_ = true;
    if (!value_.advance(out, end - out.size())) return false;
    for (bool is_full = false; next_ < keys_.size() && !is_full;) {
      if (end - out.size() < kRoomBytesMin) return false;
      const size_t from = next_;
      const size_t count = std::min(at_once_, keys_.size() - from);
      const auto some = std::span<const uint64_t>(keys_).subspan(from, count);
      KYRO_TRY(engine_.multi_get(moment_, some, [&](size_t, const Lookup* found) {
        const uint64_t expires = found != nullptr ? engine_.to_unix(found->expiry_secs()) : 0;
        form_ == MgetForm::kJson ? append_json(out, found) : append_binary(out, found, expires);
        keys_[next_] = expires;  // which has been answered
        ++next_;
        is_full = !value_.advance(out, end - out.size()) || end - out.size() < kRoomBytesMin;
        return !is_full;
      }));
      const size_t answered = is_full ? next_ - from : count;
      at_once_ = std::clamp<size_t>(2 * answered, 1, kAtOnceMax);
    }
    if (next_ < keys_.size() || !value_.is_done() || end - out.size() < kRoomBytesMin) return false;
    return form_ == MgetForm::kBinary || append_end(out, end);
  }

 private:
  // What a small value may become, and what stands around it.
  static constexpr size_t kRoomBytesMin = RecordEncoder::kSmallRecordBytesMax;

  void append_json(std::string& out, const Lookup* found) {
    if (next_ != 0) out += ',';
    if (found == nullptr) {
      out += "null";
    } else if (RecordEncoder::is_small(found->value())) {
      append_value(out, found->value(), kValueElement);
    } else {
      value_.begin_value(found->value(), kValueElement);
    }
  }
  void append_binary(std::string& out, const Lookup* found, uint64_t expires) {
    if (found == nullptr) return append_u32(out, kAbsent);
    append_u32(out, static_cast<uint32_t>(found->value().size()));
    if (with_expires_) append_u64(out, expires);
    if (RecordEncoder::is_small(found->value())) {
      out.append(found->value());
    } else {
      value_.begin_raw(found->value());
    }
  }

  // What follows the values; false if there was not enough room for all of it.
  bool append_end(std::string& out, size_t end) {
    if (with_expires_) {
      if (listed_ == 0) out += "],\"expires\":[";
      for (; listed_ < keys_.size(); ++listed_) {
        if (end - out.size() < kRoomBytesMin) return false;
        if (listed_ != 0) out += ',';
        if (keys_[listed_] == 0) {
          out += "null";
        } else {
          append_decimal(out, keys_[listed_]);
        }
      }
    }
    out += "]}";
    return true;
  }

  Engine& engine_;
  std::vector<uint64_t> keys_;  // of those that are answered when they expire (0: never)
  const MgetForm form_;
  const bool with_expires_;
  Moment moment_;
  bool has_begun_ = false;
  size_t next_ = 0;      // the first key not begun to be answered yet
  size_t listed_ = 0;    // of the answered ones, after them, when they expire
  RecordEncoder value_;  // a large one, being answered
  // Keys that are looked up together. What does not fit a slice is looked up again in the next, so
  // it follows the number that fits: with large values it is small.
  size_t at_once_ = kAtOnceMax;
  std::atomic<uint64_t>* charged_ = nullptr;
};

inline void respond_mget(Engine& engine, Exchange& x, MgetForm form, MgetLimits& limits,
                         const StreamRules& rules) {
  const auto with_expires = find_switch(x.request().query, "expires");
  if (!with_expires.ok()) return respond_status(x, with_expires.status());
  std::vector<uint64_t> keys;
  const Status decoded = decode_mget(x.request().body, form, limits.keys_max, &keys);
  if (!decoded.ok()) {
    if (decoded.code() == Code::kTooLarge) return respond_status(x, decoded);
    return x.respond_error(400, form == MgetForm::kJson ? "bad_json" : "invalid",
                           decoded.message());
  }
  const Status served = check_slots(engine, keys);
  if (!served.ok()) return respond_status(x, served);
  auto body = std::make_unique<MgetBody>(engine, std::move(keys), form, *with_expires);
  const uint64_t bytes = body->key_bytes();
  const uint64_t before = limits.held_bytes.fetch_add(bytes, std::memory_order_relaxed);
  body->set_charged(&limits.held_bytes);
  if (before + bytes > limits.held_bytes_max) {
    return x.respond_error(503, "overloaded", "too many large answers are under way");
  }
  respond_sliced(x, form == MgetForm::kJson ? kJsonType : kBytesType, std::move(body), rules);
}

}  // namespace kyro
