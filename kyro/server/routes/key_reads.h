// The reads of one key: get_fast, lookup_fast, lookup, lookup_raw, and GET of kv.
//
// Thread rule: on the exchange's reactor. REQUIRES: the calling thread holds an EpochPin.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kyro/base/coding.h"
#include "kyro/base/text/slots.h"
#include "kyro/server/reply/record_body.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/tags.h"
#include "kyro/storage/engine.h"

namespace kyro {

inline void respond_bad_key(Exchange& x) {
  x.respond_error(400, "bad_key", "a key is a plain decimal number from 0 to 2^64-1");
}

// Answers for a key that was not found, or says in the answer when what was found expires.
inline bool is_found(Engine& engine, Exchange& x, const Status& status, const Lookup& found) {
  if (!status.ok()) {
    respond_status(x, status);
    return false;
  }
  if (found.expiry_secs() != 0) add_expires(x, found.expiry_secs(), engine.now_secs());
  return true;
}
// Finds the live value; answers itself if there is none.
inline bool find_value(Engine& engine, Exchange& x, uint64_t key, Lookup* found) {
  return is_found(engine, x, engine.lookup(key, found), *found);
}
// The same with the version as ETag, if the request's conditions on it let the value through.
inline bool find_tagged(Engine& engine, Exchange& x, uint64_t key, Lookup* found) {
  const auto tags = read_key_tags(x.request());
  if (!tags.ok()) {
    x.respond_error(400, "bad_tag", tags.status().message());
    return false;
  }
  const Status status = engine.lookup(key, found);
  const bool is_there = status.ok() && tags->match.names_strongly(found->offset());
  if (tags->match.is_present && !is_there && (status.ok() || status.code() == Code::kNotFound)) {
    x.respond_error(412, "precondition_failed", "the version is none that If-Match names");
    return false;
  }
  if (!is_found(engine, x, status, *found)) return false;
  add_etag(x, found->offset());
  if (!tags->none_match.names(found->offset())) return true;
  x.respond(304, {}, {});
  return false;
}

inline void respond_get_fast(Engine& engine, Exchange& x, uint64_t key, HeldMoments& moments) {
  Lookup found;
  if (find_value(engine, x, key, &found)) respond_bytes(x, found, engine, moments);
}

inline void respond_lookup_fast(Engine& engine, Exchange& x, uint64_t key) {
  Lookup found;
  if (!find_value(engine, x, key, &found)) return;
  char bytes[sizeof(uint64_t)];
  store_u64(bytes, found.offset());
  x.respond(200, kBytesType, {bytes, sizeof bytes});
}

// GET /v1/kv/K.
inline void respond_get(Engine& engine, Exchange& x, uint64_t key, HeldMoments& moments) {
  Lookup found;
  if (find_tagged(engine, x, key, &found)) respond_bytes(x, found, engine, moments);
}

// The parameter "key"; answers itself if it is missing, wrong or of another shard.
inline bool find_key(const Engine& engine, Exchange& x, uint64_t* key) {
  const auto text = find_param(x.request().query, "key");
  const auto number = text.ok() && text->has_value() ? parse_u64(**text) : std::nullopt;
  if (!number) {
    respond_bad_key(x);
    return false;
  }
  *key = *number;
  const Status served = engine.options().slots.check(*key);
  if (!served.ok()) respond_status(x, served);
  return served.ok();
}

inline void respond_lookup(Engine& engine, Exchange& x, const StreamRules& rules) {
  uint64_t key = 0;
  Lookup found;
  if (!find_key(engine, x, &key)) return;
  const auto string_keys = find_string_keys(x.request().query);
  if (!string_keys.ok()) return respond_status(x, string_keys.status());
  if (!find_tagged(engine, x, key, &found)) return;
  respond_record(x, key, found.value(), found.offset(), found.expiry_secs(), *string_keys, engine,
                 rules, [&] { return found.holder(); });
}

inline void respond_lookup_raw(Engine& engine, Exchange& x) {
  uint64_t key = 0;
  Lookup found;
  if (find_key(engine, x, &key) && find_value(engine, x, key, &found)) x.respond(204, {}, {});
}

}  // namespace kyro
