// Pipelined point reads: their keys, taken from requests that are not parsed yet, so that the cache
// misses of all of them overlap before the first is answered.
//
// A guess that costs nothing when it is wrong: whatever does not look like "GET /v1/…/<key> " ends
// it, and the parser judges every byte later. No work is done for a request that may be refused:
// one whose fields are not, byte for byte, those of the read before it, which was let through,
// ends it too.
//
// Thread rule: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "kyro/app/routes.h"
#include "kyro/base/decimal.h"

namespace kyro {

struct PipelinedReads {
  static constexpr size_t kKeysMax = 64;

  std::array<uint64_t, kKeysMax> keys;
  size_t count = 0;
  size_t bytes = 0;  // of the requests that the keys came from

  [[nodiscard]] std::span<const uint64_t> found() const { return {keys.data(), count}; }
};

// "GET /v1/…/<key>" at the beginning of `bytes`: its length, and the key. 0 if it is none.
inline size_t match_keyed_read(std::string_view bytes, uint64_t* key) {
  constexpr std::string_view kGet = "GET ";
  if (!bytes.starts_with(kGet)) return 0;
  const size_t space = bytes.find(' ', kGet.size());
  if (space == bytes.npos) return 0;
  std::string_view key_text;
  const std::string_view path = bytes.substr(kGet.size(), space - kGet.size());
  if (!match_route(path, &key_text).takes_key) return 0;
  const auto number = parse_u64(key_text);
  if (!number) return 0;
  *key = *number;
  return space;
}

// The keys of the reads that `bytes` begins with, if they are like `last`, a request that was let
// through.
inline void find_pipelined_reads(std::string_view last, std::string_view bytes,
                                 PipelinedReads* out) {
  uint64_t key = 0;
  const size_t last_line = match_keyed_read(last, &key);
  if (last_line == 0) return;
  const std::string_view fields = last.substr(last_line);  // from " HTTP/1.1" to the empty line
  while (out->count < PipelinedReads::kKeysMax) {
    const std::string_view head = bytes.substr(out->bytes);
    const size_t line = match_keyed_read(head, &key);
    if (line == 0 || !head.substr(line).starts_with(fields)) return;
    out->keys[out->count++] = key;
    out->bytes += line + fields.size();
  }
}

}  // namespace kyro
