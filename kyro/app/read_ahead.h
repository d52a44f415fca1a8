// Pipelined point reads: their keys, taken from requests that are not parsed yet, so that the cache
// misses of all of them overlap before the first is answered.
//
// A guess that costs nothing when it is wrong: whatever does not look like "GET /v1/…/<key> " ends
// it, and the parser judges every byte later.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
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

// The keys of the reads that `bytes` begins with.
inline void find_pipelined_reads(std::string_view bytes, PipelinedReads* out) {
  constexpr std::string_view kGet = "GET ";
  constexpr std::string_view kEnd = "\r\n\r\n";
  while (out->count < PipelinedReads::kKeysMax) {
    const std::string_view head = bytes.substr(out->bytes);
    if (!head.starts_with(kGet)) return;
    const size_t space = head.find(' ', kGet.size());
    if (space == head.npos) return;
    std::string_view key_text;
    const std::string_view path = head.substr(kGet.size(), space - kGet.size());
    if (!match_route(path, &key_text).takes_key) return;
    const auto key = parse_u64(key_text);
    const size_t end = head.find(kEnd, space);
    if (!key || end == head.npos) return;
    out->keys[out->count++] = *key;
    out->bytes += end + kEnd.size();
  }
}

}  // namespace kyro
