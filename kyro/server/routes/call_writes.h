// What calls of gRPC ask for when they write: lifetimes, conditions, and the operations of Write.
//
// Thread rule: one thread. Ownership: an OperationReader borrows the message; mutations point into
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/limits.h"
#include "kyro/base/status.h"
#include "kyro/server/grpc/call.h"
#include "kyro/server/grpc/messages.h"
#include "kyro/server/routes/batch_lines.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/tags.h"
#include "kyro/storage/write/write_request.h"

namespace kyro {

// How long a put is to live; 0 stands for a field that is not there.
[[nodiscard]] inline Result<Lifetime> lifetime_of(const rpc::PutRequest& put) {
  if (put.ttl_secs > kTtlSecsMax) return Status(Code::kInvalid, "ttl_secs is at most 1000 years");
  if (put.expires_secs > kExpirySecsMax) {
    return Status(Code::kInvalid, "expires is a moment of Unix time in whole seconds");
  }
  if (put.ttl_secs != 0 && put.expires_secs != 0) {
    return Status(Code::kInvalid, "ttl_secs and expires exclude each other");
  }
  Lifetime lifetime;
  if (put.ttl_secs != 0) lifetime.ttl_secs = put.ttl_secs;
  if (put.expires_secs != 0) lifetime.expires_secs = put.expires_secs;
  return lifetime;
}
// expiry_of(lifetime) is when by the store's clock what has a lifetime expires.
using ExpiryOfLifetime = std::function<uint64_t(const Lifetime& lifetime)>;

// A condition that is there has to ask for something.
[[nodiscard]] inline Status check_condition(const rpc::Condition& asked) {
  using Want = rpc::Condition::Want;
  const bool is_switch = asked.want == Want::kAbsent || asked.want == Want::kPresent;
  if (!is_switch || asked.value != 0) return Status();
  return Status(Code::kInvalid, "absent and present can only be true");
}

// The same as the tags of a request would have it.
[[nodiscard]] inline KeyTags tags_of(const rpc::Condition& asked) {
  KeyTags tags;
  switch (asked.want) {
    case rpc::Condition::Want::kNothing:
      break;
    case rpc::Condition::Want::kAbsent:
      tags.none_match.is_present = tags.none_match.is_star = true;
      break;
    case rpc::Condition::Want::kPresent:
      tags.match.is_present = tags.match.is_star = true;
      break;
    case rpc::Condition::Want::kOffset:
      tags.match.is_present = true;
      tags.match.strong.push_back(asked.value);
      break;
  }
  return tags;
}

// The same for the committer; false if nothing is asked for.
inline bool apply_condition(const rpc::Condition& asked, uint64_t key, Condition* condition) {
  *condition = {.key = key};
  condition->must_be_absent = asked.want == rpc::Condition::Want::kAbsent;
  condition->must_exist = asked.want == rpc::Condition::Want::kPresent;
  if (asked.want == rpc::Condition::Want::kOffset) condition->must_be = asked.value;
  return asked.want != rpc::Condition::Want::kNothing;
}

// A put but for the checksum of its value.
template <class ExpiryOf>
[[nodiscard]] Result<Mutation> mutation_of(const rpc::PutRequest& put, const ExpiryOf& expiry_of) {
  const auto lifetime = lifetime_of(put);
  KYRO_TRY(lifetime);
  KYRO_TRY(check_condition(put.condition));
  const bool has_lifetime = lifetime->ttl_secs || lifetime->expires_secs;
  return Mutation{.type = RecordType::kPut,
                  .key = put.key,
                  .expiry_secs = has_lifetime ? expiry_of(*lifetime) : 0,
                  .value = put.value};
}

// The operations of a WriteRequest, one by one.
class OperationReader final : public BatchSource {
 public:
  // An operation of four bytes becomes a mutation of fifty, so there may be no more of them than
  // lines in a batch of the same limit, of which the shortest has this many bytes.
  static constexpr uint64_t kLineBytesMin = 24;

  OperationReader(std::string_view message, ExpiryOfLifetime expiry_of, uint64_t batch_bytes_max)
      : message_(message),
        expiry_of_(std::move(expiry_of)),
        operations_max_(batch_bytes_max / kLineBytesMin),
        fields_(message, ProtoReader::kUnbounded) {
    find_next();
  }

  [[nodiscard]] bool at_end() const override { return state_ == State::kEnd; }
  [[nodiscard]] uint64_t line() const override { return number_; }
  [[nodiscard]] size_t position() const override { return position_; }
  Result<bool> next(size_t budget_bytes, Mutation* mutation, Condition* condition,
                    bool* is_conditional) override {
    if (state_ == State::kBad) return Status(Code::kInvalid, "the message is no WriteRequest");
    if (state_ == State::kFound) {
      if (++number_ > operations_max_) {
        return Status(Code::kTooLarge, "at most " + std::to_string(operations_max_) +
                                           " operations at once (--max-batch-bytes)");
      }
      position_ = static_cast<size_t>(bytes_.data() + bytes_.size() - message_.data());
      const Status decoded = decode();
      if (!decoded.ok()) return with_number(decoded, number_);
      state_ = State::kHashing;
      hashed_ = 0;
    }
    const std::string_view rest = mutation_.value.substr(hashed_, budget_bytes);
    mutation_.value_crc = crc32c(rest, mutation_.value_crc);
    hashed_ += rest.size();
    if (hashed_ < mutation_.value.size()) return false;
    *mutation = mutation_;
    *condition = condition_;
    *is_conditional = is_conditional_;
    find_next();
    return true;
  }
  [[nodiscard]] Status with_number(const Status& status, uint64_t line) const override {
    return Status(status.code(), "operation " + std::to_string(line) + ": " +
                                     std::string(rpc::message_of(status)));
  }

 private:
  enum class State : uint8_t { kFound, kHashing, kEnd, kBad };
  static constexpr size_t kUnknownMax = 64 * 1024;  // fields of the message that are skipped

  void find_next() {
    ProtoField field;
    while (fields_.next(&field)) {
      if (field.is_bytes(1)) {
        bytes_ = field.bytes;
        state_ = State::kFound;
        return;
      }
      if (++unknown_ > kUnknownMax) break;
    }
    state_ = fields_.ok() && unknown_ <= kUnknownMax ? State::kEnd : State::kBad;
  }

  Status decode() {
    rpc::Operation operation;
    if (!operation.decode(bytes_)) return Status(Code::kInvalid, "it is no message");
    switch (operation.kind) {
      case rpc::Operation::Kind::kNone:
        return Status(Code::kInvalid, "neither put nor delete");
      case rpc::Operation::Kind::kPut: {
        auto put = mutation_of(operation.put, expiry_of_);
        KYRO_TRY(put);
        mutation_ = *put;
        is_conditional_ = apply_condition(operation.put.condition, mutation_.key, &condition_);
        break;
      }
      case rpc::Operation::Kind::kDelete:
        KYRO_TRY(check_condition(operation.remove.condition));
        mutation_ = Mutation::remove(operation.remove.key);
        is_conditional_ = apply_condition(operation.remove.condition, mutation_.key, &condition_);
        break;
    }
    return Status();
  }

  const std::string_view message_;
  const ExpiryOfLifetime expiry_of_;
  const uint64_t operations_max_;
  ProtoReader fields_;
  State state_ = State::kEnd;
  uint64_t number_ = 0;
  size_t position_ = 0;
  size_t unknown_ = 0;
  // Of the operation under way.
  std::string_view bytes_;
  Mutation mutation_;
  size_t hashed_ = 0;
  Condition condition_;
  bool is_conditional_ = false;
};

}  // namespace kyro
