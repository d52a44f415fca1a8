// Single writes over HTTP: from the request to the committer and back to the reactor.
//
// A PendingWrite is both ends of the trip: the engine's WriteRequest (done() on the committer's
// thread only posts it) and the server's Task (run() on the reactor answers). It owns a copy of the
// value, because the request's bytes are gone once the handler has deferred.
//
// Order: a write that depends on the current version may come back and be submitted again, behind
// what its connection has sent since. So nobody submits a write of a key while an earlier one of
// the same connection is open that way: see OpenWrites.
//
// Ownership: made with new, disposes of itself in run().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "kyro/net/http/handler.h"
#include "kyro/server/routes/reply.h"
#include "kyro/server/routes/tags.h"
#include "kyro/storage/engine.h"

namespace kyro {

// The writes of this reactor that are not yet where nothing can overtake them. A write asks before
// it starts whether it has to wait for earlier requests of its connection (then on_request() is
// called again); an open write of another connection costs it a wait that was not needed. A batch
// counts as if it wrote every key, so that asking costs the same whatever its size.
class OpenWrites {
 public:
  [[nodiscard]] static bool must_wait(Exchange& exchange, uint64_t key) {
    const OpenWrites& open = here();
    return exchange.has_pending_before() && (open.batches_ > 0 || open.keys_.contains(key)) &&
           exchange.wait_for_earlier();
  }
  [[nodiscard]] static bool batch_must_wait(Exchange& exchange) {
    const OpenWrites& open = here();
    return exchange.has_pending_before() && (open.batches_ > 0 || !open.keys_.empty()) &&
           exchange.wait_for_earlier();
  }

  static void add(uint64_t key) { ++here().keys_[key]; }
  static void remove(uint64_t key) {
    auto& keys = here().keys_;
    const auto it = keys.find(key);
    if (it != keys.end() && --it->second == 0) keys.erase(it);
  }
  static void add_batch() { ++here().batches_; }
  static void remove_batch() { --here().batches_; }

 private:
  static OpenWrites& here() {
    static thread_local OpenWrites open;
    return open;
  }

  std::unordered_map<uint64_t, uint32_t> keys_;  // each with its number of writes
  uint32_t batches_ = 0;
};

class PendingWrite final : public Task, public WriteRequest {
 public:
  enum class Kind : uint8_t {
    kPut,       // POST /v1/put: 200 and the offset
    kKvPut,     // PUT /v1/kv: 201 created or 204 replaced
    kKvDelete,  // DELETE /v1/kv: 204, or 404 if nothing was there
  };

  // Hands a write over; the exchange answers once its group has an outcome. `ttl_secs` 0: for ever.
  static void start(Engine& engine, Exchange& exchange, Kind kind, uint64_t key,
                    std::string_view value, uint64_t ttl_secs = 0) {
    auto tags = read_key_tags(exchange.request());
    if (!tags.ok()) return exchange.respond_error(400, "bad_tag", tags.status().message());
    const uint64_t expiry_secs = ttl_secs != 0 ? engine.now_secs() + ttl_secs : 0;
    std::unique_ptr<PendingWrite> write(
        new PendingWrite(engine, kind, key, value, expiry_secs, std::move(*tags)));
    Status ready = engine.check({&write->mutation_, 1});
    if (ready.ok()) ready = write->resolve();
    if (!ready.ok()) return respond_status(exchange, ready);
    exchange.defer(write.get());
    if (write->can_come_back()) OpenWrites::add(key);
    engine.submit(write.release());
  }

  void done() override { post(); }

  void run(Exchange* exchange) override {
    std::unique_ptr<PendingWrite> self(this);
    if (exchange != nullptr && is_stale) {
      status = resolve();
      if (status.ok()) {
        exchange->defer(this);
        engine_.submit(self.release());
        return;
      }
    }
    if (can_come_back()) OpenWrites::remove(mutation_.key);
    if (exchange == nullptr) return;  // whether it was committed or not, nobody is left to hear it
    if (!status.ok()) return respond_status(*exchange, status);
    switch (kind_) {
      case Kind::kPut:
        return respond_offset(*exchange, offset);
      case Kind::kKvPut:
        add_etag(*exchange, offset);
        return exchange->respond(condition_.existed ? 204 : 201, {}, {});
      case Kind::kKvDelete:
        add_etag(*exchange, offset);
        return exchange->respond(204, {}, {});
    }
  }

 private:
  PendingWrite(Engine& engine, Kind kind, uint64_t key, std::string_view value,
               uint64_t expiry_secs, KeyTags tags)
      : engine_(engine), kind_(kind), value_(value), tags_(std::move(tags)) {
    mutation_ =
        kind == Kind::kKvDelete ? Mutation::remove(key) : Mutation::put(key, value_, expiry_secs);
    mutations = {&mutation_, 1};
    condition_.key = key;
    tags_.apply_to(&condition_);
    condition_.must_be_found = kind == Kind::kKvDelete;
  }

  [[nodiscard]] bool can_come_back() const { return kind_ != Kind::kPut || !tags_.empty(); }

  // On the reactor: what the write needs to know of the current version.
  Status resolve() {
    if (!can_come_back()) return Status();
    conditions = {&condition_, 1};
    Status resolved = engine_.resolve_base(&condition_);
    if (resolved.ok() || !tags_.empty()) return resolved;
    // The current version is damaged: it is there, and being replaced or removed mends that.
    conditions = {};
    condition_.existed = true;
    return Status();
  }

  Engine& engine_;
  const Kind kind_;
  const std::string value_;
  KeyTags tags_;
  Mutation mutation_;
  Condition condition_;
};

}  // namespace kyro
