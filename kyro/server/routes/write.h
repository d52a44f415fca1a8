// Single writes over HTTP: from the request to the committer and back to the reactor.
//
// A PendingWrite is both ends of the trip: the engine's WriteRequest (done() on the committer's
// thread only posts it) and the server's Task (run() on the reactor answers). It owns its value,
// because the request's bytes are gone once the handler has deferred: a copy of a small one, the
// body itself of a large one, which is worked through in slices.
//
// Order: a write that depends on the current version is open until it is committed (open_writes.h):
// a later one of that key and connection waits.
//
// Ownership: made with new, disposes of itself in run().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/json/record_json.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/routes/open_writes.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/tags.h"
#include "kyro/storage/engine.h"

namespace kyro {

// The second in which a write with that lifetime expires, by the store's clock; 0: never. What
// expired before it came has come to be absent.
[[nodiscard]] inline uint64_t expiry_of(const Engine& engine, const Lifetime& lifetime) {
  if (lifetime.ttl_secs) return engine.now_secs() + *lifetime.ttl_secs;
  return engine.from_unix(lifetime.expires_secs.value_or(0));
}

class PendingWrite final : public Task, public WriteRequest {
 public:
  enum class Kind : uint8_t {
    kPut,       // POST /v1/put: 200 and the offset
    kKvPut,     // PUT /v1/kv: 201 created or 204 replaced
    kKvDelete,  // DELETE /v1/kv: 204, or 404 if nothing was there
    kCallPut,   // the calls: PutResponse, DeleteResponse
    kCallDelete,
  };

  // Hands a write over; the exchange answers once its group has an outcome.
  static void start(Engine& engine, OpenWrites& open, Exchange& exchange, Kind kind, uint64_t key,
                    std::string_view value, const Lifetime& lifetime = {}) {
    auto tags = read_key_tags(exchange.request());
    if (!tags.ok()) return exchange.respond_error(400, "bad_tag", tags.status().message());
    std::unique_ptr<PendingWrite> write(new PendingWrite(
        engine, open, kind, key, value, expiry_of(engine, lifetime), std::move(*tags)));
    submit_small(std::move(write), exchange);
  }

  // PUT /v1/kv: the body is the value.
  static void start_value(Engine& engine, OpenWrites& open, Exchange& x, uint64_t key,
                          const Lifetime& lifetime) {
    const std::string_view body = x.request().body;
    if (body.size() > kCopiedBytesMax) {
      return start_with_body(engine, open, x, Kind::kKvPut, key, lifetime);
    }
    start(engine, open, x, Kind::kKvPut, key, body, lifetime);
  }

  // POST /v1/put: the body is JSON.
  static void start_json(Engine& engine, OpenWrites& open, Exchange& x) {
    const std::string_view body = x.request().body;
    if (body.size() > kCopiedBytesMax) return start_with_body(engine, open, x, Kind::kPut, 0, {});
    JsonWrite write;
    if (const Status decoded = decode_json_put(body, &write); !decoded.ok()) {
      return x.respond_error(400, "bad_json", decoded.message());
    }
    if (open.must_wait(x, *write.key)) return;
    start(engine, open, x, Kind::kPut, *write.key, *write.value,
          {write.ttl_secs, write.expires_secs});
  }

  // The same where the body is the value, or JSON that has it (kPut), and may be large: it is taken
  // over, decoded and hashed in slices.
  static void start_with_body(Engine& engine, OpenWrites& open, Exchange& exchange, Kind kind,
                              uint64_t key, const Lifetime& lifetime) {
    auto tags = read_key_tags(exchange.request());
    if (!tags.ok()) return exchange.respond_error(400, "bad_tag", tags.status().message());
    if (open.batch_must_wait(exchange)) return;
    std::unique_ptr<PendingWrite> write(new PendingWrite(
        engine, open, kind, key, {}, expiry_of(engine, lifetime), std::move(*tags)));
    write->body_ = exchange.take_body();
    if (kind == Kind::kPut) {
      write->decoder_.emplace(write->body_.body(), JsonWriteKind::kPut, &write->json_);
    } else {
      const std::span<char> body = write->body_.body();
      write->mutation_.value = {body.data(), body.size()};
    }
    prepare_large(std::move(write), exchange);
  }

  // The calls: `value` lies in the body of the request.
  static void start_call(Engine& engine, OpenWrites& open, Exchange& x, Kind kind, uint64_t key,
                         std::string_view value, uint64_t expiry_secs, KeyTags tags) {
    const bool is_small = value.size() <= kCopiedBytesMax;
    std::unique_ptr<PendingWrite> write(new PendingWrite(engine, open, kind, key,
                                                         is_small ? value : std::string_view(),
                                                         expiry_secs, std::move(tags)));
    if (is_small) return submit_small(std::move(write), x);
    const auto before = static_cast<size_t>(value.data() - x.request().body.data());
    write->body_ = x.take_body();
    write->mutation_.value = {write->body_.body().data() + before, value.size()};
    prepare_large(std::move(write), x);
  }

  void done() override { post(); }

  void run(Exchange* exchange) override {
    if (!is_prepared_ && exchange != nullptr) return prepare(*exchange);
    std::unique_ptr<PendingWrite> self(this);
    if (!is_prepared_) return open_.remove_batch();
    if (exchange != nullptr && is_stale) {
      status = resolve();
      if (status.ok()) {
        exchange->defer(this);
        engine_.enqueue(self.release());
        return;
      }
    }
    if (can_come_back()) open_.remove(mutation_.key);
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
      case Kind::kCallPut:
        return rpc::respond_message(*exchange,
                                    rpc::numbers_message({offset, condition_.existed ? 0u : 1u}));
      case Kind::kCallDelete:
        return rpc::respond_message(*exchange, rpc::numbers_message({offset}));
    }
  }

 private:
  PendingWrite(Engine& engine, OpenWrites& open, Kind kind, uint64_t key, std::string_view value,
               uint64_t expiry_secs, KeyTags tags)
      : engine_(engine), open_(open), kind_(kind), value_(value), tags_(std::move(tags)) {
    const bool is_delete = kind == Kind::kKvDelete || kind == Kind::kCallDelete;
    mutation_ = is_delete ? Mutation::remove(key) : Mutation::put(key, value_, expiry_secs);
    mutations = {&mutation_, 1};
    condition_.key = key;
    tags_.apply_to(&condition_);
    condition_.must_be_found = is_delete;
  }

  // Whose value is at hand.
  static void submit_small(std::unique_ptr<PendingWrite> write, Exchange& exchange) {
    Status ready = write->engine_.check({&write->mutation_, 1});
    if (ready.ok()) ready = write->resolve();
    if (!ready.ok()) return respond_status(exchange, ready);
    write.release()->submit(exchange);
  }
  // Whose body is worked through in slices.
  static void prepare_large(std::unique_ptr<PendingWrite> write, Exchange& exchange) {
    write->is_prepared_ = false;
    write->open_.add_batch();
    write.release()->prepare(exchange);
  }

  static constexpr size_t kCopiedBytesMax = 64 * 1024;  // a larger body is taken over
  // What a slice does at most before others get their turn; hashing is that much faster.
  static constexpr size_t kSliceBytes = 128 * 1024;
  static constexpr size_t kHashedBytes = 8 * kSliceBytes;

  // A slice of the work before the commit. Disposes of the write if it is refused.
  void prepare(Exchange& exchange) {
    const Result<bool> ended = prepare_slice();
    if (ended.ok() && !*ended) {
      exchange.defer(this);
      return post();
    }
    is_prepared_ = true;
    open_.remove_batch();
    Status ready = ended.status();
    if (ready.code() == Code::kInvalid) {
      exchange.respond_error(400, "bad_json", ready.message());
    } else {
      if (ready.ok()) ready = engine_.check({&mutation_, 1});
      if (ready.ok()) ready = resolve();
      if (ready.ok()) return submit(exchange);
      respond_status(exchange, ready);
    }
    delete this;
  }

  Result<bool> prepare_slice() {
    if (decoder_) {
      if (!decoder_->advance(kSliceBytes)) return false;
      KYRO_TRY(decoder_->finish());
      KYRO_TRY(check_json_put(json_));
      decoder_.reset();
      mutation_.key = condition_.key = *json_.key;
      mutation_.value = *json_.value;
      mutation_.expiry_secs = expiry_of(engine_, {json_.ttl_secs, json_.expires_secs});
      return false;
    }
    const std::string_view rest = mutation_.value.substr(hashed_, kHashedBytes);
    mutation_.value_crc = crc32c(rest, mutation_.value_crc);
    hashed_ += rest.size();
    return hashed_ == mutation_.value.size();
  }

  void submit(Exchange& exchange) {
    exchange.defer(this);
    if (can_come_back()) open_.add(mutation_.key);
    engine_.enqueue(this);
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
  OpenWrites& open_;
  const Kind kind_;
  const std::string value_;  // a copy of a small one
  KeyTags tags_;
  // Of a body that was taken over.
  OwnedBody body_;
  JsonWrite json_;
  std::optional<JsonWriteDecoder> decoder_;
  size_t hashed_ = 0;
  bool is_prepared_ = true;
  Mutation mutation_;
  Condition condition_;
};

}  // namespace kyro
