// How large a request may be, and which keys it may write.
//
// Beside the limits that an operator sets there are two that nothing can lift: a group of the log
// has 32 bits for its length, and an entry of a log that several stores share must be one that the
// log accepts (shared_log.h).
//
// Thread rule: a pure function.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kyro/base/status.h"
#include "kyro/base/text/slots.h"
#include "kyro/storage/log/wal_format.h"
#include "kyro/storage/options.h"
#include "kyro/storage/record.h"
#include "kyro/storage/shared_log.h"

namespace kyro {

// kInvalid for an empty batch and for an expiry that no record can carry; kTooLarge; kWrongShard
// for a key that is not in options.slots.
[[nodiscard]] inline Status check_request_limits(const Options& options,
                                                 std::span<const Mutation> mutations) {
  if (mutations.empty()) return Status(Code::kInvalid, "an empty batch");
  const bool is_shared = options.shared_log != nullptr;
  uint64_t bytes = 0;
  uint64_t record_bytes = 0;
  for (const Mutation& mutation : mutations) {
    KYRO_TRY(options.slots.check(mutation.key));
    if (mutation.value.size() > options.max_value_bytes) {
      return Status(Code::kTooLarge, "a value of " + std::to_string(mutation.value.size()) +
                                         " bytes, at most " +
                                         std::to_string(options.max_value_bytes) +
                                         " are allowed (--max-value-bytes)");
    }
    if (mutation.expiry_secs > kExpirySecsMax) return Status(Code::kInvalid, "expiry too far");
    bytes += mutation.value.size();
    record_bytes += mutation.record_bytes();
  }
  if (record_bytes > kGroupBodyBytesMax) return Status(Code::kTooLarge, "too large a batch");
  if (mutations.size() > 1 && bytes > options.max_batch_bytes) {
    return Status(Code::kTooLarge, "a batch of " + std::to_string(bytes) + " bytes, at most " +
                                       std::to_string(options.max_batch_bytes) +
                                       " are allowed (--max-batch-bytes)");
  }
  if (is_shared && (bytes > kSharedValuesBytesMax || record_bytes > kSharedRequestBytesMax)) {
    return Status(Code::kTooLarge, "values of " + std::to_string(bytes) + " bytes, records of " +
                                       std::to_string(record_bytes) +
                                       "; an entry of the shared log has room for " +
                                       std::to_string(kSharedValuesBytesMax) + " and " +
                                       std::to_string(kSharedRequestBytesMax));
  }
  return Status();
}

}  // namespace kyro
