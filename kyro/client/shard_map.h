// Which shard has a key, and where it is: the file that HAProxy routes by (map_int), with a line
// more for each shard, which is comment to HAProxy.
//
//   #url shard1 http://127.0.0.1:3031
//   0:5460 shard1
//   5461 shard2
//
// Every slot has exactly one shard, every shard has exactly one address.
//
// Thread rule: values.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/slots.h"

namespace kyro {

class ShardMap {
 public:
  struct Shard {
    std::string name;
    std::string url;
  };

  // kInvalid with the line at fault.
  [[nodiscard]] static Result<ShardMap> parse(std::string_view text) {
    ShardMap map;
    KYRO_TRY(map.for_each_line(text, &ShardMap::take_url));
    KYRO_TRY(map.for_each_line(text, &ShardMap::take_slots));
    for (uint64_t slot = 0; slot < kSlotCount; ++slot) {
      if (map.of_slot_[slot] == kNone) {
        return Status(Code::kInvalid, "slot " + std::to_string(slot) + " has no shard");
      }
    }
    return map;
  }

  [[nodiscard]] const std::vector<Shard>& shards() const { return shards_; }
  // The place in shards() of the one that has the key.
  [[nodiscard]] size_t shard_of(uint64_t key) const { return of_slot_[slot_of(key)]; }

 private:
  static constexpr uint16_t kNone = 0xFFFF;  // there are fewer shards than slots

  ShardMap() { of_slot_.fill(kNone); }

  using Take = Status (ShardMap::*)(std::string_view line);
  Status for_each_line(std::string_view text, Take take) {
    for (uint64_t number = 1; !text.empty(); ++number) {
      const size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      const Status taken = (this->*take)(trim_blanks(line));
      if (taken.ok()) continue;
      return Status(Code::kInvalid,
                    "line " + std::to_string(number) + ": " + std::string(taken.message()));
    }
    return Status();
  }

  // The first word of a line, and the rest.
  static std::pair<std::string_view, std::string_view> split(std::string_view line) {
    const size_t blank = std::min(line.find_first_of(" \t"), line.size());
    return {line.substr(0, blank), trim_blanks(line.substr(blank))};
  }

  Status take_url(std::string_view line) {
    const auto [word, rest] = split(line);
    if (word != "#url") return Status();
    const auto [name, url] = split(rest);
    if (name.empty() || url.empty()) return Status(Code::kInvalid, "#url needs a shard and a URL");
    if (find(name) != kNone) {
      return Status(Code::kInvalid, "shard " + std::string(name) + " has a URL already");
    }
    if (shards_.size() == kSlotCount) return Status(Code::kInvalid, "more shards than slots");
    shards_.push_back({std::string(name), std::string(url)});
    return Status();
  }

  Status take_slots(std::string_view line) {
    if (line.empty() || line.starts_with('#')) return Status();
    const auto [slots, name] = split(line);
    const auto range = parse_slot_range(slots, ':');
    KYRO_TRY(range);
    const uint16_t shard = find(name);
    if (shard == kNone) {
      return Status(Code::kInvalid, "shard \"" + std::string(name) + "\" has no line #url");
    }
    for (uint64_t slot = range->first; slot <= range->last; ++slot) {
      if (of_slot_[slot] != kNone) {
        return Status(Code::kInvalid, "slot " + std::to_string(slot) + " has a shard already");
      }
      of_slot_[slot] = shard;
    }
    return Status();
  }

  [[nodiscard]] uint16_t find(std::string_view name) const {
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (shards_[i].name == name) return static_cast<uint16_t>(i);
    }
    return kNone;
  }

  std::vector<Shard> shards_;
  std::array<uint16_t, kSlotCount> of_slot_;
};

}  // namespace kyro
