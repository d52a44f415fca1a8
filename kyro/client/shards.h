// Servers that have a part of the keys each (--shards FILE): which of them a command asks, and how
// several answers become one. Without the flag there is one server, which has all keys.
//
// Thread rule: one thread. Ownership: owns its clients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/client/session.h"
#include "kyro/client/shard_map.h"

namespace kyro {
namespace ctl {

class Shards {
 public:
  // The servers that the flags name.
  [[nodiscard]] static Result<Shards> open(const CliCall& call, int timeout_ms) {
    Shards shards;
    const auto path = call.flag("shards");
    if (!path) {
      auto endpoint = endpoint_of(call);
      KYRO_TRY(endpoint);
      KYRO_TRY(shards.add(call, *std::move(endpoint), timeout_ms));
      return shards;
    }
    for (const char* flag : {"engine", "connect-command"}) {
      if (!call.flag(flag)) continue;
      return Status(Code::kInvalid, std::string("--shards and --") + flag + " exclude each other");
    }
    const InputFile file(*path);
    std::string text;
    if (file.fd() < 0 || !read_all(file.fd(), kMapBytesMax, &text)) {
      return Status(Code::kInvalid, *path + ": " + strerrordesc_np(errno));
    }
    auto map = ShardMap::parse(text);
    if (!map.ok()) {
      return Status(Code::kInvalid, *path + ": " + std::string(map.status().message()));
    }
    shards.map_ = std::make_unique<ShardMap>(*std::move(map));
    for (const ShardMap::Shard& shard : shards.map_->shards()) {
      auto endpoint = parse_url(shard.url);
      KYRO_TRY(endpoint);
      KYRO_TRY(shards.add(call, *std::move(endpoint), timeout_ms));
    }
    return shards;
  }

  [[nodiscard]] size_t size() const { return clients_.size(); }
  [[nodiscard]] CtlClient& operator[](size_t i) { return *clients_[i]; }
  [[nodiscard]] size_t place_of(uint64_t key) const { return map_ ? map_->shard_of(key) : 0; }
  [[nodiscard]] CtlClient& of(uint64_t key) { return *clients_[place_of(key)]; }

 private:
  static constexpr size_t kMapBytesMax = 4u << 20;

  Status add(const CliCall& call, HttpEndpoint endpoint, int timeout_ms) {
    auto client = std::make_unique<CtlClient>(std::move(endpoint), timeout_ms);
    KYRO_TRY(set_up(call, client.get()));
    clients_.push_back(std::move(client));
    return Status();
  }

  std::unique_ptr<ShardMap> map_;
  std::vector<std::unique_ptr<CtlClient>> clients_;
};

// Runs `body(shards)`.
template <class Body>
int with_shards(const CliCall& call, int timeout_ms, const Body& body) {
  auto shards = Shards::open(call, timeout_ms);
  if (!shards.ok()) return ctl_usage_error(shards.status().message());
  return body(*shards);
}

// Runs `body(client)` with a client for the server that has the key that the call's first word is.
template <class Body>
int with_key_client(const CliCall& call, int timeout_ms, const Body& body) {
  const auto key = parse_key_word(call.words[0]);
  if (!key.ok()) return ctl_usage_error(key.status().message());
  return with_shards(call, timeout_ms, [&](Shards& shards) { return body(shards.of(*key)); });
}

}  // namespace ctl
}  // namespace kyro
