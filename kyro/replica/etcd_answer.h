// What etcd's JSON gateway answers (etcd 3.4 and newer: /v3/kv/txn, /v3/kv/range,
// /v3/auth/authenticate, /v3/maintenance/status), as far as a log needs it. Numbers of 64 bits come
// as strings, bytes as base64, and what is false, 0 or empty does not come at all.
//
// Every answer is taken apart whole. One that is not as etcd writes it, or not to what was asked,
// is kCorruption, with a sentence: a field that is missing is never taken for "there is nothing",
// because a range says how many pairs it has.
//
// Thread rule: pure functions. Ownership: values.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/base/text/decimal.h"
#include "kyro/json/base64.h"
#include "kyro/json/json_reader.h"
#include "kyro/json/record_json.h"
#include "kyro/replica/entry_store.h"
#include "kyro/replica/etcd_keys.h"

namespace kyro {

struct EtcdPair {
  std::string key;
  std::string value;
};
using EtcdRange = std::vector<EtcdPair>;

struct EtcdTxn {
  bool succeeded = false;
  std::vector<EtcdRange> ranges;  // of its ranges, in their order
};

// Why etcd refuses.
enum class EtcdRefusal : uint8_t {
  kOther,     // no leader, shutting down, an error of its own: later, or another member
  kNoSpace,   // its database has reached its quota
  kTooLarge,  // larger than the requests it takes
  kToken,     // it does not know the token, or not any more
  kUser,      // the user's name, password or permissions
};

struct EtcdError {
  EtcdRefusal refusal = EtcdRefusal::kOther;
  std::string message;  // printable ASCII, not empty
};

[[nodiscard]] inline Result<EtcdRange> decode_etcd_range(std::string_view body);
[[nodiscard]] inline Result<EtcdTxn> decode_etcd_txn(std::string_view body);
// A token, which is what a field of a request may be.
[[nodiscard]] inline Result<std::string> decode_etcd_token(std::string_view body);
// What a member says of its database.
[[nodiscard]] inline Result<EntryStore::Usage> decode_etcd_usage(std::string_view body);
// An answer whose status is not 200; any body will do.
[[nodiscard]] inline EtcdError decode_etcd_error(int http_status, std::string_view body);

// What a transaction has read that reads an entry's key and the head, in this order.
[[nodiscard]] inline Result<EntryStore::Found> take_etcd_found(EtcdTxn&& txn, const EtcdKeys& keys,
                                                               uint64_t offset);
// The entries of a range that was asked for from an offset on.
[[nodiscard]] inline Result<std::vector<EntryStore::Entry>> take_etcd_entries(EtcdRange&& range,
                                                                              const EtcdKeys& keys,
                                                                              uint64_t from);

namespace etcd_detail {

inline Status not_understood(std::string_view why) {
  return Status(Code::kCorruption, "etcd's answer makes no sense: " + std::string(why));
}

// A string of base64 into *bytes. There are no empty ones.
inline bool read_bytes(JsonReader& json, std::string* bytes) {
  std::string_view text;
  std::string unescaped;
  if (!json.read_string(&text, &unescaped)) return false;
  return (!text.empty() && decode_base64(text, bytes)) || json.fail("expected base64");
}

inline bool read_pair(JsonReader& json, EtcdPair* pair) {
  constexpr std::array<std::string_view, 2> kFields{"key", "value"};
  const bool is_read = walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    return read_bytes(json, field == 0 ? &pair->key : &pair->value);
  });
  const bool is_whole = !pair->key.empty() && !pair->value.empty();
  return is_read && (is_whole || json.fail("a pair without key or value"));
}

inline bool read_range(JsonReader& json, EtcdRange* pairs) {
  constexpr std::array<std::string_view, 3> kFields{"kvs", "count", "more"};
  uint64_t count = 0;  // in the range
  bool more = false;   // than the limit
  const bool is_read = walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    if (field == 1) return read_json_key(json, &count, "\"count\"");
    if (field == 2) return json.read_bool(&more);
    if (!json.enter_array()) return false;
    while (json.next_element()) {
      if (!read_pair(json, &pairs->emplace_back())) return false;
    }
    return json.ok();
  });
  const bool is_whole = more ? count > pairs->size() : count == pairs->size();
  return is_read && (is_whole || json.fail("a range without all of its pairs"));
}

inline EtcdRefusal refusal_of(uint64_t grpc_code, int http_status, std::string_view message) {
  const auto says = [&](std::string_view words) { return message.find(words) != message.npos; };
  if (says("space exceeded")) return EtcdRefusal::kNoSpace;
  if (says("request is too large") || says("larger than max") || http_status == 413) {
    return EtcdRefusal::kTooLarge;
  }
  if (says("invalid auth token") || says("revision of auth store is old") ||
      says("revision in header is old")) {
    return EtcdRefusal::kToken;
  }
  constexpr uint64_t kPermissionDenied = 7;
  constexpr uint64_t kUnauthenticated = 16;
  if (grpc_code == kPermissionDenied || grpc_code == kUnauthenticated || http_status == 401 ||
      http_status == 403 || says("authentication") || says("user name")) {
    return EtcdRefusal::kUser;
  }
  return EtcdRefusal::kOther;
}

}  // namespace etcd_detail

inline Result<EtcdRange> decode_etcd_range(std::string_view body) {
  EtcdRange range;
  JsonReader json(body);
  static_cast<void>(etcd_detail::read_range(json, &range));
  const Status whole = json.finish();
  if (!whole.ok()) return etcd_detail::not_understood(whole.message());
  return range;
}

inline Result<EtcdTxn> decode_etcd_txn(std::string_view body) {
  constexpr std::array<std::string_view, 2> kFields{"succeeded", "responses"};
  constexpr std::array<std::string_view, 1> kRange{"response_range"};
  EtcdTxn txn;
  JsonReader json(body);
  walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    if (field == 0) return json.read_bool(&txn.succeeded);
    if (!json.enter_array()) return false;
    while (json.next_element()) {
      const bool is_read = walk_json_object(json, kRange, UnknownFields::kSkipped, [&](size_t) {
        return etcd_detail::read_range(json, &txn.ranges.emplace_back());
      });
      if (!is_read) return false;
    }
    return json.ok();
  });
  const Status whole = json.finish();
  if (!whole.ok()) return etcd_detail::not_understood(whole.message());
  return txn;
}

inline Result<std::string> decode_etcd_token(std::string_view body) {
  constexpr std::array<std::string_view, 1> kFields{"token"};
  std::string token;
  JsonReader json(body);
  walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t) {
    std::string_view text;
    std::string unescaped;
    if (!json.read_string(&text, &unescaped)) return false;
    token = text;
    return true;
  });
  const Status whole = json.finish();
  if (!whole.ok()) return etcd_detail::not_understood(whole.message());
  const auto may_stand = [](char c) { return c > 0x20 && c < 0x7F; };
  if (token.empty() || !std::all_of(token.begin(), token.end(), may_stand)) {
    return etcd_detail::not_understood("no token");
  }
  return token;
}

inline Result<EntryStore::Usage> decode_etcd_usage(std::string_view body) {
  // The quota from etcd 3.6 on.
  constexpr std::array<std::string_view, 4> kFields{"dbSize", "dbSizeInUse", "dbSizeQuota",
                                                    "errors"};
  EntryStore::Usage usage;
  uint64_t* const numbers[] = {&usage.file_bytes, &usage.used_bytes, &usage.quota_bytes};
  JsonReader json(body);
  walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    if (field < std::size(numbers)) return read_json_key(json, numbers[field], kFields[field]);
    if (!json.enter_array()) return false;
    while (json.next_element()) {
      std::string_view text;
      std::string unescaped;
      if (!json.read_string(&text, &unescaped)) return false;
      usage.is_full = usage.is_full || text.find("NOSPACE") != text.npos;
    }
    return json.ok();
  });
  const Status whole = json.finish();
  if (!whole.ok()) return etcd_detail::not_understood(whole.message());
  if (usage.file_bytes == 0) return etcd_detail::not_understood("no size");
  return usage;
}

inline EtcdError decode_etcd_error(int http_status, std::string_view body) {
  constexpr std::array<std::string_view, 3> kFields{"error", "message", "code"};
  constexpr size_t kMessageBytesMax = 512;
  EtcdError error;
  uint64_t grpc_code = 0;
  JsonReader json(body);
  walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    std::string_view text;
    std::string unescaped;
    if (field == 2) {
      if (!json.read_number(&text)) return false;
      grpc_code = parse_u64(text).value_or(0);
      return true;
    }
    if (json.peek() != JsonType::kString) return json.skip_value();
    if (!json.read_string(&text, &unescaped)) return false;
    if (error.message.empty()) error.message = text.substr(0, kMessageBytesMax);
    return true;
  });
  if (error.message.empty()) error.message = "HTTP status " + std::to_string(http_status);
  error.refusal = etcd_detail::refusal_of(grpc_code, http_status, error.message);
  for (char& c : error.message) c = c < 0x20 || c > 0x7E ? '?' : c;
  return error;
}

inline Result<EntryStore::Found> take_etcd_found(EtcdTxn&& txn, const EtcdKeys& keys,
                                                 uint64_t offset) {
  const auto is_of = [](const EtcdRange& range, const std::string& key) {
    return range.empty() || (range.size() == 1 && range[0].key == key);
  };
  if (txn.ranges.size() != 2 || !is_of(txn.ranges[0], keys.entry(offset)) ||
      !is_of(txn.ranges[1], keys.head())) {
    return etcd_detail::not_understood("it is not to what was asked");
  }
  EntryStore::Found found;
  if (!txn.ranges[0].empty()) found.entry = std::move(txn.ranges[0][0].value);
  if (!txn.ranges[1].empty()) found.head = std::move(txn.ranges[1][0].value);
  return found;
}

inline Result<std::vector<EntryStore::Entry>> take_etcd_entries(EtcdRange&& range,
                                                                const EtcdKeys& keys,
                                                                uint64_t from) {
  std::vector<EntryStore::Entry> entries;
  for (EtcdPair& pair : range) {
    const auto offset = keys.offset_of(pair.key);
    if (!offset || *offset < from || (!entries.empty() && *offset <= entries.back().offset)) {
      return etcd_detail::not_understood("it has keys that were not asked for");
    }
    entries.push_back({*offset, std::move(pair.value)});
  }
  return entries;
}

}  // namespace kyro
